"""The options that a file declares for its command line, with `argparse`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple, Self

from .nodes import nodes

if TYPE_CHECKING:
    from ..file import File


class Option(NamedTuple):
    """One `add_argument`."""

    call: ast.Call
    given: dict[str | None, ast.expr]
    """What it is told by keyword: `default`, `type`, `action`."""


class CommandLine:
    """Options by the attribute of the parsed arguments that holds each."""

    def __init__(self, tree: ast.Module) -> None:
        self.options: dict[str, list[Option]] = {}
        for node in nodes(tree):
            match node:
                case ast.Call(func=ast.Attribute(attr="add_argument"), args=args, keywords=keywords):
                    given = {keyword.arg: keyword.value for keyword in keywords}
                    name = _attribute(args, given.get("dest"))
                    if name is not None:
                        self.options.setdefault(name, []).append(Option(node, given))
                case _:
                    pass

    @classmethod
    def of(cls, file: File) -> Self:
        """The options that `file` declares."""
        return cls(file.tree)


def _attribute(args: list[ast.expr], dest: ast.expr | None) -> str | None:
    """The name that `argparse` gives an option: `dest`, its first long spelling, or its only one."""
    if dest is not None:
        return dest.value if isinstance(dest, ast.Constant) and isinstance(dest.value, str) else None
    spelled = [arg.value for arg in args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if not spelled:
        return None
    best = next((text for text in spelled if text.startswith("--")), spelled[0])
    return best.lstrip("-").replace("-", "_")
