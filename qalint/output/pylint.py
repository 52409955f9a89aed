"""pylint's parseable form: `path:line: [CODE] message`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import one_line, relative

if TYPE_CHECKING:
    from ..report_data import Report


def render(report: Report) -> str:
    """One line a finding."""
    return "".join(
        f"{one_line(relative(diagnostic.filename, report.base))}:{diagnostic.region.row}: "
        f"[{diagnostic.code}] {one_line(diagnostic.message)}\n"
        for diagnostic in report.shown
    )
