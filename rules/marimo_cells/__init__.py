"""Section 13: passing variables and showing output."""

from __future__ import annotations

from qalint.rule import Section

from .graph import CyclicCells, MultipleDefinitions, SetupDependsOnCell, UndefinedAcrossCells
from .loading import ReusableBeforeDefinition, SelfImport, StarImport, UnparsableCell
from .lost_output import DroppedOutput, OutputInBranch, ReturnInsideCell
from .private_names import PrivateNameCrossesCells, PrivateNameReturned
from .steps import CrowdedStepCell, DocstringShown, MissingProgress, ProcessingCellReturnsUi
from .stops import LateStop, StopHidesOutput
from .unshown import ReturnDoesNotDisplay
from .values import ValueReadWhereCreated

section = Section(
    "13",
    "Passing variables and showing output",
    (
        PrivateNameCrossesCells,
        PrivateNameReturned,
        ReturnDoesNotDisplay,
        UndefinedAcrossCells,
        OutputInBranch,
        DroppedOutput,
        ReturnInsideCell,
        StopHidesOutput,
        LateStop,
        CrowdedStepCell,
        ProcessingCellReturnsUi,
        MissingProgress,
        MultipleDefinitions,
        CyclicCells,
        SetupDependsOnCell,
        StarImport,
        DocstringShown,
        ValueReadWhereCreated,
        UnparsableCell,
        SelfImport,
        ReusableBeforeDefinition,
    ),
    needles=((b"marimo",),),
    program=False,
    precedence=(
        ("QA1301", "QA1302"),
        ("QA1301", "QA1304"),
        ("QA1305", "QA1303"),
        ("QA1306", "QA1303"),
        ("QA1307", "QA1303"),
    ),
)
