"""What `qalint check` promises about paths, statuses, errors and outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Run


def test_clean_file_is_status_0(project: Path, run: Run) -> None:
    (project / "a.py").write_text("new()\n")
    ran = run("a.py")
    assert (ran.status, ran.out, ran.err) == (0, "[]\n", "")


def test_findings_are_status_1_and_sorted(project: Path, run: Run) -> None:
    (project / "b.py").write_text("old()\nold()\n")
    (project / "a.py").write_text("x = 1\nrisky(old())\n")
    ran = run()
    assert ran.status == 1
    places = [(Path(item["filename"]).name, item["location"], item["code"]) for item in ran.json]
    assert places == [
        ("a.py", {"row": 2, "column": 1}, "QA9902"),
        ("a.py", {"row": 2, "column": 7}, "QA9901"),
        ("b.py", {"row": 1, "column": 1}, "QA9901"),
        ("b.py", {"row": 2, "column": 1}, "QA9901"),
    ]
    assert os.path.isabs(ran.json[0]["filename"])


def test_missing_path(run: Run) -> None:
    ran = run("nosuch.py")
    assert ran.status == 2
    assert ran.err == "error: The path nosuch.py does not exist.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--select", "QA9991"], "Unknown rule `QA9991` in `--select` (did you mean `QA99"),
        (["--ignore", "old-cal"], "Unknown rule `old-cal` in `--ignore` (did you mean `old-call`?)."),
        (["--selct", "QA11"], "Unknown option `--selct` (did you mean `--select`?)."),
        (["--config", "nosuch.toml"], "The configuration nosuch.toml does not exist."),
        (["--config", "selct = ['A']"], "--config has an unknown key `selct` (did you mean `select`?)."),
        (["--plugin", "no_such_plugin"], "The plugin `no_such_plugin` cannot be loaded"),
        (["--why", "a.py"], "`--why a.py` is not of the form FILE:LINE."),
        (["--baseline", "nosuch.json"], "The baseline nosuch.json cannot be read"),
        (["--output", "sarf=x"], "`--output sarf=x` names an unknown format (did you mean `sarif`?)."),
        (
            ["--output", "sarif"],
            "`--output sarif` is not of the form FORMAT=FILE, such as sarif=qalint.sarif.",
        ),
        (
            ["--fail-on", "hgh"],
            "`--fail-on` cannot be `hgh` (did you mean `high`?); it is one of `critical`, ",
        ),
        (["--jobs", "-1"], "`--jobs`: `-1` is not a whole number."),
        (["--jobs", "two"], "`--jobs`: `two` is not a whole number."),
        (
            ["--baseline", "list.json"],
            "The baseline list.json is not one of qalint; make it anew with --write",
        ),
        (["--baseline", "half.json"], "The baseline half.json is not valid JSON (Expecting "),
    ],
)
def test_wrong_options_are_one_plain_sentence(
    project: Path, run: Run, arguments: list[str], sentence: str
) -> None:
    (project / "a.py").write_text("")
    (project / "list.json").write_text("[]")
    (project / "half.json").write_text("{")
    ran = run("a.py", *arguments)
    assert ran.status == 2
    assert ran.err.startswith("error: " + sentence)
    assert ran.err.count("\n") == 1
    assert ran.out == "", "nothing is linted before everything is understood"


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        ("rule", [], "Name one rule, or give --all."),
        (
            "rule",
            ["QA1105", "--output-format", "xml"],
            "`--output-format` cannot be `xml`; it is one of `text`, ",
        ),
        ("report", ["--fail-on", "hihg"], "`--fail-on` cannot be `hihg` (did you mean `high`?)"),
        ("schema", ["x"], "Unknown argument `x`."),
        ("clean", ["--al"], "Unknown option `--al`"),
        ("generate-shell-completion", ["basch"], "`shell` cannot be `basch` (did you mean `bash`?)"),
    ],
)
def test_wrong_arguments_of_other_commands_too(
    run: Run, command: str, arguments: list[str], sentence: str
) -> None:
    ran = run(*arguments, command=command)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: " + sentence)


def test_unknown_config_key_and_value(project: Path, run: Run) -> None:
    (project / "a.py").write_text("")
    (project / "qalint.toml").write_text("fail-onn = 'low'\n")
    ran = run("a.py")
    assert ran.status == 2
    assert ran.err == (
        "error: The configuration qalint.toml has an unknown key `fail-onn` (did you mean `fail-on`?).\n"
    )
    (project / "qalint.toml").write_text("fail-on = 'hihg'\n")
    assert "none of `critical`, `high`, `medium`, `low` (did you mean `high`?)" in run("a.py").err


def test_plugin_that_raises_on_import(project: Path, run: Run, plugin_folder: Path) -> None:
    (plugin_folder / "broken_plugin.py").write_text("raise RuntimeError('not today')\n")
    ran = run("--plugin", "broken_plugin")
    assert ran.status == 2
    assert "The plugin `broken_plugin` cannot be loaded" in ran.err
    assert "RuntimeError: not today" in ran.err


def test_rule_that_raises_keeps_other_findings(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()\ncrash_rule = f()\n")
    (project / "b.py").write_text("old()\n")
    ran = run()
    assert ran.status == 2
    assert sorted(ran.codes) == ["QA0003", "QA9901", "QA9901"]
    message = next(item["message"] for item in ran.json if item["code"] == "QA0003")
    assert "the rule QA9906 (crashing) failed" in message
    assert "RuntimeError: no luck" in message
    assert ran.err == "error: qalint failed on a.py; the QA0003 findings say where.\n"


def test_analysis_that_raises_is_named_once(project: Path, run: Run) -> None:
    (project / "a.py").write_text("break_analysis = f()\n")
    ran = run()
    assert ran.status == 2
    assert ran.codes == ["QA0003"]
    assert "the analysis Calls failed" in ran.json[0]["message"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_worker_that_dies_costs_one_file(project: Path, run: Run) -> None:
    for name, text in (("a.py", "old()\n"), ("b.py", "kill_worker = f()\n"), ("c.py", "old()\n")):
        (project / name).write_text(text)
    ran = run("--jobs", "1")
    assert ran.status == 2
    assert [(Path(item["filename"]).name, item["code"]) for item in ran.json] == [
        ("a.py", "QA9901"),
        ("b.py", "QA0003"),
        ("c.py", "QA9901"),
    ]
    assert "SIGABRT" in ran.json[1]["message"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_worker_that_hangs_costs_one_file(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from qalint import pool

    monkeypatch.setattr(pool, "WALL_SECONDS", 2)
    (project / "a.py").write_text("hang_worker = f()\n")
    ran = run("a.py", "--jobs", "1")
    assert (ran.status, ran.codes) == (2, ["QA0003"])
    assert "took longer than 2 seconds" in ran.json[0]["message"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_worker_that_never_ends_costs_one_file(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qalint import pool

    monkeypatch.setattr(pool, "SECONDS", 0.5)
    (project / "a.py").write_text("spin_worker = f()\n")
    (project / "b.py").write_text("old()\n")
    ran = run("--jobs", "1")
    assert (ran.status, ran.codes) == (2, ["QA0003", "QA9901"])
    assert "more than 0.5 seconds of processor time" in ran.json[0]["message"]


def test_syntax_error_with_its_line(project: Path, run: Run) -> None:
    (project / "a.py").write_text("x = 1\ndef f(:\n")
    ran = run("a.py")
    assert ran.status == 1
    assert ran.codes == ["QA0002"]
    assert ran.json[0]["location"]["row"] == 2


def test_syntax_error_in_a_folder_of_irrelevant_files(project: Path, run: Run) -> None:
    (project / "a.py").write_text("x = = 1\n")
    (project / "b.py").write_text("x = 1\n")
    assert run().codes == ["QA0002"]


def test_unreadable_file(project: Path, run: Run) -> None:
    (project / "a.py").write_bytes(b"x = '\xff'\n")
    (project / "b.py").write_text("old()\n")
    ran = run()
    assert ran.status == 1
    assert ran.codes == ["QA0001", "QA9901"]
    assert "byte 5 (line 1) is not valid UTF-8" in ran.json[0]["message"]


def test_unreadable_and_broken_files_cannot_be_ignored(project: Path, run: Run) -> None:
    (project / "a.py").write_bytes(b"\xff")
    (project / "b.py").write_text("# qalint: file-ignore[QA0002]\ndef f(:\n")
    assert run("--ignore", "QA0001,QA0002").codes == ["QA0001", "QA0002"]
    assert run("--write-baseline", "known.json").status == 0
    assert run("--baseline", "known.json").codes == ["QA0001", "QA0002"]


@pytest.mark.parametrize("jobs", ["0", "1"])
def test_failure_of_the_engine_itself_is_told(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch, jobs: str
) -> None:
    from qalint import linter

    def fail(*_: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(linter.Linter, "lint", fail)
    (project / "a.py").write_text("old()\n")
    ran = run("a.py", "--jobs", jobs)
    assert ran.status == 2
    assert "KeyError: 'lost' at test_check.py:" in ran.json[0]["message"]


def test_empty_folder_warns(run: Run) -> None:
    ran = run()
    assert ran.status == 0
    assert ran.err == "warning: Nothing was checked: no Python file or notebook was found.\n"


def test_excluded_file_warns(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()\n")
    ran = run("a.py", "--exclude", "a.py", "--force-exclude")
    assert (ran.status, ran.out) == (0, "[]\n")
    assert ran.err == "warning: Nothing was checked: a.py is excluded.\n"
    assert run("a.py", "--exclude", "a.py").status == 1


def test_markdown_without_cells_warns(project: Path, run: Run) -> None:
    (project / "a.md").write_text("# Title\n\n```python\nold()\n```\n")
    ran = run("a.md")
    assert (ran.status, ran.out) == (0, "[]\n")
    assert ran.err == "warning: Nothing was checked: the Markdown files have no marimo cells.\n"


def test_fail_on_and_exit_zero(project: Path, run: Run) -> None:
    (project / "a.py").write_text("risky()\n")
    assert run("a.py").status == 1
    ran = run("a.py", "--fail-on", "high")
    assert (ran.status, ran.codes) == (0, ["QA9902"])
    assert run("a.py", "--exit-zero").status == 0
    assert run("nosuch.py", "--exit-zero").status == 2


def test_min_confidence(project: Path, run: Run) -> None:
    (project / "a.py").write_text("maybe()\n")
    assert run("a.py").codes == []
    assert run("a.py", "--min-confidence", "medium").codes == ["QA9904"]


def test_stdin(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    def given(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    given("old()\n")
    assert [(item["filename"], item["code"]) for item in run("-").json] == [("-", "QA9901")]
    given("old()\n")
    ran = run("-", "--stdin-filename", "sub/b.py")
    assert ran.json[0]["filename"] == str(project / "sub" / "b.py")
    given("old()\n")
    ran = run("-", "--fix", "--stdin-filename", "b.py", format="concise")
    assert ran.out == "new()\n"
    assert "1 fixed" in ran.err
    assert not (project / "b.py").exists()


def test_two_runs_and_any_jobs_print_the_same_bytes(project: Path, run: Run) -> None:
    for number in range(12):
        (project / f"f{number}.py").write_text(f"x = {number}\nold(risky(), broken())\n")
    cold = run("--jobs", "1", "--no-cache").out
    assert len(json.loads(cold)) == 36
    assert run("--jobs", "2", "--no-cache").out == cold
    assert run("--jobs", "0", "--no-cache").out == cold
    assert run().out == cold
    assert run().out == cold


def test_outputs_beside_the_terminal(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()\n")
    ran = run("--output", "json=out/x.json", "--output", "concise=x.txt", format="concise")
    assert "a.py:1:1: QA9901" in ran.out
    assert [item["code"] for item in json.loads((project / "out" / "x.json").read_text())] == ["QA9901"]
    assert "a.py:1:1: QA9901" in (project / "x.txt").read_text()
    ran = run("--output-file", "y.json")
    assert ran.out == ""
    assert len(json.loads((project / "y.json").read_text())) == 1


def test_statistics(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()\nold()\nrisky()\n")
    ran = run("--statistics", format="concise")
    assert [line.split()[:2] for line in ran.out.splitlines()[:2]] == [["2", "QA9901"], ["1", "QA9902"]]


def test_quiet_prints_findings_and_nothing_else(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old(1)\n")
    (project / "b.py").write_text("new(1)\n")
    assert run("b.py", "-q", format="full").out == ""
    for format in ("full", "concise", "grouped"):
        loud, quiet = run("a.py", format=format), run("a.py", "-q", format=format)
        assert quiet.status == 1 and quiet.err == ""
        assert quiet.out and loud.out.startswith(quiet.out) and len(quiet.out) < len(loud.out)
    ran = run("a.py", "-q", "--fix", "--show-fixes", format="full")
    assert ran.out.splitlines() == ["Fixed 1 finding:", "- a.py:", "    1 × QA9901 (old-call)", ""]


def test_quiet_and_verbose(project: Path, run: Run) -> None:
    (project / "a.py").write_text("new()\n")
    assert run("a.py", "--exclude", "a.py", "--force-exclude", "-q").err == ""
    told = run("a.py", "-v", "--no-cache").err
    assert "1 files" in told
    assert "tiers: the bytes left 1 files to the rules, the tree left 1 to the analyses" in told


def test_show_files_and_settings(project: Path, run: Run) -> None:
    (project / "a.py").write_text("")
    (project / "b.txt").write_text("")
    assert run("--show-files").out == f"{project / 'a.py'}\n"
    assert 'fail-on = "low"' in run("--show-settings").out


def test_why_tells_what_is_hidden(project: Path, run: Run) -> None:
    (project / "a.py").write_text("maybe()\nold()  # qalint: ignore[QA9901]\nx = 1\n")
    assert "its confidence is medium" in run("--why", "a.py:1").out
    assert "hidden by a suppression comment" in run("--why", "a.py:2").out
    assert run("--why", "nosuch.py:1").status == 2


def test_arguments_from_a_file(project: Path, run: Run) -> None:
    (project / "a.py").write_text("risky()\nold()\n")
    (project / "args").write_text("--select\nQA9901\na.py\n")
    assert run("@args").codes == ["QA9901"]


def test_unknown_command(run: Run) -> None:
    ran = run(command="chekc")
    assert ran.status == 2
    assert ran.err == "error: Unknown command `chekc` (did you mean `check`?).\n"


def test_module_does_not_import_from_the_working_folder(project: Path) -> None:
    (project / "json.py").write_text("raise SystemExit('imported from the repository under lint')\n")
    (project / "argparse.py").write_text("raise SystemExit('imported from the repository under lint')\n")
    done = subprocess.run(
        [sys.executable, "-m", "qalint", "check", "--output-format", "json", "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[]\n", done.stderr


def test_closed_pipe_is_no_traceback(project: Path) -> None:
    (project / "a.py").write_text("def f(:\n")
    done = subprocess.run(
        f"{sys.executable} -m qalint check --output-format json --no-cache | true",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
