"""Applies qalint's own fixes of one rule to a program, as `check --fix --unsafe-fixes --select CODE` does."""

from __future__ import annotations

import threading
from pathlib import Path

from ..config import Configs
from ..diagnostic import Diagnostic
from ..discovery import Found
from ..fixing import Fixer as EngineFixer
from ..registry import Catalog, catalog
from ..runner import Runner, merge
from .jobs import copied
from .verify import Fixed, RuleFacts

CODE = (".py", ".md", ".qmd", ".ipynb")


class Fixer:
    """Lints and fixes whole programs, their files together. May be called from several threads."""

    # The engine keeps the texts of a fixing run in one place for the whole process.
    lock = threading.Lock()

    def __init__(self, known: Catalog | None = None) -> None:
        self.catalog = known or catalog()
        for section in self.catalog.sections:
            # All at once: a long run must not meet rules that were edited in the meantime.
            self.catalog.load(section)

    def rules(self) -> list[RuleFacts]:
        """All rules of all sections."""
        return [
            RuleFacts(rule.code, rule.name, rule.oracle)
            for rule in self.catalog.rules.values()
            if self.catalog.section_of(rule.code) is not None
        ]

    def __call__(self, files: dict[str, str], code: str) -> Fixed:
        """The files after the fixes of `code`, and how many findings there were."""
        with copied(files) as folder, self.lock:
            found = self.lint(folder, list(files), code)
            if any(item.fix is not None for item in found):
                runner, paths = self.runner(folder, list(files), code)
                EngineFixer(runner, unsafe=True).run(paths)
            after = {name: (folder / name).read_bytes().decode() for name in files}
            return Fixed(after, len(found), sum(item.fix is not None for item in found))

    def lint(self, folder: Path, names: list[str], code: str) -> list[Diagnostic]:
        """The findings of one rule, of every confidence, in a folder whose files are linted together."""
        runner, paths = self.runner(folder, names, code)
        found = merge(runner.lint(paths).values(), frozenset(path.path for path in paths))
        return [item for item in found if item.code == code and item.status == "new"]

    def runner(self, folder: Path, names: list[str], code: str) -> tuple[Runner, list[Found]]:
        """A runner of this one rule, and the files."""
        overrides = {"select": [code], "exclude": []}
        configs = Configs(self.catalog, overrides=overrides, isolated=True, environment={})
        paths = [str((folder / name).resolve()) for name in sorted(names) if name.endswith(CODE)]
        return Runner(self.catalog, configs, jobs=0), [Found(path, None, True) for path in paths]
