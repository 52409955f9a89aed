"""What a test says of a value that is one of several: `x.to(d) if is_tensor(x) else x` leaves none behind."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from . import tensors
from .values import (
    Array,
    Class,
    Const,
    Device,
    Dict,
    Func,
    Lib,
    Mod,
    Optim,
    Param,
    Scope,
    Seq,
    Tensor,
    Union,
    Value,
    each,
    join,
)

if TYPE_CHECKING:
    from .core import Core

_NO_TENSORS = (Array, Class, Const, Device, Dict, Func, Lib, Mod, Optim, Seq)


def is_a(value: Value, names: set[str]) -> bool | None:
    """Whether a value is of one of some classes; None where that is not known."""
    if not names:
        return None
    if isinstance(value, Tensor | Param):
        if "torch.Tensor" in names:
            return True
        return (
            False if all(name.startswith(("builtins.", "numpy.", "collections.")) for name in names) else None
        )
    if isinstance(value, _NO_TENSORS) and names == {"torch.Tensor"}:
        return False
    if isinstance(value, Const | Seq | Dict) and all(name.startswith("builtins.") for name in names):
        real = (
            type(value.value).__name__
            if isinstance(value, Const)
            else value.kind
            if isinstance(value, Seq)
            else "dict"
        )
        return f"builtins.{real}" in names
    return None


def all_are(value: Value, names: set[str]) -> bool | None:
    """The same of a value that may be one of several."""
    answers = {is_a(option, names) for option in each(value)}
    return answers.pop() if len(answers) == 1 else None


def narrowed(run: Core, test: ast.expr, outcome: bool, scope: Scope) -> dict[str, Value]:
    """What names hold where a test went `outcome`, as far as it says more than before."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return narrowed(run, test.operand, not outcome, scope)
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) is outcome:
        found: dict[str, Value] = {}
        for part in test.values:
            found.update(narrowed(run, part, outcome, scope))
        return found
    if not isinstance(test, ast.Call) or not test.args or not isinstance(test.args[0], ast.Name):
        return {}
    name = test.args[0].id
    held = scope.vars.get(name)
    if not isinstance(held, Union):
        return {}
    if isinstance(test.func, ast.Name) and test.func.id == "isinstance" and len(test.args) == 2:
        names = tensors.class_names(run.ev(test.args[1], scope))
    elif isinstance(test.func, ast.Attribute) and test.func.attr == "is_tensor":
        names = {"torch.Tensor"}
    else:
        return {}
    kept: Value | None = None
    for option in held.options:
        if is_a(option, names) is not (not outcome):
            kept = join(kept, option)
    return {} if kept is None else {name: kept}
