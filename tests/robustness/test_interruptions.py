"""Runs that are stopped, meet a full disk or each other: files stay whole, nothing is lost, nothing hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qalint.cli import progress

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")

BAD = (
    "import torch\n\nfor p in torch.nn.Linear(2, 2).parameters():\n    p.require_grad = False\n" + "#\n" * 200
)
GOOD = BAD.replace("require_grad", "requires_grad")
SLOW = """
import time
from qalint.file import File
from qalint.rule import Rule, Section, Severity

class Whole:
    def __init__(self, text):
        self.text = text
    @classmethod
    def of(cls, file: File):
        return cls(file.source.text)

class Slow(Rule):
    \"\"\"Takes its time where the text says so.\"\"\"
    code = "SLOW01"
    severity = Severity.LOW
    def check(self, file: Whole):
        if "dawdle" in file.text:
            open("begun", "w").close()
            time.sleep(30)
        return ()

section = Section("slow", "Slow", [Slow], needles=[[b"dawdle"]])
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    for number in range(12):
        (folder / f"f{number}.py").write_text(BAD)
    (tmp_path / "slow_plugin.py").write_text(SLOW)
    return folder


def start(tree: Path, *arguments: str, limit: int | None = None, **streams: object) -> subprocess.Popen[str]:
    """`qalint check`; `limit`: no file may grow beyond so many bytes, as on a full disk."""

    def limited() -> None:
        import resource

        # Tests that run in the background of a shell inherit that Ctrl-C is ignored.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    env = {name: value for name, value in os.environ.items() if not name.startswith("QALINT_")}
    env |= {"NO_COLOR": "1", "PYTHONPATH": str(tree.parent), "XDG_CACHE_HOME": str(tree.parent / "home")}
    return subprocess.Popen(
        [sys.executable, "-m", "qalint", "check", *arguments],
        cwd=tree,
        env=env,
        text=True,
        preexec_fn=limited,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},  # type: ignore[call-overload]
    )


def contents(tree: Path) -> set[str]:
    return {path.read_text() for path in tree.glob("f*.py")}


def strays(tree: Path) -> list[str]:
    """Temporary files that somebody left behind."""
    return [path.name for path in tree.rglob("*") if path.name.endswith("tmp")]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_changes_no_file_and_leaves_no_process(tree: Path, number: int, status: int) -> None:
    (tree / "z.py").write_text("dawdle = 1\n")
    run = start(tree, "--plugin", "slow_plugin", "--extend-select", "SLOW01", "--fix", "-j", "2")
    deadline = time.monotonic() + 60
    while not (tree / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    began = time.monotonic()
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert run.returncode == status
    assert "Traceback" not in err
    assert time.monotonic() - began < 20, "the worker that sleeps for 30 seconds is not awaited"
    assert contents(tree) == {BAD}
    assert strays(tree) == []


def test_a_full_disk_is_told_and_loses_nothing(tree: Path) -> None:
    run = start(tree, "--fix", limit=100)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "cannot be written" in err and "Traceback" not in err
    assert contents(tree) == {BAD}
    assert strays(tree) == []
    run = start(tree, "--output-format", "json", limit=100)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (1, ""), "a cache that cannot be kept is no failure"
    assert len(json.loads(out)) == 12
    assert strays(tree) == []


def test_an_output_that_cannot_be_written_is_status_2(tree: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    run = start(tree, "--output-file", "/dev/full")
    assert "cannot be written" in run.communicate(timeout=60)[1]
    assert run.returncode == 2
    with open("/dev/full", "w") as full:
        run = start(tree, stdout=full)
        err = run.communicate(timeout=60)[1]
    assert run.returncode == 2
    assert "Traceback" not in err and len(err.splitlines()) == 1


def test_runs_at_once_fix_everything_once(tree: Path) -> None:
    runs = [start(tree, "--fix", "--output-format", "json", "-j", "2") for _ in range(4)]
    for run in runs:
        out, err = run.communicate(timeout=120)
        assert "Traceback" not in err and "error" not in err, err
        assert run.returncode in (0, 1)
        assert {item["code"] for item in json.loads(out)} <= {"QA1206"}
    assert contents(tree) == {GOOD}
    assert strays(tree) == []
    cached = start(tree, "--output-format", "json").communicate(timeout=60)[0]
    assert cached == start(tree, "--output-format", "json", "--no-cache").communicate(timeout=60)[0] == "[]\n"


def test_the_progress_bar_has_no_thread_and_gives_the_cursor_back() -> None:
    """Workers are forked while the bar is there, which no thread survives."""
    bar = progress.Progress()
    bar._began -= 10
    bar(1, 100)
    assert threading.active_count() == len(
        [t for t in threading.enumerate() if "refresh" not in t.name.lower()]
    )
    bar(100, 100)
    text = (
        "import sys\nfrom qalint.cli.progress import Progress\nbar = Progress()\nbar._began -= 10\n"
        "bar(1, 100)\nimport threading\nassert threading.active_count() == 1\nsys.exit(130)\n"
    )
    parent, child = pytest.importorskip("pty").openpty()
    done = subprocess.run([sys.executable, "-c", text], stderr=child, env={**os.environ, "TERM": "xterm"})
    os.close(child)
    shown = os.read(parent, 1 << 16)
    os.close(parent)
    assert done.returncode == 130
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
