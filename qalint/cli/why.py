"""`qalint check --why FILE:LINE`: what is said about a line, what is hidden, and what became unknown."""

from __future__ import annotations

import os

from .. import reader
from ..discovery import Found
from ..errors import UsageError
from ..linter import Linter
from ..outcome import Outcome
from ..runner import Runner, merge, projects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .check import Check

NEAR = 3
"""Unknowns this many lines away are told too."""


def why(check: Check, where: str) -> int:
    """Explain one line of one file; 0 if that could be done."""
    name, _, number = where.rpartition(":")
    if not name or not number.isdigit():
        raise UsageError(f"`--why {where}` is not of the form FILE:LINE.")
    path, row = os.path.abspath(name), int(number)
    if not os.path.isfile(path):
        raise UsageError(f"The path {name} does not exist.")
    runner = Runner(check.catalog, check.configs, jobs=0)
    outcome = _outcome(runner, path)
    print(f"{name}:{row}")
    spoken = _said(check, runner, outcome, path, row)
    unknown = [(at, reason) for at, reason in sorted(outcome.unknowns) if abs(at - row) <= NEAR]
    for at, reason in unknown:
        print(f"  line {at}: {reason}")
    for at, reason in sorted(outcome.unknowns):
        if ("bound" in reason or "budget" in reason) and (at, reason) not in unknown:
            print(f"  cut at line {at}: {reason}")
    if not spoken and not unknown:
        print("  No rule has anything to say here, and nothing near this line became unknown.")
    return 0


def _outcome(runner: Runner, path: str) -> Outcome:
    linter = Linter(
        runner.catalog, runner.policy, linted=frozenset({path}), project=projects(runner.configs), gates=False
    )
    return linter.lint(path, frozenset(runner.catalog.rules))


def _said(check: Check, runner: Runner, outcome: Outcome, path: str, row: int) -> bool:
    """Print what is said of the line, shown or not, and which sections the bytes rule out."""
    order = ("high", "medium", "low")
    wanted = check.configs.of_file(path).values["min-confidence"]
    spoken = False
    for item in merge([outcome], frozenset({path})):
        if item.filename != path or not item.region.row <= row <= max(item.region.end_row, item.region.row):
            continue
        spoken = True
        notes = []
        if item.status == "suppressed":
            notes.append("hidden by a suppression comment")
        if order.index(item.confidence) > order.index(wanted):
            notes.append(f"not shown: its confidence is {item.confidence}, and --min-confidence is {wanted}")
        print(f"  {item.code} {item.message}" + (f" ({'; '.join(notes)})" if notes else ""))
    runner.lint([Found(path, None, True)])
    asked = runner.survivors.get(path, frozenset())
    enabled = runner.policy(path).enabled
    for section in runner.catalog.sections:
        if asked.isdisjoint(section.codes) and enabled.intersection(section.codes):
            print(
                f"  Section {section.id} ({section.title}) was not asked: the file lacks the words it needs."
            )
    try:
        reader.read(path)
    except reader.Unreadable as error:
        print(f"  The file cannot be read: {error}.")
    return spoken
