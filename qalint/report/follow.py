"""Which modules belong to a program that is named: a notebook is judged with the training it imports.

A notebook that calls `train.finetune(model)` keeps half of the checklist's acts in a module beside it; alone
it could only be told that they are out of sight.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterable, Iterator

from ..analysis.imported import Imported
from ..analysis.project import Project
from ..file import AnalysisError, File

MOST = 20
"""Modules that are followed from all named files together."""


def followed(
    named: Iterable[str],
    known: Iterable[str],
    open_file: Callable[[str], File | None],
    excluded: Callable[[str, str], bool],
) -> list[str]:
    """The first-party modules with which the `named` programs train, and what those import, sorted.

    `known` are the files that are judged anyway. `excluded(path, importer)` says that the configuration
    leaves a module out.
    """
    seen = {os.path.abspath(path) for path in known}
    found: list[str] = []
    todo = [path for name in named if (file := open_file(name)) for path in _trained_with(file)]
    importers = dict.fromkeys(todo, next(iter(named), ""))
    while todo and len(found) < MOST:
        path = todo.pop(0)
        if path in seen or excluded(path, importers[path]):
            continue
        seen.add(path)
        file = open_file(path)
        if file is None:
            continue
        found.append(path)
        for module in _imports(file):
            importers.setdefault(module, path)
            todo.append(module)
    return sorted(found)


def _trained_with(file: File) -> list[str]:
    try:
        imported = file.get(Imported)
    except AnalysisError:
        return []
    return [os.path.abspath(module.path) for module in imported.modules] if imported else []


def _imports(file: File) -> Iterator[str]:
    """The first-party files that a module imports and that have to do with torch."""
    project = Project.of_file(file)
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            wanted = [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            wanted = [(base, node.level)] if base else []
            wanted += [(f"{base}.{alias.name}".lstrip("."), node.level) for alias in node.names]
        else:
            continue
        for name, level in wanted:
            path = project.resolve(file.path, name, level)
            if path is not None and _mentions_torch(path):
                yield os.path.abspath(path)


def _mentions_torch(path: str) -> bool:
    try:
        with open(path, "rb") as opened:
            return b"torch" in opened.read()
    except OSError:
        return False
