"""Any number of optimizers: each turn of a loop over them meets another one."""

from __future__ import annotations

import machine_programs
import pytest

HEAD = """\
import torch
from torch import nn
from torch.amp import GradScaler, autocast

def main(nets, loader):
"""


def faults_of(text: str, head: str = HEAD) -> list[str]:
    return machine_programs.faults_of(head + text, "")


COMPREHENSION = "opts = [torch.optim.Adam(n.parameters()) for n in nets]"
APPENDED = "opts = []\n    for n in nets:\n        opts.append(torch.optim.Adam(n.parameters()))"
TABLE = "table = {k: torch.optim.Adam(n.parameters()) for k, n in nets.items()}\n    opts = table.values()"


def program(made: str, step: str) -> str:
    return f"""\
    {made}
    scaler = GradScaler("cuda")
    for x in loader:
        for o in opts:
            o.zero_grad()
        with autocast("cuda"):
            loss = sum(n(x).mean() for n in nets)
        scaler.scale(loss).backward()
{step}"""


STEP = """\
        for o in opts:
            scaler.unscale_(o)
        for n in nets:
            nn.utils.clip_grad_norm_(n.parameters(), 1.0)
        for o in opts:
            scaler.step(o)
"""


@pytest.mark.parametrize("made", [COMPREHENSION, APPENDED, TABLE])
def test_loops_over_them_are_no_repetition(made: str) -> None:
    assert faults_of(program(made, STEP + "        scaler.update()\n")) == []


@pytest.mark.parametrize("made", [COMPREHENSION, APPENDED])
def test_what_all_of_them_lack_is_missed(made: str) -> None:
    assert faults_of(program(made, STEP)) == ["missing-scaler-update:unscale @ scaler.step(o)"]


def test_gradients_of_all_of_them() -> None:
    text = f"""\
    {COMPREHENSION}
    for x in loader:
        sum(n(x).mean() for n in nets).backward()
        for o in opts:
            o.step()
"""
    assert faults_of(text) == ["missing-zero-grad @ sum(n(x).mean() for n in nets).backward()"]


def test_each_with_its_own_loss_and_one_update() -> None:
    text = f"""\
    {COMPREHENSION}
    scaler = GradScaler("cuda")
    for x in loader:
        for n, o in zip(nets, opts):
            o.zero_grad()
            with autocast("cuda"):
                loss = n(x).mean()
            scaler.scale(loss).backward()
            scaler.unscale_(o)
            nn.utils.clip_grad_norm_(n.parameters(), 1.0)
            scaler.step(o)
        scaler.update()
"""
    assert faults_of(text) == []


def test_an_update_between_them() -> None:
    text = program(
        COMPREHENSION, "        for o in opts:\n            scaler.step(o)\n            scaler.update()\n"
    )
    assert faults_of(text) == ["update-between-optimizers @ scaler.update()"]


def test_trainers_with_an_optimizer_each() -> None:
    head = """\
import torch
from torch import nn
from torch.amp import GradScaler, autocast

class Agent:
    def __init__(self, net):
        self.net = net.cuda()
        self.opt = torch.optim.Adam(self.net.parameters())

    def step(self, x, scaler):
        self.opt.zero_grad()
        with autocast("cuda"):
            loss = self.net(x).mean()
        scaler.scale(loss).backward()
        scaler.step(self.opt)

def main(nets, loader):
    scaler = GradScaler("cuda")
    agents = [Agent(net) for net in nets]
    for x in loader:
        for agent in agents:
            agent.step(x, scaler)
"""
    assert faults_of("        scaler.update()\n", head) == []
    (fault,) = faults_of("        pass\n", head)
    assert fault == "missing-scaler-update:step @ scaler.step(self.opt)"


def test_what_is_computed_without_a_graph_is_data() -> None:
    text = """\
    opt = torch.optim.AdamW(nets.head.parameters())
    for x in loader:
        with torch.no_grad(), autocast("cuda", dtype=torch.float16):
            features = nets.encoder(x)
        opt.zero_grad()
        nets.head(features.float()).mean().backward()
        opt.step()
"""
    assert faults_of(text) == []
