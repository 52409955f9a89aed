"""Correct code of the kinds in which false alarms were met when real programs were read."""

from __future__ import annotations

import pytest
from qalint_rules.lora.application import AdapterNeverApplied
from qalint_rules.mixed_precision.gradient_clearing import ZeroGradBeforeStep

from qalint.testing import findings

HAND_MOVED = """
import torch
from torch import nn

class LowRank(nn.Module):
    def __init__(self, base, rank=4):
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.randn(base.in_features, rank))
        self.up = nn.Parameter(torch.zeros(rank, base.out_features))

    def forward(self, x):
        {forward}

    def settle(self, x):
        with torch.no_grad():
            moved = x @ self.down @ self.up
            self.up.sub_(moved)

net = nn.Sequential(nn.Linear(8, 8))
net.requires_grad_(False)
net[0] = LowRank(net[0])
optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad])
net(torch.randn(2, 8)).sum().backward()
net[0].settle(torch.randn(2, 8))
optimizer.step()
"""
APPLIED = "return self.base(x) + x @ self.down @ self.up"
CUT = """with torch.no_grad():
            delta = x @ self.down @ self.up
        return self.base(x) + delta"""


@pytest.mark.parametrize(("forward", "count"), [(APPLIED, 0), (CUT, 1)])
def test_a_method_that_returns_nothing_is_no_forward(forward: str, count: int) -> None:
    assert len(findings(AdapterNeverApplied, HAND_MOVED.format(forward=forward))) == count


ROUNDS = """
import torch
from torch import nn

net = nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(3):
    for i in range(10):
        loss = net(torch.randn(2, 4)).mean()
        if loss.isfinite():
            loss.backward()
{early}        if (i + 1) % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
    optimizer.zero_grad()
"""


@pytest.mark.parametrize(("early", "count"), [("", 0), ("        optimizer.zero_grad()\n", 1)])
def test_what_is_left_of_the_last_round_may_be_dropped(early: str, count: int) -> None:
    assert len(findings(ZeroGradBeforeStep, ROUNDS.format(early=early))) == count
