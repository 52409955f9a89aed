"""Gradients changed by hand, iterators used by library functions, parameters that stand alone."""

from __future__ import annotations

import pytest
from machine_programs import HEAD, faults_of, story_of

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
        config = {"fp16": {"enabled": True}}
        engine, optimizer, loader, _ = deepspeed.initialize(args=args, model=net, config=config)
        for x in loader:
            loss = engine(x).mean()
            STEP
    """
    past = text.replace("STEP", "loss.backward(); optimizer.step()")
    assert [fault.partition(" ")[0] for fault in faults_of(past, head)] == [
        "scaler-inside-framework:backward"
    ]
    assert faults_of(past.replace("True", "False"), head) == []
    assert faults_of(past.replace("config = {", "config = args.config or {"), head) == []
    assert faults_of(text.replace("STEP", "engine.backward(loss); engine.step()"), head) == []


def test_an_engine_casts_its_model() -> None:
    head = "import deepspeed\nimport torch\nfrom torch import nn\n"
    text = """
    net = nn.Linear(3, 3)
    engine, _, _, _ = deepspeed.initialize(model=net, config="config.json")
    net(torch.randn(2, 3).half())
    """
    assert faults_of(text, head) == []
    assert faults_of(text.replace("engine, ", "# "), head) != []


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


SCALED = """
    scaler = GradScaler("cuda")
    for x, y in loader:
        optimizer.zero_grad()
        with autocast("cuda"):
            one, two = model(x).mean(), model(y).mean()
        {backward}
        scaler.step(optimizer)
        scaler.update()
"""


@pytest.mark.parametrize(
    "backward",
    [
        "torch.autograd.backward([scaler.scale(loss) for loss in (one, two)])",
        "for loss in (one, two): scaler.scale(loss).backward(retain_graph=True)",
    ],
)
def test_several_losses_of_one_batch_are_no_accumulation(backward: str) -> None:
    assert faults_of(SCALED.format(backward=backward)) == []


def test_a_penalty_on_the_parameters_is_a_loss_too() -> None:
    penalty = "sum(p.pow(2).sum() for p in model.parameters())"
    backward = f"(scaler.scale(one) + 1e-4 * {penalty}).backward()"
    assert faults_of(SCALED.format(backward=backward)) == [f"unscaled-backward:mixed @ {backward}"]
    backward = f"scaler.scale(one + 1e-4 * {penalty}).backward()"
    assert faults_of(SCALED.format(backward=backward)) == []


def test_a_scaler_that_is_made_once_in_a_loop() -> None:
    text = """
    kept = None

    def the_scaler():
        global kept
        if kept is None:
            kept = GradScaler("cuda")
        return kept

    for x in loader:
        optimizer.zero_grad()
        with autocast("cuda"):
            loss = model(x).mean()
        the_scaler().scale(loss).backward()
        the_scaler().step(optimizer)
        the_scaler().update()
    """
    assert faults_of(text) == []
    (fault,) = faults_of(
        text.replace("        if kept is None:\n            kept =", "        kept =")
        .replace("the_scaler().scale", "kept.scale")
        .replace("the_scaler().step", "kept.step")
        .replace("the_scaler().update", "kept.update")
        .replace("    for x in loader:\n", "    for x in loader:\n        the_scaler()\n")
    )
    assert fault.startswith("scaler-created-in-loop:batch")


def test_a_cast_that_is_taken_back_by_a_statement() -> None:
    text = """
    def export(net, path):
        net.half()
        torch.save(net.state_dict(), path)
        net.float()

    for round in rounds:
        for x in loader:
            optimizer.zero_grad()
            model(x).mean().backward()
            optimizer.step()
        export(model, "model.pt")
    """
    assert faults_of(text) == []
    (fault,) = faults_of(text.replace("        net.float()\n", ""))
    assert fault.startswith("late-half-cast")


@pytest.mark.parametrize("clear", ["self.zero_grad()", "self.clear_grads()"])
def test_an_optimizer_of_ones_own_that_clears(clear: str) -> None:
    text = f"""
    class Own(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            {clear}

    own = Own(model.parameters(), lr=0.1)
    for x in loader:
        model(x).mean().backward()
        own.step()
    """
    assert faults_of(text) == []
    (fault,) = faults_of(text.replace(clear, "pass"))
    assert fault.startswith("missing-zero-grad")


def test_a_wrapper_is_stepped_for_the_optimizer_inside() -> None:
    text = """
    class Warm:
        def __init__(self, optimizer):
            self.optimizer, self.rate = optimizer, 0.0

        @property
        def param_groups(self):
            return self.optimizer.param_groups

        def step(self):
            self.rate += 1
            self.optimizer.step()

        def zero_grad(self):
            self.optimizer.zero_grad()

    warm = Warm(optimizer)
    scaler = GradScaler("cuda")
    for x in loader:
        warm.zero_grad()
        with autocast("cuda"):
            loss = model(x).mean()
        scaler.scale(loss).backward()
        CLIP
        scaler.step(warm)
        scaler.update()
    """
    assert faults_of(text.replace("CLIP", "pass")) == []
    clip = "nn.utils.clip_grad_norm_(model.parameters(), 1.0)"
    assert faults_of(text.replace("CLIP", clip)) == [f"clip-before-unscale:norm @ {clip}"]


def test_a_scaler_of_ones_own_may_take_closures() -> None:
    text = """
    class Closures(GradScaler):
        def step(self, optimizer, closure=None):
            return optimizer.step(closure)

    def main(scaler, optimizer, closure):
        scaler.step(optimizer, closure=closure)
        scaler.update()
        scaler.unscale_(optimizer)
    """
    assert all(
        fault.confidence.value == "medium" for fault in story_of(text, HEAD).faults("scaler-step-closure")
    )


def test_a_class_that_is_made_in_half_precision_needs_no_autocast() -> None:
    text = """
    class Adapted(nn.Linear):
        def __init__(self, width, **options):
            super().__init__(width, width, **options)
            self.requires_grad_(False)
            self.scale = nn.Parameter(torch.ones(width))

        def forward(self, x):
            return super().forward(x).float() * self.scale

    net = Adapted(3, dtype=torch.float16).cuda()
    own = torch.optim.SGD([net.scale], lr=0.1)
    scaler = GradScaler("cuda")
    for x in loader:
        own.zero_grad()
        scaler.scale(net(x).mean()).backward()
        scaler.step(own)
        scaler.update()
    """
    assert faults_of(text) == []
    assert [
        fault.partition(" ")[0] for fault in faults_of(text.replace("dtype=torch.float16", "bias=False"))
    ] == ["forward-outside-autocast"]


@pytest.mark.parametrize(
    ("loss", "mean"), [("criterion(model(x), y)", False), ("F.mse_loss(model(x), y)", True)]
)
def test_only_a_mean_has_to_be_divided(loss: str, mean: bool) -> None:
    text = f"""
    def train(model, loader, criterion, every):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for i, (x, y) in enumerate(loader):
            loss = {loss}
            loss.backward()
            if (i + 1) % every == 0:
                optimizer.step()
                optimizer.zero_grad()
    """
    assert faults_of(text) == ["accumulated-loss-not-divided @ loss.backward()"] * mean


def test_clearing_another_optimizer_clears_nothing_here() -> None:
    text = """
class Pair:
    def __init__(self, n):
        self.actor, self.critic = nn.Linear(n, 2), nn.Linear(n, 1)
        self.actor_opt = torch.optim.Adam(self.actor.parameters())
        self.critic_opt = torch.optim.Adam(self.critic.parameters())

    def learn(self, batch):
        self.critic_opt.zero_grad()
        self.critic(batch).mean().backward()
        self.critic_opt.step()
        {clear}
        self.actor(batch).mean().backward()
        self.actor_opt.step()

def main(world):
    pair = Pair(4)
    for _ in range(9):
        pair.learn(world.draw())
"""
    assert faults_of(text.format(clear="pass")) == ["missing-zero-grad @ self.actor(batch).mean().backward()"]
    assert faults_of(text.format(clear="self.actor_opt.zero_grad()")) == []


@pytest.mark.parametrize("test", ['name.startswith("body.")', '"body" in name', "name not in kept"])
def test_gradients_dropped_by_name_are_not_all(test: str) -> None:
    text = f"""
net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)).cuda()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for x in loader:
    opt.zero_grad()
    net(x).mean().backward()
    for name, weight in net.named_parameters():
        if {test}:
            weight.grad = None
    opt.step()
"""
    assert faults_of(text) == []
    every = text.replace(f"if {test}:", "if True:")
    assert faults_of(every) == ["zero-grad-before-step @ weight.grad = None"]


BY_HAND = {
    "root of a sum": "size = torch.sqrt(sum(p.grad.pow(2).sum() for p in net.parameters()))",
    "norm of norms": "size = torch.stack([p.grad.norm() for p in net.parameters()]).norm()",
    "a float": "size = float(max(p.grad.abs().max() for p in net.parameters()))",
    "math": "import math\n    size = math.sqrt(sum(p.grad.pow(2).sum().item() for p in net.parameters()))",
    "torch's own": "size = torch.nn.utils.get_total_norm([p.grad for p in net.parameters()])",
}
LOOP = """
net = nn.Linear(4, 1).cuda()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = GradScaler("cuda")
for x in loader:
    opt.zero_grad()
    with autocast("cuda"):
        loss = net(x).mean()
    scaler.scale(loss).backward()
    {measure}
    for p in net.parameters():
        {change}
    scaler.step(opt)
    scaler.update()
"""


@pytest.mark.parametrize("measure", BY_HAND.values(), ids=BY_HAND)
@pytest.mark.parametrize(
    "change",
    ["p.grad.mul_(1.0 / (size + 1e-6))", "p.grad *= 1 / size", "p.grad = torch.mul(p.grad, 1 / size)"],
)
def test_a_factor_that_comes_from_scaled_gradients(measure: str, change: str) -> None:
    assert faults_of(LOOP.format(measure=measure, change=change)) == [f"clip-before-unscale:edit @ {change}"]
    unscaled = f"scaler.unscale_(opt)\n    {measure}"
    assert faults_of(LOOP.format(measure=unscaled, change=change)) == []


@pytest.mark.parametrize(
    "change",
    [
        "p.grad.mul_(scaler.get_scale() / size)",
        "p.grad = torch.mul(p.grad, 0.5)",
        "p.grad = p.grad / 8",
        "p.grad.copy_(p.grad.flatten().view(1, -1))",
        "print(p.grad / size)",
    ],
)
def test_a_change_in_proportion_to_the_scale(change: str) -> None:
    for measure in BY_HAND.values():
        assert faults_of(LOOP.format(measure=measure, change=change)) == []


IMPORTS = HEAD.partition("model =")[0]
CLASSIFIER = """
import torchvision

class Classifier(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.body = torchvision.models.resnet18()
        self.body.fc = {last}
        self.head = nn.Linear(512, n)
        self.heat = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.head(self.body(x)) * self.heat

net = Classifier(9).cuda()
{freeze}
opt = torch.optim.SGD({owned}, lr=0.1)
scaler = GradScaler("cuda")
for x, y in loader:
    opt.zero_grad()
    with autocast("cuda"):
        loss = F.cross_entropy(net(x), y)
    scaler.scale(loss).backward()
    scaler.unscale_(opt)
    nn.utils.clip_grad_norm_({clipped}, 1.0)
    scaler.step(opt)
    scaler.update()
"""


@pytest.mark.parametrize(
    "owned",
    [
        "net.head.parameters()",
        "list(net.head.parameters()) + [net.heat]",
        "[net.heat] + list(net.head.parameters())",
    ],
)
@pytest.mark.parametrize("last", ["nn.Identity()", "nn.Linear(512, 512)"])
@pytest.mark.parametrize(
    "clipped", ["net.parameters()", "list(net.head.parameters()) + list(net.parameters())"]
)
def test_a_model_of_which_one_part_was_replaced_has_others(owned: str, last: str, clipped: str) -> None:
    text = CLASSIFIER.format(last=last, freeze="", owned=owned, clipped=clipped)
    assert faults_of(text, IMPORTS) == [f"clip-beyond-optimizer @ nn.utils.clip_grad_norm_({clipped}, 1.0)"]
    same = CLASSIFIER.format(last=last, freeze="", owned=owned, clipped=owned)
    assert faults_of(same, IMPORTS) == []
    frozen = CLASSIFIER.format(
        last=last, freeze="net.body.requires_grad_(False)", owned="net.parameters()", clipped=clipped
    )
    assert faults_of(frozen, IMPORTS) == []


PENALTIES = {
    "a loop": "more = 0.0\n    for p in net.parameters():\n        more = more + p.abs().sum()",
    "in place": "more = 0.0\n    for n, p in net.named_parameters():\n        more += p.pow(2).sum()",
    "a sum": "more = sum(p.pow(2).sum() for p in net.parameters())",
    "one parameter": "more = net.weight.norm()",
}


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_a_penalty_on_the_parameters_is_a_part_of_the_loss(penalty: str) -> None:
    text = f"""
net = nn.Linear(4, 1).cuda()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = GradScaler("cuda")
for x in loader:
    opt.zero_grad()
    with autocast("cuda"):
        loss = net(x).mean()
    {penalty}
    (scaler.scale(loss) + 0.01 * more).backward()
    scaler.step(opt)
    scaler.update()
"""
    line = "(scaler.scale(loss) + 0.01 * more).backward()"
    assert faults_of(text, IMPORTS) == [f"unscaled-backward:mixed @ {line}"]
    whole = text.replace(line, "scaler.scale(loss + 0.01 * more).backward()")
    assert faults_of(whole, IMPORTS) == []


CRITERIA = ["F.cross_entropy({x}, y)", "nn.CrossEntropyLoss()({x}, y)", "F.mse_loss({x}, y)"]


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize(
    ("x", "by", "found"),
    [
        ("net(x) / args.heat", "", True),
        ("(net(x) @ net(y).T / args.heat).float()", "", True),
        ("net(x)", " / args.turns", False),
        ("net(x) / args.heat", " / args.turns", False),
    ],
)
def test_logits_that_are_divided_are_no_loss_that_is(criterion: str, x: str, by: str, found: bool) -> None:
    text = f"""
net = nn.Linear(4, 4)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
opt.zero_grad()
for i, (x, y) in enumerate(loader):
    loss = {criterion.format(x=x)}{by}
    loss.backward()
    if (i + 1) % args.turns == 0:
        opt.step()
        opt.zero_grad()
"""
    assert faults_of(text, IMPORTS) == ["accumulated-loss-not-divided @ loss.backward()"] * found
