"""The checklist's 86 items as data: what is asked, how important it is, and who judges it.

The data is `checklist.json` beside this file. It is read when it is first asked for, so that
importing this module costs nothing. Verdicts are made in `qalint.report`.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple


class Judge(NamedTuple):
    """Who judges an item. `kind` is rule, verify, report, diagnose or person.

    `ref` is a rule's code, a symptom of `qalint diagnose`, or what is run or read.
    """

    kind: str
    ref: str


class Item(NamedTuple):
    """One item. `question` is what a person is asked; `note` says where the checklist itself is inexact."""

    id: str
    section: str
    text: str
    priority: str
    judged_by: tuple[Judge, ...]
    question: str | None
    note: str | None

    @property
    def rules(self) -> tuple[str, ...]:
        """The codes of the rules that judge the item."""
        return tuple(judge.ref for judge in self.judged_by if judge.kind == "rule")


@cache
def _data() -> dict[str, Any]:
    from importlib.resources import files

    data: dict[str, Any] = json.loads(files("qalint").joinpath("checklist.json").read_text("utf-8"))
    return data


@cache
def items() -> tuple[Item, ...]:
    """All items, in the order of the checklist: sections 11 to 17, then the tests of section 9."""
    return tuple(
        Item(
            entry["id"],
            entry["section"],
            entry["text"],
            entry["priority"],
            tuple(Judge(judge["kind"], judge["ref"]) for judge in entry["judged_by"]),
            entry.get("question"),
            entry.get("note"),
        )
        for entry in _data()["items"]
    )


def titles() -> dict[str, str]:
    """The title of each section, by its id, in the order of the checklist."""
    found: dict[str, str] = {}
    sections: dict[str, str] = _data()["sections"]
    for item in items():
        found.setdefault(item.section, sections[item.section])
    return found


def item(id: str) -> Item:
    """The item with this id; KeyError if there is none."""
    for candidate in items():
        if candidate.id == id:
            return candidate
    raise KeyError(id)


PRIORITIES = ("critical", "high", "medium")
"""The checklist's priorities, the most urgent first."""
