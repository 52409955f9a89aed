"""Changes made from LibCST's nodes: what keeps commas, parentheses, comments and line breaks as they are.

`Concrete` is to concrete syntax what `Edits` is to text. A rule finds its candidates on the `ast` and
asks here only for the fix; LibCST is not even imported before the first question. Where `Cst` has no
nodes (a limit is met, or LibCST refuses the file) every answer is None: the finding stays, without a fix.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from ..file import File
from ..rule import Edit
from ..source import Span
from .cst import Cst

if TYPE_CHECKING:
    import libcst

Changes = tuple[Edit, ...]


class Concrete:
    """Changes of calls, imports, comparisons and suites, from the concrete nodes of one file."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.text = file.source.text

    @classmethod
    def of(cls, file: File) -> Self:
        """The changes of `file`; costs nothing until one is asked for."""
        return cls(file)

    # Arguments

    def first_argument(self, call: ast.Call, text: str) -> Changes | None:
        """Put an argument before all others, behind a comment that stands after the parenthesis."""
        node = self._call(call)
        if node is None:
            return None
        if node.args:
            argument = self._span(node.args[0])
            bare = type(node.args[0].value).__name__ == "GeneratorExp" and not node.args[0].value.lpar
            return None if argument is None or bare else (_insert(argument.start, f"{text}, "),)
        inside, whole = self._span(node.whitespace_before_args), self._span(node)
        closing = whole.end - 1 if whole is not None else 0
        if type(node.whitespace_before_args).__name__ == "SimpleWhitespace":
            return (_insert(closing, text),)
        opening = inside.start if inside is not None else 0
        return (_insert(opening, text),) if self.text[opening - 1 : opening] == "(" else None

    def before_argument(self, call: ast.Call, argument: ast.expr, text: str) -> Changes | None:
        """Put text before a positional argument, outside its own parentheses."""
        span = self._argument_span(call, argument)
        return None if span is None else (_insert(span.start, text),)

    def after_argument(self, call: ast.Call, argument: ast.expr, text: str) -> Changes | None:
        """Put text after an argument's value, outside its own parentheses."""
        span = self._argument_span(call, argument)
        return None if span is None else (_insert(span.end, text),)

    def name_argument(self, call: ast.Call, argument: ast.expr, keyword: str) -> Changes | None:
        """Pass a positional argument by keyword; a bare `x := y` gets the parentheses that it then needs."""
        found = self._argument(call, argument)
        span = self._span(found) if found is not None else None
        if found is None or span is None or found.star or found.keyword is not None:
            return None
        if type(found.value).__name__ == "NamedExpr" and not found.value.lpar:
            return (_insert(span.start, f"{keyword}=("), _insert(span.end, ")"))
        return (_insert(span.start, f"{keyword}="),)

    def remove_argument(self, call: ast.Call, argument: ast.expr | ast.keyword) -> Changes | None:
        """Remove an argument with its comma, and its lines where it has them for itself.

        Comments on lines of their own stay; None where a comment stands beside the argument.
        """
        node, found = self._call(call), self._argument(call, argument)
        if node is None or found is None:
            return None
        index = list(node.args).index(found)
        before = node.args[index - 1] if index else None
        span, comma = self._span(found), self._comma(found)
        separator = self._comma(before) if before is not None else None
        if span is None or (before is not None and separator is None):
            return None
        leading = before.comma.whitespace_after if before is not None else node.whitespace_before_args  # type: ignore[union-attr]
        trailing = found.comma.whitespace_after if comma is not None else found.whitespace_after_arg  # type: ignore[union-attr]
        end = comma.end if comma is not None else span.end
        if "#" in self.text[span.end : end]:
            return None
        if _breaks(trailing) and trailing.first_line.comment is not None:  # type: ignore[union-attr]
            return None
        if _breaks(leading) and _breaks(trailing):
            return (Edit(self._line(span.start), self._line_after(end), ""),)
        if index + 1 < len(node.args) and not _breaks(trailing):
            following = self._span(node.args[index + 1])
            return None if following is None else (Edit(span.start, following.start, ""),)
        if before is not None:
            previous = self._span(before)
            if previous is None or "#" in self.text[previous.end : span.start]:
                return None
            return (Edit(previous.end, span.end, ""),)
        return (Edit(span.start, end, ""),)

    def peel(self, call: ast.Call, kept: ast.expr) -> Changes | None:
        """Replace a call by a part of it, with that part's parentheses; None if a comment would be lost."""
        whole, inner = self._full(call), self._full(kept)
        if whole is None or inner is None:
            return None
        if "#" in self.text[whole.start : inner.start] + self.text[inner.end : whole.end]:
            return None
        return (Edit(whole.start, inner.start, ""), Edit(inner.end, whole.end, ""))

    # Names and imports

    def rename(self, chain: ast.expr, text: str) -> Changes | None:
        """Replace a dotted name, however it is broken over lines; None if it holds a comment."""
        node = self._at(chain)
        span = self._span(node) if node is not None else None
        if span is None or "#" in self.text[span.start : span.end]:
            return None
        return (Edit(*span, text),)

    def after(self, chain: ast.expr, text: str) -> Changes | None:
        """Put text directly behind an expression, inside its parentheses."""
        node = self._at(chain)
        span = self._span(node) if node is not None else None
        return None if span is None else (_insert(span.end, text),)

    def attribute(self, node: ast.Attribute, name: str) -> Changes | None:
        """Change the last name of a chain, and nothing before it."""
        found = self._at(node)
        span = self._span(found.attr) if found is not None and hasattr(found, "attr") else None
        return None if span is None else (Edit(*span, name),)

    def imported_from(self, statement: ast.ImportFrom, module: str) -> Changes | None:
        """Change the module of a `from` import; its names, their comments and parentheses stay."""
        found = self._at(statement)
        if type(found).__name__ != "ImportFrom" or found.module is None or found.relative:
            return None
        span = self._span(found.module)
        return None if span is None else (Edit(*span, module),)

    def imported(self, alias: ast.alias, module: str) -> Changes | None:
        """Change what one part of `import a.b as c, d` imports; its `as` stays."""
        found = self._at(alias)
        span = self._span(found.name) if type(found).__name__ == "ImportAlias" else None
        return None if span is None else (Edit(*span, module),)

    # Statements

    def assignment_to_call(self, statement: ast.Assign, method: str) -> Changes | None:
        """`x.name = value` becomes `x.method(value)`; parentheses around the value become the call's."""
        found = self._at(statement)
        if type(found).__name__ != "Assign" or len(found.targets) != 1:
            return None
        return self._called(found.targets[0].target, found.value, method)

    def comparison_to_call(self, compare: ast.Compare, method: str) -> Changes | None:
        """`x.name == value` becomes `x.method(value)`."""
        found = self._at(compare)
        if type(found).__name__ != "Comparison" or len(found.comparisons) != 1:
            return None
        return self._called(found.left, found.comparisons[0].comparator, method)

    def comparison_to_assignment(self, compare: ast.Compare, name: str) -> Changes | None:
        """`x.attr == value` becomes `x.name = value`; parentheses around it, which could not stay, go."""
        found = self._at(compare)
        if type(found).__name__ != "Comparison" or len(found.comparisons) != 1:
            return None
        left, right = found.left, found.comparisons[0].comparator
        one, other = self._whole(left), self._whole(right)
        inner, whole = self._span(found), self._whole(found)
        attribute = self._span(left.attr) if type(left).__name__ == "Attribute" else None
        if one is None or other is None or inner is None or whole is None or attribute is None:
            return None
        lost = self.text[whole.start : one.start] + self.text[one.end : other.start]
        if "#" in lost + self.text[other.end : whole.end]:
            return None
        kept = self.text[one.start : one.end] + self.text[other.start : other.end]
        if found.lpar and not (left.lpar or right.lpar) and "\n" in kept:
            return None  # the parentheses hold the lines together
        changes: Changes = (Edit(*attribute, name), Edit(one.end, other.start, " = "))
        if whole != inner:
            changes = (Edit(whole.start, inner.start, ""), *changes, Edit(inner.end, whole.end, ""))
        return changes

    def dedent_tail(
        self, compound: ast.With | ast.AsyncWith, first: ast.stmt, inner: str, outer: str
    ) -> Changes | None:
        """Move the statements from `first` to the end of a `with` behind it, comments and all.

        `inner` and `outer` are the white space before the body's and before the compound's lines.
        LibCST writes them anew at the other indentation, so that strings and continued lines are
        right; what it writes at the old one must be the text that stands there.
        """
        found = self._at(compound)
        if type(found).__name__ != "With" or type(found.body).__name__ != "IndentedBlock":
            return None
        start = self.file.source.span(first).start
        spans = [self._span(item) for item in found.body.body]
        index = next((at for at, span in enumerate(spans) if span is not None and span.start == start), None)
        if not index:  # not the first of its line, or nothing would be left in the region
            return None
        before = spans[index - 1]
        if before is None:
            return None
        moved = [*found.body.body[index:], *found.body.footer]
        module = self._module(found)
        old, new = _written(module, moved, inner), _written(module, moved, outer)
        begin = self._line(start) - len(_written(module, moved[0].leading_lines, inner))
        here = self.text[begin : begin + len(old)]
        if here == old:
            return (Edit(begin, begin + len(old), new),)
        newline = module.default_newline
        if here + newline == old and begin + len(here) == len(self.text):
            return (Edit(begin, len(self.text), new.removesuffix(newline)),)
        return None

    # Inside

    def _cst(self) -> Cst:
        found = self.file.get(Cst)
        assert found is not None
        return found

    def _at(self, node: ast.AST) -> Any:
        return self._cst().at(node)

    def _span(self, node: Any) -> Span | None:
        return self._cst().span(node)

    def _whole(self, node: Any) -> Span | None:
        """The span of an expression with its parentheses."""
        span = self._span(node)
        if span is None or not node.lpar:
            return span
        first, last = self._span(node.lpar[0]), self._span(node.rpar[-1])
        return None if first is None or last is None else Span(first.start, last.end)

    def _full(self, node: ast.expr) -> Span | None:
        found = self._at(node)
        return None if found is None else self._whole(found)

    def _call(self, call: ast.Call) -> libcst.Call | None:
        found = self._at(call)
        return found if type(found).__name__ == "Call" else None

    def _argument(self, call: ast.Call, argument: ast.expr | ast.keyword) -> libcst.Arg | None:
        node, start = self._call(call), self.file.source.span(argument).start
        for item in node.args if node is not None else ():
            span = self._span(item)
            if span is not None and span.start <= start < span.end:
                return item
        return None

    def _argument_span(self, call: ast.Call, argument: ast.expr) -> Span | None:
        found = self._argument(call, argument)
        return self._span(found) if found is not None else None

    def _comma(self, argument: libcst.Arg) -> Span | None:
        return self._span(argument.comma) if hasattr(argument.comma, "whitespace_after") else None

    def _called(self, target: Any, value: Any, method: str) -> Changes | None:
        one, other = self._whole(target), self._whole(value)
        attribute = self._span(target.attr) if type(target).__name__ == "Attribute" else None
        if one is None or other is None or attribute is None or "#" in self.text[one.end : other.start]:
            return None
        changes = (Edit(*attribute, method), Edit(one.end, other.start, "" if value.lpar else "("))
        return changes if value.lpar else (*changes, _insert(other.end, ")"))

    def _module(self, node: Any) -> libcst.Module:
        cst, parent = self._cst(), node
        while parent is not None:
            node, parent = parent, cst.parent(parent)
        module: libcst.Module = node
        return module

    def _line(self, offset: int) -> int:
        """Where the line of an offset begins."""
        return max(self.text.rfind("\n", 0, offset), self.text.rfind("\r", 0, offset)) + 1

    def _line_after(self, offset: int) -> int:
        """Where the line after that of an offset begins."""
        end = self.text.find("\n", offset)
        return len(self.text) if end < 0 else end + 1


def _insert(at: int, text: str) -> Edit:
    return Edit(at, at, text)


def _breaks(whitespace: Any) -> bool:
    """Whether white space between tokens holds a line break."""
    return type(whitespace).__name__ == "ParenthesizedWhitespace"


def _written(module: libcst.Module, nodes: Sequence[Any], indentation: str) -> str:
    """The code of statements and lines at an indentation."""
    from libcst._nodes.internal import CodegenState

    state = CodegenState(default_indent=module.default_indent, default_newline=module.default_newline)
    if indentation:
        state.increase_indent(indentation)
    for node in nodes:
        node._codegen(state)
    return "".join(state.tokens)
