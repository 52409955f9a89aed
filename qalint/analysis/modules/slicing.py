"""Which functions can matter to modules: the others are not entered.

A function is hot if it, or one that it can call by name in its file, mentions something of torch's or
anything that is done to modules, parameters or tensors. What cannot be judged by name is hot.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

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
    ]
)


class Slices:
    """The judgement for the functions of all files, each made once."""

    def __init__(self) -> None:
        self._files: dict[int, dict[str, list[ast.AST]]] = {}
        self._imports: dict[int, set[str]] = {}
        self._facts: dict[ast.AST, tuple[bool, frozenset[str]]] = {}
        self._hot: dict[ast.AST, bool] = {}

    def hot(self, node: ast.AST, file: File) -> bool:
        """Whether a function or class of `file` can matter."""
        if node not in self._hot:
            self._hot[node] = self._judge(node, file, set())
        return self._hot[node]

    def _judge(self, node: ast.AST, file: File, seen: set[ast.AST]) -> bool:
        if node in seen:
            return False
        seen.add(node)
        if node in self._hot:
            return self._hot[node]
        hot, names = self._fact(node)
        if hot:
            return True
        table, imports = self._table(file)
        for name in names:
            if name in imports:
                return True
            if any(self._judge(other, file, seen) for other in table.get(name, ())):
                return True
        return False

    def _fact(self, node: ast.AST) -> tuple[bool, frozenset[str]]:
        """Whether a function mentions something hot, and the names that it mentions at all."""
        if node not in self._facts:
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
            self._facts[node] = (hot or bool(names & HOT), frozenset(names))
        return self._facts[node]

    def _table(self, file: File) -> tuple[dict[str, list[ast.AST]], set[str]]:
        """The functions and classes of a file by name, and the names that it imports from other files."""
        key = id(file)
        if key not in self._files:
            table: dict[str, list[ast.AST]] = {}
            imports: set[str] = set()
            for node in ast.walk(file.tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    table.setdefault(node.name, []).append(node)
            self._files[key] = table
            self._imports[key] = imports
        return self._files[key], self._imports[key]

    def imported(self, file: File, name: str) -> None:
        """`name` stands for something of another file of the program: it cannot be judged here."""
        self._table(file)[1].add(name)
