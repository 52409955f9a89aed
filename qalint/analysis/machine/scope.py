"""The program that starts in a file, before anything is run: its files, and what they hold at all.

Most files of a library hold no word of what a rule speaks of. The gates below say so from the facts of the
files, and their program is never run.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from ..project import Project
from .facts import Facts
from .slicing import Module, Program

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

        own = relevant(file.source.text)
        if not own and not launches(file.tree.body):
            return None
        made = cls(file)
        if not made.files.load_all():
            return None
        if not own and not any(relevant(module.file.source.text) for module in made.program.modules.values()):
            return None
        return made

    def holds(self, test: Callable[[Facts], object]) -> bool:
        """Whether a test is true of something in one of the files."""
        return any(
            test(facts)
            for module in self.program.modules.values()
            for facts in (module.top, *module.facts.scan.owners.values())
        )


def launches(body: list[ast.stmt]) -> bool:
    """Whether a file that says nothing itself may start what it imports: its top level calls or repeats."""
    from .programs import is_main

    for statement in body:
        if isinstance(statement, ast.For | ast.While | ast.With) or is_main(statement):
            return True
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            return True
        if isinstance(statement, ast.Try | ast.If) and launches(statement.body):
            return True
    return False


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
