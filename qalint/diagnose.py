"""From a symptom to its causes: what `qalint diagnose` knows, and how it reads a log.

A `Symptom` is something a person sees: an error message, a loss that is NaN, a chart that does not
show. Its causes stand in the order of likelihood; `Cause.first` is the order in which to fix them, which
is not always the same. The tables are in `diagnose_torch.py` and `diagnose_marimo.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple


class Cause(NamedTuple):
    """One possible cause. `rule` proves it, or is None for what no reading of the code can prove.

    `fix` says what to do, `look_at` where to look when the rule finds nothing. `first` orders the fixes:
    the smallest comes first.
    """

    rule: str | None
    why: str
    fix: str
    look_at: str
    first: int = 50


class Symptom(NamedTuple):
    """One symptom. `patterns` recognise its messages, in current and in older wordings.

    `specific` orders recognition where two symptoms know one text: the larger number wins alone.
    `correction` says where widespread advice about it is wrong, and what is true.
    """

    name: str
    title: str
    patterns: tuple[str, ...]
    causes: tuple[Cause, ...]
    specific: int = 1
    correction: str | None = None


class Recognised(NamedTuple):
    """A symptom that was seen in a log: `line` is the text, `row` its line there (1-based)."""

    symptom: Symptom
    line: str
    row: int


@cache
def symptoms() -> tuple[Symptom, ...]:
    """Every symptom, those of training first."""
    from .diagnose_marimo import MARIMO
    from .diagnose_torch import PROTOCOL
    from .diagnose_training import TRAINING

    return (*TRAINING, *PROTOCOL, *MARIMO)


def symptom(name: str) -> Symptom | None:
    """The symptom of that name, or None."""
    return next((each for each in symptoms() if each.name == name), None)


@cache
def _compiled() -> tuple[tuple[Symptom, re.Pattern[str]], ...]:
    return tuple(
        (each, re.compile("|".join(each.patterns), re.IGNORECASE)) for each in symptoms() if each.patterns
    )


def recognise(log: str) -> list[Recognised]:
    """The symptoms that a log shows, each once, in the order in which they first appear."""
    found: dict[str, Recognised] = {}
    lines = _ANSI.sub("", log).splitlines()
    seen = [_in_line(line) for line in lines]
    for row, line in enumerate(lines):
        matches = seen[row]
        if not matches and row + 1 < len(lines) and not seen[row + 1]:
            # A message may be wrapped at the width of a terminal: two lines are read as one.
            matches = _in_line(f"{line} {lines[row + 1].strip()}")
        for each in matches:
            found.setdefault(each.name, Recognised(each, line.strip(), row + 1))
    return list(found.values())


def _in_line(line: str) -> list[Symptom]:
    """The symptoms of one line: those that know it best."""
    matches = [each for each, pattern in _compiled() if pattern.search(line)]
    best = max((each.specific for each in matches), default=0)
    return [each for each in matches if each.specific == best]


_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TRACEBACK_FILE = re.compile(
    r'File "([^"<>]+\.py)", line \d+|^\s*(?:Cell )?(?:marimo://)?(\S+\.py)[:#]\S*', re.MULTILINE
)


def files_named(log: str) -> list[str]:
    """The files of a traceback that are the reader's own: none of installed packages."""
    found = [one or other for one, other in _TRACEBACK_FILE.findall(_ANSI.sub("", log))]
    foreign = re.compile(r"site-packages|dist-packages|/lib/python\d|\\lib\\|^<")
    return list(dict.fromkeys(name for name in found if not foreign.search(name)))


def causes(seen: Iterable[Symptom]) -> list[Cause]:
    """The causes of these symptoms, each rule once, in the order of likelihood."""
    found: dict[object, Cause] = {}
    for each in seen:
        for cause in each.causes:
            found.setdefault(cause.rule or cause.why, cause)
    return list(found.values())
