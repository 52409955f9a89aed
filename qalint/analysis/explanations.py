"""The questions of educational documentation, asked of one file and answered by its prose.

`Explanations.ask(name)` joins what the code decides (`Decisions`) with what the text says (`Prose`). A
question is only asked where the code gives reason to ask it; the rules of section 14, the verdicts of
`qalint checklist` and the scores of `qalint report` all read the same answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

from ..file import File
from ..rule import Place
from .decisions import Decision, Decisions, constant_rounds
from .imported import Imported
from .prose import Passage, Prose
from .vocabulary import (
    ANYTHING,
    CAUSE,
    CHOICE,
    COMPARISON,
    COST,
    MEANS,
    MEASURED,
    PERFORMANCE,
    REASON,
    RESULT,
    TOPICS,
    WHEN,
    Vocabulary,
)

EXPLAINED, MISSING, NOT_ASKED, UNKNOWN = "explained", "missing", "not-asked", "unknown"


class Gap(NamedTuple):
    """Something unexplained: where, its topic in words, and its code."""

    place: Place
    topic: str
    text: str = ""


class Answer(NamedTuple):
    """What a file answers to one question. `reason` is set where it is not asked or cannot be judged.

    `passages` explain it, `seen` are places in the code that answer it (a table of the data).
    """

    state: str
    gaps: tuple[Gap, ...] = ()
    passages: tuple[Passage, ...] = ()
    seen: tuple[tuple[Place, str], ...] = ()
    reason: str | None = None


class Explanations:
    """The questions of section 14 for one file."""

    def __init__(self, decisions: Decisions, prose: Prose, imported: Imported) -> None:
        self.decisions = decisions
        self.prose = prose
        self.imported = imported

    @classmethod
    def of(cls, file: File) -> Self | None:
        """The questions for `file`; None for a module that others import: it teaches nobody."""
        decisions = file.get(Decisions)
        prose = file.get(Prose)
        if decisions is None or prose is None or not decisions.program:
            return None
        imported = file.get(Imported)
        return None if imported is None else cls(decisions, prose, imported)

    def ask(self, question: str, topic_words: Iterable[str] = (), reason_words: Iterable[str] = ()) -> Answer:
        """The answer to one question of `QUESTIONS`; further words are those of another language."""
        extra = (tuple(topic_words), tuple(reason_words))
        answer = QUESTIONS[question](self, *extra)
        if answer.state == MISSING and not self.prose.readable and not extra[1]:
            reason = "the prose is not in English, and no reasoning-words are configured for its language"
            if question not in ("dataset", "configuration", "progress"):
                return Answer(UNKNOWN, reason=reason)
        return answer

    def whole(self, topic: str) -> tuple[Gap, ...]:
        """A gap of the file as a whole."""
        return (Gap(self.decisions.place, topic),)

    @property
    def trains(self) -> bool:
        """Whether the program trains, by itself or through its modules."""
        return self.decisions.trains or self.imported.trains

    def kind(self, kind: str) -> list[Decision]:
        """The decisions of a kind: its own, and those of the modules that it trains with."""
        own = self.decisions.kind(kind)
        topics = {decision.topic for decision in own}
        return [*own, *(each for each in self.imported.kind(kind) if each.topic not in topics)]

    def design(self) -> list[Decision]:
        """The design choices that a reader may ask about."""
        wanted = ("architecture", "optimization", "gpu")
        own = [decision for decision in self.decisions.all if decision.kind in wanted]
        topics = {decision.topic for decision in own}
        return [
            *own,
            *(each for kind in wanted for each in self.imported.kind(kind) if each.topic not in topics),
        ]


Words = tuple[str, ...]


def _why(self: Explanations, topic: Words, words: Words) -> Answer:
    if not self.decisions.notebook or self.decisions.cells < 5:
        return Answer(NOT_ASKED, reason="no notebook of five or more code cells")
    reason = Vocabulary(
        re.compile("|".join(each.pattern.pattern for each in (CAUSE, COMPARISON, COST)), re.IGNORECASE), words
    )
    found = tuple(self.prose.reasons(reason))
    return Answer(EXPLAINED, passages=found) if found else Answer(MISSING, self.whole("why anything is done"))


def _about(
    subject: Vocabulary, reason: Vocabulary, gap: str
) -> Callable[[Explanations, Words, Words], Answer]:
    """A question about the design as a whole: some paragraph must have the subject and the reasoning."""

    def ask(self: Explanations, topic: Words, words: Words) -> Answer:
        if not self.trains or not self.design():
            return Answer(
                NOT_ASKED, reason="no training with a design choice (adapter, precision, GPU, optimization)"
            )
        found = tuple(self.prose.explanations(subject.also(topic), reason.also(words)))
        return Answer(EXPLAINED, passages=found) if found else Answer(MISSING, self.whole(gap))

    return ask


def _each(
    kind: str, nothing: str, reason: Vocabulary = REASON
) -> Callable[[Explanations, Words, Words], Answer]:
    """A question about each decision of a kind: its own topic must be explained."""

    def ask(self: Explanations, topic: Words, words: Words) -> Answer:
        asked = self.decisions.kind(kind) if kind == "hyperparameter" else self.kind(kind)
        if kind in ("hyperparameter", "architecture", "optimization") and not self.trains:
            asked = []
        if not asked:
            return Answer(NOT_ASKED, reason=nothing)
        gaps, passages = [], []
        for decision in asked:
            words_of = TOPICS[decision.topic].also(topic)
            found = self.prose.explains(words_of, reason.also(words)) or _beside(
                self, decision, reason.also(words)
            )
            if found:
                passages.append(found)
            else:
                gaps.append(Gap(self.decisions.file.place(decision.node), decision.topic, decision.text))
        return Answer(MISSING if gaps else EXPLAINED, tuple(gaps), tuple(passages))

    return ask


def _beside(self: Explanations, decision: Decision, reason: Vocabulary) -> Passage | None:
    """A comment on the decision's own line, or on the line above it, that reasons without naming it."""
    place = self.decisions.file.place(decision.node)
    text = self.decisions.file.source.text
    begin = text.rfind("\n", 0, place.start) + 1
    above = text.rfind("\n", 0, max(begin - 1, 0)) + 1
    end = text.find("\n", place.end)
    end = len(text) if end < 0 else end
    for paragraph in self.prose.paragraphs:
        near = paragraph.kind == "comment" and above <= paragraph.start and paragraph.end <= end
        if near and reason.found(paragraph.text):
            return Passage(paragraph, paragraph.text)
    return None


def _dataset(self: Explanations, topic: Words, words: Words) -> Answer:
    decisions = self.decisions
    data = self.kind("data")
    if not self.trains or not (data or decisions.previews):
        return Answer(NOT_ASKED, reason="no data set is built for training")
    if decisions.previews:
        first = decisions.previews[0]
        text = decisions.file.source.segment(first).split("\n")[0]
        return Answer(EXPLAINED, seen=((decisions.file.place(first), f"shows the data: {text}"),))
    return Answer(MISSING, (Gap(decisions.file.place(data[0].node), "data set", data[0].text),))


def _configuration(self: Explanations, topic: Words, words: Words) -> Answer:
    decisions = self.decisions
    if decisions.app is None and decisions.file.source.kind != "markdown":
        return Answer(NOT_ASKED, reason="no marimo notebook, so nothing to edit on a page")
    unlabelled = tuple(
        Gap(decisions.file.place(call), "label", f"{name}") for call, name in decisions.unlabelled()
    )
    asked = decisions.kind("hyperparameter") if self.trains else []
    if not asked and not decisions.controls:
        return Answer(NOT_ASKED, reason="no hyperparameters and no controls")
    if asked and not decisions.editable:
        names = ", ".join(decision.topic for decision in asked[:4])
        return Answer(MISSING, (Gap(decisions.file.place(asked[0].node), "fixed", names), *unlabelled))
    if unlabelled:
        return Answer(MISSING, unlabelled)
    seen = tuple(
        (
            decisions.file.place(call),
            "a control with a label: " + decisions.file.source.segment(call).split("\n")[0],
        )
        for call, _ in decisions.controls[:3]
    )
    return Answer(EXPLAINED, seen=seen) if seen else Answer(NOT_ASKED, reason="no controls")


def _progress(self: Explanations, topic: Words, words: Words) -> Answer:
    decisions = self.decisions
    loops = [loop for loop in decisions.loops if (constant_rounds(loop) or 1000) > 100]
    if not loops:
        shown = [call for call in decisions.progress if self.imported.trains]
        if shown:
            text = decisions.file.source.segment(shown[0]).split("\n")[0]
            return Answer(EXPLAINED, seen=((decisions.file.place(shown[0]), f"shows progress: {text}"),))
        return Answer(NOT_ASKED, reason="no training loop that takes minutes")
    gaps, seen = [], []
    for loop in loops:
        place = decisions.file.place(loop)
        head = Place(place.source, place.start, place.source.text.find("\n", place.start))
        if decisions.shows_progress(loop):
            seen.append((head, "the loop shows how far it is"))
        else:
            gaps.append(Gap(head, "progress", decisions.file.source.segment(loop).split("\n")[0]))
    return Answer(MISSING, tuple(gaps)) if gaps else Answer(EXPLAINED, seen=tuple(seen))


def _results(self: Explanations, topic: Words, words: Words) -> Answer:
    decisions = self.decisions
    if not decisions.notebook or not self.trains or not decisions.charts:
        return Answer(NOT_ASKED, reason="no notebook that shows charts of its training")
    found = tuple(
        passage
        for passage in self.prose.explanations(RESULT.also(topic), MEANS.also(words))
        if passage.paragraph.kind in ("markdown", "docstring", "readme")
    )
    if found:
        return Answer(EXPLAINED, passages=found)
    chart = decisions.charts[-1]
    text = decisions.file.source.segment(chart).split("\n")[0]
    return Answer(MISSING, (Gap(decisions.file.place(chart), "result", text),))


QUESTIONS: dict[str, Callable[[Explanations, Words, Words], Answer]] = {
    "why": _why,
    "performance": _about(PERFORMANCE, MEASURED, "what the design costs in time and memory"),
    "alternatives": _about(CHOICE, COMPARISON, "what else was possible"),
    "trade-offs": _about(ANYTHING, COST, "what is given up"),
    "gpu": _each("gpu", "no GPU in the code", MEASURED),
    "hyperparameters": _each("hyperparameter", "no hyperparameters in the code"),
    "architecture": _each("architecture", "no adapter, no Conv1D and no reduced precision in the code"),
    "optimization": _each("optimization", "no optimization of the training in the code"),
    "when": _about(ANYTHING, WHEN, "when to use it"),
    "dataset": _dataset,
    "configuration": _configuration,
    "progress": _progress,
    "results": _results,
}
"""What can be asked, by name; see the rules QA1401 to QA1413."""
