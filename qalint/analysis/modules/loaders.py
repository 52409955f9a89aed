"""Where the batches of a data loader may be: what makes them, and what they are made of."""

from __future__ import annotations

import ast

from .values import (
    Batch,
    Class,
    Const,
    Dict,
    Func,
    Lib,
    Loader,
    Obj,
    Scope,
    Seq,
    Site,
    Tensor,
    Tokenizer,
    Union,
    Unknown,
    Value,
    each,
)


def away(dataset: Value | None, depth: int = 0) -> bool:
    """Whether a dataset may hold or give tensors that are not on the CPU."""
    if isinstance(dataset, Tensor):
        return dataset.device is None or dataset.device.kinds != {"cpu"}
    if isinstance(dataset, Loader | Batch):
        return dataset.moved
    if depth > 3:
        return False
    if isinstance(dataset, Seq):
        return any(away(item, depth + 1) for item in dataset.items)
    if isinstance(dataset, Dict):
        return any(away(item, depth + 1) for item in dataset.values())
    if isinstance(dataset, Union):
        return any(away(option, depth + 1) for option in dataset.options)
    if isinstance(dataset, Obj):
        methods = [dataset.cls.find(name) for name in ("__getitem__", "__init__", "__iter__")]
        return any(method is not None and moves(method) for method in methods) or any(
            away(value, depth + 1) for value in dataset.attrs.values()
        )
    return False


def dataset_of(name: str, args: list[Value], site: Site) -> Value | None:
    """A dataset of torch's own whose tensors may not be on the CPU, or parts of one."""
    if not any(away(value) for value in args) and not (name == "TensorDataset" and unseen(args)):
        return None
    found = Loader(site, moved=True)
    return Seq([found], "list", open=True, site=site) if name == "random_split" else found


def unseen(tensors: list[Value]) -> bool:
    """Whether one of the tensors of a dataset is made out of sight: whoever made it may have moved it."""
    return any(isinstance(option, Unknown) for value in tensors for option in each(value))


def moves(function: Value | None, depth: int = 0) -> bool:
    """Whether what makes batches may put them on a device: it does so, or it is out of sight."""
    if function is None or (isinstance(function, Const) and function.value is None):
        return False
    if not isinstance(function, Func) or depth > 3:
        return True
    for node in ast.walk(function.node):
        match node:
            case ast.Attribute(attr="to" | "cuda" | "device") | ast.keyword(arg="device"):
                return True
            case ast.Call(func=ast.Name(id=name)):
                called = bound(name, function.scope)
                if isinstance(called, Func):
                    if moves(called, depth + 1):
                        return True
                elif not isinstance(
                    called, Lib | Class | Const | Tokenizer | None
                ):  # imported, and not seen yet
                    return True
    return False


def bound(name: str, scope: Scope | None) -> Value | None:
    """What a name stands for, where a function was defined."""
    while scope is not None:
        if name in scope.vars:
            return scope.vars[name]
        scope = scope.parent
    return None


def of_torch(value: Value | None) -> bool:
    """Whether a value is something of torch's: `pad_sequence`, imported by its name."""
    return isinstance(value, Lib) and value.name.startswith("torch.")


def stacks(function: Value | None) -> bool:
    """Whether what makes batches makes tensors, as far as it can be seen: it calls nothing but torch."""
    if function is None or (isinstance(function, Const) and function.value is None):
        return True
    if not isinstance(function, Func):
        return False
    called = [node.func for node in ast.walk(function.node) if isinstance(node, ast.Call)]
    return all(
        ast.unparse(name).split(".")[0] == "torch"
        or (isinstance(name, ast.Name) and of_torch(bound(name.id, function.scope)))
        or (isinstance(name, ast.Name) and name.id in {"zip", "list", "tuple", "len", "map", "max", "range"})
        or (isinstance(name, ast.Attribute) and name.attr in {"append", "size", "float", "long"})
        for name in called
    )
