"""Section 11: mixed precision training."""

from __future__ import annotations

from qalint.rule import Section

from .amp_argument_position import AmpArgumentPosition
from .backward_inside_autocast import BackwardInsideAutocast
from .conflicting_precision_flags import ConflictingPrecisionFlags
from .deprecated_amp_api import DeprecatedAmpApi
from .dtypes import DtypeMismatch, MixedDtypeLayer
from .gradient_clearing import AccumulatedLossNotDivided, MissingZeroGrad, ZeroGradBeforeStep
from .half_overflow_constant import HalfOverflowConstant
from .half_parameters import Fp16TrainableParameters, LateHalfCast
from .object_lifetimes import ExhaustedParameterIterator, ScalerCreatedInLoop, ScalerNotCheckpointed
from .precision_protocol import (
    ForwardOutsideAutocast,
    MissingGradientClipping,
    MissingGradScaler,
    ScalerInsideFramework,
    ScalerWithBfloat16,
    UncheckedLoss,
)
from .scaled_gradients import ClipBeforeUnscale, ClipBeyondOptimizer, UnscaledBackward
from .scaler_steps import (
    MissingScalerUpdate,
    OptimizerStepBypassesScaler,
    ScalerCallOrder,
    ScalerStepClosure,
    UnscaleEveryMicroStep,
    UpdateBetweenOptimizers,
)
from .unsafe_loss_under_autocast import UnsafeLossUnderAutocast

section = Section(
    "11",
    "Mixed precision training",
    (
        MissingGradScaler,
        Fp16TrainableParameters,
        ForwardOutsideAutocast,
        UnscaledBackward,
        ClipBeforeUnscale,
        MissingGradientClipping,
        OptimizerStepBypassesScaler,
        MissingScalerUpdate,
        ScalerCallOrder,
        UnscaleEveryMicroStep,
        UpdateBetweenOptimizers,
        ScalerCreatedInLoop,
        ClipBeyondOptimizer,
        ExhaustedParameterIterator,
        MissingZeroGrad,
        ZeroGradBeforeStep,
        AccumulatedLossNotDivided,
        DtypeMismatch,
        MixedDtypeLayer,
        UncheckedLoss,
        BackwardInsideAutocast,
        ScalerWithBfloat16,
        DeprecatedAmpApi,
        AmpArgumentPosition,
        HalfOverflowConstant,
        ScalerStepClosure,
        ScalerInsideFramework,
        LateHalfCast,
        ScalerNotCheckpointed,
        ConflictingPrecisionFlags,
        UnsafeLossUnderAutocast,
    ),
    needles=(
        (
            b".backward",
            b"autocast",
            b"GradScaler",
            b"custom_fwd",
            b"custom_bwd",
            b"float16",
            b"fp16",
            b".half",
            b"import half",
            b"parameters",
        ),
        (b"torch", b"transformers", b"trl", b"lightning", b"accelerate", b"setfit", b"adapters"),
    ),
    precedence=(
        ("QA1210", "QA1102"),
        ("QA1213", "QA1119"),
        ("QA1214", "QA1119"),
        ("QA1119", "QA1118"),
        ("QA1710", "QA1118"),
        ("QA1105", "QA1113"),
        ("QA1128", "QA1102"),
        ("QA1110", "QA1108"),
        ("QA1109", "QA1105"),
        ("QA1109", "QA1108"),
        *(
            ("QA1127", code)
            for code in (
                "QA1101",
                "QA1104",
                "QA1105",
                "QA1107",
                "QA1108",
                "QA1109",
                "QA1110",
                "QA1111",
                "QA1113",
            )
        ),
    ),
)
