"""Optimizers, gradient clipping, and arithmetic on gradients."""

from __future__ import annotations

import math
from typing import Any

from ..base import Head, Multi
from ..calls import Call
from ..facts import OPTIMIZERS
from ..objects import Instance, Model, Optimizer, Scaler
from ..paths import World
from ..selection import united
from ..story import LibraryCall, Load, OptimizerCreated
from ..values import NONE, Bound, Cells, Const, Flow, Fn, Partial, Ref, Term, Value, flow_of, term
from . import attribute, library, method


def make_optimizer(call: Call, cls: str, cells: Cells | None) -> Value:
    """A new optimizer at the call."""
    machine, world = call.machine, call.world
    if cells is None:
        cells = Cells(frozenset(), wide=True)
    cells = cells._replace(
        roots=frozenset(machine.as_ref(world, root) for root in cells.roots), what="parameters", names=False
    )
    obj = Optimizer(call.node, world.module, cells, cls)
    obj.fused = call.const(None, "fused", False) is True
    obj.born = world.tick()
    ref = world.put(machine.oid(world, "optimizer", call.node), obj)
    for other, scaler in world.of_kind(Scaler):
        if ref.oid in scaler.stages:
            world.edit(other).stages.pop(ref.oid)
    call.tell(
        OptimizerCreated,
        optimizer=ref,
        things=tuple(sorted(cells.roots, key=repr)),
        made=cls,
        filtered=cells.filtered,
        wide=cells.wide,
    )
    return ref


@library(
    "torch.optim.*", "torch_optimizer.*", "bitsandbytes.optim.*", "apex.optimizers.*", "pytorch_optimizer.*"
)
def optimizer(call: Call) -> Value | None:
    """`torch.optim.AdamW(params, ...)`; schedulers and helpers are left alone."""
    name = call.callee.name
    last = name.rpartition(".")[2]
    if "lr_scheduler" in name or "swa_utils" in name or not last[:1].isupper():
        return call.fresh()
    if last.endswith(("LR", "Scheduler", "OnPlateau")):
        return call.fresh()
    given = call.arg(0, "params")
    cells = None
    if given is not None:
        given = call.machine.as_ref(call.world, given)
        cells = call.machine.cells_of(call.world, given, call.node)
        if cells is None and type(given) is Term:
            cells = Cells(frozenset({given}), wide=True)
        if cells is None and call.const(0, "params") == []:
            cells = Cells(frozenset())
    return make_optimizer(call, last, cells)


@library(
    *(
        f"{base}.{name}"
        for name in OPTIMIZERS
        for base in (
            "transformers",
            "transformers.optimization",
            "deepspeed.ops.adam",
            "lion_pytorch",
            "timm.optim",
            "prodigyopt",
            "dadaptation",
            "adabelief_pytorch",
            "ranger",
            "came_pytorch",
        )
    )
)
def other_optimizer(call: Call) -> Value | None:
    """Optimizers of other libraries."""
    return optimizer(call)


@method("optimizer", "step")
def step(call: Call) -> Value:
    """`optimizer.step()`; a closure is called before the update, by LBFGS more than once."""
    closure = call.arg(0, "closure")
    if closure is None:
        call.machine.optimizer_step(call, call.receiver)
        return call.fresh()
    event = call.machine.step_event(call.world, call.node, call.receiver)
    worlds = run_closure(call, closure, call.receiver)
    for world in worlds:
        each = Call(call.machine, world, call.node, call.callee, [], {}, False, call.receiver, call.name)
        call.machine.optimizer_step(each, call.receiver, event)
    return finish(call, worlds)


def run_closure(call: Call, closure: Value, optimizer: Value) -> list[World]:
    """The worlds after a step has called its closure: LBFGS does so any number of times."""
    machine, world = call.machine, call.world
    closure = machine.as_ref(world, closure)
    obj = world.heap.get(optimizer.oid)
    if type(closure) not in (Fn, Bound, Partial):
        return [world]
    head = Head()
    machine.arrive(world, head)
    try:
        machine.call_value(world, closure, [], {}, call.node)
        worlds = [world]
    except Multi as multi:
        worlds = multi.worlds
    for each in worlds:
        if isinstance(obj, Optimizer) and obj.cls == "LBFGS":
            machine.arrive(each, head)
        if optimizer.oid in each.heap:
            each.edit(optimizer).extra.pop("again", None)  # each call stands alone
    return worlds


def finish(call: Call, worlds: list[World]) -> Value:
    """The result of a call that came back in several worlds."""
    for world in worlds:
        world.ret = call.machine.fresh(world, call.node)
    if len(worlds) > 1 or worlds[0] is not call.world:
        raise Multi(worlds)
    return call.world.ret


@method("optimizer", "zero_grad")
def zero_grad(call: Call) -> Value:
    """`optimizer.zero_grad()`."""
    call.machine.zero_optimizer(call, call.receiver)
    return NONE


@method("optimizer", "add_param_group")
def add_param_group(call: Call) -> Value:
    """More parameters."""
    obj: Optimizer = call.world.edit(call.receiver)
    group = call.arg(0, "param_group")
    cells = None
    inner = call.machine.object(call.world, group) if group is not None else None
    if inner is not None and inner.kind == "dict":
        value = inner.items.get("params")  # type: ignore[attr-defined]
        cells = None if value is None else call.machine.cells_of(call.world, value, call.node)
    if cells is None:
        obj.cells = obj.cells._replace(wide=True)
    else:
        whole = united([obj.cells, cells])
        kept = whole[0] if len(whole) == 1 else obj.cells._replace(tests=frozenset())
        obj.cells = kept._replace(roots=obj.cells.roots | cells.roots)
    obj.extra["added"] = call.place
    return NONE


@method("optimizer", "backward")
def optimizer_backward(call: Call) -> Value:
    """`optimizer.backward(loss)` (fairseq, Hivemind): something unseen scales."""
    call.machine.unknown_backward(call.world, call.node)
    return NONE


@method("optimizer", "state_dict")
def state_dict(call: Call) -> Value:
    """The state of an optimizer."""
    call.tell(LibraryCall, name="state_dict", of="optimizer", things=(call.receiver,))
    return term("state_dict", "optimizer", call.receiver.oid)


@method("optimizer", "load_state_dict")
def load_state_dict(call: Call) -> Value:
    """An optimizer is restored."""
    call.tell(Load, of="optimizer", things=(call.receiver,))
    return NONE


@method("optimizer", "*")
def optimizer_other(call: Call) -> Value:
    """Other methods: those of wrappers that are not known make the state unknown."""
    if call.name.startswith(("step", "clip", "backward", "optimize", "multiply", "unscale")):
        call.machine.lose(call.world, call.receiver)
    return call.fresh()


@attribute("optimizer", "param_groups")
def param_groups(machine: Any, world: Any, ref: Ref, node: Any) -> Value:
    """The groups: their parameters are the optimizer's."""
    obj = world.get(ref)
    return Cells(obj.cells.roots | {ref}, obj.cells.filtered, False, False, "groups")


@attribute("optimizer", "optimizer", "optim")
def inner_optimizer(machine: Any, world: Any, ref: Ref, node: Any) -> Value:
    """The optimizer inside of a wrapper."""
    return ref


def _cells(call: Call, index: int, name: str) -> Cells | None:
    value = call.arg(index, name)
    if value is None:
        return None
    value = call.machine.as_ref(call.world, value)
    cells = call.machine.cells_of(call.world, value, call.node)
    if cells is None and type(value) is Term and value.op == "list":
        cells = call.machine.cells_of(call.world, value.args[0], call.node)
    return cells


def _measures(call: Call, index: int, name: str) -> bool:
    value = call.arg(index, name)
    if value is None:
        return False
    value = call.world.resolve(value)
    if type(value) is Const:
        return value.value is None or (isinstance(value.value, float) and math.isinf(value.value))
    return type(value).__name__ == "Lib" and value.name.rpartition(".")[2] in ("inf", "Inf")


def _keeps(call: Call, index: int, name: str) -> bool:
    """Whether scaled gradients may be clipped so: it only measures, or the bound is scaled as well."""
    return _measures(call, index, name) or call.machine.unscales_by_hand(call.arg(index, name))


@library(
    "torch.nn.utils.clip_grad_norm_",
    "torch.nn.utils.clip_grad_norm",
    "torch.nn.utils.clip_grad.clip_grad_norm_",
    "torch.nn.utils.clip_grads_with_norm_",
)
def clip_grad_norm(call: Call) -> Value:
    """Clips by the norm; `inf` only measures."""
    call.machine.clip(call, _cells(call, 0, "parameters"), "norm", _keeps(call, 1, "max_norm"))
    return term("grad-norm", call.fresh())


@library("torch.nn.utils.clip_grad_value_", "torch.nn.utils.clip_grad.clip_grad_value_")
def clip_grad_value(call: Call) -> Value:
    """Clips each value."""
    call.machine.clip(call, _cells(call, 0, "parameters"), "value", _keeps(call, 1, "clip_value"))
    return NONE


@library("timm.utils.dispatch_clip_grad", "timm.utils.clip_grad.dispatch_clip_grad")
def dispatch_clip_grad(call: Call) -> Value:
    """timm's clip."""
    call.machine.clip(call, _cells(call, 0, "parameters"), "norm", _keeps(call, 1, "value"))
    return NONE


@method("grad", "clamp_", "clip_", "clamp_max_", "clamp_min_", "sign_", "nan_to_num_")
def clamp_grad(call: Call) -> Value:
    """`p.grad.clamp_()`."""
    if call.name != "nan_to_num_":
        call.machine.clip_at(call.world, call.node, call.receiver, "clamp", False)
    return call.receiver


@method("grad", "mul_", "div_")
def scale_grad(call: Call) -> Value:
    """A linear change, unless the factor comes from the gradients."""
    factor = call.arg(0)
    call.machine.grad_changed(call.world, call.receiver, call.name, factor, call.node)
    return call.receiver


@method("grad", "copy_")
def store_grad(call: Call) -> Value:
    """`p.grad.copy_(other)`, which may be the gradient itself, clipped."""
    if call.args and call.machine._derived(call.args[0]):
        call.machine.clip_at(call.world, call.node, call.receiver, "edit", False)
    return call.receiver


@method("grad", "zero_")
def zero_grad_tensor(call: Call) -> Value:
    """`p.grad.zero_()`."""
    call.machine.grad_cleared(call.world, call.receiver, call.node)
    return call.receiver


@method("*", "zero_")
def zero_unknown(call: Call) -> Value:
    """`w.grad.zero_()` of a tensor that is no module's: whichever optimizer has it may be cleared."""
    value = call.receiver
    while type(value) is Term and value.op == "attr" and value.args[1] in ("data", "grad"):
        if value.args[1] == "grad":
            call.machine.perhaps_cleared(call.world)
            break
        value = value.args[0]
    return call.receiver


@method("grad", "detach_", "detach", "requires_grad_", "float", "cpu", "clone", "data", "view", "to")
def same_grad(call: Call) -> Value:
    """The gradient itself, or a copy of it."""
    return call.receiver


@method("grad", "clamp", "clip")
def clamped_copy(call: Call) -> Value:
    """A clamped copy, that may be stored back."""
    return term("clamped", call.fresh())


@method("grad", "norm", "abs", "max", "mean", "pow", "sum")
def grad_derived(call: Call) -> Value:
    """A number that comes from the gradients: scaling by it is not linear."""
    return term("grad-derived", call.fresh())


@method("grad", "*")
def other_grad(call: Call) -> Value:
    """Other methods do not change it."""
    return call.fresh()


@attribute("grad", "data")
def grad_data(machine: Any, world: Any, value: Cells, node: Any) -> Value:
    """`p.grad.data`."""
    return value


@attribute("element", "grad")
@attribute("parameters", "grad")
def grad(machine: Any, world: Any, value: Cells, node: Any) -> Value:
    """`p.grad`."""
    found = value._replace(what="grad")
    symbol = world.attrs.get((value, "#"))
    if symbol is not None:
        world.attrs[(found, "#")] = symbol
    return found


@method("*", "clamp_", "clip_")
def clamp_unknown(call: Call) -> Value:
    """`x.grad.clamp_()` of a parameter that is not known as one."""
    receiver = call.receiver
    if type(receiver) is Term and receiver.op == "attr":
        if receiver.args[1] == "data" and type(receiver.args[0]) is Term and receiver.args[0].op == "attr":
            receiver = receiver.args[0]
        if receiver.args[1] == "grad":
            base = receiver.args[0]
            call.machine.clip_at(call.world, call.node, Cells(frozenset({base})), "clamp", False)
            return call.receiver
    return call.fresh(flow_of(call.receiver))


@method("*", "backward")
def backward(call: Call) -> Value:
    """`loss.backward()`, or `engine.backward(loss)`, which is not seen."""
    machine, world = call.machine, call.world
    receiver = call.receiver
    own = flow_of(receiver)
    if type(receiver) is Ref:
        obj = world.heap.get(receiver.oid)
        if isinstance(obj, Model | Instance):
            machine.unknown_backward(world, call.node)
            return NONE
    given = call.arg(0, "gradient")
    if given is not None and own is None:
        machine.unknown_backward(world, call.node)
        return NONE
    machine.backward(world, receiver, call.node, call.receiver_name)
    return NONE


@library("torch.autograd.backward")
def autograd_backward(call: Call) -> Value:
    """`torch.autograd.backward(loss)`."""
    value = call.arg(0, "tensors")
    if value is not None:
        machine = call.machine
        items = machine.known_items(call.world, value)
        unroll = machine.unroll
        for index, item in enumerate(items if items is not None else [value]):
            machine.unroll = (*unroll, index)
            try:
                machine.backward(call.world, item, call.node, call.arg_name(0))
            finally:
                machine.unroll = unroll
    return NONE


@library("torch.autograd.grad")
def autograd_grad(call: Call) -> Value:
    """Gradients that are returned, not stored; with a graph, a penalty on them feeds the model."""
    outputs = call.arg(0, "outputs")
    flow = None if outputs is None else flow_of(outputs)
    graph = call.const(4, "create_graph", False)
    if flow is None or flow.scaling != "plain" or graph is NotImplemented:
        return call.fresh()  # Scaled ones are usually divided by the scale next, in ways not followed here.
    return call.fresh(flow._replace(dtype=None) if graph else Flow(grad=False))


@method("*", "zero_grad")
def module_zero_grad(call: Call) -> Value:
    """`model.zero_grad()`."""
    call.machine.zero(call.world, call.node, Cells(frozenset({call.receiver})))
    return NONE


@method("*", "step")
def unknown_step(call: Call) -> Value | None:
    """A scheduler, a profiler, an environment; with an optimizer in hand, something unseen that steps it."""
    for value in call.values:
        inner = call.machine.as_ref(call.world, value)
        if type(inner) is Ref and isinstance(call.world.heap.get(inner.oid), Optimizer):
            call.machine.lose(call.world, inner)
            call.machine.why(
                call.world, call.node, f"the optimizer is stepped by `{call.receiver_name}`, not seen"
            )
    return None
