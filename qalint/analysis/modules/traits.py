"""What one definition holds, gathered in one pass: what the looks of `subjects` are made of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence

from ..nodes import nodes
from .gates import ATTACHING, loops_over_modules
from .spellings import CONVERSIONS

LAYERS = re.compile(r"Linear|Parameter|Conv\dd|Conv1D|Embedding")
"""What makes a matrix that can be trained."""
_TENSORS = re.compile("empty|zeros|ones|rand|tensor|Tensor")
"""What makes a matrix that can be trained only if somebody says so."""
_OUTSIDE = re.compile("get_peft|Peft|inject_adapter|add_adapter|LoraConfig|parametriz")
"""Calls that put adapters into a model out of sight."""
_HOOKED = frozenset({"register_forward_hook", "register_forward_pre_hook"})
_LISTS = frozenset({"list", "dict", "tuple", "set", "OrderedDict", "defaultdict", "deque", "sorted", "zip"})
_LOOPS = frozenset(
    {ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda}
)
_COLLECTING = frozenset(
    {"parameters", "named_parameters", "state_dict", "load_state_dict", "requires_grad_", "train", "eval"}
    | CONVERSIONS
)
_PLAIN_VALUES = (
    ast.Constant,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.JoinedStr,
    ast.List,
    ast.Dict,
    ast.ListComp,
    ast.DictComp,
)
"""Values that are no modules."""
_FUNCTIONAL = frozenset({"F", "init", "functional", "torch", "nn"})
_SIZES = frozenset({"shape", "size"})
_BETWEEN = frozenset({"data", "T", "mT"})


class Traits:
    """What a function or class holds."""

    __slots__ = (
        "asks",
        "assigned",
        "attaches",
        "bases",
        "called",
        "defined",
        "discards",
        "drops",
        "factories",
        "filled",
        "functions",
        "given",
        "given_lists",
        "keeps_list",
        "layers",
        "lists",
        "loose",
        "made",
        "moves",
        "node",
        "outside",
        "parameters",
        "read",
        "results",
        "shaped",
        "sizes",
        "stored",
        "stored_names",
        "training",
        "walks",
        "weights",
        "words",
    )

    def __init__(self, tree: ast.AST) -> None:
        self.node = tree
        self.words: set[str] = set()
        """Names, attributes and the names of arguments."""
        self.called: dict[str, int] = {}
        """The last names of what is called; 2 where that happens more than once."""
        self.layers = self.factories = 0
        """How many matrices are made, as layers or parameters and as tensors; 2 for several."""
        self.bases: set[str] = set()
        self.defined: set[str] = set()
        """The names of the functions and classes in it."""
        self.functions: set[str] = set()
        self.outside = self.attaches = self.moves = self.discards = False
        self.walks: bool | None = None
        self.training: bool | None = None
        self.drops: frozenset[str] | None = None
        self.keeps_list = False
        """Whether a list or dict is set as an attribute."""
        self.lists: set[str] = set()
        """The names of lists and dicts."""
        self.given_lists: set[str] = set()
        """What is called with a list or dict."""
        self.given: dict[str, set[str]] = {}
        """What is called with something that has a name."""
        self.stored_names: dict[str, set[str]] = {}
        """The names of what is set as an attribute, and the attributes."""
        self.made: dict[str, set[str]] = {}
        """Names, and what is called to make what they stand for."""
        self.results: set[str] = set()
        """The functions of whose results attributes are made."""
        self.stored: dict[str, set[str]] = {}
        """The attributes that are set to something that may be a module, and what is called for it."""
        self.read: set[str] = set()
        """The attributes that are read to compute with them."""
        self.parameters: set[str] = set()
        """The attributes that are set to a new parameter."""
        self.assigned: set[str] = set()
        """The attributes that are set to anything else."""
        self.loose = False
        """Whether a parameter is made that does not become an attribute at once."""
        self.filled = False
        """Whether something is filled, or divided without a rest."""
        self.weights = self.sizes = False
        """Whether the weight of a layer is passed on, and something that has a name asked for its shape."""
        self.asks = self.shaped = False
        """Whether something is asked for its device or dtype, and the weight of a layer for its shape."""
        self._gather(tree)

    def trains(self, words: re.Pattern[str]) -> bool:
        """Whether one of the words that training needs is there."""
        if self.training is None:
            self.training = any(map(words.search, self.words))
        return self.training

    def _gather(self, tree: ast.AST) -> None:
        loops: list[ast.AST] = []
        plain: set[ast.AST] = set()
        kept: set[ast.AST] = set()
        for many, stack in ((1, [tree]), (2, loops)):
            while stack:
                node = stack.pop()
                kind = node.__class__
                if kind is ast.Name:
                    self.words.add(node.id)  # type: ignore[attr-defined]
                    continue
                if kind is ast.Constant:
                    continue
                if kind is ast.Attribute:
                    self._attribute(node, plain)  # type: ignore[arg-type]
                    stack.append(node.value)  # type: ignore[attr-defined]
                    continue
                if kind is ast.Call:
                    self._call(node, many, plain, kept)  # type: ignore[arg-type]
                elif kind is ast.keyword:
                    if node.arg is not None:  # type: ignore[attr-defined]
                        self.words.add(node.arg)  # type: ignore[attr-defined]
                elif kind is ast.Assign:
                    self._assign(node.targets, node.value, plain, kept)  # type: ignore[attr-defined]
                elif kind is ast.AnnAssign or kind is ast.NamedExpr:
                    if node.value is not None:  # type: ignore[attr-defined]
                        self._assign([node.target], node.value, plain, kept)  # type: ignore[attr-defined]
                elif kind is ast.ClassDef:
                    self.defined.add(node.name)  # type: ignore[attr-defined]
                    for base in node.bases:  # type: ignore[attr-defined]
                        if isinstance(base, ast.Subscript):
                            base = base.value
                        self.bases.add(str(getattr(base, "id", getattr(base, "attr", ""))))
                elif kind is ast.FunctionDef or kind is ast.AsyncFunctionDef:
                    self.defined.add(node.name)  # type: ignore[attr-defined]
                    self.functions.add(node.name)  # type: ignore[attr-defined]
                elif kind is ast.FloorDiv:
                    self.filled = True
                elif kind is ast.Expr:
                    value = node.value  # type: ignore[attr-defined]
                    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
                        self.discards = self.discards or value.func.attr in CONVERSIONS
                elif kind is ast.AugAssign:
                    value = node.value  # type: ignore[attr-defined]
                    if isinstance(node.target, ast.Attribute) and _is_list(value):  # type: ignore[attr-defined]
                        self.keeps_list = True
                    if isinstance(value, ast.List | ast.Tuple):
                        plain.update(value.elts)
                into = loops if kind in _LOOPS else stack
                for field in node._fields:
                    value = getattr(node, field, None)
                    if value.__class__ is list:
                        into.extend([item for item in value if isinstance(item, ast.AST)])
                    elif isinstance(value, ast.AST):
                        into.append(value)

    def _attribute(self, node: ast.Attribute, plain: set[ast.AST]) -> None:
        name, held = node.attr, node.value
        self.words.add(name)
        self.asks = self.asks or name == "device" or name == "dtype"
        if isinstance(node.ctx, ast.Store):
            if node not in plain and (not isinstance(held, ast.Name) or held.id not in {"self", "cls"}):
                self.attaches = True
            return
        if node not in plain:
            self.read.add(name)
        if name in _COLLECTING:
            plain.add(held.value if isinstance(held, ast.Subscript) else held)
        if name in _SIZES:
            if isinstance(held, ast.Name) or _callee(held) == "getattr":
                self.sizes = True
            while isinstance(held, ast.Attribute) and held.attr in _BETWEEN:
                held = held.value
            if isinstance(held, ast.Attribute) and held.attr == "weight":
                self.shaped = True

    def _call(self, node: ast.Call, many: int, plain: set[ast.AST], kept: set[ast.AST]) -> None:
        func = node.func
        name = func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
        self.called[name] = many if name not in self.called else 2
        if LAYERS.search(name):
            self.layers += many
        elif _TENSORS.search(name):
            self.factories += many
        if name.startswith("Parameter") and node not in kept:
            self.loose = True
        if name in ATTACHING or name in _HOOKED:
            self.attaches = True
        if _OUTSIDE.search(name):
            self.outside = True
        if name in CONVERSIONS and isinstance(func, ast.Attribute) and isinstance(func.value, ast.Call):
            self.moves = True
        if "zero" in name or name in {"constant_", "fill_", "full", "full_like", "mul_", "copy_"}:
            self.filled = True
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        for one in arguments:
            if isinstance(one, ast.Name):
                self.given.setdefault(name, set()).add(one.id)
            elif made := _callee(one):
                self.given.setdefault(name, set()).add(made)
            if _is_list(one):
                self.given_lists.add(name)
        if name in {"append", "extend", "add"} or name in {"hasattr", "isinstance", "delattr"}:
            plain.update(arguments)
            for one in arguments:
                if isinstance(one, ast.List | ast.Tuple):
                    plain.update(one.elts)
        owner = func.value if isinstance(func, ast.Attribute) else None
        of = (
            owner.id
            if isinstance(owner, ast.Name)
            else owner.attr
            if isinstance(owner, ast.Attribute)
            else ""
        )
        if of == "init":
            plain.update(arguments)
        if name == "register_parameter":
            kept.update(arguments)
            if node.args and isinstance(node.args[0], ast.Constant):
                self.parameters.add(str(node.args[0].value))
        if of not in _FUNCTIONAL and any(_is_weight(one) for one in arguments):
            self.weights = True
        if name == "getattr" and len(node.args) > 1:
            asked = node.args[1]
            if isinstance(asked, ast.Constant):
                self.read.add(str(asked.value))
                self.words.add(str(asked.value))
                self.weights = self.weights or asked.value == "weight"
            else:
                self.weights = True
        if any(one.arg in {"peft_config", "target_modules"} for one in node.keywords):
            self.attaches = True

    def _assign(
        self, targets: Sequence[ast.expr], value: ast.expr, plain: set[ast.AST], kept: set[ast.AST]
    ) -> None:
        weight = _is_weight(value) or (
            isinstance(value, ast.Tuple | ast.List | ast.IfExp)
            and any(map(_is_weight, ast.iter_child_nodes(value)))
        )
        self.weights = self.weights or weight
        for target in targets:
            if isinstance(target, ast.Name):
                if _is_list(value):
                    self.lists.add(target.id)
                for one in _options(value):
                    if made := _callee(one):
                        self.made.setdefault(target.id, set()).add(made)
            elif isinstance(target, ast.Attribute):
                if isinstance(value, _PLAIN_VALUES):
                    plain.add(target)
                self._store(target, value, kept)
            elif isinstance(target, ast.Subscript):
                plain.add(target.value)
                if not isinstance(value, _PLAIN_VALUES) and not isinstance(
                    target.slice, ast.Slice | ast.Tuple
                ):
                    self.attaches = True
            elif isinstance(target, ast.Tuple | ast.List):
                values = value.elts if isinstance(value, ast.Tuple | ast.List) else [value] * len(target.elts)
                for inner, one in zip(target.elts, values, strict=False):
                    self._assign([inner], one, plain, kept)

    def _store(self, target: ast.Attribute, value: ast.expr, kept: set[ast.AST]) -> None:
        """An attribute is set."""
        for one in _options(value):
            made = _callee(one)
            if made.startswith("Parameter"):
                kept.add(one)
                self.parameters.add(target.attr)
                self.stored.setdefault(target.attr, set()).add(made)
                continue
            if not isinstance(one, ast.Constant):
                self.assigned.add(target.attr)
            if _is_list(one):
                self.keeps_list = True
            elif isinstance(one, ast.Name):
                self.stored_names.setdefault(one.id, set()).add(target.attr)
            elif made:
                self.results.add(made)
                self.stored.setdefault(target.attr, set()).add(made)
            elif not isinstance(one, _PLAIN_VALUES):
                self.stored.setdefault(target.attr, set()).add("Unknown")


def _options(value: ast.expr) -> Iterator[ast.expr]:
    """A value, or the values between which it chooses."""
    if isinstance(value, ast.IfExp):
        yield from _options(value.body)
        yield from _options(value.orelse)
    elif isinstance(value, ast.BoolOp):
        for one in value.values:
            yield from _options(one)
    else:
        yield value


def _callee(value: ast.expr) -> str:
    """The last name of what a call calls, else nothing."""
    func = value.func if isinstance(value, ast.Call) else None
    return str(getattr(func, "id", getattr(func, "attr", "")))


def _is_weight(value: ast.AST) -> bool:
    """Whether a value is the weight of a layer."""
    while isinstance(value, ast.Attribute) and value.attr in _BETWEEN:
        value = value.value
    return isinstance(value, ast.Attribute) and value.attr == "weight"


def _is_list(value: ast.AST) -> bool:
    """Whether a value is a list or dict that may hold modules."""
    match value:
        case ast.ListComp() | ast.DictComp() | ast.GeneratorExp() | ast.SetComp():
            return True
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items) | ast.Dict(values=items):
            return not items or not all(isinstance(item, ast.Constant) for item in items)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in _LISTS
        case ast.BinOp(left=left, right=right):
            return _is_list(left) or _is_list(right)
        case ast.IfExp(body=left, orelse=right):
            return _is_list(left) or _is_list(right)
        case ast.BoolOp(values=items):
            return any(map(_is_list, items))
        case _:
            return False


def traits_of(tree: ast.AST) -> Traits:
    """What a definition holds: found once for all rules, and for all that use it."""
    found = tree.__dict__.get("_traits")
    if found is None:
        found = tree.__dict__["_traits"] = Traits(tree)
    return found


def all_traits(trees: Iterable[ast.AST]) -> list[Traits]:
    """What some definitions hold."""
    return [traits_of(tree) for tree in trees]


def walks(traits: Traits) -> bool:
    """Whether something may be attached in a loop over modules."""
    if traits.walks is None:
        traits.walks = not traits.words.isdisjoint({"modules", "named_modules"}) and loops_over_modules(
            traits.node
        )
    return traits.walks


def drops(traits: Traits, own: set[str]) -> bool:
    """Whether something of a class in sight is made and left, or a forward works out what it never reads."""
    if traits.drops is None:
        traits.drops = frozenset(_dropped(traits.node))
    return "" in traits.drops or not traits.drops.isdisjoint(own)


def _dropped(tree: ast.AST) -> Iterator[str]:
    """What is called for nothing; the empty name where a forward binds a name that nothing reads."""
    for function in nodes(tree):
        if isinstance(function, ast.Expr) and (name := _callee(function.value)):
            yield name
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        bound: dict[str, list[ast.expr]] = {}
        read: set[str] = set()
        for node in nodes(function):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        bound.setdefault(target.id, []).append(node.value)
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
                read.add(node.id)
        for name in bound.keys() - read:
            for value in bound[name]:
                if made := _callee(value):
                    yield made
                if function.name == "forward":
                    yield ""
