"""What the mutants of adapters show is kept, and what is said of them; a sample is run and fixed anew.

The whole of it, with every run: `python tests/mutation_adapters.py --fixes`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from mutation_adapters import (
    SURVIVORS,
    TRUE,
    Judge,
    Mutant,
    Verdict,
    findings,
    mutants,
    programs,
    recorded,
)

from qalint.harness.jobs import Workers
from qalint.harness.limits import Limits

PROGRAMS = dict(programs())
RECORDED = recorded()
EVERY = [mutant for program, files in PROGRAMS.items() for mutant in mutants(program, files)]
LIGHT = {"wrapper", "hooks", "tuner", "split", "subclass", "kohya", "vit_package", "prompt_tuning"}
LIGHT |= {"prefix", "scaling_vectors", "dora", "conv_adapters", "processors", "parallel", "functional"}
"""Programs that need nothing but torch: a run takes a tenth of a second."""


def kept(mutant: Mutant) -> Verdict:
    return Verdict(mutant, *RECORDED[mutant.key], findings(mutant.files))


def first_of_each_kind() -> list[Mutant]:
    found: dict[str, Mutant] = {}
    for mutant in EVERY:
        shown = RECORDED.get(mutant.key)
        if mutant.program in LIGHT and shown and shown.declared and str(mutant) not in SURVIVORS:
            found.setdefault(mutant.edit.kind, mutant)
    return list(found.values())


SAMPLE = first_of_each_kind()[::3]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Workers(1, Limits(seconds=60.0)) as workers:
        yield Judge(workers)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_correct_program_is_silent(program: str) -> None:
    assert findings(PROGRAMS[program]) == ()


def test_every_mutant_has_been_run_and_nothing_else_is_kept() -> None:
    assert {mutant.key for mutant in EVERY} == set(RECORDED)


def test_there_are_enough_of_them() -> None:
    shown = [RECORDED[mutant.key] for mutant in EVERY]
    alive = [one for one in shown if not one.void]
    ill = [one for one in alive if one.declared]
    assert len(PROGRAMS) >= 28
    assert len(alive) >= 700
    assert len(ill) >= 450
    assert len(SURVIVORS) < 0.05 * len(ill)


@pytest.mark.parametrize("number", range(7))
def test_a_seventh_of_them_is_looked_up(number: int) -> None:
    verdicts = [kept(mutant) for mutant in EVERY[number * 5 :: 49] if str(mutant) not in SURVIVORS]
    assert [str(one.mutant) for one in verdicts if one.shown and not one.void and not one.seen] == []
    assert [(str(one.mutant), one.alarms) for one in verdicts if one.alarms] == []


@pytest.mark.parametrize("name", SURVIVORS)
def test_a_survivor_is_still_missed(name: str) -> None:
    same = [mutant for mutant in EVERY if str(mutant) == name]
    missed = [one for one in map(kept, same) if one.shown and not one.void and not one.seen]
    assert same and missed, "found now, or gone: take it off the list"


@pytest.mark.parametrize("kind, code", TRUE)
def test_what_is_called_true_all_the_same_is_said(kind: str, code: str) -> None:
    quiet = [mutant for mutant in EVERY if mutant.edit.kind == kind and not any(RECORDED[mutant.key][:2])]
    assert any(code in dict(findings(mutant.files)) for mutant in quiet)


@pytest.mark.parametrize("mutant", SAMPLE, ids=str)
def test_a_run_shows_what_is_kept(mutant: Mutant, judge: Judge) -> None:
    files = PROGRAMS[mutant.program]
    shown = judge.show(mutant, files)
    assert shown.declared.split(":")[0] == RECORDED[mutant.key].declared.split(":")[0]
    assert kept(mutant).seen
    assert [wrong for _, wrong in judge.fixes(kept(mutant), files) if wrong] == []
