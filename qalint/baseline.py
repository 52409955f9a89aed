"""Known findings: how many of each rule in each file do not count.

Counts survive line shifts. Fingerprints (the rule and the words of the line, without any path)
decide which of several findings are the known ones, and recognise a file that has been renamed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from .diagnostic import Diagnostic
from .errors import UsageError
from .registry import ALWAYS
from .store import write_atomically

VERSION = 1

Known = dict[str, dict[str, list[str]]]
"""File relative to the baseline's folder -> code -> the fingerprint of each known finding."""


class Baseline:
    """The known findings of a project."""

    def __init__(self, path: str, known: Known) -> None:
        self.folder = os.path.dirname(os.path.abspath(path))
        self.known = known

    @classmethod
    def read(cls, path: str, former: Mapping[str, str] | None = None) -> Baseline:
        """The baseline in a file. UsageError if there is none or it is broken.

        `former` leads from codes that rules had before to those of today.
        """
        try:
            with open(path, encoding="utf-8") as file:
                data = json.load(file)
        except OSError as error:
            raise UsageError(f"The baseline {path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise UsageError(f"The baseline {path} is not valid JSON ({error}).") from error
        if not isinstance(data, dict) or data.get("version") != VERSION or not _sound(data.get("findings")):
            raise UsageError(f"The baseline {path} is not one of qalint; make it anew with --write-baseline.")
        known: Known = {}
        for name, codes in data["findings"].items():
            for code, prints in codes.items():
                today = (former or {}).get(code, code)
                known.setdefault(name, {}).setdefault(today, []).extend(prints)
        return cls(path, known)

    @staticmethod
    def write(path: str, found: Iterable[Diagnostic]) -> int:
        """Write today's findings as known, and say how many there are."""
        folder = os.path.dirname(os.path.abspath(path))
        known: Known = {}
        number = 0
        for item in found:
            if item.status == "suppressed" or item.code in ALWAYS:
                continue
            number += 1
            name = _relative(item.filename, folder)
            known.setdefault(name, {}).setdefault(item.code, []).append(item.fingerprint)
        for codes in known.values():
            for prints in codes.values():
                prints.sort()
        text = json.dumps({"version": VERSION, "findings": known}, indent=1, sort_keys=True) + "\n"
        if not write_atomically(os.path.abspath(path), text.encode()):
            raise UsageError(f"The baseline {path} cannot be written.")
        return number

    def mark(self, found: Iterable[Diagnostic]) -> list[Diagnostic]:
        """The findings, the known ones with the status `baseline`."""
        items = list(found)
        groups: dict[tuple[str, str], list[int]] = {}
        for index, item in enumerate(items):
            if item.status == "new" and item.code not in ALWAYS:
                groups.setdefault((_relative(item.filename, self.folder), item.code), []).append(index)
        renamed = self._renamed({name for name, _ in groups}, items)
        for (name, code), indices in groups.items():
            known = self.known.get(renamed.get(name, name), {}).get(code, [])
            for index in _known_ones(indices, [items[index].fingerprint for index in indices], known):
                items[index] = items[index]._replace(status="baseline")
        return items

    def gone(self, marked: Iterable[Diagnostic], linted: frozenset[str]) -> int:
        """How many known findings of the linted files are no longer found."""
        left: dict[tuple[str, str], int] = {}
        for item in marked:
            if item.status == "baseline":
                key = (_relative(item.filename, self.folder), item.code)
                left[key] = left.get(key, 0) + 1
        names = {_relative(path, self.folder) for path in linted}
        return sum(
            max(0, len(prints) - left.get((name, code), 0))
            for name, codes in self.known.items()
            if name in names
            for code, prints in codes.items()
        )

    def _renamed(self, names: set[str], items: list[Diagnostic]) -> dict[str, str]:
        """From a file that the baseline does not know to the one it was, which is gone, by fingerprints."""
        gone = [name for name in self.known if not os.path.exists(os.path.join(self.folder, name))]
        found: dict[str, str] = {}
        if not gone:
            return found
        prints: dict[str, set[str]] = {}
        for item in items:
            prints.setdefault(_relative(item.filename, self.folder), set()).add(item.fingerprint)
        for name in sorted(names - self.known.keys()):
            scores = [
                (len(prints[name] & {one for codes in self.known[old].values() for one in codes}), old)
                for old in sorted(gone)
                if old not in found.values()
            ]
            best = max(scores, default=(0, ""))
            if best[0]:
                found[name] = best[1]
        return found


def _known_ones(indices: list[int], prints: list[str], known: list[str]) -> list[int]:
    """As many findings as are known: those with a known fingerprint, then the first of the rest."""
    left = list(known)
    chosen, others = [], []
    for index, fingerprint in zip(indices, prints, strict=True):
        if fingerprint in left:
            left.remove(fingerprint)
            chosen.append(index)
        else:
            others.append(index)
    return [*chosen, *others[: len(left)]]


def _sound(findings: Any) -> bool:
    return isinstance(findings, dict) and all(
        isinstance(codes, dict)
        and all(
            isinstance(prints, list) and all(isinstance(one, str) for one in prints)
            for prints in codes.values()
        )
        for codes in findings.values()
    )


def _relative(path: str, folder: str) -> str:
    return os.path.relpath(path, folder).replace(os.sep, "/") if os.path.isabs(path) else path
