"""Numbers that a loop moves: no test is decided for good by what they were in the first round."""

from __future__ import annotations

import pytest
from machine_programs import faults_of

HEAD = """\
import torch
from torch import nn
from torch.nn import functional as F
"""
AGENT = """
class Memory:
    def __init__(self, room):
        self.held, self.room = 0, room

    def keep(self, seen):
        {keep}

    def draw(self, n):
        return torch.randn(n, 4)


class Agent:
    def __init__(self):
        self.body = nn.Linear(4, 2)
        self.opt = torch.optim.Adam(self.body.parameters())

    def learn(self, batch):
        loss = self.body(batch).mean()
        loss.backward()
        self.opt.step()


def main(world):
    memory, agent = Memory(5000), Agent()
    for turn in range(100):
        {call}
        if memory.held > 1000:
            agent.learn(memory.draw(64))
"""
KEEPS = {
    "run": "self.held = min(self.held + 1, self.room)",
    "folded": "self.held += 1",
    "too long to be run": "self.held += 1\n" + "\n".join(f"        a{i} = seen" for i in range(20)),
}


@pytest.mark.parametrize("keep", KEEPS.values(), ids=KEEPS)
@pytest.mark.parametrize("call", ["memory.keep(world.turn())", "memory.keep(*world.step(turn))"])
def test_a_method_moves_an_attribute(keep: str, call: str) -> None:
    text = AGENT.format(keep=keep, call=call)
    assert faults_of(text, HEAD) == ["missing-zero-grad @ loss.backward()"]


def test_a_number_that_nothing_moves_decides() -> None:
    assert faults_of(AGENT.format(keep="pass", call="memory.keep(turn)"), HEAD) == []


@pytest.mark.parametrize(
    "loop",
    [
        "for x in loader:\n    seen += 1\n    if seen > 10:",
        "while True:\n    seen += 1\n    x = next(loader)\n    if seen > 10:",
    ],
)
def test_a_variable_of_the_loop(loop: str) -> None:
    text = f"""
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
seen = 0
{loop}
        net(x).mean().backward()
        opt.step()
"""
    assert faults_of(text, HEAD) == ["missing-zero-grad @ net(x).mean().backward()"]
