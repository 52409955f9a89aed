"""docs/security.md names the test of each promise; the tests are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")


def test_every_named_test_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) >= 12
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (
            f"{path}::{name}"
        )


def test_every_promise_names_a_test():
    promises = PAGE.partition("## What it promises")[2].partition("\n## ")[0]
    paragraphs = [part for part in promises.strip().split("\n\n") if part.startswith("**")]
    assert len(paragraphs) >= 8
    for paragraph in paragraphs:
        assert "`tests/" in paragraph, paragraph


def test_every_test_of_untrusted_code_is_named():
    tree = ast.parse((ROOT / "tests/security/test_untrusted.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert f"::{node.name}`" in PAGE, f"no promise names {node.name}"
