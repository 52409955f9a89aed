"""What a notebook's kernel finds changed: packages that can or cannot be imported, installs that pretend.

marimo runs the kernel in a process of its own. A `sitecustomize` on its path calls `begin`, which reads
from the environment what to pretend and where to write down the installs.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import os
import socket
import subprocess
import sys
import types
from collections.abc import Sequence
from typing import Any
from unittest.mock import MagicMock

VARIABLE = "QALINT_NOTEBOOK"
"""Holds `{"mode", "names", "log"}` as JSON."""

OWN_MACHINE = ("127.0.0.1", "::1", "localhost")
INSTALLERS = frozenset({"pip", "pip3", "uv", "conda", "mamba", "pixi", "poetry"})

SITECUSTOMIZE = "from qalint.harness.notebook_inside import begin\n\nbegin()\n"


class Stub(types.ModuleType):
    """A package that is not there: every attribute is something that can be called and looked into."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock(name=f"{self.__name__}.{name}")


class Packages(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Decides which of a notebook's packages can be imported."""

    def __init__(self, names: set[str], mode: str) -> None:
        self.names = names
        self.hides = mode in ("missing", "broken")
        self.blocked = self.hides

    def hide(self) -> None:
        """Let the packages be as if they were not installed: no error, they are just not found."""
        finder = importlib.machinery.PathFinder
        find = finder.find_spec

        def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
            if self.blocked and name.partition(".")[0] in self.names:
                return None
            return find(name, path, target)

        finder.find_spec = find_spec  # type: ignore[method-assign,assignment]

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A stub, a refusal, or nothing to say."""
        if name.partition(".")[0] not in self.names or self.hides:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """A stub."""
        module = Stub(spec.name)
        module.__path__ = []
        module.__version__ = "1.0"  # type: ignore[attr-defined]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


class Installs:
    """Stands between a notebook and pip: remembers each install, carries out none, answers as the mode says.

    Other commands run as they are.
    """

    def __init__(self, packages: Packages, fails: bool, log: str) -> None:
        self.packages = packages
        self.fails = fails
        self.log = log

    def is_install(self, command: Any) -> bool:
        """Whether a command installs packages."""
        words = words_of(command)
        tools = {word.rpartition("/")[2] for word in words} & INSTALLERS
        return bool(tools) and ("install" in words or "add" in words)

    def note(self, command: Any, options: dict[str, Any]) -> int:
        """One install; its exit status."""
        words = words_of(command)
        call = {
            "words": words,
            "timeout": options.get("timeout") is not None,
            "own_interpreter": bool(words) and words[0] == sys.executable,
            "shell": isinstance(command, str),
        }
        with open(self.log, "a", encoding="utf-8") as file:
            print(json.dumps(call), file=file)
        if self.fails:
            return 1
        self.packages.blocked = False
        return 0

    def install(self) -> None:
        """Replace the functions of `subprocess` and `os`."""
        system, real = os.system, subprocess.Popen

        class Popen(real):  # type: ignore[misc,valid-type]
            """A process; an install is one that has already ended."""

            def __new__(cls, args: Any, *more: Any, **options: Any) -> Any:
                return Ended(self, args, options) if self.is_install(args) else real(args, *more, **options)

        def run(args: Any, *more: Any, **options: Any) -> Any:
            return self.run(args, options) if self.is_install(args) else true_run(args, *more, **options)

        def check_call(args: Any, **options: Any) -> int:
            return int(run(args, check=True, **options).returncode)

        def check_output(args: Any, **options: Any) -> Any:
            return run(args, check=True, stdout=subprocess.PIPE, **options).stdout

        def call(args: Any, **options: Any) -> int:
            return int(run(args, **options).returncode)

        true_run = subprocess.run
        replaced: dict[str, Any] = {"run": run, "check_call": check_call, "check_output": check_output}
        replaced |= {"call": call, "Popen": Popen}
        replaced["getstatusoutput"] = lambda command: (run(command.split()).returncode, "")
        replaced["getoutput"] = lambda command: str(run(command.split()).stdout or "")
        for name, value in replaced.items():
            setattr(subprocess, name, value)
        os.system = lambda command: self.note(command, {}) if self.is_install(command) else system(command)

    def run(self, args: Any, options: dict[str, Any]) -> Any:
        """`subprocess.run` of an install."""
        status = self.note(args, options)
        text = options.get("text") or options.get("universal_newlines") or options.get("encoding")
        said: Any = "ERROR: no matching distribution" if status else ""
        said = said if text else said.encode()
        if options.get("check") and status:
            raise subprocess.CalledProcessError(status, args, said[:0], said)
        return subprocess.CompletedProcess(args, status, said[:0], said)


class Ended:
    """What `Popen` gives for an install."""

    def __init__(self, installs: Installs, args: Any, options: dict[str, Any]) -> None:
        self.args = args
        self.returncode = installs.run(args, options).returncode
        self.stdout = self.stderr = io.StringIO("")

    def communicate(self, *_: Any, **__: Any) -> tuple[str, str]:
        """Nothing was said."""
        return "", ""

    def wait(self, *_: Any, **__: Any) -> int:
        """The exit status."""
        return int(self.returncode)

    poll = wait

    def __enter__(self) -> Ended:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


def words_of(command: Any) -> list[str]:
    """The words of a command given as text or list."""
    return command.split() if isinstance(command, str) else [os.fspath(word) for word in command]


def forbid_network() -> None:
    """No connection leaves this machine; marimo's own, within it, may."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in OWN_MACHINE:
            raise OSError("the harness allows no network")
        connect(self, address)

    socket.socket.connect = refuse  # type: ignore[method-assign,assignment]


def begin() -> None:
    """Pretend what the environment asks for; nothing where it asks for nothing."""
    wanted = json.loads(os.environ.get(VARIABLE, "null"))
    if wanted is None:
        return
    forbid_network()
    packages = Packages(set(), wanted["mode"])
    packages.names = set(wanted["names"])
    if wanted["mode"] == "present":
        packages.names = {name for name in packages.names if importlib.util.find_spec(name) is None}
    sys.meta_path.insert(0, packages)
    if packages.hides:
        packages.hide()
    Installs(packages, wanted["mode"] == "broken", wanted["log"]).install()
