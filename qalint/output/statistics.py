"""`--statistics`: how often each rule spoke."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .paint import SEVERITY_STYLE, Paint

if TYPE_CHECKING:
    from ..report_data import Report


class Line(NamedTuple):
    """One rule's findings: how many, and how many of them `--fix` would fix."""

    code: str
    name: str
    severity: str
    findings: int
    fixable: int


def tally(report: Report) -> list[Line]:
    """The rules that spoke, the most frequent first."""
    lines: dict[str, Line] = {}
    for item in report.shown:
        old = lines.get(item.code) or Line(item.code, item.name, item.severity, 0, 0)
        lines[item.code] = old._replace(findings=old.findings + 1, fixable=old.fixable + report.fixable(item))
    return sorted(lines.values(), key=lambda line: (-line.findings, line.code))


def render(report: Report) -> str:
    """A table: count, code, `[*]` where all can be fixed (`[-]` where some can), name."""
    lines = tally(report)
    if not lines:
        return ""
    paint = Paint(report.color)
    wide = len(str(lines[0].findings))
    codes = max(len(line.code) for line in lines)
    marks = any(line.fixable for line in lines)
    out = []
    for line in lines:
        mark = ("[*] " if line.fixable == line.findings else "[-] " if line.fixable else "[ ] ") * marks
        code = paint(SEVERITY_STYLE[line.severity], f"{line.code:<{codes}}")
        out.append(f"{line.findings:>{wide}}  {code}  {mark}{line.name}\n")
    total = sum(line.findings for line in lines)
    out.append(
        f"Found {total} finding{'' if total == 1 else 's'} of {len(lines)} rule{'s' * (len(lines) > 1)}.\n"
    )
    if fixable := sum(line.fixable for line in lines):
        out.append(f"[*] {fixable} fixable with `--fix`.\n")
    return "".join(out)


def render_json(report: Report) -> str:
    """The same as an array of `{code, name, severity, count, fixable, fixable_count}`."""
    import json

    return (
        json.dumps(
            [
                {
                    "code": line.code,
                    "name": line.name,
                    "severity": line.severity,
                    "count": line.findings,
                    "fixable": line.fixable == line.findings,
                    "fixable_count": line.fixable,
                }
                for line in tally(report)
            ],
            indent=2,
        )
        + "\n"
    )
