"""`mo.stop`: gates that hide what they should show, and gates that come too late."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Cell, Notebook, scope_of
from qalint.rule import Finding, Fix, Related, Rule, Severity

from .elements import Stop, copied_value, element, gate, gate_by_name, stops, value_reads
from .work import is_work

KEEPS = ("run_button", "form", "batch")
"""Elements that give a new value only when their reader asks for it."""


class StopHidesOutput(Rule):
    """A gate on a button makes results disappear when something else is moved.

    ## What it does

    Reports `mo.stop(not button.value)` on a `mo.ui.run_button` in a cell that also reads another
    element's `.value` and shows something, or binds what other cells show (also by way of names:
    `clicked = button.value`, and under `if not button.value: mo.stop(True)`). It also reports a gate on
    a plain `mo.ui.button` without `on_click` and `value`, which never opens.

    Forms, switches, counters (`on_click=lambda v: v + 1`) and `mo.state` keep their value, and are not
    reported; a gate in a cell that reads nothing else is harmless, whatever the checklist says.

    ## Why is this bad?

    A run button is true for one run only. Moving the slider runs the cell again with the button false:
    `mo.stop` replaces the output, the results vanish, and every dependent cell is stopped with it.
    That is the "appears, then disappears" that nobody can explain.

    ## Example

    ```python
    @app.cell
    def _(button, lr, mo, train):
        mo.stop(not button.value, mo.md("Press the button"))
        history = train(lr.value)
        mo.md(f"Final loss: {history[-1]}")
        return (history,)
    ```

    ## Use instead

    ```python
    @app.cell
    def _(form, mo, train):
        mo.stop(form.value is None, mo.md("Choose and submit"))
        history = train(form.value["lr"])
        mo.md(f"Final loss: {history[-1]}")
        return (history,)
    ```

    ## Fix safety

    Where all data of the cell come from cells behind the same gate that do not read the other element,
    the gate is redundant, and the fix removes it. It is unsafe because the cell then runs with the
    others. Otherwise there is none.

    ## References

    - [marimo: run_button](https://docs.marimo.io/api/inputs/run_button/)
    - Checklist 13.09, 09.13
    """

    code = "QA1308"
    severity = Severity.MEDIUM
    checklist = ("13.09", "09.13")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each gate."""
        for cell in notebook.cells:
            for stop in stops(notebook, cell):
                name, copied = gate(stop.predicate), cell
                if name is None and (held := gate_by_name(notebook, cell, stop.predicate)) is not None:
                    name, copied = held
                button = element(notebook, copied, name) if name else None
                if button is None or name is None:
                    continue
                given = {each.arg for each in button.call.keywords}
                if button.kind == "button" and not given & {"on_click", "value", None}:
                    yield self.finding(
                        notebook.file.place(stop.call),
                        f"this gate never opens: `{name}` is a `mo.ui.button` without `on_click`, its "
                        "value stays "
                        "None",
                        related=[Related(notebook.file.place(button.call), "the button is made here")],
                        help="Use `mo.ui.run_button()`, or give the button `on_click`.",
                    )
                elif button.kind == "run_button":
                    yield from self.erased(notebook, cell, copied, stop, name, edits)

    def erased(
        self, notebook: Notebook, cell: Cell, copied: Cell, stop: Stop, name: str, edits: Edits
    ) -> Iterator[Finding]:
        """The finding on a gate whose cell runs again for another reason.

        `copied` is the cell that reads the button: this one, or the one that binds `clicked = button.value`
        (then only what runs that one again closes the gate).
        """
        other = next(_other_values(notebook, copied, name), None)
        if other is None and copied is cell:
            other = next(_copied_values(notebook, cell, name), None)
        if other is None or not _matters(notebook, cell):
            return
        moved, place = other
        yield self.finding(
            notebook.file.place(stop.call),
            f"changing `{moved}` erases what this cell gives: `{name}` is true for one run only",
            related=[Related(notebook.file.place(place), f"the cell runs again whenever `{moved}` changes")],
            fix=_ungate(notebook, cell, stop, name, moved, edits),
            help="Gate with a form (`mo.ui.batch(...).form()`), or keep the result in `mo.state`.",
        )


def _other_values(notebook: Notebook, cell: Cell, name: str) -> Iterator[tuple[str, ast.expr]]:
    """The other elements whose value the cell reads."""
    for read in value_reads(cell):
        if read.name == name or read.name in cell.bound:
            continue  # in a function or a handler as well: naming the element is enough to run again
        found = element(notebook, cell, read.name)
        if found is not None and found.kind not in KEEPS:
            yield read.name, read.node


def _copied_values(notebook: Notebook, cell: Cell, name: str) -> Iterator[tuple[str, ast.expr]]:
    """The other elements whose value an earlier cell copied to a name that the cell reads."""
    for read in sorted(cell.refs - cell.bound):
        copied = copied_value(notebook, cell, read)
        if copied is None or copied[0] == name:
            continue
        held, definer, place = copied
        found = element(notebook, definer, held)
        if found is not None and found.kind not in KEEPS and not list(stops(notebook, definer)):
            yield held, place


def _matters(notebook: Notebook, cell: Cell) -> bool:
    """Whether the cell shows something, or binds what other cells read."""
    return notebook.display(cell).shows_last or any(notebook.readers(name) for name in cell.defs)


def _ungate(notebook: Notebook, cell: Cell, stop: Stop, name: str, moved: str, edits: Edits) -> Fix | None:
    """Remove the gate where every cell that feeds this one has the same, and none reads what is moved."""
    feeding = []
    for parent in notebook.parents(cell):
        shared = parent.defs & cell.refs
        if all(each == name or element(notebook, cell, each) or _is_static(parent, each) for each in shared):
            continue
        if moved in parent.refs:
            return None
        feeding.append(parent)
    if not feeding or not all(
        any(gate(s.predicate) == name for s in stops(notebook, each)) for each in feeding
    ):
        return None
    return edits.unsafe(
        f"Remove the gate: what the cell reads is behind `{name}` already", edits.remove(stop.statement)
    )


def _is_static(cell: Cell, name: str) -> bool:
    """Whether the name is an import, function or class."""
    kinds = (ast.alias, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return all(isinstance(use.node, kinds) for use in cell.stores(name))


class LateStop(Rule):
    """`mo.stop` comes after the work that it should guard.

    ## What it does

    Reports a `mo.stop` at the top level of a cell that follows a loop, training, loading or a call of
    the notebook's own functions. It stays silent where only cheap setup comes before, and where the
    stop tests what the work gave.

    ## Why is this bad?

    Everything before `mo.stop` runs each time the cell runs, whether the button was pressed or not:
    the model loads or trains when the page opens.

    ## Example

    ```python
    @app.cell
    def _(button, load_model, mo):
        model = load_model("gpt2")
        mo.stop(not button.value, mo.md("Press the button"))
        answer = model("Hello")
        return (answer,)
    ```

    ## Use instead

    ```python
    @app.cell
    def _(button, load_model, mo):
        mo.stop(not button.value, mo.md("Press the button"))
        model = load_model("gpt2")
        answer = model("Hello")
        return (answer,)
    ```

    ## Fix safety

    The fix moves the stop to the top of the cell where nothing before it feeds the test or its output.
    It is safe: the stop tests the same value, only sooner.

    ## References

    - [marimo: stop](https://docs.marimo.io/api/control_flow/)
    - Checklist 13.09
    """

    code = "QA1309"
    severity = Severity.MEDIUM
    checklist = ("13.09",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each late stop."""
        for cell in notebook.cells:
            for stop in stops(notebook, cell):
                before = cell.body[: cell.body.index(stop.statement)]
                work = next((each for each in before if is_work(notebook, cell, each)), None)
                if work is None or _tests_result(before, work, stop):
                    continue
                read = set(scope_of([stop.statement]).loads)
                bound = set(scope_of(before).stores)
                first = _first_code(cell)
                fix = None
                if not read & bound and first is not stop.statement:
                    fix = edits.safe("Move the stop to the top", edits.move_before(stop.statement, first))
                yield self.finding(
                    notebook.file.place(stop.call),
                    "this stop comes too late: the work before it runs in any case",
                    related=[
                        Related(notebook.file.place(work), "this runs whether the cell is stopped or not")
                    ],
                    fix=fix,
                    help="Put `mo.stop` first in the cell.",
                )


def _tests_result(before: list[ast.stmt], work: ast.stmt, stop: Stop) -> bool:
    """Whether what the stop tests, or shows, was computed by the work or after it from the work."""
    needed = set(scope_of([stop.statement]).loads)
    for statement in reversed(before[before.index(work) :]):
        scope = scope_of([statement])
        if needed & set(scope.stores):
            needed |= set(scope.loads)
            if statement is work:
                return True
        changed = {
            node.func.value.id
            for node in ast.walk(statement)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        }
        if statement is work and needed & changed:
            return True
    return False


def _first_code(cell: Cell) -> ast.stmt:
    """The first statement after a docstring and imports."""
    for index, statement in enumerate(cell.body):
        docstring = (
            index == 0 and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        )
        if not docstring and not isinstance(statement, ast.Import | ast.ImportFrom):
            return statement
    return cell.body[0]
