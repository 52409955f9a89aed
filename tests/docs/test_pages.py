"""The pages: the site builds strictly, and every command they show is one that qalint has."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from qalint.cli import completion
from qalint.registry import catalog
from qalint.settings import KEYS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def shown_commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every line `$ qalint ...` and of every `qalint ...` in backticks."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = re.findall(r"^\$ (?:[A-Z_]+=\S+ )*(qalint .*)$", text, flags=re.MULTILINE)
        lines += re.findall(r"`(qalint [a-z][^`]*)`", text)
        for line in lines:
            line = line.replace(r"\|", "|").split(" | ")[0]
            found.append((page.name, shlex.split(line, comments=True)[1:]))
    return found


@pytest.fixture(scope="module")
def commands():
    return {command.name: command for command in completion.commands()}


@pytest.mark.parametrize(
    ("page", "words"),
    shown_commands(),
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:60],
)
def test_a_shown_command_exists(page, words, commands):
    assert words[0] in commands, page
    known = {name for flag in commands[words[0]].flags for name in flag.names}
    used = {word.partition("=")[0] for word in words[1:] if word.startswith("-") and word != "-"}
    assert used <= known, f"{page}: {used - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_flags_and_keys_in_the_text_exist(page, commands):
    text = page.read_text(encoding="utf-8")
    known = {name for command in commands.values() for flag in command.flags for name in flag.names}
    shown = set(re.findall(r"`(--[a-z][a-z-]*)", text)) - {"--no-deps"}
    assert shown <= known, f"{page.name}: {shown - known}"
    for block in re.findall(r"\[tool\.qalint\]\n((?:[a-z-]+ = .*\n)+)", text):
        assert {line.partition(" =")[0] for line in block.splitlines()} <= set(KEYS)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_rules_in_the_text_exist(page):
    text = page.read_text(encoding="utf-8")
    rules = catalog().rules
    for code in re.findall(r"\bQA\d{4}\b", text):
        assert code in rules, f"{page.name} names {code}"
    for name in re.findall(r"qalint rule ([a-z]+(?:-[a-z]+)+)", text):
        assert name in catalog().names, f"{page.name} names {name}"


def test_the_site_builds_strictly_with_a_page_for_every_rule(tmp_path):
    pytest.importorskip("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for rule in catalog().rules.values():
        page = tmp_path / "rules" / rule.name / "index.html"
        assert rule.code in page.read_text(encoding="utf-8")
    configuration = (tmp_path / "configuration" / "index.html").read_text(encoding="utf-8")
    assert all(f"<code>{key}</code>" in configuration for key in KEYS)


def test_the_readme_shows_what_qalint_says():
    """The example of the README is the real output on docs/example/train.py, character for character."""
    done = subprocess.run(
        [sys.executable, "-m", "qalint", "check", "--isolated", "--no-cache", "train.py"],
        cwd=ROOT / "docs/example",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("$ qalint check train.py\n")[2].partition("```")[0]
    assert shown == done.stdout
