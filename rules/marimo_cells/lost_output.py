"""Outputs inside branches and in mid-cell, and stray returns."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Notebook
from qalint.rule import Confidence, Finding, Related, Rule, Severity

from .lost import dropped, header, lift_tails, lost_tails, short, show_dropped, stray_returns

KEYWORDS = {
    ast.If: "if", ast.For: "for", ast.AsyncFor: "for", ast.While: "while", ast.With: "with",
    ast.AsyncWith: "with", ast.Try: "try", ast.TryStar: "try", ast.Match: "match",
}  # fmt: skip


class OutputInBranch(Rule):
    """What the cell should show stands inside its last if, for, while, with, try or match.

    ## What it does

    Reports a cell whose last statement is a compound one with something to look at at the end of a
    branch: `mo.md(...)`, a callout, a layout, a `mo.ui` element, a figure, a data frame, or a bare
    name. One finding stands for all branches. Calls that are made for what they do (`print`,
    `append`, `plt.show`) are no output, and neither is what may stand in a `try` for its exception
    (`try: cache[key]`, `try: frame.pivot(...)`), which `marimo check` reports. Where the cell also
    writes with `mo.output`, the finding has lower confidence.

    ## Why is this bad?

    marimo displays a cell's last statement only if that is a bare expression. A compound statement
    has no value, so every branch builds its object and throws it away: the cell stays blank. The
    reason is not Python's scoping, as the checklist says, and a `with` block, `mo.status.spinner` or
    `redirect_stdout` included, is no exception. `marimo check` (MR002) sees `if`, `match` and `try`
    where the alias is `mo`; loops, `with`, nesting, other aliases and figures it does not see.

    ## Example

    ```python
    @app.cell
    def _(history, mo, plot):
        if history:
            mo.vstack([mo.md("## Loss"), plot(history)])
        else:
            mo.md("Train the model first.")
        return
    ```

    ## Use instead

    ```python
    @app.cell
    def _(history, mo, plot):
        if history:
            _output = mo.vstack([mo.md("## Loss"), plot(history)])
        else:
            _output = mo.md("Train the model first.")
        _output
        return
    ```

    ## Fix safety

    The fix gives all branches one name, `None` where a path has nothing to show, and adds the name as
    the last expression; in loops it collects a list for `mo.vstack`. It is unsafe because the cell
    begins to show something. The name is private, unless a `mo.ui` element is made inside: its
    events would be lost in a private layout, so then the name is public.

    ## References

    - [marimo: outputs](https://docs.marimo.io/guides/outputs/)
    - Checklist 13.05, 13.06. "Assign, then return" in the checklist does not display: the name has to
      stand as the last expression; the `return` is ignored.
    """

    code = "QA1305"
    severity = Severity.CRITICAL
    checklist = ("13.05", "13.06")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each cell."""
        for cell in notebook.cells:
            lost = lost_tails(notebook, cell)
            if not lost or cell.last is None:
                continue
            keyword = KEYWORDS[type(cell.last)]
            first, *others = lost
            related = [
                Related(notebook.file.place(each.statement), "this branch shows nothing either")
                for each in others
            ]
            related.append(
                Related(
                    header(notebook, cell.last), f"the cell ends with this `{keyword}`, which has no value"
                )
            )
            output = notebook.display(cell).uses_output_api
            yield self.finding(
                notebook.file.place(first.statement),
                f"`{short(first.what)}` is not displayed: it is inside the `{keyword}` that ends the cell",
                related=related,
                confidence=Confidence.MEDIUM if output else Confidence.HIGH,
                fix=lift_tails(notebook, cell, edits, lost),
                help="marimo shows a cell's last bare expression: assign to one name in every branch and put "
                "that name last.",
            )


class DroppedOutput(Rule):
    """Something to look at is built in mid-cell, where marimo throws it away.

    ## What it does

    Reports an expression statement that builds Markdown, a callout, a layout, a `mo.ui` element, a
    figure or a data frame and is followed by other statements, at the top level of the cell or inside
    a block.

    It stays silent where the author suppressed the output on purpose (a literal `None` line follows, or
    the statement ends with `;`), on calls that change something (`plt.figure()`,
    `fig.update_layout(...)`), and on the bare name of another cell's value, which only makes the cell
    run again when that changes.

    ## Why is this bad?

    A cell shows one thing, its last expression. The step message, table or heading in the middle is
    built and dropped: nobody sees that step 1 is complete. Neither Python nor `marimo check` says a
    word.

    ## Example

    ```python
    @app.cell
    def _(load, mo):
        rows = load()
        mo.callout(mo.md("Data loaded"), kind="success")
        count = len(rows)
        return count, rows
    ```

    ## Use instead

    ```python
    @app.cell
    def _(load, mo):
        rows = load()
        count = len(rows)
        mo.callout(mo.md("Data loaded"), kind="success")
        return count, rows
    ```

    ## Fix safety

    A single expression moves to the end, if nothing after it changes what it reads; otherwise it gets
    a name where it stands, and the name goes last. Several, or one beside an output that is shown
    already, are joined in `mo.vstack`. Unsafe: the cell's output changes.

    ## References

    - [marimo: outputs](https://docs.marimo.io/guides/outputs/)
    - Checklist 13.04, 13.08, 09.11
    """

    code = "QA1306"
    severity = Severity.HIGH
    checklist = ("13.04", "13.08", "09.11")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each dropped expression."""
        for cell in notebook.cells:
            lost = dropped(notebook, cell)
            if not lost:
                continue
            output = notebook.display(cell).uses_output_api
            ending = lost_tails(notebook, cell)
            fix = (lift_tails if ending else show_dropped)(notebook, cell, edits, ending or lost)
            for each in lost:
                yield self.finding(
                    notebook.file.place(each.statement),
                    f"`{short(each.what)}` is not displayed: the cell goes on after it",
                    related=[
                        Related(header(notebook, cell.body[-1]), "the cell ends here, and shows only this")
                    ],
                    confidence=Confidence.MEDIUM if output else Confidence.HIGH,
                    fix=fix,
                    help="marimo shows a cell's last bare expression only: move it to the end, join "
                    "several in "
                    "`mo.vstack([...])`, or give it a cell of its own.",
                )


class ReturnInsideCell(Rule):
    """A `return` stands before the end of a cell, or inside a block of it.

    ## What it does

    Reports a cell with a `return` anywhere but as its last top-level statement (nested functions have
    their own). In a Markdown notebook no `return` is allowed at all.

    ## Why is this bad?

    A cell only looks like a function: marimo strips the trailing `return` and runs the body as module
    code. Any other `return` makes the body unparsable (`SyntaxError: 'return' outside function`); the
    cell and everything that depends on it does not run, and `app.run()` raises.

    ## Example

    ```python
    @app.cell
    def _(button, mo, train):
        if not button.value:
            return mo.callout(mo.md("Press the button"), kind="info")
        model = train()
        return (model,)
    ```

    ## Use instead

    ```python
    @app.cell
    def _(button, mo, train):
        mo.stop(not button.value, mo.callout(mo.md("Press the button"), kind="info"))
        model = train()
        return (model,)
    ```

    ## Fix safety

    None: `mo.stop` also stops the cells that depend on this one, so the author has to choose.

    ## References

    - `marimo check` MB005 reports the same as a syntax error
    - [marimo: control flow](https://docs.marimo.io/api/control_flow/)
    """

    code = "QA1307"
    severity = Severity.CRITICAL
    checklist = ("13.04", "13.09")
    oracle = "cpu"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each cell."""
        for cell in notebook.cells:
            if cell.kind not in ("cell", "setup"):
                continue
            strays = stray_returns(cell)
            if not strays:
                continue
            first, *others = strays
            guard = isinstance(cell.body[0], ast.If | ast.Expr) or len(cell.body) > 1
            yield self.finding(
                notebook.file.place(first),
                "`return` before the end makes the whole cell unparsable: marimo runs its body as "
                "module code",
                related=[Related(notebook.file.place(each), "so does this one") for each in others],
                help="To leave early, call `mo.stop(condition, output)`; to show one of several things, "
                "assign "
                "it to a name in every branch and put the name last."
                if guard
                else "Leave the value as the last expression.",
            )
