"""The oldest versions of torch and marimo that a project allows, by its own requirements."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .settings import version

PACKAGES = ("torch", "marimo")
_REQUIREMENT = re.compile(
    r"^\s*['\"]?(torch|marimo)(?:\[[^\]]*\])?\s*(?P<bounds>(?:[<>=!~]=?=?\s*[\w.*+]+\s*,?\s*)*)"
)
_LOWER = re.compile(r"(?:>=|==|~=|>)\s*(\d[\w.]*)")
_SCRIPT = re.compile(rb"^# /// script[ \t]*\r?\n(?P<body>(?:#(?:[ \t][^\n]*)?\r?\n)+?)# ///[ \t]*\r?$", re.M)


def floors_in(requirements: Any) -> dict[str, tuple[int, ...]]:
    """The lower bounds among requirement lines."""
    found: dict[str, tuple[int, ...]] = {}
    if not isinstance(requirements, Iterable) or isinstance(requirements, str):
        return found
    for line in requirements:
        match = _REQUIREMENT.match(line) if isinstance(line, str) else None
        lower = _LOWER.search(match["bounds"]) if match else None
        if match and lower and (number := version(lower[1])):
            found[match[1]] = number
    return found


def floors_of(root: str) -> dict[str, tuple[int, ...]]:
    """The floors that `pyproject.toml` and `requirements*.txt` of a folder set."""
    found: dict[str, tuple[int, ...]] = {}
    try:
        names = sorted(entry for entry in os.listdir(root) if re.fullmatch(r"requirements.*\.txt", entry))
    except OSError:
        return found
    for name in names:
        try:
            with open(os.path.join(root, name), encoding="utf-8", errors="replace") as file:
                found |= floors_in(file.read(200_000).splitlines())
        except OSError:
            continue
    try:
        with open(os.path.join(root, "pyproject.toml"), "rb") as file:
            data = file.read(1_000_000)
    except OSError:
        return found
    if any(package.encode() in data for package in PACKAGES):
        project = _toml(data).get("project")
        if isinstance(project, Mapping):
            found |= floors_in(project.get("dependencies", ()))
    return found


def script_block(data: bytes) -> dict[str, Any]:
    """The `# /// script` block of a file (PEP 723) as a table; empty where there is none or it is broken."""
    match = _SCRIPT.search(data)
    if match is None:
        return {}
    lines = match["body"].replace(b"\r\n", b"\n").split(b"\n")
    return _toml(b"\n".join(line[2:] if line.startswith((b"# ", b"#\t")) else line[1:] for line in lines))


def _toml(data: bytes) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}
