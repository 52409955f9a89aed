"""Colour on a terminal, without a library: start-up counts."""

from __future__ import annotations

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "1;31",
    "green": "32",
    "yellow": "1;33",
    "blue": "1;34",
    "cyan": "36",
    "removed": "31",
}
SEVERITY_STYLE = {"critical": "red", "high": "red", "medium": "yellow", "low": "blue"}


class Paint:
    """Wraps text in a style, or leaves it alone when colour is off."""

    __slots__ = ("on",)

    def __init__(self, on: bool) -> None:
        self.on = on

    def __call__(self, style: str, text: str) -> str:
        """`text` in `style`."""
        if not self.on or not text:
            return text
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m"
