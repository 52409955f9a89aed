"""The entries of a verification as text for people."""

from __future__ import annotations

import platform
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from .verify import Entry

VERDICTS = ("confirmed", "refuted", "needs-gpu", "no-oracle")
COLORS = {"confirmed": "green", "refuted": "red", "needs-gpu": "yellow", "no-oracle": "dim"}


def title_of(entry: Entry) -> str:
    """`QA1105 clip-before-unscale`, or the id of a checklist item."""
    return f"{entry.code} {entry.name}" if entry.code else f"item {entry.name}"


def terminal(entries: Sequence[Entry], *, color: bool) -> str:
    """A table, wide as the terminal."""
    import io

    from rich.console import Console
    from rich.table import Table

    output = io.StringIO()
    console = Console(file=output, force_terminal=color, no_color=not color, width=None if color else 160)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("rule", "before", "after", "verdict", "s"):
        table.add_column(column, justify="right" if column == "s" else "left", overflow="fold")
    for entry in entries:
        what = title_of(entry) + (f"\n{entry.fixture}" if entry.fixture and entry.code else "")
        after = "\n".join(part for part in (entry.after, entry.detail) if part)
        verdict = f"[{COLORS[entry.verdict]}]{entry.verdict}[/]"
        table.add_row(_plain(what), _plain(entry.before), _plain(after), verdict, f"{entry.seconds:.1f}")
    console.print(table)
    console.print(_plain(summary(entries)), highlight=False)
    return output.getvalue()


def _plain(text: str) -> str:
    """Text in which rich sees no markup."""
    return text.replace("[", "\\[")


def summary(entries: Sequence[Entry]) -> str:
    """How many of each verdict."""
    counts = Counter(entry.verdict for entry in entries)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])


def machine() -> str:
    """What made the result: processor, system, Python, torch, marimo."""
    versions = []
    for package in ("torch", "marimo", "transformers", "peft"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    chip = platform.processor() or platform.machine()
    return f"{platform.system()} {chip}, Python {platform.python_version()}, {', '.join(versions)}"


def markdown(entries: Sequence[Entry], command: str, seconds: float | None = None) -> str:
    """The page docs/verified.md. It counts what was run, and says how many `seconds` it took."""
    took = f" It took {seconds / 60:.1f} minutes." if seconds is not None else ""
    good = sum("/good_" in (entry.fixture or "") for entry in entries)
    bad = sum("/bad_" in (entry.fixture or "") for entry in entries)
    lines = [
        "# Verified by running",
        "",
        f"Made by `{command}` on {machine()}.{took} Do not edit.",
        "",
        f"{bad} faulty fixtures were run, fixed by qalint where it offers a fix, and run again;",
        f"{good} correct ones were run to see that the symptom is really the fault's.",
        "Checklist items were tried on the reference trainer and dashboard.",
        "",
        f"**{summary(entries)}.** `needs-gpu` is not a pass; `no-oracle` says why running cannot tell.",
        "",
        "| rule or item | fixture | verdict | before | after | device | s |",
        "|---|---|---|---|---|---|---:|",
    ]
    for entry in entries:
        after = ". ".join(part for part in (entry.after, entry.detail) if part)
        cells = (
            title_of(entry),
            (entry.fixture or "").partition("/")[2] or entry.fixture or "",
            entry.verdict,
            entry.before,
            after,
            entry.device,
            f"{entry.seconds:.1f}",
        )
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that fits into a Markdown table."""
    text = text.replace(sys.executable, "python")
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
