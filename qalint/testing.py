"""What a plugin's own tests use: the checks that the built-in rules pass.

A rule is tried on a text with `findings`, on a fixture with `mismatches`. A fixture is a file, or a
folder of files that import each other, with `# expect: CODE` at the end of each line on which a
finding starts.
"""

from __future__ import annotations

import ast
import os
import re
import textwrap
from collections.abc import Iterable
from typing import Any

from . import reader
from .config import Configs
from .diagnostic import Diagnostic
from .discovery import Discovery
from .file import File
from .linter import check
from .registry import Catalog, catalog
from .rule import Finding, Rule
from .runner import Runner, merge
from .source import Source

_EXPECT = re.compile(r"#\s*expect:\s*([A-Z]+\d+(?:\s*,\s*[A-Z]+\d+)*)|<!--\s*expect:\s*([^>]*?)\s*-->")

Mark = tuple[str, int, int, str]
"""File relative to the fixture, cell (0 outside Jupyter), row, code."""


def file_of(text: str, path: str = "example.py") -> File:
    """A file from dedented source text."""
    source = Source(path, textwrap.dedent(text).lstrip("\n"))
    return File(source, ast.parse(source.text))


def notebook(*cells: str) -> str:
    """The text of a marimo notebook with these cell bodies (marimo ignores signatures and returns)."""
    parts = ["import marimo\n\napp = marimo.App()\n"]
    for cell in cells:
        body = textwrap.indent(textwrap.dedent(cell).strip("\n"), "    ")
        parts.append(f"\n\n@app.cell\ndef _():\n{body}\n")
    return "".join(parts)


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


def lint(
    paths: Iterable[str], *, filters: bool = True, known: Catalog | None = None, **settings: Any
) -> list[Diagnostic]:
    """All findings of a run over files and folders, of every confidence and status.

    Configuration files are ignored; `settings` are keys of the configuration with `_` for `-`.
    `filters=False` runs every selected rule on every file, whatever needles and gates say.
    """
    everything = known or catalog()
    overrides = {name.replace("_", "-"): value for name, value in settings.items()}
    configs = Configs(everything, overrides=overrides, isolated=True, environment={})
    discovery = Discovery(configs)
    discovery.add(paths)
    runner = Runner(everything, configs, jobs=0, filters=filters)
    outcomes = runner.lint(discovery.sorted())
    for outcome in outcomes.values():
        assert not outcome.tracebacks, "".join(outcome.tracebacks)
    return merge(outcomes.values(), frozenset(discovery.files), precedence=everything.precedence)


def expected(path: str) -> list[Mark]:
    """The marks of a fixture, sorted."""
    marks: list[Mark] = []
    for file in _files(path):
        source = reader.read(file)
        for match in _EXPECT.finditer(source.text):
            where = source.location(match.start())
            marks += [
                (_relative(file, path), where.cell or 0, where.row, code.strip())
                for code in (match[1] or match[2]).split(",")
            ]
    return sorted(marks)


def found(path: str, code: str | None = None, *, filters: bool = True) -> list[Mark]:
    """What the rules that are on by default say about a fixture, and the rule `code` if it is off.

    Of the rule `code` findings of every confidence count, of the others those that are shown.
    """
    extend = [code] if code is not None else []
    return sorted(
        (_relative(item.filename, path), item.cell or 0, item.region.row, item.code)
        for item in lint([path], filters=filters, extend_select=extend, exclude=[])
        if item.status == "new" and (item.confidence == "high" or item.code == code)
    )


def mismatches(path: str, code: str | None = None) -> list[str]:
    """How marks and findings of a fixture differ; empty where they agree."""
    wanted, got = expected(path), found(path, code)
    missing = [f"no finding for the mark {mark}" for mark in wanted if mark not in got]
    surplus = [f"a finding without a mark {mark}" for mark in got if mark not in wanted]
    doubled = [
        f"more than one finding {mark}" for mark in set(got) if got.count(mark) > wanted.count(mark) > 0
    ]
    return missing + surplus + doubled


def _files(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    return sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(path)
        for name in names
        if name.endswith((".py", ".pyi", ".md", ".qmd", ".ipynb"))
    )


def _relative(file: str, fixture: str) -> str:
    base = os.path.abspath(fixture)
    return os.path.basename(base) if not os.path.isdir(base) else os.path.relpath(os.path.abspath(file), base)


__all__ = ["apply", "expected", "file_of", "findings", "found", "lint", "mismatches"]
