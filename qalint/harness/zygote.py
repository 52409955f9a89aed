"""The child process that runs foreign code: `python -m qalint.harness.zygote [torch] [marimo]`.

Importing torch takes two seconds and most runs a tenth of that. So one process imports it and then
forks for every job; what a job patches or breaks dies with its fork. Jobs are lines of JSON on
standard input, answers lines of JSON on standard output. Where there is no `fork` (Windows), the
process runs one job and ends, and the parent starts another.

A job is `{"kind", "path", "root", "seconds", "memory", ...}`; an answer is the report of its kind, or
`{"lost": REASON}` when the run gave none: killed, out of time, out of memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from typing import Any

from .limits import POSIX, Limits, apply
from .notebook_inside import forbid_network


def perform(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job in this process."""
    apply(Limits(job["seconds"], job["memory"]))
    os.chdir(job["root"])
    if job["kind"] == "training":
        forbid_network()
        from . import probe

        return probe.run(
            job["path"], job["root"], probe.MODES[job["mode"]], uses_cuda=job.get("uses_cuda", True)
        )
    if job["kind"] == "notebook":
        from . import notebook_probe

        return notebook_probe.run(job["path"], job["root"], job.get("mode", "plain"))
    if job["kind"] == "trainer":
        from . import trainer_checks

        return trainer_checks.run(job["root"], job["items"], job["device"])
    raise ValueError(f"unknown kind of job: {job['kind']}")


def in_fork(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job in a fork of this process, within its wall clock."""
    handle, answer = tempfile.mkstemp(suffix=".json")
    os.close(handle)
    try:
        child = os.fork()
        if child == 0:
            _child(job, answer)
        status = _wait(child, job["seconds"])
        if status is None:
            return {"lost": f"no end within {job['seconds']:.0f} s"}
        with open(answer, encoding="utf-8") as file:
            text = file.read()
        if text:
            report: dict[str, Any] = json.loads(text)
            return report
        code = os.waitstatus_to_exitcode(status)
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            return {"lost": "the limit of processor time or memory was met"}
        return {"lost": f"the process ended with status {code} and gave no report"}
    finally:
        os.unlink(answer)


def _child(job: dict[str, Any], answer: str) -> None:
    """The fork's whole life. It leaves by `_exit`, so that nothing of the parent's is flushed twice."""
    status = 1
    try:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        try:
            report = perform(job)
        except MemoryError:
            report = {"lost": "out of memory"}
        except BaseException as error:
            import traceback

            report = {
                "lost": f"the harness failed: {type(error).__name__}: {error}",
                "trace": traceback.format_exc(),
            }
        with open(answer, "w", encoding="utf-8") as file:
            json.dump(report, file)
        status = 0
    finally:
        os._exit(status)


def _wait(child: int, seconds: float) -> int | None:
    """The status of the child, or None after killing it with all that it started."""
    end = time.monotonic() + seconds
    pause = 0.002
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > end:
            try:
                os.killpg(child, signal.SIGKILL)
            except ProcessLookupError:
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def preload(names: list[str]) -> None:
    """Import what most jobs need, once."""
    if "torch" in names:
        import torch
        import torch.utils.checkpoint

        from . import probe  # noqa: F401

        torch.set_num_threads(1)  # no thread pool may exist when the process forks
        warm_up()
    if "transformers" in names:
        with contextlib.suppress(ImportError):
            import peft  # noqa: F401
            import transformers  # noqa: F401
            from transformers import AutoModelForCausalLM, GPT2LMHeadModel, LlamaForCausalLM  # noqa: F401
    if "marimo" in names:
        import importlib

        import marimo  # noqa: F401

        from . import notebook_probe  # noqa: F401

        # Only for speed, and private: what marimo moves is simply imported later.
        for name in (
            "_cli.cli",
            "_cli.export.session",
            "_runtime.runtime",
            "_export.file",
            "_plugins.ui._impl.table",
            "_output.md",
            "_ast.load",
            "_server.api.router",
        ):
            with contextlib.suppress(Exception):
                importlib.import_module(f"marimo.{name}")


def warm_up() -> None:
    """A first step makes torch import a second's worth of modules, and build its FP16 kernels."""
    import torch

    parameter = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = torch.optim.AdamW([parameter])
    scaler = torch.amp.GradScaler("cpu")
    with torch.autocast("cpu", dtype=torch.float16):
        loss = (torch.ones(2, 4) @ parameter).sum()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


def main() -> None:
    """Answer jobs until standard input ends."""
    preload(sys.argv[1:])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        if POSIX:
            report = in_fork(job)
        else:
            report = perform(job)
        print(json.dumps(report), file=answers, flush=True)
        if not POSIX:
            return


if __name__ == "__main__":
    main()
