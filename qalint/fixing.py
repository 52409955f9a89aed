"""Applying fixes until nothing changes, and refusing those that cannot be trusted.

A round takes the fixes of all findings that do not touch one another, file by file, and lints again
everything that depends on a changed file. A result that does not parse, does not survive its own
encoding, or brings findings that were not there before is refused, and the fix that did it is
named. Nothing is written before all rounds are done; then each file is replaced as a whole.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from typing import NamedTuple

from . import reader
from .cache import Stat, stat_of
from .diagnostic import Diagnostic, PlainEdit
from .discovery import Found
from .errors import UsageError
from .outcome import Outcome
from .report_data import Fixed
from .runner import Importers, Runner, merge
from .source import Source

MAX_ROUNDS = 50
"""How often one file is changed at most: only rules that undo each other's work need more."""

_CONFIDENCES = ("high", "medium", "low")


class Change(NamedTuple):
    """The content of one file before and after all fixes."""

    before: bytes
    after: bytes


class Fixes:
    """What a fixing run did."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.changes: dict[str, Change] = {}
        self.messages: list[str] = []
        self._fixed: dict[tuple[str, str, str], int] = {}

    @property
    def fixed(self) -> list[Fixed]:
        """How many findings are gone, by file and rule."""
        return [Fixed(*key, number) for key, number in sorted(self._fixed.items())]

    def count(self, applied: Iterable[Diagnostic]) -> None:
        """Note that the fixes of these findings hold."""
        for item in applied:
            key = (item.filename, item.code, item.name)
            self._fixed[key] = self._fixed.get(key, 0) + 1

    def forget(self, path: str) -> None:
        """The fixes of a file were taken back."""
        self._fixed = {key: number for key, number in self._fixed.items() if key[0] != path}

    def settle(self, before: Iterable[Diagnostic], after: Iterable[Diagnostic]) -> None:
        """Count findings that went with another's fix as fixed too."""
        left: dict[tuple[str, str, str], int] = {}
        for items, sign in ((before, 1), (after, -1)):
            for item in items:
                key = (item.filename, item.code, item.name)
                left[key] = left.get(key, 0) + sign * (item.status == "new")
        for key, number in self._fixed.items():
            self._fixed[key] = max(number, left.get(key, 0))

    def diff(self, base: str) -> bytes:
        """All changes as a patch that `patch -p0` applies in the folder `base`."""
        import difflib

        pieces: list[bytes] = []
        for path, change in sorted(self.changes.items()):
            name = os.path.relpath(path, base) if path.startswith(base + os.sep) else path
            # `patch` takes a name with a space in it only up to a tab.
            label = name.encode("utf-8", "surrogateescape") + (b"\t" if " " in name else b"")
            lines = difflib.diff_bytes(
                difflib.unified_diff, _lines(change.before), _lines(change.after), label, label
            )
            for line in lines:
                pieces.append(line)
                if not line.endswith(b"\n"):
                    pieces.append(b"\n\\ No newline at end of file\n")
        return b"".join(pieces)


class Fixer:
    """Fixes the files of a run; `write=False` leaves them alone and only says what would change."""

    def __init__(self, runner: Runner, *, unsafe: bool, write: bool = True) -> None:
        self.runner = runner
        self.wanted = ("safe", "unsafe") if unsafe else ("safe",)
        self.write = write
        self.fixes = Fixes()
        self._refused: set[tuple[str, str, str, str]] = set()
        self._rounds: dict[str, int] = {}
        self._one_file = False
        """Whether only one file is changed in a round, since several together went wrong."""
        self._single: set[str] = set()
        """Files in which fixes are tried one by one, since together they went wrong."""
        self._left_out: set[tuple[str, str]] = set()
        """(file, code) of fixes that do not come to an end, or are meant for another content."""
        self._seen: dict[str, Stat | None] = {}
        """Time and size of each file on disk before it was linted: the fixes are meant for that content."""

    def run(self, files: list[Found]) -> Fixes:
        """Lint and fix until nothing changes."""
        linted = frozenset(found.path for found in files)
        by_path = {found.path: found for found in files}
        held = dict(reader.overlay)
        self._seen = {path: stat_of(path) for path in linted if path not in held}
        outcomes = self.fixes.outcomes = self.runner.lint(files, linted)
        importers = Importers(self.runner.configs, linted)
        precedence = self.runner.catalog.precedence
        at_first = merge(outcomes.values(), linted, importers, precedence)
        try:
            while True:
                while plan := self._plan(merge(outcomes.values(), linted, importers, precedence)):
                    self._round(plan, outcomes, by_path, linted)
                endless = self._endless_in(merge(outcomes.values(), linted, importers, precedence))
                if not endless:
                    break
                self._start_again(endless, held, outcomes, by_path, linted)
            self._record(held)
            self.fixes.settle(at_first, merge(outcomes.values(), linted, importers, precedence))
            if self.write:
                self._replace_all(held)
        finally:
            if self.write or not held:
                kept = {path: reader.overlay[path] for path in held if path in reader.overlay}
                reader.overlay.clear()
                reader.overlay.update(kept)
        return self.fixes

    def _plan(self, found: list[Diagnostic]) -> dict[str, list[Diagnostic]]:
        """For each file the findings whose fixes are taken in this round, none touching another."""
        plan: dict[str, list[Diagnostic]] = {}
        taken: dict[str, list[PlainEdit]] = {}
        eligible = [
            item for item in found if self._eligible(item) and self._rounds.get(item.filename, 0) < MAX_ROUNDS
        ]
        changing: dict[str, list[Diagnostic]] = {}
        for item in eligible:
            if item.fix is not None and item.fix.applicability != "safe":
                changing.setdefault(item.filename, []).append(item)
        for index, item in enumerate(eligible):
            assert item.fix is not None
            causes = [other for other in changing.get(item.filename, ()) if _rests_on(item, other)]
            if any(not _rests_on(other, item) or other in eligible[:index] for other in causes):
                # What this finding says may not be true any more: it is looked at anew in the next round.
                continue
            if self._one_file and plan and item.filename not in plan:
                continue
            chosen = plan.setdefault(item.filename, [])
            if chosen and item.filename in self._single:
                continue
            edits = taken.setdefault(item.filename, [])
            if not any(_touch(edit, other) for edit in item.fix.edits for other in edits):
                chosen.append(item)
                edits += item.fix.edits
        if eligible and not any(plan.values()):
            plan = {eligible[0].filename: eligible[:1]}  # each rests on the next
        for path in plan:
            self._rounds[path] = self._rounds.get(path, 0) + 1
        return {path: items for path, items in plan.items() if items}

    def _eligible(self, item: Diagnostic) -> bool:
        if item.fix is None or item.status != "new" or item.fix.applicability not in self.wanted:
            return False
        if not item.fix.edits or _identity(item) in self._refused:
            return False
        if (item.filename, item.code) in self._left_out:
            return False
        config = self.runner.configs.of_file(item.filename)
        shown = _CONFIDENCES.index(item.confidence) <= _CONFIDENCES.index(config.values["min-confidence"])
        return shown and item.code in config.fixable

    def _round(
        self,
        plan: dict[str, list[Diagnostic]],
        outcomes: dict[str, Outcome],
        by_path: dict[str, Found],
        linted: frozenset[str],
    ) -> None:
        """Apply the fixes of every file, lint what depends on them, and take back what cannot be trusted."""
        before: dict[str, bytes] = {}
        for path, items in plan.items():
            data = reader.load(path)
            if path not in reader.overlay and stat_of(path) != self._seen.get(path):
                self._left_out.update((path, item.code) for item in items)
                self._changed(path)
                continue
            reason = self._apply(path, data, items)
            if reason is None:
                before[path] = data
            else:
                self._take_back(path, items, data, reason)
        depending = {path: _depending(path, outcomes) & by_path.keys() for path in before}
        new = self._lint(set().union(*depending.values()), by_path, linted)
        worse = {
            path: reason
            for path, others in depending.items()
            if (
                reason := _worse(
                    [outcomes[other] for other in others], [new[other] for other in others], plan[path]
                )
            )
        }
        for path, reason in worse.items():
            if any(depending[path] & depending[other] for other in worse if other != path):
                # Which of them did it shows only if they are tried one after the other.
                self._one_file = True
                self._put(path, before[path])
            else:
                self._take_back(path, plan[path], before[path], reason)
        new.update(self._lint(set().union(*(depending[path] for path in worse)), by_path, linted))
        outcomes.update(new)
        for path in before.keys() - worse.keys():
            self.fixes.count(plan[path])

    def _lint(self, paths: set[str], by_path: dict[str, Found], linted: frozenset[str]) -> dict[str, Outcome]:
        return self.runner.lint([by_path[path] for path in sorted(paths)], linted) if paths else {}

    def _take_back(self, path: str, items: list[Diagnostic], before: bytes, reason: str) -> None:
        """Restore a file. Several fixes are tried one by one next; a single one is refused for good."""
        self._put(path, before)
        if len(items) > 1:
            self._single.add(path)
            return
        item = items[0]
        self._refused.add(_identity(item))
        where = f"{os.path.relpath(path)}:{item.region.row}"
        self.fixes.messages.append(f"The fix of {item.code} at {where} was refused: {reason}.")

    def _apply(self, path: str, before: bytes, items: list[Diagnostic]) -> str | None:
        """Put the changed content in place; the reason why not, if it does not survive."""
        source = reader.decode(path, before)
        if reader.rewrite(source, ()) != before:
            return f"`{source.encoding}` would write the rest of the file otherwise than it is"
        edits = [edit for item in items if item.fix is not None for edit in item.fix.edits]
        try:
            after = reader.rewrite(source, edits)
        except UnicodeEncodeError:
            return f"the encoding {source.encoding} cannot hold the result"
        except ValueError as error:
            return str(error)
        if after == before:
            return "it changes nothing"
        try:
            again = reader.decode(path, after)
        except reader.Unreadable as error:
            return f"the result cannot be read: {error}"
        if source.kind == "python" and again.text != _edited(source, edits):
            return "the result does not survive being written and read again"
        self._put(path, after)
        return None

    def _put(self, path: str, data: bytes) -> None:
        reader.overlay[path] = data
        self.runner.forget(path)

    def _record(self, held: dict[str, bytes]) -> None:
        for path, after in reader.overlay.items():
            before = held[path] if path in held else _on_disk(path)
            if before is not None and before != after:
                self.fixes.changes[path] = Change(before, after)

    def _replace_all(self, held: dict[str, bytes]) -> None:
        for path, change in sorted(self.fixes.changes.items()):
            if path in held:
                continue
            if _on_disk(path) != change.before:
                self._changed(path)
                continue
            replace(path, change.after)

    def _changed(self, path: str) -> None:
        message = f"{os.path.relpath(path)} was changed meanwhile and is left as it is."
        if message not in self.fixes.messages:
            self.fixes.messages.append(message)

    def _endless_in(self, found: list[Diagnostic]) -> dict[str, list[str]]:
        """The codes of each file whose fixes are not done although no round is left."""
        left: dict[str, list[str]] = {}
        for path, code in sorted({(item.filename, item.code) for item in found if self._eligible(item)}):
            left.setdefault(path, []).append(code)
        return left

    def _start_again(
        self,
        endless: dict[str, list[str]],
        held: dict[str, bytes],
        outcomes: dict[str, Outcome],
        by_path: dict[str, Found],
        linted: frozenset[str],
    ) -> None:
        """Take back all that was done to these files, and begin anew without the fixes that do not end."""
        shown = [f"{code} in {os.path.relpath(path)}" for path, codes in endless.items() for code in codes]
        self.fixes.messages.append(
            f"Fixes did not come to an end after {MAX_ROUNDS} rounds and were left out "
            f"({', '.join(shown[:5])}); please report this."
        )
        for path, codes in endless.items():
            self._left_out.update((path, code) for code in codes)
            self._rounds.pop(path, None)
            self.fixes.forget(path)
            if path in held:
                reader.overlay[path] = held[path]
            else:
                reader.overlay.pop(path, None)
            self.runner.forget(path)
        changed = set().union(*(_depending(path, outcomes) & by_path.keys() for path in endless))
        outcomes.update(self._lint(changed, by_path, linted))


def replace(path: str, data: bytes) -> None:
    """Replace a file as a whole, through a symbolic link and with its mode. UsageError if that fails."""
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}.qalint-tmp"
    try:
        status = os.stat(target)
        with open(temporary, "xb") as file:  # never through a link that lies there
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, stat.S_IMODE(status.st_mode))
        if hasattr(os, "chown"):
            with contextlib.suppress(OSError):
                os.chown(temporary, status.st_uid, status.st_gid)
        os.replace(temporary, target)
    except BaseException as error:  # an interruption too leaves nothing behind
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if not isinstance(error, OSError):
            raise
        raise UsageError(f"The file {os.path.relpath(path)} cannot be written: {error.strerror}.") from error


def _depending(path: str, outcomes: dict[str, Outcome]) -> set[str]:
    """The files whose outcome depends on a file: itself, and those that consulted it or spoke of it."""
    return {
        other
        for other, outcome in outcomes.items()
        if other == path or path in outcome.consulted or path in outcome.elsewhere
    }


def _worse(old: list[Outcome], new: list[Outcome], fixed: list[Diagnostic]) -> str | None:
    """Why the new outcomes are worse than the old ones, if they are.

    Of several fixes at once each must have removed its finding, lest one hide what another brings.
    """
    before = _counts(old)
    for item in fixed if len(fixed) > 1 else ():
        before[item.code] = before.get(item.code, 0) - (item.code in before)
    for code, number in sorted(_counts(new).items()):
        if number > before.get(code, 0):
            if code == "QA0002":
                return "the result is not valid Python"
            return f"the result brings {code}"
    return None


def _counts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    total: dict[str, int] = {}
    for outcome in outcomes:
        for code, number in outcome.counts.items():
            total[code] = total.get(code, 0) + number
        for item in outcome.diagnostics:
            if item.code in ("QA0001", "QA0002", "QA0003"):
                total[item.code] = total.get(item.code, 0) + 1
    return total


def _edited(source: Source, edits: list[PlainEdit]) -> str:
    text = source.text
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end), reverse=True):
        text = text[: edit.start] + edit.content + text[edit.end :]
    return text


def _touch(one: PlainEdit, other: PlainEdit) -> bool:
    return one.start <= other.end and other.start <= one.end


def _rests_on(item: Diagnostic, other: Diagnostic) -> bool:
    """Whether the fix of `other` takes away a place that `item` cites as the reason of its fault."""
    if item is other or other.fix is None or other.cell != item.cell:
        return False
    return any(
        place.filename == item.filename
        and place.cell == item.cell
        and edit.start < edit.end
        and edit.region[:2] < place.region[2:]
        and place.region[:2] < edit.region[2:]
        for place in item.related
        for edit in other.fix.edits
    )


def _identity(item: Diagnostic) -> tuple[str, str, str, str]:
    assert item.fix is not None
    return item.filename, item.code, item.fingerprint, item.fix.message


def _on_disk(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _lines(data: bytes) -> list[bytes]:
    """The lines as `patch` counts them: after LF only."""
    parts = data.split(b"\n")
    lines = [part + b"\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines
