"""What linting one file gave: plain data that travels between processes and lies in the cache."""

from __future__ import annotations

from typing import Any, NamedTuple

from .diagnostic import Diagnostic, PlainEdit, PlainFix, Region, RelatedPlace

REPORT_AT = "please report it together with the file, or the part of it that is enough to make it fail"


Consulted = tuple[int, int] | tuple[int, int, bytes] | None
"""Time and size of a file that was consulted; with a digest of its code (`codeprint.py`, empty until it is
worked out) where only its code mattered. None for one that was not there."""

CONSULTED = 5
"""Where a packed outcome has what was consulted."""
SECONDS = 8
"""And where how long it took."""


class Candidate(NamedTuple):
    """A suppression's entry that is idle unless a finding of some file needs it.

    `hits` are the entries that would suppress the QA0004 itself. `program`: a finding that needs it
    may come from a file that imports this one.
    """

    number: int
    entry: int
    item: Diagnostic
    hits: tuple[tuple[int, int], ...]
    program: bool


class Outcome:
    """The result for one file; findings may stand in other files."""

    __slots__ = (
        "candidates",
        "consulted",
        "counts",
        "diagnostics",
        "elsewhere",
        "path",
        "renamed",
        "seconds",
        "tracebacks",
        "unknowns",
        "used",
    )

    def __init__(self, path: str) -> None:
        self.path = path
        self.diagnostics: list[Diagnostic] = []
        """`new` or `suppressed`, of every confidence."""
        self.candidates: list[Candidate] = []
        self.used: set[tuple[str, int, int]] = set()
        """(file, directive, entry) of suppressions that hid something."""
        self.counts: dict[str, int] = {}
        """Findings by code before precedence: what a fix may not make more of."""
        self.consulted: dict[str, Consulted] = {}
        """Other files whose content mattered, or that were looked for."""
        self.elsewhere: dict[str, bool] = {}
        """Other files in which findings wanted to stand, and whether they were files of the run."""
        self.renamed: list[tuple[int, str]] = []
        """(row, entry) of suppressions by a code or name that the rule had before."""
        self.seconds: dict[str, float] = {}
        self.unknowns: list[tuple[int, str]] = []
        self.tracebacks: list[str] = []

    @property
    def failed(self) -> bool:
        """Whether a rule, an analysis or a worker crashed on the file."""
        return any(item.code == "QA0003" for item in self.diagnostics)

    def pack(self) -> tuple[Any, ...]:
        """As tuples, lists, dicts, strings and numbers only."""
        return (
            self.path,
            [_plain(item) for item in self.diagnostics],
            [_plain(item) for item in self.candidates],
            sorted(self.used),
            self.counts,
            self.consulted,
            self.elsewhere,
            self.renamed,
            self.seconds,
            self.unknowns,
            self.tracebacks,
        )

    @classmethod
    def unpack(cls, packed: tuple[Any, ...]) -> Outcome:
        """The outcome that `pack` took apart."""
        outcome = cls(packed[0])
        outcome.diagnostics = [_diagnostic(item) for item in packed[1]]
        outcome.candidates = [
            Candidate(number, entry, _diagnostic(item), hits, program)
            for number, entry, item, hits, program in packed[2]
        ]
        outcome.used = set(packed[3])
        (
            outcome.counts,
            outcome.consulted,
            outcome.elsewhere,
            outcome.renamed,
            outcome.seconds,
            outcome.unknowns,
            outcome.tracebacks,
        ) = packed[4:]
        return outcome


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple([_plain(item) for item in value])
    return value


_REGION = Diagnostic._fields.index("region")
_RELATED = Diagnostic._fields.index("related")
_FIX = Diagnostic._fields.index("fix")


def _diagnostic(fields: tuple[Any, ...]) -> Diagnostic:
    values = list(fields)
    values[_REGION] = Region(*values[_REGION])
    values[_RELATED] = tuple(
        RelatedPlace(filename, cell, Region(*where), message)
        for filename, cell, where, message in values[_RELATED]
    )
    if values[_FIX] is not None:
        applicability, message, edits = values[_FIX]
        plain = tuple(PlainEdit(start, end, content, Region(*where)) for start, end, content, where in edits)
        values[_FIX] = PlainFix(applicability, message, plain)
    return Diagnostic(*values)
