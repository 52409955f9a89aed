"""`qalint verify`: run the rule fixtures and the reference trainer, and say which fixes are confirmed.

Runs real training and real notebooks in child processes with limits of time and memory: before a fix,
and after it. What only a GPU or a browser can show is never passed on a CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .parser import Parser

if TYPE_CHECKING:
    from ..harness.verify import Entry

BROWSER = (
    "for the reference dashboard, or for NOTEBOOK, what only a browser shows (needs playwright and Chromium)"
)


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = Parser(prog="qalint verify", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--rule", metavar="CODE", action="append", default=[], help="only this rule; repeatable"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one faulty fixture a rule, short checks; under a minute"
    )
    parser.add_argument("--browser", metavar="NOTEBOOK", nargs="?", const="", default=None, help=BROWSER)
    parser.add_argument("--output-format", choices=("table", "json", "markdown"), default="table")
    parser.add_argument(
        "--result",
        metavar="FILE",
        default="qalint-verify-cuda.json",
        help="where the measurement at real size is written on a GPU",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="limit of wall clock for one run")
    return parser


def main(argv: list[str]) -> int:
    """Run the command: 0, 1 when something is refuted, 2 when it could not run."""
    arguments = build_parser().parse_args(argv)
    from ..errors import UsageError

    began = time.perf_counter()
    try:
        entries = list(_entries(arguments))
    except UsageError as error:
        print(f"qalint verify: {error}", file=sys.stderr)
        return 2
    from ..harness import tables

    if arguments.output_format == "json":
        print(json.dumps([entry._asdict() for entry in entries], indent=2))
    elif arguments.output_format == "markdown":
        print(
            tables.markdown(entries, " ".join(["qalint verify", *argv]), time.perf_counter() - began), end=""
        )
    else:
        print(tables.terminal(entries, color=sys.stdout.isatty()), end="")
    return 1 if any(entry.verdict == "refuted" for entry in entries) else 0


def _entries(arguments: argparse.Namespace) -> Iterator[Entry]:
    """All that the arguments ask for, in order."""
    from ..errors import UsageError, did_you_mean
    from ..harness.cases import cases, fixtures, plugin_cases
    from ..harness.fixer import Fixer
    from ..harness.jobs import HarnessUnavailable, Workers
    from ..harness.limits import Limits
    from ..harness.verify import verify

    root = fixtures()
    if root is None and not arguments.browser:
        raise UsageError(
            "The fixtures are not installed; run it from a clone or install qalint from a wheel."
        )
    if arguments.browser:
        from ..harness import browser

        _say(
            f"Runs the notebook {arguments.browser} with all its cells, as you, and looks at it in a browser."
        )
        yield from browser.own_notebook(Path(arguments.browser))
        return
    assert root is not None
    fixer = Fixer()
    rules = fixer.rules()
    for code in arguments.rule:
        if not any(code in (rule.code, rule.name) for rule in rules):
            known = [word for rule in rules for word in (rule.code, rule.name)]
            raise UsageError(f"There is no rule `{code}`{did_you_mean(code, known)}.")
    if arguments.rule:
        rules = [rule for rule in rules if rule.code in arguments.rule or rule.name in arguments.rule]
    device = _device(arguments.device)
    try:
        with Workers(limits=Limits(arguments.seconds)) as workers, _progress() as progress:
            programs = [*cases(root), *plugin_cases(fixer.catalog)]
            plugins = sorted({section.plugin for section in fixer.catalog.sections} - {"qalint"})
            others = f" and its plugins ({', '.join(plugins)})" if plugins else ""
            _say(
                f"Runs programs that come with qalint{others}, as you, in child processes of at most "
                f"{arguments.seconds:g} s each; nothing of the working folder is run."
            )
            yield from verify(
                rules, programs, fixer, workers, quick=arguments.quick, device=device, progress=progress
            )
            if not arguments.rule:
                from ..harness import checklist

                yield from checklist.on_trainer(root, workers, device, quick=arguments.quick)
                if device == "cuda":
                    yield from checklist.at_real_size(root, Path(arguments.result))
        if not arguments.rule:
            from ..harness import browser

            yield from browser.on_dashboard(root) if arguments.browser is not None else browser.not_run()
    except HarnessUnavailable as error:
        raise UsageError(f"The harness cannot run: {error}. Install qalint[harness].") from error


def _say(what: str) -> None:
    """Say what is run, before it is."""
    print(what, file=sys.stderr, flush=True)


def _device(wanted: str) -> str:
    """`cpu` or `cuda`. A GPU is only looked for when it is asked for or likely."""
    from ..errors import UsageError

    if wanted == "cpu":
        return "cpu"
    import shutil
    import subprocess

    if wanted == "auto" and shutil.which("nvidia-smi") is None:
        return "cpu"
    probe = "import torch; print(torch.cuda.is_available())"
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120)
    if "True" in answer.stdout:
        return "cuda"
    if wanted == "cuda":
        raise UsageError("There is no CUDA device that torch can use here.")
    return "cpu"


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None] | None]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=name)

        yield show
