"""`--add-ignore`: a suppression for every finding, where the file's own tools will keep it.

marimo drops comments on a cell's decorator, signature and `return`, and outside cells. There the
suppression goes to the first line of the cell's body, or as `file-ignore` into the file's header.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable

from . import parsing, reader
from .diagnostic import Diagnostic
from .discovery import Found
from .fixing import replace
from .registry import ALWAYS
from .rule import Edit
from .runner import Runner, merge
from .source import Source
from .statements import Statements

_CONFIDENCES = ("high", "medium", "low")
_EXISTING = re.compile(r"#\s*qalint:\s*(?P<verb>ignore|file-ignore)\s*\[(?P<codes>[^\]]*)\]")
_PREAMBLE = re.compile(r"(?:#!.*\r?\n)?(?:[ \t\f]*#.*?coding[:=].*\r?\n)?")


def add_suppressions(runner: Runner, files: list[Found], reason: str, min_confidence: str) -> int:
    """Write suppressions for all findings that are shown, and say how many; the exit status is 0."""
    linted = frozenset(found.path for found in files)
    wanted = _CONFIDENCES.index(min_confidence)
    by_file: dict[str, list[Diagnostic]] = {}
    for item in merge(runner.lint(files).values(), linted):
        if item.code in (*ALWAYS, "QA0004", "QA0005") or item.status != "new" or item.filename not in linted:
            continue
        if _CONFIDENCES.index(item.confidence) <= wanted:
            by_file.setdefault(item.filename, []).append(item)
    number = 0
    for path, items in sorted(by_file.items()):
        source = reader.read(path)
        data = reader.rewrite(source, _edits(source, items, reason))
        if path in reader.overlay:
            sys.stdout.write(data.decode(source.encoding))
        else:
            replace(path, data)
        number += len(items)
    print(f"Added suppressions for {number} finding{'s' * (number != 1)}.", file=sys.stderr)
    # Their stamps are those from before the edit: the cache must not believe them.
    left = [
        found._replace(stat=None)
        for found in files
        if found.path in by_file and found.path not in reader.overlay
    ]
    for found in left:
        runner.forget(found.path)
    remaining = [
        item
        for item in merge(runner.lint(left, linted).values(), linted)
        if item.status == "new" and item.code in {known.code for known in by_file.get(item.filename, ())}
    ]
    for item in remaining:
        if _CONFIDENCES.index(item.confidence) <= wanted:
            where = f"{os.path.relpath(item.filename)}:{item.region.row}"
            print(f"warning: {item.code} at {where} could not be suppressed.", file=sys.stderr)
    return 0


def _edits(source: Source, items: Iterable[Diagnostic], reason: str) -> list[Edit]:
    try:
        tree = parsing.tree_of(source)
    except parsing.Broken:
        rest = parsing.readable_cells(source)
        if rest is None:
            raise
        tree = rest[0]
    statements = Statements(source, tree)
    notebook = source.kind == "python" and bool(statements.cells)
    rows: dict[int, set[str]] = {}
    for item in items:
        offset = _row(source, item, item.noqa_row)
        start = _row(source, item, item.region.row)
        row = _kept_row(statements, start, offset, notebook)
        rows.setdefault(row, set()).add(item.code)
    words = f" {reason}" if reason else ""
    return [
        _comment(source, row, sorted(codes), words) if row else _header(source, sorted(codes), words)
        for row, codes in rows.items()
    ]


def _row(source: Source, item: Diagnostic, row: int) -> int:
    """A row of a diagnostic counted over the whole text."""
    if item.cell is None:
        return row
    block = next(block for block in source.blocks if block.number == item.cell)
    return source.row(block.start) + row - 1


def _kept_row(statements: Statements, start: int, wanted: int, notebook: bool) -> int:
    """The row whose end marimo keeps and that covers the finding; 0 for the header of the file."""
    if not notebook:
        return wanted
    for cell in statements.cells:
        if any(first <= start <= last for first, last in cell.outside):
            return cell.first_end
        if cell.header_end < start <= cell.last:
            return wanted
    return 0


def _comment(source: Source, row: int, codes: list[str], words: str) -> Edit:
    start = source.line_starts[row - 1]
    line = source.line(row)
    match = _EXISTING.search(line)
    if match and match["verb"] == "ignore":
        more = [code for code in codes if code not in re.split(r"[,\s]+", match["codes"])]
        at = start + match.end("codes")
        return Edit(at, at, "".join(f", {code}" for code in more))
    at = start + len(line.rstrip())
    return Edit(at, start + len(line), f"  # qalint: ignore[{', '.join(codes)}]{words}")


def _header(source: Source, codes: list[str], words: str) -> Edit:
    match = _PREAMBLE.match(source.text)
    at = match.end() if match else 0
    ending = "\r\n" if "\r\n" in source.text else "\n"
    return Edit(at, at, f"# qalint: file-ignore[{', '.join(codes)}]{words}{ending}")
