"""A whole run as it was: where none of its files has changed, what it said is read at once.

The cache of single files (`cache.py`) answers for each of them; with thousands even that costs more than
all the rest of a run. A snapshot stands beside it: a digest of all files with their times and of all
settings, what the run said, and what else it rested on. Where a single thing differs, the cache of files
is asked as usual.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .cache import RACY_NS, THERE, Stat, stat_of
from .config import Configs
from .discovery import Found
from .outcome import CONSULTED, SECONDS, Outcome
from .store import Shelf, digest_of


class Snapshot:
    """The last run over many files under one set of settings."""

    def __init__(self, name: str, files: list[Found], configs: Configs, now: int) -> None:
        self._shelf = Shelf(name)
        self._now = now
        self._files = {path for path, _, _ in files}
        every = [(path, stat or stat_of(path), named) for path, stat, named in files]
        self._settled = all(stat is not None and now - stat[0] > RACY_NS for _, stat, _ in every)
        keys: dict[str, int] = {}
        about = {}
        for folder in {path.rpartition(os.sep)[0]: None for path, _, _ in files}:
            about[folder] = keys.setdefault(configs.of_folder(folder).key, len(keys))
        described = repr((every, about, list(keys)))
        self.digest = digest_of(described.encode("utf-8", "surrogatepass"))

    def read(self) -> tuple[dict[str, Outcome], dict[str, frozenset[str]], int] | None:
        """What the last run said, the rules that its bytes left, and how many files it did not parse.

        Only files of which there was something to say have an outcome. None if something differs.
        """
        kept = self._shelf.read()
        if kept is None or kept[0] != self.digest:
            return None
        _, packed, survivors, unparsed, texts, looked = kept
        for path, stat in texts.items():
            if stat_of(path) != stat:
                return None
        for folder, (time, names) in looked.items():
            if _time(folder) == time:
                continue  # nothing came or went
            for name, there in names.items():
                if os.path.exists(os.path.join(folder, name)) is not there:
                    return None
        outcomes = {fields[0]: Outcome.unpack(fields) for fields in packed}
        return outcomes, {path: frozenset(codes) for path, codes in survivors.items()}, unparsed

    def keep(
        self, outcomes: Mapping[str, Outcome], survivors: Mapping[str, frozenset[str]], unparsed: int
    ) -> None:
        """Write down a run, unless a file may have changed within its timestamp or could not be checked."""
        if not self._settled or any(outcome.failed for outcome in outcomes.values()):
            return
        texts: dict[str, Stat] = {}
        looked: dict[str, tuple[int, dict[str, bool]]] = {}
        packed = []
        for outcome in outcomes.values():
            for path, stat in outcome.consulted.items():
                if path in self._files:
                    continue
                if stat is not None and stat != THERE:
                    if texts.setdefault(path, stat[:2]) != stat[:2]:
                        return
                    continue
                folder, _, name = path.rpartition(os.sep)
                if folder not in looked:
                    time = _time(folder)
                    looked[folder] = (time if self._now - time > RACY_NS else 1, {})
                if looked[folder][1].setdefault(name, stat is not None) is not (stat is not None):
                    return
            if _speaks(outcome):
                fields = list(outcome.pack())
                fields[CONSULTED], fields[SECONDS] = {}, {}
                packed.append(tuple(fields))
        alike: dict[frozenset[str], tuple[str, ...]] = {}
        asked = {path: alike.setdefault(codes, tuple(sorted(codes))) for path, codes in survivors.items()}
        kept = (self.digest, packed, asked, unparsed, texts, looked)
        self._shelf.write(kept)


def _time(folder: str) -> int:
    """When something last came or went in a folder; 0 for one that is not there."""
    try:
        return os.stat(folder).st_mtime_ns
    except (OSError, ValueError):
        return 0


def _speaks(outcome: Outcome) -> Any:
    return (
        outcome.diagnostics
        or outcome.candidates
        or outcome.used
        or outcome.elsewhere
        or outcome.renamed
        or outcome.unknowns
    )
