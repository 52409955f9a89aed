"""What Python's own functions do."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from . import containers, effects, lacking, methods, narrowing, spellings, tensors, torchlib
from .values import (
    Bound,
    Class,
    Const,
    Dict,
    Func,
    Lib,
    Mod,
    Obj,
    Param,
    Params,
    Seq,
    Site,
    Tensor,
    Test,
    Union,
    Unknown,
    Value,
    Walk,
    each,
)

if TYPE_CHECKING:
    from .core import Core


def builtin(run: Core, name: str, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
    """Python's own functions."""
    first = args[0] if args else None
    if name == "open":
        return torchlib.Context("null", False, None)
    if name in {"list", "tuple", "set", "sorted"}:
        return listed(run, name, first, site)
    if name == "filter" and len(args) == 2:
        return filtered(run, args[0], args[1], site)
    if name == "map" and len(args) == 2:
        found = [
            run.call(args[0], [element], {}, site.node, torchlib.scope_of(run, site))
            for element in containers.elements(run, args[1], site, 5)
        ]
        return Seq(found, "generator", open=True, site=site)
    if name == "isinstance" and len(args) == 2:
        return isinstance_(run, args[0], args[1], site)
    if name == "hasattr" and len(args) == 2:
        return hasattr_(run, args[0], args[1], site)
    if name == "getattr" and len(args) >= 2:
        if isinstance(args[1], Const) and isinstance(args[1].value, str):
            return lacking.got(run, args[0], args[1].value, args[2] if len(args) > 2 else None, site)
        module = effects.as_module(run, args[0], site) if isinstance(args[0], Mod) else None
        if module is not None:
            run.emit("reflect", site, target=module, value=args[1])
            if module.attrs and module.known:
                return run.fresh("getattr", site.node)
            return effects.named(run, module, args[1], site)
        if isinstance(args[0], Lib):
            return run.fresh("getattr", site.node)
        return tensors.mixed("getattr", args[:2])
    if name == "setattr" and len(args) == 3:
        setter(run, args, site)
        return Const(None)
    if name == "vars" and isinstance(first, Mod | Obj):
        return Bound(first, "__dict__", site.node)
    if name == "type" and len(args) == 1 and first is not None:
        if isinstance(first, Unknown):
            return Bound(first, "__class__", site.node)
        return (
            Bound(first, "__class__", site.node)
            if isinstance(first, Mod | Union)
            else run.fresh("type", site.node)
        )
    if name == "str" and isinstance(first, Bound) and first.name == "__class__":
        return Bound(first, "__str__", site.node)
    if name in {"enumerate", "zip", "reversed", "iter"} and args:
        return pairing(run, name, args, site)
    if name == "next" and first is not None:
        found_ = containers.elements(run, first, site, 5)
        return found_[0] if found_ else run.fresh("next", site.node)
    if name == "dict":
        if isinstance(first, Params | Walk):
            return listed(run, "list", first, site)
        table = Dict(dict(kwargs), [], site)
        rows = first.items if isinstance(first, Seq) else []
        if isinstance(first, Seq) and all(isinstance(row, Seq) and len(row.items) == 2 for row in rows):
            for key, value in (row.items for row in rows if isinstance(row, Seq)):
                if isinstance(key, Const) and not first.open:
                    table.pairs[key.value] = value
                else:
                    table.rest.append(value)
            table.open = first.open
            return table
        table.open = first is not None and not isinstance(first, Dict)
        if isinstance(first, Dict):
            table.pairs = {**first.pairs, **kwargs}
            table.rest = list(first.rest)
        return table
    if name in {"any", "all"} and isinstance(first, Seq):
        return tensors.mixed(name, first.items or [first])
    if name in {"len", "int", "float", "bool", "str", "sum", "min", "max", "abs", "round", "id", "repr"}:
        if name == "float" and isinstance(first, Tensor):
            run.emit("wait", site, how="float")
        if isinstance(first, Const) and name in {"int", "float", "str", "bool", "abs"}:
            try:
                return Const(torchlib.PLAIN[name](first.value), site)
            except (TypeError, ValueError):
                return run.fresh(name, site.node)
        if name in {"int", "float", "bool"} and isinstance(first, Unknown):
            return first
        return tensors.mixed(name, args)
    if name == "print":
        for value in args:
            for option in each(value):
                if isinstance(option, Tensor):
                    run.emit("wait", site, how="print")
        return Const(None)
    if name == "range":
        return Seq([run.fresh("index", site.node)], "list", open=True, site=site)
    return tensors.mixed(name, args) if args else run.fresh(name, site.node)


def listed(run: Core, name: str, value: Value | None, site: Site) -> Value:
    """`list(...)` and its kin."""
    kind = {"sorted": "list"}.get(name, name)
    if value is None:
        return Seq([], kind, site=site)
    if isinstance(value, Walk):
        return Walk(value.module, value.kind, site, listed=True)
    if isinstance(value, Params):
        return Params(value.module, value.filters, named=value.named, site=value.site, strings=value.strings)
    if isinstance(value, Seq):
        return Seq(value.items, kind, open=value.open, site=site)
    if isinstance(value, Dict):
        return Seq([Const(key) for key in value.pairs], kind, open=bool(value.rest), site=site)
    if isinstance(value, Unknown):
        return value
    return Seq(containers.elements(run, value, site, 5), kind, open=True, site=site)


def filtered(run: Core, function: Value, value: Value, site: Site) -> Value:
    """`filter(function, parameters)`."""
    items = containers.elements(run, value, site, 5)
    flavors: set[str] = set()
    strings: frozenset[str] = frozenset()
    if isinstance(function, Func):
        from .core import flavor

        body: ast.AST = function.node.body if isinstance(function.node, ast.Lambda) else function.node
        result = run.enter(function, items[:1], {}, site)
        flavors.add(flavor(body, result))
        if isinstance(result, Unknown):
            strings = result.strings
    if isinstance(value, Params):
        return Params(
            value.module, value.filters | flavors, named=value.named, once=True, site=site, strings=strings
        )
    return Seq(items, "generator", open=True, site=site)


def setter(run: Core, args: list[Value], site: Site) -> None:
    """`setattr(object, name, value)`."""
    base, name, value = args
    if isinstance(base, Union):
        for option in each(base):
            if isinstance(option, Mod):
                setter(run, [option, name, value], site)
        return
    if isinstance(base, Unknown) and isinstance(value, Mod | Param | Union):
        base = effects.as_module(run, base, site) or base
    if isinstance(base, Unknown) and any(isinstance(option, Mod | Param) for option in each(value)):
        base = effects.as_module(run, base, site) or base
    if isinstance(base, Mod):
        methods.attach(run, base, name, value, site, "setattr")
    elif isinstance(name, Const) and isinstance(name.value, str):
        effects.set_attribute(run, base, name.value, value, site, how="setattr")
    elif isinstance(base, Obj):
        base.attrs[lacking.ANY] = value  # under which name, is not seen


def pairing(run: Core, name: str, args: list[Value], site: Site) -> Value:
    """`enumerate`, `zip`, `reversed`, `iter`."""
    if name in {"reversed", "iter"}:
        return args[0]
    columns = [containers.elements(run, value, site, 5) for value in args]
    exact = all(
        (isinstance(value, Seq) and not value.open)
        or (isinstance(value, Mod) and len(value.elements) <= 5 and value.kind == "Sequential")
        for value in args
    )
    if name == "enumerate":
        rows = [
            Seq([Const(i) if exact else run.fresh("index", site.node), e], "tuple", site=site)
            for i, e in enumerate(columns[0])
        ]
        return Seq(rows, "list", open=not exact, site=site)
    count = min(len(column) for column in columns)
    return Seq(
        [Seq([c[i] for c in columns], "tuple", site=site) for i in range(count)],
        "list",
        open=not exact,
        site=site,
    )


def isinstance_(run: Core, value: Value, classes: Value, site: Site) -> Value:
    """`isinstance(value, classes)`, as a test of a layer's type where it is one."""
    names = tensors.class_names(classes)
    if isinstance(value, Unknown) and any(name.startswith(("torch.nn.", "transformers.")) for name in names):
        value = effects.as_module(run, value, site) or value
    if isinstance(value, Mod):
        short = frozenset(name.rsplit(".", 1)[-1] for name in names)
        if value.cls is not None and short:
            own = {value.cls.name, *(root.rsplit(".", 1)[-1] for root in value.cls.roots())} | ancestors(
                value.cls
            )
            if "Module" in short or own & short:
                return Const(True)
            if all(root in spellings.PLAIN_BASES for root in value.cls.roots()):
                return Const(False)
        if value.cls is None and value.parent is None and value.qual and value.qual.startswith("torch.nn."):
            return Const(value.kind in short or "Module" in short)
        if value.cls is None and value.parent is not None and never_made(run, classes, value.root):
            run.denials += 1
            return Const(False)
        test = Test(value, short, "is", site)
        return Unknown(f"isinstance({value.term},{sorted(names)})", tests=(test,), strings=short)
    if (known := narrowing.all_are(value, names)) is not None:
        return Const(known)
    return tensors.mixed("isinstance", [value, classes])


def never_made(run: Core, classes: Value, model: Mod) -> bool:
    """Whether a part of a model cannot be of some classes of the program: the model came to be in sight, has
    gone nowhere since, and no object of these classes has been made.
    """
    if isinstance(classes, Seq):
        return bool(classes.items) and all(never_made(run, item, model) for item in classes.items)
    if not isinstance(classes, Class) or effects.module_base(classes.roots()) is None or not model.loaded:
        return False
    if any(cls.node in run.built and (cls is classes or derives(cls, classes)) for cls in run.classes):
        return False
    return not any(
        (event.kind == "replaced" or (event.kind == "escape" and not spellings.keeps_trained(event.name)))
        and isinstance(event.target, Mod)
        and event.target.root is model
        for event in run.events
    )


def derives(cls: Class, base: Class) -> bool:
    """Whether a class of the program derives from another."""
    return any(isinstance(one, Class) and (one is base or derives(one, base)) for one in cls.bases)


def ancestors(cls: Class) -> set[str]:
    """The names of a class's ancestors in the program."""
    return {cls.name}.union(*(ancestors(base) for base in cls.bases if isinstance(base, Class)))


def hasattr_(run: Core, value: Value, name: Value, site: Site) -> Value:
    """`hasattr(value, name)`."""
    text = name.value if isinstance(name, Const) else None
    if isinstance(value, Unknown) and text in {"in_features", "nf", "nx", "weight"}:
        value = effects.as_module(run, value, site) or value
    if isinstance(value, Mod) and isinstance(text, str):
        if text in value.attrs:
            return Const(True)
        types = {"nf": "Conv1D", "nx": "Conv1D", "in_features": "Linear", "out_features": "Linear"}.get(text)
        tests = (
            (Test(value, frozenset({types}), "has" if types == "Linear" else "is", site),) if types else ()
        )
        return Unknown(f"hasattr({value.term},{text})", tests=tests)
    if isinstance(value, Obj) and isinstance(text, str):
        if text in value.attrs or value.cls.find(text) is not None:
            return Const(True)
        if lacking.lacks(run, value, text):
            return Const(False)
    return tensors.mixed("hasattr", [value, name])
