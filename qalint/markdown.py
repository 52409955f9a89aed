"""The cells of a Markdown or Quarto notebook of marimo: fences in the three spellings that it reads."""

from __future__ import annotations

import re

from .source import Block

_FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})[ \t]*([^\r\n]*)$")
_LINE = re.compile(r"[^\n\r]*(?:\r\n|\n|\r)|[^\n\r]+")
_WORD = r"(?:^|[.\s{{]){}(?:[.\s}}]|$)"
_MARIMO = re.compile(r"\{[^}]*\bmarimo\b[^}]*\}")
_UNPARSABLE = re.compile(r"""\bunparsable=["']?true""")
_LANGUAGES = tuple((name, re.compile(_WORD.format(name))) for name in ("python", "sql", "markdown"))


def language_of(info: str) -> str | None:
    """The language of a fence that opens with `info`; None for a fence that is no cell."""
    if not _MARIMO.search(info):
        return None
    for name, pattern in _LANGUAGES:
        if pattern.search(info):
            return name
    return "python"


def fences(text: str) -> tuple[Block, ...]:
    """The cells, in order: the lines between a fence and its end, indentation of the fence included."""
    blocks: list[Block] = []
    position, opened, start, info = 0, "", 0, ""
    for line in _LINE.findall(text):
        match = _FENCE.match(line.rstrip("\r\n"))
        if not opened:
            if match and not (match.group(2)[0] == "`" and "`" in match.group(3)):
                opened, start, info = match.group(2), position + len(line), match.group(3).strip()
        elif match and match.group(2).startswith(opened) and not match.group(3).strip():
            if language := language_of(info):
                language = _state(language, info, text[start:position])
                blocks.append(Block(start, position, None, language, info))
            opened = ""
        position += len(line)
    if opened and (language := language_of(info)):
        language = _state(language, info, text[start:position])
        blocks.append(Block(start, position, None, language, info))
    return tuple(blocks)


def _state(language: str, info: str, code: str) -> str:
    """`unparsable` for a cell that marimo saved so, and that still does not parse."""
    if language == "python" and _UNPARSABLE.search(info):
        from .parsing import attempt

        if attempt(code) is None:
            return "unparsable"
    return language
