"""Findings under the name of their file, in columns."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from .closing import closing
from .common import one_line, relative
from .concise import summary
from .paint import Paint

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic
    from ..report_data import Report


def render(report: Report) -> str:
    """A heading a file, its findings indented, an empty line; then the closing lines."""
    paint = Paint(report.color)
    out = []
    for filename, group in groupby(report.shown, key=lambda diagnostic: diagnostic.filename):
        diagnostics = list(group)
        wide = max(len(_where(diagnostic)) for diagnostic in diagnostics)
        out.append(paint("bold", one_line(relative(filename, report.base))) + ":\n")
        out += [
            f"  {_where(diagnostic):<{wide}} {summary(diagnostic, report, paint)}\n"
            for diagnostic in diagnostics
        ]
        out.append("\n")
    return "".join(out) + closing(report, paint)


def _where(diagnostic: Diagnostic) -> str:
    cell = "" if diagnostic.cell is None else f"cell {diagnostic.cell}:"
    return f"{cell}{diagnostic.region.row}:{diagnostic.region.column}"
