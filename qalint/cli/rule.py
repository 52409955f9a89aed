"""`qalint rule CODE|NAME` and `qalint rule --all`: explain rules as text, Markdown or JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .parser import Parser

if TYPE_CHECKING:
    from ..registry import Catalog, RuleInfo


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = Parser(prog="qalint rule", description="Explain a rule, or all rules.")
    parser.add_argument("rule", nargs="?", metavar="CODE|NAME", help="such as QA1105 or clip-before-unscale")
    parser.add_argument("--all", action="store_true", help="explain all rules")
    parser.add_argument("--output-format", choices=("text", "markdown", "json"), default="text")
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="load a plugin that is importable but not registered",
    )
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    return parser


def main(argv: list[str]) -> int:
    """Run the command; 0 when it could answer, else 2."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.all == bool(arguments.rule):
        parser.error("name one rule, or give --all")

    from ..errors import UsageError, did_you_mean
    from ..registry import catalog

    try:
        rules = catalog(arguments.plugin)
    except UsageError as error:
        print(f"qalint rule: {error}", file=sys.stderr)
        return 2
    if arguments.all:
        chosen: Sequence[RuleInfo] = list(rules.rules.values())
    else:
        found = find(arguments.rule, rules)
        if found is None:
            hint = did_you_mean(arguments.rule, [*rules.rules, *rules.names])
            print(f"qalint rule: There is no rule `{arguments.rule}`{hint}.", file=sys.stderr)
            return 2
        chosen = [found]
    from ..report.terminal import deliver

    for message in rules.warnings:
        print(f"warning: {message}", file=sys.stderr)
    return deliver("rule", _render(chosen, arguments), None)


def find(word: str, rules: Catalog) -> RuleInfo | None:
    """The rule with this code or name, in any case."""
    for text in (word, word.lower(), word.upper()):
        if code := rules.code_of(text, "qalint rule"):
            return rules.rules[code]
    return None


def _render(chosen: Sequence[RuleInfo], arguments: argparse.Namespace) -> str:
    from .. import docs

    if arguments.output_format == "json":
        import json

        data = [docs.as_json(rule) for rule in chosen]
        return json.dumps(data if arguments.all else data[0], indent=2, ensure_ascii=False) + "\n"
    if arguments.output_format == "markdown":
        return "\n".join(docs.markdown(rule) for rule in chosen)
    from ..output.paint import Paint
    from ..report.terminal import wants_colour

    paint = Paint(wants_colour(arguments.color, None))
    return "\n".join(docs.text(rule, paint) for rule in chosen)
