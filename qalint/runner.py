"""Many files: bytes first, then the cache, then as many processes as pay, then one sorted result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

from . import reader
from .cache import Cache, Entry, Stat, holds, print_of, stat_of
from .config import Configs
from .diagnostic import Diagnostic, Region
from .discovery import Discovery, Found
from .needles import Lookup, Mask, Needles, imported_names, may_suppress
from .outcome import CONSULTED, REPORT_AT, Outcome
from .policy import Policy
from .registry import Catalog
from .store import digest_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast

    from .snapshot import Snapshot
    from .source import Source

SYNTAX_BUDGET = 1_000_000
"""Files that no section can speak about are parsed, to find syntax errors, up to this many bytes a run.

Beyond it only those named on the command line are, and a warning says how many are not: parsing a
million lines in which nothing can be found would cost more than everything else."""
MAX_OTHERS = 3000
"""How many files outside the run are searched for imports of one of its files."""
KEPT_TEXT = 4_000_000
"""Of how much text (in code points) a process keeps the trees of imported files for the next file."""
WHOLE_RUN = 50
"""A run of at least so many files is kept as a whole too."""
PARALLEL_BYTES = 150_000
"""Processes pay above this much code that has to be parsed."""


class Runner:
    """Lints sets of files; keeps what the rounds of a fixing run can share."""

    def __init__(
        self,
        catalog: Catalog,
        configs: Configs,
        *,
        cache: Cache | None = None,
        jobs: int | None = None,
        filters: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.catalog = catalog
        self.configs = configs
        self.cache = cache
        self.jobs = jobs
        self.filters = filters
        """False: no needles and no gates; the findings must be the same."""
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self.files = 0
        """How many files the last round had."""
        self.parsed = 0
        """How many of them were parsed."""
        self.survivors: dict[str, frozenset[str]] = {}
        """The rules that the bytes of each file left in the last round."""
        self.unparsed = 0
        """How many files hold nothing that a rule could speak of and were not even parsed."""
        self._policies: dict[str, Policy] = {}

    def policy(self, path: str) -> Policy:
        """What holds for a file, its own script block included."""
        found = self._policies.get(path)
        if found is None:
            found = self._policies[path] = self.configs.policy(path, _load_or_nothing(path))
        return found

    def lint(self, files: Iterable[Found], linted: frozenset[str] | None = None) -> dict[str, Outcome]:
        """The outcome of every file of which there is something to say, and of others.

        `linted`: all files of the run, if `files` are only some of them.
        """
        every = list(files)
        self.files = len(every)
        began = perf_counter()
        snapshot = self._snapshot(every) if linted is None else None
        kept = snapshot.read() if snapshot is not None else None
        if kept is not None:
            outcomes, self.survivors, unparsed = kept
            self.unparsed = max(self.unparsed, unparsed)
            self.parsed = 0
            self.seconds["what the last run said"] = perf_counter() - began
            return outcomes
        batch = _Batch(self, every, linted)
        outcomes = batch.run()
        if snapshot is not None:
            snapshot.keep(outcomes, self.survivors, batch.unparsed)
        return outcomes

    def _snapshot(self, files: list[Found]) -> Snapshot | None:
        """What a run over the same files said before, where they are so many that it pays."""
        if self.cache is None or reader.overlay or not self.filters or len(files) < WHOLE_RUN:
            return None
        from .snapshot import Snapshot

        return Snapshot(self.cache.whole, files, self.configs, self.cache.now)

    def forget(self, path: str) -> None:
        """The file's bytes have changed: nothing that was derived from them holds."""
        self._policies.pop(path, None)


class _Batch:
    """One round over some files."""

    def __init__(self, runner: Runner, files: list[Found], linted: frozenset[str] | None) -> None:
        self.runner = runner
        self.files = files
        self.linted = frozenset(found.path for found in files) if linted is None else linted
        self.named = {found.path for found in files if found.named}
        self.masks: dict[str, Mask] = {}
        self.entries: dict[str, Entry] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.marked: set[str] = set()
        """Files with a suppression comment, which is judged even where no section can speak."""
        self.sizes: dict[str, int] = {}
        self.unreadable: set[str] = set()
        self.stats: dict[str, Stat | None] = {}
        self.prints: dict[str, bytes] = {}
        """Digests of code."""
        self.printed: dict[str, tuple[Stat | None, bytes]] = {}
        """The same with the time and size that their files had."""
        self.unparsed = 0
        self.known: set[str] = set()
        """Files whose entry the cache already has as it is."""
        self.needles = Needles(runner.catalog.sections, self._enabled())

    def run(self) -> dict[str, Outcome]:
        began = perf_counter()
        for found in self.files:
            self._scan(found)
        survivors = self.runner.survivors = self._survivors()
        spent = self.runner.seconds
        spent["the bytes of all files"] = spent.get("the bytes of all files", 0.0) + perf_counter() - began
        jobs: list[str] = []
        budget = SYNTAX_BUDGET
        unparsed = 0
        for path in self.masks:
            codes = survivors.get(path, frozenset())
            if not codes and path not in self.marked and path not in self.named:
                budget -= self.sizes[path]
                if budget < 0:
                    unparsed += 1
                    self.outcomes[path] = Outcome(path)
                    if path not in self.known:
                        self._keep(path)
                    continue
            if self._from_cache(path, codes):
                continue
            jobs.append(path)
        self.unparsed = unparsed
        self.runner.unparsed = max(self.runner.unparsed, unparsed)  # a round of fixes sees few files
        self.runner.parsed = len(jobs)
        self._lint(jobs + sorted(self.unreadable), survivors)
        if self.runner.cache is not None and not reader.overlay:
            self.runner.cache.save()
        return self.outcomes

    def _enabled(self) -> frozenset[str]:
        """The rules that the configuration of some file's folder enables."""
        folders = {os.path.dirname(found.path) for found in self.files}
        return frozenset().union(*(self.runner.configs.of_folder(folder).enabled for folder in folders))

    def _scan(self, found: Found) -> None:
        """First tier for one file: what the cache knows of its bytes, or the bytes themselves."""
        path = found.path
        cache = self.runner.cache
        entry = cache.entry(path) if cache is not None and path not in reader.overlay else None
        stat = (found.stat or stat_of(path)) if path not in reader.overlay else None
        if cache is not None:
            self.stats[path] = stat
        if entry is not None and stat is not None and entry.stat == stat:
            self.known.add(path)
            self._adopt(path, entry)
            return
        try:
            data = reader.load(path)
        except reader.Unreadable:
            self.unreadable.add(path)
            return
        digest = digest_of(data) if cache is not None else b""
        if entry is not None and entry.digest == digest and stat is not None:
            entry.stat = stat
            self._adopt(path, entry)
            if cache is not None:
                cache.keep(path, entry)
            return
        scripted = b"# /// script" in data
        mask = Mask(self.needles.find(data) if self.runner.filters else 0)
        entry = Entry(stat or (0, len(data)), digest, mask, scripted)
        entry.nothing = reader.kind_of(path) == "markdown" and b"marimo" not in data
        self.entries[path] = entry
        self.masks[path] = mask
        self.sizes[path] = len(data)
        if may_suppress(data, self.runner.catalog.prefixes):
            self.marked.add(path)
            entry.marked = True
        if not scripted:
            self.runner._policies.setdefault(path, self.runner.configs.of_file(path).policy(path))

    def _adopt(self, path: str, entry: Entry) -> None:
        self.entries[path] = entry
        self.masks[path] = entry.mask
        self.sizes[path] = entry.stat[1]
        if entry.marked:
            self.marked.add(path)
        if not entry.scripted:
            self.runner._policies.setdefault(path, self.runner.configs.of_file(path).policy(path))

    def _survivors(self) -> dict[str, frozenset[str]]:
        """The rules that may speak about each file, of those that its policy enables."""
        masks = {path: mask for path, mask in self.masks.items() if not self.entries[path].nothing}
        found = dict.fromkeys(masks, self.needles.tested)
        if self.runner.filters:
            found = self.needles.survivors(masks, _load_or_nothing, self._outside)
        for path in masks:
            if self.entries[path].scripted:
                # Its own block may enable rules whose needles nobody has looked for.
                untested = self.runner.policy(path).enabled - self.needles.tested
                found[path] = found.get(path, frozenset()) | untested
        kept = {path: codes & self.runner.policy(path).enabled for path, codes in found.items()}
        return {path: codes for path, codes in kept.items() if codes}

    def _outside(self, path: str, names: tuple[str, ...]) -> list[str]:
        """The files of its project that a file imports."""
        from .analysis.project import Project

        project = Project([self.runner.configs.of_file(path).root])
        found = []
        for name in names:
            bare = name.lstrip(".")
            other = project.resolve(path, bare, len(name) - len(bare))
            if other is not None and other != path:
                found.append(other)
        return found

    def _from_cache(self, path: str, codes: frozenset[str]) -> bool:
        """Whether an earlier outcome holds; it is taken if so."""
        entry = self.entries[path]
        if entry.outcome is None or entry.policy != self.runner.policy(path).key:
            return False
        if not codes.issubset(entry.codes):
            return False
        if not entry.outcome:
            self.outcomes[path] = Outcome(path)
            return True
        outcome = Outcome.unpack(entry.outcome)
        if reader.overlay and not reader.overlay.keys().isdisjoint(outcome.consulted):
            return False
        if not holds(outcome, self.linted, self.stats, self.prints):
            return False
        if outcome.consulted is not entry.outcome[CONSULTED]:
            entry.outcome = outcome.pack()
            self._keep(path)
        outcome.seconds = {}
        self.outcomes[path] = outcome
        return True

    def _lint(self, jobs: list[str], survivors: dict[str, frozenset[str]]) -> None:
        if not jobs:
            return
        from . import pool
        from .linter import Linter

        trees = Trees()
        linter = Linter(
            self.runner.catalog,
            self.runner.policy,
            linted=self.linted,
            project=projects(self.runner.configs, trees),
            trees=trees,
            gates=self.runner.filters,
        )
        jobs.sort(key=lambda path: (-self.sizes.get(path, 0), path))
        workers = self._workers(jobs)
        if workers > 1 or len(jobs) > 20:
            for section in self.runner.catalog.sections:
                if any(not codes.isdisjoint(section.codes) for codes in survivors.values()):
                    self.runner.catalog.load(section)

        def work(number: int) -> Any:
            path = jobs[number]
            return linter.lint(path, survivors.get(path, frozenset())).pack()

        for count, done in enumerate(pool.run(list(range(len(jobs))), work, workers), 1):
            path = jobs[done.number]
            if done.failure is None:
                outcome = Outcome.unpack(done.result)
            else:
                outcome = self._lost(path, done.failure)
            self.outcomes[path] = outcome
            self._remember(path, outcome, survivors.get(path, frozenset()))
            if self.runner.progress is not None:
                self.runner.progress(count, len(jobs))

    def _workers(self, jobs: list[str]) -> int:
        wanted = self.runner.jobs
        if wanted is not None:
            return wanted
        if sum(self.sizes.get(path, 0) for path in jobs) < PARALLEL_BYTES:
            return 1
        try:
            return len(os.sched_getaffinity(0))
        except AttributeError:
            return os.cpu_count() or 1

    def _remember(self, path: str, outcome: Outcome, codes: frozenset[str]) -> None:
        cache = self.runner.cache
        entry = self.entries.get(path)
        if cache is None or entry is None or outcome.failed or reader.overlay:
            return
        entry.policy = self.runner.policy(path).key
        entry.codes = tuple(sorted(codes))
        self._print(outcome)
        silent = not (outcome.diagnostics or outcome.candidates or outcome.consulted or outcome.elsewhere)
        entry.outcome = () if silent else outcome.pack()
        cache.keep(path, entry)

    def _print(self, outcome: Outcome) -> None:
        """Work out the digests of the files of which only the code mattered."""
        for path, stat in outcome.consulted.items():
            if stat is None or len(stat) < 3:
                continue
            if path not in self.printed:
                digest = print_of(path, self.prints)
                self.printed[path] = (stat_of(path), digest)
            time, size, _ = stat
            # Had it changed since it was read, the digest would be of another text.
            when, digest = self.printed[path]
            outcome.consulted[path] = (time, size, digest) if when == (time, size) else (time, size)

    def _keep(self, path: str) -> None:
        if self.runner.cache is not None and not reader.overlay:
            self.runner.cache.keep(path, self.entries[path])

    def _lost(self, path: str, failure: str) -> Outcome:
        """The outcome of a file whose process died or hung."""
        info = self.runner.catalog.rules["QA0003"]
        outcome = Outcome(path)
        outcome.diagnostics.append(
            Diagnostic(
                code=info.code,
                name=info.name,
                message=f"Internal error: this file could not be checked ({failure}); {REPORT_AT}.",
                severity=info.severity,
                confidence="high",
                filename=path,
                cell=None,
                notebook_cell=None,
                region=Region(1, 1, 1, 1),
                related=(),
                fix=None,
                help=None,
                status="new",
                checklist=(),
                url=info.url,
                noqa_row=1,
                fingerprint=digest_of(b"QA0003").hex(),
            )
        )
        return outcome


def _load_or_nothing(path: str) -> bytes:
    try:
        return reader.load(path)
    except reader.Unreadable:
        return b""


class Trees:
    """The files that others import, read and parsed once for a process; those used last stay."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Source, ast.Module]] = {}
        self._size = 0

    def load(self, path: str) -> tuple[Source, ast.Module]:
        """A file that another one imports. Raises what `project.load` raises."""
        found = self._kept.pop(path, None)
        if found is None:
            from .analysis.project import load

            found = load(path)
            self._size += len(found[0].text)
            while self._size > KEPT_TEXT and self._kept:
                oldest, _ = self._kept.pop(next(iter(self._kept)))
                self._size -= len(oldest.text)
        self._kept[path] = found
        return found

    def own(self, path: str) -> tuple[Source, ast.Module | None]:
        """A file that is linted, with its tree if another one has imported it.

        What is linted is not kept here: it would push out what many files import.
        """
        return self._kept.get(path) or (reader.read(path), None)


def projects(configs: Configs, trees: Trees | None = None) -> Callable[[str], Any]:
    """For a linted file the other files of its project."""
    from .analysis.project import Project, Seen

    load, seen = (trees or Trees()).load, Seen()

    def project(path: str) -> Project:
        return Project([configs.of_file(path).root], load, seen)

    return project


def merge(
    outcomes: Iterable[Outcome],
    linted: frozenset[str],
    imported_elsewhere: Callable[[str], bool] = lambda path: False,
    precedence: Iterable[tuple[str, str]] = (),
) -> list[Diagnostic]:
    """All findings of a run, each once, sorted; suppressions that no file needs become QA0004.

    `precedence` are pairs of a specific and a general rule: one fault, one finding, across files too.

    `imported_elsewhere` says whether a file outside the run imports this one, so that a suppression
    may be needed by a finding which this run cannot see.
    """
    by_path = sorted(outcomes, key=lambda outcome: outcome.path)
    used = {hit for outcome in by_path for hit in outcome.used}
    found: dict[tuple[Any, ...], Diagnostic] = {}
    for outcome in by_path:
        for item in outcome.diagnostics:
            key: tuple[Any, ...] = (item.filename, item.cell, item.region, item.code)
            if item.code in ("QA0001", "QA0003", "QA0005"):
                key += (item.message,)
            if item.filename in linted or item.filename == outcome.path:
                found.setdefault(key, item)
    for outcome in by_path:
        for number, entry, item, hits, program in outcome.candidates:
            if (outcome.path, number, entry) not in used:
                if program and imported_elsewhere(outcome.path):
                    continue
                shown = item._replace(status="suppressed") if hits else item
                found[(item.filename, item.cell, item.region, item.code)] = shown
    merged = sorted(found.values(), key=Diagnostic.sort_key)
    if len(merged) < 2:
        return merged
    from .precedence import told_elsewhere

    superfluous = told_elsewhere(merged, precedence)
    return [item for index, item in enumerate(merged) if index not in superfluous]


class Importers:
    """Whether files of the project that are not of the run import a file; rarely asked."""

    def __init__(self, configs: Configs, linted: frozenset[str]) -> None:
        self.configs = configs
        self.linted = linted
        self._others: dict[str, list[str]] = {}
        self._answers: dict[str, bool] = {}

    def __call__(self, path: str) -> bool:
        """Whether another file imports this one; True too where the project is too large to tell."""
        if path not in self._answers:
            self._answers[path] = self._imported(path)
        return self._answers[path]

    def _imported(self, path: str) -> bool:
        root = self.configs.of_file(path).root
        if not path.startswith(os.path.join(root, "")):
            root = os.path.dirname(path)
        if root not in self._others:
            discovery = Discovery(self.configs)
            discovery.add([root])
            self._others[root] = [other for other in discovery.files if other not in self.linted]
        if len(self._others[root]) > MAX_OTHERS:
            return True
        lookup = Lookup([path])
        folder, _, name = path.rpartition(os.sep)
        word = (os.path.basename(folder) if name == "__init__.py" else name.rpartition(".")[0]).encode()
        for other in self._others[root]:
            data = _load_or_nothing(other)
            if word in data and lookup.files(other, imported_names(data, other)):
                return True
        return False
