"""What is judged of a method whose callers are not seen."""

from __future__ import annotations

import pytest
from machine_programs import faults_of, story_of

HEAD = "import torch\n"
TRAINER = """
class Trainer:
    def __init__(self, net, max_norm=None):
        self.net, self.max_norm = net, max_norm
        self.opt = torch.optim.Adam(net.parameters())
        self.scaler = torch.amp.GradScaler("cuda")

    def forward(self, x):
        with torch.autocast("cuda"):
            loss = self.net(x).mean()
        return self.scaler.scale(loss)

    def update(self):
        if self.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.max_norm)
        self.scaler.step(self.opt)
        self.scaler.update()
        self.opt.zero_grad()
"""


def test_a_clip_in_a_program_that_unscales_nowhere() -> None:
    assert faults_of(TRAINER, HEAD) == [
        "clip-before-unscale:norm @ torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.max_norm)"
    ]


def test_a_caller_may_unscale_where_something_does() -> None:
    other = "\n    def before(self):\n        self.scaler.unscale_(self.opt)\n"
    assert faults_of(TRAINER + other, HEAD) == []


def test_a_scaler_that_is_given_may_have_been_used() -> None:
    text = """
def finish(opt, scaler, parameters, loss):
    scaler.scale(loss)
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    scaler.step(opt)
    scaler.update()
"""
    assert [fault.confidence.value for fault in story_of(text, HEAD).faults("clip-before-unscale")] == [
        "medium"
    ]


OWN_STEP = """
import torch
from transformers import AutoModel, Trainer, TrainingArguments

class Mine(Trainer):
    def __init__(self, *given):
        super().__init__(*given)
        self.own = torch.amp.GradScaler("cuda")

    def training_step(self, model, inputs, count=None):
        loss = self.compute_loss(model, self._prepare_inputs(inputs))
        {backward}
        return loss.detach()

Mine(AutoModel.from_pretrained("some"), TrainingArguments("out", {setting})).train()
"""


@pytest.mark.parametrize(
    ("backward", "setting", "found"),
    [
        ("loss.backward()", "fp16=True", True),
        ("(loss / 4).backward()", "fp16=True", True),
        ("loss.backward()", "bf16=True", False),
        ("loss.backward()", "fp16=args.half", False),
        ("self.own.scale(loss).backward()", "fp16=True", True),
        ("self.own.scale(loss).backward()", "", True),
        ("self.accelerator.backward(loss)", "fp16=True", False),
        ("if self.scaling:\n            self.scaler.scale(loss).backward()", "fp16=True", False),
        (
            "if self.do_grad_scaling:\n            self.scaler.scale(loss).backward()\n"
            "        else:\n            loss.backward()",
            "fp16=True",
            False,
        ),
    ],
)
def test_the_step_of_a_trainer_runs_its_own_backward(backward: str, setting: str, found: bool) -> None:
    told = faults_of(OWN_STEP.format(backward=backward, setting=setting), "")
    assert told == [f"scaler-inside-framework:trainer @ {backward}"] * found
    other = OWN_STEP.replace("(Trainer)", "(project.Trainer)").format(backward=backward, setting=setting)
    assert not any("inside-framework" in fault for fault in faults_of(other, ""))
