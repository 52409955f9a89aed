"""The cache: what it spares, what makes it stale, and that it never gets in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qalint import pool

from .conftest import Run


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files each round had to parse."""
    counts: list[int] = []
    real: Callable[..., object] = pool.run

    def counting(jobs: list[int], *rest: object) -> object:
        counts.append(len(jobs))
        return real(jobs, *rest)

    monkeypatch.setattr(pool, "run", counting)
    return counts


def old(path: Path, seconds: int = 100) -> None:
    """Give a file a time at which nobody doubts that it has settled."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - seconds * 10**9))


def test_dirty_and_clean_files_are_cached(project: Path, run: Run, parsed: list[int]) -> None:
    for name, text in (("a.py", "old()\n"), ("b.py", "x = 1\n")):
        (project / name).write_text(text)
        old(project / name)
    first = run()
    assert parsed == [2]
    assert run() == first
    assert parsed == [2]
    assert run("--no-cache") == first
    assert parsed == [2, 2]


def test_changes_are_seen(project: Path, run: Run, parsed: list[int]) -> None:
    path = project / "a.py"
    path.write_text("old()\n")
    assert run().codes == ["QA9901"]
    path.write_text("new()\n")
    assert run().codes == []
    path.write_text("old()\n")
    assert run().codes == ["QA9901"]
    touched = len(parsed)
    old(path)
    assert run().codes == ["QA9901"]
    assert len(parsed) == touched, "the same bytes at another time need no new look"


def test_settings_and_plugins_are_part_of_the_key(project: Path, run: Run, plugin_folder: Path) -> None:
    (project / "a.py").write_text("old()\nmany(1, 2, 3, 4)\n")
    assert run().codes == ["QA9901", "QA9907"]
    assert run("--select", "QA9907").codes == ["QA9907"]
    assert run("--config", "rules.too-long.max = 9").codes == ["QA9901"]
    assert run().codes == ["QA9901", "QA9907"]


def test_crashes_are_not_cached(project: Path, run: Run, parsed: list[int]) -> None:
    (project / "a.py").write_text("crash_rule = f()\n")
    old(project / "a.py")
    assert run().status == 2
    assert run().status == 2
    assert parsed == [1, 1]


@pytest.mark.parametrize("damage", ["garbage", "half", "foreign"])
def test_damaged_cache_is_ignored(project: Path, run: Run, damage: str) -> None:
    (project / "a.py").write_text("old()\n")
    old(project / "a.py")
    first = run()
    (file,) = (project / ".qalint_cache").rglob("*.bin")
    data = file.read_bytes()
    file.write_bytes({"garbage": b"\0" * 100, "half": data[:50], "foreign": b"x" * 16 + data[16:]}[damage])
    assert run() == first


def test_read_only_cache_folder(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()\n")
    (project / ".qalint_cache").write_text("a file where a folder should be\n")
    assert run().codes == ["QA9901"]


def test_cache_folder_keeps_out_of_repositories(project: Path, run: Run) -> None:
    (project / "a.py").write_text("")
    run("--cache-dir", "kept")
    assert (project / "kept" / ".gitignore").read_text().endswith("*\n")
    assert (project / "kept" / "CACHEDIR.TAG").exists()
    assert not (project / ".qalint_cache").exists()


def test_clean(project: Path, run: Run) -> None:
    (project / "a.py").write_text("")
    run()
    assert (project / ".qalint_cache").is_dir()
    assert run(command="clean").status == 0
    assert not (project / ".qalint_cache").exists()


HEAVY = (
    "libcst",
    "rich",
    "dataclasses",
    "inspect",
    "asyncio",
    "multiprocessing",
    "concurrent",
    "importlib.metadata",
)


@pytest.mark.parametrize("text", ["x = 1\n", "def f():\n    return 1\n"])
def test_a_run_that_stops_early_imports_nothing_heavy(project: Path, text: str) -> None:
    """Bytes decide about the first run, the cache about the second."""
    (project / "a.py").write_text(text)
    old(project / "a.py")
    script = (
        "import sys, qalint.cli; status = qalint.cli.main(['check', 'a.py']);"
        f"print(status, [name for name in {HEAVY!r} if name in sys.modules], len(sys.modules))"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].startswith("0 [] "), done.stdout


def test_what_is_not_parsed_stays_so_and_is_told(
    project: Path, run: Run, parsed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the budget files in which nothing can be found are left alone, cache or not."""
    from qalint import runner

    monkeypatch.setattr(runner, "SYNTAX_BUDGET", 20)
    for name in ("a.py", "b.py", "c.py"):
        (project / name).write_text("x = = 12345\n")
        old(project / name)
    (project / "d.py").write_text("old()\n")
    old(project / "d.py")
    first = run()
    assert [Path(item["filename"]).name for item in first.json] == ["a.py", "d.py"]
    assert run() == first
    assert run("--no-cache") == first
    assert parsed == [2, 2]
    assert first.err.startswith("The syntax of 2 files was not checked"), "nothing is skipped in silence"
    assert "syntax" not in run("-q").err
    assert run("b.py").codes == ["QA0002"], "a file that is named is always parsed"


def test_a_file_that_only_has_to_be_there_may_change(tmp_path: Path) -> None:
    """What was looked for by name and never read may change; gone, it is another program."""
    from qalint.cache import THERE, holds, presence, stat_of
    from qalint.outcome import Outcome

    there, read, gone = tmp_path / "there.py", tmp_path / "read.py", tmp_path / "gone.py"
    there.write_text("x = 1\n")
    read.write_text("y = 1\n")
    outcome = Outcome("main.py")
    outcome.consulted = {
        str(there): presence(str(there)),
        str(read): stat_of(str(read)),
        str(gone): presence(str(gone)),
    }
    assert outcome.consulted[str(there)] == THERE
    assert holds(outcome, frozenset(), {})
    there.write_text("x = 1000\n")
    assert holds(outcome, frozenset(), {})
    read.write_text("y = 1000\n")
    assert not holds(outcome, frozenset(), {})
    outcome.consulted[str(read)] = stat_of(str(read))
    gone.write_text("")
    assert not holds(outcome, frozenset(), {})
    gone.unlink()
    there.unlink()
    assert not holds(outcome, frozenset(), {})


TRAIN = """\
import torch
from steps import ready

def train(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda")
    for x in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = model(x).mean()
        scaler.scale(loss).backward()
        ready(scaler, optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

train(torch.nn.Linear(2, 2).cuda(), torch.utils.data.DataLoader(data))
"""
READY = "def ready(scaler, optimizer):\n    scaler.unscale_(optimizer)\n"


@pytest.fixture
def program(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of two files, for the rules of section 11; the path of the second."""
    monkeypatch.setenv("QALINT_IGNORE", "QA09,QA12,QA13,QA14,QA15,QA16,QA17,QA9912")
    for name, text in (("train.py", TRAIN), ("steps.py", READY)):
        (project / name).write_text(text)
        old(project / name)
    return project / "steps.py"


def test_a_comment_of_an_imported_file_concerns_nobody_else(
    program: Path, run: Run, parsed: list[int]
) -> None:
    assert run().codes == []
    program.write_text(f"# a comment\n\n{READY}  # and another\n")
    assert run().codes == []
    assert parsed == [2, 1], "the file itself alone"
    assert run().codes == []
    assert parsed == [2, 1], "that is remembered"
    old(program)
    assert run().codes == []
    assert parsed == [2, 1]


@pytest.mark.parametrize(
    "text",
    [
        READY.replace("unscale_(optimizer)", "get_scale()"),
        READY.replace("scaler.unscale_", "print  # scaler.unscale_\n    print"),
        READY.replace("unscale_", "unscale_if_needed"),
    ],
)
def test_the_code_of_an_imported_file_concerns_who_imports_it(program: Path, run: Run, text: str) -> None:
    assert run().codes == []
    program.write_text(f"# a comment\n{text}")
    assert run().codes == run("--no-cache").codes == ["QA1105"]
    program.write_text(READY)
    assert run().codes == []


def test_a_place_in_an_imported_file_moves_with_its_comments(program: Path, run: Run) -> None:
    clip = "    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
    train = program.parent / "train.py"
    train.write_text(TRAIN.replace("    " + clip, "").replace("ready(scaler, optimizer)", "ready(model)"))
    program.write_text(f"import torch\n\ndef ready(model):\n{clip}")
    (first,) = run().json
    assert (Path(first["filename"]).name, first["location"]["row"]) == ("steps.py", 4)
    program.write_text(f"# one\n# two\nimport torch\n\ndef ready(model):\n{clip}")
    (second,) = run().json
    assert (Path(second["filename"]).name, second["location"]["row"]) == ("steps.py", 6)
    assert run("--no-cache").json == [second]


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whole runs are kept, however small; how many files each run looked at one by one."""
    from qalint import runner

    monkeypatch.setattr(runner, "WHOLE_RUN", 1)
    looked: list[int] = []
    real = runner._Batch.run

    def counting(batch: Any) -> Any:
        looked.append(len(batch.files))
        return real(batch)

    monkeypatch.setattr(runner._Batch, "run", counting)
    return looked


def test_a_run_over_unchanged_files_is_read_as_a_whole(program: Path, run: Run, whole: list[int]) -> None:
    (program.parent / "a.py").write_text("old()\n")
    old(program.parent / "a.py")
    first = run()
    assert first.codes == ["QA9901"]
    assert run() == first
    assert whole == [3]
    assert run("a.py").codes == ["QA9901"]
    assert whole == [3, 1], "another choice of files is another run"


@pytest.mark.parametrize("change", ["text", "new", "gone", "settings", "ignored"])
def test_a_whole_run_holds_only_while_nothing_has_changed(
    program: Path, run: Run, whole: list[int], change: str
) -> None:
    other = program.parent / "a.py"
    other.write_text("old()\n")
    old(other)
    assert run().codes == ["QA9901"]
    if change == "text":
        other.write_text("old()\nold()\n")
        assert run().codes == ["QA9901", "QA9901"]
        other.write_text("old()\nnew()\n")
        assert run().codes == ["QA9901"], "the same size, and perhaps the same time"
    elif change == "new":
        (program.parent / "b.py").write_text("old()\n")
        assert run().codes == ["QA9901", "QA9901"]
    elif change == "gone":
        other.unlink()
        assert run().codes == []
    elif change == "settings":
        (program.parent / "qalint.toml").write_text('ignore = ["QA9901"]\n')
        assert run().codes == []
    else:
        (program.parent / ".gitignore").write_text("a.py\n")
        assert run().codes == []
    assert len(whole) > 1


def test_a_whole_run_rests_on_files_outside_of_it(program: Path, run: Run, whole: list[int]) -> None:
    assert run("train.py").codes == []
    assert run("train.py").codes == []
    assert whole == [1]
    program.write_text(READY.replace("unscale_(optimizer)", "get_scale()"))
    assert run("train.py").codes == ["QA1105"]
    old(program)
    assert run("train.py").codes == ["QA1105"]
    program.unlink()
    silent = run("train.py", "--no-cache").codes
    assert run("train.py").codes == silent
    looked = len(whole)
    (program.parent / "steps").mkdir()
    (program.parent / "steps" / "__init__.py").write_text(READY)
    assert run("train.py").codes == []
    assert len(whole) == looked + 1, "what was looked for in vain has come"


def test_what_of_a_file_is_code() -> None:
    from qalint.codeprint import STEP, code_print, code_without_comments

    text = b'x = "# no comment"  # one\n\n\n# two\nif x:\n    """a # b\n\n    c"""  \n    y = 1 \\\n\nz = 2\n'
    assert code_without_comments(text) == (
        b'\nx = "# no comment"\nif x:\n    """a # b\n\n    c"""\n    y = 1 \\\n\nz = 2\n'
    )
    assert code_print(text) == code_print(text + b"# three\n")
    assert code_print(text) != code_print(text.replace(b"a # b", b"a # c"))
    assert code_print(text) != code_print(text + b"# three\n" * STEP), "the size may matter"
    # Only a parser can tell what `#` is here: all of the text counts.
    doubtful = b"""x = f"{names["#"]}"  # one\n"""
    assert code_print(doubtful) != code_print(doubtful.replace(b"one", b"two"))


def test_a_linted_file_that_another_has_imported_is_not_parsed_again(
    program: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qalint import parsing

    parsed: list[str] = []
    real = parsing.tree_of

    def counting(source: Any) -> Any:
        parsed.append(Path(source.path).name)
        return real(source)

    monkeypatch.setattr(parsing, "tree_of", counting)
    assert run("-j", "0", "--no-cache").codes == []
    assert sorted(parsed) == ["steps.py", "train.py"]
