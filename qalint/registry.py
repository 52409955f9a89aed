"""Finds the sections by entry point, and fails loudly.

What a run needs before it parses anything (codes, needles, options) is kept in a manifest in the
user's own cache folder, so that a run which stops at the bytes or in the cache imports no rule.
The manifest is trusted only while no folder of `sys.path` and no file of the engine or of a plugin
has changed. Entry points are never looked for in the working folder: a repository under lint
cannot name a plugin.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from . import __version__, store
from .errors import UsageError
from .rule import Rule, Section

GROUP = "qalint.rules"
DOCS = "https://qalint.github.io/qalint/rules"


class OptionInfo(NamedTuple):
    """An option of a rule; `type` is the name of a Python type."""

    name: str
    type: str
    default: Any
    help: str


class RuleInfo(NamedTuple):
    """What can be said about a rule without importing it; see `interface.md`, `qalint rule`."""

    code: str
    name: str
    section: str
    severity: str
    confidence: str
    fix: str
    fix_availability: str
    oracle: str
    default: bool
    preview: bool
    since: str
    checklist: tuple[str, ...]
    summary: str
    explanation: str
    options: tuple[OptionInfo, ...]
    url: str
    former: tuple[str, ...] = ()
    """Codes and names that the rule had before; they keep working, and a warning tells the new one."""

    @property
    def status(self) -> str:
        """`preview` or `stable`."""
        return "preview" if self.preview else "stable"


class SectionInfo(NamedTuple):
    """A section without its rules' code. `entry` is `module:attribute`, `plugin` who registered it."""

    id: str
    title: str
    entry: str
    plugin: str
    codes: tuple[str, ...]
    needles: tuple[tuple[bytes, ...], ...]
    precedence: tuple[tuple[str, str], ...]
    program: bool
    rule_needles: tuple[tuple[tuple[bytes, ...], ...], ...]
    """For each of `codes` the groups of its own."""
    starts: tuple[bytes, ...] = ()
    """Without one of these no program starts in a file."""


class Catalog:
    """All sections and rules of this environment. `stamp` changes with any of their code."""

    def __init__(self, sections: Iterable[SectionInfo], rules: Iterable[RuleInfo], stamp: str) -> None:
        self.sections = tuple(sections)
        self.rules = {rule.code: rule for rule in sorted((*BUILT_IN, *rules))}
        self.names = {rule.name: rule.code for rule in self.rules.values()}
        self.former = {old: rule.code for rule in self.rules.values() for old in rule.former}
        """From the codes and names that rules had before to the codes that they have now."""
        self.stamp = stamp
        codes = (*self.rules, *(old for old in self.former if old[-1].isdigit()))
        self.prefixes = frozenset(code.rstrip("0123456789") for code in codes)
        """The letters with which codes start: `QA`, and those of plugins."""
        self.warnings: dict[str, None] = {}
        """What the user is to be told of the configuration, once."""
        self._section_of = {code: section for section in self.sections for code in section.codes}
        self._loaded: dict[str, Section] = {}

    @property
    def precedence(self) -> tuple[tuple[str, str], ...]:
        """The pairs (specific, general) of all sections."""
        return tuple(pair for section in self.sections for pair in section.precedence)

    def code_of(self, text: str, where: str) -> str | None:
        """The code of the rule with this code or name, of today or of before; `where` is for the warning."""
        if text in self.former:
            self.warnings[f"`{text}` in `{where}` is now `{self.today(text)}`; the old one still works."] = (
                None
            )
            return self.former[text]
        return self.names.get(text, text if text in self.rules else None)

    def today(self, text: str) -> str:
        """What a former code or name is called now."""
        code = self.former[text]
        return code if text[-1].isdigit() else self.rules[code].name

    def section_of(self, code: str) -> SectionInfo | None:
        """The section that a rule belongs to; None for the engine's own codes."""
        return self._section_of.get(code)

    def load(self, info: SectionInfo) -> Section:
        """The section itself; imports its rules."""
        if info.id not in self._loaded:
            self._loaded[info.id] = _load(info.entry, info.plugin)
        return self._loaded[info.id]

    def rule(self, code: str) -> type[Rule]:
        """The class of a rule of a section; imports its section."""
        info = self._section_of[code]
        return next(rule for rule in self.load(info).rules if rule.code == code)


def catalog(plugins: Iterable[str] = ()) -> Catalog:
    """What is installed, and the `plugins` named by module. UsageError names the plugin that fails."""
    paths = _paths()
    kept = store.Shelf(f"registry-{store.digest_of(repr(paths).encode()).hex()}.bin")
    state = kept.read()
    # The fields, because files may change between their import and the moment when they are stamped.
    shape = (SectionInfo._fields, RuleInfo._fields)
    # An engine that the working folder or an import hook chooses shares its `sys.path` with others.
    own = os.path.dirname(os.path.abspath(__file__))
    path_stamp = (__version__, sys.version, own, paths, store.stamp(paths), shape)
    if state is not None and state[0] == path_stamp and state[1] == store.tree_stamp(state[2]):
        sections = [SectionInfo(*fields) for fields in state[3]]
        rules = [_rule_info(fields) for fields in state[4]]
        stamp = state[1]
    else:
        sections, rules = _describe(_entries(paths))
        roots = _roots(section.entry for section in sections)
        stamp = store.tree_stamp(roots)
        plain_rules = [
            tuple(
                tuple(map(tuple, rule.options)) if name == "options" else value
                for name, value in rule._asdict().items()
            )
            for rule in rules
        ]
        kept.write((path_stamp, stamp, roots, [tuple(section) for section in sections], plain_rules))
    extra = [(f"{module}:section", module) for module in plugins]
    if extra:
        more_sections, more_rules = _describe(extra)
        known = {section.entry for section in sections}
        more_sections = [section for section in more_sections if section.entry not in known]
        sections += more_sections
        codes = {code for section in more_sections for code in section.codes}
        rules += [rule for rule in more_rules if rule.code in codes]
        stamp += store.tree_stamp(_roots(section.entry for section in more_sections))
    _unique(sections, rules)
    return Catalog(sections, rules, stamp)


def sections() -> list[Section]:
    """All sections that installed packages register, by id."""
    found = catalog()
    return sorted((found.load(info) for info in found.sections), key=lambda section: section.id)


def rules() -> list[type[Rule]]:
    """All rules of all sections, by code."""
    return sorted((rule for section in sections() for rule in section.rules), key=lambda rule: rule.code)


def _paths() -> list[str]:
    here = os.path.realpath(os.getcwd()) if os.path.isdir(".") else ""
    return [path for path in sys.path if path and os.path.realpath(path) != here]


def _entries(paths: list[str]) -> list[tuple[str, str]]:
    """(`module:attribute`, name of the distribution) for each entry point of the group."""
    from importlib.metadata import distributions

    seen: set[str] = set()
    found = []
    for distribution in distributions(path=paths):
        name = distribution.metadata["Name"] or "a distribution without a name"
        folded = name.lower().replace("_", "-")
        if folded in seen:
            continue
        seen.add(folded)
        found += [(entry.value, name) for entry in distribution.entry_points if entry.group == GROUP]
    return sorted(found)


def _load(entry: str, plugin: str) -> Section:
    module_name, _, attribute = entry.partition(":")
    try:
        module = importlib.import_module(module_name)
        section = getattr(module, attribute or "section")
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"The plugin `{plugin}` cannot be loaded (`{entry}` raised {reason}).") from error
    if not isinstance(section, Section):
        raise UsageError(f"The plugin `{plugin}` names `{entry}`, which is not a qalint Section.")
    return section


def _describe(entries: Iterable[tuple[str, str]]) -> tuple[list[SectionInfo], list[RuleInfo]]:
    sections: list[SectionInfo] = []
    rules: list[RuleInfo] = []
    for entry, plugin in entries:
        section = _load(entry, plugin)
        rules += [_inform(rule, section, plugin) for rule in section.rules]
        codes = tuple(rule.code for rule in section.rules)
        own = tuple(tuple(map(tuple, rule.needles)) for rule in section.rules)
        described = (section.id, section.title, entry, plugin, codes, section.needles, section.precedence)
        sections.append(SectionInfo(*described, section.program, own, section.starts))
    return sections, rules


def _inform(rule: type[Rule], section: Section, plugin: str) -> RuleInfo:
    try:
        text = _clean(rule.__doc__ or "")
        summary, _, explanation = text.partition("\n")
        options = tuple(
            OptionInfo(name, option.type.__name__, option.default, option.help)
            for name, option in sorted(rule.options.items())
        )
        return RuleInfo(
            code=rule.code,
            name=rule.name,
            section=section.id,
            severity=rule.severity.value,
            confidence="high",
            fix=rule.fix,
            fix_availability=rule.fix_availability,
            oracle=rule.oracle,
            default=rule.default,
            preview=rule.preview,
            since=rule.since,
            checklist=tuple(rule.checklist),
            summary=summary.strip(),
            explanation=explanation.strip("\n"),
            options=options,
            url=f"{DOCS}/{rule.name}/",
            former=tuple(rule.former),
        )
    except AttributeError as error:
        raise UsageError(f"The plugin `{plugin}` has a broken rule `{rule.__name__}`: {error}.") from error


def _clean(docstring: str) -> str:
    """What `inspect.cleandoc` does, without importing `inspect`."""
    import textwrap

    first, _, rest = docstring.strip("\n").partition("\n")
    return first.strip() + "\n" + textwrap.dedent(rest).rstrip() + "\n"


def _rule_info(fields: tuple[Any, ...]) -> RuleInfo:
    rule = RuleInfo._make(fields)
    return rule._replace(options=tuple(OptionInfo(*option) for option in rule.options))


def _roots(entries: Iterable[str]) -> list[str]:
    """The files or folders whose change makes a manifest stale: the engine and each plugin."""
    roots = {os.path.dirname(os.path.abspath(__file__))}
    for entry in entries:
        top = entry.partition(":")[0].partition(".")[0]
        module = sys.modules[top]
        folders = list(getattr(module, "__path__", ()))
        roots.update(folders or [module.__file__ or ""])
    return sorted(roots)


def _unique(sections: list[SectionInfo], rules: list[RuleInfo]) -> None:
    owner = {code: section.plugin for section in sections for code in section.codes}
    seen: dict[str, str] = {}
    for rule in (*BUILT_IN, *rules):
        for key in {rule.code, rule.name}:
            if key in seen:
                plugins = sorted({owner.get(seen[key], "qalint"), owner.get(rule.code, "qalint")})
                raise UsageError(f"Two rules are called `{key}`; they come from {' and '.join(plugins)}.")
            seen[key] = rule.code
    for rule in rules:
        for key in rule.former:
            # An old name leads to one rule, and never to another than the one that bears it today.
            if key in seen:
                raise UsageError(f"`{key}` is a former name of {rule.code}, and stands for {seen[key]} too.")
            seen[key] = rule.code


def _engine(code: str, name: str, severity: str, fix: str, summary: str, explanation: str) -> RuleInfo:
    return RuleInfo(
        code=code,
        name=name,
        section="00",
        severity=severity,
        confidence="high",
        fix=fix,
        fix_availability="always" if fix != "none" else "none",
        oracle="none: it is about the text, not about what the program does",
        default=True,
        preview=False,
        since="0.1.0",
        checklist=(),
        summary=summary,
        explanation=explanation,
        options=(),
        url=f"{DOCS}/{name}/",
    )


BUILT_IN = (
    _engine(
        "QA0001",
        "unreadable-file",
        "critical",
        "none",
        "The file cannot be read, or is beyond a limit that the message names.",
        "## What it does\nReports a file that qalint cannot judge: it cannot be opened or decoded, or it is\n"
        "larger, deeper or more chained than qalint accepts.\n\n"
        "## Why is this bad?\nWhat is not read is not checked. The finding cannot be ignored, suppressed or\n"
        "put into a baseline.",
    ),
    _engine(
        "QA0002",
        "syntax-error",
        "critical",
        "none",
        "The file, or one cell of the notebook, is not valid Python.",
        "## What it does\nReports a syntax error with its line, and the cell of a notebook.\n\n"
        "## Why is this bad?\nNothing else in the file can be checked. The finding cannot be ignored,\n"
        "suppressed or put into a baseline.",
    ),
    _engine(
        "QA0003",
        "internal-error",
        "critical",
        "none",
        "A rule or an analysis of qalint failed on this file.",
        "## What it does\nNames the rule or analysis that failed. The findings of the other rules are\n"
        "kept and the exit status is 2.\n\n"
        "## Why is this bad?\nIt is a fault of qalint or of a plugin, not of your code. Please report it\n"
        "with the file, or the part of it that is enough to make it fail.",
    ),
    _engine(
        "QA0004",
        "unused-suppression",
        "low",
        "safe",
        "A suppression comment suppresses nothing.",
        "## What it does\nReports codes in `# qalint: ...` and `# noqa: QA...` comments that hide no\n"
        "finding. Only codes whose rules ran are judged.\n\n"
        "## Why is this bad?\nA stale suppression hides the next fault on its line.\n\n"
        "## Fix safety\nThe fix removes the code, or the comment if no other code is left in it.",
    ),
    _engine(
        "QA0005",
        "invalid-suppression",
        "medium",
        "none",
        "A suppression comment names no code, or one that does not exist.",
        "## What it does\nReports `# qalint: ...` comments without codes or with unknown codes or\n"
        "verbs, and unknown `QA` codes in `# noqa` comments. A bare `# noqa` belongs to other tools and\n"
        "is left alone.\n\n"
        "## Why is this bad?\nThe comment does not do what its author meant.",
    ),
)
ALWAYS = ("QA0001", "QA0002", "QA0003")
"""Codes that always run, and can be neither ignored nor suppressed nor put into a baseline."""
