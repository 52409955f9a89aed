"""Any number of optimizers: `[Adam(net.parameters()) for net in nets]`, walked over in loops.

A list of unknown length holds one object for all of them. Two loops over it would then seem to unscale
or step the same optimizer twice. Where such a list is walked over, two of its elements are told apart:
the one that is there and a *twin*, a copy of it and of all that was made with it. They stand for any
number, and remember that they are of one family.
"""

from __future__ import annotations

from typing import Any

from .objects import DictObj, Instance, Iter, ListObj, Model, Obj, Optimizer, Scaler
from .operators import Operators
from .paths import World
from .values import (
    Bound,
    Cells,
    Const,
    Method,
    Ref,
    Term,
    Tup,
    Value,
)

UNROLL = 5


class Families(Operators):
    """Elements of sequences that are not known whole."""

    families = 0
    """How many loops over such elements the machine is in."""

    def holds_actor(self, world: World, values: list[Value]) -> bool:
        """Whether a scaler or optimizer is reached from some values; see `unseen`."""
        raise NotImplementedError

    def several(self, world: World, source: Value) -> list[Value] | None:
        """The elements that stand for those of a sequence of unknown length, if they hold optimizers."""
        source = self.as_ref(world, source)
        view = ""
        if type(source) is Term and source.op == "attr" and source.args[1] in ("values", "items"):
            view, source = source.args[1], self.as_ref(world, source.args[0])
        obj = world.heap.get(source.oid) if type(source) is Ref else None
        if isinstance(obj, ListObj):
            items = list(obj.items)
        elif isinstance(obj, DictObj) and view:
            items = list(obj.items.values())
        else:
            return None
        if not obj.open or not 0 < len(items) <= UNROLL:
            return None
        if not all(self.holds_actor(world, [item]) for item in items):
            return None
        if len(items) == 1:
            other = self.twin(world, items[0], obj)
            if other == items[0]:
                return None  # a choice that is open: which object would be made again is not known
            items.append(other)
            changed = world.edit(source)
            if isinstance(obj, ListObj):
                changed.items = list(items)
            else:
                changed.items[("?", "twin")] = items[1]
        if view == "items":
            return [Tup((Const(("key", index)), item)) for index, item in enumerate(items)]
        return items

    def twin(self, world: World, value: Value, holder: Obj) -> Value:
        """Another one like it: what was made in the same loop or comprehension is made again."""
        copies: dict[Any, Ref] = {}
        depth = len(holder.loops)

        def again(inner: Value) -> Value:
            inner = self.as_ref(world, inner)
            kind = type(inner)
            if kind is Ref:
                return made(inner)
            if kind is Tup:
                return Tup(tuple(map(again, inner.items)))
            if kind is Cells:
                return inner._replace(roots=frozenset(map(again, inner.roots)))
            if kind is Bound:
                return inner._replace(receiver=again(inner.receiver))
            if kind is Method:
                return inner._replace(receiver=again(inner.receiver))
            return inner

        def made(ref: Ref) -> Ref:
            oid = ref.oid
            if oid in copies:
                return copies[oid]
            obj = world.heap.get(oid)
            own = obj is not None and (len(obj.loops) > depth or type(obj) is Optimizer)
            if obj is None or obj.kind == "frame" or not own:
                return ref
            copy = obj.copy()
            found = copies[oid] = Ref(("twin", oid))
            loops = obj.loops
            world.put(found.oid, copy)
            copy.loops = loops
            if isinstance(copy, Instance):
                copy.attrs = {name: again(inner) for name, inner in copy.attrs.items()}
                if isinstance(copy, Model) and copy.owner is not None:
                    copy.owner = again(copy.owner)
            elif isinstance(copy, ListObj):
                copy.items = list(map(again, copy.items))
            elif isinstance(copy, DictObj):
                copy.items = {name: again(inner) for name, inner in copy.items.items()}
            elif isinstance(copy, Iter):
                copy.cells = again(copy.cells)
            elif isinstance(copy, Optimizer):
                copy.cells, copy.by = again(copy.cells), again(copy.by)
                world.edit(ref).extra["family"] = oid
                copy.extra["family"] = oid
            elif isinstance(copy, Scaler):
                copy.stages = {again(Ref(key)).oid: stage for key, stage in copy.stages.items()}
            return found

        return again(value)

    def only(self, every: list[tuple[Ref, Optimizer]]) -> bool:
        """Whether there is but one optimizer, or one family of them of which no single one is meant."""
        if len(every) < 2:
            return len(every) == 1
        kin = {obj.extra.get("family") for _, obj in every}
        return not self.families and len(kin) == 1 and None not in kin
