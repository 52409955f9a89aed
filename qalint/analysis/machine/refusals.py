"""What torch refuses to compute in the precision that is in force."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from .objects import Model
from .paths import World, autocast_stack
from .story import Forward
from .values import Const, Lib, Place, Ref, Value, flow_of

if TYPE_CHECKING:
    from .calls import Call
    from .interpreter import Machine

LARGEST = 65504
"""Beyond this, float16 holds nothing but infinity."""

PROBABILITIES = "torch.nn.BCELoss"
"""The loss that CUDA's autocast refuses, as a module; as a function it is `binary_cross_entropy`."""


def refuses(machine: Machine, world: World, ref: Ref) -> bool:
    """Whether a module holds a loss that may be refused in the precision in force."""
    if not world.auto or not machine.program.refused:
        return False
    return any(type(obj.cls) is Lib and obj.cls.name == PROBABILITIES for _, obj in machine.tree(world, ref))


def loss_under_autocast(machine: Machine, world: World, node: ast.AST, made: Model | None = None) -> None:
    """A cross entropy of probabilities is computed: CUDA's autocast raises, whatever its inputs are."""
    contexts = autocast_stack(world)
    if not contexts:
        return
    auto = contexts[-1]
    dtype, _ = machine.auto_precision(world, auto)
    if dtype == "none" or machine.device_name(world, auto.device) not in (None, "cuda"):
        return
    place: Place | None = (made.node, made.module) if made is not None and made.node is not None else None
    entered: Place = (auto.node, auto.module)
    event: Any = machine.tell(world, Forward, node, loss=True)
    machine.fault(
        world,
        "unsafe-loss-under-autocast",
        event,
        event,
        [(entered, "autocast is entered here"), (place, "the loss is made here")],
        {},
        "function" if made is None else "module",
        {"autocast": entered, "loss": place},
    )


def overflow(call: Call, tensor: Value, index: int, name: str) -> None:
    """A number is written into a tensor: one beyond float16 cannot be, into one of that dtype."""
    flow = flow_of(tensor)
    given = call.arg(index, name)
    node = call.arg_node(index, name)
    if flow is None or flow.dtype != "float16" or given is None or node is None:
        return
    number = call.world.resolve(given)
    value: Any = number.value if type(number) is Const else None
    if type(value) not in (int, float) or not LARGEST < abs(value) < float("inf"):
        return
    machine, world = call.machine, call.world
    if machine.unseen_caller:
        return  # whoever calls this decides its dtype
    event = machine.tell(world, Forward, node, loss=False)
    call_at: Place = (call.node, world.module)
    caller = machine.callers[0] if machine.callers else None
    machine.fault(
        world,
        "half-overflow-constant",
        event,
        event,
        [(caller, "the model is called in float16 here")],
        {"number": repr(value)},
        "min" if value < 0 else "max",
        {"call": call_at},
    )
