"""Arithmetic: what operations make of tensors, dimensions, constants and tests."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from .values import (
    FLOATS,
    Bound,
    Cell,
    Class,
    Clock,
    Const,
    Device,
    Dict,
    Dim,
    Func,
    Lib,
    Mod,
    Obj,
    Optim,
    Param,
    Scope,
    Seq,
    Shape,
    Site,
    Tensor,
    Test,
    Union,
    Unknown,
    Value,
    each,
    join,
)

if TYPE_CHECKING:
    from .core import Core
    from .events import Event

CPU = Device(frozenset({"cpu"}), "cpu")
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.eq,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


DTYPES = FLOATS | {"int64", "int32", "int16", "int8", "uint8", "bool"}


class Factor(NamedTuple):
    """A matrix that an input was multiplied by: the dimension it takes and the one it gives."""

    cell: Cell
    takes: Value | None
    gives: Value | None


SCALING = frozenset({"Mult", "Div", "//", "int", "float", "round"})
"""What leaves a rounded-down factor a factor."""


SPELLING = frozenset({"fstring", "Add", "Mod", "str.format"})
"""What makes a text that begins as its first operand does."""


def mixed(op: str, values: Iterable[Value]) -> Unknown:
    """An unknown computed from values."""
    values = list(values)
    strings: set[str] = set()
    named: Mod | None = None
    floor: Site | None = None
    for value in values:
        strings |= strings_of(value)
        for option in value.options if isinstance(value, Union) else (value,):
            if isinstance(option, Unknown):
                named = named or option.name_of
                floor = floor or (option.floor if op in SCALING else None)
    term = f"{op}({','.join(value.term for value in values)})"
    result = Unknown(term, name_of=named, strings=frozenset(strings), floor=floor)
    start = values[0] if op in SPELLING and values else None
    if isinstance(start, Const) and str(start.value).startswith("cuda:"):
        result.device = Device(frozenset({"cuda"}), "cuda")  # whichever of them it is
    return result


def strings_of(value: Value) -> set[str]:
    """The constant strings in a value."""
    if isinstance(value, Const):
        return {value.value} if isinstance(value.value, str) else set()
    if isinstance(value, Seq):
        return {text for item in value.items for text in strings_of(item)}
    if isinstance(value, Dict):
        return {key for key in value.pairs if isinstance(key, str)}
    if isinstance(value, Union):
        return {text for option in value.options for text in strings_of(option)}
    if isinstance(value, Unknown):
        return set(value.strings)
    return set()


def as_tensor(run: Core, value: Value) -> Tensor | None:
    """A value as an operand: parameters are tensors too. None where it is not known to be one."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Param):
        return Tensor(
            run.dtype_of(value),
            run.device_of(value),
            site=value.site,
            source="parameter",
            dims=value.dims,
            fill=value.fill,
            rank0=value.dims == (),
            weights=((value, False),),
        )
    if isinstance(value, Union):
        options = [as_tensor(run, option) for option in value.options]
        found = [option for option in options if option is not None]
        if len(found) == len(options):
            first = found[0]
            same_dtype = all(option.dtype == first.dtype for option in found)
            same_device = all(
                (option.device.term if option.device else None)
                == (first.device.term if first.device else None)
                for option in found
            )
            chains = [option.chain for option in found]
            return first.copy(
                dtype=first.dtype if same_dtype else None,
                device=first.device if same_device else None,
                chain=max(chains, key=len),
                rank0=any(option.rank0 for option in found),
            )
    return None


def differ(first: Device | None, second: Device | None) -> bool:
    """Whether two devices are different ones on some path: one is the CPU, the other can be a GPU."""
    if first is None or second is None or first.term == second.term:
        return False
    cpu, other = (first, second) if first.kinds == {"cpu"} else (second, first)
    return cpu.kinds == {"cpu"} and "cuda" in other.kinds


def outcome(result: Tensor, *operands: Tensor) -> Tensor:
    """What an operation gives: nothing that is known where its operands are on two devices, which raises."""
    plain = [operand for operand in operands if not operand.rank0]
    if any(differ(plain[0].device, other.device) for other in plain[1:]):
        result.device, result.source = None, "unknown"
    return result


def meet(run: Core, left: Tensor, right: Tensor, site: Site, name: str, *, multiply: bool) -> Event | None:
    """Two tensors are combined: note it when they do not fit. Gives the promotion, if it is one."""
    if differ(left.device, right.device) and not left.rank0 and not right.rank0:
        run.emit("clash", site, how="device", target=left, value=right, name=name)
    if (
        left.dtype in FLOATS
        and right.dtype in FLOATS
        and left.dtype != right.dtype
        and run.in_autocast() is False
    ):
        if multiply:
            run.emit("clash", site, how="dtype", target=left, value=right, name=name)
            leave(left, right)
        elif not left.rank0 and not right.rank0:
            return run.emit("promote", site, target=left, value=right, name=name)
    return None


def leave(*values: Value) -> None:
    """What a promotion made FP32 goes on to where FP16 is expected: the promotion is a fault."""
    for value in values:
        for option in value.items if isinstance(value, Seq) else each(value):
            if isinstance(option, Tensor):
                for promotion in option.sums:
                    promotion.flag = True


def multiply(run: Core, left: Value, right: Value, site: Site, *, transposed: bool = False) -> Value:
    """`left @ right` (with `transposed`: `F.linear(left, right)`)."""
    first, second = as_tensor(run, left), as_tensor(run, right)
    if first is None or second is None:
        known = first or second
        if known is None:
            return mixed("@", [left, right])
        if first is None and second is not None and second.weights:
            first = Tensor(None, None, site=site, source="unknown")
        elif second is None and first is not None and first.weights:
            second = Tensor(None, None, site=site, source="unknown")
        else:
            return Tensor(known.dtype, known.device, site=site, source=known.source)
    assert first is not None and second is not None
    meet(run, first, second, site, "@", multiply=True)
    if any(one.device is not None and "cuda" in one.device.kinds for one in (first, second)):
        run.emit("work", site, how="product")
    dtype = first.dtype if run.in_autocast() is False else None
    device = first.device if second.device is None or not first.rank0 else second.device
    result = Tensor(dtype, device or second.device, site=site, source=joined(first))
    result.used = used(first, second)
    if first.weights and second.weights:
        result.weights = first.weights + second.weights
        result.source = "parameter"
        result.dims = (
            first.dims[0] if first.dims else Unknown(f"rows({first.term})"),
            second.dims[-1] if second.dims else Unknown(f"columns({second.term})"),
        )
        one, two = factor(first.weights[-1], False), factor(second.weights[0], False)
        # which way round the product is applied is not known yet: only the rank between the two is
        pair(run, site, Factor(one.cell, None, one.gives), Factor(two.cell, two.takes, None), product=True)
        return result
    if second.weights and len(second.weights) == 1:
        result.chain = (*first.chain, factor(second.weights[0], transposed))
    elif first.weights and len(first.weights) == 1:
        result.source = second.source
        result.chain = (*second.chain, factor(first.weights[0], True))
    if len(result.chain) >= 2:
        pair(run, site, result.chain[-2], result.chain[-1])
    return outcome(result, first, second)


def joined(operand: Tensor) -> str:
    """Where the product of an input and a matrix comes from: it is on the graph again, by the matrix."""
    return "input" if operand.source == "detached" else operand.source


def used(*operands: Tensor) -> frozenset[Cell]:
    """What the result of an operation was computed with; nothing where a gradient is cut off."""
    return frozenset[Cell]().union(
        *(
            operand.used | {cell for cell, _ in operand.weights}
            for operand in operands
            if operand.source != "detached"
        )
    )


def factor(weight: tuple[Cell, bool], transposed: bool) -> Factor:
    """A parameter as a factor on the right: it takes its first dimension unless transposed."""
    cell, flipped = weight
    dims = cell.dims if isinstance(cell, Param) else None
    if dims is None or len(dims) != 2:
        return Factor(cell, None, None)
    return Factor(cell, dims[1], dims[0]) if flipped != transposed else Factor(cell, dims[0], dims[1])


def pair(run: Core, site: Site, first: Factor, second: Factor, *, product: bool = False) -> None:
    """An input (or nothing yet) goes through two matrices one after the other."""
    if first.cell is not second.cell:
        owner = run.frames[-1].function.receiver if run.frames else None
        run.emit(
            "pair",
            site,
            target=first.cell,
            value=second.cell,
            how="product" if product else "chain",
            info={
                "in": first.takes,
                "rank": first.gives,
                "rank2": second.takes,
                "out": second.gives,
                "owner": owner,
            },
        )


def linear(run: Core, module: Mod, x: Tensor, site: Site) -> Tensor:
    """A call of a `Linear` that the program made."""
    held = module.attrs.get("weight") or run.parts.get((id(module), "weight"))
    cell = held if isinstance(held, Param) else module
    weight = Tensor(
        run.dtype_of(cell),
        run.device_of(cell),
        site=module.site,
        source="parameter",
        weights=((module, False),),
    )
    meet(run, x, weight, site, "linear", multiply=True)
    dtype = x.dtype if run.in_autocast() is False else None
    step = Factor(module, module.args.get("in_features"), module.args.get("out_features"))
    result = Tensor(dtype, x.device or weight.device, site=site, source=joined(x), chain=(*x.chain, step))
    result.used = x.used | {module}
    if len(result.chain) >= 2:
        pair(run, site, result.chain[-2], result.chain[-1])
    return outcome(result, x, weight)


def convolve(run: Core, module: Mod, x: Tensor, site: Site) -> Tensor:
    """A call of a convolution: two of them make an adapter only where the channels between are others."""
    step = Factor(module, module.args.get("in_channels"), module.args.get("out_channels"))
    dtype = x.dtype if run.in_autocast() is False else None
    result = Tensor(dtype, x.device, site=site, source=joined(x), chain=(*x.chain, step))
    result.used = x.used | {module}
    if len(result.chain) >= 2:
        first = result.chain[-2]
        ends = {value.term for value in (first.takes, step.gives) if value is not None}
        if first.gives is not None and first.gives.term not in ends:
            pair(run, site, first, step)
    return result


def elementwise(run: Core, left: Value, right: Value, site: Site, name: str) -> Value:
    """`+`, `-`, `*`, `/` where at least one side is a tensor."""
    first, second = as_tensor(run, left), as_tensor(run, right)
    for tensor in (first, second):
        if tensor is None or name != "+":
            continue
        if tensor.source != "detached":
            run.live |= tensor.used
        elif len(tensor.chain) > 1 or tensor.used:
            run.emit("cut", site, target=tensor)
    for tensor, other in ((first, right), (second, left)):
        if (
            tensor is not None
            and isinstance(other, Unknown)
            and other.floor
            and (tensor.chain or tensor.weights)
        ):
            run.emit("floor", other.floor, value=other, target=tensor)
    if first is None or second is None:
        known = first or second
        assert known is not None
        other = right if first is not None else left
        if isinstance(other, Const | Dim):
            return known.copy(site=site)
        # a number of no dimensions takes the shape and the device of what it meets
        device = None if known.rank0 else known.device
        if name in {"*", "/"}:
            return known.copy(site=site, rank0=False, device=device)
        return known.copy(
            rank0=False,
            device=device,
            site=known.site if isinstance(other, Unknown) else site,
            chain=(),
            weights=(),
            dtype=None if isinstance(other, Unknown) else known.dtype,
        )
    promotion = meet(run, first, second, site, name, multiply=False)
    big = first if not first.rank0 else second
    dtype = big.dtype
    if not first.rank0 and not second.rank0:
        pairing = {first.dtype, second.dtype}
        if None in pairing:
            dtype = None
        elif pairing <= FLOATS and len(pairing) == 2:
            dtype = "float64" if "float64" in pairing else "float32"
        elif first.dtype not in FLOATS:
            dtype = second.dtype
    keep = second.rank0 or first.rank0
    result = Tensor(
        dtype,
        first.device if not first.rank0 and first.device is not None else second.device or first.device,
        site=site,
        source=joined(big) if first.source != second.source else big.source,
        chain=big.chain if keep else (),
        weights=big.weights if keep else (),
        rank0=first.rank0 and second.rank0,
    )
    result.sums = (*first.sums, *second.sums, *((promotion,) if promotion is not None else ()))
    result.used = used(first, second)
    return outcome(result, first, second)


def binary(run: Core, node: ast.AST, op: ast.operator, left: Value, right: Value, scope: Scope) -> Value:
    """A binary operation."""
    site = Site(node, scope.file)
    left, right = one_sequence(left), one_sequence(right)
    if isinstance(left, Const) and isinstance(right, Const) and type(op) in ARITHMETIC:
        try:
            result = ARITHMETIC[type(op)](left.value, right.value)
        except Exception:
            return run.fresh("binop", node)
        if isinstance(op, ast.FloorDiv) and isinstance(left.value, int) and left.value % (right.value or 1):
            return Unknown(f"{left.value}//{right.value}", floor=site)
        if not isinstance(result, str) or len(result) < 1000:
            return Const(result, site)
    if isinstance(op, ast.MatMult):
        return multiply(run, left, right, site)
    if isinstance(left, Clock) and isinstance(right, Clock) and isinstance(op, ast.Sub):
        run.emit("clock", site, target=right, value=left)
        return run.fresh("elapsed", node)
    tensor = as_tensor(run, left) or as_tensor(run, right)
    if tensor is not None:
        names = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
        return elementwise(run, left, right, site, names.get(type(op), "op"))
    if isinstance(left, Seq) and isinstance(right, Seq) and isinstance(op, ast.Add):
        return Seq([*left.items, *right.items], left.kind, open=left.open or right.open, site=site)
    if isinstance(op, ast.FloorDiv):
        result_ = mixed("//", [left, right])
        result_.floor = site
        return result_
    if isinstance(op, ast.Add) and (isinstance(left, Seq) or isinstance(right, Seq)):
        listed = left if isinstance(left, Seq) else right
        assert isinstance(listed, Seq)
        return Seq([*listed.items, right if listed is left else left], listed.kind, open=True, site=site)
    result = mixed(type(op).__name__, [left, right])
    if not isinstance(op, ast.Mult | ast.Div):
        result.floor = None
    return result


def one_sequence(value: Value) -> Value:
    """One of several lists as a list of what they hold."""
    if isinstance(value, Union) and all(isinstance(option, Seq) for option in value.options):
        items = [item for option in value.options if isinstance(option, Seq) for item in option.items]
        return Seq(items, "list", open=True)
    return value


def dimension(run: Core, shape: Shape, index: int) -> Value:
    """`layer.weight.shape[index]` with its role, where the layer's type is known on this path."""
    types, excluded, _ = run.layer_types(shape.layer)
    index %= 2
    role, kind = None, ""
    if types is not None and len(types) == 1:
        kind = next(iter(types))
    elif types is None and "Conv1D" in excluded:
        kind = "Linear"
    elif types is not None and {"Conv1D", "Linear"} <= types:
        kind = "either"
    if kind == "Conv1D":
        role = ("in", "out")[index]
    elif kind == "Linear":
        role = ("out", "in")[index]
    return Dim(shape.layer, index, role, kind, shape.site)


def _type_test(run: Core, left: Value, right: Value, site: Site) -> Unknown | None:
    """A comparison as a test of a layer's type."""
    for one, other in ((left, right), (right, left)):
        inner = one
        depth = 0
        while isinstance(inner, Bound) and inner.name in {"__class__", "__name__", "__str__", "lower"}:
            inner = inner.base
            depth += 1
        if depth and isinstance(inner, Unknown):
            asked = {name.lower() for name in strings_of(other)} | {
                name.rsplit(".", 1)[-1].lower() for name in class_names(other)
            }
            if asked & {"conv1d", "linear"}:
                inner = run.as_module(inner, site) or inner
            inner = run.refined.get(inner.term, inner)
        if depth and isinstance(inner, Mod):
            names = strings_of(other) | {name.rsplit(".", 1)[-1] for name in class_names(other)}
            if names:
                types = frozenset("Conv1D" if name.lower() == "conv1d" else name for name in names)
                test = Test(inner, types, "is", site)
                return Unknown(f"type({inner.term}) in {sorted(types)}", tests=(test,), strings=types)
    return None


def class_names(value: Value) -> set[str]:
    """The classes that a value names: `nn.Linear`, or a tuple of classes."""
    if isinstance(value, Lib):
        return {value.name}
    if isinstance(value, Class):
        return {value.name}
    if isinstance(value, Seq):
        return {name for item in value.items for name in class_names(item)}
    if isinstance(value, Union):
        return {name for option in value.options for name in class_names(option)}
    return set()


def compare(run: Core, node: ast.Compare, scope: Scope) -> Value:
    """A comparison. For `!=`, `not in`, `is not` with one operator the value of its positive form:
    `Core.cond` negates it.
    """
    left = run.ev(node.left, scope)
    rights = [run.ev(part, scope) for part in node.comparators]
    if len(rights) != 1:
        return mixed("cmp", [left, *rights])
    return compared(run, left, node.ops[0], rights[0], Site(node, scope.file))


def same_dtype(left: Value, right: Value) -> bool | None:
    """Whether a dtype is another one, or one of several; None where one of them is not known."""
    if not isinstance(left, Lib) or not left.name.startswith("torch."):
        return None
    asked = right.items if isinstance(right, Seq) and not right.open else [right]
    names = {value.name[6:] for value in asked if isinstance(value, Lib) and value.name.startswith("torch.")}
    if len(names) != len(asked) or not names <= DTYPES or left.name[6:] not in DTYPES:
        return None
    return left.name[6:] in names


def compared(run: Core, left: Value, op: ast.cmpop, right: Value, site: Site) -> Value:
    """The outcome of `left op right`, in its positive form."""
    if (test := _type_test(run, left, right, site)) is not None:
        return test
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Device) and isinstance(other, Const) and isinstance(other.value, str):
            run.emit("attribute", site, target=one, name="device ==", value=other)
    if isinstance(left, Const) and isinstance(right, Const):
        if isinstance(op, ast.Is | ast.IsNot) and None in (left.value, right.value):
            return Const(left.value is right.value)
        if type(op) in COMPARISONS:
            try:
                return Const(bool(COMPARISONS[type(op)](left.value, right.value)))
            except Exception:
                return run.fresh("compare", site.node)
        if (
            isinstance(op, ast.In | ast.NotIn)
            and isinstance(right.value, str)
            and isinstance(left.value, str)
        ):
            return Const(left.value in right.value)
    if (alike := same_dtype(left, right)) is not None:
        return Const(alike)
    if isinstance(left, Const) and isinstance(op, ast.In | ast.NotIn):
        items = right.items if isinstance(right, Seq) and not right.open else None
        if items is not None and all(isinstance(item, Const) for item in items):
            return Const(any(isinstance(item, Const) and item.value == left.value for item in items))
    none = isinstance(right, Const) and right.value is None
    if none and isinstance(
        left, Mod | Param | Tensor | Optim | Obj | Func | Class | Seq | Dict | Device | Lib
    ):
        return Const(False)
    if none and isinstance(left, Bound):
        return Const(False)
    tensor, second = as_tensor(run, left), as_tensor(run, right)
    if tensor is not None and second is not None and type(op) in COMPARISONS:
        if differ(tensor.device, second.device) and not tensor.rank0 and not second.rank0:
            run.emit("clash", site, how="device", target=tensor, value=second, name="==")
    if tensor is not None and not tensor.rank0 and isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
        return Tensor("bool", tensor.device, site=tensor.site, source=tensor.source)
    kind = {ast.NotEq: "Eq", ast.NotIn: "In", ast.IsNot: "Is"}.get(type(op), type(op).__name__)
    if kind == "Is":
        kind = "Eq"
    return mixed(kind, [left, right])


__all__ = [
    "CPU",
    "Factor",
    "as_tensor",
    "binary",
    "compare",
    "compared",
    "differ",
    "dimension",
    "join",
    "linear",
    "mixed",
]
