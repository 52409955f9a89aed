"""The tools, each in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PEERS = {
    "ruff": ("ruff==0.17.6",),
    "fixit": ("fixit==2.2.1",),
    "torchfix": ("torchfix==0.7.0", "setuptools<81"),
    "marimo": ("marimo==0.25.2",),
}


ROOT = Path(__file__).resolve().parents[2]


def _environment(folder: Path) -> list[str]:
    """The command that installs into the virtual environment of a folder; it is made if need be."""
    if not (folder / "bin" / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]


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
            subprocess.run([*_environment(folder), *PEERS[name]], check=True)
        return str(command)

    @property
    def qalint(self) -> str:
        """The command of a qalint that is installed from this checkout, once for each benchmark."""
        if "qalint" not in self.given:
            folder = self.cache / "peers" / "qalint"
            pip = _environment(folder)
            with tempfile.TemporaryDirectory() as copy:
                # A build leaves a folder behind, and would take up what an earlier one left.
                ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
                shutil.copytree(ROOT, copy, ignore=ignored, dirs_exist_ok=True)
                subprocess.run([*pip, "--upgrade", "--force-reinstall", copy], check=True)
            self.given["qalint"] = str(folder / "bin" / "qalint")
        return self.given["qalint"]

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
