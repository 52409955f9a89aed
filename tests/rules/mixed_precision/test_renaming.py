"""No rule goes by names: all fixtures, with every identifier of their own renamed, say the same.

What is renamed is what the fixture's files bind themselves: variables, parameters, functions,
classes, methods, attributes of `self`. Names of libraries, and names that appear as keywords of calls
or inside f-strings (where `ast` gives no reliable positions before Python 3.12), stay.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from qalint.registry import catalog
from qalint.source import Source
from qalint.testing import found

ROOT = Path(__file__).parents[3] / "fixtures"
FOLDERS = [*sorted((ROOT / "mixed_precision").iterdir()), ROOT / "lora" / "freeze-has-no-effect"]
FIXTURES = [
    path
    for folder in FOLDERS
    if folder.is_dir()
    for path in sorted(folder.iterdir())
    if path.name.startswith(("bad_", "good_"))
]
CODES = {rule.name: rule.code for rule in catalog().rules.values()}
API = frozenset(
    {
        "self",
        "cls",
        "app",
        "forward",
        "step",
        "parameters",
        "named_parameters",
        "zero_grad",
        "state_dict",
        "load_state_dict",
        "scale",
        "update",
        "unscale_",
        "main",
        "require_grad",
        "requires_grad",
        "is_enabled",
        "get_scale",
        "grad",
        "half",
        "float",
        "train",
        "eval",
        "to",
        "device",
        "dtype",
        "weight",
        "bias",
        "params",
        "param_groups",
    }
)


def own_names(tree: ast.Module) -> set[str]:
    """Names that the file binds itself."""
    names: set[str] = set()
    taken: set[str] = set(API)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                names.add(node.attr)
        elif isinstance(node, ast.keyword) and node.arg:
            taken.add(node.arg)
        elif isinstance(node, ast.alias):
            taken.update(((node.asname or node.name).partition(".")[0], node.name.rpartition(".")[2]))
        elif isinstance(node, ast.JoinedStr):
            taken.update(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
            taken.update(inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute))
    dataclass_fields = {
        item.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }
    return {name for name in names - taken - dataclass_fields if not name.startswith("__") and name != "_"}


def renamed(text: str, names: dict[str, str]) -> str:
    """The text with these names replaced wherever they are identifiers."""
    source = Source("x.py", text)
    tree = ast.parse(text)
    edits: list[tuple[int, int, str]] = []

    def put(start: int, name: str) -> None:
        if name in names:
            assert source.text[start : start + len(name)] == name
            edits.append((start, start + len(name), names[name]))

    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            continue
        if isinstance(node, ast.Name) and not in_string(tree, node):
            put(source.span(node).start, node.id)
        elif isinstance(node, ast.Attribute) and not in_string(tree, node):
            put(source.span(node).end - len(node.attr), node.attr)
        elif isinstance(node, ast.arg):
            put(source.span(node).start, node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            start = source.span(node).start
            at = re.compile(r"(?:async\s+)?(?:def|class)\s+").match(source.text, start)
            assert at is not None
            put(at.end(), node.name)
        elif isinstance(node, ast.ImportFrom) and node.module in SIBLINGS:
            for alias in node.names:
                put(source.span(alias).start, alias.name)
    for start, end, name in sorted(set(edits), reverse=True):
        text = text[:start] + name + text[end:]
    return text


SIBLINGS = {path.stem for fixture in FIXTURES if fixture.is_dir() for path in fixture.glob("*.py")}


def in_string(tree: ast.Module, node: ast.AST) -> bool:
    """Whether a node stands inside an f-string."""
    return any(
        inner is node
        for outer in ast.walk(tree)
        if isinstance(outer, ast.JoinedStr)
        for inner in ast.walk(outer)
    )


@pytest.mark.parametrize("fixture", FIXTURES, ids=[f"{path.parent.name}/{path.name}" for path in FIXTURES])
def test_names_do_not_matter(fixture: Path, tmp_path: Path) -> None:
    files = sorted(fixture.rglob("*.py")) if fixture.is_dir() else [fixture]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    trees = [ast.parse(text) for text in texts.values()]
    own = set().union(*map(own_names, trees))
    for tree in trees:  # a name that another file of the program takes from a library stays
        imported = {
            (alias.asname or alias.name).partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            and getattr(node, "module", None) not in SIBLINGS
            for alias in node.names
        }
        own -= imported
        keywords = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
        own = {name for name in own if name not in keywords}
    names = {
        name: ("_" if name.startswith("_") else "") + f"q{index}" + ("" if name.islower() else "Q")
        for index, name in enumerate(sorted(own), 1)
    }
    target = tmp_path / fixture.name
    for path, text in texts.items():
        place = target / path.relative_to(fixture) if fixture.is_dir() else target
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(renamed(text, names), encoding="utf-8")
    code = CODES[fixture.parent.name]
    assert found(str(target), code) == found(str(fixture), code)


def test_the_renaming_renames() -> None:
    text = "import torch\nscaler = torch.amp.GradScaler()\ndef f(loss):\n    scaler.scale(loss)  # scaler\n"
    names = {name: f"q{index}" for index, name in enumerate(sorted(own_names(ast.parse(text))))}
    assert renamed(text, names) == (
        "import torch\nq2 = torch.amp.GradScaler()\ndef q0(q1):\n    q2.scale(q1)  # scaler\n"
    )


@pytest.mark.parametrize("fixture", FIXTURES, ids=[f"{path.parent.name}/{path.name}" for path in FIXTURES])
def test_layout_does_not_matter(fixture: Path, tmp_path: Path) -> None:
    """The same tree written anew, without comments, blank lines and the author's quotes."""
    target = tmp_path / fixture.name
    for path in sorted(fixture.rglob("*.py")) if fixture.is_dir() else [fixture]:
        place = target / path.relative_to(fixture) if fixture.is_dir() else target
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(ast.unparse(ast.parse(path.read_text(encoding="utf-8"))) + "\n", encoding="utf-8")
    code = CODES[fixture.parent.name]
    assert sorted(mark[3] for mark in found(str(target), code)) == sorted(
        mark[3] for mark in found(str(fixture), code)
    )
