"""Text edits that keep everything they do not change: comments, quotes, blank lines, line ends.

`Edits` is an analysis: a rule asks for it in `check`, or takes it from `file.get(Edits)`. Its methods
return a tuple of `Edit`, or None where the text has a form they do not handle (two statements on one
line, a suite on its header's line). `Edits.fix` makes a `Fix` of several such results, and None of
them if one is None, so that a rule needs no tests:

    yield self.finding(place, "...", fix=edits.safe("Unscale first", edits.insert_before(clip, text)))
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Self

from ..file import File
from ..rule import Applicability, Edit, Fix
from ..source import Span
from .names import Names, canonical

Changes = tuple[Edit, ...]
_Definition = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Seat(NamedTuple):
    """Where a statement stands: in `block[position]`, the suite of `parent`."""

    parent: ast.AST
    block: list[ast.stmt]
    position: int


class Edits:
    """Where each statement stands, and how to change the text around it."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.source = file.source
        self.text = file.source.text
        self.newline = "\r\n" if "\r\n" in self.text else "\n"
        self._seats: dict[ast.AST, Seat] | None = None
        self._parents: dict[ast.AST, ast.AST] | None = None

    @classmethod
    def of(cls, file: File) -> Self:
        """The edits of `file`."""
        return cls(file)

    # Fixes

    def safe(self, message: str, *changes: Changes | None) -> Fix | None:
        """A fix that keeps the meaning of correct runs; None if one of the changes could not be made."""
        return self.fix(Applicability.SAFE, message, *changes)

    def unsafe(self, message: str, *changes: Changes | None) -> Fix | None:
        """A fix that needs a look; None if one of the changes could not be made."""
        return self.fix(Applicability.UNSAFE, message, *changes)

    def fix(self, applicability: Applicability, message: str, *changes: Changes | None) -> Fix | None:
        """All the changes as one fix, sorted and without repetitions; None if one could not be made."""
        edits: list[Edit] = []
        for change in changes:
            if change is None:
                return None
            edits += [edit for edit in change if edit not in edits]
        edits.sort(key=lambda edit: (edit.start, edit.end))
        joined: list[Edit] = []
        for edit in edits:  # what is inserted at one offset is one edit, in the order in which it was given
            if joined and edit.start == edit.end == joined[-1].start == joined[-1].end:
                joined[-1] = Edit(edit.start, edit.end, joined[-1].content + edit.content)
            else:
                joined.append(edit)
        edits = joined
        if not edits or any(one.end > other.start for one, other in pairwise(edits)):
            return None
        return Fix(applicability, message, tuple(edits))

    # Where things stand

    def seat(self, statement: ast.AST) -> Seat | None:
        """The suite that holds the statement."""
        return self._table().get(statement)

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The innermost statement around a node that has a position (or the node, if it is one)."""
        if isinstance(node, ast.stmt):
            return node
        span = self.source.span(node)
        found: ast.stmt | None = None
        block: Sequence[ast.stmt] = self.file.tree.body
        while True:
            inside = next((item for item in block if self._around(item, span)), None)
            if inside is None:
                return found
            found = inside
            block = [item for _, body in _suites(inside) for item in body]

    def parents(self, statement: ast.AST) -> Iterator[ast.AST]:
        """The compound statements around a statement, innermost first, without the module."""
        seat = self.seat(statement)
        while seat is not None and not isinstance(seat.parent, ast.Module):
            yield seat.parent
            holder = seat.parent
            seat = self.seat(holder)

    def parent(self, node: ast.AST) -> ast.AST | None:
        """The node that directly holds any node, expressions included; None for the module."""
        if self._parents is None:
            self._parents = {}
            stack: list[ast.AST] = [self.file.tree]
            while stack:
                holder = stack.pop()
                for child in ast.iter_child_nodes(holder):
                    if not isinstance(child, ast.expr_context):
                        self._parents[child] = holder
                        stack.append(child)
        return self._parents.get(node)

    def holders(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Every node around `node` with the child through which it leads there, innermost first."""
        holder = self.parent(node)
        while holder is not None:
            yield holder, node
            node, holder = holder, self.parent(holder)

    def siblings_after(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements that follow in the same suite."""
        seat = self.seat(statement)
        return seat.block[seat.position + 1 :] if seat else []

    def function(self, node: ast.AST) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The innermost function around a node."""
        statement = self.statement(node)
        for parent in self.parents(statement) if statement else ():
            if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef)):
                return parent
        return None

    def indentation(self, statement: ast.stmt) -> str:
        """The white space before a statement that begins its line."""
        start = self._first(statement)
        return self.text[self._line(start) : start]

    def segment(self, node: ast.AST) -> str:
        """The source text of a node."""
        return self.source.segment(node)

    def alone(self, statement: ast.stmt) -> bool:
        """Whether the lines of the statement hold nothing else but a comment."""
        start, end = self._first(statement), self.source.span(statement).end
        line = self._line(start)
        above = self.text[self._line(line - 1) : line] if line else ""
        if self.text[line:start].strip(" \t\f") or re.fullmatch(r"(.*[;:])?[ \t\f]*\\\r?\n?", above):
            return False
        return re.match(r"[ \t\f]*(#|\r|\n|$)", self.text[end : end + 200]) is not None

    def lines(self, statement: ast.stmt) -> Span:
        """The whole lines of a statement, with decorators, trailing comment and line end."""
        return Span(self._line(self._first(statement)), self._after(self.source.span(statement).end))

    def comments(self, statement: ast.stmt) -> Span:
        """`lines`, with the comment lines that stand directly above at the same indentation."""
        start, end = self.lines(statement)
        indentation = self.indentation(statement)
        while start > 0:
            above = self._line(start - 1)
            line = self.text[above:start]
            if not line.startswith(indentation + "#"):
                break
            start = above
        return Span(start, end)

    # Expressions

    def replace(self, node: ast.AST, text: str) -> Changes:
        """Put `text` in the place of an expression (or statement)."""
        start, end = self.source.span(node)
        return (Edit(start, end, text),)

    def insert(self, at: int, text: str) -> Changes:
        """Put text at an offset."""
        return (Edit(at, at, text),)

    def swap(self, start: int, end: int, text: str) -> Changes:
        """Put text in the place of a range."""
        return (Edit(start, end, text),)

    def wrap(self, node: ast.expr, before: str, after: str) -> Changes:
        """Put text before and after an expression, outside the parentheses that belong to it."""
        start, end = self.source.span(node)
        return (Edit(start, start, before), Edit(end, end, after))

    def arguments(self, call: ast.Call) -> list[ast.expr | ast.keyword]:
        """The arguments of a call in the order of the text."""
        found: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
        return sorted(found, key=lambda item: (item.lineno, item.col_offset))

    def add_argument(self, call: ast.Call, text: str) -> Changes | None:
        """Add an argument at the end (before `**kwargs` it need not be)."""
        arguments = self.arguments(call)
        if not arguments:
            closing = self.source.span(call).end - 1
            return (Edit(closing, closing, text),)
        if self._bare_generator(call):
            start, end = self.source.span(call.args[0])
            return (Edit(start + 1, start + 1, "("), Edit(end - 1, end - 1, f"), {text}"))
        end = self._argument(arguments[-1]).end
        end = self._skip_closing(end, self.source.span(call).end - 1)
        return (Edit(end, end, f", {text}"),)

    def replace_argument(self, argument: ast.expr | ast.keyword, text: str) -> Changes:
        """Replace a whole argument, its keyword included."""
        start, end = self._argument(argument)
        return (Edit(start, end, text),)

    # Statements

    def insert_before(self, statement: ast.stmt, *lines: str) -> Changes | None:
        """Insert lines (without indentation) before a statement and its comments."""
        if not self.alone(statement):
            return None
        start = self.comments(statement).start
        return (Edit(start, start, self._indented(lines, self.indentation(statement))),)

    def insert_after(self, statement: ast.stmt, *lines: str) -> Changes | None:
        """Insert lines (without indentation) after a statement and its trailing comment."""
        if not self.alone(statement):
            return None
        end = self.lines(statement).end
        text = self._indented(lines, self.indentation(statement))
        if end and self.text[end - 1] not in "\r\n":  # the file ends here without a line end
            text = self.newline + text.removesuffix(self.newline)
        return (Edit(end, end, text),)

    def remove(self, statement: ast.stmt) -> Changes | None:
        """Remove a statement; a suite that would become empty gets `pass`."""
        seat = self.seat(statement)
        if seat is None or not self.alone(statement):
            return None
        if len(seat.block) == 1 and not isinstance(seat.parent, ast.Module):
            start, end = self._first(statement), self.source.span(statement).end
            return (Edit(start, end, "pass"),)
        start, end = self.lines(statement)
        return (Edit(start, end, ""),)

    def move_before(self, statement: ast.stmt, target: ast.stmt) -> Changes | None:
        """Move a statement, with its comments, before another one, at that one's indentation."""
        return self._move(statement, target, after=False)

    def move_after(self, statement: ast.stmt, target: ast.stmt) -> Changes | None:
        """Move a statement, with its comments, after another one, at that one's indentation."""
        return self._move(statement, target, after=True)

    def move_many(self, statements: Sequence[ast.stmt], target: ast.stmt, *, after: bool) -> Changes | None:
        """Move statements, in their order, before or after another one that is none of them."""
        if not statements or not self.alone(target) or target in statements:
            return None
        texts: list[str] = []
        removed: list[Edit] = []
        for statement in statements:
            seat = self.seat(statement)
            if seat is None or not self.alone(statement):
                return None
            texts.append(self.reindented([statement], self.indentation(target), comments=True))
            if len(seat.block) == 1 and not isinstance(seat.parent, ast.Module):
                start, end = self.comments(statement)
                removed.append(Edit(start, end, self._indented(["pass"], self.indentation(statement))))
            else:
                removed.append(Edit(*self.comments(statement), ""))
        at = self.lines(target).end if after else self.comments(target).start
        if any(edit.start < at < edit.end for edit in removed):
            return None
        text = "".join(texts)
        if after and at and self.text[at - 1] not in "\r\n":
            text = self.newline + text.removesuffix(self.newline)
        return (*removed, Edit(at, at, text))

    def reindented(self, statements: Sequence[ast.stmt], indentation: str, *, comments: bool = True) -> str:
        """The text of consecutive statements at another indentation; strings are left as they are."""
        first, last = statements[0], statements[-1]
        start = (self.comments(first) if comments else self.lines(first)).start
        end = self.lines(last).end
        old = self.indentation(first)
        text = self.text[start:end]
        if not text.endswith(("\n", "\r")):
            text += self.newline
        if old == indentation:
            return text
        kept = self._string_lines(statements)
        lines: list[str] = []
        offset = start
        for line in text.splitlines(keepends=True):
            if offset in kept or not line.startswith(old) or not line.strip():
                lines.append(line)
            else:
                lines.append(indentation + line[len(old) :])
            offset += len(line)
        return "".join(lines)

    # Imports

    def spelling(self, qualified: str, at: ast.AST) -> tuple[str, Changes] | None:
        """How to write `torch.amp.GradScaler` at a place, and the import that it needs there, if any.

        Names that already mean it, or one of its parents, are preferred. None where an import would
        be needed and its name is taken.
        """
        names = self.file.get(Names)
        assert names is not None
        scope = names.module
        function = self.function(at)
        if function is not None:
            scope = names.scopes[function]
        parts = qualified.split(".")
        seen: dict[str, str] = {}
        where = scope
        while True:
            for name in where.bindings:
                if name not in seen and where.kind != "class":
                    found = names.meaning(scope, name)
                    if found is not None and any(
                        binding.kind == "import" and self._precedes(binding.statement, at)
                        for binding in where.bindings[name]
                    ):
                        seen[name] = canonical(found)
            if where.parent is None:
                break
            where = where.parent
        for length in range(len(parts), 0, -1):
            prefix = ".".join(parts[:length])
            for name, meaning in seen.items():
                if meaning == canonical(prefix):
                    return ".".join([name, *parts[length:]]), ()
        if names.meaning(scope, parts[0]) is not None or scope.find(parts[0]):
            return None
        change = self.add_import(f"import {parts[0]}", at)
        return None if change is None else (qualified, change)

    def add_import(self, line: str, at: ast.AST) -> Changes | None:
        """Add an import where the code at `at` sees it: at the top, or in its notebook cell.

        It goes after the docstring, `__future__` imports and the other imports that stand there.
        """
        block = self._import_block(at)
        if not block:
            return None
        anchor: ast.stmt | None = None
        for index, statement in enumerate(block):
            docstring = (
                index == 0 and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            )
            if not docstring and not isinstance(statement, (ast.Import, ast.ImportFrom)):
                break
            anchor = statement
        if anchor is None:
            return self.insert_before(block[0], line)
        return self.insert_after(anchor, line)

    def fresh(self, base: str) -> str:
        """A name near `base` that nothing in the file binds or mentions."""
        name, number = base, 2
        while re.search(rf"\b{re.escape(name)}\b", self.text):
            name = f"{base}_{number}"
            number += 1
        return name

    # Inside

    def _table(self) -> dict[ast.AST, Seat]:
        if self._seats is None:
            self._seats = {}
            stack: list[ast.AST] = [self.file.tree]
            while stack:
                holder = stack.pop()
                for owner, block in _suites(holder):
                    for index, item in enumerate(block):
                        self._seats[item] = Seat(owner, block, index)
                        stack.append(item)
        return self._seats

    def _around(self, statement: ast.stmt, span: Span) -> bool:
        return self._first(statement) <= span.start and span.end <= self.source.span(statement).end

    def _first(self, statement: ast.stmt) -> int:
        """Where the statement begins, decorators included."""
        if isinstance(statement, _Definition) and statement.decorator_list:
            start = self.source.span(statement.decorator_list[0]).start
            return self.text.rindex("@", 0, start)
        return self.source.span(statement).start

    def _line(self, offset: int) -> int:
        """The offset at which the line of `offset` begins."""
        starts = self.source.line_starts
        return starts[bisect_right(starts, offset) - 1]

    def _after(self, offset: int) -> int:
        """The offset at which the line after that of `offset` begins."""
        starts = self.source.line_starts
        following = bisect_right(starts, offset)
        return starts[following] if following < len(starts) else len(self.text)

    def _indented(self, lines: Iterable[str], indentation: str) -> str:
        return "".join(f"{indentation}{line}{self.newline}" if line else self.newline for line in lines)

    def _move(self, statement: ast.stmt, target: ast.stmt, *, after: bool) -> Changes | None:
        return self.move_many([statement], target, after=after)

    def _argument(self, argument: ast.expr | ast.keyword) -> Span:
        return self.source.span(argument)

    def _opening(self, call: ast.Call) -> int | None:
        """The parenthesis that opens the arguments."""
        start = self.source.span(call.func).end
        found = re.compile(r"(?:[\s)\\]|#[^\n]*\n)*\(").match(self.text, start)
        return found.end() - 1 if found else None

    def _bare_generator(self, call: ast.Call) -> bool:
        """`f(x for x in y)`: the generator shares the parentheses of the call."""
        if len(call.args) != 1 or call.keywords or not isinstance(call.args[0], ast.GeneratorExp):
            return False
        return self.source.span(call.args[0]).start == self._opening(call)

    def _skip_closing(self, end: int, limit: int) -> int:
        """Past the parentheses that close around an argument."""
        found = re.compile(r"(?:\s*\))+").match(self.text, end, limit)
        return found.end() if found else end

    def _string_lines(self, statements: Sequence[ast.stmt]) -> set[int]:
        """Offsets of the lines that begin inside a string."""
        inside: set[int] = set()
        stack: list[ast.AST] = list(statements)
        while stack:
            node = stack.pop()
            text = isinstance(node, ast.JoinedStr) or (
                isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
            )
            if text and node.lineno != node.end_lineno:  # type: ignore[attr-defined]
                rows = range(node.lineno, node.end_lineno)  # type: ignore[attr-defined]
                inside.update(self.source.line_starts[row] for row in rows)
            if not isinstance(node, ast.JoinedStr):
                stack.extend(ast.iter_child_nodes(node))
        return inside

    def _precedes(self, statement: ast.AST, at: ast.AST) -> bool:
        return self.source.span(statement).start <= self.source.span(at).start

    def _import_block(self, at: ast.AST) -> list[ast.stmt]:
        """The statements among which an import for `at` belongs: the file, or its notebook cell."""
        names = self.file.get(Names)
        assert names is not None
        statement = self.statement(at)
        for parent in self.parents(statement) if statement is not None else ():
            scope = names.scopes.get(parent)
            if scope is not None and scope.kind == "cell":
                body: list[ast.stmt] = getattr(parent, "body", [])
                return body
        if len(self.source.blocks) > 1:
            offset = self.source.span(at).start
            for block in self.source.blocks:
                if block.start <= offset < block.end:
                    spans = ((item, self.source.span(item).start) for item in self.file.tree.body)
                    return [item for item, start in spans if block.start <= start < block.end]
        return self.file.tree.body


def _suites(node: ast.AST) -> Iterator[tuple[ast.AST, list[ast.stmt]]]:
    """The suites of a statement: each with the node it belongs to, in file order."""
    body = getattr(node, "body", None)
    if isinstance(body, list):
        yield node, body
    for handler in getattr(node, "handlers", ()):
        yield node, handler.body
    for case in getattr(node, "cases", ()):
        yield node, case.body
    for field in ("orelse", "finalbody"):
        block = getattr(node, field, None)
        if isinstance(block, list) and block:
            yield node, block
