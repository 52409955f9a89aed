"""A plugin with small rules of every kind, and a way to run the command line in this process."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from qalint import reader
from qalint.cli import main

PLUGIN = textwrap.dedent(
    '''
    """Rules about calls by name, each as simple as its purpose allows."""

    from __future__ import annotations

    import ast
    import os
    import time

    from qalint.file import File
    from qalint.rule import Applicability, Confidence, Edit, Fix, Option, Related, Rule, Section, Severity


    class Calls:
        """The calls of plain names."""

        def __init__(self, file):
            self.file = file
            self.found = [
                node
                for node in ast.walk(file.tree)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            ]

        @classmethod
        def of(cls, file: File):
            if "break_analysis" in file.source.text:
                raise ValueError("the analysis is broken")
            return cls(file)

        def named(self, name):
            return [node for node in self.found if node.func.id == name]


    class _Call(Rule):
        target = ""
        replacement = ""
        applicability = Applicability.SAFE
        confidence = Confidence.HIGH

        def check(self, calls: Calls):
            for node in calls.named(self.target):
                start, end = calls.file.source.span(node.func)
                fix = None
                if self.replacement:
                    fix = Fix(self.applicability, "Rename it", (Edit(start, end, self.replacement),))
                yield self.finding(
                    calls.file.place(node), f"`{self.target}` is called", fix=fix, confidence=self.confidence
                )


    class OldCall(_Call):
        """`old` is called."""

        code = "QA9901"
        severity = Severity.HIGH
        former = ("QA8801", "ancient-call")
        target, replacement = "old", "new"
        fix, fix_availability = "safe", "always"


    class RiskyCall(_Call):
        """`risky` is called."""

        code = "QA9902"
        severity = Severity.LOW
        target, replacement = "risky", "careful"
        applicability = Applicability.UNSAFE
        fix, fix_availability = "unsafe", "always"


    class OffByDefault(_Call):
        """`off` is called."""

        code = "QA9903"
        severity = Severity.MEDIUM
        target = "off"
        default = False


    class Unsure(_Call):
        """`maybe` is called."""

        code = "QA9904"
        severity = Severity.HIGH
        target = "maybe"
        confidence = Confidence.MEDIUM


    class InPreview(_Call):
        """`fresh` is called."""

        code = "QA9905"
        severity = Severity.HIGH
        target = "fresh"
        preview = True


    class Crashing(Rule):
        """Fails on files that say so."""

        code = "QA9906"
        severity = Severity.HIGH

        def check(self, calls: Calls):
            text = calls.file.source.text
            if "crash_rule" in text:
                raise RuntimeError("no luck")
            if "kill_worker" in text:
                os.abort()
            if "hang_worker" in text:
                time.sleep(60)
            while "spin_worker" in text:
                pass
            return ()


    class TooLong(Rule):
        """A call has more arguments than the option allows."""

        code = "QA9907"
        severity = Severity.MEDIUM
        options = {"max": Option(3, int, "the most arguments")}

        def check(self, calls: Calls):
            for node in calls.named("many"):
                if len(node.args) > self.values["max"]:
                    yield self.finding(calls.file.place(node), f"more than {self.values['max']} arguments")


    class BreakingFix(_Call):
        """`broken` is called; its fix is not valid Python."""

        code = "QA9908"
        severity = Severity.HIGH
        target, replacement = "broken", "not valid ("
        fix, fix_availability = "safe", "always"


    class WorseningFix(_Call):
        """`worse` is called; its fix brings another finding."""

        code = "QA9909"
        severity = Severity.HIGH
        target, replacement = "worse", "old"
        fix, fix_availability = "safe", "always"


    class Ping(_Call):
        """`ping` is called."""

        code = "QA9910"
        severity = Severity.LOW
        target, replacement = "ping", "pong"
        fix, fix_availability = "safe", "always"


    class Pong(_Call):
        """`pong` is called."""

        code = "QA9911"
        severity = Severity.LOW
        target, replacement = "pong", "ping"
        fix, fix_availability = "safe", "always"


    class CalledHelper(Rule):
        """A helper of another file that is called calls `act`: the finding stands at `act`."""

        code = "QA9912"
        severity = Severity.HIGH

        def check(self, calls: Calls):
            project = calls.file.project
            for node in calls.file.tree.body:
                if not isinstance(node, ast.ImportFrom) or project is None:
                    continue
                path = project.resolve(calls.file.path, node.module or "", node.level)
                other = project.file(path) if path else None
                for act in Calls.of(other).named("act") if other else ():
                    for call in calls.named(node.names[0].name):
                        yield self.finding(
                            other.place(act),
                            "`act` is called from elsewhere",
                            related=[Related(calls.file.place(call), "it is called here")],
                        )


    class General(_Call):
        """`both` is called: the general fault."""

        code = "QA9913"
        severity = Severity.LOW
        target = "both"


    class Specific(_Call):
        """`both` is called: the specific fault."""

        code = "QA9914"
        severity = Severity.HIGH
        target = "both"


    section = Section(
        "99",
        "Calls by name",
        (
            OldCall, RiskyCall, OffByDefault, Unsure, InPreview, Crashing, TooLong, BreakingFix,
            WorseningFix, Ping, Pong, CalledHelper, General, Specific,
        ),
        precedence=[("QA9914", "QA9913")],
        needles=((b"(",),),
    )
    '''
)


class Ran(NamedTuple):
    """What a run gave."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.out)
        return found

    @property
    def codes(self) -> list[str]:
        return [item["code"] for item in self.json]


Run = Callable[..., Ran]


@pytest.fixture(scope="session")
def plugin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "demo_plugin.py").write_text(PLUGIN)
    return folder


@pytest.fixture
def project(tmp_path: Path, plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, with the plugin importable."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(plugin_folder))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("QALINT_IGNORE", "QA09,QA1")  # the built-in rules have tests of their own
    yield folder
    reader.overlay.clear()


@pytest.fixture
def run(project: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """`run("a.py", "--fix")` is `qalint check a.py --fix` with the plugin, as JSON unless said otherwise."""

    def go(*arguments: str, format: str | None = "json", command: str = "check") -> Ran:
        extra = ["--plugin", "demo_plugin"] if command == "check" else []
        if format is not None and command == "check":
            extra += ["--output-format", format]
        status = main([command, *extra, *arguments])
        captured = capfd.readouterr()
        return Ran(status, captured.out, captured.err)

    return go
