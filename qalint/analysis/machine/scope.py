"""The program that starts in a file, before anything is run: its files, and what they hold at all.

Most files of a library hold no word of what a rule speaks of. The gates below say so from the facts of the
files, and their program is never run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from ..project import Project
from .slicing import Facts, Module, Program

if TYPE_CHECKING:
    from ...file import File


class Scope:
    """The files of a program; None where a file has no story at all."""

    def __init__(self, file: File) -> None:
        from .programs import Files, notebook_body

        self.home = Module(file, notebook_body(file))
        self.program = Program()
        self.program.add(self.home)
        self.files = Files(self.program, Project.of_file(file), self.home)

    @classmethod
    def of(cls, file: File) -> Self | None:
        """The scope of `file`'s program."""
        from .programs import relevant

        if not relevant(file.source.text):
            return None
        made = cls(file)
        return made if made.files.load_all() else None

    def holds(self, test: Callable[[Facts], object]) -> bool:
        """Whether a test is true of something in one of the files."""
        return any(
            test(facts)
            for module in self.program.modules.values()
            for facts in (module.top, *module.facts.scan.owners.values())
        )


STEPS = frozenset(("backward", "unscale_", "GradScaler", "ShardedGradScaler", "manual_backward"))


def trains(file: File) -> bool:
    """Gate: somewhere in the program a backward is called, gradients are unscaled or a scaler is made."""
    scope = file.get(Scope)
    return scope is not None and scope.holds(lambda facts: not facts.words.isdisjoint(STEPS))


def halves(file: File) -> bool:
    """Gate: somewhere in the program something is FP16 or becomes it."""
    scope = file.get(Scope)
    return scope is not None and scope.holds(lambda facts: facts.halves)


def keeps_iterators(file: File) -> bool:
    """Gate: somewhere in the program an iterator over parameters is kept, so that it can be met again."""
    scope = file.get(Scope)
    return scope is not None and scope.holds(lambda facts: facts.held > 0)
