"""In which precision a forward runs: what its own code, its caller and its device decide."""

from __future__ import annotations

import pytest
from machine_programs import faults_of

HEAD = """\
import torch
from torch import nn
from torch.nn import functional as F
from torch.amp import GradScaler, autocast
"""

QUIET = """
class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 1)

    def forward(self, x):
        with autocast("cuda", enabled=False):
            return self.body(x.float())


class Game:
    def __init__(self):
        self.judge = None
        self.optimizer = None

    def setup(self):
        self.judge = Judge().cuda()
        self.optimizer = torch.optim.Adam(self.judge.parameters())

    def turn(self, batch):
        self.optimizer.zero_grad()
        with autocast("cuda"):
            loss = self.judge(batch).mean()
        loss.backward()
        self.optimizer.step()
"""


def test_a_module_that_may_turn_autocast_off_for_itself() -> None:
    assert faults_of(QUIET, HEAD) == []
    decorated = QUIET.replace(
        '    def forward(self, x):\n        with autocast("cuda", enabled=False):\n            return',
        '    @autocast("cuda", enabled=False)\n    def forward(self, x):\n        return',
    )
    assert decorated != QUIET
    assert faults_of(decorated, HEAD) == []


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ('        with autocast("cuda", enabled=False):\n            return', "        return"),
        ("enabled=False", "enabled=True"),
        ("            return self.body(x.float())", "            x = x.float()\n        return self.body(x)"),
    ],
    ids=["nothing", "on", "not what it returns"],
)
def test_a_module_that_leaves_autocast_on(here: str, there: str) -> None:
    text = QUIET.replace(here, there)
    assert text != QUIET
    assert faults_of(text, HEAD) == ["missing-grad-scaler @ loss.backward()"]
