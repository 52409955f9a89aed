"""The parent's side: hands jobs to child processes and gets their reports.

`Workers` keeps up to two of them per kind of preloaded library. A program is always run on a copy in
a temporary folder: it may write beside itself, and before and after a fix it is another text.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .limits import Limits

Report = dict[str, Any]


class Worker:
    """One child process. Not for two threads at once."""

    def __init__(self, *libraries: str) -> None:
        self.libraries = libraries
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        """The running child, started if need be."""
        if self.process is None or self.process.poll() is not None:
            environment = {
                **os.environ,
                "PYTHONHASHSEED": "0",
                "OMP_NUM_THREADS": "1",
                "MKL_NUM_THREADS": "1",
                "MPLBACKEND": "Agg",
                "PYTHONDONTWRITEBYTECODE": "1",
                "MARIMO_SKIP_UPDATE_CHECK": "1",
                "TOKENIZERS_PARALLELISM": "false",
            }
            self.process = subprocess.Popen(
                [sys.executable, "-m", "qalint.harness.zygote", *self.libraries],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            assert self.process.stdout is not None
            if not self.process.stdout.readline():
                assert self.process.stderr is not None
                error = self.process.stderr.read().strip().splitlines()
                raise HarnessUnavailable(error[-1] if error else "the child process did not start")
            # Nobody reads it from here on; a full pipe would block the child.
            threading.Thread(target=self.process.stderr.read, daemon=True).start()  # type: ignore[union-attr]
        return self.process

    def run(self, job: dict[str, Any]) -> Report:
        """Hand over one job and wait for its report."""
        process = self.start()
        assert process.stdin is not None and process.stdout is not None
        try:
            print(json.dumps(job), file=process.stdin, flush=True)
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.close()
            return {"lost": "the child process died"}
        report: Report = json.loads(answer)
        return report

    def close(self) -> None:
        """End the child."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


class HarnessUnavailable(RuntimeError):
    """The libraries that the harness needs are not installed."""


class Workers:
    """A few workers; `run` may be called from several threads."""

    def __init__(self, count: int | None = None, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.free: dict[str, queue.LifoQueue[Worker]] = {}
        self.count = count or min(os.cpu_count() or 1, 4)
        for kind, library in (("training", "torch"), ("notebook", "marimo")):
            self.free[kind] = queue.LifoQueue()
            for _ in range(self.count):
                self.free[kind].put(Worker(library))

    def run(self, kind: str, path: Path, root: Path, **more: Any) -> Report:
        """The report of running `path`, which lies in `root`."""
        job = {
            "kind": kind,
            "path": os.path.realpath(path),
            "root": os.path.realpath(root),
            "seconds": self.limits.seconds,
            "memory": self.limits.memory,
            **more,
        }
        free = self.free["notebook" if kind == "notebook" else "training"]
        worker = free.get()
        try:
            return worker.run(job)
        finally:
            free.put(worker)

    def close(self) -> None:
        """End all children."""
        for workers in self.free.values():
            while not workers.empty():
                workers.get().close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def copied(files: dict[str, str]) -> Iterator[Path]:
    """A temporary folder that holds `files` (relative path to text)."""
    folder = Path(tempfile.mkdtemp(prefix="qalint-verify-"))
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
