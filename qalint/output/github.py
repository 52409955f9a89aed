"""GitHub Actions: workflow commands that become annotations on the changed lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import GITHUB, one_line, position, relative
from .physical import physical

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic
    from ..report_data import Report


def render(report: Report) -> str:
    """One command a finding, with paths relative to the root of the repository."""
    return "".join(_command(diagnostic, report) for diagnostic in report.shown)


def _command(diagnostic: Diagnostic, report: Report) -> str:
    root = report.top_level
    path = relative(diagnostic.filename, root)
    region = diagnostic.region
    properties = {"title": f"qalint ({diagnostic.code})", "file": one_line(path)}
    if shown := physical(diagnostic.filename, diagnostic.cell, region, report):
        properties |= {"line": str(shown.row), "endLine": str(shown.end_row)}
        # The runner drops columns of a range over several lines, and warns.
        if shown.row == shown.end_row:
            properties |= {"col": str(shown.column), "endColumn": str(shown.end_column)}
    head = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    where = position(path, diagnostic.cell, region.row, region.column)
    lines = [f"{where}: {diagnostic.code} {one_line(diagnostic.message)}"]
    lines += [
        f"  {position(relative(place.filename, root), place.cell, place.region.row, place.region.column)}: "
        f"{one_line(place.message)}"
        for place in diagnostic.related
    ]
    if advice := diagnostic.help or (diagnostic.fix and diagnostic.fix.message):
        lines.append(f"  help: {one_line(advice)}")
    return f"::{GITHUB[diagnostic.severity]} {head}::{_data(chr(10).join(lines))}\n"


def _data(text: str) -> str:
    """The escapes of the runner for the text after `::`, without which a message could start a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """The escapes of the runner for the value of a property."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
