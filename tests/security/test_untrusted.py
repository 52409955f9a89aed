"""What docs/security.md promises about linting a repository that nobody trusts.

Every run is a process of its own, in the hostile folder, as a user would start it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BAD = "import torch\n\nfor p in torch.nn.Linear(2, 2).parameters():\n    p.require_grad = False\n"
NOTEBOOK = """import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    return (mo,)


@app.cell
def _(mo):
    mo.callout("x", kind="warning")
    return
"""


def qalint(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("QALINT_")}
    return subprocess.run(
        [sys.executable, "-m", "qalint", *arguments],
        cwd=folder,
        env={**env, "NO_COLOR": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def codes(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [finding["code"] for finding in json.loads(done.stdout)]


def trap(folder: Path) -> tuple[str, Path]:
    """Code that leaves a mark when it runs, and the mark."""
    mark = folder.parent / "ran"
    return f"open({str(mark)!r}, 'a').write(__name__ + '\\n')\n", mark


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "train.py").write_text(BAD, encoding="utf-8")
    (folder / "notebook.py").write_text(NOTEBOOK, encoding="utf-8")
    return folder


# Nothing runs


def test_nothing_of_the_tree_is_run_or_imported(tree):
    code, mark = trap(tree)
    modules = "train notebook conftest setup sitecustomize usercustomize torch marimo libcst json ast re rich"
    for name in modules.split():
        path = tree / f"{name}.py"
        path.write_text(code + (path.read_text(encoding="utf-8") if path.exists() else ""), encoding="utf-8")
    for package in ("qalint_rules", "pathspec", "rules"):
        (tree / package).mkdir()
        (tree / package / "__init__.py").write_text(code, encoding="utf-8")
    done = qalint(tree, "check", "--output-format", "json", "--no-cache")
    assert done.returncode == 1, done.stderr
    assert "QA1206" in codes(done), "it was linted"
    assert not mark.exists(), mark.read_text()
    for command in (["checklist", "."], ["rule", "--all"], ["check", "--fix", "--unsafe-fixes"]):
        qalint(tree, *command)
        assert not mark.exists(), f"{command}: {mark.read_text()}"


def test_a_tree_cannot_bring_a_plugin(tree):
    code, mark = trap(tree)
    (tree / "evil.py").write_text(code + "section = None\n", encoding="utf-8")
    for name in ("evil-1.0.dist-info", "evil.egg-info"):
        (tree / name).mkdir()
        (tree / name / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
        (tree / name / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
        (tree / name / "entry_points.txt").write_text("[qalint.rules]\nevil = evil:section\n")
    done = qalint(tree, "check", "--output-format", "json", "--no-cache")
    assert done.returncode == 1, done.stderr
    assert not mark.exists()


@pytest.mark.parametrize("key", ["plugin", "plugins", "output-file"])
def test_a_configuration_cannot_name_plugins_or_files_to_write(tree, key):
    victim = tree.parent / "victim"
    victim.write_text("precious", encoding="utf-8")
    (tree / "qalint.toml").write_text(f"{key} = {json.dumps(str(victim))}\n", encoding="utf-8")
    done = qalint(tree, "check")
    assert done.returncode == 2
    assert f"`{key}`" in done.stderr
    assert victim.read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("home", ["warm", "new"])
def test_no_network_and_no_heavy_foreign_code(tree, home):
    """`socket` itself may be imported: reading entry points imports `email`, and that may import it."""
    program = (
        "import sys; used = []\n"
        "sys.addaudithook(lambda event, _: used.append(event) if event.startswith('socket.') else None)\n"
        "from qalint.cli import main; status = main(['check', '--no-cache', '.'])\n"
        "heavy = {'ssl', 'http.client', 'urllib.request', 'torch', 'marimo', 'numpy', 'pickle'}\n"
        "print(sorted(heavy & set(sys.modules)), used, file=sys.stderr); sys.exit(status)"
    )
    for _ in range(1 if home == "new" else 2):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tree,
            env={**os.environ, "XDG_CACHE_HOME": str(tree.parent / home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.strip().splitlines()[-1] == "[] []"


# Nothing outside is read


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_not_followed_out_of_the_tree_or_in_circles(tree):
    outside = tree.parent / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text(BAD, encoding="utf-8")
    (tree / "out").symlink_to(outside)
    (tree / "secret.py").symlink_to(outside / "secret.py")
    (tree / "loop").symlink_to(tree)
    shown = qalint(tree, "check", "--show-files").stdout.split()
    assert sorted(Path(path).name for path in shown) == ["notebook.py", "train.py"]
    named = qalint(tree, "check", "--show-files", "out").stdout.split()
    assert [Path(path).name for path in named] == ["secret.py"], "a person may ask for it"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_fixes_are_not_written_through_links(tree):
    outside = tree.parent / "outside.py"
    outside.write_text(BAD, encoding="utf-8")
    (tree / "link.py").symlink_to(outside)
    qalint(tree, "check", "--fix", ".")
    assert outside.read_text(encoding="utf-8") == BAD
    assert "requires_grad" in (tree / "train.py").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
@pytest.mark.parametrize("inside", ["", "VERSION"])
def test_the_cache_is_not_written_through_links(tree, inside):
    from qalint import __version__

    outside = tree.parent / "outside"
    outside.mkdir()
    link = tree / ".qalint_cache" / inside.replace("VERSION", __version__)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    done = qalint(tree, "check", "--output-format", "json")
    assert done.returncode == 1 and "QA1206" in codes(done)
    assert "is a link and is not used" in done.stderr
    assert list(outside.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_temporary_files_are_not_written_through_links(tree, monkeypatch):
    """The name of a temporary file can be guessed: a tree may hold a link for every process number."""
    from qalint import fixing, store

    victim = tree.parent / "victim"
    victim.write_text("precious", encoding="utf-8")
    path = tree / "train.py"
    (tree / f"train.py.{os.getpid()}.qalint-tmp").symlink_to(victim)
    (tree / f"data.{os.getpid()}.tmp").symlink_to(victim)
    with pytest.raises(fixing.UsageError, match="cannot be written"):
        fixing.replace(str(path), b"x")
    assert store.write_atomically(str(tree / "data"), b"x") is False
    assert victim.read_text(encoding="utf-8") == "precious"
    assert path.read_text(encoding="utf-8") == BAD


def test_a_configuration_cannot_move_the_cache_out(tree):
    for place in ("../outside", str(tree.parent / "outside")):
        (tree / "qalint.toml").write_text(f"cache-dir = {json.dumps(place)}\n", encoding="utf-8")
        done = qalint(tree, "check")
        assert done.returncode == 2 and "`cache-dir`" in done.stderr
        assert not (tree.parent / "outside").exists()


def test_a_cache_that_came_with_the_tree_is_not_believed(tree):
    mine, theirs = str(tree.parent / "mine"), str(tree.parent / "theirs")
    first = qalint(tree, "check", "--output-format", "json", XDG_CACHE_HOME=theirs)
    assert (tree / ".qalint_cache").exists()
    (tree / "train.py").write_text(BAD, encoding="utf-8")
    for path in (tree / ".qalint_cache").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            path.write_bytes(data.replace(b"QA1206", b"QA1105"))
    again = qalint(tree, "check", "--output-format", "json", XDG_CACHE_HOME=mine)
    assert again.stdout == first.stdout
    assert "QA1206" in codes(again)


# Nothing it says is obeyed


def test_names_and_text_cannot_drive_a_terminal_or_a_runner(tree):
    name = "a\x1b]0;owned\x07\x1b[2J\u202e.py"
    try:
        (tree / name).write_text(BAD, encoding="utf-8")
    except OSError:
        pytest.skip("the file system refuses such names")
    (tree / "evil.py").write_text("x = '\x1b[31m'\n::error::\n\u202e def\n", encoding="utf-8")
    for format in ("full", "concise", "grouped", "pylint", "github", "junit"):
        done = qalint(tree, "check", "--output-format", format)
        for text in (done.stdout, done.stderr):
            assert not set(text) & {"\x1b", "\x07", "\u202e"}, format
        if format == "github":
            assert all(
                line.startswith(("::error ", "::warning ", "::notice "))
                for line in done.stdout.split("\n")
                if line
            )


# Bounds


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + ")" * 5000,
        "x = " + "-" * 100_000 + "1",
        "x = " + "+".join(["1"] * 50_000),
        "f" + "()" * 20_000,
        "x" + ".a" * 50_000,
        "".join(f"{' ' * depth}if x:\n" for depth in range(300)) + " " * 300 + "pass\n",
        "x = '" + "a" * 5_000_000 + "'\n",
        "\x00",
        "x = 1\n" * 400_000,
    ],
    ids=["parentheses", "unary", "sum", "calls", "attributes", "blocks", "string", "nul", "lines"],
)
def test_a_hostile_file_costs_one_file(tree, text):
    prefix = "import torch\nimport marimo\nfrom torch.cuda.amp import GradScaler\nscaler = GradScaler()\n"
    (tree / "hostile.py").write_text(prefix + text, encoding="utf-8")
    done = qalint(tree, "check", "--output-format", "json", "--no-cache")
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout)
    assert "QA1206" in {item["code"] for item in found if item["filename"].endswith("train.py")}
    assert not [item for item in found if item["code"] == "QA0003"], "a limit, not a failure"


def test_bytes_that_are_no_text_cost_one_file(tree):
    (tree / "bytes.py").write_bytes(b"import torch\n# \xff\xfe\x00\n")
    (tree / "cookie.py").write_bytes(b"# -*- coding: no-such-encoding -*-\nimport torch\n")
    (tree / "broken.ipynb").write_bytes(b'{"cells": [{"cell_type": "code", "source": [')
    done = qalint(tree, "check", "--output-format", "json", "--no-cache")
    found = {(Path(item["filename"]).name, item["code"]) for item in json.loads(done.stdout)}
    assert {("bytes.py", "QA0001"), ("cookie.py", "QA0001"), ("train.py", "QA1206")} <= found
    assert {code for name, code in found if name == "broken.ipynb"} <= {"QA0001", "QA0002"}
    assert any(name == "broken.ipynb" for name, _ in found)
