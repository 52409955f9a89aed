"""Layouts: elements whose events are lost, figures that do not fit."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Cell, Notebook, bindings, is_private, walk_statements
from qalint.rule import Applicability, Edit, Finding, Fix, Related, Rule, Severity

CONTAINERS = frozenset(
    [
        "vstack",
        "hstack",
        "callout",
        "md",
        "accordion",
        "center",
        "left",
        "right",
        "sidebar",
        "carousel",
        "Html",
        "as_html",
    ]
)
"""Layouts that marimo looks into only if they, or their elements, have a public name."""

KEPT = frozenset({"ui.table", "ui.dataframe", "ui.file_browser"})
"""Elements that offer functions of their own to the page, which keeps them reachable."""

HANDLERS = frozenset({"on_click", "on_change", "on_submit"})


class PrivateUiInLayout(Rule):
    """An element with a handler sits in a layout without a public name: its events are lost.

    ## What it does

    Reports a `mo.ui` element with `on_click` or `on_change` that has a private name or none, and is
    placed in `mo.vstack`, `hstack`, `callout`, `accordion` or the like that has no public name either,
    one by one or as a private list. A bare private element, one in a list that is shown as it is, in
    `mo.ui.array` or `mo.ui.tabs`, and one that a function closes over work, and are not reported; tables
    and file browsers work as well, and elements without a handler have nothing to lose.

    ## Why is this bad?

    marimo finds the Python object behind an event by the public names of the notebook. Without one
    the click arrives nowhere: no error, no effect.

    ## Beyond the checklist

    The checklist asks for layouts, and does not say that handlers inside them can be lost.

    ## Example

    ```python
    @app.cell
    def _(mo, set_count):
        _button = mo.ui.button(label="Add", on_click=lambda _: set_count(1))
        mo.vstack([mo.md("Count"), _button])
        return
    ```

    ## Use instead

    ```python
    @app.cell
    def _(mo, set_count):
        add_button = mo.ui.button(label="Add", on_click=lambda _: set_count(1))
        mo.vstack([mo.md("Count"), add_button])
        return
    ```

    ## Fix safety

    The fix drops the underscore, or gives the layout a public name and shows it. It is unsafe because
    the name becomes visible to the whole notebook.

    ## References

    - marimo issue 10088
    """

    code = "QA1612"
    severity = Severity.HIGH
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each such element."""
        for cell in notebook.cells:
            if cell.kind not in ("cell", "setup"):
                continue
            yield from self.in_cell(notebook, cell, edits)

    def in_cell(self, notebook: Notebook, cell: Cell, edits: Edits) -> Iterator[Finding]:
        """The findings of one cell."""
        handled = {
            target.id: value
            for target, value in bindings(cell.body)
            if isinstance(target, ast.Name)
            and is_private(target.id)
            and any(has_handler(notebook, cell, each) for each in _made(value))
        }
        closed = {name for name, uses in cell.scope.loads.items() if any(use.deferred for use in uses)}
        for statement in walk_statements(cell.body):
            layout = _layout(notebook, cell, statement)
            if layout is None:
                continue
            expression, public = layout
            if public:
                continue
            for element, container in _elements(notebook, cell, expression):
                if isinstance(element, ast.Name):
                    if element.id not in handled or element.id in closed:
                        continue
                    created = handled[element.id]
                    yield self.finding(
                        notebook.file.place(element),
                        f"the handler of `{element.id}` is never called: a private element inside a layout "
                        "receives no events",
                        related=[Related(notebook.file.place(created), "the element is made here")],
                        fix=_publish(notebook, cell, element.id),
                        help="Give the element a name without underscore.",
                    )
                elif has_handler(notebook, cell, element):
                    yield self.finding(
                        notebook.file.place(element),
                        "the handler of this element is never called: an element without a public name "
                        "inside a "
                        "layout receives no events",
                        related=[
                            Related(notebook.file.place(container), "the layout has no public name either")
                        ],
                        fix=_name_layout(notebook, cell, edits, statement),
                        help="Bind the element, or the whole layout, to a name without underscore.",
                    )


def _made(value: ast.expr) -> list[ast.expr]:
    """The expression, or the items of the list or dictionary that it is."""
    match value:
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Dict(values=items):
            return items
        case ast.ListComp(elt=item) | ast.DictComp(value=item):
            return [item]
    return [value]


def has_handler(notebook: Notebook, cell: Cell, expr: ast.expr) -> bool:
    """Whether the expression makes a `mo.ui` element with a handler."""
    if not isinstance(expr, ast.Call):
        return False
    marimo = notebook.marimo(cell, expr.func)
    if marimo is None or not marimo.startswith("ui.") or marimo in KEPT:
        return False
    return any(
        each.arg in HANDLERS and not (isinstance(each.value, ast.Constant) and each.value.value is None)
        for each in expr.keywords
    )


def _layout(notebook: Notebook, cell: Cell, statement: ast.stmt) -> tuple[ast.expr, bool] | None:
    """The layout that the statement shows or names, and whether it gets a public name."""
    match statement:
        case ast.Expr(value=value) if statement is cell.last:
            return value, False
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return value, not is_private(name)
    return None


def _elements(notebook: Notebook, cell: Cell, expr: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The names and calls inside layouts, each with the innermost layout around it."""
    stack: list[tuple[ast.expr, ast.expr | None]] = [(expr, None)]
    while stack:
        node, container = stack.pop()
        if isinstance(node, ast.Call):
            marimo = notebook.marimo(cell, node.func)
            if marimo is not None and marimo.startswith("ui."):
                if container is not None:
                    yield node, container
                continue
            if marimo in CONTAINERS:
                container = node
            elif isinstance(node.func, ast.Attribute) and node.func.attr in (
                "callout",
                "center",
                "left",
                "right",
            ):
                container = node
                stack.append((node.func.value, container))
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            stack.extend((each, container) for each in arguments)
        elif isinstance(node, ast.Name):
            if container is not None:
                yield node, container
        elif isinstance(node, ast.Starred) or (
            isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
        ):
            stack.append((node.value, container))
        elif isinstance(node, ast.List | ast.Tuple):
            stack.extend((each, container) for each in node.elts)
        elif isinstance(node, ast.Dict):
            stack.extend((each, container) for each in node.values)
        elif isinstance(node, ast.ListComp | ast.GeneratorExp):
            stack.append((node.elt, container))
        elif isinstance(node, ast.JoinedStr):
            stack.extend(
                (each.value, container) for each in node.values if isinstance(each, ast.FormattedValue)
            )
        elif isinstance(node, ast.IfExp):
            stack.extend([(node.body, container), (node.orelse, container)])


def _publish(notebook: Notebook, cell: Cell, name: str) -> Fix | None:
    """Drop the underscore in this cell, where the public name is free."""
    public = name.lstrip("_")
    if not public.isidentifier() or public in notebook.all_names or len(notebook.private_definers(name)) != 1:
        return None
    edits = []
    for use in cell.scope.occurrences(name):
        span = notebook.name_span(use)
        if notebook.source.text[span.start : span.end] != name:
            return None
        edits.append(Edit(*span, public))
    returned = [node for node in cell.returned if isinstance(node, ast.Name) and node.id == name]
    edits += [Edit(*notebook.source.span(node), public) for node in returned]
    return Fix(Applicability.UNSAFE, f"Rename `{name}` to `{public}`", tuple(sorted(edits)))


def _name_layout(notebook: Notebook, cell: Cell, edits: Edits, statement: ast.stmt) -> Fix | None:
    """Give the layout that the cell shows a public name, or drop the underscore of the one it has."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=private)]) if is_private(private):
            return _publish(notebook, cell, private)
    if not isinstance(statement, ast.Expr) or not edits.alone(statement):
        return None
    name, number = "layout", 2
    while name in notebook.all_names:
        name = f"layout_{number}"
        number += 1
    start = edits.source.span(statement).start
    return edits.unsafe(
        f"Bind the layout to `{name}`",
        (Edit(start, start, f"{name} = "),),
        edits.insert_after(statement, name),
    )


class CutOffFigure(Rule):
    """A figure is wider than the place it is shown in.

    ## What it does

    Reports a matplotlib figure wider than 16 inches, a plotly figure with a fixed width above 1200
    pixels, and three or more figures side by side in `mo.hstack`. Off by default: only a browser can
    tell.

    ## Why is this bad?

    A notebook column is about 740 pixels wide in compact and 1110 in medium width. What does not fit
    is cut off or needs a scroll bar.

    ## Example

    ```python
    fig, axes = plt.subplots(1, 3, figsize=(24, 5))
    ```

    ## Use instead

    ```python
    fig, axes = plt.subplots(1, 3, figsize=(14, 4))
    ```

    ## Fix safety

    None.

    ## References

    - Checklist 09.14
    """

    code = "QA1613"
    severity = Severity.LOW
    default = False
    checklist = ("09.14",)
    oracle = "none: needs a browser"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each figure or row of figures."""
        for cell in notebook.cells:
            display = notebook.display(cell)
            for node in (each for statement in cell.body for each in ast.walk(statement)):
                if not isinstance(node, ast.Call):
                    continue
                for keyword in node.keywords:
                    match keyword:
                        case ast.keyword(arg="figsize", value=ast.Tuple(elts=[ast.Constant(value=width), _])):
                            if isinstance(width, int | float) and width > 16:
                                yield self.finding(
                                    notebook.file.place(keyword),
                                    f"a figure {width} inches wide does not fit the column",
                                )
                        case ast.keyword(arg="width", value=ast.Constant(value=int() as width)) if (
                            width > 1200
                        ):
                            shown = display.of(node)
                            method = (
                                isinstance(node.func, ast.Attribute) and node.func.attr == "update_layout"
                            )
                            if method or (shown is not None and shown.kind == "figure"):
                                yield self.finding(
                                    notebook.file.place(keyword),
                                    f"a figure {width} pixels wide does not fit the column",
                                )
                        case _:
                            pass
                if notebook.marimo(cell, node.func) == "hstack" and node.args:
                    items = node.args[0].elts if isinstance(node.args[0], ast.List | ast.Tuple) else []
                    figures = [
                        each for each in items if (s := display.of(each)) is not None and s.kind == "figure"
                    ]
                    if len(figures) > 2:
                        yield self.finding(
                            notebook.file.place(node),
                            f"{len(figures)} figures side by side do not fit the column",
                        )
