"""Names do not matter: with all of the program's own names changed, the findings are the same."""

from __future__ import annotations

import ast
import io
import keyword
import tempfile
import tokenize
from pathlib import Path

import pytest

from qalint.analysis.modules.families import ALL_LAYERS
from qalint.registry import catalog
from qalint.testing import found

ROOT = Path(__file__).parents[3] / "fixtures"
KEPT = {
    "forward",
    "device",
    "dtype",
    "Conv1D",
    "weight",
    "bias",
    "app",
    "main",
    "self",
    "__init__",
    "__call__",
    "_",
}


def own_names(tree: ast.Module, text: str) -> set[str]:
    """Names that the program binds and that are nobody else's business."""
    names: set[str] = set()
    foreign: set[str] = set()
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    set_on_self = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Attribute(attr=name) if name not in set_on_self:
                foreign.add(name)
            case ast.keyword(arg=str(name)):
                foreign.add(name)
            case ast.Constant(value=str(words)):
                foreign.update(part for word in words.split() for part in (word, *word.split(".")))
            case _:
                pass
    names |= set_on_self
    return {
        name
        for name in names - foreign - imported - KEPT - ALL_LAYERS
        if not keyword.iskeyword(name) and not name.startswith("__")
    }


def renamed(text: str) -> str:
    """The program with its own names changed, its lines where they were."""
    names = own_names(ast.parse(text), text)
    table = {
        name: f"{'_' if name.startswith('_') else ''}{'Zq' if name[:1].isupper() else 'zq'}{index}"
        for index, name in enumerate(sorted(names))
    }
    result: list[str] = []
    position = (1, 0)
    lines = text.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        (row, column), (end_row, end_column) = token.start, token.end
        while position[0] < row:
            result.append(lines[position[0] - 1][position[1] :])
            position = (position[0] + 1, 0)
        if row <= len(lines):
            result.append(lines[row - 1][position[1] : column])
        result.append(table.get(token.string, token.string) if token.type == tokenize.NAME else token.string)
        position = (end_row, end_column)
    return "".join(result)


SINGLE = sorted(
    path
    for section in ("lora", "gpu")
    for rule in (ROOT / section).iterdir()
    for path in rule.glob("*.py")
    if not path.name.endswith("notebook.py")
)


@pytest.mark.parametrize("path", SINGLE, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_names_do_not_matter(path: Path) -> None:
    text = path.read_text()
    changed = renamed(text)
    compile(changed, str(path), "exec")
    assert changed != text or not own_names(ast.parse(text), text)
    code = catalog().names[path.parent.name]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text(changed)
        after = [(mark[2], mark[3]) for mark in found(str(copy), code)]
    assert after == [(mark[2], mark[3]) for mark in found(str(path), code)]
