"""The checklist's own tests as entries: on the reference trainer, and at real size on a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .jobs import Workers
from .verify import Entry

QUICK = ("09.03", "09.04")
"""Checks that need no whole fine-tuning."""
ITEMS = ("09.01", "09.02", "09.03", "09.04", "09.05", "09.06", "09.09")


def on_trainer(root: Path, workers: Workers, device: str, *, quick: bool) -> Iterator[Entry]:
    """Perform the checks of section 9 on the trainer, in one child process."""
    folder = root / "trainer"
    items = QUICK if quick else ITEMS
    # CUDA maps far more address space than it uses.
    memory = workers.limits.memory if device == "cpu" else 1 << 46
    report = workers.run(
        "trainer", folder / "train.py", folder, items=list(items), device=device, seconds=600.0, memory=memory
    )
    for item in items:
        if "lost" in report:
            yield Entry(None, item, "trainer", device, "", "", "refuted", 0.0, report["lost"])
            continue
        result = report[item]
        verdict = "confirmed" if result["ok"] else "refuted"
        yield Entry(None, item, "trainer", device, "", result["seen"], verdict, result["seconds"], "")
    if device == "cpu" and not quick:
        detail = "step time and memory in FP16 and FP32 at real size: run `qalint verify --device cuda`"
        yield Entry(None, "17.08", "trainer", "cuda", "", "", "needs-gpu", 0.0, detail)


def at_real_size(root: Path, result: Path) -> Iterator[Entry]:
    """Run the trainer's measurement on the GPU; what it measured goes to `result`."""
    started = time.perf_counter()
    folder = root / "trainer"
    command = [sys.executable, "measure.py", "--device", "cuda", "--result", str(result.resolve())]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    seconds = round(time.perf_counter() - started, 1)
    if done.returncode:
        error = (done.stderr.strip().splitlines() or ["no message"])[-1]
        yield Entry(None, "17.08", "trainer", "cuda", "", "", "refuted", seconds, error)
        return
    rows = {row["precision"]: row for row in json.loads(result.read_text(encoding="utf-8"))["rows"]}
    half, full = rows["fp16"], rows["fp32"]
    seen = (
        f"{half['parameters'] / 1e6:.0f} million parameters: FP32 {full['seconds_per_step']:.3f} s and "
        f"{full['peak_mib']:.0f} MiB a step, FP16 {half['seconds_per_step']:.3f} s "
        f"and {half['peak_mib']:.0f} MiB"
    )
    verdict = "confirmed" if half["finite"] and full["finite"] else "refuted"
    yield Entry(None, "17.08", "trainer", "cuda", "", seen, verdict, seconds, f"written to {result}")
