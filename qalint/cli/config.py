"""`qalint config [KEY]`: the configuration keys, or one of them explained."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import UsageError, did_you_mean
from ..presets import PRESETS
from ..settings import KEYS, Key
from .parser import Parser

_TYPES = {
    "bool": "bool",
    "int": "int",
    "str": "string",
    "list": "list of strings",
    "mapping": "table from file pattern to list of strings",
    "rules": "a table of options for each rule",
}


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = Parser(prog="qalint config", description="List or explain configuration keys.")
    parser.add_argument("key", nargs="?", metavar="KEY", help="such as per-file-ignores")
    parser.add_argument("--output-format", choices=("text", "json"), default="text")
    return parser


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = build_parser().parse_args(argv)
    if arguments.key is not None and arguments.key not in KEYS:
        raise UsageError(f"Unknown key `{arguments.key}`{did_you_mean(arguments.key, KEYS)}.")
    chosen = {arguments.key: KEYS[arguments.key]} if arguments.key is not None else KEYS
    if arguments.output_format == "json":
        import json

        print(json.dumps({name: _described(key) for name, key in chosen.items()}, indent=2))
    elif arguments.key is None:
        print("\n".join(KEYS))
    else:
        print(_explained(arguments.key, KEYS[arguments.key]))
    return 0


def _described(key: Key) -> dict[str, Any]:
    return {"type": _TYPES[key.type], "default": key.default, "choices": list(key.choices), "doc": key.help}


def _explained(name: str, key: Key) -> str:
    import json

    default = json.dumps(key.default) if key.default is not None else "none"
    lines = [key.help, "", f"Default value: {default}", f"Type: {_TYPES[key.type]}"]
    if name == "preset":
        lines += ["", *(f"{preset}: {found.help}" for preset, found in PRESETS.items()), ""]
    elif key.choices:
        lines.append(f"One of: {', '.join(key.choices)}")
    example = key.default if key.default not in (None, {}, []) else None
    if example is not None:
        lines += ["Example usage:", "```toml", "[tool.qalint]", f"{name} = {json.dumps(example)}", "```"]
    return "\n".join(lines)
