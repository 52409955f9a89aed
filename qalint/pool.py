"""Work in child processes: one that dies or hangs costs one job, and the rest goes on.

Forked children inherit everything that the parent has prepared; only job numbers go in, and only
marshalled results come out. Where the system cannot fork, the jobs run in this process.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import select
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .errors import UsageError

SECONDS = 60.0
"""How much processor time one job may take before its process is ended."""
WALL_SECONDS = 600.0
"""How long one job may take on the wall clock, waiting included."""
MEMORY = 6 * 1024**3
"""The address space that a worker may use, in bytes."""
RETIRE = 280 * 1024**2
"""A worker that is larger than this, in bytes, is replaced by a fresh one. It does not look for garbage in
cycles first: nearly all that it holds are trees that later files share, and to walk them takes a second."""
RECURSION = 3000
"""How deep Python may recurse in a worker: deeper code than by default is followed, and should it be
too deep for the stack after all, only the worker dies."""

_HEADER = struct.Struct("<I")
CAN_FORK = hasattr(os, "fork") and sys.platform != "win32"


class Done(NamedTuple):
    """The result of job `number`; `failure` says how its process ended where there is none."""

    number: int
    result: Any
    failure: str | None


class _Worker:
    """One child with its two pipes."""

    def __init__(self, work: Callable[[int], Any], others: list[_Worker]) -> None:
        to_read, self.requests = os.pipe()
        self.answers, to_write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            for other in others:
                os.close(other.requests)
                os.close(other.answers)
            os.close(self.requests)
            os.close(self.answers)
            _serve(work, to_read, to_write)
        os.close(to_read)
        os.close(to_write)
        self.job: int | None = None
        self.deadline = 0.0
        self.buffer = b""

    def give(self, job: int, seconds: float) -> None:
        """Hand over a job."""
        self.job = job
        self.deadline = time.monotonic() + seconds
        with contextlib.suppress(BrokenPipeError):  # its end is seen when its answer is awaited
            os.write(self.requests, _HEADER.pack(job))

    def take(self) -> Any | None:
        """The answer if it is complete: how the job went, its value, and whether the child retires.

        Raises EOFError if the child is gone.
        """
        data = os.read(self.answers, 1 << 20)
        if not data:
            raise EOFError
        self.buffer += data
        if len(self.buffer) < _HEADER.size:
            return None
        (size,) = _HEADER.unpack_from(self.buffer)
        if len(self.buffer) < _HEADER.size + size:
            return None
        answer, self.buffer = self.buffer[_HEADER.size :], b""
        return marshal.loads(answer)

    def end(self, *, kill: bool) -> str:
        """Close the pipes, collect the child, and say how it ended."""
        if kill:
            os.kill(self.pid, signal.SIGKILL)
        for descriptor in (self.requests, self.answers):
            os.close(descriptor)
        _, status = os.waitpid(self.pid, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
            return f"checking it took more than {SECONDS:g} seconds of processor time and was stopped"
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            return f"the process that checked it was ended by signal {name}"
        return f"the process that checked it ended with status {os.WEXITSTATUS(status)}"


def run(jobs: list[int], work: Callable[[int], Any], workers: int) -> Iterator[Done]:
    """The results of `work(job)` in the order in which they are ready. `workers` 0: in this process."""
    if not workers or not CAN_FORK:
        for job in jobs:
            yield _done(job, _attempt(work, job))
        return
    pending, seconds = jobs[::-1], WALL_SECONDS
    crew: list[_Worker] = []
    sys.stdout.flush()
    sys.stderr.flush()
    alone = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminated) if alone else None
    try:
        for _ in range(min(workers, len(jobs))):
            crew.append(_Worker(work, crew))
            crew[-1].give(pending.pop(), seconds)
        while crew:
            yield from _round(crew, pending, work, seconds)
    finally:
        for worker in crew:
            worker.end(kill=True)
        if alone:
            signal.signal(signal.SIGTERM, before)


def _terminated(number: int, frame: object) -> None:
    """End as a shell reports it, and on the way the workers, which might go on for a minute."""
    raise SystemExit(128 + number)


def _round(
    crew: list[_Worker], pending: list[int], work: Callable[[int], Any], seconds: float
) -> Iterator[Done]:
    """Wait for the next answers, deaths and deadlines; hand out the next jobs."""
    now = time.monotonic()
    wait = max(0.0, min(worker.deadline for worker in crew) - now)
    ready, _, _ = select.select([worker.answers for worker in crew], [], [], wait)
    for worker in list(crew):
        job = worker.job
        assert job is not None
        if worker.answers in ready:
            try:
                answer = worker.take()
            except EOFError:
                crew.remove(worker)
                yield Done(job, None, worker.end(kill=False))
                _replace(crew, pending, work, seconds)
                continue
            if answer is None:
                continue
            kind, value, retires = answer
            yield _done(job, (kind, value))
            if retires:
                crew.remove(worker)
                worker.end(kill=False)
                _replace(crew, pending, work, seconds)
            elif pending:
                worker.give(pending.pop(), seconds)
            else:
                crew.remove(worker)
                worker.end(kill=False)
        elif time.monotonic() >= worker.deadline:
            crew.remove(worker)
            worker.end(kill=True)
            yield Done(job, None, f"checking it took longer than {seconds:g} seconds and was stopped")
            _replace(crew, pending, work, seconds)


def _replace(crew: list[_Worker], pending: list[int], work: Callable[[int], Any], seconds: float) -> None:
    if pending:
        crew.append(_Worker(work, crew))
        crew[-1].give(pending.pop(), seconds)


def _attempt(work: Callable[[int], Any], job: int) -> tuple[str, Any]:
    """What a job gave, or how it failed: `done`, `failed` (with the exception) or `usage` (for the user)."""
    try:
        return "done", work(job)
    except UsageError as error:
        return "usage", str(error)
    except Exception as error:
        import traceback

        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
        return "failed", f"{type(error).__name__}: {error} at {place}"


def _done(job: int, answer: tuple[str, Any]) -> Done:
    kind, value = answer
    if kind == "usage":
        raise UsageError(value)
    return Done(job, value, None) if kind == "done" else Done(job, None, value)


def _serve(work: Callable[[int], Any], requests: int, answers: int) -> None:
    """The life of a child: it never returns."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _limit_memory()
        sys.setrecursionlimit(RECURSION)
        gc.freeze()
        gc.set_threshold(500_000, 20, 50)
        while len(header := os.read(requests, _HEADER.size)) == _HEADER.size:
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            kind, value = _attempt(work, _HEADER.unpack(header)[0])
            signal.setitimer(signal.ITIMER_PROF, 0)
            payload = marshal.dumps((kind, value, _resident() > RETIRE))
            data = memoryview(_HEADER.pack(len(payload)) + payload)
            while data:
                data = data[os.write(answers, data) :]
        status = 0
    except BaseException:  # the parent reports it as a death; nothing of the child may escape
        import traceback

        if os.environ.get("QALINT_DEBUG"):
            traceback.print_exc()
    finally:
        os._exit(status)


def _resident() -> int:
    """The memory that this process has now, in bytes; where that is not known, the most that it has had."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return _peak()


def _peak() -> int:
    """The most memory that this process has had, in bytes; 0 where that is not known."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, ValueError, OSError):
        pass
