"""A rule that got another code or name is found under the old one everywhere, and the user is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run

# The plugin's QA9901 `old-call` was once QA8801 `ancient-call`.
TOLD = {
    "QA8801": "`QA8801` in `--%s` is now `QA9901`",
    "ancient-call": "`ancient-call` in `--%s` is now `old-call`",
}


@pytest.mark.parametrize("word", TOLD)
def test_selecting_by_the_old_one(project: Path, run: Run, word: str) -> None:
    (project / "a.py").write_text("old(1)\nrisky(1)\n")
    ran = run("a.py", "--select", word)
    assert ran.codes == ["QA9901"]
    assert TOLD[word] % "select" + "; the old one still works." in ran.err
    ran = run("a.py", "--ignore", word)
    assert ran.codes == ["QA9902"]
    assert TOLD[word] % "ignore" in ran.err


def test_fixing_and_files(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old(1)\n")
    ran = run("a.py", "--per-file-ignores", "a.py:ancient-call")
    assert ran.codes == [] and "is now `old-call`" in ran.err
    ran = run("a.py", "--unfixable", "QA8801", "--fix")
    assert (project / "a.py").read_text() == "old(1)\n" and ran.codes == ["QA9901"]


def test_configuration_names_the_file_and_the_options_keep_working(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old(1)\n")
    (project / "qalint.toml").write_text('ignore = ["ancient-call"]\n')
    ran = run("a.py")
    assert ran.codes == []
    assert (
        "warning: `ancient-call` in `qalint.toml: ignore` is now `old-call`; the old one still works."
        in ran.err
    )


@pytest.mark.parametrize(
    ("comment", "told"),
    [
        (
            "# qalint: ignore[QA8801]",
            "The suppression of `QA8801` at a.py:1 still works; write `QA9901`, its name",
        ),
        (
            "# qalint: ignore[ancient-call] why",
            "The suppression of `ancient-call` at a.py:1 still works; write `old-call`",
        ),
        ("# noqa: QA8801", "write `QA9901`"),
    ],
)
def test_a_suppression_by_the_old_one(project: Path, run: Run, comment: str, told: str) -> None:
    (project / "a.py").write_text(f"old(1)  {comment}\n")
    for _ in range(2):  # the second run comes from the cache
        ran = run("a.py")
        assert (ran.status, ran.codes) == (0, [])
        assert told in ran.err
    assert run("a.py", "--ignore-suppressions").codes == ["QA9901"]


def test_several_suppressions_are_one_sentence(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old(1)  # noqa: QA8801\nold(2)  # noqa: QA8801\n")
    (project / "b.py").write_text("old(1)  # noqa: QA8801\n")
    assert run(".").err.count("still works") == 1
    assert "at a.py:1 and 2 more still works" in run(".").err


def test_an_idle_suppression_by_the_old_one_is_idle(project: Path, run: Run) -> None:
    (project / "a.py").write_text("x = max(1)  # qalint: ignore[QA8801]\n")
    assert run("a.py").codes == ["QA0004"]


def test_a_baseline_of_before_still_holds(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old(1)\n")
    run("a.py", "--write-baseline", "known.json")
    path = project / "known.json"
    path.write_text(path.read_text().replace("QA9901", "QA8801"))
    ran = run("a.py", "--baseline", "known.json")
    assert (ran.status, ran.codes) == (0, [])
    (project / "a.py").write_text("old(1)\nold(2)\n")
    assert run("a.py", "--baseline", "known.json").codes == ["QA9901"]


def test_sarif_names_the_codes_of_before(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old(1)\n")
    log = json.loads(run("a.py", format="sarif").out)
    (rule,) = log["runs"][0]["tool"]["driver"]["rules"]
    assert (rule["deprecatedIds"], rule["deprecatedNames"]) == (["QA8801"], ["ancient-call"])


def test_the_explanation_is_found(project: Path, run: Run) -> None:
    ran = run("ANCIENT-CALL", "--plugin", "demo_plugin", command="rule")
    assert ran.status == 0 and "old-call (QA9901)" in ran.out and "QA8801, ancient-call" in ran.out
    assert "`ancient-call` in `qalint rule` is now `old-call`" in ran.err


def test_a_former_name_belongs_to_one_rule(project: Path, run: Run, plugin_folder: Path) -> None:
    text = (plugin_folder / "demo_plugin.py").read_text()
    clash = text.replace('former = ("QA8801", "ancient-call")', 'former = ("risky-call",)')
    (project.parent / "clash").mkdir()
    (project.parent / "clash" / "clash_plugin.py").write_text(clash)
    import sys

    sys.path.insert(0, str(project.parent / "clash"))
    try:
        from qalint.cli import main

        assert main(["check", "--plugin", "clash_plugin"]) == 2
    finally:
        sys.path.remove(str(project.parent / "clash"))
