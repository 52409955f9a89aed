"""The fixtures: which programs there are to run, and what is wrong with them."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..registry import Catalog

READABLE = frozenset({".py", ".md", ".qmd", ".ipynb", ".txt", ".json", ".toml", ".csv"})


class Case(NamedTuple):
    """One fixture of one rule."""

    rule: str
    """The rule's name."""
    name: str
    """`missing-grad-scaler/bad_script`."""
    good: bool
    files: dict[str, str]
    """Relative path to text; the folder of the fixture is the root."""
    main: str
    """The file that is run, relative as well."""


def fixtures() -> Path | None:
    """The folder of the fixtures: of a clone, else of the installed package."""
    beside = Path(__file__).resolve().parents[2] / "fixtures"
    if (beside / "trainer" / "train.py").exists():
        return beside
    found = importlib.util.find_spec("qalint_fixtures")
    for place in (found.submodule_search_locations or []) if found is not None else []:
        if (Path(place) / "trainer" / "train.py").exists():
            return Path(place)
    return None


def cases(root: Path) -> Iterator[Case]:
    """All fixtures under `root`, in order: `SECTION/RULE/good_x` and `SECTION/RULE/bad_x`."""
    for entry in sorted(root.glob("*/*/*")):
        if entry.parent.parent.name not in ("trainer", "dashboard"):
            yield from _case(entry)


def plugin_cases(known: Catalog) -> Iterator[Case]:
    """The fixtures that plugins bring: `fixtures/RULE/good_x` and `bad_x` beside the module of a section."""
    for section in known.sections:
        module = importlib.util.find_spec(section.entry.partition(":")[0])
        if module is not None and module.origin is not None:
            for entry in sorted((Path(module.origin).parent / "fixtures").glob("*/*")):
                yield from _case(entry)


def _case(entry: Path) -> Iterator[Case]:
    """The fixture at a path, if it is one."""
    good, bad = entry.name.startswith("good_"), entry.name.startswith("bad_")
    if not (good or bad):
        return
    if entry.is_dir():
        files = {
            path.relative_to(entry).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted(entry.rglob("*"))
            if path.is_file() and path.suffix in READABLE and "__marimo__" not in path.parts
        }
        main = main_of(files)
    elif entry.suffix in READABLE:
        files = {entry.name: entry.read_text(encoding="utf-8")}
        main = entry.name
    else:
        return
    if main:
        yield Case(entry.parent.name, f"{entry.parent.name}/{entry.stem}", good, files, main)


def main_of(files: dict[str, str]) -> str:
    """The program among several files: by its name, else the one that says it is one."""
    for name in ("main.py", "train.py", "notebook.py", "run.py"):
        if name in files:
            return name
    code = [name for name in files if name.endswith((".py", ".ipynb", ".md"))]
    programs = [name for name in code if "__main__" in files[name]]
    return (programs or code or [""])[0]


def script_of(name: str, text: str) -> str | None:
    """What to execute for a file: a Jupyter notebook becomes its cells one after the other, magics left out.

    None for what cannot be executed as a script (Markdown).
    """
    if name.endswith(".py"):
        return text
    if name.endswith(".ipynb"):
        cells = json.loads(text).get("cells", [])
        blocks = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        lines = [line for block in blocks for line in block.splitlines()]
        return "\n".join("" if re.match(r"\s*[%!]", line) else line for line in lines) + "\n"
    return None
