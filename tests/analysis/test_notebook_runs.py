"""What the rules say about a notebook against what happens when marimo runs it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from qalint_rules.marimo_cells import section

from qalint.linter import check
from qalint.testing import file_of, notebook

pytest.importorskip("marimo")
from marimo._ast.load import load_app

FATAL = {"QA1301", "QA1304", "QA1307", "QA1313", "QA1314", "QA1316", "QA1318"}
RULES = [rule() for rule in section.rules if rule.code in FATAL]
NAMES = ("a", "b", "c", "_p", "_q", "__d")

STATEMENTS = (
    "{x} = {y}",
    "{x} = 1",
    "{y} = 1",
    "{x} = [{y} for {z} in [1]]",
    "{x} = [{z} for {z} in [1, 2]]",
    "{x} = (lambda {z}=1: {z})()",
    "print({x})",
    "f'{{{x}}}'",
    "def {x}({z}=1):\n    return {z}",
    "class {x}:\n    {y} = 1\n    k = {y}",
    "import os as {x}",
    "for {x} in [1]:\n    {y} = 2",
    "with open('/dev/null') as {x}:\n    pass",
    "try:\n    {x}\nexcept NameError:\n    pass",
    "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    pass",
    "if True:\n    {x} = 1\nelse:\n    {x} = 2",
    "match 1:\n    case {x}:\n        pass",
    "({x} := 3)",
    "{x} = str({y})",
)


def draft(seed: int) -> str:
    """A notebook of two to four cells with random names."""
    rng = random.Random(seed)

    def statement() -> str:
        x, y, z = (rng.choice(NAMES) for _ in range(3))
        return rng.choice(STATEMENTS).format(x=x, y=y, z=z)

    cells = ["\n".join(statement() for _ in range(rng.randint(1, 3))) for _ in range(rng.randint(2, 4))]
    return notebook(*cells)


@pytest.mark.parametrize("seed", range(40))
def test_a_notebook_fails_exactly_where_a_rule_speaks(seed: int, tmp_path: Path) -> None:
    text = draft(seed)
    path = tmp_path / "notebook.py"
    path.write_text(text, encoding="utf-8")
    found = list(check(file_of(text), RULES))
    try:
        load_app(str(path)).run()
    except Exception as error:  # marimo raises the error of the cell, or its own
        assert found, f"{error!r} is not foreseen in\n{text}"
    else:
        assert found == [], text


def test_both_outcomes_occur() -> None:
    outcomes = {bool(list(check(file_of(draft(seed)), RULES))) for seed in range(40)}
    assert outcomes == {True, False}
