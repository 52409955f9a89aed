"""Statements: run in all worlds at once, breadth first, so that worlds of equal typestate can join."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from .base import ROUNDS, Dead, Head, Out
from .contexts import Contexts
from .facts import Facts, dotted
from .objects import Frame, Instance, Scaler
from .paths import World
from .statements import EXITS, MUTATORS
from .values import (
    FALSE,
    NONE,
    TRUE,
    Auto,
    Bound,
    Cells,
    Cls,
    Const,
    Fn,
    Lib,
    Partial,
    Ref,
    Term,
    Tup,
    Value,
    disjunction,
    equal,
    is_none,
    term,
    test_of,
)

UNROLL = 5
Entry = tuple[dict[str, Value], dict[Any, Instance]]
"""A loop's variables, and the objects of the program, when it is entered."""


class Machine(Contexts):
    """The whole machine: statements over expressions, calls and the protocol."""

    def block(self, body: list[ast.stmt], worlds: list[World], out: Out) -> list[World]:
        """Run statements one after the other."""
        for statement in body:
            if not worlds:
                break
            count = len(worlds)
            self.steps += count
            kind = type(statement)
            simple = SIMPLE.get(kind)
            if simple is not None and self.handlers and self.hands_over(statement, worlds[0]):
                worlds = self.yielded(statement, worlds, out)
            elif simple is not None:
                if kind is ast.Expr and self.skips(statement, worlds[0]):
                    self.skipped(statement, worlds)
                    continue
                worlds = self.each(statement, worlds, simple)
            else:
                handler = COMPOUND.get(kind)
                if handler is None:
                    continue
                worlds = handler(self, statement, worlds, out)
            if len(worlds) > 1 and (len(worlds) != count or simple is None):
                worlds = self.join(statement, worlds)
        return worlds

    # -- simple statements --

    # -- compound statements --

    def if_(self, node: ast.If, worlds: list[World], out: Out) -> list[World]:
        """`if`: forks where the test is not decided; both arms may then join again."""
        first = worlds[0]
        facts = self.cold(node, first)
        if facts is not None and not facts.stores and not facts.targets and not facts.jumps:
            if not self._mutates(facts):
                self.moved(node, facts, worlds)
                return worlds
        yes: list[World] = []
        no: list[World] = []

        def action(machine: Machine, statement: Any, world: World) -> None:
            test = test_of(machine.evaluate(statement.test, world))
            known = world.truth(test)
            if known is None:
                other = world.fork()
                if world.assume(test, True):
                    yes.append(world)
                if other.assume(test, False):
                    no.append(other)
            else:
                machine.shut += type(test) is Const
                (yes if known else no).append(world)

        self.each(node, worlds, action)
        yes = self.block(node.body, yes, out) if yes else yes
        if node.orelse and no:
            no = self.block(node.orelse, no, out)
        return yes + no

    @staticmethod
    def _mutates(facts: Facts) -> bool:
        return not facts.calls.isdisjoint(MUTATORS) or not facts.calls.isdisjoint(EXITS)

    def for_(self, node: Any, worlds: list[World], out: Out) -> list[World]:
        """`for`."""
        facts = self.cold(node, worlds[0])
        if facts is not None and not self._returns(node) and not self._penalty(node, facts, worlds[0]):
            for world in worlds:
                self.blur(node, facts, world)
            return worlds
        after: list[World] = []
        unknown: list[World] = []
        literal: list[tuple[World, list[Value]]] = []
        sources: dict[int, Value] = {}
        families: set[int] = set()
        generators: list[tuple[World, Value]] = []

        def action(machine: Machine, statement: Any, world: World) -> None:
            source = machine.evaluate(statement.iter, world)
            source = machine.decide(world, source) if type(source) is Term and source.op == "ite" else source
            if machine.generated(source) is not None:
                generators.append((world, source))
                raise Dead
            source = machine.drained(world, source, statement.iter)
            items = machine.known_items(world, source)
            if items is None:
                items = machine.zipped(world, source, statement.target) or machine.several(world, source)
                if items is not None:
                    families.add(id(world))
            if items is not None and not items:
                after.append(world)
            elif items is not None and len(items) <= UNROLL:
                literal.append((world, items))
            else:
                sources[id(world)] = source
                unknown.append(world)

        self.each(node, worlds, action)
        done: list[World] = []
        for world, items in literal:
            self.families += id(world) in families
            try:
                done += self.unrolled(node, world, items, out)
            finally:
                self.families -= id(world) in families
        for world, source in generators:
            walked = self.driven(node, world, source, out)
            if walked is None:
                sources[id(world)] = source
                unknown.append(world)
            else:
                done += walked
        if unknown:
            done += self.rounds(node, unknown, sources, out)
        if after:
            done += self.block(node.orelse, after, out) if node.orelse else after
        return done

    @staticmethod
    def _penalty(node: Any, facts: Facts, world: World) -> bool:
        """Whether a small loop makes something of parameters with a graph: `l1 = l1 + p.abs().sum()`."""
        over = getattr(getattr(node.iter, "func", None), "attr", "")
        return world.grad and over in ("parameters", "named_parameters") and facts.size < 6

    def zipped(self, world: World, source: Value, node: ast.AST) -> list[Value] | None:
        """The elements of a `zip` or `enumerate` of known sequences, or of some that hold optimizers."""
        source = world.resolve(source)
        if type(source) is Term and source.op in ("zip", "enumerate"):
            parts = [self.known_items(world, part) for part in source.args]
            known = [part for part in parts if part is not None]
            if len(known) < len(parts):
                for index, part in enumerate(source.args):
                    if parts[index] is None:
                        parts[index] = self.several(world, part)
                known = [
                    part for part in parts if part is not None and part and self.holds_actor(world, [part[0]])
                ]
                if known:
                    # What goes with each of them is another thing each time.
                    length = min(map(len, known))
                    for index, part in enumerate(source.args):
                        if parts[index] is None:
                            parts[index] = [
                                self.element_at(world, part, node, index * UNROLL + turn)
                                for turn in range(length)
                            ]
                    known = [part for part in parts if part is not None]
            if len(known) == len(parts) and known:
                if source.op == "enumerate":
                    return [Tup((Const(i), item)) for i, item in enumerate(known[0])]
                return [Tup(tuple(items)) for items in zip(*known, strict=False)]
        if type(source) is Term and source.op == "passed":
            return self.known_items(world, source.args[0])
        return None

    def unrolled(self, node: Any, world: World, items: list[Value], out: Out) -> list[World]:
        """A literal sequence: one pass for each element, with its own identities."""
        current = [world]
        exits: list[World] = []
        unroll = self.unroll
        for index, item in enumerate(items):
            inner = Out()
            self.unroll = (*unroll, index)
            try:
                for each in current:
                    each.memo = {}

                def bind(machine: Machine, statement: Any, world: World, item: Value = item) -> None:
                    machine.assign(statement.target, item, world)

                current = self.each(node, current, bind)
                current = self.block(node.body, current, inner)
            finally:
                self.unroll = unroll
            self._pass_on(inner, out)
            exits += inner.breaks
            current = self.join(node, current + inner.continues) if inner.continues else current
            if not current:
                break
        if node.orelse and current:
            current = self.block(node.orelse, current, out)
        return current + exits

    def rounds(self, node: Any, worlds: list[World], sources: dict[int, Value], out: Out) -> list[World]:
        """A loop of unknown length: at least once, until no new typestate comes to its head."""
        facts = worlds[0].module.facts[node]
        loops = worlds[0].loops
        source = sources[id(worlds[0])]
        entry = self.snapshot(node, facts, worlds[0])
        seen: dict[Any, Head] = {}
        heads = worlds
        exits: list[World] = []
        breaks: list[World] = []
        limit = 1 if self.steps > self.limit or self.spent() else ROUNDS
        apart, shut = False, self.shut
        for turn in range(limit + 1):
            if turn:
                moved = [self.widen(node, facts, world, entry) for world in heads]
                apart = apart or (turn == 1 and self.shut > shut and any(moved))
            fresh_heads = self.unseen_heads(heads, facts, seen, apart)
            if not fresh_heads or turn == limit:
                break
            for world in fresh_heads:
                world.loops = (*loops, node)

            def bind(machine: Machine, statement: Any, world: World, source: Value = source) -> None:
                own = sources.get(id(world), source)
                machine.assign(statement.target, machine.element(world, own, statement.target), world)

            heads = self.each(node, fresh_heads, bind)
            inner = Out()
            heads = self.block(node.body, heads, inner)
            self._pass_on(inner, out)
            breaks += inner.breaks
            heads = self.join(node, heads + inner.continues) if inner.continues else heads
            for world in heads:
                leaving = world.fork()
                leaving.loops = loops
                exits.append(leaving)
        for world in breaks:
            world.loops = loops
        exits = self.join(node, exits)
        if node.orelse and exits:
            exits = self.block(node.orelse, exits, out)
        return exits + breaks

    def while_(self, node: ast.While, worlds: list[World], out: Out) -> list[World]:
        """`while`."""
        facts = self.cold(node, worlds[0])
        if facts is not None and not self._returns(node):
            for world in worlds:
                self.blur(node, facts, world)
            return worlds
        facts = worlds[0].module.facts[node]
        loops = worlds[0].loops
        entry = self.snapshot(node, facts, worlds[0])
        seen: dict[Any, Head] = {}
        heads = worlds
        exits: list[World] = []
        breaks: list[World] = []
        limit = 1 if self.steps > self.limit or self.spent() else ROUNDS
        apart, shut = False, self.shut
        for turn in range(limit + 1):
            if turn:
                moved = [self.widen(node, facts, world, entry) for world in heads]
                apart = apart or (turn == 1 and self.shut > shut and any(moved))
            inside: list[World] = []

            def action(
                machine: Machine,
                statement: Any,
                world: World,
                turn: int = turn,
                inside: list[World] = inside,
            ) -> None:
                test = test_of(machine.evaluate(statement.test, world))
                known = world.truth(test)
                if known is False:
                    exits.append(world)
                elif known or turn == 0:
                    # Entered at least once: a loop that is never run teaches nothing.
                    if world.assume(test, True):
                        inside.append(world)
                else:
                    other = world.fork()
                    if other.assume(test, False):
                        exits.append(other)
                    if world.assume(test, True):
                        inside.append(world)

            self.each(node, heads, action)
            heads = self.unseen_heads(inside, facts, seen, apart)
            if not heads or turn == limit:
                break
            for world in heads:
                world.loops = (*loops, node)
            inner = Out()
            heads = self.block(node.body, heads, inner)
            self._pass_on(inner, out)
            breaks += inner.breaks
            heads = self.join(node, heads + inner.continues) if inner.continues else heads
        for world in exits + breaks:
            world.loops = loops
        exits = self.join(node, exits)
        if node.orelse and exits:
            exits = self.block(node.orelse, exits, out)
        return exits + breaks

    @staticmethod
    def _returns(node: ast.AST) -> bool:
        return any(isinstance(inner, ast.Return) for inner in ast.walk(node))

    def snapshot(self, node: ast.AST, facts: Facts, world: World) -> Entry:
        """What a loop may move, as it was when the loop was entered: its variables, and objects."""
        frame = world.heap[world.frame]
        assert isinstance(frame, Frame)
        world.owned = set()  # what changes from here on is another copy
        objects = {oid: obj for oid, obj in world.heap.items() if type(obj) is Instance}
        return {name: frame.vars[name] for name in facts.stores if name in frame.vars}, objects

    shut = 0
    """How many tests were decided by constants: a number that moves may decide them otherwise."""

    def widen(self, node: ast.AST, facts: Facts, world: World, entry: Entry) -> bool:
        """Counters that moved since the loop was entered are any number now, attributes of objects too."""
        frame = world.heap[world.frame]
        assert isinstance(frame, Frame)
        names, objects = entry
        changed: dict[str, Value] = {}
        for name, before in names.items():
            now = frame.vars.get(name)
            if now is not None and self._moved(before, now):
                changed[name] = self.fresh(world, node, what=name)
        if changed:
            world.frame_vars().update(changed)
        moved = bool(changed)
        for oid, old in objects.items():
            obj = world.heap.get(oid)
            if obj is not old and type(obj) is Instance:
                for name, now in list(obj.attrs.items()):
                    if self._moved(old.attrs.get(name), now):
                        symbol = self.fresh(world, node, what=name, of=oid)
                        world.edit(Ref(oid)).attrs[name] = symbol
                        moved = True
        return moved

    def _moved(self, before: Value, now: Value) -> bool:
        """Whether a number is another one than it was."""
        if now is before or now == before:
            return False
        if type(now) is Const:
            return type(now.value) in (int, float)
        grown = type(now) is Term and now.op in ("bin", "join", "ite") and now.flow is None
        return grown and not self._holds_object(now)

    def _holds_object(self, value: Value) -> bool:
        if type(value) is Term:
            return value.op == "ite" and any(self._holds_object(arm) for arm in value.args[1:])
        return type(value) in (Ref, Fn, Bound, Cls, Cells, Auto, Partial, Tup) or value is NONE

    def unseen_heads(
        self, worlds: list[World], facts: Facts, seen: dict[Any, Head], apart: bool
    ) -> list[World]:
        """The worlds that come to a loop's head in a new state; others go on as the first of theirs did.

        `apart`: the first round went by numbers that have moved since, and cannot stand for the others.
        """
        fresh = []
        for world in worlds:
            key = (self.head_key(world, facts), apart)
            head = seen.get(key)
            if head is None:
                head = seen[key] = Head()
                fresh.append(world)
            self.arrive(world, head)
        return fresh

    def head_key(self, world: World, facts: Facts) -> Any:
        """What makes a loop head new: typestate, and the flags that the loop sets."""
        frame = world.heap[world.frame]
        assert isinstance(frame, Frame)
        flags = []
        for name in facts.stores:
            value = frame.vars.get(name)
            if value is not None and (
                (type(value) is Const and type(value.value) in (bool, str, type(None)))
                or (type(value) is Term and value.op == "ite" and self._holds_object(value))
            ):
                flags.append((name, value))
        return (world.key(), frozenset(flags))

    def try_(self, node: Any, worlds: list[World], out: Out) -> list[World]:
        """`try`: handlers start from the state before, and from explicit raises."""
        handlers = [
            handler for handler in node.handlers if not (self._import_error(handler) and self._imports(node))
        ]
        mark = self.fresh(worlds[0], node, what="raised")
        befores = []
        if handlers and any(not self._only_raises(handler.body) for handler in handlers):
            for world in worlds:
                before = world.fork()
                before.forget(mark)
                if before.assume(mark, True):
                    befores.append(before)
                world.forget(mark)
                world.assume(mark, False)
        inner = Out()
        home = worlds[0]
        home_state = (home.frame, home.module, home.ctx, home.stack, home.auto, home.grad, home.loops)
        thrown: list[World] = []
        self.catching.append(thrown)
        try:
            normal = self.block(node.body, worlds, inner)
        finally:
            self.catching.pop()
        inner.raises += thrown
        for world in inner.raises:
            (world.frame, world.module, world.ctx, world.stack, world.auto, world.grad, world.loops) = (
                home_state
            )
        if node.orelse and normal:
            normal = self.block(node.orelse, normal, inner)
        caught: list[World] = []
        sources = befores + (inner.raises if handlers else [])
        if handlers and sources:
            inner.raises = []
            for index, handler in enumerate(handlers):
                copies = sources if index == len(handlers) - 1 else [world.fork() for world in sources]
                for world in copies:
                    world.memo = {}
                    if handler.name:
                        self.store_name(handler.name, self.fresh(world, handler), world)
                caught += self.block(handler.body, copies, inner)
        result = normal + caught
        if node.finalbody:
            for group in (inner.breaks, inner.continues, inner.returns, inner.raises):
                if group:
                    rets = {id(world): world.ret for world in group}
                    group[:] = self.block(node.finalbody, group, out)
                    for world in group:
                        world.ret = rets.get(id(world), world.ret)
            if result:
                result = self.block(node.finalbody, self.join(node, result), out)
        out.breaks += inner.breaks
        out.continues += inner.continues
        self._pass_on(inner, out)
        return result

    @staticmethod
    def _import_error(handler: ast.ExceptHandler) -> bool:
        names = [] if handler.type is None else [dotted(n) for n in ast.walk(handler.type)]
        return any(name in ("ImportError", "ModuleNotFoundError") for name in names)

    @staticmethod
    def _imports(node: Any) -> bool:
        return any(isinstance(statement, ast.Import | ast.ImportFrom) for statement in node.body)

    @staticmethod
    def _only_raises(body: list[ast.stmt]) -> bool:
        last = body[-1]
        return isinstance(last, ast.Raise) or (
            isinstance(last, ast.Expr)
            and isinstance(last.value, ast.Call)
            and dotted(last.value.func) in ("sys.exit", "exit", "os._exit", "quit")
        )

    def match(self, node: ast.Match, worlds: list[World], out: Out) -> list[World]:
        """`match`."""
        done: list[World] = []
        subjects: dict[int, Value] = {}

        def subject(machine: Machine, statement: Any, world: World) -> None:
            value = machine.evaluate(statement.subject, world)
            subjects[id(world)] = value
            world.ret = value

        rest = self.each(node, worlds, subject)
        for case in node.cases:
            inside: list[World] = []
            outside: list[World] = []

            def action(
                machine: Machine,
                statement: Any,
                world: World,
                case: ast.match_case = case,
                inside: list[World] = inside,
                outside: list[World] = outside,
            ) -> None:
                test = machine.pattern(case.pattern, world.ret, world)
                known = world.truth(test)
                other = world.fork() if known is None else None
                if known is not False and world.assume(test, True):
                    if case.guard is None:
                        inside.append(world)
                    else:
                        guard = test_of(machine.evaluate(case.guard, world))
                        beside = world.fork()
                        if world.assume(guard, True):
                            inside.append(world)
                        if beside.assume(guard, False):
                            outside.append(beside)
                elif known is False:
                    outside.append(world)
                if other is not None and other.assume(test, False):
                    outside.append(other)

            self.each(node, rest, action)
            done += self.block(case.body, inside, out) if inside else []
            rest = outside
            if not rest:
                break
        return done + rest

    def pattern(self, pattern: ast.pattern, value: Value, world: World) -> Value:
        """The test that a pattern makes, its names bound."""
        if isinstance(pattern, ast.MatchValue):
            return equal(value, self.evaluate(pattern.value, world))
        if isinstance(pattern, ast.MatchSingleton):
            return is_none(value) if pattern.value is None else equal(value, Const(pattern.value))
        if isinstance(pattern, ast.MatchOr):
            test: Value = FALSE
            for each in pattern.patterns:
                test = disjunction(test, self.pattern(each, value, world))
            return test
        if isinstance(pattern, ast.MatchAs):
            test = TRUE if pattern.pattern is None else self.pattern(pattern.pattern, value, world)
            if pattern.name is not None:
                self.store_name(pattern.name, value, world)
            return test
        for inner in ast.walk(pattern):
            name = getattr(inner, "name", None)
            if type(name) is str:
                self.store_name(name, self.fresh(world, inner, what=name), world)
        return term("call", Lib("matches"), value, Const(ast.dump(pattern)))

    # -- leaving --

    def return_(self, node: ast.Return, worlds: list[World], out: Out) -> list[World]:
        """`return`."""

        def action(machine: Machine, statement: Any, world: World) -> None:
            world.ret = machine.optional(statement.value, world)

        out.returns += self.each(node, worlds, action)
        return []

    def raise_(self, node: ast.Raise, worlds: list[World], out: Out) -> list[World]:
        """`raise`."""
        out.raises += worlds
        return []

    def break_(self, node: ast.Break, worlds: list[World], out: Out) -> list[World]:
        """`break`."""
        out.breaks += worlds
        return []

    def continue_(self, node: ast.Continue, worlds: list[World], out: Out) -> list[World]:
        """`continue`: optimizers whose round is not over are noted, for the message that follows."""
        for world in worlds:
            for ref, obj in world.of_kind(Scaler):
                if obj.stages:
                    world.edit(ref).left = dict.fromkeys(obj.stages, (node, world.module))
        out.continues += worlds
        return []

    def raised(self, worlds: list[World]) -> None:
        """An exception leaves a function: without a handler in sight the path ends."""
        if self.catching and worlds:
            self.catching[-1] += worlds

    # -- binding --


M = Machine
SIMPLE: dict[type[ast.AST], Callable[[Any, Any, World], None]] = {
    ast.Expr: M.expression,
    ast.Assign: M.assignment,
    ast.AnnAssign: M.annotated,
    ast.AugAssign: M.augmented,
    ast.Delete: M.delete,
    ast.Assert: M.assertion,
    ast.FunctionDef: M.define,
    ast.AsyncFunctionDef: M.define,
    ast.ClassDef: M.define_class,
    ast.Import: M.import_,
    ast.ImportFrom: M.import_from,
}
COMPOUND: dict[type[ast.AST], Callable[[Any, Any, list[World], Out], list[World]]] = {
    ast.If: M.if_,
    ast.For: M.for_,
    ast.AsyncFor: M.for_,
    ast.While: M.while_,
    ast.Try: M.try_,
    ast.TryStar: M.try_,
    ast.With: M.with_,
    ast.AsyncWith: M.with_,
    ast.Match: M.match,
    ast.Return: M.return_,
    ast.Raise: M.raise_,
    ast.Break: M.break_,
    ast.Continue: M.continue_,
}
