"""`with`, and generators: code that hands over in its middle and goes on afterwards.

A `@contextmanager` function, or a generator that a loop walks over, is run where it is used: at its
`yield` the body of the `with` or of the loop is run, and then what follows the `yield`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from .base import DEPTH, Dead, Multi, Out, Split
from .objects import Instance, Model
from .paths import World, still_entered
from .statements import Statements
from .values import (
    NONE,
    TRUE,
    Auto,
    Bound,
    Cls,
    Const,
    Fn,
    Mode,
    Ref,
    Term,
    Tup,
    Value,
)

Handler = Callable[[list[World]], list[World]]
"""What a generator hands over to: worlds with what it yields in `ret`; those come back that resume it."""


class Contexts(Statements):
    """Context managers and generators."""

    # -- generators --

    def drive(self, node: Any, world: World, generator: Term, handler: Handler) -> list[World] | None:
        """Run a generator to its end; `handler` is what happens at each `yield`. None: it is not entered."""
        fn, args, keywords, wild = generator.args[:4]
        closed = self.spent() or len(world.stack) >= DEPTH or fn.node in self.handlers
        if closed or any(step[2] is fn.node for step in world.stack):
            return None
        self.entered.add(fn.node)
        outside = (world.frame, world.module, world.ctx, world.stack, self.unroll)
        self.handlers[fn.node] = (handler, outside)
        try:
            return self.activate(world, fn, list(args.items), dict(keywords), node, wild)
        finally:
            del self.handlers[fn.node]

    def hands_over(self, node: ast.stmt, world: World) -> bool:
        """Whether a statement is a `yield` of a generator that is being driven."""
        if type(getattr(node, "value", None)) not in (ast.Yield, ast.YieldFrom):
            return False
        return world.heap[world.frame].node in self.handlers

    def yielded(self, node: Any, worlds: list[World], out: Out) -> list[World]:
        """`yield` as a statement, or as all of an assignment's value."""
        inner = node.value
        further: list[tuple[World, Term]] = []

        def action(machine: Any, statement: Any, world: World) -> None:
            world.ret = machine.optional(inner.value, world)
            if type(inner) is ast.YieldFrom:
                if type(world.ret) is Term and world.ret.op == "generator":
                    further.append((world, world.ret))
                    raise Dead
                world.ret = machine.element(world, world.ret, inner)

        owner = worlds[0].heap[worlds[0].frame].node
        assert owner is not None
        done = self.hand_over(owner, self.each(node, worlds, action))
        for world, generator in further:
            resumed = self.drive(node, world, generator, lambda given: self.hand_over(owner, given))
            done += [world] if resumed is None else resumed
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]

            def receive(machine: Any, statement: Any, world: World) -> None:
                for target in targets:
                    machine.assign(target, machine.fresh(world, inner, what="sent"), world)

            done = self.each(node, done, receive)
        return done

    def hand_over(self, owner: ast.AST, worlds: list[World]) -> list[World]:
        """Go from a generator to what drives it, and come back."""
        if not worlds:
            return worlds
        handler, outside = self.handlers.pop(owner)
        first = worlds[0]
        inside = (first.frame, first.module, first.ctx, first.stack)
        unroll, self.unroll = self.unroll, outside[4]
        for world in worlds:
            world.frame, world.module, world.ctx, world.stack = outside[:4]
        try:
            back: list[World] = handler(worlds)
        finally:
            self.handlers[owner] = (handler, outside)
            self.unroll = unroll
        for world in back:
            world.frame, world.module, world.ctx, world.stack = inside
        return back

    def exhaust(self, world: World, value: Value, node: ast.AST) -> None:
        """A generator is walked over inside an expression: all of it runs."""
        value = self.as_ref(world, value)
        if type(value) is Term and value.op in ("enumerate", "zip", "passed"):
            for part in value.args:
                self.exhaust(world, part, node)
        key = (node, "exhausted")
        if type(value) is not Term or value.op != "generator" or key in world.memo:
            return
        world.memo[key] = TRUE
        worlds = self.drive(node, world, value, lambda given: given)
        if worlds is None:
            self.escape(world, [value], node, "a generator")
        elif len(worlds) == 1:
            if worlds[0] is not world:
                world.become(worlds[0])
        elif not worlds:
            raise Dead
        else:
            raise Split(worlds)

    def generated(self, source: Value) -> Term | None:
        """The generator that a loop walks over, perhaps through `enumerate`, `zip` or `tqdm`."""
        if type(source) is not Term:
            return None
        if source.op == "generator":
            return source
        if source.op in ("enumerate", "zip", "passed"):
            return next(filter(None, map(self.generated, source.args)), None)
        return None

    def wrapped(self, world: World, source: Value, value: Value, node: ast.AST) -> Value:
        """What the loop binds when its generator yields `value`."""
        assert type(source) is Term
        if source.op == "generator":
            return value
        if source.op == "enumerate":
            return Tup((self.fresh(world, node, what="i"), self.wrapped(world, source.args[0], value, node)))
        if source.op == "passed":
            return self.wrapped(world, source.args[0], value, node)
        return Tup(
            tuple(
                self.wrapped(world, part, value, node)
                if self.generated(part) is not None
                else self.element_at(world, part, node, index)
                for index, part in enumerate(source.args)
            )
        )

    def driven(self, node: Any, world: World, source: Value, out: Out) -> list[World] | None:
        """A loop over a generator: its body is run at each `yield`."""
        generator = self.generated(source)
        assert generator is not None
        facts = world.module.facts[node]
        saved = world.auto, world.grad, world.loops
        entry = self.snapshot(node, facts, world)
        breaks: list[World] = []
        turns = 0

        def handler(worlds: list[World]) -> list[World]:
            nonlocal turns
            turns += 1
            loops = worlds[0].loops
            for each in worlds:
                each.loops = (*loops, node)
                if turns > 1:
                    self.widen(node, facts, each, entry)

            def bind(machine: Any, statement: Any, world: World) -> None:
                machine.assign(
                    statement.target, self.wrapped(world, source, world.ret, statement.target), world
                )

            current = self.each(node, worlds, bind)
            inner = Out()
            current = self.block(node.body, current, inner)
            breaks.extend(inner.breaks)
            for left in (*inner.breaks, *inner.returns, *inner.raises):
                left.auto, left.grad, left.loops = saved
            self._pass_on(inner, out)
            current = self.join(node, current + inner.continues) if inner.continues else current
            for each in current:
                each.loops = loops
            return current

        done = self.drive(node, world, generator, handler)
        if done is None:
            return None
        if node.orelse and done:
            done = self.block(node.orelse, done, out)
        return done + breaks

    @staticmethod
    def _pass_on(inner: Out, out: Out) -> None:
        out.returns += inner.returns
        out.raises += inner.raises

    def snapshot(self, node: ast.AST, facts: Any, world: World) -> Any:
        """What a loop may move, as it was when it was entered; see `interpreter`."""
        raise NotImplementedError

    def widen(self, node: ast.AST, facts: Any, world: World, entry: Any) -> bool:
        """Counters that moved are any number; see `interpreter`."""
        raise NotImplementedError

    # -- with --

    def with_(self, node: Any, worlds: list[World], out: Out) -> list[World]:
        """`with`: contexts are entered, the body is run, the contexts are left on every way out."""
        groups: dict[Any, list[World]] = {}
        for world in worlds:
            groups.setdefault((world.auto, world.grad), []).append(world)
        done: list[World] = []
        for group in groups.values():
            done += self.within(node, 0, group, out)
        return done

    def within(self, node: Any, index: int, worlds: list[World], out: Out) -> list[World]:
        """Enter the contexts from `index` on, and run the body."""
        if not worlds:
            return worlds
        if index == len(node.items):
            return self.block(node.body, worlds, out)
        item: ast.withitem = node.items[index]
        saved = worlds[0].auto, worlds[0].grad
        managers: list[tuple[World, Term]] = []
        stacks: set[Mode] = set()
        slot = f"with {item.context_expr.lineno}:{item.context_expr.col_offset}"

        def action(machine: Any, statement: Any, world: World) -> None:
            value = machine.evaluate(item.context_expr, world)
            value = machine.decide(world, value) if type(value) is Term and value.op == "ite" else value
            if type(value) is Mode and value.kind == "stack":
                stacks.add(value)
            if type(value) is Term and value.op == "generator":
                managers.append((world, value))
                raise Dead
            machine.push_context(world, value, item, item.context_expr, slot)

        inner = Out()
        done = self.within(node, index + 1, self.each(node, worlds, action), inner)
        done = self.leave_context(node, done, slot)
        for group in (inner.breaks, inner.continues, inner.returns):
            group[:] = self.leave_context(node, group, slot)
        for world in (*done, *inner.breaks, *inner.continues, *inner.returns, *inner.raises):
            for stack in stacks:
                self.leave_stack(world, stack)
            world.auto, world.grad = still_entered(saved[0], world.auto), saved[1]
        out.breaks += inner.breaks
        out.continues += inner.continues
        self._pass_on(inner, out)
        for world, manager in managers:
            done += self.managed(node, index, world, manager, out)
        return done

    def managed(self, node: Any, index: int, world: World, manager: Term, out: Out) -> list[World]:
        """The body of a `with` at the `yield` of a `@contextmanager`; what follows that runs after it."""
        saved = world.auto, world.grad
        item: ast.withitem = node.items[index]

        def handler(worlds: list[World]) -> list[World]:
            inner = Out()

            def bind(machine: Any, statement: Any, world: World) -> None:
                machine.assign(item.optional_vars, world.ret, world)

            if item.optional_vars is not None:
                worlds = self.each(node, worlds, bind)
            done = self.within(node, index + 1, worlds, inner)
            out.raises += inner.raises
            for kind in ("breaks", "continues", "returns"):
                for each in getattr(inner, kind):
                    # It leaves the block, but not before the rest of the manager was run.
                    each.tags = each.tags | {(kind, node)}
                    each.frame_vars()[LEAVING] = each.ret
                    done.append(each)
            return done

        # Two of one function in one `with` have a frame each: the place is that of the item.
        worlds = self.drive(item.context_expr, world, manager, handler)
        if worlds is None:
            world.ret = NONE
            worlds = handler([world])
        normal: list[World] = []
        for each in worlds:
            each.auto, each.grad = still_entered(saved[0], each.auto), saved[1]
            target = normal
            for kind in ("breaks", "continues", "returns"):
                if (kind, node) in each.tags:
                    each.tags = each.tags - {(kind, node)}
                    each.ret = each.frame_vars().pop(LEAVING, NONE)
                    target = getattr(out, kind)
            target.append(each)
        return normal

    def push_context(
        self, world: World, value: Value, item: ast.withitem, node: ast.AST, slot: str = ""
    ) -> None:
        """Enter a context manager that is a value."""
        value = world.resolve(value)
        ref = self.as_ref(world, value)
        if self._part(world, ref, "__exit__") is not None:
            world.frame_vars()[slot] = ref
        bound = self.entered_context(world, value, node, world.frame)
        if item.optional_vars is not None:
            self.assign(item.optional_vars, bound, world)

    def entered_context(self, world: World, value: Value, node: ast.AST, holder: Any) -> Value:
        """Enter a context that `holder` leaves again: a frame, or a stack. What its `as` binds."""
        if type(value) is Auto:
            world.auto = (*world.auto, (value, holder))
            self.entered_autocast(world, value, node)
        elif type(value) is Mode:
            if value.kind == "nograd":
                world.grad = False
            elif value.kind == "grad":
                world.grad = True
            elif value.kind == "framework":
                world.tags = world.tags | {"framework"}
            return value if value.kind == "stack" else value.value
        else:
            ref = self.as_ref(world, value)
            method = self._part(world, ref, "__enter__")
            if method is not None:
                return self.invoke(world, Bound(method, ref), [], node)
        return value

    # -- exit stacks --

    def enter_into(self, world: World, stack: Mode, value: Value, node: ast.AST) -> Value:
        """`stack.enter_context(value)`: in force until the stack is left."""
        value = self.decide(world, value)
        if type(value) is Term and value.op == "generator":
            # It stays suspended at its `yield`: what it has entered by then is in force.
            fn = value.args[0]
            if self.program.casting(fn.module, fn.node):
                unknown = self.fresh(world, node, what="a context manager")
                world.auto = (
                    *world.auto,
                    (Auto(None, unknown, unknown, node, world.module), holder_of(stack)),
                )
            return self.fresh(world, node)
        if (stack, "grad") not in world.attrs:
            world.attrs[(stack, "grad")] = Const(world.grad)
        return self.entered_context(world, value, node, holder_of(stack))

    def hand_on(self, world: World, stack: Mode, other: Mode) -> Mode:
        """What was entered into one stack is left with another."""
        own, new = holder_of(stack), holder_of(other)
        world.auto = tuple((value, new if holder == own else holder) for value, holder in world.auto)
        before = world.attrs.pop((stack, "grad"), None)
        if before is not None:
            world.attrs[(other, "grad")] = before
        return other

    def leave_stack(self, world: World, stack: Mode) -> None:
        """A stack is left, and with it all that was entered into it."""
        world.auto = tuple(pair for pair in world.auto if pair[1] != holder_of(stack))
        before = world.attrs.pop((stack, "grad"), None)
        if type(before) is Const:
            world.grad = before.value

    def leave_context(self, node: Any, worlds: list[World], slot: str) -> list[World]:
        """Call the `__exit__` of an object of the project."""
        held = [world for world in worlds if slot in world.frame_vars()]
        if not held:
            return worlds

        def action(machine: Any, statement: Any, world: World) -> None:
            ref = world.frame_vars().get(slot)
            method = self._part(world, ref, "__exit__")
            if method is not None:
                ret = world.ret
                self.invoke(world, Bound(method, ref), [NONE, NONE, NONE], statement)
                world.ret = ret

        rets = {id(world): world.ret for world in held}
        done = self.each(node, held, action)
        for world in done:
            world.ret = rets.get(id(world), world.ret)
            world.frame_vars().pop(slot, None)
        return [world for world in worlds if world not in held] + done

    def _part(self, world: World, ref: Value, name: str) -> Fn | None:
        """A method of an object's class, where it can matter."""
        obj = world.heap.get(ref.oid) if type(ref) is Ref else None
        if not isinstance(obj, Instance) or isinstance(obj, Model) or type(obj.cls) is not Cls:
            return None
        method = self.member(world, obj.cls, name)
        if type(method) is Fn and self.program.hot(method.module, method.node):
            return method
        return None

    def invoke(self, world: World, callee: Value, args: list[Value], node: ast.AST) -> Value:
        """Call a value that no expression calls; the result is kept for the statement's restart."""
        key = (node, callee)
        if key in world.memo:
            return world.memo[key]
        try:
            value = self.call_value(world, callee, args, {}, node)
        except Multi as multi:
            for other in multi.worlds:
                other.memo[key] = other.ret
            raise Split(multi.worlds) from None
        world.memo[key] = value
        return value


def holder_of(stack: Mode) -> tuple[str, Mode]:
    """What stands for a frame where a context was entered into a stack."""
    return ("stack", stack)


LEAVING = "value that leaves a with"
