"""The concrete story of a program: what its scaler, optimizers and models did, in order.

The abstract machine tells what a program may do on any path; a run of it does one of these. Tests hold
the one against the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .jobs import Workers

PROTOCOL = (
    "scaler-created",
    "optimizer-created",
    "scale",
    "backward",
    "unscale",
    "clip",
    "scaler-step",
    "optimizer-step",
    "update",
    "zero-grad",
    "autocast-enter",
    "forward",
)
"""Kinds of events, named as in `qalint.analysis.machine.story`.

`scale`, `unscale`, `scaler-step` and `update` are told of enabled scalers only, `optimizer-step` only
where the program itself steps, `forward` for the outermost call of a model.
"""


class Happened(NamedTuple):
    """One event at a line (1-based) of a file (relative to the program's folder)."""

    kind: str
    file: str
    line: int


class TraceFailed(RuntimeError):
    """The program could not be run to the end of its limits."""


def trace(path: Path, workers: Workers | None = None, root: Path | None = None) -> list[Happened]:
    """The events of one run of the script at `path`, whose files lie in `root` (default: its folder).

    An exception of the program ends its story; what happened before is told.
    """
    own = workers or Workers(1)
    try:
        report = own.run("training", path, root or path.parent, mode="plain")
    finally:
        if workers is None:
            own.close()
    if "lost" in report:
        raise TraceFailed(f"{path}: {report['lost']}")
    return [Happened(kind, file, line) for kind, file, line, _ in report["events"] if kind in PROTOCOL]
