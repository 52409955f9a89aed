"""rdjson: what reviewdog reads. Its columns count UTF-8 bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .common import INFORMATION_URI, RDJSON, relative
from .frame import lines_of

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic, Region
    from ..report_data import Report
    from .frame import Lines


def render(report: Report) -> str:
    """One document for the whole run."""
    document = {
        "source": {"name": "qalint", "url": INFORMATION_URI},
        "severity": "WARNING",
        "diagnostics": [_diagnostic(diagnostic, report) for diagnostic in report.shown],
    }
    return json.dumps(document, indent=2) + "\n"


def _diagnostic(diagnostic: Diagnostic, report: Report) -> dict[str, Any]:
    result: dict[str, Any] = {
        "message": diagnostic.message,
        "location": _location(diagnostic.filename, diagnostic.cell, diagnostic.region, report),
        "severity": RDJSON[diagnostic.severity],
        "code": {"value": diagnostic.code, "url": diagnostic.url},
    }
    if not diagnostic.url:
        del result["code"]["url"]
    if diagnostic.fix is not None:
        result["suggestions"] = [
            {
                "range": _range(diagnostic.filename, diagnostic.cell, edit.region, report),
                "text": edit.content,
            }
            for edit in diagnostic.fix.edits
        ]
    if diagnostic.related:
        result["relatedLocations"] = [
            {
                "message": place.message,
                "location": _location(place.filename, place.cell, place.region, report),
            }
            for place in diagnostic.related
        ]
    return result


def _location(filename: str, cell: int | None, region: Region, report: Report) -> dict[str, Any]:
    return {
        "path": relative(filename, report.base),
        "range": _range(filename, cell, region, report),
    }


def _range(filename: str, cell: int | None, region: Region, report: Report) -> dict[str, Any]:
    lines = lines_of(report.get_source(filename), cell)
    return {
        "start": {"line": region.row, "column": _bytes(lines, region.row, region.column)},
        "end": {"line": region.end_row, "column": _bytes(lines, region.end_row, region.end_column)},
    }


def _bytes(lines: Lines | None, row: int, column: int) -> int:
    """A column in code points as one in UTF-8 bytes."""
    if lines is None:
        return column
    before = lines[row][: column - 1]
    return len(before.encode(errors="surrogatepass")) + 1
