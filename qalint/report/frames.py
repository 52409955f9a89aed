"""Findings with their code frames, as `qalint check` shows them, inside other reports."""

from __future__ import annotations

from collections.abc import Iterable

from ..diagnostic import Diagnostic
from ..report_data import Report


def frames(findings: Iterable[Diagnostic], report: Report, width: int) -> list[str]:
    """The lines of the blocks, without what `check` writes at its end."""
    from ..output.closing import closing
    from ..output.full import render
    from ..output.paint import Paint

    shown = Report(
        tuple(findings),
        files=report.files,
        base=report.base,
        color=report.color,
        width=width,
        show_marked=True,
        get_source=report.get_source,
        get_rule=report.get_rule,
    )
    text = render(shown).removesuffix(closing(shown, Paint(report.color)))
    return text.rstrip("\n").split("\n")
