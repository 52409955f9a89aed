"""Whether a bound of the analyses hides or makes a finding: each file is linted with the bounds and without.

    python benchmarks/bounds.py FILE...

Every bound of the abstract machine and of the analysis of modules is lifted: by ten where work is
counted, by four where worlds or terms are, of which many grow with a power, and loops run five rounds
for three. Prints each finding of sections 11, 12 and 17 that comes or goes, and how much CPU time both
runs took; exits with 1 if any does.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
import time
from collections.abc import Callable
from types import FunctionType

from qalint.analysis import machine, modules
from qalint.testing import lint

LIFTED: dict[str, Callable[[int], int]] = {
    **dict.fromkeys(
        (
            "STEPS",
            "WORK",
            "ACTIVATION",
            "BARREN",
            "FILES",
            "BYTES",
            "METHOD",
            "TOTAL",
            "LIBRARY",
            "PART",
            "PARTS",
        ),
        lambda bound: 10 * bound,
    ),
    **dict.fromkeys(("SOFT", "HARD", "DEPTH", "CONDITION"), lambda bound: 4 * bound),
    "ROUNDS": lambda bound: bound + 2,
}


def lift() -> int:
    """Lift the bounds, wherever they were imported to; the number of places."""
    places = 0
    before: dict[int, int] = {}
    loaded = [
        importlib.import_module(found.name)
        for package in (machine, modules)
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    ]
    for module in loaded:
        for name, higher in LIFTED.items():
            bound = getattr(module, name, None)
            if type(bound) is int:
                before[bound] = higher(bound)
                setattr(module, name, higher(bound))
                places += 1
    for module in loaded:
        for cls in vars(module).values():
            for function in vars(cls).values() if isinstance(cls, type) else ():
                if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                    given = function.__defaults__ or ()
                    function.__defaults__ = tuple(
                        before[item] if type(item) is int and item > 1000 and item in before else item
                        for item in given
                    )
    return places


def run(paths: list[str], *, lifted: bool) -> tuple[dict[str, list[str]], float]:
    """The findings of each file, in a process of its own, and its CPU time."""
    command = [sys.executable, __file__, "--lifted" if lifted else "--bounded"]
    done = subprocess.run(command, input="\n".join(paths), capture_output=True, text=True, check=True)
    findings, seconds = json.loads(done.stdout)
    return findings, seconds


def child(*, lifted: bool) -> None:
    """Lint the files that standard input names, one by one."""
    if lifted:
        assert lift() > 20
    found = {}
    start = time.process_time()
    for path in sys.stdin.read().split("\n"):
        results = lint([path], select=["QA11", "QA12", "QA17"])
        found[path] = [f"{item.code}:{item.region.row} {item.confidence}" for item in results]
    json.dump((found, time.process_time() - start), sys.stdout)


def main(argv: list[str]) -> int:
    """Compare, and print."""
    if argv[0] in ("--lifted", "--bounded"):
        child(lifted=argv[0] == "--lifted")
        return 0
    bounded, seconds = run(argv, lifted=False)
    free, more = run(argv, lifted=True)
    changed = 0
    for path in argv:
        if bounded[path] != free[path]:
            changed += 1
            comes = sorted(set(free[path]) - set(bounded[path]))
            goes = sorted(set(bounded[path]) - set(free[path]))
            print(f"{path}: comes {comes}, goes {goes}")
    total = sum(map(len, bounded.values()))
    print(f"{len(argv)} files, {total} findings, {changed} files differ")
    print(f"{seconds:.1f} s of CPU with bounds, {more:.1f} s without")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
