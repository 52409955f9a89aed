"""A progress bar for runs that take long, on a terminal only."""

from __future__ import annotations

import atexit
import time
from typing import Any

PATIENCE = 1.0
"""Seconds before anything is shown; `rich` is imported only then."""
REFRESH = 0.1
"""Seconds between two pictures of the bar."""


class Progress:
    """Called after each file with how many are done, of how many."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        self._shown = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` files are checked."""
        if self._bar is None:
            if time.monotonic() - self._began < PATIENCE or total - done < 3:
                return
            self._start(total)
        now = time.monotonic()
        due = now - self._shown > REFRESH
        self._bar.update(self._task, completed=done, total=total, refresh=due)
        self._shown = now if due else self._shown
        if done >= total:
            self._bar.stop()
            self._bar = None

    def _start(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("Checking"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            # No thread of its own: workers are forked while the bar is there.
            auto_refresh=False,
        )
        self._bar.start()
        atexit.register(self._bar.stop)  # an interrupted run must give the cursor back
        self._task = self._bar.add_task("Checking", total=total)
