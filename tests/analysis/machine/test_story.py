"""What a rule of a third party reads: events in their order on the paths of the program."""

from __future__ import annotations

from machine_programs import HEAD, story_of

from qalint.analysis.machine.story import (
    Backward,
    Clip,
    OptimizerStep,
    ScalerStep,
    Story,
    Unscale,
    Update,
    ZeroGrad,
)

PROGRAM = """
scaler = GradScaler("cuda", enabled=args.amp)
for x, y in loader:
    optimizer.zero_grad()
    with autocast("cuda"):
        loss = F.mse_loss(model(x), y)
    scaler.scale(loss).backward()
    if args.clip:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
"""


def one(story: Story, kind: type) -> object:
    return next(story.find(kind))


def test_events_know_their_objects_and_the_state_before_them() -> None:
    story = story_of(PROGRAM, HEAD)
    backward = next(story.find(Backward))
    assert backward.scaler is not None and backward.scaler.name == "scaler"
    assert backward.state == "scaled" and backward.what["precision"] == "float16"
    step = next(story.find(ScalerStep))
    assert step.optimizer is not None and step.optimizer.name == "optimizer"
    assert {event.state for event in story.find(ScalerStep)} == {"scaled", "unscaled"}
    assert [thing.name for thing in backward.things] == ["model"]
    assert len(step.loops) == 1


def test_a_guard_is_told() -> None:
    unscale = next(story_of(PROGRAM, HEAD).find(Unscale))
    assert [str(guard) for guard in unscale.guards] == ["args.clip"]


def test_paths_between_events() -> None:
    story = story_of(PROGRAM, HEAD)
    backward, step = next(story.find(Backward)), next(story.find(ScalerStep))
    clip = next(story.find(Clip))
    assert any(story.reaches(clip, event) for event in story.find(ScalerStep))
    assert story.reaches(backward, step)
    assert any(story.reaches(backward, event, avoiding=(Unscale,)) for event in story.find(ScalerStep))
    assert not any(story.reaches(event, clip, avoiding=(Unscale,)) for event in story.find(Backward))
    update = next(story.find(Update))
    assert any(story.reaches(update, event) for event in story.find(ZeroGrad))


def test_a_concrete_run_is_one_of_the_paths() -> None:
    story = story_of(PROGRAM, HEAD)
    lines = {
        kind: next(story.find(kind)).node.lineno  # type: ignore[attr-defined]
        for kind in (ZeroGrad, Backward, Unscale, Clip, ScalerStep, Update)
    }
    plain = [(kind, lines[kind]) for kind in (ZeroGrad, Backward, ScalerStep, Update)]
    clipped = [(kind, lines[kind]) for kind in (ZeroGrad, Backward, Unscale, Clip, ScalerStep, Update)]
    assert story.trace(plain + plain)
    assert story.trace(clipped + clipped)
    assert not story.trace([(Update, lines[Update]), (ScalerStep, lines[ScalerStep])])
    assert not story.trace([(Clip, lines[Clip]), (Unscale, lines[Unscale])])


def test_what_became_unknown_is_told() -> None:
    text = (
        HEAD
        + """
scaler = GradScaler("cuda")
from elsewhere import helper
for x, y in loader:
    loss = F.mse_loss(model(x), y)
    scaler.scale(loss).backward()
    helper(optimizer, scaler)
    optimizer.step()
"""
    )
    from qalint.testing import file_of

    file = file_of(text)
    story = file.get(Story)
    assert story is not None and not list(story.all_faults())
    assert any("helper" in unknown.reason for unknown in file.unknowns)


def test_counts() -> None:
    counts = story_of(PROGRAM, HEAD).counts
    assert counts.steps > 10 and counts.protocol == 2 and counts.bounds == 0


def test_a_fault_that_needs_two_unrelated_guards_is_less_sure() -> None:
    from qalint.rule import Confidence

    def confidence(guard: str) -> Confidence:
        text = (
            HEAD
            + f"""
scaler = GradScaler("cuda", enabled=args.amp)
for x, y in loader:
    optimizer.zero_grad()
    with autocast("cuda", enabled=args.amp):
        loss = F.mse_loss(model(x), y)
    scaler.scale(loss).backward()
    if {guard}:
        scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
"""
        )
        (fault,) = story_of(text).faults("clip-before-unscale")
        return fault.confidence

    assert confidence("args.half") is Confidence.MEDIUM
    assert confidence("False") is Confidence.HIGH


def test_a_round_in_a_known_state_is_followed_by_what_followed_it_first() -> None:
    text = """
    for x in loader:
        model(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    """
    story = story_of(text, HEAD)
    kinds = (Backward, OptimizerStep, ZeroGrad)
    turn = [(kind, next(story.find(kind)).node.lineno) for kind in kinds]  # type: ignore[attr-defined]
    assert story.trace(turn * 9)


def test_a_common_name_is_followed_where_it_trains() -> None:
    text = """
    class Agent:
        def update(self, x):
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()

    agent = Agent()
    for x in loader:
        agent.update(x)
    """
    story = story_of(text, HEAD)
    assert any(event.state == "stepped" for event in story.find(ZeroGrad))
