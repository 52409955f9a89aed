"""The top level of an imported file, statement by statement: what can wait until a name is needed.

Definitions, imports and assignments that act on nothing else wait; a call that stands by itself, an
assignment to an attribute, a loop run when the first name of the file is needed, in their order.
One parsed tree serves the programs of all files that import it, and so does what is found here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple
from weakref import WeakKeyDictionary

Group = tuple[ast.stmt, ...]
"""Statements that bind a name between them, in their order."""


class TopLevel(NamedTuple):
    """What waits, by name, and what runs at once."""

    waiting: dict[str, Group]
    at_once: list[ast.stmt]
    imports: dict[str, tuple[str, int]]
    """The modules that names are imported from, or that they are: as written, and how many dots."""
    bound: dict[ast.stmt, list[str]]
    """The names that each statement binds."""
    groups: list[Group]
    group_of: dict[str, int]
    """The groups that wait, and by each name the number of its group."""

    @classmethod
    def of(cls, tree: ast.Module) -> TopLevel:
        """The top level of a parsed file."""
        found = _found.get(tree)
        if found is None:
            found = _found[tree] = _sort(tree)
        return found


_found: WeakKeyDictionary[ast.Module, TopLevel] = WeakKeyDictionary()


def _sort(tree: ast.Module) -> TopLevel:
    binders: dict[str, list[ast.stmt]] = {}
    objects: set[str] = set()
    imports: dict[str, tuple[str, int]] = {}
    bound: dict[ast.stmt, list[str]] = {}
    at_once: set[ast.stmt] = set()
    for statement in _checked(tree.body):
        if is_idle(statement):
            continue
        names = list(_bound(statement, imports))
        bound[statement] = names
        for name in names:
            binders.setdefault(name, []).append(statement)
        if not _waits(statement):
            at_once.add(statement)
        value = getattr(statement, "value", None)
        if isinstance(value, ast.expr) and not isinstance(value, ast.Constant) and _calls(value):
            objects.update(names)
    # What is done to an object that the file has made is done at once.
    for statement in bound:
        if statement not in at_once and objects and _touches(statement, objects):
            at_once.add(statement)
    changed = True
    while changed:
        changed = False
        for statement, names in bound.items():
            if statement not in at_once and any(
                other in at_once for name in names for other in binders[name]
            ):
                at_once.add(statement)
                changed = True
    waiting: dict[str, Group] = {}
    for name, statements in binders.items():
        if statements[0] not in at_once:
            waiting[name] = tuple(statements)
    numbers: dict[ast.stmt, int] = {}
    groups: list[Group] = []
    group_of: dict[str, int] = {}
    for name, group in waiting.items():
        number = numbers.setdefault(group[0], len(groups))
        if number == len(groups):
            groups.append(group)
        elif groups[number] != group:
            number = len(groups)
            groups.append(group)
        group_of[name] = number
    return TopLevel(waiting, [s for s in bound if s in at_once], imports, bound, groups, group_of)


def _checked(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a top level as a type checker sees them: it takes `if TYPE_CHECKING`.

    What a package exports by stars there is left out: to find one name all its files would be read.
    """
    for statement in body:
        if isinstance(statement, ast.If) and _is_checking(statement.test):
            for inner in statement.body:
                if not (isinstance(inner, ast.ImportFrom) and inner.names[0].name == "*"):
                    yield inner
        else:
            yield statement


def _is_checking(test: ast.expr) -> bool:
    """Whether a test is `TYPE_CHECKING`."""
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


def is_idle(statement: ast.stmt) -> bool:
    """Whether a top level statement does nothing in a file that is imported."""
    if isinstance(statement, ast.Pass | ast.Expr):
        return isinstance(statement, ast.Pass) or isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.If) and not statement.orelse and is_main_test(statement.test)


def is_main_test(test: ast.expr) -> bool:
    """Whether a test is `__name__ == "__main__"`."""
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value == "__main__"
    )


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The statements inside an `if` or a `try`."""
    if isinstance(statement, ast.If):
        yield statement.body
        yield statement.orelse
    elif isinstance(statement, ast.Try):
        yield statement.body
        for handler in statement.handlers:
            yield handler.body
        yield statement.orelse
        yield statement.finalbody


def _waits(statement: ast.stmt) -> bool:
    """Whether a statement only binds names."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Import() | ast.Pass():
            return True
        case ast.ImportFrom(names=names):
            return names[0].name != "*"
        case ast.Assign(targets=[ast.Subscript(value=ast.Name())], value=value):
            return not _calls(value)  # a table that is filled: what it holds is not needed before the table
        case ast.Assign(targets=targets):
            return all(isinstance(target, ast.Name) for target in targets)
        case ast.AnnAssign(target=ast.Name()) | ast.AugAssign(target=ast.Name(id="__all__")):
            return True
        case ast.Expr(value=ast.Constant()) | ast.Raise():
            return True
        case ast.If() | ast.Try():
            return all(_waits(inner) for block in _blocks(statement) for inner in block)
        case _:
            return False


def _bound(statement: ast.stmt, imports: dict[str, tuple[str, int]]) -> Iterator[str]:
    """The names that a statement binds."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=names):
            for alias in names:
                name = alias.asname or alias.name.split(".")[0]
                imports[name] = (alias.name, 0)
                yield name
        case ast.ImportFrom(names=names, module=module, level=level):
            for alias in names:
                name = alias.asname or alias.name
                imports[name] = (module or "", level)
                yield name
        case ast.If() | ast.Try():
            for block in _blocks(statement):
                for inner in block:
                    yield from _bound(inner, imports)
        case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name))]) if _waits(statement):
            yield name
        case _:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                    yield node.id


def bound_names(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of the top level binds."""
    return _bound(statement, {})


def _calls(value: ast.expr) -> bool:
    return any(isinstance(node, ast.Call) for node in ast.walk(value))


def _touches(statement: ast.stmt, objects: set[str]) -> bool:
    """Whether a statement that binds names calls something with, or of, one of the objects."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    return _calls_in(statement) and any(
        isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in objects
        for node in ast.walk(statement)
    )


def _calls_in(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Call) for node in ast.walk(statement))
