"""Names with one leading underscore: marimo keeps them to the cell that binds them."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import BUILTINS, Cell, Notebook, Use, is_private
from qalint.rule import Applicability, Edit, Finding, Fix, Related, Rule, Severity
from qalint.source import Span


class PrivateNameCrossesCells(Rule):
    """A cell reads a name with a leading underscore that only another cell binds.

    ## What it does

    Reports the first place at which a cell reads such a name, at any depth: in an f-string, a
    comprehension, a function or a class body. Setup cell, `@app.function` and imports are no
    exception: `_s` from `with app.setup:`, `@app.function def _helper()`, `import x as _x` and
    `from m import _y` are private as well. `__x` (two underscores) is shared like any other name.

    ## Why is this bad?

    marimo renames `_x` to something only its own cell knows, so that cells can reuse short names.
    Reading it elsewhere raises `NameError: name '_x' is not defined`, in a function as soon as it is
    called. Naming `_x` in the signature or in the `return` of a cell changes nothing: marimo ignores
    both when it loads a notebook. `marimo check` reports none of this; its MR004 advises against
    repeating `import x as _x` in several cells, which works and is not reported here.

    ## Example

    ```python
    @app.cell
    def _(train):
        _losses = train()
        return (_losses,)


    @app.cell
    def _(_losses, plt):
        plt.plot(_losses)
        return
    ```

    ## Use instead

    ```python
    @app.cell
    def _(train):
        losses = train()
        return (losses,)


    @app.cell
    def _(losses, plt):
        plt.plot(losses)
        return
    ```

    ## Fix safety

    The fix drops the underscore in the cell that binds the name and in every cell that reads it. It is
    unsafe because the name becomes visible to the whole notebook. There is no fix where several cells
    bind the name, where the public name is taken, or where a string holds the name (SQL, `globals()`).

    ## References

    - [marimo: local variables](https://docs.marimo.io/guides/reactivity/#local-variables)
    - Checklist 13.01, 13.02
    """

    code = "QA1301"
    severity = Severity.CRITICAL
    checklist = ("13.01", "13.02")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, notebook: Notebook) -> Iterator[Finding]:
        """One finding for each reading cell and name."""
        for cell in notebook.cells:
            for name, uses in crossings(notebook, cell):
                yield self.crossing(notebook, cell, name, uses)

    def crossing(self, notebook: Notebook, cell: Cell, name: str, uses: list[Use]) -> Finding:
        """The finding on the first read of `name` in `cell`."""
        definers = [each for each in notebook.private_definers(name) if each is not cell]
        related = [
            Related(notebook.place(each.stores(name)[0]), f"`{name}` is bound here, for this cell only")
            for each in definers
        ]
        for each in (*definers, cell):
            related += [
                Related(notebook.file.place(node), f"naming `{name}` here does not share it")
                for node in interface(each, name)
            ]
        deferred = all(use.deferred for use in uses)
        public = name.lstrip("_")
        return self.finding(
            notebook.place(uses[0]),
            f"`{name}` is private to the cell that binds it: "
            + ("calling this raises NameError" if deferred else "reading it here raises NameError"),
            related=related,
            severity=Severity.HIGH if deferred else Severity.CRITICAL,
            fix=rename(notebook, name, public),
            help=f"Names with one leading underscore stay in their cell; call it `{public or 'something'}` "
            "in both cells.",
        )


class PrivateNameReturned(Rule):
    """A name with a leading underscore stands in a cell's return tuple or parameters.

    ## What it does

    Reports private names in the signature or in the trailing `return` of a cell that no other cell
    reads (where one does, QA1301 reports the read).

    ## Why is this bad?

    It has no effect: marimo ignores both lists when it loads the file, and drops such names when it
    saves. Whoever reads the code believes that the value is passed on, and the next person to use it
    gets a NameError.

    ## Example

    ```python
    @app.cell
    def _(np):
        _noise = np.random.normal(size=100)
        signal = _noise + 1
        return _noise, signal
    ```

    ## Use instead

    ```python
    @app.cell
    def _(np):
        _noise = np.random.normal(size=100)
        signal = _noise + 1
        return (signal,)
    ```

    ## Fix safety

    The fix removes the name from the tuple or the parameters, as marimo itself does on the next save.
    It is safe: nothing that runs changes.

    ## References

    - [marimo: local variables](https://docs.marimo.io/guides/reactivity/#local-variables)
    - Checklist 13.02, 13.03. The checklist wants all return statements checked; under marimo only what
      the bodies bind and read counts, so a missing name in a `return` is no fault.
    """

    code = "QA1302"
    severity = Severity.MEDIUM
    checklist = ("13.02", "13.03")
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "none: signature and return have no effect at run time"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each such name in a signature or return."""
        spoken = {name for cell in notebook.cells for name, _ in crossings(notebook, cell)}
        for cell in notebook.cells:
            if cell.kind != "cell" or cell.block is not None:
                continue
            for node in returned_names(cell):
                if is_private(node.id) and node.id not in spoken:
                    yield self.finding(
                        notebook.file.place(node),
                        f"returning `{node.id}` does not share it: names with one leading underscore stay in "
                        "their cell",
                        fix=edits.safe("Remove the private names from `return`", _without_returned(cell)),
                        help="Drop the underscore if another cell is to read it, else drop the name here.",
                    )
            for parameter in cell.params:
                if is_private(parameter.arg) and parameter.arg not in spoken:
                    yield self.finding(
                        notebook.file.place(parameter),
                        f"the parameter `{parameter.arg}` receives nothing: a name with one leading "
                        "underscore never leaves the cell that binds it",
                        fix=edits.safe(
                            "Remove the private names from the parameters", _without_parameters(cell)
                        ),
                    )


def crossings(notebook: Notebook, cell: Cell) -> Iterator[tuple[str, list[Use]]]:
    """The private names of other cells that `cell` reads, each with the reads that would fail."""
    scope = cell.scope
    names = {name for name in (*scope.loads, *scope.deletes) if is_private(name)}
    found = []
    for name in names:
        if not any(definer is not cell for definer in notebook.private_definers(name)):
            continue
        uses = [use for use in cell.reads(name) if not use.guarded]
        if uses:
            found.append((uses[0].order, name, uses))
    for _, name, uses in sorted(found, key=lambda item: item[0]):
        yield name, uses


def interface(cell: Cell, name: str) -> list[ast.AST]:
    """Where `name` stands in the signature and the return of the cell."""
    nodes: list[ast.AST] = [parameter for parameter in cell.params if parameter.arg == name]
    nodes += [node for node in returned_names(cell) if node.id == name]
    return nodes


def returned_names(cell: Cell) -> list[ast.Name]:
    """The bare names in the trailing return."""
    return [node for node in cell.returned if isinstance(node, ast.Name)]


def rename(notebook: Notebook, name: str, public: str) -> Fix | None:
    """Call the private `name` of one cell `public` in all cells, or None where that is not clear-cut."""
    definers = notebook.private_definers(name)
    if len(definers) != 1 or not public.isidentifier() or keyword.iskeyword(public) or public in BUILTINS:
        return None
    if public in notebook.all_names:
        return None
    edits: list[Edit] = []
    source = notebook.source
    for cell in notebook.cells:
        if name in notebook.mentions(cell) or public in notebook.sql_reads(cell):
            return None
        if cell.kind == "sql" and name in cell.bound:
            return None
        for use in cell.scope.occurrences(name):
            span = notebook.name_span(use)
            if source.text[span.start : span.end] != name:
                return None
            edits.append(Edit(*span, _spelled(use, name, public)))
        for node in interface(cell, name):
            span = source.span(node)
            edits.append(Edit(span.start, span.start + len(name), public))
    if len({edit.start for edit in edits}) != len(edits):
        return None
    edits.sort()
    return Fix(Applicability.UNSAFE, f"Rename `{name}` to `{public}` in all cells", tuple(edits))


def _spelled(use: Use, name: str, public: str) -> str:
    if isinstance(use.node, ast.alias) and use.node.asname is None:
        return f"{name} as {public}"
    return public


def _without_returned(cell: Cell) -> tuple[Edit, ...] | None:
    returns = cell.returns
    if returns is None or returns.value is None:
        return None
    span = cell.source.span(returns)
    if "#" in cell.source.text[span.start : span.end]:
        return None
    kept = [
        cell.source.segment(node)
        for node in cell.returned
        if not (isinstance(node, ast.Name) and is_private(node.id))
    ]
    if not kept:
        return (Edit(*span, "return"),)
    text = f"({kept[0]},)" if len(kept) == 1 else ", ".join(kept)
    return (Edit(*span, f"return {text}"),)


def _without_parameters(cell: Cell) -> tuple[Edit, ...] | None:
    """The parameters rewritten without the private ones; only plain ones."""
    node = cell.node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    arguments = node.args
    if (
        arguments.posonlyargs
        or arguments.kwonlyargs
        or arguments.vararg
        or arguments.kwarg
        or arguments.defaults
    ):
        return None
    spans = [cell.source.span(argument) for argument in arguments.args]
    area = Span(spans[0].start, spans[-1].end)
    if "#" in cell.source.text[area.start : area.end] or "\n" in cell.source.text[area.start : area.end]:
        return None
    kept = [
        cell.source.text[span.start : span.end]
        for span, argument in zip(spans, arguments.args, strict=True)
        if not is_private(argument.arg)
    ]
    end = area.end
    if not kept and cell.source.text[end : end + 1] == ",":
        end += 1
    return (Edit(area.start, end, ", ".join(kept)),)
