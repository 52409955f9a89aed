"""Faults of the cell graph: names that nobody binds, or several cells, or in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.notebook import BUILTINS, Cell, Notebook, Use, is_private
from qalint.rule import Confidence, Finding, Place, Related, Rule, Severity


class UndefinedAcrossCells(Rule):
    """A cell reads a name that nothing in the notebook binds.

    ## What it does

    Reports a name that a cell reads and that no cell, no import in a cell and no builtin provides. One
    finding stands for all cells that read it. An import that stands outside the cells counts as
    missing: marimo runs the cells only.

    A name that only the reading cell itself binds, further down (`total += x` with no `total` before),
    counts as well.

    It stays silent in notebooks with star imports, in cells that use `globals()` or `exec`, and for
    reads inside `try ... except NameError`. A name in an annotation only has lower confidence: from
    Python 3.14 on, annotations are not evaluated; so has module code that only a reusable function reads,
    which works where the notebook is imported.

    ## Why is this bad?

    The cell stops with NameError, and so does every cell that depends on it. Parameters do not help:
    `def _(model):` gets its `model` from a cell that binds it, not from a caller.

    ## Example

    ```python
    @app.cell
    def _(np):
        total = np.sum([1, 2, 3])
        return (total,)
    ```

    ## Use instead

    ```python
    @app.cell
    def _():
        import numpy as np
        return (np,)


    @app.cell
    def _(np):
        total = np.sum([1, 2, 3])
        return (total,)
    ```

    ## Fix safety

    None: what the name should be is the author's to say.

    ## References

    - [marimo: how notebooks run](https://docs.marimo.io/guides/reactivity/)
    - Checklist 13.03
    """

    code = "QA1304"
    severity = Severity.HIGH
    checklist = ("13.03",)
    oracle = "cpu"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each name."""
        if any(cell.scope.stars or cell.kind == "unparsable" for cell in notebook.cells):
            return
        found: dict[str, list[tuple[Cell, Use]]] = {}
        for cell in notebook.cells:
            if cell.scope.dynamic or cell.kind == "sql":
                continue
            for name in {*cell.scope.loads, *cell.scope.deletes}:
                definers = notebook.private_definers(name) if is_private(name) else notebook.definers(name)
                if name in BUILTINS or any(each is not cell for each in definers):
                    continue
                uses = [use for use in cell.reads(name) if not use.guarded]
                if definers and (first := _grown_from_nothing(cell, name)) is not None:
                    uses = [first]
                elif definers:  # the cell binds it itself, but later
                    uses = [use for use in uses if _is_unconditional(cell, use)]
                if uses:
                    uses.sort(key=lambda use: use.annotation)
                    found.setdefault(name, []).append((cell, uses[0]))
        for name, places in found.items():
            places.sort(key=lambda place: place[1].annotation)
            (_, first), *others = places
            related = [Related(notebook.place(use), "and here") for _, use in others]
            outside = notebook.outside_names.get(name)
            # A reusable function is imported as well, from a module that has run from its top.
            imported = bool(outside) and all(
                cell.kind in ("function", "class") and use.deferred for cell, use in places
            )
            later = next((cell.stores(name)[0] for cell, _ in places if cell.stores(name)), None)
            if outside:
                related.insert(0, Related(notebook.place(outside[0]), "bound here, outside the cells"))
                message = f"`{name}` is bound only outside the cells, which marimo does not run"
                help = "Move it into a cell, or into `with app.setup:`."
            elif later is not None:
                related.insert(0, Related(notebook.place(later), "bound only here"))
                message = f"`{name}` is read here before anything binds it"
                help = f"Bind `{name}` first."
            else:
                message = f"`{name}` is read here and bound in no cell"
                help = f"Bind or import `{name}` in one cell; the parameters of a cell give it nothing."
            yield self.finding(
                notebook.place(first),
                message,
                related=related,
                help=help,
                confidence=Confidence.MEDIUM if first.annotation or imported else Confidence.HIGH,
            )


def _grown_from_nothing(cell: Cell, name: str) -> Use | None:
    """The first `name += x` where nothing but such statements ever binds the name."""
    grown = [use for use in cell.scope.loads.get(name, []) if use.augmented]
    if len(grown) < len(cell.stores(name)) or any(use.guarded for use in grown):
        return None
    nodes = {id(use.node) for use in grown}
    return grown[0] if grown and all(id(use.node) in nodes for use in cell.stores(name)) else None


def _is_unconditional(cell: Cell, use: Use) -> bool:
    """Whether the read runs whenever the cell does: it stands in a simple statement at the top level."""
    for statement in cell.body:
        if isinstance(statement, ast.stmt) and any(node is use.node for node in ast.walk(statement)):
            return isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr)
    return False


class MultipleDefinitions(Rule):
    """Two cells bind the same public name.

    ## What it does

    Reports a name that more than one cell binds: by assignment, import, `def`, `class`, as a loop
    variable, or by `+=`. One finding names all places.

    ## Why is this bad?

    marimo cannot know which value the other cells mean, and refuses to run the cells that bind the
    name. Loop variables (`for i in ...`), `fig, ax`, a second `import numpy as np` and
    `df = df.dropna()` in a later cell are the usual ones.

    ## Beyond the checklist

    The checklist does not ask for this, but without it the notebook does not run at all.

    ## Example

    ```python
    @app.cell
    def _(load):
        df = load()
        return (df,)


    @app.cell
    def _(df):
        df = df.dropna()
        return (df,)
    ```

    ## Use instead

    ```python
    @app.cell
    def _(load):
        df = load()
        return (df,)


    @app.cell
    def _(df):
        clean = df.dropna()
        return (clean,)
    ```

    ## Fix safety

    None: one of the names has to change, or to become private (`_i`, `_fig`).

    ## References

    - `marimo check` MB002
    - [marimo: multiple definitions](https://docs.marimo.io/guides/understanding_errors/multiple_definitions/)
    """

    code = "QA1313"
    severity = Severity.CRITICAL
    oracle = "cpu"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each name, at its second definition."""
        names = {name for cell in notebook.cells for name in cell.defs}
        for name in sorted(names):
            cells = notebook.definers(name)
            if len(cells) < 2:
                continue
            places = [notebook.place(cell.stores(name)[0]) for cell in cells]
            imported = all(any(found.name == name for found in cell.imports) for cell in cells)
            yield self.finding(
                places[1],
                f"`{name}` is bound in {len(cells)} cells, and marimo runs none of them",
                related=[
                    Related(place, "also bound here") for index, place in enumerate(places) if index != 1
                ],
                help="Import it once, in one cell or in `with app.setup:`."
                if imported
                else f"Give each its own name, or keep it to its cell as `_{name}`.",
            )


class CyclicCells(Rule):
    """Cells depend on each other in a circle.

    ## What it does

    Reports a group of cells each of which reads what another one of the group binds. One finding
    names all the reads.

    ## Why is this bad?

    There is no order in which they could run; marimo runs none of them.

    ## Beyond the checklist

    The checklist does not ask for this, but without it the notebook does not run at all.

    ## Example

    ```python
    @app.cell
    def _(b):
        a = b + 1
        return (a,)


    @app.cell
    def _(a):
        b = a + 1
        return (b,)
    ```

    ## Use instead

    ```python
    @app.cell
    def _():
        a = 1
        return (a,)


    @app.cell
    def _(a):
        b = a + 1
        return (b,)
    ```

    ## Fix safety

    None.

    ## References

    - `marimo check` MB003
    - [marimo: cycles](https://docs.marimo.io/guides/understanding_errors/cycles/)
    """

    code = "QA1314"
    severity = Severity.CRITICAL
    oracle = "cpu"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each circle."""
        for group in notebook.cycles():
            reads: list[tuple[Place, str]] = [
                (notebook.place(cell.reads(name)[0]), name)
                for cell in group
                for name in sorted(cell.refs)
                for definer in notebook.definers(name)
                if definer in group and definer is not cell
            ]
            if not reads:
                continue
            reads.sort(key=lambda read: read[0].start)
            (place, name), *others = reads
            yield self.finding(
                place,
                f"the cells of `{name}` depend on each other in a circle, so marimo runs none of them",
                related=[Related(other, f"which needs `{read}`") for other, read in others],
                help="Break the circle: compute both in one cell, or keep the changing value in `mo.state`.",
            )


class SetupDependsOnCell(Rule):
    """The setup cell reads what an ordinary cell binds.

    ## What it does

    Reports a name read in `with app.setup:` that another cell binds.

    ## Why is this bad?

    The setup cell runs before all others. marimo refuses it ("setup cell cannot have dependencies").

    ## Beyond the checklist

    The checklist does not ask for this, but without it the notebook does not run at all.

    ## Example

    ```python
    with app.setup:
        import numpy as np
        grid = np.linspace(0, 1, steps)


    @app.cell
    def _():
        steps = 10
        return (steps,)
    ```

    ## Use instead

    ```python
    with app.setup:
        import numpy as np
        steps = 10
        grid = np.linspace(0, 1, steps)
    ```

    ## Fix safety

    None.

    ## References

    - `marimo check` MB004
    - [marimo: setup cell](https://docs.marimo.io/guides/understanding_errors/setup/)
    """

    code = "QA1315"
    severity = Severity.CRITICAL
    oracle = "cpu"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each name."""
        for cell in notebook.cells:
            if cell.kind != "setup":
                continue
            for name in sorted(cell.refs):
                definers = [each for each in notebook.definers(name) if each is not cell]
                if definers:
                    yield self.finding(
                        notebook.place(cell.reads(name)[0]),
                        f"the setup cell reads `{name}`, which a later cell binds",
                        related=[
                            Related(notebook.place(each.stores(name)[0]), "bound here") for each in definers
                        ],
                        help=f"Bind `{name}` in the setup cell too, or move this line into an ordinary cell.",
                    )
