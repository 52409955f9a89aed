"""What a plugin's own tests use."""

from __future__ import annotations

import ast
import textwrap
from typing import Any

from .file import File
from .linter import check
from .rule import Finding, Rule
from .source import Source


def file_of(text: str, path: str = "example.py") -> File:
    """A file from dedented source text."""
    source = Source(path, textwrap.dedent(text).lstrip("\n"))
    return File(source, ast.parse(source.text))


def findings(rule: type[Rule], text: str, path: str = "example.py", **options: Any) -> list[Finding]:
    """The findings of one rule on a text, sorted by place."""
    return sorted(check(file_of(text, path), [rule(options)]), key=lambda finding: finding.place.start)


def apply(finding: Finding) -> str:
    """The text of the finding's file after its fix."""
    assert finding.fix is not None, f"{finding!r} has no fix"
    text = finding.place.source.text
    for edit in sorted(finding.fix.edits, reverse=True):
        text = text[: edit.start] + edit.content + text[edit.end :]
    return text
