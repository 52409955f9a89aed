"""`qalint verify`: its JSON, its exit status, its sentences when it cannot run."""

from __future__ import annotations

import json

import pytest

from qalint.cli.verify import main
from qalint.harness.tables import markdown, terminal
from qalint.harness.verify import Entry

KEYS = {"code", "name", "fixture", "device", "before", "after", "verdict", "seconds", "detail"}
CONFIRMED = Entry(
    "QA1105", "clip-before-unscale", "clip-before-unscale/bad_x", "cpu", "a | b", "none", "confirmed", 1.0, ""
)
REFUTED = CONFIRMED._replace(verdict="refuted", detail="the symptom is still there after the fix")


def test_one_rule_as_json(capsys):
    pytest.importorskip("torch")
    status = main(["--rule", "QA1108", "--quick", "--device", "cpu", "--output-format", "json"])
    entries = json.loads(capsys.readouterr().out)
    assert status == 0
    assert [(entry["code"], entry["verdict"]) for entry in entries] == [("QA1108", "confirmed")]
    assert set(entries[0]) == KEYS
    assert "already been called" in entries[0]["before"] and entries[0]["after"] == "none"


def test_a_rule_that_running_cannot_show_is_not_passed(capsys):
    assert main(["--rule", "unsynchronized-timing", "--device", "cpu", "--output-format", "json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["verdict"] for entry in entries] == ["needs-gpu"]


def test_it_says_what_it_runs(capsys, monkeypatch):
    main(["--rule", "QA1708", "--device", "cpu", "--output-format", "json"])
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert captured.err.startswith(
        "Runs programs that come with qalint, as you, in child processes of at most 60 s"
    )
    assert "nothing of the working folder is run" in captured.err
    monkeypatch.setattr("qalint.harness.browser.own_notebook", lambda path: iter(()))
    main(["--browser", "my.py"])
    assert capsys.readouterr().err.startswith("Runs the notebook my.py with all its cells, as you")


def test_an_unknown_rule_is_one_sentence_and_status_2(capsys):
    assert main(["--rule", "QA1999", "--device", "cpu"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("qalint verify: There is no rule `QA1999`")


def test_a_refuted_fix_gives_status_1(capsys, monkeypatch):
    monkeypatch.setattr("qalint.cli.verify._entries", lambda arguments: [CONFIRMED, REFUTED])
    assert main(["--output-format", "json"]) == 1
    assert [entry["verdict"] for entry in json.loads(capsys.readouterr().out)] == ["confirmed", "refuted"]


def test_a_notebook_that_is_not_there(capsys):
    assert main(["--browser", "no/such/notebook.py"]) == 2
    assert "no/such/notebook.py" in capsys.readouterr().err


def test_the_tables_say_everything():
    text = terminal([CONFIRMED, REFUTED], color=False)
    for part in ("QA1105", "bad_x", "a | b", "confirmed", "refuted", "still there", "1 confirmed, 1 refuted"):
        assert part in text
    page = markdown([CONFIRMED, REFUTED], "qalint verify")
    assert "a \\| b" in page
    assert "**1 confirmed, 1 refuted.**" in page
    assert all(
        line.count("|") - line.count("\\|") == 8 for line in page.splitlines() if line.startswith("| QA")
    )


def test_quick_confirms_every_rule_that_running_can_show(capsys):
    pytest.importorskip("torch")
    pytest.importorskip("marimo")
    main(["--quick", "--device", "cpu", "--output-format", "json"])
    entries = json.loads(capsys.readouterr().out)
    refuted = {
        entry["code"] or entry["name"]: entry["detail"] for entry in entries if entry["verdict"] == "refuted"
    }
    assert refuted == {}
    assert len([entry for entry in entries if entry["verdict"] == "confirmed"]) >= 70
