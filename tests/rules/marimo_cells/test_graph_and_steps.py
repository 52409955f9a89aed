from __future__ import annotations

import pytest
from qalint_rules.marimo_cells import (
    CrowdedStepCell,
    CyclicCells,
    LateStop,
    MissingProgress,
    MultipleDefinitions,
    ProcessingCellReturnsUi,
    StopHidesOutput,
    UndefinedAcrossCells,
    ValueReadWhereCreated,
)

from qalint.rule import Confidence
from qalint.testing import apply, findings, notebook

HEAD = "import marimo as mo"


def run(rule, *cells: str):
    return findings(rule, notebook(HEAD, *cells))


def body(text: str) -> str:
    lines = text.rstrip("\n").split("\n\n\n")[-1].split("\n")[2:]
    return "\n".join(line[4:] for line in lines)


class TestGraph:
    def test_undefined_once_for_all_its_readers(self):
        (found,) = run(UndefinedAcrossCells, "print(missing)", "x = missing")
        assert found.message == "`missing` is read here and bound in no cell"
        assert [each.message for each in found.related] == ["and here"]

    def test_bound_outside_the_cells(self):
        text = "import json\n" + notebook("print(json)")
        (found,) = findings(UndefinedAcrossCells, text)
        assert found.message == "`json` is bound only outside the cells, which marimo does not run"

    def test_annotations_have_lower_confidence(self):
        (found,) = run(UndefinedAcrossCells, "def f(x) -> Chart:\n    return x")
        assert found.confidence is Confidence.MEDIUM

    @pytest.mark.parametrize(
        "cells",
        [
            ("from m import *", "print(anything)"),
            ("exec('y = 1')\nprint(y)",),
            ("print(__file__, __name__, len)",),
            ("try:\n    y\nexcept NameError:\n    y = 1",),
            ("print(later)", "later = 1"),
        ],
    )
    def test_undefined_silent(self, cells):
        assert run(UndefinedAcrossCells, *cells) == []

    def test_multiple_definitions_stand_at_the_second(self):
        (found,) = run(MultipleDefinitions, "x = 1", "x = 2", "for x in []:\n    pass")
        assert found.message == "`x` is bound in 3 cells, and marimo runs none of them"
        assert found.place.source.location(found.place.start).row == 18
        assert len(found.related) == 2

    def test_multiple_definitions_silent(self):
        assert run(MultipleDefinitions, "_x = 1", "_x = 2", "def f():\n    x = 1", "x = 3") == []

    def test_a_circle_is_one_finding(self):
        (found,) = run(CyclicCells, "a = b", "b = c", "c = a")
        assert [each.message for each in found.related] == ["which needs `c`", "which needs `a`"]

    def test_words_in_sql_make_no_circle(self):
        assert run(CyclicCells, "a = mo.sql('select * from b')", "b = mo.sql('select * from a')") == []


BUTTONS = "go = mo.ui.run_button()\nrate = mo.ui.slider(1, 2)\nmo.hstack([go, rate])"


class TestStops:
    def test_another_element_beside_the_button(self):
        (found,) = run(StopHidesOutput, BUTTONS, "mo.stop(not go.value)\nx = rate.value\nmo.md(f'{x}')")
        assert found.message == ("changing `rate` erases what this cell gives: `go` is true for one run only")

    @pytest.mark.parametrize(
        "cell",
        [
            "mo.stop(not go.value)\nmo.md('x')",  # reads nothing else
            "mo.stop(not go.value)\nprint(rate.value)",  # shows nothing, gives nothing
            "mo.stop(rate.value is None)\nmo.md('x')",  # no button
        ],
    )
    def test_gates_that_keep_what_they_show(self, cell):
        found = run(StopHidesOutput, BUTTONS, cell)
        assert [each for each in found if "print" not in cell] == []

    def test_a_button_that_never_opens(self):
        (found,) = run(StopHidesOutput, "b = mo.ui.button()\nb", "mo.stop(not b.value)\nmo.md('x')")
        assert "never opens" in found.message
        counted = "b = mo.ui.button(on_click=lambda v: v, value=0)\nb"
        assert run(StopHidesOutput, counted, "mo.stop(not b.value)\nmo.md('x')") == []

    def test_a_redundant_gate_is_removed(self):
        found = run(
            StopHidesOutput,
            BUTTONS,
            "mo.stop(not go.value)\ndata = [1, 2]",
            "mo.stop(not go.value)\nmo.md(f'{data} {rate.value}')",
        )
        assert body(apply(found[-1])) == "mo.md(f'{data} {rate.value}')"

    def test_a_gate_stays_where_what_is_moved_closes_the_one_before_as_well(self):
        found = run(
            StopHidesOutput,
            BUTTONS,
            "mo.stop(not go.value)\ndata = rate.value",
            "mo.stop(not go.value)\nmo.md(f'{data} {rate.value}')",
        )
        assert [finding.fix for finding in found] == [None, None]

    @pytest.mark.parametrize(
        "cells",
        [
            ("mo.stop(not go.value)\ndef shout():\n    return rate.value\nmo.md(f'{shout()}')",),
            ("if not go.value:\n    mo.stop(True)\nmo.md(f'{rate.value}')",),
            ("n = rate.value", "mo.stop(not go.value)\nmo.md(f'{n}')"),
            ("pressed, n = go.value, rate.value", "mo.stop(not pressed)\nmo.md(f'{n}')"),
        ],
    )
    def test_what_is_moved_in_other_words(self, cells):
        (found,) = run(StopHidesOutput, BUTTONS, *cells)
        assert found.message.startswith("changing `rate` erases what this cell gives")

    def test_a_copied_click_that_nothing_runs_again_stays(self):
        cells = ("pressed = go.value", "mo.stop(not pressed)\nmo.md(f'{rate.value}')")
        assert run(StopHidesOutput, BUTTONS, *cells) == []

    def test_a_late_stop_moves_to_the_top(self):
        (found,) = run(LateStop, BUTTONS, "import time\ntime.sleep(1)\nmo.stop(not go.value)\nx = 1")
        assert body(apply(found)) == "import time\nmo.stop(not go.value)\ntime.sleep(1)\nx = 1"

    @pytest.mark.parametrize(
        "cell",
        [
            "mo.stop(not go.value)\ntrain(1)",
            "title = 'x'.upper()\nmo.stop(not go.value)",
            "rows = load_dataset('x')\nmo.stop(not rows)",
            "rows = []\nfor r in read():\n    rows.append(r)\nmo.stop(len(rows) < 3)",
            "model = load_model('x')\nsize = model.size\nmo.stop(size > 3)",
        ],
    )
    def test_stops_in_time(self, cell):
        assert run(LateStop, BUTTONS, cell) == []


class TestSteps:
    def test_steps_with_work_between(self):
        cell = "mo.md('Step 1')\nload()\nwith mo.status.spinner('Step 2'):\n    train()"
        (found,) = run(CrowdedStepCell, cell)
        assert found.message.startswith("this cell runs 2 numbered steps")

    @pytest.mark.parametrize(
        "cell",
        [
            "mo.md('Step 1: load\\nStep 2: train')",
            "mo.vstack([mo.md('Step 1'), mo.md('Step 2')])",
            "with mo.status.spinner('Step 1'):\n    load()\nmo.md('Step 1 done')",
            "mo.md('step one')\nload()\nmo.md('step two')",
        ],
    )
    def test_one_step_or_a_list_of_steps(self, cell):
        assert run(CrowdedStepCell, cell) == []

    def test_layout_cells_may_share_displays(self):
        assert run(ProcessingCellReturnsUi, "header = mo.md('x')", "mo.vstack([header])") == []
        assert len(run(ProcessingCellReturnsUi, "m.fit(1)\nview = mo.md('x')", "mo.vstack([view])")) == 1

    def test_a_training_loop_gets_a_progress_bar(self):
        (found,) = run(MissingProgress, "for b in loader:\n    loss.backward()")
        assert body(apply(found)).startswith("for b in mo.status.progress_bar(loader):")
        assert run(MissingProgress, "for b in loader:\n    loss.backward()\n    print(b)") == []
        assert run(MissingProgress, "for b in [1, 2]:\n    loss.backward()") == []


class TestValues:
    def test_the_fix_splits_the_cell(self):
        (found,) = run(ValueReadWhereCreated, "s = mo.ui.slider(1, 2)\n# twice\nx = s.value * 2\nreturn s, x")
        assert apply(found).split("@app.cell")[-2].strip() == (
            "def _():\n    s = mo.ui.slider(1, 2)\n    s\n    return (s,)"
        )
        assert body(apply(found)) == "# twice\nx = s.value * 2\nreturn (x,)"

    @pytest.mark.parametrize(
        "cell",
        [
            "_k = 2\ns = mo.ui.slider(1, 2)\nx = s.value * _k",  # a private name would be cut off
            "if a:\n    s = mo.ui.slider(1, 2)\n    x = s.value",  # one block holds both
        ],
    )
    def test_no_fix(self, cell):
        (found,) = run(ValueReadWhereCreated, cell)
        assert found.fix is None

    @pytest.mark.parametrize(
        "cell",
        [
            "s = mo.ui.slider(1, 2)\ndef f():\n    return s.value",
            "get, set_ = mo.state(0)\nget()",
            "s = make()\ns.value",
            "def f():\n    s = mo.ui.slider(1, 2)\n    return s",
        ],
    )
    def test_silent(self, cell):
        assert run(ValueReadWhereCreated, cell) == []
