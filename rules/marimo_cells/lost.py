"""DISPLAY expressions that marimo throws away, and the edits that bring them back."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import (
    Cell,
    Notebook,
    Shown,
    blocks_of,
    ends_with_semicolon,
    is_effect,
    is_private,
    tails,
    walk_statements,
)
from qalint.rule import Edit, Fix, Place

COMPOUND = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.Match,
)
LOOPS = (ast.For, ast.AsyncFor, ast.While)


class Lost(NamedTuple):
    """A bare expression whose value nobody sees. `shown` is None where its kind is unknown."""

    statement: ast.Expr
    what: str
    shown: Shown | None

    @property
    def needs_public_name(self) -> bool:
        """Whether a UI element inside it works only if the result has a public name."""
        return self.shown is not None and self.shown.lost_ui


def lost_tails(notebook: Notebook, cell: Cell) -> list[Lost]:
    """The DISPLAY expressions at the end of a path through the cell's last, compound statement."""
    return _once(notebook, "lost-tails", cell, _lost_tails)


def dropped(notebook: Notebook, cell: Cell) -> list[Lost]:
    """The DISPLAY expressions that are followed by other statements."""
    return _once(notebook, "dropped", cell, _dropped)


def _once(
    notebook: Notebook, name: str, cell: Cell, compute: Callable[[Notebook, Cell], list[Lost]]
) -> list[Lost]:
    table: dict[int, list[Lost]] = notebook.memo.setdefault(name, {})
    if cell.number not in table:
        table[cell.number] = compute(notebook, cell)
    return table[cell.number]


def _lost_tails(notebook: Notebook, cell: Cell) -> list[Lost]:
    last = cell.last
    if not isinstance(last, COMPOUND) or cell.kind not in ("cell", "setup"):
        return []
    display = notebook.display(cell)
    found = []
    attempts = _attempts(cell.body)
    branching = isinstance(last, ast.If | ast.Match | ast.Try | ast.TryStar)
    for tail in tails(last):
        if ends_with_semicolon(cell.source, tail) or _is_finally(last, tail):
            continue
        shown = display.of_statement(tail)
        if shown is not None and _is_attempt(shown, tail, attempts):
            continue
        if shown is not None:
            found.append(Lost(tail, shown.what, shown))
        elif branching and tail not in attempts and _is_value(notebook, cell, tail.value):
            found.append(Lost(tail, cell.source.segment(tail.value), None))
    return found


def _dropped(notebook: Notebook, cell: Cell) -> list[Lost]:
    if cell.kind not in ("cell", "setup") or not cell.body:
        return []
    last = cell.body[-1]
    if is_none(last):
        return []
    display = notebook.display(cell)
    ending = set(tails(last)) if isinstance(last, COMPOUND) else set()
    if isinstance(last, ast.Expr):
        ending.add(last)
    attempts = _attempts(cell.body)
    shown_names = _shown_names(cell)
    found = []
    for block in _suites(cell.body):
        for statement, following in zip(block, [*block[1:], None], strict=True):
            if not isinstance(statement, ast.Expr) or statement in ending or is_none(following):
                continue
            if ends_with_semicolon(cell.source, statement):
                continue
            shown = display.of_statement(statement)
            if shown is None or _is_attempt(shown, statement, attempts):
                continue
            names = _bare_names(statement.value)
            if names and not names <= cell.bound:
                continue  # naming another cell's value makes the cell run again with it
            if names and names <= shown_names:
                continue  # shown anyway, by the last expression
            found.append(Lost(statement, shown.what, shown))
    return found


def _attempts(body: list[ast.stmt]) -> set[ast.stmt]:
    """The statements that may stand there for their exception.

    They are in the body of a `try` with handlers, or under `pytest.raises(...)` and its like.
    """
    return {
        inner
        for statement in walk_statements(body)
        if isinstance(statement, ast.Try | ast.TryStar | ast.With) and _expects_failure(statement)
        for inner in walk_statements(statement.body)
    }


def _expects_failure(statement: ast.Try | ast.TryStar | ast.With) -> bool:
    if not isinstance(statement, ast.With):
        return bool(statement.handlers)
    for item in statement.items:
        match item.context_expr:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
                if name in ("raises", "suppress", "assertRaises", "warns"):
                    return True
    return False


def _is_attempt(shown: Shown, statement: ast.Expr, attempts: set[ast.stmt]) -> bool:
    """`try: df.pivot(...)`: a computation that may be there to fail, not to be seen."""
    return (
        statement in attempts and shown.kind in ("frame", "figure") and isinstance(statement.value, ast.Call)
    )


def _bare_names(value: ast.expr) -> set[str]:
    """The names that an expression of names alone may stand for: `x`, `x if test else None`."""
    match value:
        case ast.Name(id=name):
            return {name}
        case ast.IfExp(body=body, orelse=orelse):
            return _bare_names(body) | _bare_names(orelse)
    return set()


def _shown_names(cell: Cell) -> set[str]:
    last = cell.last
    if not isinstance(last, ast.Expr):
        return set()
    return {node.id for node in ast.walk(last) if isinstance(node, ast.Name)}


def _is_value(notebook: Notebook, cell: Cell, value: ast.expr) -> bool:
    """Whether the expression can only have been written to be seen."""
    match value:
        case ast.Name() | ast.JoinedStr() | ast.Subscript():
            return True
        case ast.Attribute():
            return notebook.marimo(cell, value) is None
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return bool(elements) and all(_is_value(notebook, cell, each) for each in elements)
    return False


def is_none(statement: ast.stmt | None) -> bool:
    """Whether the statement is a literal `None`, by which an author keeps a cell from showing anything."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and statement.value.value is None
    )


def _is_finally(statement: ast.stmt, tail: ast.Expr) -> bool:
    final = getattr(statement, "finalbody", [])
    return any(each is tail for each in walk_statements(final))


def _suites(body: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    yield body
    for statement in body:
        for block in blocks_of(statement):
            yield from _suites(block)


# Edits


def lift_tails(notebook: Notebook, cell: Cell, edits: Edits, lost: list[Lost]) -> Fix | None:
    """Give the tails one name, bound on every path, and show it last.

    What else the cell drops goes with them into one list, so that all is shown in its order.
    """
    compound = cell.last
    others = dropped(notebook, cell)
    if compound is None or any(not edits.alone(each.statement) for each in (*lost, *others)):
        return None
    if others:
        return _collect(notebook, cell, edits, [*others, *lost], None)
    name = output_name(notebook, cell, any(each.needs_public_name for each in lost))
    statements = {each.statement for each in lost}
    if _in_loops(compound, statements):
        return edits.unsafe(
            f"Collect them in `{name}` and show it last",
            edits.insert_before(compound, f"{name} = []"),
            *(_append(edits, name, each.statement) for each in lost),
            edits.insert_after(compound, _stack(notebook, cell, name)),
        )
    changes: list[tuple[Edit, ...] | None] = [_assign(edits, name, each.statement) for each in lost]
    if not _covers(compound, statements):
        changes.insert(0, edits.insert_before(compound, f"{name} = None"))
    return edits.unsafe(
        f"Assign to `{name}` in every branch and show it last",
        *changes,
        edits.insert_after(compound, name),
    )


def show_dropped(notebook: Notebook, cell: Cell, edits: Edits, lost: list[Lost]) -> Fix | None:
    """Move a single expression to the end, or join several (and what is shown already) in a stack."""
    last = cell.body[-1]
    if any(not edits.alone(each.statement) for each in lost) or not edits.alone(last):
        return None
    if any(_before_raise(cell, each.statement) for each in lost):
        return None  # a cell that raises shows its error and nothing else
    shows = isinstance(last, ast.Expr) and not cell.silenced and not is_effect(last.value)
    if isinstance(last, ast.Expr) and cell.silenced:
        return None
    top = [each for each in lost if each.statement in cell.body]
    if len(top) < len(lost):
        return _collect(notebook, cell, edits, lost, last if shows else None)
    if not shows and len(lost) == 1 and _movable(cell, lost[0].statement):
        return edits.unsafe("Move it to the end of the cell", edits.move_after(lost[0].statement, last))
    public = any(each.needs_public_name for each in lost)
    names: list[str] = []
    changes: list[tuple[Edit, ...] | None] = []
    for each in lost:
        value = each.statement.value
        if isinstance(value, ast.Name) and (not is_private(value.id) or not public):
            names.append(value.id)
            changes.append(edits.remove(each.statement))
            continue
        names.append(output_name(notebook, cell, each.needs_public_name, names))
        changes.append(_assign(edits, names[-1], each.statement))
    alias = notebook.alias_for(cell)
    if shows:
        opening = f"{alias}.vstack([" if alias else "["
        closing = "])" if alias else "]"
        changes.append(edits.wrap(last, opening + ", ".join(names) + ", ", closing))  # type: ignore[arg-type]
    elif len(names) == 1:
        changes.append(edits.insert_after(last, names[0]))
    else:
        changes.append(edits.insert_after(last, _stack(notebook, cell, *names)))
    return edits.unsafe("Show it together with the rest at the end of the cell", *changes)


def _before_raise(cell: Cell, statement: ast.Expr) -> bool:
    return any(
        statement in block and any(isinstance(each, ast.Raise) for each in block)
        for block in _suites(cell.body)
    )


def _collect(
    notebook: Notebook, cell: Cell, edits: Edits, lost: list[Lost], shown: ast.stmt | None
) -> Fix | None:
    name = output_name(notebook, cell, any(each.needs_public_name for each in lost))
    first = next(s for s in cell.body if any(each.statement in walk_statements([s]) for each in lost))
    changes = [edits.insert_before(first, f"{name} = []")]
    changes += [_append(edits, name, each.statement) for each in lost]
    if shown is None:
        changes.append(edits.insert_after(cell.body[-1], _stack(notebook, cell, name)))
    else:
        alias = notebook.alias_for(cell)
        opening, closing = (f"{alias}.vstack([*{name}, ", "])") if alias else (f"[*{name}, ", "]")
        changes.append(edits.wrap(shown, opening, closing))  # type: ignore[arg-type]
    return edits.unsafe(f"Collect them in `{name}` and show it last", *changes)


def output_name(notebook: Notebook, cell: Cell, public: bool, taken: list[str] | None = None) -> str:
    """A free name for what a cell shows: private, unless a UI element inside needs a public one."""
    used = notebook.all_names | set(taken or ())
    base = "output" if public else "_output"
    name, number = base, 2
    while name in used:
        name = f"{base}_{number}"
        number += 1
    return name


def _stack(notebook: Notebook, cell: Cell, *names: str) -> str:
    alias = notebook.alias_for(cell)
    items = names[0] if len(names) == 1 else "[" + ", ".join(names) + "]"
    return f"{alias}.vstack({items})" if alias else items


def _assign(edits: Edits, name: str, statement: ast.Expr) -> tuple[Edit, ...]:
    start, _ = edits.source.span(statement)
    return (Edit(start, start, f"{name} = "),)


def _append(edits: Edits, name: str, statement: ast.Expr) -> tuple[Edit, ...]:
    start, end = edits.source.span(statement)
    return (Edit(start, start, f"{name}.append("), Edit(end, end, ")"))


def _in_loops(compound: ast.stmt, statements: set[ast.Expr]) -> bool:
    loops = [each for each in walk_statements([compound]) if isinstance(each, LOOPS)]
    return any(inner in statements for loop in loops for inner in walk_statements([loop]))


def _covers(statement: ast.stmt, statements: set[ast.Expr]) -> bool:
    """Whether every path through `statement` ends in one of `statements`."""
    if isinstance(statement, ast.Expr):
        return statement in statements
    match statement:
        case ast.If(orelse=[]):
            return False
        case ast.If() | ast.With() | ast.AsyncWith():
            return all(_covers(block[-1], statements) for block in blocks_of(statement))
        case ast.Match(cases=cases):
            last = cases[-1]
            open_ended = isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None
            return open_ended and last.guard is None and all(_covers(c.body[-1], statements) for c in cases)
        case ast.Try(orelse=[]) | ast.TryStar(orelse=[]):
            handled = all(_covers(handler.body[-1], statements) for handler in statement.handlers)
            return handled and _covers(statement.body[-1], statements)
        case ast.Raise():
            return True
    return False


def _movable(cell: Cell, statement: ast.Expr) -> bool:
    """Whether evaluating the expression later gives the same: nothing after it changes what it reads."""
    read = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    position = cell.body.index(statement)
    for later in cell.body[position + 1 :]:
        for node in ast.walk(later):
            match node:
                case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if name in read:
                    return False
                case ast.Attribute(value=ast.Name(id=name), ctx=ast.Store()) if name in read:
                    return False
                case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store()) if name in read:
                    return False
                case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))) if name in read:
                    return False
                case _:
                    pass
    return True


def stray_returns(cell: Cell) -> list[ast.Return]:
    """The `return` statements that marimo cannot load."""
    return [each for each in walk_statements(cell.body) if isinstance(each, ast.Return)]


def header(notebook: Notebook, statement: ast.stmt) -> Place:
    """The place of a statement: of a compound one, its first line."""
    place = notebook.file.place(statement)
    text = notebook.source.text
    end = text.find("\n", place.start)
    return place if end < 0 or end >= place.end else place._replace(end=end)


def short(text: str) -> str:
    """The text on one line, cut to what fits a message."""
    line = " ".join(text.split())
    return line if len(line) <= 40 else line[:37] + "..."
