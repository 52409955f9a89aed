"""Comprehensions, what iterating yields, and the table of all expressions."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from ..nodes import nodes
from . import models
from .base import Dead
from .expressions import UNROLL, Expressions, children
from .objects import DictObj, Frame, Iter, ListObj, Model
from .paths import World
from .selection import narrowed
from .values import (
    NONE,
    NOTHING,
    Cells,
    Const,
    Lib,
    Ref,
    Term,
    Tup,
    Value,
    flow_of,
    mix,
    term,
    test_of,
)


class Comprehensions(Expressions):
    """Comprehensions, what iterating yields, and the table of all expressions."""

    def evaluate(self, node: ast.expr, world: World) -> Value:
        """The value of an expression."""
        self.work += 1
        handler = HANDLERS.get(type(node))
        if handler is None:
            return self.fresh(world, node)
        return handler(self, node, world)

    def lambda_(self, node: ast.Lambda, world: World) -> Value:
        """A lambda."""
        return self.function(node, world)

    def comprehension(self, node: Any, world: World) -> Value:
        """A list, set, dict or generator comprehension."""
        generators: list[ast.comprehension] = node.generators
        first = self.evaluate(generators[0].iter, world)
        self.exhaust(world, first, node)
        special = self.cells_comprehension(node, first, world)
        if special is not None:
            return special
        first = self.drained(world, first, node)
        lazy = isinstance(node, ast.GeneratorExp)
        is_dict = isinstance(node, ast.DictComp)
        frame = Frame(world.module, world.frame)
        oid = self.oid(world, "comp", node)
        world.put(oid, frame)
        saved, world.frame = world.frame, oid
        loops, world.loops = world.loops, (*world.loops, node)
        try:
            items = self.known_items(world, first) or self.several(world, first)
            if items is not None and len(items) <= UNROLL and len(generators) == 1:
                values: list[Value] = []
                keys: dict[Any, Value] = {}
                open_ = False
                unroll = self.unroll
                for index, item in enumerate(items):
                    self.unroll = (*unroll, index)
                    try:
                        self.assign(generators[0].target, item, world)
                        keep = self.filters(generators[0].ifs, world)
                        if keep is False:
                            continue
                        open_ = open_ or keep is None
                        if is_dict:
                            key = world.resolve(self.evaluate(node.key, world))
                            value = self.evaluate(node.value, world)
                            if type(key) is Const:
                                keys[key.value] = value
                            else:
                                open_ = True
                        else:
                            values.append(self.evaluate(node.elt, world))
                    finally:
                        self.unroll = unroll
                world.loops = loops
                if is_dict:
                    return world.put(self.oid(world, "dict", node), DictObj(node, world.module, keys, open_))
                return world.put(self.oid(world, "list", node), ListObj(node, world.module, values, open_))
            for generator in generators:
                source = first if generator is generators[0] else self.evaluate(generator.iter, world)
                self.assign(generator.target, self.element(world, source, generator.target), world)
                for test in generator.ifs:
                    if self.filters([test], world) is False:
                        break
            if is_dict:
                value = self.evaluate(node.value, world)
                world.loops = loops
                return world.put(
                    self.oid(world, "dict", node), DictObj(node, world.module, {("?", 0): value}, True)
                )
            value = self.evaluate(node.elt, world)
            if lazy and type(value) is not Ref:
                return self.carry(world, self.fresh(world, node, flow_of(value)), [value])
            world.loops = loops
            return world.put(self.oid(world, "list", node), ListObj(node, world.module, [value], True))
        finally:
            world.frame, world.loops = saved, loops

    def exhaust(self, world: World, value: Value, node: ast.AST) -> None:
        """A generator is walked over to its end; see `contexts`."""
        raise NotImplementedError

    def drained(self, world: World, source: Value, node: ast.AST) -> Value:
        """A source of iteration whose one-shot iterators are used up, once, by it."""
        value = self.as_ref(world, source)
        if type(value) is Ref and isinstance(world.heap.get(value.oid), Iter):
            cells = self.cells_of(world, value, node)
            return source if cells is None else cells
        if type(value) is Term and value.op in ("zip", "enumerate", "passed"):
            return term(value.op, *(self.drained(world, part, node) for part in value.args))
        return source

    def filters(self, tests: list[ast.expr], world: World) -> bool | None:
        """Whether all conditions hold; None where that is not known."""
        result: bool | None = True
        for test in tests:
            known = world.truth(test_of(self.evaluate(test, world)))
            if known is False:
                return False
            if known is None:
                result = None
        return result

    def cells_comprehension(self, node: Any, source: Value, world: World) -> Value | None:
        """`[p for p in model.parameters() if p.requires_grad]` and its kin: parameters stay parameters."""
        if len(node.generators) == 2 and isinstance(node, ast.ListComp):
            return self._nested_cells(node, source, world)
        if len(node.generators) != 1 or isinstance(node, ast.DictComp):
            return None
        if not isinstance(node.elt, ast.Name) or not self._binds(node.generators[0].target, node.elt.id):
            return None
        cells = self.cells_of(world, source, node, consume=not isinstance(node, ast.GeneratorExp))
        if cells is None:
            return None
        result = narrowed(cells, node.generators[0])._replace(what="parameters", names=False)
        if isinstance(node, ast.GeneratorExp):
            keep = source if isinstance(self.object(world, source), Iter) else NONE
            return world.put(self.oid(world, "iterator", node), Iter(node, world.module, result, keep))
        return result

    def _nested_cells(self, node: ast.ListComp, source: Value, world: World) -> Value | None:
        """`[p for module in modules for p in module.parameters()]` over modules that are known."""
        outer, inner = node.generators
        items = self.known_items(world, source)
        if items is None or not 0 < len(items) <= UNROLL or outer.ifs or inner.ifs:
            return None
        if not isinstance(node.elt, ast.Name) or not self._binds(inner.target, node.elt.id):
            return None
        roots: frozenset[Any] = NOTHING
        frame = Frame(world.module, world.frame)
        oid = self.oid(world, "comp", node)
        world.put(oid, frame)
        saved, world.frame = world.frame, oid
        unroll = self.unroll
        try:
            for index, item in enumerate(items):
                self.unroll = (*unroll, index)
                self.assign(outer.target, item, world)
                cells = self.cells_of(world, self.evaluate(inner.iter, world), node)
                if cells is None or cells.wide or cells.filtered is not None:
                    return None
                roots |= cells.roots
        finally:
            world.frame, self.unroll = saved, unroll
        return Cells(roots)

    @staticmethod
    def _binds(target: ast.expr, name: str) -> bool:
        if isinstance(target, ast.Name):
            return target.id == name
        return isinstance(target, ast.Tuple) and any(
            isinstance(element, ast.Name) and element.id == name for element in target.elts
        )

    def element(self, world: World, source: Value, node: ast.AST) -> Value:
        """What iterating over `source` yields: a symbol, or an element of known kind."""
        source = self.as_ref(world, source)
        if type(source) is Const and source.value is None:
            raise Dead
        cells = source if type(source) is Cells else None
        obj = world.heap.get(source.oid) if type(source) is Ref else None
        if isinstance(obj, Iter):
            cells = self.cells_of(world, source, node)
        if cells is not None and cells.what == "groups":
            return cells._replace(what="group")
        if cells is not None:
            symbol = self.fresh(world, node, what="p")
            element = cells._replace(what="element")
            world.attrs[(element, "#")] = symbol
            if cells.names:
                return Tup((self.fresh(world, node, what="n"), element))
            return element
        if isinstance(obj, Model):
            parts = children(world, obj)
            if parts is not None and len(set(parts[0])) == 1:
                return parts[0][0]  # the one that stands for all of its kind
        if isinstance(obj, ListObj) and obj.items:
            values = list(dict.fromkeys(obj.items))
            if len(values) == 1 and not (obj.open and type(self.as_ref(world, values[0])) is Term):
                return values[0]  # the only one there is, or an object that stands for its like
            flow = None
            for item in values:
                flow = mix(flow, flow_of(item))
            return self.fresh(world, node, flow)
        if type(source) is Term and source.op == "zip":
            return Tup(tuple(self.element_at(world, part, node, i) for i, part in enumerate(source.args)))
        if type(source) is Term and source.op == "enumerate":
            return Tup(
                (
                    self.fresh(world, node, what="i"),
                    self.element_at(world, source.args[0], node, 1),
                )
            )
        if type(source) is Term and source.op == "passed":
            return self.element(world, source.args[0], node)
        below = type(source) is Term and source.op == "below"
        symbol = self.fresh(world, node, what="part" if below else "item")
        if below:
            world.attrs[(symbol, "below")] = source.args[0]
            return Tup((self.fresh(world, node, what="n"), symbol)) if "named" in source.args[1] else symbol
        model = models.ATTRIBUTES.get(("*", "iter"))
        return model(self, world, source, symbol) if model is not None else symbol

    def element_at(self, world: World, source: Value, node: ast.AST, index: int) -> Value:
        """`element` for one part of a zip or enumerate."""
        unroll = self.unroll
        self.unroll = (*unroll, -index - 1)
        try:
            return self.element(world, source, node)
        finally:
            self.unroll = unroll

    def named(self, node: ast.NamedExpr, world: World) -> Value:
        """`(name := value)`."""
        value = self.evaluate(node.value, world)
        self.assign(node.target, value, world)
        return value

    def joined(self, node: ast.JoinedStr, world: World) -> Value:
        """An f-string: a symbol of its parts, which are run where they act."""
        parts: list[Value] | None = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                simple = type(part.value) in (ast.Name, ast.Attribute)
                value = NONE
                if simple or walks_over(part.value) or not self.pure(part.value, world):
                    value = self.evaluate(part.value, world)
                parts = [*parts, value] if parts is not None and simple else None
            elif isinstance(part, ast.Constant) and parts is not None:
                parts.append(Const(part.value))
        return self.fresh(world, node) if parts is None else term("call", Lib("format"), *parts)

    def awaited(self, node: ast.Await, world: World) -> Value:
        """`await x` is x."""
        return self.evaluate(node.value, world)

    def starred(self, node: ast.Starred, world: World) -> Value:
        """A starred expression outside of a display."""
        return self.evaluate(node.value, world)


def walks_over(node: ast.expr) -> bool:
    """Whether an expression may use up an iterator that has a name: `sum(p.numel() for p in params)`."""
    return any(
        type(inner) is ast.comprehension and type(inner.iter) in (ast.Name, ast.Attribute)
        for inner in nodes(node)
    )


E = Comprehensions


HANDLERS: dict[type[ast.AST], Callable[[Any, Any, World], Value]] = {
    ast.Constant: E.constant,
    ast.Name: E.name,
    ast.Attribute: E.attribute,
    ast.Call: E.call,
    ast.BinOp: E.binary,
    ast.UnaryOp: E.unary,
    ast.BoolOp: E.boolean,
    ast.Compare: E.compare,
    ast.IfExp: E.choice,
    ast.Subscript: E.subscript,
    ast.Tuple: E.tuple_,
    ast.List: E.list_,
    ast.Set: E.list_,
    ast.Dict: E.dict_,
    ast.Lambda: E.lambda_,
    ast.ListComp: E.comprehension,
    ast.SetComp: E.comprehension,
    ast.DictComp: E.comprehension,
    ast.GeneratorExp: E.comprehension,
    ast.NamedExpr: E.named,
    ast.JoinedStr: E.joined,
    ast.Await: E.awaited,
    ast.Starred: E.starred,
}
