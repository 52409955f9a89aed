"""What a report is made from: the files, every rule's findings on them, and their analyses."""

from __future__ import annotations

from typing import Any

from ..diagnostic import Diagnostic


class Problem(Exception):
    """Why a report cannot be made, in one sentence."""


def gather(paths: list[str]) -> Any:
    """The findings and files under `paths`."""
    raise Problem("judging files comes with the runner")


def diagnostic_json(finding: Diagnostic) -> dict[str, Any]:
    """The JSON of one finding, as `qalint check` writes it."""
    raise NotImplementedError
