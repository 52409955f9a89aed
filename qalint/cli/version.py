"""`qalint version`."""

from __future__ import annotations

import argparse

from .. import __version__
from .parser import Parser


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = Parser(prog="qalint version", description="Print the version.")
    parser.add_argument("--output-format", choices=("text", "json"), default="text")
    return parser


def main(argv: list[str]) -> int:
    """Run the command."""
    if build_parser().parse_args(argv).output_format == "json":
        import json

        print(json.dumps({"version": __version__}))
    else:
        print(f"qalint {__version__}")
    return 0
