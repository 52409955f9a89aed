"""The `mo.ui` elements of a notebook: what is bound to which name, and where a value is read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from qalint.analysis.notebook import Cell, Notebook, bindings, is_name


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


def containers(notebook: Notebook, cell: Cell) -> dict[str, ast.Name]:
    """The plain lists and dictionaries of elements that the cell makes, each bound once."""
    found: dict[str, ast.Name] = {}
    for target, value in bindings(cell.body):
        match value:
            case ast.List(elts=[first, *_]) | ast.Tuple(elts=[first, *_]) | ast.Dict(values=[first, *_]):
                pass
            case ast.ListComp(elt=first) | ast.DictComp(value=first):
                pass
            case _:
                continue
        if isinstance(target, ast.Name) and len(cell.stores(target.id)) == 1:
            if made_by(notebook, cell, first) is not None:
                found[target.id] = target
    return found


def container_reads(cell: Cell, name: str) -> Iterator[ast.Attribute]:
    """Where the cell itself reads the `.value` of what the list or dictionary `name` holds."""
    stack: list[tuple[ast.AST, frozenset[str]]] = [(s, frozenset()) for s in reversed(cell.body)]
    while stack:
        node, items = stack.pop()
        inside = items
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() | ast.ClassDef():
                continue
            case ast.For(iter=iterable, target=target):
                inside = items | _items(iterable, target, name)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                for each in node.generators:
                    inside |= _items(each.iter, each.target, name)
            case ast.Attribute(attr="value", ctx=ast.Load(), value=ast.Name(id=item)) if item in items:
                yield node
            case ast.Attribute(attr="value", ctx=ast.Load(), value=ast.Subscript(value=ast.Name(id=root))):
                if root == name:
                    yield node
            case _:
                pass
        stack.extend((child, inside) for child in reversed(list(ast.iter_child_nodes(node))))


def _items(iterable: ast.expr, target: ast.expr, name: str) -> frozenset[str]:
    """The loop variables that hold the elements of `name`."""
    match iterable, target:
        case ast.Name(id=over), ast.Name(id=item) if over == name:
            return frozenset({item})
        case ast.Call(func=ast.Attribute(value=ast.Name(id=over), attr="values")), ast.Name(id=item):
            return frozenset({item} if over == name else ())
        case (
            (
                ast.Call(func=ast.Attribute(value=ast.Name(id=over), attr="items"))
                | ast.Call(func=ast.Name(id="enumerate"), args=[ast.Name(id=over), *_])
            ),
            ast.Tuple(elts=[_, ast.Name(id=item)]),
        ):
            return frozenset({item} if over == name else ())
    return frozenset()


class Stop(NamedTuple):
    """One `mo.stop(predicate, output)` at the top level of a cell, or alone under an `if`."""

    statement: ast.Expr | ast.If
    call: ast.Call
    predicate: ast.expr
    output: ast.expr | None


def stops(notebook: Notebook, cell: Cell) -> Iterator[Stop]:
    """The `mo.stop` calls among the cell's top-level statements.

    `if test: mo.stop(True)` stops on the test.
    """
    for statement in cell.body:
        inner, test = statement, None
        if isinstance(statement, ast.If) and not statement.orelse:
            inner, test = statement.body[-1], statement.test
        match inner:
            case ast.Expr(value=ast.Call(func=func) as call) if notebook.marimo(cell, func) == "stop":
                given = {each.arg: each.value for each in call.keywords if each.arg}
                predicate = call.args[0] if call.args else given.get("predicate")
                output = call.args[1] if len(call.args) > 1 else given.get("output")
                if test is not None:
                    constant = isinstance(predicate, ast.Constant) and bool(predicate.value)
                    predicate = test if constant else None
                if predicate is not None and isinstance(statement, ast.Expr | ast.If):
                    yield Stop(statement, call, predicate, output)
            case _:
                pass


def gate(predicate: ast.expr) -> str | None:
    """The name of the button in `not button.value`, `button.value is None`, `button.value == False`."""
    tested = _tested(predicate)
    match tested:
        case ast.Attribute(value=ast.Name(id=name), attr="value"):
            return name
        case None if isinstance(predicate, ast.BoolOp) and isinstance(predicate.op, ast.Or):
            return next((found for each in predicate.values if (found := gate(each))), None)
    return None


def gate_by_name(notebook: Notebook, cell: Cell, predicate: ast.expr) -> tuple[str, Cell] | None:
    """The button in `not clicked`, where one cell binds `clicked = button.value`, and that cell."""
    tested = _tested(predicate)
    found = copied_value(notebook, cell, tested.id) if isinstance(tested, ast.Name) else None
    return None if found is None else found[:2]


def copied_value(notebook: Notebook, cell: Cell, name: str) -> tuple[str, Cell, ast.expr] | None:
    """The element whose value the name holds (`n = slider.value`), the cell that binds it, and where."""
    definers = [cell] if name in cell.bound else notebook.definers(name)
    if len(definers) != 1 or len(definers[0].stores(name)) != 1:
        return None
    for target, value in bindings(definers[0].body):
        match value:
            case ast.Attribute(value=ast.Name(id=held), attr="value") if is_name(target, name):
                return held, definers[0], value
            case _:
                pass
    return None


def _tested(predicate: ast.expr) -> ast.expr | None:
    """What must be true to pass the stop: x in `not x`, `x is None`, `x == False`."""
    match predicate:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand
        case ast.Compare(
            left=left, ops=[ast.Is() | ast.Eq()], comparators=[ast.Constant(value=None | False)]
        ):
            return left
    return None
