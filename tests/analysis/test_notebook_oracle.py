"""The notebook analysis against marimo's own parser and compiler, which are an oracle here only.

Differences that are intended:

- marimo drops another cell's private names from `refs`; qalint keeps them, since reading one is a fault.
- marimo keeps a name in `refs` that its own cell binds later (`print(x); x = 1`); qalint does so only
  where no loop around both could have bound it.
- marimo takes a name of a class body for a definition inside the methods of the class; Python does not.
- A name that a function reads before it binds it is local to the function for Python (and raises when
  the function runs); marimo takes it for a name from outside.
- `except E as e` in a function binds e there for Python; marimo takes a later read of e for one from outside.
- `del x` of a name that a function never binds is a reference for marimo (its source calls that an error);
  for Python `x` is local to the function.
- `[... for b in [... for a in b]]` reads b from outside; marimo drops it again when it meets the target.
- A walrus in a default binds in the cell for Python, in the function or lambda for marimo; and a default
  that reads a name like the parameter's own reads it from outside for Python.
- SQL strings: marimo asks duckdb and sqlglot for table names when they are installed; qalint keeps the
  words of SQL apart from `refs` (`Notebook.sql_reads`).
"""

from __future__ import annotations

import ast
import glob
import os
import random
from functools import cache
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
            arguments = node.args
            names |= {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
            names |= {each.target.id for each in ast.walk(node) if isinstance(each, ast.NamedExpr)}
            deleted = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
            names |= {each.id for each in deleted if isinstance(each.ctx, ast.Del)}
            names |= read_before_bound(node)
            names |= {
                each.name for each in ast.walk(node) if isinstance(each, ast.ExceptHandler) and each.name
            }
    return names


def read_before_bound(function: ast.FunctionDef | ast.Lambda) -> set[str]:
    """The names that the text of a function mentions before it binds them."""
    first: dict[str, tuple[int, int]] = {}
    bound: dict[str, tuple[int, int]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            place = (node.lineno, node.col_offset)
            table = first if isinstance(node.ctx, ast.Load) else bound
            table[node.id] = min(place, table.get(node.id, place))
        elif isinstance(node, ast.alias):
            place = (node.lineno, node.col_offset)
            name = node.asname or node.name.split(".")[0]
            bound[name] = min(place, bound.get(name, place))
    # `x = x` and `x += x` read first, though the target is written first.
    return {name for name, place in bound.items() if name in first and first[name][0] <= place[0]}


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
        odd = odd_names(cell.code)
        theirs_public = {name for name in compiled.defs if not is_private(name)}
        assert mine.defs - odd == theirs_public - odd, (path, mine)
        refs = {name for name in mine.refs if not is_private(name)}
        own = set(mine.scope.stores)
        sql = set(compiled.sql_refs)
        assert refs - own - odd == {r for r in compiled.refs if r not in sql} - own - odd, (path, mine)
        deleted = {name for name in mine.deleted if not is_private(name)}
        assert deleted - odd == set(compiled.deleted_refs) - odd, (path, mine)
        theirs_private = {name.removeprefix("_cell_x") for name in compiled.temporaries}
        assert mine.private - odd == theirs_private - odd, (path, mine)
    return len(ours.cells)


@cache
def compare_file(path: str) -> int:
    return compare(Path(path).read_text(encoding="utf-8"), path)


@pytest.mark.parametrize("path", SHIPPED, ids=[os.path.basename(path) for path in SHIPPED])
def test_shipped_notebooks(path: str) -> None:
    assert compare_file(path) >= 0


def test_enough_cells_are_compared() -> None:
    assert sum(compare_file(path) for path in SHIPPED) > 500


NAMES = ("a", "b", "_p", "_q", "__d", "i", "_", "__")


def expression(rng: random.Random, depth: int = 2) -> str:
    """A random expression over a few names."""
    name = rng.choice(NAMES)
    if depth == 0:
        return name
    inner, other = expression(rng, depth - 1), expression(rng, depth - 1)
    forms = [
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
    return rng.choice(forms)


def statement(rng: random.Random, depth: int = 2) -> str:
    """A random statement, with others inside it."""
    name, other, value = rng.choice(NAMES), rng.choice(NAMES), expression(rng)
    forms = [
        f"{name} = {value}",
        f"{name}: int = {value}",
        f"{name} += {value}",
        value,
        f"import {rng.choice(['os', 'os.path'])} as {name}",
        f"from os import path as {name}",
        "import os.path",
        f"({name}, *{other}) = {value}" if name != other else f"{name} = 1",
        f"del {name}",
        f"assert {value}",
    ]
    if depth:
        body = "\n".join(statement(rng, depth - 1) for _ in range(rng.randint(1, 3)))
        block = "\n".join("    " + line for line in body.split("\n"))
        forms += [
            f"for {name} in {value}:\n{block}",
            f"if {value}:\n{block}\nelse:\n{block}",
            f"with {value} as {name}:\n{block}",
            f"while {value}:\n{block}",
            f"try:\n{block}\nexcept E as {other}:\n{block}",
            f"def {name}({other}={value}):\n{block}",
            f"class {name}({value}):\n    pass",
            f"match {value}:\n    case [{name}, *{other}]:\n        pass" if name != other else "pass",
        ]
    return rng.choice(forms)


@given(st.integers(min_value=0, max_value=6000))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_generated_cells(seed: int) -> None:
    rng = random.Random(seed)
    parts = [statement(rng) for _ in range(rng.randint(1, 5))]
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
