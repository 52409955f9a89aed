"""Tables: previews that hide rows, page sizes, indexes, columns, selection."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Cell, Notebook, bindings, walk_statements
from qalint.rule import Edit, Finding, Option, Related, Rule, Severity

DEFAULT_ROWS = 5
"""What `head()` and its like give without an argument."""
MARIMO_LIMIT = 200
"""The largest page that marimo accepts."""


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


class TruncatedPreview(Rule):
    """A table is given only the first rows of its data.

    ## What it does

    Reports `mo.ui.table(...)` of `df.head(n)`, `rows[:n]`, `df.limit(n)`, `df.sample(n)`,
    `islice(rows, n)`, of a list built from such a slice or from a loop that breaks after n items, and
    of a name bound to one.

    It stays silent on lazy and remote frames (cutting there saves the work), on what is sorted first
    or is a top-k by name, on reversed and empty slices, and where n is no literal (a slider, for
    example, lets the reader choose).

    ## Why is this bad?

    `mo.ui.table` pages by itself: above ten rows it shows ten a page and fetches the others when they
    are asked for. A cut table hides the rest of the data for good; search, sort and selection see the
    first rows only.

    ## Example

    ```python
    mo.ui.table(df.head(5))
    ```

    ## Use instead

    ```python
    mo.ui.table(df, page_size=5)
    ```

    ## Fix safety

    The fix hands over the whole and sets `page_size`. It is unsafe because a very large frame takes
    longer, and a sample in random order becomes the data in their own.

    ## References

    - [marimo: table](https://docs.marimo.io/api/inputs/table/)
    - Checklist 16.06, 09.07. "Use `page_size`" in the checklist is right, but leaving it out is no fault:
      the default is 10 rows a page.
    """

    code = "QA1607"
    severity = Severity.MEDIUM
    checklist = ("16.06", "09.07")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each table."""
        for table in tables(notebook):
            if table.data is None:
                continue
            found = find_cut(notebook, table.cell, table.data)
            if found is None:
                continue
            related = []
            if found.node is not table.data:
                related.append(
                    Related(notebook.file.place(found.node), f"only {found.how} of the data are kept here")
                )
            fix = None
            if found.whole is not found.node:
                size = None
                if found.rows and table.option("page_size") is None and found.node is table.data:
                    size = edits.add_argument(table.call, f"page_size={min(max(found.rows, 5), 50)}")
                changes = [edits.replace(found.node, edits.segment(found.whole))]
                fix = edits.unsafe("Show all rows, paged", *changes, *([size] if size else []))
            yield self.finding(
                notebook.file.place(table.call),
                f"this table shows only {found.how}: the other rows cannot be reached",
                related=related,
                fix=fix,
                help="Hand over all rows: mo.ui.table shows ten a page, or `page_size` of them.",
            )


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
            case ast.Call(func=func, args=[first, *_], keywords=_) if _makes_frame(notebook, cell, func):
                found = find_cut(notebook, cell, first, depth + 1)
                if (
                    found is not None
                    and not isinstance(first, ast.ListComp | ast.Name)
                    and found.node is not first
                ):
                    return None
            case ast.Dict(values=columns) if columns:
                inner_cuts = [_direct(column) for column in columns]
                found = inner_cuts[0] if all(inner_cuts) else None
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
            rows = DEFAULT_ROWS if given is None and method == "head" else _number(given)
            if rows is None or rows < 1:
                return None
            what = f"{rows} sampled rows" if method == "sample" else f"the first {rows} rows"
            return Cut(expr, whole, rows, what)
        case ast.Subscript(value=whole, slice=ast.Slice(lower=None, upper=upper, step=None)):
            rows = _number(upper)
            return (
                None
                if rows is None or rows < 1
                else Cut(expr, _without_iloc(whole), rows, f"the first {rows} rows")
            )
        case ast.Call(func=ast.Name(id="islice") | ast.Attribute(attr="islice"), args=[whole, end]):
            rows = _number(end)
            return None if rows is None or rows < 1 else Cut(expr, whole, rows, f"the first {rows} rows")
        case ast.Call(
            func=ast.Attribute(attr="select"), args=[ast.Call(func=ast.Name(id="range"), args=[end])]
        ):
            rows = _number(end)  # datasets: dataset.select(range(10))
            whole = expr.func.value  # type: ignore[attr-defined]
            return None if rows is None or rows < 1 else Cut(expr, whole, rows, f"the first {rows} rows")
        case ast.Call(func=ast.Name(id="list"), args=[inner]):
            return _direct(inner)
    return None


def _enumerated(expr: ast.expr) -> Cut | None:
    match expr:
        case ast.Call(func=ast.Name(id="enumerate" | "list" | "zip"), args=[first, *_]):
            return _direct(first)
        case ast.Call(func=ast.Name(id="range"), args=[end]) if (rows := _number(end)) and rows > 1:
            return None
    return None


def _without_iloc(expr: ast.expr) -> ast.expr:
    return expr.value if isinstance(expr, ast.Attribute) and expr.attr in ("iloc", "loc") else expr


def _number(expr: ast.expr | None) -> int | None:
    match expr:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return value
        case ast.Call(func=ast.Name(id="min"), args=[one, other]):
            for each in (one, other):
                if isinstance(each, ast.Constant) and isinstance(each.value, int):
                    return each.value
    return None


def _makes_frame(notebook: Notebook, cell: Cell, func: ast.expr) -> bool:
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
                ) if rows := _number(end):
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


class PageSizeOutOfRange(Rule):
    """A table's page is too short or too long to read.

    ## What it does

    Reports a literal `page_size` below `min` or above `max` (5 and 50 by default), and
    `pagination=False` on data that are known to have more than 20 rows. Above 200 marimo raises.
    A missing `page_size` is no fault: the default is 10.

    ## Why is this bad?

    Two rows a page make readers click through the data; a hundred push everything else off the page.

    ## Example

    ```python
    mo.ui.table(df, page_size=100)
    ```

    ## Use instead

    ```python
    mo.ui.table(df, page_size=20)
    ```

    ## Fix safety

    The fix writes the nearest value in the range, or drops `pagination=False`. It is safe: the same
    rows are there.

    ## References

    - [marimo: table](https://docs.marimo.io/api/inputs/table/)
    - Checklist 16.07
    """

    code = "QA1608"
    severity = Severity.LOW
    checklist = ("16.07",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    options = {
        "min": Option(5, int, "smallest page size"),
        "max": Option(50, int, "largest page size"),
    }

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each table."""
        low, high = self.values["min"], self.values["max"]
        for table in tables(notebook, "ui.table", "ui.dataframe"):
            size = table.option("page_size")
            rows = _number(size)
            if isinstance(size, ast.Constant) and rows is not None and not low <= rows <= high:
                best = low if rows < low else high
                above = rows > MARIMO_LIMIT
                yield self.finding(
                    notebook.file.place(size),
                    f"a page of {rows} rows "
                    + ("raises: marimo allows 200 at most" if above else "is hard to read"),
                    fix=edits.safe(f"Use {best}", edits.replace(size, str(best))),
                    help=f"Ten to twenty rows read well; {low} to {high} are accepted here.",
                )
            paged = table.option("pagination")
            length = _length(notebook, table.cell, table.data)
            if (
                isinstance(paged, ast.Constant)
                and paged.value is False
                and length is not None
                and length > 20
            ):
                keyword = next(each for each in table.call.keywords if each.value is paged)
                yield self.finding(
                    notebook.file.place(keyword),
                    f"all {length} rows are put on one page",
                    fix=edits.safe("Page the table", edits.remove_argument(table.call, keyword)),
                    help="Leave `pagination` out: above `page_size` rows marimo pages by itself.",
                )


def _length(notebook: Notebook, cell: Cell, data: ast.expr | None, depth: int = 0) -> int | None:
    """The number of rows, where the code writes it out."""
    if data is None or depth > 3:
        return None
    match data:
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return None if any(isinstance(each, ast.Starred) for each in elements) else len(elements)
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int() as end)]):
            return end
        case ast.Call(func=ast.Name(id="list"), args=[inner]):
            return _length(notebook, cell, inner, depth + 1)
        case ast.ListComp(generators=[ast.comprehension(iter=inner, ifs=[])]):
            return _length(notebook, cell, inner, depth + 1)
        case ast.Dict(values=[first, *_]):
            return _length(notebook, cell, first, depth + 1)
        case ast.Call(func=func, args=[first, *_]) if _makes_frame(notebook, cell, func):
            return _length(notebook, cell, first, depth + 1)
        case ast.Name(id=name):
            where = [cell] if name in cell.bound else notebook.definers(name)
            values = [
                v for c in where for t, v in bindings(c.body) if isinstance(t, ast.Name) and t.id == name
            ]
            if len(values) == 1:
                return _length(notebook, where[0], values[0], depth + 1)
    return None


class PreviewWithoutIndex(Rule):
    """A preview table of bare values has no column that numbers its rows.

    ## What it does

    Reports `mo.ui.table` of a list of values, or of a frame made of one list, without a column that
    counts the rows. Frames bring their own index and are not reported. Off by default.

    ## Why is this bad?

    "Row 17 looks wrong" needs a 17. marimo shows no row numbers for plain lists.

    ## Example

    ```python
    mo.ui.table(pd.DataFrame({"text": samples}))
    ```

    ## Use instead

    ```python
    mo.ui.table(pd.DataFrame({"index": range(len(samples)), "text": samples}))
    ```

    ## Fix safety

    The fix adds the column. It is unsafe because a column is added to the data.

    ## References

    - Checklist 16.08
    """

    code = "QA1609"
    severity = Severity.LOW
    default = False
    checklist = ("16.08",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "none: the numbering is a matter of taste"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each table."""
        for table in tables(notebook):
            match table.data:
                case ast.Call(
                    func=func, args=[ast.Dict(keys=[ast.Constant(), *_] as keys, values=values) as data]
                ) if _makes_frame(notebook, table.cell, func):
                    pass
                case ast.Dict(keys=[ast.Constant(), *_] as keys, values=values) as data:
                    pass
                case _:
                    continue
            names = [str(key.value).lower() for key in keys if isinstance(key, ast.Constant)]
            if any(
                name in ("index", "#", "no", "no.", "id", "row", "nr", "step", "epoch", "rank")
                for name in names
            ):
                continue
            first = values[0]
            if not isinstance(first, ast.Name):
                continue
            start = edits.source.span(data).start + 1
            yield self.finding(
                notebook.file.place(table.call),
                "the rows of this table have no number to refer to",
                fix=edits.unsafe(
                    "Add an index column", (Edit(start, start, f'"index": range(len({first.id})), '),)
                ),
                help="Add a column that counts the rows.",
            )


LONG_COLUMNS = re.compile(
    r"text|prompt|response|completion|content|description|message|answer|question|output|instruction|context|"
    r"abstract|summary|body|review|comment|sample|generated",
    re.IGNORECASE,
)


class OverwideColumn(Rule):
    """A column of long text is shown without wrapping.

    ## What it does

    Reports `mo.ui.table` of a written-out frame or rows with a column of long text (named `text`,
    `prompt`, `response` and the like) and neither `wrapped_columns` nor a width. Off by default.

    ## Why is this bad?

    One sentence makes the column as wide as the page; the others move out of sight.

    ## Example

    ```python
    mo.ui.table({"prompt": prompts, "response": responses})
    ```

    ## Use instead

    ```python
    mo.ui.table({"prompt": prompts, "response": responses}, wrapped_columns=["prompt", "response"])
    ```

    ## Fix safety

    The fix sets `wrapped_columns`. It is unsafe because short texts need no wrapping.

    ## References

    - [marimo: table](https://docs.marimo.io/api/inputs/table/)
    - Checklist 16.09, 09.10
    """

    code = "QA1610"
    severity = Severity.LOW
    default = False
    checklist = ("16.09", "09.10")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "none: needs a browser"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each table."""
        for table in tables(notebook):
            given = {each.arg for each in table.call.keywords}
            if given & {"wrapped_columns", "format_mapping", "max_height", None}:
                continue
            match table.data:
                case ast.Call(func=func, args=[ast.Dict(keys=keys)]) if _makes_frame(
                    notebook, table.cell, func
                ):
                    pass
                case ast.Dict(keys=keys) | ast.List(elts=[ast.Dict(keys=keys), *_]):
                    pass
                case ast.ListComp(elt=ast.Dict(keys=keys)):
                    pass
                case _:
                    continue
            names = [
                key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
            ]
            long = [name for name in names if LONG_COLUMNS.search(name)]
            if long:
                listed = ", ".join(f'"{name}"' for name in long)
                yield self.finding(
                    notebook.file.place(table.call),
                    f"long text in {listed} is shown on one line",
                    fix=edits.unsafe(
                        "Wrap the text", edits.add_argument(table.call, f"wrapped_columns=[{listed}]")
                    ),
                    help="Wrap the columns that hold sentences.",
                )


class PreviewSelectable(Rule):
    """A table that only shows something lets readers select rows.

    ## What it does

    Reports `mo.ui.table` without `selection` whose value nothing reads. Off by default.

    ## Why is this bad?

    marimo's default is `selection="multi"`: a column of checkboxes that do nothing.

    ## Beyond the checklist

    The checklist's own example sets `selection=None`, without asking for it.

    ## Example

    ```python
    mo.ui.table(df)
    ```

    ## Use instead

    ```python
    mo.ui.table(df, selection=None)
    ```

    ## Fix safety

    The fix sets `selection=None`. It is safe: nothing reads the selection.

    ## References

    - [marimo: table](https://docs.marimo.io/api/inputs/table/)
    """

    code = "QA1611"
    severity = Severity.LOW
    default = False
    fix = "safe"
    fix_availability = "always"
    oracle = "none: an unread selection changes nothing"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each table."""
        for table in tables(notebook):
            given = {each.arg for each in table.call.keywords}
            if given & {"selection", "on_change", "initial_selection", None} or self.is_read(notebook, table):
                continue
            yield self.finding(
                notebook.file.place(table.call),
                "rows can be selected here, and nothing reads the selection",
                fix=edits.safe("Set selection=None", edits.add_argument(table.call, "selection=None")),
                help="Set `selection=None` on a table that only shows something.",
            )

    def is_read(self, notebook: Notebook, table: Table) -> bool:
        """Whether anything might read the table's value: a name that is used but to be shown."""
        name = table.name
        if name is None:
            return False
        for cell in notebook.cells:
            for use in cell.scope.loads.get(name, []):
                if not any(isinstance(last, ast.Expr) and last.value is use.node for last in cell.body[-1:]):
                    return True
        return False
