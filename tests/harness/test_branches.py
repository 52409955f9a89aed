"""A notebook is made to take each of its branches, and a fix that mends only one is refuted."""

from __future__ import annotations

import pytest

from qalint.harness.branches import forced
from qalint.harness.notebook_symptoms import shows_more_everywhere

NOTEBOOK = """\
import marimo

app = marimo.App()


@app.cell
def _():
    {body}


if __name__ == "__main__":
    app.run()
"""


def values(body: str) -> dict[str, list[str]]:
    """For each branch what `shown` is appended when the cell is executed."""
    text = NOTEBOOK.format(body=body.replace("\n", "\n    "))
    seen = {}
    for name, changed in forced("notebook.py", text).items():
        code = changed.partition("def _():\n")[2].partition("\n\nif __name__")[0]
        shown: list[str] = []
        lines = "\n".join(line[4:] for line in code.splitlines())
        exec(lines, {"show": shown.append, "mode": "a", "on": False})
        seen[name] = shown
    return seen


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "if on:\n    show(1)\nelif mode:\n    show(2)\nelse:\n    show(3)",
            {"branch 1 (if)": [1], "branch 3 (if)": [2], "branch 4 (else)": [3]},
        ),
        (
            'match mode:\n    case "b":\n        show(1)\n    case "a" if on:\n        show(2)\n'
            "    case other:\n        show(3)\n",
            {"branch 1 (case 1)": [1], "branch 2 (case 2)": [2]},
        ),
        (
            "try:\n    show(1)\nexcept (KeyError, OSError):\n    show(2)\nexcept TypeError:\n    show(3)",
            {"branch 1 (try)": [1], "branch 2 (except 1)": [2], "branch 3 (except 2)": [3]},
        ),
        (
            "if on:\n    try:\n        show(1)\n    except OSError:\n        if on:\n            show(2)",
            {"branch 2 (try)": [1], "branch 4 (if)": [2]},
        ),
        (
            "for i in range(2):\n    if i:\n        show(i)\n    else:\n        x = i",
            {"branch 1 (if)": [0, 1]},
        ),
        ("if on:\n    x = 1", {}),
    ],
)
def test_every_branch_that_shows_something_is_taken(body, expected):
    assert values(body) == expected


def test_markdown_notebooks_have_branches_too():
    text = '# T\n\n```python {.marimo}\nif on:\n    mo.md("x")\n```\n'
    assert forced("notebook.md", text) == {"branch 1 (if)": text.replace("if on", "if ((on), True)[1]")}


def test_the_same_branch_after_a_fix():
    after = "if on:\n    _output = 1\nelse:\n    _output = 2\n_output"
    text = NOTEBOOK.format(body=after.replace("\n", "\n    "))
    assert list(forced("notebook.py", text, {"branch 2 (else)"})) == ["branch 2 (else)"]


def test_what_does_not_parse_has_no_branches():
    assert forced("notebook.py", "if x\n") == {}


def report(*words, errors=()):
    cells = [{"shown": [{"mime": "text/html", "text": f"<p>{word}</p>"}]} for word in words]
    return {"cells": cells, "errors": [{"type": error} for error in errors]}


def test_a_fix_must_mend_every_branch():
    before = {"plain": report(), "branch 1 (if)": report(), "branch 2 (else)": report()}
    mended = {"plain": report("a"), "branch 1 (if)": report("a"), "branch 2 (else)": report("b")}
    assert shows_more_everywhere(before, mended) == "newly displayed: a, on each of 2 branches"
    assert shows_more_everywhere(before, {**mended, "branch 2 (else)": report()}) is None
    assert (
        shows_more_everywhere(before, {**mended, "branch 1 (if)": report("a", errors=["NameError"])}) is None
    )
    unreachable = {**before, "branch 2 (else)": report(errors=["NameError"])}
    assert shows_more_everywhere(unreachable, {**mended, "branch 2 (else)": report()}) is not None
