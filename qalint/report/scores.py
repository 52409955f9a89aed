"""Two scores from 0 to 10: how much a text teaches, and how well it documents its code.

Each score is a weighted mean of named criteria; each criterion has a value from 0 to 1 and says what it
saw. A criterion that has nothing to judge (no GPU, no hyperparameters) is left out, and its weight with
it, so that a program is not blamed for what it does not do. The criteria and weights are in
`EDUCATIONAL` and `DOCUMENTATION`; they were set so that public tutorials and bare scripts fall clearly
apart, and they measure what can be seen: whether something is explained, not whether it is true or well
put.

A score of several files is the mean of their scores, each weighted by the length of its code.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ..analysis.coverage import is_test
from ..analysis.explanations import EXPLAINED, MISSING, UNKNOWN, Answer
from ..analysis.vocabulary import CAUSE, COMPARISON, COST, Vocabulary
from .evidence import Facts, at
from .paths import readable
from .verdicts import Evidence, evidence_json


class Measured(NamedTuple):
    """What one criterion saw in one file: a value from 0 to 1, or None where there is nothing to judge.

    `share` scales the criterion's weight where there was little to judge: one decision counts less than ten.
    """

    value: float | None
    evidence: tuple[str, ...] = ()
    places: tuple[Evidence, ...] = ()
    share: float = 1.0


class Criterion(NamedTuple):
    """One named criterion of a score. `advice` is what raises it."""

    name: str
    weight: float
    measure: Callable[[Facts], Measured]
    advice: str


class Part(NamedTuple):
    """A criterion's value over all files; `value` None where no file had anything to judge."""

    criterion: Criterion
    weight: float
    value: float | None
    evidence: tuple[str, ...]
    places: tuple[Evidence, ...]


class Score(NamedTuple):
    """A score from 0 to 10, None where no file could be scored, and its parts."""

    name: str
    value: float | None
    parts: tuple[Part, ...]

    def to_gain(self) -> list[tuple[float, Part]]:
        """What would raise the score, the largest gain in points first."""
        total = sum(part.weight for part in self.parts if part.value is not None)
        gains = [
            (10 * part.weight * (1 - part.value) / total, part)
            for part in self.parts
            if part.value is not None and part.value < 0.95
        ]
        return sorted(gains, key=lambda gain: -gain[0])


_REASONING = Vocabulary(
    re.compile("|".join(words.pattern.pattern for words in (CAUSE, COMPARISON, COST)), re.IGNORECASE)
)


def _saturating(amount: float, enough: float) -> float:
    """From 0 at nothing to 1 at `enough`: the first sentences count more than the last."""
    return float(min(1.0, (max(amount, 0.0) / enough) ** 0.7)) if enough else 1.0


def _answered(answer: Answer) -> Measured:
    """The share of what was asked that is explained."""
    if answer.state not in (EXPLAINED, MISSING):
        return Measured(None, (answer.reason or "",))
    places = tuple(at(passage.place, passage.text[:160]) for passage in answer.passages[:3])
    places += tuple(at(place, text[:160]) for place, text in answer.seen[:3])
    if answer.state == EXPLAINED:
        return Measured(1.0, (), places)
    explained = len(answer.passages) + len(answer.seen)
    total = explained + len(answer.gaps)
    missing = ", ".join(dict.fromkeys(gap.topic for gap in answer.gaps))
    return Measured(explained / total if total else 0.0, (f"not explained: {missing}",), places)


def _question(name: str) -> Callable[[Facts], Measured]:
    def measure(facts: Facts) -> Measured:
        if facts.explanations is None:
            return Measured(None, ("a module that others import",))
        answer = facts.explanations.ask(name)
        return Measured(None, (answer.reason or "",)) if answer.state == UNKNOWN else _answered(answer)

    return measure


def _topics(facts: Facts) -> Measured:
    """Hyperparameters, architecture, optimizations and GPU together: the share of decisions explained."""
    if facts.explanations is None:
        return Measured(None, ("a module that others import",))
    explained, gaps, places = 0, [], []
    for name in ("hyperparameters", "architecture", "optimization", "gpu"):
        answer = facts.explanations.ask(name)
        explained += len(answer.passages)
        gaps += [gap.topic for gap in answer.gaps]
        places += [at(passage.place, passage.text[:160]) for passage in answer.passages[:2]]
    total = explained + len(gaps)
    if not total:
        return Measured(None, ("no decisions that need explaining",))
    words = f"{explained} of {total} decisions are explained"
    missing = f"; not {', '.join(dict.fromkeys(gaps))}" if gaps else ""
    return Measured(explained / total, (words + missing,), tuple(places[:5]), min(1.0, total / 4))


def _reasons(facts: Facts) -> Measured:
    """How many paragraphs reason, against how much code there is."""
    prose = facts.prose
    if not prose.readable:
        return Measured(None, ("the prose is not in English",))
    code = _code_lines(facts)
    found = list(prose.reasons(_REASONING))
    enough = max(4.0, code / 15)
    value = _saturating(sum(0.5 if each.paragraph.kind == "comment" else 1.0 for each in found), enough)
    words = f"{_count(len(found), 'paragraph')} with reasons, beside {_count(code, 'line')} of code"
    return Measured(value, (words,), tuple(at(each.place, each.text[:160]) for each in found[:3]))


def _narrative(facts: Facts) -> Measured:
    """How much prose stands beside the code, in words a line."""
    code = _code_lines(facts)
    words = sum(each.words for each in facts.prose.paragraphs if each.kind in ("markdown", "docstring"))
    words += sum(each.words for each in facts.prose.paragraphs if each.kind == "comment") // 2
    words += min(sum(each.words for each in facts.prose.paragraphs if each.kind == "readme"), 400) // 2
    value = min(1.0, words / max(60.0, 4.0 * code))
    return Measured(value, (f"{_count(words, 'word')} of prose beside {_count(code, 'line')} of code",))


def _structure(facts: Facts) -> Measured:
    """Headings that let a reader find the way."""
    headings = facts.prose.headings
    code = _code_lines(facts)
    if code < 25:
        return Measured(None, ("too short to need headings",))
    functions = _definitions(facts.file.tree)
    enough = max(2.0, min(10.0, code / 30))
    value = min(1.0, len(headings) / enough)
    if not facts.decisions.notebook and functions:
        value = max(value, min(0.6, len(functions) / enough))
    shown = tuple(at(heading.place, heading.text[:100]) for heading in headings[:4])
    return Measured(value, (_count(len(headings), "heading"),), shown)


def _interaction(facts: Facts) -> Measured:
    """Data seen, configuration editable, progress and results shown and interpreted: the share of them."""
    if facts.explanations is None:
        return Measured(None, ("a module that others import",))
    values, missing, places = [], [], []
    for name, words in (
        ("dataset", "a look at the data"),
        ("configuration", "controls with labels"),
        ("progress", "progress while it runs"),
        ("results", "results interpreted"),
    ):
        measured = _answered(facts.explanations.ask(name))
        if measured.value is not None:
            values.append(measured.value)
            places += list(measured.places[:1])
            if measured.value < 1:
                missing.append(words)
    if not values:
        return Measured(None, ("nothing to see or to change",))
    return Measured(
        sum(values) / len(values), (f"missing: {', '.join(missing)}",) if missing else (), tuple(places)
    )


def _purpose(facts: Facts) -> Measured:
    """Whether the file begins by saying what it is: a docstring, a first paragraph, a README."""
    for each in facts.prose.paragraphs:
        if each.kind in ("docstring", "markdown", "readme") and each.words >= 6:
            first = facts.file.tree.body[0] if facts.file.tree.body else None
            row = facts.file.source.location(each.start).row if each.source is facts.file.source else 1
            early = each.kind == "readme" or row <= 60 or first is None
            value = min(1.0, each.words / 15) * (1.0 if early else 0.5)
            return Measured(value, (), (at(each.place, each.text.split("\n")[0][:160]),))
    return Measured(0.0, ("nothing says what the file is for",))


def _definitions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """The functions and classes that readers call: no cells, no private names, no methods of dunder names."""
    found: list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef] = []
    for node in ast.walk(tree):
        if isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ) and not node.name.startswith("_"):
            cell = any(re.search(r"\bcell\b", ast.unparse(decorator)) for decorator in node.decorator_list)
            short = (
                isinstance(node, ast.FunctionDef) and len(node.body) <= 2 and node.name in ("forward", "main")
            )
            if not cell and not short:
                found.append(node)
    return found


def _docstrings(facts: Facts) -> Measured:
    """The share of public functions and classes with a docstring, or a comment right above."""
    definitions = _definitions(facts.file.tree)
    if len(definitions) < 2:
        return Measured(None, ("fewer than two functions or classes",))
    comments = {facts.file.source.row(each.end) for each in facts.prose.paragraphs if each.kind == "comment"}
    documented = [node for node in definitions if ast.get_docstring(node) or node.lineno - 1 in comments]
    missing = [node.name for node in definitions if node not in documented]
    more = f", such as `{missing[0]}`" if missing else ""
    words = f"{len(documented)} of {len(definitions)} functions and classes are documented"
    return Measured(len(documented) / len(definitions), (words + (f"; not all{more}" if missing else ""),))


def _signatures(facts: Facts) -> Measured:
    """The share of public functions whose arguments are annotated or described."""
    functions = [node for node in _definitions(facts.file.tree) if not isinstance(node, ast.ClassDef)]
    functions = [
        node for node in functions if [arg for arg in node.args.args if arg.arg not in ("self", "cls")]
    ]
    if len(functions) < 2:
        return Measured(None, ("fewer than two functions with arguments",))
    told = 0.0
    for node in functions:
        arguments = [
            arg for arg in (*node.args.args, *node.args.kwonlyargs) if arg.arg not in ("self", "cls")
        ]
        doc = ast.get_docstring(node) or ""
        told += sum(arg.annotation is not None or arg.arg in doc for arg in arguments) / len(arguments)
    return Measured(
        told / len(functions), (f"{told / len(functions):.0%} of the arguments have a type or a description",)
    )


def _comments(facts: Facts) -> Measured:
    """Comments and prose near the code, against its length."""
    code = _code_lines(facts)
    if code < 10:
        return Measured(None, ("too short to need comments",))
    comments = [each for each in facts.prose.paragraphs if each.kind == "comment"]
    near = len(comments) + sum(each.kind == "markdown" for each in facts.prose.paragraphs)
    value = _saturating(near, max(2.0, code / 12))
    return Measured(
        value, (f"{_count(near, 'comment')} and paragraphs beside {_count(code, 'line')} of code",)
    )


def _use(facts: Facts) -> Measured:
    """Whether somebody can tell how to run it: requirements, a usage line, options with help."""
    text = facts.file.source.text
    signs = []
    if "# /// script" in text or re.search(
        r"(?im)^\s*(?:usage|requirements|how to run|install\w*|setup|prerequisites)\b", text
    ):
        signs.append("says how to run it or what it needs")
    if re.search(r"add_argument\([^)]*help\s*=", text) or re.search(r"typer\.|click\.option", text):
        signs.append("its options have help")
    if any(each.kind == "readme" for each in facts.prose.paragraphs):
        signs.append("a README stands beside it")
    if any(
        re.search(r"\b(?:run|install|pip|uv|python|requires?|needs?)\b", each.text, re.IGNORECASE)
        for each in facts.prose.paragraphs
        if each.kind in ("markdown", "docstring", "readme")
    ):
        signs.append("its prose speaks of running or installing")
    if facts.decisions.notebook:
        signs.append("a notebook shows its own order")
    return Measured(min(1.0, len(signs) / 2), tuple(signs) or ("nothing says how to run it",))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else noun + 's'}"


def _code_lines(facts: Facts) -> int:
    """Lines with statements on them: strings that are prose do not count."""
    rows: set[int] = set()
    for node in ast.walk(facts.file.tree):
        if isinstance(node, ast.stmt) and not (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ):
            text = (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Call)
                and "md" in ast.unparse(node.value.func)
            )
            if not text:
                rows.add(node.lineno)
    return max(1, len(rows))


EDUCATIONAL: tuple[Criterion, ...] = (
    Criterion(
        "reasons", 3.0, _reasons, "give the reason beside each step: because, instead of, at the cost of"
    ),
    Criterion(
        "decisions explained",
        2.5,
        _topics,
        "explain the hyperparameters, the architecture and the optimizations",
    ),
    Criterion("narrative", 2.5, _narrative, "write more text around the code"),
    Criterion("alternatives", 0.75, _question("alternatives"), "compare with what was not chosen"),
    Criterion("trade-offs", 0.75, _question("trade-offs"), "say what is given up"),
    Criterion("performance", 0.5, _question("performance"), "say what it costs in time and memory"),
    Criterion(
        "when to use", 0.5, _question("when"), "say for whom, which data and which hardware it is meant"
    ),
    Criterion(
        "seeing and changing",
        1.5,
        _interaction,
        "show the data, the progress and what results mean; offer controls",
    ),
)
"""The criteria of Educational Value: whether a reader learns why, and not only how."""

DOCUMENTATION: tuple[Criterion, ...] = (
    Criterion("purpose", 2.0, _purpose, "begin with what the file is for"),
    Criterion("docstrings", 2.0, _docstrings, "give public functions and classes a docstring"),
    Criterion("arguments", 1.0, _signatures, "annotate or describe the arguments"),
    Criterion("comments", 2.0, _comments, "comment the parts whose purpose cannot be seen"),
    Criterion("structure", 1.5, _structure, "divide it by headings"),
    Criterion("narrative", 1.5, _narrative, "write more text around the code"),
    Criterion("how to run it", 1.0, _use, "say how to run it and what it needs"),
)
"""The criteria of Documentation Quality: whether a reader finds out what is there and how to use it."""

NAMES = {"educational_value": "Educational Value", "documentation_quality": "Documentation Quality"}


def score(name: str, criteria: Sequence[Criterion], files: Iterable[Facts]) -> Score:
    """One score over some files."""
    sums = [0.0] * len(criteria)
    weights = [0.0] * len(criteria)
    sizes = 0.0
    evidence: list[list[tuple[float, str]]] = [[] for _ in criteria]
    unjudged: list[list[str]] = [[] for _ in criteria]
    places: list[list[Evidence]] = [[] for _ in criteria]
    scored = list(files)
    for facts in scored:
        size = math.sqrt(_code_lines(facts))
        sizes += size
        name = f"{readable(facts.file.path)}: " if len(scored) > 1 else ""
        for index, criterion in enumerate(criteria):
            measured = criterion.measure(facts)
            texts = [name + text for text in measured.evidence if text]
            places[index] += measured.places
            if measured.value is None:
                unjudged[index] += texts
            else:
                evidence[index] += [(measured.value, text) for text in texts]
                sums[index] += measured.value * size * measured.share
                weights[index] += size * measured.share
    parts = tuple(
        Part(
            criterion,
            round(criterion.weight * weights[index] / sizes, 3) if sizes else criterion.weight,
            round(sums[index] / weights[index], 3) if weights[index] else None,
            tuple(dict.fromkeys(_worst_first(evidence[index]) or unjudged[index]))[:3],
            tuple(places[index][:4]),
        )
        for index, criterion in enumerate(criteria)
    )
    judged = [part for part in parts if part.value is not None]
    total = sum(part.weight for part in judged)
    value = 10 * sum(part.weight * (part.value or 0.0) for part in judged) / total if total else None
    return Score(name, None if value is None else round(value, 1), parts)


def _worst_first(evidence: list[tuple[float, str]]) -> list[str]:
    return [text for _, text in sorted(evidence, key=lambda each: each[0])]


def scores(files: Iterable[Facts]) -> dict[str, Score]:
    """Both scores over the programs and notebooks among some files; where there are none, over the modules.

    Tests are not scored beside other files: they document something else.
    """
    given = list(files)
    everything = [facts for facts in given if not is_test(facts.file.path)] or given
    programs = [facts for facts in everything if facts.explanations is not None]
    chosen = programs or everything
    return {
        "educational_value": score("educational_value", EDUCATIONAL, chosen if programs else ()),
        "documentation_quality": score("documentation_quality", DOCUMENTATION, chosen),
    }


def score_json(found: Score) -> dict[str, Any]:
    """The JSON of one score."""
    return {
        "value": found.value,
        "criteria": [
            {
                "name": part.criterion.name,
                "weight": part.weight,
                "value": part.value,
                "evidence": [*part.evidence, *(_sentence(place) for place in part.places)],
            }
            for part in found.parts
        ],
    }


def _sentence(place: Evidence) -> str:
    data = evidence_json(place)
    return f"{data['filename']}:{data['location']['row']}: {place.text}"
