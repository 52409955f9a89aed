"""IPython's own syntax in a Jupyter cell, blanked so that what remains is Python at the same offsets."""

from __future__ import annotations

import re

_PYTHON_CELLS = ("time", "timeit", "capture", "prun", "python", "python3", "pypy", "memit", "mprun", "lprun")
_CELL_MAGIC = re.compile(r"\A\s*%%(\w+)")
_LINE = re.compile(r"^(?P<indent>[ \t]*)(?P<magic>[%!]|\?{1,2}[\w.]|,|;)", re.M)
_HELP = re.compile(r"^[ \t]*%{0,2}[\w.*]+\?{1,2}[ \t]*$")
_ASSIGNED = re.compile(r"^(?P<left>[ \t]*[\w.,\[\]'\" ]+=[ \t]*)(?P<right>[%!].*)$")
_RUNS_CODE = re.compile(r"^[ \t]*%(?:time|timeit|prun|memit)\b(?:[ \t]+-\w+(?:[ \t]+\d+)?)*[ \t]+(?=\S)")
_STRING = re.compile(
    r"[rbfuRBFU]{0,2}(\"\"\"|''')|[rbfuRBFU]{0,2}(\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')|#[^\n]*"
)


def neutralise(cell: str) -> str:
    """The cell with magics, shell lines and help requests turned into comments or neutral statements."""
    match = _CELL_MAGIC.match(cell)
    if match:
        if match.group(1) not in _PYTHON_CELLS:
            return _blank(cell)
        end = cell.find("\n", match.end())
        end = len(cell) if end < 0 else end
        cell = cell[: match.end()].replace("%", "#", 1) + cell[match.end() : end] + cell[end:]
    lines = re.split(r"(?<=\n)", cell)
    done: list[str] = []
    depth, quote, continued = 0, "", False
    for line in lines:
        body = line.rstrip("\r\n")
        ending = line[len(body) :]
        if continued:
            continued = body.endswith("\\")
            done.append(_comment(body) + ending)
            continue
        if not depth and not quote:
            replaced = _statement(body)
            if replaced is not None:
                continued = body.endswith("\\")
                done.append(replaced + ending)
                continue
        depth, quote = _state(body, depth, quote)
        done.append(line)
    return "".join(done)


def _statement(line: str) -> str | None:
    """What stands for a line in IPython's own syntax; None for a line of Python."""
    if run := _RUNS_CODE.match(line):
        indent = len(line) - len(line.lstrip())
        return line[:indent] + "0;" + " " * (run.end() - indent - 2) + line[run.end() :]
    if (match := _LINE.match(line)) and match.group("magic") not in (",", ";"):
        return _inert(line, len(match.group("indent")))
    if _HELP.match(line):
        return _inert(line, len(line) - len(line.lstrip()))
    if match := _ASSIGNED.match(line):
        right = match.group("right")
        value = "None" if len(right) >= 4 else "0"
        return match.group("left") + value.ljust(len(right))
    return None


def _inert(line: str, indent: int) -> str:
    """A comment at the top level; a statement in a block, which may not be empty."""
    rest = len(line) - indent
    if not indent:
        return "#" + line[1:]
    return line[:indent] + ("pass" if rest >= 4 else "0").ljust(rest)


def _comment(line: str) -> str:
    return "#" + line[1:] if line else line


def _blank(cell: str) -> str:
    return re.sub(r"[^\r\n]", " ", cell)


def _state(line: str, depth: int, quote: str) -> tuple[int, str]:
    """Bracket depth and open triple quote after a line, well enough to know where statements start."""
    position = 0
    while position < len(line):
        if quote:
            end = line.find(quote, position)
            if end < 0:
                return depth, quote
            position, quote = end + 3, ""
            continue
        match = _STRING.match(line, position)
        if match:
            if match.group(1):
                quote = match.group(1)
            position = match.end()
            continue
        char = line[position]
        depth += (char in "([{") - (char in ")]}")
        position += 1
    return max(depth, 0), quote
