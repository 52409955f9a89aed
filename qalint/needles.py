"""The first tier: which rules can have anything to say about a file, decided on bytes alone.

Needles hold for a program: for a file together with the files of the project that it imports.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

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

_DEAD = rb"""(?sx)
    [\r\n][ \t]*[rRuUbB]?(?:
        \"\"\"[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"\"\"
        |'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''
    )
    |\#[^\r\n]*
    |(
        \"\"\"[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"\"\"
        |'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''
        |"[^"\\\n]*(?:\\.[^"\\\n]*)*"
        |'[^'\\\n]*(?:\\.[^'\\\n]*)*'
    )"""
"""Docstrings and comments. Strings that stay are in the group, so that a `#` in one starts no comment."""

Groups = tuple[bytes, ...]
Outside = Callable[[str, tuple[str, ...]], list[str]]
"""From a file and the dotted names that it imports to files of its project on disk."""


def unless(core: bytes, before: Iterable[bytes] = (), after: Iterable[bytes] = ()) -> bytes:
    """A needle that does not count right after one of `before`, or right before one of `after`."""
    return b"\0".join([core, *(b"<" + text for text in before), *(b">" + text for text in after)])


LAUNCH = (
    b"__main__",
    b"\nmain(",
    b"\nrun(",
    b"\ntrain(",
    b"\nfor ",
    b"\nwith ",
    b"\nwhile ",
    b"\ntry:",
    b".fit(",
    b".train(",
    b".run(",
)
"""A file with one of these may start a program all of whose needles lie in what it imports."""

PROSE = 4
"""A string with so many spaces is a sentence: it names no device, dtype, module or attribute."""


def code_of(data: bytes) -> bytes:
    """The bytes of a Python file without its docstrings, comments and sentences."""
    pieces = re.split(_DEAD, data)
    for at in range(1, len(pieces), 2):
        text = pieces[at]
        if text and len(text) > 2 * PROSE and text.count(b" ") >= PROSE and b"{" not in text:
            pieces[at] = b"''"
    return b"".join(filter(None, pieces))


def imports_relatively(data: bytes) -> bool:
    """Whether a file's bytes hold `from .` at the start of a line, so that it can be no script."""
    at = data.find(b"from .")
    while at >= 0:
        if not data[data.rfind(b"\n", 0, at) + 1 : at].strip(b" \t"):
            return True
        at = data.find(b"from .", at + 1)
    return False


class Mask:
    """What is known of one file's bytes: `hits` are the groups that it has, as bits."""

    __slots__ = ("code", "hits", "imports", "script")

    def __init__(
        self,
        hits: int = 0,
        imports: tuple[str, ...] | None = None,
        code: int | None = None,
        script: bool | None = None,
    ) -> None:
        self.hits = hits
        self.imports = imports
        """Dotted names as written (`.utils`, `torch.amp`); None until they were asked for."""
        self.code = code
        """The groups that its code has, without docstrings and comments; None until that was asked for."""
        self.script = script
        """Whether it can be started by itself; None until that was asked for."""

    @property
    def program(self) -> int:
        """The groups that count for what a program does, as far as known."""
        return self.hits if self.code is None else self.code


class _Test(NamedTuple):
    """What a needle found says: the groups that it is of, and where it does not count."""

    bits: int
    before: tuple[bytes, ...]
    after: tuple[bytes, ...]

    def counts(self, data: bytes, start: int, end: int) -> bool:
        """Whether the needle found at these offsets counts."""
        return not (self.before and data.endswith(self.before, 0, start)) and not (
            self.after and data.startswith(self.after, end)
        )


class _Unit(NamedTuple):
    """Rules that need the same groups; `wanted` are their numbers, the rarest first, the commonest last."""

    wanted: tuple[int, ...]
    program: bool
    starts: int
    codes: frozenset[str]
    bits: int
    """The groups as bits."""
    last: int
    """The commonest as a bit."""


class Needles:
    """The needles of the rules that a run selects."""

    def __init__(self, sections: Iterable[SectionInfo], enabled: frozenset[str]) -> None:
        self.groups: list[Groups] = []
        numbers: dict[Groups, int] = {}
        units: dict[tuple[tuple[int, ...], bool, int], set[str]] = {}

        def number_of(group: Groups) -> int:
            if group not in numbers:
                numbers[group] = len(self.groups)
                self.groups.append(group)
            return numbers[group]

        for section in sections:
            for code, own in zip(section.codes, section.rule_needles, strict=True):
                if code not in enabled:
                    continue
                wanted = tuple(number_of(group) for group in (*own, *section.needles))
                starts = 1 << number_of(section.starts) if section.starts else 0
                units.setdefault((wanted, section.program, starts), set()).add(code)
        self.launch = 1 << number_of(LAUNCH) if any(program for _, program, _ in units) else 0
        """The files that may start a program, as a bit."""
        self.units = [
            _Unit(
                *key,
                frozenset(codes),
                sum(1 << number for number in key[0]),
                1 << key[0][-1] if key[0] else 0,
            )
            for key, codes in units.items()
        ]
        self.tested = frozenset(code for unit in self.units for code in unit.codes)
        bits: dict[bytes, int] = {}
        for number, group in enumerate(self.groups):
            for needle in group:
                bits[needle] = bits.get(needle, 0) | 1 << number
        self._tests: dict[bytes, list[_Test]] = {}
        for needle in sorted(bits):
            core, *around = needle.split(b"\0")
            before = tuple(text[1:] for text in around if text.startswith(b"<"))
            after = tuple(text[1:] for text in around if text.startswith(b">"))
            self._tests.setdefault(core, []).append(_Test(bits[needle], before, after))
        self._ordered = list(self._tests.values())
        self._matcher = _matcher(list(self._tests))

    def find(self, data: bytes) -> int:
        """The groups that a file's bytes have, as bits."""
        hits = 0
        if self._matcher is not None:
            for needle, start, end in self._matcher.find_matches_as_indexes(data, overlapping=True):
                for test in self._ordered[needle]:
                    if test.bits & ~hits and test.counts(data, start, end):
                        hits |= test.bits
            return hits
        for core, tests in self._tests.items():
            start = data.find(core)
            while start >= 0:
                for test in tests:
                    if test.counts(data, start, start + len(core)):
                        hits |= test.bits
                start = data.find(core, start + 1) if any(test.bits & ~hits for test in tests) else -1
        return hits

    def survivors(
        self, masks: dict[str, Mask], load: Callable[[str], bytes], outside: Outside | None = None
    ) -> dict[str, frozenset[str]]:
        """The rules that may speak about each file; files without any are left out.

        `outside` finds imported files that are not of the run; it is asked only in runs of few files.
        """
        found: dict[str, set[str]] = {}
        graph = _Graph(masks, load, outside if len(masks) <= FEW else None, self.find)
        alike: dict[tuple[int, int], list[str]] = {}
        for path, mask in masks.items():
            alike.setdefault((mask.hits, mask.program), []).append(path)
        programs: set[str] = set()
        for unit in self.units:
            bits, rest = unit.bits, unit.bits & ~unit.last
            for (hits, program), paths in alike.items():
                own = program if unit.program else hits
                launches = own & self.launch if unit.program else 0
                if not own & rest and own & bits != bits and not own & unit.starts and not launches:
                    continue  # nothing, or no more than the commonest, and nothing that a program starts with
                for path in _covered(paths, own, unit, graph, launches):
                    if unit.program and masks[path].code is None and path.endswith(".py"):
                        programs.add(path)
                    found.setdefault(path, set()).update(unit.codes)
        if programs:
            # What docstrings and comments say is no part of a program: such files are looked at once more.
            for path in programs:
                masks[path].code = self.find(code_of(load(path)))
            return self.survivors(masks, load, outside)
        return {path: frozenset(codes) for path, codes in found.items()}


def _covered(paths: list[str], hits: int, unit: _Unit, graph: _Graph, launches: int) -> list[str]:
    """Which of these files, or of the programs that start in them, have all groups of a unit.

    With only a part of them (`hits`) in itself a file counts as the start of a program if it has the
    first, the rarest, and whatever the section says that starts have, or if it can be a script: one
    that imports relatively cannot. A file with no part of them is asked only where it `launches` something.
    """
    bits, wanted = unit.bits, unit.wanted
    own = hits & bits
    if own == bits:
        return paths
    if not (own or launches) or not unit.program:
        return []
    if not (own & (1 << wanted[0]) and (hits & unit.starts or not unit.starts)):
        paths = [path for path in paths if graph.is_script(path)]
    return [path for path in paths if graph.reach(path, HOPS) & bits == bits]


def _matcher(needles: list[bytes]) -> Any:
    """An automaton that finds all needles in one pass (90 of them in 53 MB: 0.1 s against 1.7 s one by one).

    None where the package is not there: then each group is looked for by itself, when it is asked for.
    """
    try:
        from ahocorasick_rs import BytesAhoCorasick, Implementation
    except ImportError:
        return None
    return BytesAhoCorasick(needles, implementation=Implementation.DFA) if needles else None


class _Graph:
    """Who imports whom, and what the bytes of an import's neighbourhood hold; worked out only if asked."""

    def __init__(
        self,
        masks: dict[str, Mask],
        load: Callable[[str], bytes],
        outside: Outside | None,
        find: Callable[[bytes], int],
    ) -> None:
        self.run = tuple(masks)
        self.masks = dict(masks)
        self.load = load
        self.outside = outside
        self.find = find
        self._lookup: Lookup | None = None
        self._imports: dict[str, tuple[str, ...]] = {}
        self._reach: dict[tuple[str, int], int] = {}

    def reach(self, path: str, hops: int) -> int:
        """The groups that a file and the files up to `hops` imports away have between them."""
        key = (path, hops)
        found = self._reach.get(key)
        if found is None:
            found = self.masks[path].program
            if hops:
                for near in self.imports(path):
                    found |= self.reach(near, hops - 1)
            self._reach[key] = found
        return found

    def names(self, path: str) -> tuple[str, ...]:
        """The dotted names that a file imports."""
        mask = self.masks[path]
        if mask.imports is None:
            mask.imports = imported_names(self.load(path), path)
        return mask.imports

    def is_script(self, path: str) -> bool:
        """Whether a file can be started by itself."""
        mask = self.masks[path]
        if mask.script is None:
            mask.script = path.endswith("__main__.py") or not imports_relatively(self.load(path))
        return mask.script

    def imports(self, path: str) -> tuple[str, ...]:
        """The files that a file imports."""
        found = self._imports.get(path)
        if found is None:
            names = self.names(path)
            if self._lookup is None:
                self._lookup = Lookup(self.run)
            near = self._lookup.files(path, names)
            if self.outside is not None:
                for other in self.outside(path, names):
                    if other not in near:
                        near.append(other)
                        if other not in self.masks:
                            self.masks[other] = Mask(self.find(self.load(other)))
            found = self._imports[path] = tuple(near)
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
