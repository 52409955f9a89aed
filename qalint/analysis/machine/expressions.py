"""Expressions: a value in one world, or a `Split` that restarts the statement in several."""

from __future__ import annotations

import ast
import builtins
from typing import Any

from ..records import declared
from . import models
from .base import Dead, Multi, Split
from .facts import dotted
from .families import Families
from .objects import DictObj, Frame, Instance, ListObj, Model, Obj
from .paths import World
from .values import (
    FALSE,
    NONE,
    NOTHING,
    TRUE,
    UNBOUND,
    Bound,
    Cells,
    Cls,
    Const,
    Fn,
    Lazy,
    Lib,
    Method,
    Namespace,
    Partial,
    Ref,
    Super,
    Term,
    Tup,
    Value,
    equal,
    flow_of,
    ite,
    mix,
    term,
)

BUILTINS = frozenset(dir(builtins))
UNROLL = 5
STRINGS = frozenset(("lower", "upper", "strip", "startswith", "endswith", "split", "replace", "capitalize"))


class Expressions(Families):
    """Evaluates expressions."""

    def optional(self, node: ast.expr | None, world: World) -> Value:
        """The value of an expression that may be absent."""
        return NONE if node is None else self.evaluate(node, world)

    # -- names --

    def constant(self, node: ast.Constant, world: World) -> Value:
        """A literal."""
        value = node.value
        if value is None:
            return NONE
        if value is True:
            return TRUE
        if value is False:
            return FALSE
        if value is Ellipsis:
            return Lib("builtins.Ellipsis")
        return Const(value)

    def name(self, node: ast.Name, world: World) -> Value:
        """A name that is read."""
        return self.read_name(node.id, world, node)

    def read_name(self, name: str, world: World, node: ast.AST) -> Value:
        """The value bound to a name, by Python's scoping."""
        oid = world.frame
        while oid:
            frame = world.heap[oid]
            assert isinstance(frame, Frame)
            value = frame.vars.get(name)
            if value is not None:
                if type(value) is Lazy:
                    value = self.force(world, value)
                    world.frame_vars(oid)[name] = value
                    return value
                if type(value) is Const or type(value) is Term:
                    value = self.bound_value(world, value)
                    if type(value) is Term:
                        self.refine_by_name(world, value, name, node)
                return value
            if frame.node is not None and oid[0] == "call":
                facts = frame.module.facts.get(frame.node)
                if facts is not None and name in facts.stores and name not in facts.globals:
                    raise Dead
            oid = frame.parent
        if name in BUILTINS:
            return Lib(f"builtins.{name}")
        return self.refine_by_name(world, term("global", name), name, node)

    def bound_value(self, world: World, value: Value) -> Value:
        """The value, where some path never bound it: those paths end here."""
        value = world.resolve(value)
        if value is UNBOUND:
            raise Dead
        while type(value) is Term and value.op == "ite":
            if value.args[1] is UNBOUND:
                if not world.assume(value.args[0], False):
                    raise Dead
            elif value.args[2] is UNBOUND:
                if not world.assume(value.args[0], True):
                    raise Dead
            else:
                break
            value = world.resolve(value)
        return value

    def force(self, world: World, value: Value) -> Value:
        """Read what a `from project import name` stands for; see `programs`."""
        raise NotImplementedError

    # -- attributes --

    def attribute(self, node: ast.Attribute, world: World) -> Value:
        """An attribute that is read."""
        base = self.evaluate(node.value, world)
        value = self.get_attribute(world, base, node.attr, node)
        kind = type(value)
        if kind is Term or kind is Const:
            value = self.bound_value(world, value)
            if type(value) is Term:
                self.refine_by_name(world, value, node.attr, node)
        return value

    def get_attribute(self, world: World, base: Value, name: str, node: ast.AST) -> Value:
        """Read an attribute of a value."""
        base = world.resolve(base)
        kind = type(base)
        if kind is Lib:
            return Lib(f"{base.name}.{name}")
        if kind is Term:
            found = world.bind.get(base)
            if found is not None:
                return self.get_attribute(world, found, name, node)
            if base.op == "ite":
                yes, no = base.args[1], base.args[2]
                if not self.possible(world, yes) or not self.possible(world, no):
                    return self.get_attribute(world, self.decide(world, base), name, node)
                left = self.get_attribute(world, yes, name, node)
                right = self.get_attribute(world, no, name, node)
                return ite(base.args[0], left, right)
            set_ = world.attrs.get((base, name))
            if set_ is not None:
                return set_
            return self.term_attribute(world, base, name, node)
        if kind is Ref:
            obj = world.heap.get(base.oid)
            if obj is None:
                return self.fresh(world, node)
            return self.object_attribute(world, base, obj, name, node)
        if kind is Const:
            if base.value is None or base is UNBOUND:
                raise Dead
            return Method(base, name)
        if kind is Cells:
            model = models.ATTRIBUTES.get((base.what, name))
            return model(self, world, base, node) if model is not None else Method(base, name)
        if kind is Namespace:
            return self.force(world, Lazy(base.path, name))
        if kind is Cls:
            found = self.member(world, base, name)
            if found is None:
                return term("attr", term("class", id(base.node)), name)
            if type(found) is Fn and "class" in found.flags:
                return Bound(found, base)
            return found
        if kind is Super:
            for parent in base.cls.bases:
                if type(parent) is Cls:
                    found = self.member(world, parent, name)
                    if found is not None:
                        return Bound(found, base.receiver) if type(found) is Fn else found
            return Method(base, name)
        if kind is Bound or kind is Fn or kind is Partial:
            return Method(base, name)
        return Method(base, name)

    def term_attribute(self, world: World, base: Term, name: str, node: ast.AST) -> Value:
        """An attribute of an unknown; of a tensor-like, it is the tensor itself."""
        model = models.ATTRIBUTES.get(("*", name))
        if model is not None:
            value = model(self, world, base, node)
            if value is not None:
                return value
        return term("attr", base, name, flow=base.flow)

    def object_attribute(self, world: World, ref: Ref, obj: Obj, name: str, node: ast.AST) -> Value:
        """An attribute of a heap object."""
        kind = obj.kind
        if isinstance(obj, Instance):
            value = obj.attrs.get(name)
            if value is not None:
                if type(value) is Lazy:
                    value = self.force(world, value)
                return value
            if obj.cls is not None and type(obj.cls) is Cls:
                found = self.member(world, obj.cls, name)
                if found is not None:
                    if type(found) is Fn:
                        if "property" in found.flags:
                            return self.call_value(world, Bound(found, ref), [], {}, node)
                        if "static" in found.flags:
                            return found
                        return Bound(found, obj.cls if "class" in found.flags else ref)
                    return found
            model = models.ATTRIBUTES.get((kind, name))
            if model is not None:
                return model(self, world, ref, node)
            if (kind, name) in models.METHODS:
                return Method(ref, name)
            if name == "__class__" and obj.cls is not None:
                return obj.cls
            if name == "__dict__":
                return term("attr", ref, name)
            # `X.attr` of something whose class is not seen whole.
            found = term("attr", ref, name)
            set_ = world.attrs.get((found, ""))
            return found if set_ is None else set_
        model = models.ATTRIBUTES.get((kind, name))
        if model is not None:
            return model(self, world, ref, node)
        return Method(ref, name)

    def member(self, world: World, cls: Cls, name: str) -> Value | None:
        """A class attribute or method, looked up through the bases that are seen."""
        for statement in cls.node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                if statement.name == name:
                    return self.function(statement, world, cls)
            elif isinstance(statement, ast.Assign):
                for target in statement.targets:
                    if isinstance(target, ast.Name) and target.id == name:
                        return self.class_value(world, cls, statement.value)
            elif isinstance(statement, ast.AnnAssign):
                if isinstance(statement.target, ast.Name) and statement.target.id == name:
                    if statement.value is None:
                        return None
                    return self.class_value(world, cls, statement.value)
        for base in cls.bases:
            if type(base) is Cls:
                found = self.member(world, base, name)
                if found is not None:
                    return found
        return None

    def class_value(self, world: World, cls: Cls, node: ast.expr) -> Value:
        """The value of an expression of a class body, in the scope of the class."""
        saved = world.frame, world.module
        world.frame, world.module = cls.scope, cls.module
        try:
            return self.evaluate(node, world)
        finally:
            world.frame, world.module = saved

    def function(self, node: Any, world: World, cls: Cls | None = None) -> Value:
        """The function that a `def` or `lambda` makes; see `calls`."""
        raise NotImplementedError

    # -- operators --

    # -- containers --

    def sequence(self, elements: list[ast.expr], world: World) -> tuple[list[Value], bool]:
        """The values of a display, and whether more may be in it."""
        items: list[Value] = []
        open_ = False
        for element in elements:
            if isinstance(element, ast.Starred):
                value = self.evaluate(element.value, world)
                known = self.known_items(world, value)
                cells = self.parameters_in(world, value, element)
                if cells is not None:
                    items.append(cells)
                elif known is None:
                    open_ = True
                    items.append(value)
                else:
                    items += known
            else:
                items.append(self.evaluate(element, world))
        return items, open_

    def parameters_in(self, world: World, value: Value, node: ast.AST) -> Value:
        """The parameters that `*iterator` puts into a display; see `protocol`."""
        return None

    def tuple_(self, node: ast.Tuple, world: World) -> Value:
        """A tuple."""
        items, open_ = self.sequence(node.elts, world)
        if open_:
            return world.put(self.oid(world, "list", node), ListObj(node, world.module, items, True))
        return Tup(tuple(items))

    def list_(self, node: ast.List | ast.Set, world: World) -> Value:
        """A list or set."""
        items, open_ = self.sequence(node.elts, world)
        return world.put(self.oid(world, "list", node), ListObj(node, world.module, items, open_))

    def dict_(self, node: ast.Dict, world: World) -> Value:
        """A dict."""
        items: dict[Any, Value] = {}
        open_ = False
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                inner = self.object(world, self.evaluate(value, world))
                if isinstance(inner, DictObj):
                    items.update(inner.items)
                    open_ = open_ or inner.open
                else:
                    open_ = True
                continue
            name = world.resolve(self.evaluate(key, world))
            result = self.evaluate(value, world)
            if type(name) is Const:
                items[name.value] = result
            elif isinstance(name, (Lib, Fn, Cls)):
                items[name] = result
            else:
                open_ = True
                items[("?", id(key))] = result
        return world.put(self.oid(world, "dict", node), DictObj(node, world.module, items, open_))

    def known_items(self, world: World, value: Value) -> list[Value] | None:
        """The elements of a sequence that is known whole, or None."""
        value = world.resolve(value)
        if type(value) is Tup:
            return list(value.items)
        if type(value) is Const and type(value.value) is str and len(value.value) <= 1:
            return [Const(c) for c in value.value]
        obj = self.object(world, value)
        if isinstance(obj, ListObj) and not obj.open:
            return list(obj.items)
        if isinstance(obj, Instance) and type(obj.cls) is Cls and "tuple" in obj.cls.flags:
            fields = declared(obj.cls.node)
            return [obj.attrs[name] for name in fields] if obj.attrs.keys() >= set(fields) else None
        if isinstance(obj, Model):
            parts = children(world, obj)
            return None if parts is None or parts[1] else parts[0]
        if isinstance(obj, DictObj) and not obj.open:
            return [Const(key) if not isinstance(key, (Lib, Fn, Cls)) else key for key in obj.items]
        return None

    def subscript(self, node: ast.Subscript, world: World) -> Value:
        """`base[key]`."""
        base = self.evaluate(node.value, world)
        if isinstance(node.slice, ast.Slice):
            base = world.resolve(base)
            if type(base) is Tup and node.slice.lower is None and node.slice.upper is None:
                return base
            known = self.known_items(world, base)
            if known is not None:
                bounds = [
                    world.resolve(self.evaluate(part, world)) if part is not None else NONE
                    for part in (node.slice.lower, node.slice.upper, node.slice.step)
                ]
                if all(type(bound) is Const for bound in bounds):
                    try:
                        return Tup(tuple(known[slice(*(bound.value for bound in bounds))]))
                    except Exception:
                        return self.fresh(world, node)
            if type(base) is Cells:
                return base
            return term("item", base, "slice", flow=flow_of(base))
        key = self.evaluate(node.slice, world)
        return self.get_item(world, base, key, node)

    def get_item(self, world: World, base: Value, key: Value, node: ast.AST) -> Value:
        """Read an item."""
        base, key = world.resolve(base), world.resolve(key)
        if type(base) is Term and base.op == "ite":
            base = self.decide(world, base)
        if type(base) is Tup:
            if type(key) is Const and type(key.value) is int:
                if -len(base.items) <= key.value < len(base.items):
                    return base.items[key.value]
                raise Dead
            return term("item", base, key, flow=flow_of(base))
        if type(base) is Const and base.value is None:
            raise Dead
        base = self.as_ref(world, base)
        if type(base) is Ref:
            obj = world.heap.get(base.oid)
            if isinstance(obj, Instance) and type(key) is Const and type(key.value) is int:
                parts = self.known_items(world, base)
                if parts is not None and -len(parts) <= key.value < len(parts):
                    return parts[key.value]
            if isinstance(obj, ListObj) and type(key) is Const and type(key.value) is int:
                if not obj.open and -len(obj.items) <= key.value < len(obj.items):
                    return obj.items[key.value]
            if isinstance(obj, DictObj):
                if type(key) is Const:
                    if key.value in obj.items:
                        return obj.items[key.value]
                    if not obj.open:
                        raise Dead
                elif isinstance(key, (Lib, Fn, Cls)) and key in obj.items:
                    return obj.items[key]
                elif not obj.open and type(key) is Term and 0 < len(obj.items) <= UNROLL:
                    # One of the values, by a test of the key that stays askable.
                    choices = list(obj.items.items())
                    value = choices[-1][1]
                    for name, candidate in reversed(choices[:-1]):
                        key_value = name if isinstance(name, (Lib, Fn, Cls)) else Const(name)
                        value = ite(equal(key, key_value), candidate, value)
                    return value
            model = models.ATTRIBUTES.get((obj.kind, "[]")) if obj is not None else None
            if model is not None:
                return model(self, world, base, node)
            if isinstance(obj, Model) and type(key) is Const and str(key.value) in obj.attrs:
                return obj.attrs[str(key.value)]  # a child of `nn.Sequential`
            if isinstance(obj, Model | Instance):
                return term("item", base, key)
            if isinstance(obj, ListObj) and obj.items:
                flow = None
                for item in obj.items[:8]:
                    flow = mix(flow, flow_of(item))
                return term("item", base, key, flow=flow)
        set_ = world.attrs.get((base, f"[{key!r}]")) if world.attrs else None
        if set_ is not None:
            return set_
        if type(base) is Cells:
            if base.what == "groups":
                return base._replace(what="group")
            if base.what == "group":
                return base._replace(what="parameters") if key == Const("params") else term("item", base, key)
            return base._replace(what="element", filtered="partial", tests=NOTHING)
        return term("item", base, key, flow=flow_of(base))

    # -- comprehensions, lambda, others --

    def cells_of(self, world: World, value: Value, node: ast.AST, consume: bool = True) -> Cells | None:
        """The parameters that a value stands for, consuming a one-shot iterator; see `protocol`."""
        raise NotImplementedError

    # -- calls --

    def call(self, node: ast.Call, world: World) -> Value:
        """A call; its result is kept for the statement's restart."""
        key = (node, self.unroll)
        done = world.memo.get(key)
        if done is not None:
            return done
        try:
            value = self.call_node(node, world)
        except Multi as multi:
            for other in multi.worlds:
                other.memo[key] = other.ret
            raise Split(multi.worlds) from None
        world.memo[key] = value
        return value

    def call_node(self, node: ast.Call, world: World) -> Value:
        """Evaluate callee and arguments, and call."""
        callee = self.callee(node.func, world)
        args: list[Value] = []
        wild = False
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                value = self.evaluate(argument.value, world)
                known = self.known_items(world, value)
                if known is None:
                    wild = True
                    args.append(value)
                else:
                    args += known
            else:
                args.append(self.evaluate(argument, world))
        keywords: dict[str, Value] = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value, world)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
                continue
            obj = self.object(world, value)
            if isinstance(obj, DictObj):
                for name, item in obj.items.items():
                    if type(name) is str:
                        keywords[name] = item
                    else:
                        wild = True
                wild = wild or obj.open
            else:
                wild = True
                keywords["**"] = value
        return self.call_value(world, callee, args, keywords, node, wild)

    def callee(self, node: ast.expr, world: World) -> Value:
        """The function of a call; a method stays with its receiver, and the receiver is decided."""
        if type(node) is not ast.Attribute:
            value = self.evaluate(node, world)
            return self.decide(world, value) if type(value) is Term and value.op == "ite" else value
        base = self.evaluate(node.value, world)
        if type(base) is Term and base.op == "ite":
            base = self.decide(world, base)
        if type(base) is Term and base in world.bind:
            if node.attr in STRINGS:
                # `args.optimizer.lower()`: the name of one, not one.
                ref = world.bind.pop(base)
                if type(ref) is Ref:
                    world.drop(ref.oid)
            elif not world.assume(base, True):
                raise Dead
        base = self.as_ref(world, base)
        obj = world.heap.get(base.oid) if type(base) is Ref else None
        if obj is not None:
            text = dotted(node.value)
            if text and obj.name != text and obj.kind in ("scaler", "optimizer", "module"):
                world.edit(base).name = text
            if obj.kind == "optimizer" and obj.extra.get("weak"):  # type: ignore[attr-defined]
                world.edit(base).extra.pop("weak")
            if not isinstance(obj, Instance):
                return Method(base, node.attr)
        elif type(base) is Term:
            set_ = world.attrs.get((base, node.attr)) if world.attrs else None
            if set_ is not None:
                return self.decide(world, set_)
            return Method(base, node.attr)
        value = self.get_attribute(world, base, node.attr, node)
        return self.decide(world, value) if type(value) is Term and value.op == "ite" else value


def children(world: World, obj: Model) -> tuple[list[Value], bool] | None:
    """The modules in a container of modules, and whether there may be more; None for other modules."""
    if type(obj.cls) is not Lib or obj.cls.name.rpartition(".")[2] not in ("Sequential", "ModuleList"):
        return None
    items: list[Value] = []
    open_ = obj.hidden
    for value in obj.attrs.values():
        held = world.heap.get(value.oid) if type(value) is Ref else None
        if isinstance(held, ListObj):
            items += held.items
            open_ = open_ or held.open
        elif isinstance(held, Model):
            items.append(value)
        else:
            return None
    return (items, open_) if items else None
