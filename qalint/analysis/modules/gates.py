"""Cheap looks at a tree: whether a file holds what a rule needs before its programs are run.

What lies in an imported file is not seen here, so a file in which a program may start passes, unless
its own text must hold the fault's place. See `needles` for what the bytes say.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from ..nodes import nodes
from .needles import ADAPT, mentions
from .starting import starts

if TYPE_CHECKING:
    from ...file import File

HALVES = frozenset({"float16", "half", "fp16"})
ATTACHING = frozenset({"setattr", "add_module", "register_module", "set_submodule", "__setattr__"})


def walks(file: File) -> bool:
    """Whether something may be attached in a loop over modules, or a program may start in the file."""
    return starts(file) or loops_over_modules(file.tree)


def loops_over_modules(tree: ast.AST) -> bool:
    """Whether something may be attached in a loop over modules."""
    for loop in nodes(tree):
        if not isinstance(loop, ast.For):
            continue
        if not any(
            isinstance(node, ast.Attribute) and node.attr in {"modules", "named_modules"}
            for node in nodes(loop.iter)
        ):
            continue
        given = {node.id for node in nodes(loop.target) if isinstance(node, ast.Name)}
        for statement in loop.body:
            for node in nodes(statement):
                if isinstance(node, ast.Call) and _attaches(node, given):
                    return True
                if isinstance(node, ast.Assign) and any(
                    isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets
                ):
                    if not isinstance(node.value, ast.Constant | ast.Compare | ast.BoolOp):
                        return True
    return False


def _attaches(call: ast.Call, given: set[str]) -> bool:
    """Whether a call can attach a module: by its name, or as a function that gets the loop's module."""
    func = call.func
    if isinstance(func, ast.Attribute):
        if func.attr in ATTACHING:
            return True
        if isinstance(func.value, ast.Name) and func.value.id in given:
            return False
    elif isinstance(func, ast.Name) and func.id in {
        "isinstance",
        "hasattr",
        "getattr",
        "len",
        "print",
        "type",
    }:
        return False
    return any(isinstance(argument, ast.Name) and argument.id in given for argument in call.args)


def says_dimensions(file: File, names: frozenset[str]) -> bool:
    """Whether one of `names` is bound to something that is worked out, or adapters are made."""
    if mentions(file, ADAPT):
        return True
    return any(
        binds(node, names)
        for node in nodes(file.tree)
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr)
    )


def binds(node: ast.Assign | ast.AnnAssign | ast.NamedExpr, names: frozenset[str]) -> bool:
    """Whether one of `names` is bound to something that is worked out."""
    if node.value is None or isinstance(node.value, ast.Constant):
        return False
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(
        isinstance(part, ast.Name) and part.id in names for target in targets for part in nodes(target)
    )


def makes_half(file: File) -> bool:
    """Whether something becomes float16 (a comparison makes nothing so), or a program may start."""
    if starts(file):
        return True
    queue: list[ast.AST] = [file.tree]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Compare):
            queue.append(node.left)
            continue
        if isinstance(node, ast.Attribute) and node.attr in HALVES:
            return True
        if isinstance(node, ast.Name) and node.id in HALVES:
            return True
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in HALVES:
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "finfo":
            continue
        queue.extend(ast.iter_child_nodes(node))
    return False
