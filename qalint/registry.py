"""Finds the sections by entry point, and fails loudly."""

from __future__ import annotations

from importlib.metadata import entry_points

from .rule import Rule, Section


def sections() -> list[Section]:
    """All sections that installed packages register, by id."""
    found = [entry.load() for entry in entry_points(group="qalint.rules")]
    return sorted(found, key=lambda section: section.id)


def rules() -> list[type[Rule]]:
    """All rules of all sections, by code."""
    return sorted((rule for section in sections() for rule in section.rules), key=lambda rule: rule.code)
