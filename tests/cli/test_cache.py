"""The cache: what it spares, what makes it stale, and that it never gets in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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
