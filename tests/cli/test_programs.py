"""Findings that join several files, and several findings of one fault."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from qalint.cli.check import Check
from qalint.cli.flags import build_parser
from qalint.watch import watch

from .conftest import Run

HELPER = "def helper():\n    act()\n"
CALLER = "from helper import helper\n\nhelper()\n"


@pytest.fixture
def files(project: Path) -> None:
    (project / "helper.py").write_text(HELPER)
    (project / "a.py").write_text(CALLER)
    (project / "b.py").write_text(CALLER)


def places(ran: object) -> list[tuple[str, int, str]]:
    return [(Path(item["filename"]).name, item["location"]["row"], item["code"]) for item in ran.json]  # type: ignore[attr-defined]


@pytest.mark.usefixtures("files")
def test_stands_where_the_act_is_once(run: Run) -> None:
    for _ in range(2):
        ran = run()
        assert places(ran) == [("helper.py", 2, "QA9912")]
        assert Path(ran.json[0]["related"][0]["filename"]).name == "a.py"


@pytest.mark.usefixtures("files")
def test_moves_to_the_call_if_the_file_is_not_linted(run: Run) -> None:
    for _ in range(2):
        ran = run("a.py")
        assert places(ran) == [("a.py", 3, "QA9912")]
        act = ran.json[0]["related"][0]
        assert (Path(act["filename"]).name, act["location"]["row"]) == ("helper.py", 2)
    assert places(run()) == [("helper.py", 2, "QA9912")], "what is cached for one list does not serve another"


@pytest.mark.usefixtures("files")
def test_changes_of_other_files_are_seen(project: Path, run: Run) -> None:
    assert places(run("a.py")) == [("a.py", 3, "QA9912")]
    (project / "helper.py").write_text("def helper():\n    pass\n")
    assert places(run("a.py")) == []
    (project / "helper.py").unlink()
    assert places(run("a.py")) == []
    (project / "helper").mkdir()
    (project / "helper" / "__init__.py").write_text(HELPER)
    assert places(run("a.py")) == [("a.py", 3, "QA9912")]


@pytest.mark.usefixtures("files")
def test_suppression_where_the_act_stands(project: Path, run: Run) -> None:
    (project / "helper.py").write_text("def helper():\n    act()  # qalint: ignore[QA9912]\n")
    assert places(run()) == []
    assert places(run("helper.py")) == [], "a run that does not see the callers does not judge it"
    (project / "a.py").unlink()
    (project / "b.py").unlink()
    assert places(run()) == [("helper.py", 2, "QA0004")]


@pytest.mark.usefixtures("files")
def test_per_file_ignores_hold_where_the_finding_stands(run: Run) -> None:
    assert places(run("--per-file-ignores", "a.py:QA9912,b.py:QA9912")) == []
    assert places(run("--per-file-ignores", "helper.py:QA9912")) == []


def test_the_specific_finding_silences_the_general(project: Path, run: Run) -> None:
    (project / "a.py").write_text("both()\n")
    assert run().codes == ["QA9914"]
    assert run("--ignore", "QA9914").codes == ["QA9913"]
    (project / "a.py").write_text("both()  # qalint: ignore[QA9914]\n")
    assert run().codes == []


def test_watch_runs_again_after_a_change(
    project: Path, run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qalint.watch.INTERVAL", 0.02)
    (project / "a.py").write_text("old()\n")

    def change() -> None:
        time.sleep(0.5)
        (project / "a.py").write_text("new()\n")

    thread = threading.Thread(target=change)
    thread.start()
    arguments = build_parser().parse_args(
        ["--plugin", "demo_plugin", "--output-format", "concise", "-j", "0"]
    )
    assert watch(arguments, Check, rounds=2) == 0
    thread.join()
    out = capfd.readouterr().out
    assert out.index("QA9901") < out.index("All checks passed!")


def test_watch_sees_a_configuration_above(project: Path) -> None:
    from qalint.watch import _state

    (project / "src").mkdir()
    (project / "src" / "a.py").write_text("")
    before = _state([str(project / "src")])
    (project / "qalint.toml").write_text('ignore = ["QA11"]\n')
    after = _state([str(project / "src")])
    assert set(after) - set(before) == {str(project / "qalint.toml")}
