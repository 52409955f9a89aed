"""Runs a marimo notebook inside the child process and reports what its reader would see.

Two ways, because neither sees all: `app.run()` gives the definitions and stops at the first error; an
exported session shows what each cell displays, errors included, also what `mo.output` shows. Installs
are never carried out; see `notebook_inside`.

Modes: `plain`; `present`: every import works, missing packages are stubs; `missing`: no package can be
imported until an install "succeeds"; `broken`: no package can be imported and every install fails;
`branch`: what is shown alone, packages as they are;
`used`: a kernel clicks and moves what is there (`notebook_kernel`).
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import json
import os
import re
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from .notebook_inside import SITECUSTOMIZE, VARIABLE, begin
from .notebook_kernel import use


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


PACKAGES = ("present", "missing", "broken")
"""The modes that pretend something of packages."""


def declared(text: str) -> list[str]:
    """The dependencies that a script runner reads from the notebook's `# /// script` block (PEP 723)."""
    block = re.search(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$", text)
    if block is None:
        return []
    lines = [line[2:] if line.startswith("# ") else line[1:] for line in block["content"].splitlines()]
    try:
        return list(tomllib.loads("\n".join(lines)).get("dependencies", []))
    except tomllib.TOMLDecodeError:
        return []


def run(path: str, root: str, mode: str) -> dict[str, Any]:
    """Run the notebook and report: cells with outputs and console, errors, definitions, installs.

    In mode `used` the report is that of `notebook_kernel.use`.
    """
    with tempfile.TemporaryDirectory(prefix="qalint-inside-") as folder:
        log = Path(folder, "installs")
        log.touch()
        Path(folder, "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
        names = imported(Path(path).read_text(encoding="utf-8")) if mode in PACKAGES else set()
        local = {entry.stem for entry in Path(root).iterdir()}
        wanted = {"mode": mode, "names": sorted(names - local), "log": str(log)}
        os.environ[VARIABLE] = json.dumps(wanted)
        above = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, *([above] if above else [])])
        if mode == "used":
            begin()
            return use(path)
        session, trouble = export(path)
        report: dict[str, Any] = {
            "cells": [],
            "errors": [],
            "trouble": trouble,
            "definitions": {},
            "declared": declared(Path(path).read_text(encoding="utf-8")),
            "run": None,
        }
        if mode == "plain":
            begin()
            report["definitions"], report["run"] = app_run(path)
        report["installs"] = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
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
    return report


def export(path: str) -> tuple[dict[str, Any], str]:
    """The session that `marimo export session` writes, and what it said when it wrote none."""
    from marimo._cli.cli import main

    said = io.StringIO()
    trouble = ""
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(["export", "session", path, "--force-overwrite", "--no-sandbox"], standalone_mode=False)
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
    sys.path.insert(0, os.path.dirname(path))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            _, definitions = loaded(path).run()
        except BaseException as error:
            return {}, {"type": type(error).__name__, "message": str(error)[:1000]}
    return {name: type(value).__name__ for name, value in definitions.items()}, None


def loaded(path: str) -> Any:
    """The app of a notebook: a Python file is imported, which runs its setup cell; others marimo reads."""
    if path.endswith(".py"):
        spec = importlib.util.spec_from_file_location("notebook_under_test", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["notebook_under_test"] = module
        spec.loader.exec_module(module)
        return module.app
    from marimo._ast.load import load_app

    return load_app(path)
