"""What attributes, methods, containers and calls of modules do."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from . import hub, tensors, torchlib
from .values import (
    Batch,
    Bound,
    Cell,
    Class,
    Const,
    Device,
    Dict,
    Dim,
    Func,
    Lib,
    Loader,
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
    from .interpreter import Interpreter, Super

PLAIN_BASES = frozenset(
    {"torch.nn.Module", "torch.nn.modules.Module", "torch.nn.modules.module.Module", "builtins.object"}
)
CONVERSIONS = frozenset({"to", "cuda", "cpu", "half", "float", "double", "bfloat16"})
HOOKS = "<forward hooks>"
CASTS = {"half": "float16", "float": "float32", "double": "float64", "bfloat16": "bfloat16"}
WALKS = frozenset({"modules", "named_modules", "children", "named_children"})
MODULE_METHODS = (
    WALKS
    | CONVERSIONS
    | frozenset(
        [
            "parameters",
            "named_parameters",
            "buffers",
            "named_buffers",
            "requires_grad_",
            "train",
            "eval",
            "zero_grad",
            "state_dict",
            "load_state_dict",
            "register_buffer",
            "register_parameter",
            "add_module",
            "register_module",
            "get_submodule",
            "get_parameter",
            "set_submodule",
            "apply",
            "register_forward_hook",
            "register_forward_pre_hook",
            "register_full_backward_hook",
            "named_buffers",
            "forward",
            "generate",
            "save_pretrained",
            "push_to_hub",
            "gradient_checkpointing_enable",
            "gradient_checkpointing_disable",
            "enable_input_require_grads",
            "print_trainable_parameters",
            "get_nb_trainable_parameters",
            "get_input_embeddings",
            "get_output_embeddings",
            "resize_token_embeddings",
            "tie_weights",
            "merge_and_unload",
            "num_parameters",
            "append",
            "extend",
            "insert",
            "type",
            "share_memory",
            "compile",
            "extra_repr",
            "reset_parameters",
            "items",
            "keys",
            "values",
            "get_base_model",
            "set_adapter",
            "__class__",
            "_modules",
            "_parameters",
            "__dict__",
            "add_adapter",
            "training",
            "config",
            "generation_config",
            "device",
            "dtype",
            "name_or_path",
            "num_labels",
        ]
    )
)
REFINING = frozenset(
    [
        "named_modules",
        "modules",
        "named_children",
        "children",
        "parameters",
        "named_parameters",
        "requires_grad_",
        "get_submodule",
        "register_forward_hook",
        "gradient_checkpointing_enable",
        "enable_input_require_grads",
        "register_parameter",
        "add_module",
        "named_buffers",
        "print_trainable_parameters",
        "set_submodule",
        "zero_grad",
    ]
) - {"zero_grad"}
HARMLESS = frozenset(
    [
        "print",
        "len",
        "type",
        "isinstance",
        "id",
        "repr",
        "str",
        "hasattr",
        "callable",
        "dir",
        "vars",
        "next",
        "sum",
        "list",
        "sorted",
        "max",
        "min",
        "bool",
        "hash",
        "format",
        "issubclass",
        "any",
        "all",
        "enumerate",
        "zip",
        "iter",
    ]
)


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


def as_module(run: Interpreter, value: Value, site: Site) -> Mod | None:
    """A value as a module; an unknown that is used as one becomes one, the same each time."""
    if isinstance(value, Mod):
        return value
    if isinstance(value, Unknown):
        if value.term not in run.refined:
            run.refined[value.term] = Mod(site, 0)
        return run.refined[value.term]
    if isinstance(value, Union):
        for option in value.options:
            if isinstance(option, Mod):
                return option
    return None


def part(run: Interpreter, module: Mod, path: str, site: Site) -> Mod:
    """A part of a module that is not in sight, the same each time."""
    if path not in module.parts:
        piece = Mod(site, 0, parent=module, path=path)
        piece.family = module.family
        piece.name = f"{module.name}.{path}" if module.name and path != "*" else ""
        module.parts[path] = piece
    return module.parts[path]


def fresh_module(run: Interpreter, module: Mod, kwargs: dict[str, Value]) -> None:
    """A module has just been made: its dtype and device."""
    dtype = torchlib.dtype_in(run, kwargs)
    run.set(module, "dtype", dtype if dtype is not None or "dtype" in kwargs else run.default_dtype)
    device = torchlib.device_in(run, kwargs)
    if device is None and "device" not in kwargs and not run.default_device:
        device = tensors.CPU
    run.set(module, "device", device)


def constructed(run: Interpreter, module: Mod, args: list[Value], kwargs: dict[str, Value]) -> None:
    """A library module got its constructor's arguments."""
    names = {
        "Linear": ("in_features", "out_features", "bias"),
        "Conv1D": ("out_features", "in_features"),
        "Embedding": ("num_embeddings", "embedding_dim"),
    }.get((module.qual or "").rsplit(".", 1)[-1], ())
    for name, value in zip(names, args, strict=False):
        module.args[name] = value
    renamed = {"nf": "out_features", "nx": "in_features"} if "Conv1D" in (module.qual or "") else {}
    for name, value in kwargs.items():
        module.args[renamed.get(name, name)] = value
    if (module.qual or "").endswith(("ModuleList", "Sequential", "ModuleDict")):
        for value in args:
            if isinstance(value, Seq):
                module.elements.extend(value.items)
            elif isinstance(value, Dict):
                module.elements.extend(value.values())
            else:
                module.elements.append(value)
        for value in module.elements:
            hold(run, module, value)
            element(run, module, value)


def element(run: Interpreter, module: Mod, value: Value) -> None:
    """A container of modules gets an element."""
    for option in each(value):
        if isinstance(option, Mod) and module.site is not None:
            run.emit("attach", option.site or module.site, target=module, value=option, name="", how="init")


def hold(run: Interpreter, module: Mod, value: Value) -> None:
    """`value` becomes a part of `module`, so far as it holds modules and parameters that count."""
    for option in each(value):
        if isinstance(option, Cell) and option is not module:
            option.holders.append((module, run.tick()))


# --- attributes ------------------------------------------------------------------------------


def get_attribute(run: Interpreter, base: Value, name: str, site: Site) -> Value:
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
            return found if is_static(found) else found.bind(base)
        return found or Unknown(f"{base.term}.{name}")
    if isinstance(base, Class):
        if name == "__name__":
            return Const(base.name)
        return base.find(name) or Unknown(f"{base.term}.{name}")
    if isinstance(base, Param | Tensor):
        return tensor_attribute(run, base, name, site)
    if isinstance(base, Device):
        if name == "type":
            return Const(next(iter(base.kinds))) if len(base.kinds) == 1 else Unknown(f"{base.term}.type")
        return Unknown(f"{base.term}.{name}")
    if isinstance(base, Unknown):
        if base.term in run.refined and name not in REFINING:
            return module_attribute(run, run.refined[base.term], name, site)
        if name in REFINING | {"__class__"} | CONVERSIONS:
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
            "endswith",
            "startswith",
        }:
            return Bound(base, name, site.node)
        return Unknown(f"{base.term}.{name}", name_of=base.name_of, strings=base.strings)
    if isinstance(base, Batch):
        return Bound(base, name, site.node)
    return Bound(base, name, site.node)


def is_property(function: Func) -> bool:
    """Whether a function is decorated as a property."""
    return any(
        (isinstance(d, ast.Name) and d.id in {"property", "cached_property"})
        or (isinstance(d, ast.Attribute) and d.attr in {"cached_property"})
        for d in getattr(function.node, "decorator_list", [])
    )


def is_static(function: Func) -> bool:
    """Whether a function is a static method."""
    return any(
        isinstance(d, ast.Name) and d.id == "staticmethod"
        for d in getattr(function.node, "decorator_list", [])
    )


def module_attribute(run: Interpreter, module: Mod, name: str, site: Site) -> Value:
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
            return found if is_static(found) else found.bind(module)
        if found is not None:
            return found
    if name in {"device", "dtype"}:
        run.emit("attribute", site, target=module, name=name)
        if name == "device":
            return run.device_of(module) or Unknown(f"{module.term}.device")
        dtype = run.dtype_of(module)
        return Lib(f"torch.{dtype}") if dtype else Unknown(f"{module.term}.dtype")
    layer = module.kind in {"Linear", "Conv1D"} or module.parent is not None or module.cls is None
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


def weight_of(run: Interpreter, module: Mod, site: Site, name: str = "weight") -> Param:
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


def tensor_attribute(run: Interpreter, base: Param | Tensor, name: str, site: Site) -> Value:
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
    return Bound(base, name, site.node)


def set_attribute(
    run: Interpreter, base: Value, name: str, value: Value, site: Site, how: str = "attribute"
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
        elif name == "data" and isinstance(base, Param):
            tensor = tensors.as_tensor(run, value)
            target = base.select.module if base.select is not None else base
            if tensor is not None and tensor.dtype:
                run.set(target, "dtype", tensor.dtype)
                run.emit("cast", site, target=base, value=tensor.dtype, how="data")
            if tensor is not None and tensor.device is not None:
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
    inside = base in run.building
    old = base.attrs.get(name)
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


def nonleaf(run: Interpreter, value: Value, site: Site, module: Value, name: str) -> None:
    """A converted copy of a parameter is put where a parameter should be."""
    for option in each(value):
        if isinstance(option, Tensor) and option.source == "converted":
            run.emit(
                "nonleaf",
                site,
                target=option.site,
                value=option,
                name="store",
                info={"attribute": name, "module": module},
            )


def tensors_input(run: Interpreter, module: Mod) -> Tensor:
    """What a layer inside a model is fed: activations in the model's dtype, on its device."""
    return Tensor(None, None, site=module.site, source="input")


def deferred(run: Interpreter, function: Value, args: list[Value], site: Site) -> None:
    """Something that runs later, whenever the model does: run it once now, quietly."""
    run.quiet += 1
    try:
        for option in each(function):
            if isinstance(option, Func):
                run.enter(option, args, {}, site)
    finally:
        run.quiet -= 1


def freeze(run: Interpreter, target: Value, value: Value, site: Site, how: str = "") -> None:
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


def guards_inside(run: Interpreter) -> list[Any]:
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


def filtered(run: Interpreter, value: Value) -> Value:
    """A parameter of a walk, met under the tests in force: some of the module's parameters.

    A module of a walk keeps the tests that it passed.
    """
    if isinstance(value, Mod) and value.path == "*":
        value.passed = tuple(
            guard
            for guard in run.guards
            if any(test.module is value for test in guard.tests)
            or (isinstance(guard.value, Unknown) and guard.value.name_of is value)
        )
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


def collect(run: Interpreter, values: list[Value], site: Site, *, once: bool = False) -> Value:
    """What a generator or comprehension over parameters gives."""
    parts = [filtered(run, value) for value in values]
    if len(parts) == 1 and isinstance(parts[0], Params):
        params = parts[0]
        return Params(params.module, params.filters, once=once, site=site, strings=params.strings)
    return Seq(parts, "generator", open=True, site=site)


# --- containers ------------------------------------------------------------------------------


def extend(run: Interpreter, sequence: Seq, value: Value) -> None:
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


def item(run: Interpreter, base: Value, index: Value, site: Site) -> Value:
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
            found = join(found, value)
        return found or run.fresh("item", site.node)
    if isinstance(base, Dict):
        if isinstance(index, Const) and index.value in base.pairs:
            return base.pairs[index.value]
        found = None
        for value in base.rest[:6]:
            found = join(found, value)
        return found or Unknown(f"{base.term}[{index.term}]")
    if isinstance(base, Shape):
        if isinstance(index, Const) and isinstance(index.value, int):
            return tensors.dimension(run, base, index.value)
        return base
    if isinstance(base, Mod):
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
        return part(run, base, "*" if not isinstance(index, Const) else f"[{index.value}]", site)
    if isinstance(base, Tensor | Param):
        tensor = tensors.as_tensor(run, base)
        assert tensor is not None
        if isinstance(base, Tensor) and base.source == "output":
            return base
        return tensor.copy(
            dims=None, fill=None, weights=(), source=tensor.source if isinstance(base, Tensor) else "weight"
        )
    if isinstance(base, Batch):
        return Tensor(None, None if base.moved else tensors.CPU, site=base.site, source="batch")
    if isinstance(base, Lib):
        return base
    if isinstance(base, Bound) and base.name in {"_modules", "_parameters", "__dict__"}:
        if isinstance(base.base, Mod):
            return run.parts.get((id(base.base), f"_modules[{index.term}]")) or part(
                run, base.base, "*", site
            )
    return tensors.mixed("item", [base, index])


def set_item(run: Interpreter, base: Value, index: Value, value: Value, site: Site) -> None:
    """`base[index] = value`."""
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
            hold(run, base, value)
            return
        hold(run, base, value)
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
        hold(run, base.base, value)
        run.parts[(id(base.base), f"_modules[{index.term}]")] = value
        run.emit(
            "attach", site, target=base.base, value=value, name=_text(index), how="item", info={"name": index}
        )


def extend_attribute(run: Interpreter, container: Seq | Dict, value: Value, site: Site) -> None:
    """A container that is an attribute of a module got a value."""
    event = run.listed.get(id(container))
    if event is not None and event.value is container:
        run.emit("listed", site, target=event.target, value=container, args=[value], name=event.name)


def _text(value: Value) -> str:
    return value.value if isinstance(value, Const) and isinstance(value.value, str) else ""


def elements(run: Interpreter, value: Value, site: Site, most: int) -> list[Value]:
    """What iterating over `value` yields: see `Interpreter.elements`."""
    if isinstance(value, Union):
        return [element for option in value.options[:3] for element in elements(run, option, site, most)]
    if isinstance(value, Seq):
        if len(value.items) <= most:
            return list(value.items) or (
                [] if not value.open and value.site is not None else [run.fresh("element", site.node)]
            )
        found: Value | None = None
        for item_ in value.items[:6]:
            found = join(found, item_)
        strings = tensors.strings_of(value)
        if strings and all(isinstance(item_, Const) for item_ in value.items):
            return [Unknown(f"element({value.term})", strings=frozenset(strings))]
        return [found] if found is not None else []
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
        parameter = Param(site, 0)
        parameter.owner = value.module
        parameter.name = "*"
        parameter.select = value
        parameter.holders.append((value.module, 0))
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
        return [part(run, value, "*", site)]
    if isinstance(value, Loader):
        return [Batch(value.site)]
    if isinstance(value, Batch):
        return [value]
    if isinstance(value, Tensor):
        return [value.copy(dims=None)]
    if isinstance(value, Bound) and value.name in {"_modules"} and isinstance(value.base, Mod):
        return [part(run, value.base, "*", site)]
    if isinstance(value, Unknown):
        return [Unknown(f"{value.term}[{site.node.lineno}]", strings=value.strings, name_of=value.name_of)]  # type: ignore[attr-defined]
    return [run.fresh("element", site.node)]


# --- calls -----------------------------------------------------------------------------------


def escape(run: Interpreter, values: Iterable[Value], site: Site) -> None:
    """Modules and optimizers go where they cannot be followed."""
    for value in values:
        for option in each(value):
            if isinstance(option, Unknown) and option.term in run.refined:
                option = run.refined[option.term]
            if isinstance(option, Mod):
                run.emit("escape", site, target=option)
            elif isinstance(option, Params):
                run.emit("escape", site, target=option.module, how="params")
            elif isinstance(option, Optim):
                run.emit("escape", site, target=option)
            elif isinstance(option, Seq):
                option.open = True
                escape(run, option.items[:4], site)
            elif isinstance(option, Dict):
                escape(run, option.values()[:6], site)
            elif isinstance(option, Obj) and option not in run.building:
                escape(run, [v for v in option.attrs.values() if isinstance(v, Mod | Optim)], site)


def unknown_call(
    run: Interpreter, function: Value, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """A call that cannot be followed."""
    if isinstance(function, Unknown) and function.term in run.refined:
        return forward(run, run.refined[function.term], args, kwargs, site)
    escape(run, [*args, *kwargs.values()], site)
    operands = [t for t in (tensors.as_tensor(run, a) for a in args) if t is not None]
    if operands and isinstance(function, Unknown):
        # an unknown callable on an activation: a layer, most likely; nothing is known of its result
        source = operands[0].source
        return Tensor(None, None, site=site, source=source if source in {"input", "model"} else "unknown")
    return tensors.mixed(f"call@{getattr(site.node, 'lineno', 0)}:{function.term}", [*args, *kwargs.values()])


def call(run: Interpreter, name: str, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
    """A call of a library function or class."""
    return torchlib.call(run, name, args, kwargs, site)


def super_call(
    run: Interpreter, base: Super, name: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """A method of a library base class, through `super()`."""
    receiver = base.receiver
    if isinstance(receiver, Mod):
        if name == "__init__":
            if receiver.qual != "torch.nn.Module":
                constructed(run, receiver, args, kwargs)
                if kwargs.keys() & {"dtype", "device"}:
                    fresh_module(run, receiver, kwargs)
            return Const(None)
        if name in {"forward", "__call__"} and receiver.qual and receiver.qual.startswith("torch.nn."):
            tensor = next((t for t in (tensors.as_tensor(run, a) for a in args) if t is not None), None)
            return Tensor(
                tensor.dtype if tensor else None, tensor.device if tensor else None, site=site, source="model"
            )
        return method(run, receiver, name, args, kwargs, site)
    return run.fresh("super", site.node)


def forward(run: Interpreter, module: Mod, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
    """`module(...)`, with its forward hooks."""
    value = plain_forward(run, module, args, kwargs, site)
    hooks = module.attrs.get(HOOKS)
    for hook in hooks.items if isinstance(hooks, Seq) else ():
        if isinstance(hook, Func):
            changed = run.enter(hook, [module, Seq(args, "tuple", site=site), value], {}, site)
            if not (isinstance(changed, Const) and changed.value is None):
                value = changed
    return value


def plain_forward(
    run: Interpreter, module: Mod, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """`module(...)`, without hooks."""
    everything = [*args, *kwargs.values()]
    run.emit("forward", site, target=module, args=everything, info={"kwargs": kwargs})
    run.emit("work", site, target=module)
    run_adapters(run, module, site)
    patched = module.attrs.get("forward")
    if isinstance(patched, Func) and module not in run.building:
        return run.enter(patched, args, kwargs, site)
    if module.cls is not None:
        method_ = module.cls.find("forward")
        if isinstance(method_, Func):
            return run.enter(method_.bind(module), args, kwargs, site)
    operands = [t for t in (tensors.as_tensor(run, value) for value in everything) if t is not None]
    last = (module.qual or "").rsplit(".", 1)[-1]
    if module.cls is None and operands:
        here = run.device_of(module)
        for operand in operands:
            if tensors.differ(operand.device, here) and (module.qual or "").startswith("torch.nn."):
                weight = Tensor(None, here, site=module.site, source="parameter", weights=((module, False),))
                run.emit("clash", site, how="device", target=operand, value=weight, name="call")
    if last == "Linear" and operands and module.parent is None:
        return tensors.linear(run, module, operands[0], site)
    if last == "Conv1D" and operands and module.parent is None:
        return tensors.linear(run, module, operands[0], site)
    if last in torchlib.TRANSPARENT and operands:
        return operands[0].copy(site=site)
    if last == "Sequential" and operands:
        value: Value = operands[0]
        for element in module.elements:
            value = run.call(element, [value], {}, site.node, Scope(site.file, None, "module"))
        return value
    if last == "Embedding" and module.parent is None:
        return Tensor(run.dtype_of(module), run.device_of(module), site=site, source="model")
    if operands and (module.qual or "").startswith("torch.nn."):
        return Tensor(operands[0].dtype, operands[0].device, site=site, source=operands[0].source)
    if operands and all(operand.dtype in {"int64", "bool", None} for operand in operands):
        return Tensor(
            run.dtype_of(module) if run.in_autocast() is False else None,
            run.device_of(module),
            site=site,
            source="output",
        )
    dtype = operands[0].dtype if operands else run.dtype_of(module)
    return Tensor(
        dtype if run.in_autocast() is False else None, run.device_of(module), site=site, source="output"
    )


def run_adapters(run: Interpreter, module: Mod, site: Site) -> None:
    """A model whose layers are not in sight runs: so do the adapters in it, on its activations."""
    if run.quiet:
        return
    root = module.root
    dtype = run.dtype_of(root)
    autocast = run.in_autocast()
    for event in list(run.events):
        if event.kind != "attach" or event.how == "init" or not isinstance(event.target, Mod):
            continue
        if event.target.root is not root:
            continue
        here = dtype if run.guards_fit(event.guards) else None
        x = Tensor(here, run.device_of(root), site=site, source="input")
        key = (id(event), f"{here}{autocast}{x.device.term if x.device else None}")
        if key in run.applied:
            continue
        run.applied.add(key)
        if isinstance(event.value, Mod) and event.value.cls is not None:
            found = event.value.cls.find("forward")
            if isinstance(found, Func) and len(run.frames) < 10:
                run.enter(found.bind(event.value), [x], {}, site)
        elif isinstance(event.value, Func) and event.how == "forward":
            run.enter(event.value, [x], {}, site)
        elif isinstance(event.value, Func) and event.name == "register_forward_hook":
            run.enter(
                event.value, [event.target, Seq([x], "tuple", site=site), x.copy(source="model")], {}, site
            )


def method(
    run: Interpreter, base: Value, name: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """`base.name(...)` of a library type."""
    if isinstance(base, Unknown) and name in REFINING:
        module = as_module(run, base, site)
        assert module is not None
        base = module
    if isinstance(base, Unknown) and name in CONVERSIONS and base.term in run.refined:
        base = run.refined[base.term]
    if isinstance(base, Mod):
        return module_method(run, base, name, args, kwargs, site)
    if isinstance(base, Param | Tensor):
        return torchlib.tensor_method(run, base, name, args, kwargs, site)
    if isinstance(base, Seq):
        return sequence_method(run, base, name, args, site)
    if isinstance(base, Dict):
        return dict_method(run, base, name, args, site)
    if isinstance(base, Optim):
        return optimizer_method(run, base, name, args, site)
    if isinstance(base, Batch):
        if name in {"to", "cuda"}:
            return Batch(base.site, moved=True)
        if name == "items":
            return Seq([Seq([run.fresh("key", site.node), base], "tuple")], "list", open=True, site=site)
        if name == "values":
            return Seq([base], "list", open=True, site=site)
        return base
    if isinstance(base, Lib):
        return call(run, f"{base.name}.{name}", args, kwargs, site)
    if isinstance(base, Const) and isinstance(base.value, str):
        if name in {"format", "join", "lower", "strip", "replace", "split"}:
            return tensors.mixed(f"str.{name}", [base, *args])
    if (
        isinstance(base, Bound)
        and base.name in {"_modules", "_parameters", "__dict__"}
        and isinstance(base.base, Mod)
    ):
        if name == "items":
            return Walk(base.base, "named_children", site)
        if name in {"values", "get"}:
            return Walk(base.base, "children", site) if name == "values" else part(run, base.base, "*", site)
    if isinstance(base, Unknown) and base.name_of is None and name not in {"items", "keys", "values"}:
        escape(run, [*args, *kwargs.values()], site)
    if isinstance(base, Unknown) and name in CONVERSIONS:
        return Unknown(base.term, name_of=base.name_of, strings=base.strings)
    if name == "backward":
        run.emit("backward", site, target=base)
        run.emit("work", site)
    elif name == "step" and not isinstance(base, Batch):
        for argument in args:
            if isinstance(argument, Optim):
                run.emit("step", site, target=argument)
        run.emit("work", site)
    elif name in {"scale", "unscale_"} and args:
        return args[0]
    return tensors.mixed(f"{name}", [base, *args, *kwargs.values()])


def module_method(
    run: Interpreter, module: Mod, name: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """A method that every module has."""
    first = args[0] if args else None
    if name in CONVERSIONS:
        return convert(run, module, name, args, kwargs, site)
    if name in {"parameters", "named_parameters"}:
        if module.path == "*" and isinstance(module.args.get("walk"), Walk):
            filters = frozenset({"typed"} if any(g.tests for g in guards_inside(run)) else set()) | {
                g.flavor for g in guards_inside(run) if g.flavor == "named"
            }
            return Params(module, filters, named=name[0] == "n", once=True, site=site)
        return Params(module, named=name.startswith("named"), once=True, site=site)
    if name in WALKS:
        return Walk(module, name, site)
    if name == "requires_grad_":
        freeze(run, module, first or kwargs.get("requires_grad") or Const(True), site)
        return module
    if name in {"train", "eval", "share_memory", "zero_grad", "compile", "tie_weights"}:
        return module
    if name == "apply" and first is not None:
        run.loops.append(site.node)
        piece = Mod(site, 0, parent=module, path="*")
        piece.args["walk"] = Walk(module, "modules", site, listed=True)
        if isinstance(first, Func):
            run.enter(first, [piece], {}, site)
        run.loops.pop()
        return module
    if name in {"add_module", "register_module", "register_parameter"} and len(args) >= 2:
        if isinstance(args[0], Const) and isinstance(args[0].value, str):
            set_attribute(run, module, args[0].value, args[1], site, how=name)
        else:
            attach(run, module, args[0], args[1], site, name)
        return Const(None)
    if name == "register_buffer" and len(args) >= 2:
        value = args[1]
        if isinstance(args[0], Const) and isinstance(args[0].value, str):
            tensor = tensors.as_tensor(run, value)
            buffer = Param(site, run.tick())
            buffer.tensor_of = "buffer"
            if tensor is not None:
                run.set(buffer, "dtype", tensor.dtype)
                run.set(buffer, "device", tensor.device)
            buffer.holders.append((module, run.tick()))
            module.attrs[args[0].value] = buffer
        return Const(None)
    if name in {"get_submodule", "get_parameter"}:
        if isinstance(first, Const) and isinstance(first.value, str) and first.value in module.attrs:
            return module.attrs[first.value]
        piece = part(run, module, f"({first.term if first else ''})", site)
        return piece
    if name == "set_submodule" and len(args) >= 2:
        attach(run, module, args[0], args[1], site, "setattr")
        return Const(None)
    if name in {"register_forward_hook", "register_forward_pre_hook"} and first is not None:
        run.emit("attach", site, target=module, value=first, name=name, how="hook")
        if name == "register_forward_hook":
            hooks = module.attrs.setdefault(HOOKS, Seq([], "list"))
            if isinstance(hooks, Seq):
                hooks.items.append(first)
        x = tensors_input(run, module)
        inputs: list[Value] = [module, Seq([x], "tuple", site=site)]
        if name == "register_forward_hook":
            inputs.append(Tensor(None, None, site=site, source="model"))
        deferred(run, first, inputs, site)
        return run.fresh("handle", site.node)
    if name == "enable_input_require_grads":
        run.emit("inputs", site, target=module)
        return Const(None)
    if name in {"print_trainable_parameters", "get_nb_trainable_parameters", "num_parameters"}:
        run.emit("count", site, target=module)
        return run.fresh(name, site.node)
    if name in {"append", "extend", "insert"}:
        value = args[-1] if args else Const(None)
        values = value.items if isinstance(value, Seq) and name == "extend" else [value]
        module.elements.extend(values)
        for added in values:
            hold(run, module, added)
            element(run, module, added)
        return Const(None)
    if name in {"items", "values"} and module.elements:
        pairs = [Seq([run.fresh("key", site.node), inner], "tuple") for inner in module.elements]
        return Seq(pairs if name == "items" else module.elements, "list", open=True, site=site)
    if name in {"items", "values"}:
        return Walk(module, "named_children" if name == "items" else "children", site)
    if name in {"forward", "generate"}:
        return forward(run, module, args, kwargs, site)
    if name in {"merge_and_unload", "get_base_model"}:
        return module
    if name in {"add_adapter"}:
        run.emit("attach", site, target=module, value=first or Const(None), name="", how="peft")
        return Const(None)
    if name in {"get_input_embeddings", "get_output_embeddings"}:
        return part(run, module, name, site)
    if name in {
        "state_dict",
        "buffers",
        "named_buffers",
        "extra_repr",
        "save_pretrained",
        "push_to_hub",
        "load_state_dict",
    }:
        return Unknown(f"{module.term}.{name}()")
    if name == "__class__":
        return run.fresh("instance", site.node)
    if module.cls is None and not module.known:
        escape(run, args, site)
    return tensors.mixed(name, [module, *args])


def attach(run: Interpreter, module: Mod, name: Value, value: Value, site: Site, how: str) -> None:
    """`setattr(module, name, value)` and its kin, with a name that may be unknown."""
    text = _text(name)
    if text:
        set_attribute(run, module, text, value, site, how=how)
        return
    for option in each(value):
        if isinstance(option, Mod | Param):
            hold(run, module, option)
            run.emit("attach", site, target=module, value=option, name="", how=how, info={"name": name})


def convert(
    run: Interpreter, module: Mod, name: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Mod:
    """A module's `to`, `cuda`, `half` and kin: in place."""
    dtype, device, asked = torchlib.target(run, name, args, kwargs)
    if asked in {"dtype", "both"}:
        run.set(module, "dtype", dtype)
        run.emit("cast", site, target=module, value=dtype, how=name)
    if asked in {"device", "both", "unknown"}:
        run.set(module, "device", device)
        run.emit("move", site, target=module, value=device, how=name)
    if asked == "unknown":
        run.set(module, "dtype", None)
    return module


def sequence_method(run: Interpreter, base: Seq, name: str, args: list[Value], site: Site) -> Value:
    """A list's or set's method."""
    if name in {"append", "add", "insert", "appendleft"} and args:
        base.items.append(filtered(run, args[-1]))
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


def dict_method(run: Interpreter, base: Dict, name: str, args: list[Value], site: Site) -> Value:
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


def optimizer_method(run: Interpreter, base: Optim, name: str, args: list[Value], site: Site) -> Value:
    """An optimizer's method."""
    if name == "step":
        run.emit("step", site, target=base)
        run.emit("work", site)
    elif name == "add_param_group" and args:
        run.emit("group", site, target=base, value=args[0])
        base.params.extend(torchlib.flatten(args[0]))
    return run.fresh(name, site.node)


def enter(run: Interpreter, value: Value) -> Callable[[], Any]:
    """A `with` item is entered; the result leaves it."""
    return torchlib.enter(run, value)


def decorated(run: Interpreter, decorator: ast.expr, scope: Scope) -> Callable[[], Any]:
    """A decorator that is a context (`@torch.no_grad()`, `@torch.autocast(...)`) holds for the call."""
    if isinstance(decorator, ast.Name | ast.Attribute | ast.Call):
        value = run.ev(decorator, scope)
        if isinstance(value, torchlib.Context):
            return torchlib.enter(run, value)
    return lambda: None


def decorate(run: Interpreter, decorator: ast.expr, value: Value, scope: Scope) -> Value:
    """What a decorator makes of a function: unknown ones leave it as it is."""
    del run, decorator, scope
    return value


__all__ = ["CONVERSIONS", "hub"]
