"""The `mo.ui` elements of a notebook: what is bound to which name, and where a value is read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from qalint.analysis.notebook import Cell, Notebook, bindings


class Element(NamedTuple):
    """A `mo.ui` element bound to a name: `kind` is `slider`, `run_button`, ... or `batch`."""

    name: str
    kind: str
    cell: Cell
    target: ast.Name
    call: ast.Call


def elements(notebook: Notebook, cell: Cell) -> dict[str, Element]:
    """The elements that the cell itself creates and binds at its top level, by name."""
    table: dict[int, dict[str, Element]] = notebook.memo.setdefault("elements", {})
    if cell.number in table:
        return table[cell.number]
    found: dict[str, Element] = {}
    for target, value in bindings(cell.body):
        if isinstance(target, ast.Name) and (made := made_by(notebook, cell, value)):
            found[target.id] = Element(target.id, made[0], cell, target, made[1])
    table[cell.number] = found
    return found


def element(notebook: Notebook, cell: Cell, name: str) -> Element | None:
    """The element that the name holds in `cell`: its own, or the one of the cell that defines it."""
    if name in cell.bound:
        return elements(notebook, cell).get(name)
    for definer in notebook.definers(name):
        if found := elements(notebook, definer).get(name):
            return found
    return None


def made_by(notebook: Notebook, cell: Cell, value: ast.expr) -> tuple[str, ast.Call] | None:
    """The kind of element that the expression makes, with the call that makes it."""
    kind = None
    expr = value
    while isinstance(expr, ast.Call):
        marimo = notebook.marimo(cell, expr.func)
        if marimo is not None and marimo.startswith("ui."):
            return (kind or marimo.removeprefix("ui."), expr)
        if not isinstance(expr.func, ast.Attribute):
            return None
        if expr.func.attr in ("form", "batch"):
            kind = kind or expr.func.attr
        if marimo is not None:
            return (kind, expr) if kind else None
        expr = expr.func.value
    return None


class ValueRead(NamedTuple):
    """`name.value`, where `name` holds an element; `deferred`: inside a function."""

    node: ast.Attribute
    name: str
    deferred: bool
    root: ast.Name


def value_reads(cell: Cell) -> Iterator[ValueRead]:
    """All reads of `<name>.value`, and of `<name>[...].value`, in the cell, in file order."""
    stack: list[tuple[ast.AST, bool]] = [(statement, False) for statement in reversed(cell.body)]
    while stack:
        node, deferred = stack.pop()
        if isinstance(node, ast.Attribute) and node.attr == "value" and isinstance(node.ctx, ast.Load):
            match node.value:
                case (ast.Name() as root) | ast.Subscript(value=ast.Name() as root):
                    yield ValueRead(node, root.id, deferred, root)
                case _:
                    pass
        inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        stack.extend((child, inside) for child in reversed(list(ast.iter_child_nodes(node))))


class Stop(NamedTuple):
    """One `mo.stop(predicate, output)` at the top level of a cell."""

    statement: ast.Expr
    call: ast.Call
    predicate: ast.expr
    output: ast.expr | None


def stops(notebook: Notebook, cell: Cell) -> Iterator[Stop]:
    """The `mo.stop` calls among the cell's top-level statements."""
    for statement in cell.body:
        match statement:
            case ast.Expr(value=ast.Call(func=func) as call) if notebook.marimo(cell, func) == "stop":
                given = {each.arg: each.value for each in call.keywords if each.arg}
                predicate = call.args[0] if call.args else given.get("predicate")
                output = call.args[1] if len(call.args) > 1 else given.get("output")
                if predicate is not None:
                    yield Stop(statement, call, predicate, output)
            case _:
                pass


def gate(predicate: ast.expr) -> str | None:
    """The name of the button in `not button.value`, `button.value is None`, `button.value == False`."""
    match predicate:
        case ast.UnaryOp(op=ast.Not(), operand=ast.Attribute(value=ast.Name(id=name), attr="value")):
            return name
        case ast.Compare(
            left=ast.Attribute(value=ast.Name(id=name), attr="value"),
            ops=[ast.Is() | ast.Eq()],
            comparators=[ast.Constant(value=None | False)],
        ):
            return name
        case ast.BoolOp(op=ast.Or(), values=values):
            return next((found for each in values if (found := gate(each))), None)
    return None
