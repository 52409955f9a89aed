"""JSON lines: the objects of the JSON array, one a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .json import as_json

if TYPE_CHECKING:
    from ..report_data import Report


def render(report: Report) -> str:
    """One object a line; nothing at all for a clean run."""
    return "".join(
        json.dumps(as_json(diagnostic, report), separators=(",", ":")) + "\n" for diagnostic in report.shown
    )
