"""Fixes: what is applied, what is refused, and that nothing else changes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qalint.cli import main

from .conftest import Run


def test_safe_fixes_only(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()\nrisky()\n")
    ran = run("a.py", "--fix")
    assert (project / "a.py").read_text() == "new()\nrisky()\n"
    assert (ran.status, ran.codes) == (1, ["QA9902"])
    assert run("a.py", "--fix", "--unsafe-fixes").status == 0
    assert (project / "a.py").read_text() == "new()\ncareful()\n"


def test_everything_else_survives(project: Path, run: Run) -> None:
    before = "\ufeff# é\r\nold( 'ü' ) ; old()\t# kept\r\n\x0cx = 1".encode()
    path = project / "a.py"
    path.write_bytes(before)
    path.chmod(0o754)
    link = project / "link.py"
    link.symlink_to("a.py")
    run("link.py", "--fix")
    assert path.read_bytes() == before.replace(b"old", b"new")
    assert path.stat().st_mode & 0o777 == 0o754
    assert link.is_symlink()


def test_other_encodings_survive(project: Path, run: Run) -> None:
    before = "# -*- coding: latin-1 -*-\nx = 'é'\nold()\n".encode("latin-1")
    (project / "a.py").write_bytes(before)
    run("a.py", "--fix")
    assert (project / "a.py").read_bytes() == before.replace(b"old", b"new")


def test_an_encoding_that_writes_otherwise_than_it_reads_is_left_alone(project: Path, run: Run) -> None:
    """In UTF-7 a plus sign may be written in several ways: what is not edited would change too."""
    written = b"# coding: utf-7\nold()  # 1 +- 2 +AGE-\n"
    (project / "a.py").write_bytes(written)
    ran = run("a.py", "--fix")
    assert (project / "a.py").read_bytes() == written
    assert ran.codes == ["QA9901"]
    assert "utf-7` would write the rest of the file otherwise" in ran.err


def test_fix_that_breaks_syntax_is_refused(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()\nbroken()\n")
    ran = run("a.py", "--fix")
    assert (project / "a.py").read_text() == "new()\nbroken()\n"
    assert ran.codes == ["QA9908"]
    assert ran.err == "warning: The fix of QA9908 at a.py:2 was refused: the result is not valid Python.\n"


def test_fix_that_brings_findings_is_refused(project: Path, run: Run) -> None:
    (project / "a.py").write_text("worse()\n")
    ran = run("a.py", "--fix")
    assert (project / "a.py").read_text() == "worse()\n"
    assert ran.err == "warning: The fix of QA9909 at a.py:1 was refused: the result brings QA9901.\n"


def test_fixes_that_undo_each_other_are_refused(project: Path, run: Run) -> None:
    (project / "a.py").write_text("ping()\n")
    ran = run("a.py", "--fix")
    assert (project / "a.py").read_text() == "ping()\n"
    assert "refused: the result brings QA9911" in ran.err


def test_overlapping_fixes_take_rounds(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old(old(old()))\n")
    assert run("a.py", "--fix").status == 0
    assert (project / "a.py").read_text() == "new(new(new()))\n"


def test_fix_only(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()\nmany(1, 2, 3, 4)\n")
    ran = run("a.py", "--fix-only", format="concise")
    assert ran.status == 0
    assert "QA9907" not in ran.out
    assert (project / "a.py").read_text() == "new()\nmany(1, 2, 3, 4)\n"


def test_show_fixes_and_exit_non_zero_on_fix(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()\n")
    ran = run("a.py", "--fix", "--show-fixes", "--exit-non-zero-on-fix", format="concise")
    assert ran.status == 1
    assert "1 × QA9901 (old-call)" in ran.out


def test_fixable_and_unfixable(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()\nrisky()\n")
    run("a.py", "--fix", "--unsafe-fixes", "--unfixable", "QA9901")
    assert (project / "a.py").read_text() == "old()\ncareful()\n"
    run("a.py", "--fix", "--fixable", "QA9902")
    assert (project / "a.py").read_text() == "old()\ncareful()\n"
    run("a.py", "--fix", "--fixable", "QA9902", "--extend-fixable", "old-call")
    assert (project / "a.py").read_text() == "new()\ncareful()\n"


@pytest.mark.parametrize(
    "before",
    ["x = 1\nold()\ny = 2\n", "old()", "x = 1\r\nold()\r\n", "\n" * 20 + "old()\n" + "\n" * 20 + "old()"],
)
def test_diff_applies_with_patch(project: Path, run: Run, before: str) -> None:
    path = project / "a b.py"
    path.write_bytes(before.encode())
    ran = run("a b.py", "--diff", format=None)
    assert ran.status == 1
    assert path.read_bytes() == before.encode()
    assert ran.err.startswith("Would fix "), "no warning"
    done = subprocess.run(
        ["patch", "-p0", "--binary"], input=ran.out.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert path.read_bytes() == before.replace("old", "new").encode()
    ran = run("a b.py", "--diff", format=None)
    assert (ran.status, ran.out) == (0, "")


def test_suppressed_findings_are_not_fixed(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()  # qalint: ignore[QA9901]\n")
    assert run("a.py", "--fix").status == 0
    assert (project / "a.py").read_text() == "old()  # qalint: ignore[QA9901]\n"


def test_read_only_folder_is_told(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "a.py").write_text("old()\n")

    def refuse(source: str, target: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    ran = run("a.py", "--fix", "--no-cache")
    assert ran.status == 2
    assert ran.err == "error: The file a.py cannot be written: Permission denied.\n"
    assert [path.name for path in project.iterdir()] == ["a.py"]
    assert (project / "a.py").read_text() == "old()\n"


NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# old()\n"]},
        {
            "cell_type": "code",
            "execution_count": 3,
            "metadata": {"tags": ["é"]},
            "outputs": [{"name": "stdout", "output_type": "stream", "text": ["old()\n"]}],
            "source": ["%matplotlib inline\n", "!pip install old()\n", "x = old()  # ☃\n", "risky(x)"],
        },
        {"cell_type": "code", "metadata": {}, "source": "old()\nold()", "outputs": []},
    ],
    "metadata": {"kernelspec": {"language": "python", "name": "python3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def test_jupyter_edits_touch_nothing_else(project: Path, run: Run) -> None:
    path = project / "a.ipynb"
    before = json.dumps(NOTEBOOK, indent=1, ensure_ascii=False) + "\n"
    path.write_text(before)
    ran = run("a.ipynb")
    assert [(item["cell"], item["location"]["row"], item["code"]) for item in ran.json] == [
        (2, 3, "QA9901"),
        (2, 4, "QA9902"),
        (3, 1, "QA9901"),
        (3, 2, "QA9901"),
    ]
    run("a.ipynb", "--fix")
    after = path.read_text()
    assert after == before.replace("x = old()", "x = new()").replace(r'"old()\nold()"', r'"new()\nnew()"')


def test_jupyter_syntax_error_names_the_cell(project: Path, run: Run) -> None:
    broken = {
        **NOTEBOOK,
        "cells": [*NOTEBOOK["cells"], {"cell_type": "code", "source": ["x = 1\n", "y = = 2"]}],
    }  # type: ignore[misc]
    (project / "a.ipynb").write_text(json.dumps(broken))
    ran = run("a.ipynb")
    assert [(item["code"], item["cell"], item["location"]["row"]) for item in ran.json] == [("QA0002", 4, 2)]


MARKDOWN = """\
---
title: old()
---

old() in prose

```python {.marimo}
x = old()
```

```{python .marimo name="second"}
risky(x)
```

~~~{.python.marimo}
old()
~~~

```python
old()
```
"""


def test_markdown_notebook(project: Path, run: Run) -> None:
    (project / "a.md").write_text(MARKDOWN)
    ran = run("a.md")
    assert [(item["location"], item["code"]) for item in ran.json] == [
        ({"row": 8, "column": 5}, "QA9901"),
        ({"row": 12, "column": 1}, "QA9902"),
        ({"row": 16, "column": 1}, "QA9901"),
    ]
    run("a.md", "--fix")
    expected = MARKDOWN.replace("x = old()", "x = new()").replace(
        "~~~{.python.marimo}\nold", "~~~{.python.marimo}\nnew"
    )
    assert (project / "a.md").read_text() == expected


PIECES = st.lists(
    st.sampled_from(
        [
            "old()",
            "risky(old())",
            "x = '''old()\nold()'''",
            "if x:\n    old()  # old()",
            "# old() é ☃",
            "ping()",
            "worse(old())",
            "broken()",
            "old()  # qalint: ignore[QA9901]",
            "y = [\n    old(),\n    risky(),\n]",
            "",
            "\tz = 1".strip(),
            "maybe(old)",
        ]
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES, ending=st.sampled_from(["\n", "\r\n", "\r"]), last=st.booleans(), bom=st.booleans())
def test_fixing_is_idempotent_and_changes_only_names(
    project: Path, run: Run, pieces: list[str], ending: str, last: bool, bom: bool
) -> None:
    text = "\n".join(pieces).replace("\n", ending) + (ending if last else "")
    before = (b"\xef\xbb\xbf" if bom else b"") + text.encode()
    path = project / "a.py"
    path.write_bytes(before)
    arguments = [
        "check",
        "--plugin",
        "demo_plugin",
        "a.py",
        "--fix",
        "--unsafe-fixes",
        "--no-cache",
        "-q",
        "-j",
        "0",
    ]
    main(arguments)
    once = path.read_bytes()
    main(arguments)
    assert path.read_bytes() == once
    for name, other in ((b"new", b"old"), (b"careful", b"risky")):
        once = once.replace(name, other)
    assert once == before


CELLS = st.lists(
    st.sampled_from(
        [
            "old()",
            'x = "old() ☃"',
            "if y:\n    old()  # old() é",
            "y = [\n    old(),\n    risky(),\n]",
            "%time old()\nold()",
            "ping()",
            "worse(old())",
            "broken()",
            "old()  # qalint: ignore[QA9901]",
            "",
            "\"quoted\" + 'x'\nold()",
        ]
    ),
    max_size=6,
)


def jupyter(cells: list[str], lines: bool, ascii_only: bool) -> str:
    sources = [cell.splitlines(keepends=True) if lines else cell for cell in cells]
    shown = [{"data": {"text/plain": ["old()"]}, "output_type": "display_data", "metadata": {"b": 1, "a": 2}}]
    entries = [
        {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": shown, "source": source}
        for source in sources
    ]
    text = [{"cell_type": "markdown", "metadata": {}, "source": ["old() ☃"]}]
    return json.dumps({"nbformat": 4, "metadata": {"z": 0}, "cells": text + entries}, ensure_ascii=ascii_only)


def markdown(cells: list[str], lines: bool, ascii_only: bool) -> str:
    fence = "````" if lines else "~~~"
    name = "{python .marimo}" if ascii_only else "{.python.marimo}"
    cells = [cell.replace("%time ", "") for cell in cells]  # IPython's syntax is none of marimo's
    return "---\ntitle: old() é\n---\n" + "".join(
        f"\nold() in prose\n\n{fence}{name}\n{cell.replace('%time ', '')}\n{fence}\n" for cell in cells
    )


def marimo(cells: list[str], lines: bool, ascii_only: bool) -> str:
    head = "import marimo\n\napp = marimo.App()\n"
    bodies = [cell.replace("%time ", "").replace("\n", "\n    ") for cell in cells]
    gap = "\n\n" if lines else "\n"
    return head + "".join(f"{gap}@app.cell\ndef _(y):\n    {body or 'pass'}\n    return\n" for body in bodies)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from([("a.ipynb", jupyter), ("a.md", markdown), ("b.py", marimo)]),
    cells=CELLS,
    lines=st.booleans(),
    ascii_only=st.booleans(),
)
def test_fixing_notebooks_is_idempotent_and_changes_only_names(
    project: Path, run: Run, form: Any, cells: list[str], lines: bool, ascii_only: bool
) -> None:
    name, write = form
    before = write(cells, lines, ascii_only).encode()
    path = project / name
    path.write_bytes(before)
    arguments = ["--plugin", "demo_plugin", "--fix", "--unsafe-fixes", "--no-cache", "-q", "-j", "0"]
    main(["check", name, *arguments])
    once = path.read_bytes()
    main(["check", name, *arguments])
    assert path.read_bytes() == once
    refused = {"broken()", "worse(old())", "ping()"}
    if "if y:\n    old()  # old() é" in cells and refused.isdisjoint(cells):
        assert b"new()" in once, "the fixes were applied"
    for new, old in ((b"new", b"old"), (b"careful", b"risky")):
        once = once.replace(new, old)
    assert once == before


def test_fixes_that_do_not_end_are_told(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from qalint import fixing

    monkeypatch.setattr(fixing, "_worse", lambda *_: None)
    monkeypatch.setattr(fixing, "MAX_ROUNDS", 4)
    (project / "a.py").write_text("ping()\nold()\nx = 'ping'\n")
    (project / "b.py").write_text("old()\n")
    ran = run("--fix", "--no-cache", "--show-fixes", format="concise")
    assert (project / "a.py").read_text() == "ping()\nnew()\nx = 'ping'\n", "what does not end is taken back"
    assert (project / "b.py").read_text() == "new()\n"
    told = "warning: Fixes did not come to an end after 4 rounds and were left out"
    assert [line for line in ran.err.splitlines() if "QA9910" in line] == [
        f"{told} (QA9910 in a.py); please report this."
    ]
    assert "QA9910" in ran.out and "Fixed 2" not in ran.out.partition("QA9910")[0]


def test_many_files_are_fixed_together(project: Path, run: Run) -> None:
    for number in range(8):
        (project / f"f{number}.py").write_text("old()\nworse()\n" if number % 2 else "old()\nrisky()\n")
    ran = run("--fix")
    assert sorted(set(ran.codes)) == ["QA9902", "QA9909"]
    assert ran.err.count("was refused: the result brings QA9901") == 4
    for number in range(8):
        assert (project / f"f{number}.py").read_text().startswith("new()\n")
