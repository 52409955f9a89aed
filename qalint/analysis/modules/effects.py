"""What attributes, methods, containers and calls of modules do."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from . import containers, methods, options, tensors, torchlib
from .spellings import ADAPTERS, CONVERSIONS, MODULE_METHODS, RANKS, REFINING, TENSORS, UNSEEN
from .values import (
    Batch,
    Bound,
    Cell,
    Choice,
    Class,
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
    Params,
    Scope,
    Seq,
    Shape,
    Site,
    Tensor,
    Union,
    Unknown,
    Value,
    Walk,
    each,
    join,
)

if TYPE_CHECKING:
    from ...file import File
    from .core import Core


LAYERS = frozenset({"Linear", "Conv1d", "Conv2d", "Conv3d", "Embedding"})
"""Layers of torch that a class of the program may derive from, with a `weight`."""
OUTPUTS = frozenset({"logits", "last_hidden_state", "pooler_output"})
"""The tensors in what a model of transformers gives."""


def module_base(roots: list[str]) -> str | None:
    """The library class that makes a class with these roots a module, if one does."""
    for root in roots:
        last = root.rsplit(".", 1)[-1]
        if root.startswith("torch.nn.") and not root.startswith("torch.nn.functional"):
            return "torch.nn.Module" if last == "Module" else root
        if root.startswith(("transformers.", "peft.")) and (
            "Model" in last or last.endswith(("LM", "Layer", "Attention"))
        ):
            return root
        if last in {"LightningModule", "PreTrainedModel"}:
            return root
    return None


def as_module(run: Core, value: Value, site: Site) -> Mod | None:
    """A value as a module; an unknown that is used as one becomes one, the same each time."""
    if isinstance(value, Mod):
        return value
    if isinstance(value, Unknown):
        if value.term not in run.refined:
            module = run.refined[value.term] = Mod(site, 0)
            if value.term in run.converted:
                name, args, kwargs, where = run.converted[value.term]
                methods.convert(run, module, name, args, kwargs, where)
        return run.refined[value.term]
    if isinstance(value, Union):
        for option in value.options:
            if isinstance(option, Mod):
                return option
    return None


def part(run: Core, module: Mod, path: str, site: Site) -> Mod:
    """A part of a module that is not in sight, the same each time."""
    if path not in module.parts:
        piece = Mod(site, 0, parent=module, path=path)
        piece.family = module.family
        piece.name = f"{module.name}.{path}" if module.name and path != "*" else ""
        module.parts[path] = piece
    return module.parts[path]


def named(run: Core, module: Mod, name: Value, site: Site) -> Mod:
    """The part of a module that a computed name means. If it is the name of a module of a walk, what that
    one was asked holds of the part.
    """
    piece = part(run, module, f"({name.term})", site)
    met = name.name_of if isinstance(name, Unknown) else None
    if met is not None and not piece.passed:
        piece.passed = tuple(
            guard._replace(
                tests=tuple(
                    test._replace(module=piece) if test.module is met else test for test in guard.tests
                )
            )
            for guard in met.passed
        )
    return piece


def fresh_module(run: Core, module: Mod, kwargs: dict[str, Value]) -> None:
    """A module has just been made: its dtype and device."""
    dtype = torchlib.dtype_in(run, kwargs)
    run.set(module, "dtype", dtype if dtype is not None or "dtype" in kwargs else run.default_dtype)
    device = torchlib.device_in(run, kwargs)
    if device is None and "device" not in kwargs and not run.default_device:
        device = tensors.CPU
    given = kwargs.get("weight") or kwargs.get("pos_weight")
    if isinstance(given, Tensor):  # the weights of a loss
        device = given.device
    run.set(module, "device", device)


def constructed(run: Core, module: Mod, args: list[Value], kwargs: dict[str, Value]) -> None:
    """A library module got its constructor's arguments."""
    names = {
        "Linear": ("in_features", "out_features", "bias"),
        "Conv1D": ("out_features", "in_features"),
        "Embedding": ("num_embeddings", "embedding_dim"),
        "Conv1d": ("in_channels", "out_channels"),
        "Conv2d": ("in_channels", "out_channels"),
        "Conv3d": ("in_channels", "out_channels"),
    }.get((module.qual or "").rsplit(".", 1)[-1], ())
    for name, value in zip(names, args, strict=False):
        module.args[name] = value
    renamed = {"nf": "out_features", "nx": "in_features"} if "Conv1D" in (module.qual or "") else {}
    for name, value in kwargs.items():
        module.args[renamed.get(name, name)] = value
    if (module.qual or "").endswith(("ModuleList", "Sequential", "ModuleDict")):
        for value in args:
            if isinstance(value, Seq):
                for item in value.items:  # of a starred list, or the list itself
                    module.elements.extend(item.items if isinstance(item, Seq) else [item])
            elif isinstance(value, Dict):
                module.elements.extend(value.values())
                module.attrs.update({key: one for key, one in value.pairs.items() if isinstance(key, str)})
            else:
                module.elements.append(value)
        for value in module.elements:
            hold(run, module, value)
            element(run, module, value)


def element(run: Core, module: Mod, value: Value) -> None:
    """A container of modules gets an element."""
    for option in each(value):
        if isinstance(option, Mod) and module.site is not None:
            run.emit("attach", option.site or module.site, target=module, value=option, name="", how="init")


def hold(run: Core, module: Mod, value: Value) -> None:
    """`value` becomes a part of `module`, so far as it holds modules and parameters that count."""
    for option in each(value):
        if isinstance(option, Cell) and option is not module:
            option.holders.append((module, run.tick()))


# --- attributes ------------------------------------------------------------------------------


_BOUND = REFINING | {"__class__"} | CONVERSIONS


def get_attribute(run: Core, base: Value, name: str, site: Site) -> Value:
    """`base.name`."""
    if isinstance(base, Lib):
        return Lib(f"{base.name}.{name}")
    if isinstance(base, Mod):
        return module_attribute(run, base, name, site)
    if isinstance(base, Obj):
        if name in base.attrs:
            return base.attrs[name]
        found = base.cls.find(name)
        if isinstance(found, Func):
            if is_property(found):
                return run.enter(found.bind(base), [], {}, site)
            return method_of(found, base, base.cls)
        return found or Unknown(f"{base.term}.{name}")
    if isinstance(base, Class):
        if name == "__name__":
            return Const(base.name)
        member = base.find(name)
        if isinstance(member, Func) and is_class_method(member):
            return member.bind(base)
        return member or Unknown(f"{base.term}.{name}")
    if isinstance(base, Param | Tensor):
        return tensor_attribute(run, base, name, site)
    if isinstance(base, Device):
        if name == "type":
            return Const(next(iter(base.kinds))) if len(base.kinds) == 1 else Unknown(f"{base.term}.type")
        return Unknown(f"{base.term}.{name}")
    if isinstance(base, Unknown):
        if base.term in run.refined and name not in REFINING:
            return module_attribute(run, run.refined[base.term], name, site)
        if name in _BOUND:
            return Bound(base, name, site.node)
        if name in {
            "append",
            "extend",
            "items",
            "keys",
            "values",
            "forward",
            "split",
            "rsplit",
            "partition",
            "rpartition",
            "strip",
            "removeprefix",
            "removesuffix",
            "unscale_",
            "scale",
            "step",
            "backward",
            "synchronize",
            "endswith",
            "startswith",
        }:
            return Bound(base, name, site.node)
        inner = Unknown(f"{base.term}.{name}", name_of=base.name_of, strings=base.strings)
        if options.PARSED in base.term:
            inner.device = options.device(run, name, inner)
            inner.strings |= options.strings(run, name)
        return inner
    if isinstance(base, Choice) and name == "value":
        return Union(base.options) if len(base.options) > 1 else base.options[0]
    if isinstance(base, Batch):
        if base.kind and name in TENSORS:
            return containers.item(run, base, Const(name), site)
        return Bound(base, name, site.node)
    return Bound(base, name, site.node)


def is_property(function: Func) -> bool:
    """Whether a function is decorated as a property."""
    return any(
        (isinstance(d, ast.Name) and d.id in {"property", "cached_property"})
        or (isinstance(d, ast.Attribute) and d.attr in {"cached_property"})
        for d in getattr(function.node, "decorator_list", [])
    )


def is_abstract(function: Func) -> bool:
    """Whether a function stands for those of subclasses, which may do anything to the object."""
    return any(
        ast.unparse(decorator).rsplit(".", 1)[-1] == "abstractmethod"
        for decorator in getattr(function.node, "decorator_list", [])
    )


def is_hollow(function: Func) -> bool:
    """Whether a method does nothing at all: where its class is not seen in use, subclasses fill it."""
    body = getattr(function.node, "body", None)
    return isinstance(body, list) and all(
        isinstance(statement, ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in body
    )


def overridden(run: Core, function: Func, args: list[Value], site: Site) -> None:
    """A method that a subclass out of sight fills: it may do anything to the object and what it is given."""
    thing = function.receiver
    filled(thing)
    escape(run, args, site)
    for held in thing.attrs.values() if isinstance(thing, Obj) else ():
        for option in each(held):
            module = run.refined.get(option.term, option) if isinstance(option, Unknown) else option
            escape(run, [module], site, "self")


def filled(thing: Value | None) -> None:
    """What is not seen may have put something into the lists and dicts that are attributes of an object."""
    for held in thing.attrs.values() if isinstance(thing, Mod | Obj) else ():
        if isinstance(held, Seq | Dict):
            held.open = True


def is_class_method(function: Func) -> bool:
    """Whether a function is a class method."""
    return any(
        isinstance(d, ast.Name) and d.id == "classmethod"
        for d in getattr(function.node, "decorator_list", [])
    )


def method_of(function: Func, receiver: Value, cls: Class) -> Func:
    """A function of a class as it is got from an object: bound to it, to its class, or to nothing."""
    if is_static(function):
        return function
    return function.bind(cls if is_class_method(function) else receiver)


def tested_class(run: Core, module: Mod) -> Class | None:
    """The class of the program that a test on this path, or one before a list, says a module of a walk is."""
    for guard in (*reversed(run.guards), *reversed(module.passed)):
        for test in guard.tests:
            if test.module is module and guard.outcome and test.kind == "is":
                return next((cls for cls in run.classes if cls.name in test.types), None)
    return None


def put_in(run: Core, cls: Class, root: Mod) -> Mod | None:
    """A module of a class that was put into a model: it stands for each that a walk over the model meets."""
    for event in reversed(run.events):
        if event.kind == "attach" and event.how != "init" and isinstance(event.value, Mod):
            if event.value.cls is cls and isinstance(event.target, Mod) and event.target.root is root:
                return event.value
    return None


def is_static(function: Func) -> bool:
    """Whether a function is a static method."""
    return any(
        isinstance(d, ast.Name) and d.id == "staticmethod"
        for d in getattr(function.node, "decorator_list", [])
    )


def module_attribute(run: Core, module: Mod, name: str, site: Site) -> Value:
    """An attribute of a module."""
    if name in module.attrs:
        value = module.attrs[name]
        if isinstance(value, Tensor):
            run.emit("use", site, target=module, value=value, name=name)
        return value
    if module.cls is not None:
        found = module.cls.find(name)
        if isinstance(found, Func):
            if is_property(found):
                return run.enter(found.bind(module), [], {}, site)
            return method_of(found, module, module.cls)
        if found is not None:
            return found
    elif (kind := tested_class(run, module)) is not None:
        if isinstance(found := kind.find(name), Func):
            return method_of(found, module, kind)
        if (one := put_in(run, kind, module.root)) is not None and name in one.attrs:
            return one.attrs[name]
    if name in {"device", "dtype"}:
        run.emit("attribute", site, target=module, name=name)
        if name == "device":
            return run.device_of(module) or Unknown(f"{module.term}.device")
        dtype = run.dtype_of(module)
        return Lib(f"torch.{dtype}") if dtype else Unknown(f"{module.term}.dtype")
    layer = module.kind in {"Linear", "Conv1D"} or module.parent is not None or module.cls is None
    layer = layer or str(module.qual).rpartition(".")[2] in LAYERS
    if name == "weight" and layer:
        return weight_of(run, module, site)
    if name == "bias" and layer:
        if "bias" in module.args and isinstance(module.args["bias"], Const):
            return Const(None) if not module.args["bias"].value else weight_of(run, module, site, "bias")
        return weight_of(run, module, site, "bias")
    if name in {"in_features", "out_features", "nx", "nf"} and layer:
        key = {"nx": "in_features", "nf": "out_features"}.get(name, name)
        if key in module.args:
            return module.args[key]
        dim = Dim(module, None, "in" if key == "in_features" else "out", "attribute", site)
        types, _, tested = run.layer_types(module)
        run.emit("read", site, target=module, name=name, value=dim, info={"types": types, "tested": tested})
        return dim
    if name in {"config", "generation_config", "training", "name_or_path"}:
        return Unknown(f"{module.term}.{name}")
    if name in MODULE_METHODS:
        return Bound(module, name, site.node)
    if module.known:
        return Unknown(f"{module.term}.{name}")
    return part(run, module, name, site)


def weight_of(run: Core, module: Mod, site: Site, name: str = "weight") -> Param:
    """The weight (or bias) of a layer, the same each time."""
    key = (id(module), name)
    value = run.parts.get(key)
    if not isinstance(value, Param):
        value = Param(site, 0)
        value.owner = module
        value.name = name
        value.holders.append((module, 0))
        value.tensor_of = name
        run.parts[key] = value
    return value


def tensor_attribute(run: Core, base: Param | Tensor, name: str, site: Site) -> Value:
    """An attribute of a tensor or parameter."""
    if name == "shape":
        if isinstance(base, Param) and base.tensor_of == "weight" and base.owner is not None:
            shape = Shape(base.owner, site)
            types, _, tested = run.layer_types(base.owner)
            run.emit(
                "read",
                site,
                target=base.owner,
                name="weight.shape",
                value=shape,
                info={"types": types, "tested": tested},
            )
            return shape
        if base.dims is not None:
            return Seq(base.dims, "tuple", site=site)
        return Unknown(f"{base.term}.shape")
    tensor = tensors.as_tensor(run, base)
    assert tensor is not None
    if name == "dtype":
        return Lib(f"torch.{tensor.dtype}") if tensor.dtype else Unknown(f"dtype({base.term})")
    if name == "device":
        return tensor.device or Unknown(f"device({base.term})")
    if name in {"T", "mT"}:
        if tensor.weights:
            return tensor.copy(
                weights=tuple((cell, not flipped) for cell, flipped in tensor.weights), source="weight"
            )
        return tensor
    if name == "data":
        return tensor.copy(source="data") if isinstance(base, Param) else base
    if name == "requires_grad":
        return Unknown(f"requires_grad({base.term})")
    if name == "grad":
        return Unknown(f"grad({base.term})")
    if name in OUTPUTS and isinstance(base, Tensor) and base.source == "output":
        return base.copy(dtype=None, site=site)  # where the model is; its precision is its own affair
    return Bound(base, name, site.node)


def set_attribute(
    run: Core, base: Value, name: str, value: Value, site: Site, how: str = "attribute"
) -> None:
    """`base.name = value`."""
    if isinstance(base, Union):
        for option in base.options:
            set_attribute(run, option, name, value, site, how)
        return
    if isinstance(base, Obj):
        old = base.attrs.get(name)
        base.attrs[name] = (
            value if base in run.building or old is None or not run.guards else join(old, value)
        )
        return
    if isinstance(base, Param | Params):
        if name == "requires_grad":
            freeze(run, base, value, site)
        elif isinstance(base, Param) and base.select is not None and name not in {"data", "grad"}:
            run.emit("mistaken", site, target=base.select.module, name=name)
        elif name == "data" and isinstance(base, Param):
            tensor = tensors.as_tensor(run, value)
            target = base.select.module if base.select is not None else base
            if tensor is not None and tensor.dtype:
                run.set(target, "dtype", tensor.dtype)
                run.emit("cast", site, target=base, value=tensor.dtype, how="data")
            if tensor is not None and tensor.device is not None:
                here = run.device_of(base)
                if here is None or here.term != tensor.device.term:  # a cast of its own data moves nothing
                    run.set(target, "device", tensor.device)
        return
    if isinstance(base, Tensor) and name == "requires_grad":
        base.grad = True
        return
    if isinstance(base, Unknown) and (
        isinstance(value, Mod | Param) or (name == "forward" and isinstance(value, Func))
    ):
        module = as_module(run, base, site)
        assert module is not None
        base = module
    if not isinstance(base, Mod):
        return
    if name == "requires_grad" and base.parent is not None and base.path != "*":
        freeze(run, base, value, site)  # an attribute of a layer that is not in sight: a parameter
        return
    if name.isdigit() and int(name) < len(base.elements) and isinstance(value, Mod):
        containers.set_item(run, base, Const(int(name)), value, site)
        return
    inside = base in run.building
    if name == "__class__":
        run.emit("replaced", site, target=base)  # it is of another class from now on
        return
    if name == "requires_grad" and isinstance(value, Const):
        run.emit("mistaken", site, target=base, name=name)
    old = base.attrs.get(name)
    if isinstance(value, Unknown) and not inside and (how == "setattr" or isinstance(old, Mod)):
        run.emit("escape", site, target=base, how="replaced")  # by something that cannot be followed
    nonleaf(run, value, site, base, name)
    for option in each(value):
        if isinstance(option, Mod | Param) and name != "forward":
            option.holders.append((base, run.tick()))
            run.emit(
                "attach",
                site,
                target=base,
                value=option,
                name=name,
                how="init" if inside else how,
                info={"old": old},
            )
        elif isinstance(option, Tensor):
            if isinstance(old, Param) and old.tensor_of is None:
                run.emit(
                    "nonleaf",
                    site,
                    target=old,
                    value=option,
                    name="assign",
                    info={"attribute": name, "module": base},
                )
            run.emit("tensor", site, target=base, value=option, name=name, flag=inside)
            if option is value and inside and carries(base):
                value = option.copy(device=None)
        elif isinstance(option, Seq | Dict):
            option_values = option.items if isinstance(option, Seq) else option.values()
            run.listed[id(option)] = run.emit(
                "listed", site, target=base, value=option, name=name, flag=inside, args=list(option_values)
            )
            if isinstance(option, Seq):
                option.attribute_of = base
        elif name == "forward" and not inside:
            run.emit("attach", site, target=base, value=option, name=name, how="forward")
            deferred(run, option, [tensors_input(run, base)], site)
    base.attrs[name] = value if inside or old is None or not run.guards else join(old, value)


def carries(module: Mod) -> bool:
    """Whether a module's class has a say in what moves with it: its plain tensors may."""
    return module.cls is not None and any(module.cls.find(name) is not None for name in ("_apply", "to"))


def nonleaf(run: Core, value: Value, site: Site, module: Value, name: str) -> None:
    """A converted copy of a parameter is put where a parameter should be."""
    for option in each(value):
        if isinstance(option, Tensor) and option.source == "converted":
            run.emit(
                "nonleaf",
                site,
                target=option.site,
                value=option,
                name="store",
                flag=module in run.building,
                info={"attribute": name, "module": module},
            )


def tensors_input(run: Core, module: Mod) -> Tensor:
    """What a layer inside a model is fed: activations in the model's dtype, on its device."""
    return Tensor(None, None, site=module.site, source="input")


def deferred(run: Core, function: Value, args: list[Value], site: Site) -> None:
    """Something that runs later, whenever the model does: run it once now, quietly."""
    run.quiet += 1
    try:
        for option in each(function):
            if isinstance(option, Func):
                run.enter(option, args, {}, site)
    finally:
        run.quiet -= 1


def freeze(run: Core, target: Value, value: Value, site: Site, how: str = "") -> None:
    """requires_grad is set on parameters."""
    flag = bool(value.value) if isinstance(value, Const) else None
    filters: set[str] = set()
    where: Value = target
    if isinstance(target, Param) and target.select is not None:
        filters |= target.select.filters
        where = target.select.module
        filters |= {guard.flavor for guard in guards_inside(run)}
        if isinstance(value, Unknown) and value.name_of is not None:
            filters.add("named")
        elif flag is None:
            filters.add("other")
    elif isinstance(target, Params):
        filters |= target.filters
        where = target.module
    if isinstance(where, Mod) and where.parent is not None and where.path == "*":
        filters |= {guard.flavor for guard in guards_inside(run)}
        if any(guard.tests for guard in guards_inside(run)):
            filters.add("typed")
        walk = where.args.get("walk")
        if isinstance(walk, Walk) and not filters & {"typed", "named", "other"}:
            where = walk.module  # every module of the walk: all of it
    run.emit("freeze", site, target=where, flag=flag, filters=frozenset(filters), value=value, how=how)
    if isinstance(where, Cell):
        run.set(where, "grad", flag)


def guards_inside(run: Core) -> list[Any]:
    """The tests taken inside the loops that are running."""
    if not run.loops:
        return []
    loop = run.loops[0]
    if isinstance(loop, ast.comprehension):
        return [guard for guard in run.guards if guard.flavor != "other"]
    first, last = loop.lineno, loop.end_lineno or loop.lineno  # type: ignore[attr-defined]
    return [
        guard
        for guard in run.guards
        if guard.flavor != "other" or first <= getattr(guard.node, "lineno", 0) <= last
    ]


def filtered(run: Core, value: Value) -> Value:
    """A parameter of a walk, met under the tests in force: some of the module's parameters.

    A module of a walk keeps the tests that it passed, also where only its name is kept.
    """
    met = value.name_of if isinstance(value, Unknown) else value
    if isinstance(met, Mod) and met.path == "*":
        passed = tuple(
            guard
            for guard in run.guards
            if any(test.module is met for test in guard.tests)
            or (isinstance(guard.value, Unknown) and guard.value.name_of is met)
        )
        if passed or met is value:
            met.passed = passed
    if isinstance(value, Seq) and value.kind == "tuple":
        return Seq([filtered(run, item) for item in value.items], "tuple", site=value.site)
    if isinstance(value, Param) and value.select is not None:
        filters = value.select.filters | {guard.flavor for guard in guards_inside(run)} - {"other"}
        strings = value.select.strings
        for guard in run.guards:
            if guard.flavor == "named" and isinstance(guard.value, Unknown):
                strings |= guard.value.strings
        return Params(value.select.module, filters, site=value.select.site, strings=strings)
    return value


def collect(run: Core, values: list[Value], site: Site, *, once: bool = False) -> Value:
    """What a generator or comprehension over parameters gives."""
    parts = [filtered(run, value) for value in values]
    if len(parts) == 1 and isinstance(parts[0], Params):
        params = parts[0]
        return Params(params.module, params.filters, once=once, site=site, strings=params.strings)
    return Seq(parts, "generator", open=True, site=site)


# --- containers ------------------------------------------------------------------------------


# --- calls -----------------------------------------------------------------------------------


def escape(run: Core, values: Iterable[Value], site: Site, by: str = "") -> None:
    """Modules and optimizers go where they cannot be followed: `by` is the library function they go to."""
    for value in values:
        for option in each(value):
            if isinstance(option, Unknown) and option.term in run.refined:
                option = run.refined[option.term]
            if isinstance(option, Mod):
                run.emit("escape", site, target=option, name=by)
            elif isinstance(option, Batch):
                option.moved = True  # a mapping may be changed in place
            elif isinstance(option, Params):
                run.emit("escape", site, target=option.module, how="params", name=by)
            elif isinstance(option, Optim):
                run.emit("escape", site, target=option, name=by)
            elif isinstance(option, Seq):
                option.open = True
                escape(run, option.items[:4], site, by)
            elif isinstance(option, Dict):
                escape(run, option.values()[:6], site, by)
            elif isinstance(option, Obj) and option not in run.building:
                escape(run, [v for v in option.attrs.values() if isinstance(v, Mod | Optim)], site, by)


def callee(term: str) -> str:
    """The name of an unknown that is called: a method of what a library made has the library's name."""
    made, made_at, rest = term.partition("@")
    return f"{made}.{rest.rpartition('.')[2]}" if made_at else term


def unknown_call(
    run: Core, function: Value, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """A call that cannot be followed."""
    if isinstance(function, Unknown) and function.term in run.refined:
        return methods.forward(run, run.refined[function.term], args, kwargs, site)
    last = function.term.rpartition(".")[2]
    fetched = torchlib.fetches(last, args) and "non_blocking" not in kwargs
    if (not args and last in torchlib.WAITS) or fetched:
        run.emit("wait", site, how="unseen")  # a tensor, most likely, whose value is asked for
    escape(run, [*args, *kwargs.values()], site, callee(function.term))
    if (made := unseen_adapter(run, function.term, args, kwargs, site)) is not None:
        return made
    operands = [t for t in (tensors.as_tensor(run, a) for a in args) if t is not None]
    if operands and isinstance(function, Unknown):
        # an unknown callable on an activation: a layer, most likely; nothing is known of its result
        source = operands[0].source
        return Tensor(None, None, site=site, source=source if source in {"input", "model"} else "unknown")
    return tensors.mixed(f"call@{getattr(site.node, 'lineno', 0)}:{function.term}", [*args, *kwargs.values()])


def shared(run: Core, module: Mod, name: str, file: File) -> None:
    """A module is a global of its file: where it is depends on whichever function moves it."""
    if module not in run.shared and re.search(rf"\b{re.escape(name)}\.(?:to|cuda)\(", file.source.text):
        run.shared.add(module)
        if file is not run.main:
            run.set(module, "device", None)


def unseen_adapter(
    run: Core, name: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Mod | None:
    """What a class or function that is not in sight makes of a layer, if its name or a rank that it is
    given says that this is an adapter: a module around the layer.
    """
    last = name.split("@")[0].rsplit(".", 1)[-1].lower()
    if not any(word in last for word in ADAPTERS) and not kwargs.keys() & RANKS:
        return None
    for value in [*args, *kwargs.values()]:
        for option in each(value):
            if isinstance(option, Mod) and option.parent is not None:
                made = Mod(site, run.tick(), qual=f"{UNSEEN}{name}")
                made.attrs["base"] = option
                return made
    return None


def decorated(run: Core, decorator: ast.expr, scope: Scope) -> Callable[[], Any]:
    """A decorator that is a context (`@torch.no_grad()`, `@torch.autocast(...)`) holds for the call."""
    if isinstance(decorator, ast.Name | ast.Attribute | ast.Call):
        value = run.ev(decorator, scope)
        if isinstance(value, torchlib.Context):
            return torchlib.enter(run, value)
    return lambda: None
