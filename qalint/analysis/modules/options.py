"""What a program is started with: the options of `argparse`, as far as their defaults tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..command_line import CommandLine
from . import tensors, torchlib
from .values import Const, Device, Unknown

if TYPE_CHECKING:
    from .core import Core

PARSED = ".parse_"
"""In the term of what `parse_args` and its kin give."""
SEPARATORS = re.compile(r"[,;\s]+")
DEVICES = frozenset({"cuda", "cpu", "mps"})


def device(run: Core, name: str, read: Unknown) -> Device | None:
    """The device that an option names unless the user says otherwise, None where its default names none.

    Whoever starts the program without options takes that path, so it is one that can be taken.
    """
    found: list[Device] = []
    for scope in list(run.modules.values()):
        line = scope.file.get(CommandLine)
        assert line is not None
        for option in line.options.get(name, ()):
            if "default" not in option.given:
                continue
            value = run.ev(option.given["default"], scope)
            given = torchlib.to_device(run, value)
            number = isinstance(value, Const) and not isinstance(value.value, str)
            if number or given is None or not given.kinds <= DEVICES:
                return None
            found.append(given)
    if not found or any(one.kinds != found[0].kinds for one in found):
        return None
    return Device(found[0].kinds, read.term)


def strings(run: Core, name: str) -> frozenset[str]:
    """The texts that an option holds unless the user says otherwise, with the parts of a list in one text."""
    found: set[str] = set()
    for scope in list(run.modules.values()):
        line = scope.file.get(CommandLine)
        assert line is not None
        for option in line.options.get(name, ()):
            if "default" in option.given:
                found |= tensors.strings_of(run.ev(option.given["default"], scope))
    return frozenset(found | {part for text in found for part in SEPARATORS.split(text) if part})
