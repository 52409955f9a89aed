"""Closures over loop variables: what takes its hook off in the same round is right."""

from __future__ import annotations

import pytest
from qalint_rules.lora.late_binding import LateBoundForward

from qalint.testing import findings

STEER = """
for strength in strengths:
    shift = strength * direction
    {}
    results.append(generate(model))
    {}
"""
HOOK = "block.register_forward_hook(lambda module, given, out: out + shift)"


@pytest.mark.parametrize(
    ("hook", "after", "count"),
    [
        (f"handle = {HOOK}", "handle.remove()", 0),
        (f"handles = []; handles.append({HOOK})", "for one in handles: one.remove()", 0),
        (f"self.handle = {HOOK}", "self.handle.remove()", 0),
        (f"handle = {HOOK}", "pass", 1),
        (f"handles.append({HOOK})", "pass", 1),
        (f"handle = {HOOK}", "other.remove()", 1),
        (HOOK, "handle.remove()", 1),
    ],
)
def test_a_hook_of_one_round(hook: str, after: str, count: int) -> None:
    found = findings(LateBoundForward, STEER.format(hook, after))
    assert len(found) == count
    assert all("`shift`" in finding.message for finding in found)


@pytest.mark.parametrize(("read", "count"), [("p._execution_engine", 0), ("p.grad", 1)])
def test_what_every_parameter_shares(read: str, count: int) -> None:
    text = (
        "for p in list(model.parameters()):\n"
        "    def reduce(*unused):\n"
        f"        {read}.queue_callback(everything)\n"
        "    p.register_hook(reduce)\n"
    )
    assert len(findings(LateBoundForward, text)) == count
