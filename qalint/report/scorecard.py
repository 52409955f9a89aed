"""The scorecard: verdicts, scores and findings of some files, and its JSON and Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..checklist import PRIORITIES
from ..diagnostic import Diagnostic
from .frames import frames
from .gather import Gathered, Watch, diagnostic_json, gather
from .judge import facts_of, judge, supporting
from .listing import LABELS, by_section, counts, escape_markdown, explanation
from .paths import readable
from .scores import NAMES, Score, score_json, scores
from .verdicts import ALL, FAIL, PERSON, UNKNOWN, Verdict, verdict_json

SEVERITIES = ("critical", "high", "medium", "low")


class Scorecard(NamedTuple):
    """All that a report shows. `findings` are sorted by file and place, of every confidence."""

    target: str
    verdicts: list[Verdict]
    scores: dict[str, Score]
    findings: list[Diagnostic]
    gathered: Gathered

    @property
    def beside(self) -> str:
        """The modules that are judged with the target, as a sentence; empty where there are none."""
        return self.gathered.beside

    def open_items(self) -> list[Verdict]:
        """The items that ask for work, the most urgent first: failed, then unknown, then for a person."""
        order = {FAIL: 0, UNKNOWN: 1, PERSON: 2}
        wanted = [verdict for verdict in self.verdicts if verdict.verdict in order]
        return sorted(
            wanted,
            key=lambda each: (
                order[each.verdict or FAIL],
                PRIORITIES.index(each.item.priority),
                each.item.id,
            ),
        )

    def failed(self) -> list[Verdict]:
        """The failed items, in the order of the checklist's priorities."""
        return [verdict for verdict in self.open_items() if verdict.verdict == FAIL]

    def by_severity(self) -> list[Diagnostic]:
        """The findings, the worst first."""
        return sorted(self.findings, key=lambda each: (SEVERITIES.index(each.severity), each.sort_key()))

    def faults(self) -> list[Diagnostic]:
        """What `check` shows too: findings of high confidence from rules that are on by default."""
        return [each for each in self.findings if each.confidence == "high" and not self.is_advice(each)]

    def is_advice(self, finding: Diagnostic) -> bool:
        """Whether a finding comes from a rule that is off in `check`: advice that only reports give."""
        rule = self.gathered.rule(finding.code)
        return rule is not None and not rule.default


def scorecard(paths: list[str], progress: Watch | None = None) -> Scorecard:
    """The scorecard of the files under `paths`. Raises `gather.Problem`."""
    gathered = gather(paths, progress)
    verdicts = judge(gathered)
    every = facts_of(gathered)
    modules = supporting(every)
    beside = {*modules, *gathered.followed}
    found = scores(facts for facts in every if facts.file.path not in beside)
    # What a module leaves unexplained is asked of the notebook that uses it.
    shown = [each for each in gathered.findings if each.filename not in beside or not _is_prose(each)]
    return Scorecard(gathered.target, verdicts, found, shown, gathered)


def _is_prose(finding: Diagnostic) -> bool:
    return all(item.startswith("14.") for item in finding.checklist) and bool(finding.checklist)


def as_json(card: Scorecard) -> str:
    """The JSON of the interface."""
    data: dict[str, Any] = {
        "target": card.target,
        "sections": [
            {"section": section, "title": title, "items": [verdict_json(verdict) for verdict in group]}
            for section, title, group in by_section(card.verdicts)
        ],
        "scores": {name: score_json(score) for name, score in card.scores.items()},
        "findings": [diagnostic_json(finding) for finding in card.findings],
    }
    return json.dumps(data, indent=2) + "\n"


def summary(card: Scorecard) -> str:
    """One sentence: how the items came out."""
    tally = counts(card.verdicts)
    words = {
        "fail": "failed",
        "unknown": "unknown",
        "needs-person": "for a person to judge",
        "pass": "passed",
    }
    words["not-applicable"] = "not applicable"
    parts = [f"{tally[verdict]} {words[verdict]}" for verdict in ALL if tally[verdict]]
    return f"{len(card.verdicts)} items: " + ", ".join(parts)


def raises(score: Score, most: int = 3) -> list[str]:
    """What would raise a score, with the points it could bring."""
    return [
        f"+{gain:.1f} {part.criterion.name}: {part.criterion.advice}"
        + (f" ({part.evidence[0]})" if part.evidence else "")
        for gain, part in score.to_gain()[:most]
    ]


def markdown(card: Scorecard) -> str:
    """The scorecard as Markdown, for a pull request."""
    out = [f"# QA scorecard: {escape_markdown(card.target)}", "", summary(card), ""]
    if card.beside:
        out += [escape_markdown(card.beside), ""]
    out += ["| section | fail | unknown | ask | pass | n/a |", "|---|--:|--:|--:|--:|--:|"]
    for section, title, group in by_section(card.verdicts):
        tally = counts(group)
        cells = " | ".join(str(tally[verdict] or "") for verdict in ALL)
        out.append(f"| {section} {title} | {cells} |")
    out.append("")
    for name, score in card.scores.items():
        value = "not scored" if score.value is None else f"**{score.value:.1f}** of 10"
        out.append(f"{NAMES[name]}: {value}")
        out += [""] + [f"- {escape_markdown(line)}" for line in raises(score)] + [""]
    if failed := card.failed():
        out += ["## What failed, in the order of priority", ""]
        for verdict in failed:
            item = verdict.item
            out.append(f"- **{item.id}** ({item.priority}) {escape_markdown(item.text)}")
            out += [f"  - {escape_markdown(line)}" for line in explanation(verdict)]
        out.append("")
    others = [verdict for verdict in card.open_items() if verdict.verdict != FAIL]
    if others:
        out += ["<details><summary>What could not be judged, or is for a person</summary>", ""]
        for verdict in others:
            item = verdict.item
            out.append(f"- **{item.id}** {LABELS[verdict.verdict or UNKNOWN]}: {escape_markdown(item.text)}")
            out += [f"  - {escape_markdown(line)}" for line in explanation(verdict, 1)]
        out += ["", "</details>", ""]
    report = card.gathered.report(card.findings, width=100)
    for title, advice in (("Findings", False), ("Advice", True)):
        chosen = [finding for finding in card.by_severity() if card.is_advice(finding) is advice]
        if not chosen:
            continue
        out += [f"## {title}", ""]
        for finding in chosen:
            where = f"{readable(finding.filename)}:{finding.region.row}"
            out += [f"<details><summary>{_summary(finding, where)}</summary>", ""]
            out += [fenced(frames([finding], report, 100)), "", "</details>", ""]
    return "\n".join(out)


def _summary(finding: Diagnostic, where: str) -> str:
    """The line of a finding, as HTML: Markdown does not reach into a summary."""
    from .markup import escape, prose

    return (
        f"{escape(finding.code)} {prose(finding.message)}, <code>{escape(where)}</code>, {finding.severity}"
    )


def fenced(lines: Iterable[str]) -> str:
    """Lines in a fence that nothing in them can end."""
    text = "\n".join(lines)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
