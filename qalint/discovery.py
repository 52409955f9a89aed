"""Which files a run looks at: what is named, and what lies below a named folder.

Below a folder, excluded names, `.gitignore` and symbolic links are left out; links are followed
only where a person names them, so that a repository cannot lead a run out of itself or in circles.
A file that is named is looked at whatever its name, unless `--force-exclude` is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from .config import Config, Configs
from .errors import UsageError

EXTENSIONS = (".py", ".pyi", ".ipynb", ".md", ".qmd")


class Found(NamedTuple):
    """One file (absolute path); `stat` is (time, size) if the walk had it; `named` on the command line."""

    path: str
    stat: tuple[int, int] | None
    named: bool


class Discovery:
    """The files of a run, sorted by path, and what was left out."""

    def __init__(self, configs: Configs) -> None:
        self.configs = configs
        self.files: dict[str, Found] = {}
        self.excluded: list[str] = []
        """Named files and folders that are excluded."""
        self.links = 0
        """Symbolic links that were not followed."""
        self._ignores: dict[str, list[tuple[str, Any]]] = {}

    def add(self, paths: Iterable[str]) -> None:
        """Look at the named paths. UsageError for one that does not exist."""
        for path in paths:
            absolute = os.path.abspath(path)
            if not os.path.lexists(absolute):
                raise UsageError(f"The path {path} does not exist.")
            config = self.configs.of_folder(
                absolute if os.path.isdir(absolute) else os.path.dirname(absolute)
            )
            if config.values["force-exclude"] and config.excludes.match_with_parents(absolute):
                self.excluded.append(path)
            elif os.path.isdir(absolute):
                self._walk(absolute)
            else:
                self.files[absolute] = Found(absolute, None, True)

    def sorted(self) -> list[Found]:
        """All files, sorted by path."""
        return [self.files[path] for path in sorted(self.files)]

    def _walk(self, root: str) -> None:
        pending = [(root, self._ignores_above(root))]
        while pending:
            folder, ignores = pending.pop()
            try:
                with os.scandir(folder) as scan:
                    entries = list(scan)
            except OSError:
                # Reading it as a file makes the QA0001 that says so.
                self.files.setdefault(folder, Found(folder, None, False))
                continue
            config = self.configs.of_folder(folder)
            if config.values["respect-gitignore"]:
                ignores = self._ignores_of(folder, entries, ignores)
            else:
                ignores = []
            for entry in entries:
                name = entry.name
                if entry.is_symlink():
                    self.links += 1
                elif entry.is_dir(follow_symlinks=False):
                    if not self._left_out(config, entry.path, ignores, folder=True):
                        pending.append((entry.path, ignores))
                elif (
                    name.endswith(EXTENSIONS)
                    and entry.path not in self.files
                    and not self._left_out(config, entry.path, ignores, folder=False)
                    and entry.is_file(follow_symlinks=False)
                ):
                    status = entry.stat(follow_symlinks=False)
                    self.files[entry.path] = Found(entry.path, (status.st_mtime_ns, status.st_size), False)

    @staticmethod
    def _left_out(config: Config, path: str, ignores: list[tuple[str, Any]], *, folder: bool) -> bool:
        if config.excludes.match(path):
            return True
        for base, spec in reversed(ignores):
            relative = path[len(base) + 1 :].replace(os.sep, "/") + ("/" if folder else "")
            verdict = spec.check_file(relative).include
            if verdict is not None:
                return bool(verdict)
        return False

    def _ignores_above(self, root: str) -> list[tuple[str, Any]]:
        """The `.gitignore` files from the top of the git repository down to above `root`."""
        folders: list[str] = []
        folder = root
        while not os.path.exists(os.path.join(folder, ".git")):
            parent = os.path.dirname(folder)
            if parent == folder:
                return []
            folder = parent
            folders.append(folder)
        found: list[tuple[str, Any]] = []
        exclude = os.path.join(folder, ".git", "info", "exclude")
        if folder != root:
            found += _spec(folder, exclude)
        for above in reversed(folders):
            found += _spec(above, os.path.join(above, ".gitignore"))
        return found

    @staticmethod
    def _ignores_of(
        folder: str, entries: list[os.DirEntry[str]], ignores: list[tuple[str, Any]]
    ) -> list[tuple[str, Any]]:
        names = {entry.name for entry in entries}
        more: list[tuple[str, Any]] = []
        if ".git" in names:
            more += _spec(folder, os.path.join(folder, ".git", "info", "exclude"))
        if ".gitignore" in names:
            more += _spec(folder, os.path.join(folder, ".gitignore"))
        return [*ignores, *more] if more else ignores


def _spec(base: str, path: str) -> list[tuple[str, Any]]:
    """The patterns of one ignore file; none where it says nothing. `pathspec` is imported only if it does."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line for line in file.read().splitlines() if line.strip() and not line.startswith("#")]
    except OSError:
        return []
    if not lines:
        return []
    from pathspec import GitIgnoreSpec

    return [(base, GitIgnoreSpec.from_lines(lines))]
