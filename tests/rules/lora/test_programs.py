"""Programs that inject and train adapters in idioms of their own: each shows exactly what it is marked with.

They stand in `fixtures/` beside this file, called like those of the rules: `bad_*` and `good_*`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from qalint.testing import expected, found, mismatches

PROGRAMS = sorted(
    path for path in (Path(__file__).parent / "fixtures").iterdir() if path.name != "__pycache__"
)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_findings_are_those_marked(path: Path) -> None:
    assert bool(expected(str(path))) == path.name.startswith("bad_")
    assert mismatches(str(path)) == []


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_filters_lose_nothing(path: Path) -> None:
    assert found(str(path), filters=False) == found(str(path))
