"""The keys of the configuration, their types, and how layers of them become one `Settings`.

`KEYS` is the one table from which configuration files, `--config key=value` and `QALINT_*`
variables are checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from .errors import UsageError, did_you_mean
from .presets import PRESETS
from .registry import Catalog

FORMATS = (
    "full", "concise", "grouped", "json", "json-lines", "github",
    "gitlab", "junit", "sarif", "rdjson", "pylint",
)  # fmt: skip
SEVERITIES = ("critical", "high", "medium", "low")
CONFIDENCES = ("high", "medium", "low")

EXCLUDES = (
    ".bzr", ".direnv", ".eggs", ".git", ".git-rewrite", ".hg", ".ipynb_checkpoints", ".mypy_cache", ".nox",
    ".pants.d", ".pyenv", ".pytest_cache", ".pytype", ".qalint_cache", ".ruff_cache", ".svn", ".tox", ".venv",
    ".vscode", "__marimo__", "__pypackages__", "_build", "buck-out", "dist", "node_modules",
    "site-packages", "venv",
)  # fmt: skip


class Key(NamedTuple):
    """One key: its type (`bool`, `int`, `str`, `list`, `mapping`, `rules`), choices, default and meaning."""

    type: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()


KEYS: dict[str, Key] = {
    "preset": Key(
        "str", None, "A choice of rules and thresholds that the other keys refine.", tuple(PRESETS)
    ),
    "select": Key("list", None, "The rules to run, by code, prefix or name; by default those that are on."),
    "ignore": Key("list", [], "Rules not to run."),
    "extend-select": Key("list", [], "Rules to run beside `select`."),
    "per-file-ignores": Key("mapping", {}, "From file pattern to the rules that are not run there."),
    "extend-per-file-ignores": Key("mapping", {}, "As `per-file-ignores`, added to it."),
    "fixable": Key("list", ["ALL"], "Rules whose fixes may be applied."),
    "unfixable": Key("list", [], "Rules whose fixes are never applied."),
    "extend-fixable": Key("list", [], "Rules beside `fixable`."),
    "exclude": Key("list", list(EXCLUDES), "Files and folders that are left out."),
    "extend-exclude": Key("list", [], "Files and folders that are left out beside `exclude`."),
    "force-exclude": Key("bool", False, "Leave excluded files out even when they are named."),
    "respect-gitignore": Key("bool", True, "Leave out what `.gitignore` names."),
    "output-format": Key("str", "full", "How findings are written.", FORMATS),
    "output-file": Key("str", None, "Where findings are written; by default standard output."),
    "fix": Key("bool", False, "Apply safe fixes."),
    "fix-only": Key("bool", False, "Apply fixes and do not report what is left."),
    "unsafe-fixes": Key("bool", False, "Apply unsafe fixes too."),
    "show-fixes": Key("bool", False, "List what was fixed."),
    "preview": Key("bool", False, "Run rules that are still in preview."),
    "cache-dir": Key("str", None, "Where findings are cached; by default `.qalint_cache`."),
    "fail-on": Key("str", "low", "The lowest severity that fails the run.", SEVERITIES),
    "min-confidence": Key("str", "high", "The lowest confidence that is shown.", CONFIDENCES),
    "torch-version": Key("str", None, "The oldest torch that the code must run with, such as `2.3`."),
    "marimo-version": Key("str", None, "The oldest marimo that the code must run with."),
    "baseline": Key("str", None, "The file of known findings."),
    "jobs": Key("int", None, "The number of processes; by default as many as pay."),
    "rules": Key("rules", {}, "A table of options for each rule."),
    "extend": Key("str", None, "Another configuration file on which this one builds."),
}
"""Every key of `[tool.qalint]`."""

_VERSION = re.compile(r"(\d+(?:\.\d+)*)")


def validated(table: Mapping[str, Any], where: str, catalog: Catalog) -> dict[str, Any]:
    """The table if every key and value is known. UsageError names what is not, and its nearest neighbour."""
    done: dict[str, Any] = {}
    for name, value in table.items():
        if name not in KEYS:
            if name == "lint" and isinstance(value, dict):
                raise UsageError(
                    f"{where} has a table `lint`; qalint's keys stand directly in its own table."
                )
            if name == "tool" and isinstance(value, dict) and "qalint" in value:
                raise UsageError(
                    f"{where} has a table `[tool.qalint]`, as in pyproject.toml; here keys stand at the top."
                )
            raise UsageError(f"{where} has an unknown key `{name}`{did_you_mean(name, KEYS)}.")
        done[name] = _value(name, KEYS[name], value, where, catalog)
    return done


def _value(name: str, key: Key, value: Any, where: str, catalog: Catalog) -> Any:
    if key.type == "rules":
        return _rule_options(value, where, catalog)
    if key.type == "mapping":
        good = isinstance(value, dict) and all(_strings(entries) for entries in value.values())
        if not good:
            _refuse(name, value, where, "a table of lists of rule codes")
        return value
    if key.type == "list":
        if not _strings(value):
            _refuse(name, value, where, "a list of strings")
        return list(value)
    if key.type == "bool":
        if not isinstance(value, bool):
            _refuse(name, value, where, "true or false")
        return value
    if key.type == "int":
        good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if not good:
            _refuse(name, value, where, "a whole number")
        return value
    if not isinstance(value, str):
        _refuse(name, value, where, "a string")
    if key.choices and value not in key.choices:
        expected = ", ".join(f"`{choice}`" for choice in key.choices)
        hint = did_you_mean(value, key.choices)
        raise UsageError(f"{where} sets `{name}` to `{value}`, which is none of {expected}{hint}.")
    if name in ("torch-version", "marimo-version") and not _VERSION.search(value):
        _refuse(name, value, where, "a version such as `2.3`")
    return value


def _rule_options(value: Any, where: str, catalog: Catalog) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict):
        _refuse("rules", value, where, "a table of tables")
    done: dict[str, dict[str, Any]] = {}
    for written, table in value.items():
        code = catalog.code_of(written, f"{where}: rules")
        if code is None:
            known = [*catalog.names, *catalog.rules]
            raise UsageError(
                f"{where} has options for an unknown rule `{written}`{did_you_mean(written, known)}."
            )
        name = catalog.rules[code].name
        options = {option.name: option for option in catalog.rules[code].options}
        if not isinstance(table, dict):
            _refuse(f"rules.{written}", table, where, "a table of options")
        for key, setting in table.items():
            if key not in options:
                hint = did_you_mean(key, options) or (" (it has none)" if not options else "")
                raise UsageError(f"{where} has an unknown option `{key}` of the rule `{name}`{hint}.")
            wanted = options[key].type
            fits = type(setting).__name__ == wanted or (wanted == "float" and type(setting) is int)
            if not fits:
                _refuse(f"rules.{name}.{key}", setting, where, f"of type {wanted}")
            done.setdefault(name, {})[key] = float(setting) if wanted == "float" else setting
    return done


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _refuse(name: str, value: Any, where: str, expected: str) -> NoReturn:
    raise UsageError(f"{where} sets `{name}` to `{value!r}`, which is not {expected}.")


def version(text: str) -> tuple[int, ...] | None:
    """The first version number in a text, as numbers."""
    match = _VERSION.search(text)
    return tuple(int(part) for part in match[1].split(".")) if match else None


def from_text(name: str, text: str) -> Any:
    """The value of a key as it is written in a variable or behind `--flag`."""
    key = KEYS[name]
    if key.type == "list":
        return [item for item in re.split(r"[,\s]+", text.strip()) if item]
    if key.type == "bool":
        folded = text.strip().lower()
        if folded in ("1", "true", "yes", "on"):
            return True
        return False if folded in ("0", "false", "no", "off", "") else text
    if key.type == "int":
        return int(text) if text.strip().isdigit() else text
    if key.type == "mapping":
        found: dict[str, list[str]] = {}
        for pair in re.split(r"[,\s]+", text.strip()):
            pattern, separator, code = pair.rpartition(":")
            if not separator or not pattern:
                raise UsageError(f"`{pair}` is not of the form PATTERN:CODE, as `{name}` needs it.")
            found.setdefault(pattern, []).append(code)
        return found
    return text
