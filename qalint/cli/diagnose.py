"""`qalint diagnose [FILE...]`: from a symptom to its causes, and to what the code proves of them."""

from __future__ import annotations

import argparse
import os
import sys

from .parser import Parser


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = Parser(
        prog="qalint diagnose",
        description="From a symptom to its causes: FILEs are code; the symptom is a name, a log, or both.",
        epilog="Without FILEs, the files that a traceback names are read, if they are there.",
    )
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="code to look in; - reads a log from standard input"
    )
    parser.add_argument(
        "--symptom", action="append", default=[], metavar="NAME", help="the name of a symptom, or its message"
    )
    parser.add_argument(
        "--log", action="append", default=[], metavar="FILE", help="a log or traceback; - is standard input"
    )
    parser.add_argument("--list", action="store_true", help="list the symptoms that are known")
    parser.add_argument("--output-format", choices=("text", "markdown", "json"), default="text")
    parser.add_argument("-o", "--output-file", metavar="FILE", help="write there instead of standard output")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    return parser


def main(argv: list[str]) -> int:
    """Run the command; 0 when it could answer, else 2."""
    arguments = build_parser().parse_args(argv)

    from ..diagnose import symptoms
    from ..report.terminal import deliver

    if arguments.list:
        width = max(len(each.name) for each in symptoms())
        text = "".join(f"{each.name:{width}}  {each.title}\n" for each in symptoms())
        return deliver("diagnose", text, arguments.output_file)
    try:
        return _diagnose(arguments)
    except _Stop as stop:
        print(f"qalint diagnose: {stop}", file=sys.stderr)
        return 2


class _Stop(Exception):
    """Why there is no diagnosis, in one sentence."""


def _diagnose(arguments: argparse.Namespace) -> int:
    from ..diagnose import Recognised, files_named, recognise, symptom
    from ..errors import UsageError
    from ..report import diagnosis
    from ..report.gather import Gathered, gather
    from ..report_data import Report
    from .progress import Progress

    recognised: list[Recognised] = []
    for name in arguments.symptom:
        known = symptom(name.strip().lower())
        found = [Recognised(known, name, 0)] if known else recognise(name)
        if not found:
            raise _Stop(_unknown(name))
        recognised += found
    log = _logs(arguments)
    recognised += recognise(log)
    unique = list({each.symptom.name: each for each in reversed(recognised)}.values())[::-1]
    if not unique:
        if log.strip():
            raise _Stop("The log shows no symptom that qalint knows; `qalint diagnose --list` lists them.")
        raise _Stop(
            "Name a symptom with --symptom, or give a log with --log or -; --list lists the symptoms."
        )

    files = [name for name in arguments.files if name != "-"]
    if not files:
        files = [name for name in files_named(log) if os.path.isfile(name)]
        if files:
            print(f"Reading what the traceback names: {', '.join(files)}", file=sys.stderr)
    gathered: Gathered | None = None
    if files:
        try:
            gathered = gather(files, Progress if sys.stderr.isatty() else None)
        except UsageError as error:
            raise _Stop(str(error)) from error
        for finding in gathered.broken().values():
            print(f"qalint diagnose: {finding.filename}: {finding.message}", file=sys.stderr)
    findings = gathered.findings if gathered else []
    result = diagnosis.judge(unique, findings, len(gathered.paths) if gathered else 0)

    from ..report.terminal import deliver, terminal_width, wants_colour

    if arguments.output_format == "json":
        import json

        text = json.dumps(diagnosis.as_json(result), indent=2) + "\n"
    elif arguments.output_format == "markdown":
        text = diagnosis.markdown(result)
    else:
        colour = wants_colour(arguments.color, arguments.output_file)
        width = terminal_width()
        report = (
            gathered.report(findings, color=colour, width=width)
            if gathered
            else Report(color=colour, width=width)
        )
        text = diagnosis.text(result, report)
    return deliver("diagnose", text, arguments.output_file)


def _logs(arguments: argparse.Namespace) -> str:
    """All logs, one after the other."""
    names = [*arguments.log, *(["-"] if "-" in arguments.files else [])]
    if not names and not arguments.symptom and not sys.stdin.isatty():
        names = ["-"]
    texts = []
    for name in dict.fromkeys(names):
        if name == "-":
            texts.append(sys.stdin.buffer.read().decode("utf-8", errors="replace"))
            continue
        try:
            with open(name, "rb") as stream:
                texts.append(stream.read().decode("utf-8", errors="replace"))
        except OSError as error:
            raise _Stop(f"The log {name} cannot be read: {error.strerror}.") from error
    return "\n".join(texts)


def _unknown(name: str) -> str:
    from ..diagnose import symptoms
    from ..errors import did_you_mean

    near = did_you_mean(name, [each.name for each in symptoms()])
    return f"Unknown symptom `{name}`{near}; `qalint diagnose --list` lists them."
