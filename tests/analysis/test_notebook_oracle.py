"""The notebook analysis against marimo's own parser and compiler, which are an oracle here only.

Differences that are intended:

- marimo drops another cell's private names from `refs`; qalint keeps them, since reading one is a fault.
- marimo keeps a name in `refs` that its own cell binds later (`print(x); x = 1`); qalint does so only
  where no loop around both could have bound it.
- marimo takes a name of a class body for a definition inside the methods of the class; Python does not.
- `del x` of a name that a function never binds is a reference for marimo (its source calls that an error);
  for Python `x` is local to the function.
- `[... for b in [... for a in b]]` reads b from outside; marimo drops it again when it meets the target.
- A walrus in the default of a lambda binds in the cell for Python, in the lambda for marimo.
- SQL strings: marimo asks duckdb and sqlglot for table names when they are installed; qalint keeps the
  words of SQL apart from `refs` (`Notebook.sql_reads`).
"""

from __future__ import annotations

import ast
import glob
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qalint.analysis.notebook import Notebook, is_private
from qalint.file import File
from qalint.source import Source

marimo = pytest.importorskip("marimo")
from marimo._ast.compiler import compile_cell  # noqa: E402
from marimo._ast.parse import parse_notebook  # noqa: E402

SHIPPED = sorted(
    path
    for path in glob.glob(os.path.join(os.path.dirname(marimo.__file__), "**", "*.py"), recursive=True)
    if "App(" in Path(path).read_text(encoding="utf-8")
)
KINDS = {
    "SetupCell": "setup",
    "FunctionCell": "function",
    "ClassCell": "class",
    "UnparsableCell": "unparsable",
}


def notebook_of(text: str, path: str = "nb.py") -> Notebook | None:
    return Notebook.of(File(Source(path, text), ast.parse(text)))


def odd_names(code: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ClassDef):
            names |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            names |= {each.name for each in ast.walk(node) if isinstance(each, ast.FunctionDef)}
        elif isinstance(node, ast.comprehension):
            names |= {each.id for each in ast.walk(node.target) if isinstance(each, ast.Name)}
        elif isinstance(node, ast.FunctionDef | ast.Lambda):
            deleted = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
            names |= {each.id for each in deleted if isinstance(each.ctx, ast.Del)}
    return names


def compare(text: str, path: str = "nb.py") -> int:
    """Compare every cell of a notebook; the number of cells compared."""
    theirs = parse_notebook(text, path)
    if theirs is None or not theirs.valid:
        return 0
    ours = notebook_of(text, path)
    assert ours is not None, path
    assert [cell.kind for cell in ours.cells] == [
        KINDS.get(type(cell).__name__, "cell") for cell in theirs.cells
    ], path
    for mine, cell in zip(ours.cells, theirs.cells, strict=True):
        if mine.kind in ("cell", "setup") and cell.name:
            assert mine.name == cell.name, path
        assert mine.disabled == bool(cell.options.get("disabled", False))
        try:
            compiled = compile_cell(cell.code, cell_id="x")
        except SyntaxError:
            continue
        classy = odd_names(cell.code)
        assert mine.defs == {name for name in compiled.defs if not is_private(name)}, (path, mine)
        refs = {name for name in mine.refs if not is_private(name)}
        own = set(mine.scope.stores)
        sql = set(compiled.sql_refs)
        assert refs - own - classy == {r for r in compiled.refs if r not in sql} - own - classy, (path, mine)
        deleted = {name for name in mine.deleted if not is_private(name)}
        assert deleted - classy == set(compiled.deleted_refs) - classy, (path, mine)
        theirs_private = {name.removeprefix("_cell_x") for name in compiled.temporaries}
        assert mine.private == theirs_private, (path, mine)
    return len(ours.cells)


@pytest.mark.parametrize("path", SHIPPED, ids=[os.path.basename(path) for path in SHIPPED])
def test_shipped_notebooks(path: str) -> None:
    compare(Path(path).read_text(encoding="utf-8"), path)


def test_enough_cells_are_compared() -> None:
    assert sum(compare(Path(path).read_text(encoding="utf-8"), path) for path in SHIPPED) > 500


NAMES = st.sampled_from(["a", "b", "_p", "_q", "__d", "i", "_", "__"])


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> str:
    name = draw(NAMES)
    if depth == 0:
        return name
    inner = draw(expressions(depth - 1))
    other = draw(expressions(depth - 1))
    return draw(
        st.sampled_from(
            [
                name,
                f"({inner} + {other})",
                f"f({inner}, k={other})",
                f"[{inner} for {name} in {other}]",
                f"{{{name}: {inner} for {name} in {other} if {inner}}}",
                f"(lambda {name}: {inner})",
                f"(lambda {name}={inner}: {other})" if ":=" not in inner else name,
                f"({name} := {inner})" if name != "__d" else inner,
                f"f'{{{inner}}}'" if "'" not in inner else inner,
                f"{inner}.attr",
                f"[({name} := x) for x in {inner}]",
            ]
        )
    )


@st.composite
def statements(draw: st.DrawFn, depth: int = 2) -> str:
    name, other = draw(NAMES), draw(NAMES)
    expression = draw(expressions())
    simple = [
        f"{name} = {expression}",
        f"{name}: int = {expression}",
        f"{name} += {expression}",
        expression,
        f"import {draw(st.sampled_from(['os', 'os.path']))} as {name}",
        f"from os import path as {name}",
        "import os.path",
        f"({name}, *{other}) = {expression}" if name != other else f"{name} = 1",
        f"del {name}",
        f"assert {expression}",
    ]
    if depth == 0:
        return draw(st.sampled_from(simple))
    body = "\n".join(draw(st.lists(statements(depth - 1), min_size=1, max_size=3)))
    block = "\n".join("    " + line for line in body.split("\n"))
    compound = [
        f"for {name} in {expression}:\n{block}",
        f"if {expression}:\n{block}\nelse:\n{block}",
        f"with {expression} as {name}:\n{block}",
        f"while {expression}:\n{block}",
        f"try:\n{block}\nexcept E as {other}:\n{block}",
        f"def {name}({other}={expression}):\n{block}",
        f"class {name}({expression}):\n    pass",
        f"match {expression}:\n    case [{name}, *{other}]:\n    {block}" if name != other else "pass",
    ]
    return draw(st.sampled_from(simple + compound))


@given(st.lists(statements(), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_generated_cells(parts: list[str]) -> None:
    code = "\n".join(parts)
    try:
        compile(code, "x", "exec")
        compile_cell(code, cell_id="x")
    except SyntaxError:
        return
    indented = "\n".join("    " + line for line in code.split("\n"))
    head = "import marimo\n\n__generated_with = '0.25.2'\napp = marimo.App()\n\n\n@app.cell\ndef _():\n"
    text = f"{head}{indented}\n    return\n\n\nif __name__ == '__main__':\n    app.run()\n"
    compare(text)
