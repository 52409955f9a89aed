"""Texts inside texts: what a comment, a cell or a string holds is parsed quietly, or not at all."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from qalint.testing import lint

DEEP = "-" * 200_000 + "1"
HEAD = "---\nmarimo-version: 0.20.0\n---\n\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", f"{HEAD}```python {{.marimo unparsable='true'}}\n{DEEP}\n```\n"),
        ("a.md", f"{HEAD}```sql {{.marimo}}\nSELECT {{{DEEP}}}\n```\n"),
        ("a.py", f"import torch\n\n# x = {DEEP}\nmodel = torch.nn.Linear(2, 2)\n"),
    ],
    ids=["unparsable", "sql", "comment"],
)  # fmt: skip
def test_what_is_too_deep_inside_is_no_python(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = lint([str(tmp_path)], filters=False, extend_select=["ALL"], preview=True)
    assert [item.message for item in found if item.code < "QA0004"] == []


@pytest.mark.parametrize("name", ["a.py", "a.md", "a.ipynb"])
def test_no_warning_of_python_about_the_code_under_lint(tmp_path: Path, name: str) -> None:
    """Python would print them among the findings, with `<unknown>` for a file name."""
    code = "import torch\n\n# x = '\\D' if 1or 2 else 3\nx = '\\D'\ny = 1if x is 1 else (1)()\n"
    text = {
        "a.py": code + f"def test_it():\n    '''\n    {code.splitlines()[2]}\n    '''\n",
        "a.md": f"{HEAD}```python {{.marimo}}\n{code}```\n",
        "a.ipynb": '{"cells": [{"cell_type": "code", "source": "x = \'\\\\D\'"}], "metadata": {}, '
        '"nbformat": 4, "nbformat_minor": 5}',
    }[name]
    (tmp_path / name).write_text(text)
    (tmp_path / "test_other.py").write_text(code + "\ndef test_training():\n    assert '\\D' is x\n")
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        lint([str(tmp_path)], filters=False, extend_select=["ALL"], preview=True)
    assert [str(warning.message) for warning in shown] == []
