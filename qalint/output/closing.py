"""The closing lines of the formats made for people: what was found, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .common import SEVERITIES, one_line, plural, relative
from .paint import Paint

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic
    from ..report_data import Report


def closing(report: Report, paint: Paint) -> str:
    """The lines after the findings, each with its line end; with `--quiet` only the fixes asked for."""
    if report.quiet:
        return "".join(line + "\n" for line in _fixes(report))
    shown = report.shown
    lines = [*_fixes(report), *_count(report, shown, paint)]
    if shown:
        lines += _next_steps(report, shown, paint)
    if report.known and not report.show_marked:
        lines.append(f"Not shown: {plural(report.known, 'known finding')} of the baseline.")
    if report.hidden:
        hidden = plural(report.hidden, "less certain finding")
        lines.append(f"Not shown: {hidden} (`--min-confidence low` shows all).")
    return "".join(line + "\n" for line in lines)


def _fixes(report: Report) -> list[str]:
    """With `--show-fixes`: what was fixed, file by file."""
    if not (report.show_fixes and report.fixed):
        return []
    total = sum(fixed.number for fixed in report.fixed)
    lines = [f"Fixed {plural(total, 'finding')}:"]
    last = None
    for fixed in sorted(report.fixed):
        if fixed.filename != last:
            lines.append(f"- {one_line(relative(fixed.filename, report.base))}:")
            last = fixed.filename
        lines.append(f"    {fixed.number} × {fixed.code} ({fixed.name})")
    return [*lines, ""]


def _count(report: Report, shown: Sequence[Diagnostic], paint: Paint) -> list[str]:
    fixed = sum(entry.number for entry in report.fixed)
    if not shown:
        if fixed:
            return [f"Found {plural(fixed, 'finding')} ({fixed} fixed, 0 remaining)."]
        return [paint("green", "All checks passed!")]
    if fixed:
        found = f"Found {plural(len(shown) + fixed, 'finding')} ({fixed} fixed, {len(shown)} remaining)"
    else:
        found = f"Found {plural(len(shown), 'finding')}"
    by_severity = [
        f"{count} {severity}"
        for severity in SEVERITIES
        if (count := sum(diagnostic.severity == severity for diagnostic in shown))
    ]
    files = len({diagnostic.filename for diagnostic in shown})
    return [paint("bold", f"{found} in {plural(files, 'file')}: {', '.join(by_severity)}.")]


def _next_steps(report: Report, shown: Sequence[Diagnostic], paint: Paint) -> list[str]:
    fixable = sum(report.fixable(diagnostic) for diagnostic in shown)
    unsafe = sum(
        diagnostic.fix is not None and diagnostic.fix.applicability == "unsafe" for diagnostic in shown
    )
    if report.unsafe_fixes:
        unsafe = 0
    star = "[" + paint("cyan", "*") + "]"
    lines = []
    if fixable and not report.fixing:
        more = f" ({unsafe} more with `--unsafe-fixes`)" if unsafe else ""
        lines.append(f"{star} {fixable} fixable with `--fix`{more}.")
    elif unsafe:
        lines.append(f"{plural(unsafe, 'fix', 'fixes')} to look at first: `--unsafe-fixes --diff`.")
    worst = min(shown, key=lambda diagnostic: SEVERITIES.index(diagnostic.severity))
    lines.append(f"`qalint rule {worst.code}` explains the {_ordinal(shown, worst)}.")
    threshold = SEVERITIES.index(report.fail_on)
    if all(SEVERITIES.index(diagnostic.severity) > threshold for diagnostic in shown):
        lines.append(f"None of them fails the run (`--fail-on {report.fail_on}`).")
    return lines


def _ordinal(shown: Sequence[Diagnostic], worst: Diagnostic) -> str:
    if len(shown) == 1:
        return "rule"
    return "first" if worst is shown[0] else "worst"
