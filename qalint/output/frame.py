"""Source frames: the lines around a place, the place underlined, notes beside it.

3 |     scaler.scale(loss).backward()
  |     ----------------------------- gradients are scaled here
4 |     clip_grad_norm_(model.parameters(), 1.0)
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from .common import columns, same_length
from .paint import Paint

if TYPE_CHECKING:
    from ..diagnostic import Region
    from ..source import Source

TAB = 4
CONTEXT = 2
NEAR = 2
"""Up to so many lines between two parts of a frame are shown rather than left out."""


class Lines:
    """The lines of a file, or of one Jupyter cell of it, by 1-based row."""

    __slots__ = ("count", "first", "source")

    def __init__(self, source: Source, first: int, count: int) -> None:
        self.source = source
        self.first = first
        self.count = count

    def __getitem__(self, row: int) -> str:
        """The line without its line end; empty outside the text."""
        if not 1 <= row <= self.count:
            return ""
        return self.source.line(self.first + row - 1)


def lines_of(source: Source | None, cell: int | None) -> Lines | None:
    """What rows of a finding count in: the cell of a Jupyter notebook, else the whole text."""
    if source is None:
        return None
    total = len(source.line_starts)
    if cell is None:
        return Lines(source, 1, total)
    from bisect import bisect_right

    for block in source.blocks:
        if block.number == cell:
            first = bisect_right(source.line_starts, block.start)
            last = bisect_right(source.line_starts, max(block.start, block.end - 1))
            return Lines(source, first, last - first + 1)
    return None


class Mark(NamedTuple):
    """A place to underline. The main place has the character `^`, others `-` and a label."""

    region: Region
    label: str
    style: str
    char: str


class Row(NamedTuple):
    """A source line as it is shown, and how columns of the source map into it."""

    text: str
    offsets: list[int]
    """Display column at which each character starts, and that of the end of the line."""


def frame(lines: Lines, marks: Sequence[Mark], paint: Paint, width: int, context: int = CONTEXT) -> list[str]:
    """The frame of one file's marks, the first of which is the main one, without line ends."""
    rows = sorted(_rows(lines, marks, context))
    gutter = len(str(rows[-1]))
    blank = " " * gutter + " " + paint("blue", "|")
    room = max(width - gutter - 3, 20)
    out = [blank]
    previous = None
    for row in rows:
        if previous is not None and row > previous + 1:
            out.append(paint("blue", "..."))
        previous = row
        here = [mark for mark in marks if mark.region.row == row]
        shown = expand(lines[row])
        start = _window(shown, here, room)
        text = cut(shown, start, room)
        out.append(f"{paint('blue', f'{row:>{gutter}} |')} {text}".rstrip())
        for mark in here:
            out += [f"{blank} {line}" for line in _underline(shown, mark, start, paint, room)]
    out.append(blank)
    return out


def _rows(lines: Lines, marks: Sequence[Mark], context: int) -> set[int]:
    """The rows to show: each mark's, some around the main one, short gaps filled."""
    main = marks[0].region
    first, last = main.row - context, min(main.end_row, main.row + context) + context
    rows = {row for row in range(first, last + 1) if 1 <= row <= lines.count}
    rows |= {mark.region.row for mark in marks}
    needed = {mark.region.row for mark in marks}
    for step, start in ((1, min(rows)), (-1, max(rows))):  # no empty lines at either end
        while start in rows and start not in needed and not lines[start].strip():
            rows.discard(start)
            start += step
    ordered = sorted(rows)
    for before, after in pairwise(ordered):
        if after - before - 1 <= NEAR:
            rows.update(range(before + 1, after))
    return rows


@lru_cache(maxsize=32)
def expand(line: str) -> Row:
    """The line with tabs expanded and nothing active in it."""
    line = same_length(line)
    if line.isascii() and "\t" not in line:
        return Row(line, list(range(len(line) + 1)))
    offsets, out, at = [], [], 0
    for char in line:
        offsets.append(at)
        shown = " " * (TAB - at % TAB) if char == "\t" else char
        out.append(shown)
        at += columns(shown)
    offsets.append(at)
    return Row("".join(out), offsets)


def _span(shown: Row, mark: Mark) -> tuple[int, int]:
    """Display columns of the part of a mark that lies on its first line; at least one wide."""
    size = len(shown.offsets) - 1
    region = mark.region
    start = min(region.column - 1, size)
    end = min(region.end_column - 1, size) if region.end_row == region.row else size
    first = shown.offsets[start]
    return first, max(shown.offsets[max(end, start)], first + 1)


def _window(shown: Row, here: Sequence[Mark], room: int) -> int:
    """The display column at which a long line starts to be shown."""
    if not here or shown.offsets[-1] <= room:
        return 0
    first, last = _span(shown, here[0])
    if last <= room - 3:
        return 0
    if last - first >= room - 16:  # too wide to be shown whole: its start matters more than its end
        return 0 if first <= room // 2 else first - 8
    return max(0, min(first - 8, last - room + 12))


def cut(shown: Row, start: int, room: int) -> str:
    """The visible part of a line, with `...` where something is left out."""
    text, offsets = shown.text, shown.offsets
    if start == 0 and offsets[-1] <= room:
        return text
    head = "..." if start else ""
    tail = "..." if offsets[-1] > start + room - 3 else ""
    if text.isascii():  # a column a character: a line of a million must not be walked for each finding
        return head + text[start + len(head) : start + room - 3] + tail
    out, at = [head], 0
    for char in text:
        wide = columns(char)
        if at >= start + len(head) and at + wide <= start + room - 3:
            out.append(char)
        at += wide
    return "".join(out) + tail


def _underline(shown: Row, mark: Mark, start: int, paint: Paint, room: int) -> Iterator[str]:
    first, last = _span(shown, mark)
    first, last = first - start, min(last - start, room)
    if first < 0 or first >= room:
        if mark.label:
            yield from wrap(mark.label, room)
        return
    line = " " * first + paint(mark.style, mark.char * max(last - first, 1))
    if not mark.label:
        yield line
    elif last + 1 + columns(mark.label) <= room:
        yield f"{line} {paint(mark.style, mark.label)}"
    else:
        yield line
        indent = min(first, room // 2)
        for part in wrap(mark.label, room - indent):
            yield " " * indent + paint(mark.style, part)


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns, broken at spaces where there are any.

    What stands in backticks is kept together where it fits.
    """
    lines: list[str] = []
    line = ""
    for word in _words(text):
        if line and columns(line) + 1 + columns(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def _words(text: str) -> Iterator[str]:
    """Words, with a short code span as one."""
    pending = ""
    for word in text.split(" "):
        pending = f"{pending} {word}" if pending else word
        if pending.count("`") % 2 == 0 or len(pending) > 40:
            yield pending
            pending = ""
    if pending:
        yield pending
