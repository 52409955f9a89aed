"""The other files of the project, found from their imports and read when they are needed.

Nothing is executed, and nothing outside of the roots is read: a module is looked for below the
importing file's package root and below the directories that are linted. `consulted` has every path
that was asked for, whether it exists or not, `used` those of them whose content mattered, and `read` those
of these whose text mattered and not only their code: a cache must know them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from .. import parsing, reader
from ..file import File, Neighbour
from ..source import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast

LIMIT = 1_500_000
"""Bytes: larger files are data."""

NEAR_FILES, NEAR_FOLDERS, NEAR_DEPTH = 250, 60, 3
"""How far a look at the files around one goes: so many files and folders, so many folders down."""
ASIDE = frozenset({"node_modules", "site-packages", "venv", "env", "build", "dist", "__pycache__"})
"""Folders that hold nothing of a project's own."""

LIBRARIES = {
    "accelerate": "accelerator.py",
    "apex": "amp",
    "bitsandbytes": "optim",
    "datasets": "arrow_dataset.py",
    "deepspeed": "runtime",
    "diffusers": "schedulers",
    "lightning": "fabric",
    "peft": "peft_model.py",
    "pytorch_lightning": "trainer",
    "timm": "optim",
    "torch": "autograd",
    "torchvision": "transforms",
    "transformers": "modeling_utils.py",
    "trl": "trainer",
}
"""Packages whose calls the analyses know from tables, and what such a package has in its folder: by that
it is told from a folder of a project that only shares its name."""

Load = Callable[[str], "tuple[Source, ast.Module]"]


def load(path: str) -> tuple[Source, ast.Module]:
    """The source and tree of a file. Raises reader.Unreadable, parsing.Broken or parsing.BeyondLimit."""
    source = reader.read(path)
    if len(source.raw) > LIMIT:
        raise reader.Unreadable(f"it is larger than {LIMIT:,} bytes")
    return source, parsing.tree_of(source)


Resolved = tuple["str | None", frozenset[str]]
"""What an import means, and which paths were consulted for it."""


def meanings(node: ast.Import | ast.ImportFrom) -> list[tuple[str, int]]:
    """The modules that an import can mean, as written, with their dots; what `from` takes may be one."""
    import ast

    if isinstance(node, ast.Import):
        return [(alias.name, 0) for alias in node.names]
    base = node.module or ""
    found = [(base, node.level)] if base or node.level else []
    return found + [(f"{base}.{alias.name}".lstrip("."), node.level) for alias in node.names]


class Seen:
    """What one run has seen of the file system, which all its projects share."""

    def __init__(self) -> None:
        self.listings: dict[str, frozenset[str]] = {}
        self.resolved: dict[tuple[str, ...], dict[tuple[str, str, int], Resolved]] = {}
        """The meanings of imports, by the roots."""


class Project:
    """First-party files by import."""

    def __init__(self, roots: Iterable[str] = (), load: Load = load, seen: Seen | None = None) -> None:
        self._load = load
        self.roots = tuple(os.path.abspath(root) for root in roots)
        self.consulted: set[str] = set()
        self.used: set[str] = set()
        self.read: set[str] = set()
        self._files: dict[str, File | None] = {}
        seen = Seen() if seen is None else seen
        self._dirs = seen.listings
        self._resolved = seen.resolved.setdefault(self.roots, {})

    @classmethod
    def of_file(cls, file: File) -> Project:
        """The project of a file: the one that the linter gave it, else one of its own directory."""
        found = file.project
        return found if isinstance(found, Project) else cls()

    def add(self, file: File) -> None:
        """Use an already parsed file for its path."""
        self._files[os.path.abspath(file.path)] = file

    def forget(self) -> None:
        """Let go of all files and what was worked out about them."""
        for file in self._files.values():
            if file is not None:
                file.forget()
        self._files.clear()

    def _listing(self, directory: str) -> frozenset[str]:
        found = self._dirs.get(directory)
        if found is None:
            try:
                found = frozenset(os.listdir(directory))
            except OSError:
                found = frozenset()
            self._dirs[directory] = found
        return found

    def _is_file(self, path: str) -> bool:
        self.consulted.add(path)
        head, tail = os.path.split(path)
        return tail in self._listing(head) and os.path.isfile(path)

    def _has(self, folder: str, name: str) -> bool:
        self.consulted.add(os.path.join(folder, name))
        head, tail = os.path.split(folder)
        return tail in self._listing(head) and name in self._listing(folder)

    def package_root(self, path: str) -> str:
        """The first directory above a file that is no package."""
        directory = os.path.dirname(path)
        while "__init__.py" in self._listing(directory):
            parent = os.path.dirname(directory)
            if parent == directory:
                break
            directory = parent
        return directory

    def search(self, path: str) -> list[str]:
        """The directories below which absolute imports of a file are looked for."""
        path = os.path.abspath(path)
        directory = os.path.dirname(path)
        package = self.package_root(path)
        found = [package]
        if directory not in found:
            found.append(directory)
        inside = [root for root in self.roots if path.startswith(root + os.sep)]
        for root in inside:
            # Scripts are run from the top of a project, or from any directory on the way to it.
            above = directory
            while len(above) > len(root):
                above = os.path.dirname(above)
                if above not in found:
                    found.append(above)
            for source in (root, os.path.join(root, "src")):
                if source not in found:
                    found.append(source)
        return found

    def resolve(self, path: str, module: str, level: int) -> str | None:
        """The path of the file that `import module` (or `from ..module`) in `path` means, or None.

        None as well for a library that the tables speak for (`LIBRARIES`): a script means the same whether
        it lies beside the sources of `accelerate` or not. A library's own relative imports are followed.
        """
        key = (path, module, level)
        known = self._resolved.get(key)
        if known is None:
            before, self.consulted = self.consulted, set()
            try:
                known = self._resolved[key] = (self._resolve(path, module, level), frozenset(self.consulted))
            finally:
                self.consulted = before
        self.consulted |= known[1]
        return known[0]

    def _resolve(self, path: str, module: str, level: int) -> str | None:
        if not os.path.isabs(path) and not os.path.exists(path):
            return None
        path = os.path.abspath(path)
        parts = module.split(".") if module else []
        if level:
            base = os.path.dirname(path)
            for _ in range(level - 1):
                base = os.path.dirname(base)
            return self._module(base, parts)
        if not parts:
            return None
        mark = LIBRARIES.get(parts[0])
        for directory in self.search(path):
            if mark is not None and self._has(os.path.join(directory, parts[0]), mark):
                return None
            found = self._module(directory, parts)
            if found is not None and found != path:
                return found
        return None

    def _module(self, base: str, parts: list[str]) -> str | None:
        for part in parts[:-1]:
            known = part in self._listing(base)
            base = os.path.join(base, part)
            if not known:
                self.consulted.add(base)
                return None
        if not parts:
            init = os.path.join(base, "__init__.py")
            return init if self._is_file(init) else None
        names = self._listing(base)
        last = parts[-1]
        self.consulted.add(os.path.join(base, last))
        if last in names:
            init = os.path.join(base, last, "__init__.py")
            if self._is_file(init):
                return init
        file = os.path.join(base, last + ".py")
        if self._is_file(file):
            return file
        return None

    def near(self, path: str, *words: bytes) -> Iterator[File]:
        """Files of the project around one, nearest first, that have all of some words in their text.

        A library's file does not import the programs that use it: what it is used with lies beside it.
        """
        if not os.path.exists(path):
            return
        path = os.path.abspath(path)
        queue = [(os.path.dirname(path), 0)]
        while queue[-1][0] != (above := self._above(queue[-1][0])):
            queue.append((above, 0))
        seen: set[str] = set()
        files = 0
        while queue and len(seen) < NEAR_FOLDERS:
            folder, depth = queue.pop(0)
            if folder in seen:
                continue
            seen.add(folder)
            for known in (self.consulted, self.used, self.read):
                known.add(folder)  # a file may come or go
            for name in sorted(self._listing(folder)):
                inner = os.path.join(folder, name)
                if name.endswith(".py") and inner != path and files < NEAR_FILES:
                    files += 1
                    if self._has_words(inner, words) and (found := self.file(inner)) is not None:
                        yield found
                elif depth < NEAR_DEPTH and "." not in name and name not in ASIDE and os.path.isdir(inner):
                    queue.append((inner, depth + 1))

    def _above(self, folder: str) -> str:
        """The folder above one where that belongs to the same project: a package, or scripts lie in it."""
        parent = os.path.dirname(folder)
        if "__init__.py" in self._listing(folder):
            return parent
        inside = any(folder.startswith(root + os.sep) for root in self.roots)
        return parent if inside and any(name.endswith(".py") for name in self._listing(parent)) else folder

    def _has_words(self, path: str, words: tuple[bytes, ...]) -> bool:
        """Whether the text of a file has all of some words."""
        self.consulted.add(path)
        self.used.add(path)
        try:
            raw = reader.load(path)
        except reader.Unreadable:
            return False
        return all(word in raw for word in words)

    def file(self, path: str) -> File | None:
        """The parsed file at a path; None if it cannot be read or parsed."""
        path = os.path.abspath(path)
        if path in self._files:
            return self._files[path]
        self.consulted.add(path)
        self.used.add(path)
        made: File | None = None
        try:
            made = Neighbour(*self._load(path), self)
        except (reader.Unreadable, parsing.Broken, parsing.BeyondLimit):
            made = None
        self._files[path] = made
        return made
