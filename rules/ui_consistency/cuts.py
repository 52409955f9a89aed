"""The tables of a notebook, and how their data were cut down before they came there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from qalint.analysis.notebook import Cell, Notebook, bindings, walk_statements

DEFAULT_ROWS = 5
"""What `head()` and its like give without an argument."""


class Table(NamedTuple):
    """One `mo.ui.table(...)`: its call, data, keywords, and the name it is bound to."""

    cell: Cell
    call: ast.Call
    data: ast.expr | None
    name: str | None

    def option(self, name: str) -> ast.expr | None:
        """The value of a keyword argument."""
        return next((each.value for each in self.call.keywords if each.arg == name), None)


def tables(notebook: Notebook, *kinds: str) -> Iterator[Table]:
    """The tables of the notebook (`ui.table`, or the given elements), in file order."""
    wanted = kinds or ("ui.table",)
    for cell in notebook.cells:
        bound = {
            id(value): target.id for target, value in bindings(cell.body) if isinstance(target, ast.Name)
        }
        stack: list[ast.AST] = list(reversed(cell.body))
        while stack:
            node = stack.pop()
            if isinstance(node, ast.Call) and notebook.marimo(cell, node.func) in wanted:
                data = (
                    node.args[0]
                    if node.args
                    else next((k.value for k in node.keywords if k.arg == "data"), None)
                )
                yield Table(cell, node, data, bound.get(id(node)))
            stack.extend(reversed(list(ast.iter_child_nodes(node))))


class Cut(NamedTuple):
    """`node` is `whole` cut down to its first `rows` rows (None where that is no literal)."""

    node: ast.expr
    whole: ast.expr
    rows: int | None
    how: str


CHOSEN = re.compile(
    r"top|best|worst|largest|smallest|latest|recent|most|least|highest|lowest|sort|order|rank|n_?largest|"
    r"nsmallest|longest|shortest|newest|oldest|first_page",
    re.IGNORECASE,
)
"""Names of calls and variables that say the rows were chosen, not cut off."""

LAZY = re.compile(
    r"\b(scan_\w+|LazyFrame|lazy|sql|ibis|connect|engine|read_database\w*|query|table|cursor|execute|"
    r"spark|dask|bigquery|snowflake)\b"
)


def find_cut(notebook: Notebook, cell: Cell, data: ast.expr, depth: int = 0) -> Cut | None:
    """How the data were cut down before they came to the table, or None."""
    if depth > 3:
        return None
    if isinstance(data, ast.Name):
        values = [(cell, v) for t, v in bindings(cell.body) if isinstance(t, ast.Name) and t.id == data.id]
        if not values and data.id not in cell.bound:
            values = [
                (definer, v)
                for definer in notebook.definers(data.id)
                for t, v in bindings(definer.body)
                if isinstance(t, ast.Name) and t.id == data.id
            ]
        if CHOSEN.search(data.id):
            return None
        if len(values) != 1:
            return None
        found = find_cut(notebook, *values[0], depth=depth + 1) or _built(cell, data.id, values[0][1])
        return None if found is None or _grows(values[0][0], data.id, found) else found
    found = _direct(data)
    if found is None:
        match data:
            case ast.ListComp(generators=[generator], elt=_):
                inner = _direct(generator.iter) or _enumerated(generator.iter)
                found = inner
            case ast.Call(func=func, args=[first, *_], keywords=_) if makes_frame(notebook, cell, func):
                found = find_cut(notebook, cell, first, depth + 1)
                if found is not None and found.whole is found.node:
                    return found
                handed_on = isinstance(first, ast.ListComp | ast.Name) or found is None or found.node is first
                if not handed_on:
                    return None
            case ast.Dict(values=columns) if columns:
                cuts = [cut for column in columns if (cut := _direct(column)) is not None]
                if len(cuts) == len(columns):
                    if _is_chosen(notebook, cell, cuts[0].whole):
                        return None
                    return cuts[0]._replace(whole=cuts[0].node)  # no fix: all would have to change together
            case ast.Call(
                func=ast.Attribute(value=value, attr="to_dict" | "to_dicts" | "to_pandas" | "reset_index")
            ):
                found = find_cut(notebook, cell, value, depth + 1)
            case _:
                pass
    if found is None or _is_chosen(notebook, cell, found.whole):
        return None
    return found


def _direct(expr: ast.expr) -> Cut | None:
    match expr:
        case ast.Call(func=ast.Attribute(value=whole, attr="head" | "limit" | "sample" as method), args=args):
            keywords = {each.arg for each in expr.keywords}
            if "frac" in keywords or "fraction" in keywords:
                return None
            given = args[0] if args else next((k.value for k in expr.keywords if k.arg == "n"), None)
            rows = DEFAULT_ROWS if given is None and method == "head" else number(given)
            if rows is None or rows < 1:
                return None
            what = f"{rows} sampled rows" if method == "sample" else f"the first {rows} rows"
            return Cut(expr, whole, rows, what)
        case ast.Subscript(value=whole, slice=ast.Slice(lower=None, upper=upper, step=None)):
            rows = number(upper)
            return (
                None
                if rows is None or rows < 1
                else Cut(expr, _without_iloc(whole), rows, f"the first {rows} rows")
            )
        case ast.Call(func=ast.Name(id="islice") | ast.Attribute(attr="islice"), args=[whole, end]):
            rows = number(end)
            return None if rows is None or rows < 1 else Cut(expr, whole, rows, f"the first {rows} rows")
        case ast.Call(
            func=ast.Attribute(attr="select"), args=[ast.Call(func=ast.Name(id="range"), args=[end])]
        ):
            rows = number(end)  # datasets: dataset.select(range(10))
            whole = expr.func.value  # type: ignore[attr-defined]
            return None if rows is None or rows < 1 else Cut(expr, whole, rows, f"the first {rows} rows")
        case ast.Call(func=ast.Name(id="list"), args=[inner]):
            return _direct(inner)
    return None


def _enumerated(expr: ast.expr) -> Cut | None:
    match expr:
        case ast.Call(func=ast.Name(id="enumerate" | "list" | "zip"), args=[first, *_]):
            return _direct(first)
        case ast.Call(
            func=ast.Name(id="range"), args=[ast.Call(func=ast.Name(id="min"), args=ends) as limit]
        ):
            lengths = [each for each in ends if isinstance(each, ast.Call)]
            rows = number(limit)
            if (
                rows
                and len(lengths) == 1
                and isinstance(lengths[0].func, ast.Name)
                and lengths[0].func.id == "len"
            ):
                return Cut(limit, lengths[0], rows, f"the first {rows} rows")
    return None


def _without_iloc(expr: ast.expr) -> ast.expr:
    return expr.value if isinstance(expr, ast.Attribute) and expr.attr in ("iloc", "loc") else expr


def number(expr: ast.expr | None) -> int | None:
    """The literal number, also of `min(5, len(rows))`."""
    match expr:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return value
        case ast.Call(func=ast.Name(id="min"), args=[one, other]):
            for each in (one, other):
                if isinstance(each, ast.Constant) and isinstance(each.value, int):
                    return each.value
    return None


def makes_frame(notebook: Notebook, cell: Cell, func: ast.expr) -> bool:
    """Whether the call makes a data frame of what it is given."""
    return notebook.resolve(cell, func) in ("pandas.DataFrame", "polars.DataFrame", "polars.from_dicts")


def _is_chosen(notebook: Notebook, cell: Cell, whole: ast.expr) -> bool:
    """Whether the rows were sorted or selected first, or come from a lazy or remote source."""
    expr = whole
    texts: list[str] = []
    for _ in range(4):
        texts.append(ast.unparse(expr))
        root = expr
        while isinstance(root, ast.Attribute | ast.Call | ast.Subscript):
            root = root.func if isinstance(root, ast.Call) else root.value
        if not isinstance(root, ast.Name):
            break
        name = root.id
        where = [cell] if name in cell.bound else notebook.definers(name)
        if any(each.kind == "sql" for each in where):
            return True
        values = [v for c in where for t, v in bindings(c.body) if isinstance(t, ast.Name) and t.id == name]
        if not values:
            break
        expr = values[-1]
    text = " ".join(texts)
    return CHOSEN.search(text) is not None or LAZY.search(text) is not None


def _built(cell: Cell, name: str, value: ast.expr) -> Cut | None:
    """`rows = []`, filled in a loop over the first n items, or in one that breaks after n."""
    if not (isinstance(value, ast.List) and not value.elts):
        return None
    for statement in walk_statements(cell.body):
        if not isinstance(statement, ast.For) or not _appends(statement, name):
            continue
        found = _direct(statement.iter) or _enumerated(statement.iter)
        if found is not None:
            return None if CHOSEN.search(ast.unparse(found.whole)) else found
        for inner in walk_statements(statement.body):
            match inner:
                case ast.If(
                    test=ast.Compare(
                        left=ast.Name() | ast.Call(), ops=[ast.GtE() | ast.Eq()], comparators=[end]
                    ),
                    body=[ast.Break()],
                ) if rows := number(end):
                    if CHOSEN.search(ast.unparse(statement.iter)):
                        return None
                    return Cut(statement.iter, statement.iter, rows, f"the first {rows} rows")
                case _:
                    pass
    return None


def _appends(loop: ast.For, name: str) -> bool:
    for node in ast.walk(loop):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=root), attr="append")) if root == name:
                return True
            case _:
                pass
    return False


def _grows(cell: Cell, name: str, found: Cut) -> bool:
    """Whether more is added to the name besides the cut."""
    for statement in walk_statements(cell.body):
        match statement:
            case ast.AugAssign(target=ast.Name(id=target)) if target == name:
                return True
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=root), attr="extend"))) if (
                root == name
            ):
                return True
            case _:
                pass
    return False


def length_of(notebook: Notebook, cell: Cell, data: ast.expr | None, depth: int = 0) -> int | None:
    """The number of rows, where the code writes it out."""
    if data is None or depth > 3:
        return None
    match data:
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return None if any(isinstance(each, ast.Starred) for each in elements) else len(elements)
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int() as end)]):
            return end
        case ast.Call(func=ast.Name(id="list"), args=[inner]):
            return length_of(notebook, cell, inner, depth + 1)
        case ast.ListComp(generators=[ast.comprehension(iter=inner, ifs=[])]):
            return length_of(notebook, cell, inner, depth + 1)
        case ast.Dict(values=[first, *_]):
            return length_of(notebook, cell, first, depth + 1)
        case ast.Call(func=func, args=[first, *_]) if makes_frame(notebook, cell, func):
            return length_of(notebook, cell, first, depth + 1)
        case ast.Name(id=name):
            where = [cell] if name in cell.bound else notebook.definers(name)
            values = [
                v for c in where for t, v in bindings(c.body) if isinstance(t, ast.Name) and t.id == name
            ]
            if len(values) == 1:
                return length_of(notebook, where[0], values[0], depth + 1)
    return None
