"""Section 12: LoRA."""

from __future__ import annotations

from qalint.analysis.modules.needles import RUN
from qalint.rule import Section

from .application import AdapterNeverApplied
from .casting import AdapterInputNotCast, AdapterOutputNotRestored
from .checkpointing import CheckpointingCutsGradients
from .dimensions import LinearOnlyInjection, SwappedConv1dDimensions, UncheckedLayerType
from .freeze_typo import NAMES, FreezeHasNoEffect
from .freezing import AdapterLeavesExtraTrainable, BaseModelNotFrozen, FreezeAfterInjection
from .late_binding import LateBoundForward
from .learning import InertAdapter
from .optimizing import EmptyOptimizer, OptimizerBeforeInjection, TrainableShareUnverified
from .placement import AdapterNotFp32, AdapterOnWrongDevice
from .registration import NonLeafParameter, UnregisteredAdapter
from .walking import InjectionWhileIterating

section = Section(
    "12",
    "LoRA",
    (
        SwappedConv1dDimensions,
        LinearOnlyInjection,
        UncheckedLayerType,
        BaseModelNotFrozen,
        FreezeAfterInjection,
        FreezeHasNoEffect,
        OptimizerBeforeInjection,
        EmptyOptimizer,
        UnregisteredAdapter,
        AdapterNotFp32,
        AdapterOnWrongDevice,
        TrainableShareUnverified,
        AdapterInputNotCast,
        AdapterOutputNotRestored,
        AdapterNeverApplied,
        InjectionWhileIterating,
        LateBoundForward,
        InertAdapter,
        NonLeafParameter,
        CheckpointingCutsGradients,
        AdapterLeavesExtraTrainable,
    ),
    needles=[[b"torch", b"transformers", b"peft", b"loralib", *NAMES]],
    starts=RUN,
    precedence=[
        ("QA1210", "QA1102"),
        ("QA1128", "QA1210"),
        ("QA1213", "QA1119"),
        ("QA1214", "QA1119"),
        ("QA1205", "QA1208"),
        ("QA1205", "QA1204"),
        ("QA1206", "QA1208"),
        ("QA1206", "QA1204"),
        ("QA1701", "QA1208"),
        ("QA1701", "QA1204"),
        ("QA1219", "QA1703"),
        ("QA1219", "QA1209"),
        ("QA1219", "QA1211"),
        ("QA1209", "QA1211"),
        ("QA1701", "QA1202"),
        ("QA1221", "QA1204"),
        ("QA1213", "QA1214"),
        ("QA1213", "QA1118"),
        ("QA1214", "QA1118"),
        ("QA1203", "QA1201"),
    ],
)
