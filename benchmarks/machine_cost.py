"""What the abstract machine costs beside LibCST's own parse, file by file, in CPU time.

    python benchmarks/machine_cost.py FILE...

For each file: LibCST's parse, and the story of section 11 with all it needs (imported files too).
Prints the median and the worst of the ratios, the dearest files, and who met a bound.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import libcst

from qalint import parsing, reader
from qalint.analysis.machine.story import Story
from qalint.analysis.project import Project, load
from qalint.file import File


def measure(path: Path) -> tuple[float, float, int]:
    """Seconds of LibCST's parse, seconds of the story, and the bounds that it met."""
    source = reader.read(str(path))
    start = time.process_time()
    libcst.parse_module(source.text)
    parsed = time.process_time()
    file = File(source, parsing.tree_of(source), Project([str(path.parent)], load))
    story = file.get(Story)
    return parsed - start, time.process_time() - parsed, len(story.bounds) if story is not None else 0


def main(paths: list[str]) -> None:
    """Measure and print."""
    measure(Path(__file__))  # Imports are nobody's cost.
    rows = []
    for name in paths:
        try:
            rows.append((*measure(Path(name)), name))
        except Exception as error:
            print(f"{name}: {type(error).__name__}")
    ratios = sorted(story / parse for parse, story, _, _ in rows)
    parses, stories = sum(row[0] for row in rows), sum(row[1] for row in rows)
    print(f"{len(rows)} files: LibCST {parses:.1f} s, stories {stories:.1f} s")
    print(f"story / parse: median {statistics.median(ratios):.2f}, worst {ratios[-1]:.1f}")
    for _, story, _, name in sorted(rows, key=lambda row: -row[1])[:5]:
        print(f"  {story:.2f} s  {name}")
    bound = [name for _, _, bounds, name in rows if bounds]
    print(f"a bound was met in {len(bound)}: {', '.join(bound)}")


if __name__ == "__main__":
    main(sys.argv[1:])
