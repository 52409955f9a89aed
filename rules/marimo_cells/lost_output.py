"""What a cell means to show and does not: QA1303, QA1305, QA1306, QA1307."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Cell, Notebook, Shown, bindings, tails, walk_statements
from qalint.rule import Confidence, Edit, Finding, Fix, Related, Rule, Severity

from .lost import dropped, lift_tails, lost_tails, show_dropped

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
    `append`, `plt.show`) are no output. Where the cell also writes with `mo.output`, the finding has
    lower confidence.

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
                    _header(notebook, cell.last), f"the cell ends with this `{keyword}`, which has no value"
                )
            )
            output = notebook.display(cell).uses_output_api
            yield self.finding(
                notebook.file.place(first.statement),
                f"`{_short(first.what)}` is not displayed: it is inside the `{keyword}` that ends the cell",
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
    severity = Severity.CRITICAL
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
            fix = None if lost_tails(notebook, cell) else show_dropped(notebook, cell, edits, lost)
            for each in lost:
                yield self.finding(
                    notebook.file.place(each.statement),
                    f"`{_short(each.what)}` is not displayed: the cell goes on after it",
                    related=[
                        Related(_header(notebook, cell.body[-1]), "the cell ends here, and shows only this")
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


class ReturnDoesNotDisplay(Rule):
    """A cell returns, or only names, what it should show.

    ## What it does

    Reports `return mo.md(...)` and other returned expressions that build something to look at, and a
    cell that shows nothing although it binds or returns such an object that no other cell reads. It
    also reports a matplotlib figure whose cell ends in a call without a picture for a value
    (`plt.tight_layout()`, `ax.grid(True)`). Input widgets that nobody shows are left alone: they may
    be placed elsewhere.

    ## Why is this bad?

    marimo strips the trailing `return` when it loads a notebook: `return mo.md(...)` and
    `return output` show nothing, whatever the checklist says. Only the last bare expression of the
    body is displayed. (`marimo check` calls such a cell empty, and its unsafe fix deletes it.)

    For matplotlib: the value of the last expression counts. `ax.set_title(...)` returns a text, which
    marimo renders as its whole figure; `ax.grid(True)` and `plt.tight_layout()` return None, and
    `ax.hist(...)` or `ax.set_xlim(...)` a tuple that is shown as such.

    ## Example

    ```python
    @app.cell
    def _(losses, plt):
        fig, ax = plt.subplots()
        ax.plot(losses)
        return (fig,)
    ```

    ## Use instead

    ```python
    @app.cell
    def _(losses, plt):
        fig, ax = plt.subplots()
        ax.plot(losses)
        fig
        return
    ```

    ## Fix safety

    The fix puts the expression before the `return`. It is safe: the cell showed nothing, and nothing
    else changes.

    ## References

    - [marimo: outputs](https://docs.marimo.io/guides/outputs/)
    - Checklist 13.03, 13.04, 13.06
    """

    code = "QA1303"
    severity = Severity.HIGH
    checklist = ("13.03", "13.04", "13.06")
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each cell and returned expression, or for the cell's unshown object."""
        for cell in notebook.cells:
            if cell.kind != "cell" or stray_returns(cell):
                continue
            returned = [node for node in cell.returned if not isinstance(node, ast.Name)]
            display = notebook.display(cell)
            shown = [(node, found) for node in returned if (found := display.of(node)) is not None]
            for node, found in shown:
                yield self.finding(
                    notebook.file.place(node),
                    f"`return` does not display: `{_short(found.what)}` is thrown away",
                    fix=_show_returned(edits, cell, node),
                    help="marimo ignores the trailing `return`; leave the expression as the last line "
                    "of the cell.",
                )
            if not shown:
                yield from self.unshown(notebook, cell, edits)

    def unshown(self, notebook: Notebook, cell: Cell, edits: Edits) -> Iterator[Finding]:
        """The object that the cell binds for nobody, if the cell shows nothing."""
        display = notebook.display(cell)
        if display.uses_output_api or lost_tails(notebook, cell) or dropped(notebook, cell):
            return
        found = None
        if not display.shows_last:
            found = self.candidate(notebook, cell)
        elif _ends_without_picture(notebook, cell):
            found = self.candidate(notebook, cell, figures_only=True)
        if found is None:
            return
        name, shown = found
        place = next((node for node in cell.returned if isinstance(node, ast.Name) and node.id == name), None)
        bound = cell.stores(name)[-1]
        what = {"figure": "figure", "layout": "output", "widget": "element", "axes": "figure"}[shown.kind]
        if display.shows_last and cell.last is not None:
            yield self.finding(
                notebook.file.place(cell.last),
                f"the cell ends in a call that has no picture for a value: the figure `{name}` is not "
                "displayed",
                related=[Related(notebook.place(bound), "the figure is made here")],
                fix=edits.safe(f"Show `{name}` last", edits.insert_after(cell.last, name)),
                help=f"Put `{name}` on a line of its own at the end of the cell.",
            )
        elif place is not None:
            yield self.finding(
                notebook.file.place(place),
                f"returning `{name}` does not display it, and no other cell reads it: the cell shows nothing",
                related=[Related(notebook.place(bound), f"the {what} is made here")],
                fix=_show_name(edits, cell, name),
                help=f"Put `{name}` on a line of its own before the `return`.",
            )
        else:
            yield self.finding(
                notebook.place(bound),
                f"the {what} `{name}` is bound and never displayed: the cell shows nothing",
                fix=_show_name(edits, cell, name),
                help=f"Put `{name}` on a line of its own at the end of the cell.",
            )

    def candidate(
        self, notebook: Notebook, cell: Cell, *, figures_only: bool = False
    ) -> tuple[str, Shown] | None:
        """The name that the cell returns, or binds last, for nobody."""
        display = notebook.display(cell)
        returned = [node.id for node in cell.returned if isinstance(node, ast.Name)]
        names = [*returned, *(_bound_last(cell) if not figures_only else cell.bound)]
        kinds = ("figure",) if figures_only else ("figure", "layout", "widget")
        for name in names:
            shown = display.named(name)
            if name not in cell.bound or shown is None or shown.kind not in kinds:
                continue
            if (
                notebook.readers(name)
                or _is_used(cell, name, shown)
                or _is_shown_by_call(notebook, cell, shown)
            ):
                continue
            if any(name in notebook.mentions(other) for other in notebook.cells if other.scope.dynamic):
                continue
            return name, shown
        return None


def stray_returns(cell: Cell) -> list[ast.Return]:
    """The `return` statements that marimo cannot load."""
    return [each for each in walk_statements(cell.body) if isinstance(each, ast.Return)]


NO_PICTURE = frozenset(
    {
        "grid", "tight_layout", "set_axis_off", "set_axis_on", "tick_params", "set_xscale", "set_yscale",
        "invert_yaxis", "invert_xaxis", "margins", "subplots_adjust", "autofmt_xdate", "set_size_inches",
        "hist", "set_xlim", "set_ylim", "xlim", "ylim", "axis", "xticks", "yticks", "set_visible",
    }
)  # fmt: skip
"""Methods of a figure, of axes or of pyplot whose value is no artist."""


def _ends_without_picture(notebook: Notebook, cell: Cell) -> bool:
    """Whether the cell ends in a call that draws on a figure and has no picture for a value."""
    match cell.last:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method))):
            if method not in NO_PICTURE:
                return False
            if notebook.imported(cell).get(name) == "matplotlib.pyplot":
                return True
            shown = notebook.display(cell).named(name)
            return shown is not None and shown.kind in ("figure", "axes")
    return False


def _bound_last(cell: Cell) -> list[str]:
    """The names that the last statement binds, on any of its paths."""
    last = cell.last
    if last is None:
        return []
    ends = [last, *(each for each in walk_statements([last]) if not isinstance(each, ast.Expr))]
    return [
        target.id
        for target, _ in bindings(ends[:1] if len(ends) == 1 else [last])
        if isinstance(target, ast.Name)
    ]


def _is_used(cell: Cell, name: str, shown: Shown) -> bool:
    """Whether the cell itself passes the object on; calls like `fig.update_layout()` only build it."""
    building: set[ast.AST] = set()
    if shown.kind == "figure":
        for statement in walk_statements(cell.body):
            match statement:
                case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name() as root, attr=method))):
                    if method not in PASSED_ON:
                        building.add(root)
                case _:
                    pass
            building.update(
                node.value
                for node in ast.walk(statement)
                if isinstance(node, ast.Attribute) and node.attr.startswith(BUILDING)
            )
    return any(use.node not in building for use in cell.scope.loads.get(name, []))


PASSED_ON = ("show", "savefig", "save", "write_html", "write_image")
"""Methods by which a figure leaves the cell."""
BUILDING = ("add_", "update_", "set_", "tight_layout", "suptitle", "colorbar")
"""How the methods begin that draw on a figure."""


def _is_shown_by_call(notebook: Notebook, cell: Cell, shown: Shown) -> bool:
    """Whether `plt.show()`, `display(...)` or saving shows the figure in its own way."""
    if shown.kind != "figure":
        return False
    for statement in cell.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                qualified = notebook.resolve(cell, node.func)
                if qualified in (
                    "matplotlib.pyplot.show",
                    "matplotlib.pyplot.savefig",
                    "matplotlib.pyplot.close",
                ):
                    return True
                if isinstance(node.func, ast.Name) and node.func.id == "display":
                    return True
    return False


def _show_name(edits: Edits, cell: Cell, name: str) -> Fix | None:
    if cell.last is None:
        return None
    return edits.safe(f"Show `{name}` last", edits.insert_after(cell.last, name))


def _show_returned(edits: Edits, cell: Cell, node: ast.expr) -> Fix | None:
    """Put the returned expression on its own line, and leave the rest in the `return`."""
    returns = cell.returns
    if returns is None or not edits.alone(returns):
        return None
    start, end = edits.source.span(returns)
    if "#" in edits.text[start:end] or notebook_shows(cell):
        return None
    kept = [edits.segment(each) for each in cell.returned if each is not node]
    indentation = edits.indentation(returns)
    text = edits.segment(node)
    names = "" if not kept else " " + (f"({kept[0]},)" if len(kept) == 1 else ", ".join(kept))
    if "\n" in text and isinstance(node, ast.BinOp | ast.IfExp | ast.BoolOp | ast.Tuple):
        text = f"({text})"
    return edits.safe(
        "Leave it as the last expression",
        (Edit(start, end, f"{text}{edits.newline}{indentation}return{names}"),),
    )


def notebook_shows(cell: Cell) -> bool:
    """Whether the cell already ends in a bare expression."""
    return isinstance(cell.last, ast.Expr) and not cell.silenced


def _header(notebook: Notebook, statement: ast.stmt):  # type: ignore[no-untyped-def]
    """The place of a statement: of a compound one, its first line."""
    place = notebook.file.place(statement)
    text = notebook.source.text
    end = text.find("\n", place.start)
    return place if end < 0 or end >= place.end else place._replace(end=end)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else line[:37] + "..."


__all__ = [
    "DroppedOutput",
    "OutputInBranch",
    "ReturnDoesNotDisplay",
    "ReturnInsideCell",
    "stray_returns",
    "tails",
]
