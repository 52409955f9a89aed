"""What is judged of a method whose callers are not seen."""

from __future__ import annotations

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
