"""What of a file's bytes can matter to the files that import it: its code, without comments and blank lines.

A file that is imported is read as code. Unless something asked for its text (a finding or a related place
that stands in it, a suppression), a change of its comments changes nothing for the files that import it.
"""

from __future__ import annotations

import re

from .store import digest_of

STEP = 4096
"""What depends on the size of an imported file depends on how many of these it has."""

_NOISE = rb"""(?sx)
    (   \"\"\"[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"\"\"
      | '''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''
      | "[^"\\\n]*(?:\\.[^"\\\n]*)*"
      | '[^'\\\n]*(?:\\.[^'\\\n]*)*'
      | \\\r?\n
    )
    | [ \t\f]*(?:\#[^\r\n]*)?(\r?\n)(?:[ \t\f]*(?:\#[^\r\n]*)?\r?\n)*"""
"""What ends a line, with blank lines behind it. Strings and joined lines, in the first group, stay."""
_DOUBTFUL = rb"[fFtT][rR]?[\"'][^\n]*\{[^\n]*\#"
"""A `#` that may lie in a string inside of an f-string, where only a parser can tell."""


def code_without_comments(data: bytes) -> bytes:
    """The bytes without comments, blank lines and spaces at the ends of lines; strings stay as they are."""
    if re.search(_DOUBTFUL, data):
        return data
    return re.sub(_NOISE, rb"\1\2", b"\n" + data + b"\n")


def code_print(data: bytes) -> bytes:
    """A digest that two files share only if importing one is the same as importing the other."""
    return digest_of(code_without_comments(data) + b"%d" % (len(data) // STEP))
