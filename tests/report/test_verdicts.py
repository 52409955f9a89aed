"""Verdicts: a pass names its evidence, silence passes nothing, and what hid a verdict is told."""

import json
from pathlib import Path

import pytest

from qalint.checklist import items
from qalint.cli.checklist import main as checklist_main
from qalint.cli.report import main as report_main
from qalint.report.evidence import PROVIDERS, passed
from qalint.report.gather import gather
from qalint.report.judge import judge
from qalint.report.scorecard import markdown, scorecard
from qalint.report.verdicts import FAIL, NOT_APPLICABLE, PASS, PERSON, UNKNOWN, Judgement, combine

CORRECT = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cuda")
for _ in range(3):
    x, y = torch.randn(8, 4), torch.randn(8, 1)
    optimizer.zero_grad()
    with torch.autocast("cuda", dtype=torch.float16):
        loss = torch.nn.functional.mse_loss(model(x), y)
    if not torch.isfinite(loss):
        continue
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
"""


def verdicts(tmp_path, text, name="train.py"):
    path = tmp_path / name
    path.write_text(text)
    return {verdict.item.id: verdict for verdict in judge(gather([str(path)]))}


def test_every_item_has_a_provider_of_evidence():
    assert set(PROVIDERS) == {item.id for item in items()}


def test_a_pass_without_evidence_cannot_be_made():
    with pytest.raises(AssertionError):
        passed([])


def test_a_correct_loop_passes_on_what_is_seen(tmp_path):
    found = verdicts(tmp_path, CORRECT)
    rows = {
        "11.01": 5,
        "11.04": 13,
        "11.05": 13,
        "11.06": 14,
        "11.08": 16,
        "11.09": 17,
        "11.12": 11,
        "11.13": 15,
    }
    for id, row in rows.items():
        assert found[id].verdict == PASS, (id, found[id])
        assert row in [piece.row for piece in found[id].evidence], id
    assert [piece.row for piece in found["11.07"].evidence] == [14, 15]


def test_unscale_and_clip_swapped_fails_with_the_finding(tmp_path):
    lines = CORRECT.splitlines(keepends=True)
    lines[13], lines[14] = lines[14], lines[13]
    found = verdicts(tmp_path, "".join(lines))
    assert found["11.07"].verdict == FAIL
    assert [finding.code for finding in found["11.07"].findings] == ["QA1105"]
    assert found["11.07"].evidence == ()


def test_without_fp16_the_section_does_not_apply(tmp_path):
    found = verdicts(
        tmp_path, "import torch\nmodel = torch.nn.Linear(1, 1)\nmodel(torch.ones(1)).sum().backward()\n"
    )
    assert {found[f"11.{number:02}"].verdict for number in range(1, 10)} == {NOT_APPLICABLE}
    assert found["11.01"].reason == "no FP16 training found"


@pytest.mark.parametrize(
    "text", ["", "x = 1\n", "import torch\n", "import marimo as mo\n", '"""A module."""\n']
)
def test_silence_passes_nothing(tmp_path, text):
    found = verdicts(tmp_path, text)
    assert {verdict.verdict for verdict in found.values()} <= {NOT_APPLICABLE, UNKNOWN, PERSON}
    assert all(verdict.reason or verdict.question for verdict in found.values())


def test_an_opaque_training_is_unknown_and_says_what_hid_it(tmp_path):
    found = verdicts(
        tmp_path,
        "import torch\nfrom elsewhere import step\n\n\ndef run(model, loss):\n    model.half()\n   "
        " step(model)\n"
        "    loss.backward()\n",
    )
    assert found["11.01"].verdict in (UNKNOWN, NOT_APPLICABLE, FAIL)
    assert found["11.01"].verdict != PASS


def test_a_broken_file_hides_the_items_it_may_concern(tmp_path):
    found = verdicts(tmp_path, "import torch\ndef f(:\n")
    assert found["11.01"].verdict == UNKNOWN
    assert "train.py: it is not valid Python" in found["11.01"].reason
    assert found["13.01"].verdict == NOT_APPLICABLE


def test_one_unknown_file_makes_the_whole_unknown():
    item = items()[0]
    good = Judgement(PASS, None, ())
    assert combine(item, [good, Judgement(UNKNOWN, "cut")], []).verdict == UNKNOWN
    assert combine(item, [good, Judgement(NOT_APPLICABLE, "no")], []).verdict == PASS
    assert combine(item, [Judgement(NOT_APPLICABLE, "no")], []).reason == "no"
    assert combine(item, [], []).verdict == NOT_APPLICABLE


def test_a_person_is_asked_with_the_question(tmp_path):
    text = (
        "import marimo\n\napp = marimo.App()\n\n\n@app.cell\ndef _():\n    import marimo as mo\n   "
        ' mo.ui.table([{"a": 1}])\n'
        "    return\n"
    )
    found = verdicts(tmp_path, text, "nb.py")
    assert found["09.10"].verdict == PERSON
    assert found["09.10"].question.endswith("?")
    assert [piece.row for piece in found["09.10"].evidence] == [9]


def test_json_of_report_and_checklist(tmp_path, capsys):
    path = tmp_path / "train.py"
    path.write_text(CORRECT)
    assert checklist_main([str(path), "--output-format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert report_main([str(path), "--output-format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report) == ["target", "sections", "scores", "findings"]
    assert list(report["scores"]) == ["educational_value", "documentation_quality"]
    assert [list(section) for section in report["sections"]] == [["section", "title", "items"]] * 8
    assert [item for section in report["sections"] for item in section["items"]] == listed
    for entry in listed:
        assert entry["verdict"] in (PASS, FAIL, UNKNOWN, NOT_APPLICABLE, PERSON)
        assert (entry["verdict"] == FAIL) == bool(entry["findings"])
        if entry["verdict"] == PASS:
            assert entry["evidence"]
        if entry["verdict"] in (UNKNOWN, NOT_APPLICABLE):
            assert entry["reason"]
        assert (entry["question"] is not None) == (entry["verdict"] == PERSON)
    codes = {finding["code"] for finding in report["findings"]}
    assert "QA1406" in codes, "rules that are off in check speak in report"


def test_text_and_markdown_name_every_failed_item(tmp_path, capsys):
    path = tmp_path / "train.py"
    path.write_text(CORRECT)
    assert report_main([str(path), "--output-format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    failed = [
        item["id"] for section in report["sections"] for item in section["items"] if item["verdict"] == "fail"
    ]
    assert failed
    for kind in ("text", "markdown"):
        assert report_main([str(path), "--output-format", kind]) == 0
        out = capsys.readouterr().out
        assert all(id in out for id in failed)
        assert "Educational Value" in out


def test_status_and_messages(tmp_path, capsys):
    path = tmp_path / "train.py"
    path.write_text(CORRECT)
    assert report_main([str(tmp_path / "missing.py")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert checklist_main([str(tmp_path / "missing.py")]) == 2
    assert report_main([str(path), "--fail-on", "low", "--output-format", "json"]) == 0, "advice fails no run"
    path.write_text("import torch\n\nscaler = torch.cuda.amp.GradScaler()\n")
    assert report_main([str(path), "--output-format", "json"]) == 0
    assert report_main([str(path), "--fail-on", "medium", "--output-format", "json"]) == 1
    assert report_main([str(path), "--fail-on", "critical", "--output-format", "json"]) == 0
    empty = tmp_path / "empty"
    empty.mkdir()
    assert report_main([str(empty)]) == 0
    assert "nothing to judge" in capsys.readouterr().err


def test_output_file_chooses_the_format(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(CORRECT)
    for name, start in (
        ("r.html", "<!DOCTYPE html>"),
        ("r.json", "{"),
        ("r.md", "# QA scorecard"),
        ("r.txt", "QA"),
    ):
        assert report_main([str(path), "-o", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_text().startswith(start)
    assert report_main([str(path), "-o", str(tmp_path / "no" / "r.html")]) == 2


def test_a_comment_that_suppresses_is_respected(tmp_path):
    lines = CORRECT.splitlines(keepends=True)
    lines[13], lines[14] = lines[14], lines[13]
    lines[13] = lines[13].rstrip("\n") + "  # qalint: ignore[QA1105]\n"
    found = verdicts(tmp_path, "".join(lines))
    assert found["11.07"].verdict != FAIL
    assert found["11.07"].verdict != PASS


def test_configuration_that_ignores_a_rule_is_respected(tmp_path):
    (tmp_path / "qalint.toml").write_text('select = ["QA11"]\nignore = ["QA1406"]\n')
    found = verdicts(tmp_path, CORRECT)
    assert found["14.06"].verdict != FAIL
    assert found["14.09"].verdict == FAIL, "select of check does not narrow a report"


FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_the_dashboard_fails_nothing_and_its_draft_fails_what_people_get_wrong(capsys):
    found = {}
    for name in ("dashboard", "draft"):
        assert report_main([str(FIXTURES / "dashboard" / f"{name}.py"), "--output-format", "json"]) == 0
        found[name] = json.loads(capsys.readouterr().out)
    failed = {
        name: {
            item["id"]
            for section in report["sections"]
            for item in section["items"]
            if item["verdict"] == "fail"
        }
        for name, report in found.items()
    }
    assert failed["dashboard"] == set()
    unknown = [
        item["id"]
        for section in found["dashboard"]["sections"]
        for item in section["items"]
        if item["verdict"] == "unknown"
    ]
    assert unknown == [], "the model of a good notebook passes on what is seen, its trainer included"
    assert {"13.01", "13.05", "14.01", "16.05"} <= failed["draft"]
    scores = {name: report["scores"]["educational_value"]["value"] for name, report in found.items()}
    assert scores["dashboard"] >= 8
    assert scores["draft"] <= 3


NOTEBOOK = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import trainer

    return mo, trainer


@app.cell
def _(mo, trainer):
    losses = trainer.train()
    mo.md(f"{losses}")
    return
"""


@pytest.fixture
def notebook_and_trainer(tmp_path):
    """A notebook, and the module that trains for it in a folder of its own."""
    (tmp_path / "qalint.toml").write_text("")
    body = "".join(f"    {line}\n" for line in CORRECT.splitlines()[2:])
    (tmp_path / "trainer.py").write_text(f"import torch\n\n\ndef train():\n{body}")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "notebook.py").write_text(NOTEBOOK)
    return tmp_path


def judged(*paths):
    return {each.item.id: each for each in judge(gather([str(path) for path in paths]))}


def test_a_notebook_that_is_named_is_judged_with_the_module_that_trains_for_it(notebook_and_trainer):
    found = judged(notebook_and_trainer / "notebooks" / "notebook.py")
    assert found["11.01"].verdict == PASS
    assert {piece.filename for piece in found["11.01"].evidence} == {str(notebook_and_trainer / "trainer.py")}
    assert found["14.08"].verdict == FAIL, "what the module does needs explaining in the notebook"
    places = {finding.filename for finding in found["14.08"].findings}
    assert places == {str(notebook_and_trainer / "notebooks" / "notebook.py")}


def test_a_fault_in_the_module_fails_the_notebook_that_trains_with_it(notebook_and_trainer):
    trainer = notebook_and_trainer / "trainer.py"
    text = trainer.read_text()
    swapped = swap(text, "scaler.unscale_(optimizer)", "clip_grad_norm_")
    assert swapped != text
    trainer.write_text(swapped)
    found = judged(notebook_and_trainer / "notebooks" / "notebook.py")
    assert found["11.06"].verdict == FAIL
    assert [each.filename for each in found["11.06"].findings] == [str(trainer)]


def test_what_is_followed_is_told_and_not_scored(notebook_and_trainer):
    card = scorecard([str(notebook_and_trainer / "notebooks" / "notebook.py")])
    assert card.target.endswith("notebook.py")
    assert card.beside.startswith("Judged with the modules it trains with: ") and "trainer.py" in card.beside
    assert card.beside in markdown(card).replace("\\", "")
    assert not [each for each in card.findings if each.filename.endswith("trainer.py")]
    texts = [text for score in card.scores.values() for part in score.parts for text in part.evidence]
    assert not any("trainer.py" in text for text in texts)


def test_training_in_a_module_out_of_sight_is_unknown(notebook_and_trainer):
    folder = judged(notebook_and_trainer / "notebooks")
    assert folder["11.01"].verdict == UNKNOWN
    assert "trainer.py, which is not among the judged files" in folder["11.01"].reason
    assert judged(notebook_and_trainer)["11.01"].verdict == PASS
    (notebook_and_trainer / "qalint.toml").write_text('extend-exclude = ["trainer.py"]\n')
    assert judged(notebook_and_trainer / "notebooks" / "notebook.py")["11.01"].verdict == UNKNOWN


def swap(text, first, second):
    """The text with the lines that hold `first` and `second` exchanged."""
    lines = text.splitlines(keepends=True)
    one, two = (next(i for i, line in enumerate(lines) if word in line) for word in (first, second))
    lines[one], lines[two] = lines[two], lines[one]
    return "".join(lines)
