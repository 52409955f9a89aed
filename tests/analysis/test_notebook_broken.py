"""A notebook with a syntax error in one cell: marimo loads the others, and qalint reads them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from qalint import parsing
from qalint.analysis.notebook import Notebook
from qalint.file import File
from qalint.source import Source
from qalint.testing import lint

ROOT = Path(__file__).parent.parent.parent / "fixtures"
FIXTURES = sorted(
    path
    for section in ("marimo_cells", "dependencies", "ui_consistency")
    for path in (ROOT / section).glob("*/bad_*.py")
)
BROKEN = "@app.cell\ndef _():\n    unfinished = (1 +\n    return\n\n\n"
UNKNOWN = ("QA1304", "QA1319")
"""A broken cell may bind any name; and its own error is QA0002."""


def notebook_of(text: str, path: str = "nb.py") -> tuple[Notebook, list[parsing.Broken]]:
    source = Source(path, text)
    rest = parsing.readable_cells(source)
    assert rest is not None
    notebook = Notebook.of(File(source, rest[0]))
    assert notebook is not None
    return notebook, rest[1]


def places(path: Path) -> list[tuple[int, str]]:
    found = [(item.region.row, item.code) for item in lint([str(path)], exclude=[]) if item.status == "new"]
    return sorted(found)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_other_cells_say_what_they_said(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    whole, torn = tmp_path / "whole.py", tmp_path / "torn.py"
    whole.write_text(text, encoding="utf-8")
    head, end, tail = text.rpartition("if __name__")
    if not end:
        head, tail = text + "\n\n", ""
    torn.write_text(head + BROKEN + end + tail, encoding="utf-8")
    before = [each for each in places(whole) if each[1] not in UNKNOWN]
    after = places(torn)
    row = head.count("\n") + 3
    assert [code for _, code in after].count("QA0002") == 1
    assert (row, "QA0002") in after
    assert [each for each in after if each[1] not in (*UNKNOWN, "QA0002")] == before


HEAD = "import marimo\n\napp = marimo.App()\n\n\n"


def test_cells_keep_their_kinds_and_places():
    text = (
        HEAD
        + "with app.setup:\n    import marimo as mo\n\n\n"
        + "@app.cell\ndef first():\n    x = [1,\n    return\n\n\n"
        + "@app.function\ndef half(y):\n    return y / 2\n\n\n"
        + "@app.cell(hide_code=True)\nasync def last(half):\n    z = half(3)\n    return (z,)\n\n\n"
        + 'if __name__ == "__main__":\n    app.run()\n'
    )
    notebook, errors = notebook_of(text)
    assert [cell.kind for cell in notebook.cells] == ["setup", "unparsable", "function", "cell"]
    assert [text.count("\n", 0, error.offset) + 1 for error in errors] == [12]
    broken, last = notebook.cells[1], notebook.cells[3]
    assert text[broken.span.start : broken.span.end].startswith("@app.cell\ndef first")
    assert text[broken.span.start : broken.span.end].endswith("return")
    assert last.defs == {"z"} and last.name == "last" and last.is_async
    assert text[last.span.start :].startswith("@app.cell(hide_code=True)")


def test_every_broken_cell_has_its_error():
    cell = "@app.cell\ndef _():\n    y = 3 +\n    return\n\n\n"
    notebook, errors = notebook_of(HEAD + cell + "@app.cell\ndef _():\n    x = 1\n\n\n" + cell)
    assert [cell.kind for cell in notebook.cells] == ["unparsable", "cell", "unparsable"]
    assert len(errors) == 2


def test_string_that_looks_like_a_cell():
    good = '@app.cell\ndef _():\n    text = """\n@app.cell\ndef _():\n    pass\n"""\n    return\n\n\n'
    notebook, errors = notebook_of(HEAD + good + "@app.cell\ndef _():\n    x = (\n")
    assert [cell.kind for cell in notebook.cells] == ["cell", "unparsable"]
    assert notebook.cells[0].defs == {"text"}
    assert len(errors) == 1


def test_broken_fence():
    text = (
        "# Title\n\n```python {.marimo}\nimport marimo as mo\nx = (1 +\n```\n\n"
        "```python {.marimo}\nif x:\n    mo.md('lost')\n```\n"
    )
    from qalint.reader import decode

    source = decode("nb.md", text.encode())
    rest = parsing.readable_cells(source)
    assert rest is not None and len(rest[1]) == 1
    notebook = Notebook.of(File(source, rest[0]))
    assert notebook is not None
    assert [cell.kind for cell in notebook.cells] == ["unparsable", "cell"]


def test_what_is_no_notebook_or_has_a_broken_head_stays_one_error():
    assert parsing.readable_cells(Source("a.py", "x = (\n")) is None
    broken_head = "import marimo\napp = marimo.App(\n\n\n@app.cell\ndef _():\n    x = 1\n"
    assert parsing.readable_cells(Source("a.py", broken_head)) is None


def test_sections_that_follow_the_whole_program_are_silent(tmp_path: Path):
    """The cell that cannot be read may hold the step that seems to be missing."""
    cell = """
    @app.cell
    def _():
        import torch

        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cuda")
        for _ in range(3):
            loss = model(torch.ones(1, 2)).sum()
            scaler.scale(loss).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        return


    """
    whole, torn = tmp_path / "whole.py", tmp_path / "torn.py"
    text = HEAD + textwrap.dedent(cell).lstrip("\n")
    whole.write_text(text, encoding="utf-8")
    torn.write_text(text + BROKEN, encoding="utf-8")
    assert "QA1105" in {item.code for item in lint([str(whole)], exclude=[])}
    assert {item.code for item in lint([str(torn)], exclude=[])} == {"QA0002"}
