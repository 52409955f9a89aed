"""Faults planted in the reference trainer are found, fixed by qalint, and the trainer trains again."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from qalint.harness.cases import Case, fixtures
from qalint.harness.fixer import Fixer
from qalint.harness.jobs import Workers
from qalint.harness.limits import Limits
from qalint.harness.oracles import oracle_of
from qalint.harness.verify import RuleFacts, run, see, verify_bad

from .planted import PLANTED, SHORT

ROOT = fixtures()
assert ROOT is not None
FILES = {
    path.relative_to(ROOT / "trainer").as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "trainer").rglob("*")
    if path.suffix in (".py", ".txt")
}
FIXER = Fixer()
MENDED = ("QA1104", "QA1105", "QA1107", "QA1108", "QA1109", "QA1115")
"""Rules whose fix can be applied in the form that the trainer has."""


@pytest.fixture(scope="module")
def workers():
    with Workers(1, Limits(seconds=60.0)) as workers:
        yield workers


def broken(code):
    file, text, fault = PLANTED[code]
    assert text in FILES[file]
    return {**FILES, file: FILES[file].replace(text, fault, 1)}


MISSED = "the cast is in the function that collects the adapters, the optimizer in another that collects anew"


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, marks=pytest.mark.xfail(reason=MISSED, strict=True)) if code == "QA1128" else code
        for code in PLANTED
    ],
)
def test_the_fault_is_found_and_the_trainer_as_it_is_has_none(code):
    assert FIXER(FILES, code).findings == 0
    assert FIXER(broken(code), code).findings >= 1


@pytest.mark.parametrize("code", MENDED)
def test_the_fix_is_confirmed_by_running(workers, code):
    files = {**broken(code), "short.py": SHORT}
    case = Case("planted", "planted/bad_trainer", False, files, "short.py")
    entry = verify_bad(case, RuleFacts(code, "planted", "cpu"), oracle_of(code), FIXER, workers)
    assert entry is not None
    assert entry.verdict == "confirmed", entry


def test_the_trainer_as_it_is_shows_no_symptom(workers):
    oracle = oracle_of("QA1105")
    reports = run({**FILES, "short.py": SHORT}, "short.py", oracle, workers)
    assert reports is not None
    assert [str(symptom) for symptom in see(reports, oracle)] == []
