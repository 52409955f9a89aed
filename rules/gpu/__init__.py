"""Section 17: GPU patterns."""

from __future__ import annotations

from qalint.analysis.modules.needles import RUN
from qalint.rule import Section

from .layer_names import PeftConv1dFlag, SingleArchitectureInjection, WrongLayerNames
from .mismatch import BatchNotMoved, DeviceMismatch, InputDtypeNotMatched
from .portability import HardCodedCuda, ModuleHasNoDevice
from .tensors import CreatedOnCpuThenMoved, DiscardedToResult, UnregisteredTensorAttribute
from .timing import UnsynchronizedTiming

section = Section(
    "17",
    "GPU patterns",
    (
        WrongLayerNames,
        SingleArchitectureInjection,
        CreatedOnCpuThenMoved,
        DiscardedToResult,
        DeviceMismatch,
        UnregisteredTensorAttribute,
        BatchNotMoved,
        UnsynchronizedTiming,
        ModuleHasNoDevice,
        InputDtypeNotMatched,
        PeftConv1dFlag,
        HardCodedCuda,
    ),
    needles=[[b"torch", b"transformers", b"peft"]],
    starts=RUN,
    precedence=[
        ("QA1704", "QA1705"),
        ("QA1704", "QA1707"),
        ("QA1706", "QA1705"),
        ("QA1705", "QA1707"),
        ("QA1710", "QA1118"),
        ("QA1701", "QA1202"),
        ("QA1701", "QA1208"),
        ("QA1701", "QA1204"),
    ],
)
