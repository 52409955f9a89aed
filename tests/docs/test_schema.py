"""The JSON Schema of the configuration: current, and of one mind with the code that reads it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from qalint.cli import schema as command
from qalint.errors import UsageError
from qalint.registry import catalog
from qalint.settings import KEYS, validated

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def schema():
    return command.schema(catalog(), built_in=True)


def test_the_shipped_schema_is_current(schema):
    shipped = json.loads((ROOT / "qalint/schema.json").read_text(encoding="utf-8"))
    assert shipped == schema, "run: qalint schema --built-in --output-file qalint/schema.json"


def test_it_is_a_schema(schema):
    jsonschema.Draft7Validator.check_schema(schema)
    assert set(schema["properties"]) == set(KEYS)


@pytest.mark.parametrize(
    "text",
    [
        'select = ["QA11", "clip-before-unscale", "ALL"]\nignore = ["QA1105"]',
        'per-file-ignores = { "tests/*" = ["QA11"] }\nfail-on = "high"\nmin-confidence = "medium"',
        'output-format = "sarif"\nunsafe-fixes = true\njobs = 2\ntorch-version = "2.3"',
        'extend = "../qalint.toml"\nexclude = ["old/"]\nbaseline = "known.json"',
    ],
)
def test_good_configuration_is_accepted_by_both(schema, text):
    table = tomllib.loads(text)
    jsonschema.validate(table, schema)
    known = {key: value for key, value in table.items() if key not in ("select", "ignore")}
    assert validated(known, "here", catalog()) == known


@pytest.mark.parametrize(
    "text",
    [
        'selct = ["QA11"]',
        'select = "QA11"',
        'fail-on = "severe"',
        'output-format = "yaml"',
        "jobs = -1",
        'unsafe-fixes = "yes"',
        'per-file-ignores = { "tests/*" = "QA11" }',
    ],
)
def test_bad_configuration_is_refused_by_both(schema, text):
    table = tomllib.loads(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(table, schema)
    with pytest.raises(UsageError):
        validated(table, "here", catalog())


def test_every_option_of_every_rule_is_offered_with_its_default(schema):
    offered = schema["properties"]["rules"]["properties"]
    for rule in catalog().rules.values():
        for option in rule.options:
            jsonschema.validate({"rules": {rule.name: {option.name: option.default}}}, schema)
            assert offered[rule.name]["properties"][option.name]["default"] == option.default
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({"rules": {rule.name: {option.name + "x": option.default}}}, schema)


def test_the_command_prints_it(capsys):
    assert command.main([]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "qalint"
