"""Install commands in the code of a notebook: which call, which tool, which packages, around what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from qalint.analysis.edits import Edits
from qalint.analysis.names import Names
from qalint.analysis.notebook import Cell, Notebook, bindings, is_name
from qalint.file import File

SUBPROCESS = ("run", "call", "check_call", "check_output", "Popen", "getoutput", "getstatusoutput")
SPREAD = frozenset({"asyncio.create_subprocess_exec"})
"""Runners that take the words of the command as arguments of their own."""
RUNNERS = SPREAD | {
    *(f"subprocess.{name}" for name in SUBPROCESS),
    "os.system",
    "os.popen",
    "asyncio.create_subprocess_shell",
}
CHECKED = frozenset({"subprocess.check_call", "subprocess.check_output"})
"""Runners that raise when the command fails."""
PIP_MAINS = frozenset({"pip.main", "pip._internal.main", "pip._internal.cli.main.main"})

TIMEOUT_RUNNERS = frozenset(
    {"subprocess.run", "subprocess.call", "subprocess.check_call", "subprocess.check_output"}
)
"""Runners that take a timeout."""

PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

COUPLED = frozenset(
    {
        "torchvision", "torchaudio", "torchtext", "torchdata", "xformers", "flash-attn", "vllm", "torchao",
        "torch-scatter", "torch-sparse", "torch-cluster", "unsloth",
    }
)  # fmt: skip
"""Packages whose builds fit one version of torch each."""


MODULES = {
    "scikit-learn": "sklearn", "scikit-image": "skimage", "pillow": "PIL", "opencv-python": "cv2",
    "opencv-python-headless": "cv2", "pyyaml": "yaml", "beautifulsoup4": "bs4", "faiss-cpu": "faiss",
    "faiss-gpu": "faiss", "umap-learn": "umap", "python-dotenv": "dotenv", "pytorch-lightning":
    "pytorch_lightning", "rouge-score": "rouge_score", "huggingface-hub": "huggingface_hub",
    "python-dateutil": "dateutil", "flash-attn": "flash_attn",
}  # fmt: skip
"""What is imported of packages that are called otherwise."""


class Install(NamedTuple):
    """One install command.

    `tool`: pip, uv, conda, ...; `words`: the literal words of the command, "" for computed ones;
    `packages`: the requirements in it; `around`: nodes around the call, outermost first.
    """

    call: ast.Call
    runner: str
    tool: str
    words: list[str]
    packages: list[str]
    argv: ast.expr
    around: tuple[ast.AST, ...]
    cell: Cell | None

    def names(self) -> list[str]:
        """The names of the packages, normalized, without versions."""
        return [name_of(each) for each in self.packages]

    def what(self) -> str:
        """The packages, for people."""
        if not self.packages:
            return "a package"
        more = f" and {len(self.packages) - 1} more" if len(self.packages) > 1 else ""
        return f"`{name_of(self.packages[0])}`{more}"

    def word(self, word: str) -> ast.Constant | None:
        """The literal of a word in the list of arguments."""
        for node in ast.walk(self.argv):
            if isinstance(node, ast.Constant) and node.value == word:
                return node
        return None

    def statement(self) -> ast.stmt | None:
        """The innermost statement around the call."""
        return next((node for node in reversed(self.around) if isinstance(node, ast.stmt)), None)


class Installs:
    """The analysis: every install command that the notebook's own code runs."""

    def __init__(self, file: File, found: list[Install], notebook: Notebook) -> None:
        self.file = file
        self.found = found
        self.notebook = notebook
        self.edits = Edits(file)

    @classmethod
    def of(cls, file: File) -> Installs | None:
        """The installs of a marimo notebook; None where there are none."""
        if "install" not in file.source.text:
            return None
        names = file.get(Names)
        notebook = file.get(Notebook)
        if names is None or notebook is None:
            return None
        found = list(_find(file, names, notebook))
        return cls(file, found, notebook) if found else None


def _find(file: File, names: Names, notebook: Notebook) -> Iterator[Install]:
    stack: list[tuple[ast.AST, tuple[ast.AST, ...]]] = [(file.tree, ())]
    while stack:
        node, around = stack.pop()
        if isinstance(node, ast.Call):
            install = _install(file, names, notebook, node, around)
            if install is not None:
                yield install
        inside = (*around, node)
        stack.extend((child, inside) for child in reversed(list(ast.iter_child_nodes(node))))


def _install(
    file: File, names: Names, notebook: Notebook, call: ast.Call, around: tuple[ast.AST, ...]
) -> Install | None:
    cell = notebook.cell_at(file.source.span(call).start)
    runner = notebook.resolve(cell, call.func) or names.resolve(call.func) or _assumed(call.func)
    argv = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "args"), None)
    if argv is None or runner is None:
        return None
    if runner in SPREAD:
        argv = ast.copy_location(ast.List(call.args, ast.Load()), argv)
    seen = _Seen(notebook, cell, around)
    if runner in PIP_MAINS:
        words = _words(argv, seen)
        if not words or words[0] != "install":
            return None
        return Install(call, runner, "pip", words, _packages(words[1:]), argv, around, cell)
    if runner not in RUNNERS:
        return None
    words = _words(argv, seen)
    tool = _tool(words)
    if tool is None:
        return None
    rest = words[words.index("install" if "install" in words else "add") + 1 :]
    return Install(call, runner, tool, words, _packages(rest), argv, around, cell)


def _assumed(func: ast.expr) -> str | None:
    """`subprocess.run` where nothing imports `subprocess`: drafts take it as a cell parameter."""
    match func:
        case ast.Attribute(value=ast.Name(id="subprocess" | "os" as module), attr=name):
            return f"{module}.{name}"
    return None


class _Seen(NamedTuple):
    """From where a command is looked at, to find what its names stand for."""

    notebook: Notebook
    cell: Cell | None
    around: tuple[ast.AST, ...]
    depth: int = 0

    def value(self, name: str) -> ast.expr | None:
        """What the name is bound to, where that is one expression: nearby, in the cell, in another cell."""
        for node in reversed(self.around):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                values = [value for target, value in bindings(body) if is_name(target, name)]
                if values:
                    return values[0] if len(values) == 1 else None
        if self.cell is None or name in self.cell.bound:
            return None
        found = [v for c in self.notebook.definers(name) for t, v in bindings(c.body) if is_name(t, name)]
        return found[0] if len(found) == 1 else None


def _words(argv: ast.expr, seen: _Seen) -> list[str]:
    """The words of a command: a list of arguments, a string, `"...".split()`, or the name of one."""
    if seen.depth > 4:
        return []
    deeper = seen._replace(depth=seen.depth + 1)
    match argv:
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [word for each in elements for word in _argument(each, deeper)]
        case ast.Constant(value=str() as text):
            return text.split()
        case ast.JoinedStr(values=values):
            text = "".join(str(v.value) if isinstance(v, ast.Constant) else "\0" for v in values)
            return ["" if word == "\0" else word.replace("\0", "") for word in text.split()]
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str() as text), attr="split")):
            return text.split()
        case ast.Call(func=ast.Attribute(attr="split") | ast.Name(id="split"), args=[command]):
            return _words(command, deeper)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [*_words(left, deeper), *(_words(right, deeper) or [""])]
        case ast.Name(id=name):
            value = seen.value(name)
            return [] if value is None else _words(value, deeper)
    return []


def _argument(expr: ast.expr, seen: _Seen) -> list[str]:
    """The words that one element of a list of arguments gives."""
    match expr:
        case ast.Starred(value=inner):
            return _words(inner, seen) or [""]
        case ast.Constant(value=str() as text):
            return [text]
        case ast.Attribute(attr="executable"):
            return ["<python>"]
        case ast.Name(id=name):
            value = seen.value(name)
            known = isinstance(value, ast.Constant | ast.Attribute)
            return _argument(value, seen) if known and value is not None else [""]
        case ast.JoinedStr():
            return [" ".join(_words(expr, seen))]
    return [""]


def _tool(words: list[str]) -> str | None:
    """The tool that the words call to install something, or None."""
    if not words:
        return None
    head = words[0].rsplit("/", 1)[-1]
    if head == "!pip":
        head = "pip"
    if head in ("sudo", "!"):
        return _tool(words[1:])
    if "install" not in words and not (head == "uv" and "add" in words):
        return None
    if re.fullmatch(r"pip[\d.]*", head):
        return "pip"
    if head == "<python>" or re.fullmatch(r"python[\d.]*|py", head) or head == "":
        return "python -m pip" if "pip" in words else None
    if head in ("uv", "conda", "mamba", "micromamba", "poetry", "pipx"):
        return head
    return None


TAKES_VALUE = frozenset(
    {
        "-r", "--requirement", "-c", "--constraint", "--index-url", "-i", "--extra-index-url", "-f",
        "--python", "--find-links", "-t", "--target", "-e", "--editable", "-n", "--name",
    }
)  # fmt: skip
"""Options of install commands whose next word is no package."""


def _packages(words: list[str]) -> list[str]:
    """The requirements among the arguments of an install command."""
    found: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in TAKES_VALUE:
            skip = True
        elif word in ("&&", "||", ";", "|", ">", "2>&1"):
            break
        elif word and not word.startswith("-") and PACKAGE.match(word):
            found.append(word.strip("'\""))
    return found


def name_of(requirement: str) -> str:
    """The name in `torch==2.1` or `transformers[torch]>=4`."""
    match = PACKAGE.match(requirement)
    return match.group().lower().replace("_", "-") if match else ""


def module_of(notebook: Notebook, package: str) -> str | None:
    """The module that the package brings; None where its name does not say, and no cell imports it."""
    name = name_of(package)
    if name in MODULES:
        return MODULES[name]
    plain = name.replace("-", "_")
    for cell in notebook.cells:
        for found in cell.imports:
            root = found.qualified.split(".")[0]
            if root.lower() == plain or name.startswith(root.lower() + "-"):
                return root
    return plain if "-" not in name else None


def is_pinned(requirement: str) -> bool:
    """Whether the requirement bounds the version."""
    return bool(re.search(r"[=<~]=?|@", requirement)) or requirement.endswith(".whl")
