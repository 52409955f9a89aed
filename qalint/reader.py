"""Bytes to `Source`, for every kind of file that qalint reads, and edits back to bytes.

`overlay` holds content that stands in for files on disk: standard input, and fixes that are not
written yet. Everything that reads code, the analyses of other project files included, reads it
through `read`, so that all see the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from .source import Source

MAX_BYTES = 10_000_000
"""Larger Python and Markdown files are refused with QA0001; a Jupyter notebook may hold ten times as much."""

overlay: dict[str, bytes] = {}

_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BLANK = re.compile(rb"^[ \t\f]*(?:[#\r\n]|$)")


class Unreadable(Exception):
    """The file cannot be read; the text says why, as the end of a sentence."""


def kind_of(path: str) -> str:
    """`python`, `jupyter` or `markdown`, by the file's name."""
    extension = os.path.splitext(path)[1].lower()
    return {".ipynb": "jupyter", ".md": "markdown", ".qmd": "markdown"}.get(extension, "python")


def load(path: str) -> bytes:
    """The bytes of a file, or of what stands in for it. Raises Unreadable."""
    held = overlay.get(path)
    if held is not None:
        return held
    limit = MAX_BYTES * 10 if path.endswith(".ipynb") else MAX_BYTES
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise Unreadable(f"it cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise Unreadable(f"it cannot be opened: {error}") from error
    try:
        status = os.fstat(descriptor)
        if status.st_mode & 0o170000 != 0o100000:
            raise Unreadable("it is not a regular file")
        if status.st_size > limit:
            raise Unreadable(f"it is larger than the limit of {limit:,} bytes")
        data = os.read(descriptor, status.st_size + 1)
        while len(data) < status.st_size:
            more = os.read(descriptor, status.st_size - len(data) + 1)
            if not more:
                break
            data += more
        return data
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def read(path: str) -> Source:
    """The source of a file. Raises Unreadable."""
    return decode(path, load(path))


def decode(path: str, data: bytes) -> Source:
    """The source that these bytes are. Raises Unreadable."""
    kind = kind_of(path)
    if kind == "python":
        return _python(path, data)
    text, bom = _utf8(data)
    if kind == "markdown":
        from .markdown import fences

        return Source(path, text, raw=data, kind=kind, bom=bom, blocks=fences(text))
    from .jupyter import Notebook, NotJupyter

    try:
        book = Notebook(text)
    except NotJupyter as error:
        raise Unreadable(f"it is not a Jupyter notebook that can be read: {error}") from error
    return Source(path, book.text, raw=data, kind=kind, bom=bom, blocks=book.blocks)


def rewrite(source: Source, edits: Iterable[Any]) -> bytes:
    """The file's bytes after `edits` (sorted or not, never overlapping), all else untouched.

    Raises UnicodeEncodeError where the file's encoding cannot hold the new text.
    """
    ordered = sorted(edits, key=lambda edit: (edit.start, edit.end))
    if source.kind == "jupyter":
        from .jupyter import Notebook

        text, bom = _utf8(source.raw)
        return (b"\xef\xbb\xbf" if bom else b"") + Notebook(text).rewrite(ordered).encode()
    pieces, position = [], 0
    for edit in ordered:
        pieces += [source.text[position : edit.start], edit.content]
        position = edit.end
    pieces.append(source.text[position:])
    encoded = "".join(pieces).encode(source.encoding)
    return b"\xef\xbb\xbf" + encoded if source.bom else encoded


def _utf8(data: bytes) -> tuple[str, bool]:
    bom = data.startswith(b"\xef\xbb\xbf")
    try:
        return (data[3:] if bom else data).decode("utf-8"), bom
    except UnicodeDecodeError as error:
        raise Unreadable(f"byte {error.start} is not valid UTF-8") from error


def _python(path: str, data: bytes) -> Source:
    bom = data.startswith(b"\xef\xbb\xbf")
    body = data[3:] if bom else data
    encoding = _cookie(body) or "utf-8"
    try:
        text = body.decode(encoding)
    except LookupError as error:
        raise Unreadable(f"its coding comment names `{encoding}`, no text encoding of Python's") from error
    except UnicodeDecodeError as error:
        shown = "UTF-8" if encoding == "utf-8" else f"`{encoding}`"
        row = body.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"byte {error.start + 3 * bom} (line {row}) is not valid {shown}") from error
    except (UnicodeError, ValueError, TypeError) as error:
        raise Unreadable(f"it cannot be decoded as `{encoding}`: {error}") from error
    if not isinstance(text, str):
        raise Unreadable(f"its coding comment names `{encoding}`, which is not a text encoding")
    if bom and encoding.replace("_", "-").lower() not in ("utf-8", "utf8", "utf-8-sig"):
        raise Unreadable(f"it starts with a UTF-8 mark, but its coding comment names `{encoding}`")
    return Source(path, text, raw=data, encoding="utf-8" if bom else encoding, bom=bom)


def _cookie(data: bytes) -> str | None:
    """The encoding that the first two lines declare, as PEP 263 has it."""
    lines = data[:1024].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n", 2)[:2]
    for line in lines:
        if match := _COOKIE.match(line):
            return match.group(1).decode("ascii", "replace")
        if not _BLANK.match(line):
            return None
    return None
