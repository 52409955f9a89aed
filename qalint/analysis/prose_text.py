"""Where prose stands in a file, and how Markdown falls into headings, paragraphs and sentences."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import tokenize
from collections.abc import Iterator
from typing import NamedTuple

from ..file import File
from ..parsing import attempt
from ..reader import Unreadable, load
from ..source import Source


class Piece(NamedTuple):
    """A run of prose. `start` is its offset in the file.

    `raw` is the source text where it differs from `text` (a string literal with its quotes and escapes).
    `headings` stand above it, as the title of an accordion does.
    """

    start: int
    text: str
    kind: str
    raw: str | None = None
    headings: tuple[str, ...] = ()
    exact: bool = False


Part = tuple[int, int, str, tuple[str, ...], str]
"""Start and end in the piece's source, text, headings above it, kind."""

_HEADING = re.compile(r"^\s*(#{1,6})\s+(.*?)\s*#*\s*$")
_PLACEHOLDER = re.compile(r"(?<!\{)\{([A-Za-z][a-z_]*)\}(?!\})")
_BOLD_LINE = re.compile(r"^\s*(?:\*\*|__)([^*_]{2,60}?)(?:\*\*|__)\s*:?\s*$")
_SETEXT = re.compile(r"^\s*(?:=+|-+)\s*$")
_FENCE = re.compile(r"^\s*(```+|~~~+)")
_ITEM = re.compile(r"^\s*(?:[-*+•]\s|\d+[.)]\s|\||[✅⚠❌✓✗☑])")
_SENTENCE = re.compile(r"(?<=[.!?])[)\"'*_]*\s+(?=[A-Z\"'(*_`\d])")
_DIRECTIVE = re.compile(
    r"^#\s*(?:!|-\*-|type:|noqa|nosec|qalint:|pylint|pyright|mypy:|ruff:|fmt:|isort|expect:|region|endregion"
    r"|todo|fixme|xxx|copyright|spdx|licen[sc]e|coding[:=])",
    re.IGNORECASE,
)
_CELL_MARK = re.compile(r"^# ?(?:%%|In\[)(.*\[markdown\])?")
_RULE_LINE = re.compile(r"^[\s\-=#*_~.─━]*$")
_README_NAMES = ("README.md", "Readme.md", "readme.md", "README.rst", "README.txt", "README")
_README_LIMIT = 512 * 1024


def pieces(file: File) -> Iterator[Piece]:
    """The prose of a file, in no particular order."""
    source = file.source
    if source.kind == "jupyter":
        yield from _jupyter(source)
    elif source.kind == "markdown":
        yield from _outside(source)
    yield from _strings(file)
    for block in source.blocks:
        if block.language == "python":
            yield from _comments(source, block.start, block.end)


def split(piece: Piece) -> Iterator[Part]:
    """The parts of a piece: each heading, paragraph, list and table with the headings above it."""
    if piece.kind == "comment":
        end = len(piece.raw if piece.raw is not None else piece.text)
        yield 0, end, piece.text, piece.headings, piece.kind
        return
    locate = _Locator(piece)
    stack: list[tuple[int, str]] = []
    lines: list[tuple[int, str]] = []
    fence = ""
    kind = piece.kind

    def above() -> tuple[str, ...]:
        return (*piece.headings, *(title for _, title in stack))

    def flush() -> Iterator[Part]:
        if lines:
            text = "\n".join(line for _, line in lines).strip()
            if re.search(r"\w", text):
                start, end = locate(lines[0][0], lines[-1][0], lines[0][1], lines[-1][1])
                yield start, end, text, above(), kind
            lines.clear()

    position = 0
    for line in piece.text.split("\n"):
        at, position = position, position + len(line) + 1
        if found := _FENCE.match(line):
            mark = found.group(1)
            if not fence:
                yield from flush()
                fence = mark
            elif mark.startswith(fence):
                fence = ""
            continue
        if fence:
            continue
        title, level = _title(line)
        if not title and _SETEXT.match(line) and len(lines) == 1 and len(lines[0][1].split()) <= 12:
            title, level = lines[0][1].strip(), 1 if "=" in line else 2
            at, line = lines[0]
            lines.clear()
        if title:
            yield from flush()
            while stack and stack[-1][0] >= level:
                stack.pop()
            start, end = locate(at, at, line, line)
            yield start, end, title, above(), "heading"
            stack.append((level, title))
        elif not line.strip():
            yield from flush()
        else:
            lines.append((at, line))
    yield from flush()


def _title(line: str) -> tuple[str, int]:
    """The text and level of a heading line, or ("", 0). A line all in bold is a heading below the others."""
    if found := _HEADING.match(line):
        return found.group(2).strip(" *_"), len(found.group(1))
    if found := _BOLD_LINE.match(line):
        return found.group(1).strip(), 7
    return "", 0


class _Locator:
    """Where the lines of a piece stand in its source."""

    def __init__(self, piece: Piece) -> None:
        self.raw = piece.raw
        self.position = 0

    def __call__(self, first_at: int, last_at: int, first: str, last: str) -> tuple[int, int]:
        if self.raw is None:
            return first_at + len(first) - len(first.lstrip()), last_at + len(last.rstrip())
        start = self._find(first, self.position)
        if start is None:
            start = self.position
        end = self._find(last, start)
        end = start + 1 if end is None else end
        newline = self.raw.find("\n", end)
        end = len(self.raw) if newline < 0 else newline
        self.position = start
        return start, end

    def _find(self, line: str, after: int) -> int | None:
        """Where a line of the value stands in the literal: its longest run without escapes decides."""
        assert self.raw is not None
        runs = re.split(r"[\\{}\"']+|\s{2,}", line.strip())
        if not runs or not (longest := max(runs, key=len).strip()):
            return None
        found = self.raw.find(longest, after)
        if found < 0:
            return None
        newline = self.raw.rfind("\n", 0, found) + 1
        return newline + len(self.raw[newline:found]) - len(self.raw[newline:found].lstrip())


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph; an item of a list and a row of a table is at least one each.

    `{learning_rate}`, for which a control is shown or a value, is read as its words.
    """
    text = _PLACEHOLDER.sub(lambda match: match[1].replace("_", " "), text)
    units: list[str] = []
    for line in text.split("\n"):
        line = line.strip()
        if not line or _RULE_LINE.match(line) or re.fullmatch(r"\|?[\s:|-]+\|?", line):
            continue
        if units and not _ITEM.match(line):
            units[-1] += " " + line
        else:
            units.append(line)
    return [sentence.strip() for unit in units for sentence in _SENTENCE.split(unit) if sentence.strip()]


def readme(file: File) -> Source | None:
    """The README beside the file, or None. It is read through the reader, so that overlays count."""
    path = file.source.path
    if path in ("", "-") or not os.path.isfile(path):
        return None
    folder = os.path.dirname(path)
    try:
        names = set(os.listdir(folder or "."))
    except OSError:
        return None
    for name in _README_NAMES:
        beside = os.path.join(folder, name)
        if name in names and beside != path:
            try:
                data = load(beside)[:_README_LIMIT]
            except Unreadable:
                return None
            return Source(beside, data.decode("utf-8", errors="replace"), kind="prose", blocks=())
    return None


def _jupyter(source: Source) -> Iterator[Piece]:
    """The Markdown cells of a Jupyter notebook, each at the code cell that follows it."""
    try:
        cells = json.loads(source.raw).get("cells", [])
    except (ValueError, AttributeError, UnicodeDecodeError):
        return
    for number, cell in enumerate(cells, 1):
        if not isinstance(cell, dict) or cell.get("cell_type") != "markdown":
            continue
        text = cell.get("source", "")
        text = "".join(map(str, text)) if isinstance(text, list) else str(text)
        starts = [block.start for block in source.blocks if (block.number or 0) > number]
        yield Piece(min(starts, default=len(source.text)), text, "markdown", raw="")


def _outside(source: Source) -> Iterator[Piece]:
    """The text of a Markdown notebook between its fences of code, front matter left out."""
    text = source.text
    position = 0
    if front := re.match(r"---\r?\n.*?\n---\r?\n", text, re.DOTALL):
        position = front.end()
    for block in (*source.blocks, None):
        # A block starts below its fence: the line with the fence is no prose, nor is the one that closes it.
        end = text.rfind("\n", 0, max(block.start - 1, 0)) + 1 if block else len(text)
        if position < end:
            yield Piece(position, text[position:end].replace("\r", " "), "markdown", exact=True)
        if block:
            if block.language == "markdown":
                yield Piece(block.start, text[block.start : block.end], "markdown", exact=True)
            newline = text.find("\n", block.end)
            position = len(text) if newline < 0 else newline + 1


def _strings(file: File) -> Iterator[Piece]:
    """Docstrings, and the Markdown that calls show."""
    tree, source = file.tree, file.source
    aliases = {"mo"} if source.kind == "markdown" else set()
    bound: dict[str, ast.expr | None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases.update(name.asname or name.name for name in node.names if name.name == "marimo")
        elif (
            isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        ):
            name = node.targets[0].id
            bound[name] = None if name in bound else node.value
    titles: dict[int, str] = {}
    seen: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                yield _literal(source, node.value, "docstring", ())
        elif isinstance(node, ast.Call) and (shown := _shown(node, aliases)):
            for argument in (*node.args, *(keyword.value for keyword in node.keywords if keyword.arg)):
                yield from _displayed(source, argument, shown == "markdown", bound, titles, seen)


def _shown(call: ast.Call, aliases: set[str]) -> str:
    """`markdown` for calls that render their text, `layout` for others of marimo, else the empty string."""
    root = call.func
    while isinstance(root, ast.Attribute | ast.Call):
        root = root.value if isinstance(root, ast.Attribute) else root.func
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name == "Markdown":
        return "markdown"
    if isinstance(root, ast.Name) and root.id in aliases:
        inside_ui = isinstance(call.func, ast.Attribute) and "ui" in ast.unparse(call.func.value).split(".")
        return "markdown" if name == "md" else "" if inside_ui and name not in ("tabs",) else "layout"
    return ""


def _displayed(
    source: Source,
    node: ast.expr,
    markdown: bool,
    bound: dict[str, ast.expr | None],
    titles: dict[int, str],
    seen: set[int],
) -> Iterator[Piece]:
    """The prose in one argument of a call that shows something."""
    if isinstance(node, ast.Name) and markdown:
        value = bound.get(node.id)
        if isinstance(value, ast.Constant | ast.JoinedStr):
            node = value
    if id(node) in seen:
        return
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                for below in ast.walk(value):
                    titles.setdefault(id(below), key.value)
            yield from _displayed(source, value, markdown, bound, titles, seen)
        return
    if isinstance(node, ast.List | ast.Tuple):
        for element in node.elts:
            yield from _displayed(source, element, markdown, bound, titles, seen)
        return
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("dedent", "strip")
    ):
        for argument in (*node.args, node.func.value):
            yield from _displayed(source, argument, markdown, bound, titles, seen)
        return
    piece = _literal(source, node, "markdown", (titles[id(node)],) if id(node) in titles else ())
    if piece.text and (markdown or len(piece.text.split()) >= 4):
        seen.add(id(node))
        yield piece


def _literal(source: Source, node: ast.expr, kind: str, headings: tuple[str, ...]) -> Piece:
    """The prose of a string literal; the fields of an f-string read as an ellipsis."""
    text = ""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    elif isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if not text:
        return Piece(0, "", kind)
    start, end = source.span(node)
    return Piece(start, text.replace("\r", " "), kind, raw=source.text[start:end], headings=headings)


def _comments(source: Source, start: int, end: int) -> Iterator[Piece]:
    """Comments that say something: runs of whole lines as one piece, and each one beside code."""
    text = source.text[start:end]
    if "#" not in text:
        return
    starts = [match.start() for match in re.finditer(r"(?m)^", text)]
    run: list[tuple[int, int, str]] = []
    last_row = -1
    header = False
    markdown = False
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type != tokenize.COMMENT:
                continue
            row, column = token.start
            words = token.string
            if words.startswith("# ///"):
                header = not header
                continue
            if cell := _CELL_MARK.match(words):
                yield from _run(source, run, markdown)
                run, markdown = [], bool(cell.group(1))
                continue
            if header or _DIRECTIVE.match(words):
                continue
            at = start + starts[row - 1] + column
            alone = not token.line[:column].strip()
            if run and not (alone and row == last_row + 1):
                yield from _run(source, run, markdown)
                run, markdown = [], False
            run.append((at, at + len(words), words.lstrip("#!").strip()))
            last_row = row if alone else -1
    except (tokenize.TokenError, IndentationError, SyntaxError, IndexError):
        pass
    yield from _run(source, run, markdown)


def _run(source: Source, run: list[tuple[int, int, str]], markdown: bool) -> Iterator[Piece]:
    """One piece for a run of comment lines, unless it is commented-out code or decoration.

    The comments below `# %% [markdown]` are Markdown.
    """
    if not run:
        return
    raw = source.text[run[0][0] : run[-1][1]]
    if markdown:
        lines = (line[2:] if line.startswith("# ") else line.lstrip("#") for line in raw.split("\n"))
        yield Piece(run[0][0], "\n".join(line.rstrip() for line in lines), "markdown", raw=raw)
        return
    prose = [line for _, _, line in run if not _RULE_LINE.match(line) and not _is_code(line)]
    text = "\n".join(prose)
    if len(text.split()) < 3 or _is_code(text) or re.search(r"copyright|licensed under", text, re.IGNORECASE):
        return
    yield Piece(run[0][0], text, "comment", raw=raw)


def _is_code(text: str) -> bool:
    """Whether a comment is code that was switched off: it parses, and no sentence does."""
    if not re.search(r"[=(.\[:]|^(?:import|from|return|pass|break|continue)\b", text):
        return False
    if attempt(text.rstrip(":") if text.count("\n") == 0 else text) is None:
        return bool(re.match(r"(?:for|if|with|while|def|elif)\b.*:\s*$|\w[\w.]*\s*=\s*\S+$", text))
    return True
