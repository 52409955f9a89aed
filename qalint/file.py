"""One file as the rules and analyses see it: its source, its tree, and each analysis at most once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from .rule import Place
from .source import Source, Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast


class Analysis(Protocol):
    """What a rule may ask for in the annotations of `check`."""

    @classmethod
    def of(cls, file: File) -> Self | None:
        """The analysis of `file`, or None where it does not apply."""
        ...


A = TypeVar("A", bound=Analysis)
Version = tuple[int, ...]


class Unknown(NamedTuple):
    """Why the analysis knows no more at a place: what `--why` tells."""

    place: Place
    reason: str


class Need(NamedTuple):
    """What a rule needs to speak of a definition: see `Rule.needles`, `Rule.subject` and `Rule.in_users`."""

    needles: tuple[tuple[bytes, ...], ...]
    subject: Callable[[Any], bool] = lambda trees: True
    in_users: bool = False


class AnalysisError(Exception):
    """An analysis failed; `analysis` is its name, the cause is what it raised."""

    def __init__(self, analysis: str) -> None:
        super().__init__(analysis)
        self.analysis = analysis


class File:
    """A parsed file with its analyses, computed on demand and once.

    `tree` has the positions of `source.text` in every kind of file: in a Markdown notebook its body
    joins the fences, in a Jupyter notebook the code cells, in order.
    """

    def __init__(
        self,
        source: Source,
        tree: ast.Module,
        project: Any = None,
        floors: Mapping[str, Version] | None = None,
    ) -> None:
        self._source = source
        self.tree = tree
        self.project = project
        self.floors: dict[str, Version] = dict(floors or {})
        """The oldest version of `torch` and `marimo` that the project allows, where something says so.

        No fix uses an API newer than its floor; without one it may use what is current.
        """
        self.needs: dict[str, set[Need]] | None = None
        """For each analysis by name what the rules need that ask for it; None where any may ask."""
        self.unknowns: list[Unknown] = []
        self.seconds: dict[str, float] = {}
        """How long each analysis took, those that it asked for included."""
        self._analyses: dict[type, Any] = {}

    @property
    def source(self) -> Source:
        """The file's text."""
        return self._source

    def holds(self, text: str) -> bool:
        """Whether the file has a text anywhere, in comments too: no finding may depend on that alone."""
        return text in self._source.text

    @property
    def path(self) -> str:
        """The path as it was given."""
        return self._source.path

    def get(self, analysis: type[A]) -> A | None:
        """The analysis of this file, computed when first asked for. Raises AnalysisError."""
        if analysis not in self._analyses:
            began = perf_counter()
            try:
                self._analyses[analysis] = analysis.of(self)
            except AnalysisError as error:
                self._analyses[analysis] = error
            except Exception as cause:
                failure = AnalysisError(analysis.__name__)
                failure.__cause__ = cause
                self._analyses[analysis] = failure
            self.seconds[analysis.__name__] = perf_counter() - began
        result = self._analyses[analysis]
        if isinstance(result, AnalysisError):
            raise result
        found: A | None = result
        return found

    def forget(self) -> None:
        """Let go of all analyses: they and the file hold each other, and they are large."""
        self._analyses.clear()

    def place(self, where: ast.AST | Span) -> Place:
        """The place of a node or span of this file."""
        span = where if isinstance(where, Span) else self.source.span(where)
        return Place(self.source, span.start, span.end)

    def why(self, where: ast.AST | Span, reason: str) -> None:
        """Note that something became unknown here; `--why` shows it."""
        self.unknowns.append(Unknown(self.place(where), reason))


class Neighbour(File):
    """A file that a linted one imports.

    It is read as code. Whether anything asked for its text as well (where a finding stands, what a comment
    says) is noted in the project: if nothing did, a change of its comments changes nothing for the importer.
    """

    @property
    def source(self) -> Source:
        """The file's text, all of which matters from here on."""
        self.project.read.add(self.path)
        return self._source

    def why(self, where: ast.AST | Span, reason: str) -> None:
        """Nothing is noted: the importer tells of its own text alone."""
