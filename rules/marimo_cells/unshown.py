"""What a cell returns or binds instead of showing it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Cell, Notebook, Shown, bindings, is_name, is_private, walk_statements
from qalint.rule import Confidence, Edit, Finding, Fix, Related, Rule, Severity

from .elements import elements, value_reads
from .lost import dropped, is_none, lost_tails, short, stray_returns


class ReturnDoesNotDisplay(Rule):
    """A cell returns, or only names, what it should show.

    ## What it does

    Reports `return mo.md(...)` and other returned expressions that build something to look at, and a
    cell that shows nothing although it binds or returns such an object that no other cell reads. It
    also reports a matplotlib figure whose cell ends in a call without a picture for a value
    (`plt.tight_layout()`, `ax.grid(True)`), and, with lower confidence, an element whose `.value` other
    cells read although no cell shows it. Input widgets that nothing reads are left alone.

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
                    f"`return` does not display: `{short(found.what)}` is thrown away",
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
            if not display.shows_last or _ends_without_picture(notebook, cell):
                yield from self.undrawn(notebook, cell, edits)
                yield from self.unplaced(notebook, cell, edits)
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

    def undrawn(self, notebook: Notebook, cell: Cell, edits: Edits) -> Iterator[Finding]:
        """What pyplot draws in a cell that shows nothing and binds no figure."""
        drawn = [each for each in cell.body if _draws(notebook, cell, each)]
        if not drawn or cell.last is None or is_none(cell.last):
            return
        if _is_shown_by_call(notebook, cell, Shown("figure", "")) or _is_read_as_picture(notebook, cell):
            return
        plt = next((name for name, q in notebook.imported(cell).items() if q == "matplotlib.pyplot"), None)
        fix = None
        if plt is not None and (plt in cell.bound or notebook.is_bound(plt)):
            fix = edits.safe("Show the figure last", edits.insert_after(cell.last, f"{plt}.gcf()"))
        yield self.finding(
            notebook.file.place(drawn[-1]),
            "the figure that is drawn here is not displayed: the cell does not end in it",
            fix=fix,
            help=f"End the cell with `{plt or 'plt'}.gcf()`, or call `{plt or 'plt'}.show()`.",
        )

    def unplaced(self, notebook: Notebook, cell: Cell, edits: Edits) -> Iterator[Finding]:
        """An element whose value other cells read, though no cell shows it."""
        for name, made in elements(notebook, cell).items():
            uses = [(each, use) for each in notebook.cells for use in each.scope.loads.get(name, [])]
            if is_private(name) or not uses or len(cell.stores(name)) != 1:
                continue
            if any(name in notebook.mentions(other) for other in notebook.cells if other.scope.dynamic):
                continue
            values = {id(read.root) for each in notebook.cells for read in value_reads(each)}
            if all(id(use.node) in values for _, use in uses):
                reader = next((use for each, use in uses if each is not cell), uses[0][1])
                yield self.finding(
                    notebook.file.place(made.target),
                    f"`{name}` is displayed nowhere, so nobody can change the value that other cells read",
                    related=[Related(notebook.place(reader), "its value is read here")],
                    fix=_show_name(edits, cell, name),
                    help=f"Put `{name}` on a line of its own at the end of the cell, or into a layout.",
                    confidence=Confidence.MEDIUM,
                )
                return

    def candidate(
        self, notebook: Notebook, cell: Cell, *, figures_only: bool = False
    ) -> tuple[str, Shown] | None:
        """The name that the cell returns, or binds last, for nobody."""
        display = notebook.display(cell)
        returned = [node.id for node in cell.returned if isinstance(node, ast.Name)]
        ending = [] if figures_only else [*returned, *_bound_last(cell)]
        for name in dict.fromkeys([*ending, *sorted(cell.bound)]):
            shown = display.named(name)
            kinds = ("figure", "layout", "widget") if name in ending else ("figure",)
            if name not in cell.bound or name == "_" or shown is None or shown.kind not in kinds:
                continue
            if (
                notebook.readers(name)
                or _is_used(cell, name, shown)
                or _is_shown_by_call(notebook, cell, shown)
                or _axes_passed_on(notebook, cell, name)
            ):
                continue
            if any(name in notebook.mentions(other) for other in notebook.cells if other.scope.dynamic):
                continue
            return name, shown
        return None


NO_PICTURE = frozenset(
    {
        "grid", "tight_layout", "set_axis_off", "set_axis_on", "tick_params", "set_xscale", "set_yscale",
        "invert_yaxis", "invert_xaxis", "margins", "subplots_adjust", "autofmt_xdate", "set_size_inches",
        "hist", "set_xlim", "set_ylim", "xlim", "ylim", "axis", "xticks", "yticks", "set_visible",
        "pie", "errorbar", "stem", "colorbar", "set_aspect", "set_box_aspect", "set_facecolor", "set_dpi",
        "xscale", "yscale", "label_outer", "autoscale", "minorticks_on", "minorticks_off", "ticklabel_format",
        "locator_params", "align_labels", "set_cmap", "clim", "draw", "pause", "set_prop_cycle",
    }
)  # fmt: skip
"""Methods of a figure, of axes or of pyplot whose value is neither an artist nor a list of artists."""


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


DRAWING = frozenset(
    {
        "plot", "scatter", "bar", "barh", "hist", "imshow", "boxplot", "pie", "fill_between", "errorbar",
        "stem", "step", "contour", "contourf", "pcolormesh", "violinplot", "semilogy", "semilogx", "loglog",
    }
)  # fmt: skip
"""Functions of pyplot that draw data."""
PLOT = re.compile(r"\w+plot|heatmap|\w+map")
"""Functions of seaborn that draw on pyplot's axes."""


def _is_read_as_picture(notebook: Notebook, cell: Cell) -> bool:
    """Whether another cell reads the figure, or its axes, under a name of this cell."""
    display = notebook.display(cell)
    return any(
        (shown := display.named(name)) is not None and shown.kind in ("figure", "axes")
        for name in cell.defs
        if notebook.readers(name)
    )


def _draws(notebook: Notebook, cell: Cell, statement: ast.stmt) -> bool:
    """Whether the statement (or a loop or block of it) draws data on pyplot's figure, for no other cell."""
    for each in walk_statements([statement]):
        if isinstance(each, ast.Assign) and any(
            notebook.readers(node.id)
            for target in each.targets
            for node in ast.walk(target)
            if isinstance(node, ast.Name)
        ):
            return False
        match each:
            case ast.Expr(value=ast.Call(func=func) as call) | ast.Assign(value=ast.Call(func=func) as call):
                module, _, name = (notebook.resolve(cell, func) or "").rpartition(".")
                if module == "matplotlib.pyplot" and name in DRAWING:
                    return True
                named = {keyword.arg for keyword in call.keywords}
                if module == "seaborn" and PLOT.fullmatch(name) and "ax" not in named:
                    return True
            case _:
                pass
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


def _axes_passed_on(notebook: Notebook, cell: Cell, name: str) -> bool:
    """Whether the axes of the figure go to marimo (`mo.ui.matplotlib(ax)`) or to another cell."""
    axes = {
        node.id
        for target, _ in bindings(cell.body)
        if isinstance(target, ast.Tuple | ast.List) and is_name(target.elts[0], name)
        for node in ast.walk(target)
        if isinstance(node, ast.Name) and node.id != name
    }
    if any(notebook.readers(each) for each in axes):
        return True
    for node in (each for statement in cell.body for each in ast.walk(statement)):
        if isinstance(node, ast.Call) and notebook.marimo(cell, node.func) is not None:
            if any(isinstance(each, ast.Name) and each.id in axes for each in ast.walk(node)):
                return True
    return False


PASSED_ON = ("show", "savefig", "save", "write_html", "write_image")
"""Methods by which a figure leaves the cell."""
BUILDING = ("add_", "update_", "set_", "tight_layout", "suptitle", "colorbar")
"""How the methods begin that draw on a figure."""


def _is_shown_by_call(notebook: Notebook, cell: Cell, shown: Shown) -> bool:
    """Whether `plt.show()`, `display(...)` or saving shows the figure, here or in a function called here."""
    if shown.kind != "figure":
        return False
    stack: list[tuple[Cell, ast.AST]] = [(cell, statement) for statement in cell.body]
    entered: set[ast.AST] = set()
    while stack:
        where, node = stack.pop()
        if isinstance(node, ast.Call):
            if (notebook.resolve(where, node.func) or "") in SHOWING:
                return True
            if isinstance(node.func, ast.Name):
                if node.func.id == "display":
                    return True
                function = notebook.function(node.func.id, where)
                if function is not None and function not in entered:
                    entered.add(function)
                    stack.append((where, function))
        stack.extend((where, child) for child in ast.iter_child_nodes(node))
    return False


SHOWING = frozenset(
    {
        "matplotlib.pyplot.show",
        "matplotlib.pyplot.savefig",
        "matplotlib.pyplot.close",
        "IPython.display.display",
    }
)
"""Functions that show a figure, or put it away."""


def _show_name(edits: Edits, cell: Cell, name: str) -> Fix | None:
    if cell.last is None or any(use.loops for use in cell.stores(name)):
        return None
    return edits.safe(f"Show `{name}` last", edits.insert_after(cell.last, name))


def _show_returned(edits: Edits, cell: Cell, node: ast.expr) -> Fix | None:
    """Put the returned expression on its own line, and leave the rest in the `return`."""
    returns = cell.returns
    if returns is None or not edits.alone(returns):
        return None
    start, end = edits.source.span(returns)
    inner = edits.source.span(node)
    outside = edits.text[start : inner.start] + edits.text[inner.end : end]
    if "#" in outside or notebook_shows(cell):
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
