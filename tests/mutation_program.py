"""One program as `mutation_edits.py` sees it: text, tree, and changes of statements; the table of edits."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Edit(NamedTuple):
    """One change: what is done, what should be said of it, where, and the whole new text."""

    kind: str
    codes: tuple[str, ...]
    line: int
    text: str


Change = tuple[ast.AST, str] | tuple[int, int, str]


class Program:
    """One file: its text, its tree, who is whose parent."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self.starts = [0]
        for line in text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self.nodes = list(ast.walk(self.tree))

    def of(self, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        """The nodes of some types."""
        return (node for node in self.nodes if isinstance(node, kinds))

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """All calls, with the last part of what is called."""
        for node in self.of(ast.Call):
            assert isinstance(node, ast.Call)
            yield node, last(node.func)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where a node stands."""
        assert node.end_lineno is not None and node.end_col_offset is not None  # type: ignore[attr-defined]
        return (
            self.starts[node.lineno - 1] + node.col_offset,  # type: ignore[attr-defined]
            self.starts[node.end_lineno - 1] + node.end_col_offset,  # type: ignore[attr-defined]
        )

    def source(self, node: ast.AST) -> str:
        """A node's text."""
        start, end = self.span(node)
        return self.text[start:end]

    def statement(self, node: ast.AST) -> ast.stmt:
        """The statement that a node is in."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        return node

    def function(self, node: ast.AST) -> ast.FunctionDef | None:
        """The innermost function that a node is in."""
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.FunctionDef):
                return node
        return None

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements that a statement is one of."""
        parent = self.parents[statement]
        for field in ("body", "orelse", "finalbody"):
            block = getattr(parent, field, None)
            if isinstance(block, list) and statement in block:
                return block
        return [statement]

    def cells(self) -> list[ast.FunctionDef]:
        """The cells of a notebook, in their order."""
        return [
            node
            for node in self.tree.body
            if isinstance(node, ast.FunctionDef)
            and any(last(d.func if isinstance(d, ast.Call) else d) == "cell" for d in node.decorator_list)
        ]

    def lines(self, first: ast.stmt, to: ast.stmt | None = None) -> tuple[int, int]:
        """The whole lines of statements that follow each other."""
        end = (to or first).end_lineno
        assert end is not None
        line = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", ()))])
        return self.starts[line - 1], self.starts[end]

    def change(self, *changes: Change) -> str:
        """The text with some nodes or spans replaced."""
        spans = [(*self.span(part[0]), part[1]) if len(part) == 2 else part for part in changes]
        text = self.text
        for start, end, new in sorted(spans, reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def without(self, statement: ast.stmt) -> tuple[int, int, str]:
        """The change that takes a statement away."""
        start, end = self.lines(statement)
        alone = len(self.block(statement)) == 1
        return start, end, " " * statement.col_offset + "pass\n" if alone else ""

    def moved(self, first: ast.stmt, to: ast.stmt, place: int, column: int) -> str:
        """The text with statements moved to the start of a line, indented to a column."""
        start, end = self.lines(first, to)
        shift = column - first.col_offset
        part = self.text[start:end].splitlines(keepends=True)
        part = [" " * shift + line if shift >= 0 else line[-shift:] for line in part]
        alone = len(self.block(first)) == len(part) == 1
        return self.change(
            (start, end, " " * first.col_offset + "pass\n" if alone else ""), (place, place, "".join(part))
        )


def last(node: ast.AST) -> str:
    """`c` of `a.b.c`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_false(node: ast.AST | None) -> bool:
    """Whether a node is `False`."""
    return isinstance(node, ast.Constant) and node.value is False


def names(node: ast.AST) -> set[str]:
    """The names in a node."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


Operator = Callable[[Program], Iterator[tuple[ast.AST, str]]]
OPERATORS: list[tuple[str, tuple[str, ...], Operator]] = []


def edit(kind: str, *codes: str) -> Callable[[Operator], Operator]:
    """Declare an edit: its name and the codes that tell it."""

    def declare(operator: Operator) -> Operator:
        OPERATORS.append((kind, codes, operator))
        return operator

    return declare


def edits(text: str) -> Iterator[Edit]:
    """All edits of a text that give another text which parses; each text once."""
    program = Program(text)
    seen = {text}
    for kind, codes, operator in OPERATORS:
        for node, changed in operator(program):
            if changed in seen:
                continue
            seen.add(changed)
            try:
                compile(changed, "mutant.py", "exec")
            except SyntaxError:
                continue
            yield Edit(kind, codes, getattr(node, "lineno", 1), changed)


def ancestors(program: Program, node: ast.AST) -> Iterator[ast.AST]:
    """What a node is in."""
    while node in program.parents:
        node = program.parents[node]
        yield node
