"""docs/speed.md and its plots."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from .measure import Series
from .plots import log_plot
from .rows import Bench, Curve, Result

HEAD = """# Speed

Written by `benchmarks/run`{flags}. {python}, {processors} processors, {system}.
Load while it ran: {before} at the start, {after} at the end.

Each figure is of a whole process, from its start to its end: wall time, processor time (user and system,
with all its child processes), and the peak memory of its largest process. The tools ran in turn
(A B A B ...), after one unmeasured round that fills the page cache; the figures are medians of {number}
rounds, the ratios medians of the ratios round by round. A tool whose exit status is not that of a run, or
that wrote nothing where it had to, stops the benchmark. "Cold" is without qalint's cache. A run that took
longer than {limit:g} s was stopped: its figure is a lower bound, marked with `>`.

Versions: {versions}.
"""


def write(
    docs: Path,
    bench: Bench,
    results: list[Result],
    curves: list[Curve],
    loads: tuple[str, str],
    notes: list[str],
) -> None:
    """Write the page and the plots."""
    versions = ", ".join(f"{name} {version}" for name, version in bench.tools.versions().items())
    parts = [
        HEAD.format(
            flags=" --quick" if bench.quick else "",
            python=f"Python {platform.python_version()}",
            processors=os.cpu_count(),
            system=platform.system(),
            before=loads[0],
            after=loads[1],
            number=bench.number,
            limit=bench.limit,
            versions=versions,
        )
    ]
    parts += [f"> **Note.** {note}\n" for note in notes]
    parts.append("## Goals\n\n" + _goals(results))
    parts.append("## What each tool was asked to do\n\n" + _details(bench, results))
    for curve in curves:
        if curve.points:
            parts.append(_curve(docs, curve))
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "speed.md").write_text("\n".join(parts))


def _goals(results: list[Result]) -> str:
    rows = ["| What | Goal | Measured | |", "|---|---|---|---|"]
    for result in results:
        bound = _bound(result)
        verdict = "met" if result.met and not (bound and not result.at_least) else _missed(result)
        rows.append(f"| {result.goal} | {result.wanted} | {bound}{_figure(result)} | {verdict} |")
    notes = [f"{result.goal}: {result.note}" for result in results if result.note]
    return "\n".join(rows) + "\n\n" + "".join(f"{note}\n\n" for note in notes)


def _bound(result: Result) -> str:
    return ">" if any(series.stopped for series in result.series if series.task.tool == "qalint") else ""


def _missed(result: Result) -> str:
    low, high = sorted((max(result.figure, 1e-6), result.limit))
    more = "more than " if _bound(result) else ""
    return f"**missed** by {more}{high / low:.1f} times"


def _figure(result: Result) -> str:
    return {"x": f"{result.figure:.2f}x", "s": f"{result.figure:.3f} s"}.get(
        result.unit, f"{result.figure:.0f} {result.unit}"
    )


def _details(bench: Bench, results: list[Result]) -> str:
    rows = ["| What | Tool | Wall s | CPU s | Peak MiB | Runs | Command |", "|---|---|---|---|---|---|---|"]
    folders = {str(bench.wheels): "wheels", str(bench.scratch): "scratch"}
    for result in results:
        rows += [_detail(result.goal, series, folders) for series in result.series]
    return "\n".join(rows) + "\n"


def _detail(what: str, series: Series, folders: dict[str, str]) -> str:
    sign = "> " if series.stopped else ""
    figures = (
        f"{sign}{series.value('wall'):.3f} | {sign}{series.value('cpu'):.3f} | {series.value('peak'):.0f}"
    )
    command = series.task.shown(folders).replace("\n", "; ").replace("|", "\\|")
    return f"| {what} | {series.task.tool} | {figures} | {len(series.runs)} | `{command}` |"


def _curve(docs: Path, curve: Curve) -> str:
    name = "speed-" + ("long" if "script" in curve.name else "growth") + ".svg"
    points = [(float(number), max(run.cpu, 1e-3)) for number, run in curve.points]
    first, cost = points[0]
    straight = [(number, cost * number / first) for number, _ in points]
    curves = [("measured", points), ("in proportion to the first", straight)]
    plot = log_plot(curve.name, "lines", "CPU seconds", curves)
    (docs / name).write_text(plot)
    rows = ["| Lines | Wall s | CPU s | Peak MiB |", "|---|---|---|---|"]
    for number, run in curve.points:
        sign = "> " if run.stopped else ""
        rows.append(f"| {number:,} | {sign}{run.wall:.2f} | {sign}{run.cpu:.2f} | {run.peak:.0f} |")
    title = curve.name[0].lower() + curve.name[1:]
    return f"## Growth: {title}\n\n![{curve.name}]({name})\n\n" + "\n".join(rows) + "\n"
