"""`qalint checklist [PATH...]`: every item, what judges it, and with paths its verdict there."""

from __future__ import annotations

import argparse
import sys

from .parser import Parser


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = Parser(
        prog="qalint checklist",
        description="The QA checklist: every item, what judges it, and with paths its verdict there.",
    )
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="files and folders to judge; - is standard input"
    )
    parser.add_argument("--output-format", choices=("text", "markdown", "json"), default="text")
    parser.add_argument("-o", "--output-file", metavar="FILE", help="write there instead of standard output")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    return parser


def main(argv: list[str]) -> int:
    """Run the command; 0 when it could answer, else 2."""
    arguments = build_parser().parse_args(argv)

    from ..checklist import items
    from ..report import listing
    from ..report.verdicts import Verdict, verdict_json

    if arguments.paths:
        from ..report.gather import Problem, gather
        from ..report.judge import judge
        from .progress import Progress

        try:
            verdicts = judge(gather(arguments.paths, Progress if sys.stderr.isatty() else None))
        except Problem as problem:
            print(f"qalint checklist: {problem}", file=sys.stderr)
            return 2
    else:
        verdicts = [Verdict(item) for item in items()]

    if arguments.output_format == "json":
        import json

        text = (
            json.dumps([verdict_json(verdict) for verdict in verdicts], indent=2, ensure_ascii=False) + "\n"
        )
    elif arguments.output_format == "markdown":
        text = listing.markdown(verdicts)
    else:
        from ..report.terminal import wants_colour

        colour = wants_colour(arguments.color, arguments.output_file)
        text = listing.text(verdicts, colour=colour)
    from ..report.terminal import deliver

    return deliver("checklist", text, arguments.output_file)
