"""What only a browser shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .verify import Entry

ITEMS = ("09.07", "09.10", "09.11", "09.12", "09.13", "09.14")


def not_run() -> Iterator[Entry]:
    """The items that were not tried, so that nobody takes silence for a pass."""
    for item in ITEMS:
        yield Entry(None, item, "dashboard", "", "", "", "no-oracle", 0.0, "run `qalint verify --browser`")


def on_dashboard(root: Path) -> Iterator[Entry]:
    """The reference dashboard."""
    yield from own_notebook(root / "dashboard" / "dashboard.py")


def own_notebook(path: Path) -> Iterator[Entry]:
    """Any notebook."""
    yield from not_run()
