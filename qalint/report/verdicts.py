"""The verdict on one item of the checklist, and how verdicts of several files become one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..checklist import Item
from ..diagnostic import Diagnostic

PASS, FAIL, UNKNOWN, NOT_APPLICABLE, PERSON = "pass", "fail", "unknown", "not-applicable", "needs-person"
ALL = (FAIL, UNKNOWN, PERSON, PASS, NOT_APPLICABLE)
"""The verdicts, the ones that ask for work first."""


class Evidence(NamedTuple):
    """Something seen in a file that supports a verdict. `row` and `column` are 1-based."""

    filename: str
    row: int
    column: int
    text: str
    cell: int | None = None


class Judgement(NamedTuple):
    """What one file says about one item, before the rules' findings are counted.

    `reason` says why the item does not apply, what hid it, or in words what was seen. `absent` marks an
    unknown that only means "not seen in this file": another file of the same run may show it.
    """

    verdict: str
    reason: str | None = None
    evidence: tuple[Evidence, ...] = ()
    absent: bool = False


class Verdict(NamedTuple):
    """The verdict on one item. `verdict` is None where nothing was judged (the bare checklist)."""

    item: Item
    verdict: str | None = None
    findings: tuple[Diagnostic, ...] = ()
    reason: str | None = None
    question: str | None = None
    evidence: tuple[Evidence, ...] = ()


def combine(item: Item, judgements: Iterable[Judgement], findings: Sequence[Diagnostic]) -> Verdict:
    """One verdict from what the files say: findings fail it, and a pass needs every file it applies to.

    A file to which the item does not apply counts neither way. One file that could not be judged makes the
    whole unknown, and what was seen elsewhere stays as evidence: silence is never a pass. What is merely
    absent from a file may stand in another.
    """
    judged = list(judgements)
    if any(judgement.verdict == PASS for judgement in judged):
        judged = [judgement for judgement in judged if not judgement.absent]
    if findings:
        return Verdict(item, FAIL, tuple(findings), None, None, ())
    for wanted in (UNKNOWN, PERSON, PASS):
        reasons = [judgement.reason for judgement in judged if judgement.verdict == wanted]
        if reasons:
            ordered = sorted(judged, key=lambda judgement: judgement.verdict != wanted)
            evidence = tuple(piece for judgement in ordered for piece in judgement.evidence)
            question = item.question if wanted == PERSON else None
            return Verdict(item, wanted, (), _join(reasons), question, evidence)
    reasons = [judgement.reason for judgement in judged]
    return Verdict(item, NOT_APPLICABLE, (), _join(reasons) or "no code to judge", None, ())


def _join(reasons: Iterable[str | None]) -> str | None:
    """Different reasons, each once, the first three of them."""
    seen = list(dict.fromkeys(reason for reason in reasons if reason))
    if not seen:
        return None
    more = f"; and {len(seen) - 3} more" if len(seen) > 3 else ""
    return "; ".join(seen[:3]) + more


def evidence_json(piece: Evidence) -> dict[str, Any]:
    """The JSON of one piece of evidence."""
    found: dict[str, Any] = {
        "filename": piece.filename,
        "cell": piece.cell,
        "location": {"row": piece.row, "column": piece.column},
        "text": piece.text,
    }
    return found


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """The JSON of one item, as the interface promises it."""
    from .gather import diagnostic_json

    item = verdict.item
    return {
        "id": item.id,
        "section": item.section,
        "text": item.text,
        "priority": item.priority,
        "judged_by": [{"kind": judge.kind, "ref": judge.ref} for judge in item.judged_by],
        "verdict": verdict.verdict,
        "findings": [diagnostic_json(finding) for finding in verdict.findings],
        "reason": verdict.reason,
        "question": item.question if verdict.verdict is None else verdict.question,
        "evidence": [evidence_json(piece) for piece in verdict.evidence],
    }
