"""Where verdicts get their positive evidence: one small function for each item of the checklist.

A provider looks at one file through its analyses and says what it saw (`Judgement`): that the item is met,
with the places where; that it does not apply, with the reason; that it cannot be known, with what hid it; or
that a person must be asked. It never looks for faults: findings of rules come on top of it, and a file in
which nothing was seen passes nothing.

Providers stand in this module and in the `evidence_*` modules beside it; the decorator `provides` enters
them under the ids of their items.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterable
from functools import cached_property

from ..analysis.coverage import Coverage, asked_of, is_test
from ..analysis.decisions import Decisions
from ..analysis.explanations import EXPLAINED, NOT_ASKED, UNKNOWN, Explanations
from ..analysis.imported import Imported
from ..analysis.modules import Modules
from ..analysis.notebook import Notebook
from ..analysis.prose import Prose
from ..file import AnalysisError, File
from ..rule import Place
from .paths import readable
from .verdicts import NOT_APPLICABLE, PASS, PERSON, Evidence, Judgement
from .verdicts import UNKNOWN as HIDDEN
from .worlds import in_half


class Facts:
    """One file and what its analyses know; each analysis is computed when first asked for.

    `failed` collects the analyses that crashed: an item that needs one is unknown, not passed.
    """

    def __init__(self, file: File, judged: frozenset[str] = frozenset()) -> None:
        self.file = file
        self.judged = judged
        """The paths of all files that are judged together."""
        self.failed: list[str] = []
        self.setting: str | None = None
        """For which value of a setting this is the file, in words."""

    def get(self, analysis: type) -> object | None:
        """An analysis of the file, or None where it does not apply or failed."""
        try:
            found: object | None = self.file.get(analysis)
        except (AnalysisError, RecursionError) as error:
            self.failed.append(str(error))
            return None
        return found

    @cached_property
    def in_half(self) -> Facts:
        """The file where its setting of the precision is FP16; itself where there is no such setting."""
        world = in_half(self.file)
        if world is None:
            return self
        found = Facts(world.file, self.judged)
        found.failed = self.failed
        found.setting = world.words
        return found

    @cached_property
    def decisions(self) -> Decisions:
        """What the code decides."""
        return Decisions.of(self.file)

    @cached_property
    def imported(self) -> Imported | None:
        """The modules to which the file hands its training."""
        found = self.get(Imported)
        return found if isinstance(found, Imported) else None

    def elsewhere(self, *topics: str) -> Judgement | None:
        """Where one of these topics comes from a module that is not judged here: what hides it."""
        if self.imported is None or self.decisions.trains:
            return None
        for module in self.imported.modules:
            found = {decision.topic for decision in module.decisions.kind("architecture")} & set(topics)
            if found and os.path.abspath(module.path) not in self.judged:
                path = readable(module.path)
                seen = [self.at(module.node, f"{sorted(found)[0]} is in {path}")]
                return unknown(f"the training is in {path}, which is not among the judged files", seen)
        return None

    @cached_property
    def modules(self) -> Modules | None:
        """What the program does to its modules, or None."""
        found = self.get(Modules)
        return found if isinstance(found, Modules) else None

    @cached_property
    def notebook(self) -> Notebook | None:
        """The marimo notebook that the file is, or None."""
        found = self.get(Notebook)
        return found if isinstance(found, Notebook) else None

    @cached_property
    def explanations(self) -> Explanations | None:
        """The questions of documentation, or None for a module that others import."""
        found = self.get(Explanations)
        return found if isinstance(found, Explanations) else None

    @cached_property
    def prose(self) -> Prose:
        """The prose of the file."""
        return Prose.of(self.file)

    @cached_property
    def coverage(self) -> Coverage | None:
        """The tests around the file, or None."""
        found = self.get(Coverage)
        return found if isinstance(found, Coverage) else None

    @cached_property
    def calls(self) -> list[ast.Call]:
        """Every call in the file, as they stand in the text."""
        found = [node for node in ast.walk(self.file.tree) if isinstance(node, ast.Call)]
        return sorted(found, key=lambda call: (call.lineno, call.col_offset))

    def at(self, where: ast.AST | Place, text: str) -> Evidence:
        """Evidence at a node or place of the file."""
        return at(where if isinstance(where, Place) else self.file.place(where), text)

    def code(self, node: ast.AST) -> str:
        """The first line of a node's text, shortened."""
        line = self.file.source.segment(node).split("\n")[0].strip()
        return line if len(line) <= 70 else line[:67] + "..."


Provider = Callable[[Facts], Judgement]
PROVIDERS: dict[str, Provider] = {}
"""The provider of each item, by its id."""


def provides(*ids: str) -> Callable[[Provider], Provider]:
    """Enter a function as the provider of these items."""

    def enter(provider: Provider) -> Provider:
        for id in ids:
            assert id not in PROVIDERS, id
            PROVIDERS[id] = provider
        return provider

    return enter


def provides_in_half(*ids: str) -> Callable[[Provider], Provider]:
    """As `provides`, for items about FP16: judged where the program's setting of the precision says FP16."""

    def enter(provider: Provider) -> Provider:
        @provides(*ids)
        def judged(facts: Facts) -> Judgement:
            judgement = provider(facts.in_half)
            if judgement.verdict == PASS and facts.in_half.setting:
                reasons = (judgement.reason, facts.in_half.setting)
                return judgement._replace(reason=", ".join(reason for reason in reasons if reason))
            return judgement

        return provider

    return enter


def at(place: Place, text: str) -> Evidence:
    """Evidence at a place; in a Jupyter notebook with its cell."""
    row, column, cell = place.source.location(place.start)
    return Evidence(place.source.path, row, column, text, cell)


def passed(evidence: Iterable[Evidence], reason: str | None = None) -> Judgement:
    """The item is met, and here is where that is seen. Without evidence this is an error, never a pass."""
    seen = tuple(evidence)
    assert seen, "a pass needs evidence"
    return Judgement(PASS, reason, seen[:5])


def not_applicable(reason: str) -> Judgement:
    """The file gives no reason to ask."""
    return Judgement(NOT_APPLICABLE, reason)


def unknown(reason: str, evidence: Iterable[Evidence] = ()) -> Judgement:
    """It cannot be known, and this is what hid it."""
    return Judgement(HIDDEN, reason, tuple(evidence)[:5])


def absent(reason: str, evidence: Iterable[Evidence] = ()) -> Judgement:
    """It was not seen in this file; another file of the run may show it."""
    return Judgement(HIDDEN, reason, tuple(evidence)[:5], absent=True)


def ask(evidence: Iterable[Evidence] = (), reason: str | None = None) -> Judgement:
    """A person must look; the evidence says where."""
    return Judgement(PERSON, reason, tuple(evidence)[:5])


def leaf(node: ast.expr) -> str:
    """The last name of a dotted expression."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


# Section 14: the prose.

_QUESTIONS = {
    "14.01": "why",
    "14.02": "performance",
    "14.03": "alternatives",
    "14.04": "trade-offs",
    "14.05": "gpu",
    "14.06": "hyperparameters",
    "14.07": "architecture",
    "14.08": "optimization",
    "14.09": "when",
    "14.10": "dataset",
    "14.11": "configuration",
    "14.12": "progress",
    "14.13": "results",
}


def _explained(question: str) -> Provider:
    def provider(facts: Facts) -> Judgement:
        if facts.explanations is None:
            return not_applicable("a module that others import, not a notebook or a program")
        answer = facts.explanations.ask(question)
        if answer.state == NOT_ASKED:
            return not_applicable(answer.reason or "nothing to ask")
        if answer.state == UNKNOWN:
            return unknown(answer.reason or "the prose cannot be judged")
        if answer.state == EXPLAINED:
            quoted = [at(passage.place, f"“{_quote(passage.text)}”") for passage in answer.passages]
            seen = [at(place, text) for place, text in answer.seen]
            if quoted or seen:
                return passed([*quoted, *seen])
        gaps = [at(gap.place, f"nothing about {gap.topic}") for gap in answer.gaps]
        return unknown("no explanation was found, and the rule that says so did not speak", gaps)

    return provider


for _id, _question in _QUESTIONS.items():
    provides(_id)(_explained(_question))


def _quote(text: str, limit: int = 160) -> str:
    text = re.sub(r"\s+", " ", text).strip(" |#>*-")
    return text if len(text) <= limit else text[: limit - 1] + "…"


# Section 9: the tests.

_TESTED = {
    "09.01": "fp16",
    "09.02": "fp32",
    "09.03": "trainable share",
    "09.04": "gradient flow",
    "09.05": "generation",
    "09.06": "architectures",
    "09.07": "preview",
}
_NOTHING = {
    "fp16": "nothing trains in FP16 here",
    "fp32": "nothing trains in FP16 here, so there is nothing to compare with FP32",
    "trainable share": "no adapters are trained here",
    "gradient flow": "nothing is trained here",
    "generation": "no text is generated here",
    "architectures": "no layers are told apart here",
    "preview": "no table of data is shown here",
}


def _tested(item: str) -> Provider:
    def provider(facts: Facts) -> Judgement:
        if not facts.decisions.trains:
            return not_applicable("nothing is trained here")
        if is_test(facts.file.path):
            return not_applicable("a test itself")
        if item not in asked_of(facts.file, facts.decisions):
            return not_applicable(_NOTHING[item])
        coverage = facts.coverage
        if coverage is None:
            return unknown("no repository around the file, so no tests to look at")
        test = coverage.covering(item)
        if test is None:
            return unknown("no test was recognised, and the rule that says so did not speak")
        return passed([at(test.place, f"`{test.name}` covers it")])

    return provider


for _id, _item in _TESTED.items():
    provides(_id)(_tested(_item))


@provides("09.08")
def examples_teach(facts: Facts) -> Judgement:
    """Whether examples teach is for a person to say; the preview is where to look."""
    explanations = facts.explanations
    if explanations is None or not explanations.kind("data") or not explanations.trains:
        return not_applicable("no data set is built for training")
    previews = [facts.at(node, f"shows the data: {facts.code(node)}") for node in facts.decisions.previews]
    return ask(previews) if previews else unknown("the data is never shown, so its examples cannot be judged")


@provides("09.09")
def output_matches(facts: Facts) -> Judgement:
    """Whether generated text is like the training data is seen by running it."""
    calls = [call for call in facts.calls if re.match(r"generate|complete", leaf(call.func))]
    trains = facts.explanations.trains if facts.explanations else facts.decisions.trains
    if not calls or not trains:
        return not_applicable("nothing is trained and then generates text")
    return ask([facts.at(call, f"generates: {facts.code(call)}") for call in calls])
