"""The hooks under the real pre-commit, with whole and partial file lists.

The definitions are those of `.pre-commit-hooks.yaml`; only the environment is the one that runs the
tests (`language: system`), so that nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

NOTEBOOK = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    return (mo,)


@app.cell
def _(mo):
    mo.ui.table([1, 2], page_size=500)
    return
"""
SCALING = """\
import torch

scaler = torch.amp.GradScaler("cuda")


def backward(loss):
    scaler.scale(loss).backward()


def finish(optimizer):
    scaler.step(optimizer)
    scaler.update()
"""
TRAIN = """\
import torch

from scaling import backward, finish

model = torch.nn.Linear(2, 2).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for batch in torch.zeros(8, 4, 2).cuda():
    optimizer.zero_grad()
    with torch.autocast("cuda", dtype=torch.float16):
        loss = model(batch).sum()
    backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    finish(optimizer)
"""


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
        for hook in hooks:
            command, _, rest = hook["entry"].partition(" ")
            assert command == "qalint"
            hook["language"] = "system"
            hook["entry"] = f"{sys.executable} -m qalint {rest}"
        config = {"repos": [{"repo": "local", "hooks": hooks}]}
        self.write(".pre-commit-config.yaml", yaml.safe_dump(config))
        self.write("pyproject.toml", '[tool.qalint]\nextend-exclude = ["old"]\n')
        self.write("clean.py", "import os\n")
        self.write("README.md", "# Notes\n\n```python\nimport torch\n```\n")
        self.write("notebook.py", NOTEBOOK)
        self.write("old/notebook.py", NOTEBOOK)
        self.write("src/scaling.py", SCALING)
        self.write("src/train.py", TRAIN)
        self.git("init", "--quiet")
        self.git("add", ".")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True)

    def run(self, hook: str, *arguments: str) -> tuple[int, str]:
        env = {**os.environ, "PRE_COMMIT_HOME": str(self.folder / ".home"), "QALINT_OUTPUT_FORMAT": "concise"}
        done = subprocess.run(
            [sys.executable, "-m", "pre_commit", "run", "--color", "never", hook, *arguments],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def test_all_files(repository):
    status, said = repository.run("qalint", "--all-files")
    assert status == 1
    assert "notebook.py:14:" in said and "QA1608" in said
    assert "src/train.py:12:5: QA1105" in said
    assert "old/notebook.py:" not in said, "excluded by the configuration"


def test_files_without_faults_pass(repository):
    status, said = repository.run("qalint", "--files", "clean.py", "README.md", "src/scaling.py")
    assert (status, "Passed" in said) == (0, True), said


def test_an_excluded_file_stays_out_although_it_is_named(repository):
    status, said = repository.run("qalint", "--files", "old/notebook.py")
    assert (status, "QA1608" in said) == (0, False), said


def test_a_fault_over_two_files_is_found_in_the_file_that_is_committed(repository):
    status, said = repository.run("qalint", "--files", "src/train.py")
    assert status == 1
    assert "src/train.py:12:5: QA1105" in said


def test_the_fixing_hook_fails_once_and_then_passes(repository):
    status, said = repository.run("qalint-fix", "--files", "notebook.py")
    assert status == 1
    assert "files were modified by this hook" in said
    text = (repository.folder / "notebook.py").read_text(encoding="utf-8")
    assert text == NOTEBOOK.replace("500", "50")
    repository.git("add", ".")
    status, said = repository.run("qalint-fix", "--files", "notebook.py")
    assert status == 0, said
