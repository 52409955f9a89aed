"""Reading an element's value in the cell that creates it: QA1318."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Cell, Notebook, Scope, is_private, scope_of
from qalint.rule import Edit, Finding, Fix, Related, Rule, Severity

from .elements import ValueRead, container_reads, containers, elements, made_by, value_reads


class ValueReadWhereCreated(Rule):
    """A cell reads the value of an element that it creates itself.

    ## What it does

    Reports `element.value` in the cell that binds `element = mo.ui...(...)`, `.value` directly on the
    call that makes an element, and `.value` of what a list or dictionary of elements holds. Reads inside
    a function that another cell calls are left alone, and so is `mo.state`.

    ## Why is this bad?

    marimo raises `RuntimeError: Accessing the value of a UIElement in the cell that created it is not
    allowed`. It could not work: moving the slider would run the cell again, which creates a new slider
    at its start value. Interaction drives the cells that read the element, never its own.

    ## Beyond the checklist

    The checklist does not ask for this, but the cell raises, and its reader cannot know why.

    ## Example

    ```python
    @app.cell
    def _(mo):
        epochs = mo.ui.slider(1, 10)
        total = epochs.value * 100
        return epochs, total
    ```

    ## Use instead

    ```python
    @app.cell
    def _(mo):
        epochs = mo.ui.slider(1, 10)
        epochs
        return (epochs,)


    @app.cell
    def _(epochs):
        total = epochs.value * 100
        return (total,)
    ```

    ## Fix safety

    The fix splits the cell before the first statement that reads the value, and shows the element in
    the first part if nothing is shown there. It is unsafe because the cells' outputs change. There is
    none where a private name is used in both parts, or a block holds both.

    ## References

    - [marimo: interactivity](https://docs.marimo.io/guides/interactivity/)
    """

    code = "QA1318"
    severity = Severity.CRITICAL
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each cell and element, at the first read."""
        for cell in notebook.cells:
            if cell.kind not in ("cell", "setup"):
                continue
            own = elements(notebook, cell)
            seen: set[str] = set()
            yield from self.contained(notebook, cell)
            for read in value_reads(cell) if own else ():
                made = own.get(read.name)
                if made is None or read.deferred or read.name in seen or len(cell.stores(read.name)) != 1:
                    continue
                if not _at_cell_level(cell, read):
                    continue
                seen.add(read.name)
                yield self.finding(
                    notebook.file.place(read.node),
                    f"`{notebook.source.segment(read.node)}` is read in the cell that creates `{read.name}`: "
                    "marimo raises RuntimeError",
                    related=[Related(notebook.file.place(made.target), "created here")],
                    fix=_split(notebook, cell, read, edits),
                    help="Read the value in another cell: only that one runs again when the element changes.",
                )
            yield from self.direct(notebook, cell)

    def contained(self, notebook: Notebook, cell: Cell) -> Iterator[Finding]:
        """`[slider.value for slider in sliders]`: elements in a list or dictionary of this cell."""
        for name, holder in containers(notebook, cell).items():
            read = next(container_reads(cell, name), None)
            if read is not None:
                yield self.finding(
                    notebook.file.place(read),
                    f"`{notebook.source.segment(read)}` is read in the cell that creates the elements of "
                    f"`{name}`: marimo raises RuntimeError",
                    related=[Related(notebook.file.place(holder), "created here")],
                    help="Read the values in another cell, and put the elements into `mo.ui.array` or "
                    "`mo.ui.dictionary`, so that it runs again when one of them changes.",
                )

    def direct(self, notebook: Notebook, cell: Cell) -> Iterator[Finding]:
        """`mo.ui.slider(1, 10).value`: an element nobody can move."""
        stack: list[ast.AST] = list(reversed(cell.body))
        while stack:
            node = stack.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if (
                isinstance(node, ast.Attribute)
                and node.attr == "value"
                and isinstance(node.value, ast.Call)
                and made_by(notebook, cell, node.value)
            ):
                yield self.finding(
                    notebook.file.place(node),
                    "the value is read where the element is created: marimo raises RuntimeError",
                    help="Bind the element to a name, and read its value in another cell.",
                )
            stack.extend(reversed(list(ast.iter_child_nodes(node))))


def _at_cell_level(cell: Cell, read: ValueRead) -> bool:
    """Whether the name in the read means the cell's own (a comprehension may have another)."""
    return any(use.node is read.root for use in cell.scope.loads.get(read.name, []))


def _split(notebook: Notebook, cell: Cell, read: ValueRead, edits: Edits) -> Fix | None:
    """Begin a new cell at the first statement that reads the value."""
    if cell.kind != "cell":
        return None
    index = next((i for i, each in enumerate(cell.body) if any(n is read.node for n in ast.walk(each))), 0)
    if index == 0 or not edits.alone(cell.body[index]):
        return None
    first, second = cell.body[:index], cell.body[index:]
    if any(each.name == read.name and each.node not in _nodes(first) for each in cell.stores(read.name)):
        return None
    before, after = scope_of(first), scope_of(second)
    shared = set(after.loads) & set(before.stores)
    if any(is_private(name) for name in shared) or set(before.stores) & set(after.stores):
        return None
    shown: list[str] = []
    if not any(isinstance(each, ast.Expr) and notebook.display(cell).of(each.value) for each in first):
        shown = [] if _is_placed(second, read.name) else [read.name]
    elif not isinstance(first[-1], ast.Expr):
        return None
    text = _divider(notebook, cell, edits, before, after, shown)
    start = edits.comments(second[0]).start
    changes = [Edit(start, start, text)]
    if (
        cell.returns is not None
        and cell.returned
        and all(isinstance(each, ast.Name) for each in cell.returned)
    ):
        names = sorted(name for name in after.stores if not is_private(name))
        listed = f" ({names[0]},)" if len(names) == 1 else "".join([" " if names else "", ", ".join(names)])
        changes.append(Edit(*notebook.source.span(cell.returns), f"return{listed}"))
    return edits.unsafe("Read the value in a cell of its own", tuple(changes))


def _is_placed(statements: list[ast.stmt], name: str) -> bool:
    """Whether the statements use the element itself, to show it, and not only its value."""
    read = {
        id(node.value)
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute)
    }
    return any(
        isinstance(node, ast.Name) and node.id == name and id(node) not in read
        for statement in statements
        for node in ast.walk(statement)
    )


def _nodes(statements: list[ast.stmt]) -> set[ast.AST]:
    return {node for statement in statements for node in ast.walk(statement)}


def _divider(
    notebook: Notebook, cell: Cell, edits: Edits, before: Scope, after: Scope, shown: list[str]
) -> str:
    """The text that ends one cell and begins the next."""
    newline = edits.newline
    indentation = edits.indentation(cell.body[0])
    lines = [f"{indentation}{name}" for name in shown]
    if cell.block is not None:
        lines += ["```", "", f"```{cell.block.info}"]
        return newline.join([*lines, ""])
    names = sorted(name for name in before.stores if not is_private(name))
    listed = f"({names[0]},)" if len(names) == 1 else ", ".join(names)
    ordinary = {name for each in notebook.cells if each.kind == "cell" for name in each.defs}
    wanted = sorted(name for name in after.loads if name in ordinary and after.reads(name))
    keyword = "async def" if cell.is_async else "def"
    lines += [
        f"{indentation}return {listed}".rstrip(), "", "",
        "@app.cell",
        f"{keyword} _({', '.join(wanted)}):",
    ]  # fmt: skip
    return newline.join([*lines, ""])
