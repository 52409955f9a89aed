"""JUnit XML: a test suite a file, a failed test case a finding."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from .common import one_line, position, relative

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic
    from ..report_data import Report

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report) -> str:
    """The document. A clean run holds one passing case, since readers take an empty file for an error."""
    shown = report.shown
    total = max(len(shown), 1)
    out = [
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        f'<testsuites name="qalint" tests="{total}" failures="{len(shown)}" errors="0">\n',
    ]
    for filename, group in groupby(shown, key=lambda diagnostic: diagnostic.filename):
        out += _suite(filename, list(group), report)
    if not shown:
        out.append(
            '  <testsuite name="qalint" tests="1" skipped="0" errors="0" failures="0" package="org.qalint">\n'
            '    <testcase name="No findings" classname="qalint"/>\n'
            "  </testsuite>\n"
        )
    return "".join(out) + "</testsuites>\n"


def _suite(filename: str, diagnostics: list[Diagnostic], report: Report) -> list[str]:
    count = len(diagnostics)
    path = relative(filename, report.base)
    stem = path.rpartition(".")[0] or path
    out = [
        f'  <testsuite name="{_text(filename)}" tests="{count}" skipped="0" '
        f'errors="0" failures="{count}" package="org.qalint">\n'
    ]
    for diagnostic in diagnostics:
        row, column, *_ = diagnostic.region
        out.append(
            f'    <testcase name="org.qalint.{_text(diagnostic.code)}" classname="{_text(stem)}" '
            f'file="{_text(path)}" line="{row}" column="{column}">\n'
            "      <properties>\n"
            f'        <property name="severity" value="{_text(diagnostic.severity)}"/>\n'
            f'        <property name="confidence" value="{_text(diagnostic.confidence)}"/>\n'
            "      </properties>\n"
            f'      <failure message="{_text(diagnostic.message)}" type="{_text(diagnostic.name)}">'
            f"{_text(_body(diagnostic, report))}</failure>\n"
            "    </testcase>\n"
        )
    out.append("  </testsuite>\n")
    return out


def _body(diagnostic: Diagnostic, report: Report) -> str:
    row, column, *_ = diagnostic.region
    path = relative(diagnostic.filename, report.base)
    lines = [f"{position(path, diagnostic.cell, row, column)}: {diagnostic.code} {diagnostic.message}"]
    for place in diagnostic.related:
        path = relative(place.filename, report.base)
        lines.append(f"{position(path, place.cell, place.region.row, place.region.column)}: {place.message}")
    if diagnostic.help:
        lines.append(f"help: {diagnostic.help}")
    return "\n".join(lines)


def _text(text: str) -> str:
    """`text` as XML text or attribute. What XML cannot hold, or acts where it is shown, is escaped before."""
    text = "\n".join(one_line(line) for line in text.split("\n"))
    text = _NOT_XML.sub("\ufffd", text)
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(char, entity)
    return text
