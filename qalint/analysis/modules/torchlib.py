"""What torch's and Python's own functions do, as tables and small models."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..records import RECORDS, record
from . import containers, effects, hub, loaders, methods, narrowing, python, spellings, tensors
from .values import (
    Array,
    Batch,
    Bound,
    Cell,
    Class,
    Clock,
    Const,
    Device,
    Dict,
    Dim,
    Func,
    Lib,
    Loader,
    Mod,
    Obj,
    Optim,
    Param,
    Seq,
    Shape,
    Site,
    Tensor,
    Thing,
    Union,
    Unknown,
    Value,
    each,
    join,
)

if TYPE_CHECKING:
    from .core import Core

DTYPES = {
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "long": "int64",
    "int": "int32",
    **{
        name: name
        for name in (
            [
                "float16",
                "bfloat16",
                "float32",
                "float64",
                "int64",
                "int32",
                "int16",
                "int8",
                "uint8",
                "bool",
                "complex64",
                "float8_e4m3fn",
            ]
        )
    },
}
FACTORIES = frozenset(
    [
        "zeros",
        "ones",
        "empty",
        "full",
        "rand",
        "randn",
        "randint",
        "arange",
        "tensor",
        "eye",
        "linspace",
        "logspace",
        "randperm",
        "normal",
    ]
)
LIKE = frozenset(
    ["zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like"]
)
NEW = frozenset(["new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"])
INTEGERS = frozenset(["randint", "arange", "randperm"])
ARRAYS = frozenset(["rand", "randn", "random", "normal", "uniform", "standard_normal", "linspace"])
"""Functions of numpy that give arrays of float64."""
IN_PLACE = frozenset(
    ["normal_", "uniform_", "zero_", "fill_", "copy_", "kaiming_uniform_", "mul_", "add_", "trunc_normal_"]
)
PLAIN: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "str": str, "bool": bool, "abs": abs}
WEIGHTED = (
    "Linear",
    "Bilinear",
    "Conv",
    "LazyConv",
    "Embedding",
    "LayerNorm",
    "RMSNorm",
    "BatchNorm",
    "GroupNorm",
    "LSTM",
    "GRU",
    "RNN",
    "PReLU",
    "MultiheadAttention",
    "Transformer",
)
"""How the names of torch's layers begin that have parameters of their own."""
TRANSPARENT = frozenset(["Dropout", "Identity", "Dropout1d", "Dropout2d", "AlphaDropout"])
CLOCKS = frozenset(
    [
        "time.time",
        "time.perf_counter",
        "time.monotonic",
        "time.perf_counter_ns",
        "time.time_ns",
        "time.monotonic_ns",
        "timeit.default_timer",
        "time.process_time",
    ]
)
WAITS = frozenset(["item", "cpu", "tolist", "numpy", "__bool__", "isnan"])
OPTIMIZERS = frozenset(
    [
        "Adam",
        "AdamW",
        "SGD",
        "Adagrad",
        "RMSprop",
        "Adamax",
        "NAdam",
        "RAdam",
        "Adadelta",
        "LBFGS",
        "ASGD",
        "Rprop",
        "SparseAdam",
        "Adafactor",
        "AdamW8bit",
        "Adam8bit",
        "PagedAdamW8bit",
        "PagedAdamW",
        "PagedAdam",
        "Lion",
        "Lion8bit",
        "FusedAdam",
        "DeepSpeedCPUAdam",
        "LAMB",
        "Muon",
        "ScheduleFreeAdamW",
        "AdamWScheduleFree",
        "Prodigy",
        "DAdaptAdam",
        "Sophia",
    ]
)
WRAPPERS = frozenset(
    [
        "torch.compile",
        "torch.nn.DataParallel",
        "torch.nn.parallel.DistributedDataParallel",
        "torch.jit.script",
        "torch.jit.trace",
        "torch.jit.freeze",
        "torch.jit.optimize_for_inference",
        "torch.nn.parallel.DataParallel",
    ]
)
# operations whose tensors must be on one device
TOGETHER = frozenset(
    [
        "masked_fill",
        "masked_fill_",
        "masked_select",
        "gather",
        "index_select",
        "scatter",
        "scatter_",
        "scatter_add",
        "einsum",
        "dot",
        "outer",
        "baddbmm",
        "addmm",
        "maximum",
        "minimum",
        "logical_and",
        "logical_or",
        "lerp",
        "cdist",
        "addcmul",
    ]
)
# where every function that takes a tensor gives one
TENSOR_FUNCTIONS = frozenset(
    ["torch", "torch.nn.functional", "torch.linalg", "torch.fft", "torch.special", "torch.sparse"]
)


class Context(Value):
    """A context manager: `autocast` or `no_grad`."""

    __slots__ = ("active", "dtype", "kind")

    def __init__(self, kind: str, active: bool | None, dtype: str | None) -> None:
        self.kind = kind
        self.active = active
        self.dtype = dtype


def array_dtype(value: Value | None) -> str | None:
    """A dtype of numpy's as torch calls it."""
    name = value.name.rsplit(".", 1)[-1] if isinstance(value, Lib) else getattr(value, "value", None)
    return {"float": "float64", "double": "float64"}.get(str(name), DTYPES.get(str(name)))


def to_dtype(value: Value | None) -> str | None:
    """A value as a dtype's name."""
    if isinstance(value, Lib) and value.name.startswith("torch."):
        return DTYPES.get(value.name[6:])
    if isinstance(value, Const) and isinstance(value.value, str):
        return DTYPES.get(value.value.removeprefix("torch."))
    if isinstance(value, Union):
        # which of them decides a test: the path on which it is FP16 is one that can be taken
        names = {to_dtype(option) for option in value.options}
        return "float16" if "float16" in names else names.pop() if len(names) == 1 else None
    return None


def to_device(run: Core, value: Value | None) -> Device | None:
    """A value as a device; None where it is not known which."""
    if isinstance(value, Device):
        return value
    if isinstance(value, Unknown):
        return value.device
    if isinstance(value, Const):
        if isinstance(value.value, int) and not isinstance(value.value, bool):
            return Device(frozenset({"cuda"}), "cuda")
        if isinstance(value.value, str):
            kind = value.value.split(":")[0]
            return Device(frozenset({kind}), kind)
        return None
    if isinstance(value, Union):
        found = [to_device(run, option) for option in value.options]
        if all(device is not None for device in found):
            kinds = frozenset[str]().union(*(device.kinds for device in found if device is not None))
            return Device(kinds, "|".join(sorted(device.term for device in found if device is not None)))
    return None


def dtype_in(run: Core, kwargs: dict[str, Value]) -> str | None:
    """The dtype among keyword arguments."""
    return to_dtype(kwargs.get("dtype"))


def device_in(run: Core, kwargs: dict[str, Value]) -> Device | None:
    """The device among keyword arguments."""
    return to_device(run, kwargs.get("device"))


def target(
    run: Core, name: str, args: list[Value], kwargs: dict[str, Value]
) -> tuple[str | None, Device | None, str]:
    """What `to(...)` and its kin ask for: dtype, device, and `dtype`, `device`, `both` or `unknown`."""
    if name in spellings.CASTS:
        return spellings.CASTS[name], None, "dtype"
    if name == "cpu":
        return None, tensors.CPU, "device"
    if name == "cuda":
        return None, Device(frozenset({"cuda"}), "cuda"), "device"
    asked: set[str] = set()
    dtype: str | None = None
    device: Device | None = None
    for value in [*args, *(kwargs[key] for key in ("dtype", "device", "other") if key in kwargs)]:
        if (found := to_dtype(value)) is not None and not (isinstance(value, Const)):
            dtype = found
            asked.add("dtype")
        elif (where := to_device(run, value)) is not None:
            device = where
            asked.add("device")
        elif isinstance(value, Param | Tensor):
            tensor = tensors.as_tensor(run, value)
            assert tensor is not None
            dtype, device = tensor.dtype, tensor.device
            asked |= {"dtype", "device"}
        elif isinstance(value, Unknown) and (
            "dtype" in value.term.rsplit(".", 1)[-1]
            or value is kwargs.get("dtype")
            or value.term.startswith("dtype(")
        ):
            asked.add("dtype")
        elif isinstance(value, Unknown) and ("device" in value.term or value is kwargs.get("device")):
            asked.add("device")
        elif isinstance(value, Const) and isinstance(value.value, bool):
            continue
        else:
            return None, None, "unknown"
    if len(asked) == 2:
        return dtype, device, "both"
    return dtype, device, asked.pop() if asked else "unknown"


def flatten(value: Value) -> list[Value]:
    """What an optimizer is given, its groups' parameters in one list."""
    if isinstance(value, Union):
        return [part for option in value.options for part in flatten(option)]
    if isinstance(value, Seq):
        return [part for item in value.items for part in flatten(item)]
    if isinstance(value, Dict):
        return flatten(value.pairs["params"]) if "params" in value.pairs else [Unknown("group")]
    return [value]


def own_shape(args: list[Value]) -> tuple[Value, ...] | None:
    """The dimensions that a factory is given."""
    if len(args) == 1 and isinstance(args[0], Seq):
        return tuple(args[0].items)
    return tuple(args) if args and not any(isinstance(a, Seq) for a in args) else None


def factory(run: Core, name: str, args: list[Value], kwargs: dict[str, Value], site: Site) -> Tensor:
    """`torch.zeros(...)` and its kin."""
    dtype = dtype_in(run, kwargs)
    if dtype is None and "dtype" not in kwargs:
        dtype = "int64" if name in INTEGERS else run.default_dtype
        if name == "tensor" and args:
            dtype = args[0].dtype if isinstance(args[0], Array) else literal_dtype(args[0], run.default_dtype)
        if name == "full":
            filler = args[1] if len(args) > 1 else kwargs.get("fill_value")
            dtype = None if filler is None else literal_dtype(filler, run.default_dtype)
    device = device_in(run, kwargs)
    given = [kwargs.get("out"), *(args[:2] if name == "normal" else ())]  # what fixes where the result is
    placed = next((value for value in given if value is not None and not isinstance(value, Const)), None)
    if placed is not None:
        found = tensors.as_tensor(run, placed)
        dtype, device = (found.dtype, found.device) if found is not None else (None, None)
    elif device is None and "device" not in kwargs and not run.default_device:
        device = tensors.CPU
    size = kwargs.get("size")
    dims = own_shape([size] if size is not None else args) if name != "tensor" else None
    if dims is not None and len(dims) > 1 and all(isinstance(d, Const) and d.value == 0 for d in dims):
        device = None  # nothing is in it: it stands for "none yet", and code asks for its size first
    if name in {"arange", "linspace", "logspace", "randperm"}:
        dims = (Unknown("length"),)
    result = Tensor(dtype, device, site=site, source="factory", dims=dims, rank0=dims == ())
    result.fill = {"zeros": "zeros", "ones": "ones", "empty": "empty"}.get(name, "random")
    if name == "full" and len(args) > 1:
        filler = args[1]
        result.fill = "zeros" if isinstance(filler, Const) and filler.value == 0 else "full"
        result.dims = own_shape(args[:1])
    if name == "tensor" and args:
        result.rank0 = isinstance(args[0], Const | Dim) or (
            isinstance(args[0], Unknown) and not args[0].strings
        )
        if result.rank0:
            result.dims = ()
        if isinstance(args[0], Unknown | Union) and "dtype" not in kwargs:
            result.dtype = None
    grad = kwargs.get("requires_grad")
    if isinstance(grad, Const) and grad.value:
        result.source = "leaf"
    return result


def literal_dtype(value: Value, default: str) -> str | None:
    """The dtype that `torch.tensor` gives to a literal."""
    if isinstance(value, Const):
        if isinstance(value.value, bool):
            return "bool"
        return "int64" if isinstance(value.value, int) else default
    if isinstance(value, Seq) and value.items:
        kinds = {literal_dtype(item, default) for item in value.items}
        return default if default in kinds else kinds.pop() if len(kinds) == 1 else None
    return None


def parameter(run: Core, args: list[Value], kwargs: dict[str, Value], site: Site) -> Param:
    """`nn.Parameter(...)`."""
    result = Param(site, run.tick())
    data = args[0] if args else kwargs.get("data")
    tensor = tensors.as_tensor(run, data) if data is not None else None
    if tensor is not None:
        result.dims = tensor.dims
        result.fill = tensor.fill
        run.set(result, "dtype", tensor.dtype)
        run.set(result, "device", tensor.device)
    else:
        run.set(result, "dtype", None)
        run.set(result, "device", None)
    grad = kwargs.get("requires_grad") or (args[1] if len(args) > 1 else None)
    if isinstance(grad, Const) and grad.value is False:
        run.set(result, "grad", False)
    result.stack = tuple(run.stack)
    return result


PROGRESS = frozenset({"tqdm", "tqdm_notebook", "progress_bar", "track", "alive_it"})
"""What shows how far an iteration is, and gives the elements of what it is given."""


def call(run: Core, name: str, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
    """A call of a library function or class by its qualified name."""
    if name.startswith("builtins."):
        return python.builtin(run, name[9:], args, kwargs, site)
    if (value := hub.call(run, name, args, kwargs, site)) is not None:
        return value
    last = name.rsplit(".", 1)[-1]
    if name in spellings.QUIET:
        return Context("null", False, None)
    if last in spellings.TRACING and name.startswith("torch"):
        return Const(False)  # what only an export runs: this program runs by itself
    first = args[0] if args else None
    if last in {"__init__", "forward"} and name.startswith("torch.nn.") and isinstance(first, Mod):
        return methods.inherited(run, first, last, args[1:], kwargs, site)  # `nn.Linear.__init__(self, ...)`
    if name.startswith(("torch.nn.functional.", "torch.nn.init.")):
        return functional(run, name, last, args, kwargs, site)
    if last in {"Parameter", "UninitializedParameter"} and name.startswith("torch.nn."):
        return parameter(run, args, kwargs, site)
    if last in {"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel"}:
        given = first if first is not None else kwargs.get("module")
        for option in each(given) if given is not None else ():
            if isinstance(option, Unknown):
                option = run.as_module(option, site) or option
            if isinstance(option, Mod):
                if last == "FullyShardedDataParallel":
                    run.set(option, "device", None)  # `device_id` says where, or where it is used first
                run.emit("scatter", site, target=option)
                run.scattered.add(option)
    if name in WRAPPERS or last in {"DistributedDataParallel", "FullyShardedDataParallel", "EMA"}:
        return wrap(run, first, site)
    if name.startswith("torch.nn.utils.parametrize.register_parametrization") and len(args) >= 3:
        module = effects.as_module(run, args[0], site)
        if module is not None:
            effects.hold(run, module, args[2])
            run.emit("attach", site, target=module, value=args[2], name="", how="parametrize")
            if isinstance(args[2], Mod) and args[2].cls is not None:
                method = args[2].cls.find("forward")
                if isinstance(method, Func):
                    run.enter(method.bind(args[2]), [effects.weight_of(run, module, site)], {}, site)
        return module or run.fresh(last, site.node)
    if last == "pad_sequence" and name.startswith("torch.nn.utils."):
        rows = (
            [tensors.as_tensor(run, row) for row in containers.elements(run, first, site, 5)] if first else []
        )
        row = rows[0] if rows else None
        return Tensor(
            row.dtype if row else None, row.device if row else None, site=site, source="input-derived"
        )
    if name.startswith("torch.nn.utils."):
        return run.fresh(last, site.node)
    if name.startswith("torch.nn.") and last[:1].isupper():
        return module_of(run, name, args, kwargs, site)
    if (name.startswith("torch.optim.") and "lr_scheduler" not in name) or last in OPTIMIZERS:
        return optimizer(run, name, args, kwargs, site)
    if "lr_scheduler." in name:
        return run.fresh(last, site.node)
    if name in {"torch.device"}:
        device = to_device(run, first)
        return device or Unknown(f"device({first.term if first else ''})")
    if name.startswith("torch."):
        return torch_function(run, name, last, args, kwargs, site)
    if name.startswith("numpy.") and last in ARRAYS:
        given = kwargs.get("dtype")
        return Array("float64" if given is None else array_dtype(given), site)
    if name in CLOCKS:
        return Clock(site, run.tick())
    if name in {"collections.OrderedDict", "collections.defaultdict"}:
        table = python.builtin(run, "dict", args if last == "OrderedDict" else args[1:], kwargs, site)
        if last == "defaultdict" and isinstance(table, Dict):
            table.open = True  # a key that was not there makes one
        return table
    if name == "dataclasses.field":
        factory_ = kwargs.get("default_factory")
        if isinstance(factory_, Func) and isinstance(factory_.node, ast.Lambda):
            return run.ev(factory_.node.body, factory_.scope)  # a literal, which no slice calls hot
        if factory_ is not None:
            return run.call(factory_, [], {}, site.node, scope_of(run, site))
        return kwargs.get("default") or run.fresh(last, site.node)
    if name in {"copy.deepcopy", "copy.copy"}:
        return clone(run, first, site) if first is not None else run.fresh(last, site.node)
    if name in RECORDS and (fields := record(site.node)) is not None:
        return Class(fields, scope_of(run, site), [Lib(name)] if "uple" in name else [], {})
    if name == "functools.partial" and first is not None:
        from .core import Partial

        return Partial(first, args[1:], kwargs)
    if last in PROGRESS or name == "tqdm.trange":
        return first or run.fresh(last, site.node)
    if name.startswith("itertools.chain"):
        result = Seq([], "generator", open=True, site=site)
        for value in args:
            containers.extend(run, result, value)
        return result
    if name == "marimo.ui.run_button":
        return run.fresh(last, site.node)
    if not name.startswith(
        ("math.", "os.", "json.", "logging.", "marimo.", "random.", "numpy.", "wandb.", "torchinfo.")
    ):
        effects.escape(run, [*args, *kwargs.values()], site, name)
        if (made := effects.unseen_adapter(run, name, args, kwargs, site)) is not None:
            return made
    return tensors.mixed(f"{name}@{getattr(site.node, 'lineno', 0)}", [*args, *kwargs.values()])


def wrap(run: Core, value: Value | None, site: Site) -> Value:
    """A wrapper that keeps a module's identity."""
    return value if value is not None else run.fresh("wrapped", site.node)


def clone(run: Core, value: Value, site: Site, memo: dict[int, Value] | None = None) -> Value:
    """`copy.deepcopy`: other modules and parameters in the same state."""
    memo = {} if memo is None else memo
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, Seq):
        return Seq(
            [clone(run, item, site, memo) for item in value.items],
            value.kind,
            open=value.open,
            site=value.site,
        )
    if isinstance(value, Param):
        twin = Param(value.site, run.tick())
        memo[id(value)] = twin
        twin.dims, twin.fill, twin.tensor_of, twin.name = value.dims, value.fill, value.tensor_of, value.name
        run.set(twin, "dtype", run.dtype_of(value))
        run.set(twin, "device", run.device_of(value))
        return twin
    if isinstance(value, Unknown):  # whatever it is, what happens to the one does not happen to the other
        memo[id(value)] = run.fresh("copy", site.node)
        return memo[id(value)]
    if isinstance(value, Union):
        return Union(tuple(clone(run, option, site, memo) for option in value.options))
    if not isinstance(value, Mod) or value.parent is not None:
        return value
    new = Mod(site, run.tick(), qual=value.qual, cls=value.cls)
    memo[id(value)] = new
    new.family, new.model_id, new.loaded, new.known = value.family, value.model_id, value.loaded, value.known
    new.args = dict(value.args)
    new.stack = tuple(run.stack)
    run.set(new, "dtype", run.dtype_of(value))
    run.set(new, "device", run.device_of(value))
    for name, attribute in value.attrs.items():
        new.attrs[name] = clone(run, attribute, site, memo)
        effects.hold(run, new, new.attrs[name])
    for element in value.elements:
        new.elements.append(clone(run, element, site, memo))
        effects.hold(run, new, new.elements[-1])
    return new


def module_of(run: Core, name: str, args: list[Value], kwargs: dict[str, Value], site: Site) -> Mod:
    """A module of torch's own."""
    module = Mod(site, run.tick(), qual=name)
    module.stack = tuple(run.stack)
    module.loaded = True
    effects.fresh_module(run, module, kwargs)
    effects.constructed(run, module, args, kwargs)
    return module


def optimizer(run: Core, name: str, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
    """An optimizer's constructor."""
    given = args[0] if args else kwargs.get("params")
    optim = Optim(site, run.tick(), name, flatten(given) if given is not None else [Unknown("params")])
    optim.attrs["given"] = given if given is not None else Unknown("params")
    run.emit("optimizer", site, target=optim, value=given)
    return optim


def functional(
    run: Core, name: str, last: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """`torch.nn.functional.*` and `torch.nn.init.*`."""
    if name.startswith("torch.nn.init."):
        for option in each(args[0]) if args else ():
            cell = option
            if isinstance(option, Tensor) and option.weights:
                cell = option.weights[0][0]
            elif isinstance(option, Tensor) and isinstance(option.site, Site):
                option.fill = "zeros" if last == "zeros_" else "random"
            if isinstance(cell, Param):
                zero = last == "zeros_" or (
                    last == "constant_"
                    and len(args) > 1
                    and isinstance(args[1], Const)
                    and args[1].value == 0
                )
                cell.fill = ("zeros" if zero else "random") if len(each(args[0])) == 1 else None
                if isinstance(cell.owner, Mod) and cell.tensor_of == "weight":
                    cell.owner.args["fill"] = Const(cell.fill)
        return args[0] if args else run.fresh(last, site.node)
    if last == "linear" and len(args) >= 2:
        return tensors.multiply(run, args[0], args[1], site, transposed=True)
    given = [*args, *(kwargs[key] for key in sorted(kwargs, key=lambda key: key not in {"input", "query"}))]
    operands = [t for t in (tensors.as_tensor(run, value) for value in given) if t is not None]
    if last in {"embedding", "one_hot"} or not operands:
        return Tensor(None, operands[0].device if operands else None, site=site, source="unknown")
    if last.startswith("dropout"):
        return operands[0].copy(site=site)
    apart(run, operands, last, site)
    loss = last.endswith(("loss", "entropy", "entropy_with_logits", "div"))
    result = Tensor(
        operands[0].dtype,
        operands[0].device,
        site=site,
        source="loss" if loss else operands[0].source,
        rank0=loss and reduced(kwargs.get("reduction")),
    )
    return tensors.outcome(result, *operands)


def reduced(value: Value | None) -> bool:
    """Whether a loss with this `reduction` is one number."""
    return value is None or (isinstance(value, Const) and value.value != "none")


def torch_function(
    run: Core, name: str, last: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """`torch.*`."""
    first = args[0] if args else None
    if name.startswith("torch.cuda."):
        if last == "is_available":
            return Unknown("torch.cuda.is_available()")
        if last in {"synchronize", "elapsed_time"}:
            run.emit("wait", site)
        if last == "Event":
            run.emit("wait", site, how="event")
        if "autocast" in last:
            enabled = kwargs.get("enabled") or first
            return Context("autocast", truth(run, enabled), to_dtype(kwargs.get("dtype")) or "float16")
        return Unknown(f"{name}({first.term if first else ''})")
    if last in {"no_grad", "inference_mode"}:
        return Context("no_grad", True, None)
    if last == "autocast":
        dtype = to_dtype(kwargs.get("dtype") or (args[1] if len(args) > 1 else None))
        return Context("autocast", truth(run, kwargs.get("enabled")), dtype)
    if last == "set_default_device":
        run.default_device = True
        return Const(None)
    if last in {"set_default_dtype", "set_default_tensor_type"}:
        run.default_dtype = to_dtype(first) or run.default_dtype
        run.default_device = run.default_device or last == "set_default_tensor_type"
        return Const(None)
    if last == "synchronize" or name == "torch.distributed.barrier":
        run.emit("wait", site)  # processes that wait for each other wait for their devices as well
        return Const(None)
    if last in FACTORIES and name == f"torch.{last}":
        return factory(run, last, args, kwargs, site)
    if last in LIKE and first is not None:
        tensor = tensors.as_tensor(run, first)
        dtype = dtype_in(run, kwargs) if "dtype" in kwargs else tensor.dtype if tensor else None
        device = device_in(run, kwargs) if "device" in kwargs else tensor.device if tensor else None
        fill = {"zeros_like": "zeros", "ones_like": "ones"}.get(last, "random")
        return Tensor(
            dtype, device, site=site, source="factory", dims=tensor.dims if tensor else None, fill=fill
        )
    if last in {"from_numpy", "as_tensor"}:
        device = device_in(run, kwargs) if "device" in kwargs else tensors.CPU
        dtype = dtype_in(run, kwargs) or (first.dtype if isinstance(first, Array) else None)
        return Tensor(dtype, device, site=site, source="factory")
    if last in {"matmul", "mm", "bmm"} and len(args) >= 2:
        return tensors.multiply(run, args[0], args[1], site)
    if last in {"add", "mul", "sub", "div"} and len(args) >= 2:
        if any(tensors.as_tensor(run, a) is not None for a in args[:2]):
            return tensors.elementwise(run, args[0], args[1], site, {"add": "+", "mul": "*"}.get(last, "-"))
    if name.endswith("data.DataLoader") or last == "DataLoader":
        dataset = args[0] if args else kwargs.get("dataset")
        collate = kwargs.get("collate_fn")
        size = kwargs.get("batch_size")
        whole = isinstance(size, Const) and size.value is None  # the dataset gives whole batches
        away = whole or loaders.moves(collate) or loaders.away(dataset)
        return Loader(site, moved=away, plain=loaders.stacks(collate))
    if last in {"TensorDataset", "Subset", "ConcatDataset", "StackDataset", "random_split"} and (
        made := loaders.dataset_of(last, args, site)
    ):
        return made
    if last in {"checkpoint", "checkpoint_sequential"} and "checkpoint" in name:
        reentrant = kwargs.get("use_reentrant")
        if last == "checkpoint_sequential":
            args = [args[0], *args[2:]] if args else args
        flag = reentrant.value if isinstance(reentrant, Const) else (None if reentrant is None else "unknown")
        module = next(
            (f.function.receiver for f in reversed(run.frames) if isinstance(f.function.receiver, Mod)),
            first if isinstance(first, Mod) else None,
        )
        run.emit("checkpoint", site, target=module, flag=flag, args=args[1:])
        return (
            run.call(first, args[1:], {}, site.node, scope_of(run, site))
            if first is not None
            else run.fresh(last, site.node)
        )
    if last in {"stack", "cat", "concat", "where"}:
        parts = first.items if isinstance(first, Seq) else args
        operands = [t for t in (tensors.as_tensor(run, value) for value in parts) if t is not None]
        apart(run, operands, last, site)
        if not operands:
            return Tensor(None, None, site=site, source="unknown")
        given = operands[0]
        if last == "where":  # its first is a condition
            given = next((one for one in reversed(operands) if not one.rank0), operands[-1])
        result = Tensor(given.dtype, given.device, site=site, source=given.source)
        return tensors.outcome(result, *operands)
    if last == "is_tensor" and first is not None:
        known = narrowing.all_are(first, {"torch.Tensor"})
        return run.fresh(last, site.node) if known is None else Const(known)
    if last in {
        "load",
        "save",
        "manual_seed",
        "set_grad_enabled",
        "numel",
        "set_float32_matmul_precision",
    }:
        return run.fresh(last, site.node)
    operands = [t for t in (tensors.as_tensor(run, value) for value in args) if t is not None]
    if last in TOGETHER:
        apart(run, operands, last, site)
    if operands and name.rpartition(".")[0] in TENSOR_FUNCTIONS:
        rank0 = all(operand.rank0 for operand in operands)
        result = Tensor(
            operands[0].dtype, operands[0].device, site=site, source=operands[0].source, rank0=rank0
        )
        return tensors.outcome(result, *operands) if last in TOGETHER else result
    if last[:1].isupper() or "." in name[6:]:
        effects.escape(run, [*args, *kwargs.values()], site, name)
    return tensors.mixed(name, [*args, *kwargs.values()])


def apart(run: Core, operands: list[Tensor], name: str, site: Site) -> None:
    """Note operands of a function that are not on the device of the first."""
    if name in {"ctc_loss", "CTCLoss"}:
        return  # lengths, and for cuDNN the targets too, belong on the CPU
    for other in operands[1:]:
        if tensors.differ(operands[0].device, other.device) and not other.rank0:
            run.emit("clash", site, how="device", target=operands[0], value=other, name=name)


def scope_of(run: Core, site: Site) -> Any:
    """A scope for calls made on the library's behalf."""
    from .values import Scope

    return Scope(site.file, None, "module")


def truth(run: Core, value: Value | None) -> bool | None:
    """`enabled=`: True when not given."""
    return True if value is None else run.truth_of(value)


def enter(run: Core, value: Value) -> Callable[[], Any]:
    """A `with` item is entered."""
    if isinstance(value, Union) and any(isinstance(option, Context) for option in value.options):
        if all(isinstance(option, Context) and option.kind == "null" for option in value.options):
            return lambda: None
        run.autocast.append((None, None))
        return run.autocast.pop
    if isinstance(value, Device):
        before, run.default_device = run.default_device, True

        def restore() -> None:
            run.default_device = before

        return restore
    if isinstance(value, Context) and value.kind == "autocast":
        run.autocast.append((value.active, value.dtype))
        return run.autocast.pop
    if isinstance(value, Context) and value.kind == "no_grad":
        run.no_grad += 1

        def leave() -> None:
            run.no_grad -= 1

        return leave
    if isinstance(value, (Unknown | Bound | Obj | Func, Lib)):
        # a context that cannot be seen may be an autocast
        run.autocast.append((None, None))
        return run.autocast.pop
    return lambda: None


def tensor_method(
    run: Core, base: Param | Tensor, name: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """A tensor's or parameter's method."""
    tensor = tensors.as_tensor(run, base)
    assert tensor is not None
    first = args[0] if args else None
    if name in spellings.CONVERSIONS:
        return convert(run, base, tensor, name, args, kwargs, site)
    if name == "requires_grad_":
        if isinstance(base, Param):
            effects.freeze(run, base, first or Const(True), site)
        else:
            run.emit("inputs", site, target=base)
            base.grad = True
            if base.source == "factory":
                return base.copy(source="leaf")
        return base
    if name == "type" and (first is not None or kwargs):
        # a class such as `torch.cuda.FloatTensor` is a device too
        dtype = to_dtype(first)
        return tensor.copy(dtype=dtype, device=tensor.device if dtype is not None else None, sums=())
    if name == "type_as":
        other = tensors.as_tensor(run, first) if first is not None else None
        device = other.device if other else None
        return tensor.copy(dtype=other.dtype if other else None, device=device, sums=())
    if name in NEW:
        dtype = dtype_in(run, kwargs) if "dtype" in kwargs else tensor.dtype
        device = device_in(run, kwargs) if "device" in kwargs else tensor.device
        result = Tensor(dtype, device, site=site, source="factory", dims=own_shape(args))
        result.fill = {"new_zeros": "zeros", "new_ones": "ones"}.get(name, "empty")
        return result
    if name == "backward":
        run.emit("backward", site, target=tensor)
        run.emit("work", site)
        return Const(None)
    if name in WAITS:
        run.emit("wait", site, how=name)
        if name in {"item", "tolist", "numpy"}:
            return run.fresh(name, site.node)
    if name in IN_PLACE:
        cell = base if isinstance(base, Param) else (tensor.weights[0][0] if tensor.weights else None)
        zero = name in {"fill_", "mul_"} and isinstance(first, Const) and first.value == 0
        if name == "copy_" and first is not None:
            source = tensors.as_tensor(run, first)
            zero = source is not None and source.fill == "zeros"
        fill = "zeros" if zero or name == "zero_" else "random"
        if isinstance(cell, Param):
            cell.fill = fill
            if isinstance(cell.owner, Mod) and cell.tensor_of == "weight":
                cell.owner.args["fill"] = Const(fill)
        if isinstance(base, Tensor):
            base.fill = fill
        return base
    if name in {"t", "transpose", "permute", "mT"} and tensor.weights:
        return tensor.copy(weights=tuple((cell, not flipped) for cell, flipped in tensor.weights))
    if name in {"matmul", "mm", "bmm"} and first is not None:
        return tensors.multiply(run, base, first, site)
    if name in {"add", "mul", "sub", "div"} and first is not None:
        return tensors.elementwise(run, base, first, site, {"add": "+", "mul": "*"}.get(name, "-"))
    if name in {"size"}:
        if isinstance(base, Param) and base.tensor_of == "weight" and base.owner is not None:
            shape = effects.tensor_attribute(run, base, "shape", site)
            if isinstance(shape, Shape) and first is not None:
                return containers.item(run, shape, first, site)
            return shape
        return Unknown(f"{base.term}.size({first.term if first else ''})")
    if name in {"numel", "dim", "element_size", "data_ptr"}:
        if isinstance(base, Param) and name == "numel":
            run.emit("count", site, target=base.owner)
        return Unknown(f"{base.term}.{name}()")
    if name in {
        "clone",
        "detach",
        "contiguous",
        "view",
        "reshape",
        "squeeze",
        "unsqueeze",
        "expand",
        "flatten",
        "pin_memory",
    }:
        detached = name == "detach" or (name == "clone" and isinstance(base, Param))
        return tensor.copy(
            site=tensor.site,
            source="detached" if detached else tensor.source,
            weights=() if detached else tensor.weights,
            rank0=False if name in {"view", "reshape", "unsqueeze", "expand"} else tensor.rank0,
        )
    if name in TOGETHER:
        given = [t for t in (tensors.as_tensor(run, value) for value in args) if t is not None]
        apart(run, [tensor, *given], name, site)
        result = Tensor(tensor.dtype, tensor.device, site=site, source=tensor.source)
        return tensors.outcome(result, tensor, *given)
    if name in {"sum", "mean", "max", "min", "norm", "argmax", "abs", "std", "var"}:
        dtype = "int64" if name == "argmax" else tensor.dtype
        rank0 = not args and not kwargs and name not in {"abs"}
        return Tensor(dtype, tensor.device, site=site, source=tensor.source, rank0=rank0)
    if name in {"apply_", "register_hook", "copy"}:
        return run.fresh(name, site.node)
    if name in {"eq", "ne", "gt", "lt", "ge", "le", "isnan", "isfinite", "isinf", "bool"}:
        return Tensor("bool", tensor.device, site=site, source=tensor.source)
    if name in {"long", "int"}:
        return Tensor("int64", tensor.device, site=site, source=tensor.source)
    if tensor.source == "output" and name in {"items", "keys", "values", "get"}:
        return tensor
    rank0 = tensor.rank0 and name not in {"repeat", "tile", "expand_as", "broadcast_to"}
    result = Tensor(tensor.dtype, tensor.device, site=site, source=tensor.source, rank0=rank0)
    result.used = tensor.used
    return result


def fetches(name: str, given: Iterable[Value]) -> bool:
    """Whether a method brings a tensor to the CPU, and so waits for what computes it."""
    if name != "to":
        return name == "cpu"
    return any(
        (isinstance(value, Device) and value.kinds == {"cpu"})
        or (isinstance(value, Const) and value.value == "cpu")
        for value in given
    )


def convert(
    run: Core,
    base: Param | Tensor,
    tensor: Tensor,
    name: str,
    args: list[Value],
    kwargs: dict[str, Value],
    site: Site,
) -> Value:
    """A tensor's `to`, `cuda`, `half` and kin: a copy, or the tensor itself where nothing changes."""
    dtype, device, asked = target(run, name, args, kwargs)
    if isinstance(base, Tensor) and base.source == "part":
        base.device = None  # no tensor, it may be, and then it moves in place
    if fetches(name, [*args, *kwargs.values()]) and "non_blocking" not in kwargs:
        run.emit("wait", site, how="cpu")
    changes = (asked in {"dtype", "both"} and dtype != tensor.dtype) or (
        asked in {"device", "both", "unknown"}
        and (device is None or tensor.device is None or device.term != tensor.device.term)
    )
    if asked == "unknown":
        new = tensor.copy(dtype=None, device=None)
    else:
        new = tensor.copy(
            dtype=dtype if asked in {"dtype", "both"} else tensor.dtype,
            device=device if asked in {"device", "both"} else tensor.device,
        )
    if asked in {"dtype", "both", "unknown"}:
        new.sums = ()
    new.site = tensor.site
    own = (
        isinstance(base, Param)
        and base.owner is None
        and base.select is None
        and base.tensor_of is None
        and not (dtype == "float32" and asked == "dtype" and tensor.dtype is None)
    )
    leaf = isinstance(base, Tensor) and base.source == "leaf"
    if (own or leaf) and not changes:
        return base
    if tensor.source == "factory" and asked in {"device", "both"} and tensor.site is not None:
        run.emit("moved", site, target=tensor, value=device, name=name, info={"args": args, "kwargs": kwargs})
    if (own or leaf) and changes:
        new.source = "converted"
        new.site = Site(site.node, site.file)
        new.weights = tensor.weights
        run.emit("nonleaf", site, target=base, value=new, name=name, how=asked, flag=leaf)
    elif new.source == "factory" and asked != "dtype":
        new.source = "moved"
    return new


__all__ = ["Batch", "Cell", "Context", "Thing", "call", "enter", "join"]
