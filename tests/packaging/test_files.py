"""What is installed, and the files that pre-commit, GitHub and GitLab read: by their own parsers."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CI_PAGE = (ROOT / "docs/ci.md").read_text(encoding="utf-8")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)


def yaml_blocks(text: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("package", "folder"), [("qalint", "qalint"), ("qalint_rules", "rules")])
def test_every_package_is_installed(package, folder):
    there = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for path in (ROOT / folder).rglob("*.py")
    }
    listed = {name for name in PROJECT["tool"]["setuptools"]["packages"] if name.split(".")[0] == package}
    assert listed == there


def test_fixtures_are_installed_as_data():
    assert "qalint_fixtures" in PROJECT["tool"]["setuptools"]["packages"]
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["qalint_fixtures"]
    suffixes = {path.suffix for path in (ROOT / "fixtures").rglob("*") if path.is_file()} - {".pyc"}
    assert suffixes <= {pattern.removeprefix("**/*") for pattern in patterns}


def test_every_section_is_registered():
    entries = PROJECT["project"]["entry-points"]["qalint.rules"]
    folders = {path.parent.name for path in (ROOT / "rules").glob("*/__init__.py")}
    assert entries == {name: f"qalint_rules.{name}:section" for name in folders}


def test_rules_name_their_package_nowhere():
    for path in (ROOT / "rules").rglob("*.py"):
        assert "qalint_rules" not in path.read_text(encoding="utf-8"), path


def test_constraints_pin_torch_and_name_no_host():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "torch==2.13.0" in text
    assert "://" not in text


# pre-commit


def test_pre_commit_accepts_the_hooks():
    done = python("pre_commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml"))
    assert done.returncode == 0, done.stdout


def test_hooks():
    hooks = {
        hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    }
    assert set(hooks) == {"qalint", "qalint-fix"}
    for hook in hooks.values():
        assert hook["files"] == r"\.(py|pyi|ipynb|md|qmd)$"
        assert hook["require_serial"] is True
        assert "--force-exclude" in hook["entry"]
    assert "--fix" in hooks["qalint-fix"]["entry"].split()
    assert "--fix" not in hooks["qalint"]["entry"].split()


def test_the_examples_for_pre_commit_are_valid(tmp_path):
    path = tmp_path / ".pre-commit-config.yaml"
    blocks = [
        block
        for page in ("docs/ci.md", "docs/comparison.md", "README.md")
        for block in yaml_blocks((ROOT / page).read_text(encoding="utf-8"))
        if block.startswith("repos:")
    ]
    assert len(blocks) >= 2
    for block in blocks:
        path.write_text(block, encoding="utf-8")
        done = python("pre_commit", "validate-config", str(path))
        assert done.returncode == 0, done.stdout


# GitHub and GitLab


def test_github_accepts_the_action():
    done = python("check_jsonschema", "--builtin-schema", "vendor.github-actions", str(ROOT / "action.yml"))
    assert done.returncode == 0, done.stdout


def test_the_action_runs_no_text_of_its_inputs():
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    scripts = [step["run"] for step in action["runs"]["steps"] if "run" in step]
    assert len(scripts) == 2
    assert not any("${{" in script for script in scripts), "an input inside a script is a way in"


def test_the_action_is_described():
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    for name in action["inputs"]:
        assert f"| `{name}` |" in CI_PAGE


def test_the_examples_for_github_are_valid(tmp_path):
    (block,) = [block for block in yaml_blocks(CI_PAGE) if block.startswith("name:")]
    path = tmp_path / "workflow.yml"
    path.write_text(block, encoding="utf-8")
    done = python("check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path))
    assert done.returncode == 0, done.stdout


def test_the_example_for_gitlab_is_valid(tmp_path):
    (block,) = [block for block in yaml_blocks(CI_PAGE) if "codequality:" in block]
    path = tmp_path / ".gitlab-ci.yml"
    path.write_text(block, encoding="utf-8")
    done = python("check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", str(path))
    assert done.returncode == 0, done.stdout


# The rest of the repository


def test_scripts_are_executable_and_strict():
    script = ROOT / ".ci/run"
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    if sys.platform != "win32":
        assert script.stat().st_mode & 0o111


def test_the_version_is_in_the_changelog():
    from qalint import __version__

    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
