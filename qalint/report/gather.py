"""What reports and diagnoses are made from: the files, and what every rule says about them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .. import parsing, reader
from ..config import Config, Configs
from ..diagnostic import Diagnostic
from ..discovery import Discovery, Found
from ..errors import UsageError
from ..file import File
from ..registry import RuleInfo, catalog
from ..report_data import Report
from ..runner import Runner, merge, projects
from ..source import Source
from .paths import readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .evidence import Facts

Problem = UsageError
"""Why a report cannot be made, in one sentence."""

STANDARD_INPUT = "stdin.py"
Watch = Callable[[], Callable[[int, int], None]]


class EveryRule(Configs):
    """The configuration of each file, with every rule on that it does not ignore."""

    def _config(self, path: str | None, root: str) -> Config:
        if path not in self._by_file:
            config = super()._config(path, root)
            layers: list[tuple[str, dict[str, Any]]] = [("qalint", {"select": ["ALL"]})]
            for where, layer in config.layers:
                layers.append(
                    (where, {key: value for key, value in layer.items() if key not in ("select", "preset")})
                )
            self._by_file[path] = Config(root, layers, self.catalog)
        return self._by_file[path]


class Gathered:
    """The findings of every rule on some files, and the files themselves.

    `findings` are the ones that no comment suppresses, of every confidence, sorted. `files` parses each
    file anew, so that its analyses can be asked for evidence. `followed` are the modules that came in
    because a named program trains with them: they are judged, and not scored.
    """

    def __init__(
        self, target: str, configs: Configs, runner: Runner, found: list[Found], progress: Watch | None = None
    ) -> None:
        self.target = target
        self.catalog = runner.catalog
        self._runner = runner
        self._configs = configs
        self._progress = progress
        self._sources: dict[str, Source | None] = {}
        self._files: dict[str, File | None] = {}
        self.facts: list[Facts] | None = None
        """What the analyses of each file know, once somebody has asked (see `judge.facts_of`)."""
        self._project = projects(configs)
        self.paths = [each.path for each in found]
        self.named = [each.path for each in found if each.named]
        self.followed = self._follow(self.named)
        self.paths += self.followed
        found = [*found, *(Found(path, None, True) for path in self.followed)]
        outcomes = runner.lint(found)
        linted = frozenset(self.paths)
        self.all = merge(outcomes.values(), linted, precedence=configs.catalog.precedence)
        self.findings = [item for item in self.all if item.status == "new"]
        self.unknowns = {path: outcome.unknowns for path, outcome in outcomes.items() if outcome.unknowns}

    def _follow(self, named: list[str]) -> list[str]:
        """The modules with which the named files train."""
        if not named:
            return []
        from .follow import followed

        def excluded(path: str, importer: str) -> bool:
            def out(each: str) -> bool:
                return self._configs.of_file(each).excludes.match_with_parents(each)

            return out(path) and not out(importer)

        return followed(named, self.paths, self.file, excluded)

    @property
    def beside(self) -> str:
        """The modules that are judged with the named files, as a sentence; empty where there are none."""
        if not self.followed:
            return ""
        return f"Judged with the modules it trains with: {', '.join(map(readable, self.followed))}."

    def broken(self) -> dict[str, Diagnostic]:
        """The files that could not be read, parsed or judged, with the finding that says so."""
        return {item.filename: item for item in self.findings if item.code in ("QA0001", "QA0002", "QA0003")}

    def enabled(self, path: str) -> frozenset[str]:
        """The rules that ran on a file: all that its configuration does not ignore."""
        return self._runner.policy(path).enabled

    def source(self, path: str) -> Source | None:
        """The text of a file, or None."""
        if path not in self._sources:
            try:
                self._sources[path] = reader.read(path)
            except reader.Unreadable:
                self._sources[path] = None
        return self._sources[path]

    def files(self) -> Iterator[File]:
        """The files that can be parsed, and that hold anything to judge, in order."""
        progress = self._progress() if self._progress and len(self.paths) > 3 else None
        for done, path in enumerate(self.paths, 1):
            if (file := self.file(path)) is not None:
                yield file
            if progress is not None:
                progress(done, len(self.paths))

    def file(self, path: str) -> File | None:
        """One parsed file, or None."""
        if path not in self._files:
            self._files[path] = None
            source = self.source(path)
            if source is not None and not (source.kind == "markdown" and not source.blocks):
                try:
                    policy = self._runner.policy(path)
                    project = self._project(path)
                    file = File(source, parsing.tree_of(source), project, policy.floors)
                    if project is not None:
                        project.add(file)
                    self._files[path] = file
                except (parsing.Broken, parsing.BeyondLimit):
                    pass
        return self._files[path]

    def rule(self, code: str) -> RuleInfo | None:
        """What is known of a rule."""
        return self.catalog.rules.get(code)

    def report(self, findings: Iterable[Diagnostic], **options: Any) -> Report:
        """The findings as the output formats of `check` take them."""
        return Report(
            tuple(findings),
            files=len(self.paths),
            base=os.getcwd(),
            get_source=self.source,
            get_rule=self.rule,
            **options,
        )


def gather(paths: list[str], progress: Watch | None = None) -> Gathered:
    """Every rule's findings on the files under `paths`. Raises `Problem` (UsageError).

    `progress` makes what is told of each pass over the files: how many are done, of how many.
    """
    known = catalog()
    configs = EveryRule(known)
    discovery = Discovery(configs)
    given = [path for path in paths if path != "-"]
    discovery.add(given)
    found = discovery.sorted()
    if "-" in paths:
        path = os.path.abspath(STANDARD_INPUT)
        reader.overlay[path] = sys.stdin.buffer.read()
        found.append(Found(path, None, True))
    return Gathered(
        ", ".join(paths),
        configs,
        Runner(known, configs, progress=progress() if progress else None),
        found,
        progress,
    )


def diagnostic_json(finding: Diagnostic) -> dict[str, Any]:
    """The JSON of one finding, as `qalint check` writes it."""
    from ..output.json import as_json

    return as_json(finding, Report())
