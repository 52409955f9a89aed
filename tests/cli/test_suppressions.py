"""Comments that hide findings, what they reach, and what is said about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Run


@pytest.mark.parametrize(
    "text",
    [
        "old()  # qalint: ignore[QA9901]\n",
        "old()  # qalint: ignore[old-call] because it must be\n",
        "old()  # qalint: ignore[QA99]\n",
        "old()  # qalint: ignore[QA9902, QA9901]\nrisky()  # qalint: ignore[QA9902]\n",
        "# qalint: ignore[QA9901]\nold()\n",
        "# qalint: ignore[QA9901]\n\n# a word\nold()\n",
        "# qalint: ignore[QA9901]\nx = [\n    1,\n    old(),\n]\n",
        "x = [\n    old(),\n]  # qalint: ignore[QA9901]\n",
        "x = [\n    # qalint: ignore[QA9901]\n    old(),\n]\n",
        "# qalint: ignore[QA9901]\nif old():\n    pass\n",
        "# qalint: ignore[QA9901]\n@old()\ndef f():\n    pass\n",
        "# qalint: disable[QA99]\nold()\nold()\n# qalint: enable[QA99]\n",
        "# qalint: disable[QA9901]\nold()\n",
        "x = 1\nold()\n# qalint: file-ignore[QA9901]\n",
        "old()  # noqa: QA9901\n",
        "old()  # NOQA: E501, QA9901\n",
        "old()  # noqa: QA9901 E501 # qalint is right\n",
        "x = '''\n''' + old()  # qalint: ignore[QA9901]\n",
        "old(\n    '''\n    '''\n)  # noqa: QA9901\n",
    ],
)
def test_hidden(project: Path, run: Run, text: str) -> None:
    (project / "a.py").write_text(text)
    assert "QA9901" not in run("a.py").codes
    assert "QA9901" in run("a.py", "--ignore-suppressions").codes


@pytest.mark.parametrize(
    "text",
    [
        "# qalint: ignore[QA9901]\nx = 1\nold()\n",
        "# qalint: ignore[QA9901]\nif x:\n    old()\n",
        "old()  # qalint: ignore[QA9902]\n",
        "x = '# qalint: ignore[QA9901]'; old()\n",
        "old()\n# qalint: disable[QA9901]\n",
        "# qalint: disable[QA9901]\n# qalint: enable[QA9901]\nold()\n",
        "old()  # noqa\n",
        "old()  # noqa: E501\n",
        "old()  # qalint: ignore\n",
    ],
)
def test_not_hidden(project: Path, run: Run, text: str) -> None:
    (project / "a.py").write_text(text)
    assert "QA9901" in run("a.py").codes


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1  # qalint: ignore[QA9901]\n", "x = 1\n"),
        ("# qalint: ignore[QA9901] reason\nx = 1\n", "x = 1\n"),
        ("old()  # qalint: ignore[QA9901, QA9902]\n", "old()  # qalint: ignore[QA9901]\n"),
        ("old()  # qalint: ignore[QA9902, QA9901]\n", "old()  # qalint: ignore[QA9901]\n"),
        ("x = 1  # kept  # qalint: ignore[QA9901]\n", "x = 1  # kept\n"),
        ("x = 1  # noqa: E501, QA9901\n", "x = 1  # noqa: E501\n"),
        ("x = 1  # noqa: QA9901, E501\n", "x = 1  # noqa: E501\n"),
        ("x = 1  # noqa: QA9901\n", "x = 1\n"),
        ("# qalint: file-ignore[QA9901]\nx = 1\n", "x = 1\n"),
    ],
)
def test_unused_suppressions_are_removed(project: Path, run: Run, before: str, after: str) -> None:
    (project / "a.py").write_text(before)
    ran = run("a.py")
    assert set(ran.codes) == {"QA0004"}
    assert ran.json[0]["severity"] == "low"
    assert run("a.py", "--fix").status == 0
    assert (project / "a.py").read_text() == after


@pytest.mark.parametrize("text", ["x = 1  # qalint: ignore[QA9903]\n", "x = 1  # qalint: ignore[QA9905]\n"])
def test_rules_that_did_not_run_are_not_judged(project: Path, run: Run, text: str) -> None:
    (project / "a.py").write_text(text)
    assert run("a.py").codes == []


def test_a_hidden_finding_of_low_confidence_needs_its_suppression(project: Path, run: Run) -> None:
    (project / "a.py").write_text("maybe()  # qalint: ignore[QA9904]\n")
    assert run("a.py").codes == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1  # qalint: ignore\n", "This suppression names no code; write the codes in brackets"),
        ("x = 1  # qalint: ignore[]\n", "This suppression names no code; write the codes in brackets"),
        ("x = 1  # qalint: ignore[QA9999]\n", "`QA9999` is no rule of qalint"),
        ("x = 1  # noqa: QA9999\n", "`QA9999` is no rule of qalint"),
        ("x = 1  # qalint: ignroe[QA9901]\n", "`ignroe` is no kind of suppression (did you mean `ignore`?)"),
        ("# qalint: enable[QA9901]\n", "`QA9901` is enabled here, but no `disable[QA9901]` comes before"),
        ("x = 1  # qalint: ignore[ALL]\n", "`ALL` is no rule of qalint"),
    ],
)
def test_invalid_suppressions(project: Path, run: Run, text: str, message: str) -> None:
    (project / "a.py").write_text(text)
    ran = run("a.py")
    assert ran.codes == ["QA0005"]
    assert message in ran.json[0]["message"]
    assert ran.json[0]["severity"] == "medium"


def test_suppressions_of_suppression_findings(project: Path, run: Run) -> None:
    (project / "a.py").write_text(
        "# qalint: file-ignore[QA0004, QA0005]\nx = 1  # qalint: ignore[QA9901]\ny = 1  # noqa: QA9999\n"
    )
    assert run("a.py").codes == []


def test_jupyter_and_markdown(project: Path, run: Run) -> None:
    (project / "a.md").write_text(
        "<!-- qalint: file-ignore[QA9901] -->\n"
        "```python {.marimo}\nold()\nrisky()  # qalint: ignore[QA9902]\n```\n"
    )
    assert run("a.md").codes == []
    (project / "b.md").write_text("<!-- qalint: ignore[QA9901] -->\n```python {.marimo}\nold()\n```\n")
    assert run("b.md").codes == ["QA0005", "QA9901"]
    (project / "c.ipynb").write_text(
        '{"cells": [{"cell_type": "code", "source": ["%magic\\n", "old()  # qalint: ignore[QA9901]"]}],'
        ' "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    assert run("c.ipynb").codes == []


MARIMO = """\
import marimo

app = marimo.App()


@app.cell
def _(x=old()):
    y = 1{first}
    return old()


@app.cell
def _():
    z = 2
    old()
    return
"""


def test_first_line_of_a_marimo_cell_covers_signature_and_return(project: Path, run: Run) -> None:
    (project / "a.py").write_text(MARIMO.format(first=""))
    rows = [item["location"]["row"] for item in run("a.py", "--select", "QA9901").json]
    assert rows == [7, 9, 15]
    (project / "a.py").write_text(MARIMO.format(first="  # qalint: ignore[QA9901]"))
    assert [item["location"]["row"] for item in run("a.py", "--select", "QA9901").json] == [15]


def test_add_ignore(project: Path, run: Run) -> None:
    (project / "a.py").write_text(
        "risky(old())\nx = '''\n''' + old()\nold()  # qalint: ignore[QA9902]\nmaybe()\n"
    )
    ran = run("a.py", "--add-ignore=for now")
    assert ran.status == 0
    assert ran.err == "Added suppressions for 4 findings.\n"
    assert (project / "a.py").read_text() == (
        "risky(old())  # qalint: ignore[QA9901, QA9902] for now\n"
        "x = '''\n''' + old()  # qalint: ignore[QA9901] for now\n"
        "old()  # qalint: ignore[QA9902, QA9901]\n"
        "maybe()\n"
    )
    assert run("a.py", "--ignore", "QA0004").codes == []


def test_add_ignore_where_marimo_keeps_comments(project: Path, run: Run) -> None:
    text = MARIMO.format(first="").replace("marimo.App()", "marimo.App(old())")
    (project / "a.py").write_text(text)
    run("a.py", "--add-ignore", "--select", "QA9901")
    written = (project / "a.py").read_text()
    assert written.startswith("# qalint: file-ignore[QA9901]\nimport marimo\n")
    assert "    y = 1  # qalint: ignore[QA9901]\n" in written
    assert "    old()  # qalint: ignore[QA9901]\n" in written
    for line in written.splitlines():
        assert not ("qalint" in line and line.lstrip().startswith(("@", "def", "return", "app")))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1  # noqa: QA9901 since it is old\n", "x = 1  # since it is old\n"),
        ("x = 1  #noqa:QA9901 since it is old\n", "x = 1  #since it is old\n"),
        ("# noqa: QA9901, it is old\nx = 1\n", "# , it is old\nx = 1\n"),
        ("x = 1  # noqa: QA9901  # since it is old\n", "x = 1  # since it is old\n"),
        ("x = 1  # old # noqa: QA9901\n", "x = 1  # old\n"),
        ("# noqa: QA9901\nx = 1\n", "x = 1\n"),
    ],
)
def test_removing_an_idle_noqa_keeps_the_words_after_it(
    project: Path, run: Run, before: str, after: str
) -> None:
    (project / "a.py").write_text(before)
    ran = run("a.py", "--fix")
    assert (project / "a.py").read_text() == after
    assert "refused" not in ran.err and ran.codes == []
