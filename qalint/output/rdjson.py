"""rdjson: what reviewdog reads. Its columns count UTF-8 bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .common import INFORMATION_URI, RDJSON, relative
from .physical import physical, raw_lines

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic, Region
    from ..report_data import Report


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
    if diagnostic.fix is not None and diagnostic.cell is None:  # a cell's text lies inside JSON
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
    source = report.get_source(filename)
    region = physical(filename, cell, region, report) or region

    def point(row: int, column: int) -> dict[str, int]:
        """A column in code points as one in UTF-8 bytes."""
        if source is None:
            return {"line": row, "column": column}
        if cell is None:
            line = source.line(row) if row <= len(source.line_starts) else ""
        else:
            line = raw_lines(source)[row - 1]
        return {"line": row, "column": len(line[: column - 1].encode(errors="surrogatepass")) + 1}

    return {
        "start": point(region.row, region.column),
        "end": point(region.end_row, region.end_column),
    }
