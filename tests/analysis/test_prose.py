"""Prose: where it stands, what it explains, and what merely mentions."""

import json

import pytest

from qalint.analysis.decisions import Decisions, constant_rounds
from qalint.analysis.prose import Prose
from qalint.analysis.prose_text import Piece, sentences, split
from qalint.analysis.vocabulary import CAUSE, COMPARISON, COST, TOPICS, vocabulary
from qalint.linter import parse
from qalint.reader import decode
from qalint.source import Source
from qalint.testing import file_of

LORA = TOPICS["LoRA"]


def prose(text, path="x.py"):
    return Prose.of(file_of(text, path))


def texts(found):
    return [(each.kind, each.text) for each in found.paragraphs]


def test_docstrings_comments_and_markdown_have_their_places():
    file = file_of(
        '''
        """What it is.

        Why it is.
        """
        import marimo as m

        rate = 1  # small because the data is small
        # x = foo(3)
        m.md(r"""
        # Title

        A paragraph that
        goes on.
        """)
        '''
    )
    found = Prose.of(file)
    assert texts(found) == [
        ("docstring", "What it is."),
        ("docstring", "Why it is."),
        ("comment", "small because the data is small"),
        ("markdown", "A paragraph that\ngoes on."),
    ]
    rows = [file.source.location(each.start).row for each in found.paragraphs]
    assert rows == [1, 3, 7, 12]
    assert [(each.text, file.source.location(each.start).row) for each in found.headings] == [("Title", 10)]
    assert found.paragraphs[3].headings == ("Title",)
    start, end = found.paragraphs[3].start, found.paragraphs[3].end
    assert file.source.text[start:end].startswith("A paragraph") and "goes on." in file.source.text[start:end]


@pytest.mark.parametrize(
    "comment",
    [
        "# noqa: E501 because it is long",
        "# type: ignore this one here please",
        "# TODO explain why we do it",
        "# for x in range(3):",
        "# loss.backward()",
        "# Copyright 2020 the authors, licensed under MIT",
        "# ----------------------------",
        "# one two",
    ],
)
def test_comments_that_are_no_prose(comment):
    assert prose(f"x = 1\n{comment}\n").paragraphs == ()


def test_the_script_header_of_a_notebook_is_no_prose():
    assert prose('# /// script\n# dependencies = ["torch", "marimo"]\n# ///\nx = 1\n').paragraphs == ()


def test_markdown_notebook():
    text = "---\ntitle: x\n---\n\n# Why\n\nBecause it is so.\n\n```python {.marimo}\nx = 1\n```\n"
    text += "\nAfter it.\n\n```python\ny = why\n```\n"
    source = decode("n.md", text.encode())
    found = Prose.of(parse(source))
    assert texts(found) == [("markdown", "Because it is so."), ("markdown", "After it.")]
    for each in found.paragraphs:
        assert source.text[each.start : each.end] == each.text


def test_jupyter_markdown_cells():
    cells = [
        {
            "cell_type": "markdown",
            "source": ["# Why LoRA\n", "\n", "Because memory is short here on this machine."],
        },
        {"cell_type": "code", "source": "x = 1\n", "metadata": {}, "outputs": [], "execution_count": None},
    ]
    data = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()
    found = Prose.of(parse(decode("n.ipynb", data)))
    assert texts(found) == [("markdown", "Because memory is short here on this machine.")]
    assert found.explains(LORA)


def test_percent_cells():
    found = prose("# %% [markdown]\n# # Title\n#\n# We use it because it is short.\n\n# %%\nx = 1\n")
    assert texts(found) == [("markdown", "We use it because it is short.")]
    assert [each.text for each in found.headings] == ["Title"]


def test_readme_beside_the_file(tmp_path):
    (tmp_path / "README.md").write_text("# LoRA\n\nChosen because memory is short.\n")
    path = tmp_path / "train.py"
    path.write_text("x = 1\n")
    found = Prose.of(parse(Source(str(path), "x = 1\n")))
    passage = found.explains(LORA)
    assert passage is not None
    assert passage.place.source.path.endswith("README.md")
    assert passage.paragraph.kind == "readme"
    assert found.words == 0


def test_titles_of_accordions_are_headings():
    body = "It needs a tenth of the memory that all weights need."
    found = prose(f'import marimo as mo\nmo.accordion({{"Why LoRA?": mo.md("{body}")}})')
    assert found.explains(LORA)


EXPLAINED = [
    "LoRA is used because memory is short.",
    "We use LoRA. This keeps the base model untouched.",
    "LoRA instead of full fine-tuning.",
    "| LoRA | trains less memory than full |",
    "- LoRA: slightly lower quality, at the cost of a few points",
]
MENTIONED = [
    "We use LoRA.",
    "LoRA is applied to every layer. Then we train. The data is small because it is made up.",
    "Because of the rain we stayed in. Also: adapters.",
    "# LoRA\n\nshort text",
    "LoRA LoRA LoRA",
]


@pytest.mark.parametrize("text", EXPLAINED)
def test_a_topic_is_explained(text):
    assert prose(f'import marimo as mo\nmo.md("""\n{text}\n""")').explains(LORA)


@pytest.mark.parametrize("text", MENTIONED)
def test_a_word_that_occurs_explains_nothing(text):
    found = prose(f'import marimo as mo\nmo.md("""\n{text}\n""")')
    assert not found.explains(LORA)
    assert found.mentions(LORA)


def test_a_why_heading_with_a_body_explains():
    body = "Two thin matrices are trained beside each frozen layer, and nothing else."
    assert prose(f'import marimo as mo\nmo.md("""\n## Why LoRA?\n\n{body}\n""")').explains(LORA)
    assert not prose(f'import marimo as mo\nmo.md("""\n## LoRA\n\n{body}\n""")').explains(LORA)


def test_further_words_are_another_language():
    text = 'import marimo as mo\nmo.md("Wir nehmen Adapter, weil der Speicher knapp ist.")'
    found = prose(text)
    assert not found.explains(vocabulary("adapter"))
    assert found.explains(vocabulary("adapter"), CAUSE.also(["weil"]))


def test_english_is_told_from_other_languages():
    english = "The model is trained on the data because it is small and we can see what it does. " * 3
    german = (
        "Das Modell wird mit den Daten trainiert, weil es klein ist und wir sehen können, was es tut. " * 3
    )
    assert prose(f'"""{english}"""').readable
    assert not prose(f'"""{german}"""').readable
    assert not prose(
        '"""模型在数据上训练，因为它很小，我们可以看到它在做什么。这个模型在数据上训练，因为它很小。"""'
    ).readable
    assert prose('"""x"""').readable


@pytest.mark.parametrize(
    ("words", "yes", "no"),
    [
        (CAUSE, "so that it fits", "so many things"),
        (CAUSE, "too large for this", "large"),
        (COMPARISON, "faster on this card than before", "fast"),
        (COMPARISON, "LoRA vs. full", "vsync"),
        (COST, "but it is slower", "but it is here"),
        (COST, "a trade-off", "a trade"),
    ],
)
def test_vocabulary(words, yes, no):
    assert words.found(yes)
    assert not words.found(no)


def test_sentences():
    text = "One is here. Two is\nthere.\n- an item\n- another. With more\n| a | b |\n|---|---|"
    assert sentences(text) == [
        "One is here.",
        "Two is there.",
        "- an item",
        "- another.",
        "With more",
        "| a | b |",
    ]


def test_split_skips_code_and_keeps_heading_levels():
    text = "# A\n\none\n\n## B\n\n```\n# no heading\n```\n\ntwo\n\n# C\n\nthree\n\n**Bold**\n\nfour\n"
    parts = [
        (part[2], part[3]) for part in split(Piece(0, text, "markdown", exact=True)) if part[4] != "heading"
    ]
    assert parts == [("one", ("A",)), ("two", ("A", "B")), ("three", ("C",)), ("four", ("C", "Bold"))]


def test_an_emphasis_inside_a_quote_with_escapes_is_placed():
    file = file_of('import marimo as mo\nmo.md("first\\n\\nsecond \\"quoted\\" line")\n')
    found = Prose.of(file)
    assert [each.text for each in found.paragraphs] == ["first", 'second "quoted" line']
    assert {file.source.location(each.start).row for each in found.paragraphs} == {2}


def decisions(text):
    return Decisions.of(file_of(text))


def test_decisions():
    found = decisions(
        """
        import torch
        from torch.utils.data import DataLoader

        batch_size = 8
        unused_lr = 3
        device = "cuda"
        scaler = torch.amp.GradScaler(device)
        loader = DataLoader(data, batch_size=batch_size)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
        for epoch in range(3):
            loss.backward()
        """
    )
    assert [(each.kind, each.topic) for each in found.all] == [
        ("hyperparameter", "batch size"),
        ("gpu", "GPU"),
        ("optimization", "gradient scaling"),
        ("architecture", "FP16"),
        ("data", "data set"),
        ("hyperparameter", "learning rate"),
        ("hyperparameter", "epochs"),
    ]
    assert found.trains and found.program and not found.notebook


@pytest.mark.parametrize(
    ("call", "topic"),
    [
        ('torch.autocast("cuda", dtype=torch.bfloat16)', "BF16"),
        ('torch.autocast("cuda", dtype=torch.float16)', "FP16"),
        ('torch.autocast("cpu")', "BF16"),
        ("torch.autocast(device)", "mixed precision"),
    ],
)
def test_the_precision_of_autocast(call, topic):
    assert decisions(f"import torch\nwith {call}:\n    pass\n").kind("architecture")[0].topic == topic


def test_an_ambiguous_name_needs_its_call():
    assert decisions("plot(alpha=0.5)\nlinspace(steps=5)").kind("hyperparameter") == []
    assert decisions("LoraConfig(r=8)").kind("hyperparameter")[0].topic == "rank"


def test_a_module_of_definitions_is_no_program():
    assert not decisions("import torch\n\n\ndef f():\n    pass\n\n\nX = 1\n").program
    assert decisions('def f():\n    pass\n\n\nif __name__ == "__main__":\n    f()\n').program


def test_rounds_of_a_loop():
    def rounds(text):
        return constant_rounds(file_of(text).tree.body[0])

    assert rounds("for i in range(3):\n    for j in range(4):\n        pass") == 12
    assert rounds("for i in range(n):\n    pass") is None
    assert rounds("while True:\n    pass") is None
    assert rounds("for i in (1, 2):\n    pass") == 2
