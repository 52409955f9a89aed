"""docs/architecture.md draws the house as it is built."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PICTURE = PAGE.partition("```\n")[2].partition("```")[0]


def test_every_module_of_the_engine_is_in_the_picture():
    drawn = set(re.findall(r"[\w]+\.py", PICTURE))
    there = {path.name for path in (ROOT / "qalint").glob("*.py")} - {"__init__.py", "__main__.py"}
    assert there <= drawn, f"not drawn: {sorted(there - drawn)}"


def test_everything_in_the_picture_is_there():
    names = {path.name for folder in ("qalint", "rules") for path in (ROOT / folder).rglob("*")}
    names |= {path.name for path in ROOT.iterdir()}
    drawn = set(re.findall(r"\b\w+\.py\b", PICTURE)) | set(re.findall(r"^ *(\w+)/ ", PICTURE, re.MULTILINE))
    assert drawn <= names, f"drawn and not there: {sorted(drawn - names)}"


def imports(path: Path) -> set[str]:
    """The modules that a file imports, relative imports as written."""
    text = path.read_text(encoding="utf-8")
    return set(re.findall(r"^\s*(?:from|import) ([.\w]+)", text, re.MULTILINE))


def test_arrows_point_one_way():
    for path in (ROOT / "qalint/analysis").rglob("*.py"):
        used = imports(path)
        assert not [
            name for name in used if re.search(r"\b(linter|runner|output|cli|report|qalint_rules)$", name)
        ], path
    for path in (ROOT / "rules").rglob("*.py"):
        assert not [
            name for name in imports(path) if re.search(r"qalint\.(output|cli|runner|report)\b", name)
        ], path
    for path in (ROOT / "qalint/output").rglob("*.py"):
        assert not [name for name in imports(path) if re.search(r"\b(analysis|linter|runner|cli)\b", name)], (
            path
        )


def test_the_engine_imports_neither_torch_nor_marimo():
    for path in (ROOT / "qalint").rglob("*.py"):
        if "harness" not in path.parts:
            assert not imports(path) & {"torch", "marimo", "transformers", "peft"}, path
