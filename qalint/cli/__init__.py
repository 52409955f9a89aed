"""The command line: one module a command, and only the one that is asked for is imported."""

from __future__ import annotations

import sys

COMMANDS = {
    "check": "check",
    "rule": "rule",
    "checklist": "checklist",
    "report": "report",
    "diagnose": "diagnose",
    "verify": "verify",
    "config": "config",
    "clean": "clean",
    "version": "version",
    "generate-shell-completion": "completion",
    "schema": "schema",
}
"""From the first word of the command line to the module that has `main(argv) -> int`."""

USAGE = """\
qalint lints ML training code and marimo notebooks.

Usage: qalint COMMAND [OPTIONS]

Commands:
  check       lint files and folders
  rule        explain a rule, or all of them
  checklist   the QA checklist, what judges each item, and its verdict on your code
  report      the QA scorecard of a notebook or a repository
  diagnose    from a symptom to its causes and the findings that prove them
  verify      run the rule fixtures before and after their fixes
  config      list the configuration keys, or explain one
  clean       remove the caches below this folder
  version     print the version
  schema      print the JSON Schema of the configuration
  generate-shell-completion SHELL

Options:
  -h, --help     show this help; `qalint COMMAND --help` shows a command's
  -V, --version  print the version
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _forgiving_streams()
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_output()  # the reader is gone; nobody is left to tell
        return 1
    except OSError as error:
        _drop_output()
        where = f" ({error.filename})" if error.filename else ""
        print(f"error: The system refuses to read or write: {error.strerror}{where}.", file=sys.stderr)
        return 2
    except Exception as error:
        if type(error).__name__ != "UsageError":
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


def _drop_output() -> None:
    """Let what standard output still holds go nowhere, lest Python try to write it again on exit."""
    import contextlib
    import os

    with contextlib.suppress(OSError, ValueError):  # standard output may be no file at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="", file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        arguments[0] = "version"
    command = arguments[0]
    if command not in COMMANDS:
        from ..errors import UsageError, did_you_mean

        raise UsageError(f"Unknown command `{command}`{did_you_mean(command, COMMANDS)}.")
    from importlib import import_module

    status: int = import_module(f".{COMMANDS[command]}", __name__).main(arguments[1:])
    return status


def _forgiving_streams() -> None:
    """A terminal that cannot show a character shows its escape instead of ending the run."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
