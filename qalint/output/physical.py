"""Where a place lies in the file itself, for readers that show files and know no cells.

In a Jupyter notebook rows count inside a cell. Code hosts show the notebook's JSON: there a row is
a line of that JSON.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING

from ..diagnostic import Region
from .frame import lines_of

if TYPE_CHECKING:
    from ..report_data import Report
    from ..source import Source


class _Raw:
    """The JSON of a notebook with its lines."""

    def __init__(self, raw: str) -> None:
        from ..jupyter import Notebook

        self.notebook = Notebook(raw)
        self.starts = [0, *(index + 1 for index, char in enumerate(raw) if char == "\n")]

    def place(self, offset: int) -> tuple[int, int]:
        """Row and column of a position of the joined cells."""
        position = self.notebook.raw_offset(offset)
        row = bisect_right(self.starts, position)
        return row, position - self.starts[row - 1] + 1


@lru_cache(maxsize=8)
def _raw(source: Source) -> _Raw | None:
    from ..jupyter import NotJupyter

    try:
        return _Raw(source.raw.decode("utf-8-sig"))
    except (NotJupyter, UnicodeDecodeError):
        return None


def physical(filename: str, cell: int | None, region: Region, report: Report) -> Region | None:
    """The region in rows and columns of the file: as it is outside Jupyter; None where it is not known."""
    if cell is None:
        return region
    source = report.get_source(filename)
    lines = lines_of(source, cell)
    raw = _raw(source) if source is not None and source.raw else None
    if source is None or lines is None or raw is None:
        return None

    def place(row: int, column: int) -> tuple[int, int]:
        index = min(lines.first + row - 1, len(source.line_starts)) - 1
        return raw.place(source.line_starts[index] + column - 1)

    return Region(*place(region.row, region.column), *place(region.end_row, region.end_column))


def raw_lines(source: Source) -> list[str]:
    """The lines of the file itself."""
    return source.raw.decode("utf-8-sig", "replace").split("\n")
