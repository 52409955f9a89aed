"""One file through the pipeline: read, parse, gates, analyses, rules, precedence, suppressions."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any

from . import parsing, reader
from .cache import presence, stat_of
from .describe import Describer, region
from .diagnostic import Diagnostic, PlainEdit, PlainFix
from .errors import did_you_mean
from .file import AnalysisError, File, Need
from .needles import may_suppress
from .outcome import REPORT_AT, Candidate, Consulted, Outcome
from .policy import Policy
from .precedence import hidden
from .registry import ALWAYS, Catalog
from .rule import Finding, Place, Related, Rule, Severity
from .source import Source, Span
from .suppressions import Suppressions


def parse(source: Source) -> File:
    """The file that `source` holds. Raises parsing.Broken or parsing.BeyondLimit."""
    return File(source, parsing.tree_of(source))


def requested(rule: type[Rule]) -> list[type]:
    """The analyses that the annotations of `rule.check` ask for, in order."""
    found = _requested.get(rule)
    if found is None:
        check = rule.check
        scope = {**vars(sys.modules[rule.__module__]), **vars(rule)}
        found = _requested[rule] = [
            eval(hint, getattr(check, "__globals__", scope), scope) if isinstance(hint, str) else hint
            for name, hint in check.__annotations__.items()
            if name != "return"
        ]
    return found


_requested: dict[type[Rule], list[type]] = {}


def check(file: File, rules: Iterable[Rule]) -> Iterator[Finding]:
    """The findings of `rules` on `file`, as the rules make them: no precedence, no suppressions."""
    for rule in rules:
        analyses = [file.get(analysis) for analysis in requested(type(rule))]
        if all(analysis is not None for analysis in analyses):
            yield from rule.check(*analyses)


Asked = list[tuple[type[Rule], tuple[tuple[bytes, ...], ...]]]
"""Rules that may speak of a file, each with the needles of its section."""


def needs_of(rules: Asked) -> dict[str, set[Need]]:
    """What the rules need that ask for an analysis, by its name."""
    needs: dict[str, set[Need]] = {}
    for rule, needles in rules:
        with suppress(Exception):  # annotations that cannot be read: the rule's own failure will say it
            for analysis in requested(rule):
                need = Need((*rule.needles, *needles), rule.subject, rule.in_users)
                needs.setdefault(analysis.__name__, set()).add(need)
    return needs


class Linter:
    """Lints single files; what is the same for all of them is kept here."""

    def __init__(
        self,
        catalog: Catalog,
        policy_of: Callable[[str], Policy],
        *,
        linted: Container[str] | None = None,
        project: Callable[[str], Any] = lambda path: None,
        trees: Any = None,
        gates: bool = True,
    ) -> None:
        self.catalog = catalog
        self.policy_of = policy_of
        self.linted = linted
        """The files of this run; a cross-file finding elsewhere moves to a related place in one of them."""
        self.project = project
        """The other files as analyses see them: anew for each linted file, to know what it consulted."""
        self.trees = trees
        """What this process has parsed already (`runner.Trees`)."""
        self.gates = gates
        self.prefixes = catalog.prefixes

    def lint(self, path: str, codes: frozenset[str]) -> Outcome:
        """The outcome of one file under those of the rules `codes` that its policy enables."""
        lint = _Lint(self, path, codes)
        try:
            return lint.run()
        finally:
            if lint.project is not None:
                lint.project.forget()
            if lint.file is not None:
                lint.file.forget()

    def resolve(self, text: str) -> frozenset[str]:
        """The codes that an entry of a suppression stands for."""
        named = self.catalog.names.get(text) or self.catalog.former.get(text)
        if named:
            return frozenset({named})
        if not any(character.isdigit() for character in text):
            return frozenset()
        return frozenset(code for code in self.catalog.rules if code.startswith(text))


class _Lint:
    """The state of one file on its way through."""

    def __init__(self, linter: Linter, path: str, codes: frozenset[str]) -> None:
        self.linter = linter
        self.path = path
        self.policy = linter.policy_of(path)
        self.codes = codes & self.policy.enabled
        self.outcome = Outcome(path)
        self.describer = Describer(linter.catalog)
        self.trees: dict[str, ast.Module] = {}
        self.file: File | None = None
        self.partial = False
        """Whether cells are missing, so that what the program as a whole does is unknown."""
        self.project: Any = None
        self._suppressions: dict[str, Suppressions] = {}
        self._gates: dict[Callable[[File], bool], bool] = {}

    def run(self) -> Outcome:
        began = perf_counter()
        try:
            trees, tree = self.linter.trees, None
            if trees is None:
                source = reader.read(self.path)
            else:
                source, tree = trees.own(self.path)
            self.file = self._parsed(source, tree)
        except reader.Unreadable as error:
            self._whole(Source(self.path, "", raw=b""), "QA0001", f"This file cannot be checked: {error}.")
        except parsing.BeyondLimit as error:
            self._whole(source, "QA0001", f"This file cannot be checked: {error}.")
        except parsing.Broken:
            self._broken(source)
        self.outcome.seconds["read and parse"] = perf_counter() - began
        if self.file is not None:
            self.trees[self.path] = self.file.tree
            self._finish(self._raw(self.file))
            if self.project is not None:
                self.outcome.consulted = {
                    path: self._state(path) for path in self.project.consulted if path != self.path
                }
            self.outcome.unknowns = [
                (place.source.row(place.start), reason) for place, reason in self.file.unknowns
            ]
        return self.outcome

    def _state(self, path: str) -> Consulted:
        """What a cache has to know of a file that was consulted."""
        if path not in self.project.used:
            return presence(path)
        stat = stat_of(path)
        return stat if stat is None or path in self.project.read else (*stat, b"")

    def _broken(self, source: Source) -> None:
        """Each syntax error, and what the other cells say where the file is a marimo notebook."""
        rest = parsing.readable_cells(source)
        for broken in parsing.broken_blocks(source) if rest is None else rest[1]:
            self._syntax_error(source, broken)
        if rest is not None:
            self.partial = True
            self.file = self._parsed(source, rest[0])

    def _parsed(self, source: Source, tree: ast.Module | None = None) -> File:
        self.project = self.linter.project(self.path)
        file = File(source, tree or parsing.tree_of(source), self.project, self.policy.floors)
        if self.project is not None:
            self.project.add(file)
        return file

    def _raw(self, file: File) -> list[Finding]:
        """What the rules say, each failure confined to the rule or analysis that failed."""
        found: list[Finding] = []
        failed: set[str] = set()
        rules = self._asked(file)
        if self.linter.gates:
            file.needs = needs_of(rules)
        for rule, _ in rules:
            found += self._findings(file, rule, failed)
        for name, seconds in file.seconds.items():
            self.outcome.seconds[f"analysis {name}"] = seconds
        return found

    def _asked(self, file: File) -> Asked:
        """The rules that the gates let speak."""
        asked: Asked = []
        for info in self.linter.catalog.sections:
            if self.codes.isdisjoint(info.codes) or (self.partial and info.program):
                continue
            section = self.linter.catalog.load(info)
            began = perf_counter()
            try:
                opened = not self.linter.gates or section.gate is None or section.gate(file.tree)
            except Exception as error:
                self._failure(f"the gate of section {section.id}", error)
                opened = True
            self._spent(f"gate {section.id}", began)
            if not opened:
                continue
            asked += [
                (rule, section.needles)
                for rule in section.rules
                if rule.code in self.codes and self._passes(file, rule)
            ]
        return asked

    def _passes(self, file: File, rule: type[Rule]) -> bool:
        """Whether the gate of a rule lets a file pass; each gate looks at a file once."""
        gate = rule.gate
        if gate is Rule.gate or not self.linter.gates:
            return True
        if gate not in self._gates:
            began = perf_counter()
            try:
                self._gates[gate] = gate(file)
            except (AnalysisError, RecursionError):
                self._gates[gate] = True  # the rule meets the same failure, and says so
            except Exception as error:
                self._failure(f"the gate of the rule {rule.code}", error)
                self._gates[gate] = True
            self._spent(f"gate {rule.code}", began)
        return self._gates[gate]

    def _findings(self, file: File, rule: type[Rule], failed: set[str]) -> list[Finding]:
        began, found = perf_counter(), []
        try:
            for finding in check(file, [rule(self.policy.options.get(rule.name))]):
                found.append(finding)  # noqa: PERF402 - what came before a failure is kept
        except AnalysisError as error:
            if error.analysis not in failed:
                failed.add(error.analysis)
                if isinstance(error.__cause__, RecursionError):
                    self._too_deep(file.source, f"the analysis {error.analysis}")
                else:
                    self._failure(f"the analysis {error.analysis}", error.__cause__ or error)
        except RecursionError:
            self._too_deep(file.source, f"the rule {rule.code}")
        except Exception as error:
            self._failure(f"the rule {rule.code} ({rule.name})", error)
        self._spent(f"rule {rule.code}", began)
        return found

    def _too_deep(self, source: Source, what: str) -> None:
        limit = f"Python's limit of {sys.getrecursionlimit():,} nested calls"
        self._whole(
            source, "QA0001", f"This file cannot be checked by {what}: its code is nested beyond {limit}."
        )

    def _spent(self, what: str, began: float) -> None:
        self.outcome.seconds[what] = self.outcome.seconds.get(what, 0.0) + perf_counter() - began

    def _finish(self, raw: list[Finding]) -> None:
        """Precedence, placement, suppressions, and what is wrong with the suppressions themselves."""
        for finding in raw:
            self.outcome.counts[finding.code] = self.outcome.counts.get(finding.code, 0) + 1
        superfluous = hidden(raw, self.linter.catalog.precedence, self.trees)
        kept = [self._placed(finding) for index, finding in enumerate(raw) if index not in superfluous]
        kept.sort(key=lambda finding: (finding.place.source.path, finding.place.start, finding.code))
        assert self.file is not None
        own = self._suppressions_of(self.file.source)
        for finding in kept:
            path = finding.place.source.path
            if finding.code not in self.linter.policy_of(path).enabled:
                continue
            item = self.describer.describe(finding, self.trees.get(path), self._cell_name(finding.place))
            row = finding.place.source.row(finding.place.start)
            hits = self._suppressions_of(finding.place.source).hits(finding.code, row)
            if hits:
                self.outcome.used.update((path, *hit) for hit in hits)
                item = item._replace(status="suppressed")
            self.outcome.diagnostics.append(item)
        self._judge(own)

    def _placed(self, finding: Finding) -> Finding:
        """The finding where it may stand: in a file of this run; else at a related place in one."""
        linted, path = self.linter.linted, finding.place.source.path
        if path != self.path:
            self.outcome.elsewhere[path] = linted is None or path in linted
        if path == self.path or linted is None or path in linted:
            return finding
        for item in sorted(finding.related, key=lambda item: item.place.source.path != self.path):
            if item.place.source.path in linted:
                return Finding(
                    code=finding.code,
                    name=finding.name,
                    place=item.place,
                    message=finding.message,
                    severity=finding.severity,
                    confidence=finding.confidence,
                    related=(
                        Related(finding.place, "the act itself stands here"),
                        *(other for other in finding.related if other is not item),
                    ),
                    help=finding.help,
                )
        return finding

    def _suppressions_of(self, source: Source) -> Suppressions:
        if source.path not in self._suppressions:
            tree = self.trees.get(source.path)
            if tree is None and may_suppress(source.raw, self.linter.prefixes):
                tree = parsing.tree_of(source)
            self._suppressions[source.path] = Suppressions(
                source, tree, self.linter.resolve, self.linter.prefixes
            )
        return self._suppressions[source.path]

    def _judge(self, own: Suppressions) -> None:
        """QA0005 for what is wrong, and QA0004 in case that no file's findings need an entry."""
        source = own.source
        former = self.linter.catalog.former
        self.outcome.renamed = [
            (source.row(code.span.start), code.text)
            for directive in own.directives
            for code in directive.codes
            if code.text in former
        ]
        if "QA0005" in self.policy.enabled:
            for span, message in own.invalid:
                written = source.text[span.start : span.end]
                known = [*self.linter.catalog.rules, *self.linter.catalog.names]
                near = did_you_mean(written, known) if " " not in written else ""
                self._engine_finding(
                    "QA0005", Place(source, *span), message.replace(", so", f"{near}, so"), own
                )
        if "QA0004" not in self.policy.enabled or self.partial:
            return
        for number, directive in enumerate(own.directives):
            if directive.verb == "enable":
                continue
            for entry, code in enumerate(directive.codes):
                if not self._ran(code.rules) or "QA0004" in code.rules:
                    continue
                removal = own.removal(directive, entry)
                item = self._diagnostic(
                    "QA0004", Place(source, *code.span), f"`{code.text}` suppresses nothing here."
                )
                where = Place(source, *removal)
                edit = PlainEdit(*removal, "", region(where))
                whole = len(directive.codes) == 1 and directive.verb != "shared noqa"
                words = "Remove the comment" if whole else f"Remove `{code.text}`"
                item = item._replace(fix=PlainFix("safe", words, (edit,)))
                hits = own.hits("QA0004", source.row(code.span.start))
                program = any(
                    section is not None and section.program
                    for section in map(self.linter.catalog.section_of, code.rules)
                )
                self.outcome.candidates.append(Candidate(number, entry, item, tuple(hits), program))

    def _ran(self, rules: frozenset[str]) -> bool:
        """Whether every rule that an entry names by default, or the one it names, has run."""
        catalog = self.linter.catalog.rules
        expected = {code for code in rules if catalog[code].default} or rules
        return expected <= self.policy.enabled

    def _engine_finding(self, code: str, place: Place, message: str, own: Suppressions | None = None) -> None:
        item = self._diagnostic(code, place, message)
        if own is not None and code not in ALWAYS:
            hits = own.hits(code, place.source.row(place.start))
            if hits:
                self.outcome.used.update((self.path, *hit) for hit in hits)
                item = item._replace(status="suppressed")
        self.outcome.diagnostics.append(item)

    def _diagnostic(self, code: str, place: Place, message: str) -> Diagnostic:
        info = self.linter.catalog.rules[code]
        severity = Severity(info.severity)
        message = message.rstrip(".")
        finding = Finding(code=code, name=info.name, place=place, message=message, severity=severity)
        return self.describer.describe(finding, None, self._cell_name(place))

    def _whole(self, source: Source, code: str, message: str) -> None:
        """A finding about the file as a whole, at its first line."""
        self._engine_finding(code, Place(source, 0, 0), message)

    def _syntax_error(self, source: Source, broken: parsing.Broken) -> None:
        row = source.row(broken.offset)
        end = min(broken.offset + 1, source.line_starts[row - 1] + len(source.line(row)))
        place = Place(source, broken.offset, max(broken.offset, end))
        item = self._diagnostic("QA0002", place, f"Syntax error: {broken.message}.")
        self.outcome.diagnostics.append(item._replace(notebook_cell=_cell_above(source, broken.offset)))

    def _failure(self, what: str, error: BaseException) -> None:
        import traceback

        frames = traceback.extract_tb(error.__traceback__)
        at = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        message = f"Internal error: {what} failed here ({said}{at}); {REPORT_AT}."
        source = self.file.source if self.file is not None else Source(self.path, "", raw=b"")
        self._whole(source, "QA0003", message)
        self.outcome.tracebacks.append("".join(traceback.format_exception(error)))

    def _cell_name(self, place: Place) -> str | None:
        """The marimo cell that a place of the linted file stands in."""
        if self.file is None or place.source is not self.file.source or "marimo" not in place.source.text:
            return None
        from .analysis.notebook import Notebook

        try:
            notebook = self.file.get(Notebook)
        except AnalysisError:
            return None
        if notebook is None:
            return None
        for cell in notebook.cells:
            if cell.span.start <= place.start < max(cell.span.end, cell.span.start + 1):
                return str(cell.name) if cell.name else None
        return None


def _cell_above(source: Source, offset: int) -> str | None:
    """The name of the marimo cell around a place in a file that cannot be parsed."""
    text = source.text[:offset]
    start = max(text.rfind("@app.cell"), text.rfind("@app.function"))
    if source.kind != "python" or start < 0:
        return None
    header = text[start:].partition("def ")[2]
    name = header.partition("(")[0].strip()
    return name if name.isidentifier() else None


__all__ = ["Linter", "Outcome", "Span", "check", "parse", "requested"]
