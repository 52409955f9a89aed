"""File patterns of the configuration: as in ruff, by name or by path relative to the configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

_GLOB = re.compile(r"[*?\[]")


class Patterns:
    """A pattern without a slash matches the name of any file or folder; others match whole paths."""

    def __init__(self, patterns: Iterable[str], root: str) -> None:
        self.texts = tuple(patterns)
        names: set[str] = set()
        name_globs: list[str] = []
        paths: list[str] = []
        for text in self.texts:
            clean = text.rstrip("/") or text
            if "/" not in clean and _GLOB.search(clean):
                name_globs.append(_translate(clean))
            elif "/" not in clean:
                names.add(clean)
            else:
                absolute = os.path.join(root, clean).replace(os.sep, "/")
                paths.append(_translate(absolute))
        self._names = frozenset(names)
        self._name_glob = re.compile("|".join(name_globs)) if name_globs else None
        self._paths = re.compile("|".join(paths)) if paths else None

    def match(self, path: str) -> bool:
        """Whether the path itself (absolute) is meant."""
        name = path.rpartition(os.sep)[2]
        if name in self._names or (self._name_glob is not None and self._name_glob.fullmatch(name)):
            return True
        return self._paths is not None and bool(self._paths.fullmatch(path.replace(os.sep, "/")))

    def match_with_parents(self, path: str) -> bool:
        """Whether the path or a folder above it is meant."""
        while True:
            if self.match(path):
                return True
            parent = os.path.dirname(path)
            if parent == path:
                return False
            path = parent


def _translate(pattern: str) -> str:
    """A glob as a regular expression: `*` stays inside a name, `**` crosses folders, `{a,b}` alternates."""
    out, index = [], 0
    while index < len(pattern):
        char = pattern[index]
        if pattern.startswith("**/", index):
            out.append("(?:.*/)?")
            index += 3
            continue
        if pattern.startswith("**", index):
            out.append(".*")
            index += 2
            continue
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[" and (end := pattern.find("]", index + 2)) > 0:
            inside = pattern[index + 1 : end].replace("\\", "\\\\")
            out.append("[" + ("^" + inside[1:] if inside.startswith("!") else inside) + "]")
            index = end
        elif char == "{" and (end := pattern.find("}", index)) > 0:
            out.append("(?:" + "|".join(map(_translate, pattern[index + 1 : end].split(","))) + ")")
            index = end
        else:
            out.append(re.escape(char))
        index += 1
    return "(?:" + "".join(out) + ")"
