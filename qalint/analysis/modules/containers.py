"""Lists, dicts, and what iterating over things yields."""

from __future__ import annotations

import ast
from functools import reduce
from typing import TYPE_CHECKING

from ..records import RECORDS
from . import tensors
from .values import (
    Batch,
    Bound,
    Const,
    Dict,
    Lib,
    Loader,
    Mod,
    Obj,
    Param,
    Params,
    Seq,
    Shape,
    Site,
    Tensor,
    Thing,
    Union,
    Unknown,
    Value,
    Walk,
    join,
)

if TYPE_CHECKING:
    from .core import Core
from . import effects

GROUP = 6
GROUPS = 8
"""A long list is met in groups, each as one of several values: how large, and how many."""


def extend(run: Core, sequence: Seq, value: Value) -> None:
    """`sequence` gets the elements of `value`."""
    if isinstance(value, Seq):
        sequence.items.extend(value.items)
        sequence.open = sequence.open or value.open
        values = value.items
    else:
        sequence.items.append(value)
        sequence.open = True
        values = [value]
    if isinstance(sequence.attribute_of, Mod):
        for item_ in values:
            if isinstance(item_, Mod | Param):
                site = sequence.site or item_.site
                assert site is not None
                run.emit(
                    "listed",
                    site,
                    target=sequence.attribute_of,
                    value=sequence,
                    args=[item_],
                    name="",
                )


def item(run: Core, base: Value, index: Value, site: Site) -> Value:
    """`base[index]`."""
    if isinstance(base, Union):
        result: Value | None = None
        for option in base.options:
            result = join(result, item(run, option, index, site))
        return result or run.fresh("item", site.node)
    if isinstance(base, Seq):
        if (
            isinstance(index, Const)
            and isinstance(index.value, int)
            and not base.open
            and -len(base.items) <= index.value < len(base.items)
        ):
            return base.items[index.value]
        found: Value | None = None
        for value in base.items[:6]:
            found = join(found, another(value))
        return found or run.fresh("item", site.node)
    if isinstance(base, Obj) and isinstance(index, Const) and isinstance(index.value, int):
        fields = list(base.cls.fields())
        if any(root in RECORDS for root in base.cls.roots()) and -len(fields) <= index.value < len(fields):
            return base.attrs.get(fields[index.value]) or run.fresh("item", site.node)
    if isinstance(base, Dict):
        if isinstance(index, Const) and index.value in base.pairs:
            return base.pairs[index.value]
        found = None
        for value in base.rest[:6] if isinstance(index, Const) else base.values()[:6]:
            found = join(found, another(value))
        return found or Unknown(f"{base.term}[{index.term}]")
    if isinstance(base, Walk):
        # `dict(model.named_modules())[name]`: one of its modules, by its path
        return effects.part(run, base.module, text_of(index) or "*", site)
    if isinstance(base, Shape):
        if isinstance(index, Const) and isinstance(index.value, int):
            return tensors.dimension(run, base, index.value)
        return base
    if isinstance(base, Mod):
        if isinstance(index, Const) and isinstance(index.value, str) and index.value in base.attrs:
            return base.attrs[index.value]
        if base.elements:
            found = None
            if (
                isinstance(index, Const)
                and isinstance(index.value, int)
                and -len(base.elements) <= index.value < len(base.elements)
            ):
                return base.elements[index.value]
            for value in base.elements[:6]:
                found = join(found, value)
            return found or run.fresh("item", site.node)
        return effects.part(run, base, "*" if not isinstance(index, Const) else f"[{index.value}]", site)
    if isinstance(base, Tensor | Param):
        tensor = tensors.as_tensor(run, base)
        assert tensor is not None
        if isinstance(base, Tensor) and base.source == "output":
            return base
        # one element of a row is a number, which may stay on the CPU; of a tensor of any shape it may be one
        flat = len(tensor.dims) == 1 if tensor.dims is not None else tensor.source != "batch"
        sliced = isinstance(getattr(site.node, "slice", None), ast.Slice | ast.Tuple)
        several = isinstance(index, Seq | Param) or (isinstance(index, Tensor) and not index.rank0)
        several = several or (isinstance(index, Const) and index.value in (None, ...))  # one more dimension
        one = flat and not sliced and not several  # an index that is not known is a number, most likely
        return tensor.copy(
            rank0=one or (tensor.rank0 and isinstance(base, Tensor)),
            dims=None,
            fill=None,
            weights=(),
            source=tensor.source if isinstance(base, Tensor) else "weight",
        )
    if isinstance(base, Batch):
        device = None if base.moved else tensors.CPU
        return Tensor(None, device, site=base.site, source=base.kind or ("batch" if base.plain else "part"))
    if isinstance(base, Lib):
        return base
    if isinstance(base, Bound) and base.name in {"_modules", "_parameters", "__dict__"}:
        if isinstance(base.base, Mod):
            put = run.parts.get((id(base.base), f"_modules[{index.term}]"))
            if put is None and isinstance(index, Unknown) and index.name_of is not None:
                return effects.named(run, base.base, index, site)
            return put or effects.part(run, base.base, "*", site)
    return tensors.mixed("item", [base, index])


def set_item(run: Core, base: Value, index: Value, value: Value, site: Site) -> None:
    """`base[index] = value`."""
    if isinstance(base, Batch):
        base.moved = True  # item by item
        return
    if isinstance(base, Tensor) and base.source in {"batch", "encoding"}:
        base.device = None  # a part of a batch that is a dict itself
        return
    if isinstance(base, Tensor):
        # what looks like a tensor may be a mapping, whose items are moved one by one
        given = tensors.as_tensor(run, value)
        if not isinstance(value, Const) and (given is None or given.device is not tensors.CPU):
            base.device = None
        return
    if isinstance(base, Seq):
        base.items.append(value)
        extend_attribute(run, base, value, site)
    elif isinstance(base, Dict):
        if isinstance(index, Const):
            base.pairs[index.value] = value
        else:
            base.rest.append(value)
        extend_attribute(run, base, value, site)
    elif isinstance(base, Mod) and isinstance(value, Mod | Param):
        if (base.qual or "").endswith("ModuleDict"):
            base.elements.append(value)
            if text := text_of(index):
                base.attrs[text] = value
            effects.hold(run, base, value)
            return
        effects.hold(run, base, value)
        if (
            isinstance(index, Const)
            and isinstance(index.value, int)
            and -len(base.elements) <= index.value < len(base.elements)
        ):
            base.elements[index.value] = value
        elif base.elements:
            base.elements.append(value)
        run.emit("attach", site, target=base, value=value, name="", how="item")
    elif isinstance(base, Bound) and base.name in {"_modules", "_parameters"} and isinstance(base.base, Mod):
        effects.hold(run, base.base, value)
        run.parts[(id(base.base), f"_modules[{index.term}]")] = value
        run.emit(
            "attach",
            site,
            target=base.base,
            value=value,
            name=text_of(index),
            how="item",
            info={"name": index},
        )


def one_dict(value: Value) -> Value:
    """One of several dicts as a dict of what each key can hold."""
    if not isinstance(value, Union) or not all(isinstance(option, Dict) for option in value.options):
        return value
    merged = Dict({}, [])
    for option in value.options:
        assert isinstance(option, Dict)
        for key, held in option.pairs.items():
            merged.pairs[key] = join(merged.pairs.get(key), held)
        merged.rest.extend(option.rest)
        merged.open = merged.open or option.open
    for key in merged.pairs:
        if not all(isinstance(option, Dict) and key in option.pairs for option in value.options):
            merged.pairs[key] = Unknown(f"{value.term}[{key!r}]")  # it may not be given at all
    return merged


def extend_attribute(run: Core, container: Seq | Dict, value: Value, site: Site) -> None:
    """A container that is an attribute of a module got a value."""
    event = run.listed.get(id(container))
    if event is not None and event.value is container:
        run.emit("listed", site, target=event.target, value=container, args=[value], name=event.name)


def text_of(value: Value) -> str:
    """The text of a constant string, else nothing."""
    return value.value if isinstance(value, Const) and isinstance(value.value, str) else ""


def each_of(params: Params, site: Site | None) -> Param:
    """One that stands for each of some parameters."""
    parameter = Param(site, 0)
    parameter.owner = params.module
    parameter.name = "*"
    parameter.select = params
    parameter.holders.append((params.module, 0))
    return parameter


def another(value: Value) -> Value:
    """What a container gives for a key that is not known: of what stands for many, any other of them."""
    if isinstance(value, Param) and value.select is not None:
        return each_of(value.select, value.site)
    return value


def elements(run: Core, value: Value, site: Site, most: int) -> list[Value]:
    """What iterating over `value` yields: see `Expressions.elements`."""
    if isinstance(value, Union):
        return [element for option in value.options[:3] for element in elements(run, option, site, most)]
    if isinstance(value, Seq):
        if len(value.items) <= most:
            return list(value.items) or (
                [] if not value.open and value.site is not None else [run.fresh("element", site.node)]
            )
        strings = tensors.strings_of(value)
        if strings and all(isinstance(item_, Const) for item_ in value.items):
            return [Unknown(f"element({value.term})", strings=frozenset(strings))]
        # What has identity is met, however many there are: the loop does something to each of them.
        last = GROUPS if any(isinstance(item_, Thing) for item_ in value.items) else 1
        groups = [value.items[at : at + GROUP] for at in range(0, len(value.items), GROUP)]
        return [reduce(join, group) for group in groups[:last]]
    if isinstance(value, Dict):
        keys: list[Value] = [Const(key) for key in value.pairs]
        return keys[:most] if keys else [run.fresh("key", site.node)]
    if isinstance(value, Walk):
        named = value.kind.startswith("named")
        piece = Mod(site, 0, parent=value.module, path="*")
        piece.family = value.module.family
        piece.args["walk"] = value
        if not named:
            return [piece]
        return [Seq([Unknown(f"name({piece.term})", name_of=piece), piece], "tuple", site=site)]
    if isinstance(value, Params):
        if value.once is None:
            return []
        parameter = each_of(value, site)
        if value.named:
            return [
                Seq([Unknown(f"name({parameter.term})", name_of=value.module), parameter], "tuple", site=site)
            ]
        return [parameter]
    if isinstance(value, Mod):
        if value.elements:
            return list(value.elements[:most])
        if value.known and value.cls is not None:
            return [run.fresh("element", site.node)]
        return [effects.part(run, value, "*", site)]
    if isinstance(value, Loader):
        return [Batch(value.site, value.moved, plain=value.plain)]
    if isinstance(value, Batch):
        return [value]
    if isinstance(value, Tensor):
        flat = value.dims is not None and len(value.dims) == 1
        return [value.copy(dims=None, rank0=flat)]
    if isinstance(value, Bound) and value.name in {"_modules"} and isinstance(value.base, Mod):
        return [effects.part(run, value.base, "*", site)]
    if isinstance(value, Unknown):
        return [Unknown(f"{value.term}[{site.node.lineno}]", strings=value.strings, name_of=value.name_of)]  # type: ignore[attr-defined]
    return [run.fresh("element", site.node)]


def sequence_method(run: Core, base: Seq, name: str, args: list[Value], site: Site) -> Value:
    """A list's or set's method."""
    if name in {"append", "add", "insert", "appendleft"} and args:
        base.items.append(effects.filtered(run, args[-1]))
        if run.loops or run.guards:
            base.open = True
        extend_attribute(run, base, args[-1], site)
    elif name in {"extend", "update"} and args:
        extend(run, base, args[0])
        extend_attribute(run, base, args[0], site)
    elif name == "pop" and base.items:
        return base.items[-1]
    elif name == "copy":
        return Seq(base.items, base.kind, open=base.open, site=site)
    elif name in {"clear", "remove"}:
        base.open = True
    return (
        Const(None) if name in {"append", "extend", "add", "update", "insert"} else run.fresh(name, site.node)
    )


def dict_method(run: Core, base: Dict, name: str, args: list[Value], site: Site) -> Value:
    """A dict's method."""
    if name == "items":
        pairs: list[Value] = [Seq([Const(key), value], "tuple") for key, value in base.pairs.items()]
        pairs += [Seq([run.fresh("key", site.node), value], "tuple") for value in base.rest]
        return Seq(pairs, "list", open=base.open or bool(base.rest), site=site)
    if name == "values":
        return Seq(base.values(), "list", open=base.open, site=site)
    if name == "keys":
        return Seq([Const(key) for key in base.pairs], "list", open=base.open or bool(base.rest), site=site)
    if name in {"get", "pop", "setdefault"} and args:
        if isinstance(args[0], Const) and args[0].value in base.pairs:
            return base.pairs[args[0].value]
        if isinstance(args[0], Const) and not base.rest and not base.open:
            return args[1] if len(args) > 1 else Const(None)
    if name == "update" and args and isinstance(args[0], Dict):
        base.pairs.update(args[0].pairs)
        base.rest.extend(args[0].rest)
        return Const(None)
    return run.fresh(name, site.node)
