"""Section 14: educational documentation.

No program can grade teaching: these rules advise, are off in `check`, and speak in `report` and with
`--select QA14`.
"""

from __future__ import annotations

from qalint.rule import Section

from .explain import (
    MissingAlternatives,
    MissingPerformanceImplications,
    MissingTradeOffs,
    MissingWhenToUse,
    UnexplainedArchitecture,
    UnexplainedDecision,
    UnexplainedGpu,
    UnexplainedHyperparameters,
    UnexplainedOptimization,
    UninterpretedResult,
)
from .interactive import FixedConfiguration, MissingDatasetPreview, MissingStepProgress

section = Section(
    "14",
    "Educational documentation",
    (
        UnexplainedDecision,
        MissingPerformanceImplications,
        MissingAlternatives,
        MissingTradeOffs,
        UnexplainedGpu,
        UnexplainedHyperparameters,
        UnexplainedArchitecture,
        UnexplainedOptimization,
        MissingWhenToUse,
        MissingDatasetPreview,
        FixedConfiguration,
        MissingStepProgress,
        UninterpretedResult,
    ),
)
