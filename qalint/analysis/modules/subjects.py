"""What an entry of a library must hold so that a rule can speak of it: looks at its definitions.

Each is given the trees of a function or class that has the rule's first needles, and of all that it uses
in its file. See `relevance`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from ..nodes import nodes
from .gates import ATTACHING, loops_over_modules
from .needles import OPTIMIZER
from .spellings import CONVERSIONS

Trees = Sequence[ast.AST]
MATRICES = re.compile(r"Linear|Parameter|Conv\dd|Conv1D|Embedding|empty|zeros|ones|rand|tensor|Tensor")
"""What makes the matrices of an adapter."""
_TRAINS = re.compile(
    "|".join(word.decode() for word in OPTIMIZER if word.isalpha()) + "|^(?:optim|backward|step)$|Trainer$"
)
_PLACES = frozenset({"cuda", "to", "device", "device_map", "set_default_device", "type", "getattr"})
_TYPES = frozenset(
    {"half", "float16", "bfloat16", "float64", "double", "float", "dtype", "torch_dtype", "type", "getattr"}
    | {"numpy", "np", "from_numpy", "as_tensor", "set_default_dtype", "to"}
)
_MODELS = re.compile("Model|ForCausalLM")
_HOOKED = frozenset({"register_forward_hook", "register_forward_pre_hook"})
_OUTSIDE = re.compile("get_peft|Peft|inject_adapter|add_adapter|LoraConfig|parametriz")
"""Calls that put adapters into a model out of sight."""


def walked(trees: Trees) -> bool:
    """Whether something may be attached in a loop over modules."""
    return any(loops_over_modules(tree) for tree in trees)


def attached(trees: Trees) -> bool:
    """Whether something may be put into a model that was made elsewhere."""
    for node in nodes(*trees):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                if name in ATTACHING or name in _HOOKED or _OUTSIDE.search(name):
                    return True
            case ast.Attribute(value=held, ctx=ast.Store()):
                if not isinstance(held, ast.Name) or held.id not in {"self", "cls"}:
                    return True
            case ast.Subscript(ctx=ast.Store()):
                return True
            case ast.keyword(arg="peft_config" | "target_modules"):
                return True
            case _:
                pass
    return False


def adapted(trees: Trees) -> bool:
    """Whether two matrices are made, which is what an adapter needs, or something is out of sight."""
    made = 0
    own = {node.name for node in trees if isinstance(node, ast.ClassDef)}
    for node in nodes(*trees):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                made += MATRICES.search(name) is not None
                if made > 1 or _OUTSIDE.search(name):
                    return True
            case ast.ClassDef(bases=bases):
                for base in bases:
                    name = getattr(base, "id", getattr(base, "attr", ""))
                    if name != "Module" and name not in own:
                        return True
            case ast.For() | ast.ListComp() | ast.DictComp() | ast.GeneratorExp():
                made += 1
            case _:
                pass
    return made > 1


def training(trees: Trees) -> bool:
    """Whether something is trained."""
    return any(
        isinstance(node, ast.Name | ast.Attribute)
        and _TRAINS.search(getattr(node, "id", getattr(node, "attr", "")))
        for node in nodes(*trees)
    )


def made_and_moved(trees: Trees) -> bool:
    """Whether something is moved as soon as it is made."""
    for node in nodes(*trees):
        match node:
            case ast.Call(func=ast.Attribute(attr=name, value=ast.Call())) if name in CONVERSIONS:
                return True
            case _:
                pass
    return False


def placed(trees: Trees) -> bool:
    """Whether something is put on a device."""
    return _names(trees, _PLACES)


def typed(trees: Trees) -> bool:
    """Whether something is given a dtype."""
    return _names(trees, _TYPES)


def asked(trees: Trees) -> bool:
    """Whether something is asked for its device or dtype."""
    return any(isinstance(node, ast.Attribute) and node.attr in {"device", "dtype"} for node in nodes(*trees))


def _names(trees: Trees, names: frozenset[str]) -> bool:
    """Whether one of `names` is a name, an attribute or an argument."""
    for node in nodes(*trees):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                if name in names:
                    return True
            case _:
                pass
    return False


def sized(trees: Trees) -> bool:
    """Whether a dimension of a layer is read."""
    weight = shape = False
    for node in nodes(*trees):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            if node.attr in {"in_features", "out_features", "nf", "nx"}:
                return True
            weight = weight or node.attr == "weight"
            shape = shape or node.attr in {"shape", "size"}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            return True
    return weight and shape


def loaded(trees: Trees) -> bool:
    """Whether a model of a known family may be made, into which something is put."""
    own = {node.name for node in trees if isinstance(node, ast.ClassDef)}
    return attached(trees) and any(
        name in {"from_pretrained", "from_config"}
        or (("Model" in name or "ForCausalLM" in name) and name not in own)
        for name in _called(trees)
    )


def _called(trees: Trees) -> Iterator[str]:
    for node in nodes(*trees):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                yield name
            case _:
                pass


def discarded(trees: Trees) -> bool:
    """Whether a conversion stands as a statement by itself."""
    return any(
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr in CONVERSIONS
        for node in nodes(*trees)
    )


def parametric(trees: Trees) -> bool:
    """Whether there are parameters to be seen, rather than layers that keep their own."""
    for node in nodes(*trees):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                if name in {"weight", "bias", "data", "register_parameter"} or name.startswith("Parameter"):
                    return True
            case ast.ClassDef(bases=bases):
                if any(getattr(base, "id", getattr(base, "attr", "")) != "Module" for base in bases):
                    return True
            case _:
                pass
    return False
