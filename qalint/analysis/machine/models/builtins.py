"""Python's own functions and containers, and pieces of the standard library."""

from __future__ import annotations

import ast
from typing import Any

from ...records import RECORDS, record
from ..base import Dead
from ..calls import Call
from ..objects import DictObj, Instance, Iter, ListObj, Model
from ..selection import chosen as chosen_cells
from ..story import Save
from ..values import (
    NONE,
    Bound,
    Cells,
    Cls,
    Const,
    Fn,
    Lib,
    Method,
    Partial,
    Ref,
    Super,
    Term,
    Tup,
    Value,
    chosen,
    flow_of,
    mix,
    term,
)
from . import library, method


def _mixed(call: Call) -> Value:
    flow = None
    for value in call.values:
        flow = mix(flow, flow_of(value), call.place)
    return call.fresh(flow)


@library(
    "builtins.list",
    "builtins.tuple",
    "builtins.sorted",
    "builtins.set",
    "builtins.reversed",
    "builtins.frozenset",
)
def list_(call: Call) -> Value:
    """A list of what an iterable yields; parameters stay parameters."""
    value = call.arg(0)
    world, machine = call.world, call.machine
    if value is None:
        return (
            Tup(())
            if call.callee.name == "builtins.tuple"
            else world.put(machine.oid(world, "list", call.node), ListObj(call.node, world.module, []))
        )
    value = machine.as_ref(world, value)
    machine.exhaust(world, value, call.node)
    if type(value) is Cells or (type(value) is Ref and isinstance(world.heap.get(value.oid), Iter)):
        cells = machine.cells_of(world, value, call.node)
        if cells is not None:
            return cells if cells.what in ("groups", "group") else cells._replace(what="parameters")
    items = machine.known_items(world, value)
    if items is not None:
        if call.callee.name == "builtins.reversed":
            items = items[::-1]
        if call.callee.name == "builtins.tuple":
            return Tup(tuple(items))
        return world.put(machine.oid(world, "list", call.node), ListObj(call.node, world.module, items))
    if type(value) is Ref and isinstance(world.heap.get(value.oid), ListObj | DictObj):
        return value
    return term("list", value, flow=flow_of(value))


@library(
    "builtins.dict",
    "collections.OrderedDict",
    "types.SimpleNamespace",
    "argparse.Namespace",
    "easydict.EasyDict",
)
def dict_(call: Call) -> Value:
    """A dict of keywords, or an object with attributes."""
    world = call.world
    if call.callee.name in ("types.SimpleNamespace", "argparse.Namespace"):
        obj = Instance(call.node, world.module, None)
        obj.attrs = {k: v for k, v in call.keywords.items() if k != "**"}
        obj.hidden = call.wild
        return world.put(call.machine.oid(world, "new", call.node), obj)
    if call.args:
        inner = call.machine.object(world, call.args[0])
        if isinstance(inner, DictObj):
            made = inner.copy()
            made.items.update(call.keywords)
            return world.put(call.machine.oid(world, "dict", call.node), made)
        return call.fresh()
    items: dict[Any, Value] = {k: v for k, v in call.keywords.items() if k != "**"}
    return world.put(
        call.machine.oid(world, "dict", call.node), DictObj(call.node, world.module, items, call.wild)
    )


@library(*RECORDS)
def record_(call: Call) -> Value:
    """`namedtuple` and its kin: a class of fields."""
    node = record(call.node)
    if node is None:
        return call.fresh()
    flags = {"dataclass"} if call.callee.name == "dataclasses.make_dataclass" else {"dataclass", "tuple"}
    return Cls(node, call.world.module, call.world.frame, (), frozenset(flags))


@library("builtins.zip", "itertools.zip_longest")
def zip_(call: Call) -> Value:
    """`zip`: its elements are known where its parts are."""
    return term("zip", *call.args)


@library("builtins.enumerate")
def enumerate_(call: Call) -> Value:
    """`enumerate`."""
    return term("enumerate", call.args[0]) if call.args else call.fresh()


@library(
    "tqdm.tqdm",
    "tqdm.auto.tqdm",
    "tqdm.notebook.tqdm",
    "tqdm.rich.tqdm",
    "rich.progress.track",
    "builtins.iter",
    "marimo.status.progress_bar",
    "tqdm",
    "tqdm.trange",
    "itertools.cycle",
    "itertools.islice",
    "tqdm.autonotebook.tqdm",
)
def passed(call: Call) -> Value:
    """Yields what its argument yields."""
    value = call.arg(0, "iterable")
    if value is None:
        value = call.arg(0, "collection")
    if value is None:
        return call.fresh()
    if type(call.machine.as_ref(call.world, value)) is Ref or type(value) is Cells:
        return value
    return term("passed", value)


@library("builtins.next")
def next_(call: Call) -> Value:
    """One element."""
    value = call.arg(0)
    if value is None:
        return call.fresh()
    inner = call.machine.as_ref(call.world, value)
    if type(inner) is Ref and isinstance(call.world.heap.get(inner.oid), Iter):
        obj: Any = call.world.heap[inner.oid]
        return obj.cells._replace(what="element", filtered="partial", tests=frozenset())
    return call.fresh(flow_of(value))


@library("builtins.filter")
def filter_(call: Call) -> Value:
    """`filter(lambda p: p.requires_grad, parameters)`."""
    value = call.arg(1)
    if value is None:
        return call.fresh()
    world, machine = call.world, call.machine
    cells = machine.cells_of(world, value, call.node, consume=False)
    if cells is None:
        return call.fresh()
    kept = "partial"
    chosen = call.args[0]
    if type(chosen) is Fn and isinstance(chosen.node, ast.Lambda):
        body = chosen.node.body
        if isinstance(body, ast.Attribute) and body.attr == "requires_grad":
            kept = cells.filtered or "trainable"
    inner = machine.as_ref(world, value)
    obj = Iter(
        call.node, world.module, cells._replace(filtered=kept, what="parameters", tests=frozenset()), inner
    )
    return world.put(machine.oid(world, "iterator", call.node), obj)


@library("builtins.map")
def map_(call: Call) -> Value:
    """`map`: over an iterator of parameters, another one."""
    inner = call.machine.as_ref(call.world, call.arg(1))
    obj = call.world.heap.get(inner.oid) if type(inner) is Ref else None
    if isinstance(obj, Iter) and len(call.args) == 2:
        made = Iter(call.node, call.world.module, obj.cells._replace(names=False), inner)
        return call.world.put(call.machine.oid(call.world, "iterator", call.node), made)
    return term("mapped", *call.args[1:]) if len(call.args) > 1 else call.fresh()


@library("itertools.chain")
def chain(call: Call) -> Value:
    """`chain(a.parameters(), b.parameters())`: one iterator over all of them."""
    world, machine = call.world, call.machine
    roots: frozenset[Any] = frozenset()
    wide = False
    names = False
    for value in call.args:
        cells = machine.cells_of(world, value, call.node)
        if cells is None:
            wide = True
        else:
            roots |= cells.roots
            wide = wide or cells.wide
            names = cells.names
    if not roots:
        return call.fresh()
    obj = Iter(call.node, world.module, Cells(roots, None, wide, names))
    return world.put(machine.oid(world, "iterator", call.node), obj)


@library("builtins.sum")
def sum_(call: Call) -> Value:
    """A sum: of losses their mix, of parameters a number; it consumes an iterator."""
    value = call.arg(0)
    if value is None:
        return call.fresh()
    inner = call.machine.as_ref(call.world, value)
    call.machine.exhaust(call.world, inner, call.node)
    if type(inner) is Ref and isinstance(call.world.heap.get(inner.oid), Iter):
        call.machine.cells_of(call.world, inner, call.node)
    items = call.machine.known_items(call.world, value)
    flow = flow_of(value)
    for item in items or []:
        flow = mix(flow, flow_of(item), call.place)
    return call.fresh(flow)


@library("builtins.getattr")
def getattr_(call: Call) -> Value:
    """`getattr(x, "name", default)`."""
    name = call.const(1)
    if not isinstance(name, str) or not call.args:
        if call.args and name is NotImplemented:
            base = call.machine.as_ref(call.world, call.args[0])
            if type(base) in (Term, Ref):
                return term("item", base, call.args[1])
        return call.fresh()
    base = call.machine.as_ref(call.world, call.args[0])
    default = call.arg(2)
    if type(base) is Ref and default is not None:
        obj = call.world.heap.get(base.oid)
        if isinstance(obj, Instance) and not obj.hidden and name not in obj.attrs:
            found = call.machine.member(call.world, obj.cls, name) if type(obj.cls) is Cls else None
            if found is None and not isinstance(obj, Model):
                return default
    if type(base) is Const and base.value is None:
        if default is None:
            raise Dead
        return default
    return call.machine.get_attribute(call.world, base, name, call.node)


@library("builtins.setattr")
def setattr_(call: Call) -> Value:
    """`setattr(x, name, value)`."""
    if len(call.args) < 3:
        return NONE
    machine, world = call.machine, call.world
    name = call.const(1)
    base, value = machine.as_ref(world, call.args[0]), call.args[2]
    if isinstance(name, str):
        machine.set_attribute(world, base, name, value, call.node)
        return NONE
    inner = machine.as_ref(world, value)
    child = world.heap.get(inner.oid) if type(inner) is Ref else None
    if isinstance(child, Model):
        if type(base) is Ref and isinstance(world.heap.get(base.oid), Model):
            world.edit(base).attrs[f"?{id(call.node)}"] = inner
        if not (type(base) is Ref and machine._constructing(world, base)):
            machine.inject(world, base, inner, "", "setattr", call.node)
    return NONE


@library("functools.partial")
def partial(call: Call) -> Value:
    """`partial(f, ...)`."""
    if not call.args:
        return call.fresh()
    return Partial(call.args[0], tuple(call.args[1:]), tuple(call.keywords.items()))


@library("builtins.super")
def super_(call: Call) -> Value:
    """`super()`."""
    world = call.world
    frame = world.heap[world.frame]
    node = frame.node
    names = frame.vars  # type: ignore[attr-defined]
    arguments = getattr(node, "args", None)
    if arguments is None or not arguments.args:
        return call.fresh()
    receiver = names.get(arguments.args[0].arg, NONE)
    owner = frame.module.parents.get(node)
    receiver = call.machine.as_ref(world, receiver)
    obj = world.heap.get(receiver.oid) if type(receiver) is Ref else None
    cls = obj.cls if isinstance(obj, Instance) else (receiver if type(receiver) is Cls else None)
    found = _class_of(cls, owner)
    return call.fresh() if found is None else Super(found, receiver)


def _class_of(cls: Value, owner: Any) -> Cls | None:
    if type(cls) is not Cls:
        return None
    if cls.node is owner:
        return cls
    for base in cls.bases:
        found = _class_of(base, owner)
        if found is not None:
            return found
    return None


@library(
    "builtins.isinstance", "builtins.hasattr", "builtins.len", "builtins.callable", "builtins.issubclass"
)
def query(call: Call) -> Value:
    """Questions that answer alike when asked alike."""
    world = call.world
    value = call.machine.as_ref(world, call.args[0]) if call.args else NONE
    if call.callee.name == "builtins.len":
        items = call.machine.known_items(world, value)
        if items is not None:
            return Const(len(items))
    if call.callee.name == "builtins.hasattr" and type(value) is Ref and len(call.args) > 1:
        name = call.const(1)
        obj = world.heap.get(value.oid)
        if isinstance(obj, Instance) and isinstance(name, str) and name in obj.attrs:
            return Const(True)
        if isinstance(obj, Instance) and type(obj.cls) is Cls and isinstance(name, str):
            if call.machine.member(world, obj.cls, name) is not None:
                return Const(True)
            if not obj.hidden and not isinstance(obj, Model):
                return Const(False)
    if call.callee.name == "builtins.isinstance" and len(call.args) > 1:
        return _isinstance(call, value, world.resolve(call.args[1]))
    return term("call", call.callee, *call.args)


def _isinstance(call: Call, value: Value, cls: Value) -> Value:
    obj = call.world.heap.get(value.oid) if type(value) is Ref else None
    if isinstance(obj, Instance) and type(obj.cls) is Cls and type(cls) is Cls:
        todo: list[Value] = [obj.cls]
        while todo:
            each = todo.pop()
            if type(each) is Cls:
                if each.node is cls.node:
                    return Const(True)
                todo += each.bases
        if not obj.hidden:
            return Const(False)
    if isinstance(obj, Model | ListObj) and type(cls) is Lib and cls.name in CONTAINERS:
        # A module is no list; a display may have become a set, which is not told apart from a list.
        if isinstance(obj, Model):
            return Const(False)
        return Const(True) if cls.name == "builtins.list" and isinstance(obj.node, ast.List) else call.fresh()
    if type(value) is Const and type(cls) is Lib:
        known = {"builtins.str": str, "builtins.int": int, "builtins.float": float, "builtins.bool": bool}
        kind = known.get(cls.name)
        if kind is not None:
            return Const(isinstance(value.value, kind))
    return term("call", call.callee, *call.args)


CONTAINERS = frozenset(f"builtins.{name}" for name in ("list", "tuple", "dict", "set", "str"))


@library("builtins.bool")
def bool_(call: Call) -> Value:
    """`bool(x)` is x, as a test."""
    return call.args[0] if call.args else Const(False)


@library(
    "builtins.int",
    "builtins.float",
    "builtins.str",
    "builtins.abs",
    "builtins.round",
    "builtins.min",
    "builtins.max",
)
def number(call: Call) -> Value:
    """Numbers and strings of constants fold; else a pure term."""
    values = [call.world.resolve(value) for value in call.args]
    name = call.callee.name.rpartition(".")[2]
    if values and all(type(value) is Const for value in values):
        try:
            return Const(getattr(__import__("builtins"), name)(*(value.value for value in values)))
        except Exception:
            return call.fresh()
    if name == "str" and len(values) == 1 and type(values[0]) is Term and values[0].op == "device":
        # `str(torch.device("cuda"))` is "cuda"
        text = values[0].args[0]
        if len(values[0].args) == 1 and chosen(text):
            return text
    if name in ("int", "float", "str") and len(values) == 1 and flow_of(values[0]) is None:
        return term("call", call.callee, values[0])
    if any(flow_of(value) is not None for value in values) and name in ("min", "max", "abs"):
        return _mixed(call)
    return term("call", call.callee, *values)


@library("builtins.range", "tqdm.auto.trange")
def range_(call: Call) -> Value:
    """A range: empty, or of unknown length."""
    values = [call.world.resolve(value) for value in call.args]
    if values and all(type(value) is Const and type(value.value) is int for value in values):
        known = range(*(value.value for value in values))
        if len(known) == 0:
            return Tup(())
        if len(known) == 1:
            return Tup((Const(known[0]),))
    return term("range", *values)


@library("builtins.property", "functools.wraps", "functools.lru_cache", "atexit.register")
def decorator(call: Call) -> Value:
    """Gives its argument back, or a decorator that does."""
    return call.args[0] if call.args else call.fresh()


@library("torch.save", "pickle.dump", "accelerate.save", "safetensors.torch.save_file")
def save(call: Call) -> Value:
    """Saves: which states are in it."""
    kinds = sorted(_states(call, call.args[0] if call.args else NONE, 0))
    call.tell(Save, of=tuple(kinds))
    return NONE


def _states(call: Call, value: Value, depth: int) -> set[str]:
    value = call.machine.as_ref(call.world, value)
    if type(value) is Term and value.op == "state_dict":
        return {value.args[0]}
    if type(value) is Term and value.op == "ite":
        return _states(call, value.args[1], depth + 1) | _states(call, value.args[2], depth + 1)
    obj = call.world.heap.get(value.oid) if type(value) is Ref else None
    found: set[str] = set()
    if obj is not None and depth < 4:
        if isinstance(obj, DictObj):
            for item in obj.items.values():
                found |= _states(call, item, depth + 1)
            if obj.open:
                found.add("?")
        elif isinstance(obj, ListObj):
            for item in obj.items:
                found |= _states(call, item, depth + 1)
    elif obj is None and type(value) is Term and value.op == "fresh" and not value.args[0]:
        found.add("?")  # what a call gave back; counters and loop variables have names
    return found


@method("*", "state_dict")
def state_of_other(call: Call) -> Value:
    """The state of what no use shows to be a scaler; that of an element of a container may be anything's."""
    receiver = call.receiver
    named = type(receiver) is Term and (
        receiver.op in ("attr", "param", "global") or (receiver.op == "fresh" and not receiver.args[0])
    )
    return term("state_dict", "other", receiver) if named else NotImplemented


# -- containers --


@method("list", "append", "add", "insert")
def append(call: Call) -> Value:
    """One more element."""
    if call.args:
        obj: ListObj = call.world.edit(call.receiver)
        value = call.args[-1]
        if call.world.loops and obj.loops != call.world.loops:
            # Appended to in a loop: any number of them.
            if value not in obj.items:
                obj.items.append(value)
            obj.open = True
            cells = value if type(value) is Cells else None
            if cells is not None and cells.what == "element":
                kept = chosen_cells(cells, call.machine.tests_of(call.world, cells))._replace(
                    what="parameters"
                )
                obj.items = [item for item in obj.items if item != value] + [kept]
                obj.open = False
        else:
            obj.items.append(value)
    return NONE


@method("list", "extend", "update")
def extend(call: Call) -> Value:
    """More elements."""
    if call.args:
        value = call.machine.as_ref(call.world, call.args[0])
        obj: ListObj = call.world.edit(call.receiver)
        cells = None
        if type(value) is Cells or (type(value) is Ref and isinstance(call.world.heap.get(value.oid), Iter)):
            cells = call.machine.cells_of(call.world, value, call.node)
        items = call.machine.known_items(call.world, value)
        obj = call.world.edit(call.receiver)
        if cells is not None:
            if cells not in obj.items:
                obj.items.append(cells)
        elif items is not None and len(obj.items) < 64:
            obj.items += items
            obj.open = obj.open or bool(call.world.loops and obj.loops != call.world.loops)
        else:
            obj.items.append(value)
            obj.open = True
    return NONE


@method("list", "pop", "clear", "remove", "discard", "sort", "reverse")
def shrink(call: Call) -> Value:
    """Some are gone."""
    obj: ListObj = call.world.edit(call.receiver)
    if call.name == "clear":
        obj.items, obj.open = [], False
        return NONE
    obj.open = True
    return obj.items[-1] if call.name == "pop" and len(obj.items) == 1 else call.fresh()


@method("list", "*")
def list_other(call: Call) -> Value:
    """Questions about a list."""
    return call.receiver if call.name == "copy" else call.fresh()


@method("dict", "get", "pop", "setdefault")
def dict_get(call: Call) -> Value:
    """One value, or the default."""
    obj: Any = call.world.get(call.receiver)
    key = call.const(0)
    default = call.arg(1)
    if key is not NotImplemented and key in obj.items:
        return obj.items[key]
    if not obj.open and key is not NotImplemented:
        value = NONE if default is None else default
        if call.name == "setdefault":
            call.world.edit(call.receiver).items[key] = value
        return value
    if not call.args:
        return call.fresh()
    return term("item", call.receiver, call.args[0])


@method("dict", "items", "values", "keys")
def dict_views(call: Call) -> Value:
    """The contents, if they are known."""
    obj: Any = call.world.get(call.receiver)
    if obj.open:
        return term("attr", call.receiver, call.name)
    keys = [key if isinstance(key, (Lib, Fn, Cls)) else Const(key) for key in obj.items]
    if call.name == "keys":
        return Tup(tuple(keys))
    if call.name == "values":
        return Tup(tuple(obj.items.values()))
    return Tup(tuple(Tup((k, v)) for k, v in zip(keys, obj.items.values(), strict=True)))


@method("dict", "update")
def dict_update(call: Call) -> Value:
    """More entries."""
    obj: DictObj = call.world.edit(call.receiver)
    inner = call.machine.object(call.world, call.args[0]) if call.args else None
    if isinstance(inner, DictObj):
        obj.items.update(inner.items)
        obj.open = obj.open or inner.open
    elif call.args:
        obj.open = True
    obj.items.update({k: v for k, v in call.keywords.items() if k != "**"})
    return NONE


@method("dict", "copy")
def dict_copy(call: Call) -> Value:
    """A copy."""
    obj: Any = call.world.get(call.receiver)
    return call.world.put(call.machine.oid(call.world, "dict", call.node), obj.copy())


@method("dict", "*")
def dict_other(call: Call) -> Value:
    """Other methods of a dict."""
    call.world.edit(call.receiver).open = True
    return call.fresh()


@method("str", "*")
def string(call: Call) -> Value:
    """Methods of constant strings fold."""
    values = [call.world.resolve(value) for value in call.args]
    if call.name in STRING and all(type(value) is Const for value in values) and not call.keywords:
        try:
            result = getattr(call.receiver.value, call.name)(*(value.value for value in values))
        except Exception:
            return call.fresh()
        return Tup(tuple(map(Const, result))) if isinstance(result, list) else Const(result)
    return term("call", Method(call.receiver, call.name), *values)


STRING = frozenset(
    [
        "lower",
        "upper",
        "strip",
        "startswith",
        "endswith",
        "split",
        "replace",
        "lstrip",
        "rstrip",
        "partition",
        "join",
    ]
)


@library("enum.Enum", "dataclasses.field", "dataclasses.replace")
def nothing(call: Call) -> Value:
    """Unknown."""
    return call.args[0] if call.args and call.callee.name == "dataclasses.replace" else call.fresh()


@library("dataclasses.asdict", "builtins.vars")
def asdict(call: Call) -> Value:
    """The attributes as a dict."""
    obj = call.machine.object(call.world, call.args[0]) if call.args else None
    if isinstance(obj, Instance):
        return call.world.put(
            call.machine.oid(call.world, "dict", call.node),
            DictObj(call.node, call.world.module, dict(obj.attrs), obj.hidden),
        )
    return call.fresh()


@library("marimo.stop")
def stop(call: Call) -> Value:
    """`mo.stop(test)` ends the cell and all that depend on it: a path on which it is true ends here."""
    test = call.arg(0, "predicate")
    if test is not None and not call.world.assume(test, False):
        raise Dead
    return NONE


__all__ = ["Bound"]
