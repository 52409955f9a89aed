"""Source to the standard library's `ast`, for every kind of file, or to the reason why not.

Each block is parsed on its own, so that an error names its cell; all positions are those of
`Source.text`. Syntax that is newer than the running Python gets a second chance through LibCST
(`qalint.newer_syntax`), IPython's magics through `qalint.ipython`.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Iterator
from itertools import pairwise

from .source import Block, Source


class Broken(Exception):
    """Not valid Python: `offset` into the text, and Python's own words."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class BeyondLimit(Exception):
    """Valid or not, the text is deeper than can be parsed safely; the text names the limit."""


_SMALL = 5_000_000
"""The parser says MemoryError for what is too deep; only for a larger text may it mean memory."""

_TOO_NEW = (
    f"the syntax is newer than Python {sys.version_info[0]}.{sys.version_info[1]}, on which qalint runs here"
)


def tree_of(source: Source) -> ast.Module:
    """The tree of all Python blocks. Raises Broken for the first error, or BeyondLimit."""
    if source.kind == "python":
        return _whole(source)
    body: list[ast.stmt] = []
    for block in source.blocks:
        if block.language == "python":
            body += _block(source, block)
    return ast.Module(body=body, type_ignores=[])


def broken_blocks(source: Source) -> Iterator[Broken]:
    """The error of each block that has one."""
    for block in source.blocks:
        if block.language != "python":
            continue
        try:
            if source.kind == "python":
                _whole(source)
            else:
                _block(source, block)
        except Broken as error:
            yield error


_CELL = re.compile(
    r"^(?:@(?P<app>\w+)\.(?:cell|function|class_definition)\b|with \w+\.setup\b|\w+\._unparsable_cell\b|"
    r"if __name__\b)",
    re.MULTILINE,
)
"""How each part of a marimo notebook begins."""


def readable_cells(source: Source) -> tuple[ast.Module, list[Broken]] | None:
    """The tree of a marimo notebook without the cells that are broken, and the errors of those.

    marimo loads such a notebook as well. A broken cell leaves `app._unparsable_cell()` behind, without
    its text, so that whoever reads the tree knows that names are missing. None for other files.
    """
    if source.kind == "jupyter" or (source.kind == "python" and "marimo" not in source.text):
        return None
    parts = [block for block in source.blocks if block.language == "python"]
    body: list[ast.stmt] = []
    if source.kind == "python":
        starts = [found.start() for found in _CELL.finditer(source.text)]
        parts = [Block(*ends) for ends in pairwise([*starts, len(source.text)])]
        try:
            body += _block(source, Block(0, starts[0] if starts else 0))
        except Broken:
            return None
    errors: list[Broken] = []
    while parts:
        taken, found = _readable(source, parts)
        if isinstance(found, Broken):
            errors.append(found)
            found = _unparsable(source, parts[0])
        body += found
        del parts[:taken]
    return ast.Module(body=body, type_ignores=[]), errors


def _readable(source: Source, parts: list[Block]) -> tuple[int, list[ast.stmt] | Broken]:
    """The statements of the first part, or its error, and how many parts that takes.

    More than one only where a string holds what looks like the beginning of another cell.
    """
    together = 3 if source.kind == "python" else 1
    errors: list[Broken] = []
    for number, last in enumerate(parts[:together], 1):
        try:
            return number, _block(source, Block(parts[0].start, last.end))
        except Broken as error:
            errors.append(error)
    return 1, errors[0]


def _unparsable(source: Source, part: Block) -> list[ast.stmt]:
    """What stands for a broken cell."""
    head = _CELL.match(source.text, part.start) if source.kind == "python" else None
    app = "app" if source.kind == "markdown" else head.group("app") if head is not None else None
    if app is None:
        return []
    end = part.start + len(source.text[part.start : part.end].rstrip())
    row = source.row(end)
    where: dict[str, int] = {
        "lineno": source.row(part.start),
        "col_offset": 0,
        "end_lineno": row,
        "end_col_offset": len(source.text[source.line_starts[row - 1] : end].encode()),
    }
    name = ast.Name(app, ast.Load(), **where)
    call = ast.Call(ast.Attribute(name, "_unparsable_cell", ast.Load(), **where), [], [], **where)
    return [ast.Expr(call, **where)]


def attempt(text: str) -> ast.Module | None:
    """The tree of a text that may be anything, or None if it is no Python; without warnings."""
    try:
        return parse(text)
    except (SyntaxError, ValueError, MemoryError, BeyondLimit):
        return None


def parse(text: str) -> ast.Module:
    """`ast.parse` without its warnings. Raises SyntaxError or BeyondLimit."""
    if (offset := text.find("\0")) >= 0:
        source = Source("", text, raw=b"")
        row = source.row(offset)
        column = offset - source.line_starts[row - 1] + 1
        raise SyntaxError("source code cannot contain null bytes", ("<unknown>", row, column, None))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except MemoryError as error:
        if len(text) > _SMALL:
            raise
        raise BeyondLimit("it is nested more deeply than Python's own parser accepts") from error
    except RecursionError as error:
        raise BeyondLimit("it is nested more deeply than Python's own parser accepts") from error
    except SyntaxError as error:
        if "too many nested" in error.msg or "too many statically nested" in error.msg:
            raise BeyondLimit(f"it is nested more deeply than Python accepts ({error.msg})") from error
        raise


def _whole(source: Source) -> ast.Module:
    try:
        return parse(source.text)
    except SyntaxError as error:
        from .newer_syntax import downgrade

        older = downgrade(source.text)
        if older is not None:
            try:
                return parse(older)
            except SyntaxError:
                error.msg = _TOO_NEW
        raise _broken(source, error, Block(0, len(source.text)), 0) from error


def _block(source: Source, block: Block) -> list[ast.stmt]:
    """The statements of one cell, at the positions of the whole text."""
    text = source.text[block.start : block.end]
    row = source.row(block.start) - 1
    try:
        return _shifted(text, row)
    except SyntaxError as first:
        error = first
        for attempt, newer in _attempts(source, text):
            try:
                return _shifted(attempt, row)
            except SyntaxError as another:
                error = another
                if newer:
                    error.msg = _TOO_NEW
        raise _broken(source, error, block, row) from first


def _attempts(source: Source, text: str) -> Iterator[tuple[str, bool]]:
    """The text without magics, and respelled in older syntax (then True: it is valid in a newer one)."""
    plain = text
    if source.kind == "jupyter":
        from .ipython import neutralise

        plain = neutralise(text)
        yield plain, False
    from .newer_syntax import downgrade

    older = downgrade(plain)
    if older is not None:
        yield older, True


def _shifted(text: str, rows: int) -> list[ast.stmt]:
    """Parse a cell so that its first line is line `rows + 1`; a fence may be indented as a whole."""
    if text[:1] in " \t" and text.strip():
        first = text.lstrip("\r\n")
        if first[:1] in " \t" and rows:
            wrapped = parse("\n" * (rows - 1) + "if 1:\n" + text).body[0]
            assert isinstance(wrapped, ast.If)
            return wrapped.body
    return parse("\n" * rows + text).body


def _broken(source: Source, error: SyntaxError, block: Block, rows: int) -> Broken:
    """The error at its place; Python counts lines of the padded cell, and columns in code points."""
    row = min(max(error.lineno or 1, rows + 1), source.row(block.end))
    start = source.line_starts[row - 1]
    offset = start + max((error.offset or 1) - 1, 0)
    last = max(block.start, block.end - 1)
    line_end = start + len(source.line(row))
    return Broken(error.msg, max(block.start, min(offset, line_end, last)))
