"""One file through the pipeline: prefilter, parse, analyses, rules, suppressions."""

from __future__ import annotations

import ast
import typing
from collections.abc import Iterable, Iterator

from .file import File
from .rule import Finding, Rule
from .source import Source


def parse(source: Source) -> File:
    """The file that `source` holds (a `.py` file; the kinds with blocks come with the reader)."""
    return File(source, ast.parse(source.text))


def requested(rule: type[Rule]) -> list[type]:
    """The analyses that the annotations of `rule.check` ask for, in order."""
    hints = typing.get_type_hints(rule.check)
    return [hint for name, hint in hints.items() if name != "return"]


def check(file: File, rules: Iterable[Rule]) -> Iterator[Finding]:
    """The findings of `rules` on `file`."""
    for rule in rules:
        analyses = [file.get(analysis) for analysis in requested(type(rule))]
        if all(analysis is not None for analysis in analyses):
            yield from rule.check(*analyses)
