"""Gradients changed by hand, iterators used by library functions, parameters that stand alone."""

from __future__ import annotations

import pytest
from machine_programs import faults_of, story_of

STEP = """
scaler = GradScaler("cuda")
for x in loader:
    optimizer.zero_grad()
    with autocast("cuda"):
        loss = model(x).mean()
    scaler.scale(loss).backward()
    for p in model.parameters():
        {change}
    scaler.step(optimizer)
    scaler.update()
"""


@pytest.mark.parametrize(
    "change",
    [
        "p.grad.data = p.grad.data.clamp(-1, 1)",
        "p.grad.copy_(torch.where(p.grad.norm() < 1, p.grad, p.grad / p.grad.norm()))",
        "p.grad.copy_(torch.clamp(p.grad, -1, 1))",
        "p.grad.data = torch.sign(p.grad)",
    ],
)
def test_a_change_that_is_not_linear_needs_true_gradients(change: str) -> None:
    assert faults_of(STEP.format(change=change)) == [f"clip-before-unscale:edit @ {change}"]


@pytest.mark.parametrize(
    "change",
    [
        "p.grad.data = p.grad.data * 0.5",
        "p.grad.copy_(p.grad / 2)",
        "p.grad.copy_(torch.zeros_like(p.grad))",
        "p.grad = p.grad.contiguous()",
    ],
)
def test_a_linear_change_does_not(change: str) -> None:
    assert faults_of(STEP.format(change=change)) == []


def test_a_mapped_iterator_is_used_up_by_a_sum() -> None:
    text = """
    params = map(lambda pair: pair[1], model.named_parameters())
    print(sum(map(torch.numel, params)))
    second = torch.optim.SGD(params, lr=0.1)
    """
    (fault,) = faults_of(text)
    assert fault.startswith("exhausted-parameter-iterator")


def test_a_statement_that_starts_again_uses_an_iterator_once() -> None:
    text = """
    def groups(model, rates):
        return [
            {"params": [p for n, p in model.named_parameters() if "head" in n], "lr": rates and 1},
            {"params": [p for n, p in model.named_parameters() if "head" not in n], "lr": rates or 1},
        ]

    for kind in kinds:
        second = torch.optim.SGD(groups(model, None if kind else {"head": 1}), lr=0.1)
    """
    assert faults_of(text) == []


def test_a_parameter_alone_is_fed_by_what_is_computed_with_it() -> None:
    text = """
    alpha = nn.Parameter(torch.zeros(1, device="cuda"))
    own = torch.optim.Adam([alpha], lr=1e-3)
    scaler = GradScaler("cuda")
    for x in loader:
        optimizer.zero_grad()
        own.zero_grad()
        with autocast("cuda"):
            loss = (alpha * model(x)).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        scaler.step(own)
        scaler.update()
    """
    assert faults_of(text) == ["update-between-optimizers @ scaler.update()"]


def test_arguments_that_are_passed_on_hold_no_closure() -> None:
    head = "import torch\n"
    text = """
    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer, self.scaler = optimizer, torch.cuda.amp.GradScaler()

        def step(self, *args, **kwargs):
            self.scaler.step(self.optimizer, *args, **kwargs)
            self.scaler.update()
    """
    assert faults_of(text, head) == []


def test_the_optimizer_of_an_engine_is_the_engines() -> None:
    head = "import deepspeed\nimport torch\n"
    text = """
    def main(args, net):
        engine, optimizer, loader, _ = deepspeed.initialize(args=args, model=net)
        for x in loader:
            loss = engine(x).mean()
            {step}
    """
    wrong = faults_of(text.format(step="loss.backward(); optimizer.step()"), head)
    assert [fault.partition(" ")[0] for fault in wrong] == ["scaler-inside-framework:backward"]
    assert faults_of(text.format(step="engine.backward(loss); engine.step()"), head) == []


def test_a_flag_of_the_caller_may_well_be_set() -> None:
    text = """
    amp = device.type == "cuda"
    for x in loader:
        optimizer.zero_grad()
        with autocast("cuda", dtype=torch.float16, enabled=amp):
            loss = model(x).mean()
        loss.backward()
        optimizer.step()
    """
    assert faults_of(text) == ["missing-grad-scaler @ loss.backward()"]
    assert faults_of(text.replace('device.type == "cuda"', "False")) == []


def test_rounds_counted_for_the_step_and_for_the_clearing_may_agree() -> None:
    head = "import torch\n"
    text = """
    class Trainer:
        def __init__(self, net, every):
            self.net, self.every, self.step = net, every, 0
            self.optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

        def fit(self, loader):
            for x in loader:
                self.step += 1
                if (self.step - 1) % self.every == 0:
                    self.net.zero_grad()
                self.net(x).mean().backward()
                if self.step % self.every == 0:
                    self.optimizer.step()
    """
    faults = list(story_of(text, head).faults("missing-zero-grad"))
    assert faults
    assert all(fault.confidence.value == "medium" for fault in faults)
