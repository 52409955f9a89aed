"""Section 15: installing dependencies."""

from __future__ import annotations

from qalint.rule import Section

from .commands import IncompatibleUpgrade, UnconditionalInstall, UndeclaredDependency, WrongInterpreterPip
from .stale import StaleImport
from .told import InstallWithoutTimeout, SilentInstall, UnhandledInstallFailure

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
