"""Syntax newer than the running Python, rewritten at equal offsets so that its `ast` can read it.

LibCST knows the newer grammar. What `ast` would reject is blanked or respelled without moving
anything: type parameters vanish, `type X = Y` becomes an assignment, quotes inside f-strings
alternate. What cannot be respelled makes the file a syntax error, as it is for this Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MAX_TEXT = 1_000_000
MAX_DEPTH = 100
MAX_CHAIN = 300


def downgrade(text: str) -> str | None:
    """The text in older syntax, every kept character at its old offset; None where LibCST rejects it too.

    Not all can be respelled: the result may still be a syntax error.
    """
    if len(text) > MAX_TEXT or "\0" in text or not _shallow(text):
        return None
    import libcst as cst
    from libcst.metadata import MetadataWrapper, PositionProvider

    try:
        module = cst.parse_module(text)
        wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
        positions = wrapper.resolve(PositionProvider)
    except (cst.ParserSyntaxError, SyntaxError, UnicodeError, RecursionError, KeyError, ValueError):
        return None
    starts = _line_starts(text)
    chars = list(text)

    def span(node: Any) -> tuple[int, int]:
        where = positions[node]
        return (
            starts[where.start.line - 1] + where.start.column,
            starts[where.end.line - 1] + where.end.column,
        )

    pending: list[Any] = [module]
    while pending:
        node = pending.pop()
        pending.extend(node.children)
        for start, end, content in _changes(cst, node, span, text):
            chars[start:end] = content
    changed = "".join(chars)
    return changed if len(changed) == len(text) else None


def _changes(cst: Any, node: Any, span: Any, text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, what of the same length stands there instead)."""
    match node:
        case cst.TypeAlias(type_parameters=parameters):
            start = span(node)[0]
            yield start, start + 5, "pass;"
            if parameters is not None:
                yield from _blank(text, *span(parameters))
        case cst.FunctionDef(type_parameters=parameters) | cst.ClassDef(type_parameters=parameters):
            if parameters is not None:
                yield from _blank(text, *span(parameters))
        case (
            cst.ExceptHandler(type=cst.Tuple(lpar=(), elements=elements))
            | cst.ExceptStarHandler(type=cst.Tuple(lpar=(), elements=elements))
        ):
            yield from _blank(text, span(elements[0].value)[1], span(node.type)[1])
        case cst.FormattedString() | cst.TemplatedString():
            start, _ = span(node)
            prefix = node.start.rstrip("\"'")
            if "t" in prefix.lower():
                yield start, start + len(prefix), prefix.replace("t", "f").replace("T", "F")
            quote = node.start[-1]
            other = "'" if quote == '"' else '"'
            for part in node.parts:
                if isinstance(part, (cst.FormattedStringExpression, cst.TemplatedStringExpression)):
                    first, last = span(part.expression)
                    inner = text[first:last]
                    if quote in inner and other not in inner and "\\" not in inner:
                        yield first, last, inner.replace(quote, other)


def _blank(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    if "\n" not in text[start:end]:
        yield start, end, " " * (end - start)


def _shallow(text: str) -> bool:
    """Whether LibCST can be trusted with the text: it dies on deep nesting and stalls on long chains."""
    depth = deepest = 0
    for char in text:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth = max(depth - 1, 0)
    return deepest <= MAX_DEPTH and not any(
        line.count(".") + line.count("(") > MAX_CHAIN for line in text.split("\n")
    )


def _line_starts(text: str) -> list[int]:
    from .source import Source

    return Source("", text).line_starts
