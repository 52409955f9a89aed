"""The harness tells correct training programs from broken ones, without the linter's help."""

from __future__ import annotations

import re

import pytest

torch = pytest.importorskip("torch")

from qalint.harness.jobs import Workers, copied  # noqa: E402
from qalint.harness.limits import Limits  # noqa: E402
from qalint.harness.oracles import BASE  # noqa: E402
from qalint.harness.symptoms import BREAKING, Symptom, symptoms  # noqa: E402

from .programs import FAULTS, HARMLESS, program  # noqa: E402

ALL = (*BASE, "devices", "no-cuda")


@pytest.fixture(scope="module")
def workers():
    with Workers(1, Limits(seconds=10.0)) as workers:
        yield workers


def watch(workers: Workers, text: str, modes: tuple[str, ...] = ALL, **limits: float) -> list[Symptom]:
    with copied({"train.py": text}) as folder:
        script = folder / "train.py"
        return symptoms(
            {mode: workers.run("training", script, folder, mode=mode, **limits) for mode in modes}
        )


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_shows_its_symptom(workers, name):
    replacements, symptom, detail = FAULTS[name]
    if symptom == "lost":
        found = watch(workers, program(replacements), ("plain",), seconds=2.0)
    elif detail == "MemoryError":
        found = watch(workers, program(replacements), ("plain",), memory=4 << 30, seconds=60.0)
    else:
        found = watch(workers, program(replacements))
    assert any(s.name == symptom and re.search(detail, s.detail) for s in found), found


@pytest.mark.parametrize("name", HARMLESS)
def test_correct_code_shows_none(workers, name):
    found = watch(workers, program(HARMLESS[name]))
    assert [str(s) for s in found if s.name in BREAKING | {"fp32-forward", "unowned", "no-cuda"}] == []
