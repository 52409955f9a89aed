"""Programs of several files: one only starts them, and what it starts lies in classes of others."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from machine_programs import faults_of

from qalint.testing import lint

MANAGER = """
class Pair:
    def __init__(self):
        self.scaler = GradScaler("cuda")
        self.by_name = {}

    def add(self, name, opt):
        self.by_name[name] = opt

    def minimise(self, name, loss):
        opt = self.by_name[name]
        opt.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(opt)

    def close_round(self):
        ENDED


def main(critic, maker, loader):
    pair = Pair()
    pair.add("maker", torch.optim.Adam(maker.parameters(), 1e-4))
    pair.add("critic", torch.optim.Adam(critic.parameters(), 1e-4))
    for x in loader:
        with autocast("cuda"):
            loss = critic(x).mean()
        pair.minimise("critic", loss)
        with autocast("cuda"):
            loss = critic(maker(x)).mean()
        pair.minimise("maker", loss)
        pair.close_round()
"""


@pytest.mark.parametrize(
    "ended",
    [
        "self.scaler.update()",
        "if self.by_name:\n            self.scaler.update()",
        "self.note()\n\n    def note(self):\n        print(1)\n        self.scaler.update()",
    ],
)
def test_a_method_that_only_updates_ends_the_round(ended: str) -> None:
    assert faults_of(MANAGER.replace("ENDED", ended)) == []


@pytest.mark.parametrize("ended", ["pass", "self.by_name.update(seen=1)", "print('round')"])
def test_a_method_that_updates_something_else_does_not(ended: str) -> None:
    assert faults_of(MANAGER.replace("ENDED", ended)) == [
        "missing-scaler-update:step @ self.scaler.step(opt)",
    ]


BASE = """
import torch
from torch import nn
from torch.nn import functional as F


class Loop:
    def __init__(self, lr):
        self.net = nn.Linear(8, 2).cuda()
        self.opt = torch.optim.SGD(self.net.parameters(), lr=lr)

    def prepare(self):
        self.opt.zero_grad()

    def loss(self, batch):
        return F.cross_entropy(self.net(batch[0].cuda()), batch[1].cuda())

    def backward(self, loss):
        loss.backward()

    def apply(self):
        self.opt.step()

    def fit(self, batches):
        for batch in batches:
            self.prepare()
            self.backward(self.loss(batch))
            self.apply()
"""
LOUD = """
from .loop import Loop


class LoudLoop(Loop):
    def prepare(self):
        MORE
        print("one more")
"""
SCALED = """
import torch

from .loop import Loop


class ScaledLoop(Loop):
    def __init__(self, lr):
        super().__init__(lr)
        self.scaler = torch.amp.GradScaler("cuda")

    def loss(self, batch):
        with torch.autocast("cuda", dtype=torch.float16):
            return super().loss(batch)

    def backward(self, loss):
        self.scaler.scale(loss).backward()

    def NAME(self):
        self.scaler.step(self.opt)
        self.scaler.update()
"""
START = """
from data import batches
from parts.mine import CLASS


def main():
    CLASS(0.1).fit(batches("train"))


if __name__ == "__main__":
    main()
"""
AT_THE_TOP = """
from data import batches
from parts.mine import CLASS

CLASS(0.1).fit(batches("train"))
"""
DATA = "def batches(split):\n    with open(split) as lines:\n        yield from map(parse, lines)\n"


def findings(folder: Path, mine: str, start: str, name: str) -> list[str]:
    """`file:line code` of what a run says of the three files, advice apart."""
    files = {
        "parts/__init__.py": "",
        "parts/loop.py": BASE,
        "parts/mine.py": mine,
        "data.py": DATA,
        "start.py": start.replace("CLASS", name),
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(textwrap.dedent(text).lstrip())
    found = lint([str(folder)], select=["QA11"], ignore=["QA1106", "QA1120"])
    return [f"{Path(item.filename).name}:{item.region.row} {item.code}" for item in found]


@pytest.mark.parametrize("start", [START, AT_THE_TOP], ids=["main", "top"])
@pytest.mark.parametrize(
    ("mine", "name", "expected"),
    [
        (LOUD.replace("MORE", "pass"), "LoudLoop", ["loop.py:18 QA1115"]),
        (LOUD.replace("MORE", "super().prepare()"), "LoudLoop", []),
        (SCALED.replace("NAME", "apply_step"), "ScaledLoop", ["loop.py:21 QA1107"]),
        (SCALED.replace("NAME", "apply"), "ScaledLoop", []),
    ],
    ids=["clearing lost", "clearing kept", "step under another name", "step overridden"],
)
def test_what_a_silent_file_starts(
    tmp_path: Path, mine: str, name: str, expected: list[str], start: str
) -> None:
    assert findings(tmp_path, mine, start, name) == expected


def test_a_file_that_starts_nothing_has_no_program(tmp_path: Path) -> None:
    again = "from parts.mine import LoudLoop\n\nLOOPS = {'loud': LoudLoop}\n"
    assert findings(tmp_path, LOUD.replace("MORE", "pass"), again, "LoudLoop") == []
