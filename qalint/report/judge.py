"""The verdict on every item of the checklist for the files under some paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ..checklist import Item, items
from ..diagnostic import Diagnostic
from . import evidence_adapters, evidence_notebooks, evidence_pages, evidence_training
from .evidence import PROVIDERS, Facts
from .gather import Gathered
from .paths import readable
from .verdicts import NOT_APPLICABLE, PASS, UNKNOWN, Evidence, Judgement, Verdict, combine

assert evidence_adapters and evidence_notebooks and evidence_pages and evidence_training, (
    "they enter providers"
)


def judge(gathered: Gathered) -> list[Verdict]:
    """One verdict an item, in the order of the checklist."""
    judgements: dict[str, list[Judgement]] = {item.id: [] for item in items()}
    every = facts_of(gathered)
    modules = {path: ", ".join(map(readable, gathered.named)) for path in gathered.followed}
    modules |= supporting(every)
    for facts in every:
        file = facts.file
        enabled = gathered.enabled(file.path)
        for item in items():
            if item.section == "14" and file.path in modules:
                reason = f"{readable(file.path)} is a module of {readable(modules[file.path])}"
                judgements[item.id].append(Judgement(NOT_APPLICABLE, reason))
                continue
            judgement = _judgement(facts, item)
            off = [code for code in item.rules if code not in enabled]
            if off and judgement.verdict == PASS:
                where = readable(file.path)
                reason = f"{', '.join(off)} is switched off for {where}, so nothing looked for faults"
                judgement = Judgement(UNKNOWN, reason, judgement.evidence)
            judgements[item.id].append(judgement)
    for path, broken in gathered.broken().items():
        for item in items():
            if hidden := _hidden(gathered, path, broken, item):
                judgements[item.id].append(hidden)
    verdicts = []
    for item in items():
        # A plugin's rule may judge an item too: its findings say so themselves.
        findings = [
            each for each in gathered.findings if each.code in item.rules or item.id in each.checklist
        ]
        findings.sort(key=Diagnostic.sort_key)
        if item.section == "14":
            findings = [each for each in findings if each.filename not in modules]
        if item.id == "11.03":
            # Its rule proves the item by its silence on frozen weights: what it finds belongs to 11.02.
            findings = []
        quiet = [each for each in gathered.all if each.status == "suppressed" and each.code in item.rules]
        judgements[item.id] += [_suppressed(each) for each in quiet]
        verdicts.append(combine(item, judgements[item.id], findings))
    return verdicts


def facts_of(gathered: Gathered) -> list[Facts]:
    """The facts of every file, made once: verdicts and scores ask the same analyses."""
    if gathered.facts is None:
        judged = frozenset(gathered.paths)
        gathered.facts = [Facts(file, judged) for file in gathered.files()]
    return gathered.facts


def supporting(every: Iterable[Facts]) -> dict[str, str]:
    """The files that another judged program trains with, each with that program: there one explains."""
    return {
        os.path.abspath(module.path): facts.file.path
        for facts in every
        if facts.imported is not None
        for module in facts.imported.modules
        if os.path.abspath(module.path) != facts.file.path
    }


def _judgement(facts: Facts, item: Item) -> Judgement:
    """What one file says of one item; an analysis that crashed hides it."""
    provider = PROVIDERS.get(item.id)
    if provider is None:
        return Judgement(UNKNOWN, "nothing looks for evidence of this item")
    facts.failed.clear()
    try:
        judgement = provider(facts)
    except Exception as error:
        return Judgement(
            UNKNOWN, f"looking for evidence failed on {facts.file.path} ({type(error).__name__}: {error})"
        )
    if facts.failed and judgement.verdict in (PASS, NOT_APPLICABLE):
        return Judgement(UNKNOWN, f"the analysis {facts.failed[0]} failed on {facts.file.path}")
    return judgement


def _suppressed(finding: Diagnostic) -> Judgement:
    """A finding that a comment suppresses: somebody knows better, but that is no evidence."""
    where = Evidence(
        finding.filename, finding.region.row, finding.region.column, finding.message, finding.cell
    )
    return Judgement(UNKNOWN, f"a comment suppresses {finding.code} here", (where,))


def _hidden(gathered: Gathered, path: str, broken: Diagnostic, item: Item) -> Judgement | None:
    """A file that could not be read or parsed hides the items that its text may concern."""
    source = gathered.source(path)
    text = source.text if source else ""
    if broken.code == "QA0003":
        reason = "a rule or analysis failed on it"
    else:
        reason = "it could not be read" if broken.code == "QA0001" else "it is not valid Python"
    needs = "torch" if item.section in ("11", "12", "17", "09") else "marimo"
    if source is not None and needs not in text:
        return None
    where = Evidence(path, broken.region.row, broken.region.column, broken.message, broken.cell)
    return Judgement(UNKNOWN, f"{readable(path)}: {reason}", (where,))


def not_judged(verdicts: list[Verdict]) -> Iterator[Verdict]:
    """The verdicts that say neither pass nor fail though the item applies."""
    return (verdict for verdict in verdicts if verdict.verdict == UNKNOWN)
