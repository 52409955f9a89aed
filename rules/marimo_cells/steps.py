"""Long processes: one step a cell, data between cells, progress while it runs; and shown docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Cell, Notebook, Shown, walk_statements
from qalint.rule import Finding, Related, Rule, Severity

from .work import LOADING, TRAINING, called, calls_in

ANNOUNCING = ("md", "callout", "output.append", "output.replace", "status.spinner", "status.progress_bar")

STEP = re.compile(
    r"\b(?:step|phase|stage|part)\s*#?\s*(\d+)|^\s*#{1,6}\s*(\d+)[.):]\s", re.IGNORECASE | re.MULTILINE
)


class CrowdedStepCell(Rule):
    """Several numbered steps of a process share one cell.

    ## What it does

    Reports a cell in which two or more statements announce different numbered steps ("Step 1",
    "Step 2", "## 3.") in callouts, Markdown or spinner titles, with work between them. A text that
    lists steps, and the spinners and progress bars of one step, are no finding.

    ## Why is this bad?

    A cell shows one output, when it is done. The reader sees nothing of steps 1 to 4 until step 5 has
    finished, and a failure in step 4 throws away what the first three computed. In cells of their own
    each step shows its result at once, and only what changed runs again.

    ## Example

    ```python
    @app.cell
    def _(load, mo, train):
        mo.output.append(mo.md("Step 1: loading"))
        data = load()
        mo.output.append(mo.md("Step 2: training"))
        model = train(data)
        return data, model
    ```

    ## Use instead

    ```python
    @app.cell
    def _(load, mo):
        data = load()
        mo.md("Step 1: loaded")
        return (data,)


    @app.cell
    def _(data, mo, train):
        model = train(data)
        mo.md("Step 2: trained")
        return (model,)
    ```

    ## Fix safety

    None: where to split is the author's to say.

    ## References

    - Checklist 13.07, 09.11
    """

    code = "QA1310"
    severity = Severity.MEDIUM
    checklist = ("13.07", "09.11")
    oracle = "none: needs a browser while the cell runs"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each cell."""
        for cell in notebook.cells:
            if cell.kind != "cell":
                continue
            steps = list(_announced(notebook, cell))
            numbers = {number for number, _ in steps}
            if len(numbers) < 2:
                continue
            first, last = steps[0][1], steps[-1][1]
            between = [
                each
                for each in walk_statements(cell.body)
                if first.lineno <= each.lineno <= (last.end_lineno or 0)
            ]
            if not any(_does_something(notebook, cell, each) for each in between):
                continue
            second = next(call for number, call in steps if number != steps[0][0])
            yield self.finding(
                notebook.file.place(second),
                f"this cell runs {len(numbers)} numbered steps: they fail and run again only together",
                related=[
                    Related(notebook.file.place(call), f"step {number} is announced here")
                    for number, call in steps
                    if call is not second
                ],
                help="Give each step a cell of its own that returns its data and shows its result.",
            )


def _does_something(notebook: Notebook, cell: Cell, statement: ast.stmt) -> bool:
    """Whether the statement calls something that is not marimo's."""
    return any(
        notebook.marimo(cell, call.func) is None and not _is_html(call) for call in calls_in(statement)
    )


def _is_html(call: ast.Call) -> bool:
    return called(call) in ("callout", "center", "append", "format", "join", "len", "str", "print")


def _announced(notebook: Notebook, cell: Cell) -> Iterator[tuple[str, ast.Call]]:
    """The numbered steps that statements of the cell announce, each with its marimo call."""
    seen: set[str] = set()
    for statement in walk_statements(cell.body):
        if isinstance(statement, ast.With | ast.AsyncWith):
            nodes: list[ast.AST] = [item.context_expr for item in statement.items]
        elif isinstance(statement, ast.Expr | ast.Assign):
            nodes = [statement.value]
        else:
            continue
        for node in nodes:
            for call in calls_in(node):
                marimo = notebook.marimo(cell, call.func) or ""
                if marimo not in ANNOUNCING:
                    continue
                numbers = {one or other for text in _texts(call) for one, other in STEP.findall(text)}
                if len(numbers) == 1 and not numbers <= seen:
                    seen |= numbers
                    yield next(iter(numbers)), call
                break


def _texts(call: ast.Call) -> Iterator[str]:
    for node in ast.walk(call):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


class ProcessingCellReturnsUi(Rule):
    """A cell that computes hands a display object to other cells instead of its data.

    ## What it does

    Reports a cell that trains, loads or loops, and binds a callout, Markdown or layout that another
    cell reads. Cells that only lay things out are left alone.

    ## Why is this bad?

    The other cells can show the object and nothing else. Whoever needs the loss history, or wants to
    show it in another way, has to run the training again.

    ## Example

    ```python
    @app.cell
    def _(mo, train):
        losses = train()
        result_view = mo.md(f"Final loss {losses[-1]}")
        return (result_view,)


    @app.cell
    def _(mo, result_view):
        mo.vstack([mo.md("# Results"), result_view])
        return
    ```

    ## Use instead

    ```python
    @app.cell
    def _(train):
        losses = train()
        return (losses,)


    @app.cell
    def _(losses, mo):
        mo.vstack([mo.md("# Results"), mo.md(f"Final loss {losses[-1]}")])
        return
    ```

    ## Fix safety

    None.

    ## References

    - Checklist 13.10
    """

    code = "QA1311"
    severity = Severity.LOW
    checklist = ("13.10",)
    oracle = "none: a question of design"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each cell."""
        for cell in notebook.cells:
            if cell.kind != "cell":
                continue
            work = next((each for each in cell.body if _computes(notebook, cell, each)), None)
            if work is None:
                continue
            for name in sorted(cell.defs):
                shown = notebook.display(cell).named(name)
                readers = notebook.readers(name)
                if shown is None or shown.kind != "layout" or not readers:
                    continue
                yield self.finding(
                    notebook.place(cell.stores(name)[-1]),
                    f"this cell computes, and gives other cells `{name}`, which can only be shown",
                    related=[
                        Related(notebook.file.place(work), "the work is done here"),
                        Related(notebook.place(readers[0].reads(name)[0]), "read here"),
                    ],
                    help="Return the data, and build the display in the cell that shows it.",
                )
                break


def _computes(notebook: Notebook, cell: Cell, statement: ast.stmt) -> bool:
    """Training or loading, in the open or in a loop."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    return any(
        TRAINING.fullmatch(called(call))
        or LOADING.fullmatch(called(call))
        or called(call).startswith("train_")
        for call in calls_in(statement)
        if notebook.marimo(cell, call.func) is None
    )


class MissingProgress(Rule):
    """A training or download loop shows nothing while it runs.

    ## What it does

    Reports a loop that trains or downloads, in a cell with no progress bar, spinner, print, logging or
    `mo.output`. Loops over a short literal are left alone. Off by default.

    ## Why is this bad?

    Minutes without a sign look like a hang.

    ## Example

    ```python
    for batch in loader:
        loss = model(batch)
        loss.backward()
        optimizer.step()
    ```

    ## Use instead

    ```python
    for batch in mo.status.progress_bar(loader):
        loss = model(batch)
        loss.backward()
        optimizer.step()
    ```

    ## Fix safety

    The fix wraps the iterable in `mo.status.progress_bar`. It is unsafe because that needs a length.

    ## References

    - [marimo: progress bar](https://docs.marimo.io/api/status/)
    - Checklist 13.08, 14.12
    """

    code = "QA1312"
    severity = Severity.LOW
    default = False
    checklist = ("13.08", "14.12")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "none: needs a browser while the cell runs"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each cell."""
        for cell in notebook.cells:
            if cell.kind != "cell" or _says_something(notebook, cell):
                continue
            for statement in walk_statements(cell.body):
                if not isinstance(statement, ast.For):
                    continue
                short = isinstance(statement.iter, ast.List | ast.Tuple) and len(statement.iter.elts) <= 5
                body = ast.Module(statement.body, [])
                if short or not any(
                    called(call) in ("backward", "urlretrieve", "urlopen", "hf_hub_download", "train_step")
                    or called(call).startswith("download")
                    for call in calls_in(body)
                ):
                    continue
                alias = notebook.alias_for(cell)
                fix = None
                if alias is not None:
                    fix = edits.unsafe(
                        "Show a progress bar",
                        edits.wrap(statement.iter, f"{alias}.status.progress_bar(", ")"),
                    )
                yield self.finding(
                    notebook.file.place(statement.iter),
                    "nothing shows how far this loop has come",
                    fix=fix,
                    help="Wrap the iterable in `mo.status.progress_bar(...)`.",
                )
                break


def _says_something(notebook: Notebook, cell: Cell) -> bool:
    for node in (each for statement in cell.body for each in ast.walk(statement)):
        if isinstance(node, ast.Call):
            marimo = notebook.marimo(cell, node.func) or ""
            if marimo.startswith(("status.", "output.")) or called(node) in (
                "print",
                "tqdm",
                "trange",
                "info",
                "write",
            ):
                return True
    return False


class DocstringShown(Rule):
    """A cell that is nothing but a string is shown as text.

    ## What it does

    Reports a cell whose only statement is a string. Off by default: some authors write notes that way.

    ## Why is this bad?

    marimo takes the string for the cell's output and shows it as plain text, quotes and Markdown signs
    included.

    ## Beyond the checklist

    The checklist does not ask for this. 153 cells of 1,682 public notebooks show a lone string.

    ## Example

    ```python
    @app.cell
    def _():
        \"\"\"# Training\"\"\"
        return
    ```

    ## Use instead

    ```python
    @app.cell
    def _(mo):
        mo.md(\"\"\"# Training\"\"\")
        return
    ```

    ## Fix safety

    None.

    ## References

    - [marimo: understanding errors](https://docs.marimo.io/guides/understanding_errors/)
    """

    code = "QA1317"
    severity = Severity.LOW
    default = False
    oracle = "cpu"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each cell."""
        for cell in notebook.cells:
            match cell.body:
                case [ast.Expr(value=ast.Constant(value=str()))] if cell.kind == "cell" and not cell.silenced:
                    yield self.finding(
                        notebook.file.place(cell.body[0]),
                        "this string is the cell's output, shown as plain text",
                        help="Make it a comment, or Markdown with `mo.md(...)`.",
                    )
                case _:
                    pass


__all__ = ["CrowdedStepCell", "DocstringShown", "MissingProgress", "ProcessingCellReturnsUi", "Shown"]
