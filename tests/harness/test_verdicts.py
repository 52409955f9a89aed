"""Sabotage: a fix that does not mend, or that breaks more, is refuted; the right one is confirmed."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("marimo")

from qalint.harness.cases import Case
from qalint.harness.jobs import Workers
from qalint.harness.limits import Limits
from qalint.harness.oracles import oracle_of
from qalint.harness.verify import Fixed, RuleFacts, verify_bad, verify_good

from .programs import BACKWARD, CLIP, FAULTS, SCALER, STEP, TRAINED, UNSCALE, UPDATE, ZERO, program

# rule: (the fault's name in FAULTS, a fix gone wrong)
SABOTAGE: dict[str, tuple[str, dict[str, str]]] = {
    "QA1102": (
        "fp16 adapters",
        {
            TRAINED: "model.half()\n" + TRAINED,
            "optim.SGD": "optim.AdamW",
            SCALER: "",
            BACKWARD: "    loss.backward()\n",
            UNSCALE + CLIP: "",
            STEP: "    optimizer.step()\n",
            UPDATE: "",
        },
    ),
    "QA1104": ("unscaled backward", {BACKWARD: "    scaler.scale(loss)\n    loss.backward()\n", CLIP: ""}),
    "QA1105": ("clip without unscale", {UNSCALE + CLIP: CLIP + UNSCALE}),
    "QA1107": ("unscale, optimizer step", {STEP: STEP + "    optimizer.step()\n"}),
    "QA1108": ("no update", {STEP + UPDATE: UPDATE + STEP, CLIP: ""}),
    "QA1109": ("update before step", {UPDATE: ""}),
    "QA1110": ("unscale twice", {UNSCALE: ""}),
    "QA1112": ("scaler in the loop", {SCALER: "", BACKWARD: "    " + SCALER + BACKWARD}),
    "QA1115": ("no zero_grad", {ZERO: "", UNSCALE: UNSCALE + ZERO}),
    "QA1116": ("zero_grad after unscale", {ZERO: "", CLIP: ""}),
    "QA1211": ("adapter on the CPU", {"device=where": 'device="cpu"'}),
    "QA1218": (
        "inert adapter",
        {
            "torch.randn(base.in_features": "torch.zeros(base.in_features",
            ", rank, device": ", rank + 1, device",
        },
    ),
}


@pytest.fixture(scope="module")
def workers():
    with Workers(1, Limits(seconds=30.0)) as workers:
        yield workers


def judged(workers, code, before, after):
    """The entry of a program whose fix is `after`."""
    name = "notebook.py" if "marimo" in before else "train.py"
    case = Case("the-rule", "the-rule/bad_case", False, {name: before}, name)
    rule = RuleFacts(code, "the-rule", "cpu")
    oracle = oracle_of(code)
    assert oracle is not None
    entry = verify_bad(case, rule, oracle, lambda files, code: Fixed({name: after}, 1, 1), workers)
    assert entry is not None
    return entry


@pytest.mark.parametrize("code", SABOTAGE)
def test_a_fix_gone_wrong_is_refuted(workers, code):
    fault, wrong = SABOTAGE[code]
    entry = judged(workers, code, program(FAULTS[fault][0]), program(wrong))
    assert entry.verdict == "refuted", entry
    assert entry.before


@pytest.mark.parametrize("code", SABOTAGE)
def test_the_right_fix_is_confirmed(workers, code):
    entry = judged(workers, code, program(FAULTS[SABOTAGE[code][0]][0]), program({}))
    assert (entry.verdict, entry.after) == ("confirmed", "none"), entry


@pytest.mark.parametrize("code", ["QA1105", "QA1108"])
def test_a_fix_that_changes_only_a_comment_is_refuted(workers, code):
    before = program(FAULTS[SABOTAGE[code][0]][0])
    entry = judged(workers, code, before, before + "# fixed\n")
    assert entry.verdict == "refuted"
    assert "still there" in entry.detail


def test_a_fault_that_qalint_does_not_find_is_refuted(workers):
    case = Case("r", "r/bad_case", False, {"train.py": program(FAULTS["no update"][0])}, "train.py")
    fixer = lambda files, code: Fixed(files, 0, 0)  # noqa: E731
    entry = verify_bad(case, RuleFacts("QA1108", "r", "cpu"), oracle_of("QA1108"), fixer, workers)
    assert entry is not None and entry.verdict == "refuted"
    assert entry.detail == "qalint does not find the fault"


def test_a_correct_fixture_that_shows_the_symptom_is_refuted(workers):
    case = Case("r", "r/good_case", True, {"train.py": program(FAULTS["no update"][0])}, "train.py")
    entry = verify_good(case, RuleFacts("QA1108", "r", "cpu"), oracle_of("QA1108"), workers)
    assert entry is not None and entry.verdict == "refuted"


def test_a_file_of_definitions_is_no_program(workers):
    text = "import torch\n\n\ndef f(x):\n    return x.half()\n"
    case = Case("r", "r/bad_case", False, {"lib.py": text}, "lib.py")
    fixer = lambda files, code: Fixed(files, 1, 0)  # noqa: E731
    assert verify_bad(case, RuleFacts("QA1108", "r", "cpu"), oracle_of("QA1108"), fixer, workers) is None


NOTEBOOK = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    return (mo,)


@app.cell
def _():
    {name} = [3.0, 1.0]
    kept = 1
    return


@app.cell
def _(mo):
    {body}
    return


if __name__ == "__main__":
    app.run()
"""
SHOWN = 'mo.md(f"from {losses[0]}")'
IN_BRANCH = 'if losses:\n        mo.md("there are losses")'


def notebook(name="losses", body=SHOWN):
    return NOTEBOOK.format(name=name, body=body)


@pytest.mark.parametrize(
    ("code", "before", "right", "wrong"),
    [
        (
            "QA1301",
            notebook("_losses", 'mo.md(f"from {_losses[0]}")'),
            notebook(),
            notebook(body='mo.md(f"from {_losses[0]}")'),
        ),
        (
            "QA1305",
            notebook(body=IN_BRANCH),
            notebook(
                body="_output = None\n    if losses:\n"
                '        _output = mo.md("there are losses")\n    _output'
            ),
            notebook(body='if losses:\n        _output = mo.md("there are losses")'),
        ),
        (
            "QA1306",
            notebook(body='mo.md("a note")\n    more = losses'),
            notebook(body='more = losses\n    mo.md("a note")'),
            notebook(body='mo.md("a note")'),
        ),
        (
            "QA1606",
            notebook(body='mo.callout("x", kind="error")'),
            notebook(body='mo.callout("x", kind="danger")'),
            notebook(body='mo.callout("x", kind="failure")'),
        ),
    ],
)
def test_notebooks(workers, code, before, right, wrong):
    good = judged(workers, code, before, right)
    assert good.verdict == "confirmed", good
    bad = judged(workers, code, before, wrong)
    assert bad.verdict == "refuted", bad
