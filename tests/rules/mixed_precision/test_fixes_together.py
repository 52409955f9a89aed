"""Fixes of several rules in one file: two of one cause are not both applied."""

from __future__ import annotations

from pathlib import Path

import pytest

from qalint import reader
from qalint.config import Configs
from qalint.discovery import Found
from qalint.fixing import Fixer
from qalint.registry import catalog
from qalint.runner import Runner
from qalint.testing import lint

CAST_LATE = """\
import torch
from torch import nn

rows = torch.randn(64, 4, device="cuda")


def guess(net):
    {helper}


net = nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cuda")
net.half()
for row in rows.split(8):
    optimizer.zero_grad()
    with torch.autocast("cuda", dtype=torch.float16):
        loss = net(row).mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
print({use})
"""


@pytest.mark.parametrize(
    ("helper", "use"),
    [("return net(rows[:2])", "guess(net)"), ("return net", "net(rows[:2])")],
    ids=["before the cast", "after it"],
)
def test_a_cast_that_goes_and_an_input_that_did_not_fit_it(tmp_path: Path, helper: str, use: str) -> None:
    text = CAST_LATE.format(helper=helper, use=use)
    path = tmp_path / "net.py"
    path.write_text(text)
    assert {"QA1128", "QA1710"} <= {item.code for item in lint([str(path)])}
    configs = Configs(catalog(), overrides={}, isolated=True, environment={})
    Fixer(Runner(catalog(), configs, jobs=0), unsafe=True).run([Found(str(path), None, True)])
    reader.overlay.clear()
    assert path.read_text() == text.replace("net.half()\n", "")
