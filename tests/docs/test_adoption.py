"""docs/adoption.md, step by step, on a small old repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    return (mo,)


@app.cell
def _():
    _rows = [1, 2, 3]
    return


@app.cell
def _(mo):
    mo.callout(mo.md("careful"), kind="warning")
    return


@app.cell
def _(mo):
    mo.ui.table(_rows, page_size=500)
    return


if __name__ == "__main__":
    app.run()
"""


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "notebooks").mkdir()
        for name in ("loss", "churn", "sales"):
            (folder / "notebooks" / f"{name}.py").write_text(NOTEBOOK, encoding="utf-8")
        self.git("init", "--quiet")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "old")

    def git(self, *arguments: str) -> None:
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)

    def qalint(self, *arguments: str, folder: str = ".") -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("QALINT_")}
        return subprocess.run(
            [sys.executable, "-m", "qalint", "check", *arguments],
            cwd=self.folder / folder,
            env={**env, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    if shutil.which("git") is None:
        pytest.skip("needs git")
    return Repository(tmp_path_factory.mktemp("old"))


def test_1_see_what_is_there(old):
    done = old.qalint("--statistics")
    assert done.returncode == 1
    assert "3  QA1606  [ ] invalid-callout-kind\n" in done.stdout
    assert "[*] 3 fixable with `--fix`." in done.stdout
    assert "QA1608" not in old.qalint("--ignore", "page-size-out-of-range", "--statistics").stdout


def test_2_take_the_safe_fixes(old):
    before = (old.folder / "notebooks/loss.py").read_text(encoding="utf-8")
    diff = old.qalint("--diff")
    assert "+    mo.ui.table(_rows, page_size=50)" in diff.stdout
    assert (old.folder / "notebooks/loss.py").read_text(encoding="utf-8") == before
    old.qalint("--fix")
    after = (old.folder / "notebooks/loss.py").read_text(encoding="utf-8")
    assert after == before.replace("page_size=500", "page_size=50")
    old.git("commit", "--quiet", "--all", "--message", "safe fixes")


def test_3_write_down_the_rest(old):
    done = old.qalint("--write-baseline", "qalint-baseline.json")
    assert done.returncode == 0
    (old.folder / "pyproject.toml").write_text('[tool.qalint]\nbaseline = "qalint-baseline.json"\n', "utf-8")
    old.git("add", ".")
    old.git("commit", "--quiet", "--message", "known findings")
    done = old.qalint()
    assert done.returncode == 0
    assert re.fullmatch(r"All checks passed!\nNot shown: \d+ known findings of the baseline\.\n", done.stdout)
    assert old.qalint(folder="notebooks").returncode == 0, "from a subfolder too"


def test_4_moved_lines_and_renamed_files_stay_known(old):
    path = old.folder / "notebooks/churn.py"
    path.write_text("# moved\n\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    old.git("mv", "notebooks/sales.py", "notebooks/revenue.py")
    assert old.qalint().returncode == 0


def test_5_a_new_finding_fails_even_of_the_same_rule_in_the_same_file(old):
    path = old.folder / "notebooks/loss.py"
    text = path.read_text(encoding="utf-8")
    cell = '@app.cell\ndef _(mo):\n    mo.callout(mo.md("again"), kind="warning")\n    return\n\n\n'
    path.write_text(text.replace("if __name__", cell + "if __name__"), encoding="utf-8")
    done = old.qalint("--output-format", "concise")
    assert done.returncode == 1
    assert done.stdout.count("QA1606") == 2, "the finding, and the line on how to have it explained"
    assert "Found 1 finding in 1 file" in done.stdout
    path.write_text(text, encoding="utf-8")


def test_6_known_findings_can_be_seen_and_the_baseline_shrinks(old):
    done = old.qalint("--no-baseline", "--select", "QA1606")
    assert done.returncode == 1
    assert "Found 3 findings" in done.stdout
    old.qalint("--select", "QA1606", "--unsafe-fixes", "--fix", "--no-baseline")
    size = (old.folder / "qalint-baseline.json").stat().st_size
    assert old.qalint("--write-baseline", "qalint-baseline.json").returncode == 0
    assert (old.folder / "qalint-baseline.json").stat().st_size < size
    assert old.qalint().returncode == 0


def test_7_or_suppressions_in_bulk(old):
    done = old.qalint("--no-baseline", "--add-ignore=before qalint")
    assert done.returncode == 0
    assert re.search(r"Added suppressions for \d+ findings\.", done.stderr)
    assert "could not be suppressed" not in done.stderr
    assert "# qalint: ignore[QA1301] before qalint" in (old.folder / "notebooks/loss.py").read_text("utf-8")
    assert old.qalint("--no-baseline").returncode == 0
