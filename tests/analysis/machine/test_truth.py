"""The story is true: what a fixture does under torch is one of the paths that the machine tells.

Every fixture of section 11 that is a program is run once, in forks of one process that has torch, with
scaler, optimizer and clips that note what is asked of them. The notes, in order and with their lines,
must be a walk through the story's graph from one of its starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

from qalint import parsing, reader
from qalint.analysis.machine.story import (
    Backward,
    Clip,
    Event,
    OptimizerStep,
    Scale,
    ScalerStep,
    Story,
    Unscale,
    Update,
    ZeroGrad,
)
from qalint.analysis.project import Project, load
from qalint.file import File
from qalint.harness.cases import Case, cases, fixtures, script_of
from qalint.harness.jobs import Workers, copied
from qalint.harness.limits import Limits
from qalint.harness.trace import Happened

KINDS = {
    cls.kind: cls for cls in (Scale, Backward, Unscale, Clip, ScalerStep, OptimizerStep, Update, ZeroGrad)
}
FOLDER = fixtures()
assert FOLDER is not None
RULES = {path.name for path in (FOLDER / "mixed_precision").iterdir()}
CASES = [case for case in cases(FOLDER) if case.rule in RULES and script_of(case.main, case.files[case.main])]

UNTRAINED = frozenset(
    (
        "amp-argument-position/bad_device_object",
        "amp-argument-position/bad_enabled_as_dtype",
        "amp-argument-position/good_device_first",
        "amp-argument-position/good_positional_dtype",
        "conflicting-precision-flags/bad_arguments_only",
        "conflicting-precision-flags/bad_both_flags",
        "conflicting-precision-flags/bad_preference_training",
        "conflicting-precision-flags/bad_trained_in_half",
        "conflicting-precision-flags/good_adapters_on_half_base",
        "conflicting-precision-flags/good_evaluated_in_half",
        "conflicting-precision-flags/good_one_flag",
        "dtype-mismatch/bad_half_batch",
        "dtype-mismatch/bad_half_memory_bank",
        "dtype-mismatch/good_input_is_cast",
        "dtype-mismatch/good_integer_ids",
        "dtype-mismatch/good_under_autocast",
        "exhausted-parameter-iterator/bad_counted_then_optimised",
        "half-overflow-constant/bad_full_of_half",
        "half-overflow-constant/bad_half_mask",
        "half-overflow-constant/bad_mask_in_a_half_model",
        "half-overflow-constant/good_finfo",
        "half-overflow-constant/good_float_first",
        "half-overflow-constant/good_full_precision",
        "half-overflow-constant/good_mask_in_a_half_model",
        "mixed-dtype-layer/bad_functional_linear",
        "mixed-dtype-layer/good_casts_and_restores",
        "mixed-dtype-layer/good_layer_follows_input",
        "scaler-inside-framework/bad_accelerate_plain_backward",
        "scaler-inside-framework/bad_fabric_with_own_scaler",
        "scaler-inside-framework/good_accelerate",
        "scaler-inside-framework/good_deepspeed_engine",
    )
)
"""Fixtures that take no training step under torch alone: they raise, only predict, or need a framework."""


def perhaps_disabled(event: Event) -> bool:
    """Whether the scaler of the event may be one that does nothing, of which a run tells nothing."""
    return event.scaler is not None and event.scaler.facts.get("enabled") is not True


def may_pass_unseen(event: Event) -> bool:
    """Whether a run may do this without telling it: what goes through no patched method of torch."""
    if type(event) not in KINDS.values():
        return True
    if isinstance(event, ZeroGrad):
        return event.optimizer is None  # Through a model, or by hand.
    if isinstance(event, Clip):
        return bool(event.what["how"] == "clamp")
    return isinstance(event, Scale | Unscale | Update) and perhaps_disabled(event)


def fits(event: Event, happened: Happened, root: str) -> bool:
    """Whether the abstract event is the concrete one: kind, file and a line of its expression."""
    # A disabled scaler steps the optimizer as if it were not there.
    same = event.kind == happened.kind or (
        happened.kind == OptimizerStep.kind and isinstance(event, ScalerStep) and perhaps_disabled(event)
    )
    node = event.node
    return (
        same
        and node.lineno <= happened.line <= node.end_lineno  # type: ignore[attr-defined]
        and os.path.relpath(event.file.path, root) == happened.file
    )


def first_refused(story: Story, trace: list[Happened], root: str) -> int | None:
    """The place in the trace at which no path of the story goes on, None where one goes all the way."""
    after: dict[Event, set[Event]] = {}
    for event in story:
        for before in event.previous:
            after.setdefault(before, set()).add(event)

    def visible(first: Iterable[Event]) -> set[Event]:
        seen: set[Event] = set()
        todo = list(first)
        while todo:
            event = todo.pop()
            if event not in seen:
                seen.add(event)
                todo += after.get(event, ()) if may_pass_unseen(event) else ()
        return seen

    near = visible(story.starts)
    for index, happened in enumerate(trace):
        here = [event for event in near if fits(event, happened, root)]
        if not here:
            return index
        near = visible(event for past in here for event in after.get(past, ()))
    return None


def story_of(path: Path) -> Story | None:
    source = reader.read(str(path))
    return File(source, parsing.tree_of(source), Project([str(path.parent)], load)).get(Story)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(1, Limits(seconds=30.0)) as pool:
        yield pool


def traced(case: Case, workers: Workers, root: Path) -> list[Happened]:
    """What one run of the case does; an exception of its own ends it."""
    cuda = any("cuda" in text for text in case.files.values())
    report = workers.run("training", root / case.main, root, mode="plain", uses_cuda=cuda)
    assert "lost" not in report, report
    return [Happened(kind, file, line) for kind, file, line, _ in report["events"] if kind in KINDS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_run_is_one_of_the_paths(case: Case, workers: Workers) -> None:
    with copied(case.files) as folder:
        root = Path(os.path.realpath(folder))
        trace = traced(case, workers, root)
        assert bool(trace) == (case.name not in UNTRAINED)
        if not trace:
            return
        story = story_of(root / case.main)
        assert story is not None, "the run trains, and there is no story"
        refused = first_refused(story, trace, str(root))
        assert refused is None, f"after {trace[max(0, refused - 3) : refused]} comes {trace[refused]}"


def test_the_comparison_is_not_empty() -> None:
    held = {case.name for case in CASES} - UNTRAINED
    assert {case.name for case in CASES} >= UNTRAINED
    assert len(held) >= 130
    assert len({name.partition("/")[0] for name in held}) >= 25


STEADY = """\
import torch
from torch import nn

model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu")
for _ in range(3):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.float16):
        loss = model(torch.randn(8, 4)).square().mean()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
"""


def test_a_wrong_trace_is_refused(workers: Workers, tmp_path: Path) -> None:
    root = Path(os.path.realpath(tmp_path))
    (root / "train.py").write_text(STEADY, encoding="utf-8")
    case = Case("truth", "truth/good_steady", True, {"train.py": STEADY}, "train.py")
    trace = traced(case, workers, root)
    story = story_of(root / "train.py")
    assert story is not None
    assert len(trace) == 21
    assert first_refused(story, trace, str(root)) is None
    for index in range(len(trace) - 1):
        swapped = trace[:]
        swapped[index : index + 2] = trace[index + 1], trace[index]
        assert first_refused(story, swapped, str(root)) == index
        # What is dropped is missed where the next one comes.
        assert first_refused(story, trace[:index] + trace[index + 1 :], str(root)) == index
    moved = [happened._replace(line=happened.line + 1) for happened in trace]
    assert first_refused(story, moved, str(root)) == 0


def test_a_run_that_starts_in_the_middle_is_refused(tmp_path: Path) -> None:
    root = Path(os.path.realpath(tmp_path))
    (root / "train.py").write_text(STEADY, encoding="utf-8")
    story = story_of(root / "train.py")
    assert story is not None
    row = STEADY.splitlines().index("    scaler.update()") + 1
    assert any(fits(event, Happened("update", "train.py", row), str(root)) for event in story)
    assert first_refused(story, [Happened("update", "train.py", row)], str(root)) == 0
