"""JSON: an array that ruff's readers can read, with our own keys beside theirs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic, PlainEdit, PlainFix, RelatedPlace
    from ..report_data import Report


def render(report: Report) -> str:
    """The array, indented. ASCII only: every locale can print it."""
    return json.dumps([as_json(diagnostic, report) for diagnostic in report.shown], indent=2) + "\n"


def as_json(diagnostic: Diagnostic, report: Report) -> dict[str, Any]:
    """One finding with the keys of the interface, in its order."""
    region = diagnostic.region
    return {
        "code": diagnostic.code,
        "name": diagnostic.name,
        "message": diagnostic.message,
        "severity": diagnostic.severity,
        "confidence": diagnostic.confidence,
        "filename": diagnostic.filename,
        "cell": diagnostic.cell,
        "notebook_cell": diagnostic.notebook_cell,
        "location": {"row": region.row, "column": region.column},
        "end_location": {"row": region.end_row, "column": region.end_column},
        "related": [_related(place, report) for place in diagnostic.related],
        "help": diagnostic.help,
        "fix": None if diagnostic.fix is None else _fix(diagnostic.fix),
        "status": diagnostic.status,
        "checklist": list(diagnostic.checklist),
        "url": diagnostic.url,
        "noqa_row": diagnostic.noqa_row,
        "fingerprint": diagnostic.fingerprint,
    }


def _related(place: RelatedPlace, report: Report) -> dict[str, Any]:
    return {
        "filename": place.filename,
        "cell": place.cell,
        "location": {"row": place.region.row, "column": place.region.column},
        "end_location": {"row": place.region.end_row, "column": place.region.end_column},
        "message": place.message,
    }


def _fix(fix: PlainFix) -> dict[str, Any]:
    return {
        "applicability": fix.applicability,
        "message": fix.message,
        "edits": [_edit(edit) for edit in fix.edits],
    }


def _edit(edit: PlainEdit) -> dict[str, Any]:
    region = edit.region
    return {
        "content": edit.content,
        "location": {"row": region.row, "column": region.column},
        "end_location": {"row": region.end_row, "column": region.end_column},
    }
