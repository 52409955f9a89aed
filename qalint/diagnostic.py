"""A finding as plain data: what caches, processes and output formats pass around.

Everything in it is a string, a number, None, or a tuple of these, so that it pickles and becomes
JSON without help. `Diagnostic.of` makes it from a rule's `Finding`.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Region(NamedTuple):
    """Rows and columns are 1-based, columns count code points, the end is exclusive."""

    row: int
    column: int
    end_row: int
    end_column: int


class RelatedPlace(NamedTuple):
    """Another place of the fault; `cell` as in `Diagnostic`."""

    filename: str
    cell: int | None
    region: Region
    message: str


class PlainEdit(NamedTuple):
    """`start` and `end` are offsets into the text that `Source` makes of the file."""

    start: int
    end: int
    content: str
    region: Region


class PlainFix(NamedTuple):
    """`applicability` is safe, unsafe or display-only."""

    applicability: str
    message: str
    edits: tuple[PlainEdit, ...]


class Diagnostic(NamedTuple):
    """See `interface.md`, JSON: the keys there are the fields here."""

    code: str
    name: str
    message: str
    severity: str
    confidence: str
    filename: str
    cell: int | None
    notebook_cell: str | None
    region: Region
    related: tuple[RelatedPlace, ...]
    fix: PlainFix | None
    help: str | None
    status: str
    checklist: tuple[str, ...]
    url: str
    noqa_row: int
    fingerprint: str

    def sort_key(self) -> tuple[Any, ...]:
        """By file, row, column, code: two runs print the same bytes."""
        return (self.filename, self.cell or 0, self.region.row, self.region.column, self.code, self.message)
