"""What a backward feeds, which parameters a value stands for, and how a fault is reported."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from ...rule import Confidence
from .classes import Classes
from .objects import DictObj, Instance, Iter, ListObj, Model, Optimizer
from .paths import World
from .selection import united
from .story import (
    Event,
    Fault,
    Guard,
    IteratorUse,
)
from .values import (
    TRUE,
    UNKNOWN_FLOW,
    Bound,
    Cells,
    Flow,
    Fn,
    Method,
    Partial,
    Place,
    Ref,
    Super,
    Term,
    Tup,
    Value,
    flow_of,
    mix,
    root,
    show,
)


class Feeds(Classes):
    """What a backward feeds, which parameters a value stands for, and how a fault is reported."""

    def flow(self, value: Value) -> Flow:
        """The flow of a tensor-like value; an unknown parameter may have passed anything."""
        found = flow_of(value)
        if found is not None:
            return found
        if type(value) is Term:
            if value.op in ("param", "global", "join", "deep"):
                return UNKNOWN_FLOW
            if value.op in ("attr", "item"):
                base = root(value)
                if type(base) is Term and base.op == "fresh":
                    return Flow(wide=True, precision=frozenset({("maybe", TRUE)}))
                return UNKNOWN_FLOW
            if value.op in ("bin", "un", "ite"):
                total: Flow | None = None
                for arg in value.args:
                    if type(arg) is Term:
                        total = mix(total, self.flow(arg))
                return UNKNOWN_FLOW if total is None else total
        return Flow(wide=True, precision=frozenset({("maybe", TRUE)}))

    def optimizers(self, world: World) -> list[tuple[Ref, Optimizer]]:
        """The optimizers that are alive: reachable from a frame of this path."""
        every = world.of_kind(Optimizer)
        if len(every) < 2:
            return every
        firm = [(ref, obj) for ref, obj in every if not obj.extra.get("weak")]
        if firm:
            every = firm
        if len(every) < 2:
            return every
        alive = self.reachable(world, [])
        found = [(ref, obj) for ref, obj in every if ref.oid in alive]
        return found or every

    def reachable(self, world: World, more: list[Value]) -> set[Any]:
        """The objects that some name of this path, or one of `more`, can reach."""
        seen: set[Any] = set()
        todo: list[Value] = list(more)
        for obj in world.heap.values():
            if obj.kind == "frame":
                todo += obj.vars.values()  # type: ignore[attr-defined]
        todo += world.attrs.values()
        for obj in world.heap.values():
            if isinstance(obj, Optimizer):
                todo += obj.cells.roots
                todo.append(obj.by)
            elif isinstance(obj, Iter):
                todo += obj.cells.roots
        # What was refined from a parameter or a global is as alive as that is.
        for symbol, ref in world.bind.items():
            origin = root(symbol)
            if type(origin) is not Term or origin.op in ("param", "global"):
                todo.append(ref)
        terms: set[int] = set()
        while todo:
            value = todo.pop()
            kind = type(value)
            if kind is Term:
                if id(value) in terms:
                    continue
                terms.add(id(value))
                if value.op == "ite":
                    chosen = world.pc.get(value.args[0])
                    todo += value.args[1:] if chosen is None else [value.args[1 if chosen else 2]]
                    continue
                bound = world.bind.get(value)
                if bound is not None:
                    todo.append(bound)
                todo += [arg for arg in value.args if type(arg) in (Term, Ref, Tup, Cells, Method)]
                if value.op == "scaled":
                    todo.append(Ref(value.args[1]))
            elif kind is Ref:
                if value.oid in seen:
                    continue
                seen.add(value.oid)
                found = world.heap.get(value.oid)
                if isinstance(found, Instance):
                    todo += found.attrs.values()
                    if isinstance(found, Model) and found.owner is not None:
                        todo.append(found.owner)
                elif isinstance(found, ListObj):
                    todo += found.items
                elif isinstance(found, DictObj):
                    todo += found.items.values()
                elif isinstance(found, Iter):
                    todo.append(found.source)
            elif kind is Tup:
                todo += value.items
            elif kind is Cells:
                todo += value.roots
            elif kind is Bound:
                todo += [value.receiver, value.fn]
            elif kind is Method or kind is Super:
                todo.append(value.receiver)
            elif kind is Partial:
                todo += [value.fn, *value.args, *(item for _, item in value.keywords)]
            elif kind is Fn:
                todo += [*value.defaults, *value.kw_defaults]
        return seen

    def below(self, world: World, child: Value, parent: Value) -> bool:
        """Whether one module is, or is part of, the other."""
        if child is parent or child == parent:
            return True
        parent = self.as_ref(world, parent)
        value = child
        while True:
            value = self.as_ref(world, value)
            if value == parent:
                return True
            if type(value) is Term and value.op in ("attr", "item"):
                value = value.args[0]
                if value is parent or value == parent:
                    return True
                continue
            if type(value) is Ref:
                obj = world.heap.get(value.oid)
                if isinstance(obj, Model) and obj.owner is not None and obj.owner != value:
                    value = obj.owner
                    continue
            break
        if type(parent) is Ref:
            obj = world.heap.get(parent.oid)
            if isinstance(obj, Instance):
                return self._inside(world, child, obj, set())
        return False

    def _inside(self, world: World, child: Value, obj: Instance, seen: set[int]) -> bool:
        if id(obj) in seen:
            return False
        seen.add(id(obj))
        todo = list(obj.attrs.values())
        while todo:
            value = self.as_ref(world, todo.pop())
            if value == child:
                return True
            if type(value) is Tup:
                todo += value.items
            elif type(value) is Term and value.op == "ite":
                todo += value.args[1:]
            elif type(value) is Ref:
                inner = world.heap.get(value.oid)
                if isinstance(inner, Instance) and self._inside(world, child, inner, seen):
                    return True
                if isinstance(inner, ListObj):
                    todo += inner.items
                elif isinstance(inner, DictObj):
                    todo += inner.items.values()
        return False

    def overlap(self, world: World, one: frozenset[Any], two: frozenset[Any]) -> bool:
        """Whether two sets of modules share parameters, as far as is known."""
        if one & two:
            return True
        one = frozenset(self.as_ref(world, value) for value in one)
        two = frozenset(self.as_ref(world, value) for value in two)
        if one & two:
            return True
        return any(self.below(world, a, b) or self.below(world, b, a) for a in one for b in two)

    def feeds(self, world: World, flow: Flow, ref: Ref, obj: Optimizer, alone: bool) -> str:
        """Whether a backward of this flow feeds an optimizer: `sure`, `maybe` or `no`."""
        if not flow.grad:
            return "no"
        if obj.cells.roots and flow.feeds and self.overlap(world, flow.feeds, obj.cells.roots):
            return "sure"
        if obj.cells.roots and all(type(root) is Term and root.op == "copy" for root in obj.cells.roots):
            return "no"
        if alone:
            return "sure"
        if obj.cells.wide or not obj.cells.roots or flow.wide or not flow.feeds:
            return "maybe"
        known = all(self._known(world, root) for root in (*obj.cells.roots, *flow.feeds))
        return "no" if known else "maybe"

    def _known(self, world: World, value: Value) -> bool:
        return isinstance(self.object(world, value), Model)

    def _made_here(self, world: World, value: Value) -> bool:
        """Whether a module was made in sight: two that were not may be the same one."""
        obj = self.object(world, value)
        return isinstance(obj, Model) and not obj.assumed

    def fault(
        self,
        world: World,
        kind: str,
        at: Event,
        confirmed: Event,
        steps: list[tuple[Place | None, str]],
        names: dict[str, str],
        variant: str = "",
        data: dict[str, Place | None] | None = None,
        confidence: Confidence | None = None,
    ) -> None:
        """Report a confirmed fault once; further paths add nothing but their guards."""
        key = (kind, id(at.node), at.file.path)
        if key in self.story._faults:
            return
        guards = tuple(Guard(show(t), o) for t, o in world.pc.items() if t.op not in ("or", "and"))
        at_file = at.file
        told = tuple(
            (place[0], place[1].file, text)
            for place, text in steps
            if place is not None and place[0] is not at.node
        )
        self.story._faults[key] = Fault(
            kind,
            at,
            confirmed,
            told,
            names,
            variant,
            confidence or Confidence.HIGH,
            {role: (place[0], place[1].file) for role, place in (data or {}).items() if place is not None},
            guards,
        )
        del at_file

    def names_of(self, world: World, scaler: Value, optimizer: Value) -> dict[str, str]:
        """The user's names of a scaler and an optimizer."""
        names = {}
        for role, value in (("scaler", scaler), ("optimizer", optimizer)):
            obj = world.heap.get(value.oid) if type(value) is Ref else None
            if obj is not None:
                names[role] = obj.name
        return names

    def event_at(self, world: World, cls: type[Event], place: Place, **facts: Any) -> Event:
        """An event that stands at a place other than the current node."""
        event = cls(place[0], place[1].file, state=facts.pop("state", "unknown"), what=facts)
        event.loops = world.loops
        return event

    def _made(self, world: World, ref: Value) -> Place | None:
        obj = world.heap.get(ref.oid) if type(ref) is Ref else None
        if obj is None or obj.node is None or obj.assumed:
            return None
        return (obj.node, obj.module)

    def cells_of(self, world: World, value: Value, node: ast.AST, consume: bool = True) -> Cells | None:
        """The parameters that a value stands for; a one-shot iterator is spent by it."""
        value = self.as_ref(world, value)
        kind = type(value)
        if isinstance(value, Cells):
            return value
        if kind is Tup:
            return self._cells_of_items(world, list(value.items), node, consume)
        if kind is Term and value.op == "ite":
            yes = self.cells_of(world, value.args[1], node, False)
            no = self.cells_of(world, value.args[2], node, False)
            if yes is None or no is None:
                return None
            return Cells(
                yes.roots | no.roots,
                yes.filtered if yes.filtered == no.filtered else "partial",
                yes.wide or no.wide or yes.roots != no.roots,
            )
        if kind is not Ref:
            return None
        obj = world.heap.get(value.oid)
        if isinstance(obj, Iter):
            if consume:
                self.spend(world, value, node)
            return obj.cells
        if isinstance(obj, ListObj):
            if consume and not inside(obj.node, node):
                self.keep(world, obj.items)
            found = self._cells_of_items(world, obj.items, node, consume)
            if found is not None and obj.open:
                return found._replace(wide=True)
            return found
        return None

    def concatenated(self, world: World, left: Value, right: Value, node: ast.AST) -> Value | None:
        """`list(body.parameters()) + [scale]`, and other lists one after the other."""
        parts = [self.as_ref(world, left), self.as_ref(world, right)]
        objects = [world.heap.get(part.oid) if type(part) is Ref else None for part in parts]
        if any(type(part) is Cells and part.what == "parameters" for part in parts):
            cells = [self.cells_of(world, part, node) for part in parts]
            known = united([each for each in cells if each is not None])
            kinds = {each.filtered for each in known}
            return Cells(
                frozenset().union(*(each.roots for each in known)),
                kinds.pop() if len(kinds) == 1 else "partial",
                None in cells or any(each.wide for each in known),
            )
        lists = [obj for obj in objects if isinstance(obj, ListObj)]
        if not lists:
            return None
        items: list[Value] = []
        for part, obj in zip(parts, objects, strict=True):
            if isinstance(obj, ListObj):
                items += obj.items
            elif type(part) is Tup:
                items += part.items
            else:
                items.append(part)
        open_ = len(lists) < len(parts) - sum(type(part) is Tup for part in parts)
        open_ = open_ or any(obj.open for obj in lists)
        return world.put(self.oid(world, "list", node), ListObj(node, world.module, items, open_))

    def keep(self, world: World, items: Iterable[Value]) -> None:
        """Iterators in parameter groups that a variable holds can be met again after their use."""
        for item in items:
            ref = self.as_ref(world, item)
            obj = world.heap.get(ref.oid) if type(ref) is Ref else None
            if isinstance(obj, DictObj):
                self.keep(world, [obj.items.get("params")])
            elif isinstance(obj, Iter) and not obj.name:
                world.edit(ref).name = "the parameters"

    def parameters_in(self, world: World, value: Value, node: ast.AST) -> Value:
        """`*model.parameters()` walks the iterator once, and leaves the parameters."""
        held = self.as_ref(world, value)
        if type(held) is Ref and isinstance(world.heap.get(held.oid), Iter):
            return self.cells_of(world, held, node)
        return None

    def _cells_of_items(self, world: World, items: list[Value], node: ast.AST, consume: bool) -> Cells | None:
        roots: frozenset[Any] = frozenset()
        wide = False
        parts: list[Cells] = []
        for item in items:
            cells = self.cells_of(world, item, node, consume)
            if cells is None:
                group = self.object(world, item)
                if group is not None and group.kind == "dict":
                    inner = group.items.get("params")  # type: ignore[attr-defined]
                    cells = None if inner is None else self.cells_of(world, inner, node, consume)
            if cells is None:
                item = self.as_ref(world, item)
                if self.is_parameter(world, item):
                    roots |= {item}
                    continue
                if type(item) is Term:
                    roots |= {item}
                wide = True
                continue
            parts.append(cells)
        filtered: str | None = None
        tests: frozenset[Any] = frozenset()
        for index, cells in enumerate(united(parts)):
            roots |= cells.roots
            wide = wide or cells.wide
            if cells.filtered is not None:
                filtered = cells.filtered if filtered in (None, cells.filtered) else "partial"
            tests = cells.tests if index == 0 and len(items) == 1 else frozenset()
        return Cells(roots, filtered, wide, tests=tests) if items else None

    def spend(self, world: World, ref: Ref, node: ast.AST) -> None:
        """A one-shot iterator is consumed: the second time it is empty."""
        if world.memo.get((node, ref.oid)):
            return  # The statement started again.
        world.memo[(node, ref.oid)] = TRUE
        obj: Iter = world.edit(ref)
        place = (node, world.module)
        source = obj.source
        event = self.tell(world, IteratorUse, node, things=(ref,), state="spent" if obj.spent else "fresh")
        if obj.spent is not None:
            self.fault(
                world,
                "exhausted-parameter-iterator",
                event,
                event,
                [
                    (obj.spent, "it is used up here"),
                    ((obj.node, obj.module) if obj.node is not None else None, "the iterator is made here"),
                ],
                {"parameters": obj.name},
                "",
                {"spent": obj.spent, "made": (obj.node, obj.module) if obj.node is not None else None},
            )
        else:
            obj.spent = place
        inner = self.as_ref(world, source)
        if type(inner) is Ref and isinstance(world.heap.get(inner.oid), Iter):
            if world.heap[inner.oid].spent is None or inner.oid != ref.oid:  # type: ignore[attr-defined]
                self.spend(world, inner, node)


def inside(node: ast.AST | None, outer: ast.AST) -> bool:
    """Whether an expression is written within another one."""
    return node is not None and any(child is node for child in ast.walk(outer))
