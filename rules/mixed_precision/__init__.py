"""Section 11: mixed precision training."""

from __future__ import annotations

from qalint.rule import Section

from .amp_argument_position import AmpArgumentPosition
from .backward_inside_autocast import BackwardInsideAutocast
from .conflicting_precision_flags import ConflictingPrecisionFlags
from .deprecated_amp_api import DeprecatedAmpApi
from .half_overflow_constant import HalfOverflowConstant
from .unsafe_loss_under_autocast import UnsafeLossUnderAutocast

section = Section(
    "11",
    "Mixed precision training",
    (
        BackwardInsideAutocast,
        DeprecatedAmpApi,
        AmpArgumentPosition,
        HalfOverflowConstant,
        ConflictingPrecisionFlags,
        UnsafeLossUnderAutocast,
    ),
    needles=(
        (b"torch", b"transformers", b"trl", b"lightning", b"accelerate", b"setfit", b"adapters"),
        (
            b"backward",
            b"autocast",
            b"GradScaler",
            b"custom_fwd",
            b"custom_bwd",
            b"float16",
            b"fp16",
            b"half",
        ),
    ),
    precedence=(
        ("QA1105", "QA1113"),
        ("QA1128", "QA1102"),
    ),
)
