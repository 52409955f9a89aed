"""What people see every day: the finding in its source, why, and what the fix would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .closing import closing
from .common import marker, one_line, position, relative
from .concise import remarks_of
from .frame import Mark, frame, lines_of, wrap
from .paint import SEVERITY_STYLE, Paint
from .patch import patch

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic, PlainFix, RelatedPlace
    from ..report_data import Report

MOST_RELATED = 8
"""More related places than these are counted, not shown."""


def render(report: Report) -> str:
    """A block a finding, an empty line after each, then the closing lines."""
    paint = Paint(report.color)
    width = min(max(report.width, 40), 120)
    out = []
    drawn: set[tuple[str, PlainFix]] = set()
    for diagnostic in report.shown:
        out += [line + "\n" for line in _block(diagnostic, report, paint, width, drawn)]
        out.append("\n")
    return "".join(out) + closing(report, paint)


def _block(
    diagnostic: Diagnostic, report: Report, paint: Paint, width: int, drawn: set[tuple[str, PlainFix]]
) -> list[str]:
    out = [*_header(diagnostic, report, paint, width), _arrow(diagnostic, report, paint)]
    here, elsewhere = _split(diagnostic)
    lines = lines_of(report.get_source(diagnostic.filename), diagnostic.cell)
    if lines is None:
        elsewhere = [*here, *elsewhere]
    else:
        main = Mark(diagnostic.region, "", SEVERITY_STYLE[diagnostic.severity], "^")
        marks = [Mark(place.region, one_line(place.message), "blue", "-") for place in here]
        out += frame(lines, [main, *marks], paint, width)
    for place in elsewhere:
        out += _note(place, report, paint, width)
    left_out = len(diagnostic.related) - len(here) - len(elsewhere)
    if lines is not None and left_out > 0:
        out.append(f"note: {left_out} more such places are not shown")
    if diagnostic.help:
        out += _labelled("help", diagnostic.help, paint, width)
    if diagnostic.fix is not None:
        key = (diagnostic.filename, diagnostic.fix)
        out += _fix(diagnostic, diagnostic.fix, report, paint, width, again=key in drawn)
        drawn.add(key)
    return out


def _header(diagnostic: Diagnostic, report: Report, paint: Paint, width: int) -> list[str]:
    """`CODE [*] message`, wrapped with an indent."""
    code, mark = diagnostic.code, marker(diagnostic, report)
    plain = f"{code} {mark}{one_line(diagnostic.message)}"
    first, *rest = _wrapped(plain, width, "  ")
    colored = paint(SEVERITY_STYLE[diagnostic.severity], code) + " " + paint("cyan", mark)
    return [
        colored + paint("bold", first[len(code) + 1 + len(mark) :]),
        *(paint("bold", line) for line in rest),
    ]


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    first, *rest = wrap(text, width)
    if not rest:
        return [first]
    return [first, *(indent + line for line in wrap(text[len(first) + 1 :], width - len(indent)))]


def _arrow(diagnostic: Diagnostic, report: Report, paint: Paint) -> str:
    path = relative(diagnostic.filename, report.base)
    where = position(path, diagnostic.cell, diagnostic.region.row, diagnostic.region.column)
    words = [diagnostic.name, diagnostic.severity, *remarks_of(diagnostic)]
    if diagnostic.notebook_cell and diagnostic.notebook_cell != "_":
        words.append(f"cell {one_line(diagnostic.notebook_cell)}")
    return f"{paint('blue', '-->')} {where} {paint('dim', '(' + ', '.join(words) + ')')}"


def _split(diagnostic: Diagnostic) -> tuple[list[RelatedPlace], list[RelatedPlace]]:
    """The related places for the finding's own frame, and those that need one of their own."""
    here: list[RelatedPlace] = []
    elsewhere: list[RelatedPlace] = []
    for place in diagnostic.related[:MOST_RELATED]:
        same = place.filename == diagnostic.filename and place.cell == diagnostic.cell
        (here if same else elsewhere).append(place)
    return here, elsewhere


def _note(place: RelatedPlace, report: Report, paint: Paint, width: int) -> list[str]:
    path = relative(place.filename, report.base)
    where = position(path, place.cell, place.region.row, place.region.column)
    out = [*_labelled("note", place.message, paint, width), f"{paint('blue', '-->')} {where}"]
    lines = lines_of(report.get_source(place.filename), place.cell)
    if lines is not None:
        out += frame(lines, [Mark(place.region, "", "blue", "-")], paint, width, context=0)
    return out


def _labelled(label: str, text: str, paint: Paint, width: int) -> list[str]:
    first, *rest = _wrapped(f"{label}: {one_line(text)}", width, " " * (len(label) + 2))
    return [paint("cyan", label) + first[len(label) :], *rest]


def _fix(
    diagnostic: Diagnostic, fix: PlainFix, report: Report, paint: Paint, width: int, *, again: bool
) -> list[str]:
    """What the fix does, as words and as a diff, and how it is applied.

    Findings with one cause share a fix: its diff is drawn once.
    """
    how = {
        "safe": "safe: applied by `--fix`",
        "unsafe": "unsafe: read it first; applied by `--fix --unsafe-fixes`",
        "display-only": "for you to apply: it needs a decision",
    }[fix.applicability]
    if again:
        return _labelled("fix", f"{fix.message} (the fix shown above)", paint, width)
    out = _labelled("fix", f"{fix.message} ({how})", paint, width)
    lines = lines_of(report.get_source(diagnostic.filename), diagnostic.cell)
    if lines is not None and fix.edits:
        out += patch(lines, fix.edits, paint, width)
    return out
