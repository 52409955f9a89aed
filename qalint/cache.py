"""Findings of earlier runs, for clean and dirty files alike.

One flat file for a project and a set of settings: with 2,860 entries 1.6 ms to read and 1.8 to write
against 6.3 and 52 with SQLite, and as safe, since it is replaced whole. An entry holds while the
file has the same time and size, or the same bytes, and while every other file that was consulted is
unchanged. Code of the engine and of every plugin is part of the key, so that no entry outlives them.
"""

from __future__ import annotations

import os
import time
from typing import Any

from . import __version__, store
from .needles import Mask
from .outcome import CONSULTED, Consulted, Outcome
from .store import digest_of

RACY_NS = 2_000_000_000
"""A file that changed so shortly before it was read may change again within its timestamp."""

Stat = tuple[int, int]
THERE: Stat = (0, 0)
"""In place of time and size: the file only has to be there."""


class Entry:
    """What is kept of one file. `outcome` is packed; `()` for one that had nothing to say at all."""

    __slots__ = ("codes", "digest", "marked", "mask", "nothing", "outcome", "policy", "scripted", "stat")

    def __init__(self, stat: Stat, digest: bytes, mask: Mask, scripted: bool) -> None:
        self.stat = stat
        self.digest = digest
        self.mask = mask
        self.scripted = scripted
        """Whether the file has a `# /// script` block, so that its policy is its own."""
        self.marked = False
        """Whether it has a suppression comment."""
        self.nothing = False
        """Whether it is a Markdown file without marimo cells."""
        self.policy = ""
        self.codes: tuple[str, ...] = ()
        """The rules that were asked."""
        self.outcome: tuple[Any, ...] | None = None


class Cache:
    """The entries of one project under one set of settings."""

    def __init__(self, folder: str, key: str) -> None:
        self.folder = folder
        self._shelf = store.Shelf(os.path.join(folder, __version__, digest_of(key.encode()).hex() + ".bin"))
        self._kept: dict[str, Any] | None = None
        self._fresh: dict[str, Entry] = {}
        self.now = time.time_ns()
        """When the run began."""

    @property
    def whole(self) -> str:
        """The file for what a whole run said."""
        return self._shelf.path.removesuffix(".bin") + ".run"

    @property
    def _entries(self) -> dict[str, Any]:
        """What earlier runs kept, read when it is first asked for."""
        if self._kept is None:
            self._kept = self._shelf.read() or {}
        return self._kept

    def entry(self, path: str) -> Entry | None:
        """What is known of a file, whether or not it still holds."""
        if path in self._fresh:
            return self._fresh[path]
        fields = self._entries.get(path)
        if fields is None:
            return None
        entry = Entry(fields[0], fields[1], Mask(*fields[2]), fields[3])
        entry.marked, entry.nothing, entry.policy, entry.codes, entry.outcome = fields[4:]
        return entry

    def keep(self, path: str, entry: Entry) -> None:
        """Remember an entry; `save` writes it."""
        self._fresh[path] = entry

    def save(self) -> None:
        """Write what is new, on top of what another run may have written meanwhile."""
        if not self._fresh:
            return
        entries = self._shelf.read() or {}
        # Outcomes rest on the same files: each path and each time is written once, and read as one object.
        once: dict[Any, Any] = {}
        for path, entry in self._fresh.items():
            if entry.outcome:
                consulted = entry.outcome[CONSULTED]
                shared = {
                    once.setdefault(name, name): once.setdefault(stat, stat)
                    for name, stat in consulted.items()
                }
                entry.outcome = (*entry.outcome[:CONSULTED], shared, *entry.outcome[CONSULTED + 1 :])
            mask = (entry.mask.hits, entry.mask.imports, entry.mask.code, entry.mask.script)
            stat = entry.stat if self.now - entry.stat[0] > RACY_NS else (0, entry.stat[1])
            about = (stat, entry.digest, mask, entry.scripted, entry.marked, entry.nothing)
            entries[path] = (*about, entry.policy, entry.codes, entry.outcome)
        if self._shelf.write(entries):
            self._mark()

    def _mark(self) -> None:
        """Keep the folder out of backups and repositories."""
        for name, content in (
            ("CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n"),
            (".gitignore", b"# Automatically created by qalint.\n*\n"),
        ):
            path = os.path.join(self.folder, name)
            if not os.path.exists(path):
                store.write_atomically(path, content)


def holds(
    outcome: Outcome, linted: Any, stats: dict[str, Stat | None], prints: dict[str, bytes] | None = None
) -> bool:
    """Whether what the outcome was made from, besides its own file, is as it was.

    A file of which only the code mattered may have changed in its comments: the outcome gets its new time.
    `stats` and `prints` (digests of code) have what is known of files, and get what is asked here: many
    outcomes rest on the same files.
    """
    moved: dict[str, Consulted] = {}
    for path, stat in outcome.consulted.items():
        if path in stats:
            now = stats[path]
        else:
            now = stats[path] = stat_of(path)
        if now == stat or (now is not None and stat == THERE):
            continue
        if now is None or stat is None or len(stat) < 3:
            return False
        if now != stat[:2]:
            if print_of(path, {} if prints is None else prints) != stat[2]:
                return False
            moved[path] = (*now, stat[2])
    if moved:
        outcome.consulted = {**outcome.consulted, **moved}
    return all((path in linted) is there for path, there in outcome.elsewhere.items())


def print_of(path: str, prints: dict[str, bytes]) -> bytes:
    """The digest of a file's code, worked out once; one that no other file has where it cannot be read."""
    if path not in prints:
        from .codeprint import code_print

        try:
            with open(path, "rb") as file:
                prints[path] = code_print(file.read())
        except OSError:
            prints[path] = b"?"
    return prints[path]


def presence(path: str) -> Stat | None:
    """What is kept of a file whose content did not matter: whether it is there."""
    return THERE if os.path.exists(path) else None


def stat_of(path: str) -> Stat | None:
    """Time and size of a file; None if it is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size
