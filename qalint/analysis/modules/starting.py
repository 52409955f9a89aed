"""Whether a program may start in a file, or whether it is a library: others build what it defines.

The bytes say it roughly (`RUN`). Here the names in messages, imports and definitions count no more: a
file that only exports an optimizer, or that asks a decoder for its next `step`, trains nothing.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from ...needles import LAUNCH
from .needles import OPTIMIZER, RUN, TRAIN, Code, mentions
from .toplevel import is_main_test

if TYPE_CHECKING:
    from ...file import File

_STRINGS = rb"""(?sx)
    \"\"\"[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"\"\"
    |'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''
    |"[^"\\\n]*(?:\\.[^"\\\n]*)*"
    |'[^'\\\n]*(?:\\.[^'\\\n]*)*'
    |^[ \t]*(?:from[ \t]+[.\w]+[ \t]+import[ \t]*(?:\([^)]*\)|[^\n(]*)|import[ \t][^\n]*)"""
"""Strings and imports."""
_NAMES = b"|".join(needle for needle in OPTIMIZER if b"optim" not in needle)
_USES = re.compile(
    rb"(?<!class )\b\w*(?:" + _NAMES + rb")\w*"
    rb"|\boptim\.(?!lr_scheduler|Optimizer\b)|\boptim\s*[,)\]]"
    rb"|(?<!class )\b\w*Trainer\b"
    rb"|\.backward\("
)
"""An optimizer or a trainer is used by name, a gradient is asked for."""


class Starting:
    """Whether a program may start in a file."""

    def __init__(self, found: bool) -> None:
        self.found = found

    @classmethod
    def of(cls, file: File) -> Starting:
        """The answer for `file`."""
        if file.source.kind != "python" or mentions(file, (b"marimo.App",)):
            return cls(True)
        return cls(mentions(file, (*RUN, *LAUNCH)) and (acts(file.tree.body) or _trains(file)))


def starts(file: File) -> bool:
    """Whether a program may start in a file."""
    found = file.get(Starting)
    return found is None or found.found


def acts(body: list[ast.stmt]) -> bool:
    """Whether the top level works on something: loops, prints, calls `main`."""
    for statement in body:
        match statement:
            case ast.For() | ast.While() | ast.With() | ast.AsyncFor() | ast.AsyncWith():
                return True
            case ast.If(test=test, body=body) if is_main_test(test) or acts(body):
                return True
            case ast.Try(body=body) if acts(body):
                return True
            case ast.Expr(value=ast.Call(func=ast.Name(id="print" | "main"))):
                return True
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr="main" | "fit" | "train" | "run"))):
                return True
            case _:
                pass
    return False


def _trains(file: File) -> bool:
    """Whether the code of a file names what trains."""
    code = file.get(Code)
    return code is None or trains(code.data)


def trains(code: bytes) -> bool:
    """Whether code without docstrings and comments names what trains."""
    if not any(needle in code for needle in TRAIN):
        return False
    bare = re.sub(_STRINGS, b"''", code, flags=re.MULTILINE)
    if _USES.search(bare) is not None:
        return True
    return any(_is_step(bare, at.end()) for at in re.finditer(rb"\.step\(", bare))


def _is_step(code: bytes, start: int) -> bool:
    """Whether a call of `step` can be an optimizer's: it has one argument at most, or names an optimizer."""
    depth, at = 0, start
    while at < len(code):
        letter = code[at : at + 1]
        if letter in b"([{":
            depth += 1
        elif letter in b")]}":
            if not depth:
                return True
            depth -= 1
        elif letter == b"," and not depth:
            rest = code[at + 1 : at + 40].lstrip()
            return rest[:1] == b")" or b"opt" in code[start:at] or re.match(rb"\w+\s*=[^=]", rest) is not None
        at += 1
    return True
