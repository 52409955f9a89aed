"""Which lines belong together: the statement that a comment or a finding's line is part of."""

from __future__ import annotations

from typing import NamedTuple

from .source import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast

_NESTED = ("body", "orelse", "finalbody", "handlers", "cases")
_CELL_DECORATORS = ("cell", "function", "class_definition")


class CellLines(NamedTuple):
    """Lines of one marimo cell: the end of its signature, its first statement, its end.

    `outside` are the lines where marimo keeps no comments: decorator and signature, and the final `return`.
    """

    header_end: int
    first: int
    first_end: int
    last: int
    outside: tuple[tuple[int, int], ...]


class Statements:
    """Lines of simple statements and of the headers of compound ones, from one walk of the tree."""

    def __init__(self, source: Source, tree: ast.Module | None) -> None:
        self.source = source
        self.extents: dict[int, int] = {}
        """First line (decorators included) to last line of each simple statement or header."""
        self.cells: list[CellLines] = []
        """The cells of a marimo notebook in a Python file."""
        if tree is not None:
            self._collect(tree)

    def covered(self, row: int, alone: bool) -> tuple[tuple[int, int], ...]:
        """The lines that a comment on line `row` speaks of; `alone`: nothing else is on its line."""
        start, end = self._next(row) if alone else self.holding(row)
        rows: tuple[tuple[int, int], ...] = ((row, row), (start, end))
        if not alone:
            rows = ((start if end == row else row, row),)
        for cell in self.cells:
            if (cell.header_end < row < cell.first) if alone else (row in (cell.first, cell.first_end)):
                rows += cell.outside
        return rows

    def holding(self, row: int) -> tuple[int, int]:
        """First and last line of the simple statement or header that `row` is part of."""
        best = (row, row)
        for start, end in self.extents.items():
            if start <= row <= end and (best == (row, row) or end - start < best[1] - best[0]):
                best = (start, end)
        return best

    def _next(self, row: int) -> tuple[int, int]:
        """The statement that starts on the next line of code."""
        lines = len(self.source.line_starts)
        following = row + 1
        while following <= lines:
            text = self.source.line(following).strip()
            if text and not text.startswith("#"):
                break
            following += 1
        return following, self.extents.get(following, following)

    def _collect(self, tree: ast.Module) -> None:
        pending: list[ast.AST] = list(tree.body)
        while pending:
            node = pending.pop()
            start, end = _lines(node)
            body = getattr(node, "body", None)
            if isinstance(body, list) and body:
                first = _lines(body[0])
                decorators = getattr(node, "decorator_list", [])
                end = max(start, min(end, first[0] - 1)) if first[0] > start else start
                if decorators and any(
                    getattr(_bare(item), "attr", "") in _CELL_DECORATORS for item in decorators
                ):
                    self._cell(node, start, end, body)
            if start:
                self.extents[start] = max(end, self.extents.get(start, 0))
            for name in _NESTED:
                value = getattr(node, name, None)
                if isinstance(value, list):
                    pending.extend(value)

    def _cell(self, node: ast.AST, start: int, header_end: int, body: list[ast.stmt]) -> None:
        last = body[-1]
        more: tuple[tuple[int, int], ...] = ((start, _header_end(node, body)),)
        if type(last).__name__ == "Return":
            more += (_lines(last),)
        first = _lines(body[0])
        self.cells.append(CellLines(_header_end(node, body), *first, _lines(node)[1], more))


def _header_end(node: ast.AST, body: list[ast.stmt]) -> int:
    """The line on which the signature ends, as near as the tree can tell."""
    arguments = getattr(node, "args", None)
    rows = [getattr(node, "lineno", 0)]
    if arguments is not None:
        rows += [item.end_lineno for item in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    returns = getattr(node, "returns", None)
    if returns is not None:
        rows.append(returns.end_lineno)
    return min(max(rows), max(_lines(body[0])[0] - 1, rows[0]))


def _bare(decorator: ast.expr) -> ast.expr:
    called: ast.expr = getattr(decorator, "func", decorator)
    return called


def _lines(node: ast.AST) -> tuple[int, int]:
    """First and last line of a statement, an `except` or a `case`."""
    decorators = getattr(node, "decorator_list", None)
    pattern = getattr(node, "pattern", None)
    first = min((item.lineno for item in decorators), default=0) if decorators else 0
    start = getattr(node, "lineno", 0) or (pattern.lineno if pattern is not None else 0)
    end = getattr(node, "end_lineno", 0) or (pattern.end_lineno if pattern is not None else 0)
    return (first or start), end
