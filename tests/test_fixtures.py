"""Every fixture shows exactly the findings that it is marked with, under the rules of all sections."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from qalint.registry import catalog
from qalint.testing import expected, found, mismatches

ROOT = Path(__file__).parent.parent / "fixtures"
NOT_RULES = {"trainer", "dashboard"}


def fixtures() -> list[Path]:
    """The fixtures of all rules: files and folders called `bad_*` and `good_*`."""
    return sorted(
        path
        for section in ROOT.iterdir()
        if section.is_dir() and section.name not in NOT_RULES
        for rule in section.iterdir()
        if rule.is_dir()
        for path in rule.iterdir()
        if path.name.startswith(("bad_", "good_"))
    )


def label(path: Path) -> str:
    return "/".join(path.relative_to(ROOT).parts[1:])


@pytest.fixture(scope="session")
def names() -> dict[str, str]:
    return catalog().names


@pytest.mark.parametrize("path", fixtures(), ids=label)
def test_findings_are_those_marked(path: Path, names: dict[str, str]) -> None:
    code = names.get(path.parent.name)
    assert code is not None, f"the folder {path.parent.name} is not called like a rule"
    assert mismatches(str(path), code) == []


@pytest.mark.parametrize("path", fixtures(), ids=label)
def test_marks_fit_the_name(path: Path, names: dict[str, str]) -> None:
    code = names.get(path.parent.name)
    own = [mark for mark in expected(str(path)) if mark[3] == code]
    assert bool(own) == path.name.startswith("bad_")


@pytest.mark.parametrize("path", fixtures(), ids=label)
def test_filters_lose_nothing(path: Path, names: dict[str, str]) -> None:
    code = names.get(path.parent.name)
    assert found(str(path), code, filters=False) == found(str(path), code)


def test_filters_lose_nothing_in_real_notebooks() -> None:
    spec = importlib.util.find_spec("marimo")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "_tutorials"
    assert found(str(path), filters=False) == found(str(path))
