"""Whatever Python a file holds: no failure, the same findings twice, and fixes that keep what is not theirs.

Code comes from the grammar and from LibCST's nodes (hypothesmith), and from our own fixtures, with the one
put around the other. Each property holds for all rules, those that are off by default and in preview too.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import libcst
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from qalint import reader
from qalint.config import Configs
from qalint.diagnostic import Diagnostic
from qalint.discovery import Found
from qalint.fixing import Fixer
from qalint.registry import catalog
from qalint.runner import Runner
from qalint.testing import lint

hypothesmith = pytest.importorskip("hypothesmith")

FIXTURES = Path(__file__).parents[2] / "fixtures"
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
FEW = settings(max_examples=25, deadline=None, suppress_health_check=SLOW)

OF_FILES = ("QA09", "QA14")
"""Sections with findings about a file as a whole."""

CODE = st.one_of(
    hypothesmith.from_grammar(),
    hypothesmith.from_node(),
    hypothesmith.from_node(libcst.FunctionDef),
    hypothesmith.from_node(libcst.Match),
    hypothesmith.from_node(libcst.With),
)


class Finding(NamedTuple):
    """What is said, without the path."""

    code: str
    row: int
    column: int
    message: str
    fingerprint: str


def plain(found: list[Diagnostic]) -> list[Finding]:
    return sorted(
        Finding(item.code, item.region.row, item.region.column, item.message, item.fingerprint)
        for item in found
    )


def findings(text: str | bytes, name: str = "program.py", *ignored: str) -> list[Diagnostic]:
    """What all rules say about a file of its own; a failure of a rule fails the test."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
        found = lint([str(path)], filters=False, extend_select=["ALL"], ignore=list(ignored), preview=True)
    assert [item.message for item in found if item.code == "QA0003"] == []
    return found


def fixed(text: str) -> tuple[str, list[str]]:
    """The text after all fixes, unsafe ones too, and what was refused."""
    overrides = {"extend-select": ["ALL"], "preview": True, "min-confidence": "low"}
    configs = Configs(catalog(), overrides=overrides, isolated=True, environment={})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.py")
        path.write_bytes(text.encode())
        fixes = Fixer(Runner(catalog(), configs, jobs=0), unsafe=True).run([Found(str(path), None, True)])
        reader.overlay.clear()
        return path.read_bytes().decode(), fixes.messages


def parses(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "program.py", "exec")
        except (SyntaxError, ValueError):
            return False
    return True


@functools.cache
def faulty() -> list[str]:
    """The fixtures that are one Python file with a finding."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(FIXTURES.glob("*/*/bad_*.py"))]
    return [text for text in texts if len(text) < 3000]


@FEW
@given(code=CODE)
def test_generated_code_is_linted_twice_alike_and_fixed_without_harm(code: str) -> None:
    found = findings(code)
    assert plain(findings(code)) == plain(found)
    after, refused = fixed(code)
    assert not [message for message in refused if "not valid Python" in message]
    if after != code:
        ast.parse(after)
        assert fixed(after)[0] == after, "nothing is left to fix"


@FEW
@given(data=st.data(), text=st.sampled_from(faulty()))
def test_programs_with_a_token_changed(data: st.DataObject, text: str) -> None:
    """One word replaced by another of the same program: most still parse, and mean something odd."""
    words = list(re.finditer(r"\w+|[^\w\s]", text))
    for _ in range(data.draw(st.integers(1, 3))):
        old, new = data.draw(st.sampled_from(words)), data.draw(st.sampled_from(words))
        text = text[: old.start()] + new.group() + text[old.end() :]
    assert plain(findings(text)) == plain(findings(text))
    assert not [message for message in fixed(text)[1] if "not valid Python" in message]


@FEW
@given(noise=CODE, text=st.sampled_from(faulty()))
def test_a_fix_keeps_what_it_does_not_edit(noise: str, text: str) -> None:
    """Code of somebody else before and after a faulty program comes out as it went in, byte for byte."""
    assume(noise.strip() and "import" not in noise and "marimo" not in text)
    noise = noise if noise.endswith("\n") else noise + "\n"
    around = f"# above\n{noise}# below\n"
    before = around + text + around
    assume(parses(before))
    after, _ = fixed(before)
    assert after.startswith(around)
    assert after.endswith(around)


@FEW
@given(
    text=st.sampled_from(faulty()),
    above=st.lists(
        st.sampled_from(["", "# a comment", "x_y_z = 1", "def f_g_h():\n    pass", "\f"]), max_size=4
    ),
)
def test_suppressions_move_with_their_lines(text: str, above: list[str]) -> None:
    """What is said of a file as a whole stands on its first line and is left out here."""
    assume("marimo" not in text and "__future__" not in text)
    lines, by_row = text.splitlines(), dict[int, set[str]]()
    for item in findings(text, "program.py", *OF_FILES, "QA0004"):
        by_row.setdefault(item.region.row, set()).add(item.code)
    for row, codes in by_row.items():
        lines[row - 1] += f"  # qalint: ignore[{', '.join(sorted(codes))}]"
    quiet = "".join(line + "\n" for line in lines)
    moved = "".join(line + "\n" for line in above) + quiet
    assume(parses(quiet))
    for version in (quiet, moved):
        told = findings(version, "program.py", *OF_FILES)
        assert [(item.code, item.region.row) for item in told if item.status == "new"] == []
        assert len(told) >= len(by_row)


@FEW
@given(
    text=st.sampled_from(faulty()),
    name=st.sampled_from(["other.py", "a/b/c.py", "ünïcode name.py", "x.PY.py"]),
)
def test_moving_and_renaming_change_only_paths(text: str, name: str) -> None:
    assert plain(findings(text, name)) == plain(findings(text))


@pytest.mark.parametrize("form", ["md", "ipynb"])
@FEW
@given(code=CODE, text=st.sampled_from(faulty()), first=st.booleans())
def test_cells_of_generated_code(form: str, code: str, text: str, first: bool) -> None:
    cells = [code, text] if first else [text, code]
    if form == "md":
        assume(not any("```" in cell or "\r" in cell for cell in cells))
        fences = "".join(f"\n```python {{.marimo}}\n{cell}\n```\n" for cell in cells)
        text = f"---\nmarimo-version: 0.20.0\n---\n{fences}"
    else:
        parts = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": cell} for cell in cells]
        text = json.dumps({"cells": parts, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    assert plain(findings(text, f"notebook.{form}")) == plain(findings(text, f"notebook.{form}"))
