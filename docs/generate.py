"""MkDocs hook: a page for every rule and an index of them, made from the rules' own docstrings.

Nothing that it makes is committed, so nothing can be out of date.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from qalint import docs
from qalint.checklist import items
from qalint.registry import Catalog, RuleInfo, catalog
from qalint.settings import KEYS

FIXTURES = Path(__file__).parents[1] / "fixtures"
MOST_SHOWN = 4000
"""Longer fixtures are not shown."""
ENGINE = "What the engine itself reports"


def on_config(config: Any) -> Any:
    """Put the rules into the navigation, section by section, where it says `rules/`."""
    found = catalog()
    pages = [{title: [_entry(rule) for rule in rules]} for title, rules in _sections(found)]
    for entry in config.nav:
        if isinstance(entry, dict) and entry.get("Rules") == "rules/":
            entry["Rules"] = ["rules/index.md", *pages]
        if isinstance(entry, dict) and "How it works" in entry:
            entry["How it works"] += _others(config)
    return config


def _others(config: Any) -> list[str]:
    """Pages that the navigation does not name, such as those with measured figures, by file name."""
    named = str(config.nav)
    return sorted(path.name for path in Path(config.docs_dir).glob("*.md") if f"'{path.name}'" not in named)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    found = catalog()
    files.append(File.generated(config, "rules/index.md", content=_index(found)))
    for rule in found.rules.values():
        files.append(File.generated(config, f"rules/{rule.name}.md", content=_page(rule)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Write the table of configuration keys and the example of the README where a page asks for them."""
    if page.file.src_uri == "verified.md":
        page.meta["hide"] = ["toc"]  # its table is wide
    for mark, make in (("<!-- keys -->", _keys), ("<!-- example -->", _example)):
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    return re.sub(r"<!-- run (\d+): (qalint .*?) -->", lambda match: _run(match[2], int(match[1])), markdown)


def _run(command: str, lines: int) -> str:
    """The first lines that a command really prints in docs/example."""
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=Path(__file__).parent / "example",
        env={**os.environ, "NO_COLOR": "1", "QALINT_CACHE_DIR": ".qalint_cache"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{command}: {done.stderr}")
    shown = done.stdout.rstrip().split("\n")
    more = ["..."] if len(shown) > lines else []
    return "\n".join(["```console", f"$ {command}", *shown[:lines], *more, "```"])


def _example() -> str:
    """The first block of the README: real output on docs/example/train.py, held to that by a test."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    block = readme.partition("```console\n")[2].partition("```")[0]
    return f"```console\n{block}```"


def _keys() -> str:
    kinds = {"bool": "true or false", "int": "number", "str": "string", "list": "list", "mapping": "table"}
    out = ["| key | type | default | |", "|---|---|---|---|"]
    for name, key in sorted(KEYS.items()):
        kind = ", ".join(f"`{choice}`" for choice in key.choices) or kinds.get(key.type, "table")
        default = "" if key.default in (None, {}) else f"`{json.dumps(key.default)}`"
        if name == "exclude":
            default = "version control, caches, environments, builds"
        out.append(f"| `{name}` | {kind} | {default} | {key.help} |")
    return "\n".join(out)


def _entry(rule: RuleInfo) -> dict[str, str]:
    return {f"{rule.code} {rule.name}": f"rules/{rule.name}.md"}


def _sections(found: Catalog) -> list[tuple[str, list[RuleInfo]]]:
    titles = {section.id: section.title for section in found.sections} | {"00": ENGINE}
    rules = sorted(found.rules.values(), key=lambda rule: (rule.section, rule.code))
    return [(titles[key], list(group)) for key, group in groupby(rules, key=lambda rule: rule.section)]


def _page(rule: RuleInfo) -> str:
    """The rule's page, with the checklist items it judges spelt out."""
    page = docs.markdown(rule)
    texts = {item.id: item.text for item in items()}
    page += _tested(rule)
    judged = [f"- {item}: {texts[item]}" for item in rule.checklist if item in texts]
    if judged:
        page += "\n## Checklist\n" + "\n".join(judged) + "\n"
    return (
        f"{page}\n---\n"
        f"Suppress it on a line: `# qalint: ignore[{rule.code}] reason` · "
        f'turn it off: `ignore = ["{rule.code}"]` · in the terminal: `qalint rule {rule.code}`\n'
    )


def _tested(rule: RuleInfo) -> str:
    """The shortest bad fixture of the rule with its lines marked, and the shortest good one.

    On every fixture the findings of all rules must be exactly the marked ones; a test sees to that.
    """
    folders = sorted(FIXTURES.glob(f"*/{rule.name}"))
    out = []
    for kind, words in (("bad", "Found"), ("good", "Not found")):
        files = [path for folder in folders for path in folder.glob(f"{kind}_*.py")]
        short = min(files, key=lambda path: (len(path.read_bytes()), path.name), default=None)
        if short is None or len(short.read_bytes()) > MOST_SHOWN:
            continue
        lines = short.read_text(encoding="utf-8").splitlines()
        marked = [
            str(number) for number, line in enumerate(lines, 1) if re.search(rf"# expect:.*{rule.code}", line)
        ]
        code = "\n".join(re.sub(r"\s*# expect:.*$", "", line) for line in lines)
        mark = f' hl_lines="{" ".join(marked)}"' if marked else ""
        title = short.stem.partition("_")[2].replace("_", " ")
        out.append(f'```python title="{words}: {title}"{mark}\n{code}\n```\n')
    return "\n## Whole programs\n" + "\n".join(out) if out else ""


def _index(found: Catalog) -> str:
    """Every rule with severity, fix and whether it is on, a table a section."""
    count = len(found.rules)
    out = [
        "---\nhide: [toc]\n---\n# Rules\n",
        f"{count} rules. **Run**: the fault and its fix can be shown by running the code, on a CPU or a GPU "
        "(`qalint verify`). Rules marked *off* or *preview* speak only when selected.\n",
    ]
    for title, rules in _sections(found):
        out.append(f"## {title}\n")
        out.append("| Code | Rule | Severity | Fix | Run |\n|---|---|---|---|---|")
        for rule in rules:
            fix = "" if rule.fix == "none" else rule.fix
            run = {"cpu": "CPU", "gpu": "GPU"}.get(rule.oracle, "")
            flags = ("" if rule.default else " *off*") + (" *preview*" if rule.preview else "")
            summary = rule.summary.replace("|", "&#124;")
            out.append(
                f"| {rule.code} | [{rule.name}]({rule.name}.md){flags}<br>{summary} "
                f"| {rule.severity} | {fix} | {run} |"
            )
        out.append("")
    return "\n".join(out)
