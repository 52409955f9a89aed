"""The concrete syntax of a file: LibCST's tree, guarded, walked once, and tied to the `ast`.

Nothing is parsed before the first question is asked, and nothing is asked before a rule has a
candidate: LibCST costs twelve times what `ast` costs. Who asks for the node at a place gets that of the
top-level statement which holds it, parsed alone; who asks for all nodes gets those of the file. Positions
are worked out one top-level statement at a time, from LibCST's own code generator, and anchored at the
statement's place in the `ast`; so they are code points into `Source.text` whatever the line ends, tabs or
alphabets, also in the blocks of Markdown and Jupyter notebooks.
"""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..file import File
from ..rule import Place
from ..source import Block, Span

if TYPE_CHECKING:
    import libcst

    Node = TypeVar("Node", bound=libcst.CSTNode)

MAX_BYTES = 1_000_000
MAX_DEPTH = 400
MAX_ELEMENTS = 20_000
_PRUNED = frozenset(
    {
        "lpar",
        "rpar",
        "lbracket",
        "rbracket",
        "lbrace",
        "rbrace",
        "leading_lines",
        "lines_after_decorators",
        "header",
        "footer",
        "trailing_whitespace",
        "comma",
        "semicolon",
        "colon",
        "dot",
        "equal",
        "arrow",
        "star",
        "indent",
        "default_indent",
        "default_newline",
        "encoding",
        "has_trailing_newline",
        "lines_after_module_docstring",
    }
)


def limit(tree: ast.Module, size: int) -> str | None:
    """What about this tree would make LibCST slow or crash; None if nothing does.

    LibCST's parser takes time that grows with the square of a chain's length, and dies without an
    exception on deep nesting, so the guard measures the `ast` first. `size` is in bytes.
    """
    if size > MAX_BYTES:
        return f"the file has {size} bytes, more than {MAX_BYTES}"
    stack: list[tuple[ast.AST, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            line = getattr(node, "lineno", "?")
            return f"the code at line {line} is nested or chained more than {MAX_DEPTH} deep"
        children = list(ast.iter_child_nodes(node))
        if len(children) > MAX_ELEMENTS and not isinstance(node, ast.Module):
            line = getattr(node, "lineno", "?")
            return f"the literal at line {line} has more than {MAX_ELEMENTS} elements"
        depth += 1
        stack += [(child, depth) for child in children]
    return None


class Cst:
    """LibCST's nodes of one file: by type, with parents and spans, and the node at an `ast` node.

    Where the file cannot be parsed within the limits there are no nodes, and `reason` says why.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        self._parsed = False
        self._reason: str | None = None
        self._modules: list[tuple[Block, libcst.Module]] = []
        self._index: dict[type, list[libcst.CSTNode]] = {}
        self._parents: dict[libcst.CSTNode, libcst.CSTNode] = {}
        self._anchors: dict[libcst.CSTNode, ast.stmt] = {}
        self._tops: list[tuple[Span, libcst.CSTNode]] = []
        self._spans: dict[libcst.CSTNode, Span] = {}
        self._by_span: dict[Span, list[libcst.CSTNode]] = {}
        self._measured: set[libcst.CSTNode] = set()
        self._module_of: dict[libcst.CSTNode, libcst.Module] = {}
        self._roots: set[libcst.CSTNode] = set()
        """Modules that hold one statement of the file."""
        self._apart: dict[ast.stmt, bool] = {}
        """The top-level statements that were parsed alone, and whether that could be done."""
        self._firsts: list[int] = []
        """Where each top-level statement begins, decorators included."""

    @classmethod
    def of(cls, file: File) -> Self:
        """The concrete syntax of `file`; costs nothing until it is used."""
        return cls(file)

    @property
    def reason(self) -> str | None:
        """Why there are no nodes, or None."""
        self._parse()
        return self._reason

    @property
    def modules(self) -> list[libcst.Module]:
        """One module for each block of code: one in a `.py` file."""
        self._parse()
        return [module for _, module in self._modules]

    def nodes(self, *types: type[Node]) -> Iterator[Node]:
        """All nodes of exactly these types, type by type in file order."""
        self._parse()
        for type_ in types:
            yield from self._index.get(type_, ())  # type: ignore[misc]

    def parent(self, node: libcst.CSTNode) -> libcst.CSTNode | None:
        """The node that holds `node`; None for a module."""
        found = self._parents.get(node)
        if found is None and node not in self._roots:
            self._parse()
            found = self._parents.get(node)
        return found

    def span(self, node: libcst.CSTNode) -> Span | None:
        """Where a node stands, without the white space, comments and parentheses around it."""
        if node not in self._spans:
            if node not in self._parents:
                self._parse()
            top = node
            while top in self._parents and top not in self._anchors:
                top = self._parents[top]
            self._measure(top)
        return self._spans.get(node)

    def place(self, node: libcst.CSTNode) -> Place | None:
        """The place of a node, for findings."""
        span = self.span(node)
        return None if span is None else Place(self.file.source, *span)

    def at(self, where: ast.AST | Span) -> libcst.CSTNode | None:
        """The concrete node of an `ast` node; for a span, the outermost node that covers exactly it."""
        span = where if isinstance(where, Span) else self.file.source.span(where)
        if not self._parsed and not self._parse_around(span):
            self._parse()
        for top, node in self._tops:
            if top.start <= span.start and span.end <= top.end:
                self._measure(node)
        found = self._by_span.get(span, [])
        if isinstance(where, Span):
            return found[0] if found else None
        wanted = _counterparts(where)
        return next((node for node in found if isinstance(node, wanted)), None)

    def code(self, node: libcst.CSTNode) -> str:
        """The source text of a node, without what surrounds it."""
        span = self.span(node)
        return "" if span is None else self.file.source.text[span.start : span.end]

    def _parse(self) -> None:
        if self._parsed:
            return
        self._parsed = True
        self._tops, self._by_span = [], {}
        source = self.file.source
        self._reason = limit(self.file.tree, len(source.raw))
        if self._reason is not None:
            self.file.why(Span(0, 0), f"no concrete syntax: {self._reason}")
            return
        import libcst

        for block in source.blocks:
            text = source.text[block.start : block.end]
            try:
                module = libcst.parse_module(text)
                intact = module.code == text
            except (libcst.ParserSyntaxError, SyntaxError, UnicodeError, RecursionError) as error:
                self._reason = f"LibCST cannot parse it: {type(error).__name__}"
                continue
            if not intact:
                self._reason = "LibCST does not reproduce it"
                continue
            self._modules.append((block, module))
            self._walk(module, self._index)
            self._anchor(block.start, block.end, module)
        if self._reason is not None:
            self.file.why(Span(0, 0), f"no concrete syntax: {self._reason}")

    def _parse_around(self, span: Span) -> bool:
        """Parse the top-level statement that holds a place; False where only the whole file will do."""
        source, body = self.file.source, self.file.tree.body
        if len(source.raw) > MAX_BYTES:
            return False
        if not self._firsts:
            self._firsts = [self._first(statement) for statement in body]
        at = bisect_right(self._firsts, span.start) - 1
        if at < 0 or span.end > source.span(body[at]).end:
            return False
        statement = body[at]
        if statement not in self._apart:
            self._apart[statement] = self._parse_apart(at)
        return self._apart[statement]

    def _first(self, statement: ast.stmt) -> int:
        """Where the line begins on which a statement, or the first of its decorators, begins."""
        rows = [statement.lineno, *(node.lineno for node in getattr(statement, "decorator_list", ()))]
        start: int = self.file.source.line_starts[min(rows) - 1]
        return start

    def _parse_apart(self, at: int) -> bool:
        """Parse one top-level statement with the lines up to the next one."""
        source, statement, start = self.file.source, self.file.tree.body[at], self._firsts[at]
        block = next((block for block in source.blocks if block.start <= start < block.end), None)
        following = self._firsts[at + 1] if at + 1 < len(self._firsts) else block.end if block else 0
        before = self._firsts[at - 1] if at else -1
        if block is None or before == start or following < source.span(statement).end:
            return False  # it shares a line with another one
        end = min(following, block.end)
        # What stands between it and the next statement belongs to that: here a `pass` is there for it.
        text = source.text[start:end] + ("pass" if end < block.end else "")
        if not text or text[0].isspace() or limit(ast.Module([statement], []), 0) is not None:
            return False
        import libcst

        try:
            module = libcst.parse_module(text)
            if module.code != text:
                return False
        except (libcst.ParserSyntaxError, SyntaxError, UnicodeError, RecursionError):
            return False
        self._roots.add(module)
        self._walk(module, {})
        self._anchor(start, end, module)
        return True

    def _walk(self, module: libcst.Module, index: dict[type, list[libcst.CSTNode]]) -> None:
        fields = _FIELDS
        stack: list[libcst.CSTNode] = [module]
        while stack:
            node = stack.pop()
            type_ = node.__class__
            index.setdefault(type_, []).append(node)
            names = fields.get(type_)
            if names is None:
                names = fields[type_] = tuple(
                    name for name in reversed(list(type_.__dataclass_fields__)) if not _is_pruned(name)
                )
            for name in names:
                value = getattr(node, name)
                if value.__class__ is tuple or value.__class__ is list:
                    for item in reversed(value):
                        self._parents[item] = node
                        stack.append(item)
                elif hasattr(value, "_codegen_impl"):
                    self._parents[value] = node
                    stack.append(value)

    def _anchor(self, start: int, end: int, module: libcst.Module) -> None:
        """Tie each top-level statement to the same one in the `ast`, of those between two places."""
        source = self.file.source
        statements = [
            (span, item)
            for item in self.file.tree.body
            if start <= (span := source.span(item)).start < max(end, start + 1)
        ]
        position = 0
        for node in module.body:
            small = getattr(node, "body", ()) if type(node).__name__ == "SimpleStatementLine" else (node,)
            count = len(small)
            if position + count > len(statements):
                return
            first, last = statements[position], statements[position + count - 1]
            begin = first[0].start
            for decorator in getattr(first[1], "decorator_list", ()):
                begin = min(begin, source.span(decorator).start)
            self._anchors[node] = first[1]
            self._module_of[node] = module
            self._tops.append((Span(begin, last[0].end), node))
            position += count

    def _measure(self, top: libcst.CSTNode) -> None:
        """Work out the spans of everything in a top-level statement."""
        statement = self._anchors.get(top)
        if statement is None or top in self._measured:
            return
        self._measured.add(top)
        try:
            spans = _spans(self._module_of[top], top)
        except (RecursionError, KeyError):
            self.file.why(statement, "too deeply nested to work out positions")
            return
        shift = self.file.source.span(statement).start - spans[top][0]
        for node, (start, end) in spans.items():
            span = self._spans[node] = Span(start + shift, end + shift)
            self._by_span.setdefault(span, []).append(node)
        for nodes in self._by_span.values():
            if len(nodes) > 1:
                nodes.sort(key=self._depth)

    def _depth(self, node: libcst.CSTNode) -> int:
        depth = 0
        while node in self._parents:
            node = self._parents[node]
            depth += 1
        return depth


_FIELDS: dict[type, tuple[str, ...]] = {}


def _is_pruned(name: str) -> bool:
    return name in _PRUNED or name.startswith(("whitespace", "_"))


def _counterparts(node: ast.AST) -> tuple[type, ...]:
    import libcst as cst

    if isinstance(node, ast.expr):
        return (cst.BaseExpression, cst.FormattedStringExpression)
    if isinstance(node, ast.stmt):
        return (cst.BaseSmallStatement, cst.BaseCompoundStatement)
    kinds: dict[type, tuple[type, ...]] = {
        ast.keyword: (cst.Arg,),
        ast.arg: (cst.Param,),
        ast.alias: (cst.ImportAlias,),
        ast.ExceptHandler: (cst.ExceptHandler, cst.ExceptStarHandler),
    }
    return kinds.get(type(node), (cst.CSTNode,))


def _spans(module: libcst.Module, top: libcst.CSTNode) -> dict[Any, tuple[int, int]]:
    """Offsets of every node below `top`, counted from where its leading lines begin."""
    from libcst._nodes.internal import CodegenState

    class Measure(CodegenState):
        """LibCST's code generator, which counts instead of writing."""

        def __init__(self) -> None:
            super().__init__(default_indent=module.default_indent, default_newline=module.default_newline)
            self.position = 0
            self.begun: list[int] = []
            self.spans: dict[Any, tuple[int, int]] = {}

        def add_indent_tokens(self) -> None:
            self.position += sum(map(len, self.indent_tokens))

        def add_token(self, value: str) -> None:
            self.position += len(value)

        def before_codegen(self, node: libcst.CSTNode) -> None:
            self.begun.append(self.position)

        def after_codegen(self, node: libcst.CSTNode) -> None:
            self.spans.setdefault(node, (self.begun.pop(), self.position))

        @contextmanager
        def record_syntactic_position(
            self,
            node: libcst.CSTNode,
            *,
            start_node: libcst.CSTNode | None = None,
            end_node: libcst.CSTNode | None = None,
        ) -> Iterator[None]:
            start = self.position
            yield
            end = self.position
            if start_node is not None:
                start = self.spans[start_node][0]
            if end_node is not None:
                end = self.spans[end_node][1]
            self.spans[node] = (start, end)

    state = Measure()
    top._codegen(state)
    return state.spans
