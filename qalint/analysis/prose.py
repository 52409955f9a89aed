"""The prose around the code, and whether it explains something.

Prose is what a reader reads: `mo.md` text and the titles beside it, Markdown cells, the text of a
Markdown notebook, docstrings, comments, and a README beside the file. It is kept as paragraphs, each
with its headings and its place.

A topic is explained where a paragraph or section names it in the topic's vocabulary *and reasons about
it* in the same breath: the same sentence, the next one, or under a heading that asks the question
("Why LoRA?"). A word that merely occurs explains nothing. The vocabulary here is English; `Vocabulary`
takes further words, and prose in another language is never judged by English words (`Prose.readable`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from ..file import File
from ..rule import Place
from ..source import Source
from . import prose_text
from .vocabulary import REASON, Vocabulary


class Paragraph(NamedTuple):
    """One paragraph, list or table. `headings` are the headings above it, outermost first.

    `kind` is markdown, docstring, comment, readme or heading (a heading's own text).
    """

    source: Source
    start: int
    end: int
    text: str
    headings: tuple[str, ...]
    kind: str

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.source, self.start, self.end)

    @property
    def words(self) -> int:
        """How many words it has."""
        return len(_WORD.findall(self.text))


class Passage(NamedTuple):
    """A sentence that was looked for and found."""

    paragraph: Paragraph
    text: str

    @property
    def place(self) -> Place:
        """Where the paragraph of the sentence stands."""
        return self.paragraph.place


_WORD = re.compile(r"[^\W\d_](?:[\w'’-]*\w)?")
_ENGLISH = frozenset(
    re.findall(
        r"\w+",
        "the a an of and to in is are it we you this that for with on as be by from at or can not which if"
        " how so your our has have will each then when what its these use used using only into than but",
    )
)
_FOREIGN = frozenset(
    re.findall(
        r"\w+",
        "der die das und ist nicht mit für ein eine den dem wir auf werden sich auch weil von zu im"
        " le la les des est une pour avec dans sur nous que qui pas sont cette plus parce du au"
        " el los las del para con por una como se su más este esta porque son lo"
        " il di che per non è della sono questo perché con nel"
        " o os um uma não com isso você mais são porque em"
        " het een niet van voor met wij zijn dat deze omdat naar"
        " och att det som är inte för vi av på med"
        " i w na z że nie jest się do dla oraz",
    )
) - {
    "die",
    "a",
    "i",
    "o",
    "do",
    "per",
    "con",
    "se",
    "como",
    "plus",
    "son",
    "sur",
    "on",
    "van",
    "pas",
    "z",
    "w",
}
_WHY_HEADING = re.compile(
    r"\bwhy\b|\bhow to choose\b|\bchoosing\b|\bmotivation\b|\brationale\b|\btrade-?\s?offs?\b|\bvs\.?\b"
    r"|\bversus\b|\bwhen to\b|\bbackground\b|\bcompar(?:ed|ison|ing)\b|\balternatives\b"
    r"|\bpros\b|\bintuition\b",
    re.IGNORECASE,
)
_MIN_BODY = 8


class Prose:
    """The prose of one file and of the README beside it, in the order of the text."""

    def __init__(self, paragraphs: Iterable[Paragraph]) -> None:
        everything = tuple(paragraphs)
        self.paragraphs = tuple(paragraph for paragraph in everything if paragraph.kind != "heading")
        self.headings = tuple(paragraph for paragraph in everything if paragraph.kind == "heading")

    @classmethod
    def of(cls, file: File) -> Self:
        """The prose of `file`. Never None: a file without prose has an empty one."""
        return cls(_paragraphs(file))

    @property
    def words(self) -> int:
        """How many words the file's own prose has, comments and README not counted."""
        return sum(each.words for each in self.paragraphs if each.kind in ("markdown", "docstring"))

    @property
    def readable(self) -> bool:
        """Whether English vocabulary can judge it: it is English, or too little to tell."""
        words = [word.lower() for each in self.paragraphs for word in _WORD.findall(each.text)]
        letters = [char for each in self.paragraphs for char in each.text if char.isalpha()]
        if sum(ord(char) > 0x24F for char in letters) > 0.2 * len(letters):
            return False
        foreign = sum(word in _FOREIGN for word in words)
        return (
            len(words) < 25
            or foreign < 0.08 * len(words)
            or foreign <= sum(word in _ENGLISH for word in words)
        )

    def mentions(self, topic: Vocabulary) -> Passage | None:
        """The first sentence or heading that names the topic."""
        for paragraph in (*self.headings, *self.paragraphs):
            for sentence in prose_text.sentences(paragraph.text):
                if topic.found(sentence):
                    return Passage(paragraph, sentence)
        return None

    def explains(self, topic: Vocabulary, reason: Vocabulary = REASON) -> Passage | None:
        """The first sentence that explains the topic: see the module's docstring."""
        return next(self.explanations(topic, reason), None)

    def explanations(self, topic: Vocabulary, reason: Vocabulary = REASON) -> Iterator[Passage]:
        """The sentences that explain the topic, one a paragraph."""
        for paragraph in self.paragraphs:
            if sentence := _explaining(paragraph, topic, reason):
                yield Passage(paragraph, sentence)

    def reasons(self, reason: Vocabulary = REASON) -> Iterator[Passage]:
        """The sentences that reason about anything, one a paragraph."""
        for paragraph in self.paragraphs:
            for sentence in prose_text.sentences(paragraph.text):
                if reason.found(sentence) and len(_WORD.findall(sentence)) >= 5:
                    yield Passage(paragraph, sentence)
                    break


def _explaining(paragraph: Paragraph, topic: Vocabulary, reason: Vocabulary) -> str | None:
    """The sentence of a paragraph that explains the topic, or None."""
    sentences = prose_text.sentences(paragraph.text)
    for index, sentence in enumerate(sentences):
        if topic.found(sentence):
            for near in sentences[index : index + 2]:
                if reason.found(near):
                    return sentence if near is sentence else f"{sentence} {near}"
    if any(topic.found(heading) for heading in paragraph.headings):
        for sentence in sentences:
            if reason.found(sentence):
                return sentence
        asks = any(_WHY_HEADING.search(heading) or reason.found(heading) for heading in paragraph.headings)
        if asks and paragraph.words >= _MIN_BODY:
            return sentences[0]
    return None


def _paragraphs(file: File) -> Iterator[Paragraph]:
    """Every paragraph of the file, then those of the README beside it."""
    source = file.source
    found: list[Paragraph] = []
    for piece in prose_text.pieces(file):
        found.extend(
            Paragraph(source, piece.start + start, piece.start + end, text, headings, kind)
            for start, end, text, headings, kind in prose_text.split(piece)
        )
    found.sort(key=lambda paragraph: paragraph.start)
    yield from _inherit(found)
    if readme := prose_text.readme(file):
        piece = prose_text.Piece(0, readme.text, "readme", exact=True)
        for start, end, text, headings, kind in prose_text.split(piece):
            yield Paragraph(readme, start, end, text, headings, kind)


def _inherit(paragraphs: list[Paragraph]) -> Iterator[Paragraph]:
    """Let a heading that ends one piece of Markdown hold for the next pieces until another heading.

    Notebooks often have the heading in one cell and its text, or the comment that explains, in the next.
    """
    current: tuple[str, ...] = ()
    for paragraph in paragraphs:
        if paragraph.kind == "heading":
            current = (*paragraph.headings, paragraph.text)
            yield paragraph
        elif paragraph.kind == "markdown" and not paragraph.headings:
            yield paragraph._replace(headings=current)
        else:
            yield paragraph


__all__ = ["Paragraph", "Passage", "Prose"]
