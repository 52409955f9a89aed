"""Functions are run however they are reached: stored, given, called by another name, overridden."""

from __future__ import annotations

import pytest
from machine_programs import faults_of

HEAD = """\
import torch
from functools import partial
from torch import nn
from torch.amp import GradScaler, autocast
"""
MAKE = """
    net = nn.Linear(3, 1).cuda()
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    scaler = GradScaler("cuda")
"""
REACHED = {
    "given to a loop": (
        f"""
def run(loader, step):
    for batch in loader:
        step(batch)

def main(loader):
{MAKE}
    def one(batch):
        opt.zero_grad()
        with autocast("cuda"):
            loss = net(batch).mean()
        scaler.scale(loss).backward()
        scaler.step(opt)

    run(loader, one)
""",
        "missing-scaler-update:step @ scaler.step(opt)",
    ),
    "a partial": (
        f"""
def step(net, opt, scaler, batch):
    opt.zero_grad()
    with autocast("cuda"):
        loss = net(batch).mean()
    scaler.scale(loss).backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    scaler.step(opt)
    scaler.update()

def main(loader):
{MAKE}
    bound = partial(step, net, opt, scaler)
    for batch in loader:
        bound(batch)
""",
        "clip-before-unscale:norm @ nn.utils.clip_grad_norm_(net.parameters(), 1.0)",
    ),
    "a callable object": (
        """
class Apply:
    def __init__(self, opt):
        self.opt, self.scaler = opt, GradScaler("cuda")

    def __call__(self, loss):
        self.opt.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.opt)

def main(loader):
    net = nn.Linear(3, 1).cuda()
    apply = Apply(torch.optim.SGD(net.parameters(), lr=0.1))
    for batch in loader:
        with autocast("cuda"):
            loss = net(batch).mean()
        apply(loss)
""",
        "missing-scaler-update:step @ self.scaler.step(self.opt)",
    ),
    "a table of functions": (
        """
def plain(net, opt, batch):
    net(batch).mean().backward()
    opt.step()

def nothing(net, opt, batch):
    pass

KINDS = {"plain": plain, "nothing": nothing}

def main(loader, kind):
    net = nn.Linear(3, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for batch in loader:
        KINDS[kind](net, opt, batch)
""",
        "missing-zero-grad @ net(batch).mean().backward()",
    ),
    "a method of the class below": (
        """
class Base:
    def __init__(self, net):
        self.net = net.cuda()
        self.opt = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def loss_of(self, batch):
        raise NotImplementedError

    def fit(self, loader):
        for batch in loader:
            self.opt.zero_grad()
            with autocast("cuda", dtype=torch.float16):
                loss = self.loss_of(batch)
            loss.backward()
            self.opt.step()

class Mean(Base):
    def loss_of(self, batch):
        return self.net(batch).mean()
""",
        "missing-grad-scaler @ loss.backward()",
    ),
    "a method of a class that is not seen": (
        """
class Base:
    def __init__(self, net):
        self.net = net.cuda()
        self.opt = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def loss_of(self, batch):
        '''The loss.'''
        raise NotImplementedError("say how")

    def fit(self, loader):
        for batch in loader:
            self.loss_of(batch).backward()
            self.opt.step()
""",
        "missing-zero-grad @ self.loss_of(batch).backward()",
    ),
}


@pytest.mark.parametrize("name", REACHED)
def test_it_is_run(name: str) -> None:
    text, fault = REACHED[name]
    assert faults_of(text, HEAD) == [fault]


def test_an_unseen_method_that_takes_the_step_is_not_guessed() -> None:
    text = """
class Base:
    def __init__(self, net):
        self.net = net.cuda()
        self.opt = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def train_batch(self, batch):
        raise NotImplementedError

    def fit(self, loader):
        for batch in loader:
            self.train_batch(batch)
            self.opt.step()
"""
    assert faults_of(text, HEAD) == []


CASTS = {
    "after adapters of a library": """
from peft import get_peft_model

def main(model, config, loader):
    model = get_peft_model(model, config)
    model = model.half()
    opt = torch.optim.AdamW(model.parameters())
    for batch in loader:
        model(batch).mean().backward()
        opt.step()
        opt.zero_grad()
""",
    "after adapters put into a Sequential": """
model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
model.requires_grad_(False)
model[0] = nn.Sequential(model[0], nn.Linear(3, 3))
model.to("cuda", torch.float16)
opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
for batch in loader:
    model(batch).mean().backward()
    opt.step()
    opt.zero_grad()
""",
}


@pytest.mark.parametrize("name", CASTS)
def test_a_cast_after_the_injection(name: str) -> None:
    (fault,) = faults_of(CASTS[name], HEAD)
    assert fault.startswith("late-half-cast")


def test_adapters_of_a_library_are_what_is_trained() -> None:
    text = """
from peft import get_peft_model

def main(model, config, loader):
    model = get_peft_model(model.half(), config)
    opt = torch.optim.AdamW(model.parameters())
    for batch in loader:
        model(batch).mean().backward()
        opt.step()
        opt.zero_grad()
"""
    assert faults_of(text, HEAD) == []
    own = text.replace("config)", "config, autocast_adapter_dtype=False)")
    assert own != text
    (fault,) = faults_of(own, HEAD)
    assert fault.startswith("fp16-trainable-parameters")


def test_a_cast_in_a_helper_of_what_the_caller_uses_as_a_module() -> None:
    text = """
def lower(model, fp16):
    if fp16:
        model = model.half()
    return model

def train(net, loader):
    net = lower(net.cuda(), True)
    opt = torch.optim.AdamW(net.parameters())
    for batch in loader:
        opt.zero_grad()
        net(batch).mean().backward()
        opt.step()
"""
    (fault,) = faults_of(text, HEAD)
    assert fault.startswith("fp16-trainable-parameters")


def test_a_method_called_save_is_run_where_it_is_called() -> None:
    text = """
class Trainer:
    def __init__(self, net):
        self.net = net.cuda()
        self.opt = torch.optim.Adam(self.net.parameters())
        self.scaler = GradScaler("cuda")

    def save(self):
        torch.save({"net": self.net.state_dict(), "opt": self.opt.state_dict()}, "last.pt")

    def load(self):
        kept = torch.load("last.pt")
        self.net.load_state_dict(kept["net"])
        self.opt.load_state_dict(kept["opt"])

    def fit(self, loader):
        self.load()
        for x in loader:
            self.opt.zero_grad()
            with autocast("cuda"):
                loss = self.net(x).mean()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.opt)
            self.scaler.update()
        self.save()

Trainer(nn.Linear(3, 1)).fit(loader)
"""
    (fault,) = faults_of(text, HEAD)
    assert fault.startswith("scaler-not-checkpointed")
    kept = text.replace(
        '"opt": self.opt.state_dict()', '"opt": self.opt.state_dict(), "s": self.scaler.state_dict()'
    )
    assert faults_of(kept, HEAD) == []


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        ('"plan": self.plan.state_dict(), "turn": self.turn, "best": max(self.best, 1)', True),
        ("**{name: part.state_dict() for name, part in self.parts.items()}", False),
        ('"rest": project.states(self)', False),
    ],
)
def test_states_of_other_things_are_no_scaler_s(kept: str, found: bool) -> None:
    text = f"""
class Trainer:
    def __init__(self, net, parts):
        self.net, self.parts, self.turn, self.best = net.cuda(), parts, 0, 0.0
        self.opt = torch.optim.Adam(self.net.parameters())
        self.plan = torch.optim.lr_scheduler.StepLR(self.opt, 3)
        self.scaler = GradScaler("cuda")

    def fit(self, loader):
        self.opt.load_state_dict(torch.load("last.pt")["opt"])
        while self.turn < 9:
            for x in loader:
                self.opt.zero_grad()
                with autocast("cuda"):
                    loss = self.net(x).mean()
                self.scaler.scale(loss).backward()
                self.scaler.step(self.opt)
                self.scaler.update()
            torch.save({{"opt": self.opt.state_dict(), {kept}}}, "last.pt")
            self.turn += 1

Trainer(nn.Linear(3, 1), project.parts).fit(loader)
"""
    assert [fault.partition(" ")[0] for fault in faults_of(text, HEAD)] == ["scaler-not-checkpointed"] * found
