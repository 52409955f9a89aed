"""What every rule promises on its head and its page, held against what it does.

Rules that are still being written fail here first: the messages say what is missing.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from qalint import docs
from qalint.checklist import items
from qalint.registry import catalog

ROOT = Path(__file__).parents[1]
CATALOG = catalog()
RULES = [rule for rule in CATALOG.rules.values() if CATALOG.section_of(rule.code) is not None]
SECTIONS = (
    "What it does",
    "Why is this bad?",
    "Beyond the checklist",
    "Example",
    "Use instead",
    "Fix safety",
    "Options",
    "References",
)
DEMANDED = ("What it does", "Why is this bad?", "Example", "Use instead")
APPLICABILITY = {"safe": 0, "unsafe": 1, "display-only": 2}

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)


def test_there_are_rules_in_every_section():
    assert {section.id for section in CATALOG.sections if section.codes} == {
        *("09", "11", "12", "13", "14", "15", "16", "17")
    }


@each_rule
def test_code_and_name(rule):
    section = CATALOG.section_of(rule.code)
    assert re.fullmatch(r"QA\d{4}", rule.code)
    assert rule.code.startswith("QA" + section.id)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", rule.name)
    assert not re.match(r"(no|dont|avoid|disallow|prefer)-", rule.name), "a name finishes 'allow ...'"


@each_rule
def test_page(rule):
    assert rule.summary.endswith("."), "the summary is one sentence"
    assert len(rule.summary) <= 110
    found = docs.parts(rule.explanation)
    titles = [part.title for part in found]
    assert all(part.text for part in found), "no section is empty"
    assert set(titles) <= set(SECTIONS), f"unknown sections: {set(titles) - set(SECTIONS)}"
    assert [title for title in titles if title in DEMANDED] == list(DEMANDED), "sections, in this order"
    assert len(titles) == len(set(titles))
    assert ("Fix safety" in titles) or rule.fix == "none", "a fix says how safe it is"


@each_rule
def test_the_checklist_is_served_or_gone_beyond(rule):
    known = {item.id for item in items()}
    assert set(rule.checklist) <= known
    if not rule.checklist and rule.default:
        assert "Beyond the checklist" in rule.explanation, "what does the rule add beyond the checklist?"


def test_the_checklist_and_the_rules_agree():
    declared = {(item, rule.code) for rule in RULES for item in rule.checklist}
    listed = {(item.id, code) for item in items() for code in item.rules}
    assert {code for _, code in listed} <= {rule.code for rule in RULES}, "the checklist names absent rules"
    assert listed <= declared, f"rules do not say that they judge {sorted(listed - declared)}"


@each_rule
def test_heads_are_declared(rule):
    assert rule.fix in ("safe", "unsafe", "none")
    assert rule.fix_availability in ("always", "sometimes", "none")
    assert (rule.fix == "none") == (rule.fix_availability == "none")
    assert rule.oracle in ("cpu", "gpu") or re.fullmatch(r"none: .{10,}", rule.oracle)
    assert rule.oracle != "none: nothing has been declared"
    for option in rule.options:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", option.name)
        assert type(option.default).__name__ == option.type
        assert option.help


@each_rule
def test_options_are_on_the_page(rule):
    page = docs.markdown(rule)
    for option in rule.options:
        assert f"- `{option.name}` ({option.type}, default" in page


# What the fixtures show


def lint(*arguments: str) -> list[dict]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "qalint", "check", "--isolated", "--no-cache", "--output-format", "json"),
            *("--select", "ALL", "--preview", "--min-confidence", "low", *arguments),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    found: list[dict] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def by_code():
    found = defaultdict(list)
    for finding in lint("fixtures"):
        found[finding["code"]].append(finding)
    return found


@each_rule
def test_fixtures_show_the_rule_and_its_fix_as_declared(rule, by_code):
    findings = by_code[rule.code]
    assert findings, "no fixture shows this rule"
    fixes = [finding["fix"] for finding in findings]
    best = min((APPLICABILITY[fix["applicability"]] for fix in fixes if fix), default=None)
    if rule.fix == "none":
        assert best in (None, APPLICABILITY["display-only"]), "it fixes, and declares that it does not"
    else:
        assert best == APPLICABILITY[rule.fix], f"declared {rule.fix}; fixtures show {best}"
    if rule.fix_availability == "always":
        assert all(fixes), "declared always; some findings of the fixtures have no fix"


@each_rule
def test_findings_belong_to_their_rule(rule, by_code):
    order = ("critical", "high", "medium", "low")
    for finding in by_code[rule.code]:
        assert order.index(finding["severity"]) >= order.index(rule.severity), "severity is the highest"
        assert finding["checklist"] == list(rule.checklist)
        assert finding["name"] == rule.name
        assert finding["message"] and not finding["message"].endswith("."), "a message is no sentence"
        assert "\n" not in finding["message"]
        location, end = finding["location"], finding["end_location"]
        assert (location["row"], location["column"]) < (end["row"], end["column"]), "a place is not empty"


# What the page shows


def snippets(rule, title: str) -> list[docs.Example]:
    found = list(docs.examples(docs.part(rule.explanation, title)))
    assert found, f"`{title}` has no code"
    return found


@each_rule
def test_examples_parse(rule):
    for title in ("Example", "Use instead"):
        for example in snippets(rule, title):
            if example.language == "python":
                ast.parse(example.code)


def is_whole(code: str) -> bool:
    """Whether a snippet can stand alone: it imports what it uses, as a file would."""
    return bool(re.search(r"^(import|from) ", code, re.MULTILINE))


IMPORTS = {
    "torch": "import torch",
    "nn": "from torch import nn",
    "F": "import torch.nn.functional as F",
    "GradScaler": "from torch.amp import GradScaler",
    "autocast": "from torch import autocast",
    "Conv1D": "from transformers.pytorch_utils import Conv1D",
    "pd": "import pandas as pd",
    "np": "import numpy as np",
    "plt": "import matplotlib.pyplot as plt",
}


def is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


def staged(code: str) -> str:
    """A fragment with the imports that its names stand for everywhere, so that rules recognise them."""
    if "@app." in code:
        return code if "marimo.App" in code else "import marimo\n\napp = marimo.App()\n\n\n" + code
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    lines = [line for name, line in IMPORTS.items() if name in used and not is_bound(name, code)]
    return "".join(line + "\n" for line in lines) + code


def is_bound(name: str, code: str) -> bool:
    return re.search(rf"^(import|from) .*\b{name}\b", code, re.MULTILINE) is not None


@pytest.fixture(scope="module")
def codes_of_examples(tmp_path_factory):
    """From the file of each example to the codes that are found in it; all are linted in one run."""
    folder = tmp_path_factory.mktemp("examples")
    for rule in RULES:
        for title in ("Example", "Use instead"):
            for index, example in enumerate(snippets(rule, title)):
                if example.language == "python" and is_python(example.code):
                    name = (
                        f"{rule.code}_{title[0]}_{index}"  # a folder each: examples are no program together
                    )
                    (folder / name).mkdir()
                    (folder / name / "example.py").write_text(staged(example.code), encoding="utf-8")
    found = defaultdict(set)
    for finding in lint(str(folder)):
        found[Path(finding["filename"]).parent.name].add(finding["code"])
    return found


@each_rule
def test_whole_examples_do_as_they_say(rule, codes_of_examples):
    for title in ("Example", "Use instead"):
        for index, example in enumerate(snippets(rule, title)):
            if example.language != "python":
                continue
            codes = codes_of_examples[f"{rule.code}_{title[0]}_{index}"]
            if title == "Use instead":
                assert rule.code not in codes, f"what to use instead is found too:\n{example.code}"
            elif is_whole(example.code):
                assert rule.code in codes, f"the example is not found:\n{example.code}"
