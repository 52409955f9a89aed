"""Presets: a choice of rules and thresholds under one name, for `preset = "..."` and `--preset`.

A preset stands below the other keys of the place that names it: `select` beside it replaces its
rules, `extend-select` and `ignore` add to them and take from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .registry import Catalog


class Preset(NamedTuple):
    """`select` of None stands for the rules that are on by default, as far as they are critical."""

    help: str
    select: tuple[str, ...] | None
    settings: Mapping[str, Any]


PRESETS: dict[str, Preset] = {
    "critical": Preset(
        "what makes training fail or go silently wrong, and nothing else: the first week on old code",
        None,
        {"fail-on": "critical"},
    ),
    "training": Preset(
        "mixed precision, LoRA, GPU use: scripts and libraries that train", ("QA11", "QA12", "QA17"), {}
    ),
    "notebooks": Preset(
        "marimo cells, installs, consistent interfaces: notebooks of every kind", ("QA13", "QA15", "QA16"), {}
    ),
    "teaching": Preset(
        "`notebooks`, and whether the text explains why: notebooks that are published to teach",
        ("QA13", "QA14", "QA15", "QA16"),
        {},
    ),
    "strict": Preset(
        "every rule, advice on explanations and tests included, and findings of medium confidence too",
        ("ALL",),
        {"min-confidence": "medium"},
    ),
}
"""Every preset by name, from the narrowest to the widest."""


def expanded(layer: Mapping[str, Any], catalog: Catalog) -> Mapping[str, Any]:
    """A layer of the configuration, the keys of the preset that it names filled in below its own."""
    name = layer.get("preset")
    if name is None:
        return layer
    preset = PRESETS[name]
    chosen = preset.select
    if chosen is None:
        chosen = tuple(
            code
            for code, rule in catalog.rules.items()
            if rule.default and not rule.preview and rule.severity == "critical"
        )
    return {"select": list(chosen), **preset.settings, **layer}
