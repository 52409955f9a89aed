"""Which of the testing checklist's items the repository's own tests exercise.

`Coverage.of(file)` is None for files that train nothing, for tests themselves, and for files in no
repository. A test covers an item when one test function, with its decorators and the helpers of its file
that it calls, does what the item asks: for FP16 it names the precision *and* looks for NaN. Names and
calls are read, nothing is run.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from typing import NamedTuple, Self

from ..file import File
from ..parsing import attempt
from ..reader import Unreadable, load
from ..rule import Place
from ..source import Source, Span
from .decisions import Decisions

_MARKERS = (".git", "pyproject.toml", "setup.py", "setup.cfg")
_SKIPPED = frozenset({"node_modules", "site-packages", "venv", "env", "build", "dist", "__pycache__"})
_TEST_NAME = re.compile(r"(?:test_.*|.*_tests?|tests?)\.py\Z")
_MAX_FOLDERS = 2000
_MAX_TESTS = 400


class TestFunction(NamedTuple):
    """One test: its file, its place there, its name, and its text with decorators and helpers."""

    source: Source
    start: int
    end: int
    name: str
    text: str

    @property
    def place(self) -> Place:
        """Where it is defined."""
        return Place(self.source, self.start, self.end)


class Requirement(NamedTuple):
    """What a test must show to cover an item: every pattern occurs in its text."""

    patterns: tuple[re.Pattern[str], ...]

    def met(self, text: str) -> bool:
        """Whether the text of a test meets it."""
        return all(pattern.search(text) for pattern in self.patterns)


def _requirement(*patterns: str) -> Requirement:
    return Requirement(tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns))


_TRAINS = r"backward|train|fit\(|step\(|loss"
REQUIREMENTS: dict[str, Requirement] = {
    "fp16": _requirement(
        r"fp16|float16|\bhalf\b|\bamp\b|autocast|16-mixed|scaler", r"nan|finite|isinf", _TRAINS
    ),
    "fp32": _requirement(
        r"fp32|float32|(?:fp16|amp|half|enabled)\w*\s*=\s*False|\b32\b|full[_ ]precision"
        r"|(?:fp16|amp|half)\w*[\"'],\s*[\[(][^\])]*False",
        _TRAINS,
    ),
    "trainable share": _requirement(
        r"requires_grad|trainable", r"numel|share|ratio|percent|fraction|count|nb_trainable|<|>|==|sum\("
    ),
    "gradient flow": _requirement(r"\.grad\b|grad_norm|gradients?\b|moved|changed|\bupdated\b", _TRAINS),
    "generation": _requirement(r"generate\b|generate\(|\bsample\(|completion|decode\("),
    "architectures": _requirement(r"gpt-?2|conv1d|c_attn", r"llama|mistral|nn\.linear|q_proj|\blinear\b"),
    "preview": _requirement(r"table|preview|dataframe|rows", r"len\(|total|rows|page|==|shape"),
}
"""What covers each item of the testing checklist."""


class Coverage:
    """The tests around one file that trains.

    `asked` maps each item that the file gives reason to test to why it does.
    """

    def __init__(
        self, trainer: Place, name: str, asked: dict[str, str], tests: list[TestFunction], root: str
    ) -> None:
        self.trainer = trainer
        self.name = name
        self.asked = asked
        self.tests = tests
        self.root = root

    @classmethod
    def of(cls, file: File) -> Self | None:
        """The coverage of `file`, or None; see the module's docstring."""
        if is_test(file.source.path):
            return None
        decisions = file.get(Decisions)
        if decisions is None or not decisions.trains:
            return None
        root = repository(file.source.path)
        if root is None:
            return None
        place, name = _trainer(file, decisions)
        return cls(place, name, asked_of(file, decisions), list(_tests(root)), root)

    def covering(self, item: str) -> TestFunction | None:
        """The first test that covers an item."""
        return next((test for test in self.tests if REQUIREMENTS[item].met(test.text)), None)


def is_test(path: str) -> bool:
    """Whether a file is a test: by its name, or by a folder `tests` inside its project."""
    name = os.path.basename(path)
    if _TEST_NAME.match(name) or name == "conftest.py":
        return True
    root = repository(path)
    inside = os.path.relpath(os.path.abspath(path), root) if root else name
    return "tests" in inside.replace("\\", "/").split("/")[:-1]


def repository(path: str) -> str | None:
    """The nearest folder upwards that looks like the top of a project, or None."""
    if not os.path.isfile(path):
        return None
    folder = os.path.dirname(os.path.abspath(path))
    while True:
        if any(os.path.exists(os.path.join(folder, marker)) for marker in _MARKERS):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def asked_of(file: File, decisions: Decisions) -> dict[str, str]:
    """The items that this code gives reason to test, each with the reason."""
    asked: dict[str, str] = {}
    topics = {decision.topic: decision for decision in decisions.kind("architecture")}
    text = file.source.text
    if half := topics.get("FP16") or topics.get("mixed precision"):
        asked["fp16"] = asked["fp32"] = f"it trains in FP16: `{half.text}`"
    if "LoRA" in topics:
        asked["trainable share"] = f"it trains adapters: `{topics['LoRA'].text}`"
    asked["gradient flow"] = "it trains"
    if re.search(r"\bgenerate\(|\.generate\b|tokenizer", text):
        asked["generation"] = "its model generates text"
    if "Conv1D" in topics:
        asked["architectures"] = f"it tells layers apart: `{topics['Conv1D'].text}`"
    if re.search(r"\bui\.(?:table|dataframe|data_explorer)\(", text):
        asked["preview"] = "it shows a table of its data"
    return asked


def _trainer(file: File, decisions: Decisions) -> tuple[Place, str]:
    """Where the training is defined, and its name: the function with the backward, the loop, or the file."""
    best: ast.FunctionDef | ast.AsyncFunctionDef | None = None
    for node in ast.walk(file.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
            isinstance(inner, ast.Call)
            and isinstance(inner.func, ast.Attribute)
            and inner.func.attr == "backward"
            for inner in ast.walk(node)
        ):
            best = node
    text = file.source.text
    if best is not None and best.name not in ("_", "__"):
        start = file.source.span(best).start
        return file.place(Span(start, _line_end(text, start))), best.name
    if decisions.loops:
        start = file.source.span(decisions.loops[0]).start
        return file.place(Span(start, _line_end(text, start))), "the training loop"
    return decisions.place, "the training"


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _tests(root: str) -> Iterator[TestFunction]:
    """Every test function of the project, in the order of the paths."""
    for path in _test_files(root):
        try:
            status = os.stat(path)
        except OSError:
            continue
        stamp = (status.st_mtime_ns, status.st_size)
        known = _READ.get(path)
        if known is None or known[0] != stamp:
            known = _READ[path] = (stamp, tuple(_functions(path)))
        yield from known[1]


_READ: dict[str, tuple[tuple[int, int], tuple[TestFunction, ...]]] = {}
"""The tests of files that were read: a repository's tests are asked for by each of its trainers."""


def _functions(path: str) -> Iterator[TestFunction]:
    """The test functions of one file; none if it cannot be parsed."""
    try:
        text = load(path).decode("utf-8")
    except (Unreadable, UnicodeDecodeError):
        return
    tree = attempt(text)
    if tree is None:
        return
    source = Source(path, text)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    helpers = {node.name: node for node in ast.walk(tree) if isinstance(node, functions)}
    for node in helpers.values():
        if node.name.startswith("test"):
            start = source.span(node).start
            yield TestFunction(source, start, _line_end(text, start), node.name, _text(source, node, helpers))


def _text(
    source: Source,
    test: ast.FunctionDef | ast.AsyncFunctionDef,
    helpers: dict[str, ast.FunctionDef | ast.AsyncFunctionDef],
) -> str:
    """A test's name, decorators and body, and the bodies of the fixtures and helpers that it uses."""
    used: dict[str, ast.AST] = {test.name: test}
    queue: list[ast.AST] = [test]
    while queue:
        for node in ast.walk(queue.pop()):
            name = node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else ""
            if name in helpers and name not in used and not name.startswith("test"):
                used[name] = helpers[name]
                queue.append(helpers[name])
    parts = [source.segment(decorator) for decorator in test.decorator_list]
    parts += [source.segment(node) for node in used.values()]
    return test.name.replace("_", " ") + "\n" + "\n".join(parts)


def _test_files(root: str) -> list[str]:
    """The test files below a folder, hidden and foreign folders left out; bounded in number, not in time."""
    found: list[str] = []
    for count, (folder, folders, names) in enumerate(os.walk(root)):
        if count >= _MAX_FOLDERS or len(found) >= _MAX_TESTS:
            break
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
        found += [os.path.join(folder, name) for name in sorted(names) if _TEST_NAME.match(name)]
    return found[:_MAX_TESTS]
