"""The two commands of the README, as `make` would run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32" or shutil.which("make") is None, reason="needs make")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`make` in a folder that holds what a fresh clone holds of it, and no environment."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    # The tests themselves may run under `make`, whose variables would make this one a sub-make.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=own,
    )


def test_lint_makes_an_environment_and_never_fails_on_findings(tmp_path):
    done = make(tmp_path, "--dry-run", "lint", "PATHS=notebooks train.py", "ARGS=--fail-on high")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any("-m venv .venv-lint" in line for line in lines)
    assert any("install --quiet --editable ." in line for line in lines)
    assert lines[-1].endswith("qalint check --exit-zero --fail-on high notebooks train.py")


def test_test_installs_with_the_constraints(tmp_path):
    done = make(tmp_path, "--dry-run", "test")
    assert done.returncode == 0, done.stderr
    assert '--constraint constraints.txt --editable ".[dev]"' in done.stdout
    assert done.stdout.splitlines()[-1].split()[:3] == [".venv/bin/python", "-m", "pytest"]


def test_the_environment_is_made_once(tmp_path):
    make(tmp_path, "--dry-run", "lint")
    ready = tmp_path / ".venv-lint" / "ready"
    ready.parent.mkdir()
    ready.touch()
    done = make(tmp_path, "--dry-run", "lint")
    assert "venv .venv-lint" in done.stdout, "copied afterwards: pyproject.toml is newer"
    ready.touch()
    done = subprocess.run(
        ["make", "--dry-run", "lint"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "venv .venv-lint" not in done.stdout


def test_without_a_python_it_says_what_it_needs(tmp_path):
    done = make(tmp_path, "lint", "PYTHON=")
    assert done.returncode == 2
    assert "qalint needs Python 3.11 or newer on PATH" in done.stderr


def test_the_python_that_is_found_is_new_enough(tmp_path):
    old = tmp_path / "bin" / "python3"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("python3.13", "python3.12"):
        (old.parent / name).write_text("#!/bin/sh\nexit 0\n")
        (old.parent / name).chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    done = subprocess.run(
        ["make", "--dry-run", "lint"],
        cwd=tmp_path,
        env={"PATH": f"{old.parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert '"python3.13" -m venv .venv-lint' in done.stdout
