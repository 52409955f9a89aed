"""What the abstract interpreters cost beside LibCST's own parse, file by file, in CPU time.

    python benchmarks/machine_cost.py [--modules] FILE...

For each file: LibCST's parse, and the story of section 11 with all it needs (imported files too), or what
sections 12 and 17 read, with no definition left out. Prints the median and the worst of the ratios, the
dearest files, and who met a bound.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import libcst

from qalint import parsing, reader
from qalint.analysis.machine.story import Story
from qalint.analysis.modules.analysis import Modules
from qalint.analysis.project import Project, load
from qalint.file import File


def measure(path: Path, analysis: type[Story] | type[Modules]) -> tuple[float, float, bool]:
    """Seconds of LibCST's parse, seconds of the analysis, and whether it met a bound."""
    source = reader.read(str(path))
    start = time.process_time()
    libcst.parse_module(source.text)
    parsed = time.process_time()
    file = File(source, parsing.tree_of(source), Project([str(path.parent)], load))
    told = file.get(analysis)
    spent = time.process_time() - parsed
    met = told is not None and (told.spent if isinstance(told, Modules) else bool(told.bounds))
    return parsed - start, spent, met


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--modules", action="store_true", help="sections 12 and 17 instead of section 11")
    parser.add_argument("files", nargs="+")
    asked = parser.parse_args()
    analysis: type[Story] | type[Modules] = Modules if asked.modules else Story
    measure(Path(__file__), analysis)  # Imports are nobody's cost.
    rows = []
    for name in asked.files:
        try:
            rows.append((*measure(Path(name), analysis), name))
        except Exception as error:
            print(f"{name}: {type(error).__name__}")
    ratios = sorted(spent / parse for parse, spent, _, _ in rows)
    parses, total = sum(row[0] for row in rows), sum(row[1] for row in rows)
    print(f"{len(rows)} files: LibCST {parses:.1f} s, the analysis {total:.1f} s")
    print(f"analysis / parse: median {statistics.median(ratios):.2f}, worst {ratios[-1]:.1f}")
    for _, spent, _, name in sorted(rows, key=lambda row: -row[1])[:5]:
        print(f"  {spent:.2f} s  {name}")
    bound = [name for _, _, met, name in rows if met]
    print(f"a bound was met in {len(bound)}: {', '.join(bound)}")


if __name__ == "__main__":
    main()
