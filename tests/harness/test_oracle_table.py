"""Every rule says what running can show, and the harness knows how to look."""

from __future__ import annotations

import re

from qalint.harness import notebook_symptoms, symptoms
from qalint.harness.fixer import Fixer
from qalint.harness.oracles import NOTEBOOKS, TRAINING, oracle_of
from qalint.harness.verify import RuleFacts, can_run, without_run

RULES = Fixer().rules()
RUNNABLE = ("11", "12", "13", "15", "16", "17")


def test_every_cpu_oracle_is_in_the_table_and_nothing_else_is():
    declared = {rule.code for rule in RULES if rule.oracle == "cpu"}
    assert declared == {code for code in declared if oracle_of(code) is not None}
    assert {*TRAINING, *NOTEBOOKS} - declared == set()


def test_every_rule_declares_its_oracle_with_a_reason():
    for rule in RULES:
        assert rule.oracle in ("cpu", "gpu") or re.fullmatch(r"none: .{12,}", rule.oracle), rule


def test_at_most_twenty_rules_cannot_be_shown_by_running():
    without = [rule.code for rule in RULES if rule.oracle.startswith("none") and rule.code[2:4] in RUNNABLE]
    assert len(without) <= 20, without


def test_looks_name_symptoms_that_exist():
    for table, meanings in ((TRAINING, symptoms.MEANINGS), (NOTEBOOKS, notebook_symptoms.MEANINGS)):
        for code, oracle in table.items():
            assert oracle.looks or oracle.compare, code
            for look in oracle.looks:
                assert look.symptom in meanings, (code, look)
                re.compile(look.pattern)


def test_what_needs_a_gpu_is_never_passed():
    timing = RuleFacts("QA1708", "unsynchronized-timing", "gpu")
    assert not can_run(timing, "cpu")
    assert without_run(timing).verdict == "needs-gpu"
    clipping = RuleFacts("QA1106", "missing-gradient-clipping", "none: a reason to read")
    assert not can_run(clipping, "cuda")
    assert without_run(clipping)[6:] == ("no-oracle", 0.0, "a reason to read")
    assert can_run(RuleFacts("QA1105", "clip-before-unscale", "cpu"), "cpu")


def test_a_quick_run_still_has_what_its_symptoms_need():
    clip = oracle_of("QA1105")
    assert clip is not None and clip.quick().modes == ("plain", "still", "reference")
    device = oracle_of("QA1211")
    assert device is not None and device.quick().modes == ("plain", "devices")
    accumulated = oracle_of("QA1117")
    assert accumulated is not None and "reference" in accumulated.quick().modes
