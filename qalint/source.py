"""One file: bytes to text and back, and every way to say where something stands in it.

All positions inside qalint are offsets in code points into `Source.text`. Rows and columns are
worked out only where a person or another tool reads them (1-based, columns in code points, end
exclusive). `ast` counts columns in UTF-8 bytes; `Source.span` converts.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast


class Span(NamedTuple):
    """A half-open range of code points in `Source.text`."""

    start: int
    end: int


class Location(NamedTuple):
    """1-based row and column in code points. `cell` is the number of a Jupyter cell, else None."""

    row: int
    column: int
    cell: int | None = None


class Block(NamedTuple):
    """A run of Python code inside a file: the whole of a `.py` file, one fence, one Jupyter cell.

    `start` and `end` are offsets into `Source.text`; `number` counts the Jupyter cells of the file
    from 1 as ruff does (Markdown cells included), and is None elsewhere.
    """

    start: int
    end: int
    number: int | None = None
    language: str = "python"
    info: str = ""


class Source:
    """The text of one file with its encoding, line index and blocks of code."""

    __slots__ = ("blocks", "bom", "encoding", "kind", "line_starts", "path", "raw", "text")

    def __init__(
        self,
        path: str,
        text: str,
        *,
        raw: bytes | None = None,
        kind: str = "python",
        encoding: str = "utf-8",
        bom: bool = False,
        blocks: tuple[Block, ...] | None = None,
    ) -> None:
        self.path = path
        self.text = text
        self.raw = text.encode(encoding) if raw is None else raw
        self.kind = kind
        self.encoding = encoding
        self.bom = bom
        self.blocks = (Block(0, len(text)),) if blocks is None else blocks
        self.line_starts = _line_starts(text)

    def offset(self, lineno: int, utf8_column: int) -> int:
        """The offset of what `ast` calls (`lineno`, `col_offset`)."""
        start = self.line_starts[lineno - 1]
        end = self.line_starts[lineno] if lineno < len(self.line_starts) else len(self.text)
        line = self.text[start:end]
        if line.isascii():
            return start + utf8_column
        return start + len(line.encode()[:utf8_column].decode(errors="ignore"))

    def span(self, node: ast.AST) -> Span:
        """The span of an `ast` node that has a position."""
        return Span(
            self.offset(node.lineno, node.col_offset),  # type: ignore[attr-defined]
            self.offset(node.end_lineno, node.end_col_offset),  # type: ignore[attr-defined]
        )

    def segment(self, node: ast.AST) -> str:
        """The source text of an `ast` node."""
        start, end = self.span(node)
        return self.text[start:end]

    def location(self, offset: int) -> Location:
        """Row and column for people and tools; relative to the cell in a Jupyter notebook."""
        index = bisect_right(self.line_starts, offset) - 1
        column = offset - self.line_starts[index] + 1
        if self.kind == "jupyter":
            for block in self.blocks:
                if block.start <= offset < block.end or offset == block.end == len(self.text):
                    first = bisect_right(self.line_starts, block.start) - 1
                    return Location(index - first + 1, column, block.number)
        return Location(index + 1, column)

    def row(self, offset: int) -> int:
        """The 1-based line, counted over the whole text, on which `offset` lies."""
        return bisect_right(self.line_starts, offset)

    def line(self, row: int) -> str:
        """The text of line `row` (1-based, counted over the whole text), without its line end."""
        start = self.line_starts[row - 1]
        end = self.line_starts[row] if row < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")


def _line_starts(text: str) -> list[int]:
    """Offsets at which lines start, as Python's tokenizer counts them: after LF, CR LF or CR."""
    starts = [0]
    if "\r" not in text:
        position = text.find("\n") + 1
        while position:
            starts.append(position)
            position = text.find("\n", position) + 1
        return starts
    position, size = 0, len(text)
    while position < size:
        char = text[position]
        position += 1
        if char == "\r" and position < size and text[position] == "\n":
            position += 1
            starts.append(position)
        elif char in "\r\n":
            starts.append(position)
    return starts
