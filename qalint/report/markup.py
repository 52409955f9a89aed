"""Text from files and paths as HTML that does nothing: every character that acts is made visible."""

from __future__ import annotations

from ..output.common import one_line, same_length

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "`": "&#96;"})


def escape(text: str) -> str:
    """One line of text for element content and quoted attributes; controls and direction marks are shown."""
    return one_line(text).translate(_ESCAPES)


def escape_line(line: str) -> str:
    """A line of source: as many characters as before, tabs kept, nothing active."""
    return same_length(line).translate(_ESCAPES)


def prose(text: str) -> str:
    """A sentence whose `code` is set as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return "".join(
        f"<code>{escape(part)}</code>" if index % 2 else escape(part) for index, part in enumerate(parts)
    )
