"""Evidence for section 13 and the page items of section 9: cells, names and output of marimo notebooks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..analysis.notebook import BUILTINS, Cell, Notebook, is_private, tails, walk_statements
from .evidence import Facts, ask, leaf, not_applicable, passed, provides, unknown
from .verdicts import UNKNOWN as HIDDEN
from .verdicts import Evidence, Judgement

NO_NOTEBOOK = "no marimo notebook"


def marimo_calls(facts: Facts, notebook: Notebook, *names: str) -> Iterator[tuple[Cell, ast.Call]]:
    """The calls of marimo's functions with these names, with their cells."""
    for cell in notebook.cells:
        for statement in cell.body:
            for node in ast.walk(statement):
                if isinstance(node, ast.Call) and notebook.marimo(cell, node.func) in names:
                    yield cell, node


def _crossing(notebook: Notebook) -> list[tuple[str, Cell, Cell]]:
    """The public names that one cell binds and another reads: (name, definer, reader)."""
    return [
        (name, definer, reader)
        for reader in notebook.cells
        for name in sorted(reader.refs)
        for definer in notebook.definers(name)
        if definer is not reader
    ]


@provides("13.01")
def private_names(facts: Facts) -> Judgement:
    """Every private name is read by its own cell alone."""
    notebook = facts.notebook
    if notebook is None:
        return not_applicable(NO_NOTEBOOK)
    seen = []
    for cell in notebook.cells:
        for name in sorted(cell.private):
            if any(
                other is not cell and name in other.refs and name not in other.private
                for other in notebook.cells
            ):
                return unknown(f"`{name}` is read in another cell, and no rule spoke of it")
            if stores := cell.stores(name):
                seen.append(facts.at(notebook.place(stores[0]), f"`{name}` is read in its own cell only"))
    return passed(seen) if seen else not_applicable("no names with a leading underscore")


@provides("13.02")
def shared_names(facts: Facts) -> Judgement:
    """Every name that crosses cells is public."""
    notebook = facts.notebook
    if notebook is None:
        return not_applicable(NO_NOTEBOOK)
    crossing = [entry for entry in _crossing(notebook) if not is_private(entry[0])]
    if not crossing:
        return not_applicable("no name is read in another cell than its own")
    for cell in notebook.cells:
        returned = ast.walk(cell.returns) if cell.returns else ()
        names = {argument.arg for argument in cell.params}
        names |= {node.id for node in returned if isinstance(node, ast.Name)}
        if private := sorted(name for name in names if is_private(name)):
            return unknown(f"`{private[0]}` is handed from cell to cell, and is private")
    if private_names(facts).verdict == HIDDEN:
        return private_names(facts)
    return passed(_crossings(facts, notebook, crossing))


def _crossings(facts: Facts, notebook: Notebook, crossing: list[tuple[str, Cell, Cell]]) -> list[Evidence]:
    seen: dict[str, Evidence] = {}
    for name, definer, _ in crossing:
        stores = definer.stores(name)
        if name not in seen and stores and not isinstance(stores[0].node, ast.alias):
            count = sum(entry[0] == name for entry in crossing)
            where = "one other cell" if count == 1 else f"{count} other cells"
            seen[name] = facts.at(notebook.place(stores[0]), f"`{name}` is public and read in {where}")
    if not seen:
        name, definer, _ = crossing[0]
        seen[name] = facts.at(notebook.place(definer.stores(name)[0]), f"`{name}` is read in other cells")
    return list(seen.values())


@provides("13.03")
def data_arrives(facts: Facts) -> Judgement:
    """Every name that a cell reads is bound by some cell."""
    notebook = facts.notebook
    if notebook is None:
        return not_applicable(NO_NOTEBOOK)
    crossing = _crossing(notebook)
    if not crossing:
        return not_applicable("no name is read in another cell than its own")
    unbound = sorted(
        name
        for cell in notebook.cells
        for name in cell.refs
        if not notebook.definers(name) and name not in BUILTINS and not is_private(name)
    )
    if unbound:
        return unknown(f"no cell binds `{unbound[0]}`")
    return passed(_crossings(facts, notebook, crossing))


@provides("13.04")
def ends_in_output(facts: Facts) -> Judgement:
    """Cells that have something to show end in it."""
    notebook = facts.notebook
    if notebook is None:
        return not_applicable(NO_NOTEBOOK)
    seen = [
        facts.at(cell.body[-1], f"the cell ends in what it shows: {facts.code(cell.body[-1])}")
        for cell in notebook.cells
        if cell.body
        and notebook.display(cell).shows_last
        and notebook.display(cell).of_statement(cell.body[-1])
    ]
    return passed(seen) if seen else not_applicable("no cell shows anything")


@provides("13.05")
def nothing_buried(facts: Facts) -> Judgement:
    """Cells that end in a branch have no output in it."""
    notebook = facts.notebook
    if notebook is None:
        return not_applicable(NO_NOTEBOOK)
    compound = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match)
    seen = []
    for cell in notebook.cells:
        for statement in cell.body:
            if isinstance(statement, compound):
                shown = notebook.display(cell)
                if statement is cell.body[-1] and any(shown.of_statement(tail) for tail in tails(statement)):
                    return unknown("a branch ends in an output, and no rule spoke of it")
                seen.append(facts.at(statement, f"nothing to show stands inside: {facts.code(statement)}"))
    return passed(seen) if seen else not_applicable("no branches, loops or with blocks in cells")


@provides("13.06")
def conditional_output(facts: Facts) -> Judgement:
    """An output chosen by a condition is bound in each branch and shown at the end."""
    notebook = facts.notebook
    if notebook is None:
        return not_applicable(NO_NOTEBOOK)
    seen = []
    for cell in notebook.cells:
        if not cell.body or not isinstance(cell.body[-1], ast.Expr):
            continue
        last = cell.body[-1].value
        if isinstance(last, ast.IfExp):
            seen.append(facts.at(last, f"chosen in one expression, and shown: {facts.code(last)}"))
        elif isinstance(last, ast.Name):
            for statement in cell.body:
                if isinstance(statement, ast.If | ast.Match | ast.Try) and _binds(statement, last.id):
                    seen.append(facts.at(last, f"`{last.id}` is bound in the branches and shown at the end"))
                    break
    return passed(seen) if seen else not_applicable("no output depends on a condition")


def _binds(statement: ast.stmt, name: str) -> bool:
    return any(
        isinstance(inner, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == name for target in inner.targets)
        for inner in walk_statements([statement])
    )


_WORK = re.compile(
    r"train\w*|fit|backward|fine_?tune\w*|generate|from_pretrained|load_dataset|\w*download\w*|evaluate"
    r"|benchmark",
    re.I,
)


def _working(notebook: Notebook) -> list[tuple[Cell, ast.Call]]:
    """The cells that do something that takes time, each with its first such call."""
    found = []
    for cell in notebook.cells:
        for statement in cell.body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                continue
            call = next(
                (
                    node
                    for node in ast.walk(statement)
                    if isinstance(node, ast.Call)
                    and _WORK.fullmatch(leaf(node.func))
                    and notebook.marimo(cell, node.func) is None
                ),
                None,
            )
            if call is not None:
                found.append((cell, call))
                break
    return found


@provides("13.07")
def split_steps(facts: Facts) -> Judgement:
    """The long steps stand in different cells."""
    if facts.notebook is None:
        return not_applicable(NO_NOTEBOOK)
    working = _working(facts.notebook)
    if not working:
        return not_applicable("no cell does anything that takes long")
    if len(working) == 1:
        return not_applicable("only one cell does anything that takes long")
    return passed([facts.at(call, f"a step of its own: {facts.code(call)}") for _, call in working])


@provides("13.08")
def step_progress(facts: Facts) -> Judgement:
    """Working cells show a spinner, a bar or an output."""
    notebook = facts.notebook
    if notebook is None:
        return not_applicable(NO_NOTEBOOK)
    working = _working(notebook)
    if not working:
        return not_applicable("no cell does anything that takes long")
    shown, silent = [], []
    for cell, call in working:
        progress = next(
            (
                node
                for statement in cell.body
                for node in ast.walk(statement)
                if isinstance(node, ast.Call)
                and (
                    (notebook.marimo(cell, node.func) or "").startswith(("status.", "output."))
                    or leaf(node.func) in ("tqdm", "trange", "print")
                )
            ),
            None,
        )
        if progress is not None:
            shown.append(facts.at(progress, f"shows its progress: {facts.code(progress)}"))
        elif notebook.display(cell).shows_last:
            shown.append(facts.at(cell.body[-1], f"shows its result: {facts.code(cell.body[-1])}"))
        else:
            silent.append(facts.at(call, f"shows nothing: {facts.code(call)}"))
    if silent:
        return unknown("a step shows nothing, and it is not known how long it takes", silent)
    return passed(shown)


@provides("13.09")
def gated_cells(facts: Facts) -> Judgement:
    """mo.stop is the first statement of the cells that have it."""
    notebook = facts.notebook
    if notebook is None:
        return not_applicable(NO_NOTEBOOK)
    stops = list(marimo_calls(facts, notebook, "stop"))
    if not stops:
        return not_applicable("no cell runs on condition")
    first = [
        call for cell, call in stops if isinstance(cell.body[0], ast.Expr) and cell.body[0].value is call
    ]
    if not first:
        return unknown(
            "no cell begins with its mo.stop", [facts.at(call, facts.code(call)) for _, call in stops]
        )
    return passed([facts.at(call, f"the cell begins with {facts.code(call)}") for call in first])


@provides("13.10")
def data_not_ui(facts: Facts) -> Judgement:
    """Working cells hand data to the cells after them."""
    notebook = facts.notebook
    if notebook is None:
        return not_applicable(NO_NOTEBOOK)
    working = _working(notebook)
    seen = []
    for cell, _ in working:
        for name in sorted(cell.defs):
            stores = cell.stores(name)
            data = (
                stores
                and not isinstance(stores[0].node, ast.alias)
                and notebook.display(cell).named(name) is None
            )
            if data and any(reader is not cell for reader in notebook.readers(name)):
                seen.append(facts.at(notebook.place(stores[0]), f"`{name}` is data that other cells read"))
                break
    if seen:
        return passed(seen)
    return not_applicable("no cell computes something for another")


@provides("09.11")
def steps_visible(facts: Facts) -> Judgement:
    """Whether the steps are seen while training runs is seen on the page."""
    if facts.notebook is None:
        return not_applicable(NO_NOTEBOOK)
    if facts.explanations is None or not facts.explanations.trains:
        return not_applicable("nothing is trained here")
    return ask(facts.at(call, facts.code(call)) for _, call in _working(facts.notebook))


@provides("09.13")
def nothing_vanishes(facts: Facts) -> Judgement:
    """Without gates and without outputs that are replaced, nothing can vanish."""
    notebook = facts.notebook
    if notebook is None:
        return not_applicable(NO_NOTEBOOK)
    fleeting = list(marimo_calls(facts, notebook, "stop", "output.replace", "output.clear", "status.spinner"))
    if fleeting:
        return ask(facts.at(call, facts.code(call)) for _, call in fleeting)
    return not_applicable("no gates, spinners or replaced outputs")


@provides("09.14")
def uncut_charts(facts: Facts) -> Judgement:
    """Whether charts are cut off is seen on the page."""
    if facts.notebook is None:
        return not_applicable(NO_NOTEBOOK)
    charts = facts.decisions.charts
    return ask(facts.at(call, facts.code(call)) for call in charts) if charts else not_applicable("no charts")
