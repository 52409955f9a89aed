"""Code that hands over in its middle: generators, context managers, closures given to a step."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine_programs import faults_of

from qalint import parsing, reader
from qalint.analysis.machine.story import Story
from qalint.analysis.project import Project, load
from qalint.file import File

HEAD = """\
import torch
from contextlib import contextmanager
from torch import nn
from torch.amp import GradScaler, autocast

net = nn.Linear(3, 1).cuda()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = GradScaler("cuda")
"""
CASES: dict[str, tuple[str, list[str]]] = {
    "a generator that trains": (
        """
        def train(loader):
            for x in loader:
                opt.zero_grad()
                with autocast("cuda"):
                    loss = net(x).mean()
                scaler.scale(loss).backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                scaler.step(opt)
                scaler.update()
                yield loss.item()

        for loss in train(loader):
            print(loss)
        """,
        ["clip-before-unscale:norm @ nn.utils.clip_grad_norm_(net.parameters(), 1.0)"],
    ),
    "a generator of losses, enumerated": (
        """
        def losses(loader):
            for x in loader:
                with autocast("cuda"):
                    yield net(x).mean()

        for i, loss in enumerate(losses(loader)):
            opt.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(opt)
        """,
        ["missing-scaler-update:step @ scaler.step(opt)"],
    ),
    "a step in two halves, around what the consumer does": (
        """
        def inner(loader):
            for x in loader:
                opt.zero_grad()
                yield net(x).mean()
                opt.step()

        def outer(loader):
            yield from inner(loader)

        for loss in outer(loader):
            loss.backward()
        """,
        [],
    ),
    "what a generator tells of the round": (
        """
        def rounds(loader, accum):
            for i, x in enumerate(loader):
                yield x, (i + 1) % accum == 0

        for x, last in rounds(loader, accum):
            with autocast("cuda"):
                loss = net(x).mean() / accum
            scaler.scale(loss).backward()
            scaler.unscale_(opt)
            if last:
                scaler.step(opt)
                scaler.update()
                opt.zero_grad()
        """,
        ["unscale-every-micro-step:micro-step @ scaler.unscale_(opt)"],
    ),
    "a generator that a list runs": (
        """
        def train(loader):
            for x in loader:
                net(x).mean().backward()
                opt.step()
                yield 1

        list(train(loader))
        """,
        ["missing-zero-grad @ net(x).mean().backward()"],
    ),
    "an endless loader": (
        """
        def endless(loader):
            while True:
                yield from loader

        batches = endless(loader)
        for i in range(steps):
            opt.zero_grad()
            net(next(batches)).mean().backward()
            opt.step()
        """,
        [],
    ),
    "the step after a manager's yield, on every way out": (
        """
        @contextmanager
        def step():
            opt.zero_grad()
            with autocast("cuda"):
                yield net
            scaler.step(opt)
            scaler.update()

        for x in loader:
            with step() as model:
                loss = model(x).mean()
                scaler.scale(loss).backward()
                if x.last:
                    continue
        """,
        [],
    ),
    "cleared after a manager's yield, before the step": (
        """
        @contextmanager
        def cleared():
            try:
                yield
            finally:
                opt.zero_grad()

        for x in loader:
            with cleared():
                net(x).mean().backward()
            opt.step()
        """,
        ["zero-grad-before-step @ opt.zero_grad()"],
    ),
    "cleared by a manager's __exit__, before the step": (
        """
        class Cleared:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                opt.zero_grad()

        for x in loader:
            with Cleared():
                net(x).mean().backward()
            opt.step()
        """,
        ["zero-grad-before-step @ opt.zero_grad()"],
    ),
    "a manager whose __exit__ steps": (
        """
        class Step:
            def __enter__(self):
                opt.zero_grad()

            def __exit__(self, *error):
                opt.step()

        for x in loader:
            with Step():
                net(x).mean().backward()
        """,
        [],
    ),
    "a manager kept in a variable": (
        """
        @contextmanager
        def half():
            with autocast("cuda", dtype=torch.float16):
                yield

        precision = half() if amp else contextlib.nullcontext()
        for x in loader:
            opt.zero_grad()
            with precision:
                loss = net(x).mean()
            scaler.scale(loss).backward()
            scaler.step(opt)
            scaler.update()
        """,
        [],
    ),
    "a closure that clears": (
        """
        second = torch.optim.LBFGS(net.parameters())
        for x in loader:
            def closure():
                second.zero_grad()
                loss = net(x).mean()
                loss.backward()
                return loss

            second.step(closure)
        """,
        [],
    ),
    "a closure that never clears": (
        """
        def closure():
            loss = net(x).mean()
            loss.backward()
            return loss

        for x in loader:
            opt.step(closure)
        """,
        ["missing-zero-grad @ loss.backward()"],
    ),
    "a closure in FP16": (
        """
        del scaler

        def closure(x):
            opt.zero_grad()
            with autocast("cuda", dtype=torch.float16):
                loss = net(x).mean()
            loss.backward()
            return loss

        for x in loader:
            opt.step(lambda: closure(x))
        """,
        ["missing-grad-scaler @ loss.backward()"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_run_where_it_is_used(name: str) -> None:
    text, faults = CASES[name]
    head = HEAD if "del scaler" not in text else HEAD.replace('scaler = GradScaler("cuda")\n', "scaler = 0\n")
    assert faults_of(text, head) == faults


def test_a_manager_of_another_file_and_a_bound(tmp_path: Path) -> None:
    (tmp_path / "contexts.py").write_text(
        "\n" * 50
        + "import torch\nfrom contextlib import contextmanager\n\n\n@contextmanager\ndef step(opt, x):\n"
        + "".join(f"    if x.flag{i}:\n        opt.zero_grad()\n" for i in range(8))
        + "    yield\n    opt.step()\n"
    )
    (tmp_path / "train.py").write_text(
        "import torch\nfrom contexts import step\n\n\ndef main(net, loader):\n"
        "    opt = torch.optim.SGD(net.parameters(), lr=0.1)\n    for x in loader:\n"
        "        with step(opt, x):\n            net(x).mean().backward()\n"
    )
    source = reader.read(str(tmp_path / "train.py"))
    story = File(source, parsing.tree_of(source), Project([str(tmp_path)], load)).get(Story)
    assert story is not None
    assert {event.kind for event in story} >= {"backward", "optimizer-step", "zero-grad"}


def test_a_generator_that_a_list_runs_is_run_with_what_it_was_given() -> None:
    text = """
    def train(net, opt, scaler, loader):
        for x in loader:
            opt.zero_grad()
            with autocast("cuda"):
                loss = net(x).mean()
            scaler.scale(loss).backward()
            scaler.step(opt)
            yield loss.item()

    losses = list(train(net, opt, scaler, loader))
    total = sum(train(net, opt, GradScaler("cuda", enabled=False), loader))
    """
    assert faults_of(text, HEAD) == ["missing-scaler-update:step @ scaler.step(opt)"]
    assert (
        faults_of(
            text.replace("opt, scaler, loader))", 'opt, GradScaler("cuda", enabled=False), loader))'), HEAD
        )
        == []
    )


@pytest.mark.parametrize(
    "step", ['print(f"{fit(x):.3f}")', 'bar.set_postfix(loss=f"{fit(x)}")', 'f"{x} {fit(x)}"']
)
def test_what_a_text_is_made_of_is_run(step: str) -> None:
    text = f"""
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)

def fit(x):
    net(x).mean().backward()
    opt.step()
    return 1.0

for x in loader:
    {step}
"""
    assert faults_of(text) == ["missing-zero-grad @ net(x).mean().backward()"]


def test_a_generator_that_only_moves_its_batches() -> None:
    text = """
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)

def batches(rows):
    for row in rows:
        yield row.to(device), row

for turn, (x, y) in enumerate(batches(rows)):
    net(x).mean().backward()
    opt.step()
"""
    assert faults_of(text) == ["missing-zero-grad @ net(x).mean().backward()"]
