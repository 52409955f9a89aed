"""Which functions can matter to modules: the others are not entered.

A function is hot if it, or one that it can call by name in its file, mentions something of torch's or
anything that is done to modules, parameters or tensors. What cannot be judged by name is hot.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

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


def makes_a_model(name: str) -> bool:
    """Whether a name is one that libraries give to whole models: `BertModel`, `BertForMaskedLM`."""
    return name[:1].isupper() and ("Model" in name or "For" in name[1:])


class Definitions:
    """The functions and classes of a file by name, and what each mentions: found once for all programs."""

    def __init__(self, file: File) -> None:
        self.table: dict[str, list[ast.AST]] = {}
        self.facts: dict[ast.AST, tuple[bool, frozenset[str]]] = {}
        self._makes: dict[ast.AST, bool] = {}
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
            hot = False
            arguments = getattr(node, "args", None)
            own = {a.arg for a in arguments.args} if isinstance(arguments, ast.arguments) else set()
            for part in ast.walk(node):
                if isinstance(part, ast.Name):
                    names.add(part.id)
                elif isinstance(part, ast.Attribute):
                    names.add(part.attr)
                elif isinstance(part, ast.MatMult | ast.Yield | ast.YieldFrom) or (
                    isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in own
                ):
                    hot = True
            hot = hot or bool(names & HOT) or any(map(makes_a_model, names))
            self.facts[node] = (hot, frozenset(names))
        return self.facts[node]

    def makes(self, node: ast.AST) -> bool:
        """Whether a function makes or changes modules, parameters or tensors, by itself or by its classes."""
        found = self._makes.get(node)
        if found is None:
            names = self.fact(node)[1]
            found = (
                not names.isdisjoint(MAKES)
                or any(map(makes_a_model, names))
                or any(_sets(part) for part in ast.walk(node))
            )
            self._makes[node] = found  # a class that names itself
            if not found:
                classes = (one for name in names for one in self.table.get(name, ()))
                found = any(isinstance(one, ast.ClassDef) and self.makes(one) for one in classes)
                self._makes[node] = found
        return found


def _sets(node: ast.AST) -> bool:
    """Whether a node multiplies matrices, sets an attribute of another object, or is a module's class."""
    match node:
        case ast.Call(func=ast.Name(id="setattr"), args=[ast.Name(id="self" | "cls"), *_]):
            return False
        case ast.Call(func=ast.Name(id="setattr")) | ast.MatMult():
            return True
        case ast.ClassDef(bases=bases):
            return any(getattr(base, "attr", getattr(base, "id", "")) == "Module" for base in bases)
        case _:
            return False


_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """All statements of a file, those in functions and classes too: no expression is looked at."""
    queue: list[ast.AST] = [tree]
    while queue:
        node = queue.pop()
        for block in _BLOCKS:
            for inner in getattr(node, block, ()):
                yield inner
                queue.append(inner)


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
