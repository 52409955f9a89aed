"""Evidence against the fixtures: bad code passes no item of its rule, good code fails none."""

from collections import Counter
from pathlib import Path

import pytest

from qalint.checklist import items
from qalint.report.evidence import Facts
from qalint.report.gather import gather
from qalint.report.judge import _judgement, judge
from qalint.report.verdicts import FAIL, PASS, UNKNOWN, combine

FIXTURES = Path(__file__).parents[2] / "fixtures"
BY_ID = {item.id: item for item in items()}
SECTIONS = {
    "mixed_precision": 20,
    "lora": 15,
    "gpu": 4,
    "marimo_cells": 15,
    "ui_consistency": 5,
    "dependencies": 6,
    "documentation": 10,
}
"""How many items the good fixtures of a section must pass at least: seeing nothing proves nothing."""


@pytest.mark.parametrize("folder", SECTIONS)
def test_fixtures(folder):
    gathered = gather([str(FIXTURES / folder)])
    judged = frozenset(gathered.paths)
    rules = {rule.name: rule for rule in gathered.catalog.rules.values()}
    seen = Counter()
    for file in gathered.files():
        parts = Path(file.path).relative_to(FIXTURES / folder).parts
        rule = rules.get(parts[0])
        if rule is None:
            continue
        good = parts[1].startswith("good_")
        facts = Facts(file, judged)
        own = [finding for finding in gathered.findings if finding.filename == file.path]
        for id in rule.checklist:
            item = BY_ID[id]
            findings = [each for each in own if each.code in item.rules and each.confidence == "high"]
            verdict = combine(item, [_judgement(facts, item)], findings)
            if good:
                assert verdict.verdict != FAIL or rule.code not in {each.code for each in findings}, (
                    parts,
                    id,
                )
                seen["passed"] += verdict.verdict == PASS
            elif f"# expect: {rule.code}" in file.source.text:
                assert verdict.verdict != PASS, (parts, id, verdict.evidence)
                seen["failed"] += verdict.verdict == FAIL
    assert seen["passed"] >= SECTIONS[folder]
    assert seen["failed"] > 0


MISSING_UPDATE = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cuda")
for _ in range(3):
    optimizer.zero_grad()
    with torch.autocast("cuda", dtype=torch.float16):
        loss = model(torch.randn(8, 4)).square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    if loss < 1:
        scaler.update()
"""


def verdicts(path):
    return {verdict.item.id: verdict for verdict in judge(gather([str(path)]))}


def test_a_suppressed_finding_is_no_evidence(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(MISSING_UPDATE)
    found = verdicts(path)["11.09"]
    assert found.verdict == FAIL
    row = found.findings[0].region.row
    lines = MISSING_UPDATE.splitlines()
    lines[row - 1] += f"  # qalint: ignore[{found.findings[0].code}]"
    path.write_text("\n".join(lines) + "\n")
    quiet = verdicts(path)["11.09"]
    assert quiet.verdict == UNKNOWN
    assert "suppresses" in quiet.reason
    assert quiet.evidence[0].row == row


def test_a_rule_that_is_off_passes_nothing(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(
        MISSING_UPDATE.replace("    if loss < 1:\n        scaler.update()", "    scaler.update()")
    )
    assert verdicts(path)["11.09"].verdict == PASS
    (tmp_path / "qalint.toml").write_text('ignore = ["QA1108"]\n')
    quiet = verdicts(path)["11.09"]
    assert quiet.verdict == UNKNOWN
    assert "QA1108 is switched off" in quiet.reason


def test_a_fault_of_the_story_passes_nothing_though_no_rule_speaks(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(MISSING_UPDATE)
    (tmp_path / "qalint.toml").write_text('ignore = ["QA1108"]\n')
    assert verdicts(path)["11.09"].verdict == UNKNOWN
