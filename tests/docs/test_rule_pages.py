"""`qalint rule`: pages from docstrings, as text, Markdown and JSON."""

from __future__ import annotations

import json

import pytest

from qalint import docs
from qalint.cli import rule as command
from qalint.errors import UsageError
from qalint.registry import OptionInfo, RuleInfo, catalog

EXPLANATION = """\
## What it does
Looks at `x`.

## Example
```python
## not a heading
x = 1
```

## Use instead
```python
x = 2
```

## References
- [a](b)"""


def make(**changes):
    plain = RuleInfo(
        code="QA1200",
        name="some-rule",
        section="12",
        severity="high",
        confidence="high",
        fix="unsafe",
        fix_availability="sometimes",
        oracle="none: a person decides",
        default=False,
        preview=True,
        since="0.1.0",
        checklist=("12.01",),
        summary="Something is wrong.",
        explanation=EXPLANATION,
        options=(OptionInfo("min", "int", 5, "the least"), OptionInfo("kinds", "list", ["a"], "which")),
        url="https://example.org/some-rule",
    )
    return plain._replace(**changes)


def test_sections_of_a_page():
    titles = [part.title for part in docs.parts(EXPLANATION)]
    assert titles == ["What it does", "Example", "Use instead", "References"]
    assert docs.part(EXPLANATION, "What it does") == "Looks at `x`."
    assert docs.part(EXPLANATION, "Options") == ""
    (example,) = docs.examples(docs.part(EXPLANATION, "Example"))
    assert example == docs.Example("python", "## not a heading\nx = 1\n")


def test_markdown_has_facts_and_options_before_the_references():
    page = docs.markdown(make())
    assert page.startswith("# some-rule (QA1200)\n\nSomething is wrong.\n")
    assert "| Fix | sometimes, unsafe (`--fix --unsafe-fixes`) |" in page
    assert "| On by default | no: select it |" in page
    assert "| Status | preview since 0.1.0 |" in page
    assert "| Confirmed | not by running: a person decides |" in page
    assert "- `min` (int, default `5`): the least" in page
    assert '```toml\n[tool.qalint.rules.some-rule]\nmin = 5\nkinds = ["a"]\n```' in page
    assert page.index("## Options") < page.index("## References")
    assert page.index("## Use instead") < page.index("## Options")


def test_options_join_the_words_that_a_rule_has_on_them():
    page = docs.markdown(make(explanation=EXPLANATION + "\n\n## Options\nRaise `min` for slides."))
    assert page.count("## Options") == 1
    assert "Raise `min` for slides.\n\n- `min` (int" in page


def test_text_shows_code_without_fences():
    text = docs.text(make())
    assert "    ## not a heading\n    x = 1\n" in text
    assert "```" not in text
    assert "  Code           QA1200\n" in text


def test_the_command_explains_by_code_and_by_name(capsys):
    assert command.main(["QA0004"]) == 0
    by_code = capsys.readouterr().out
    assert by_code.startswith("unused-suppression (QA0004)\n")
    assert command.main(["Unused-Suppression"]) == 0
    assert capsys.readouterr().out == by_code
    assert command.main(["qa0004"]) == 0
    assert capsys.readouterr().out == by_code


def test_one_rule_as_json_is_an_object(capsys):
    assert command.main(["QA0004", "--output-format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "unused-suppression"


def test_all_rules_as_json_have_the_promised_keys(capsys):
    assert command.main(["--all", "--output-format", "json"]) == 0
    items = json.loads(capsys.readouterr().out)
    promised = {
        *("code", "name", "section", "severity", "confidence", "fix", "oracle", "default", "status"),
        *("since", "checklist", "summary", "explanation", "options", "url"),
    }
    assert {item["code"] for item in items} == set(catalog().rules)
    assert [item["code"] for item in items] == sorted(item["code"] for item in items)
    for item in items:
        assert set(item) == {*promised, "fix_availability"}
        assert item["fix"] in ("safe", "unsafe", "none")
        assert item["fix_availability"] in ("always", "sometimes", "none")
        assert item["oracle"] in ("cpu", "gpu") or item["oracle"].startswith("none: ")


def test_all_rules_as_markdown(capsys):
    assert command.main(["--all", "--output-format", "markdown"]) == 0
    out = capsys.readouterr().out
    for rule in catalog().rules.values():
        assert f"# {rule.name} ({rule.code})\n" in out


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["QA0009"], "There is no rule `QA0009` (did you mean `QA000"),
        (["unused-supression"], "did you mean `unused-suppression`?"),
        (["--plugin", "no_such_module", "QA0001"], "no_such_module"),
    ],
)
def test_an_unknown_rule_or_plugin_is_status_2(capsys, argv, says):
    assert command.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("argv", [[], ["QA0001", "--all"]])
def test_one_rule_or_all(argv, capsys):
    with pytest.raises(UsageError, match=r"^Name one rule, or give --all\.$"):
        command.main(argv)
    assert capsys.readouterr().err == ""
