"""Which rules run: `select`, `ignore` and their kin, as in ruff.

Layers (configuration file, variables, command line) follow one another; a layer that gives
`select` starts anew. Inside a layer the more specific entry wins, and `ignore` wins among equals:
`ALL` < a prefix < a longer prefix < a code or name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from .errors import UsageError, did_you_mean
from .registry import ALWAYS, Catalog, RuleInfo

_EXACT = 100

Where = Callable[[str], str]
"""From the name of a key to how an error names the place where it is set."""


class Layer(NamedTuple):
    """One source of choices. `select` None: it says nothing of the kind."""

    select: tuple[str, ...] | None = None
    extend: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


class Selector:
    """Resolves what users write (codes, prefixes, names, `ALL`) to codes."""

    def __init__(self, catalog: Catalog, *, preview: bool = False) -> None:
        self.catalog = catalog
        self.preview = preview

    def codes(self, text: str, where: str) -> frozenset[str]:
        """The codes an entry stands for, without preview rules unless asked for. `where` is for errors."""
        rules = self.catalog.rules
        if text == "ALL":
            return frozenset(code for code, rule in rules.items() if self._allowed(rule))
        exact = self.catalog.code_of(text, where)
        if exact is not None:
            return frozenset({exact}) if self._allowed(rules[exact]) else frozenset()
        found = frozenset(code for code in rules if code.startswith(text)) if text else frozenset()
        if not found:
            known = [*rules, *self.catalog.names, "ALL"]
            raise UsageError(f"Unknown rule `{text}` in `{where}`{did_you_mean(text, known)}.")
        return frozenset(code for code in found if self._allowed(rules[code]))

    def enabled(self, layers: Sequence[tuple[Where, Layer]]) -> frozenset[str]:
        """The rules that all layers together enable; each with the words for one of its keys in an error."""
        chosen = frozenset(
            code for code, rule in self.catalog.rules.items() if rule.default and self._allowed(rule)
        )
        for where, layer in layers:
            chosen = self._apply(chosen, where, layer)
        return chosen | frozenset(ALWAYS)

    def ignored(self, entries: Iterable[str], where: str) -> frozenset[str]:
        """The codes that entries of `ignore` or `per-file-ignores` take away."""
        everything = Selector(self.catalog, preview=True)
        found: set[str] = set()
        for text in entries:
            found |= everything.codes(text, where)
        return frozenset(found) - frozenset(ALWAYS)

    def _apply(self, chosen: frozenset[str], where: Where, layer: Layer) -> frozenset[str]:
        verdicts: dict[str, bool] = {}
        everything = Selector(self.catalog, preview=True)
        steps = [
            (_rank(text, self.catalog), 1, self.codes(text, where(key)))
            for key, entries in (("select", layer.select or ()), ("extend-select", layer.extend))
            for text in entries
        ]
        steps += [
            (_rank(text, self.catalog), 2, everything.codes(text, where("ignore"))) for text in layer.ignore
        ]
        for _, kind, codes in sorted(steps, key=lambda step: step[:2]):
            verdicts.update(dict.fromkeys(codes, kind == 1))
        base = frozenset() if layer.select is not None else chosen
        taken = {code for code, verdict in verdicts.items() if verdict}
        dropped = {code for code, verdict in verdicts.items() if not verdict}
        return (base | taken) - dropped

    def _allowed(self, rule: RuleInfo) -> bool:
        return self.preview or not rule.preview


def _rank(text: str, catalog: Catalog) -> int:
    if text == "ALL":
        return 0
    if text in catalog.rules or text in catalog.names or text in catalog.former:
        return _EXACT
    return len(text)
