"""What a project's own models call their layers, where a file of adapters lies beside them."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from typing import TypeGuard

from qalint.analysis.modules import Modules
from qalint.analysis.modules.slicing import statements
from qalint.analysis.project import Project, meanings
from qalint.file import File

MOST = 24
"""Files of one program that are looked at."""


def written_beside(modules: Modules, names: Iterable[str]) -> frozenset[str]:
    """Those of some names of layers that a model of the project itself gives to layers of its own.

    A file of adapters does not import the model that it is used with: a program that imports both does.
    Layers of the project's own `Conv1D` do not count: they are what GPT-2's are.
    """
    asked = frozenset(names)
    if not asked:
        return asked
    project = Project.of_file(modules.file)
    found: set[str] = set()
    for user in users(project, modules.file):
        for other in imported(project, user):
            if all(name not in other.source.text for name in asked):
                continue
            found |= {name for name, value in bindings(other.tree) if name in asked and is_own(value)}
    return frozenset(found)


def users(project: Project, file: File) -> Iterator[File]:
    """The files of the project that import a file, or a package that does."""
    queue, seen = [os.path.abspath(file.path)], set[str]()
    while queue and len(seen) < MOST:
        path = queue.pop(0)
        package = os.path.basename(path) == "__init__.py"
        stem = os.path.basename(os.path.dirname(path) if package else path.removesuffix(".py"))
        for other in project.near(path, stem.encode(), b"import"):
            found = os.path.abspath(other.path)
            if found in seen or path not in paths(project, other):
                continue
            seen.add(found)
            yield other
            if os.path.basename(found) == "__init__.py":
                queue.append(found)


def imported(project: Project, file: File) -> Iterator[File]:
    """A file and the files of the project that it imports, by way of others too."""
    queue, seen = [os.path.abspath(file.path)], set[str]()
    while queue and len(seen) < MOST:
        path = queue.pop(0)
        if path in seen or (other := project.file(path)) is None:
            continue
        seen.add(path)
        yield other
        queue += paths(project, other)


def paths(project: Project, file: File) -> list[str]:
    """The files of the project that a file imports, by path."""
    return [
        path
        for node in statements(file.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for one in meanings(node)
        if (path := project.resolve(file.path, *one)) is not None
    ]


def bindings(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The layers that models give names to: as attributes of `self`, in dicts, as arguments, in pairs."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for target, value in zip(targets, values, strict=False):
                    if is_self(target):
                        yield target.attr, value
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if is_self(target):
                        yield target.attr, value
            case ast.AnnAssign(target=target, value=ast.expr() as value) if is_self(target):
                yield target.attr, value
            case ast.keyword(arg=str(name), value=ast.Call() as value):
                yield name, value
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(value, ast.Call):
                        yield str(key.value), value
            case ast.Tuple(elts=[ast.Constant(value=str(name)), ast.Call() as value]):
                yield name, value
            case ast.Call(args=[ast.Constant(value=str(name)), ast.Call() as value]):
                yield name, value
            case _:
                pass


def is_self(target: ast.expr) -> TypeGuard[ast.Attribute]:
    """Whether something is set that a method's own object has."""
    return (
        isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
    )


def is_own(value: ast.expr) -> bool:
    """Whether a layer is made here that is no `Conv1D`."""
    if not isinstance(value, ast.Call):
        return False
    name = str(getattr(value.func, "attr", getattr(value.func, "id", "")))
    return bool(name) and name != "Conv1D"
