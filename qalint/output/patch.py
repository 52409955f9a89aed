"""A fix as a short diff with line numbers, made from its edits alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .common import columns
from .frame import Lines, Row, cut, expand
from .paint import Paint

if TYPE_CHECKING:
    from ..diagnostic import PlainEdit

LIMIT = 14
"""A diff of more lines is cut."""


class Hunk(NamedTuple):
    """Lines from `row` on, before and after."""

    row: int
    old: list[str]
    new: list[str]


def hunks(lines: Lines, edits: tuple[PlainEdit, ...]) -> list[Hunk]:
    """The changed lines; edits that touch the same line share a hunk."""
    groups: list[list[PlainEdit]] = []
    for edit in sorted(edits, key=lambda edit: (edit.region, edit.content)):
        if groups and edit.region.row <= max(other.region.end_row for other in groups[-1]):
            groups[-1].append(edit)
        else:
            groups.append([edit])
    return [hunk for group in groups if (hunk := _hunk(lines, group)).old or hunk.new]


def _hunk(lines: Lines, edits: list[PlainEdit]) -> Hunk:
    first = edits[0].region.row
    last = max(edit.region.end_row for edit in edits)
    old = [lines[row] for row in range(first, min(last, lines.count) + 1)]
    text, row, column = "", first, 1
    for edit in edits:
        region = edit.region
        text += _between(lines, row, column, region.row, region.column) + edit.content
        row, column = region.end_row, region.end_column
    text += lines[row][column - 1 :]
    new = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while old and new and old[0] == new[0]:
        del old[0], new[0]
        first += 1
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return Hunk(first, old, new)


def _between(lines: Lines, row: int, column: int, end_row: int, end_column: int) -> str:
    """The text from one position to another."""
    if row == end_row:
        return lines[row][column - 1 : end_column - 1]
    middle = [lines[number] for number in range(row + 1, end_row)]
    return "\n".join([lines[row][column - 1 :], *middle, lines[end_row][: end_column - 1]])


def patch(lines: Lines, edits: tuple[PlainEdit, ...], paint: Paint, width: int) -> list[str]:
    """The diff, without line ends; empty if nothing changes."""
    changed = hunks(lines, edits)
    if not changed:
        return []
    shown: list[tuple[int, str, Row, int]] = []
    shift = end = 0
    for hunk in changed:
        if end and hunk.row > end:
            shown.append((0, "...", expand(""), 0))
        old, new = [expand(line) for line in hunk.old], [expand(line) for line in hunk.new]
        start = _first_difference(old, new)
        shown += [(hunk.row + index, "-", row, start) for index, row in enumerate(old)]
        shown += [(hunk.row + shift + index, "+", row, start) for index, row in enumerate(new)]
        shift += len(new) - len(old)
        after = end = hunk.row + len(hunk.old)
        if not (old and new) and after <= lines.count and lines[after].strip():
            shown.append((after + shift, " ", expand(lines[after]), 0))
            end += 1
    left_out = len(shown) - LIMIT
    if left_out > 1:
        shown = shown[:LIMIT]
    gutter = len(str(max(row for row, *_ in shown)))
    room = max(width - gutter - 3, 20)
    blank = " " * gutter + " " + paint("blue", "|")
    out = [blank]
    for number, sign, row, start in shown:
        if not number:
            out.append(paint("blue", sign))
            continue
        at = max(0, start - room // 2) if row.offsets[-1] > room and start > room - 20 else 0
        text = f"{sign} {cut(row, at, room)}".rstrip()
        style = {"-": "removed", "+": "green", " ": "dim"}[sign]
        out.append(f"{paint('blue', f'{number:>{gutter}}')} {paint(style, text)}")
    if left_out > 1:
        out.append(f"{' ' * gutter} ... {left_out} more lines")
    out.append(blank)
    return out


def _first_difference(old: list[Row], new: list[Row]) -> int:
    """The display column from which one changed line differs from its new form; 0 for several lines."""
    if len(old) != 1 or len(new) != 1:
        return 0
    pairs = zip(old[0].text, new[0].text, strict=False)
    same = next((index for index, (before, after) in enumerate(pairs) if before != after), 0)
    return columns(old[0].text[:same])
