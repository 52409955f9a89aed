"""The checklist as a list: plain text for a terminal of 80 columns, and Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from ..checklist import Item, titles
from ..output.common import one_line
from .paths import readable
from .verdicts import ALL, FAIL, NOT_APPLICABLE, PASS, PERSON, UNKNOWN, Evidence, Verdict

LABELS = {PASS: "pass", FAIL: "FAIL", UNKNOWN: "unknown", NOT_APPLICABLE: "n/a", PERSON: "ask"}
COLOURS = {PASS: "32", FAIL: "31;1", UNKNOWN: "33", NOT_APPLICABLE: "2", PERSON: "36"}
_PRIORITY_COLOURS = {"critical": "31", "high": "33", "medium": "36"}


def judges(item: Item) -> str:
    """What judges an item, in one line: rule codes, then the other kinds."""
    codes = list(item.rules)
    others = [
        f"{judge.kind} ({judge.ref})" for judge in item.judged_by if judge.kind not in ("rule", "person")
    ]
    people = ["a person"] if item.question else []
    return ", ".join([" ".join(codes)] * bool(codes) + others + people)


def by_section(verdicts: Iterable[Verdict]) -> list[tuple[str, str, list[Verdict]]]:
    """The verdicts grouped as (section, title, verdicts), in the order of the checklist."""
    groups: dict[str, list[Verdict]] = {section: [] for section in titles()}
    for verdict in verdicts:
        groups[verdict.item.section].append(verdict)
    return [(section, titles()[section], group) for section, group in groups.items() if group]


def counts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many items got each verdict."""
    found = dict.fromkeys(ALL, 0)
    for verdict in verdicts:
        if verdict.verdict:
            found[verdict.verdict] += 1
    return found


def where(evidence: Evidence) -> str:
    """The place of a piece of evidence, as editors and terminals read it."""
    cell = f"cell {evidence.cell}:" if evidence.cell else ""
    return f"{readable(evidence.filename)}:{cell}{evidence.row}"


def explanation(verdict: Verdict, limit: int = 3) -> list[str]:
    """Why the verdict is what it is: findings, evidence, the reason or the question."""
    lines = []
    for finding in verdict.findings[:limit]:
        cell = f"cell {finding.cell}:" if finding.cell else ""
        place = f"{readable(finding.filename)}:{cell}{finding.region.row}"
        sure = "" if finding.confidence == "high" else f" ({finding.confidence} confidence)"
        lines.append(f"{place} {finding.code} {finding.message}{sure}")
    if len(verdict.findings) > limit:
        more = len(verdict.findings) - limit
        lines.append(f"and {more} more finding{'s' if more > 1 else ''}")
    if verdict.reason:
        lines.append(verdict.reason)
    if verdict.question:
        lines.append(verdict.question)
    if verdict.verdict in (PASS, UNKNOWN, PERSON):
        lines.extend(f"{where(piece)} {piece.text}" for piece in verdict.evidence[:limit])
    return lines


def text(verdicts: Sequence[Verdict], *, colour: bool = False, width: int = 80) -> str:
    """The list for a terminal. Without verdicts it shows what judges each item."""

    def paint(code: str, words: str) -> str:
        return f"\x1b[{code}m{words}\x1b[0m" if colour else words

    judged = any(verdict.verdict for verdict in verdicts)
    lines: list[str] = []
    for section, title, group in by_section(verdicts):
        lines += ["", paint("1", f"{section} {title}")]
        for verdict in group:
            item = verdict.item
            if judged:
                label = LABELS[verdict.verdict or UNKNOWN]
                second = paint(COLOURS[verdict.verdict or UNKNOWN], f"{label:8}")
            else:
                second = paint(_PRIORITY_COLOURS[item.priority], f"{item.priority:8}")
            first, *rest = textwrap.wrap(item.text, width - 20)
            lines.append(f"  {item.id}  {second}  {first}")
            lines += [" " * 19 + line for line in rest]
            below = explanation(verdict) if judged else ["by " + judges(item)]
            for sentence in below:
                for row, line in enumerate(
                    textwrap.wrap(
                        one_line(sentence), width - 23, break_long_words=False, break_on_hyphens=False
                    )
                ):
                    lines.append(paint("2", " " * (19 if row == 0 else 21) + line))
    total = len(verdicts)
    if judged:
        tally = counts(verdicts)
        parts = [f"{number} {LABELS[verdict].lower()}" for verdict, number in tally.items() if number]
        lines += ["", f"{total} items: " + ", ".join(parts)]
    else:
        lines += ["", f"{total} items. With paths, each gets a verdict there."]
    return "\n".join(lines[1:]) + "\n"


def escape_markdown(words: str) -> str:
    """Text as Markdown that links nowhere and calls nobody, safe in a cell of a table; `code` stays code."""
    words = one_line(words).replace("|", "\\|")
    parts = words.split("`")
    if len(parts) % 2 == 0:
        return _plain(words).replace("`", "\\`")
    return "`".join(part if index % 2 else _plain(part) for index, part in enumerate(parts))


def _plain(words: str) -> str:
    """Text outside code spans."""
    for char, instead in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("@", "&#64;"),
        ("[", "\\["),
        ("]", "\\]"),
    ):
        words = words.replace(char, instead)
    return words


def markdown(verdicts: Sequence[Verdict]) -> str:
    """The list as Markdown, one table a section."""
    judged = any(verdict.verdict for verdict in verdicts)
    lines: list[str] = ["# QA checklist", ""]
    for section, title, group in by_section(verdicts):
        lines += [f"## {section} {title}", ""]
        lines += ["| item | | priority | " + ("verdict |" if judged else "judged by |"), "|---|---|---|---|"]
        for verdict in group:
            item = verdict.item
            if judged:
                label = LABELS[verdict.verdict or UNKNOWN]
                last = f"**{label}**" if verdict.verdict == FAIL else label
                reasons = [escape_markdown(line) for line in explanation(verdict)]
                last = "<br>".join([last, *reasons])
            else:
                last = escape_markdown(judges(item))
            lines.append(f"| {item.id} | {escape_markdown(item.text)} | {item.priority} | {last} |")
        lines.append("")
    notes = [verdict.item for verdict in verdicts if verdict.item.note]
    if notes and not judged:
        lines += ["## Where the checklist is inexact", ""]
        lines += [f"- **{item.id}** {item.note}" for item in notes]
        lines.append("")
    return "\n".join(lines)
