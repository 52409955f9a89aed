"""One line a finding: `path:row:column: CODE [*] message`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .closing import closing
from .common import marker, one_line, position, relative
from .paint import SEVERITY_STYLE, Paint

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic
    from ..report_data import Report


def render(report: Report) -> str:
    """Findings a line each, then the closing lines. Lines are never wrapped."""
    paint = Paint(report.color)
    lines = []
    for diagnostic in report.shown:
        path = relative(diagnostic.filename, report.base)
        row, column, *_ = diagnostic.region
        where = position(path, diagnostic.cell, row, column)
        lines.append(f"{paint('bold', where)}: {summary(diagnostic, report, paint)}\n")
    return "".join(lines) + closing(report, paint)


def summary(diagnostic: Diagnostic, report: Report, paint: Paint) -> str:
    """`CODE [*] message`, with what deserves a remark in brackets behind it."""
    code = paint(SEVERITY_STYLE[diagnostic.severity], diagnostic.code)
    mark = paint("cyan", marker(diagnostic, report))
    remarks = remarks_of(diagnostic)
    return f"{code} {mark}{one_line(diagnostic.message)}" + (f" ({', '.join(remarks)})" if remarks else "")


def remarks_of(diagnostic: Diagnostic) -> list[str]:
    """Confidence below high and statuses other than new, in words."""
    remarks = [] if diagnostic.confidence == "high" else [f"{diagnostic.confidence} confidence"]
    if diagnostic.status == "baseline":
        remarks.append("known")
    elif diagnostic.status == "suppressed":
        remarks.append("suppressed")
    return remarks
