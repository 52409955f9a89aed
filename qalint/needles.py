"""The first tier: which rules can have anything to say about a file, decided on bytes alone.

Needles hold for a program: for a file together with the files of the run that it imports. The first
group of a rule should be its rarest: only files that have it, or import one that has it, are asked
for the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .registry import SectionInfo

FEW = 500
"""In runs of so few files the files that they import are looked at even where they are not of the run."""
HOPS = 2
"""How many imports away a needle may lie from the file whose program it belongs to."""

_IMPORT = re.compile(
    rb"\n[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n\r]*)|import[ \t]+([^\n\r]*))"
)
_JUPYTER_IMPORT = re.compile(
    rb"[\"n][ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+([^\n\r\"\\]*)|import[ \t]+([^\n\r\"\\]*))"
)
_NAME = re.compile(r"[A-Za-z_]\w*")

Groups = tuple[bytes, ...]
Outside = Callable[[str, tuple[str, ...]], list[str]]
"""From a file and the dotted names that it imports to files of its project on disk."""


class Mask:
    """What is known of one file's bytes: `known` groups were looked for, `hits` were found."""

    __slots__ = ("hits", "imports", "known")

    def __init__(self, known: int = 0, hits: int = 0, imports: tuple[str, ...] | None = None) -> None:
        self.known = known
        self.hits = hits
        self.imports = imports
        """Dotted names as written (`.utils`, `torch.amp`); None until they were asked for."""


class _Unit(NamedTuple):
    """Rules that need the same groups; `wanted` are their numbers, the rarest first."""

    wanted: tuple[int, ...]
    program: bool
    codes: frozenset[str]


class Needles:
    """The needles of the rules that a run selects."""

    def __init__(self, sections: Iterable[SectionInfo], enabled: frozenset[str]) -> None:
        self.groups: list[Groups] = []
        numbers: dict[Groups, int] = {}
        units: dict[tuple[tuple[int, ...], bool], set[str]] = {}
        for section in sections:
            for code, own in zip(section.codes, section.rule_needles, strict=True):
                if code not in enabled:
                    continue
                wanted = []
                for group in (*own, *section.needles):
                    if group not in numbers:
                        numbers[group] = len(self.groups)
                        self.groups.append(group)
                    wanted.append(numbers[group])
                units.setdefault((tuple(wanted), section.program), set()).add(code)
        self.units = [_Unit(*key, frozenset(codes)) for key, codes in units.items()]
        self.tested = frozenset(code for unit in self.units for code in unit.codes)
        self.first = sorted({unit.wanted[0] for unit in self.units if unit.wanted})

    def test(self, mask: Mask, data: bytes, numbers: Iterable[int]) -> None:
        """Look for groups in a file's bytes, each at most once."""
        for number in numbers:
            bit = 1 << number
            if not mask.known & bit:
                mask.known |= bit
                for needle in self.groups[number]:
                    if needle in data:
                        mask.hits |= bit
                        break

    def survivors(
        self, masks: dict[str, Mask], load: Callable[[str], bytes], outside: Outside | None = None
    ) -> dict[str, frozenset[str]]:
        """The rules that may speak about each file; files without any are left out.

        Every mask must know the groups in `first`. `outside` finds imported files that are not of the run.
        """
        found: dict[str, set[str]] = {}
        graph = _Graph(masks, load, outside if len(masks) <= FEW else None)
        for unit in self.units:
            if not unit.wanted:
                candidates = set(masks)
            else:
                rare = 1 << unit.wanted[0]
                candidates = {path for path, mask in masks.items() if mask.hits & rare}
                if unit.program and graph.outside is not None:
                    candidates = set(masks)
                elif candidates and unit.program and len(unit.wanted) > 1:
                    candidates |= graph.importers(candidates)
            for path in candidates:
                if self._covered(path, unit, graph):
                    found.setdefault(path, set()).update(unit.codes)
        return {path: frozenset(codes) for path, codes in found.items()}

    def _covered(self, path: str, unit: _Unit, graph: _Graph) -> bool:
        """Whether the file, or the file and what it imports, have all groups between them."""
        bits = sum(1 << number for number in unit.wanted)
        hits = self._hits(path, unit, bits, graph)
        if hits == bits:
            return True
        own = bits & ~(1 << unit.wanted[-1]) if len(unit.wanted) > 1 else bits
        if not unit.program or not hits & own:
            return False
        seen, layer = {path}, [path]
        for _ in range(HOPS):
            layer = [near for item in layer for near in graph.imports(item) if near not in seen]
            seen.update(layer)
            for item in layer:
                hits |= self._hits(item, unit, bits, graph)
                if hits == bits:
                    return True
        return False

    def _hits(self, path: str, unit: _Unit, bits: int, graph: _Graph) -> int:
        mask = graph.masks[path]
        if bits & ~mask.known:
            self.test(mask, graph.load(path), unit.wanted)
        return mask.hits & bits


class _Graph:
    """Who imports whom among the files of the run; worked out only when a section asks."""

    def __init__(self, masks: dict[str, Mask], load: Callable[[str], bytes], outside: Outside | None) -> None:
        self.run = tuple(masks)
        self.masks = dict(masks)
        self.load = load
        self.outside = outside
        self._lookup: Lookup | None = None
        self._imports: dict[str, tuple[str, ...]] = {}
        self._importers: dict[str, list[str]] | None = None

    def imports(self, path: str) -> tuple[str, ...]:
        """The files that a file imports."""
        found = self._imports.get(path)
        if found is None:
            mask = self.masks[path]
            if mask.imports is None:
                mask.imports = imported_names(self.load(path), path)
            if self._lookup is None:
                self._lookup = Lookup(self.run)
            near = self._lookup.files(path, mask.imports)
            if self.outside is not None:
                for other in self.outside(path, mask.imports):
                    if other not in near:
                        near.append(other)
                        self.masks.setdefault(other, Mask())
            found = self._imports[path] = tuple(near)
        return found

    def importers(self, targets: Iterable[str]) -> set[str]:
        """The files that reach one of `targets` within the hops."""
        if self._importers is None:
            self._importers = {}
            for path in self.run:
                for near in self.imports(path):
                    self._importers.setdefault(near, []).append(path)
        found: set[str] = set()
        layer = set(targets)
        for _ in range(HOPS):
            layer = {path for item in layer for path in self._importers.get(item, ())} - found
            found |= layer
        return found


def imported_names(data: bytes, path: str) -> tuple[str, ...]:
    """The modules that a file's bytes import, and what it takes from them, as dotted names."""
    pattern = _JUPYTER_IMPORT if path.endswith(".ipynb") else _IMPORT
    found: dict[str, None] = {}
    for module, names, plain in pattern.findall(b"\n" + data if data[:1] in (b"f", b"i") else data):
        if plain:
            for part in plain.decode("utf-8", "replace").partition("#")[0].split(","):
                if words := part.split():
                    found[words[0]] = None
            continue
        base = module.decode("utf-8", "replace")
        found[base] = None
        for part in names.decode("utf-8", "replace").strip("() \t").split(","):
            if match := _NAME.match(part.strip()):
                found[base + ("" if base.endswith(".") else ".") + match.group()] = None
    return tuple(found)


class Lookup:
    """From dotted names to files of the run, whatever folder is on the path."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_stem: dict[str, list[str]] = {}
        for path in paths:
            stem, extension = os.path.splitext(path)
            if extension in (".py", ".pyi"):
                folder, _, name = stem.rpartition(os.sep)
                if name == "__init__":
                    stem, name = folder, folder.rpartition(os.sep)[2]
                self._by_stem.setdefault(name, []).append(path)

    def files(self, importer: str, names: Iterable[str]) -> list[str]:
        """The files that the names may stand for, seen from `importer`; too many rather than too few."""
        found: dict[str, None] = {}
        folder = os.path.dirname(importer)
        for name in names:
            bare = name.lstrip(".")
            level = len(name) - len(bare)
            candidates = self._by_stem.get(bare.rpartition(".")[2])
            if not candidates or not bare:
                if level and not bare:
                    candidates = self._by_stem.get(_up(folder, level).rpartition(os.sep)[2], [])
                else:
                    continue
            tail = bare.replace(".", os.sep)
            base = _up(folder, level) if level else ""
            for path in candidates:
                stem = path.rpartition(".")[0]
                stem = stem.removesuffix(os.sep + "__init__")
                wanted = os.path.join(base, tail) if level and tail else base or tail
                if (level and stem == wanted) or (
                    not level and (stem == tail or stem.endswith(os.sep + tail))
                ):
                    found[path] = None
        return [path for path in found if path != importer]


def _up(folder: str, level: int) -> str:
    for _ in range(level - 1):
        folder = os.path.dirname(folder)
    return folder


def may_suppress(data: bytes, prefixes: frozenset[str]) -> bool:
    """Whether a file's bytes can hold a suppression; `prefixes` are the letters that codes start with."""
    if b"qalint:" in data:
        return True
    for prefix in map(str.encode, prefixes):
        if prefix in data and re.search(rb"(?i:noqa)[ \t]*:[^\r\n]*" + prefix + rb"\d", data):
            return True
    return False
