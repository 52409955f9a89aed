"""Whose scale a step divides by: two scalers, penalties on gradients, two optimizers of one loss."""

from __future__ import annotations

import pytest
from machine_programs import HEAD, faults_of

PAIR = HEAD + "critic = nn.Linear(4, 1).cuda()\ncritic_optimizer = torch.optim.Adam(critic.parameters())\n"

GAME = """
ours, theirs = GradScaler("cuda"), GradScaler("cuda")
for x, y in loader:
    optimizer.zero_grad()
    critic_optimizer.zero_grad()
    with autocast("cuda"):
        one = F.mse_loss(model(x), y)
        two = F.mse_loss(critic(x), y)
    ours.scale(one).backward()
    theirs.scale(two).backward()
    ours.step(optimizer)
    theirs.step(critic_optimizer)
    ours.update()
    theirs.update()
"""
OURS = "unscaled-backward:other @ ours.scale(one).backward()"
THEIRS = "unscaled-backward:other @ theirs.scale(two).backward()"


def test_each_optimizer_with_its_own_scaler() -> None:
    assert faults_of(GAME, PAIR) == []


def test_a_step_by_the_scaler_of_another_loss() -> None:
    swapped = GAME.replace("ours.step(optimizer)", "theirs.step(optimizer)")
    assert faults_of(swapped, PAIR) == [OURS]
    both = swapped.replace("theirs.step(critic_optimizer)", "ours.step(critic_optimizer)")
    assert faults_of(both, PAIR) == [OURS, THEIRS]


def test_an_unscaling_by_the_scaler_of_another_loss() -> None:
    text = GAME.replace("    ours.step(", "    theirs.unscale_(optimizer)\n    ours.step(")
    assert faults_of(text, PAIR) == [OURS]


def test_scalers_of_one_factory_are_two() -> None:
    made = "def made():\n    return GradScaler('cuda')\n\n\nours, theirs = made(), made()"
    text = GAME.replace('ours, theirs = GradScaler("cuda"), GradScaler("cuda")', made)
    assert faults_of(text, PAIR) == []
    assert faults_of(text.replace("ours.step(optimizer)", "theirs.step(optimizer)"), PAIR) == [OURS]


@pytest.mark.parametrize(
    "made",
    [
        'ours = GradScaler("cuda")\ntheirs = ours',
        "ours, theirs = scalers",
        "ours, theirs = connect(model), connect(critic)",
    ],
    ids=["one under two names", "given", "made out of sight"],
)
def test_two_names_that_may_be_one_scaler(made: str) -> None:
    text = GAME.replace('ours, theirs = GradScaler("cuda"), GradScaler("cuda")', made)
    text = text.replace("theirs.step(critic_optimizer)", "ours.step(critic_optimizer)")
    assert faults_of(text.replace("    theirs.update()\n", ""), PAIR) == []


def test_a_second_scaler_under_a_flag() -> None:
    made = 'ours = GradScaler("cuda")\ntheirs = GradScaler("cuda") if flags.two else ours'
    text = GAME.replace('ours, theirs = GradScaler("cuda"), GradScaler("cuda")', made)
    assert faults_of(text, PAIR) == []


def test_scalers_and_optimizers_in_pairs() -> None:
    pairs = """
    scalers = [GradScaler("cuda") for _ in range(2)]
    optimizers = [optimizer, critic_optimizer]
    for x, y in loader:
        for each in optimizers:
            each.zero_grad()
        with autocast("cuda"):
            losses = [F.mse_loss(model(x), y), F.mse_loss(critic(x), y)]
        for loss, scaler in zip(losses, scalers):
            scaler.scale(loss).backward()
        for each, scaler in zip(optimizers, scalers):
            scaler.step(each)
            scaler.update()
    """
    assert faults_of(pairs, PAIR) == []
    tables = """
    scalers = {"one": GradScaler("cuda"), "two": GradScaler("cuda")}
    optimizers = {"one": optimizer, "two": critic_optimizer}
    for x, y in loader:
        for each in optimizers.values():
            each.zero_grad()
        with autocast("cuda"):
            losses = {"one": F.mse_loss(model(x), y), "two": F.mse_loss(critic(x), y)}
        for key in optimizers:
            scalers[key].scale(losses[key]).backward()
        for key in optimizers:
            scalers[key].step(optimizers[key])
            scalers[key].update()
    """
    assert faults_of(tables, PAIR) == []


def test_a_scaler_that_is_started_anew() -> None:
    """The new one of another round is not a second one beside it."""
    text = """
    scaler = GradScaler("cuda")
    for x, y in loader:
        optimizer.zero_grad()
        with autocast("cuda"):
            loss = F.mse_loss(model(x), y)
        scaler.scale(loss).backward()
        if diverged(loss):
            scaler = GradScaler("cuda", init_scale=2.0)
        scaler.step(optimizer)
        scaler.update()
    """
    assert faults_of(text) == []


PENALTY = """
scaler = GradScaler("cuda")

def penalty(mixed):
    scores = critic(mixed)
    {grad}
    return ((slope.norm(2, dim=1) - 1) ** 2).mean()

for x, y in loader:
    optimizer.zero_grad()
    critic_optimizer.zero_grad()
    with autocast("cuda"):
        loss = critic(model(x).detach()).mean() - critic(y).mean()
    {backward}
    scaler.step(critic_optimizer)
    scaler.update()
"""
SLOPES = [
    "(slope,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)",
    "slope = torch.autograd.grad(outputs=scores, inputs=mixed, grad_outputs=torch.ones_like(scores), "
    "create_graph=True, retain_graph=True)[0].flatten(1)",
]


@pytest.mark.parametrize("grad", SLOPES)
def test_a_penalty_on_gradients_is_a_loss_too(grad: str) -> None:
    def told(*backward: str) -> list[str]:
        return faults_of(PENALTY.format(grad=grad, backward="\n    ".join(backward)), PAIR)

    scaled = "scaler.scale(loss).backward()"
    assert told("scaler.scale(loss + 10 * penalty(y)).backward()") == []
    assert told(scaled, "scaler.scale(10 * penalty(y)).backward()") == []
    plain = "(10 * penalty(y)).backward()"
    assert told(scaled, plain) == [f"unscaled-backward:plain @ {plain}"]
    assert told(plain, scaled) == [f"unscaled-backward:plain @ {plain}"]
    summed = "(scaler.scale(loss) + 10 * penalty(y)).backward()"
    assert told(summed) == [f"unscaled-backward:mixed @ {summed}"]


def test_gradients_without_a_graph_are_data() -> None:
    """A slope that is only measured feeds nothing: whatever is added of it needs no scale."""
    grad = "(slope,) = torch.autograd.grad(scores.sum(), mixed)"
    backward = "(scaler.scale(loss) + penalty(y)).backward()"
    assert faults_of(PENALTY.format(grad=grad, backward=backward), PAIR) == []


def test_a_penalty_on_scaled_gradients_that_are_unscaled_by_hand() -> None:
    text = """
    scaler = GradScaler("cuda")
    for x, y in loader:
        optimizer.zero_grad()
        with autocast("cuda"):
            loss = F.mse_loss(model(x), y)
        slopes = torch.autograd.grad(scaler.scale(loss), model.parameters(), create_graph=True)
        inverse = 1.0 / scaler.get_scale()
        slopes = [slope * inverse for slope in slopes]
        with autocast("cuda"):
            norm = 0
            for slope in slopes:
                norm += slope.pow(2).sum()
            loss = loss + norm.sqrt()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    """
    assert faults_of(text) == []


SHARED = """
from losses import criterion

scaler = GradScaler("cuda")
for i, (x, y) in enumerate(loader):
    optimizer.zero_grad()
    critic_optimizer.zero_grad()
    with autocast("cuda"):
        loss = criterion(x, y)
    scaler.scale(loss).backward()
    {steps}
"""


@pytest.mark.parametrize(
    "steps",
    [
        "for each in (optimizer, critic_optimizer): scaler.step(each); scaler.update()",
        "scaler.step(optimizer)\n    scaler.update()\n    scaler.step(critic_optimizer)\n    scaler.update()",
        "for each in (optimizer, critic_optimizer): scaler.unscale_(each)\n"
        "    for each in (optimizer, critic_optimizer):\n        scaler.step(each)\n        scaler.update()",
    ],
)
def test_an_update_between_two_that_a_loss_out_of_sight_feeds(steps: str) -> None:
    """Which of the two it feeds is not known; that both are stepped on it says so."""
    (fault,) = faults_of(SHARED.format(steps=steps), PAIR)
    assert fault.startswith("update-between-optimizers @ ")
    once = steps.replace("; scaler.update()", "\n    scaler.update()").replace(
        "\n        scaler.update()", ""
    )
    once = once.replace("    scaler.update()\n    scaler.step(critic", "    scaler.step(critic")
    if once.endswith("scaler.step(each)"):
        once += "\n    scaler.update()"
    assert once.count("update") == 1
    assert faults_of(SHARED.format(steps=once), PAIR) == []


def test_two_that_have_a_backward_each_before_their_step() -> None:
    """Each loss is out of sight, and may feed either: none of them is surely shared."""
    steps = """scaler.step(optimizer)
    scaler.update()
    with autocast("cuda"):
        other = criterion(y, x)
    scaler.scale(other).backward()
    scaler.step(critic_optimizer)
    scaler.update()"""
    assert faults_of(SHARED.format(steps=steps), PAIR) == []
    turns = """
    from losses import criterion

    scaler = GradScaler("cuda")

    def turn(each, x, y):
        with autocast("cuda"):
            loss = criterion(x, y)
        scaler.scale(loss).backward()
        scaler.step(each)
        scaler.update()
        each.zero_grad()

    for i, (x, y) in enumerate(loader):
        turn(critic_optimizer, x, y)
        if i % 5 == 0:
            turn(optimizer, x, y)
    """
    assert faults_of(turns, PAIR) == []


def test_a_second_step_that_is_left_out_for_a_while() -> None:
    steps = """scaler.unscale_(optimizer)
    scaler.unscale_(critic_optimizer)
    scaler.step(optimizer)
    if i > 1000:
        scaler.step(critic_optimizer)
    scaler.update()"""
    assert faults_of(SHARED.format(steps=steps), PAIR) == []
