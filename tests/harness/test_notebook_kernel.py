"""What only a kernel shows: results that vanish, gates that never open, clicks that arrive nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qalint.harness.jobs import Limits, Workers, copied
from qalint.harness.notebook_symptoms import symptoms

pytest.importorskip("marimo")

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"


@pytest.fixture(scope="module")
def use():
    with Workers(1, Limits(seconds=60.0)) as workers:

        def run(text: str) -> dict[str, Any]:
            with copied({"notebook.py": text}) as folder:
                return workers.run("notebook", folder / "notebook.py", folder, mode="used")

        yield run


@pytest.fixture(scope="module")
def seen(use):
    return lambda text: {symptom.name for symptom in symptoms({"used": use(text)})}


def written(*cells: str) -> str:
    body = "".join(f"\n\n@app.cell\ndef _():\n    {cell}\n" for cell in ("import marimo as mo", *cells))
    return f"import marimo\n\napp = marimo.App()\n{body}"


def test_a_result_vanishes_when_something_else_is_moved(use):
    gated = "mo.stop(not go.value)\n    mo.md(f'{size.value} rows')"
    shown = written("go, size = mo.ui.run_button(), mo.ui.slider(1, 9)\n    [go, size]", gated)
    report = use(shown)
    acts = [(step["act"], step["name"]) for step in report["steps"]]
    assert acts == [("open", ""), ("click", "go"), ("move", "size")]
    texts = [step["cells"][2]["text"] for step in report["steps"]]
    assert "1 rows" in texts[1] and texts[0] == texts[2] == ""
    assert {symptom.name for symptom in symptoms({"used": report})} == {"erased"}


def test_a_result_that_stays(seen):
    gated = "mo.stop(not go.value)\n    mo.md('done')"
    elements = "go, size = mo.ui.run_button(), mo.ui.slider(1, 9)\n    [go, size]"
    assert seen(written(elements, gated, "mo.md(f'{size.value}')")) == set()


def test_a_gate_that_never_opens(seen):
    gated = "mo.stop(not go.value)\n    mo.md('done')"
    assert seen(written("go = mo.ui.button()\n    go", gated)) == {"shut-gate"}
    counted = "go = mo.ui.button(value=0, on_click=lambda n: n + 1)\n    go"
    assert seen(written(counted, gated)) == set()


def test_events_that_arrive_nowhere(seen):
    assert seen(written("mo.hstack([mo.ui.switch(on_change=print)])")) == {"lost-event"}
    assert seen(written("row = mo.hstack([mo.ui.switch(on_change=print)])\n    row")) == set()
    assert seen(written("mo.hstack([mo.ui.table([{'a': 1}], on_change=print)])")) == set()
    assert seen(written("mo.hstack([mo.ui.switch()])")) == set()


@pytest.mark.parametrize("rule", ["marimo_cells/stop-hides-output", "ui_consistency/private-ui-in-layout"])
def test_fixtures_show_what_they_are_called(seen, rule):
    found = {
        path.stem: bool(seen(path.read_text(encoding="utf-8")))
        for path in sorted((FIXTURES / rule).glob("*.py"))
    }
    assert found == {name: name.startswith("bad_") for name in found}
    assert len(found) >= 6
