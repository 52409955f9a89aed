"""The parent's side: hands jobs to child processes and gets their reports.

`Workers` keeps up to two of them per kind of preloaded library. A program is always run on a copy in
a temporary folder: it may write beside itself, and before and after a fix it is another text.
"""

from __future__ import annotations

import json
import os
import queue
import re
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

TORCH = ("torch",)
MARIMO = ("marimo",)
NOTEBOOK_TRAINING = ("torch", "marimo")
PRETRAINED = ("torch", "transformers")
"""What the children have imported before the first job."""


def _libraries(kind: str, root: Path) -> tuple[str, ...]:
    """Which child suits a job: by what the program's files import."""
    if kind == "notebook":
        return MARIMO
    if kind != "training":
        return TORCH
    text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in root.rglob("*.py"))
    if re.search(r"^\s*(import|from) (transformers|peft)\b", text, re.MULTILINE):
        return PRETRAINED
    return NOTEBOOK_TRAINING if "marimo" in text else TORCH


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
                "HF_HUB_OFFLINE": "1",
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
        self.free: dict[tuple[str, ...], queue.LifoQueue[Worker]] = {}
        self.count = count or min(os.cpu_count() or 1, 4)
        for libraries in (TORCH, MARIMO, NOTEBOOK_TRAINING, PRETRAINED):
            # The heavy ones are few; they start when first needed.
            number = self.count if libraries in (TORCH, MARIMO) else 1
            self.free[libraries] = queue.LifoQueue()
            for _ in range(number):
                self.free[libraries].put(Worker(*libraries))

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
        free = self.free[_libraries(kind, Path(job["root"]))]
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
