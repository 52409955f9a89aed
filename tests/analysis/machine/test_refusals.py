"""What torch refuses to compute in the precision in force, wherever the call of it stands."""

from __future__ import annotations

import textwrap

import pytest
from machine_programs import faults_of

HEAD = """\
import functools
import torch
from torch import nn
from torch.nn import functional as F
from torch.amp import GradScaler, autocast

net = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()).cuda()
optimizer = torch.optim.Adam(net.parameters())
scaler = GradScaler("cuda")
"""
TRAINING = """
for x, y in loader:
    optimizer.zero_grad()
    with {region}:
        p = net(x)
        loss = {loss}
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
"""
ON = 'autocast("cuda")'
REFUSED = "unsafe-loss-under-autocast"


def told(definitions: str, loss: str, region: str = ON) -> list[str]:
    """The refusals of a loop whose loss is computed by something defined before it."""
    text = textwrap.dedent(definitions) + TRAINING.format(loss=loss, region=region)
    return [fault for fault in faults_of(text, HEAD) if fault.startswith(REFUSED)]


CRITERION = """
class Criterion(nn.Module):
    def __init__(self):
        super().__init__()
        self.entropy = nn.BCELoss(reduction="none")

    def forward(self, p, t):
        return self.entropy(p, t).mean() + p.mean()

criterion = Criterion().cuda()
"""
LINE = "return self.entropy(p, t).mean() + p.mean()"


def test_a_loss_inside_of_a_module() -> None:
    assert told(CRITERION, "criterion(p, y)") == [f"{REFUSED}:module @ {LINE}"]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("e = self.entropy(p, t).mean()\n        return e + p.mean()", "e = self.entropy(p, t).mean()"),
        (
            "e = 0\n        for q in p:\n            e = e + self.entropy(q, t).mean()\n        return e",
            "e = e + self.entropy(q, t).mean()",
        ),
        ("if t is None:\n            return p.mean()\n        " + LINE, LINE),
        ("\n        ".join([*(f"a{i} = p + {i}" for i in range(16)), LINE]), LINE),
    ],
    ids=["a statement", "a loop", "behind a test", "a long one"],
)
def test_wherever_in_the_module_it_is_called(body: str, line: str) -> None:
    assert told(CRITERION.replace(LINE, body), "criterion(p, y)") == [f"{REFUSED}:module @ {line}"]


@pytest.mark.parametrize(
    ("definitions", "loss", "line"),
    [
        (
            "from torch.nn.functional import binary_cross_entropy as bce\n"
            "def adv(p, t):\n    return bce(p, t)\n",
            "adv(p, y)",
            "return bce(p, t)",
        ),
        (
            'bce = functools.partial(F.binary_cross_entropy, reduction="sum")\n',
            "bce(p, y)",
            "loss = bce(p, y)",
        ),
        (
            'losses = {"bce": nn.BCELoss(), "l1": nn.L1Loss()}\n',
            'losses["bce"](p, y)',
            'loss = losses["bce"](p, y)',
        ),
        (
            'losses = {"bce": nn.BCELoss(), "l1": nn.L1Loss()}\n',
            "sum(f(p, y) for f in losses.values())",
            "loss = sum(f(p, y) for f in losses.values())",
        ),
        (
            "class Weighted:\n    def __init__(self):\n        self.w, self.bce = 2, nn.BCELoss().cuda()\n"
            "    def __call__(self, parts, t):\n        total = 0\n        for p in parts:\n"
            "            total = total + self.bce(p, t)\n        return self.w * total\n"
            "weighted = Weighted()\n",
            "weighted(p, y)",
            "total = total + self.bce(p, t)",
        ),
    ],
    ids=["a function", "a partial", "a table", "all of a table", "an object that is called"],
)
def test_under_any_name(definitions: str, loss: str, line: str) -> None:
    (fault,) = told(definitions, loss)
    assert fault.partition(" @ ")[2] == line


def test_a_loss_that_is_handed_to_the_training() -> None:
    text = """
    def train(criterion):
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = criterion(net(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

    train({made})
    """
    (fault,) = faults_of(text.replace("{made}", "nn.BCELoss()"), HEAD)
    assert fault == f"{REFUSED}:module @ loss = criterion(net(x), y)"
    assert faults_of(text.replace("{made}", "nn.BCEWithLogitsLoss()"), HEAD) == []


def test_a_model_that_computes_its_own_loss() -> None:
    model = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 1)

        def forward(self, x, t):
            return F.binary_cross_entropy(self.body(x).sigmoid(), t)

    whole = Net().cuda()
    """
    assert told(model, "whole(x, y)") == [
        f"{REFUSED}:function @ return F.binary_cross_entropy(self.body(x).sigmoid(), t)"
    ]
    assert told(model.replace("binary_cross_entropy", "mse_loss"), "whole(x, y)") == []


def test_evaluation_is_refused_too() -> None:
    text = """
    def score(p, t):
        return F.binary_cross_entropy(p, t).item()

    @torch.no_grad()
    def evaluate(loader):
        with autocast("cuda"):
            return [score(net(x), y) for x, y in loader]

    print(evaluate(loader))
    """
    (fault,) = faults_of(text, HEAD)
    assert fault == f"{REFUSED}:function @ return F.binary_cross_entropy(p, t).item()"


@pytest.mark.parametrize(
    ("old", "new", "region"),
    [
        ("BCELoss", "BCEWithLogitsLoss", ON),
        ("        return", '        with autocast("cuda", enabled=False):\n            return', ON),
        ("    def forward", '    @autocast("cuda", enabled=False)\n    def forward', ON),
        ("", "", 'autocast("cuda", enabled=False)'),
        ("", "", 'autocast("cpu", dtype=torch.bfloat16)'),
        ("", "", "torch.enable_grad()"),
    ],
    ids=["with logits", "left inside", "left by a decorator", "off", "on a CPU", "no autocast"],
)
def test_where_it_is_allowed(old: str, new: str, region: str) -> None:
    assert told(CRITERION.replace(old, new) if old else CRITERION, "criterion(p, y)", region) == []


def test_a_function_that_is_only_called_outside() -> None:
    dice = "def dice(p, t):\n    return F.binary_cross_entropy(p, t)\n"
    assert told(dice, "F.mse_loss(p, y)\n    loss = loss + dice(p.float(), y)") == []
