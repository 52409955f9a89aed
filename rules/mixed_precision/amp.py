"""What the syntactic rules of this section share: autocast regions, arguments, and versions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from qalint.analysis.edits import Edits
from qalint.analysis.names import Names
from qalint.file import File

AUTOCASTS = ("torch.amp.autocast", "torch.cuda.amp.autocast", "torch.cpu.amp.autocast")
SCALERS = ("torch.amp.GradScaler", "torch.cuda.amp.GradScaler", "torch.cpu.amp.GradScaler")
_ORDER = {
    "torch.amp.autocast": ("device_type", "dtype", "enabled", "cache_enabled"),
    "torch.cuda.amp.autocast": ("enabled", "dtype", "cache_enabled"),
    "torch.cpu.amp.autocast": ("enabled", "dtype", "cache_enabled"),
}


class Region(NamedTuple):
    """A `with` statement that enters autocast.

    `device` and `dtype` are constants of the call or None where they are not known; `dtype` is
    `float16` where CUDA's default holds. `off` says that the region is disabled by a constant.
    """

    statement: ast.With | ast.AsyncWith
    call: ast.Call
    device: str | None
    dtype: str | None
    off: bool


def argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    """The argument given at a position or by name; None if it is not given, or may hide in a `*`."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    if position < len(call.args) and not any(
        isinstance(item, ast.Starred) for item in call.args[: position + 1]
    ):
        return call.args[position]
    return None


def unpacks(call: ast.Call) -> bool:
    """Whether some arguments cannot be seen: `*args` or `**kwargs`."""
    return any(isinstance(item, ast.Starred) for item in call.args) or any(
        keyword.arg is None for keyword in call.keywords
    )


def constant(names: Names, expr: ast.expr | None) -> object:
    """The value of a constant, or of a name bound once to one; `...` where it is not known."""
    if isinstance(expr, ast.Constant):
        return expr.value
    if isinstance(expr, ast.UnaryOp) and isinstance(expr.op, ast.USub):
        value = constant(names, expr.operand)
        return -value if isinstance(value, (int, float)) else ...
    if isinstance(expr, ast.Name):
        binding = names.binding(expr)
        if binding is not None and isinstance(binding.value, (ast.Constant, ast.UnaryOp)):
            return constant(names, binding.value)
    return ...


def autocast_call(names: Names, expr: ast.expr) -> ast.Call | None:
    """The autocast that an expression is: a call of it, or a name bound once to one."""
    if isinstance(expr, ast.Name):
        binding = names.binding(expr)
        if binding is None or binding.value is None or isinstance(binding.value, ast.Name):
            return None
        expr = binding.value
    if isinstance(expr, ast.Call) and names.canonical(expr.func) in AUTOCASTS:
        return expr
    return None


def regions(names: Names) -> Iterator[Region]:
    """The `with` statements of the file that enter autocast, in file order."""
    if next(names.calls(*AUTOCASTS), None) is None:
        return
    found = [node for node in ast.walk(names.file.tree) if isinstance(node, (ast.With, ast.AsyncWith))]
    found.sort(key=lambda node: node.lineno)
    for statement in found:
        for item in statement.items:
            call = autocast_call(names, item.context_expr)
            if call is not None:
                yield describe(names, statement, call)


def describe(names: Names, statement: ast.With | ast.AsyncWith, call: ast.Call) -> Region:
    """What is known of the autocast that `call` makes and `statement` enters."""
    name = names.canonical(call.func) or ""
    order = _ORDER[name]
    device: str | None = name.split(".")[1]
    if device == "amp":
        given = constant(names, argument(call, 0, "device_type"))
        device = given.partition(":")[0] if isinstance(given, str) else None
    dtype: str | None = None
    given_dtype = argument(call, order.index("dtype"), "dtype")
    if given_dtype is not None:
        found = names.resolve(given_dtype)
        dtype = {"torch.float16": "float16", "torch.half": "float16", "torch.bfloat16": "bfloat16"}.get(
            found or ""
        )
    elif not unpacks(call) and device is not None:
        dtype = "bfloat16" if device == "cpu" else "float16"
    enabled = argument(call, order.index("enabled"), "enabled")
    return Region(statement, call, device, dtype, constant(names, enabled) is False)


def inside(statement: ast.AST) -> Iterator[ast.AST]:
    """What runs inside a `with` statement: its body without the bodies of functions defined there."""
    stack: list[ast.AST] = list(reversed(getattr(statement, "body", [])))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack.extend(reversed(list(ast.iter_child_nodes(node))))


def torch_below(file: File, *version: int) -> bool:
    """Whether the project says that it supports a torch older than `version`."""
    floors: dict[str, tuple[int, ...]] = getattr(file, "floors", None) or {}
    floor = floors.get("torch")
    return floor is not None and tuple(floor[: len(version)]) < version


def has_modern_twin(names: Names, edits: Edits, node: ast.AST, modern: frozenset[str]) -> bool:
    """Whether another arm of an `if`, a conditional expression or a `try` around `node` reads `modern`."""
    twins = {id(chain) for chain in names.reads(*modern)}
    imported = {id(item.statement) for item in names.imports() if (item.qualified or "") in modern}
    if not twins and not imported:
        return False
    for holder, child in edits.holders(node):
        arms: list[list[ast.AST]] = []
        if isinstance(holder, ast.IfExp):
            arms = [[holder.body], [holder.orelse]]
        elif isinstance(holder, ast.If):
            arms = [list(holder.body), list(holder.orelse)]
        elif isinstance(holder, (ast.Try, ast.TryStar)):
            arms = [[*holder.body, *holder.orelse]]
            arms += [[handler] for handler in holder.handlers]
        for arm in arms:
            if child not in arm and any(child in other for other in arms if other is not arm):
                for start in arm:
                    if any(id(item) in twins or id(item) in imported for item in ast.walk(start)):
                        return True
    return False
