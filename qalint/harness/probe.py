"""Watches a training program run, from inside its process.

`run` executes a script as `__main__` under one `Mode` and returns a plain report: the exception it
raised, the warnings it caused, the events of its mixed precision protocol in order, the gradients
that reached each step, and what became of its parameters. `symptoms` reads the reports.

A CPU-only torch silently disables CUDA's scaler and autocast, so running a program as it is would
prove nothing. The constructors are therefore patched: the device becomes the CPU, where FP16 autocast
and scaling work just as well, only slowly.
"""

from __future__ import annotations

import array
import base64
import contextlib
import io
import math
import os
import runpy
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from . import tiny_models
from .pretend import Pretend, answer_for_cuda, is_cuda

STEPS_KEPT = 12
"""Gradients are kept for that many steps of the whole program."""
VALUES_KEPT = 4096
"""Values kept of one parameter's gradient, evenly spread."""
WATCHED_VALUES = 20_000_000
"""Models beyond this many values are not copied to see what moves."""


class Mode(NamedTuple):
    """How a program is run."""

    still: bool = False
    """The learning rate is 0 at every step, so that gradients stay comparable between runs."""
    reference: bool = False
    """FP32 throughout: float16 is float32, no autocast, the scale is 1."""
    init_scale: float | None = None
    """Overrides the scaler's first scale; 2.0**120 makes every gradient infinite."""
    loss_factor: float = 1.0
    """Every backward starts from this instead of 1: 1e-6 drives FP16 gradients under the smallest number."""
    cuda: str = "map"
    """`map`: CUDA is the CPU; `tags`: as well, and devices are told apart; `none`: there is no CUDA;
    `real`: the machine's own."""
    seed: int = 0

    @property
    def pretends(self) -> bool:
        """Whether CUDA is pretended."""
        return self.cuda in ("map", "tags")


MODES: dict[str, Mode] = {
    "plain": Mode(),
    "still": Mode(still=True),
    "reference": Mode(still=True, reference=True),
    "overflow": Mode(init_scale=2.0**120),
    "underflow": Mode(still=True, loss_factor=1e-6, init_scale=2.0**16),
    "tiny-reference": Mode(still=True, reference=True, loss_factor=1e-6),
    "devices": Mode(cuda="tags"),
    "no-cuda": Mode(cuda="none"),
    "gpu": Mode(cuda="real"),
}


class Probe:
    """Collects what happens. One for each process: it patches torch for good."""

    def __init__(self, root: str, mode: Mode) -> None:
        self.root = os.path.realpath(root) + os.sep
        self.mode = mode
        self.events: list[tuple[str, str, int, dict[str, Any]]] = []
        self.steps: list[dict[str, Any]] = []
        self.scales: list[float] = []
        self.roots: dict[int, Any] = {}
        self.optimizers: dict[int, Any] = {}
        self.initial: dict[int, tuple[Any, Any]] = {}
        self.moved: set[int] = set()
        self.taken: dict[int, int] = {}
        self.since_backward: dict[int, int] = {}
        self.stale: dict[int, Any] = {}
        self.contaminated: dict[int, Any] = {}
        self.forward: dict[str, Any] | None = None
        self.finite_loss = True
        self.backwards = 0
        self.inside_scaler = 0
        self.inside_optimizer = 0
        self.forward_depth = 0
        self.promoted: list[tuple[int, str]] = []
        self.misread: list[str] = []
        self.clips: list[tuple[int, float, int]] = []
        self.pretend: Pretend | None = None

    # ------------------------------------------------------------ where

    def where(self) -> tuple[str, int]:
        """File (relative to the root) and line of the user's code that is running; ("", 0) in none."""
        frame: Any = sys._getframe(1)
        while frame is not None:
            name = frame.f_code.co_filename
            if name.startswith(self.root) or "__marimo__cell_" in name:
                return os.path.relpath(name, self.root), frame.f_lineno
            frame = frame.f_back
        return "", 0

    def note(self, kind: str, **what: Any) -> None:
        """One event, at the line of the user's code that caused it."""
        file, line = self.where()
        self.events.append((kind, file, line, what))

    # ------------------------------------------------------------ patches

    def install(self) -> None:
        """Patch torch. Before the program imports anything from it by name."""
        torch.set_num_threads(1)
        torch.manual_seed(self.mode.seed)
        if self.mode.pretends:
            answer_for_cuda()
        if self.mode.reference:
            self.no_half()
        self.patch_scaler()
        self.patch_autocast()
        self.patch_backward()
        self.patch_optimizer()
        self.patch_clip()
        self.patch_modules()
        self.patch_random()
        if self.mode.cuda == "real":
            self.patch_clocks()

    def patch_clocks(self) -> None:
        """A clock that the program reads while its GPU is still at work; the first reading starts it."""
        readings = 0
        for name in ("time", "perf_counter", "monotonic"):
            clock: Callable[[], float] = getattr(time, name)

            def read(_clock: Callable[[], float] = clock) -> float:
                nonlocal readings
                file = sys._getframe(1).f_code.co_filename
                if file.startswith(self.root) and torch.cuda.is_initialized():
                    readings += 1
                    if readings > 1 and not torch.cuda.current_stream().query():
                        self.note("early-clock")
                return _clock()

            setattr(time, name, read)

    def no_half(self) -> None:
        """float16 becomes float32 by every spelling."""
        torch.float16 = torch.half = torch.float32
        torch.Tensor.half = torch.Tensor.float
        torch.nn.Module.half = torch.nn.Module.float
        unscale = torch.amp.GradScaler._unscale_grads_

        def unscale_any(self: Any, optimizer: Any, inv_scale: Any, found_inf: Any, allow_fp16: bool) -> Any:
            # The test for float16 gradients would now find float32 ones.
            return unscale(self, optimizer, inv_scale, found_inf, True)

        torch.amp.GradScaler._unscale_grads_ = unscale_any

    def patch_random(self) -> None:
        """Random numbers in half are drawn in float and rounded: the FP32 reference draws the same ones."""
        half = (torch.float16, torch.bfloat16)
        for name in ("randn", "rand", "randn_like", "rand_like"):
            draw: Callable[..., Any] = getattr(torch, name)

            def drawn(*args: Any, _draw: Any = draw, **kwargs: Any) -> Any:
                like = args[0].dtype if args and isinstance(args[0], torch.Tensor) else None
                dtype = kwargs.get("dtype") or like
                if dtype not in half:
                    return _draw(*args, **kwargs)
                return _draw(*args, **{**kwargs, "dtype": torch.float32}).to(dtype)

            setattr(torch, name, drawn)
        for name in ("normal_", "uniform_"):
            fill: Callable[..., Any] = getattr(torch.Tensor, name)

            def filled(self: Any, *args: Any, _fill: Any = fill, **kwargs: Any) -> Any:
                if self.dtype not in half:
                    return _fill(self, *args, **kwargs)
                return self.copy_(_fill(torch.empty_like(self, dtype=torch.float32), *args, **kwargs))

            setattr(torch.Tensor, name, filled)

    def patch_scaler(self) -> None:
        """Scalers work on the CPU, and tell what is asked of them."""
        probe, mode = self, self.mode
        cls = torch.amp.GradScaler
        init, scale, unscale, step, update = cls.__init__, cls.scale, cls.unscale_, cls.step, cls.update
        save, load = cls.state_dict, cls.load_state_dict

        def __init__(self: Any, device: Any = "cuda", *args: Any, **kwargs: Any) -> None:
            if isinstance(device, (bool, int, float)):
                probe.misread.append(f"GradScaler takes {device!r} for its device")
            if mode.pretends and (is_cuda(device) or not isinstance(device, str)):
                device = "cpu"
            names = ("init_scale", "growth_factor", "backoff_factor", "growth_interval", "enabled")
            kwargs.update(zip(names, args, strict=False))
            if mode.init_scale is not None:
                kwargs["init_scale"] = mode.init_scale
            if mode.reference:
                kwargs["init_scale"], kwargs["growth_interval"] = 1.0, 10**9
            init(self, device, **kwargs)
            probe.note("scaler-created", enabled=self.is_enabled())

        def scale_(self: Any, outputs: Any) -> Any:
            result = scale(self, outputs)
            if self.is_enabled():
                if isinstance(outputs, torch.Tensor) and isinstance(result, torch.Tensor):
                    result._scaled_by = self.get_scale()
                    probe.look_at_loss(outputs)
                probe.scales.append(self.get_scale())
                probe.note("scale")
            return result

        def inner(name: str, method: Any) -> Any:
            def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
                if not self.is_enabled():
                    return method(self, *args, **kwargs)
                if not probe.inside_scaler:
                    closure = len(args) > 1 or "closure" in kwargs
                    probe.note(name, **({"closure": True} if closure and name == "scaler-step" else {}))
                probe.inside_scaler += 1
                try:
                    return method(self, *args, **kwargs)
                finally:
                    probe.inside_scaler -= 1

            return wrapped

        def noted(name: str, method: Any) -> Any:
            def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
                probe.note(name)
                return method(self, *args, **kwargs)

            return wrapped

        cls.__init__, cls.scale = __init__, scale_
        cls.unscale_ = inner("unscale", unscale)
        cls.step = inner("scaler-step", step)
        cls.update = inner("update", update)
        cls.state_dict = noted("scaler-saved", save)
        cls.load_state_dict = noted("scaler-loaded", load)

    def patch_autocast(self) -> None:
        """Autocast for CUDA works on the CPU, in FP16 unless the program says otherwise."""
        probe, mode = self, self.mode
        cls = torch.amp.autocast_mode.autocast
        init, enter = cls.__init__, cls.__enter__

        def __init__(
            self: Any, device_type: Any, dtype: Any = None, enabled: bool = True, cache_enabled: Any = None
        ) -> None:
            if isinstance(dtype, bool):
                probe.misread.append(f"autocast takes {dtype!r} for its dtype")
                dtype = None
            if mode.pretends and isinstance(device_type, str) and is_cuda(device_type):
                device_type, dtype = "cpu", dtype or torch.float16
            if mode.reference:
                enabled, dtype = False, torch.bfloat16
            init(self, device_type, dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)

        def __enter__(self: Any) -> Any:
            dtype = str(self.fast_dtype).removeprefix("torch.") if self._enabled else "off"
            probe.note("autocast-enter", dtype=dtype)
            if probe.forward is not None and dtype != "off":
                probe.forward["autocast"] = dtype
            return enter(self)

        cls.__init__, cls.__enter__ = __init__, __enter__

    def patch_backward(self) -> None:
        """Tell of each backward, look for gradients that should have been cleared, shrink the loss."""
        probe, factor = self, self.mode.loss_factor
        backward = torch.autograd.backward

        def wrapped(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            roots = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            scaled = any(hasattr(root, "_scaled_by") for root in roots)
            for root in roots:
                if not hasattr(root, "_scaled_by") and not scaled:
                    probe.look_at_loss(root)
            autocast = str(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else ""
            probe.note("backward", scaled=scaled, autocast=autocast.removeprefix("torch."))
            probe.backwards += 1
            probe.before_backward()
            if factor != 1.0:
                if grad_tensors is None:
                    grad_tensors = [torch.ones_like(root) for root in roots]
                elif isinstance(grad_tensors, torch.Tensor):
                    grad_tensors = [grad_tensors]
                # The factor goes in through a float32 detour: 1e-6 times a half loss must not round first.
                grad_tensors = [None if grad is None else grad * factor for grad in grad_tensors]
            backward(roots, grad_tensors, *args, **kwargs)
            for key in probe.since_backward:
                probe.since_backward[key] = 0

        torch.autograd.backward = wrapped

    def look_at_loss(self, loss: Any) -> None:
        """Whether what the program calls its loss is a number."""
        if not bool(torch.isfinite(loss.detach().float()).all()):
            self.finite_loss = False

    def before_backward(self) -> None:
        """Gradients that a step has used and that are still there will be added to the next ones."""
        for key, (parameter, old) in list(self.stale.items()):
            grad = parameter.grad
            if grad is None or not bool((grad != 0).any()):
                self.contaminated.pop(key, None)
            elif grad.shape == old.shape and torch.equal(grad, old):
                self.contaminated[key] = grad
            del self.stale[key]

    def patch_optimizer(self) -> None:
        """Keep what reaches each step; with `still`, let nothing move."""
        probe = self
        from torch.optim import Optimizer
        from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

        init, zero, save, load = (
            Optimizer.__init__,
            Optimizer.zero_grad,
            Optimizer.state_dict,
            Optimizer.load_state_dict,
        )

        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            probe.optimizers[id(self)] = self
            probe.since_backward[id(self)] = 0
            probe.note("optimizer-created")

        def zero_grad(self: Any, *args: Any, **kwargs: Any) -> None:
            probe.note("zero-grad")
            zero(self, *args, **kwargs)

        def state_dict(self: Any) -> Any:
            probe.note("optimizer-saved")
            return save(self)

        def load_state_dict(self: Any, *args: Any) -> Any:
            probe.note("optimizer-loaded")
            return load(self, *args)

        def before(optimizer: Any, args: Any, kwargs: Any) -> Any:
            probe.watch(parameter for group in optimizer.param_groups for parameter in group["params"])
            closure = args[1] if len(args) > 1 else kwargs.get("closure")
            if not probe.inside_scaler:
                probe.note("optimizer-step")
            if closure is None:
                probe.keep_step(optimizer)
            if probe.mode.still:
                for group in optimizer.param_groups:
                    group["_lr"], group["lr"] = group["lr"], 0.0
            probe.inside_optimizer += 1
            if closure is None:
                return None

            def watched() -> Any:
                result = closure()
                probe.keep_step(optimizer)
                return result

            if len(args) > 1:
                return (args[0], watched, *args[2:]), kwargs
            return args, {**kwargs, "closure": watched}

        def after(optimizer: Any, args: Any, kwargs: Any) -> None:
            probe.inside_optimizer -= 1
            for group in optimizer.param_groups:
                if "_lr" in group:
                    group["lr"] = group.pop("_lr")
                for parameter in group["params"]:
                    probe.see_moved(parameter)
                    if parameter.grad is not None and bool((parameter.grad != 0).any()):
                        probe.stale[id(parameter)] = (parameter, parameter.grad.detach().clone())
            probe.taken[id(optimizer)] = probe.taken.get(id(optimizer), 0) + 1

        Optimizer.__init__, Optimizer.zero_grad = __init__, zero_grad
        Optimizer.state_dict, Optimizer.load_state_dict = state_dict, load_state_dict
        register_optimizer_step_pre_hook(before)
        register_optimizer_step_post_hook(after)

    def see_moved(self, parameter: Any) -> None:
        """Note that a parameter has moved, though it may come back."""
        key = id(parameter)
        if key in self.initial and key not in self.moved and not torch.equal(parameter, self.initial[key][1]):
            self.moved.add(key)

    def keep_step(self, optimizer: Any) -> None:
        """What the step finds in the gradients."""
        _, line = self.where()
        everything = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        # A frozen one may stand in the list; it is passed over.
        parameters = [parameter for parameter in everything if parameter.requires_grad]
        grads = [parameter.grad for parameter in parameters]
        self.since_backward[id(optimizer)] = self.since_backward.get(id(optimizer), 0) + 1
        index = list(self.optimizers).index(id(optimizer)) if id(optimizer) in self.optimizers else -1
        step: dict[str, Any] = {
            "optimizer": index,
            "line": line,
            "backwards": self.backwards,
            "repeated": self.since_backward[id(optimizer)] > 1,
            "missing": sum(grad is None for grad in grads),
            "zero": sum(grad is not None and not bool((grad != 0).any()) for grad in grads),
            "count": len(grads),
            # Backward adds in place; a gradient that was assigned anew is another tensor.
            "stale": sum(
                self.contaminated.get(id(parameter), parameter) is parameter.grad for parameter in parameters
            ),
            "finite": all(grad is None or bool(torch.isfinite(grad).all()) for grad in grads),
            "half": sum(parameter.dtype == torch.float16 for parameter in parameters),
        }
        if len(self.steps) < STEPS_KEPT:
            step["gradients"] = [None if grad is None else pack(grad) for grad in grads]
        self.steps.append(step)

    def patch_clip(self) -> None:
        """Tell of each clip and how far it reached."""
        from torch.nn.utils import clip_grad

        for name in ("clip_grad_norm_", "clip_grad_value_"):
            function: Callable[..., Any] = getattr(clip_grad, name)

            def wrapped(parameters: Any, *args: Any, _function: Any = function, **kwargs: Any) -> Any:
                self.note("clip")
                given = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
                _, line = self.where()
                result = _function(given, *args, **kwargs)
                norm = float(result) if isinstance(result, torch.Tensor) else math.nan
                self.clips.append((line, norm, len(given)))
                return result

            for module in (torch.nn.utils, clip_grad):
                setattr(module, name, wrapped)

    def patch_modules(self) -> None:
        """Note the models that are called, and under which precision."""
        probe = self
        call = torch.nn.Module.__call__

        def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
            outermost = probe.forward_depth == 0 and not isinstance(self, torch.nn.modules.loss._Loss)
            probe.forward_depth += 1
            try:
                if outermost:
                    probe.meet(self)
                result = call(self, *args, **kwargs)
            finally:
                probe.forward_depth -= 1
                if outermost:
                    probe.forward = None
            if not torch.is_autocast_enabled("cpu"):
                probe.look_for_promotion(self, args, result)
            return result

        torch.nn.Module.__call__ = __call__

    def look_for_promotion(self, module: Any, args: Any, result: Any) -> None:
        """A module that turns half into float outside autocast, with a half parameter under it."""
        if not (args and isinstance(args[0], torch.Tensor) and isinstance(result, torch.Tensor)):
            return
        if args[0].dtype == torch.float16 and result.dtype == torch.float32:
            own = {parameter.dtype for parameter in module.parameters()}
            if torch.float16 in own and torch.float32 in own:
                self.promoted.append((self.where()[1], type(module).__name__))

    def meet(self, module: Any) -> None:
        """A model is called from the program itself."""
        autocast = str(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else ""
        half = any(parameter.dtype == torch.float16 for parameter in module.parameters())
        if any(True for _ in module.parameters()):
            self.note(
                "forward",
                autocast=autocast.removeprefix("torch."),
                half=half,
                grad=torch.is_grad_enabled(),
            )
            self.forward = self.events[-1][3]
        if id(module) not in self.roots:
            self.roots[id(module)] = module
        self.watch(module.parameters())

    def watch(self, parameters: Iterator[Any] | Any) -> None:
        """Remember how parameters looked first."""
        for parameter in parameters:
            if id(parameter) not in self.initial and parameter.requires_grad:
                if sum(old.numel() for _, old in self.initial.values()) > WATCHED_VALUES:
                    return
                self.initial[id(parameter)] = (parameter, parameter.detach().clone())

    # ------------------------------------------------------------ the end

    def parameters(self) -> list[dict[str, Any]]:
        """What became of every trainable parameter that was seen."""
        owners: dict[int, int] = {}
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    owners[id(parameter)] = self.taken.get(id(optimizer), 0)
        names: dict[int, str] = {}
        for module in self.roots.values():
            for name, parameter in module.named_parameters():
                names.setdefault(id(parameter), name)
        return [
            {
                "name": names.get(key, ""),
                "in_module": key in names,
                "owned": key in owners,
                "steps": owners.get(key, 0),
                "moved": key in self.moved or not torch.equal(parameter.detach(), old),
                "finite": bool(torch.isfinite(parameter.detach()).all()),
                "grad": parameter.grad is not None,
                "trainable": parameter.requires_grad,
                "dtype": str(parameter.dtype).removeprefix("torch."),
                "count": parameter.numel(),
            }
            for key, (parameter, old) in self.initial.items()
        ]

    def models(self) -> list[dict[str, Any]]:
        """The models that were called: how much of each is trainable."""
        found = []
        for module in self.roots.values():
            every = list(module.named_parameters())
            if every:
                found.append(
                    {
                        "class": type(module).__name__,
                        "total": sum(parameter.numel() for _, parameter in every),
                        "trainable": sum(p.numel() for _, p in every if p.requires_grad),
                        "tensors": sum(p.requires_grad for _, p in every),
                    }
                )
        return found


def pack(grad: Any) -> str:
    """A gradient as base64 of float32 values, thinned evenly beyond `VALUES_KEPT`."""
    flat = grad.detach().to_dense().float().flatten() if grad.is_sparse else grad.detach().float().flatten()
    stride = max(1, flat.numel() // VALUES_KEPT)
    return base64.b64encode(array.array("f", flat[::stride].tolist()).tobytes()).decode()


def unpack(text: str) -> array.array[float]:
    """The values that `pack` kept."""
    values = array.array("f")
    values.frombytes(base64.b64decode(text))
    return values


def run(path: str, root: str, mode: Mode, *, uses_cuda: bool = True) -> dict[str, Any]:
    """Run the script at `path` as `__main__` and report. Patches this process for good."""
    probe = Probe(root, mode)
    probe.install()
    if "transformers" in sys.modules:
        tiny_models.offer()
    failure: dict[str, Any] | None = None
    caught: list[dict[str, Any]] = []

    def show(message: Any, category: type, filename: str, lineno: int, *_: Any) -> None:
        line = probe.where()[1]
        caught.append({"category": category.__name__, "message": str(message), "line": line})

    sys.argv = [path]
    sys.path.insert(0, os.path.dirname(path))
    output = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always")
        warnings.showwarning = show  # type: ignore[assignment]
        stack.enter_context(contextlib.redirect_stdout(output))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        if uses_cuda and mode.pretends:
            probe.pretend = stack.enter_context(Pretend(tags=mode.cuda == "tags"))
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as error:
            if error.code not in (None, 0):
                failure = describe(error, probe.root)
        except BaseException as error:
            failure = describe(error, probe.root)
    return {
        "exception": failure,
        "warnings": caught[:200],
        "events": probe.events[:5000],
        "steps": probe.steps[:500],
        "scales": probe.scales[:500],
        "parameters": probe.parameters(),
        "models": probe.models(),
        "finite_loss": probe.finite_loss,
        "backwards": probe.backwards,
        "promoted": probe.promoted[:20],
        "misread": probe.misread,
        "clips": probe.clips[:200],
        "host_copies": probe.pretend.host_copies[:50] if probe.pretend else [],
        "output": output.getvalue()[-4000:],
    }


def describe(error: BaseException, root: str) -> dict[str, Any]:
    """Type, text and line of an exception; the line is the last one of the user's own code."""
    # marimo wraps what a cell raises.
    while error.__cause__ is not None and type(error).__module__.startswith("marimo"):
        error = error.__cause__
    line, file = 0, ""
    try:
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename.startswith(root):
                line, file = frame.lineno or 0, os.path.relpath(frame.filename, root)
    except RecursionError:
        pass
    if isinstance(error, SyntaxError):
        line = error.lineno or 0
    return {"type": type(error).__name__, "message": str(error)[:2000], "line": line, "file": file}
