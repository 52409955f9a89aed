"""QA1125: a constant that float16 cannot hold."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from qalint.analysis.edits import Edits
from qalint.analysis.machine.scope import halves
from qalint.analysis.machine.story import Story
from qalint.analysis.modules.needles import HALF
from qalint.analysis.modules.starting import starts
from qalint.analysis.names import Names
from qalint.rule import Finding, Iterator, Related, Rule, Severity

from .amp import argument, constant, inside, regions

LARGEST = 65504
_FILLS = {"masked_fill": 1, "masked_fill_": 1, "fill_": 0, "new_full": 1, "index_fill": 2, "index_fill_": 2}
_HALVES = ("torch.float16", "torch.half")
_FACTORIES = tuple(
    f"torch.{name}{suffix}"
    for name in ("randn", "rand", "zeros", "ones", "empty", "full", "tensor", "arange", "linspace", "eye")
    for suffix in ("", "_like")
)
_PRODUCTS = (
    "torch.matmul",
    "torch.bmm",
    "torch.mm",
    "torch.baddbmm",
    "torch.einsum",
    "torch.nn.functional.linear",
)
_KEEP = frozenset(
    {
        "view",
        "reshape",
        "transpose",
        "permute",
        "contiguous",
        "clone",
        "unsqueeze",
        "squeeze",
        "expand",
        "detach",
        "t",
        "masked_fill",
        "masked_fill_",
        "flatten",
    }
)
_WHY = {"cast": "it was cast to half", "product": "a product under float16 autocast"}
_CASTS = {"half": "float16", "float": "float32", "double": "float64", "bfloat16": "bfloat16"}


_EXPONENTS = tuple(b"%s%d" % (e, power) for e in (b"e", b"e+", b"E", b"E+") for power in range(1, 10))
LARGE = (
    *(digit + exponent for digit in map(b"%c".__mod__, b"0123456789.") for exponent in _EXPONENTS),
    *(b"0000", b"9999", b"655", b"_000", b"0x"),
)
"""Without one of these no constant of the text is one that people write for "beyond 65504"."""


_WRAPPERS = ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "compile")


class HalfOverflowConstant(Rule):
    """A constant beyond the range of float16 is written into a half precision tensor.

    ## What it does
    Finds `masked_fill`, `fill_`, `clamp`, `torch.full_like` and `torch.full(..., dtype=torch.float16)` with
    a constant beyond 65504, where the tensor is known to be float16: it was cast, it is a
    matrix product under float16 autocast, or it is computed by a model that was cast.

    ## Why is this bad?
    float16 ends at 65504. torch raises `RuntimeError: value cannot be converted to type c10::Half
    without overflow`; where it does not raise, the value becomes infinite, and a softmax over a fully
    masked row is NaN. The same code runs in FP32 and in bfloat16, so that it fails when AMP is
    switched on.

    ## Example
    ```python
    scores = (q @ k.transpose(-1, -2)).half()
    scores = scores.masked_fill(mask, -1e9)
    ```

    ## Use instead
    ```python
    scores = (q @ k.transpose(-1, -2)).half()
    scores = scores.masked_fill(mask, torch.finfo(scores.dtype).min)
    ```

    ## Fix safety
    The fix is safe: the smallest finite value of the tensor's own dtype has the same effect in a softmax.

    ## References
    - [torch.finfo](https://docs.pytorch.org/docs/stable/type_info.html)
    """

    code = "QA1125"
    severity = Severity.HIGH
    needles = ((*HALF, b"autocast"), LARGE, (b"fill", b"full", b"clamp"))
    checklist = ("11.16",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, names: Names, edits: Edits) -> Iterator[Finding]:
        """Look at calls that fill, and at what they fill; the story knows more of what becomes FP16."""
        world = Halves(names, edits)
        seen: set[ast.AST] = set()
        fills = False
        for call in names.call_nodes:
            found = filled(names, call)
            if found is None:
                continue
            tensor, value = found
            number = constant(names, value)
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "float":
                number = constant(names, value.args[0]) if len(value.args) == 1 else ...
            if not isinstance(number, (int, float)) or isinstance(number, bool):
                continue
            if not LARGEST < abs(number) < float("inf"):
                continue
            fills = True
            why = "it is made as float16" if tensor is None else world.half(tensor)
            if why is not None:
                seen.add(value)
                limit = "min" if number < 0 else "max"
                yield self.told(names, edits, call, tensor, value, limit, why)
        # A library file that fills nothing itself runs only what it imports, and that is a file too.
        asked = (fills or starts(names.file)) and halves(names.file)
        story = names.file.get(Story) if asked else None
        for fault in () if story is None else story.faults(self.name):
            held = fault.data["call"][0]
            if fault.node in seen or not isinstance(held, ast.Call) or not isinstance(fault.node, ast.expr):
                continue
            own = names if fault.file is names.file else fault.file.get(Names)
            text = edits if fault.file is names.file else fault.file.get(Edits)
            assert own is not None and text is not None
            tensor, _ = filled(own, held) or (None, None)
            if tensor is not None:
                why = "the model is in half precision"
                yield self.told(own, text, held, tensor, fault.node, fault.variant, why, fault.related)

    def told(
        self,
        names: Names,
        edits: Edits,
        call: ast.Call,
        tensor: ast.expr | None,
        value: ast.expr,
        limit: str,
        why: str,
        related: Iterable[Related] = (),
    ) -> Finding:
        """The finding at the constant; `limit` is the end of the range that it is beyond."""
        changes = None
        name = edits.segment(tensor) if tensor is not None else "the tensor"
        if isinstance(tensor, (ast.Name, ast.Attribute)):
            spelled = edits.spelling("torch.finfo", call)
            if spelled is not None:
                changes = (
                    *spelled[1],
                    *edits.replace(value, f"{spelled[0]}({edits.segment(tensor)}.dtype).{limit}"),
                )
        elif tensor is None:
            spelled = edits.spelling("torch.finfo", call)
            half = edits.spelling("torch.float16", call)
            if spelled is not None and half is not None and not half[1]:
                changes = (*spelled[1], *edits.replace(value, f"{spelled[0]}({half[0]}).{limit}"))
        return self.finding(
            names.file.place(value),
            f"float16 ends at {LARGEST}: `{edits.segment(value)}` cannot be stored in `{name}` ({why})",
            help=f"use the {limit}imum of its dtype, from `torch.finfo`",
            related=related,
            fix=edits.safe(f"Use the {limit}imum of the dtype", changes),
        )


def filled(names: Names, call: ast.Call) -> tuple[ast.expr | None, ast.expr] | None:
    """The tensor that a call fills, and the value; the tensor is None where the call makes it as float16."""
    func = call.func
    qualified = names.resolve(func)
    if qualified == "torch.full":
        value = argument(call, 1, "fill_value")
        dtype = argument(call, 99, "dtype")
        return (None, value) if value is not None and names.resolve(dtype) in _HALVES else None
    if qualified in ("torch.full_like", "torch.masked_fill", "torch.clamp"):
        position, name = {"torch.full_like": (1, "fill_value"), "torch.masked_fill": (2, "value")}.get(
            qualified, (1, "min")
        )
        value = argument(call, position, name)
        if argument(call, 99, "dtype") is not None or not call.args or value is None:
            return None
        return call.args[0], value
    if qualified is not None or not isinstance(func, ast.Attribute):
        return None
    if func.attr in ("clamp", "clamp_", "clamp_min", "clamp_max"):
        value = argument(call, 0, "min") or argument(call, 1, "max")
        return None if value is None else (func.value, value)
    position = _FILLS.get(func.attr, -1)
    if position < 0 or argument(call, 99, "dtype") is not None:
        return None
    value = argument(call, position, "fill_value" if func.attr == "new_full" else "value")
    return None if value is None else (func.value, value)


def cast_like(expr: ast.expr, model: ast.expr) -> bool:
    """Whether a tensor is cast to the dtype of another: `bias.to(scores.dtype)`, `bias.type_as(scores)`."""
    if not (isinstance(expr, ast.Call) and isinstance(expr.func, ast.Attribute) and expr.args):
        return False
    given = expr.args[-1]
    if expr.func.attr == "to" and isinstance(given, ast.Attribute) and given.attr == "dtype":
        given = given.value
    elif expr.func.attr not in ("to", "type_as"):
        return False
    return isinstance(given, (ast.Name, ast.Attribute)) and ast.dump(given) == ast.dump(model)


class Halves:
    """Which tensors of a file are float16: by a cast, or as a product under float16 autocast."""

    def __init__(self, names: Names, edits: Edits) -> None:
        self.names = names
        self.edits = edits
        self.regions = [region for region in regions(names) if not region.off]
        self._autocast: dict[ast.AST, bool] | None = None

    def half(self, tensor: ast.expr, depth: int = 0) -> str | None:
        """Why the tensor is float16, in a few words; None if that is not known."""
        if depth > 12:
            return None
        if isinstance(tensor, ast.Name):
            made = self.reaching(tensor)
            if made is not None:
                kind = self.dtype(made, depth + 1, None)
                return _WHY.get(kind or "")
            bindings = self.names.bindings(tensor)
            found: str | None = None
            for binding in bindings:
                if binding.value is None or binding.kind != "assign":
                    return None
                if any(
                    isinstance(node, ast.Name) and node.id == tensor.id for node in ast.walk(binding.value)
                ):
                    if self.dtype(binding.value, depth + 1, tensor.id) != "same":
                        return None
                    continue
                found = self.half(binding.value, depth + 1)
                if found is None:
                    return None
            return found
        kind = self.dtype(tensor, depth, None)
        return _WHY.get(kind or "")

    def reaching(self, name: ast.Name) -> ast.expr | None:
        """The expression that gives the name its value here, if it surely is the last one."""
        statement = self.edits.statement(name)
        while statement is not None:
            seat = self.edits.seat(statement)
            if seat is None:
                return None
            for before in reversed(seat.block[: seat.position]):
                if not binds(before, name.id):
                    continue
                return assigned(before, name.id)
            holder = seat.parent
            if not isinstance(holder, (ast.If, ast.With, ast.Try)):
                return None
            statement = holder
        return None

    def dtype(self, expr: ast.expr, depth: int, same: str | None) -> str | None:
        """`cast`, `product`, `same` (as the variable of that name), or None for all else."""
        if isinstance(expr, ast.Name):
            if expr.id == same:
                return "same"
            why = self.half(expr, depth + 1)
            return None if why is None else "cast" if why == _WHY["cast"] else "product"
        if isinstance(expr, ast.BinOp):
            if isinstance(expr.op, ast.MatMult):
                return self.product(expr, [expr.left, expr.right], depth, same)
            if isinstance(expr.op, (ast.Mult, ast.Div, ast.Add, ast.Sub)) and self.scalar(expr.right):
                return self.dtype(expr.left, depth + 1, same)
            if isinstance(expr.op, (ast.Mult, ast.Add)) and self.scalar(expr.left):
                return self.dtype(expr.right, depth + 1, same)
            if isinstance(expr.op, (ast.Mult, ast.Add, ast.Sub)) and cast_like(expr.right, expr.left):
                return self.dtype(expr.left, depth + 1, same)
            return None
        if not isinstance(expr, ast.Call):
            return None
        qualified = self.names.resolve(expr.func)
        if qualified in _PRODUCTS:
            return self.product(expr, expr.args[:2], depth, same)
        if qualified in _FACTORIES:
            made = argument(expr, 99, "dtype")
            return "cast" if made is not None and self.names.resolve(made) in _HALVES else None
        if qualified is not None or not isinstance(expr.func, ast.Attribute):
            return None
        method = expr.func.attr
        if method in _CASTS:
            return "cast" if _CASTS[method] == "float16" else None
        if method == "to":
            given = [*expr.args, *(keyword.value for keyword in expr.keywords)]
            if any(self.names.resolve(item) in _HALVES for item in given):
                return "cast"
            return None
        if method in ("matmul", "bmm", "mm"):
            return self.product(expr, [expr.func.value, *expr.args], depth, same)
        if method in _KEEP:
            return self.dtype(expr.func.value, depth + 1, same)
        return None

    def product(self, node: ast.expr, factors: list[ast.expr], depth: int, same: str | None) -> str | None:
        """A matrix product is half under float16 autocast, and where all its factors are."""
        if self.under_autocast(node):
            return "product"
        halves = [self.dtype(factor, depth + 1, same) for factor in factors]
        return "cast" if len(factors) > 1 and all(kind in ("cast", "product") for kind in halves) else None

    def scalar(self, expr: ast.expr) -> bool:
        """Whether an operand is a Python number, which does not change a tensor's dtype."""
        if isinstance(expr, ast.Call):
            name = self.names.resolve(expr.func) or ""
            if isinstance(expr.func, ast.Attribute) and expr.func.attr == "size" and expr.args:
                return True
            return name.startswith("math.") or (
                isinstance(expr.func, ast.Name) and expr.func.id in ("float", "int", "len")
            )
        if isinstance(expr, ast.BinOp):
            return self.scalar(expr.left) and self.scalar(expr.right)
        if isinstance(expr, ast.Subscript):
            return isinstance(expr.value, ast.Attribute) and expr.value.attr == "shape"
        if isinstance(expr, ast.Attribute):
            return self.scalar_attribute(expr)
        if isinstance(expr, ast.Name):
            binding = self.names.binding(expr)
            if binding is not None and binding.kind == "param":
                return annotated_scalar(binding.node)
            return binding is not None and binding.value is not None and self.scalar(binding.value)
        return isinstance(self.constant(expr), (int, float))

    def scalar_attribute(self, attribute: ast.Attribute) -> bool:
        """Whether every assignment to `self.x` in the file is made of numbers alone."""
        if not (isinstance(attribute.value, ast.Name) and attribute.value.id == "self"):
            return False
        values = [
            node.value
            for node in ast.walk(self.names.file.tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Attribute) and target.attr == attribute.attr
        ]
        return bool(values) and not any(
            isinstance(node, ast.Call) and not self.scalar(node)
            for value in values
            for node in ast.walk(value)
        )

    def constant(self, expr: ast.expr) -> object:
        """A constant's value."""
        return constant(self.names, expr)

    def under_autocast(self, node: ast.AST) -> bool:
        """Whether a node surely runs under float16 autocast.

        It stands in such a region, or in the `forward` of a module that only such regions call:
        the module is made in this file, directly or as a part of a module that is.
        """
        if any(region.dtype != "float16" for region in self.regions) or not self.regions:
            return False
        for region in self.regions:
            for inner in inside(region.statement):
                if inner is node:
                    return True
        function = self.edits.function(node)
        if function is None:
            return False
        holder = self.edits.seat(function)
        if holder is None or not isinstance(holder.parent, ast.ClassDef) or function.name != "forward":
            return False
        return holder.parent in self.autocast_classes()

    def autocast_classes(self) -> dict[ast.AST, bool]:
        """The module classes of this file whose instances run under autocast."""
        if self._autocast is not None:
            return self._autocast
        found: dict[ast.AST, bool] = {}
        stack: list[ast.AST] = []
        for region in self.regions:
            for node in inside(region.statement):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    made = self.made(node.func)
                    if made is not None:
                        stack.append(made)
        while stack:
            item = stack.pop()
            if item in found:
                continue
            found[item] = True
            for node in ast.walk(item):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    definition = self.names.definition(node.func)
                    if isinstance(definition, ast.ClassDef):
                        stack.append(definition)
        self._autocast = found
        return found

    def made(self, name: ast.Name) -> ast.ClassDef | None:
        """The class of this file that a variable is an instance of."""
        values = [one.value for one in self.names.bindings(name) if not self.wraps(one.value, name.id)]
        value = values[0] if len(values) == 1 else None
        while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            value = value.func.value  # Model().to(device)
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            definition = self.names.definition(value.func)
            return definition if isinstance(definition, ast.ClassDef) else None
        return None

    def wraps(self, value: ast.expr | None, name: str) -> bool:
        """Whether a variable is put into what runs the same module: `model = DDP(model)`."""
        if not isinstance(value, ast.Call):
            return False
        if isinstance(value.func, ast.Attribute) and value.func.attr in ("to", "cuda", "train", "eval"):
            return isinstance(value.func.value, ast.Name) and value.func.value.id == name
        wrapper = (self.names.resolve(value.func) or "").rpartition(".")[2]
        given = value.args[0] if value.args else None
        return wrapper in _WRAPPERS and isinstance(given, ast.Name) and given.id == name


def assigned(statement: ast.stmt, name: str) -> ast.expr | None:
    """What a plain assignment, of one name or of as many as there are values, gives to a name."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target, value = statement.targets[0], statement.value
    if isinstance(target, ast.Name):
        return value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, other in zip(target.elts, value.elts, strict=True):
            if isinstance(one, ast.Name) and one.id == name:
                return other
    return None


def binds(statement: ast.stmt, name: str) -> bool:
    """Whether a statement can give a name another value."""
    return any(
        isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load)
        for node in ast.walk(statement)
    )


def annotated_scalar(node: ast.AST) -> bool:
    """Whether a parameter is annotated as a number."""
    annotation = getattr(node, "annotation", None)
    return isinstance(annotation, ast.Name) and annotation.id in ("int", "float")
