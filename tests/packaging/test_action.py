"""The scripts of the GitHub Action, run as a runner runs them, with a stand-in for `qalint`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32" or shutil.which("bash") is None, reason="needs bash")


def lint_step(tmp_path: Path, **inputs: str) -> tuple[list[str], str, int]:
    """What the lint step hands to `qalint`, what it writes as output, and its status."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    (step,) = [step for step in action["runs"]["steps"] if step.get("id") == "lint"]
    tool = tmp_path / "bin" / "qalint"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nfor a in "$@"; do echo "$a" >> {tmp_path}/arguments; done\nexit 1\n')
    tool.chmod(0o755)
    output = tmp_path / "output"
    output.touch()
    env = {
        **os.environ,
        "PATH": f"{tool.parent}:{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(output),
        "QALINT_ACTION_PATHS": inputs.get("paths", "."),
        "QALINT_ACTION_ARGS": inputs.get("args", ""),
        "QALINT_ACTION_SARIF": inputs.get("sarif", ""),
    }
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], env=env, check=False)
    return (tmp_path / "arguments").read_text().splitlines(), output.read_text(), done.returncode


def test_plain(tmp_path):
    arguments, output, status = lint_step(tmp_path)
    assert arguments == ["check", "--output-format", "github", "--", "."]
    assert output == ""
    assert status == 1, "findings fail the step"


def test_everything(tmp_path):
    arguments, output, _ = lint_step(
        tmp_path, paths="notebooks src/train.py", args="--fail-on high --preview", sarif="out.sarif"
    )
    assert arguments == [
        *("check", "--output-format", "github", "--fail-on", "high", "--preview"),
        *("--output", "sarif=out.sarif", "--", "notebooks", "src/train.py"),
    ]
    assert output == "sarif-file=out.sarif\n"


def test_text_of_inputs_is_never_run(tmp_path):
    evil = f"$(touch {tmp_path}/owned) `touch {tmp_path}/owned` ; touch {tmp_path}/owned"
    lint_step(tmp_path, paths=evil, args=evil, sarif=evil)
    assert not (tmp_path / "owned").exists()
