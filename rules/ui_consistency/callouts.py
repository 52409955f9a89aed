"""The callouts of a notebook, and the literal kinds that can reach them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from qalint.analysis.notebook import Cell, Notebook, bindings, is_name, walk_statements

KINDS = ("neutral", "warn", "success", "info", "danger")
"""The kinds that marimo accepts."""

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Loop = ast.For | ast.AsyncFor | ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp


class Callout(NamedTuple):
    """One `mo.callout(value, kind)` or `html.callout(kind)`.

    `around` holds the nodes around the call, outermost first; `kind` is None where it is left out.
    """

    cell: Cell
    call: ast.Call
    value: ast.expr | None
    kind: ast.expr | None
    around: tuple[ast.AST, ...]


class Literal(NamedTuple):
    """A string that can become the kind, and the expression that chooses it."""

    node: ast.Constant
    value: str


def callouts(notebook: Notebook) -> list[Callout]:
    """All callouts of the notebook, at any depth, in file order."""
    if "callouts" not in notebook.memo:
        notebook.memo["callouts"] = list(_callouts(notebook))
    found: list[Callout] = notebook.memo["callouts"]
    return found


def _callouts(notebook: Notebook) -> Iterator[Callout]:
    for cell in notebook.cells:
        stack: list[tuple[ast.AST, tuple[ast.AST, ...]]] = [(s, ()) for s in reversed(cell.body)]
        while stack:
            node, around = stack.pop()
            if isinstance(node, ast.Call) and (found := _callout(notebook, cell, node, around)):
                yield found
            inside = (*around, node)
            stack.extend((child, inside) for child in reversed(list(ast.iter_child_nodes(node))))


def _callout(notebook: Notebook, cell: Cell, call: ast.Call, around: tuple[ast.AST, ...]) -> Callout | None:
    keyword = next((each.value for each in call.keywords if each.arg == "kind"), None)
    if keyword is None:
        options = next((each.value for each in call.keywords if each.arg is None), None)
        keyword = None if options is None else _option(notebook, cell, around, options)
    if notebook.marimo(cell, call.func) == "callout":
        value = (
            call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "value"), None)
        )
        kind = keyword or (call.args[1] if len(call.args) > 1 else None)
        return Callout(cell, call, value, kind, around)
    if call.args and keyword is not None and notebook.marimo(cell, call.args[0]) == "callout":
        return Callout(cell, call, None, keyword, around)  # functools.partial(mo.callout, kind=...)
    if isinstance(call.func, ast.Attribute) and call.func.attr == "callout" and len(call.args) <= 1:
        shown = notebook.display(cell).of(call.func.value)
        if shown is None and (keyword is None or call.args or _is_foreign(notebook, cell, call.func.value)):
            return None
        kind = keyword or (call.args[0] if call.args else None)
        return Callout(cell, call, call.func.value, kind, around)
    return None


def _is_foreign(notebook: Notebook, cell: Cell, receiver: ast.expr) -> bool:
    """Whether the object comes from a class of the notebook or another library, with a method of its own."""
    expr = receiver
    while isinstance(expr, ast.Attribute | ast.Call | ast.Subscript):
        expr = expr.func if isinstance(expr, ast.Call) else expr.value
    if not isinstance(expr, ast.Name):
        return False
    if notebook.imported(cell).get(expr.id, "marimo").split(".")[0] != "marimo":
        return True
    for definer in [cell] if expr.id in cell.bound else notebook.definers(expr.id):
        if any(isinstance(use.node, ast.ClassDef) for use in definer.stores(expr.id)):
            return True
        for target, value in bindings(definer.body):
            if is_name(target, expr.id) and value is not receiver and not is_name(value, expr.id):
                return _is_foreign(notebook, definer, value)
    return False


def _option(
    notebook: Notebook, cell: Cell, around: tuple[ast.AST, ...], options: ast.expr
) -> ast.expr | None:
    """The kind in `**options`, where the dictionary is written out."""
    found = [options]
    if isinstance(options, ast.Name):
        bare = Callout(cell, ast.Call(options, [], []), None, None, around)
        found = list(values_of(notebook, bare, options.id))
    match found:
        case [ast.Dict() as table]:
            return _entry(table, "kind")
    return None


def _entry(table: ast.Dict, key: object) -> ast.expr | None:
    """The value under a literal key of a dictionary that is written out."""
    for each, value in zip(table.keys, table.values, strict=True):
        if isinstance(each, ast.Constant) and each.value == key:
            return value
    return None


def literals(notebook: Notebook, callout: Callout) -> list[Literal]:
    """The literal kinds that can reach the callout: direct, by a name, a ternary, a table, a default."""
    if callout.kind is None:
        return []
    return _literals(notebook, callout, callout.kind, 0)


def _literals(notebook: Notebook, callout: Callout, expr: ast.expr, depth: int) -> list[Literal]:
    if depth > 4:
        return []
    match expr:
        case ast.Constant(value=str() as value):
            return [Literal(expr, value)]
        case ast.IfExp(body=body, orelse=orelse):
            return [
                *_literals(notebook, callout, body, depth + 1),
                *_literals(notebook, callout, orelse, depth + 1),
            ]
        case ast.BoolOp(op=ast.Or(), values=values):
            return [found for each in values for found in _literals(notebook, callout, each, depth + 1)]
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=key)) if items := _items(
            notebook, callout, name
        ):
            fields = [field for item in items if (field := _field(item, key)) is not None]
            return [found for each in fields for found in _literals(notebook, callout, each, depth + 1)]
        case ast.Subscript(value=table):
            return [found for each in _entries(notebook, callout, table) for found in each]
        case ast.Call(func=ast.Attribute(value=table, attr="get"), args=[_, *default]):
            found = [one for each in _entries(notebook, callout, table) for one in each]
            return found + [one for each in default for one in _literals(notebook, callout, each, depth + 1)]
        case ast.Name(id=name):
            return [
                found
                for value in _items(notebook, callout, name) or values_of(notebook, callout, name)
                for found in _literals(notebook, callout, value, depth + 1)
            ]
    return []


def _field(item: ast.expr, key: object) -> ast.expr | None:
    """`item[key]` of a dictionary or tuple that is written out."""
    match item:
        case ast.Dict():
            return _entry(item, key)
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            if isinstance(key, int) and -len(elements) <= key < len(elements):
                return elements[key]
    return None


def _items(notebook: Notebook, callout: Callout, name: str) -> list[ast.expr]:
    """What a loop variable around the callout takes on, where the items of the loop are written out."""
    for node in reversed(callout.around):
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.For | ast.AsyncFor):
            pairs = [(node.target, node.iter)]
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            pairs = [(each.target, each.iter) for each in node.generators]
        for target, iterable in pairs:
            if any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(target)):
                rows = _rows(notebook, callout, iterable)
                return [value for row in rows for value in _taken(target, row, name)]
    return []


def _taken(target: ast.expr, row: ast.expr, name: str) -> list[ast.expr]:
    """What the name takes on when `target = row`."""
    if is_name(target, name):
        return [row]
    match target, row:
        case ast.Tuple(elts=ones), (ast.Tuple(elts=others) | ast.List(elts=others)):
            if len(ones) == len(others):
                return [v for one, other in zip(ones, others, strict=True) for v in _taken(one, other, name)]
    return []


def _rows(notebook: Notebook, callout: Callout, iterable: ast.expr, depth: int = 0) -> list[ast.expr]:
    """The items of an iterable that is written out, at the place or under a name."""
    if depth > 3:
        return []
    match iterable:
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return elements
        case ast.Name(id=name):
            values = list(values_of(notebook, callout, name))
            return _rows(notebook, callout, values[0], depth + 1) if len(values) == 1 else []
        case ast.Call(func=ast.Name(id="enumerate"), args=[inner, *_]):
            counted: list[ast.expr] = []
            for number, item in enumerate(_rows(notebook, callout, inner, depth + 1)):
                counted.append(ast.Tuple([ast.Constant(number), item], ast.Load()))
            return counted
        case ast.Call(func=ast.Name(id="zip"), args=[*columns]):
            known = [_rows(notebook, callout, each, depth + 1) for each in columns]
            length = max(map(len, known), default=0)
            unknown = ast.Constant(None)
            return [
                ast.Tuple([each[i] if i < len(each) else unknown for each in known], ast.Load())
                for i in range(length)
            ]
        case ast.Call(func=ast.Attribute(value=inner, attr="items" | "values" as method), args=[]):
            tables = list(values_of(notebook, callout, inner.id)) if isinstance(inner, ast.Name) else [inner]
            match tables:
                case [ast.Dict(keys=keys, values=values)]:
                    if method == "values":
                        return values
                    return [
                        ast.Tuple([key, value], ast.Load())
                        for key, value in zip(keys, values, strict=True)
                        if key is not None
                    ]
    return []


def _entries(notebook: Notebook, callout: Callout, table: ast.expr) -> Iterator[list[Literal]]:
    """The literals in a dictionary or list that is written out."""
    tables = [table]
    if isinstance(table, ast.Name):
        tables = list(values_of(notebook, callout, table.id))
    for each in tables:
        match each:
            case ast.Dict(values=values) | ast.Tuple(elts=values) | ast.List(elts=values):
                yield [
                    Literal(value, value.value)
                    for value in values
                    if isinstance(value, ast.Constant) and isinstance(value.value, str)
                ]
            case _:
                pass


def values_of(notebook: Notebook, callout: Callout, name: str) -> Iterator[ast.expr]:
    """What the name is bound to: in the function around the callout, in its cell, or in another cell."""
    for node in reversed(callout.around):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            local = [value for target, value in bindings(node.body) if is_name(target, name)]
            if local:
                yield from local
                return
            parameters = [*node.args.posonlyargs, *node.args.args]
            names = [each.arg for each in parameters]
            if name in names or any(each.arg == name for each in node.args.kwonlyargs):
                yield from _arguments(notebook, node, name, names)
                return
    own = [value for target, value in bindings(callout.cell.body) if is_name(target, name)]
    if own or name in callout.cell.bound:
        yield from own
        return
    for definer in notebook.definers(name):
        yield from (value for target, value in bindings(definer.body) if is_name(target, name))


def _arguments(
    notebook: Notebook, function: ast.FunctionDef | ast.AsyncFunctionDef, name: str, names: list[str]
) -> Iterator[ast.expr]:
    """The default of a parameter, and what the notebook's calls of the function give for it."""
    arguments = function.args
    if name in names:
        offset = names.index(name) - (len(names) - len(arguments.defaults))
        if offset >= 0:
            yield arguments.defaults[offset]
    for parameter, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if parameter.arg == name and default is not None:
            yield default
    for _, call, _ in calls_of(notebook, function.name):
        given = next((each.value for each in call.keywords if each.arg == name), None)
        if given is None and name in names and names.index(name) < len(call.args):
            given = call.args[names.index(name)]
        if isinstance(given, ast.Constant | ast.IfExp):
            yield given


def calls_of(notebook: Notebook, name: str) -> Iterator[tuple[Cell, ast.Call, tuple[ast.AST, ...]]]:
    """The calls of a function by its bare name, with the nodes around each."""
    for cell in notebook.cells:
        if name not in cell.scope.loads:
            continue
        stack: list[tuple[ast.AST, tuple[ast.AST, ...]]] = [(statement, ()) for statement in cell.body]
        while stack:
            node, around = stack.pop()
            if isinstance(node, ast.Call) and is_name(node.func, name):
                yield cell, node, around
            stack.extend((child, (*around, node)) for child in ast.iter_child_nodes(node))


def text_of(callout: Callout) -> str | None:
    """The text of the callout where it is written out; None where part of it is computed."""
    if callout.value is None:
        return None
    parts: list[str] = []
    stack: list[ast.AST] = [callout.value]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                parts.append(node.value)
        elif isinstance(node, ast.Call):
            stack.extend(reversed(node.args))
        elif isinstance(node, ast.List | ast.Tuple):
            stack.extend(reversed(node.elts))
        elif isinstance(
            node, ast.JoinedStr | ast.Name | ast.BinOp | ast.IfExp | ast.Subscript | ast.Attribute
        ):
            return None
    return "\n".join(parts) or None


__all__ = [
    "KINDS",
    "Callout",
    "Literal",
    "callouts",
    "calls_of",
    "literals",
    "text_of",
    "values_of",
    "walk_statements",
]
