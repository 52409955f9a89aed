"""One finished process, and alternating pairs of them."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median


class ToolFailed(Exception):
    """A tool did not do what it was asked to do, so that its time would mean nothing."""


@dataclass(frozen=True)
class Task:
    """What one tool is asked to do."""

    tool: str
    command: tuple[str, ...]
    statuses: tuple[int, ...] = (0, 1)
    """The exit statuses that mean the tool did its work; 1 is "there are findings" for all of them."""
    speaks: bool = True
    """Whether it must have written something."""
    before: Callable[[], None] | None = None
    """Prepares each run; not measured."""

    def shown(self, folders: dict[str, str]) -> str:
        """The command for people: without the paths of this machine, long lists of files cut."""
        words = [os.path.basename(self.command[0]), *self.command[1:]]
        for folder, name in sorted(folders.items(), key=lambda item: -len(item[0])):
            words = [word.replace(folder, name) for word in words]
        if len(words) > 12:
            words = [*words[:8], f"... ({len(words) - 8} more)"]
        return " ".join(words)


@dataclass(frozen=True)
class Run:
    """Resources of one process with all that it waited for: seconds, seconds, MiB."""

    wall: float
    cpu: float
    peak: float
    stopped: bool = False
    """It ran past the limit: the figures are lower bounds."""


@dataclass
class Series:
    """The runs of one task."""

    task: Task
    runs: list[Run] = field(default_factory=list)

    def value(self, what: str) -> float:
        """The median of `wall`, `cpu` or `peak`."""
        return float(median(getattr(run, what) for run in self.runs))

    @property
    def stopped(self) -> bool:
        """Whether a run ended at the limit."""
        return any(run.stopped for run in self.runs)


def measure(task: Task, limit: float) -> Run:
    """Run a task to its end, or to the limit in seconds of wall time.

    Variables for Python are left out: without bytecode on disk, say, every tool would compile itself anew.
    """
    if task.before is not None:
        task.before()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            task.command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment,
            start_new_session=True,
        )
        stopped = not _waited(process.pid, limit)
        if stopped:
            os.killpg(process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if not stopped:
            written = out.tell() if out.seek(0, os.SEEK_END) else 0
            written += err.seek(0, os.SEEK_END)
            _check(task, process.returncode, written, err)
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, stopped)


def _waited(pid: int, limit: float) -> bool:
    """Whether the process ends within the limit; it is left to be collected."""
    deadline = time.monotonic() + limit
    pause = 0.0005
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        time.sleep(pause)
        pause = min(pause * 1.2, 0.02)
    return False


def _check(task: Task, status: int, written: int, err: object) -> None:
    if status not in task.statuses:
        err.seek(0)  # type: ignore[attr-defined]
        tail = err.read().decode("utf-8", "replace")[-500:]  # type: ignore[attr-defined]
        raise ToolFailed(f"{task.tool} ended with status {status}: {tail}")
    if task.speaks and not written:
        raise ToolFailed(f"{task.tool} wrote nothing, so it may not have run")


def pairs(tasks: Sequence[Task], number: int, limit: float) -> list[Series]:
    """Measure the tasks in turn (A B A B ...), so that a change of the machine's load meets each of them.

    One unmeasured round first fills the page cache and compiles bytecode. A task that runs past the limit
    is measured once.
    """
    series = [Series(task) for task in tasks]
    for one in series:
        first = measure(one.task, limit)
        if first.stopped:
            one.runs.append(first)
    for _ in range(number):
        for one in series:
            if not one.stopped:
                one.runs.append(measure(one.task, limit))
    return series


def ratio(over: Series, under: Series, what: str) -> float:
    """The median of the ratios pair by pair."""
    ratios = [
        getattr(first, what) / max(getattr(second, what), 1e-4)
        for first, second in zip(_padded(over, under), _padded(under, over), strict=True)
    ]
    return float(median(ratios))


def _padded(one: Series, other: Series) -> list[Run]:
    """The runs, repeated where there are fewer than of the other series."""
    number = max(len(one.runs), len(other.runs))
    return (one.runs * number)[:number]
