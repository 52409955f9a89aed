"""Every rule of weight has its fixtures in several idioms: three that are wrong, three that are right."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from qalint_rules import mixed_precision

from qalint.rule import Rule, Severity

FIXTURES = Path(__file__).parents[3] / "fixtures" / "mixed_precision"
WEIGHTY = [
    rule
    for rule in mixed_precision.section.rules
    if rule.default and rule.severity in (Severity.CRITICAL, Severity.HIGH)
]


def shape(path: Path) -> str:
    """A program without its names and numbers: what makes two of them one idiom."""
    if path.suffix != ".py":
        return path.name
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return " ".join(type(node).__name__ for node in ast.walk(tree))


@pytest.mark.parametrize("rule", WEIGHTY, ids=lambda rule: rule.code)
def test_three_of_each_kind(rule: type[Rule]) -> None:
    folder = FIXTURES / rule.name
    for kind in ("bad", "good"):
        shapes = {shape(path) for path in folder.glob(f"{kind}_*")}
        assert len(shapes) >= 3, (rule.code, kind)
