"""Correct programs that were met while public repositories were read, in our own words."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine_programs import faults_of

from qalint.testing import lint

IMPORTS = """\
import torch
from torch import nn
from torch.nn import functional as F
from torch.amp import GradScaler, autocast
"""

CORRECT = {
    "a step left out in some rounds, after unscaling; a function that is not seen may run the backward": """
        def train(model, loader, optimizer, loss_of, cfg):
            scaler = GradScaler("cuda")
            for x, y in loader:
                own = True
                optimizer.zero_grad()
                with autocast("cuda"):
                    if cfg.contrastive:
                        loss, own = contrastive(model, x, scaler)
                    else:
                        loss = loss_of(model(x), y)
                if own:
                    scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                moves = surgery(model, cfg)
                if moves:
                    scaler.step(optimizer)
                scaler.update()
    """,
    "a new scale is given between two rounds": """
        def train(gen, disc, loader, opt_g, opt_d):
            scaler = GradScaler("cuda")
            for i, x in enumerate(loader):
                with autocast("cuda"):
                    loss_d = disc(x).mean()
                opt_d.zero_grad()
                scaler.scale(loss_d).backward()
                scaler.step(opt_d)
                with autocast("cuda"):
                    loss_g = -disc(gen(x)).mean()
                opt_g.zero_grad()
                scaler.scale(loss_g).backward()
                scaler.step(opt_g)
                scaler.update()
                if i % 100 == 0 and scaler.get_scale() < 8.0:
                    scaler.update(scaler.get_scale() * 2.0)
    """,
    "an optimizer that takes scaled gradients of any dtype": """
        class MasterLamb(torch.optim.Optimizer):
            def __init__(self, params, lr=0.1):
                super().__init__(params, {"lr": lr})
                self._step_supports_amp_scaling = True
            @torch.no_grad()
            def step(self, closure=None, grad_scaler=None):
                for group in self.param_groups:
                    for p in group["params"]:
                        self.state[p]["master"] -= group["lr"] * p.grad.float()
        model = nn.Linear(4, 4).cuda()
        model.half()
        optimizer = MasterLamb(model.parameters())
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    """,
    "the bound of the clip is scaled like the gradients": """
        def clip(model, limit, scale=1.0):
            nn.utils.clip_grad_norm_(model.parameters(), limit * scale)
        def train(model, loader, optimizer, limit):
            scaler = GradScaler("cuda")
            for x, y in loader:
                optimizer.zero_grad()
                with autocast("cuda"):
                    loss = F.mse_loss(model(x), y)
                scaler.scale(loss).backward()
                clip(model, limit, scale=scaler.get_scale())
                scaler.step(optimizer)
                scaler.update()
    """,
    "the scaler's own record is asked whether to unscale": """
        from torch.amp.grad_scaler import OptState
        def train(model, loader, optimizer, norm, value):
            scaler = GradScaler("cuda")
            for x, y in loader:
                optimizer.zero_grad()
                with autocast("cuda"):
                    loss = F.mse_loss(model(x), y)
                scaler.scale(loss).backward()
                if norm:
                    scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(model.parameters(), norm)
                if value:
                    state = scaler._per_optimizer_states[id(optimizer)]
                    if state["stage"] is not OptState.UNSCALED:
                        scaler.unscale_(optimizer)
                    nn.utils.clip_grad_value_(model.parameters(), value)
                scaler.step(optimizer)
                scaler.update()
    """,
    "an optimizer built at one place for one of two models": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(4, 4)
                self.optimizer = None
            def forward(self, x):
                return self.fc(x)
            def prepare(self):
                self.optimizer = torch.optim.Adam(self.parameters(), 0.001)
            def train_step(self, x, y):
                self.zero_grad()
                F.mse_loss(self(x), y).backward()
                self.optimizer.step()
            @staticmethod
            def load(path):
                net = Net()
                net.load_state_dict(torch.load(path))
                return net
        def train(loader, path=None):
            net = Net.load(path) if path else Net().to("cuda")
            net.prepare()
            for x, y in loader:
                net.train_step(x, y)
    """,
    "two groups hold all that is clipped, parts of it in a dictionary": """
        class Head(nn.Module):
            def __init__(self, parts):
                super().__init__()
                self.parts = parts
                self.last = nn.Linear(8, 2)
            def forward(self, x):
                return self.last(self.parts["a"](x))
        class Net(nn.Module):
            def __init__(self, body, head):
                super().__init__()
                self.body = body
                self.head = head
            def forward(self, x):
                return self.head(self.body(x))
        net = Net(nn.Linear(4, 8), Head(nn.ModuleDict({"a": nn.Linear(8, 8)}))).cuda()
        opt = torch.optim.AdamW([{"params": net.body.parameters()}, {"params": net.head.parameters()}])
        scaler = GradScaler("cuda")
        for x, y in loader:
            opt.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(net(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(opt)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(opt)
            scaler.update()
    """,
    "one part of a wrapped model is left out of the step": """
        from wrappers import Sharded
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.trunk = nn.Linear(4, 4)
                self.head = nn.Linear(4, 4)
            def forward(self, x):
                return self.head(self.trunk(x))
        class Deep(Net):
            pass
        def work(batch, target, sharded, deep, frozen):
            model = Deep() if deep else Net()
            model = model.cuda()
            if sharded:
                model = Sharded(model)
            else:
                model = nn.parallel.DistributedDataParallel(model)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(3):
                loss = F.mse_loss(model(batch), target)
                optimizer.zero_grad()
                loss.backward()
                if frozen:
                    for p in model.trunk.parameters():
                        p.grad = None
                optimizer.step()
    """,
    "settings of a library that is not seen are tests, not objects": """
        from absl import flags
        from settings import USE_AMP
        FLAGS = flags.FLAGS
        def train(model, loader, optimizer):
            scaler = GradScaler("cuda") if USE_AMP else None
            for x, y in loader:
                optimizer.zero_grad()
                if FLAGS.amp:
                    loss = F.mse_loss(model(x), y)
                else:
                    loss = F.l1_loss(model(x), y)
                if USE_AMP:
                    scaler.scale(loss).backward()
                    scaler.step(optimizer)
                    scaler.update()
                else:
                    loss.backward()
                    optimizer.step()
    """,
}


@pytest.mark.parametrize("name", CORRECT)
def test_correct_programs_are_silent(name: str) -> None:
    assert faults_of(CORRECT[name], IMPORTS) == []


def test_a_step_past_the_scaler_after_unscaling_leaves_the_update_its_checks() -> None:
    program = """
        def train(tables, net, loader, slow, fast, flags):
            scaler = GradScaler("cuda")
            for x, y in loader:
                net.zero_grad()
                tables.zero_grad()
                with autocast("cuda"):
                    loss = F.mse_loss(net(tables(x)), y)
                scaler.scale(loss).backward()
                if not flags.freeze:
                    scaler.step(slow)
                scaler.unscale_(fast)
                fast.step()
                scaler.update()
    """
    kinds = {fault.partition(" @")[0] for fault in faults_of(program, IMPORTS)}
    assert "scaler-call-order:update-without-step" not in kinds


def test_a_flag_of_an_unseen_library_has_two_outcomes() -> None:
    program = """
        from absl import flags
        def train(model, loader, optimizer):
            scaler = GradScaler("cuda")
            for x, y in loader:
                optimizer.zero_grad()
                with autocast("cuda"):
                    loss = F.mse_loss(model(x), y)
                scaler.scale(loss).backward()
                if flags.FLAGS.unscales:
                    scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
    """
    assert faults_of(program, IMPORTS) == [
        "clip-before-unscale:norm @ nn.utils.clip_grad_norm_(model.parameters(), 1.0)"
    ]


COUNTED = {
    "by a second iterator": """\
from itertools import cycle
import torch

def train(model, loader, optimizer, n):
    for (x, y), turn in zip(loader, cycle(range(1, n + 1))):
        if turn == 1:
            model.zero_grad(set_to_none=True)
        (torch.nn.functional.mse_loss(model(x), y) / n).backward()
        if turn % n == 0:
            optimizer.step()
""",
    "by an attribute": """\
import torch

class Trainer:
    def __init__(self, model, optimizer, n, hooks):
        self.model, self.optimizer, self.n, self.hooks = model, optimizer, n, hooks
        self.turn = 0

    def run(self, loader):
        for x, y in loader:
            for hook in self.hooks:
                hook(self)
            self.step(x, y)

    def step(self, x, y):
        if self.turn == 0:
            self.optimizer.zero_grad()
        (torch.nn.functional.mse_loss(self.model(x), y) / self.n).backward()
        self.turn += 1
        if self.turn >= self.n:
            self.optimizer.step()
            self.turn = 0
""",
}


@pytest.mark.parametrize("case", COUNTED)
def test_two_countings_of_rounds_by_one_number_may_agree(case: str, tmp_path: Path) -> None:
    (tmp_path / "rounds.py").write_text(COUNTED[case], encoding="utf-8")
    found = lint([str(tmp_path / "rounds.py")], select=["QA11"], ignore=["QA1106", "QA1120"])
    assert [item.code for item in found if item.confidence == "high"] == []


ROUNDS = """
    def train(model, loader, optimizer, n):
        scaler = GradScaler("cuda")
        for i, (x, y) in enumerate(loader):
            {first}
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y) / n
            scaler.scale(loss).backward()
            if (i + 1) % n == 0:
                scaler.step(optimizer)
                scaler.update()
                {last}
"""


def test_a_clearing_in_each_micro_step_drops_all_but_the_last() -> None:
    program = ROUNDS.format(first="optimizer.zero_grad()", last="pass")
    assert faults_of(program, IMPORTS) == ["zero-grad-before-step:micro-step @ optimizer.zero_grad()"]


def test_a_clearing_after_the_step_of_a_round_drops_nothing() -> None:
    assert faults_of(ROUNDS.format(first="pass", last="optimizer.zero_grad()"), IMPORTS) == []


SKIPS = """\
import torch

def train(model, loader, optimizer, log):
    scaler = torch.amp.GradScaler("cuda")
    for i, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        with torch.amp.autocast("cuda"):
            loss = torch.nn.functional.mse_loss(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if i % 100 == 0:
            log(norm)
        if torch.isfinite(norm):
            scaler.step(optimizer)
        scaler.update()

def adversaries(gen, disc, opt_g, opt_d, loader, n):
    for i, x in enumerate(loader):
        opt_d.zero_grad()
        opt_g.zero_grad()
        fake = gen(torch.randn(4, 4))
        (disc(fake).mean() - disc(x).mean()).backward(retain_graph=True)
        opt_d.step()
        if i % n == 0:
            (-disc(fake).mean()).backward()
            opt_g.step()

def of_the_round(model, loader, optimizer, n, fine):
    for i, (x, y) in enumerate(loader):
        loss = torch.nn.functional.mse_loss(model(x), y) / n
        loss.backward()
        if (i + 1) % n == 0:
            if fine(loss):
                optimizer.step()
            optimizer.zero_grad()
"""


def test_rounds_may_be_dropped_for_what_came_out_of_them(tmp_path: Path) -> None:
    (tmp_path / "skips.py").write_text(SKIPS, encoding="utf-8")
    assert [item.message for item in lint([str(tmp_path / "skips.py")], select=["QA1116"])] == []


UNSEEN_PART = """
    class Matcher(nn.Module):
        def __init__(self, part):
            super().__init__()
            {made}
            self.head = nn.Linear(4, 4)
        def forward(self, x):
            {forward}
            return self.head(x)

    def train(loader, part):
        model = Matcher(part).to("cuda")
        optimizer = torch.optim.AdamW(model.parameters())
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
"""
HUB = 'torch.hub.load("owner/backbones", "small")'


@pytest.mark.parametrize(
    ("made", "forward"),
    [
        (f"self.part = {HUB}", "x = self.part(x)"),
        ("self.part = part", "x = self.part(x)"),
        (f"self.part = {HUB}.net", "x = self.part.block(x)"),
        (f"self.part = [{HUB}.net]", "x = self.part[0].block(x)"),
        (f"self.parts = nn.ModuleList([{HUB}])", "x = [part(x) for part in self.parts][0]"),
    ],
)
def test_a_part_that_is_not_seen_may_enter_autocast_itself(made: str, forward: str) -> None:
    assert faults_of(UNSEEN_PART.format(made=made, forward=forward), IMPORTS) == []


def test_a_model_all_of_whose_parts_are_seen_computes_in_fp32() -> None:
    program = UNSEEN_PART.format(made="self.width = part.width", forward="x = x * self.width")
    assert faults_of(program, IMPORTS) == ["forward-outside-autocast @ scaler.scale(loss).backward()"]


PERHAPS_LISTED = """
    class Trainer:
        def __init__(self, first):
            self.optimizers = []
            if first is not None:
                self.optimizers.append(first)
            self.scaler = GradScaler("cuda")

        def step(self, loss):
            self.scaler.scale(loss).backward()
            for optimizer in self.optimizers:
                self.scaler.unscale_(optimizer)
            for optimizer in self.optimizers:
                self.scaler.step(optimizer)
            self.scaler.update()
            for optimizer in self.optimizers:
                optimizer.zero_grad()

    def train(model, loader, first):
        trainer = Trainer(first)
        for x in loader:
            with autocast("cuda"):
                loss = model(x).mean()
            trainer.step(loss)
"""


def test_what_is_perhaps_in_a_list_is_not_met_twice_by_a_loop_over_it() -> None:
    assert faults_of(PERHAPS_LISTED, IMPORTS) == []


def test_of_a_list_that_perhaps_holds_one_of_two_no_second_like_it_is_known() -> None:
    chosen = """
        def __init__(self, first):
            self.optimizers = []
            chosen = None
            if first.wanted:
                if first.name == "rare":
                    chosen = first.make()
                else:
                    chosen = torch.optim.SGD(first.parameters(), lr=0.1)
            if chosen is not None:
                self.optimizers.append(chosen)
"""
    head, _, rest = PERHAPS_LISTED.partition("        def __init__")
    rest = rest[rest.index("            self.scaler") :]
    assert faults_of(head + chosen.lstrip("\n") + rest, IMPORTS) == []


BY_NAME = """
    from itertools import chain
    from rare_optimizers import Rare, Rarer

    def build(model, name):
        parameters = chain(model.parameters())
        optimizer, kind = None, torch.optim.AdamW
        if name == "rare":
            optimizer = Rare(chain(parameters), lr=0.1)
        elif name == "rarer":
            kind = Rarer
            optimizer = kind(chain(parameters), eps=0.1)
        if {test}:
            optimizer = kind(chain(parameters), lr=0.1)
        return optimizer
"""


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("not optimizer", []),
        ("optimizer is None", []),
        ("name", ["exhausted-parameter-iterator @ optimizer = kind(chain(parameters), lr=0.1)"]),
    ],
)
def test_what_a_class_that_is_not_seen_makes_is_there(test: str, expected: list[str]) -> None:
    assert faults_of(BY_NAME.format(test=test), IMPORTS) == expected


@pytest.mark.parametrize(
    "kept",
    [
        "torch.cat(found) if found else None",
        "found and torch.cat(found)",
        "None if not found else torch.cat(found)",
    ],
)
def test_whether_a_list_holds_something_can_be_asked_again(kept: str) -> None:
    """A list that a loop perhaps filled decides what a name is; what the name is used for needs it."""
    text = f"""
    scaler = GradScaler("cuda")
    found = []
    for x in loader:
        if keeps:
            found.append(x)
    kept = {kept}
    print(kept.mean(), kept.shape)
    optimizer.zero_grad()
    with autocast("cuda"):
        loss = model(y).sum()
    scaler.scale(loss).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    """
    clipped = "clip-before-unscale:norm @ nn.utils.clip_grad_norm_(model.parameters(), 1.0)"
    assert faults_of(text) == [clipped]
