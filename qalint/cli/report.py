"""`qalint report [PATH...]`: the QA scorecard of a notebook, a file or a repository."""

from __future__ import annotations

import argparse
import sys

from .parser import Parser

FORMATS = ("text", "markdown", "json", "html")


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog="qalint report",
        description="The QA scorecard: a verdict for every item of the checklist, two scores, the findings.",
    )
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="files and folders (default: .); - is standard input"
    )
    parser.add_argument(
        "--output-format", choices=FORMATS, default=None, help="default: by FILE's name, else text"
    )
    parser.add_argument("-o", "--output-file", metavar="FILE", help="write there instead of standard output")
    parser.add_argument(
        "--fail-on",
        choices=("critical", "high", "medium", "low"),
        help="exit with 1 if `check` would find something of this severity or a higher one",
    )
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    return parser


def main(argv: list[str]) -> int:
    """Run the command; 0 when it could answer, 1 as `--fail-on` says, else 2."""
    arguments = build_parser().parse_args(argv)
    from ..errors import UsageError
    from ..report import scorecard
    from ..report.terminal import deliver, terminal_width, wants_colour
    from .progress import Progress

    try:
        card = scorecard.scorecard(arguments.paths or ["."], Progress if sys.stderr.isatty() else None)
    except UsageError as error:
        print(f"qalint report: {error}", file=sys.stderr)
        return 2
    if not card.gathered.paths:
        print("qalint report: There is nothing to judge: no Python files and no notebooks.", file=sys.stderr)
    kind = arguments.output_format or _by_name(arguments.output_file)
    if kind == "json":
        text = scorecard.as_json(card)
    elif kind == "markdown":
        text = scorecard.markdown(card)
    elif kind == "html":
        from ..report import html

        text = html.render(card)
    else:
        from ..report import text as terminal

        colour = wants_colour(arguments.color, arguments.output_file)
        width = terminal_width() if not arguments.output_file else 100
        text = terminal.render(card, colour=colour, width=width)
    status = deliver("report", text, arguments.output_file)
    if any(finding.code == "QA0003" for finding in card.findings):
        print("qalint report: A rule or an analysis failed; the findings say which.", file=sys.stderr)
        return 2
    if status == 0 and arguments.fail_on:
        worst = scorecard.SEVERITIES.index(arguments.fail_on)
        status = int(any(scorecard.SEVERITIES.index(each.severity) <= worst for each in card.faults()))
    return status


def _by_name(output_file: str | None) -> str:
    """The format that a file's name asks for."""
    name = (output_file or "").lower()
    for ending, kind in ((".html", "html"), (".htm", "html"), (".json", "json"), (".md", "markdown")):
        if name.endswith(ending):
            return kind
    return "text"
