"""What is measured: one function a goal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import corpus
from .measure import Run, Series, Task, measure, pairs, ratio
from .tools import Tools

PARSE = "import sys, libcst\nfor path in sys.argv[1:]:\n    libcst.parse_module(open(path, 'rb').read())\n"
IRRELEVANT = '"""Names."""\n\nfrom os.path import join\n\n\n' + "".join(
    f'def name_{number}(folder):\n    """A path."""\n    return join(folder, "{number}")\n\n\n'
    for number in range(100)
)
MIXED = ("transformers", "diffusers", "timm", "peft", "trl", "lightning", "accelerate")
TRAINING = ("accelerate", "diffusers", "lightning", "peft", "timm", "trl")


@dataclass
class Result:
    """One goal, and what was measured for it."""

    goal: str
    wanted: str
    figure: float
    limit: float
    unit: str
    """What `figure` and `limit` count: `x` for a ratio, `s`, `MiB`."""
    at_least: bool = False
    """The figure is to be at or above the limit, not at or below."""
    series: list[Series] = field(default_factory=list)
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the goal is reached; never by a lower bound of a time."""
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


@dataclass
class Bench:
    """What the rows share."""

    tools: Tools
    wheels: Path
    scratch: Path
    number: int
    limit: float
    quick: bool

    def package(self, name: str) -> Path:
        """The folder of an unzipped package."""
        return corpus.unpacked(name, self.wheels)

    def qalint(self, *words: object, cold: bool = True, before: Callable[[], None] | None = None) -> Task:
        """`qalint check` with its default rules."""
        flags = ("--isolated", "--no-cache") if cold else ("--isolated", "--cache-dir", str(self.cache))
        return Task("qalint", (self.tools.qalint, "check", *flags, *map(str, words)), before=before)

    @property
    def cache(self) -> Path:
        """The cache folder of the warm runs."""
        return self.scratch / "cache"

    def compare(self, *tasks: Task) -> list[Series]:
        """Measure the tasks in alternating runs."""
        return pairs(tasks, self.number, self.limit)


def ruff(bench: Bench, *paths: object) -> Task:
    """`ruff check` with its default rules, without its cache."""
    flags = ("check", "--isolated", "--no-cache", "--quiet")
    return Task("ruff", (bench.tools["ruff"], *flags, *map(str, paths)), speaks=False)


def fixit(bench: Bench, *paths: object) -> Task:
    """`fixit lint` with its default rules."""
    return Task("Fixit", (bench.tools["fixit"], "lint", *map(str, paths)))


def torchfix(bench: Bench, *paths: object) -> Task:
    """`torchfix` with all its rules."""
    return Task("TorchFix", (bench.tools["torchfix"], "--select=ALL", *map(str, paths)))


def marimo(bench: Bench, *paths: object) -> Task:
    """`marimo check`, which lints notebooks only and is silent on good ones."""
    return Task("marimo", (bench.tools["marimo"], "check", *map(str, paths)), speaks=False)


def big_tree(bench: Bench) -> Iterator[Result]:
    """A big library with few training programs: cold, warm, one file touched."""
    folder = bench.package("transformers")
    series = bench.compare(bench.qalint(folder), ruff(bench, folder))
    yield Result(
        "transformers, cold",
        "wall time at or below that of `ruff check` with its default rules",
        ratio(series[0], series[1], "wall"),
        1.0,
        "x",
        series=series,
    )
    if series[0].stopped:
        return
    warm = bench.compare(bench.qalint(folder, cold=False))
    yield Result(
        "transformers, warm, nothing changed", "0.12 s", warm[0].value("wall"), 0.12, "s", series=warm
    )
    copy = bench.scratch / "touched" / "transformers"
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    touched = copy / "transformers" / "trainer_utils.py"

    def touch() -> None:
        with touched.open("ab") as file:
            file.write(b"# touched\n")

    series = bench.compare(bench.qalint(copy, cold=False, before=touch))
    yield Result(
        "transformers, warm, one file touched", "0.5 s", series[0].value("wall"), 0.5, "s", series=series
    )


def training(bench: Bench) -> Iterator[Result]:
    """Files that all train: nothing can be skipped."""
    packages = [bench.package(name) for name in TRAINING]
    files = corpus.training_files(packages, 3000 if bench.quick else 8000)
    number = corpus.lines(files)
    python = os.path.join(os.path.dirname(bench.tools.qalint), "python")
    parse = Task("LibCST parse", (python, "-c", PARSE, *map(str, files)), speaks=False)
    tasks = (bench.qalint(*files), parse, fixit(bench, *files), torchfix(bench, *files))
    ours, bare, one, two = series = bench.compare(*tasks)
    what = f"{len(files)} training files, {number:,} lines"
    yield Result(
        what,
        "CPU at or below 3 times the bare `libcst.parse_module`",
        ratio(ours, bare, "cpu"),
        3.0,
        "x",
        series=series,
        note="The bare parse is one Python process, its start included.",
    )
    for other in (one, two):
        yield Result(
            f"{what}, beside {other.task.tool}",
            f"at least 10 times less CPU than {other.task.tool}",
            ratio(other, ours, "cpu"),
            10.0,
            "x",
            at_least=True,
        )


def notebooks(bench: Bench) -> Iterator[Result]:
    """All notebooks of marimo's own wheel."""
    files = corpus.notebooks(bench.package("marimo"))
    ours, theirs = series = bench.compare(bench.qalint(*files), marimo(bench, *files))
    yield Result(
        f"{len(files)} notebooks of the marimo wheel, cold",
        "at least 3 times faster than `marimo check`",
        ratio(theirs, ours, "wall"),
        3.0,
        "x",
        at_least=True,
        series=series,
    )


def one_file(bench: Bench) -> Iterator[Result]:
    """What a pre-commit hook sees: one file."""
    packages = [bench.package(name) for name in TRAINING]
    file = corpus.nearest(corpus.training_files(packages), 500)
    series = bench.compare(bench.qalint(file), fixit(bench, file), torchfix(bench, file))
    what = f"one training file of {corpus.lines([file])} lines"
    yield Result(what, "0.4 s", series[0].value("wall"), 0.4, "s", series=series)
    for other in series[1:]:
        yield Result(
            f"{what}, beside {other.task.tool}",
            f"at least 2.5 times faster than {other.task.tool}",
            ratio(other, series[0], "wall"),
            2.5,
            "x",
            at_least=True,
        )
    notebook = corpus.nearest(corpus.notebooks(bench.package("marimo")), 500)
    series = bench.compare(bench.qalint(notebook), marimo(bench, notebook))
    yield Result(
        f"one notebook of {corpus.lines([notebook])} lines, beside marimo",
        "at least 2.5 times faster than `marimo check`",
        ratio(series[1], series[0], "wall"),
        2.5,
        "x",
        at_least=True,
        series=series,
    )
    plain = bench.scratch / "irrelevant" / "names.py"
    plain.parent.mkdir(parents=True, exist_ok=True)
    plain.write_text(IRRELEVANT)
    cached = bench.qalint(file, cold=False)
    series = bench.compare(bench.qalint(plain), cached)
    for one, name in zip(series, ("one irrelevant file", "one file in the cache"), strict=True):
        yield Result(name, "0.08 s", one.value("wall"), 0.08, "s", series=[one])


@dataclass
class Curve:
    """Lines against one process each."""

    name: str
    points: list[tuple[int, Run]] = field(default_factory=list)


def growth(bench: Bench) -> Curve:
    """Samples of all packages together, from 10 thousand lines on; the copies are not measured."""
    packages = [bench.package(name) for name in MIXED]
    curve = Curve("qalint check, cold, samples of the packages")
    sizes = (10_000, 30_000) if bench.quick else (10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000)
    for size in sizes:
        target = bench.scratch / "growth" / str(size)
        number = corpus.sample(packages, size, target)
        run = measure(bench.qalint(target), bench.limit)
        curve.points.append((number, run))
        if run.stopped:
            break
    return curve


def long_files(bench: Bench) -> Curve:
    """Training scripts of up to 20 thousand lines, each one file."""
    curve = Curve("qalint check, cold, one training script")
    for size in (1_000, 2_000, 5_000, 10_000, 20_000):
        file = bench.scratch / "long" / f"train_{size}.py"
        number = corpus.long_script(file, size)
        run = measure(bench.qalint(file), bench.limit)
        curve.points.append((number, run))
        if run.stopped:
            break
    return curve


def of_curves(mixed: Curve | None, long: Curve | None) -> Iterator[Result]:
    """The goals that the curves answer."""
    if mixed is not None and len(mixed.points) > 1:
        (small, first), *_, (large, last) = mixed.points
        start = 0.1
        figure = (max(last.cpu - start, 1e-3) / large) / (max(first.cpu - start, 1e-3) / small)
        yield Result(
            f"growth from {small:,} to {large:,} lines",
            "linear: CPU for a line no more than 1.5 times that of the smallest sample",
            figure,
            1.5,
            "x",
            note="CPU without 0.1 s of start; the samples hold the packages in one mixture.",
        )
    if long is not None and long.points:
        number, worst = max(long.points, key=lambda point: point[1].wall)
        yield Result(f"one file of {number:,} lines", "5 s", worst.wall, 5.0, "s")


def memory(results: list[Result], curves: list[Curve]) -> Result:
    """The largest process of qalint in the whole run."""
    peaks = [
        run.peak
        for result in results
        for series in result.series
        if series.task.tool == "qalint"
        for run in series.runs
    ]
    peaks += [run.peak for curve in curves for _, run in curve.points]
    return Result("memory of the largest process", "350 MiB", max(peaks, default=0.0), 350.0, "MiB")


ROWS = {"tree": big_tree, "training": training, "notebooks": notebooks, "file": one_file}
CURVES = {"growth": growth, "long": long_files}
ORDER = ("file", "notebooks", "long", "training", "growth", "tree")
"""The short ones first: what is interrupted has still measured something."""


def load() -> str:
    """The machine's load beside its processors."""
    try:
        return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    except OSError:
        return "unknown"
