"""Section 15: installing dependencies."""

from __future__ import annotations

from qalint.rule import Section

from .rules import (
    IncompatibleUpgrade,
    InstallWithoutTimeout,
    SilentInstall,
    UnconditionalInstall,
    UndeclaredDependency,
    UnhandledInstallFailure,
    WrongInterpreterPip,
)
from .stale import StaleImport

section = Section(
    "15",
    "Installing dependencies",
    (
        UnconditionalInstall,
        IncompatibleUpgrade,
        SilentInstall,
        UnhandledInstallFailure,
        StaleImport,
        InstallWithoutTimeout,
        WrongInterpreterPip,
        UndeclaredDependency,
    ),
    needles=((b"marimo",), (b"install",)),
    program=False,
)
