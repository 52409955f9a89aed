"""Comments that hide findings: reading them, deciding what they cover, and telling which are idle or wrong.

`# qalint: ignore[CODES] reason` on a line, or alone on the line above a statement;
`# qalint: disable[CODES]` ... `# qalint: enable[CODES]`; `# qalint: file-ignore[CODES]`;
`# noqa: CODES`; in Markdown also `<!-- qalint: file-ignore[CODES] -->`. CODES are codes, prefixes
or names. A suppression on the first line of a marimo cell's body covers its signature and its
`return` too, where marimo keeps no comments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from .errors import did_you_mean
from .needles import may_suppress
from .source import Source, Span
from .statements import Statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast

VERBS = ("ignore", "disable", "enable", "file-ignore")
_OURS = re.compile(r"#\s*qalint:\s*(?P<verb>[\w-]*)\s*(?P<list>\[(?P<codes>[^\]#]*)\]?)?(?P<reason>[^#]*)")
_NOQA = re.compile(r"#\s*(?i:noqa)\s*:\s*(?P<codes>[A-Z]+[0-9]+(?:[\s,]+[A-Z]+[0-9]+)*)")
_MARKDOWN = re.compile(
    r"<!--\s*qalint:\s*(?P<verb>[\w-]*)\s*(?P<list>\[(?P<codes>[^\]]*)\])?(?P<reason>.*?)-->", re.S
)
_CODE = re.compile(r"[^\s,]+")

Resolve = Callable[[str], frozenset[str]]
"""From what is written between the brackets to the codes it stands for; empty where it is unknown."""


class Code(NamedTuple):
    """One entry of a suppression's list, where it is written, and the rules it stands for."""

    text: str
    span: Span
    rules: frozenset[str]


class Directive(NamedTuple):
    """One suppression. `rows` are the (first, last) lines it covers; None for the whole file."""

    verb: str
    row: int
    span: Span
    codes: tuple[Code, ...]
    rows: tuple[tuple[int, int], ...] | None

    def covers(self, row: int) -> bool:
        """Whether a finding that starts on line `row` is hidden."""
        return self.rows is None or any(first <= row <= last for first, last in self.rows)


class Invalid(NamedTuple):
    """A suppression that does not do what its author meant."""

    span: Span
    message: str


class Suppressions:
    """All suppressions of one file."""

    def __init__(
        self, source: Source, tree: ast.Module | None, resolve: Resolve, prefixes: frozenset[str]
    ) -> None:
        self.source = source
        self.directives: list[Directive] = []
        self.invalid: list[Invalid] = []
        self._resolve = resolve
        self._prefixes = prefixes
        if not may_suppress(source.raw, prefixes):
            return
        comments = list(_comments(source))
        if any(_OURS.search(text) or _NOQA.search(text) for _, text, _ in comments):
            statements = Statements(source, tree)
            for start, text, alone in comments:
                self._read(start, text, alone, statements)
        if source.kind == "markdown":
            self._read_markdown()
        self._pair_ranges()

    def hits(self, code: str, row: int) -> list[tuple[int, int]]:
        """(directive, entry) numbers of the suppressions that hide a finding of `code` on line `row`."""
        return [
            (number, entry)
            for number, directive in enumerate(self.directives)
            if directive.verb != "enable" and directive.covers(row)
            for entry, item in enumerate(directive.codes)
            if code in item.rules
        ]

    def removal(self, directive: Directive, entry: int) -> Span:
        """What to delete so that one entry, or the whole comment if it is the last, is gone."""
        text = self.source.text
        if directive.verb == "shared noqa":
            start, end = directive.codes[entry].span
            before = text[:start].rstrip()
            if before.endswith(","):
                return Span(len(before) - 1, end)
            return Span(start, end + len(text[end:]) - len(text[end:].lstrip(", \t")))
        if len(directive.codes) > 1:
            span = directive.codes[entry].span
            if entry:
                return Span(directive.codes[entry - 1].span.end, span.end)
            return Span(span.start, directive.codes[1].span.start)
        start, end = directive.span
        row = self.source.row(start)
        line_start = self.source.line_starts[row - 1]
        line_end = line_start + len(self.source.line(row))
        rest = text[end:line_end].lstrip()
        if rest and not rest.startswith(("#", "<!--")) and directive.verb == "noqa":
            # Words of another tool or of a person follow in the same comment: they stay one.
            return Span(start + 1 + (text[start + 1] in " \t"), line_end - len(rest))
        if not text[line_start:start].strip() and not rest:
            following = self.source.line_starts[row] if row < len(self.source.line_starts) else len(text)
            return Span(line_start, following)
        while start > line_start and text[start - 1] in " \t":
            start -= 1
        return Span(start, end)

    def _read(self, start: int, text: str, alone: bool, statements: Statements) -> None:
        for match in _OURS.finditer(text):
            verb, span = (
                match["verb"],
                Span(start + match.start(), start + len(match[0].rstrip()) + match.start()),
            )
            if verb not in VERBS:
                shown = (
                    f"`{verb}` is no kind of suppression{did_you_mean(verb, VERBS)}"
                    if verb
                    else "the verb is missing"
                )
                self.invalid.append(Invalid(span, f"This comment suppresses nothing: {shown}."))
                continue
            codes = self._codes(match["codes"], start + match.start("codes"), span, ours=True)
            if codes:
                row = self.source.row(span.start)
                rows = None if verb == "file-ignore" else statements.covered(row, alone and not match.start())
                self.directives.append(Directive(verb, row, span, codes, rows))
        for match in _NOQA.finditer(text):
            span = Span(start + match.start(), start + match.end())
            codes = self._codes(match["codes"], start + match.start("codes"), span, ours=False)
            if codes:
                row = self.source.row(span.start)
                others = len(_CODE.findall(match["codes"])) - len(codes)
                self.directives.append(
                    Directive(
                        "noqa" if not others else "shared noqa",
                        row,
                        span,
                        codes,
                        statements.covered(row, False),
                    )
                )

    def _read_markdown(self) -> None:
        for match in _MARKDOWN.finditer(self.source.text):
            span = Span(match.start(), match.end())
            if match["verb"] != "file-ignore":
                self.invalid.append(Invalid(span, "In Markdown only `file-ignore[...]` suppresses findings."))
                continue
            codes = self._codes(match["codes"], match.start("codes"), span, ours=True)
            if codes:
                self.directives.append(
                    Directive("file-ignore", self.source.row(span.start), span, codes, None)
                )

    def _codes(self, listed: str | None, start: int, span: Span, *, ours: bool) -> tuple[Code, ...]:
        found = []
        for match in _CODE.finditer(listed or ""):
            text = match.group()
            if not ours and text.rstrip("0123456789") not in self._prefixes:
                continue
            where = Span(start + match.start(), start + match.end())
            rules = self._resolve(text)
            if rules:
                found.append(Code(text, where, rules))
            else:
                self.invalid.append(
                    Invalid(where, f"`{text}` is no rule of qalint, so this suppresses nothing.")
                )
        if ours and not found and not _CODE.search(listed or ""):
            self.invalid.append(Invalid(span, "This suppression names no code; write the codes in brackets."))
        return tuple(found)

    def _pair_ranges(self) -> None:
        """Give each `disable` its lines: up to the `enable` of the same entries, else to the end."""
        last = len(self.source.line_starts)
        for number, directive in enumerate(self.directives):
            if directive.verb != "disable":
                continue
            wanted = {code.rules for code in directive.codes}
            end = next(
                (
                    later.row
                    for later in self.directives[number + 1 :]
                    if later.verb == "enable" and wanted <= {code.rules for code in later.codes}
                ),
                last,
            )
            self.directives[number] = directive._replace(rows=((directive.row, end),))
        for number, directive in enumerate(self.directives):
            if directive.verb != "enable":
                continue
            earlier = {
                code.rules
                for item in self.directives[:number]
                if item.verb == "disable"
                for code in item.codes
            }
            for code in directive.codes:
                if code.rules not in earlier:
                    message = f"`{code.text}` is enabled here, but no `disable[{code.text}]` comes before."
                    self.invalid.append(Invalid(code.span, message))


def _comments(source: Source) -> Iterator[tuple[int, str, bool]]:
    """(offset, text, whether it stands alone on its line) of each comment in the Python blocks."""
    import tokenize

    for block in source.blocks:
        if block.language != "python":
            continue
        text = source.text[block.start : block.end]
        if source.kind == "jupyter":
            from .ipython import neutralise

            text = neutralise(text)
        part = Source(source.path, text, raw=b"")
        starts = [*part.line_starts, len(text)]
        lines = iter([text[a:b] for a, b in pairwise(starts)])
        try:
            for token in tokenize.generate_tokens(lambda lines=lines: next(lines, "")):  # type: ignore[misc]
                if token.type == tokenize.COMMENT:
                    offset = part.line_starts[token.start[0] - 1] + token.start[1]
                    alone = not token.line[: token.start[1]].strip()
                    yield block.start + offset, token.string, alone
        except (tokenize.TokenError, SyntaxError):
            continue
