"""The parser of every command: what is wrong with the arguments is one plain sentence."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from ..errors import UsageError, did_you_mean

_CHOICE = re.compile(r"argument (?P<what>\S+): invalid choice: '(?P<given>.*)' \(choose from (?P<known>.*)\)")
_VALUE = re.compile(r"argument (?P<what>\S+): (?P<problem>.*)")


class _Formatter(argparse.HelpFormatter):
    """Help of a fixed width: asking the terminal, as each argument would, imports much."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `UsageError`, and that knows `@file` arguments."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(fromfile_prefix_chars="@", allow_abbrev=False, formatter_class=_Formatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError in place of printing the usage."""
        options = [option for action in self._actions for option in action.option_strings]
        if message.startswith("unrecognized arguments: "):
            word = message.removeprefix("unrecognized arguments: ").split()[0]
            kind = "option" if word.startswith("-") else "argument"
            raise UsageError(f"Unknown {kind} `{word}`{did_you_mean(word, options)}.")
        if match := _CHOICE.fullmatch(message):
            known = [word.strip("' ") for word in match["known"].split(",")]
            listed = ", ".join(f"`{word}`" for word in known)
            near = did_you_mean(match["given"], known)
            raise UsageError(
                f"{_name(match['what'])} cannot be `{match['given']}`{near}; it is one of {listed}."
            )
        if match := _VALUE.fullmatch(message):
            raise UsageError(f"{_name(match['what'])}: {match['problem']}.")
        raise UsageError(f"{message[:1].upper()}{message[1:]}.")

    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        """One argument a line; empty lines do not count."""
        return [arg_line] if arg_line.strip() else []


def _name(what: str) -> str:
    """An option as it is written, `--jobs` of `-j/--jobs`; the name of an argument as it is."""
    return f"`{what.rpartition('/')[2]}`"
