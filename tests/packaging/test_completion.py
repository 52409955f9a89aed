"""Completion scripts: made for every command, valid in their shell, and in bash tried out."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from qalint.cli import COMMANDS, completion, main


@pytest.fixture(scope="module")
def commands():
    return completion.commands()


def complete(script: str, *words: str) -> list[str]:
    """What bash offers for the last word."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    typed = " ".join(f"'{word}'" for word in words)
    program = (
        f"{script}\nCOMP_WORDS=({typed})\nCOMP_CWORD={len(words) - 1}\n_qalint\n"
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run([bash, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_offers_commands_flags_values_and_rules(commands):
    script = completion.bash(commands)
    assert set(complete(script, "qalint", "")) == set(COMMANDS)
    assert complete(script, "qalint", "che") == ["check", "checklist"]
    assert complete(script, "qalint", "check", "--unsafe") == ["--unsafe-fixes"]
    assert complete(script, "qalint", "check", "--output-format", "sa") == ["sarif"]
    assert complete(script, "qalint", "check", "--fail-on", "cr") == ["critical"]
    assert complete(script, "qalint", "check", "--select", "QA0004") == ["QA0004"]
    assert complete(script, "qalint", "rule", "unused-supp") == ["unused-suppression"]
    assert complete(script, "qalint", "generate-shell-completion", "z") == ["zsh"]


def test_bash_offers_files(commands, tmp_path, monkeypatch):
    (tmp_path / "notebook.py").touch()
    monkeypatch.chdir(tmp_path)
    script = completion.bash(commands)
    assert complete(script, "qalint", "check", "note") == ["notebook.py"]
    assert complete(script, "qalint", "check", "--baseline", "note") == ["notebook.py"]


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_shell_is_offered_every_command_and_long_flag(shell, commands, capsys):
    assert completion.main([shell]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#")
    for command in commands:
        assert command.name in script
        for flag in command.flags:
            for name in flag.names:
                if name.startswith("--"):
                    assert (f"-l {name[2:]}" if shell == "fish" else name) in script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_accepts_the_script(shell, commands, tmp_path):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    path = tmp_path / "script"
    path.write_text(getattr(completion, shell)(commands), encoding="utf-8")
    done = subprocess.run([program, "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_shell_is_status_2(capsys):
    assert main(["generate-shell-completion", "tcsh"]) == 2
    assert capsys.readouterr().err.startswith("error: `shell` cannot be `tcsh`")
