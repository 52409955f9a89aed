"""What holds for one file after all configuration is read: rules, options, floors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Version = tuple[int, ...]


class Policy:
    """The rules that run on a file and how. Two files of equal `key` are linted alike."""

    __slots__ = ("enabled", "floors", "key", "options")

    def __init__(
        self,
        enabled: frozenset[str],
        options: Mapping[str, Mapping[str, Any]] | None = None,
        floors: Mapping[str, Version] | None = None,
    ) -> None:
        self.enabled = enabled
        self.options: dict[str, dict[str, Any]] = {
            name: dict(table) for name, table in (options or {}).items()
        }
        self.floors = dict(floors or {})
        self.key = repr((sorted(enabled), sorted(self.options.items()), sorted(self.floors.items())))
