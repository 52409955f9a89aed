"""Applies qalint's own fixes of one rule to a program, the way `check --fix --unsafe-fixes` does."""

from __future__ import annotations

from pathlib import Path

from .. import reader
from ..diagnostic import Diagnostic, PlainEdit, PlainFix
from ..linter import Linter
from ..policy import Policy
from ..registry import Catalog, catalog
from .jobs import copied
from .verify import Fixed, RuleFacts

ROUNDS = 20
"""A fix may open the way for the next; more rounds than this do not converge."""


class Fixer:
    """Lints and fixes whole programs, their files together."""

    def __init__(self, known: Catalog | None = None) -> None:
        self.catalog = known or catalog()

    def rules(self) -> list[RuleFacts]:
        """All rules of all sections."""
        return [
            RuleFacts(rule.code, rule.name, rule.oracle)
            for rule in self.catalog.rules.values()
            if self.catalog.section_of(rule.code) is not None
        ]

    def __call__(self, files: dict[str, str], code: str) -> Fixed:
        """The files after the fixes of `code`, and how many findings there were."""
        with copied(files) as folder:
            first = self.lint(folder, list(files), code)
            found = first
            for _ in range(ROUNDS):
                if not self.apply(found):
                    break
                found = self.lint(folder, list(files), code)
            after = {name: (folder / name).read_text(encoding="utf-8") for name in files}
            return Fixed(after, len(first), sum(item.fix is not None for item in first))

    def lint(self, folder: Path, names: list[str], code: str) -> list[Diagnostic]:
        """The findings of one rule in a folder, all its files linted together."""
        section = self.catalog.section_of(code)
        assert section is not None
        paths = [
            str((folder / name).resolve())
            for name in names
            if name.endswith((".py", ".md", ".qmd", ".ipynb"))
        ]
        policy = Policy(frozenset({code}))
        linter = Linter(self.catalog, lambda _: policy, linted=frozenset(paths), project=_project())
        found: dict[tuple[object, ...], Diagnostic] = {}
        for path in paths:
            for item in linter.lint(path, [section]).diagnostics:
                if item.code == code:
                    found.setdefault((item.filename, item.region), item)
        return sorted(found.values(), key=Diagnostic.sort_key)

    def apply(self, found: list[Diagnostic]) -> bool:
        """Write the fixes that do not overlap; whether there were any."""
        by_file: dict[str, list[PlainFix]] = {}
        for item in found:
            if item.fix is not None and item.fix.applicability != "display-only":
                by_file.setdefault(item.filename, []).append(item.fix)
        for filename, fixes in by_file.items():
            taken: list[tuple[int, int]] = []
            edits: list[PlainEdit] = []
            for fix in fixes:
                spans = [(edit.start, edit.end) for edit in fix.edits]
                if any(
                    start <= other_end and other <= end for start, end in spans for other, other_end in taken
                ):
                    continue
                taken += spans
                edits += fix.edits
            Path(filename).write_bytes(reader.rewrite(reader.read(filename), edits))
        return bool(by_file)


def _project() -> object:
    try:
        from ..analysis.project import Project
    except ImportError:
        return None
    return Project()
