"""What torch refuses to compute in the precision that is in force."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from .objects import Model
from .paths import World, autocast_stack
from .story import Forward
from .values import Lib, Place, Ref

if TYPE_CHECKING:
    from .interpreter import Machine

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
