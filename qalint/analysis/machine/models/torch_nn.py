"""Modules of torch and of libraries built on it: construction, casts, freezes, parameters."""

from __future__ import annotations

import ast
from typing import Any

from ..calls import Call
from ..casts import applied, cast_walked
from ..facts import words
from ..objects import Instance, Iter, Model
from ..refusals import loss_under_autocast
from ..story import LibraryCall, Load
from ..values import (
    FALSE,
    NONE,
    TRUE,
    Cells,
    Const,
    Flow,
    Lib,
    Ref,
    Term,
    Value,
    chain,
    flow_of,
    mix,
    term,
    test_of,
)
from . import attribute, library, method

EMPTY = tuple(
    words(
        """ReLU GELU SiLU Dropout Flatten Unflatten Identity Tanh Sigmoid Softmax LogSoftmax LeakyReLU MaxPool
        AvgPool Adaptive Upsample PixelShuffle ELU Hardswish Mish ZeroPad ReflectionPad
        AlphaDropout Softplus"""
    )
)
"""Modules of torch that have no parameters."""
BENDING = words("where clamp clip sign tanh minimum maximum norm vector_norm sigmoid")
"""Functions of torch that are not linear: of a gradient, they make another one for each scale."""
SUMMED = words("pow abs sum norm square mean flatten view reshape")
"""Methods of a parameter whose results penalties are made of."""
DTYPES = frozenset(["float16", "bfloat16", "float32", "float64", "half", "float", "double"])


def make_module(call: Call, made: str = "constructor", cls: Value = None) -> Ref:
    """A module from outside the project."""
    world = call.world
    obj = Model(call.node, world.module, call.callee if cls is None else cls)
    obj.made = made
    obj.trainable = True
    for index, value in enumerate(call.args):
        inner = call.machine.as_ref(world, value)
        if (type(inner) is Ref and isinstance(world.heap.get(inner.oid), Model | Instance)) or (
            type(inner) is Ref and world.heap[inner.oid].kind in ("list", "dict")
        ):
            obj.attrs[str(index)] = inner
    obj.hidden = call.wild
    reduction = call.arg(None, "reduction")
    if reduction is not None:
        obj.attrs["reduction"] = world.resolve(reduction)
    if (
        made == "constructor"
        and not call.wild
        and type(obj.cls) is Lib
        and obj.cls.name.startswith("torch.nn.")
    ):
        below = [world.heap[value.oid] for value in obj.attrs.values() if type(value) is Ref]
        if all(isinstance(each, Model) and each.dtype == "float32" for each in below):
            obj.dtype = "float32"
        if obj.cls.name.rpartition(".")[2].startswith(EMPTY):
            obj.trainable = False
            obj.extra["empty"] = True
        if obj.cls.name == "torch.nn.Parameter":
            flow = flow_of(call.args[0]) if call.args else None
            obj.dtype = None if flow is None else flow.dtype
            if call.const(1, "requires_grad", True) is False:
                obj.trainable = False
    dtype = call.arg(None, "dtype") or call.arg(None, "torch_dtype")
    if dtype is not None:
        name = call.machine.dtype_choice(world, dtype)
        if name in DTYPES or type(name) is Term:
            obj.dtype = name
            call.machine.halved = call.machine.halved or name == "float16"
            obj.cast = (call.node, world.module)
    device = call.arg(None, "device")
    if device is not None:
        obj.device = device
    return world.put(call.machine.oid(world, "module", call.node), obj)


@library("torch.nn.*")
def torch_nn(call: Call) -> Value | None:
    """`torch.nn.Linear(...)`; functions of `torch.nn.functional` and `.utils` mix their tensors."""
    name = call.callee.name
    last = name.rpartition(".")[2]
    if last == "linear" and len(call.args) > 1:
        call.machine.product(call.world, call.args[:2], call.node)
    if last == "binary_cross_entropy":
        loss_under_autocast(call.machine, call.world, call.node)
    if name.startswith(("torch.nn.functional.", "torch.nn.init.")):
        return tensors(call)
    if name.startswith("torch.nn.utils."):
        return call.args[0] if call.args and last in ("weight_norm", "spectral_norm") else tensors(call)
    if last in ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel"):
        return wrapper(call)
    if last[:1].isupper():
        return make_module(call)
    return tensors(call)


def tensors(call: Call) -> Value:
    """A function of tensors: its result is all of them."""
    if call.callee.name.rpartition(".")[2] in BENDING and any(
        call.machine.of_gradients(call.world, value) for value in call.values
    ):
        return term("grad-derived", call.fresh())
    flow: Flow | None = None
    for value in call.values:
        flow = mix(flow, call.machine.factor(call.world, value), call.place)
    if flow is not None and not call.world.grad:
        flow = flow._replace(grad=False)
    if flow is not None and flow.dtype is not None and (call.wild or len(call.values) > 1):
        flow = flow._replace(dtype=product_dtype(call))
    if flow is not None and call.callee.name.endswith(("_loss", "cross_entropy", ".mean", "_div")):
        flow = flow._replace(summed=call.const(None, "reduction", None) == "sum")
        if call.callee.name.endswith(("_loss", "cross_entropy")):
            flow = flow._replace(divided=False)  # by what its inputs were divided, the loss is not
    return call.fresh(flow)


def product_dtype(call: Call) -> str | None:
    """The dtype of a product of matrices: that of all its factors."""
    last = call.callee.name.rpartition(".")[2]
    if call.wild or last not in ("matmul", "mm", "bmm", "einsum"):
        return None
    dtypes = {getattr(flow_of(value), "dtype", None) for value in call.args[last == "einsum" :]}
    return dtypes.pop() if len(dtypes) == 1 else None


@library(
    "torchvision.models.*", "timm.create_model", "timm.models.create_model", "segmentation_models_pytorch.*"
)
def known_models(call: Call) -> Value:
    """Model zoos."""
    return make_module(call, "constructor")


@library("transformers.*", "diffusers.*", "sentence_transformers.*")
def hub(call: Call) -> Value | None:
    """`AutoModel.from_pretrained(...)`; tokenizers, configurations and helpers are unknown."""
    parts = call.callee.name.split(".")
    last = parts[-1]
    cls = parts[-2] if len(parts) > 1 else ""
    if last in ("from_pretrained", "from_config", "from_single_file"):
        if any(word in cls for word in ("Tokenizer", "Processor", "Feature")):
            # What it makes of texts and images is data: no parameter is in it.
            return term("call", call.callee, *call.args)
        if any(word in cls for word in ("Config", "Scheduler", "Pipeline")):
            return call.fresh()
        return make_module(call, "pretrained", Lib(".".join(parts[:-1])))
    if "Model" in last or "For" in last:
        return make_module(call, "constructor")
    if not call.machine.harmless(call.callee) and last[:1].islower() and not last.startswith("get_"):
        return call.machine.opaque(call.world, call.callee, call.args, call.keywords, call.node)
    return call.fresh()


@library(
    "torch.nn.parallel.DistributedDataParallel",
    "torch.nn.DataParallel",
    "torch.nn.parallel.DataParallel",
    "torch.distributed.fsdp.FullyShardedDataParallel",
    "torch.compile",
    "torch.jit.script",
    "torch.jit.trace",
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm",
    "apex.parallel.DistributedDataParallel",
    "apex.parallel.convert_syncbn_model",
    "torch.quantization.prepare_qat",
)
def wrapper(call: Call) -> Value | None:
    """What wraps a module keeps its identity."""
    value = call.arg(0, "module")
    if value is None:
        value = call.arg(0, "model")
    return value


@library("copy.deepcopy", "copy.copy")
def deepcopy(call: Call) -> Value | None:
    """A copy has its own life."""
    value = call.arg(0)
    inner = call.machine.as_ref(call.world, value)
    obj = call.world.heap.get(inner.oid) if type(inner) is Ref else None
    if isinstance(obj, Model):
        made = obj.copy()
        made.node, made.name, made.made, made.owner = call.node, "", "copy", None
        made.attrs = {}
        made.assumed = False
        return call.world.put(call.machine.oid(call.world, "copy", call.node), made)
    return call.fresh(None if value is None else flow_of(value))


# -- methods of modules, and of unknowns that may be modules or tensors --


@method("module", "parameters", "named_parameters", "buffers")
@method("*", "parameters", "named_parameters")
def parameters(call: Call) -> Value:
    """A one-shot iterator over the parameters."""
    names = call.name == "named_parameters"
    cells = Cells(frozenset({call.receiver}), names=names)
    if call.name == "buffers":
        return call.fresh()
    ref = call.machine.oid(call.world, "iterator", call.node)
    return call.world.put(ref, Iter(call.node, call.world.module, cells))


@method("module", "children", "modules", "named_modules", "named_children")
def children(call: Call) -> Value:
    """Modules below; which, is not known."""
    return term("below", call.receiver, call.name)


def _dtype_argument(call: Call) -> str | None:
    """The dtype among the arguments."""
    for value in call.values:
        name = call.machine.dtype_name(call.world, value)
        if name in DTYPES:
            return name
    if call.name == "to" and call.args:
        # `x.to(weight)`: as that is
        return call.machine.operand(call.world, call.args[0])[0]
    return None


@method("module", "half", "float", "bfloat16", "double")
def cast_module(call: Call) -> Value:
    """`model.half()`."""
    names = {"half": "float16", "float": "float32", "double": "float64"}
    call.machine.cast(call.world, call.receiver, names.get(call.name, call.name), call.node)
    return call.receiver


@method("module", "to", "cuda", "cpu", "xpu", "npu", "to_empty", "type")
def move_module(call: Call) -> Value:
    """`model.to(device, dtype)`."""
    dtype: Any = _dtype_argument(call)
    if dtype is None:
        choices = [call.machine.dtype_choice(call.world, value) for value in call.values]
        dtype = next((choice for choice in choices if type(choice) is Term), None)
    if dtype is not None:
        call.machine.cast(call.world, call.receiver, dtype, call.node)
    device: Value = None
    if call.name in ("cuda", "cpu"):
        device = call.arg(0, "device") or Const(call.name)
    else:
        for value in (call.arg(0), call.arg(None, "device")):
            if value is not None and call.machine.dtype_choice(call.world, value) is None:
                device = value
    if device is not None:
        call.machine.move(call.world, call.receiver, device, call.node)
    return call.receiver


@method("module", "train", "eval", "apply", "share_memory", "compile", "zero_init", "init_weights")
def same_module(call: Call) -> Value:
    """Returns the module itself."""
    if call.name == "apply" and call.args:
        applied(call.machine, call.world, call.receiver, call.args[0], call.node)
    return call.receiver


@method("module", "requires_grad_")
def requires_grad(call: Call) -> Value:
    """`model.requires_grad_(False)`."""
    value = call.arg(0, "requires_grad")
    known = True if value is None else call.world.truth(test_of(value))
    call.machine.freeze(call.world, frozenset({call.receiver}), known, call.node)
    return call.receiver


@method("element", "requires_grad_")
@method("parameters", "requires_grad_")
def parameter_requires_grad(call: Call) -> Value:
    """`p.requires_grad_(False)`."""
    value = call.arg(0, "requires_grad")
    known = TRUE if value is None else test_of(value)
    call.machine.special_store(call.world, call.receiver, "requires_grad", known, call.node)
    return call.receiver


@method("element", "detach", "clone")
def parameter_copy(call: Call) -> Value:
    """A copy of a parameter is another tensor."""
    cells: Cells = call.receiver
    copies = frozenset(term("copy", root) for root in cells.roots)
    return cells._replace(roots=copies)


@method("element", "float", "half", "bfloat16", "to", "cpu", "cuda")
def parameter_cast(call: Call) -> Value:
    """`p.data.float()`: the dtype is remembered, for a store."""
    names = {"half": "float16", "float": "float32", "bfloat16": "bfloat16"}
    dtype = names.get(call.name) or (_dtype_argument(call) if call.name == "to" else None)
    return call.receiver if dtype is None else call.receiver._replace(what=f"cast:{dtype}")


@attribute("element", "data")
def parameter_data(machine: Any, world: Any, value: Cells, node: Any) -> Value:
    """`p.data`."""
    return value


@attribute("element", "requires_grad")
def parameter_trains(machine: Any, world: Any, value: Cells, node: Any) -> Value:
    """Whether a parameter is trained: known where all of its modules agree."""
    symbol = world.attrs.get((value, "#"))
    base = symbol if type(symbol) is Term else term("fresh", "p", id(node), world.ctx, ())
    states = set()
    for root in value.roots:
        ref = machine.as_ref(world, root)
        known = type(ref) is Ref and isinstance(world.heap.get(ref.oid), Model)
        states |= {part.trainable for _, part in machine.tree(world, ref)} if known else {None}
    if states == {False}:
        return FALSE
    return term("attr", base, "requires_grad")


@attribute("element", "shape", "ndim", "size", "name", "dtype", "device", "numel")
def parameter_property(machine: Any, world: Any, value: Cells, node: Any) -> Value:
    """Something about a parameter: a symbol of the loop's element."""
    symbol = world.attrs.get((value, "#"))
    name = getattr(node, "attr", "property")
    return term("attr", symbol, name) if type(symbol) is Term else machine.fresh(world, node)


@method("element", "*")
def parameter_method(call: Call) -> Value:
    """Other methods of a parameter."""
    symbol = call.world.attrs.get((call.receiver, "#"))
    if call.name in SUMMED:
        return call.fresh(Flow(call.receiver.roots, grad=call.world.grad))
    if type(symbol) is Term:
        return term("call", Lib(f"parameter.{call.name}"), symbol, *call.args)
    return call.fresh()


@method("module", "gradient_checkpointing_enable", "enable_input_require_grads", "config")
def module_setting(call: Call) -> Value:
    """Settings of a model."""
    call.tell(LibraryCall, name=call.name, things=(call.receiver,))
    return NONE


@method("module", "state_dict")
def state_dict(call: Call) -> Value:
    """The state of a module."""
    return term("state_dict", "module", call.receiver.oid)


@method("module", "load_state_dict")
def load_state_dict(call: Call) -> Value:
    """A module is restored."""
    call.tell(Load, of="module", things=(call.receiver,))
    return call.fresh()


@method("module", "zero_grad")
def zero_grad(call: Call) -> Value:
    """`model.zero_grad()`."""
    call.machine.zero(call.world, call.node, Cells(frozenset({call.receiver})))
    return NONE


@method("module", "backward")
def backward(call: Call) -> Value:
    """`engine.backward(loss)`: DeepSpeed and the like."""
    call.machine.unknown_backward(call.world, call.node)
    return NONE


@method("module", "step")
def engine_step(call: Call) -> Value:
    """`engine.step()`."""
    return NONE


@method("module", "add_module", "register_module", "append", "insert", "__setattr__")
def add_module(call: Call) -> Value:
    """A child is added."""
    world = call.world
    for value in call.args:
        inner = call.machine.as_ref(world, value)
        if type(inner) is Ref and isinstance(world.heap.get(inner.oid), Model):
            name = call.const(0, "name")
            key = name if isinstance(name, str) else f"+{len(getattr(world.get(call.receiver), 'attrs', {}))}"
            changed: Model = world.edit(call.receiver)
            changed.attrs[key] = inner
            if not call.machine._constructing(world, call.receiver):
                call.machine.inject(world, call.receiver, inner, key, "add_module", call.node)
    return NONE


@method("module", "forward")
def forward(call: Call) -> Value:
    """`model.forward(x)` is `model(x)` without hooks."""
    obj: Any = call.world.get(call.receiver)
    return call.machine.forward(
        call.world, call.receiver, obj, call.args, call.keywords, call.node, call.wild
    )


@method("module", "*")
def other_method(call: Call) -> Value:
    """A method that is not seen: perhaps a forward by another name."""
    world = call.world
    obj: Any = world.get(call.receiver)
    if call.name.startswith(
        ("_", "get_", "set_", "save", "load", "register", "print", "log", "num_", "remove")
    ):
        return call.fresh()
    if obj.hidden or obj.assumed:
        values = list(call.values)
        call.machine.escape(world, values, call.node, call.name)
        if obj.attrs and obj.cls is not None:
            call.machine.escape(world, list(obj.attrs.values()), call.node, call.name)
    flow: Flow | None = None
    for value in call.values:
        flow = mix(flow, flow_of(value), call.place)
    dtype, enabled = call.machine.precision(world)
    if dtype == "none":
        dtype = "maybe"
    own = Flow(frozenset({call.receiver}), precision=frozenset({(dtype, enabled)}), grad=world.grad)
    return call.fresh(mix(flow, own, call.place))


@attribute("module", "module", "_orig_mod", "base_model")
def unwrapped(machine: Any, world: Any, value: Ref, node: Any) -> Value:
    """The module inside of a wrapper is itself."""
    return value


@attribute("module", "training", "config")
def module_property(machine: Any, world: Any, value: Ref, node: Any) -> Value:
    """Plain attributes."""
    return term("attr", value, getattr(node, "attr", "training"))


# -- unknowns --


@method("*", "half", "bfloat16", "float", "double")
def cast_unknown(call: Call) -> Value:
    """A module, if the program uses it as one; else a tensor of another dtype."""
    receiver = call.receiver
    names = {"half": "float16", "float": "float32", "double": "float64"}
    dtype = names.get(call.name, call.name)
    if type(receiver) is not Term:
        return call.fresh()
    if cast_walked(call.machine, call.world, receiver, dtype, call.node):
        return receiver
    if receiver.flow is None and _is_module(call):
        ref = call.machine.as_module(call.world, receiver, call.node, call.receiver_name)
        if ref is not None:
            call.machine.cast(call.world, ref, dtype, call.node)
            return ref
    flow = receiver.flow
    made = (Flow() if flow is None else flow)._replace(dtype=dtype)
    return term("tensor", receiver, dtype, flow=made)


def _is_module(call: Call) -> bool:
    """Whether the program uses the receiver, under the name it has here or where it came from, as one."""
    return any(
        name and call.machine.looks_like_module(name) for name in (call.receiver_name, chain(call.receiver))
    )


@method("*", "to", "cuda", "cpu", "npu", "xpu", "type", "type_as")
def move_unknown(call: Call) -> Value:
    """Moved: the same thing. With a dtype: cast."""
    receiver = call.receiver
    if type(receiver) is not Term:
        return receiver if type(receiver) is not Const else call.fresh()
    dtype = _dtype_argument(call)
    if dtype is not None:
        call.name = {"float": "float32", "half": "float16"}.get(dtype, dtype)
        if cast_walked(call.machine, call.world, receiver, call.name, call.node):
            return receiver
        if receiver.flow is None and _is_module(call):
            ref = call.machine.as_module(call.world, receiver, call.node, call.receiver_name)
            if ref is not None:
                call.machine.cast(call.world, ref, call.name, call.node)
                return ref
        flow = Flow() if receiver.flow is None else receiver.flow
        return term("tensor", receiver, call.name, flow=flow._replace(dtype=call.name))
    if receiver.flow is not None and receiver.flow.dtype is not None and not _only_device(call):
        return term("tensor", receiver, "?", flow=receiver.flow._replace(dtype=None))
    return receiver


def _of_module(call: Call, value: Value) -> bool:
    """Whether a value is an attribute of a module that no name says to be a device: `layer.weight`."""
    if type(value) is not Term or value.op != "attr" or "dev" in value.args[1]:
        return False
    return isinstance(call.machine.object(call.world, value.args[0]), Model)


def _only_device(call: Call) -> bool:
    """Whether `.to(...)` names a device and no dtype that is not known."""
    if call.name != "to":
        return call.name not in ("type", "type_as")
    if call.wild or "dtype" in call.keywords or "other" in call.keywords:
        return False
    for index, value in enumerate(call.args):
        value = call.world.resolve(value)
        if type(value) is Ref or flow_of(value) is not None or _of_module(call, value):
            return False  # another tensor
        if type(value) is Const or call.machine.device_name(call.world, value) is not None:
            continue
        if type(value) is Term and (
            value.op == "device" or (value.op == "attr" and value.args[1] == "device")
        ):
            continue
        node = call.arg_node(index)
        if node is not None and "dtype" not in ast.dump(node):
            continue
        return False
    return True


@method("*", "train", "eval", "requires_grad_", "share_memory")
def maybe_module(call: Call) -> Value:
    """Returns the receiver; freezing an unknown makes it a module."""
    if call.name == "requires_grad_" and type(call.receiver) is Term and _is_module(call):
        ref = call.machine.as_module(call.world, call.receiver, call.node, call.receiver_name)
        if ref is not None:
            call.receiver = ref
            return requires_grad(call)
    return call.receiver


@method("*", "detach", "item", "tolist", "numpy")
def detached(call: Call) -> Value:
    """Cut off from the graph."""
    flow = flow_of(call.receiver)
    if flow is not None or call.machine.of_gradients(call.world, call.receiver):
        return term("call", Lib(f"tensor.{call.name}"), call.receiver)
    return call.fresh()


@method(
    "*", "mean", "sum", "view", "reshape", "squeeze", "unsqueeze", "clone", "contiguous", "mul", "add", "sub"
)
def tensor_method(call: Call) -> Value:
    """A tensor stays what it is."""
    flow = flow_of(call.receiver)
    if call.name in ("sum", "mean") and flow is not None:
        flow = flow._replace(summed=call.name == "sum")
    for value in call.args:
        flow = mix(flow, flow_of(value), call.place)
    return call.fresh(flow)


@method("module", "t", "transpose")
@method("*", "t", "transpose", "permute")
def transposed(call: Call) -> Value:
    """The same numbers."""
    return term("transposed", call.receiver, flow=flow_of(call.receiver))


@method("*", "matmul", "mm", "bmm")
def matmul(call: Call) -> Value:
    """`x.matmul(w)`."""
    if call.args:
        call.machine.product(call.world, [call.receiver, call.args[0]], call.node)
    flow = flow_of(call.receiver)
    for value in call.args:
        flow = mix(flow, flow_of(value), call.place)
    return call.fresh(flow)


@method("*", "div", "div_", "mul_", "true_divide")
def divided(call: Call) -> Value:
    """`loss.div_(n)`."""
    import ast

    if not call.args:
        return call.fresh(flow_of(call.receiver))
    op = ast.Mult if call.name == "mul_" else ast.Div
    return call.machine.arithmetic(call.world, op, call.receiver, call.args[0], call.node)


@library("torch.*")
def torch_function(call: Call) -> Value | None:
    """Functions of torch: queries are pure, the others mix their tensors."""
    machine = call.machine
    name = call.callee.name
    if machine.is_query(call.callee, call.values):
        return term("call", call.callee, *call.values)
    last = name.rpartition(".")[2]
    if last in ("matmul", "mm", "bmm") and len(call.args) > 1:
        machine.product(call.world, call.args[:2], call.node)
    if name == "torch.device":
        return term("device", *call.args) if call.args else call.fresh()
    if last in ("randn", "rand", "zeros", "ones", "empty", "full", "tensor", "linspace", "eye"):
        dtype = call.arg(None, "dtype")
        known = machine.dtype_name(call.world, dtype) if dtype is not None else None
        if dtype is None and last in ("randn", "rand", "zeros", "ones", "empty", "eye") and not call.wild:
            known = "float32"
        return call.fresh(Flow(dtype=known) if known is not None else None)
    if "lr_scheduler" in name:
        return call.fresh()
    if name.startswith("torch.utils.checkpoint."):
        return checkpointed(call)
    return tensors(call)


def checkpointed(call: Call) -> Value:
    """`checkpoint(function, *args)` calls the function."""
    call.tell(
        LibraryCall,
        name="torch.utils.checkpoint.checkpoint",
        reentrant=call.const(None, "use_reentrant", None),
    )
    if call.args:
        return call.machine.call_value(call.world, call.args[0], call.args[1:], {}, call.node, True)
    return call.fresh()
