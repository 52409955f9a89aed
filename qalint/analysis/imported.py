"""The first-party modules to which a program hands its training, and what they decide.

A notebook that calls `train.finetune(model)` from a module beside it trains with LoRA in FP16 although
none of that stands in its own cells; its reader needs the explanation all the same.
"""

from __future__ import annotations

import ast
import os
import re
from typing import NamedTuple, Self

from ..file import File
from .decisions import Decision, Decisions
from .project import Project

_TRAINS = re.compile(
    r"(?:pre|fine_?)?(?:train|tune|fit)\w*|run\w*|main|inject\w*|adapt\w*|prepare\w*|\w*lora\w*|\w+_adapters?",
    re.IGNORECASE,
)
_MOST = 12


class Module(NamedTuple):
    """One module: its path, the import in the program, and what the module decides."""

    path: str
    node: ast.stmt
    decisions: Decisions


class Imported:
    """The modules that a program calls to train; empty where it trains by itself or not at all."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.modules: list[Module] = []
        own = file.get(Decisions)
        if own is not None and own.program:
            self._look()

    @classmethod
    def of(cls, file: File) -> Self:
        """The modules of `file`; never None."""
        return cls(file)

    @property
    def trains(self) -> bool:
        """Whether one of the modules trains."""
        return any(module.decisions.trains for module in self.modules)

    def kind(self, kind: str) -> list[Decision]:
        """What the modules decide, each topic once, at the import through which it comes."""
        found: dict[str, Decision] = {}
        for module in self.modules:
            for decision in module.decisions.kind(kind):
                text = self.file.source.segment(module.node).split("\n")[0]
                found.setdefault(decision.topic, Decision(kind, decision.topic, module.node, text))
        return list(found.values())

    def _look(self) -> None:
        called = {
            root
            for node in ast.walk(self.file.tree)
            if isinstance(node, ast.Call)
            and (root := _root(node.func))
            and _TRAINS.fullmatch(_last(node.func))
        }
        if not called:
            return
        project = Project.of_file(self.file)
        folders = _added_folders(self.file)
        for node in ast.walk(self.file.tree):
            if not isinstance(node, ast.Import | ast.ImportFrom) or len(self.modules) >= _MOST:
                continue
            for alias in node.names:
                if (alias.asname or alias.name.split(".")[0]) not in called:
                    continue
                level = node.level if isinstance(node, ast.ImportFrom) else 0
                base = (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
                names = (
                    [base, f"{base}.{alias.name}".lstrip(".")] if isinstance(node, ast.ImportFrom) else [base]
                )
                for name in names:
                    self._add(project, folders, node, name, level)

    def _add(self, project: Project, folders: list[str], node: ast.stmt, name: str, level: int) -> None:
        path = project.resolve(self.file.path, name, level) if name or level else None
        if path is None and not level:
            parts = name.split(".")
            paths = (os.path.join(folder, *parts) + ".py" for folder in folders)
            path = next((each for each in paths if os.path.isfile(each)), None)
        if path is None or any(module.path == path for module in self.modules):
            return
        file = project.file(path)
        decisions = file.get(Decisions) if file is not None else None
        if decisions is not None:
            self.modules.append(Module(path, node, decisions))


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _added_folders(file: File) -> list[str]:
    """Folders that the program puts on `sys.path`, as far as their names stand in the call.

    `sys.path.insert(0, str(Path(__file__).parent.parent / "trainer"))` can only mean a folder of that name
    beside the file or above it.
    """
    here = os.path.dirname(os.path.abspath(file.path))
    found = []
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("sys.path.insert", "sys.path.append"):
            names = [
                each.value
                for argument in node.args
                for each in ast.walk(argument)
                if isinstance(each, ast.Constant) and isinstance(each.value, str) and each.value
            ]
            for name in names:
                for base in (here, os.path.dirname(here), os.path.dirname(os.path.dirname(here))):
                    folder = os.path.normpath(os.path.join(base, name))
                    if os.path.isdir(folder) and folder not in found:
                        found.append(folder)
    return found
