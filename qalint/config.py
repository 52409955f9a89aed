"""Where the settings of a file come from: its nearest configuration file, variables, command line.

`pyproject.toml` counts where it has a table `[tool.qalint]`; `qalint.toml` and `.qalint.toml` hold
the keys at their top. The nearest one upward from a file holds for it, alone; `extend` builds on
another. A later layer wins: default, file, variable, command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import UsageError
from .patterns import Patterns
from .policy import Policy, Version
from .presets import expanded
from .registry import Catalog
from .selection import Layer, Selector, Where
from .settings import KEYS, from_text, validated, version

_VARIABLES = "$ variables"
NAMES = (".qalint.toml", "qalint.toml", "pyproject.toml")
"""In order of precedence inside one folder."""


class Config:
    """The settings that hold below one folder. `values` has every key of `settings.KEYS`."""

    def __init__(self, root: str, layers: Sequence[tuple[str, Mapping[str, Any]]], catalog: Catalog) -> None:
        self.root = root
        """The folder to which its patterns are relative."""
        self.layers = [(where, expanded(layer, catalog)) for where, layer in layers]
        self.catalog = catalog
        self.values: dict[str, Any] = {name: key.default for name, key in KEYS.items()}
        for _, layer in self.layers:
            for name, value in layer.items():
                if name == "rules":
                    merged = {**self.values["rules"]}
                    for rule, table in value.items():
                        merged[rule] = {**merged.get(rule, {}), **table}
                    self.values["rules"] = merged
                elif name.startswith("extend-") or name in ("ignore", "unfixable"):
                    self.values[name] = _joined(self.values[name], value)
                else:
                    self.values[name] = value
        self.selector = Selector(catalog, preview=self.values["preview"])
        self.enabled = self.selector.enabled([(_label(where), _layer(layer)) for where, layer in self.layers])
        self.excludes = Patterns([*self.values["exclude"], *self.values["extend-exclude"]], root)
        self._ignores = [
            (Patterns([pattern.removeprefix("!")], root), pattern.startswith("!"), codes)
            for pattern, codes in self._per_file_ignores()
        ]
        self._policies: dict[frozenset[str], Policy] = {}
        self._floors: dict[str, Version] | None = None
        self._key: str | None = None

    def policy(self, path: str) -> Policy:
        """What holds for one file; a block of its own is not considered here."""
        ignored = self.ignored(path)
        if ignored not in self._policies:
            self._policies[ignored] = Policy(self.enabled - ignored, self.values["rules"], self.floors)
        return self._policies[ignored]

    @property
    def key(self) -> str:
        """All that it says; two of equal key say the same of every file."""
        if self._key is None:
            self._key = repr((self.root, self.values, sorted(self.enabled), sorted(self.floors.items())))
        return self._key

    def ignored(self, path: str) -> frozenset[str]:
        """The codes that `per-file-ignores` takes away from a file."""
        if not self._ignores:
            return frozenset()
        codes: frozenset[str] = frozenset()
        for patterns, negated, entries in self._ignores:
            if patterns.match(path) is not negated:
                codes |= entries
        return codes

    @property
    def floors(self) -> dict[str, Version]:
        """The oldest versions of torch and marimo that the project allows."""
        if self._floors is None:
            from .floors import floors_of

            self._floors = floors_of(self.root)
            for package in ("torch", "marimo"):
                given = self.values[f"{package}-version"]
                if given is not None and (number := version(given)):
                    self._floors[package] = number
        return self._floors

    @property
    def fixable(self) -> frozenset[str]:
        """The codes whose fixes may be applied."""
        return self.selector.enabled(
            [
                (
                    str,
                    Layer(
                        tuple(self.values["fixable"]),
                        tuple(self.values["extend-fixable"]),
                        tuple(self.values["unfixable"]),
                    ),
                )
            ]
        )

    def _per_file_ignores(self) -> list[tuple[str, frozenset[str]]]:
        return [
            (pattern, self.selector.ignored(codes, name))
            for name in ("per-file-ignores", "extend-per-file-ignores")
            for pattern, codes in self.values[name].items()
        ]


def _label(where: str) -> Where:
    """How an error names a key: `--select`, `QALINT_SELECT`, `pyproject.toml: select`."""
    if where == "--":
        return "--{}".format
    if where == _VARIABLES:
        return lambda key: "QALINT_" + key.upper().replace("-", "_")
    shown = where.removeprefix("The configuration ").removeprefix("$ ")
    return lambda key: f"{shown}: {key}"


def _joined(old: Any, new: Any) -> Any:
    if isinstance(old, dict):
        return {**old, **{key: [*old.get(key, []), *value] for key, value in new.items()}}
    return [*(old or []), *new]


def _layer(table: Mapping[str, Any]) -> Layer:
    select = table.get("select")
    return Layer(
        tuple(select) if select is not None else None,
        tuple(table.get("extend-select", ())),
        tuple(table.get("ignore", ())),
    )


class Configs:
    """The configuration of every file, each configuration file read once."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        overrides: Mapping[str, Any] | None = None,
        files: Sequence[str] = (),
        inline: Sequence[str] = (),
        isolated: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.catalog = catalog
        self.isolated = isolated
        self._given = files
        self._overrides = dict(overrides or {})
        self._inline = [self._parse_inline(text) for text in inline]
        self._environment = self._variables(os.environ if environment is None else environment)
        self._by_folder: dict[str, Config] = {}
        self._by_file: dict[str | None, Config] = {}

    def of_folder(self, folder: str) -> Config:
        """The configuration that holds for files directly in `folder` (absolute)."""
        found = self._by_folder.get(folder)
        if found is None:
            found = self._by_folder[folder] = self._find(folder)
        return found

    def of_file(self, path: str) -> Config:
        """The configuration that holds for a file (absolute), its own script block aside."""
        return self.of_folder(os.path.dirname(path))

    def policy(self, path: str, data: bytes | None = None) -> Policy:
        """The policy of a file; `data` lets a notebook's own `# /// script` block speak."""
        config = self.of_file(path)
        if data is not None and b"# /// script" in data:
            from .floors import script_block

            if block := script_block(data):
                return self._scripted(config, path, block)
        return config.policy(path)

    def _scripted(self, config: Config, path: str, block: Mapping[str, Any]) -> Policy:
        from .floors import floors_in

        tool = block.get("tool")
        table = tool.get("qalint") if isinstance(tool, dict) else None
        own = floors_in(block.get("dependencies", ()))
        if isinstance(table, dict):
            where = f"The script block of {path}"
            layers = [*config.layers]
            at = next((i for i, (name, _) in enumerate(layers) if name.startswith(("$", "--"))), len(layers))
            own_table = _anchored(validated(table, where, self.catalog), where, os.path.dirname(path))
            layers.insert(at, (where, own_table))
            config = Config(config.root, layers, self.catalog)
            own |= {
                package: number
                for package in ("torch", "marimo")
                if f"{package}-version" in table and (number := version(table[f"{package}-version"]))
            }
        policy = config.policy(path)
        return Policy(policy.enabled, policy.options, {**policy.floors, **own}) if own else policy

    def _find(self, folder: str) -> Config:
        if self.isolated:
            return self._config(None, os.getcwd())
        if self._given:
            return self._config(os.path.abspath(self._given[-1]), os.getcwd())
        for name in NAMES:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and (name != "pyproject.toml" or _mentions(path)):
                return self._config(path, folder)
        parent = os.path.dirname(folder)
        return self.of_folder(parent) if parent != folder else self._config(None, os.getcwd())

    def _config(self, path: str | None, root: str) -> Config:
        if path not in self._by_file:
            layers = self._file_layers(path, ()) if path is not None else []
            layers += self._environment
            layers += self._inline
            if self._overrides:
                layers.append(("--", self._overrides))
            self._by_file[path] = Config(root, layers, self.catalog)
        return self._by_file[path]

    def _file_layers(self, path: str, chain: tuple[str, ...]) -> list[tuple[str, Mapping[str, Any]]]:
        shown = os.path.relpath(path) if path.startswith(os.getcwd()) else path
        if path in chain:
            raise UsageError(f"The configuration {shown} extends itself.")
        where = f"The configuration {shown}"
        table = _anchored(validated(_load(path, shown), where, self.catalog), where, os.path.dirname(path))
        layers: list[tuple[str, Mapping[str, Any]]] = []
        if "extend" in table:
            base = os.path.join(os.path.dirname(path), os.path.expanduser(table["extend"]))
            layers = self._file_layers(os.path.normpath(base), (*chain, path))
        return [*layers, (where, table)]

    def _parse_inline(self, text: str) -> tuple[str, Mapping[str, Any]]:
        import tomllib

        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(
                f"`--config {text}` is neither a file nor `key = value` in TOML ({error})."
            ) from error
        return "$ --config", validated(table, "--config", self.catalog)

    def _variables(self, environment: Mapping[str, str]) -> list[tuple[str, Mapping[str, Any]]]:
        found: dict[str, Any] = {}
        for name, text in sorted(environment.items()):
            if not name.startswith("QALINT_"):
                continue
            key = name[len("QALINT_") :].lower().replace("_", "-")
            if key not in KEYS or key in ("extend", "rules"):
                continue
            where = f"The variable {name}"
            found |= validated({key: from_text(key, text)}, where, self.catalog)
        # One layer, as the flags are: a selection in one variable does not undo what another ignores.
        return [(_VARIABLES, found)] if found else []


def _anchored(table: dict[str, Any], where: str, folder: str) -> dict[str, Any]:
    """The table, its paths absolute. A repository must not choose what a run writes outside of it."""
    if "output-file" in table:
        raise UsageError(
            f"{where} sets `output-file`, which only the flag and the variable QALINT_OUTPUT_FILE may do."
        )
    for name in ("baseline", "cache-dir"):
        if table.get(name):
            table[name] = os.path.normpath(os.path.join(folder, table[name]))
    inside = os.path.join(os.path.realpath(folder), "")
    if "cache-dir" in table and not os.path.realpath(table["cache-dir"]).startswith(inside):
        raise UsageError(f"{where} sets `cache-dir` to a folder outside its own; use --cache-dir for that.")
    return table


def _mentions(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            if b"qalint" not in file.read():
                return False
    except OSError:
        return False
    return "qalint" in _toml(path, path).get("tool", {})


def _toml(path: str, shown: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UsageError(f"The configuration {shown} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The configuration {shown} is not valid TOML: {error}.") from error


def _load(path: str, shown: str) -> dict[str, Any]:
    table = _toml(path, shown)
    if os.path.basename(path) == "pyproject.toml":
        found: Any = table.get("tool", {}).get("qalint", {})
        if not isinstance(found, dict):
            raise UsageError(f"The configuration {shown} sets `tool.qalint` to something that is no table.")
        return found
    return table
