"""`qalint schema`: the JSON Schema of the configuration, for editors.

`qalint/schema.json`, which ships with the package, is what it prints where no plugin is installed.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from .parser import Parser

if TYPE_CHECKING:
    from ..registry import Catalog, RuleInfo
    from ..settings import Key

DRAFT = "http://json-schema.org/draft-07/schema#"
ID = "https://qalint.github.io/qalint/schema.json"
TYPES = {"bool": "boolean", "int": "integer", "float": "number", "str": "string", "list": "array"}


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = Parser(
        prog="qalint schema",
        description="Print the JSON Schema of the configuration, with the options of all installed rules.",
    )
    parser.add_argument("-o", "--output-file", metavar="FILE", help="write there instead of standard output")
    parser.add_argument("--built-in", action="store_true", help="leave out the rules of plugins")
    return parser


def main(argv: list[str]) -> int:
    """Run the command; 0 when it could answer, else 2."""
    arguments = build_parser().parse_args(argv)
    from ..errors import UsageError
    from ..registry import catalog
    from ..report.terminal import deliver

    try:
        found = catalog()
    except UsageError as error:
        print(f"qalint schema: {error}", file=sys.stderr)
        return 2
    text = json.dumps(schema(found, built_in=arguments.built_in), indent=2, ensure_ascii=False) + "\n"
    return deliver("schema", text, arguments.output_file)


def schema(catalog: Catalog, *, built_in: bool = False) -> dict[str, Any]:
    """The schema; `built_in` leaves out rules that other packages than qalint register."""
    from ..settings import KEYS

    rules = [rule for rule in catalog.rules.values() if not built_in or _is_ours(rule, catalog)]
    return {
        "$schema": DRAFT,
        "$id": ID,
        "title": "qalint",
        "description": "Configuration of qalint: `qalint.toml`, or `[tool.qalint]` in `pyproject.toml`.",
        "type": "object",
        "properties": {name: _key(key, rules) for name, key in sorted(KEYS.items())},
        "additionalProperties": False,
        "definitions": {"selector": _selector(rules), "selectors": _selectors()},
    }


def _is_ours(rule: RuleInfo, catalog: Catalog) -> bool:
    section = catalog.section_of(rule.code)
    return section is None or section.plugin == "qalint"


def _key(key: Key, rules: list[RuleInfo]) -> dict[str, Any]:
    found: dict[str, Any] = {"description": key.help}
    if key.default is not None:
        found["default"] = key.default
    if key.type == "rules":
        del found["default"]
        found |= {
            "type": "object",
            "properties": {rule.name: _options(rule) for rule in rules if rule.options},
            "additionalProperties": {"type": "object"},
        }
    elif key.type == "mapping":
        found |= {"type": "object", "additionalProperties": {"$ref": "#/definitions/selectors"}}
    elif key.type == "list" and "rules" in key.help.lower():
        found |= {"allOf": [{"$ref": "#/definitions/selectors"}]}
    elif key.type == "list":
        found |= {"type": "array", "items": {"type": "string"}}
    else:
        found["type"] = TYPES[key.type]
        if key.type == "int":
            found["minimum"] = 0
    if key.choices:
        found["enum"] = list(key.choices)
    return found


def _options(rule: RuleInfo) -> dict[str, Any]:
    return {
        "type": "object",
        "description": f"{rule.code}: {rule.summary}",
        "properties": {
            option.name: {
                "type": TYPES[option.type],
                "description": option.help,
                "default": option.default,
            }
            for option in rule.options
        },
        "additionalProperties": False,
    }


def _selector(rules: list[RuleInfo]) -> dict[str, Any]:
    """Codes, their prefixes and names are offered; a plugin's may be written too."""
    codes = [rule.code for rule in rules]
    prefixes = sorted({code[:length] for code in codes for length in (2, 4)})
    return {
        "anyOf": [
            {"enum": ["ALL", *prefixes, *codes, *sorted(rule.name for rule in rules)]},
            {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9-]*$"},
        ]
    }


def _selectors() -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": "#/definitions/selector"}}
