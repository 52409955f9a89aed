"""Parameters that tests choose, and what several choices of one model make together.

`[p for p in parameters if p.ndim > 1]` and `[p for p in parameters if p.ndim <= 1]` are both a part of
the model, and together they are the model.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from .facts import dotted
from .values import NOTHING, Cells, Term, tests_in

Form = Any
"""A test in normal form: ("is", atom, outcome), ("and", forms) or ("or", forms)."""

TRAINED: Form = ("is", "requires_grad", True)
_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.NotEq: ast.Eq,
    ast.NotIn: ast.In,
    ast.IsNot: ast.Is,
}
_COUNTS = ("ndim", "dim", "ndimension", "len")


def narrowed(cells: Cells, generator: ast.comprehension) -> Cells:
    """What the tests of a comprehension leave of some parameters; by dtype, any of them."""
    target = generator.target
    bound = target.elts if isinstance(target, ast.Tuple) else [target]
    names = {
        node.id: f"${len(bound) - index}" for index, node in enumerate(bound) if isinstance(node, ast.Name)
    }
    filtered = cells.filtered
    tests = set(cells.tests)
    known = filtered is None or bool(tests)
    for test in conjuncts(generator.ifs):
        if isinstance(test, ast.Attribute) and test.attr == "requires_grad":
            filtered = filtered or "trainable"
            tests.add(TRAINED)
        elif not (isinstance(test, ast.Compare) and dotted(test.left).endswith(".grad")):
            filtered = "partial"
            tests.add(form(test, names))
            if any(isinstance(inner, ast.Attribute) and inner.attr == "dtype" for inner in ast.walk(test)):
                return cells._replace(filtered=filtered, wide=True, tests=NOTHING)
    return cells._replace(filtered=filtered, tests=frozenset(tests) if known else NOTHING)


def chosen(cells: Cells, known: dict[Term, bool]) -> Cells:
    """What a path leaves of some parameters on which these tests of the one at hand have come out so."""
    if not known:
        return cells
    parts = {inner for test in known for inner in tests_in(test) if inner is not test}
    tests = cells.tests.union(("is", test, outcome) for test, outcome in known.items() if test not in parts)
    if cells.filtered is not None and not cells.tests:
        return cells._replace(filtered="partial")
    return cells._replace(filtered=_kind(tests), tests=tests)


def conjuncts(tests: Iterable[ast.expr]) -> list[ast.expr]:
    """The tests that all must hold, those of an `and` apart."""
    found: list[ast.expr] = []
    for test in tests:
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            found += conjuncts(test.values)
        else:
            found.append(test)
    return found


def form(test: ast.expr, names: dict[str, str]) -> Form:
    """The normal form of a test of a parameter, in which the loop's own names do not matter."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return negated(form(test.operand, names))
    if isinstance(test, ast.BoolOp):
        kind = "and" if isinstance(test.op, ast.And) else "or"
        return (kind, frozenset(form(value, names) for value in test.values))
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return _compared(test.left, type(test.ops[0]), test.comparators[0], names)
    return ("is", _text(test, names), True)


def _compared(left: ast.expr, op: type[ast.cmpop], right: ast.expr, names: dict[str, str]) -> Form:
    if op is ast.Gt or op is ast.LtE:  # b < a, or not that
        return _less(right, left, names, op is ast.Gt)
    if op is ast.Lt or op is ast.GtE:
        return _less(left, right, names, op is ast.Lt)
    positive = _NEGATED.get(op, op)
    return ("is", (positive.__name__, _text(left, names), _text(right, names)), positive is op)


def _less(left: ast.expr, right: ast.expr, names: dict[str, str], outcome: bool) -> Form:
    """`left < right`; of a count, `1 < n` is `not n < 2`."""
    number = getattr(left, "value", None)
    call = right.func if isinstance(right, ast.Call) else right
    if type(number) is int and dotted(call).rpartition(".")[2] in _COUNTS:
        return ("is", ("Lt", _text(right, names), repr(number + 1)), not outcome)
    bound = repr(right.value) if isinstance(right, ast.Constant) else _text(right, names)
    return ("is", ("Lt", _text(left, names), bound), outcome)


def _text(node: ast.expr, names: dict[str, str]) -> str:
    node = deepcopy(node)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            inner.id = names.get(inner.id, inner.id)
    return ast.dump(node)


def negated(test: Form) -> Form:
    """The form of a test's negation."""
    if test[0] == "is":
        return ("is", test[1], not test[2])
    return ("or" if test[0] == "and" else "and", frozenset(map(negated, test[1])))


def united(parts: list[Cells]) -> list[Cells]:
    """The same parameters, with choices of one model that complete each other put together."""
    parts = list(parts)
    index = 0
    while index < len(parts):
        for other in range(index + 1, len(parts)):
            whole = _completed(parts[index], parts[other])
            if whole is not None:
                parts[index] = whole
                del parts[other]
                index = -1
                break
        index += 1
    return parts


def _completed(one: Cells, other: Cells) -> Cells | None:
    """Both together, where they differ in one test alone, which is true of the one and not of the other."""
    if one.roots != other.roots or not one.tests or not other.tests:
        return None
    both = one.tests & other.tests
    if both in (one.tests, other.tests) or negated(_all(one.tests - both)) != _all(other.tests - both):
        return None
    return one._replace(filtered=_kind(both), tests=both, wide=one.wide or other.wide)


def _all(tests: frozenset[Form]) -> Form:
    return next(iter(tests)) if len(tests) == 1 else ("and", tests)


def _kind(tests: frozenset[Form]) -> str | None:
    """How what is left of the tests chooses."""
    if not tests:
        return None
    return "trainable" if all(map(_trained, tests)) else "partial"


def _trained(test: Form) -> bool:
    """Whether a test asks whether a parameter is trained; on a path, it is a term."""
    if test == TRAINED:
        return True
    atom = test[1]
    return (
        test[0] == "is"
        and test[2] is True
        and type(atom) is Term
        and atom.op == "attr"
        and (atom.args[1] == "requires_grad")
    )
