"""One file as the rules and analyses see it: its source, its tree, and each analysis at most once."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from .rule import Place
from .source import Source, Span


class Analysis(Protocol):
    """What a rule may ask for in the annotations of `check`."""

    @classmethod
    def of(cls, file: File) -> Self | None:
        """The analysis of `file`, or None where it does not apply."""
        ...


A = TypeVar("A", bound=Analysis)


class Unknown(NamedTuple):
    """Why the analysis knows no more at a place: what `--why` tells."""

    place: Place
    reason: str


class File:
    """A parsed file with its analyses, computed on demand and once.

    `tree` has the positions of `source.text` in every kind of file: in a Markdown notebook its body
    joins the fences, in a Jupyter notebook the code cells, in order.
    """

    def __init__(self, source: Source, tree: ast.Module, project: Any = None) -> None:
        self.source = source
        self.tree = tree
        self.project = project
        self.unknowns: list[Unknown] = []
        self._analyses: dict[type, Any] = {}

    @property
    def path(self) -> str:
        """The path as it was given."""
        return self.source.path

    def get(self, analysis: type[A]) -> A | None:
        """The analysis of this file, computed when first asked for."""
        if analysis not in self._analyses:
            self._analyses[analysis] = analysis.of(self)
        found: A | None = self._analyses[analysis]
        return found

    def place(self, where: ast.AST | Span) -> Place:
        """The place of a node or span of this file."""
        span = where if isinstance(where, Span) else self.source.span(where)
        return Place(self.source, span.start, span.end)

    def why(self, where: ast.AST | Span, reason: str) -> None:
        """Note that something became unknown here; `--why` shows it."""
        self.unknowns.append(Unknown(self.place(where), reason))
