"""The dashboard passes the checklist; its draft shows the faults that it was written with."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("marimo")

from qalint.harness.cases import fixtures
from qalint.harness.jobs import Workers
from qalint.harness.limits import Limits
from qalint.harness.notebook_symptoms import symptoms, tables, text_of
from qalint.testing import lint, mismatches

ROOT = fixtures()
assert ROOT is not None
FOLDER = ROOT / "dashboard"


@pytest.fixture(scope="module")
def reports():
    """What the reader of each notebook sees; run in place, since they use the trainer beside them."""
    with Workers(1, Limits(seconds=180.0)) as workers:
        return {
            name: workers.run("notebook", FOLDER / f"{name}.py", FOLDER, mode="plain")
            for name in ("dashboard", "draft")
        }


def test_the_dashboard_is_clean_under_every_rule():
    assert lint([str(FOLDER / "dashboard.py")], select=["ALL"], exclude=[]) == []


def test_the_draft_has_the_faults_that_its_marks_say():
    assert mismatches(str(FOLDER / "draft.py")) == []


def test_the_dashboard_runs_and_shows_every_step(reports):
    report = reports["dashboard"]
    assert report["errors"] == [] and report["run"] is None
    assert symptoms({"plain": report}) == []
    text = " ".join(map(text_of, report["cells"]))
    callouts = " ".join(shown["text"] for cell in report["cells"] for shown in cell["shown"])
    for step in range(1, 5):
        assert f"Step {step} of 4, done" in callouts or f"Step {step} of 4, done" in text
    assert report["definitions"]["progress"] == "Progress"


def test_the_preview_shows_every_row_page_by_page(reports):
    found = [table for cell in reports["dashboard"]["cells"] for table in tables(cell)]
    sentences = (ROOT / "trainer" / "text" / "sounds.txt").read_text().splitlines()
    assert found[0].rows == len(sentences)
    assert found[0].paged and found[0].size == 10


def test_the_draft_shows_its_faults_when_it_runs(reports):
    seen = {symptom.name for symptom in symptoms({"plain": reports["draft"]})}
    assert {"undefined-name", "cell-error"} <= seen
    rows = [table.rows for cell in reports["draft"]["cells"] for table in tables(cell)]
    assert rows == [10]
