"""Expressions: a value in one world, or a `Split` that restarts the statement in several."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from typing import Any

from . import models
from .base import Base, Dead, Multi, Split
from .objects import DictObj, Frame, Instance, Iter, ListObj, Model, Obj
from .paths import World
from .slicing import dotted
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
    Flow,
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
    conjunction,
    disjunction,
    equal,
    flow_of,
    is_none,
    ite,
    mix,
    negate,
    term,
    test_of,
)

BUILTINS = frozenset(dir(builtins))
UNROLL = 5


class Expressions(Base):
    """Evaluates expressions."""

    def evaluate(self, node: ast.expr, world: World) -> Value:
        """The value of an expression."""
        self.work += 1
        handler = HANDLERS.get(type(node))
        if handler is None:
            return self.fresh(world, node)
        return handler(self, node, world)

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

    def binary(self, node: ast.BinOp, world: World) -> Value:
        """An arithmetic operation."""
        left = self.evaluate(node.left, world)
        right = self.evaluate(node.right, world)
        return self.arithmetic(world, type(node.op), left, right, node)

    def arithmetic(
        self, world: World, op: type[ast.operator], left: Value, right: Value, node: ast.AST
    ) -> Value:
        """`left op right`, with its consequences for the scale of a loss."""
        left, right = world.resolve(left), world.resolve(right)
        if type(left) is Const and type(right) is Const:
            fold = FOLD.get(op)
            if fold is not None:
                try:
                    return Const(fold(left.value, right.value))
                except Exception:
                    return self.fresh(world, node)
        if op is ast.Mod and type(right) is Const and right.value == 1:
            return Const(0)
        if type(left) is Tup and type(right) is Tup and op is ast.Add:
            return Tup(left.items + right.items)
        model = models.ATTRIBUTES.get(("operator", op.__name__))
        if model is not None:
            value = model(self, world, left, right, node)
            if value is not None:
                return value
        one, two = flow_of(left), flow_of(right)
        if op is ast.MatMult:
            self.product(world, [left, right], node)
        flow = self.combine(world, op, left, right, one, two, node)
        return term("bin", op.__name__, left, right, flow=flow)

    def combine(
        self,
        world: World,
        op: type[ast.operator],
        left: Value,
        right: Value,
        one: Flow | None,
        two: Flow | None,
        node: ast.AST,
    ) -> Flow | None:
        """The flow of an arithmetic result."""
        if one is None and two is None:
            return None
        if op in (ast.Div, ast.FloorDiv, ast.Mult):
            flow, factor = (one, right) if one is not None else (two, left)
            if one is None or two is None or not two.feeds or not one.feeds:
                assert flow is not None
                scale = self.scale_factor(world, factor)
                if scale is not None:
                    scaler, inverse = scale
                    down = (op is not ast.Mult) != inverse
                    if down and flow.scaling == "scaled":
                        return flow._replace(scaling="plain", scaler=None, divided=True)
                    if not down and flow.scaling == "plain":
                        place = (node, world.module)
                        return flow._replace(scaling="scaled", scaler=scaler, scaled_at=place)
                    return flow._replace(scaling="unknown")
                mixed = mix(one, two)
                assert mixed is not None
                if type(factor) is not Const and (one is None or two is None or one.dtype != two.dtype):
                    mixed = mixed._replace(dtype=None)
                return mixed._replace(divided=True)
        flow = mix(one, two, (node, world.module))
        if flow is not None and flow.dtype is not None:
            # A dtype is known only where both factors have it, or one is a number.
            number = type(left) is Const or type(right) is Const
            if not number and (one is None or two is None or one.dtype != two.dtype):
                flow = flow._replace(dtype=None)
        if flow is not None and op in (ast.Div, ast.Mult):
            # By what is not known (`args.accum`): it may be the number of micro-steps.
            return flow._replace(divided=True)
        return flow

    def product(self, world: World, factors: list[Value], node: ast.AST) -> None:
        """A matrix product; see `modules`."""

    def scale_factor(self, world: World, value: Value) -> tuple[Value, bool] | None:
        """The scaler whose `get_scale()` a factor is, and whether inverted."""
        if type(value) is not Term:
            return None
        if value.op == "call" and type(value.args[0]) is Method and value.args[0].name == "get_scale":
            return (value.args[0].receiver, False)
        if value.op == "bin" and value.args[0] == "Div":
            inner = self.scale_factor(world, value.args[2])
            if inner is not None:
                return (inner[0], not inner[1])
        return None

    def unary(self, node: ast.UnaryOp, world: World) -> Value:
        """`not x`, `-x`."""
        value = self.evaluate(node.operand, world)
        if isinstance(node.op, ast.Not):
            known = world.truth(test_of(value))
            if known is not None:
                return FALSE if known else TRUE
            return negate(test_of(value))
        value = world.resolve(value)
        if type(value) is Const:
            try:
                if isinstance(node.op, ast.USub):
                    return Const(-value.value)
                if isinstance(node.op, ast.Invert):
                    return Const(~value.value)
            except Exception:
                return self.fresh(world, node)
        return term("un", type(node.op).__name__, value, flow=flow_of(value))

    def boolean(self, node: ast.BoolOp, world: World) -> Value:
        """`and`, `or`: a composite term where the right side has no effect, else a fork."""
        both = isinstance(node.op, ast.And)
        value = self.evaluate(node.values[0], world)
        for operand in node.values[1:]:
            known = world.truth(test_of(value))
            if known is not None:
                if known != both:
                    return value
                value = self.evaluate(operand, world)
                continue
            if not self.pure(operand, world):
                self.fork_on(world, test_of(value))
            # Under the left side's outcome, the right side may be evaluated; it has no effect.
            if both and self.needs(value):
                trial = world.fork()
                if not trial.assume(value, True):
                    return FALSE
                try:
                    right = self.evaluate(operand, trial)
                except (Dead, Split, Multi):
                    right = self.fresh(world, operand)
            else:
                try:
                    right = self.evaluate(operand, world)
                except Dead:
                    right = self.fresh(world, operand)
            if both:
                value = (
                    conjunction(test_of(value), test_of(right))
                    if self.is_test(value, right)
                    else ite(test_of(value), right, value)
                )
            else:
                value = (
                    disjunction(test_of(value), test_of(right))
                    if self.is_test(value, right)
                    else ite(test_of(value), value, right)
                )
        return value

    def needs(self, value: Value) -> bool:
        """Whether a left side can guard its right side against None."""
        return type(value) is Term

    def is_test(self, left: Value, right: Value) -> bool:
        """Whether an `and`/`or` of the two is wanted as a test, not for an operand's own value."""
        return not (
            type(right) in (Ref, Cells, Tup, Fn, Lib, Bound) or type(left) in (Ref, Cells, Tup)
        ) and not (type(right) is Const and type(right.value) not in (bool, type(None)))

    def pure(self, node: ast.AST, world: World) -> bool:
        """Whether evaluating has no effect that order rules see."""
        facts = PURITY.get(node)
        if facts is None:
            facts = PURITY[node] = not any(
                (
                    type(inner) is ast.Call
                    and (
                        (type(inner.func) is ast.Attribute and inner.func.attr in EFFECTS)
                        or (
                            type(inner.func) is ast.Name
                            and (inner.func.id in self.program.hot_names or inner.func.id in EFFECTS)
                        )
                        or (type(inner.func) is ast.Attribute and inner.func.attr in self.program.hot_names)
                    )
                )
                or type(inner) in (ast.NamedExpr, ast.Yield, ast.Await)
                for inner in ast.walk(node)
            )
        return facts

    def compare(self, node: ast.Compare, world: World) -> Value:
        """Comparisons, as tests."""
        left = self.evaluate(node.left, world)
        result: Value = TRUE
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.evaluate(comparator, world)
            result = conjunction(result, self.comparison(world, type(op), left, right))
            left = right
        known = world.truth(result)
        if known is not None:
            return TRUE if known else FALSE
        return result

    def comparison(self, world: World, op: type[ast.cmpop], left: Value, right: Value) -> Value:
        """One comparison."""
        left, right = world.resolve(left), world.resolve(right)
        if op is ast.Is or op is ast.IsNot:
            if right == NONE:
                test = is_none(left)
            elif left == NONE:
                test = is_none(right)
            elif type(left) is Const and type(right) is Const:
                test = TRUE if left == right else FALSE
            else:
                test = equal(left, right)
            return test if op is ast.Is else negate(test)
        if op is ast.Eq:
            return equal(left, right)
        if op is ast.NotEq:
            return negate(equal(left, right))
        if type(left) is Const and type(right) is Const:
            try:
                return TRUE if COMPARE[op](left.value, right.value) else FALSE
            except Exception:
                return term("lt", left, right)
        if op is ast.Lt:
            return term("lt", left, right)
        if op is ast.Gt:
            return term("lt", right, left)
        if op is ast.GtE:
            return negate(term("lt", left, right))
        if op is ast.LtE:
            return negate(term("lt", right, left))
        negated = op is ast.NotIn
        items = self.known_items(world, right)
        if items is not None and len(items) <= 6 and all(type(item) is Const for item in items):
            test = FALSE
            for item in items:
                test = disjunction(test, equal(left, item))
        else:
            container = self.as_ref(world, right)
            obj = world.heap.get(container.oid) if type(container) is Ref else None
            if isinstance(obj, DictObj) and type(left) is Const and not obj.open:
                test = TRUE if left.value in obj.items else FALSE
            else:
                test = term("in", left, right)
        return negate(test) if negated else test

    def choice(self, node: ast.IfExp, world: World) -> Value:
        """`a if test else b`: a term where neither side has an effect."""
        test = test_of(self.evaluate(node.test, world))
        known = world.truth(test)
        if known is not None:
            return self.evaluate(node.body if known else node.orelse, world)
        if not (self.pure(node.body, world) and self.pure(node.orelse, world)):
            self.fork_on(world, test)
        arms = []
        for arm, outcome in ((node.body, True), (node.orelse, False)):
            trial = world.fork()
            if not trial.assume(test, outcome):
                return self.evaluate(node.orelse if outcome else node.body, world)
            try:
                arms.append(self.evaluate(arm, trial))
            except Split:
                self.fork_on(world, test)
            except Dead:
                return self.evaluate(node.orelse if outcome else node.body, world)
            for oid, obj in trial.heap.items():
                if oid not in world.heap:
                    world.put(oid, obj)
        if type(arms[0]) is Ref and type(arms[1]) is Ref:
            joiner = self.joiner(node, world)
            joiner.worlds, joiner.atom = (world, world), test if type(test) is Term else None
            if joiner.unify(arms[0], arms[1]):
                return arms[0]
        return ite(test, arms[0], arms[1])

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
            return base._replace(what="element", filtered="partial")
        return term("item", base, key, flow=flow_of(base))

    # -- comprehensions, lambda, others --

    def lambda_(self, node: ast.Lambda, world: World) -> Value:
        """A lambda."""
        return self.function(node, world)

    def comprehension(self, node: Any, world: World) -> Value:
        """A list, set, dict or generator comprehension."""
        generators: list[ast.comprehension] = node.generators
        first = self.evaluate(generators[0].iter, world)
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
        try:
            items = self.known_items(world, first)
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
                return world.put(
                    self.oid(world, "dict", node), DictObj(node, world.module, {("?", 0): value}, True)
                )
            value = self.evaluate(node.elt, world)
            if lazy and type(value) is not Ref:
                return self.fresh(world, node, flow_of(value))
            return world.put(self.oid(world, "list", node), ListObj(node, world.module, [value], True))
        finally:
            world.frame = saved

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
        generator: ast.comprehension = node.generators[0]
        filtered = cells.filtered
        for test in generator.ifs:
            if isinstance(test, ast.Attribute) and test.attr == "requires_grad":
                filtered = filtered or "trainable"
            elif not (isinstance(test, ast.Compare) and dotted(test.left).endswith(".grad")):
                filtered = "partial"
        result = cells._replace(filtered=filtered, what="parameters", names=False)
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

    def cells_of(self, world: World, value: Value, node: ast.AST, consume: bool = True) -> Cells | None:
        """The parameters that a value stands for, consuming a one-shot iterator; see `protocol`."""
        raise NotImplementedError

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
        if isinstance(obj, ListObj) and obj.items:
            values = list(dict.fromkeys(obj.items))
            if len(values) == 1:
                return values[0]
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
        symbol = self.fresh(world, node, what="item")
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
        """An f-string: a symbol of its parts."""
        parts: list[Value] = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                if type(part.value) in (ast.Name, ast.Attribute):
                    parts.append(self.evaluate(part.value, world))
                else:
                    return self.fresh(world, node)
            elif isinstance(part, ast.Constant):
                parts.append(Const(part.value))
        return term("call", Lib("format"), *parts)

    def awaited(self, node: ast.Await, world: World) -> Value:
        """`await x` is x."""
        return self.evaluate(node.value, world)

    def starred(self, node: ast.Starred, world: World) -> Value:
        """A starred expression outside of a display."""
        return self.evaluate(node.value, world)

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
        if type(base) is Term and base in world.bind and not world.assume(base, True):
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


EFFECTS = frozenset(
    [
        "backward",
        "step",
        "scale",
        "unscale_",
        "update",
        "zero_grad",
        "clip_grad_norm_",
        "clip_grad_value_",
        "half",
        "bfloat16",
        "to",
        "cuda",
        "append",
        "extend",
        "pop",
        "requires_grad_",
        "GradScaler",
        "autocast",
        "load_state_dict",
        "prepare",
        "add_param_group",
        "float",
    ]
)
PURITY: dict[ast.AST, bool] = {}

FOLD: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b if not isinstance(a, str | bytes) and not isinstance(b, str | bytes) else a,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b if not isinstance(a, str | bytes) else a,
    ast.BitOr: lambda a, b: a | b,
    ast.BitAnd: lambda a, b: a & b,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}

E = Expressions
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

__all__ = ["NOTHING", "Expressions"]
