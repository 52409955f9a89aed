"""A program as it runs for one value of a setting, and what held at one moment of it.

Programs choose their precision by a setting: `use_fp16 = settings.precision == "fp16"`. What the checklist
asks of FP16 training is then judged where the setting says FP16, whatever else it could say.
"""

from __future__ import annotations

import ast
import copy
import re
from typing import Any, NamedTuple

from ..analysis.modules import Event
from ..analysis.modules.events import compatible
from ..analysis.modules.values import Cell
from ..file import File

HALF = frozenset({"fp16", "float16", "half", "f16", "16", "16-mixed", "fp16-mixed", "torch.float16"})
_SETTING = re.compile(r"precision|dtype|fp16|half|amp", re.IGNORECASE)


class World(NamedTuple):
    """The file as it is where `setting` is FP16; the words say so, and `node` is where it is asked."""

    file: File
    words: str
    node: ast.expr


def in_half(file: File) -> World | None:
    """The file where its one setting of the precision is FP16; None where it has none, or several.

    The tests of the setting become constants; every node keeps its place.
    """
    asked: dict[str, list[ast.Compare]] = {}
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Compare) and (name := _setting(node)):
            asked.setdefault(name, []).append(node)
    values = {
        name: next((value for test in tests for value in _values(test) if value.lower() in HALF), None)
        for name, tests in asked.items()
    }
    chosen = [(name, value) for name, value in values.items() if value is not None]
    if len(chosen) != 1:
        return None
    ((name, value),) = chosen
    # The copy shares nothing with the tree of the file, whose nodes analyses remember.
    memo: dict[int, Any] = {}
    tree = copy.deepcopy(file.tree, memo)
    tree = _Decided({id(memo[id(test)]): _outcome(test, value) for test in asked[name]}).visit(tree)
    world = File(file.source, tree, file.project, file.floors)
    return World(world, f"where `{name}` is {value!r}", asked[name][0])


def dtype_at(cell: Cell, event: Event) -> str | None:
    """The dtype of a parameter, or of a module's floating parameters, when `event` happened."""
    value = _latest(cell, "dtype", event)
    return value if isinstance(value, str) else None


def device_at(cell: Cell, event: Event) -> str | None:
    """The term of the device of a module or parameter when `event` happened."""
    value = _latest(cell, "device", event)
    term: str | None = getattr(value, "term", None)
    return term


def _latest(cell: Cell, kind: str, event: Event) -> object:
    """The last thing of `kind` that happened to `cell`, or to what holds it, before `event` on its path."""
    best: tuple[int, object] = (-1, None)
    seen: dict[Cell, int] = {}
    todo: list[tuple[Cell, int]] = [(cell, 0)]
    while todo:
        holder, start = todo.pop()
        if seen.get(holder, start + 1) <= start:
            continue
        seen[holder] = start
        for time, what, value, guards in reversed(holder.history):
            if what == kind and start <= time <= event.time and compatible(guards, event.guards):
                best = max(best, (time, value), key=lambda found: found[0])
                break
        todo.extend((above, max(start, joined)) for above, joined in holder.holders if joined <= event.time)
    return best[1]


class _Decided(ast.NodeTransformer):
    """Puts constants in the place of tests whose outcome is known, by the id of their node."""

    def __init__(self, outcomes: dict[int, bool | None]) -> None:
        self.outcomes = outcomes

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        """A test of the setting, or another, which stays."""
        outcome = self.outcomes.get(id(node))
        return node if outcome is None else ast.copy_location(ast.Constant(outcome), node)


def _setting(test: ast.Compare) -> str:
    """The dotted name that a test compares with strings, if it sounds like a precision."""
    if len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn):
        return ""
    if not isinstance(test.left, ast.Name | ast.Attribute) or not _values(test):
        return ""
    name = ast.unparse(test.left)
    return name if _SETTING.search(name) else ""


def _values(test: ast.Compare) -> list[str]:
    right = test.comparators[0]
    items = right.elts if isinstance(right, ast.Tuple | ast.List | ast.Set) else [right]
    found = [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return found if len(found) == len(items) else []


def _outcome(test: ast.Compare, value: str) -> bool:
    holds = value in _values(test)
    return holds if isinstance(test.ops[0], ast.Eq | ast.In) else not holds
