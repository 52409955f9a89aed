"""The command line."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from . import document, rows
from .measure import ToolFailed
from .tools import PEERS, Tools

ROOT = Path(__file__).resolve().parents[2]


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    made = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    made.description = (
        "Measure qalint beside ruff, Fixit, TorchFix and marimo on real packages; write docs/speed.md. "
        "qalint is installed anew from this checkout, as a user has it: an editable install starts slower."
    )
    made.add_argument("--quick", action="store_true", help="3 rounds, less training code, short growth")
    made.add_argument("--pairs", type=int, metavar="N", help="rounds (default 5, with --quick 3)")
    made.add_argument("--limit", type=float, metavar="S", help="stop a run after S seconds of wall time")
    made.add_argument("--rows", default=",".join(rows.ORDER), help="which to measure (default %(default)s)")
    made.add_argument(
        "--wheels", type=Path, metavar="DIR", help="folder of unzipped wheels, DIR/transformers"
    )
    made.add_argument(
        "--peer", action="append", default=[], metavar="NAME=PATH", help="the command of an installed tool"
    )
    made.add_argument("--cache", type=Path, metavar="DIR", help="keeps environments and wheels for next time")
    made.add_argument("--docs", type=Path, default=ROOT / "docs", help="where speed.md goes")
    made.add_argument("--note", action="append", default=[], help="a sentence for the page")
    return made


def main() -> int:
    """Measure and write; 1 if a tool did not run."""
    arguments = parser().parse_args()
    wanted = arguments.rows.split(",")
    given = dict(item.split("=", 1) for item in arguments.peer)
    if unknown := (set(wanted) - set(rows.ORDER)) | (set(given) - {*PEERS, "qalint"}):
        parser().error(f"unknown: {', '.join(sorted(unknown))}")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = arguments.cache or base / "qalint-benchmarks"
    tools = Tools(cache, given)
    before = rows.load()
    results: list[rows.Result] = []
    curves: dict[str, rows.Curve] = {}
    with tempfile.TemporaryDirectory() as scratch:
        bench = rows.Bench(
            tools=tools,
            wheels=arguments.wheels or cache / "wheels",
            scratch=Path(scratch),
            number=arguments.pairs or (3 if arguments.quick else 5),
            limit=arguments.limit or (60.0 if arguments.quick else 600.0),
            quick=arguments.quick,
        )
        for name in rows.ORDER:
            if name not in wanted:
                continue
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            try:
                if name in rows.CURVES:
                    curves[name] = rows.CURVES[name](bench)
                else:
                    for result in rows.ROWS[name](bench):
                        print(
                            f"{result.goal}: {result.figure:.3f} {result.unit}", file=sys.stderr, flush=True
                        )
                        results.append(result)
            except ToolFailed as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
            # After every row, so that a run which is interrupted has still said what it measured.
            answered = list(rows.of_curves(curves.get("growth"), curves.get("long")))
            every = [*results, *answered, rows.memory(results, list(curves.values()))]
            loads = (before, rows.load())
            document.write(arguments.docs, bench, every, list(curves.values()), loads, arguments.note)
    print(f"wrote {arguments.docs / 'speed.md'}", file=sys.stderr)
    return 0
