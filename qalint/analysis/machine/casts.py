"""Casts of parameters one by one, and of the modules that a walk over a model meets.

`for p in model.parameters(): p.data = p.data.float()` is a cast of the model. Under a test of the parameter
it is one of some: of those that are trained, or of nobody knows which.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .objects import Model
from .paths import World
from .story import Cast
from .values import Cells, Fn, Lib, Method, Ref, Term, Value

if TYPE_CHECKING:
    from .interpreter import Machine

ELEMENTS = ("p", "n", "part")
"""What the symbols of a walk stand for: a parameter, a name, a module."""
CASTS = frozenset(("half", "bfloat16", "float", "double", "to", "type"))


def cast_parameters(machine: Machine, world: World, cells: Cells, dtype: str, node: ast.AST) -> None:
    """The data of the parameter that a loop is at is cast."""
    tests = machine.tests_of(world, cells)
    trained = [
        test for test in tests if test.op == "attr" and test.args[1] == "requires_grad" and tests[test]
    ]
    halves = [test for test in tests if _halves(machine, world, test, tests[test])]
    for root in cells.roots:
        ref = machine.as_module(world, root, node)
        if ref is None:
            continue
        if cells.filtered == "partial" or len(trained) + len(halves) < len(tests):
            doubt(machine, world, ref, node)
        elif halves and dtype == "float16":
            continue
        elif trained or cells.filtered == "trainable":
            cast_some(machine, world, ref, dtype, node, lambda part: part.trainable is not False)
        else:
            machine.cast(world, ref, dtype, node)


def _halves(machine: Machine, world: World, test: Term, outcome: bool) -> bool:
    """Whether a test holds for all parameters in FP16: that they are, or that they are not in FP32."""
    if test.op != "eq":
        return False
    dtypes = [machine.dtype_name(world, arg) for arg in test.args if type(arg) is Lib]
    asked = any(type(arg) is Term and arg.op == "attr" and arg.args[1] == "dtype" for arg in test.args)
    return asked and dtypes == (["float16"] if outcome else ["float32"])


def cast_some(
    machine: Machine,
    world: World,
    ref: Ref,
    dtype: str | None,
    node: ast.AST,
    wanted: Callable[[Model], bool],
) -> None:
    """Some parts of a model are cast; to None: nobody knows which."""
    place = (node, world.module)
    now = world.tick()
    parts = [each for each, part in machine.tree(world, ref) if wanted(part)]
    if dtype is not None:
        machine.tell(world, Cast, node, things=tuple(parts), dtype=dtype)
    for each in parts:
        changed: Any = world.edit(each)
        changed.dtype, changed.cast = dtype, place
        changed.clock["cast"] = now


def doubt(machine: Machine, world: World, ref: Ref, node: ast.AST) -> None:
    """Some of a model is cast, and nobody knows what: what was in FP16 is of an unknown dtype."""
    cast_some(machine, world, ref, None, node, lambda part: part.dtype == "float16")


def of_elements(test: Value) -> bool:
    """Whether a test asks about the parameter or module that a walk is at: it chooses parts, not paths."""
    return type(test) is Term and any(dep.op == "fresh" and dep.args[0] in ELEMENTS for dep in test.deps)


def walked(world: World, value: Value) -> Ref | None:
    """The model over whose modules a walk is that meets this one."""
    found = world.attrs.get((value, "below"))
    return found if type(found) is Ref else None


def cast_walked(machine: Machine, world: World, value: Term, dtype: str, node: ast.AST) -> bool:
    """A module that a walk over a model meets is cast; True if it is one."""
    ref = walked(world, value)
    if ref is None:
        return False
    site = value.args[1:]
    if any(dep.args[1:] == site for test in world.pc for dep in test.deps if dep.op == "fresh"):
        doubt(machine, world, ref, node)
    else:
        machine.cast(world, ref, dtype, node)
    return True


def applied(machine: Machine, world: World, ref: Ref, function: Value, node: ast.AST) -> None:
    """`model.apply(function)`: one that casts, casts nobody knows which of the modules."""
    inner = function.fn if hasattr(function, "fn") else function
    if type(inner) is Method:
        return
    if type(inner) is Fn and not any(
        isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr in CASTS
        for each in ast.walk(inner.node)
    ):
        return
    if type(inner) is Fn:
        doubt(machine, world, ref, node)
