"""Which definitions of a library can matter to the rules that ask: the others are not run.

The needles of a rule hold for a program. Where no program starts, every function or class that nobody
is seen to call begins one, and its text is its own and that of what it names in its file. So each rule's
needles are looked for there once more: only what has them all, and what uses it, is run.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from ...needles import code_of, imports_relatively
from ..project import Project
from .needles import RUN
from .starting import acts, trains
from .toplevel import TopLevel, bound_names
from .traits import traits_of

if TYPE_CHECKING:
    from ...file import File, Need

DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_WORD = re.compile(rb"[A-Za-z_]\w*")


class Part:
    """A statement of a file's top level that binds names and runs nothing."""

    __slots__ = ("bases", "code", "inner", "node", "opaque", "users", "uses")

    def __init__(self, node: ast.stmt, code: bytes) -> None:
        self.node = node
        self.code = code
        self.uses: set[int] = set()
        """The parts that it names, as numbers."""
        self.users: set[int] = set()
        self.opaque = False
        """Whether it names something of another file of the program, of whose text nothing is known."""
        self.inner: frozenset[int] | None = None
        self.bases: list[ast.ClassDef] | None = None
        """The classes of other files that it is derived from; None until that was asked for."""


def _lineage(file: File, name: str, seen: set[tuple[str, str]]) -> list[ast.ClassDef]:
    """The class that a name imported by a file stands for, and what it is derived from."""
    project = Project.of_file(file)
    while (file.path, name) not in seen:
        seen.add((file.path, name))
        top = TopLevel.of(file.tree)
        path = project.resolve(file.path, *top.imports[name]) if name in top.imports else None
        other = project.file(path) if path is not None else None
        if other is None:
            return []
        file = other
        for statement in TopLevel.of(file.tree).waiting.get(name, ()):
            if isinstance(statement, ast.ClassDef):
                inner = [_own_lineage(file, base, seen) for base in traits_of(statement).bases]
                return [statement, *(one for some in inner for one in some)]
    return []


def _own_lineage(file: File, name: str, seen: set[tuple[str, str]]) -> list[ast.ClassDef]:
    """The same for a name that may stand for a class of the file itself."""
    for statement in TopLevel.of(file.tree).waiting.get(name, ()):
        if isinstance(statement, ast.ClassDef) and (file.path, name) not in seen:
            seen.add((file.path, name))
            inner = [_own_lineage(file, base, seen) for base in traits_of(statement).bases]
            return [statement, *(one for some in inner for one in some)]
    return _lineage(file, name, seen)


class Relevance:
    """The definitions of a file's top level, what they use, and which of them needles let pass."""

    def __init__(self, file: File, needs: Iterable[Need], *, passive: bool) -> None:
        self.file = file
        self.passive = passive
        self._acts = not passive and acts(file.tree.body)
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.parts: list[Part] = []
        source = file.source
        bounds = [*source.line_starts, len(source.text)]
        rest: list[str] = []
        binders: dict[bytes, list[int]] = {}
        bound = TopLevel.of(file.tree).bound
        last = 0
        for statement in file.tree.body:
            decorators = getattr(statement, "decorator_list", ())
            first = min([statement.lineno, *(node.lineno for node in decorators)])
            end = statement.end_lineno or first
            if not isinstance(statement, DEFINITIONS):
                rest.append(source.text[bounds[last] : bounds[end]])
                last = end
                if isinstance(statement, ast.Import | ast.ImportFrom):
                    continue
            else:
                rest.append(source.text[bounds[last] : bounds[first - 1]])
                last = end
            self._starts.append(first)
            self._ends.append(end)
            for name in bound.get(statement) or bound_names(statement):
                binders.setdefault(name.encode(), []).append(len(self.parts))
            self.parts.append(Part(statement, code_of(source.text[bounds[first - 1] : bounds[end]].encode())))
        rest.append(source.text[bounds[last] :])
        self.common = code_of("".join(rest).encode())
        """What does not wait to be called: imports, assignments, tests."""
        self.code = b"\n".join([self.common, *(part.code for part in self.parts)])
        self._offsets: list[int] = []
        """Where each part begins in the code."""
        at = len(self.common) + 1
        for part in self.parts:
            self._offsets.append(at)
            at += len(part.code) + 1
        self._known: dict[bytes, frozenset[int] | None] = {}
        self.foreign = self._foreign()
        for number, part in enumerate(self.parts):
            words = set(_WORD.findall(part.code))
            part.opaque = not words.isdisjoint(self.foreign)
            for word in words & binders.keys():
                for other in binders[word]:
                    if other != number:
                        part.uses.add(other)
                        self.parts[other].users.add(number)
        self._opaque = {number for number, part in enumerate(self.parts) if part.opaque}
        self.wanted = self._wanted(needs)
        if not passive:
            working = {number for number, part in enumerate(self.parts) if trains(part.code)}
            self.wanted |= {n for n in range(len(self.parts)) if not working.isdisjoint(self.reach(n))}

    def _foreign(self) -> set[bytes]:
        """The names of what may lie in other files, where those count: see `qalint.needles`."""
        if not self._acts and imports_relatively(self.file.source.raw):
            return set()
        project = Project.of_file(self.file)
        origins = TopLevel.of(self.file.tree).imports
        found = {origin: project.resolve(self.file.path, *origin) for origin in set(origins.values())}
        return {name.encode() for name, origin in origins.items() if found[origin] is not None}

    def matters(self, node: ast.AST) -> bool:
        """Whether a definition, or what it stands in, is to be run."""
        line = getattr(node, "lineno", 0)
        at = bisect_right(self._starts, line) - 1
        return at in self.wanted and line <= self._ends[at]

    def reach(self, number: int) -> frozenset[int]:
        """A part and all that it uses, by way of others too."""
        part = self.parts[number]
        if part.inner is None:
            seen = {number}
            queue = [number]
            while queue:
                for other in self.parts[queue.pop()].uses:
                    if other not in seen:
                        seen.add(other)
                        queue.append(other)
            part.inner = frozenset(seen)
        return part.inner

    def _wanted(self, needs: Iterable[Need]) -> set[int]:
        """The parts to run, by number, if these are the needles of the rules that ask."""
        hits: dict[tuple[bytes, ...], AbstractSet[int] | None] = {}
        found: set[int] = set()
        for need in needs:
            left: list[AbstractSet[int]] = []
            for group in need.needles:
                if group not in hits:
                    hits[group] = self._hits(group)
                where = hits[group]
                if where is not None:
                    left.append(where)
            for number in self._complete(left) if left else range(len(self.parts)):
                if (number not in found or need.in_users) and self._holds(number, need):
                    found.add(number)
                    if need.in_users:
                        found |= self.parts[number].users
        return found

    def _holds(self, number: int, need: Need) -> bool:
        """Whether a part and what it uses hold what a rule speaks of, as far as that can be seen."""
        reached = self.reach(number)
        if any(self.parts[one].opaque for one in reached):
            return True
        trees: list[ast.AST] = [self.parts[one].node for one in sorted(reached)]
        if need.subject(trees):
            return True
        bases = self._bases(reached)
        return bool(bases) and need.subject([*trees, *bases])

    def _bases(self, reached: frozenset[int]) -> list[ast.ClassDef]:
        """The classes of other files that some parts are derived from."""
        found: dict[ast.ClassDef, None] = {}
        for number in reached:
            part = self.parts[number]
            if part.bases is None:
                part.bases = []
                if isinstance(part.node, ast.ClassDef):
                    for name in traits_of(part.node).bases:
                        part.bases += _lineage(self.file, name, set())
            found.update(dict.fromkeys(part.bases))
        # One that makes nothing when an object is made adds nothing.
        return [base for base in found if "__init__" in traits_of(base).functions and traits_of(base).layers]

    def _hits(self, group: tuple[bytes, ...]) -> AbstractSet[int] | None:
        """The parts that have one of these bytes; None where they may lie outside of any part."""
        # In a library what begins a program does not count: none begins here, the words mean something else.
        # Elsewhere it counts for all: a model's class need not say that it is trained.
        begins = [needle.partition(b"\0")[0] for needle in group if needle in RUN and not self.passive]
        cores = [needle.partition(b"\0")[0] for needle in group if needle not in RUN]
        if any(core in self.code for core in begins):
            return None
        found: set[int] = set()
        anywhere = False
        for core in cores:
            where = self._of(core)
            if where is None:
                return None
            anywhere = anywhere or bool(where)
            found |= where
        return self._opaque if self.foreign and not anywhere else found

    def _of(self, core: bytes) -> frozenset[int] | None:
        """The parts that have these bytes; None where they lie outside of any. One search for all."""
        if core in self._known:
            return self._known[core]
        code, offsets = self.code, self._offsets
        found: set[int] | None = set()
        at = code.find(core)
        while at >= 0:
            number = bisect_right(offsets, at) - 1
            if number < 0:
                found = None
                break
            if number + 1 == len(offsets):
                found.add(number)  # type: ignore[union-attr]
                break
            if at + len(core) <= offsets[number + 1]:
                found.add(number)  # type: ignore[union-attr]
                at = code.find(core, offsets[number + 1])
            else:
                at = code.find(core, at + 1)  # it lies across the end of a part
        self._known[core] = None if found is None else frozenset(found)
        return self._known[core]

    def _complete(self, groups: list[AbstractSet[int]]) -> set[int]:
        """The parts nearest to the first group, the rarest, that reach all groups."""
        found: set[int] = set()
        if any(not group for group in groups):
            return found
        seen: set[int] = set(groups[0])
        queue = list(seen)
        while queue:
            number = queue.pop()
            reached = self.reach(number)
            missing = any(reached.isdisjoint(group) for group in groups)
            if not missing or any(self.parts[one].opaque for one in reached):
                found.add(number)
                continue
            for user in self.parts[number].users - seen:
                seen.add(user)
                queue.append(user)
        return found
