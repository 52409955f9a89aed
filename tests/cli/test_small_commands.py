"""`config`, `clean`, `version`, help, and two runs at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qalint import __version__
from qalint.cli import COMMANDS
from qalint.settings import KEYS

from .conftest import Run


def test_version(run: Run) -> None:
    assert run(command="version").out == f"qalint {__version__}\n"
    assert run(command="--version").out == f"qalint {__version__}\n"
    assert json.loads(run("--output-format", "json", command="version").out) == {"version": __version__}


def test_config(run: Run) -> None:
    assert run(command="config").out.split() == list(KEYS)
    explained = run("fail-on", command="config").out
    assert "One of: critical, high, medium, low" in explained
    assert 'fail-on = "low"' in explained
    assert (
        json.loads(run("fail-on", "--output-format", "json", command="config").out)["fail-on"]["default"]
        == "low"
    )
    ran = run("fail-onn", command="config")
    assert (ran.status, ran.err) == (2, "error: Unknown key `fail-onn` (did you mean `fail-on`?).\n")


def test_help_names_every_command(run: Run) -> None:
    shown = run(command="--help").out
    for command in COMMANDS:
        assert command in shown or command == "schema"
    with pytest.raises(SystemExit) as stopped:
        run("--help")
    assert stopped.value.code == 0


@pytest.mark.parametrize("command", ["check", "config", "clean", "version"])
def test_parsers_are_there_for_completion(command: str) -> None:
    from importlib import import_module

    module = import_module(f"qalint.cli.{COMMANDS[command]}")
    assert module.build_parser().prog == f"qalint {command}"


def test_two_fixing_runs_at_once_lose_nothing(project: Path, plugin_folder: Path) -> None:
    for number in range(30):
        (project / f"f{number}.py").write_text(f"x = {number}\nold(old())\n")
    environment = {**os.environ, "PYTHONPATH": str(plugin_folder)}
    command = [sys.executable, "-m", "qalint", "check", "--plugin", "demo_plugin", "--fix", "-q"]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert {process.wait() for process in running} <= {0, 1}
    for number in range(30):
        assert (project / f"f{number}.py").read_text() == f"x = {number}\nnew(new())\n"
    assert {path.suffix for path in project.iterdir() if path.is_file()} == {".py"}
    assert subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 0
