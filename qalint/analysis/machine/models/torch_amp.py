"""`torch.amp`: scalers, autocast, and contexts that go with them."""

from __future__ import annotations

from typing import Any

from ..calls import Call
from ..objects import Instance, Optimizer, Scaler
from ..story import LibraryCall, Load, ScalerCreated
from ..values import NONE, TRUE, Auto, Const, Method, Mode, Ref, Term, Value, term
from . import attribute, library, method
from .torch_optim import finish, run_closure

UNSEEN = "an argument that is not seen"


def _enabled(call: Call, index: int) -> Value:
    given = call.arg(index, "enabled")
    if given is None and call.wild:
        return term("attr", term("fresh", "**", id(call.node), 0, ()), "enabled")
    return given


@library(
    "torch.amp.GradScaler",
    "torch.GradScaler",
    "torch.amp.grad_scaler.GradScaler",
    "torch.cpu.amp.GradScaler",
    "torch.cpu.amp.grad_scaler.GradScaler",
    "torch.cuda.amp.GradScaler",
    "torch.cuda.amp.grad_scaler.GradScaler",
    "torch.distributed.fsdp.sharded_grad_scaler.ShardedGradScaler",
    "torch.distributed.fsdp.ShardedGradScaler",
    "fairscale.optim.grad_scaler.ShardedGradScaler",
    "torch_xla.amp.GradScaler",
    "deepspeed.GradScaler",
)
def grad_scaler(call: Call) -> Value:
    """A scaler; the position of `enabled` depends on the spelling."""
    name = call.callee.name
    old = name.startswith(("torch.cuda.", "torch.cpu.", "torch_xla", "fairscale"))
    enabled = _enabled(call, 4 if old else 5)
    world = call.world
    obj = Scaler(call.node, world.module, "", enabled)
    ref = world.put(call.machine.oid(world, "scaler", call.node), obj)
    made = (Const("made"), repr(ref.oid))
    obj.again = world.attrs.get(made) is TRUE
    world.attrs[made] = TRUE
    # The place replaces what it made before; no optimizer remembers the old one's scale.
    for other, optimizer in world.of_kind(Optimizer):
        if optimizer.by == ref:
            world.edit(other).by = None
    call.tell(ScalerCreated, scaler=ref, enabled=call.machine.enabled(world, enabled), api=name)
    return ref


@library(
    "torch.autocast", "torch.amp.autocast", "torch.amp.autocast_mode.autocast", "torch.autocast_mode.autocast"
)
def autocast(call: Call) -> Value:
    """`torch.autocast(device_type, dtype, enabled)`."""
    device = call.arg(0, "device_type")
    dtype = call.arg(1, "dtype")
    if dtype is None and call.wild:
        dtype = term("attr", term("fresh", "**", id(call.node), 0, ()), "dtype")
    return Auto(device, dtype, _enabled(call, 2), call.node, call.world.module)


@library(
    "torch.cuda.amp.autocast",
    "torch.cuda.amp.autocast_mode.autocast",
    "torch.npu.amp.autocast",
    "torch_xla.amp.autocast",
)
def cuda_autocast(call: Call) -> Value:
    """`torch.cuda.amp.autocast(enabled, dtype)`."""
    dtype = call.arg(1, "dtype")
    if dtype is None and call.wild:
        dtype = term("attr", term("fresh", "**", id(call.node), 0, ()), "dtype")
    return Auto(Const("cuda"), dtype, _enabled(call, 0), call.node, call.world.module, True)


@library("torch.cpu.amp.autocast", "torch.cpu.amp.autocast_mode.autocast")
def cpu_autocast(call: Call) -> Value:
    """`torch.cpu.amp.autocast(enabled, dtype)`."""
    return Auto(Const("cpu"), call.arg(1, "dtype"), _enabled(call, 0), call.node, call.world.module)


@library("torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.autograd.inference_mode")
def no_grad(call: Call) -> Value:
    """No graph is built inside."""
    if call.args and type(call.args[0]).__name__ == "Fn":
        return call.args[0]._replace(flags=call.args[0].flags | {"nograd"})
    return Mode("nograd")


@library("torch.enable_grad")
def enable_grad(call: Call) -> Value:
    """A graph is built inside."""
    return Mode("grad")


@library("torch.set_grad_enabled", "torch.autograd.set_grad_enabled")
def set_grad_enabled(call: Call) -> Value:
    """Either of the two."""
    value = call.world.truth(call.arg(0, "mode"))
    return Mode("other" if value is None else ("grad" if value else "nograd"))


@library("contextlib.nullcontext", "contextlib.suppress", "contextlib.closing")
def nullcontext(call: Call) -> Value:
    """A context that changes nothing."""
    return Mode("null", call.args[0] if call.args and not call.callee.name.endswith("suppress") else NONE)


@library("contextlib.ExitStack", "contextlib.AsyncExitStack")
def exit_stack(call: Call) -> Value:
    """A context that others are entered into while it is open; each is left with it."""
    return Mode("stack", term("fresh", "stack", id(call.node), call.world.ctx, call.world.loops))


@method("scaler", "scale")
def scale(call: Call) -> Value:
    """`scaler.scale(loss)`."""
    return call.machine.scale(call, call.receiver)


@method("scaler", "__call__")
def scaler_call(call: Call) -> Value:
    """A scaler refined by name that is called is a wrapper that is not seen."""
    return call.machine.opaque(call.world, call.callee, call.args, call.keywords, call.node)


def _wrapped(call: Call, obj: Any) -> Ref | None:
    """The one optimizer inside of a wrapper; with none or several, nothing is known of any."""
    held = list(obj.attrs.values()) if isinstance(obj, Instance) else []
    inner = [call.machine.as_ref(call.world, value) for value in held]
    found = [ref for ref in inner if type(ref) is Ref and isinstance(call.world.heap.get(ref.oid), Optimizer)]
    if len(found) == 1:
        return found[0]
    for ref, _ in call.world.of_kind(Optimizer):
        call.machine.lose(call.world, ref)
    return None


def _optimizer(call: Call) -> Ref | None:
    value = call.arg(0, "optimizer")
    if value is None:
        return None
    value = call.machine.decide(call.world, value)
    value = call.machine.as_ref(call.world, value)
    if type(value) is Ref:
        obj = call.world.heap.get(value.oid)
        if not isinstance(obj, Optimizer):
            return _wrapped(call, obj)
        if obj.extra.get("weak"):
            call.world.edit(value).extra.pop("weak")
        name = call.arg_name(0, "optimizer")
        if name and obj.name != name:
            call.world.edit(value).name = name
        return value
    if type(value) is Term:
        return call.machine.refine(call.world, value, "optimizer", call.node, call.arg_name(0, "optimizer"))
    return None


@method("scaler", "unscale_")
def unscale(call: Call) -> Value:
    """`scaler.unscale_(optimizer)`."""
    optimizer = _optimizer(call)
    if optimizer is not None:
        call.machine.unscale(call, call.receiver, optimizer)
    return NONE


@method("scaler", "step")
def step(call: Call) -> Value:
    """`scaler.step(optimizer)`."""
    optimizer = _optimizer(call)
    if optimizer is None:
        return call.fresh()
    call.machine.scaler_step(call, call.receiver, optimizer)
    closure = call.arg(1)
    return call.fresh() if closure is None else finish(call, run_closure(call, closure, optimizer))


@method("scaler", "update")
def update(call: Call) -> Value:
    """`scaler.update()`."""
    call.machine.update(call, call.receiver)
    return NONE


@method("scaler", "is_enabled")
def is_enabled(call: Call) -> Value:
    """What `enabled=` was."""
    obj: Any = call.world.get(call.receiver)
    return TRUE if obj.enabled is None else obj.enabled


@method("scaler", "get_scale")
def get_scale(call: Call) -> Value:
    """The scale: arithmetic with it is understood."""
    return term("call", Method(call.receiver, "get_scale"))


@method("scaler", "state_dict")
def state_dict(call: Call) -> Value:
    """The state of a scaler."""
    call.tell(LibraryCall, name="state_dict", of="scaler", things=(call.receiver,))
    return term("state_dict", "scaler", call.receiver.oid)


@method("scaler", "load_state_dict")
def load_state_dict(call: Call) -> Value:
    """A scaler is restored."""
    call.tell(Load, of="scaler", things=(call.receiver,))
    return NONE


@method("scaler", "*")
def scaler_other(call: Call) -> Value:
    """Other methods of a scaler leave its state alone."""
    return call.fresh()


@attribute("scaler", "_enabled")
def enabled_attribute(machine: Any, world: Any, value: Ref, node: Any) -> Value:
    """What `enabled=` was."""
    obj = world.get(value)
    return TRUE if obj.enabled is None else obj.enabled


@attribute("scaler", "_scale")
def scale_attribute(machine: Any, world: Any, value: Ref, node: Any) -> Value:
    """The scale itself."""
    return term("call", Method(value, "get_scale"))


@attribute("scaler", "_per_optimizer_states")
def stages_attribute(machine: Any, world: Any, value: Ref, node: Any) -> Value:
    """The scaler's own record: whoever reads it acts by it, in ways that no path here could tell apart."""
    changed = world.edit(value)
    for ref, optimizer in world.of_kind(Optimizer):
        if optimizer.by == value or ref.oid in changed.stages:
            machine.lose(world, ref)
    changed.stages, changed.left, changed.pending = {}, {}, None
    return term("attr", value, "_per_optimizer_states")


@method("*", "unscale_")
def unknown_unscale(call: Call) -> Value:
    """Only a scaler has `unscale_`: refined by use."""
    scaler = call.machine.refine(call.world, call.receiver, "scaler", call.node, call.receiver_name)
    if scaler is None or not isinstance(call.world.heap.get(scaler.oid), Scaler):
        return call.machine.opaque(call.world, call.callee, call.args, call.keywords, call.node)
    call.receiver = scaler
    return unscale(call)


@method("*", "scale")
def unknown_scale(call: Call) -> Value:
    """`X.scale(loss)` of something that no use shows to be a scaler."""
    value = call.arg(0)
    if value is None:
        return call.fresh()
    flow = call.machine.flow(value)
    call.world.tags = call.world.tags | {"scaler"}
    return call.fresh(flow._replace(scaling="unknown", scaler=None))


@method("context", "enter_context", "enter_async_context")
def enter_context(call: Call) -> Value:
    """`stack.enter_context(manager)`: in force until the stack is left."""
    value = call.arg(0, "cm")
    if type(call.receiver) is not Mode or value is None:
        return call.fresh()
    return call.machine.enter_into(call.world, call.receiver, value, call.node)


@method("context", "close", "aclose")
def close_stack(call: Call) -> Value:
    """`stack.close()`: what was entered into it is left."""
    if type(call.receiver) is Mode:
        call.machine.leave_stack(call.world, call.receiver)
    return NONE


@method("context", "pop_all")
def pop_all(call: Call) -> Value:
    """What was entered stays so, until the stack that this gives is left."""
    if type(call.receiver) is not Mode:
        return call.fresh()
    return call.machine.hand_on(call.world, call.receiver, exit_stack(call))


@method("context", "__enter__")
def enter(call: Call) -> Value:
    """A context entered by hand stays entered."""
    if type(call.receiver) is Auto:
        call.world.auto = (*call.world.auto, (call.receiver, ()))
    return call.receiver


@method("context", "__exit__")
def leave(call: Call) -> Value:
    """A context left by hand."""
    if type(call.receiver) is Mode:
        call.machine.leave_stack(call.world, call.receiver)
    call.world.auto = tuple(pair for pair in call.world.auto if pair[0] != call.receiver)
    return NONE
