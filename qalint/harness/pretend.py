"""A CUDA device that is not there, so that code written for one runs on a CPU.

`Pretend` answers for `torch.cuda` and sends everything that names a CUDA device to the CPU. With
`tags=True` it also remembers which tensors would be on the GPU, and raises torch's own error where
two devices meet: what a CPU hides because there is only one.

Kernels, timing and memory are the CPU's. Nothing here says how fast or how exact a GPU would be.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")


def is_cuda(value: object) -> bool:
    """Whether an argument names a CUDA device."""
    if isinstance(value, torch.device):
        return bool(value.type == "cuda")
    return isinstance(value, str) and (value == "cuda" or value.startswith("cuda:"))


class _Event:
    """Stands for `torch.cuda.Event`; measures nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def record(self, *_: Any) -> None:
        """Nothing."""

    def synchronize(self) -> None:
        """Nothing."""

    def elapsed_time(self, _: Any) -> float:
        """Milliseconds: always 1."""
        return 1.0


def answer_for_cuda() -> None:
    """Replace what programs ask of `torch.cuda` before they use it."""

    def constant(value: Any) -> Any:
        return lambda *_, **__: value

    answers: dict[str, Any] = {
        "is_available": constant(True),
        "device_count": constant(1),
        "current_device": constant(0),
        "is_bf16_supported": constant(True),
        "get_device_capability": constant((8, 0)),
        "get_device_name": constant("pretended CUDA device"),
        "memory_allocated": constant(0),
        "max_memory_allocated": constant(0),
        "memory_reserved": constant(0),
        "max_memory_reserved": constant(0),
        "Event": _Event,
    }
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats", "manual_seed", "manual_seed_all"):
        answers[name] = constant(None)
    for name in ("set_device", "ipc_collect", "reset_max_memory_allocated"):
        answers[name] = constant(None)
    for name, value in answers.items():
        setattr(torch.cuda, name, value)
    load = torch.load

    def load_to_cpu(f: Any, map_location: Any = None, **kwargs: Any) -> Any:
        return load(f, map_location="cpu" if is_cuda(map_location) else map_location, **kwargs)

    torch.load = load_to_cpu
    new = torch.nn.Parameter.__new__

    def keep_tag(cls: Any, data: Any = None, *args: Any, **kwargs: Any) -> Any:
        # Made by a function that no mode sees.
        parameter = new(cls, data, *args, **kwargs)
        if hasattr(data, Pretend.TAG):
            setattr(parameter, Pretend.TAG, getattr(data, Pretend.TAG))
        return parameter

    torch.nn.Parameter.__new__ = keep_tag


class Pretend(TorchFunctionMode):  # type: ignore[misc]
    """Sends CUDA to the CPU; with `tags`, keeps the two apart. Use as a context manager."""

    TAG = "_pretended_device"
    # In-place copies and indexing cross devices legally.
    CROSSING = frozenset(
        {"copy_", "_has_compatible_shallow_copy_type", "__getitem__", "__setitem__", "set_", "index_put_"}
    )

    def __init__(self, tags: bool = False) -> None:
        super().__init__()
        self.tags = tags
        self.host_copies: list[int] = []
        """Lines on which a tensor made on the CPU a moment ago was copied to the GPU."""
        self.fresh: dict[int, Any] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Every call of torch while the mode is on."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "_parse_to":  # `Module.to` reads its arguments; each tensor's own `to` follows
            return func(*args, **kwargs)
        target: torch.device | None = None
        if name == "cuda" and args:
            target, func, args, kwargs = CUDA, torch.Tensor.to, (args[0], "cpu"), {}
            name = "to"
        elif name == "cpu" and args:
            target = CPU
        elif name == "pin_memory":
            return args[0]
        elif name == "to":
            for value in (*args[1:], *kwargs.values()):
                if is_cuda(value):
                    target = CUDA
                elif isinstance(value, torch.device) or value in ("cpu",):
                    target = CPU
                elif isinstance(value, torch.Tensor):
                    target = self.tag(value)
            args = (args[0], *(CPU if is_cuda(value) else value for value in args[1:]))
        elif "device" in kwargs and kwargs["device"] is not None:
            target = CUDA if is_cuda(kwargs["device"]) else CPU
        kwargs = {key: (CPU if is_cuda(value) else value) for key, value in kwargs.items()}

        if not self.tags:
            return func(*args, **kwargs)
        if name == "__get__":
            return self.attribute(func, args, kwargs)
        if name == "__set__":
            result = func(*args, **kwargs)
            if isinstance(args[1], torch.Tensor):  # `parameter.data = moved`, as Module.to does
                setattr(args[0], self.TAG, self.tag(args[1]))
            return result
        tensors = list(_tensors((args, kwargs)))
        if name == "to" and args and target is CUDA and self.tag(args[0]) is CPU:
            self.note_copy(args[0])
        where = target or self.meeting(tensors, name)
        result = func(*args, **kwargs)
        own = name.endswith("_") and not name.endswith("__")
        for tensor in _tensors(result):
            if own and any(tensor is other for other in tensors):
                continue
            if tensor is not (args[0] if args else None) or target is not None:
                tensor = self.settle(tensor, where, args, target)
                if target is not None:
                    result = tensor
        if not tensors and target is None and isinstance(result, torch.Tensor):
            self.fresh[id(result)] = result
        return result

    def settle(
        self, tensor: Any, where: torch.device, args: tuple[Any, ...], target: torch.device | None
    ) -> Any:
        """Give a result its device. `x.to(...)` on a CPU returns x itself; x must keep its own."""
        if target is not None and args and tensor is args[0] and self.tag(tensor) != where:
            with torch._C.DisableTorchFunction():
                # A view keeps autograd's graph, as the copy to another device would.
                tensor = tensor.view_as(tensor)
        if self.tag(tensor) != where:
            setattr(tensor, self.TAG, where)
        return tensor

    def tag(self, tensor: Any) -> torch.device:
        """Where the tensor would be."""
        return getattr(tensor, self.TAG, CPU)

    def meeting(self, tensors: list[Any], name: str) -> torch.device:
        """The one device of the tensors; raises torch's error where there are two.

        A CPU tensor without dimensions may meet a GPU's.
        """
        places = [self.tag(tensor) for tensor in tensors if tensor.dim() > 0]
        if not places:
            places = [self.tag(tensor) for tensor in tensors]
            return CUDA if CUDA in places else CPU
        if CUDA in places and CPU in places:
            if name in self.CROSSING:
                return self.tag(tensors[0])
            if sys._getframe(2).f_code.co_filename.endswith("grad_scaler.py"):
                return CUDA
            raise RuntimeError(
                "Expected all tensors to be on the same device, "
                "but found at least two devices, cuda:0 and cpu!"
            )
        return places[0]

    def attribute(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A property of a tensor: `.device` answers for the pretended one, `.grad` and `.data` share it."""
        result = func(*args, **kwargs)
        if isinstance(result, torch.device):
            caller = sys._getframe(2).f_code.co_filename
            inside = "/torch/" in caller.replace("\\", "/") and "/harness/" not in caller
            return result if inside else self.tag(args[0])
        if isinstance(result, torch.Tensor) and result is not args[0]:
            setattr(result, self.TAG, self.tag(args[0]))
        owner = getattr(func, "__self__", None)
        if getattr(owner, "__name__", "") == "is_cuda":
            return self.tag(args[0]) is CUDA
        return result

    def note_copy(self, tensor: Any) -> None:
        """A tensor that was just made on the CPU goes to the GPU: it could have been made there."""
        if self.fresh.pop(id(tensor), None) is not None:
            frame: Any = sys._getframe(2)
            while frame is not None and "/torch/" in frame.f_code.co_filename:
                frame = frame.f_back
            if frame is not None:
                self.host_copies.append(frame.f_lineno)


def _tensors(value: Any) -> Iterator[Any]:
    """The tensors in nested arguments."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        inner: Iterable[Any] = value
        for item in inner:
            yield from _tensors(item)
