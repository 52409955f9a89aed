"""A rule's page: its docstring split into sections, and put together as Markdown, text or JSON.

A docstring is one summary line, then sections that start with `## Title`:

    What it does, Why is this bad?, Example, Use instead, Fix safety, Options, References

and `Beyond the checklist` where the rule belongs to no item. The first five of these sections are
demanded of the built-in rules by a test (`tests/test_rules_promises.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .registry import RuleInfo


class Part(NamedTuple):
    """A section of a page: its title, and its Markdown without the heading."""

    title: str
    text: str


class Example(NamedTuple):
    """A fenced block of a page; `language` is what stands behind the fence, `python` mostly."""

    language: str
    code: str


def parts(explanation: str) -> list[Part]:
    """The sections of a rule's explanation, in order. A `##` inside a code fence is code."""
    found: list[Part] = []
    title = fence = ""
    lines: list[str] = []
    for line in explanation.split("\n"):
        stripped = line.lstrip()
        if fence:
            fence = "" if stripped.startswith(fence) else fence
        elif match := re.match("`{3,}|~{3,}", stripped):
            fence = match[0]
        elif line.startswith("## "):
            found.append(Part(title, "\n".join(lines).strip("\n")))
            title, lines = line[3:].strip(), []
            continue
        lines.append(line)
    found.append(Part(title, "\n".join(lines).strip("\n")))
    return [part for part in found if part.title or part.text]


def part(explanation: str, title: str) -> str:
    """The text of one section; empty if there is none."""
    return next((found.text for found in parts(explanation) if found.title == title), "")


def examples(text: str) -> Iterator[Example]:
    """The fenced blocks of a section."""
    for match in re.finditer(r"^(`{3,}|~{3,})(.*)\n((?:.*\n)*?)\1\s*$", text + "\n", flags=re.MULTILINE):
        yield Example(match[2].strip(), match[3])


def facts(rule: RuleInfo) -> list[tuple[str, str]]:
    """What is declared of a rule, as (name, words)."""
    fix = {
        ("none", "none"): "none",
        ("safe", "always"): "always, safe (`--fix`)",
        ("safe", "sometimes"): "sometimes, safe (`--fix`)",
        ("unsafe", "always"): "always, unsafe (`--fix --unsafe-fixes`)",
        ("unsafe", "sometimes"): "sometimes, unsafe (`--fix --unsafe-fixes`)",
    }.get((rule.fix, rule.fix_availability), f"{rule.fix_availability}, {rule.fix}")
    oracle = {
        "cpu": "by running it (`qalint verify`)",
        "gpu": "by running it on a GPU (`qalint verify`)",
    }.get(rule.oracle, f"not by running: {rule.oracle.partition(':')[2].strip()}")
    return [
        ("Code", rule.code),
        ("Severity", rule.severity),
        ("Fix", fix),
        ("On by default", "yes" if rule.default else "no: select it"),
        ("Status", f"{rule.status} since {rule.since}"),
        *([("Formerly", ", ".join(rule.former))] if rule.former else []),
        ("Checklist", ", ".join(rule.checklist) or "beyond it"),
        ("Confirmed", oracle),
    ]


def markdown(rule: RuleInfo) -> str:
    """The page as Markdown, with a heading, a table of facts and the options."""
    (_, code), *others = facts(rule)
    rows = "".join(f"| {name} | {value.replace('|', '&#124;')} |\n" for name, value in others)
    text = rule.explanation
    if rule.options:
        text = _with_options(rule)
    return f"# {rule.name} ({rule.code})\n\n{rule.summary}\n\n| Code | {code} |\n|---|---|\n{rows}\n{text}\n"


def _with_options(rule: RuleInfo) -> str:
    """The explanation with every option listed under `Options`, which comes before the references."""
    lines = [
        f"- `{option.name}` ({option.type}, default `{_toml(option.default)}`): {option.help}"
        for option in rule.options
    ]
    table = f"```toml\n[tool.qalint.rules.{rule.name}]\n" + "".join(
        f"{option.name} = {_toml(option.default)}\n" for option in rule.options
    )
    listed = "\n".join(lines) + f"\n\n{table}```"
    found = parts(rule.explanation)
    titles = [part.title for part in found]
    if "Options" in titles:
        at = titles.index("Options")
        found[at] = Part("Options", f"{found[at].text}\n\n{listed}".strip("\n"))
    else:
        at = titles.index("References") if "References" in titles else len(found)
        found.insert(at, Part("Options", listed))
    return "\n\n".join(f"## {part.title}\n{part.text}" if part.title else part.text for part in found)


def _toml(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def text(rule: RuleInfo, paint: Any = lambda style, text: text) -> str:
    """The page for a terminal: headings bold, code indented, no fences. `paint(style, text)` colours."""
    out = [paint("bold", f"{rule.name} ({rule.code})"), "", rule.summary, ""]
    pairs = facts(rule)
    wide = max(len(name) for name, _ in pairs)
    out += [f"  {name:<{wide}}  {value.replace('`', '')}" for name, value in pairs]
    body = _with_options(rule) if rule.options else rule.explanation
    for part in parts(body):
        out += ["", paint("bold", part.title)] if part.title else [""]
        code = False
        for line in part.text.split("\n"):
            if line.lstrip().startswith(("```", "~~~")):
                code = not code
            else:
                out.append(f"    {line}".rstrip() if code else line)
    return "\n".join(out) + "\n"


def as_json(rule: RuleInfo) -> dict[str, Any]:
    """The keys that `qalint rule --output-format json` promises."""
    return {
        "code": rule.code,
        "name": rule.name,
        "section": rule.section,
        "severity": rule.severity,
        "confidence": rule.confidence,
        "fix": rule.fix,
        "fix_availability": rule.fix_availability,
        "oracle": rule.oracle,
        "default": rule.default,
        "status": rule.status,
        "since": rule.since,
        "checklist": list(rule.checklist),
        "summary": rule.summary,
        "explanation": rule.explanation,
        "options": [option._asdict() for option in rule.options],
        "url": rule.url,
    }
