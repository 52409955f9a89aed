"""What a program does to its modules, parameters and tensors, in the order in which it does it."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple

from .values import Site, Test, Unknown, Value

KINDS = """
load        a model comes to be: target Mod
attach      a module, parameter or function is put into a module: target (the receiving Mod), value, name, how
            (init, attribute, setattr, add_module, item, forward, hook, parametrize, peft)
freeze      requires_grad is set: target (Mod or Param), flag (True, False, None unknown), filters
mistaken    an attribute is set that freezes nothing (`require_grad`): target Mod, name
optimizer   an optimizer is built: target Optim
group       an optimizer is given more: target Optim, value
cast        target (Mod, Param), value the dtype
move        target (Mod, Param), value the device
forward     a module is called: target Mod, args
backward    backward of a loss runs
step        an optimizer steps: target Optim
train       something trains that cannot be followed (a Trainer): target Mod
count       parameters are counted or printed: target Mod
inputs      inputs are made to require gradients: target Mod or Tensor
checkpoint  raw activation checkpointing: flag is use_reentrant (None: not given), target the running Mod
restore     a module loads its parameters: target Mod
scatter     a module is wrapped by what moves its inputs for it: target Mod
escape      a module goes where it cannot be followed: target Mod, name the library function, if it is one
clash       tensors that do not fit meet: how `dtype` or `device`, target and value, name the operation
promote     float16 and float32 are added: target and value the two, flag True once the sum goes on as it is
pair        an input goes through two own matrices: target the first, value the second, info owner, in, out
cut         what two own matrices made of an input is added after `detach()`: target Tensor
discard     the result of `to` or its kin on a tensor is thrown away: target Tensor, name the method
nonleaf     a parameter's cast or moved copy is used as a parameter: target Param, name the method
tensor      a module gets a plain tensor as attribute: target Mod, value Tensor, name
listed      a module or parameter is put in a plain list or dict that is an attribute: target Mod, value, name
moved       a factory's result is moved at once: target Tensor, value the device, name the method
attribute   a module's `device` or `dtype` is read: target Mod, name
floor       a floor-divided factor scales an adapter: value Unknown
read        a layer's dimensions are read: target Mod (the layer), name the attribute, value
bound       a dimension of a layer gets a name: target Dim, name, value the target's node
use         a plain tensor attribute is read: target Mod, value Tensor, name
match       a dotted name is tested for strings: target the named Mod, value the test
config      a peft configuration is made: target
reflect     an attribute is read by a computed name: target Mod, value the name
clock       two clock readings are subtracted: target first, value second Clock
work        the device works (forward, backward, step): for clocks
wait        the program waits for the device
"""


class Guard(NamedTuple):
    """A test that must have gone `outcome` for an event to happen. `denied`: outcomes of other tests that do
    not hold all at once where it did (`a and b` went wrong: not both).
    """

    key: str
    outcome: bool
    value: Value
    node: ast.AST
    tests: tuple[Test, ...] = ()
    flavor: str = "other"
    denied: frozenset[tuple[str, bool]] = frozenset()


class Event:
    """One thing that happens. What `target`, `value`, `name`, `how`, `flag` say depends on `kind` (`KINDS`).

    `guards` are the tests on the way, `loops` the loops it is in, `stack` the calls that led here,
    outermost first, and `given` the models that each call was given; `inside`: a method of a module is
    running; `autocast` is True inside, False where none is in force, None unknown.
    """

    __slots__ = (
        "args",
        "autocast",
        "filters",
        "flag",
        "given",
        "grad",
        "guards",
        "how",
        "info",
        "inside",
        "kind",
        "loops",
        "name",
        "program",
        "site",
        "stack",
        "target",
        "time",
        "value",
    )

    def __init__(self, kind: str, site: Site, **fields: Any) -> None:
        self.kind = kind
        self.site = site
        self.time: int = 0
        self.guards: tuple[Guard, ...] = ()
        self.loops: tuple[ast.AST, ...] = ()
        self.stack: tuple[Site, ...] = ()
        self.autocast: bool | None = False
        self.grad = True
        self.inside = False
        self.given: tuple[frozenset[int], ...] = ()
        self.program = 0
        self.target: Any = None
        self.value: Any = None
        self.name: str = ""
        self.how: str = ""
        self.flag: Any = None
        self.filters: frozenset[str] = frozenset()
        self.args: list[Value] = []
        self.info: dict[str, Any] = {}
        for name, value in fields.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        line = getattr(self.site.node, "lineno", 0)
        return f"<{self.kind} {self.how} {self.name} line {line} {type(self.target).__name__}>"


def named(event: Event) -> list[tuple[Guard, Unknown]]:
    """The tests of a module's dotted name that must have gone well for an event, each with its value."""
    return [
        (guard, guard.value)
        for guard in event.guards
        if guard.outcome and isinstance(guard.value, Unknown) and guard.value.name_of is not None
    ]


def compatible(first: tuple[Guard, ...], second: tuple[Guard, ...]) -> bool:
    """Whether one path can take both sets of tests."""
    if not first or not second:
        return True
    known = {guard.key: guard.outcome for guard in first}
    if not all(known.get(guard.key, guard.outcome) == guard.outcome for guard in second):
        return False
    denied = [guard.denied for guard in (*first, *second) if guard.denied]
    if not denied:
        return True
    taken = {(guard.key, guard.outcome) for guard in (*first, *second)}
    return not any(outcomes <= taken for outcomes in denied)


def extra(guards: tuple[Guard, ...], than: tuple[Guard, ...]) -> tuple[Guard, ...]:
    """The tests of `guards` that `than` does not have."""
    known = {(guard.key, guard.outcome) for guard in than}
    return tuple(guard for guard in guards if (guard.key, guard.outcome) not in known)
