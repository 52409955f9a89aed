"""Which functions can matter to modules: the others are not entered.

A function is hot if it, or one that it can call by name in its file, mentions something of torch's or
anything that is done to modules, parameters or tensors. What cannot be judged by name is hot.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from ..nodes import nodes
from .toplevel import TopLevel

if TYPE_CHECKING:
    from ...file import File

HOT = frozenset(
    [
        "requires_grad",
        "requires_grad_",
        "parameters",
        "named_parameters",
        "modules",
        "named_modules",
        "named_children",
        "children",
        "setattr",
        "Parameter",
        "ParameterList",
        "Module",
        "Linear",
        "Conv1D",
        "Sequential",
        "ModuleList",
        "ModuleDict",
        "backward",
        "step",
        "register_forward_hook",
        "register_forward_pre_hook",
        "add_module",
        "get_peft_model",
        "LoraConfig",
        "from_pretrained",
        "from_config",
        "optim",
        "AdamW",
        "Adam",
        "SGD",
        "autocast",
        "checkpoint",
        "DataLoader",
        "device",
        "cuda",
        "half",
        "forward",
        "generate",
        "synchronize",
        "perf_counter",
        "monotonic",
        "time",
        "numel",
        "add_param_group",
        "deepcopy",
        "torch",
        "nn",
        "F",
        "weight",
        "lora",
        "loralib",
        "peft",
        "prepare",
        "is_available",
        "to",
        "float",
        "bfloat16",
        "double",
        "dtype",
        "shape",
        "matmul",
        "einsum",
        "load_state_dict",
        "apply",
        "train",
        "eval",
        "__call__",
        "partial",
        "getattr",
        "globals",
        "locals",
        "torchvision",
        "timm",
        "create_model",
        "parse_args",
        "parse_known_args",
    ]
)


MAKES = frozenset(
    [
        "Linear",
        "Conv1D",
        "Conv1d",
        "Conv2d",
        "Conv3d",
        "Embedding",
        "Parameter",
        "ParameterList",
        "ParameterDict",
        "Sequential",
        "ModuleList",
        "ModuleDict",
        "requires_grad",
        "requires_grad_",
        "add_module",
        "register_module",
        "set_submodule",
        "register_parameter",
        "register_forward_hook",
        "register_forward_pre_hook",
        "_modules",
        "modules",
        "named_modules",
        "children",
        "named_children",
        "parameters",
        "named_parameters",
        "weight",
        "half",
        "cuda",
        "bfloat16",
        "matmul",
        "einsum",
        "linear",
        "checkpoint",
        "get_peft_model",
        "LoraConfig",
        "backward",
        "autocast",
    ]
)
"""What makes or changes modules and parameters, or multiplies by them."""


def computes(node: ast.AST) -> bool:
    """Whether all that a function does is to compute a value of others, without a call: `alpha / rank`."""
    if not isinstance(node, ast.FunctionDef):
        return False
    *before, last = node.body
    if not isinstance(last, ast.Return) or not isinstance(last.value, ast.BinOp | ast.IfExp | ast.UnaryOp):
        return False
    if before and (ast.get_docstring(node, clean=False) is None or len(before) > 1):
        return False
    return not any(isinstance(part, ast.Call | ast.Await) for part in nodes(last))


def makes_a_model(name: str) -> bool:
    """Whether a name is one that libraries give to whole models: `BertModel`, `BertForMaskedLM`."""
    return name[:1].isupper() and ("Model" in name or "For" in name[1:])


class Definitions:
    """The functions and classes of a file by name, and what each mentions: found once for all programs."""

    def __init__(self, file: File) -> None:
        self.table: dict[str, list[ast.AST]] = {}
        self.facts: dict[ast.AST, tuple[bool, frozenset[str]]] = {}
        self._makes: dict[ast.AST, bool] = {}
        self._asked: set[ast.AST] = set()
        self.imports = TopLevel.of(file.tree).imports
        for node in statements(file.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.table.setdefault(node.name, []).append(node)

    @classmethod
    def of(cls, file: File) -> Self:
        """The definitions of `file`: one parsed tree serves the programs of all files that import it."""
        found = _found.get(file.tree)
        if found is None:
            found = _found[file.tree] = cls(file)
        return found  # type: ignore[return-value]

    def fact(self, node: ast.AST) -> tuple[bool, frozenset[str]]:
        """Whether a function mentions something hot, and the names that it mentions at all."""
        if node not in self.facts:
            names: set[str] = set()
            hot = sets = False
            arguments = getattr(node, "args", None)
            own = {a.arg for a in arguments.args} if isinstance(arguments, ast.arguments) else set()
            for part in nodes(node):
                match part:
                    case ast.Name(id=name) | ast.Attribute(attr=name):
                        names.add(name)
                    case ast.Call(func=ast.Name(id="setattr"), args=args):
                        first = args[0] if args else None
                        sets = sets or not (isinstance(first, ast.Name) and first.id in {"self", "cls"})
                    case ast.Call(func=ast.Name(id=name)) if name in own:
                        hot = True
                    case ast.MatMult():
                        hot = sets = True
                    case ast.Yield() | ast.YieldFrom():
                        hot = True
                    case ast.ClassDef(bases=bases):
                        sets = sets or any(_last(base) == "Module" for base in bases)
                    case _:
                        pass
            hot = hot or computes(node)
            models = any(map(makes_a_model, names))
            self.facts[node] = (hot or models or not names.isdisjoint(HOT), frozenset(names))
            self._makes[node] = sets or models or not names.isdisjoint(MAKES)
        return self.facts[node]

    def makes(self, node: ast.AST) -> bool:
        """Whether a function makes or changes modules, parameters or tensors, by itself or by its classes.

        Setting an attribute counts unless it is the receiver's own, and so does the class of a module.
        """
        _, names = self.fact(node)
        if node not in self._asked:
            self._asked.add(node)
            if not self._makes[node]:
                classes = (one for name in names for one in self.table.get(name, ()))
                self._makes[node] = any(isinstance(one, ast.ClassDef) and self.makes(one) for one in classes)
        return self._makes[node]


def _last(expr: ast.expr) -> str:
    """The last name of a dotted name."""
    return str(getattr(expr, "attr", getattr(expr, "id", "")))


_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")
_HAVE: dict[type, tuple[str, ...]] = {}


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """All statements of a file, those in functions and classes too: no expression is looked at."""
    queue: list[ast.AST] = [tree]
    while queue:
        node = queue.pop()
        cls = node.__class__
        if cls not in _HAVE:
            _HAVE[cls] = tuple(block for block in _BLOCKS if block in node._fields)
        for block in _HAVE[cls]:
            inner = getattr(node, block)
            yield from inner
            queue += inner


_found: WeakKeyDictionary[ast.Module, Definitions] = WeakKeyDictionary()


class Slices:
    """The judgement for the functions of a program, each made once."""

    def __init__(self, find: Callable[[File, str, int], Any] | None = None) -> None:
        self._find = find
        self._imports: dict[int, set[str]] = {}
        self._own: dict[tuple[int, str], bool] = {}
        self._hot: dict[ast.AST, bool] = {}

    def hot(self, node: ast.AST, file: File) -> bool:
        """Whether a function or class of `file` can matter."""
        if node not in self._hot:
            self._hot[node] = self._judge(node, file, set())
        return self._hot[node]

    def makes(self, node: ast.AST, file: File) -> bool:
        """Whether a function of another file than a library's own is followed: its own text decides."""
        definitions = file.get(Definitions)
        return definitions is None or definitions.makes(node)

    def _judge(self, node: ast.AST, file: File, seen: set[ast.AST]) -> bool:
        if node in seen:
            return False
        seen.add(node)
        if node in self._hot:
            return self._hot[node]
        definitions = file.get(Definitions)
        assert definitions is not None
        hot, names = definitions.fact(node)
        if hot:
            return True
        return any(
            self._is_imported(file, name, definitions)
            or any(self._judge(other, file, seen) for other in definitions.table.get(name, ()))
            for name in names
        )

    def _is_imported(self, file: File, name: str, definitions: Definitions) -> bool:
        """Whether a name stands for something of another file of the program."""
        if name in self._imports.get(id(file), ()):
            return True
        origin = definitions.imports.get(name)
        if origin is None or self._find is None:
            return False
        key = (id(file), name)
        if key not in self._own:
            self._own[key] = self._find(file, *origin) is not None
        return self._own[key]

    def imported(self, file: File, name: str) -> None:
        """`name` stands for something of another file of the program: it cannot be judged here."""
        self._imports.setdefault(id(file), set()).add(name)
