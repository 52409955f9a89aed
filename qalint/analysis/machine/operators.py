"""Operators: arithmetic with its consequences for the scale of a loss, and tests."""

from __future__ import annotations

import ast
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from . import models
from .base import Base, Dead, Multi, Split
from .objects import DictObj, Model
from .paths import World
from .values import (
    FALSE,
    NONE,
    TRUE,
    Bound,
    Cells,
    Const,
    Flow,
    Fn,
    Lib,
    Method,
    Ref,
    Term,
    Tup,
    Value,
    chosen,
    conjunction,
    disjunction,
    equal,
    flow_of,
    is_none,
    is_number,
    ite,
    mix,
    negate,
    term,
    test_of,
    through,
)

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


def power(base: Any, exponent: Any) -> Any:
    """`base ** exponent` of small numbers; an error for others."""
    if abs(exponent) > 8 or abs(base) > 2**20:
        raise OverflowError
    return base**exponent


FOLD: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b if not isinstance(a, str | bytes) and not isinstance(b, str | bytes) else a,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b if not isinstance(a, str | bytes) else a,
    ast.Pow: lambda a, b: power(a, b),
    ast.BitOr: lambda a, b: a | b,
    ast.BitAnd: lambda a, b: a & b,
}


FLOATING = ("float16", "bfloat16", "float32", "float64")
"""The dtypes that a test of a tensor's dtype can be decided for."""

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


class Operators(Base):
    """Operators: arithmetic with its consequences for the scale of a loss, and tests."""

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
        if op is ast.Add:
            joined = self.concatenated(world, left, right, node)
            if joined is not None:
                return joined
        model = models.ATTRIBUTES.get(("operator", op.__name__))
        if model is not None:
            value = model(self, world, left, right, node)
            if value is not None:
                return value
        one, two = self.factor(world, left), self.factor(world, right)
        if op is ast.MatMult:
            self.product(world, [left, right], node)
        flow = self.combine(world, op, left, right, one, two, node)
        return term("bin", op.__name__, left, right, flow=flow)

    def factor(self, world: World, value: Value) -> Flow | None:
        """The flow of an operand: a parameter is fed by itself."""
        if self.is_parameter(world, value):
            obj = self.object(world, value)
            dtype = obj.dtype if isinstance(obj, Model) and type(obj.dtype) is str else None
            return Flow(frozenset({value}), grad=world.grad, dtype=dtype)
        if type(value) is Cells and value.what == "element":
            return Flow(value.roots, grad=world.grad)
        return flow_of(value)

    def is_parameter(self, world: World, value: Value) -> bool:
        """Whether a value is an `nn.Parameter` that was made in sight."""
        obj = self.object(world, value) if type(value) is Ref else None
        return isinstance(obj, Model) and type(obj.cls) is Lib and obj.cls.name == "torch.nn.Parameter"

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
                mixed = mixed._replace(dtype=self.promoted(left, right, one, two))
                return mixed._replace(divided=True)
        flow = mix(one, two, (node, world.module))
        if flow is not None and flow.dtype is not None:
            flow = flow._replace(dtype=self.promoted(left, right, one, two))
        if flow is not None and op in (ast.Div, ast.Mult):
            # By what is not known (`args.accum`): it may be the number of micro-steps.
            return flow._replace(divided=True)
        return flow

    @staticmethod
    def promoted(left: Value, right: Value, one: Flow | None, two: Flow | None) -> str | None:
        """The dtype of an arithmetic result: what both have, or one beside a number.

        FP32 stays what it is beside anything that is no tensor in sight; FP16 beside such may become FP32.
        """
        if one is not None and two is not None:
            return one.dtype if one.dtype == two.dtype else None
        flow, other = (one, right) if one is not None else (two, left)
        dtype = None if flow is None else flow.dtype
        return dtype if dtype == "float32" or is_number(other) else None

    def concatenated(self, world: World, left: Value, right: Value, node: ast.AST) -> Value | None:
        """Two sequences, one after the other; see `feeds`."""
        raise NotImplementedError

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
            return negate(self.askable(world, value, node.operand))
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

    def askable(self, world: World, value: Value, node: ast.expr) -> Value:
        """The test of a value, as it is now, so that it can be assumed and asked again later.

        Whether a list has something in it changes with it: where that is not known it gets a name.
        """
        test = test_of(value)
        if type(test) is Ref and world.truth(test) is None:
            return self.fresh(world, node, what="filled")
        return test

    def boolean(self, node: ast.BoolOp, world: World) -> Value:
        """`and`, `or`: a composite term where the right side has no effect, else a fork."""
        both = isinstance(node.op, ast.And)
        value = self.evaluate(node.values[0], world)
        for before, operand in pairwise(node.values):
            known = world.truth(test_of(value))
            if known is not None:
                if known != both:
                    return value
                value = self.evaluate(operand, world)
                continue
            test = self.askable(world, value, before)
            if not self.pure(operand, world):
                self.fork_on(world, test)
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
                    conjunction(test, test_of(right))
                    if self.is_test(value, right)
                    else ite(test, right, value)
                )
            else:
                value = (
                    disjunction(test, test_of(right))
                    if self.is_test(value, right)
                    else ite(test, value, right)
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
        if op in (ast.Is, ast.IsNot, ast.Eq, ast.NotEq):
            same = self.same_dtype(world, left, right)
            if same is not None:
                return TRUE if same is (op in (ast.Is, ast.Eq)) else FALSE
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
        if type(left) is Const and type(right) is Term and right.op == "ite" and chosen(right):
            test = through(right, lambda arm: self.comparison(world, ast.In, left, arm))
            return negate(test) if negated else test
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

    def same_dtype(self, world: World, left: Value, right: Value) -> bool | None:
        """Whether `x.dtype is torch.float16` holds; None where it asks something else, or is not known."""
        for asked, other in ((left, right), (right, left)):
            if type(asked) is Term and asked.op == "attr" and asked.args[1] == "dtype" and type(other) is Lib:
                one, two = self.dtype_name(world, asked), self.dtype_name(world, other)
                if one in FLOATING and two in FLOATING:
                    return one == two
        return None

    def choice(self, node: ast.IfExp, world: World) -> Value:
        """`a if test else b`: a term where neither side has an effect."""
        test = self.askable(world, self.evaluate(node.test, world), node.test)
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
