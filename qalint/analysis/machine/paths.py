"""Worlds: environment, heap and path condition; how they fork and join.

A world is one set of paths that agree in typestate. It forks where a test is not decided and joins
again as soon as the typestates agree: values that then differ become `ite` terms under the test that
told the two apart, so a join forgets nothing that a later test could ask for.
"""

from __future__ import annotations

import ast
from typing import Any

from .objects import DictObj, Frame, Instance, Iter, ListObj, Model, Obj, Optimizer, Scaler
from .values import (
    FALSE,
    NONE,
    NOTHING,
    TRUE,
    UNBOUND,
    Auto,
    Cells,
    Const,
    Oid,
    Ref,
    Term,
    Tup,
    Value,
    disjunction,
    flow_of,
    is_none,
    ite,
    join_flows,
    negate,
    term,
    test_of,
    tests_in,
)

OBJECTS = (Ref, Term)
ACTORS = (Optimizer, Scaler, Iter)
SOFT = 8
HARD = 40
START = frozenset((None,))
CONDITION = 100
"""A path condition longer than this drops its oldest entries."""


class World:
    """See the module docstring. `frame` names the current frame, `stack` the calls that led here."""

    __slots__ = (
        "actors",
        "attrs",
        "auto",
        "bind",
        "clock",
        "ctx",
        "eqs",
        "frame",
        "grad",
        "heap",
        "joined",
        "last",
        "loops",
        "memo",
        "module",
        "owned",
        "pc",
        "ret",
        "stack",
        "tags",
    )

    def __init__(self) -> None:
        self.heap: dict[Oid, Obj] = {}
        self.owned: set[Oid] = set()
        self.actors: dict[Oid, None] = {}
        """The scalers, optimizers and iterators among the objects."""
        self.eqs: dict[Value, Const] = {}
        """What `==` made known of terms."""
        self.pc: dict[Term, bool] = {}
        self.attrs: dict[tuple[Value, str], Value] = {}
        """Attributes set on unknown objects."""
        self.bind: dict[Term, Value] = {}
        """What unknown terms turned out to be."""
        self.auto: tuple[tuple[Any, Any], ...] = ()
        """Entered contexts, innermost last: (Auto or Mode, frame in which it was entered)."""
        self.loops: tuple[ast.AST, ...] = ()
        self.frame: Oid = ()
        self.module: Any = None
        self.ctx = 0
        self.memo: dict[Any, Any] = {}
        self.stack: tuple[Any, ...] = ()
        self.grad = True
        self.ret: Value = NONE
        self.clock = 0
        self.last: frozenset[Any] = START
        """What came last on the paths of this world: events, loop heads, None for nothing at all."""
        self.joined = False
        """The path condition came out of a join, and not all that follows from it was drawn yet."""
        self.tags: frozenset[Any] = NOTHING
        """What happened on this path that is no object's state (a framework was met, ...)."""

    def fork(self) -> World:
        """A copy that shares every object until one of the two changes it."""
        other = World.__new__(World)
        other.heap = dict(self.heap)
        other.actors = dict(self.actors)
        other.eqs = dict(self.eqs)
        other.owned = set()
        self.owned = set()
        other.pc = dict(self.pc)
        other.attrs = dict(self.attrs)
        other.bind = dict(self.bind)
        other.auto = self.auto
        other.loops = self.loops
        other.frame = self.frame
        other.module = self.module
        other.ctx = self.ctx
        other.memo = dict(self.memo)
        other.stack = self.stack
        other.grad = self.grad
        other.ret = self.ret
        other.clock = self.clock
        other.last = self.last
        other.joined = self.joined
        other.tags = self.tags
        return other

    def become(self, other: World) -> None:
        """Take over everything of `other`, which is given up."""
        for slot in World.__slots__:
            setattr(self, slot, getattr(other, slot))

    # -- heap --

    def get(self, ref: Ref) -> Obj:
        """The object, for reading."""
        return self.heap[ref.oid]

    def edit(self, ref: Ref) -> Any:
        """The object, for changing: this world's own copy."""
        oid = ref.oid
        found = self.heap[oid]
        if oid not in self.owned:
            found = found.copy()
            self.heap[oid] = found
            self.owned.add(oid)
        found.touch()
        return found

    def put(self, oid: Oid, obj: Obj) -> Ref:
        """A new object under its name; one that had the name is replaced."""
        obj.loops = self.loops
        self.heap[oid] = obj
        self.owned.add(oid)
        if type(obj) in ACTORS:
            self.actors[oid] = None
        return Ref(oid)

    def frame_vars(self, oid: Oid | None = None) -> dict[str, Value]:
        """The names of a frame, for changing."""
        name = self.frame if oid is None else oid
        found = self.heap[name]
        if name not in self.owned:
            found = found.copy()
            self.heap[name] = found
            self.owned.add(name)
        assert isinstance(found, Frame)
        return found.vars

    def tick(self) -> int:
        """The next number of this path's clock."""
        self.clock += 1
        return self.clock

    def of_kind(self, kind: type[Any]) -> list[tuple[Ref, Any]]:
        """The objects of one class in the heap, in the order of creation."""
        source = self.actors if kind in ACTORS else self.heap
        found = []
        for oid in source:
            obj = self.heap.get(oid)
            if type(obj) is kind:
                found.append((Ref(oid), obj))
        return found

    # -- path condition --

    def truth(self, value: Value) -> bool | None:
        """The outcome of a test as far as this path decides it."""
        kind = type(value)
        if kind is Const:
            return None if value.value is NotImplemented else bool(value.value)
        if kind is Tup:
            return bool(value.items)
        if kind is Ref:
            obj = self.heap.get(value.oid)
            if isinstance(obj, ListObj | DictObj):
                if obj.items:
                    return True
                return None if obj.open else False
            return True
        if kind is not Term:
            return True
        known = self.pc.get(value)
        if known is not None:
            return known
        if value.composed:
            return self._composed(value)
        if made_by_class(value):
            return True
        bound = self.bind.get(value)
        if bound is not None:
            # A refined object: it is there unless this path found it to be None.
            absent = self.pc.get(term("is", value, NONE))
            return None if absent is None else not absent
        equal_to = self.eqs.get(value)
        return None if equal_to is None else bool(equal_to.value)

    def _composed(self, value: Term) -> bool | None:
        """The outcome of a test that follows from those of others."""
        op, args = value.op, value.args
        if op == "not":
            inner = self.truth(args[0])
            return None if inner is None else not inner
        if op == "and":
            left = self.truth(args[0])
            if left is False:
                return False
            right = self.truth(args[1])
            if right is False:
                return False
            return True if left and right else None
        if op == "or":
            left = self.truth(args[0])
            if left:
                return True
            right = self.truth(args[1])
            if right:
                return True
            return False if left is False and right is False else None
        if op == "ite":
            chosen = self.truth(args[0])
            if chosen is not None:
                return self.truth(args[1] if chosen else args[2])
            yes = self.truth(args[1])
            if yes is not None and yes == self.truth(args[2]):
                return yes
            return None
        if op == "is":
            subject = self.resolve(args[0])
            if subject is not args[0]:
                return self.truth(is_none(subject)) if args[1] is NONE else None
            if args[1] is NONE and (self.pc.get(args[0]) or made_by_class(args[0])):
                return False
            return None
        left, right = self.resolve(args[0]), args[1]
        if type(left) is Const and type(right) is Const:
            return bool(left.value == right.value)
        other = self.eqs.get(left)
        if other is not None and type(right) is Const:
            return bool(other.value == right.value)
        if type(right) is Const and right.value and self.pc.get(left) is False:
            return False
        return None

    def resolve(self, value: Value) -> Value:
        """The value with every decided choice made."""
        while type(value) is Term:
            if value.op == "ite":
                chosen = self.truth(value.args[0])
                if chosen is None:
                    return value
                value = value.args[1] if chosen else value.args[2]
            else:
                return value
        return value

    def assume(self, value: Value, outcome: bool) -> bool:
        """Add a test's outcome; False if this path contradicts it."""
        value = test_of(value)
        while type(value) is Term and value.op == "not":
            value, outcome = value.args[0], not outcome
        known = self.truth(value)
        if known is not None:
            return known == outcome
        if type(value) is not Term:
            return True
        self.pc[value] = outcome
        fresh = [value]
        op, args = value.op, value.args
        if op == "eq" and outcome and type(args[1]) is Const:
            self.eqs[args[0]] = args[1]
            fresh.append(args[0])
        if op == "and" and outcome:
            if not (self.assume(args[0], True) and self.assume(args[1], True)):
                return False
        elif op == "or" and not outcome:
            if not (self.assume(args[0], False) and self.assume(args[1], False)):
                return False
        elif op == "is" and args[1] is NONE and outcome and type(args[0]) is Term:
            self.pc[args[0]] = False
            fresh.append(args[0])
        elif op == "ite":
            chosen = self.truth(args[0])
            if chosen is not None:
                return self.assume(args[1] if chosen else args[2], outcome) and self._propagate(fresh)
            yes, no = self.truth(args[1]), self.truth(args[2])
            if yes is not None and yes != outcome:
                if not self.assume(args[0], False):
                    return False
            elif no is not None and no != outcome and not self.assume(args[0], True):
                return False
        elif op not in ("is", "eq", "lt", "and", "or", "in") and not outcome and value in self.bind:
            absent = term("is", value, NONE)
            self.pc[absent] = True
            fresh.append(absent)
        if len(self.pc) > 1 and not self._propagate(fresh):
            return False
        while len(self.pc) > CONDITION:
            del self.pc[next(iter(self.pc))]
        return True

    def _known(self, test: Value) -> bool | None:
        """The outcome of a test that stands in the path condition as it is."""
        if type(test) is not Term:
            return self.truth(test)
        known = self.pc.get(test)
        if known is not None or not test.composed:
            return known
        op = test.op
        if op == "not":
            inner = self._known(test.args[0])
            return None if inner is None else not inner
        return self.truth(test) if op in ("is", "eq") else None

    def _propagate(self, fresh: list[Term]) -> bool:
        """Draw what follows from the composite tests of the path condition that `fresh` facts concern."""
        every = self.joined
        self.joined = False
        composites: list[tuple[Term, bool]] = []
        choices: list[tuple[Term, bool]] = []
        for item in self.pc.items():
            test, outcome = item
            knot = test.knot
            if knot is None:
                continue
            if knot is outcome:
                found = composites
            elif knot == "choice":
                found = choices
            else:
                continue
            if every or not (test.tests or tests_in(test)).isdisjoint(fresh):
                found.append(item)
        known = self._known
        for test, outcome in choices:
            chosen = known(test.args[0])
            if chosen is not None:
                branch = test.args[1] if chosen else test.args[2]
                decided = known(branch)
                if decided is not None and decided is not outcome:
                    return False
                if decided is None and type(branch) is Term and not self.assume(branch, outcome):
                    return False
        for test, outcome in composites:
            # `a or b` holds, or `a and b` does not: when one side fails to decide it, the other must.
            left, right = test.args
            one = known(left)
            if one is outcome:
                continue
            two = known(right)
            if one is None:
                if two is not None and two is not outcome and not self.assume(left, outcome):
                    return False
            elif two is None:
                if not self.assume(right, outcome):
                    return False
            elif two is not outcome:
                return False
        return True

    def forget(self, symbol: Term) -> None:
        """The symbol's program point is evaluated again: drop every fact about the old value."""
        gone = [test for test in self.pc if symbol in test.deps]
        for test in gone:
            del self.pc[test]
        if self.eqs:
            for subject in [s for s in self.eqs if type(s) is Term and symbol in s.deps]:
                del self.eqs[subject]
        if self.bind:
            for key in [key for key in self.bind if symbol in key.deps]:
                # What was refined from the old value is another object from here on.
                ref = self.bind.pop(key)
                if type(ref) is Ref:
                    self.drop(ref.oid)

    def renew(self, ref: Ref) -> None:
        """An object is made anew where another one was: what is not known of it is not what was met there."""
        for test in [test for test in self.pc if test.speaks_of(ref)]:
            del self.pc[test]
        for subject in [one for one in self.eqs if type(one) is Term and one.speaks_of(ref)]:
            del self.eqs[subject]
        for key in [key for key in self.bind if key.speaks_of(ref)]:
            met = self.bind.pop(key)
            if type(met) is Ref:
                self.drop(met.oid)

    def drop(self, oid: Oid) -> None:
        """An object is gone: no scaler remembers it."""
        self.heap.pop(oid, None)
        self.owned.discard(oid)
        if oid in self.actors:
            del self.actors[oid]
            for other, scaler in self.of_kind(Scaler):
                if oid in scaler.stages or oid in scaler.left:
                    changed = self.edit(other)
                    changed.stages.pop(oid, None)
                    changed.left.pop(oid, None)

    # -- comparing --

    def key(self) -> Any:
        """What must agree for worlds to join."""
        states = []
        heap = self.heap
        for oid in self.actors:
            obj = heap.get(oid)
            if obj is not None:
                state = obj.state()
                if state is not None:
                    states.append((oid, state))
        return (frozenset(states), self.auto, self.tags)


def distinguish(one: World, two: World) -> Term | None:
    """The first test of `one` that `two` decided the other way."""
    other = two.pc
    for test, outcome in one.pc.items():
        opposite = other.get(test)
        if opposite is not None and opposite != outcome:
            return test
    return None


class Joiner:
    """Joins worlds at one program point."""

    def __init__(self, node: ast.AST | None, ctx: int) -> None:
        self.node = node
        self.ctx = ctx
        self.worlds: tuple[World, ...] = ()
        self.atom: Term | None = None
        self.outcome = True

    def join(self, worlds: list[World], coarse: bool = False) -> list[World]:
        """Worlds of equal typestate become one."""
        if len(worlds) < 2:
            return worlds
        groups: dict[Any, World] = {}
        for world in worlds:
            key = world.key()
            found = groups.get(key)
            if found is None:
                groups[key] = world
            else:
                self.merge(found, world)
        result = list(groups.values())
        if len(result) > HARD:
            result = result[:HARD]
        return result

    def merge(self, one: World, two: World) -> None:
        """Make `one` stand for both."""
        atom = distinguish(one, two)
        outcome = one.pc[atom] if atom is not None else True

        def choose(name: str, left: Value, right: Value) -> Value:
            return self.choose(atom, outcome, name, left, right)

        heap, other = one.heap, two.heap
        self.worlds = (one, two)
        self.atom, self.outcome = atom, outcome
        for oid, obj in other.items():
            mine = heap.get(oid)
            if mine is None:
                heap[oid] = obj
                if type(obj) in ACTORS:
                    one.actors[oid] = None
            elif mine is not obj:
                self._merge_object(one, oid, mine, obj, choose)
        for key, value in two.attrs.items():
            before = one.attrs.get(key)
            if before is None:
                before = term("attr", key[0], key[1])
            if before is not value:
                one.attrs[key] = choose(key[1], before, value)
        for key in one.attrs:
            if key not in two.attrs:
                one.attrs[key] = choose(key[1], one.attrs[key], term("attr", key[0], key[1]))
        for symbol, bound in two.bind.items():
            one.bind.setdefault(symbol, bound)
        if one.ret is not two.ret:
            one.ret = choose("return", one.ret, two.ret)
        self._merge_conditions(one, two, atom, outcome)
        one.clock = max(one.clock, two.clock)
        if len(one.last) < 24:
            one.last = one.last | two.last
        one.owned = set()

    def _merge_conditions(self, one: World, two: World, atom: Term | None, outcome: bool) -> None:
        mine, other = one.pc, two.pc
        one.joined = True
        same: dict[Term, bool] = {}
        only_one: list[tuple[Term, bool]] = []
        for test, result in mine.items():
            if other.get(test) is result:
                same[test] = result
            elif test is not atom:
                only_one.append((test, result))
        only_two = [(test, result) for test, result in other.items() if test not in same and test is not atom]
        one.pc = same
        one.eqs = {s: v for s, v in one.eqs.items() if two.eqs.get(s) == v}
        if atom is not None:
            # Under the test that told them apart, each side's own facts still hold.
            for test, result in only_one[:3]:
                self._imply(same, atom, outcome, test, result)
            for test, result in only_two[:3]:
                self._imply(same, atom, not outcome, test, result)

    @staticmethod
    def _imply(pc: dict[Term, bool], atom: Term, when: bool, test: Term, result: bool) -> None:
        fact = disjunction(negate(atom) if when else atom, test if result else negate(test))
        if type(fact) is Term and fact.depth < 10 and len(pc) < CONDITION // 3:
            pc[fact] = True

    def choose(self, atom: Term | None, outcome: bool, name: str, left: Value, right: Value) -> Value:
        """One of two values."""
        if left is right or left == right:
            return left
        if type(left) is Tup and type(right) is Tup and len(left.items) == len(right.items):
            pairs = zip(left.items, right.items, strict=True)
            return Tup(
                tuple(self.choose(atom, outcome, f"{name}{i}", a, b) for i, (a, b) in enumerate(pairs))
            )
        if type(left) is Ref and type(right) is Ref:
            if self.unify(left, right):
                return left
        elif type(left) in OBJECTS and type(right) in OBJECTS:
            held = self._optimizer_in(left, 0)
            if held is not None:
                right = self._replace(right, held, 1)
                if left == right:
                    return left
        if atom is not None:
            return ite(atom, left, right) if outcome else ite(atom, right, left)
        if left is UNBOUND or right is UNBOUND:
            return right if left is UNBOUND else left
        flow = join_flows(flow_of(left), flow_of(right))
        return term("join", name, id(self.node), self.ctx, flow=flow)

    def _optimizer_in(self, value: Value, side: int) -> Ref | None:
        if type(value) is Ref:
            return value if type(self.worlds[side].heap.get(value.oid)) in (Optimizer, Scaler) else None
        if type(value) is Term and value.op == "ite":
            return self._optimizer_in(value.args[1], side) or self._optimizer_in(value.args[2], side)
        return None

    def _replace(self, value: Value, held: Ref, side: int) -> Value:
        """The value with every optimizer in it that may be one with `held` replaced by that."""
        if type(value) is Ref:
            return held if value != held and self.unify(held, value) else value
        if type(value) is Term and value.op == "ite":
            yes = self._replace(value.args[1], held, side)
            no = self._replace(value.args[2], held, side)
            return ite(value.args[0], yes, no)
        return value

    def unify(self, left: Ref, right: Ref) -> bool:
        """Two optimizers to which nothing has happened, one of which a path chose, are one from here on."""
        one, two = self.worlds
        mine, other = one.heap.get(left.oid), two.heap.get(right.oid)
        if type(mine) is Scaler and type(other) is Scaler:
            if mine.state() is not None or other.state() is not None:
                return False
            joined = mine.copy()
            if mine.enabled != other.enabled:
                if self.atom is None:
                    return False
                yes, no = (mine, other) if self.outcome else (other, mine)
                arms = [TRUE if each.enabled is None else each.enabled for each in (yes, no)]
                joined.enabled = ite(self.atom, arms[0], arms[1])
            one.heap[left.oid] = joined
            one.owned.discard(left.oid)
            return True
        if type(mine) is not Optimizer or type(other) is not Optimizer:
            return False
        if mine.state() is not None or other.state() is not None or mine.grads != other.grads:
            return False
        made = mine.copy()
        cells, more = mine.cells, other.cells
        made.cells = cells._replace(
            roots=cells.roots | more.roots,
            wide=cells.wide or more.wide,
            filtered=cells.filtered if cells.filtered == more.filtered else "partial",
            tests=cells.tests if cells.tests == more.tests else frozenset(),
        )
        made.fused = mine.fused and other.fused
        made.name = mine.name or other.name
        one.heap[left.oid] = made
        one.owned.discard(left.oid)
        return True

    def _merge_object(self, world: World, oid: Oid, mine: Obj, other: Obj, choose: Any) -> None:
        kind = type(mine)
        if kind is not type(other):
            return
        if kind is Frame:
            left, right = mine.vars, other.vars  # type: ignore[attr-defined]
            if left == right:
                return
            result = mine.copy()
            new: dict[str, Value] = result.vars  # type: ignore[attr-defined]
            for name, value in right.items():
                before = left.get(name, UNBOUND)
                if before is not value and before != value:
                    new[name] = choose(name, before, value)
            for name, value in left.items():
                if name not in right:
                    new[name] = choose(name, value, UNBOUND)
            world.heap[oid] = result
        elif kind is Instance or kind is Model:
            left, right = mine.attrs, other.attrs  # type: ignore[attr-defined]
            result = mine
            if left != right:
                result = mine.copy()
                attrs: dict[str, Value] = result.attrs  # type: ignore[attr-defined]
                for name, value in right.items():
                    before = left.get(name, UNBOUND)
                    if before is not value and before != value:
                        attrs[name] = choose(name, before, value)
                for name, value in left.items():
                    if name not in right:
                        attrs[name] = choose(name, value, UNBOUND)
            if kind is Model:
                result = self._merge_model(result, other, choose)
            world.heap[oid] = result
        elif kind is ListObj:
            assert isinstance(mine, ListObj) and isinstance(other, ListObj)
            if mine.items != other.items or mine.open != other.open:
                items = list(mine.items)
                if len(items) == len(other.items):
                    items = [choose("item", a, b) for a, b in zip(items, other.items, strict=True)]
                    open_ = mine.open or other.open
                else:
                    items += [item for item in other.items if item not in items]
                    open_ = True
                made = mine.copy()
                made.items, made.open = items, open_
                world.heap[oid] = made
        elif kind is DictObj:
            assert isinstance(mine, DictObj) and isinstance(other, DictObj)
            if mine.items != other.items or mine.open != other.open:
                merged = mine.copy()
                for key, value in other.items.items():
                    before = mine.items.get(key)
                    merged.items[key] = value if before is None else choose(str(key), before, value)
                merged.open = mine.open or other.open or mine.items.keys() != other.items.keys()
                world.heap[oid] = merged
        elif kind is Optimizer:
            assert isinstance(mine, Optimizer) and isinstance(other, Optimizer)
            again = bool(mine.extra.get("again")) and bool(other.extra.get("again"))
            cells = _joined_cells(mine.cells, other.cells, choose)
            if (
                mine.grads != other.grads
                or mine.flow != other.flow
                or again != bool(mine.extra.get("again"))
                or mine.cells != cells
            ):
                changed = mine.copy()
                changed.cells = cells
                if mine.grads != other.grads:
                    changed.grads = "unknown" if "unknown" in (mine.grads, other.grads) else "none"
                changed.flow = join_flows(mine.flow, other.flow)
                changed.backwards = max(mine.backwards, other.backwards)
                if not again:
                    changed.extra.pop("again", None)
                world.heap[oid] = changed
        elif kind is Scaler:
            assert isinstance(mine, Scaler) and isinstance(other, Scaler)
            if mine.enabled != other.enabled:
                joined = mine.copy()
                joined.enabled = choose("enabled", mine.enabled, other.enabled)
                world.heap[oid] = joined

    @staticmethod
    def _merge_model(mine: Obj, other: Obj, choose: Any) -> Obj:
        assert isinstance(mine, Model) and isinstance(other, Model)
        if (
            mine.dtype == other.dtype
            and mine.trainable is other.trainable
            and mine.device == other.device
            and mine.extra == other.extra
        ):
            return mine
        result = mine.copy()
        if mine.trainable is not other.trainable:
            result.trainable = None
        if mine.dtype != other.dtype:
            chosen = choose("dtype", _dtype(mine.dtype), _dtype(other.dtype))
            result.dtype = chosen if type(chosen) is Term and chosen.op == "ite" else None
            cited = other if _may_be_half(other.dtype) and not _may_be_half(mine.dtype) else mine
            result.cast = cited.cast or mine.cast or other.cast
            result.clock = {**other.clock, **mine.clock}
        if mine.injected != other.injected:
            result.injected = mine.injected or other.injected
            result.clock = {**other.clock, **mine.clock}
        if mine.device != other.device:
            result.device = None
        for key in set(mine.extra) | set(other.extra):
            if mine.extra.get(key) != other.extra.get(key):
                result.extra.pop(key, None)
        return result


def _joined_cells(mine: Cells, other: Cells, choose: Any) -> Cells:
    """What an optimizer owns that two paths built at one place, of one module each."""
    if mine == other:
        return mine
    roots, wide = mine.roots | other.roots, True
    if len(mine.roots) == 1 and len(other.roots) == 1:
        chosen = choose("parameters", next(iter(mine.roots)), next(iter(other.roots)))
        if type(chosen) is not Term or chosen.op == "ite":
            roots, wide = frozenset({chosen}), mine.wide or other.wide
    filtered = mine.filtered if mine.filtered == other.filtered else "partial"
    tests = mine.tests if mine.tests == other.tests else frozenset()
    return mine._replace(roots=roots, wide=wide, filtered=filtered, tests=tests)


def _may_be_half(dtype: Any) -> bool:
    """Whether a model's dtype is FP16, on some path."""
    if type(dtype) is Const:
        return bool(dtype.value == "float16")
    if type(dtype) is Term:
        return dtype.op == "ite" and any(_may_be_half(argument) for argument in dtype.args[1:])
    return bool(dtype == "float16")


def _dtype(value: Any) -> Value:
    return Const(value) if value is None or type(value) is str else value


def made_by_class(value: Value) -> bool:
    """Whether an unknown value is an instance that an unseen class has made: never None, and true."""
    return type(value) is Term and value.op == "fresh" and value.args[0] == "instance"


def autocast_stack(world: World) -> list[Auto]:
    """The autocast contexts in force, innermost last."""
    return [context for context, _ in world.auto if type(context) is Auto]


def still_entered(before: tuple[Any, ...], now: tuple[Any, ...]) -> tuple[Any, ...]:
    """The contexts in force where a block or function ends: those before it, but what was entered or left by
    hand, or in a stack that is still open, stays so."""
    if before == now:
        return now
    kept = tuple(pair for pair in before if not by_hand(pair) or pair in now)
    return kept + tuple(pair for pair in now if by_hand(pair) and pair not in before)


def by_hand(entered: tuple[Any, Any]) -> bool:
    """Whether a context was entered by a call: no block or function of its own leaves it."""
    return not entered[1] or entered[1][0] == "stack"


__all__ = [
    "FALSE",
    "HARD",
    "SOFT",
    "TRUE",
    "Joiner",
    "World",
    "autocast_stack",
    "distinguish",
    "still_entered",
]
