"""Where there is no `fork`: everything that POSIX alone has stands behind a test of it, and runs go on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qalint import pool
from qalint.errors import UsageError

ROOT = Path(__file__).parents[2]
GUARDED = {
    "qalint/pool.py": "CAN_FORK",
    "qalint/runner.py": "except AttributeError",
    "qalint/harness/limits.py": "if not POSIX:",
    "qalint/harness/zygote.py": "if POSIX:",
}
"""The files that use what POSIX alone has, and what guards it there."""


def test_nothing_of_posix_stands_elsewhere(tmp_path: Path) -> None:
    """mypy reads the code as for Windows: whatever is not there is an error, and all of them are known."""
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--platform", "win32", "--cache-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    missing = re.findall(r"^(\S+?):\d+: error: Module has no attribute", done.stdout, re.MULTILINE)
    assert {path.replace(os.sep, "/") for path in missing} == set(GUARDED), done.stdout
    for path, guard in GUARDED.items():
        assert guard in (ROOT / path).read_text(encoding="utf-8"), path


def work(number: int) -> int:
    if number == 2:
        raise ValueError("no luck")
    if number == 4:
        raise UsageError("Something is wrong.")
    return number * 10


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("forks", [True, False])
def test_a_failing_job_costs_one_job(monkeypatch: pytest.MonkeyPatch, workers: int, forks: bool) -> None:
    monkeypatch.setattr(pool, "CAN_FORK", forks and pool.CAN_FORK)
    done = sorted(pool.run([1, 2, 3], work, workers))
    assert [(item.number, item.result) for item in done] == [(1, 10), (2, None), (3, 30)]
    assert done[1].failure is not None and "no luck" in done[1].failure
    with pytest.raises(UsageError):
        list(pool.run([4], work, workers))


def test_a_run_without_fork_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text((ROOT / "docs/example/train.py").read_text("utf-8"), "utf-8")
    (tmp_path / "broken.py").write_text("import torch\nx = = 1\n")
    program = (
        "import os, sys\nif sys.argv[1] == 'no':\n    del os.fork, os.sched_getaffinity\n"
        "from qalint.cli import main\n"
        "sys.exit(main(['check', '--isolated', '--no-cache', '--output-format', 'json']))"
    )
    outputs = []
    for fork in ("yes", "no"):
        done = subprocess.run(
            [sys.executable, "-c", program, fork], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (1, "")
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] and "QA1105" in outputs[0] and "QA0002" in outputs[0]
