"""A notebook again and again, each time made to take one of its branches.

A run takes one branch of an `if`, a `match` or a `try`, and shows nothing of the others. Here a test is
still evaluated and its answer then overruled, a case is entered whatever the subject is, a handler is
reached by raising what it catches. A fix adds no branch, so that the same one before and after it has the
same number.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator

from ..parsing import BeyondLimit, Broken, tree_of
from ..reader import decode
from ..source import Source

Edit = tuple[int, int, str]
Way = tuple[str, list[ast.stmt], list[Edit]]
"""A name, the statements of a branch, and what leads there."""


def forced(path: str, text: str, only: Container[str] | None = None) -> dict[str, str]:
    """From the name of each branch that ends by showing something to the text that takes it.

    `only` asks for branches by their names instead. Empty where the notebook does not parse.
    """
    source = decode(path, text.encode("utf-8"))
    try:
        tree = tree_of(source)
    except (Broken, BeyondLimit):
        return {}
    found = {}
    for number, (label, body, edits) in enumerate(_ways(source, tree, [], set()), 1):
        name = f"branch {number} ({label})"
        if name in only if only is not None else _shows(body):
            found[name] = _applied(source.text, edits)
    return found


def _ways(source: Source, node: ast.AST, edits: list[Edit], taken: set[int]) -> Iterator[Way]:
    """Every branch below a node, in order, with all edits that lead there; `taken` are their statements."""
    if isinstance(node, ast.stmt):
        for label, body, own in _branches(source, node):
            taken.update(map(id, body))
            yield label, body, [*edits, *own]
            for statement in body:
                yield from _ways(source, statement, [*edits, *own], taken)
    for child in ast.iter_child_nodes(node):
        if id(child) not in taken:
            yield from _ways(source, child, edits, taken)


def _branches(source: Source, node: ast.stmt) -> Iterator[Way]:
    """(name, statements, edits that lead there) of each branch of a statement."""
    match node:
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return
        case ast.If(test=test, body=body, orelse=orelse):
            start, end = source.span(test)
            asked = source.text[start:end]
            for label, part, answer in (("if", body, True), ("else", orelse, False)):
                yield label, part, [(start, end, f"(({asked}), {answer})[1]")]
        case ast.Match(cases=cases):
            for index, case in enumerate(cases, 1):
                if any(_binds(part) for part in ast.walk(case.pattern)):
                    continue
                edits = [_guarded(source, other, source_of(source, other.pattern), False)
                         for other in cases[: index - 1]]  # fmt: skip
                yield f"case {index}", case.body, [*edits, _guarded(source, case, "_", True)]
        case ast.Try(body=body, handlers=handlers):
            start, _ = source.span(body[0])
            row = source.row(start)
            indent = source.text[source.line_starts[row - 1] : start]
            yield "try", body, []
            for index, handler in enumerate(handlers, 1):
                raised = handler.type.elts[0] if isinstance(handler.type, ast.Tuple) else handler.type
                name = "Exception" if raised is None else source_of(source, raised)
                if not indent.strip():
                    yield f"except {index}", handler.body, [(start, start, f"raise {name}\n{indent}")]


def _guarded(source: Source, case: ast.match_case, pattern: str, answer: bool) -> Edit:
    """A case whose guard is this answer."""
    start, end = source.span(case.pattern)
    if case.guard is not None:
        _, end = source.span(case.guard)
    return start, end, f"{pattern} if {answer}"


def _binds(pattern: ast.AST) -> bool:
    """Whether a pattern binds a name, which nothing would bind were the case entered anyhow."""
    names = (getattr(pattern, name, None) for name in ("name", "rest"))
    return isinstance(pattern, ast.pattern) and any(name is not None for name in names)


def source_of(source: Source, node: ast.AST) -> str:
    """The text of a node."""
    start, end = source.span(node)
    return source.text[start:end]


def _shows(body: list[ast.stmt]) -> bool:
    """Whether the branch ends with a value."""
    match body:
        case [*_, ast.Expr(value=ast.Constant())]:
            return False
        case [*_, ast.Expr()]:
            return True
    return False


def _applied(text: str, edits: list[Edit]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text
