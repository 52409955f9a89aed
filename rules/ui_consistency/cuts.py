"""The tables of a notebook, and how their data were cut down before they came there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from qalint.analysis.notebook import Cell, Notebook, bindings, is_name, walk_statements

from .callouts import calls_of

DEFAULT_ROWS = 5
"""What `head()` and its like give without an argument."""


class Where(NamedTuple):
    """Where an expression stands: in which cell, and in which of its functions, if in any."""

    notebook: Notebook
    cell: Cell
    function: ast.FunctionDef | ast.AsyncFunctionDef | None = None

    def values(self, name: str) -> list[tuple[Where, ast.expr]]:
        """What the name is bound to there, each with where that stands; none for a parameter."""
        if self.function is not None:
            local = [v for t, v in bindings(self.function.body) if is_name(t, name)]
            if local or name in parameters(self.function):
                return [(self, value) for value in local]
        here = Where(self.notebook, self.cell)
        own = [(here, v) for t, v in bindings(self.cell.body) if is_name(t, name)]
        if own or name in self.cell.bound:
            return own
        return [
            (Where(self.notebook, definer), v)
            for definer in self.notebook.definers(name)
            for t, v in bindings(definer.body)
            if is_name(t, name)
        ]

    @property
    def body(self) -> list[ast.stmt]:
        """The statements among which the expression stands."""
        return self.cell.body if self.function is None else self.function.body


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The names of a function's parameters."""
    given = function.args
    return [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


class Table(NamedTuple):
    """One `mo.ui.table(...)`: its call, data, keywords, and the name it is bound to."""

    where: Where
    call: ast.Call
    data: ast.expr | None
    name: str | None

    @property
    def cell(self) -> Cell:
        """The cell that makes it."""
        return self.where.cell

    def option(self, name: str) -> ast.expr | None:
        """The value of a keyword argument."""
        return next((each.value for each in self.call.keywords if each.arg == name), None)


def tables(notebook: Notebook, *kinds: str) -> list[Table]:
    """The tables of the notebook (`ui.table`, or the given elements), in file order."""
    if "tables" not in notebook.memo:
        notebook.memo["tables"] = list(_tables(notebook))
    wanted = kinds or ("ui.table",)
    return [table for kind, table in notebook.memo["tables"] if kind in wanted]


def _tables(notebook: Notebook) -> Iterator[tuple[str, Table]]:
    for cell in notebook.cells:
        bound = {
            id(value): target.id for target, value in bindings(cell.body) if isinstance(target, ast.Name)
        }
        stack: list[tuple[ast.AST, Where]] = [
            (statement, Where(notebook, cell)) for statement in reversed(cell.body)
        ]
        while stack:
            node, where = stack.pop()
            if isinstance(node, ast.Call):
                kind = notebook.marimo(cell, node.func)
                if kind in ("ui.table", "ui.dataframe"):
                    data = (
                        node.args[0]
                        if node.args
                        else next((k.value for k in node.keywords if k.arg == "data"), None)
                    )
                    yield kind, Table(where, node, data, bound.get(id(node)))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                where = where._replace(function=node)
            stack.extend((child, where) for child in reversed(list(ast.iter_child_nodes(node))))


class Cut(NamedTuple):
    """`node` is `whole` cut down to its first `rows` rows (None where that is no literal).

    Undone by writing `whole` in place of `node`, or `text` where that is given; or by removing `filter`,
    the statement or the condition that ends the loop.
    """

    node: ast.expr
    whole: ast.expr
    rows: int | None
    how: str
    text: str | None = None
    filter: ast.stmt | ast.expr | None = None


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


DATASET = re.compile(
    r"(?:^|_)(dataset|data|ds|examples?|samples?|records|rows|corpus|texts|prompts|conversations|train|test|val|"
    r"validation|frame|df|documents|docs)(?:_|$|\d|\W)",
    re.IGNORECASE,
)
"""Names of data that have more rows than anybody writes out."""


def find_cut(where: Where, data: ast.expr, depth: int = 0) -> Cut | None:
    """How the data were cut down before they came to the table, or None."""
    if depth > 3:
        return None
    if isinstance(data, ast.Name):
        values = where.values(data.id)
        if CHOSEN.search(data.id) or len(values) != 1:
            return None
        there, value = values[0]
        found = find_cut(there, value, depth + 1) or _built(there, data.id, value)
        return None if found is None or _grows(there, data.id, found) else found
    found = _direct(where, data)
    if found is None:
        match data:
            case ast.ListComp(generators=[generator], elt=element):
                found = (
                    _direct(where, generator.iter)
                    or _enumerated(where, generator.iter)
                    or _filtered(where, generator)
                    or _counted(where, generator.target, generator.iter, [element])
                )
            case ast.Call(func=func, args=[first, *_], keywords=_) if makes_frame(
                where.notebook, where.cell, func
            ):
                found = find_cut(where, first, depth + 1)
                if found is not None and found.whole is found.node:
                    return found
                handed_on = isinstance(first, ast.ListComp | ast.Name) or found is None or found.node is first
                if not handed_on:
                    return None
            case ast.Dict(values=columns) if columns:
                cuts = [cut for column in columns if (cut := _direct(where, column)) is not None]
                if len(cuts) == len(columns):
                    if _is_chosen(where, cuts[0].whole):
                        return None
                    return cuts[0]._replace(whole=cuts[0].node)  # no fix: all would have to change together
            case ast.Call(
                func=ast.Attribute(value=value, attr="to_dict" | "to_dicts" | "to_pandas" | "reset_index")
            ):
                found = find_cut(where, value, depth + 1)
            case _:
                pass
    if found is None or _is_chosen(where, found.whole) or _is_split(where, found):
        return None
    return found


def _direct(where: Where, expr: ast.expr) -> Cut | None:
    match expr:
        case ast.Call(func=ast.Attribute(attr="sample"), args=[whole, given]) if (
            where.notebook.resolve(where.cell, expr.func) == "random.sample"
        ):
            rows = number(where, given)
            return Cut(expr, whole, rows, f"{rows} sampled rows") if rows else None
        case ast.Call(func=ast.Attribute(value=whole, attr="head" | "limit" | "sample" as method), args=args):
            keywords = {each.arg for each in expr.keywords}
            if "frac" in keywords or "fraction" in keywords:
                return None
            given_rows = args[0] if args else next((k.value for k in expr.keywords if k.arg == "n"), None)
            rows = DEFAULT_ROWS if given_rows is None and method == "head" else number(where, given_rows)
            if rows is None or rows < 1:
                return None
            what = f"{rows} sampled rows" if method == "sample" else f"the first {rows} rows"
            return Cut(expr, whole, rows, what)
        case ast.Subscript(
            value=whole, slice=ast.Slice(lower=None | ast.Constant(value=0), upper=upper, step=None)
        ):
            return _first(expr, _without_iloc(whole), number(where, upper))
        case ast.Call(func=ast.Name(id="islice") | ast.Attribute(attr="islice"), args=[whole, end]):
            return _first(expr, whole, number(where, end))
        case ast.Call(func=ast.Attribute(value=whole, attr="slice"), args=[ast.Constant(value=0), end]):
            return _first(expr, whole, number(where, end))  # polars
        case ast.Call(
            func=ast.Attribute(value=whole, attr="select"),
            args=[ast.Call(func=ast.Name(id="range"), args=[end])],
        ):
            return _first(expr, whole, number(where, end))  # datasets: dataset.select(range(10))
        case ast.Call(func=ast.Name(id="list"), args=[inner]):
            return _direct(where, inner)
    return None


def _first(node: ast.expr, whole: ast.expr, rows: int | None) -> Cut | None:
    return None if rows is None or rows < 1 else Cut(node, whole, rows, f"the first {rows} rows")


def _enumerated(where: Where, expr: ast.expr) -> Cut | None:
    match expr:
        case ast.Call(func=ast.Name(id="enumerate" | "list" | "zip"), args=[first, *_]):
            return _direct(where, first)
        case ast.Call(
            func=ast.Name(id="range"), args=[ast.Call(func=ast.Name(id="min"), args=ends) as limit]
        ):
            lengths = [each for each in ends if isinstance(each, ast.Call)]
            rows = number(where, limit)
            if rows and len(lengths) == 1 and is_name(lengths[0].func, "len"):
                return Cut(limit, lengths[0], rows, f"the first {rows} rows")
    return None


def _filtered(where: Where, generator: ast.comprehension) -> Cut | None:
    """`for i, row in enumerate(rows) if i < 5`."""
    match generator:
        case ast.comprehension(
            target=ast.Tuple(elts=[ast.Name(id=index), _]),
            iter=ast.Call(func=ast.Name(id="enumerate"), args=[whole]),
            ifs=[ast.Compare(left=ast.Name(id=tested), ops=[ast.Lt() | ast.LtE() as op], comparators=[end])],
        ) if index == tested:
            rows = number(where, end)
            if rows:
                rows += isinstance(op, ast.LtE)
                return Cut(generator.iter, whole, rows, f"the first {rows} rows", filter=generator.ifs[0])
    return None


def _counted(where: Where, target: ast.expr, iterable: ast.expr, inside: list[ast.expr]) -> Cut | None:
    """`for i in range(5)` over `rows[i]`, where there are more rows than that."""
    match target, iterable:
        case ast.Name(id=index), ast.Call(func=ast.Name(id="range"), args=[end]):
            rows = number(where, end)
        case _:
            return None
    if not rows:
        return None
    for node in (each for root in inside for each in ast.walk(root)):
        match node:
            case ast.Subscript(value=whole, slice=ast.Name(id=used)) if used == index:
                length = length_of(where, whole)
                if length is not None and length <= rows:
                    return None
                whole = _without_iloc(whole)
                if length is not None or DATASET.search(ast.unparse(whole)):
                    text = f"len({ast.unparse(whole)})"
                    return Cut(end, whole, rows, f"the first {rows} rows", text=text)
                return None
            case _:
                pass
    return None


def _without_iloc(expr: ast.expr) -> ast.expr:
    return expr.value if isinstance(expr, ast.Attribute) and expr.attr in ("iloc", "loc") else expr


def number(where: Where, expr: ast.expr | None, depth: int = 0) -> int | None:
    """The literal number: written out, by the name of one, as a default, in `min(5, len(rows))`."""
    match expr:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return value
        case ast.Call(func=ast.Name(id="min"), args=[one, other]):
            return number(where, one, depth) or number(where, other, depth)
        case ast.Name(id=name) if depth < 3 and not CHOSEN.search(name):
            if where.function is not None and name in parameters(where.function):
                return _default(where, where.function, name)
            values = where.values(name)
            if len(values) == 1:
                return number(*values[0], depth + 1)
    return None


def _default(where: Where, function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> int | None:
    """The default of a parameter that no call of the notebook gives."""
    names = parameters(function)
    for _, call, _ in calls_of(where.notebook, function.name):
        if any(each.arg in (name, None) for each in call.keywords) or names.index(name) < len(call.args):
            return None
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = dict(
        zip([each.arg for each in reversed(positional)], reversed(arguments.defaults), strict=False)
    )
    for parameter, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if value is not None:
            defaults[parameter.arg] = value
    default = defaults.get(name)
    return number(Where(where.notebook, where.cell), default) if isinstance(default, ast.Constant) else None


def _is_split(where: Where, found: Cut) -> bool:
    """Whether the rest of the rows is taken elsewhere: `train = data[:80]` beside `test = data[80:]`."""
    match found.node:
        case ast.Subscript(value=whole, slice=ast.Slice(upper=ast.expr() as end)):
            taken = (ast.dump(whole), ast.dump(end))
        case _:
            return False
    for cell in where.notebook.cells:
        for node in (each for statement in cell.body for each in ast.walk(statement)):
            match node:
                case ast.Subscript(value=other, slice=ast.Slice(lower=ast.expr() as start)):
                    if (ast.dump(other), ast.dump(start)) == taken:
                        return True
                case _:
                    pass
    return False


def makes_frame(notebook: Notebook, cell: Cell, func: ast.expr) -> bool:
    """Whether the call makes a data frame of what it is given."""
    return notebook.resolve(cell, func) in ("pandas.DataFrame", "polars.DataFrame", "polars.from_dicts")


def _is_chosen(where: Where, whole: ast.expr) -> bool:
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
        if any(each.kind == "sql" for each in where.notebook.definers(root.id)):
            return True
        values = where.values(root.id)
        if not values:
            break
        where, expr = values[-1]
    text = " ".join(texts)
    return CHOSEN.search(text) is not None or LAZY.search(text) is not None


def _built(where: Where, name: str, value: ast.expr) -> Cut | None:
    """`rows = []`, filled in a loop over the first n items, or in one that breaks after n."""
    if not (isinstance(value, ast.List) and not value.elts):
        return None
    for statement in walk_statements(where.body):
        if not isinstance(statement, ast.For) or not _appends(statement, name):
            continue
        inside = [node for each in statement.body for node in ast.walk(each) if isinstance(node, ast.expr)]
        found = (
            _direct(where, statement.iter)
            or _enumerated(where, statement.iter)
            or _counted(where, statement.target, statement.iter, inside)
        )
        if found is not None:
            return None if _is_chosen(where, found.whole) else found
        for inner in walk_statements(statement.body):
            match inner:
                case ast.If(
                    test=ast.Compare(
                        left=ast.Name() | ast.Call(),
                        ops=[ast.GtE() | ast.Eq() | ast.Gt() as op],
                        comparators=[end],
                    ),
                    body=[ast.Break()],
                    orelse=[],
                ) if rows := number(where, end):
                    if _is_chosen(where, statement.iter):
                        return None
                    rows += isinstance(op, ast.Gt)
                    whole = statement.iter
                    return Cut(whole, whole, rows, f"the first {rows} rows", filter=inner)
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


def _grows(where: Where, name: str, found: Cut) -> bool:
    """Whether more is added to the name besides the cut."""
    for statement in walk_statements(where.body):
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


def length_of(where: Where, data: ast.expr | None, depth: int = 0) -> int | None:
    """The number of rows, where the code writes it out."""
    if data is None or depth > 3:
        return None
    match data:
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return None if any(isinstance(each, ast.Starred) for each in elements) else len(elements)
        case ast.BinOp(left=ast.List() as left, op=ast.Mult(), right=ast.Constant(value=int() as times)):
            inner = length_of(where, left, depth + 1)
            return None if inner is None else inner * times
        case ast.Call(func=ast.Name(id="range"), args=[end]):
            return number(where, end)
        case ast.Call(func=ast.Name(id="list"), args=[inner_data]):
            return length_of(where, inner_data, depth + 1)
        case ast.ListComp(generators=[ast.comprehension(iter=inner_data, ifs=[])]):
            return length_of(where, inner_data, depth + 1)
        case ast.Dict(values=[first, *_]):
            return length_of(where, first, depth + 1)
        case ast.Call(func=func, args=[first, *_]) if makes_frame(where.notebook, where.cell, func):
            return length_of(where, first, depth + 1)
        case ast.Name(id=name):
            values = where.values(name)
            if len(values) == 1:
                return length_of(*values[0], depth + 1)
    return None
