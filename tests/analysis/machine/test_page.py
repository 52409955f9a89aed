"""The page's example is a rule that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from machine_programs import HEAD

from qalint.testing import findings

PAGE = Path(__file__).parents[3] / "docs" / "machine.md"

PROGRAM = """
scaler = GradScaler()
for x in loader:
    with autocast("cuda"):
        loss = model(x).mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    optimizer.zero_grad()
    scaler.update()
"""


def test_a_third_party_writes_an_order_rule_in_25_lines() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    assert len(code.splitlines()) <= 28
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    found = findings(namespace["ClearedBeforeLogged"], HEAD + PROGRAM)
    lines = {finding.place.source.location(finding.place.start).row for finding in found}
    assert lines == {HEAD.count("\n") + PROGRAM[: PROGRAM.index("optimizer.zero_grad")].count("\n") + 1}
