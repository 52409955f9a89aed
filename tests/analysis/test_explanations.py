"""What a notebook is asked whose training lies in a module: its controls, progress, data and charts."""

from __future__ import annotations

from pathlib import Path

import pytest

from qalint.analysis.explanations import EXPLAINED, MISSING, NOT_ASKED, Explanations
from qalint.linter import parse
from qalint.source import Source

TRAINER = """\
import torch


def train(settings):
    scaler = torch.amp.GradScaler("cuda")
    loss.backward()
"""
NOTEBOOK = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import trainer

    return mo, trainer


@app.cell
def _(mo, trainer):
    form = mo.md(
        '''
        | setting | why |
        |---|---|
        | {learning_rate} | ten times the usual, REASON adapters are few |
        '''
    ).batch(learning_rate=mo.ui.number(0.1, 1, label="speed")).form()
    form
    return (form,)


@app.cell
def _(form, mo, trainer):
    rows = [{"text": "a cow says moo"}]
    PREVIEW
    return


@app.cell
def _(form, mo, trainer):
    PROGRESS
    losses = trainer.train(form.value)
    return (losses,)


@app.cell
def _(losses, mo):
    mo.Html(f"<svg>{losses}</svg>")
    return


@app.cell
def _(mo):
    mo.md("RESULT")
    return
"""


def ask(tmp_path: Path, question: str, **words: str) -> str:
    chosen = {
        "REASON": "because",
        "PREVIEW": "mo.ui.table(rows)",
        "PROGRESS": 'bar = mo.status.spinner(title="training")',
        "RESULT": "The loss falls fast at first, which means that the common words are learnt.",
        **words,
    }
    text = NOTEBOOK
    for word, replacement in chosen.items():
        text = text.replace(word, replacement)
    (tmp_path / "trainer.py").write_text(TRAINER)
    path = tmp_path / "notebook.py"
    path.write_text(text)
    found = Explanations.of(parse(Source(str(path), text)))
    assert found is not None
    return found.ask(question).state


@pytest.mark.parametrize(
    ("question", "words", "state"),
    [
        ("hyperparameters", {}, EXPLAINED),  # `{learning_rate}` in a row stands for its words
        ("hyperparameters", {"REASON": "and"}, MISSING),
        ("dataset", {}, EXPLAINED),
        ("dataset", {"PREVIEW": "mo.md('rows')"}, NOT_ASKED),  # no data set is seen, and none is shown
        ("progress", {}, EXPLAINED),
        ("progress", {"PROGRESS": "bar = None"}, NOT_ASKED),  # the loop is in the module, which may show it
        ("results", {}, EXPLAINED),
        ("results", {"RESULT": "That was all."}, MISSING),
    ],
)
def test_a_notebook_whose_training_is_a_module(
    tmp_path: Path, question: str, words: dict[str, str], state: str
) -> None:
    assert ask(tmp_path, question, **words) == state
