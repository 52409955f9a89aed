"""Section 9: tests. Off in `check`; they speak in `report` and with `--select QA09`."""

from __future__ import annotations

from qalint.rule import Section

from .untested import (
    UntestedArchitectures,
    UntestedFp16,
    UntestedFp32,
    UntestedGeneration,
    UntestedGradientFlow,
    UntestedPreview,
    UntestedTrainableShare,
)

section = Section(
    "09",
    "Tests",
    (
        UntestedFp16,
        UntestedFp32,
        UntestedTrainableShare,
        UntestedGradientFlow,
        UntestedGeneration,
        UntestedArchitectures,
        UntestedPreview,
    ),
)
