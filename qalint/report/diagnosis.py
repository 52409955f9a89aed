"""A diagnosis: the symptoms that were recognised, their causes, and what the code proves of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..diagnose import Cause, Recognised, Symptom, causes
from ..diagnostic import Diagnostic
from ..output.common import one_line
from ..output.paint import Paint
from ..report_data import Report
from .frames import frames


class Judged(NamedTuple):
    """One cause, its rank in the order of fixing (1 is first), and the findings that prove it."""

    cause: Cause
    rank: int
    proven: tuple[Diagnostic, ...]


class Diagnosis(NamedTuple):
    """What is known of the symptoms. `judged` is in the order of likelihood.

    `files` is how many files were read: 0 means that nothing could be proven.
    """

    recognised: tuple[Recognised, ...]
    judged: tuple[Judged, ...]
    files: int

    @property
    def symptoms(self) -> tuple[Symptom, ...]:
        """The symptoms, in the order in which they were seen."""
        return tuple(each.symptom for each in self.recognised)

    def in_order(self) -> list[Judged]:
        """The causes in the order in which to fix them: the proven ones first."""
        return sorted(self.judged, key=lambda each: (not each.proven, each.rank))


def judge(recognised: Sequence[Recognised], findings: Iterable[Diagnostic], files: int) -> Diagnosis:
    """Join the causes of the symptoms with the findings of their rules."""
    by_rule: dict[str, list[Diagnostic]] = {}
    for finding in findings:
        by_rule.setdefault(finding.code, []).append(finding)
    likely = causes([each.symptom for each in recognised])
    order = sorted(range(len(likely)), key=lambda index: (likely[index].first, index))
    rank = {index: place for place, index in enumerate(order, 1)}
    judged = tuple(
        Judged(cause, rank[index], tuple(by_rule.get(cause.rule or "", ())))
        for index, cause in enumerate(likely)
    )
    return Diagnosis(tuple(recognised), judged, files)


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The JSON of the interface; causes in the order in which to fix them, the proven ones first."""
    from .gather import diagnostic_json

    return {
        "symptoms": [symptom.name for symptom in diagnosis.symptoms],
        "causes": [
            {
                "rule": judged.cause.rule,
                "why": judged.cause.why,
                "rank": judged.rank,
                "proven": [diagnostic_json(finding) for finding in judged.proven],
                "look_at": f"{judged.cause.look_at}; fix: {judged.cause.fix}",
            }
            for judged in diagnosis.in_order()
        ],
    }


def text(diagnosis: Diagnosis, report: Report) -> str:
    """The diagnosis for a terminal."""
    paint = Paint(report.color)
    width = min(max(report.width, 40), 100)
    out: list[str] = []
    for each in diagnosis.recognised:
        out.append(
            paint("bold", each.symptom.title[:1].upper() + each.symptom.title[1:]) + f" ({each.symptom.name})"
        )
        if each.row:
            out += _wrap(f"line {each.row}: {one_line(each.line)}", width, "  ")
        if each.symptom.correction:
            out += _wrap("note: " + each.symptom.correction, width, "  ")
        out.append("")
    proven = [judged for judged in diagnosis.in_order() if judged.proven]
    others = [judged for judged in diagnosis.judged if not judged.proven]
    if proven:
        out.append(paint("bold", "Proven in the code, to be fixed in this order"))
        for number, judged in enumerate(proven, 1):
            out.append("")
            out += _wrap(f"{number}. {judged.cause.rule}: {judged.cause.why}", width, "", "   ")
            out += _wrap(f"fix: {judged.cause.fix}", width, "   ", "     ")
            out += [("   " + line).rstrip() for line in frames(judged.proven, report, width - 3)]
        out.append("")
    if others:
        title = _others_title(diagnosis, bool(proven))
        out.append(paint("bold", title))
        for judged in others:
            code = f" ({judged.cause.rule})" if judged.cause.rule else ""
            out += _wrap(f"- {judged.cause.why}{code}", width, "", "  ")
            out += _wrap(f"look at: {judged.cause.look_at}", width, "  ", "    ")
            out += _wrap(f"fix: {judged.cause.fix}", width, "  ", "    ")
    return "\n".join(out).rstrip() + "\n"


def markdown(diagnosis: Diagnosis) -> str:
    """The diagnosis as Markdown, for an issue or a pull request."""
    from .listing import escape_markdown
    from .paths import readable

    out: list[str] = []
    for symptom in diagnosis.symptoms:
        out += [f"## {escape_markdown(symptom.title)}", ""]
        if symptom.correction:
            out += [f"> {symptom.correction}", ""]
    proven = [judged for judged in diagnosis.in_order() if judged.proven]
    if proven:
        out += ["### Proven in the code, to be fixed in this order", ""]
        for number, judged in enumerate(proven, 1):
            out += [f"{number}. **{judged.cause.rule}** {judged.cause.why}. Fix: {judged.cause.fix}."]
            out += [
                f"   - `{escape_markdown(readable(finding.filename))}:{finding.region.row}`"
                f" {escape_markdown(finding.message)}"
                for finding in judged.proven
            ]
        out.append("")
    others = [judged for judged in diagnosis.judged if not judged.proven]
    if others:
        out += [f"### {_others_title(diagnosis, bool(proven))}", ""]
        for judged in others:
            code = f" ({judged.cause.rule})" if judged.cause.rule else ""
            out.append(
                f"- {judged.cause.why}{code}. Look at {judged.cause.look_at}. Fix: {judged.cause.fix}."
            )
        out.append("")
    return "\n".join(out)


def _others_title(diagnosis: Diagnosis, proven: bool) -> str:
    if not diagnosis.files:
        return "Possible causes, the likeliest first (name the files, and qalint looks for proof)"
    if proven:
        return "Also possible, and not seen in the code"
    return "Nothing is proven in the code; look at these next, the likeliest first"


def _wrap(words: str, width: int, indent: str, further: str | None = None) -> list[str]:
    return textwrap.wrap(
        words,
        width,
        initial_indent=indent,
        subsequent_indent=indent if further is None else further,
        break_long_words=False,
        break_on_hyphens=False,
    )
