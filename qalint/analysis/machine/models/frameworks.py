"""Frameworks that own the training step: what they prepare is theirs for good."""

from __future__ import annotations

from typing import Any

from ..calls import Call
from ..objects import DictObj, Instance, ListObj, Model, Optimizer, Scaler
from ..story import FrameworkUse
from ..values import (
    NONE,
    PREPARED,
    Cells,
    Const,
    Lib,
    Mode,
    Ref,
    Term,
    Tup,
    Value,
    chosen,
    flow_of,
    term,
    through,
)
from . import attribute, library, method

OWNERS = {
    "accelerate": "Accelerate",
    "lightning": "Lightning",
    "pytorch_lightning": "Lightning",
    "lightning_fabric": "Fabric",
    "deepspeed": "DeepSpeed",
    "apex": "apex",
    "composer": "Composer",
    "ignite": "Ignite",
    "mmengine": "MMEngine",
    "mmcv": "MMCV",
    "fastai": "fastai",
    "colossalai": "ColossalAI",
    "torch_xla": "PyTorch/XLA",
    "trl": "TRL",
}


def taint(call: Call, value: Value, framework: str, quiet: bool = False) -> None:
    """Objects that a framework takes over: through tuples, lists, dicts and instances."""
    todo = [value]
    seen: set[Any] = set()
    while todo:
        each = call.machine.as_ref(call.world, todo.pop())
        if type(each) is Tup:
            todo += each.items
        elif type(each) is Term and each.op == "ite":
            todo += each.args[1:]
        elif type(each) is Ref and each.oid not in seen:
            seen.add(each.oid)
            obj = call.world.heap.get(each.oid)
            if isinstance(obj, Optimizer):
                changed = call.world.edit(each)
                changed.tainted = ("!" if quiet else "") + framework
                changed.places["framework"] = call.place
                changed.pending = {}
            elif isinstance(obj, Scaler):
                call.world.edit(each).tainted = framework
            elif isinstance(obj, ListObj):
                todo += obj.items
            elif isinstance(obj, DictObj):
                todo += obj.items.values()
            elif isinstance(obj, Instance) and not isinstance(obj, Model):
                todo += obj.attrs.values()


@library("accelerate.Accelerator", "accelerate.accelerator.Accelerator")
def accelerator(call: Call) -> Value:
    """An Accelerator."""
    return _framework(call, "Accelerate")


@library(
    "lightning.Fabric",
    "lightning.fabric.Fabric",
    "lightning_fabric.Fabric",
    "lightning.pytorch.Fabric",
    "pytorch_lightning.Fabric",
)
def fabric(call: Call) -> Value:
    """A Fabric."""
    return _framework(call, "Fabric")


def _framework(call: Call, name: str) -> Ref:
    world = call.world
    obj = Instance(call.node, world.module, Lib(call.callee.name))
    obj.hidden = True
    obj.attrs["#framework"] = Const(name)
    world.tags = world.tags | {"framework"}
    return world.put(call.machine.oid(world, "framework", call.node), obj)


def framework_of(call: Call) -> str:
    """The framework that the receiver is, or ""."""
    receiver = call.machine.as_ref(call.world, call.receiver)
    obj = call.world.heap.get(receiver.oid) if type(receiver) is Ref else None
    if isinstance(obj, Instance):
        found = obj.attrs.get("#framework")
        if type(found) is Const:
            return str(found.value)
    return ""


@method("*", "prepare", "setup", "prepare_model", "prepare_optimizer", "setup_optimizers")
@method(
    "instance", "prepare", "setup", "setup_module", "setup_optimizers", "prepare_model", "prepare_optimizer"
)
def prepare(call: Call) -> Value:
    """`accelerator.prepare(model, optimizer)`: the same objects, owned by the framework."""
    name = framework_of(call)
    holds = any(
        type(inner) is Ref and isinstance(call.world.heap.get(inner.oid), Optimizer)
        for inner in (call.machine.as_ref(call.world, value) for value in call.args)
    )
    if not name and not (holds and call.name == "prepare"):
        made = call.machine.opaque(call.world, call.callee, call.args, call.keywords, call.node)
        return call.machine.fresh(call.world, call.node, flow_of(made), PREPARED)
    for value in call.values:
        taint(call, value, name or "Accelerate", quiet=not name)
    call.tell(FrameworkUse, framework=name or "?", things=tuple(call.args))
    if call.wild:
        return call.fresh()
    return call.args[0] if len(call.args) == 1 else Tup(tuple(call.args))


@method("instance", "backward", "manual_backward")
def framework_backward(call: Call) -> Value:
    """`accelerator.backward(loss)`."""
    world = call.world
    if call.args:
        for ref, obj in world.of_kind(Optimizer):
            if obj.tainted:
                changed = world.edit(ref)
                changed.pending = {"framework": {}}
                changed.fresh = True
            else:
                call.machine.lose(world, ref)
        return NONE
    from .torch_optim import backward

    return backward(call)


@method("instance", "autocast", "accumulate", "no_sync", "no_backward_sync")
def framework_context(call: Call) -> Value:
    """A context that the framework decides."""
    return (
        Mode("other")
        if framework_of(call)
        else call.machine.opaque(call.world, call.callee, call.args, call.keywords, call.node)
    )


@method("instance", "clip_grad_norm_", "clip_grad_value_", "clip_gradients", "unscale_gradients")
def framework_clip(call: Call) -> Value:
    """The framework unscales before it clips."""
    return call.fresh()


@library("peft.get_peft_model", "peft.mapping.get_peft_model", "peft.mapping_func.get_peft_model")
def get_peft_model(call: Call) -> Value:
    """The base is frozen, and has adapters in FP32 now, unless it is told to give them its own dtype."""
    machine, world = call.machine, call.world
    given = call.arg(0, "model")
    base = (
        machine.as_module(world, given, call.node, call.arg_name(0, "model")) if given is not None else None
    )
    if base is None:
        return call.fresh()
    below: Model = world.get(base)  # type: ignore[assignment]
    adapter = Model(call.node, world.module, Lib("peft.adapter"))
    adapter.owner, adapter.trainable, adapter.dtype = base, True, "float32"
    if call.const(None, "autocast_adapter_dtype", True) is not True:
        adapter.dtype, adapter.cast, adapter.clock = below.dtype, below.cast, dict(below.clock)
    ref = world.put(machine.oid(world, "adapter", call.node), adapter)
    machine.freeze(world, frozenset({base}), False, call.node)
    world.edit(base).attrs["#adapter"] = ref
    machine.inject(world, base, ref, "", "peft", call.node)
    return base


def _scales(call: Call) -> bool:
    """Whether the configuration of an engine surely says FP16."""
    for name in ("config", "config_params"):
        given = call.arg(None, name)
        config = call.machine.object(call.world, given) if given is not None else None
        half = config.items.get("fp16") if isinstance(config, DictObj) else None
        inner = call.machine.object(call.world, half) if half is not None else None
        if isinstance(inner, DictObj):
            return call.world.truth(inner.items.get("enabled", NONE)) is True
    return False


@library("deepspeed.initialize", "colossalai.initialize", "torch_xla.distributed.fsdp.*")
def initialize(call: Call) -> Value:
    """`deepspeed.initialize(...)`: an engine that does everything."""
    world = call.world
    for value in call.values:
        taint(call, value, "DeepSpeed", quiet=True)
        inner = call.machine.as_ref(world, value)
        if type(inner) is Ref and isinstance(world.heap.get(inner.oid), Model):
            for part, _ in list(call.machine.tree(world, inner)):
                # The engine casts the model to what its configuration says.
                changed = world.edit(part)
                changed.dtype = changed.cast = None
    call.world.tags = call.world.tags | {"framework"}
    call.tell(FrameworkUse, framework="DeepSpeed", things=())
    if call.callee.name != "deepspeed.initialize" or call.arg(None, "optimizer") is not None:
        return call.fresh()
    made = Optimizer(call.node, world.module, Cells(frozenset(), wide=True), "", "")
    made.tainted = "DeepSpeed" if _scales(call) else "!DeepSpeed"
    made.places["framework"] = call.place
    owned = world.put(call.machine.oid(world, "optimizer", call.node), made)
    engine = call.fresh()
    rest = [term("item", engine, Const(index)) for index in (2, 3)]
    return Tup((_framework(call, "DeepSpeed"), owned, *rest))


@library("apex.amp.initialize")
def apex_initialize(call: Call) -> Value:
    """`model, optimizer = amp.initialize(model, optimizer)`."""
    for value in call.values:
        taint(call, value, "apex", quiet=True)
    call.world.tags = call.world.tags | {"framework"}
    call.tell(FrameworkUse, framework="apex", things=())
    models = list(call.args[:2])
    return models[0] if len(models) == 1 else Tup(tuple(models))


@library("apex.amp.scale_loss")
def scale_loss(call: Call) -> Value:
    """`with amp.scale_loss(loss, optimizer) as scaled_loss`: apex scales and unscales by itself."""
    value = call.arg(0, "loss")
    flow = None if value is None else call.machine.flow(value)
    for each in call.args[1:]:
        taint(call, each, "apex", quiet=True)
    call.world.tags = call.world.tags | {"framework"}
    return Mode(
        "framework", call.fresh(None if flow is None else flow._replace(scaling="unknown", scaler=None))
    )


@method("*", "optimizer_step")
@library("torch_xla.core.xla_model.optimizer_step")
def xla_step(call: Call) -> Value:
    """`xm.optimizer_step(optimizer)`: steps it."""
    for value in call.args:
        inner = call.machine.as_ref(call.world, call.machine.decide(call.world, value))
        if type(inner) is Ref and isinstance(call.world.heap.get(inner.oid), Optimizer):
            call.machine.lose(call.world, inner)
            for ref, scaler in call.world.of_kind(Scaler):
                if inner.oid in scaler.stages:
                    call.world.edit(ref).stages.pop(inner.oid)
    return NONE


@library("transformers.TrainingArguments", "transformers.Seq2SeqTrainingArguments")
def training_arguments(call: Call) -> Value:
    """The settings of a Trainer: with `fp16=True` it scales its losses by itself."""
    if call.const(None, "fp16", False) is True:
        call.tell(FrameworkUse, framework="Trainer", things=(), fp16=True)
    return call.fresh()


@library(
    "transformers.Trainer",
    "transformers.Seq2SeqTrainer",
    "trl.*",
    "composer.*",
    "ignite.*",
    "mmengine.*",
    "fastai.*",
    "colossalai.*",
    "pytorch_lightning.*",
    "lightning.*",
    "deepspeed.*",
    "mmcv.*",
    "apex.*",
    "accelerate.*",
    "torch_xla.*",
)
def owner(call: Call) -> Value:
    """Anything else of a framework: what it receives is its own."""
    name = OWNERS.get(call.callee.name.partition(".")[0], "a Trainer")
    if not call.callee.name.endswith((".set_seed", ".seed_everything")):
        for value in call.values:
            taint(call, value, name, quiet=True)
        call.world.tags = call.world.tags | {"framework"}
        call.tell(FrameworkUse, framework=name, things=())
    return call.fresh()


@attribute("*", "device")
def device(machine: Any, world: Any, value: Value, node: Any) -> Value | None:
    """`x.device`: a term."""
    return term("attr", value, "device")


@attribute("*", "type")
def device_type(machine: Any, world: Any, value: Value, node: Any) -> Value | None:
    """`device.type`: the device's text up to the colon, where that is known or a test decides it."""
    if type(value) is not Term or value.op != "device" or not chosen(value.args[0]):
        return None
    return through(value.args[0], lambda text: Const(str(text.value).partition(":")[0]))


__all__ = ["NONE", "flow_of"]
