"""Whatever bytes a file holds: no crash, the same answer twice, and nothing said about what is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .conftest import Run

FUZZ = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "old()", "risky()", "# qalint: ", "ignore[", "disable[QA99]", "QA9901", "]", "# noqa: QA9901",
            "\n", "\r\n", "\r", "\x0c", "    ", "\t", "'''", '"""', "f'{", "}'", "(", ")", "\\\n", "x = ",
            "def f():", "é", "☃", "\ufeff", "# -*- coding: latin-1 -*-", "import marimo",
            "app = marimo.App()",
            "@app.cell", "```python {.marimo}", "```",
            "%magic", "!ls", "\0", ";", "if x:", "type X = int", "except* E:", "lambda: ", "0" * 20,
        ]
    ),
    max_size=25,
).map("".join)  # fmt: skip


def check(run: Run, path: Path) -> str:
    ran = run(path.name, "-j", "0", "--no-cache", "--min-confidence", "low")
    assert ran.status in (0, 1), ran.err
    assert "Traceback" not in ran.err
    assert "QA0003" not in ran.out
    return ran.out


@FUZZ
@given(text=FRAGMENTS, name=st.sampled_from(["a.py", "a.md", "a.ipynb", "a.pyi"]))
@example(text="x = '\0'\n", name="a.py")
@example(text="(" * 300, name="a.py")
@example(text="x" + ".a()" * 3000, name="a.py")
@example(text="-" * 3000 + "1", name="a.py")
@example(text="if x:\n" * 1, name="a.py")
@example(text="\ufeff\ufeffold()", name="a.py")
@example(text="old()\rold()\r", name="a.py")
def test_any_text(project: Path, run: Run, text: str, name: str) -> None:
    path = project / name
    path.write_bytes(text.encode())
    assert check(run, path) == check(run, path)


@FUZZ
@given(data=st.binary(max_size=200), name=st.sampled_from(["a.py", "a.md", "a.ipynb"]))
def test_any_bytes(project: Path, run: Run, data: bytes, name: str) -> None:
    path = project / name
    path.write_bytes(data)
    check(run, path)


@FUZZ
@given(cells=st.lists(FRAGMENTS, max_size=4), lines=st.booleans(), ascii_only=st.booleans())
def test_any_jupyter_cells(project: Path, run: Run, cells: list[str], lines: bool, ascii_only: bool) -> None:
    notebook = {
        "cells": [
            {"cell_type": "code", "source": cell.splitlines(keepends=True) if lines else cell}
            for cell in cells
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path = project / "a.ipynb"
    path.write_text(json.dumps(notebook, ensure_ascii=ascii_only))
    check(run, path)
    run("a.ipynb", "-j", "0", "--fix", "--unsafe-fixes", "--no-cache")
    fixed = json.loads(path.read_text())
    assert [list(cell) for cell in fixed["cells"]] == [list(cell) for cell in notebook["cells"]]  # type: ignore[call-overload]


@FUZZ
@given(text=FRAGMENTS, shift=st.integers(0, 3))
def test_lines_that_move_take_their_suppressions_along(
    project: Path, run: Run, text: str, shift: int
) -> None:
    path = project / "a.py"
    path.write_bytes(text.encode())
    before = json.loads(check(run, path))
    path.write_bytes((b"\n" * shift) + text.encode())
    after = json.loads(check(run, path))
    if text.startswith("\ufeff") or "coding" in text:
        return  # moved down, the mark and the cookie mean something else
    assert [(item["code"], item["location"]["row"] + shift, item["fingerprint"]) for item in before] == [
        (item["code"], item["location"]["row"], item["fingerprint"]) for item in after
    ]


def test_renaming_changes_only_paths(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()\nold()\nrisky()  # qalint: ignore[QA9901]\n")
    before = run("a.py").out
    (project / "a.py").rename(project / "b.py")
    assert run("b.py").out == before.replace("a.py", "b.py")


@pytest.mark.parametrize("kind", ["fifo", "folder.py", "loop"])
def test_things_that_are_no_files(project: Path, run: Run, kind: str) -> None:
    import os

    path = project / "odd.py"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.mkdir()
    ran = run("odd.py")
    if kind == "folder.py":
        assert (ran.status, ran.out) == (0, "[]\n")
    else:
        assert (ran.status, ran.codes) == (1, ["QA0001"])
