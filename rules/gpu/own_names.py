"""The names of the parts of a model that the program itself writes, where all of them are in sight."""

from __future__ import annotations

import ast

from qalint.analysis.modules import Event, Modules
from qalint.analysis.modules.values import Bound, Class, Dict, Mod, Seq, Union, Unknown, Value, each
from qalint.analysis.names import CONTAINERS

LEAVES = frozenset(
    {
        "Linear",
        "Bilinear",
        "Identity",
        "Embedding",
        "EmbeddingBag",
        "Conv1d",
        "Conv2d",
        "Conv3d",
        "ConvTranspose1d",
        "ConvTranspose2d",
        "LayerNorm",
        "RMSNorm",
        "GroupNorm",
        "BatchNorm1d",
        "BatchNorm2d",
        "BatchNorm3d",
        "InstanceNorm1d",
        "InstanceNorm2d",
        "ReLU",
        "ReLU6",
        "LeakyReLU",
        "ELU",
        "SELU",
        "CELU",
        "PReLU",
        "GELU",
        "SiLU",
        "Mish",
        "Tanh",
        "Sigmoid",
        "Softmax",
        "LogSoftmax",
        "Softplus",
        "Hardtanh",
        "Hardswish",
        "GLU",
        "Dropout",
        "Dropout1d",
        "Dropout2d",
        "AlphaDropout",
        "Flatten",
        "Unflatten",
        "MaxPool1d",
        "MaxPool2d",
        "AvgPool1d",
        "AvgPool2d",
        "AdaptiveAvgPool1d",
        "AdaptiveAvgPool2d",
        "AdaptiveMaxPool2d",
        "Upsample",
        "PixelShuffle",
        "ZeroPad2d",
        "LSTM",
        "GRU",
        "RNN",
        "CrossEntropyLoss",
        "MSELoss",
        "L1Loss",
    }
)
"""Layers of torch in which there is no other module."""


def parts_of(model: Mod) -> frozenset[str] | None:
    """The dotted names that a walk over a model yields, indices left out; None where not all are in sight."""
    if model.cls is None and model.kind not in CONTAINERS:
        return None
    found: set[str] = set()
    return frozenset(found) if _names(model, "", found, ()) else None


def _names(module: Mod, prefix: str, found: set[str], above: tuple[Mod, ...]) -> bool:
    """Add the names of what is in a module; False where not all of it is in sight."""
    if module in above:
        return True
    if len(above) > 12 or len(found) > 400:
        return False
    if module.cls is None:
        if module.kind in LEAVES:
            return True
        if module.kind not in CONTAINERS or module.parent is not None:
            return False
        if not module.elements:
            return False
    elif not module.known or registers(module.cls):
        return False
    for name, held in module.attrs.items():
        for value in each(held):
            if isinstance(value, Mod):
                found.add(f"{prefix}{name}")
                if not _names(value, f"{prefix}{name}.", found, (*above, module)):
                    return False
            elif unknown(value) and module.cls is not None and used(module.cls, name):
                return False
    for element in module.elements:
        for value in each(element):
            if not isinstance(value, Mod) or not _names(value, prefix, found, (*above, module)):
                return False
    return True


def unknown(value: Value) -> bool:
    """Whether a value may be or hold a module that is not in sight, or hides some in a list."""
    if isinstance(value, Seq | Dict):
        items = value.items if isinstance(value, Seq) else value.values()
        return any(isinstance(one, Mod) for item in items for one in each(item))
    return isinstance(value, Unknown | Bound | Union)


def used(cls: Class, name: str) -> bool:
    """Whether a class calls an attribute, walks over it, or asks it for something: a number it does not."""
    for node in ast.walk(cls.node):
        match node:
            case ast.Call(func=ast.Attribute(attr=attr)) | ast.For(iter=ast.Attribute(attr=attr)):
                if attr == name:
                    return True
            case (
                ast.Attribute(value=ast.Attribute(attr=attr)) | ast.Subscript(value=ast.Attribute(attr=attr))
            ):
                if attr == name:
                    return True
            case _:
                pass
    return False


def registers(cls: Class) -> bool:
    """Whether a class registers parts under computed names."""
    for node in ast.walk(cls.node):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="add_module" | "register_module" | "set_submodule")
                | ast.Name(id="setattr")
            ):
                return True
            case ast.Attribute(attr="_modules" | "__dict__"):
                return True
            case _:
                pass
    return any(registers(base) for base in cls.bases if isinstance(base, Class))


def changed(modules: Modules, model: Mod, injection: list[Event]) -> bool:
    """Whether something else was put into a model under a name that is not in sight, or it went elsewhere."""
    own = {id(event) for event in injection}
    return any(
        isinstance(event.target, Mod)
        and event.target.root is model
        and id(event) not in own
        and (event.kind in {"replaced", "escape"} or (event.how != "init" and not event.name))
        for event in modules.all("attach", "replaced", "escape")
    )


def absent(strings: frozenset[str], parts: frozenset[str]) -> bool:
    """Whether no name of a part has one of some texts in it, however they are asked for."""
    low = [part.lower() for part in parts]
    return bool(strings) and all(
        text.replace("_", "").replace(".", "").isalnum() and not any(text.lower() in part for part in low)
        for text in strings
    )
