"""Classes that a call makes of names alone, as `namedtuple("Parts", "model optimizer")`: as if written."""

from __future__ import annotations

import ast

RECORDS = ("collections.namedtuple", "typing.NamedTuple", "dataclasses.make_dataclass")
"""The functions that make one of a name and its fields."""


def record(call: ast.AST) -> ast.ClassDef | None:
    """The class that such a call makes; None where its fields are not in sight. The same each time."""
    if not isinstance(call, ast.Call) or len(call.args) < 2:
        return None
    known = call.__dict__.get("_record")
    if known is None:
        name, fields = call.args[0], fields_of(call.args[1])
        if fields is None or not isinstance(name, ast.Constant):
            return None
        body: list[ast.stmt] = [
            ast.AnnAssign(ast.Name(field, ast.Store()), ast.Constant(None), None, 1) for field in fields
        ]
        known = ast.ClassDef(str(name.value), [], [], body or [ast.Pass()], [])
        for node in ast.walk(known):
            ast.copy_location(node, call)
        call.__dict__["_record"] = known
    return known if isinstance(known, ast.ClassDef) else None


def fields_of(node: ast.expr) -> list[str] | None:
    """The names of the fields, in their order."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace(",", " ").split()
    if not isinstance(node, ast.List | ast.Tuple):
        return None
    found: list[str] = []
    for element in node.elts:
        one = element.elts[0] if isinstance(element, ast.Tuple | ast.List) and element.elts else element
        if not isinstance(one, ast.Constant) or not isinstance(one.value, str):
            return None
        found.append(one.value)
    return found


def declared(node: ast.ClassDef) -> list[str]:
    """The annotated fields of a class, in their order."""
    return [
        statement.target.id
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    ]
