"""The checklist's data, and that every item is judged by something that exists."""

import json
import re

import pytest

from qalint.checklist import PRIORITIES, items, titles
from qalint.cli.checklist import main
from qalint.registry import rules

SIZES = {"11": 16, "12": 11, "13": 10, "14": 13, "15": 5, "16": 9, "17": 8, "09": 14}
KINDS = {"rule", "verify", "report", "diagnose", "person"}
CODES = {rule.code for rule in rules()}


def test_eighty_six_items_in_eight_sections():
    assert len(items()) == 86
    assert {section: sum(item.section == section for item in items()) for section in titles()} == SIZES
    for section, size in SIZES.items():
        wanted = [f"{section}.{number:02}" for number in range(1, size + 1)]
        assert [item.id for item in items() if item.section == section] == wanted


def test_priorities_are_the_checklists():
    by_section = {
        section: {item.priority for item in items() if item.section == section} for section in titles()
    }
    assert by_section["13"] == by_section["11"] == by_section["12"] == {"critical", "high"}
    assert by_section["15"] == by_section["16"] == {"medium"}
    assert by_section["14"] == by_section["17"] == by_section["09"] == {"high"}
    assert {item.priority for item in items()} == set(PRIORITIES)


@pytest.mark.parametrize("item", items(), ids=lambda item: item.id)
def test_every_item_is_judged(item):
    assert item.judged_by
    assert {judge.kind for judge in item.judged_by} <= KINDS
    assert (item.question is not None) == any(judge.kind == "person" for judge in item.judged_by)
    if item.question:
        assert item.question.endswith("?")


def code_parameters():
    for code in sorted({code for item in items() for code in item.rules}):
        missing = code not in CODES
        marks = [pytest.mark.xfail(reason=f"{code} is not registered yet", strict=True)] if missing else []
        yield pytest.param(code, marks=marks)


@pytest.mark.parametrize("code", list(code_parameters()))
def test_the_rule_that_judges_exists(code):
    assert code in CODES


@pytest.mark.parametrize("rule", [rule for rule in rules() if rule.default], ids=lambda rule: rule.code)
def test_a_default_rule_belongs_to_an_item_or_says_why_not(rule):
    known = {item.id for item in items()}
    assert set(rule.checklist) <= known
    named = {item.id for item in items() if rule.code in item.rules}
    assert rule.checklist or named or "Beyond the checklist" in (rule.__doc__ or "")


def test_the_list_fits_eighty_columns_and_names_every_item(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert re.findall(r"^  (\d\d\.\d\d)  (?:critical|high    |medium  )", out, re.M) == [
        item.id for item in items()
    ]


def test_markdown_has_a_row_for_each_item(capsys):
    assert main(["--output-format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^\| \d\d\.\d\d \|", out, re.M)) == 86


def test_json_has_exactly_the_promised_keys(capsys):
    assert main(["--output-format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    keys = [
        "id",
        "section",
        "text",
        "priority",
        "judged_by",
        "verdict",
        "findings",
        "reason",
        "question",
        "evidence",
    ]
    assert [list(entry) for entry in found] == [keys] * 86
    assert {entry["verdict"] for entry in found} == {None}
    assert all(set(judge) == {"kind", "ref"} for entry in found for judge in entry["judged_by"])
