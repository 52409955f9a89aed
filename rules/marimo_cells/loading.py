"""What keeps marimo from loading a cell, or Python from importing the notebook."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator

from qalint.analysis.notebook import Cell, Notebook, scope_of
from qalint.rule import Finding, Related, Rule, Severity


class StarImport(Rule):
    """A cell imports everything from a module.

    ## What it does

    Reports `from module import *` in a cell.

    ## Why is this bad?

    marimo has to know which names a cell binds, and rejects the cell
    (`Importing symbols with import * is not allowed in marimo`). It parses, so that nothing else
    complains.

    ## Beyond the checklist

    The checklist does not ask for this, but without it the cell does not run at all.

    ## Example

    ```python
    @app.cell
    def _():
        from math import *
        return
    ```

    ## Use instead

    ```python
    @app.cell
    def _():
        import math
        return (math,)
    ```

    ## Fix safety

    None: which names are used can only be known with the module at hand.

    ## References

    - `marimo check` MB005
    - [marimo: import star](https://docs.marimo.io/guides/understanding_errors/import_star/)
    """

    code = "QA1316"
    severity = Severity.CRITICAL
    oracle = "cpu"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each import."""
        for cell in notebook.cells:
            for statement in cell.scope.stars:
                yield self.finding(
                    notebook.file.place(statement),
                    f"`from {statement.module or '.'} import *` is not allowed in a cell: marimo "
                    "rejects the cell",
                    help="Import the module, or the names by name.",
                )


class UnparsableCell(Rule):
    """A cell was saved as unparsable code.

    ## What it does

    Reports `app._unparsable_cell(...)`, and fences marked `unparsable="true"` in Markdown notebooks.

    ## Why is this bad?

    marimo writes this form when a cell has a syntax error. Nothing in it runs.

    ## Beyond the checklist

    The checklist does not ask for this, but such a cell does not run.

    ## Example

    ```python
    app._unparsable_cell(
        r\"\"\"
        x = (1 +
        \"\"\",
        name="_",
    )
    ```

    ## Use instead

    ```python
    @app.cell
    def _():
        x = 1
        return (x,)
    ```

    ## Fix safety

    None.

    ## References

    - `marimo check` MB001
    """

    code = "QA1319"
    severity = Severity.HIGH
    oracle = "cpu"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each cell."""
        for cell in notebook.cells:
            if cell.kind == "unparsable" and _is_saved(cell):
                place = notebook.file.place(cell.span)
                end = notebook.source.text.find("\n", place.start)
                yield self.finding(
                    place if end < 0 else place._replace(end=end),
                    "this cell was saved with a syntax error, and nothing in it runs",
                    help="Open the notebook in `marimo edit` and repair the cell.",
                )


def _is_saved(cell: Cell) -> bool:
    """Whether the file says that the cell is unparsable; a syntax error in the open is QA0002."""
    return not (
        isinstance(cell.node, ast.Expr) and isinstance(cell.node.value, ast.Call) and not cell.node.value.args
    )


class SelfImport(Rule):
    """A notebook imports a module that has its own file name.

    ## What it does

    Reports `import name` and `from name import ...` in a file called `name.py`.

    ## Why is this bad?

    Python looks in the notebook's own folder first, and finds the notebook instead of the package:
    `requests.py` never gets the real `requests`.

    ## Beyond the checklist

    The checklist does not ask for this; it is a common way to lose a package.

    ## Example

    ```python
    @app.cell
    def _():
        import torch  # in a file called torch.py
        return (torch,)
    ```

    ## Use instead

    ```python
    @app.cell
    def _():
        import torch  # in a file called torch_basics.py
        return (torch,)
    ```

    ## Fix safety

    None: the file has to be renamed.

    ## References

    - `marimo check` MR001, which also compares with installed packages; qalint does not look at the
      environment.
    """

    code = "QA1320"
    severity = Severity.HIGH
    oracle = "none: depends on where the notebook is started"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each import."""
        stem, extension = os.path.splitext(os.path.basename(notebook.source.path))
        if extension != ".py":
            return
        for cell in notebook.cells:
            for found in cell.imports:
                statement = found.statement
                relative = isinstance(statement, ast.ImportFrom) and statement.level
                module = statement.module or "" if isinstance(statement, ast.ImportFrom) else found.node.name
                if not relative and module.split(".")[0] == stem:
                    yield self.finding(
                        notebook.file.place(statement),
                        f"`{stem}` is the name of this file: the import finds the notebook, not the package",
                        help="Rename the notebook.",
                    )
                    break


class ReusableBeforeDefinition(Rule):
    """A reusable function or class needs one that is defined further down.

    ## What it does

    Reports an `@app.function` or `@app.class_definition` that, while it is being defined (in a
    default, a decorator, a base class, an annotation or a class body), reads another reusable
    definition that follows later in the file.

    ## Why is this bad?

    Reusable definitions are real module code. In the editor marimo sorts the cells by dependency; but
    `import notebook` and `python notebook.py` run the file from top to bottom and stop with NameError.

    ## Beyond the checklist

    The checklist does not ask for this; it matters to whoever imports from the notebook.

    ## Example

    ```python
    @app.function
    def shifted(x, by=offset()):
        return x + by


    @app.function
    def offset():
        return 1
    ```

    ## Use instead

    ```python
    @app.function
    def offset():
        return 1


    @app.function
    def shifted(x, by=offset()):
        return x + by
    ```

    ## Fix safety

    None.

    ## References

    - `marimo check` MR003, which also names ordinary cells that could be saved as reusable if they were
      in another order; those run as they are, and are not reported here
    - [marimo: reusing functions](https://docs.marimo.io/guides/reusing_functions/)
    """

    code = "QA1321"
    severity = Severity.HIGH
    oracle = "cpu"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each name."""
        reusable = {cell.name: cell for cell in notebook.cells if cell.kind in ("function", "class")}
        for cell in reusable.values():
            statement = cell.body[0]
            eager = [use for uses in scope_of([statement]).loads.values() for use in uses if not use.deferred]
            for use in eager:
                other = reusable.get(use.name)
                if other is not None and other.number > cell.number:
                    yield self.finding(
                        notebook.place(use),
                        f"`{use.name}` is needed here and defined further down: importing this notebook "
                        "raises "
                        "NameError",
                        related=[Related(notebook.place(other.stores(use.name)[0]), "defined here")],
                        help=f"Move `{use.name}` above `{cell.name}`.",
                    )
