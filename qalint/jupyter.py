"""A Jupyter notebook as one text of its code cells, and edits of that text inside its JSON.

The JSON is never written anew: an edit is mapped to the characters of the string literals that
spell a cell's source, so that outputs, metadata, indentation and key order stay byte for byte.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

from .source import Block

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder(strict=False)
_UNIT = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.S
)


class NotJupyter(ValueError):
    """Why the text is not a Jupyter notebook with Python cells."""


class _Literal(NamedTuple):
    """One string literal of a cell's source: where its content lies in the JSON and in the joined text."""

    raw_start: int
    raw_end: int
    start: int
    end: int


class _Cell(NamedTuple):
    literals: list[_Literal]
    separator: str | None
    """What stands between two lines of the source in the JSON; None where the source is one string."""


class Notebook:
    """`text` joins the code cells (each ends with a line end); `blocks` says which is where."""

    def __init__(self, raw: str) -> None:
        self.raw = raw
        pieces: list[str] = []
        blocks: list[Block] = []
        self._cells: list[_Cell] = []
        size = 0
        for number, (kind, spans) in enumerate(_cells(raw), 1):
            if kind != "code":
                continue
            start, literals = size, []
            for raw_start, raw_end, value in spans:
                literals.append(_Literal(raw_start + 1, raw_end - 1, size, size + len(value)))
                pieces.append(value)
                size += len(value)
            if not pieces or size == start or not pieces[-1].endswith("\n"):
                pieces.append("\n")
                size += 1
            blocks.append(Block(start, size, number))
            self._cells.append(_Cell(literals, _separator(raw, spans)))
        self.text = "".join(pieces)
        self.blocks = tuple(blocks)
        self._ascii = raw.isascii() and "\\u" in raw

    def raw_offset(self, offset: int) -> int:
        """Where a position of `text` lies in the JSON."""
        index = bisect_right([block.start for block in self.blocks], offset) - 1
        cell = self._cells[index]
        return self._raw_offset(cell, offset)[0] if cell.literals else 0

    def rewrite(self, edits: Sequence[Any]) -> str:
        """The JSON after edits of `text`, sorted by position and inside one cell each."""
        pieces, position = [], 0
        starts = [block.start for block in self.blocks]
        for edit in edits:
            index = bisect_right(starts, edit.start) - 1
            block, cell = self.blocks[index], self._cells[index]
            if edit.end > block.end or not cell.literals:
                raise ValueError("an edit reaches beyond its cell")
            start, first = self._raw_offset(cell, edit.start)
            end, last = self._raw_offset(cell, edit.end)
            content = self._encode(
                edit.content,
                cell.separator,
                breaks_before=start > first.raw_start and self.text[edit.start - 1] == "\n",
                breaks_after=end < last.raw_end,
            )
            pieces += [self.raw[position:start], content]
            position = end
        return "".join([*pieces, self.raw[position:]])

    def _raw_offset(self, cell: _Cell, offset: int) -> tuple[int, _Literal]:
        """Where a position of the text lies in the JSON; at the border of two lines, in the later one."""
        literal = next((item for item in cell.literals if offset < item.end), cell.literals[-1])
        position = literal.raw_start
        for _ in range(min(offset, literal.end) - literal.start):
            match = _UNIT.match(self.raw, position, literal.raw_end)
            if match is None:  # pragma: no cover - the decoder has accepted this literal
                raise ValueError("a cell's source is not a valid string")
            position = match.end()
        return position, literal

    def _encode(self, content: str, separator: str | None, *, breaks_before: bool, breaks_after: bool) -> str:
        """The content as a part of a string literal, or of several where the source is a list of lines."""
        lines = re.findall(r"[^\n]*\n|[^\n]+", content)
        encoded = [json.dumps(line, ensure_ascii=self._ascii)[1:-1] for line in lines]
        if separator is None:
            return "".join(encoded)
        border = f'"{separator}"'
        joined = border.join(encoded)
        if lines and breaks_before:
            joined = border + joined
        return joined + border if content.endswith("\n") and breaks_after else joined


def _separator(raw: str, spans: list[tuple[int, int, str]]) -> str | None:
    if len(spans) > 1:
        return raw[spans[0][1] : spans[1][0]]
    if not spans:
        return None
    before = raw[: spans[0][0]]
    stripped = before.rstrip(" \t\r\n")
    return "," + before[len(stripped) :] if stripped.endswith("[") else None


def _cells(raw: str) -> list[tuple[str, list[tuple[int, int, str]]]]:
    """(cell type, the literals of its source) for each cell."""
    try:
        top = _members(raw, _skip(raw, 0))
        if "nbformat" not in top or "cells" not in top:
            raise NotJupyter("it has no `cells` (only format 4 is known)")
        language = _language(raw, top)
        if language not in (None, "python"):
            return []
        found = []
        for start in _items(raw, top["cells"]):
            members = _members(raw, start)
            kind = _value(raw, members["cell_type"]) if "cell_type" in members else None
            spans = _literals(raw, members["source"]) if kind == "code" and "source" in members else []
            found.append((str(kind), spans))
        return found
    except (ValueError, RecursionError, IndexError) as error:
        if isinstance(error, NotJupyter):
            raise
        raise NotJupyter(f"its JSON is broken ({error})") from error


def _language(raw: str, top: dict[str, int]) -> str | None:
    metadata = _value(raw, top["metadata"]) if "metadata" in top else {}
    if not isinstance(metadata, dict):
        return None
    for table, name in (("language_info", "name"), ("kernelspec", "language")):
        inner = metadata.get(table)
        if isinstance(inner, dict) and isinstance(inner.get(name), str):
            language: str = inner[name].lower()
            return "python" if language in ("python", "ipython", "python3") else language
    return None


def _literals(raw: str, start: int) -> list[tuple[int, int, str]]:
    if raw[start] == '"':
        value, end = _DECODER.raw_decode(raw, start)
        return [(start, end, value)]
    spans = []
    for item in _items(raw, start):
        value, end = _DECODER.raw_decode(raw, item)
        if not isinstance(value, str):
            raise NotJupyter("a cell's source holds something that is no string")
        spans.append((item, end, value))
    return spans


def _skip(raw: str, position: int) -> int:
    match = _SPACE.match(raw, position)
    return match.end() if match else position


def _value(raw: str, start: int) -> Any:
    return _DECODER.raw_decode(raw, start)[0]


def _members(raw: str, start: int) -> dict[str, int]:
    """The keys of the object at `start`, and where their values begin."""
    if raw[start : start + 1] != "{":
        raise NotJupyter("a JSON object was expected")
    found: dict[str, int] = {}
    position = _skip(raw, start + 1)
    while raw[position] != "}":
        name, position = _DECODER.raw_decode(raw, position)
        position = _skip(raw, position)
        if raw[position] != ":":
            raise NotJupyter("a `:` is missing in its JSON")
        position = _skip(raw, position + 1)
        found[str(name)] = position
        position = _after(raw, _DECODER.raw_decode(raw, position)[1], "}")
    return found


def _items(raw: str, start: int) -> list[int]:
    """Where the items of the array at `start` begin."""
    if raw[start : start + 1] != "[":
        raise NotJupyter("a JSON array was expected")
    found = []
    position = _skip(raw, start + 1)
    while raw[position] != "]":
        found.append(position)
        position = _after(raw, _DECODER.raw_decode(raw, position)[1], "]")
    return found


def _after(raw: str, position: int, closing: str) -> int:
    position = _skip(raw, position)
    if raw[position] == ",":
        return _skip(raw, position + 1)
    if raw[position] != closing:
        raise NotJupyter("its JSON is broken (a `,` is missing)")
    return position
