"""Runs a marimo notebook inside the child process and reports what its reader would see.

Three ways, because none sees all: `app.run()` gives the definitions and stops at the first error;
an exported session shows what each cell displays, errors included, also what `mo.output` shows;
running the file as a script would show neither. Installs are never carried out: `subprocess` is
replaced by something that remembers the command and pretends a result.

Modes: `plain`; `present`: every import works, missing packages are stubs; `missing`: no package can be
imported until an install "succeeds"; `broken`: no package can be imported and every install fails.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import os
import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock


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
        self.blocked = mode in ("missing", "broken")

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A stub, a refusal, or nothing to say."""
        if name.partition(".")[0] not in self.names:
            return None
        if self.blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
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
    """Stands for `subprocess` and `os.system`: remembers, does nothing, answers as the mode says."""

    def __init__(self, packages: Packages, fails: bool) -> None:
        self.packages = packages
        self.fails = fails
        self.calls: list[dict[str, Any]] = []

    def note(self, command: Any, options: dict[str, Any]) -> int:
        """One command; its exit status."""
        words = command.split() if isinstance(command, str) else [os.fspath(word) for word in command]
        self.calls.append(
            {
                "words": words,
                "timeout": options.get("timeout") is not None,
                "own_interpreter": bool(words) and words[0] == sys.executable,
                "shell": isinstance(command, str),
            }
        )
        if "install" in words or "add" in words:
            if self.fails:
                return 1
            self.packages.blocked = False
        return 0

    def install(self) -> None:
        """Replace the functions."""

        def run(args: Any, *_: Any, check: bool = False, text: bool = False, **options: Any) -> Any:
            status = self.note(args, options)
            empty: Any = "" if text or options.get("universal_newlines") else b""
            error: Any = (
                "ERROR: no matching distribution" if empty == "" else b"ERROR: no matching distribution"
            )
            if check and status:
                raise subprocess.CalledProcessError(status, args, empty, error)
            return subprocess.CompletedProcess(args, status, empty, error if status else empty)

        def check_call(args: Any, *_: Any, **options: Any) -> int:
            return int(run(args, check=True, **options).returncode)

        def check_output(args: Any, *_: Any, **options: Any) -> Any:
            return run(args, check=True, **options).stdout

        def call(args: Any, *_: Any, **options: Any) -> int:
            return int(run(args, **options).returncode)

        class Popen:
            """A process that has already ended."""

            def __init__(self, args: Any, *_: Any, **options: Any) -> None:
                self.args, self.options = args, options
                self.returncode = run(args, **options).returncode
                self.stdout = self.stderr = io.StringIO("")

            def communicate(self, *_: Any, **__: Any) -> tuple[str, str]:
                return "", ""

            def wait(self, *_: Any, **__: Any) -> int:
                return int(self.returncode)

            def poll(self) -> int:
                return int(self.returncode)

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: Any) -> None:
                pass

        for name, value in (("run", run), ("check_call", check_call), ("check_output", check_output)):
            setattr(subprocess, name, value)
        subprocess.call = call
        subprocess.Popen = Popen  # type: ignore[assignment,misc]
        subprocess.getstatusoutput = lambda command: (self.note(command, {}), "")  # type: ignore[assignment,misc]
        subprocess.getoutput = lambda command: str(self.note(command, {}) and "")  # type: ignore[assignment,misc]
        os.system = lambda command: self.note(command, {})


def imported(text: str) -> set[str]:
    """Top-level packages that a notebook imports, the standard library and marimo excepted."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call):
            # importlib.import_module("x"), find_spec("x")
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "find_spec", "__import__") and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    names.add(first.value.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"marimo"}


def run(path: str, root: str, mode: str) -> dict[str, Any]:
    """Run the notebook and report: cells with outputs and console, errors, definitions, installs."""
    text = Path(path).read_text(encoding="utf-8")
    sys.path.insert(0, os.path.dirname(path))
    names = imported(text)
    packages = Packages(set(), mode)
    installs = Installs(packages, fails=mode == "broken")
    if mode != "plain":
        local = {entry.stem for entry in Path(root).glob("*.py")} | {
            p.name for p in Path(root).iterdir() if p.is_dir()
        }
        packages.names = names - local
        if mode == "present":
            packages.names = {name for name in packages.names if importlib.util.find_spec(name) is None}
        for name in packages.names:
            for loaded in [key for key in sys.modules if key.partition(".")[0] == name]:
                del sys.modules[loaded]
        sys.meta_path.insert(0, packages)
    session, trouble = export(path, installs)
    report: dict[str, Any] = {
        "cells": [],
        "errors": [],
        "installs": installs.calls,
        "trouble": trouble,
        "definitions": {},
        "run": None,
    }
    for index, cell in enumerate(session.get("cells", [])):
        shown = []
        for output in cell["outputs"]:
            if output["type"] == "error":
                report["errors"].append(
                    {"cell": index, "type": output["ename"], "message": str(output["evalue"])[:1000]}
                )
            else:
                shown += [
                    {"mime": mime, "text": str(data)[:20000]} for mime, data in output["data"].items() if data
                ]
        console = "".join(str(entry.get("text", "")) for entry in cell["console"])
        report["cells"].append({"shown": shown, "console": console[:4000]})
    if mode == "plain":
        report["definitions"], report["run"] = app_run(path)
    return report


def export(path: str, installs: Installs) -> tuple[dict[str, Any], str]:
    """The session that `marimo export session` writes, and what it said when it wrote none."""
    from marimo._cli.cli import main

    said = io.StringIO()
    trouble = ""
    installs.install()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(
                ["export", "session", path, "--force-overwrite", "--no-sandbox"],
                standalone_mode=False,
            )
        except SystemExit as error:
            trouble = f"status {error.code}"
        except BaseException as error:
            trouble = f"{type(error).__name__}: {error}"
    folder = Path(path).parent / "__marimo__" / "session"
    written = folder / f"{Path(path).name}.json"
    if not written.exists():
        return {}, (trouble + " " + said.getvalue()[-1000:]).strip() or "no session was written"
    session: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    return session, ""


def app_run(path: str) -> tuple[dict[str, str], dict[str, str] | None]:
    """Definitions by name with their types, and the exception of `app.run()` if it raised one."""
    from marimo._ast.load import load_app

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            app = load_app(path)
            if app is None:
                return {}, {"type": "Unloadable", "message": "marimo finds no notebook in the file"}
            _, definitions = app.run()
        except BaseException as error:
            return {}, {"type": type(error).__name__, "message": str(error)[:1000]}
    return {name: type(value).__name__ for name, value in definitions.items()}, None
