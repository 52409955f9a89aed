"""Simple statements: assignment, imports, definitions; which statements can be left out."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from .base import Dead, Multi, Split
from .facts import Facts, dotted
from .modules import Modules
from .objects import DictObj, Frame, Instance, Iter, ListObj, Model
from .paths import HARD, World
from .values import (
    UNBOUND,
    Bound,
    Cells,
    Cls,
    Const,
    Fn,
    Lazy,
    Lib,
    Namespace,
    Partial,
    Ref,
    Term,
    Tup,
    Value,
    flow_of,
    term,
    test_of,
)

MUTATORS = frozenset(
    ["append", "extend", "add", "insert", "update", "setdefault", "pop", "remove", "clear", "add_param_group"]
)


EXITS = frozenset(("exit", "quit", "_exit", "abort"))


TOUCHES = frozenset(
    [
        "append/1",
        "extend/1",
        "add/1",
        "insert/1",
        "update/1",
        "setdefault/1",
        "pop",
        "pop/1",
        "remove/1",
        "clear",
    ]
)


class Statements(Modules):
    """Simple statements: assignment, imports, definitions; which statements can be left out."""

    def each(
        self, node: ast.AST, worlds: list[World], action: Callable[[Any, Any, World], None]
    ) -> list[World]:
        """Run an action on each world, restarting it where it splits."""
        done: list[World] = []
        todo = worlds[::-1]
        for world in todo:
            world.memo = {}
        splits = 0
        home = (worlds[0].frame, worlds[0].module) if worlds else ((), None)
        while todo:
            world = todo.pop()
            try:
                action(self, node, world)
            except Split as split:
                splits += 1
                self.steps += 1
                for other in split.worlds:
                    # A split inside a comprehension or a class body starts again outside of it.
                    other.frame, other.module = home
                if splits > HARD:
                    self.bound(world, node, "too many paths through one statement: some were not followed")
                    if splits <= 2 * HARD:
                        todo += split.worlds[:1]
                else:
                    todo += split.worlds[::-1]
            except Dead:
                continue
            else:
                done.append(world)
        return done

    def join(self, node: ast.AST, worlds: list[World]) -> list[World]:
        """Join worlds of equal typestate; note the widest set and bounds."""
        if not worlds:
            return worlds
        if len(worlds) > self.widest:
            self.widest = len(worlds)
        joined = self.joiner(node, worlds[0]).join(worlds)
        if len(joined) >= HARD:
            self.bound(joined[0], node, f"more than {HARD} different states meet here: some were dropped")
        if len(joined) > 2 and self.spent():
            self.bound(joined[0], node, "the whole budget is spent: only two states are followed further")
            joined = joined[:2]
        if self.steps > self.limit and len(joined) > 4:
            self.bound(
                joined[0],
                node,
                "the budget of this function is spent: only a few states are followed further",
            )
            joined = joined[:4]
        return joined

    def skips(self, node: ast.stmt, world: World) -> bool:
        """Whether an expression statement can have no effect that matters."""
        value = node.value  # type: ignore[attr-defined]
        kind = type(value)
        if kind is ast.Constant:
            return True
        if kind is not ast.Call:
            return False
        function = value.func
        name = function.attr if type(function) is ast.Attribute else getattr(function, "id", "")
        if name in MUTATORS or name in EXITS:
            return False
        facts = world.module.facts.get(node)
        if facts is not None and (facts.consumes or self.gives_away(facts, world)):
            return False
        if world.heap[world.frame].node in self.followed:
            return False
        return not self.program.hot(world.module, node)

    def skipped(self, node: ast.stmt, worlds: list[World]) -> None:
        """An expression statement was left out."""
        facts = worlds[0].module.facts.get(node)
        if facts is not None and facts.called:
            self.moved(node, facts, worlds)

    def cold(self, node: ast.stmt, world: World) -> Facts | None:
        """The facts of a statement that holds nothing of the protocol, else None."""
        if self.program.hot(world.module, node):
            return None
        facts: Facts | None = world.module.facts.get(node)
        if facts is not None and self.gives_away(facts, world):
            return None
        owner = world.heap[world.frame].node
        if owner in self.followed or (facts is not None and facts.yields and owner in self.handlers):
            return None  # Dtypes flow through it, or what it hands over to is run within it.
        return facts

    def gives_away(self, facts: Facts, world: World) -> bool:
        """Whether a statement hands a scaler or an optimizer to a call, or calls what holds one."""
        for path in facts.passed:
            value = self.peek_path(world, path)
            if value is None:
                continue
            if type(value) in (Fn, Bound, Partial):
                acts = self.acts_when_called(world, value)
            else:
                acts = bool(world.actors) and self.holds_actor(world, [value])
            if acts or self.is_half(world, value):
                return True
        for path in facts.called:
            value = self.peek_path(world, path)
            if value is not None and self.acts_when_called(world, value):
                return True
        return False

    def peek_path(self, world: World, path: str) -> Value | None:
        """The value of a dotted path, without consequences."""
        first, *rest = path.split(".")
        value = self.peek(world, first)
        for part in rest:
            ref = self.as_ref(world, value) if value is not None else None
            obj = world.heap.get(ref.oid) if type(ref) is Ref else None
            value = obj.attrs.get(part) if isinstance(obj, Instance) else None
        return value

    def acts_when_called(self, world: World, value: Value) -> bool:
        """Whether a call of a value can matter, whatever its name: a stored function, a callable object."""
        value = self.as_ref(world, value)
        kind = type(value)
        if kind is Fn:
            return self.program.core(value.module, value.node)
        if kind is Bound or kind is Partial:
            return self.acts_when_called(world, value.fn)
        if kind is Term and value.op == "ite":
            return any(self.acts_when_called(world, arm) for arm in value.args[1:])
        if kind is Ref and isinstance(world.heap.get(value.oid), Model):
            return self.is_half(world, value)
        return kind is Ref and self.holds_actor(world, [value])

    def peek(self, world: World, name: str) -> Value | None:
        """The value of a name, without consequences."""
        oid = world.frame
        while oid:
            frame = world.heap[oid]
            assert isinstance(frame, Frame)
            value = frame.vars.get(name)
            if value is not None:
                return None if type(value) is Lazy else value
            oid = frame.parent
        return None

    def blur(self, node: ast.AST, facts: Facts, world: World) -> None:
        """A cold statement was not run: what it binds is unknown now."""
        for name in facts.stores:
            self.store_name(name, self.fresh(world, node, what=name), world)
        for target in facts.targets:
            try:
                base = self.evaluate(target.value, world)
            except (Dead, Split, Multi):
                continue
            self.set_attribute(world, base, target.attr, self.fresh(world, target, what=target.attr), target)
        for path, methods in facts.paths.items():
            if not methods.isdisjoint(TOUCHES):
                self.blur_container(path, world, node)
        self.moved(node, facts, [world])

    def moved(self, node: ast.AST, facts: Facts, worlds: list[World]) -> None:
        """Methods were called that were not run: what they set on their object is no longer what it was."""
        for path in facts.called:
            owner, _, name = path.rpartition(".")
            if owner and name in self.program.movers:
                for world in worlds:
                    self.unsettle(world, self.peek_path(world, owner), name, node)

    def unsettle(self, world: World, receiver: Value | None, name: str, node: ast.AST) -> None:
        """Constants of an object that its method `name` sets are unknown from here on."""
        ref = self.as_ref(world, receiver)
        if type(ref) is not Ref:
            return
        obj = world.heap.get(ref.oid)
        if not isinstance(obj, Instance) or type(obj.cls) is not Cls:
            return
        names = [each for each in self.program.movers.get(name, ()) if type(obj.attrs.get(each)) is Const]
        for each in names:
            symbol = self.fresh(world, node, what=each, of=ref.oid)
            world.edit(ref).attrs[each] = symbol

    def blur_container(self, path: str, world: World, node: ast.AST) -> None:
        """A list or dict was changed by code that was not run."""
        first, *rest = path.split(".")
        try:
            value = self.read_name(first, world, node)
            for part in rest:
                value = self.get_attribute(world, value, part, node)
        except (Dead, Split, Multi):
            return
        value = self.as_ref(world, value)
        if type(value) is Ref and isinstance(world.heap.get(value.oid), ListObj | DictObj):
            world.edit(value).open = True

    def expression(self, node: ast.Expr, world: World) -> None:
        """An expression whose value is thrown away."""
        value = node.value
        if isinstance(value, ast.Yield | ast.YieldFrom):
            return
        if isinstance(value, ast.Await):
            value = value.value
        if isinstance(value, ast.Call):
            function = value.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name in EXITS:
                root = dotted(function).partition(".")[0]
                if root in ("sys", "os", "exit", "quit"):
                    raise Dead
        result = self.evaluate(value, world)
        self.discarded(world, value, result)

    def assignment(self, node: ast.Assign, world: World) -> None:
        """`target = value`."""
        value = self.kept(world, self.evaluate(node.value, world), node.value)
        for target in node.targets:
            self.assign(target, value, world)

    def kept(self, world: World, value: Value, node: ast.expr) -> Value:
        """What a generator function that yields parameters gives, where it gets a name: an iterator."""
        if type(value) is not Term or value.op != "generator" or "parameters" not in value.args[0].flags:
            return value
        cells = Cells(frozenset({self.fresh(world, node, what="parameters")}), wide=True)
        return world.put(self.oid(world, "iterator", node), Iter(node, world.module, cells))

    def annotated(self, node: ast.AnnAssign, world: World) -> None:
        """`target: type = value`."""
        if node.value is not None:
            value = self.kept(world, self.evaluate(node.value, world), node.value)
            role = self.annotation_role(node.annotation)
            if role is not None and type(value) is Term:
                self.refine(world, value, role, node, dotted(node.target))
            self.assign(node.target, value, world)

    def augmented(self, node: ast.AugAssign, world: World) -> None:
        """`target += value`."""
        target = node.target
        if isinstance(target, ast.Name):
            before = self.read_name(target.id, world, target)
        elif isinstance(target, ast.Attribute):
            before = self.get_attribute(world, self.evaluate(target.value, world), target.attr, target)
        else:
            before = self.get_item(
                world,
                self.evaluate(target.value, world),
                Const("slice") if isinstance(target.slice, ast.Slice) else self.evaluate(target.slice, world),
                target,
            )
        value = self.evaluate(node.value, world)
        before = self.as_ref(world, before)
        if type(before) is Ref:
            obj = world.heap.get(before.oid)
            if isinstance(obj, ListObj):
                items = self.known_items(world, value)
                changed = world.edit(before)
                if items is None:
                    changed.open = True
                    changed.items.append(value)
                else:
                    changed.items += items
                return
        if type(before) is Cells:
            if before.what == "grad":
                self.grad_changed(world, before, type(node.op).__name__, value, node)
            return
        result = self.arithmetic(world, type(node.op), before, value, node)
        if isinstance(target, ast.Name):
            self.store_name(target.id, result, world)
        else:
            self.assign(target, result, world)

    def delete(self, node: ast.Delete, world: World) -> None:
        """`del name`."""
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.store_name(target.id, UNBOUND, world)
            elif isinstance(target, ast.Attribute):
                base = self.as_ref(world, self.evaluate(target.value, world))
                if type(base) is Ref and isinstance(world.heap.get(base.oid), Instance):
                    world.edit(base).attrs.pop(target.attr, None)
            elif isinstance(target, ast.Subscript):
                base = self.as_ref(world, self.evaluate(target.value, world))
                if type(base) is Ref and isinstance(world.heap.get(base.oid), DictObj | ListObj):
                    world.edit(base).open = True

    def assertion(self, node: ast.Assert, world: World) -> None:
        """A failed assert ends the path."""
        test = test_of(self.evaluate(node.test, world))
        if not world.assume(test, True):
            raise Dead

    def define(self, node: Any, world: World) -> None:
        """`def`."""
        self.store_name(node.name, self.function(node, world), world)

    def define_class(self, node: ast.ClassDef, world: World) -> None:
        """`class`."""
        self.store_name(node.name, self.class_(node, world), world)

    def import_(self, node: ast.Import, world: World) -> None:
        """`import a.b as c`."""
        for alias in node.names:
            value = self.files.namespace(world.module, alias.name, 0)
            if alias.asname is not None:
                self.store_name(alias.asname, Lib(alias.name) if value is None else value, world)
            else:
                first = alias.name.partition(".")[0]
                top = value if "." not in alias.name else self.files.namespace(world.module, first, 0)
                self.store_name(first, Lib(first) if top is None else top, world)

    def import_from(self, node: ast.ImportFrom, world: World) -> None:
        """`from a import b as c`."""
        base = node.module or ""
        space = self.files.namespace(world.module, base, node.level)
        for alias in node.names:
            name = alias.asname or alias.name
            if alias.name == "*":
                if space is not None:
                    self.star(world, space)
                continue
            inner = self.files.namespace(
                world.module, f"{base}.{alias.name}" if base else alias.name, node.level
            )
            if space is not None and not self.files.defines(space.path, alias.name) and inner is not None:
                self.store_name(name, inner, world)
            elif space is not None:
                self.store_name(name, Lazy(space.path, alias.name), world)
            elif inner is not None:
                self.store_name(name, inner, world)
            elif self.files.is_cold(world.module, base, node.level):
                self.store_name(name, term("lib", "cold", alias.name), world)
            else:
                self.store_name(name, Lib("." * node.level + f"{base}.{alias.name}".strip(".")), world)

    def star(self, world: World, space: Namespace) -> None:
        """`from project import *`."""
        for name in self.files.names(space.path):
            if not name.startswith("_"):
                self.store_name(name, Lazy(space.path, name), world)

    def assign(self, target: ast.expr, value: Value, world: World) -> None:
        """Bind a target to a value."""
        kind = type(target)
        if kind is ast.Name:
            name = target.id  # type: ignore[attr-defined]
            self.name_object(world, value, name, target)
            self.store_name(name, value, world)
        elif kind is ast.Attribute:
            base = self.evaluate(target.value, world)  # type: ignore[attr-defined]
            self.name_object(world, value, dotted(target), target)
            self.set_attribute(world, base, target.attr, value, target)  # type: ignore[attr-defined]
        elif kind is ast.Subscript:
            self.set_item(target, value, world)  # type: ignore[arg-type]
        elif kind is ast.Tuple or kind is ast.List:
            self.unpack(target.elts, value, world)  # type: ignore[attr-defined]
        elif kind is ast.Starred:
            self.assign(target.value, value, world)  # type: ignore[attr-defined]

    def name_object(self, world: World, value: Value, name: str, node: ast.AST) -> None:
        """An object takes the name of the first variable that holds it."""
        if type(value) is Term:
            if name:
                self.refine_by_name(world, value, name, node)
            return
        if type(value) is Ref and name:
            obj = world.heap.get(value.oid)
            if obj is not None and not obj.name and obj.kind in ("scaler", "optimizer", "module", "iterator"):
                world.edit(value).name = name

    def store_name(self, name: str, value: Value, world: World) -> None:
        """Bind a name in the scope that Python gives it."""
        frame = world.heap[world.frame]
        assert isinstance(frame, Frame)
        oid = world.frame
        if frame.node is not None:
            facts = frame.module.facts.get(frame.node)
            if facts is not None and name in facts.globals:
                parent = frame.parent
                while parent:
                    outer = world.heap[parent]
                    assert isinstance(outer, Frame)
                    if name in outer.vars or not outer.parent:
                        oid = parent
                        break
                    parent = outer.parent
        world.frame_vars(oid)[name] = value

    def unpack(self, targets: list[ast.expr], value: Value, world: World) -> None:
        """Bind a list of targets."""
        value = world.resolve(value)
        if type(value) is Term and value.op == "ite" and any(type(arm) is Tup for arm in value.args[1:]):
            value = self.decide(world, value)
        items = self.known_items(world, value)
        star = next((i for i, t in enumerate(targets) if isinstance(t, ast.Starred)), None)
        if items is not None and star is None and len(items) == len(targets):
            for target, item in zip(targets, items, strict=True):
                self.assign(target, item, world)
            return
        if items is not None and star is not None and len(items) >= len(targets) - 1:
            after = len(targets) - star - 1
            middle = items[star : len(items) - after]
            parts = [*items[:star], Tup(tuple(middle)), *items[len(items) - after :]]
            for target, item in zip(targets, parts, strict=True):
                self.assign(target, item, world)
            return
        if type(value) is Const and value.value is None:
            raise Dead
        for index, target in enumerate(targets):
            self.assign(target, term("item", value, Const(index), flow=flow_of(value)), world)

    def set_attribute(self, world: World, base: Value, name: str, value: Value, node: ast.AST) -> None:
        """`base.name = value`."""
        base = world.resolve(base)
        if type(base) is Term and base.op == "ite":
            base = self.decide(world, base)
        base = self.as_ref(world, base)
        if type(base) is Const and base.value is None:
            raise Dead
        if self.special_store(world, base, name, value, node):
            return
        if type(base) is Ref:
            obj = world.heap.get(base.oid)
            if isinstance(obj, Instance):
                world.edit(base).attrs[name] = value
            return
        if type(base) is Namespace:
            frame = self.files.frame(base.path)
            if frame in world.heap:
                world.frame_vars(frame)[name] = value
            return
        if type(base) is Term:
            world.attrs[(base, name)] = value

    def set_item(self, target: ast.Subscript, value: Value, world: World) -> None:
        """`base[key] = value`."""
        base = self.as_ref(world, self.evaluate(target.value, world))
        if isinstance(target.slice, ast.Slice):
            key: Value = Const("slice")
        else:
            key = world.resolve(self.evaluate(target.slice, world))
        if type(base) is Const and base.value is None:
            raise Dead
        if type(base) is Ref:
            obj = world.heap.get(base.oid)
            if isinstance(obj, DictObj):
                if type(key) is Const:
                    world.edit(base).items[key.value] = value
                else:
                    changed = world.edit(base)
                    changed.open = True
                    changed.items[("?", id(target))] = value
            elif isinstance(obj, Model) and type(key) is Const:
                self.set_attribute(world, base, str(key.value), value, target)
            elif isinstance(obj, ListObj):
                changed = world.edit(base)
                if (
                    type(key) is Const
                    and type(key.value) is int
                    and -len(obj.items) <= key.value < len(obj.items)
                ):
                    changed.items[key.value] = value
                else:
                    changed.open = True
                    changed.items.append(value)
        elif type(base) is Term and type(key) is Const and type(value) in (Ref, Const, Cells):
            world.attrs[(base, f"[{key!r}]")] = value
