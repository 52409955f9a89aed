"""The arguments of `check`, and how flags become settings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UsageError
from ..presets import PRESETS
from ..settings import CONFIDENCES, FORMATS, KEYS, SEVERITIES, from_text
from .parser import Parser


def build_parser() -> argparse.ArgumentParser:
    """The arguments of `qalint check`."""
    parser = Parser(prog="qalint check", description="Lint Python files, Jupyter and marimo notebooks.")
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="files and folders; `-` reads standard input"
    )
    _fixing(parser.add_argument_group("fixes"))
    _selection(parser.add_argument_group("rule selection"))
    _files(parser.add_argument_group("file selection"))
    _output(parser.add_argument_group("output"))
    _adoption(parser.add_argument_group("adoption"))
    _running(parser.add_argument_group("running"))
    return parser


Group = Any


def _pair(group: Group, name: str, help: str, *, off: str | None = None) -> None:
    """`--name` and `--no-name`, None if neither is given."""
    dest = name.replace("-", "_")
    group.add_argument(f"--{name}", dest=dest, action="store_true", default=None, help=help)
    group.add_argument(
        f"--no-{name}", dest=dest, action="store_false", default=None, help=off or argparse.SUPPRESS
    )


def _fixing(group: Group) -> None:
    _pair(group, "fix", "apply safe fixes", off="apply none, whatever the configuration says")
    _pair(group, "unsafe-fixes", "apply unsafe fixes too, or count them as fixable")
    _pair(group, "fix-only", "apply fixes and do not report what is left")
    _pair(group, "show-fixes", "list what was fixed")
    group.add_argument("--diff", action="store_true", help="print what --fix would change as a patch")
    for name, help in (
        ("fixable", "rules whose fixes may be applied"),
        ("unfixable", "rules whose fixes are never applied"),
        ("extend-fixable", "as --fixable, added to it"),
    ):
        group.add_argument(f"--{name}", action="append", metavar="CODE", help=help)


def _selection(group: Group) -> None:
    for name, help in (
        ("select", "rules to run: codes, prefixes, names or ALL, comma-separated"),
        ("ignore", "rules not to run"),
        ("extend-select", "rules to run beside the others"),
    ):
        group.add_argument(f"--{name}", action="append", metavar="CODE", help=help)
    for name in ("per-file-ignores", "extend-per-file-ignores"):
        group.add_argument(
            f"--{name}", action="append", metavar="PATTERN:CODE", help="rules not to run on some files"
        )
    group.add_argument(
        "--preset", choices=tuple(PRESETS), metavar="NAME", help="a choice of rules: " + ", ".join(PRESETS)
    )
    _pair(group, "preview", "run rules that are still in preview")
    group.add_argument("--min-confidence", choices=CONFIDENCES, help="the lowest confidence that is shown")
    group.add_argument(
        "--plugin", action="append", metavar="MODULE", help="load a plugin that is not registered"
    )


def _files(group: Group) -> None:
    for name, help in (("exclude", "leave these out"), ("extend-exclude", "leave these out too")):
        group.add_argument(f"--{name}", action="append", metavar="PATTERN", help=help)
    _pair(group, "force-exclude", "leave excluded files out even when they are named")
    _pair(group, "respect-gitignore", "leave out what .gitignore names", off="look at ignored files too")
    group.add_argument("--stdin-filename", metavar="NAME", help="the name of what standard input holds")


def _output(group: Group) -> None:
    group.add_argument("--output-format", choices=FORMATS, metavar="FORMAT", help=", ".join(FORMATS))
    group.add_argument("-o", "--output-file", metavar="FILE", help="write findings there")
    group.add_argument(
        "--output", action="append", metavar="FORMAT=FILE", help="a further output of the same run"
    )
    group.add_argument("--statistics", action="store_true", help="count findings by rule")
    group.add_argument("--show-files", action="store_true", help="list the files of the run, and stop")
    group.add_argument("--show-settings", action="store_true", help="show the settings of a file, and stop")
    group.add_argument("--why", metavar="FILE:LINE", help="why qalint says nothing, or what it says, there")
    group.add_argument("--color", choices=("auto", "always", "never"), help="when to write colours")
    group.add_argument("-q", "--quiet", action="store_true", help="print findings and nothing else")
    group.add_argument(
        "-v", "--verbose", action="store_true", help="tell where the time went and what was cut"
    )


def _adoption(group: Group) -> None:
    group.add_argument("--fail-on", choices=SEVERITIES, help="the lowest severity that fails the run")
    group.add_argument("--baseline", metavar="FILE", help="known findings, which do not count")
    group.add_argument(
        "--no-baseline", dest="baseline", action="store_const", const="", help="count known findings too"
    )
    group.add_argument("--write-baseline", metavar="FILE", help="write today's findings as known ones")
    group.add_argument(
        "--add-ignore", nargs="?", const="", metavar="REASON", help="write a suppression for every finding"
    )
    group.add_argument("--ignore-suppressions", action="store_true", help="look behind suppressions")
    group.add_argument("-e", "--exit-zero", action="store_true", help="exit 0 even with findings")
    group.add_argument(
        "--exit-non-zero-on-fix",
        action="store_true",
        help="exit 1 if anything was fixed, even if nothing is left",
    )


def _running(group: Group) -> None:
    group.add_argument(
        "--config", action="append", metavar="FILE|KEY=VALUE", help="a configuration, or one setting"
    )
    group.add_argument("--isolated", action="store_true", help="ignore all configuration files")
    group.add_argument("-n", "--no-cache", action="store_true", help="neither read nor write the cache")
    group.add_argument("--cache-dir", metavar="FOLDER", help="where findings are cached")
    group.add_argument("-j", "--jobs", type=_count, metavar="N", help="processes; 0 works in this one")
    group.add_argument("-w", "--watch", action="store_true", help="run again whenever a file changes")


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number")
    return int(text)


_LISTS = (
    "select",
    "ignore",
    "extend-select",
    "fixable",
    "unfixable",
    "extend-fixable",
    "exclude",
    "extend-exclude",
)
_MAPPINGS = ("per-file-ignores", "extend-per-file-ignores")
_PLAIN = (
    "preset",
    "fix",
    "fix-only",
    "unsafe-fixes",
    "show-fixes",
    "preview",
    "force-exclude",
    "respect-gitignore",
    "output-format",
    "output-file",
    "cache-dir",
    "fail-on",
    "min-confidence",
    "baseline",
    "jobs",
)


def parse(argv: list[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """The arguments; flags that are no keys of the configuration may come from variables, too."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    for action in parser._actions:
        name = action.dest.replace("_", "-")
        text = environment.get("QALINT_" + action.dest.upper())
        if text is None or name in KEYS or getattr(arguments, action.dest, None):
            continue
        if action.const is True:
            value = text.strip().lower() not in ("", "0", "false", "no", "off")
            setattr(arguments, action.dest, value)
        elif action.option_strings:
            if action.choices is not None and text not in action.choices:
                expected = ", ".join(f"`{choice}`" for choice in action.choices)
                raise UsageError(
                    f"The variable QALINT_{action.dest.upper()} is `{text}`, none of {expected}."
                )
            setattr(arguments, action.dest, [text] if isinstance(action, argparse._AppendAction) else text)
    return arguments


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that the flags give."""
    found: dict[str, Any] = {}
    for name in (*_LISTS, *_MAPPINGS, *_PLAIN):
        value = getattr(arguments, name.replace("-", "_"))
        if value is not None:
            found[name] = from_text(name, ",".join(value)) if isinstance(value, list) else value
    return found


def configurations(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What `--config` was given: files, and settings of the form `key = value`."""
    import os

    files = [text for text in arguments if os.path.isfile(text)]
    inline = [text for text in arguments if text not in files]
    for text in inline:
        if "=" not in text:
            raise UsageError(f"The configuration {text} does not exist.")
    if len(files) > 1:
        raise UsageError("Only one configuration file can be given with --config.")
    return files, inline
