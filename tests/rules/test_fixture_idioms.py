"""Every rule of weight has its fixtures in several idioms: three that are wrong, three that are right."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from qalint_rules import gpu, lora, mixed_precision

from qalint.rule import Rule, Severity

FIXTURES = Path(__file__).parents[2] / "fixtures"
WEIGHTY = [
    (plugin.__name__.rpartition(".")[2], rule)
    for plugin in (mixed_precision, lora, gpu)
    for rule in plugin.section.rules
    if rule.default and rule.severity in (Severity.CRITICAL, Severity.HIGH)
]


def shape(path: Path) -> str:
    """A program without its names and numbers: what makes two of them one idiom."""
    if path.suffix != ".py":
        return path.name
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return " ".join(type(node).__name__ for node in ast.walk(tree))


@pytest.mark.parametrize(("plugin", "rule"), WEIGHTY, ids=[rule.code for _, rule in WEIGHTY])
def test_three_of_each_kind(plugin: str, rule: type[Rule]) -> None:
    folder = FIXTURES / plugin / rule.name
    for kind in ("bad", "good"):
        shapes = {shape(path) for path in folder.glob(f"{kind}_*")}
        assert len(shapes) >= 3, (rule.code, kind)
