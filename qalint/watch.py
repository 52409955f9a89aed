"""`--watch`: run again whenever a file of the run, its folder or a configuration changes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from .config import NAMES
from .errors import UsageError

INTERVAL = 0.5
"""Seconds between two looks at the files."""


def watch(arguments: Any, make: Callable[[Any], Any], rounds: int | None = None) -> int:
    """Run until interrupted; an error of the user's is shown and awaits its repair. `rounds` is for tests."""
    if arguments.stdin_filename is not None or arguments.paths == ["-"]:
        raise UsageError("Standard input cannot be watched.")
    done = 0
    while rounds is None or done < rounds:
        if sys.stdout.isatty():
            print("\033[2J\033[H", end="")
        try:
            check = make(arguments)
            check.run()
        except UsageError as error:
            print(f"error: {error}", file=sys.stderr)
        done += 1
        print("Watching for changes...", file=sys.stderr)
        before = _state(arguments.paths or ["."])
        while _state(arguments.paths or ["."]) == before and (rounds is None or done < rounds):
            time.sleep(INTERVAL)
    return 0


def _upward(folders: set[str]) -> set[str]:
    """The folders, and all above them: a configuration may lie in any."""
    found: set[str] = set()
    for folder in folders:
        while folder not in found:
            found.add(folder)
            folder = os.path.dirname(folder)
    return found


def _state(paths: list[str]) -> dict[str, tuple[int, int]]:
    """Time and size of everything that a run below these paths could depend on."""
    found: dict[str, tuple[int, int]] = {}
    pending = [os.path.abspath(path) for path in paths]
    folders = {path if os.path.isdir(path) else os.path.dirname(path) for path in pending}
    pending += [os.path.join(folder, name) for folder in _upward(folders) for name in NAMES]
    while pending:
        path = pending.pop()
        try:
            if os.path.isdir(path):
                with os.scandir(path) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            if not entry.name.startswith(".") and entry.name not in (
                                "node_modules",
                                "__pycache__",
                            ):
                                pending.append(entry.path)
                        elif entry.name.endswith(
                            (".py", ".pyi", ".ipynb", ".md", ".qmd", ".toml", ".gitignore")
                        ):
                            pending.append(entry.path)
            else:
                status = os.stat(path)
                found[path] = (status.st_mtime_ns, status.st_size)
        except OSError:
            continue
    return found
