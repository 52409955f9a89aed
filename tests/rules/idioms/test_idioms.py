"""Cells in many idioms, each with the findings that sections 13, 15 and 16 must have, and no other.

A case begins with `=== name`, a cell with `---`, which a signature, decorator arguments or `raw` (text
that is no cell) may follow; what stands before the first cell is module text. `# expect: CODES` marks
the line of a finding. A first cell imports marimo as `mo`. `miss` after a name: not found yet.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from qalint.linter import check
from qalint.precedence import hidden
from qalint.registry import catalog
from qalint.rule import Confidence
from qalint.testing import file_of

FILES = sorted(Path(__file__).parent.glob("*.txt"))
HEAD = (
    "import marimo\n\napp = marimo.App()\n\n\n"
    "@app.cell\ndef _():\n    import marimo as mo\n    return (mo,)\n\n\n"
)


def cases() -> Iterator[object]:
    for file in FILES:
        for part in re.split(r"^=== *", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            head, _, body = part.partition("\n")
            name, *flags = head.split()
            marks = [pytest.mark.xfail(strict=True, reason="not found yet")] if "miss" in flags else []
            yield pytest.param(written(body), id=f"{file.stem}/{name}", marks=marks)


def written(body: str) -> str:
    """The notebook of a case."""
    before, *cells = re.split(r"^---", body, flags=re.MULTILINE)
    text = HEAD + (before.strip("\n") + "\n\n\n" if before.strip() else "")
    for cell in cells:
        option, _, code = cell.partition("\n")
        option, code = option.strip(), code.strip("\n")
        if option == "raw":
            text += f"{code}\n\n\n"
            continue
        arguments = option if option.startswith("(") else ""
        signature = option if "def " in option else "def _():"
        text += f"@app.cell{arguments}\n{signature}\n{textwrap.indent(code, '    ')}\n\n\n"
    return text


@cache
def rules():
    known = catalog()
    infos = [info for info in known.sections if info.id in ("13", "15", "16")]
    return [rule for info in infos for rule in known.load(info).rules if rule.default], known.precedence


@pytest.mark.parametrize("text", list(cases()))
def test_idiom(text: str) -> None:
    chosen, precedence = rules()
    file = file_of(text)
    found = list(check(file, [rule({}) for rule in chosen]))
    superfluous = hidden(found, precedence, {file.path: file.tree})
    got = Counter(
        (file.source.row(finding.place.start), finding.code)
        for index, finding in enumerate(found)
        if index not in superfluous and finding.confidence == Confidence.HIGH
    )
    wanted = Counter(
        (row, code)
        for row, line in enumerate(text.split("\n"), 1)
        for codes in re.findall(r"# expect: (.*)", line)
        for code in codes.split(", ")
    )
    assert got == wanted
