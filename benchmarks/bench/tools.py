"""The tools, each in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .measure import ToolFailed

PEERS = {
    "ruff": ("ruff==0.17.6",),
    "fixit": ("fixit==2.2.1",),
    "torchfix": ("torchfix==0.7.0", "setuptools<81"),
    "marimo": ("marimo==0.25.2",),
}


class Tools:
    """Where each tool is; made on first use."""

    def __init__(self, cache: Path, given: dict[str, str]) -> None:
        self.cache = cache
        self.given = given

    def __getitem__(self, name: str) -> str:
        """The path of a peer's command."""
        if name in self.given:
            return self.given[name]
        folder = self.cache / "peers" / name
        command = folder / "bin" / name
        if not command.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, *PEERS[name]], check=True)
        return str(command)

    @property
    def qalint(self) -> str:
        """The command of the qalint that is installed beside this Python."""
        command = os.path.join(os.path.dirname(sys.executable), "qalint")
        if not os.path.exists(command):
            raise ToolFailed("qalint is not installed in the environment of this Python")
        return command

    def versions(self) -> dict[str, str]:
        """What each tool says of itself."""
        commands = {name: [self[name], "--version"] for name in PEERS}
        commands["qalint"] = [self.qalint, "version"]
        found = {}
        for name, command in commands.items():
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            words = (done.stdout or done.stderr).replace(",", " ").split()
            found[name] = next((word for word in words if word[:1].isdigit()), "?")
        return found
