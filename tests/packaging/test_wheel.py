"""sdist and wheel: built from a copy of the tree, installed into an empty environment, used there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("qalint", "rules", "fixtures", "pyproject.toml", "README.md", "LICENSE")
DEPENDENCIES = ("libcst", "rich", "pathspec", "ahocorasick_rs")

pytest.importorskip("build")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel that is built from the sdist, so that both are tried."""
    copy = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", ".qalint_cache", "__marimo__")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, ignore=ignore)
        else:
            shutil.copy(ROOT / part, copy / part)
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len(list(out.glob("*.tar.gz"))) == 1
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def run(wheel, tmp_path_factory):
    """Runs `qalint` of the wheel in an environment that holds it and its dependencies alone."""
    home = tmp_path_factory.mktemp("home")
    venv.create(home / "venv", with_pip=False)
    scripts = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / ("python.exe" if os.name == "nt" else "python")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"),
            *("--no-index", "--disable-pip-version-check", str(wheel)),
        ],
        check=True,
    )
    # The dependencies and what they need, and nothing else of the environment of the tests.
    ours = Path(sysconfig.get_path("purelib"))
    (site,) = (home / "venv").glob("**/site-packages")
    for name in (*DEPENDENCIES, "yaml", "_yaml", "yaml_ft", "markdown_it", "mdurl", "pygments"):
        if (ours / name).exists():
            (site / name).symlink_to(ours / name)

    def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("QALINT_", "PYTHON"))}
        env["XDG_CACHE_HOME"] = str(home / "cache")
        return subprocess.run(
            [str(scripts / "qalint"), *arguments],
            cwd=cwd or home,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    run.home = home
    return run


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_the_wheel_lints_explains_and_has_its_schema(run, tmp_path):
    (tmp_path / "train.py").write_text((ROOT / "docs/example/train.py").read_text("utf-8"), "utf-8")
    done = run("check", "--output-format", "json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert [finding["code"] for finding in json.loads(done.stdout)] == ["QA1105"]
    assert run("version").stdout.strip()
    assert run("rule", "QA1105").stdout.startswith("clip-before-unscale (QA1105)")
    assert len(json.loads(run("checklist", "--output-format", "json").stdout)) == 86
    assert json.loads(run("schema").stdout)["title"] == "qalint"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_the_wheel_verifies_with_the_fixtures_that_it_holds(run, tmp_path):
    """`qalint verify` from an installed wheel, torch being installed beside it."""
    pytest.importorskip("torch")
    done = run("verify", "--rule", "QA1108", "--quick", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 2
    assert "Install qalint[harness]" in done.stderr and "Traceback" not in done.stderr
    (site,) = run.home.glob("venv/**/site-packages")
    path = site / "harness.pth"
    path.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    try:
        done = run(
            *("verify", "--rule", "QA1108", "--quick", "--device", "cpu", "--output-format", "json"),
            cwd=tmp_path,
        )
    finally:
        path.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    (entry,) = json.loads(done.stdout)
    assert (entry["code"], entry["verdict"]) == ("QA1108", "confirmed")
    assert list(tmp_path.iterdir()) == [], "nothing is left in the working folder"


def test_the_wheel_holds_what_runs_without_a_clone(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"qalint/py.typed", "qalint/schema.json", "qalint/checklist.json"} <= names
    assert "qalint_rules/mixed_precision/__init__.py" in names
    there = {
        "qalint_fixtures/" + path.relative_to(ROOT / "fixtures").as_posix()
        for path in (ROOT / "fixtures").rglob("*")
        if path.is_file() and not {"__pycache__", "__marimo__", ".qalint_cache"} & set(path.parts)
    }
    assert there <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]
