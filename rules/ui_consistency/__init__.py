"""Section 16: UI consistency."""

from __future__ import annotations

from qalint.rule import Section

from .kinds import (
    DangerWithoutError,
    EducationalNotInfo,
    InvalidCalloutKind,
    KindByPosition,
    SuccessWithoutSuccess,
    WarnWithoutWarning,
)
from .layouts import CutOffFigure, PrivateUiInLayout
from .tables import (
    OverwideColumn,
    PageSizeOutOfRange,
    PreviewSelectable,
    PreviewWithoutIndex,
    TruncatedPreview,
)

section = Section(
    "16",
    "UI consistency",
    (
        KindByPosition,
        SuccessWithoutSuccess,
        WarnWithoutWarning,
        EducationalNotInfo,
        DangerWithoutError,
        InvalidCalloutKind,
        TruncatedPreview,
        PageSizeOutOfRange,
        PreviewWithoutIndex,
        OverwideColumn,
        PreviewSelectable,
        PrivateUiInLayout,
        CutOffFigure,
    ),
    needles=((b"marimo",),),
    program=False,
    precedence=(
        ("QA1606", "QA1602"),
        ("QA1606", "QA1603"),
        ("QA1606", "QA1604"),
        ("QA1606", "QA1605"),
        ("QA1604", "QA1602"),
        ("QA1604", "QA1603"),
    ),
)
