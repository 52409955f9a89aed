"""What a name can hold.

Everything here is immutable. An unknown is a `Term`: where it came from and how it was computed, not
a blank; terms are interned, so equal terms are one object. What changes lives in the heap
(`objects.py`) and is reached through a `Ref`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .slicing import Module

DEPTH = 18
"""Terms deeper than this become plain symbols."""

Place = tuple[ast.AST, "Module"]
Oid = tuple[Any, ...]
"""The name of a heap object: kind of allocation, site, call context, unrolled index."""

NOTHING: frozenset[Any] = frozenset()


class Const:
    """A known constant of Python."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Const) and type(other.value) is type(self.value) and other.value == self.value
        )

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def __repr__(self) -> str:
        return repr(self.value)


NONE = Const(None)
TRUE = Const(True)
FALSE = Const(False)
UNBOUND = Const(NotImplemented)
"""What a name holds that a path never bound: reading it ends the path."""


class Flow(NamedTuple):
    """What a tensor-like value went through: part of its term's identity.

    `feeds`: the modules (values) whose parameters its gradients reach; `wide`: perhaps others too.
    `scaling`: `plain`, `scaled`, `mixed` or `unknown`, by `scaler` (a Ref). `precision`: the forwards' pairs
    (dtype, enabled), where dtype is "float16", "bfloat16", "none" or "unknown" and enabled is a test.
    `grad` False: made without a graph. `scaled_at`, `mixed_at`: where. `dtype`: of the tensor itself.
    """

    feeds: frozenset[Any] = NOTHING
    wide: bool = False
    scaling: str = "plain"
    scaler: Any = None
    precision: frozenset[tuple[str, Any]] = NOTHING
    divided: bool = False
    grad: bool = True
    scaled_at: Place | None = None
    mixed_at: Place | None = None
    dtype: str | None = None
    device: Any = None
    summed: bool = False


PLAIN = Flow()
PREPARED = "prepared"
"""The name of what something unseen gave back after it prepared a training: a framework's own."""
UNKNOWN_FLOW = Flow(wide=True, scaling="unknown", precision=frozenset({("unknown", TRUE)}))


class Term:
    """An unknown value with its structure; made by `term`, compared by identity.

    Operations: `param` (of an entry), `global`, `fresh` (a call or loop variable at a program point),
    `attr`, `item`, `call` (a pure query), `not`, `and`, `or`, `is`, `eq`, `lt`, `in`, `ite`, `bin`,
    `un`, `join`, `lib` (an unresolved import).
    """

    __slots__ = ("args", "composed", "deps", "depth", "flow", "gradient", "knot", "op", "tests")
    depth: int
    deps: frozenset[Term]
    gradient: bool
    """Whether it was computed from gradients."""

    def __init__(self, op: str, args: tuple[Any, ...], flow: Flow | None) -> None:
        self.op = op
        self.args = args
        self.flow = flow
        self.composed = op in COMPOSED
        """Its outcome follows from that of other tests."""
        self.knot = KNOTS.get(op)
        """What of its parts follows from it: a choice, or the other part where it holds (or does not)."""
        self.tests: frozenset[Term] | None = None
        """See `tests_in`; worked out when it is first asked for."""
        depth = 0
        deps: frozenset[Term] = NOTHING
        gradient = op in GRADIENTS
        for arg in args:
            if type(arg) is Term:
                gradient = gradient or arg.gradient
                if arg.depth > depth:
                    depth = arg.depth
                if arg.deps:
                    deps = deps | arg.deps if deps else arg.deps
            elif type(arg) is Cells:
                gradient = gradient or arg.what == "grad"
            elif type(arg) is Tup:
                for item in arg.items:
                    if type(item) is Term:
                        gradient = gradient or item.gradient
                        depth = max(depth, item.depth)
                        deps = deps | item.deps
            elif type(arg) is Method and type(arg.receiver) is Term:
                # A query of it: `name.startswith("head.")`.
                deps = deps | arg.receiver.deps
        self.depth = depth + 1
        self.gradient = gradient
        if op == "fresh" or op == "join":
            deps = deps | {self}
        self.deps = deps

    def speaks_of(self, ref: Ref) -> bool:
        """Whether it was computed from what is not known of an object."""
        seen: set[Term] = set()
        todo = [self]
        while todo:
            here = todo.pop()
            seen.add(here)
            for arg in here.args:
                if type(arg) is Term:
                    if arg not in seen:
                        todo.append(arg)
                elif type(arg) is Ref and arg == ref:
                    return True
        return False

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(repr, self.args))})"


def tests_in(test: Term) -> frozenset[Term]:
    """The terms on whose outcome that of a test depends, itself among them."""
    found = test.tests
    if found is None:
        if test.composed:
            inner = [arg for arg in test.args if type(arg) is Term]
            found = frozenset((test,)).union(*map(tests_in, inner))
        else:
            found = frozenset((test,))
        test.tests = found
    return found


COMPOSED = frozenset(("not", "and", "or", "ite", "is", "eq"))
KNOTS: dict[str, bool | str] = {"ite": "choice", "or": True, "and": False}
"""Tests from which something follows for their parts, and under which outcome; a choice under both."""
GRADIENTS = frozenset(("grad-norm", "grad-derived", "grad-part", "clamped"))
"""Terms made of gradients: `grad-part` perhaps in proportion to them, the others surely not."""
_table: dict[tuple[Any, ...], Term] = {}


def forget_terms() -> None:
    """Drop the table of terms; called between programs."""
    _table.clear()


def term(op: str, *args: Any, flow: Flow | None = None) -> Term:
    """The one term of this structure."""
    key = (op, args, flow)
    found = _table.get(key)
    if found is None:
        found = Term(op, args, flow)
        if found.depth > DEPTH:
            # Structure this deep decides nothing any more; keep the identity by its point.
            found = Term("deep", (hash(key),), flow)
        _table[key] = found
    return found


class Ref(NamedTuple):
    """A reference to a heap object."""

    oid: Oid


class Lib(NamedTuple):
    """Something from outside the project, by qualified name: `torch.optim.AdamW`, `builtins.len`."""

    name: str


class Tup(NamedTuple):
    """A tuple whose elements are known."""

    items: tuple[Any, ...]


class Fn(NamedTuple):
    """A function of the project: its definition, the frame it closes over, its defaults and wrappers."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    module: Module
    scope: Oid
    defaults: tuple[Any, ...] = ()
    kw_defaults: tuple[Any, ...] = ()
    cls: Any = None
    autos: tuple[Any, ...] = ()
    flags: frozenset[str] = NOTHING
    """`static`, `class`, `property`, `context` (a context manager), `nograd`, `generator`."""


class Bound(NamedTuple):
    """A method with its receiver."""

    fn: Any
    receiver: Any


class Method(NamedTuple):
    """A method, by name, of an object whose methods the models know."""

    receiver: Any
    name: str


class Cls(NamedTuple):
    """A class of the project."""

    node: ast.ClassDef
    module: Module
    scope: Oid
    bases: tuple[Any, ...]
    flags: frozenset[str] = NOTHING


class Partial(NamedTuple):
    """`functools.partial`."""

    fn: Any
    args: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...]


class Super(NamedTuple):
    """`super()` inside a method of `cls`."""

    cls: Cls
    receiver: Any


class Namespace(NamedTuple):
    """A module of the project."""

    path: str


class Lazy(NamedTuple):
    """A name imported from a module of the project, read when it is first used."""

    path: str
    name: str


class Auto(NamedTuple):
    """An autocast context: device, dtype and enabled as values (None: not given); `how` it is spelled."""

    device: Any
    dtype: Any
    enabled: Any
    node: ast.AST
    module: Any
    cuda: bool = False


class Mode(NamedTuple):
    """A context that is no autocast: `nograd`, `grad`, `null`, `other`; `value`: what `as` binds."""

    kind: str
    value: Any = NONE


class Cells(NamedTuple):
    """Parameters of modules: `roots` are modules (values), `filtered` how they were chosen.

    `filtered`: None (all), "trainable" (by requires_grad), "partial" (otherwise). `wide`: and perhaps
    others. `tests`: where it is known, the tests that all chosen ones pass, see `selection`.
    """

    roots: frozenset[Any]
    filtered: str | None = None
    wide: bool = False
    names: bool = False
    what: str = "parameters"
    tests: frozenset[Any] = NOTHING


Value = Any


def const_of(value: Value) -> Any:
    """The Python constant, or NotImplemented."""
    return value.value if type(value) is Const else NotImplemented


def negate(value: Value) -> Value:
    """`not value`."""
    if type(value) is Const:
        return FALSE if value.value else TRUE
    if type(value) is Term:
        if value.op == "not":
            return value.args[0]
        if value.op == "ite":
            return ite(value.args[0], negate(value.args[1]), negate(value.args[2]))
        return term("not", value)
    return FALSE


def test_of(value: Value) -> Value:
    """The test that Python makes of a value: a constant or a boolean term."""
    kind = type(value)
    if kind is Const:
        return TRUE if value.value else FALSE
    if kind is Tup:
        return TRUE if value.items else FALSE
    if kind is Lib and not surely_true(value):
        holder, _, name = value.name.rpartition(".")
        return term("attr", Lib(holder), name)
    if kind is not Term:
        return value if kind is Ref else TRUE
    if value.op == "ite":
        return ite(value.args[0], test_of(value.args[1]), test_of(value.args[2]))
    return value


def surely_true(lib: Lib) -> bool:
    """Whether an imported name is a module, a class or a function: no setting as `flags.FLAGS.amp`."""
    first, _, rest = lib.name.partition(".")
    return not rest or (first in SOLID and not lib.name.rpartition(".")[2].isupper())


SOLID = frozenset(
    [
        "PIL",
        "accelerate",
        "apex",
        "bitsandbytes",
        "builtins",
        "collections",
        "comet_ml",
        "contextlib",
        "copy",
        "cv2",
        "deepspeed",
        "diffusers",
        "einops",
        "fairscale",
        "flash_attn",
        "functools",
        "horovod",
        "itertools",
        "json",
        "lightning",
        "logging",
        "math",
        "matplotlib",
        "mlflow",
        "numpy",
        "os",
        "pandas",
        "peft",
        "pytorch_lightning",
        "random",
        "ray",
        "scipy",
        "sklearn",
        "sys",
        "tensorboard",
        "tensorboardX",
        "time",
        "timm",
        "torch",
        "torch_xla",
        "torchaudio",
        "torchvision",
        "tqdm",
        "transformers",
        "triton",
        "typing",
        "wandb",
        "warnings",
        "xformers",
    ]
)
"""Libraries whose public names are modules, classes and functions."""


def ite(condition: Value, yes: Value, no: Value) -> Value:
    """`yes if condition else no`, simplified."""
    if type(condition) is Const:
        return yes if condition.value else no
    if yes is no or yes == no:
        return yes
    if type(condition) is Term and condition.op == "not":
        return ite(condition.args[0], no, yes)
    if yes is TRUE and no is FALSE:
        return condition
    if yes is FALSE and no is TRUE:
        return negate(condition)
    # Under the condition, what the condition decided already is known.
    if type(yes) is Term and yes.op == "ite" and yes.args[0] is condition:
        yes = yes.args[1]
    if type(no) is Term and no.op == "ite" and no.args[0] is condition:
        no = no.args[2]
    if yes == no:
        return yes
    if type(yes) is Ref and type(no) is Term and no.op == "ite":
        # The same object on two of three ways.
        if no.args[1] == yes:
            return ite(disjunction(condition, no.args[0]), yes, no.args[2])
        if no.args[2] == yes:
            return ite(disjunction(condition, negate(no.args[0])), yes, no.args[1])
    return term("ite", condition, yes, no, flow=join_flows(flow_of(yes), flow_of(no)))


def is_none(value: Value) -> Value:
    """`value is None` as a test."""
    kind = type(value)
    if kind is Const:
        return TRUE if value.value is None else FALSE
    if kind is not Term:
        return FALSE
    if value.op == "ite":
        return ite(value.args[0], is_none(value.args[1]), is_none(value.args[2]))
    if value.op in BOOLEAN:
        return FALSE
    return term("is", value, NONE)


def is_number(value: Value) -> bool:
    """Whether a value is a number of Python, which changes no tensor's dtype."""
    if type(value) is Const:
        return True
    if type(value) is not Term or value.flow is not None:
        return False
    if value.op == "call" and type(value.args[0]) is Lib:
        return value.args[0].name.startswith(
            ("math.", "tensor.", "builtins.len", "builtins.int", "builtins.float")
        )
    if value.op == "item":
        base = value.args[0]
        return type(base) is Term and base.op == "attr" and base.args[1] == "shape"
    return value.op in ("bin", "un", "ite") and all(map(is_number, value.args[1:]))


def through(value: Value, function: Callable[[Value], Value]) -> Value:
    """What a function makes of a value; of a choice, the choice of what it makes of both."""
    if type(value) is Term and value.op == "ite":
        return ite(value.args[0], *(through(arm, function) for arm in value.args[1:]))
    return function(value)


def chosen(value: Value) -> bool:
    """Whether a value is a choice of constants that a test decides."""
    return type(value) is Const or (
        type(value) is Term and value.op == "ite" and all(map(chosen, value.args[1:]))
    )


BOOLEAN = frozenset(("not", "and", "or", "is", "eq", "lt", "in"))


def equal(left: Value, right: Value) -> Value:
    """`left == right` as a test."""
    if type(left) is Const and type(right) is Const:
        try:
            return TRUE if left.value == right.value else FALSE
        except Exception:
            return FALSE
    if left is right:
        return TRUE
    if type(left) is Const or (type(left) is not Term and type(right) is Term):
        left, right = right, left
    if type(left) is Term and left.op == "ite":
        return ite(left.args[0], equal(left.args[1], right), equal(left.args[2], right))
    if type(right) is Term and right.op == "ite":
        return ite(right.args[0], equal(left, right.args[1]), equal(left, right.args[2]))
    if type(left) is Lib and type(right) is Lib:
        return TRUE if left.name == right.name else FALSE
    if type(left) is Term and type(right) is Term and left.op == right.op == "device":
        if len(left.args) == len(right.args) == 1:
            return equal(left.args[0], right.args[0])
    if right is TRUE and type(left) is Term and left.op in BOOLEAN:
        return left
    if right is FALSE and type(left) is Term and left.op in BOOLEAN:
        return negate(left)
    if type(right) is Const and right.value is None:
        return is_none(left)
    return term("eq", left, right)


def conjunction(left: Value, right: Value) -> Value:
    """`left and right` of two tests."""
    if type(left) is Const:
        return right if left.value else left
    if type(right) is Const:
        return left if right.value else right
    return left if left is right else term("and", left, right)


def disjunction(left: Value, right: Value) -> Value:
    """`left or right` of two tests."""
    if type(left) is Const:
        return left if left.value else right
    if type(right) is Const:
        return right if right.value else left
    return left if left is right else term("or", left, right)


def flow_of(value: Value) -> Flow | None:
    """The flow of a value, if it has one."""
    if type(value) is Term:
        return value.flow
    if type(value) is Tup:
        found: Flow | None = None
        for item in value.items:
            found = mix(found, flow_of(item))
        return found
    return None


def join_flows(one: Flow | None, two: Flow | None) -> Flow | None:
    """One of the two, it is not known which."""
    if one is None or two is None or one == two:
        return one or two
    same = one.scaling == two.scaling and one.scaler == two.scaler
    return Flow(
        one.feeds | two.feeds,
        one.wide or two.wide,
        one.scaling if same else "unknown",
        one.scaler if same else None,
        one.precision | two.precision,
        one.divided or two.divided,
        one.grad or two.grad,
        one.scaled_at,
        one.mixed_at or two.mixed_at,
        one.dtype if one.dtype == two.dtype else None,
        one.device if one.device == two.device else None,
        one.summed or two.summed,
    )


def mix(one: Flow | None, two: Flow | None, place: Place | None = None) -> Flow | None:
    """Both together, as a call or a sum of them gives; a plain tensor without a graph counts for nothing."""
    if one is None or two is None or one == two:
        return one or two
    if one.grad is not two.grad:
        # What was made without a graph is data: no gradient depends on the precision it was made in.
        bare = one if two.grad else two
        data = bare._replace(feeds=NOTHING, wide=False, precision=NOTHING)
        one, two = (data, two) if two.grad else (one, data)
    if not one.feeds and not one.wide and one.scaling == "plain":
        return two
    if not two.feeds and not two.wide and two.scaling == "plain":
        return one
    if one.scaling == two.scaling and one.scaler == two.scaler:
        scaling, scaler = one.scaling, one.scaler
    elif "unknown" in (one.scaling, two.scaling):
        scaling, scaler = "unknown", None
    else:
        scaling, scaler = "mixed", one.scaler or two.scaler
    mixed = (one.mixed_at or two.mixed_at or place) if scaling == "mixed" else None
    return Flow(
        one.feeds | two.feeds,
        one.wide or two.wide,
        scaling,
        scaler,
        one.precision | two.precision,
        one.divided or two.divided,
        one.grad or two.grad,
        one.scaled_at or two.scaled_at,
        mixed,
        one.dtype if one.dtype == two.dtype else None,
        None,
        one.summed or two.summed,
    )


def root(value: Value) -> Value:
    """The value that an attribute or item chain starts from."""
    while type(value) is Term and value.op in ("attr", "item"):
        value = value.args[0]
    return value


def chain(value: Value) -> str:
    """The dotted text of a term that is an attribute chain, or ""."""
    if type(value) is Term:
        if value.op in ("param", "global"):
            return str(value.args[0])
        if value.op == "attr":
            base = chain(value.args[0])
            return f"{base}.{value.args[1]}" if base else ""
    return ""


def show(value: Value) -> str:
    """A short rendering of a value, for guards and `--why`."""
    kind = type(value)
    if kind is Const:
        return repr(value.value)
    if kind is Lib:
        return str(value.name.removeprefix("builtins."))
    if kind is Tup:
        return "(" + ", ".join(map(show, value.items)) + ")"
    if kind is Ref:
        return "<object>"
    if kind is not Term:
        return str(getattr(getattr(value, "node", None), "name", kind.__name__.lower()))
    op, args = value.op, value.args
    if op in ("param", "global"):
        return str(args[0])
    if op == "attr":
        return f"{show(args[0])}.{args[1]}"
    if op == "item":
        return f"{show(args[0])}[{show(args[1])}]"
    if op == "call":
        return f"{show(args[0])}({', '.join(map(show, args[1:]))})"
    if op == "not":
        return f"not {show(args[0])}"
    if op in ("and", "or"):
        return f"{show(args[0])} {op} {show(args[1])}"
    if op == "is":
        return f"{show(args[0])} is {show(args[1])}"
    if op == "eq":
        return f"{show(args[0])} == {show(args[1])}"
    if op == "lt":
        return f"{show(args[0])} < {show(args[1])}"
    if op == "in":
        return f"{show(args[0])} in {show(args[1])}"
    if op == "ite":
        return f"{show(args[1])} if {show(args[0])} else {show(args[2])}"
    if op == "bin":
        return f"{show(args[1])} {args[0]} {show(args[2])}"
    if op in ("fresh", "join"):
        return str(args[0])
    return str(op)
