"""What several formats need: safe text, paths, severity scales."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic
    from ..report_data import Report

INFORMATION_URI = "https://github.com/qalint/qalint"

GITHUB = {"critical": "error", "high": "error", "medium": "warning", "low": "notice"}
GITLAB = {"critical": "critical", "high": "major", "medium": "minor", "low": "info"}
RDJSON = {"critical": "ERROR", "high": "ERROR", "medium": "WARNING", "low": "INFO"}
SARIF = {"critical": "error", "high": "error", "medium": "warning", "low": "note"}
SEVERITIES = ("critical", "high", "medium", "low")

# Characters that a terminal or a code host acts upon instead of showing: C0 and C1 controls, line
# and paragraph separators, and the marks that reorder or hide text (a diff that reads other than it
# runs). Lone surrogates stand for bytes of a file name that are no text.
_ACTIVE = frozenset(
    [
        *range(0x20),
        *range(0x7F, 0xA0),
        *(0xAD, 0x61C, 0xFEFF),
        *range(0x200B, 0x2010),
        *range(0x2028, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xD800, 0xE000),
        *range(0xFFF9, 0xFFFC),
    ]
)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def one_line(text: str) -> str:
    """`text` on one line, with every character that is not simply shown as an escape like `\\x1b`."""
    if _is_plain(text):
        return text
    return "".join(_escape(char) if ord(char) in _ACTIVE else char for char in text)


def same_length(line: str) -> str:
    """A source line as it can be shown: as many characters as before, none of them active.

    Tabs stay (see `columns`); controls become their pictures, everything else U+FFFD.
    """
    if _is_plain(line):
        return line
    return "".join(_picture(char) for char in line)


def _picture(char: str) -> str:
    code = ord(char)
    if code == 0x09 or code not in _ACTIVE:
        return char
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def columns(text: str) -> int:
    """The width of `text` on a terminal (tabs already expanded)."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def relative(filename: str, directory: str) -> str:
    """`filename` relative to `directory` with forward slashes; absolute if it lies elsewhere."""
    if os.path.isabs(filename):
        prefix = directory.rstrip(os.sep) + os.sep
        if filename.startswith(prefix):
            filename = filename[len(prefix) :]
    return filename.replace(os.sep, "/")


def position(path: str, cell: int | None, row: int, column: int) -> str:
    """`path:row:column`, or `path:cell N:row:column` in a Jupyter notebook, as ruff writes it."""
    middle = "" if cell is None else f"cell {cell}:"
    return f"{one_line(path)}:{middle}{row}:{column}"


def marker(diagnostic: Diagnostic, report: Report) -> str:
    """`[*] ` where `--fix` would help, else nothing."""
    return "[*] " if report.fixable(diagnostic) else ""


def plural(count: int, word: str, words: str = "") -> str:
    """`1 finding`, `2 findings`."""
    return f"{count} {word}" if count == 1 else f"{count} {words or word + 's'}"
