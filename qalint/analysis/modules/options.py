"""What a program is started with: the options of `argparse`, as far as their defaults tell."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from ..nodes import nodes
from . import torchlib
from .values import Const, Device, Unknown

if TYPE_CHECKING:
    from ...file import File
    from .core import Core

PARSED = ".parse_"
"""In the term of what `parse_args` and its kin give."""
DEVICES = frozenset({"cuda", "cpu", "mps"})


def device(run: Core, name: str, option: Unknown) -> Device | None:
    """The device that an option names unless the user says otherwise, None where its default names none.

    Whoever starts the program without options takes that path, so it is one that can be taken.
    """
    found: list[Device] = []
    for scope in list(run.modules.values()):
        if id(scope.file) not in run.options:
            run.options[id(scope.file)] = defaults(scope.file)
        for default in run.options[id(scope.file)].get(name, ()):
            value = run.ev(default, scope)
            given = torchlib.to_device(run, value)
            number = isinstance(value, Const) and not isinstance(value.value, str)
            if number or given is None or not given.kinds <= DEVICES:
                return None
            found.append(given)
    if not found or any(one.kinds != found[0].kinds for one in found):
        return None
    return Device(found[0].kinds, option.term)


def defaults(file: File) -> dict[str, list[ast.expr]]:
    """The defaults of the options that a file declares, by the attribute that holds each."""
    found: dict[str, list[ast.expr]] = {}
    if "add_argument" not in file.source.text:
        return found
    for node in nodes(file.tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="add_argument"), args=args, keywords=keywords):
                given = {keyword.arg: keyword.value for keyword in keywords}
                names = [arg.value for arg in args if isinstance(arg, ast.Constant)]
                long = [text for text in names if isinstance(text, str) and text.startswith("--")]
                match given.get("dest"), long:
                    case ast.Constant(value=str(name)), _:
                        pass
                    case None, [text, *_]:
                        name = text[2:].replace("-", "_")
                    case _:
                        continue
                if "default" in given:
                    found.setdefault(name, []).append(given["default"])
            case _:
                pass
    return found
