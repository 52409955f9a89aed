"""How much time and memory foreign code may use.

On POSIX the child process limits itself with `setrlimit` before it runs anything, so that a runaway
program ends with a MemoryError or a signal and not with the machine. Windows has no such call: there
only the wall clock limits a run, kept by the parent.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

POSIX = sys.platform != "win32"


class Limits(NamedTuple):
    """`seconds` of wall clock; `memory` in bytes of address space (torch alone maps about 3 GB)."""

    seconds: float = 60.0
    memory: int = 8 << 30


def apply(limits: Limits) -> None:
    """Limit this process. Does nothing on Windows."""
    if not POSIX:
        return
    import resource

    cpu = int(limits.seconds * 2) + 1  # two threads at most; the parent keeps the wall clock
    for what, value in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        try:
            resource.setrlimit(what, (value, hard))
        except (ValueError, OSError):
            # macOS refuses RLIMIT_AS; the wall clock is left.
            continue
