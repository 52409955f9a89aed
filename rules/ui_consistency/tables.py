"""Tables: previews that hide rows, page sizes, indexes, columns, selection."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import ClassVar

from qalint.analysis.concrete import Concrete
from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Notebook, is_private
from qalint.rule import Edit, Finding, Fix, Option, Related, Rule, Severity

from .cuts import Cut, Table, Where, find_cut, length_of, makes_frame, number, tables

MARIMO_LIMIT = 200
"""The largest page that marimo accepts."""


class TruncatedPreview(Rule):
    """A table is given only the first rows of its data.

    ## What it does

    Reports `mo.ui.table(...)` of `df.head(n)`, `rows[:n]`, `df.limit(n)`, `df.sample(n)`,
    `islice(rows, n)`, of a list built from such a slice, from a loop that breaks after n items or
    from one that counts to n, and of a name bound to one. n may be a name that is bound to a literal, or
    a parameter's default that no call changes.

    It stays silent on lazy and remote frames (cutting there saves the work), on what is sorted first
    or is a top-k by name, on reversed and empty slices, on a split whose rest is used elsewhere, and where
    n is no literal (a slider, for example, lets the reader choose).

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

    The fix hands over the whole and sets `page_size`, or takes the limit out of the loop. It is unsafe
    because a very large frame takes longer, and a sample in random order becomes the data in their own.

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
            found = find_cut(table.where, table.data)
            if found is None:
                continue
            related = []
            if found.node is not table.data:
                related.append(
                    Related(notebook.file.place(found.node), f"only {found.how} of the data are kept here")
                )
            fix = _show_all(table, found, edits)
            yield self.finding(
                notebook.file.place(table.call),
                f"this table shows only {found.how}: the other rows cannot be reached",
                related=related,
                fix=fix,
                help="Hand over all rows: mo.ui.table shows ten a page, or `page_size` of them.",
            )


def _show_all(table: Table, found: Cut, edits: Edits) -> Fix | None:
    """Hand the table all rows, and nothing else: other code may want the few."""
    if _says_how_many(table, found):
        return None  # the text beside the table would become untrue
    direct = found.node is table.data
    changes = None
    if isinstance(table.data, ast.Name) and _read_elsewhere(table):
        values = table.where.values(table.data.id)
        if len(values) == 1 and values[0][1] is found.node and found.whole is not found.node:
            if _in_reach(table, values[0][0], found.whole):
                direct = True
                changes = edits.replace(table.data, edits.segment(found.whole))
    else:
        changes = _undone(found, edits)
    if changes is None:
        return None
    size = None
    if found.rows and table.option("page_size") is None and direct:
        size = edits.add_argument(table.call, f"page_size={min(max(found.rows, 5), 50)}")
    return edits.unsafe("Show all rows, paged", changes, *([size] if size else []))


def _says_how_many(table: Table, found: Cut) -> bool:
    """Whether a text in the cell says that these are the first n."""
    for node in (each for statement in table.cell.body for each in ast.walk(statement)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.search(r"\b(first|showing|top|preview of)\b", node.value, re.IGNORECASE):
                return True
    return False


def _read_elsewhere(table: Table) -> bool:
    """Whether more than this table reads the name that it is given."""
    assert isinstance(table.data, ast.Name)
    name, function = table.data.id, table.where.function
    loads = [use.node for cell in table.where.notebook.cells for use in cell.scope.loads.get(name, [])]
    inside = ast.walk(function) if function is not None else ()
    loads += [n for n in inside if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load)]
    filling = {
        id(node.value)
        for root in table.where.body
        for node in ast.walk(root)
        if isinstance(node, ast.Attribute) and node.attr == "append"
    }
    return any(node is not table.data and id(node) not in filling for node in loads)


def _in_reach(table: Table, where: Where, whole: ast.expr) -> bool:
    """Whether the names of the whole mean the same at the table as where it was cut."""
    names = {node.id for node in ast.walk(whole) if isinstance(node, ast.Name)}
    if where.cell is table.cell:
        return where.function is table.where.function
    return not any(is_private(name) or name in table.cell.bound for name in names)


def _undone(found: Cut, edits: Edits) -> tuple[Edit, ...] | None:
    """The changes by which the data are whole again."""
    if isinstance(found.filter, ast.stmt):
        return edits.remove(found.filter)
    if found.filter is not None:
        return (Edit(edits.source.span(found.node).end, edits.source.span(found.filter).end, ""),)
    if found.whole is found.node:
        return None
    return edits.replace(found.node, found.text or edits.segment(found.whole))


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
    options: ClassVar[dict[str, Option]] = {
        "min": Option(5, int, "smallest page size"),
        "max": Option(50, int, "largest page size"),
    }

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each table."""
        low, high = self.values["min"], self.values["max"]
        for table in tables(notebook, "ui.table", "ui.dataframe"):
            size = table.option("page_size")
            rows = number(table.where, size)
            if size is not None and rows is not None and not low <= rows <= high:
                best = low if rows < low else high
                above = rows > MARIMO_LIMIT
                yield self.finding(
                    notebook.file.place(size),
                    f"a page of {rows} rows "
                    + ("raises: marimo allows 200 at most" if above else "is hard to read"),
                    fix=edits.safe(f"Use {best}", edits.replace(size, str(best)))
                    if isinstance(size, ast.Constant)
                    else None,
                    help=f"Ten to twenty rows read well; {low} to {high} are accepted here.",
                )
            paged = table.option("pagination")
            length = length_of(table.where, table.data)
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
                    fix=edits.safe(
                        "Page the table", Concrete(notebook.file).remove_argument(table.call, keyword)
                    ),
                    help="Leave `pagination` out: above `page_size` rows marimo pages by itself.",
                )


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
                ) if makes_frame(notebook, table.cell, func):
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
                case ast.Call(func=func, args=[ast.Dict(keys=keys)]) if makes_frame(
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
    oracle = "cpu"

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
