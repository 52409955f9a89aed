"""The protocol of a training step: what each event does to gradients, and when it is a fault.

For each optimizer the machine knows what its gradients are (`grads`), whether it was fed surely, and
for each scaler at which stage of its cycle every optimizer is, exactly as `torch.amp.GradScaler`
does. A suspicious event is put into the optimizer's `pending`; the event that makes it real
reports it; the one that makes it harmless drops it.
"""

from __future__ import annotations

import ast
from typing import Any

from ...rule import Confidence
from .calls import Call, Calls
from .objects import DictObj, Instance, Iter, ListObj, Model, Optimizer, Scaler
from .paths import World, distinguish
from .story import (
    AutocastEnter,
    Backward,
    Clip,
    Event,
    Fault,
    GradEdit,
    Guard,
    IteratorUse,
    OptimizerStep,
    Scale,
    ScalerStep,
    Unscale,
    Update,
    ZeroGrad,
)
from .values import (
    NONE,
    TRUE,
    UNKNOWN_FLOW,
    Auto,
    Bound,
    Cells,
    Const,
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
    term,
)


class Protocol(Calls):
    """Typestate of scalers and optimizers."""

    # -- what a value feeds --

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
            if type(value) is Ref:
                inner = world.heap.get(value.oid)
                if isinstance(inner, Instance) and self._inside(world, child, inner, seen):
                    return True
                if isinstance(inner, ListObj):
                    todo += inner.items
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

    # -- faults --

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

    # -- scale --

    def disabled(self, world: World, scaler: Scaler) -> bool:
        """Whether this path knows that the scaler does nothing."""
        return self.enabled(world, scaler.enabled) is False

    def scale(self, call: Call, ref: Ref) -> Value:
        """`scaler.scale(loss)`."""
        world = call.world
        obj = world.get(ref)
        assert isinstance(obj, Scaler)
        value = call.arg(0, "outputs")
        if value is None:
            return call.fresh()
        self.tell(world, Scale, call.node, scaler=ref)
        if self.disabled(world, obj):
            return value
        return self.scaled(world, ref, value, call.node)

    def scaled(self, world: World, ref: Ref, value: Value, node: ast.AST) -> Value:
        """The value with the scale of `ref` on it."""
        value = world.resolve(value)
        if type(value) is Tup:
            return Tup(tuple(self.scaled(world, ref, item, node) for item in value.items))
        flow = self.flow(value)
        if flow.scaling == "unknown" and not (type(value) is Term and self._passed_in(value)):
            made = flow._replace(scaling="unknown")
        else:
            made = flow._replace(scaling="scaled", scaler=ref, scaled_at=(node, world.module))
        if flow.scaling == "mixed":
            made = flow
        return term("scaled", value, ref.oid, flow=made)

    @staticmethod
    def _passed_in(value: Term) -> bool:
        return value.op in ("param", "attr", "item", "bin", "global", "join", "ite", "un")

    def discarded(self, world: World, node: ast.expr, value: Value) -> None:
        """The value of an expression statement is thrown away."""
        if type(value) is Term and value.op == "scaled" and isinstance(node, ast.Call):
            scaler = Ref(value.args[1])
            if isinstance(world.heap.get(scaler.oid), Scaler) and isinstance(node.func, ast.Attribute):
                if node.func.attr == "scale":
                    world.edit(scaler).pending = (node, world.module)

    # -- backward --

    def backward(self, world: World, value: Value, node: ast.AST, name: str = "") -> None:
        """`loss.backward()`: the gradients of every optimizer that the loss reaches."""
        flow = self.flow(value)
        place = (node, world.module)
        state = flow.scaling
        scaler = flow.scaler
        self.current = self.tell(
            world,
            Backward,
            node,
            scaler=scaler if type(scaler) is Ref else None,
            things=tuple(sorted(flow.feeds, key=repr)),
            state=state,
            loss=name,
            precision=self.flow_precision(world, flow),
            divided=flow.divided,
        )
        event = self.current
        context = self._lexical_autocast(world)
        every = self.optimizers(world)
        alone = len(every) == 1
        for ref, obj in every:
            fed = self.feeds(world, flow, ref, obj, alone)
            if fed == "no":
                continue
            self._feed(world, ref, flow, place, fed == "sure", event)
        if context is not None and flow.grad:
            self.fault(
                world,
                "backward-inside-autocast",
                event,
                event,
                [(context, "autocast is entered here")],
                {"loss": name},
                "backward",
                {"with": context, "backward": place},
            )

    def _lexical_autocast(self, world: World) -> Place | None:
        """The autocast region that the current statement stands in, by the text."""
        for context, frame in reversed(world.auto):
            if type(context) is Auto:
                if frame == world.frame and self.enabled(world, context.enabled) is not False:
                    return (context.node, context.module)
                return None
        return None

    def _feed(self, world: World, ref: Ref, flow: Flow, place: Place, sure: bool, event: Event) -> None:
        obj: Optimizer = world.edit(ref)
        new = flow.scaling
        if obj.tainted:
            obj.fresh = True
            obj.places["backward"] = place
            if "framework" not in obj.pending and new == "plain":
                obj.pending["raw-backward"] = {"event": event}
            return
        old = obj.grads
        pending = obj.pending
        suspicion = pending.pop("unscale", None)
        if suspicion is not None and sure and new != "plain":
            stage = self._stage(world, suspicion["scaler"], ref)
            if stage == "unscaled" and flow.scaler in (None, suspicion["scaler"]):
                self.fault(
                    world,
                    "scaler-call-order",
                    suspicion["event"],
                    event,
                    [(place, "the backward that fills the gradients comes only here")],
                    self.names_of(world, suspicion["scaler"], ref),
                    "unscale-before-backward",
                    {"unscale": suspicion["place"], "backward": place},
                )
                # The cycle is out of order: what follows from that is no fault of its own.
                obj.grads, obj.fresh, obj.sure = "unknown", True, False
                return
        if sure:
            self._update_for_nothing(world, ref, pending.pop("update", None), event)
            pending.pop("zero", None)
            if obj.stale is not None and obj.fresh is False and "accumulated" not in pending:
                pending["accumulated"] = {"event": event, "step": obj.stale, "place": place}
        elif "accumulated" not in pending:
            pending.pop("zero", None)
            pending.pop("update", None)
        if old in ("never", "none", "unknown", "stepped"):
            if sure:
                obj.grads = new
                obj.by = flow.scaler if new != "plain" else None
                obj.sure = True
                obj.places["backward"] = place
                obj.places["plain"] = place
            else:
                # Perhaps: only `scaler.step` of this optimizer can tell.
                obj.grads = "unknown" if old in ("unknown", "stepped") and new == "plain" else new
                obj.by = flow.scaler if new != "plain" else None
                obj.sure = False
                obj.places["backward"] = place
        elif old == new and (new != "scaled" or obj.by == flow.scaler):
            obj.sure = obj.sure or sure
            obj.places.setdefault("backward", place)
        elif not sure:
            # A loss that perhaps does not reach it leaves the state, but it is less sure.
            if old in ("scaled", "plain") and new in ("scaled", "plain"):
                if not obj.sure:
                    obj.grads = "unknown"
        elif not obj.sure and old in ("scaled", "plain"):
            obj.grads, obj.sure = new, True
            obj.by = flow.scaler if new != "plain" else None
            obj.places["backward"] = place
        elif {old, new} == {"scaled", "plain"}:
            obj.grads = "mixed"
            if new == "plain":
                obj.places["plain"] = place
            else:
                obj.by = flow.scaler
        elif new == "mixed":
            obj.grads = "mixed"
            obj.by = flow.scaler
        elif old == "unscaled" and new == "scaled":
            obj.places["backward"] = place
        else:
            obj.grads = "unknown"
        if new == "scaled" and flow.scaled_at is not None:
            obj.places["scale"] = flow.scaled_at
        if flow.mixed_at is not None:
            obj.places["mixed"] = flow.mixed_at
        if obj.fresh and obj.places.get("last") == place:
            obj.extra["again"] = True
        obj.places["last"] = place
        obj.flow = flow if obj.flow is None or not obj.fresh else mix(obj.flow, flow)
        obj.backwards = obj.backwards + 1 if obj.fresh else 1
        obj.extra["refed"] = True
        obj.fresh = True

    def flow_precision(self, world: World, flow: Flow) -> str | None:
        """The precision of a loss's forwards: float16, bfloat16, None (no autocast), or "unknown"."""
        found: set[str | None] = set()
        for dtype, enabled in flow.precision:
            if dtype in ("maybe", "unknown"):
                found.add("unknown")
            elif dtype == "none":
                found.add(None)
            else:
                known = world.truth(enabled)
                found.add(dtype if known else (None if known is False else "unknown"))
        if len(found) == 1:
            return found.pop()
        return "unknown"

    def surely(self, world: World, flow: Flow | None, dtype: str) -> bool:
        """Whether some forward of a loss surely ran under autocast of this dtype."""
        return flow is not None and any(
            name == dtype and world.truth(enabled) for name, enabled in flow.precision
        )

    def unknown_backward(self, world: World, node: ast.AST) -> None:
        """Something unseen computes gradients (`engine.backward(loss)`)."""
        for ref, _ in self.optimizers(world):
            self.lose(world, ref)

    # -- unscale --

    def _stage(self, world: World, scaler: Ref, optimizer: Ref) -> str:
        obj = world.heap.get(scaler.oid)
        if isinstance(obj, Scaler):
            found = obj.stages.get(optimizer.oid)
            if found is not None:
                return found[0]
        return "ready"

    def unscale(self, call: Call, scaler: Ref, optimizer: Ref) -> None:
        """`scaler.unscale_(optimizer)`."""
        world, node = call.world, call.node
        place = call.place
        s = world.get(scaler)
        o = world.get(optimizer)
        assert isinstance(s, Scaler) and isinstance(o, Optimizer)
        event = self.tell(world, Unscale, node, scaler=scaler, optimizer=optimizer, state=o.grads)
        if self.disabled(world, s):
            return
        if self._framework_fault(world, scaler, optimizer, event):
            return
        names = self.names_of(world, scaler, optimizer)
        stage, since = s.stages.get(optimizer.oid, ("ready", None))
        if stage == "stepped":
            assert since is not None
            if o.fresh:
                self._missing_update(world, scaler, optimizer, since, event, "unscale")
            elif o.grads != "unknown":
                self.fault(
                    world,
                    "scaler-call-order",
                    event,
                    event,
                    [(since, f"`{o.name or 'the optimizer'}` has already been stepped here")],
                    names,
                    "unscale-after-step",
                    {"unscale": place, "step": since, "clip": None},
                )
        elif stage == "unscaled":
            assert since is not None
            left = s.left.get(optimizer.oid)
            if left is None and o.fresh and o.backwards == 1 and o.extra.get("refed"):
                # Cleared and fed anew: the step and its update were left out by a test.
                self._missing_update(world, scaler, optimizer, since, event, "skipped")
            elif left is not None:
                self._missing_update(world, scaler, optimizer, since, event, "continue", left)
            else:
                variant = "micro-step" if o.extra.get("refed") else "twice"
                twice = variant == "twice"
                self.fault(
                    world,
                    "unscale-every-micro-step",
                    event,
                    event,
                    [
                        (o.places.get("backward"), "gradients of another micro-step are added here"),
                        (since if twice else None, "they were unscaled here already"),
                    ],
                    names,
                    variant,
                    {"unscale": place, "before": since, "backward": o.places.get("backward")},
                )
        else:
            if o.grads in ("never", "none", "stepped") and not o.fresh:
                changed = world.edit(optimizer)
                changed.pending["unscale"] = {"event": event, "place": place, "scaler": scaler}
            self._plain_gradients(world, scaler, optimizer, event)
        s = world.edit(scaler)
        s.stages[optimizer.oid] = ("unscaled", place)
        s.left.pop(optimizer.oid, None)
        o = world.edit(optimizer)
        if o.grads in ("scaled", "unknown"):
            o.grads = "unscaled"
            o.by = scaler
        o.places["unscale"] = place
        o.extra.pop("refed", None)
        if "clip" in o.pending:
            o.pending["clip"] = {**o.pending["clip"], "unscale": place}

    def _plain_gradients(self, world: World, scaler: Ref, optimizer: Ref, event: Event) -> None:
        """Gradients that never were scaled reach a scaler."""
        o = world.get(optimizer)
        assert isinstance(o, Optimizer)
        if not (o.sure and o.fresh) or "unscaled-backward" in o.extra:
            return
        names = self.names_of(world, scaler, optimizer)
        pending = getattr(world.get(scaler), "pending", None)
        step = (event.node, world.module)
        if o.grads == "plain":
            at = o.places.get("backward")
            if at is None:
                return
            if pending is not None:
                shown = self.event_at(world, Scale, pending, state="plain")
                self.fault(
                    world,
                    "unscaled-backward",
                    shown,
                    event,
                    [
                        (at, "the backward runs on the unscaled loss"),
                        (step, "the gradients are divided by the scale here"),
                    ],
                    names,
                    "discarded",
                    {"scale": pending, "backward": at, "step": step},
                )
            else:
                shown = self.event_at(world, Backward, at, state="plain")
                self.fault(
                    world,
                    "unscaled-backward",
                    shown,
                    event,
                    [(step, "the gradients are divided by the scale here")],
                    names,
                    "plain",
                    {"backward": at, "step": step},
                )
        elif o.grads == "mixed":
            at = o.places.get("mixed") or o.places.get("plain") or o.places.get("backward")
            if at is None:
                return
            shown = self.event_at(world, Backward, at, state="mixed")
            self.fault(
                world,
                "unscaled-backward",
                shown,
                event,
                [
                    (o.places.get("scale"), "the other part is scaled here"),
                    (step, "all of it is divided by the scale here"),
                ],
                names,
                "mixed",
                {"backward": at, "scale": o.places.get("scale"), "step": step},
            )

    def _missing_update(
        self,
        world: World,
        scaler: Ref,
        optimizer: Ref,
        since: Place,
        event: Event,
        variant: str,
        left: Place | None = None,
    ) -> None:
        o = world.get(optimizer)
        cls: type[Event] = Unscale if variant in ("continue", "skipped") else ScalerStep
        shown = self.event_at(world, cls, since, state=getattr(o, "grads", "unknown"))
        again = (event.node, world.module)
        what = "the next iteration uses the scaler again here" if again[0] is not since[0] else ""
        steps: list[tuple[Place | None, str]] = [
            (left, "the round is left here without `update`"),
            (again, what),
        ]
        self.fault(
            world,
            "missing-scaler-update",
            shown,
            event,
            steps,
            self.names_of(world, scaler, optimizer),
            variant,
            {"step": since, "again": again, "continue": left, "scaler": self._made(world, scaler)},
        )

    def _made(self, world: World, ref: Value) -> Place | None:
        obj = world.heap.get(ref.oid) if type(ref) is Ref else None
        if obj is None or obj.node is None or obj.assumed:
            return None
        return (obj.node, obj.module)

    def _framework_fault(self, world: World, scaler: Ref, optimizer: Ref | None, event: Event) -> bool:
        """Objects that a framework prepared do not belong in an own protocol; True if they were."""
        o = world.heap.get(optimizer.oid) if optimizer is not None else None
        if not isinstance(o, Optimizer) or not o.tainted:
            return False
        if o.tainted.startswith("!"):
            return True
        self.fault(
            world,
            "scaler-inside-framework",
            event,
            event,
            [(o.places.get("framework"), f"{o.tainted} takes the objects over here")],
            {**self.names_of(world, scaler, optimizer), "framework": o.tainted},
            "scaler",
            {"framework": o.places.get("framework"), "scaler": self._made(world, scaler)},
        )
        return True

    # -- clip --

    def clip(self, call: Call, cells: Cells | None, how: str, measures: bool, own: Value = None) -> None:
        """Gradients are changed in a way that their scale decides."""
        world, node = call.world, call.node
        self.clip_at(world, node, cells, how, measures)

    def clip_at(
        self, world: World, node: ast.AST, cells: Cells | None, how: str, measures: bool, name: str = ""
    ) -> None:
        """`clip` for any node."""
        every = self.optimizers(world)
        alone = len(every) == 1
        place = (node, world.module)
        touched: list[tuple[Ref, Optimizer]] = []
        for ref, obj in every:
            if cells is not None and ref in cells.roots:
                touched.append((ref, obj))
            elif cells is None or cells.wide or not cells.roots:
                if alone:
                    touched.append((ref, obj))
            elif self.overlap(world, cells.roots, obj.cells.roots) or (
                alone and (obj.cells.wide or not obj.cells.roots)
            ):
                touched.append((ref, obj))
        state = touched[0][1].grads if touched else "unknown"
        event = self.tell(
            world,
            Clip,
            node,
            optimizer=touched[0][0] if len(touched) == 1 else None,
            things=tuple(sorted(cells.roots, key=repr)) if cells is not None else (),
            state=state,
            how=how,
            measures=measures,
        )
        if measures:
            return
        for ref, obj in touched:
            changed: Optimizer = world.edit(ref)
            changed.extra["clipped"] = True
            if obj.tainted:
                continue
            if obj.grads == "scaled" and "clip" not in changed.pending:
                changed.pending["clip"] = {"event": event, "place": place, "how": how}
            self._beyond(world, ref, changed, cells, event)

    def _beyond(self, world: World, ref: Ref, obj: Optimizer, cells: Cells | None, event: Event) -> None:
        """More is clipped than the optimizer owns: what it does not own is never unscaled."""
        if cells is None or cells.wide or cells.filtered is not None or obj.cells.wide:
            return
        if not cells.roots or not obj.cells.roots:
            return
        extra = False
        for module in cells.roots:
            covered = any(self.below(world, module, own) for own in obj.cells.roots)
            if covered and obj.cells.filtered == "trainable":
                continue
            if covered and obj.cells.filtered is None:
                continue
            holder = self.object(world, module)
            if not isinstance(holder, Model) or holder.hidden or holder.assumed:
                return
            for own, part in self.leaves(world, self.as_ref(world, module)):
                if part.trainable is False or any(self.below(world, own, kept) for kept in obj.cells.roots):
                    continue
                if part.trainable is True and part.made in ("constructor", "pretrained"):
                    extra = True
        others = [o for r, o in self.optimizers(world) if r != ref]
        if extra and not others and obj.grads in ("scaled", "unscaled"):
            obj.pending.setdefault("beyond", {"event": event, "place": (event.node, world.module)})

    def leaves(self, world: World, ref: Ref) -> list[tuple[Ref, Model]]:
        """The modules below one that have none below them; see `modules`."""
        raise NotImplementedError

    def grad_changed(self, world: World, cells: Cells, op: str, value: Value, node: ast.AST) -> None:
        """`p.grad *= factor` and its kin."""
        flow = flow_of(value)
        if from_gradients(value):
            self.clip_at(world, node, cells, "edit", False)
            return
        linear = op in ("Mult", "Div", "mul_", "div_")
        if linear:
            down = op in ("Div", "div_")
            scale = self.scale_factor(world, value)
            if scale is not None and (down != scale[1]):
                for ref, obj in self.optimizers(world):
                    if obj.grads == "scaled":
                        world.edit(ref).grads = "unknown"
        del flow
        # Gradients rescaled by hand: perhaps this program scales its losses by hand.
        world.tags = world.tags | {"scaler"}
        self.tell(world, GradEdit, node, linear=linear, cleared=False)

    def grad_cleared(self, world: World, cells: Cells, node: ast.AST) -> None:
        """`p.grad = None`: a clearing, of some or of all."""
        tested = False
        symbol = world.attrs.get((cells, "#"))
        if type(symbol) is Term:
            tested = any(symbol in test.deps for test in world.pc if test.op != "is")
            names = [t for t in world.pc if any(d.args[1:] == symbol.args[1:] for d in t.deps)]
            tested = tested or bool(names)
        self.tell(world, GradEdit, node, linear=False, cleared=True)
        if tested or cells.filtered == "partial":
            for ref, _ in self.optimizers(world):
                world.edit(ref).extra["dropped"] = True
                obj = world.edit(ref)
                obj.stale = None
                obj.pending.pop("accumulated", None)
            return
        self.zero(world, node, cells, soft=True)

    def perhaps_cleared(self, world: World) -> None:
        """Some gradients were cleared, it is not known whose: no optimizer is surely stale any more."""
        for ref, _ in self.optimizers(world):
            changed = world.edit(ref)
            changed.stale = None
            changed.pending.pop("accumulated", None)
            changed.pending.pop("zero", None)

    # -- zero_grad --

    def zero_optimizer(self, call: Call, ref: Ref) -> None:
        """`optimizer.zero_grad()`."""
        obj = call.world.get(ref)
        state = getattr(obj, "grads", "unknown")
        event = call.tell(ZeroGrad, optimizer=ref, state=state)
        self._clear(call.world, ref, event)

    def zero(self, world: World, node: ast.AST, cells: Cells, soft: bool = False) -> None:
        """`model.zero_grad()`, or a loop that clears parameters."""
        event = self.tell(world, ZeroGrad, node, things=tuple(sorted(cells.roots, key=repr)))
        every = self.optimizers(world)
        alone = len(every) == 1
        for ref, obj in every:
            own = obj.cells
            whole = ref in cells.roots or (
                bool(own.roots)
                and all(
                    any(self.below(world, module, cleared) for cleared in cells.roots) for module in own.roots
                )
            )
            if whole or (alone and (own.wide or not own.roots)):
                self._clear(world, ref, event)
            elif (
                self.overlap(world, cells.roots, own.roots)
                or own.wide
                or not own.roots
                or cells.wide
                or not all(self._made_here(world, value) for value in (*own.roots, *cells.roots))
            ):
                changed = world.edit(ref)
                changed.stale = None
                changed.pending.pop("accumulated", None)
                changed.pending.pop("zero", None)
                if changed.grads != "none":
                    changed.grads = "unknown"

    def _clear(self, world: World, ref: Ref, event: Event) -> None:
        obj: Optimizer = world.edit(ref)
        if obj.fresh and obj.sure and obj.grads in ("plain", "scaled", "unscaled", "mixed"):
            obj.pending["zero"] = {
                "event": event,
                "place": (event.node, world.module),
                "backward": obj.places.get("backward"),
            }
        for name in ("clip", "accumulated", "beyond"):
            obj.pending.pop(name, None)
        obj.grads = "none"
        obj.by = None
        obj.fresh = False
        obj.stale = None
        obj.flow = None
        obj.backwards = 0
        obj.extra.pop("again", None)

    # -- step --

    def scaler_step(self, call: Call, scaler: Ref, optimizer: Ref) -> None:
        """`scaler.step(optimizer)`."""
        world, node, place = call.world, call.node, call.place
        s = world.get(scaler)
        o = world.get(optimizer)
        assert isinstance(s, Scaler) and isinstance(o, Optimizer)
        closure = None
        if len(call.args) > 1:
            closure = "positional"
        elif "closure" in call.keywords:
            closure = "keyword"
        event = self.tell(
            world, ScalerStep, node, scaler=scaler, optimizer=optimizer, state=o.grads, closure=closure
        )
        names = self.names_of(world, scaler, optimizer)
        if self.disabled(world, s):
            self._after_step(world, optimizer, place, event)
            return
        if self._framework_fault(world, scaler, optimizer, event):
            return
        if closure is not None:
            self.fault(world, "scaler-step-closure", event, event, [], names, closure)
        stage, since = s.stages.get(optimizer.oid, ("ready", None))
        pending = o.pending
        reported = early = False
        if stage == "stepped":
            assert since is not None
            if o.fresh:
                self._missing_update(world, scaler, optimizer, since, event, "step")
            elif o.grads != "unknown":
                self.fault(
                    world,
                    "optimizer-step-bypasses-scaler",
                    event,
                    event,
                    [(since, "it is stepped here already, with no `update` in between")],
                    names,
                    "twice",
                    {"step": place, "before": since},
                )
            reported = True
        elif "update" in pending:
            reported = early = self._early_update(world, scaler, optimizer, pending["update"], event)
        if not reported and "zero" in pending and not o.fresh:
            self._zero_fault(world, scaler, optimizer, pending["zero"], event)
            reported = True
        if not reported:
            self._confirm(world, scaler, optimizer, event, place)
        self._created_in_loop(world, scaler, optimizer, event)
        self._after_step(world, optimizer, place, event)
        stepped = world.edit(optimizer)
        stepped.extra["by"] = "scaler"
        if "last" in stepped.places:
            stepped.places["stepped-from"] = stepped.places["last"]
        s = world.edit(scaler)
        if early:
            # The update came, if too early: none is missing.
            s.stages.pop(optimizer.oid, None)
        else:
            s.stages[optimizer.oid] = ("stepped", place)
        s.pending = None
        s.left.pop(optimizer.oid, None)

    def _update_for_nothing(
        self, world: World, optimizer: Ref, early: dict[str, Any] | None, event: Event
    ) -> None:
        """An update in whose cycle nothing was unscaled or stepped, and whose step never came."""
        if early is None or not early.get("bare"):
            return
        self.fault(
            world,
            "scaler-call-order",
            early["event"],
            event,
            [((event.node, world.module), "the next backward comes with no step in between")],
            self.names_of(world, early["scaler"], optimizer),
            "update-without-step",
            {"update": early["place"], "backward": (event.node, world.module)},
        )

    def _early_update(
        self, world: World, scaler: Ref, optimizer: Ref, early: dict[str, Any], event: Event
    ) -> bool:
        names = self.names_of(world, scaler, optimizer)
        place = (event.node, world.module)
        other = early.get("other")
        if other is not None:
            self.fault(
                world,
                "update-between-optimizers",
                early["event"],
                event,
                [
                    (early.get("other_at"), f"`{other or 'the first optimizer'}` is stepped here"),
                    (place, f"`{names.get('optimizer') or 'the second'}` is stepped only after the update"),
                ],
                {**names, "other": other},
                "",
                {"update": early["place"], "step": place, "other": early.get("other_at")},
            )
        else:
            self.fault(
                world,
                "scaler-call-order",
                early["event"],
                event,
                [(place, "the step comes only here")],
                names,
                "update-before-step",
                {"update": early["place"], "step": place},
            )
        return True

    def _zero_fault(
        self, world: World, scaler: Ref | None, optimizer: Ref, zero: dict[str, Any], event: Event
    ) -> None:
        place = (event.node, world.module)
        self.fault(
            world,
            "zero-grad-before-step",
            zero["event"],
            event,
            [
                (zero.get("backward"), "the gradients are computed here"),
                (place, "the step finds them cleared"),
            ],
            self.names_of(world, scaler, optimizer),
            "",
            {"zero_grad": zero["place"], "backward": zero.get("backward"), "step": place},
        )

    def _confirm(self, world: World, scaler: Ref | None, optimizer: Ref, event: Event, place: Place) -> None:
        """A step makes suspicions real that both kinds of step share."""
        o: Optimizer = world.get(optimizer)  # type: ignore[assignment]
        names = self.names_of(world, scaler, optimizer)
        pending = o.pending
        if scaler is not None:
            self._plain_gradients(world, scaler, optimizer, event)
            clip = pending.get("clip")
            if clip is not None and o.grads in ("scaled", "unscaled"):
                self.fault(
                    world,
                    "clip-before-unscale",
                    clip["event"],
                    event,
                    [
                        (o.places.get("scale"), "the loss is scaled here"),
                        (clip.get("unscale"), "they are unscaled only here"),
                        (place, "the step uses them here"),
                    ],
                    names,
                    clip["how"],
                    {
                        "clip": clip["place"],
                        "unscale": clip.get("unscale"),
                        "step": place,
                        "scale": o.places.get("scale"),
                        "backward": o.places.get("backward"),
                    },
                )
            beyond = pending.get("beyond")
            if beyond is not None and clip is None:
                self.fault(
                    world,
                    "clip-beyond-optimizer",
                    beyond["event"],
                    event,
                    [(self._made(world, optimizer), "the optimizer owns fewer parameters")],
                    names,
                    "",
                    {"clip": beyond["place"], "step": place, "optimizer": self._made(world, optimizer)},
                )
            self._precision_faults(world, scaler, optimizer, event, place)
        accumulated = pending.get("accumulated")
        if accumulated is not None:
            self.fault(
                world,
                "missing-zero-grad",
                accumulated["event"],
                event,
                [
                    (accumulated["step"], "the previous step leaves the gradients in place"),
                    (
                        place if place[0] is not accumulated["step"][0] else None,
                        "the next step uses their sum",
                    ),
                ],
                names,
                "",
                {"backward": accumulated["place"], "step": accumulated["step"]},
            )
        flow = o.flow
        if (
            o.extra.get("again")
            and accumulated is None
            and flow is not None
            and o.sure
            and not flow.divided
            and not flow.summed
            and flow.scaling in ("plain", "scaled")
        ):
            last = o.places["last"]
            self.fault(
                world,
                "accumulated-loss-not-divided",
                self.event_at(world, Backward, last),
                event,
                [(place, "the step uses the sum of several backwards")],
                names,
                "",
                {"backward": last, "step": place},
            )
        self.step_faults(world, scaler, optimizer, event, place)

    def step_faults(
        self, world: World, scaler: Ref | None, optimizer: Ref, event: Event, place: Place
    ) -> None:
        """What the parameters of an optimizer say at its step; see `parameters`."""

    def _precision_faults(
        self, world: World, scaler: Ref, optimizer: Ref, event: Event, place: Place
    ) -> None:
        o: Optimizer = world.get(optimizer)  # type: ignore[assignment]
        s: Scaler = world.get(scaler)  # type: ignore[assignment]
        flow = o.flow
        if flow is None or not o.sure or not flow.precision:
            return
        names = self.names_of(world, scaler, optimizer)
        precision = self.flow_precision(world, flow)
        if precision == "bfloat16" and self.enabled(world, s.enabled) is not False:
            made = self._made(world, scaler)
            at = self.event_at(world, ScalerStep, made) if made is not None else event
            self.fault(
                world,
                "scaler-with-bfloat16",
                at,
                event,
                [(place, "the scaler is used here")],
                names,
                "",
                {"scaler": made, "step": place},
                Confidence.HIGH if self.enabled(world, s.enabled) else Confidence.MEDIUM,
            )
        elif precision is None and self.enabled(world, s.enabled):
            if all(self._plain_model(world, module) for module in flow.feeds) and flow.feeds:
                at_place = flow_place(flow, o) or o.places.get("backward")
                if at_place is not None:
                    self.fault(
                        world,
                        "forward-outside-autocast",
                        self.event_at(world, Backward, at_place),
                        event,
                        [(place, "the scaler's step")],
                        names,
                        "",
                        {"backward": o.places.get("backward"), "step": place},
                    )

    def _plain_model(self, world: World, value: Value) -> bool:
        """A module whose code is seen, or known, to enter no autocast, and that is not FP16 itself."""
        obj = self.object(world, value)
        if not isinstance(obj, Model) or obj.dtype in ("float16", "bfloat16") or obj.extra.get("autocast"):
            return False
        return obj.made in ("constructor", "pretrained") and not obj.hidden and not obj.assumed

    def _created_in_loop(self, world: World, scaler: Ref, optimizer: Ref, event: Event) -> None:
        s: Scaler = world.get(scaler)  # type: ignore[assignment]
        o: Optimizer = world.get(optimizer)  # type: ignore[assignment]
        if not s.loops or s.assumed or len(o.loops) >= len(s.loops):
            return
        if o.loops != s.loops[: len(o.loops)] or world.loops[: len(s.loops)] != s.loops:
            return
        made = self._made(world, scaler)
        if made is None:
            return
        variant = "batch" if len(world.loops) == len(s.loops) else "epoch"
        loop = s.loops[-1]
        self.fault(
            world,
            "scaler-created-in-loop",
            self.event_at(world, Scale, made),
            event,
            [
                ((loop, world.module) if variant == "batch" else None, "the loop"),
                ((event.node, world.module), "it scales the training of an optimizer that lives longer"),
            ],
            self.names_of(world, scaler, optimizer),
            variant,
            {"scaler": made, "loop": (loop, world.module), "step": (event.node, world.module)},
        )

    def _after_step(self, world: World, optimizer: Ref, place: Place, event: Event) -> None:
        obj: Optimizer = world.edit(optimizer)
        fed = obj.fresh or obj.grads in ("unknown", "none", "never")
        sure = obj.fresh and obj.sure
        obj.stale = place if sure else None
        if obj.grads not in ("none", "never"):
            obj.grads = "stepped"
        del fed
        obj.fresh = False
        obj.pending = {}
        obj.flow = None
        obj.backwards = 0
        obj.extra.pop("clipped", None)
        obj.extra.pop("again", None)

    def optimizer_step(self, call: Call, optimizer: Ref) -> None:
        """`optimizer.step()`, past the scaler."""
        world, place = call.world, call.place
        o: Optimizer = world.get(optimizer)  # type: ignore[assignment]
        event = self.tell(world, OptimizerStep, call.node, optimizer=optimizer, state=o.grads)
        scaler = o.by if type(o.by) is Ref else None
        s = world.heap.get(scaler.oid) if scaler is not None else None
        names = self.names_of(world, scaler, optimizer)
        if o.tainted:
            raw = o.pending.get("raw-backward")
            if raw is not None and not o.tainted.startswith("!") and o.fresh:
                self.fault(
                    world,
                    "scaler-inside-framework",
                    raw["event"],
                    event,
                    [
                        (o.places.get("framework"), f"{o.tainted} takes the optimizer over here"),
                        (place, "and steps it here"),
                    ],
                    {**names, "framework": o.tainted},
                    "backward",
                    {"backward": (raw["event"].node, world.module), "framework": o.places.get("framework")},
                )
            changed = world.edit(optimizer)
            changed.pending = {}
            changed.fresh = False
            return
        if isinstance(s, Scaler) and not self.disabled(world, s):
            assert scaler is not None
            stage = s.stages.get(optimizer.oid, ("ready", None))
            if stage[0] == "stepped" and not o.fresh:
                self._bypass(world, scaler, optimizer, event, "twice", stage[1])
            elif o.grads == "stepped" and not o.fresh and o.extra.get("by") == "scaler":
                self._bypass(world, scaler, optimizer, event, "twice", o.stale)
            elif o.sure and o.fresh and o.grads == "scaled":
                self._bypass(world, scaler, optimizer, event, "scaled", o.places.get("scale"))
            elif o.sure and o.fresh and o.grads == "unscaled" and stage[0] == "unscaled":
                self._bypass(world, scaler, optimizer, event, "unscaled", o.places.get("unscale"))
            else:
                self._other_faults(world, optimizer, event, place)
            if o.grads in ("scaled", "unscaled"):
                # As far as the scaler knows, this optimizer has not been stepped.
                world.edit(scaler).stages.pop(optimizer.oid, None)
        else:
            self._other_faults(world, optimizer, event, place)
        by = o.by
        self._after_step(world, optimizer, place, event)
        changed = world.edit(optimizer)
        changed.by = by
        changed.extra.pop("by", None)

    def _other_faults(self, world: World, optimizer: Ref, event: Event, place: Place) -> None:
        o: Optimizer = world.get(optimizer)  # type: ignore[assignment]
        zero = o.pending.get("zero")
        if zero is not None and not o.fresh:
            self._zero_fault(world, None, optimizer, zero, event)
            return
        self._confirm(world, None, optimizer, event, place)
        if o.grads == "plain" and o.sure and o.fresh and self.surely(world, o.flow, "float16"):
            if not self.story_has_scaler(world) and "framework" not in world.tags:
                at = o.places.get("backward") or place
                context = next((p for p in (o.extra.get("autocast"),) if p is not None), None)
                self.missing_scaler.append((world, optimizer, event, at, place, context))

    def story_has_scaler(self, world: World) -> bool:
        """Whether a scaler, or something like one, is in sight."""
        return bool(world.of_kind(Scaler)) or "scaler" in world.tags

    missing_scaler: list[tuple[Any, ...]]
    current: Event

    def _bypass(
        self,
        world: World,
        scaler: Ref,
        optimizer: Ref,
        event: Event,
        variant: str,
        since: Place | None,
    ) -> None:
        texts = {
            "twice": "the scaler steps it here already",
            "scaled": "the loss is scaled here",
            "unscaled": "the gradients are unscaled here",
        }
        o = world.get(optimizer)
        assert isinstance(o, Optimizer)
        self.fault(
            world,
            "optimizer-step-bypasses-scaler",
            event,
            event,
            [(since, texts[variant])],
            self.names_of(world, scaler, optimizer),
            variant,
            {"step": (event.node, world.module), "before": since, "backward": o.places.get("backward")},
        )

    # -- update --

    def update(self, call: Call, scaler: Ref) -> None:
        """`scaler.update()`."""
        world, place = call.world, call.place
        s: Scaler = world.get(scaler)  # type: ignore[assignment]
        event = self.tell(world, Update, call.node, scaler=scaler)
        if self.disabled(world, s):
            return
        stepped = [(Ref(oid), since) for oid, (stage, since) in s.stages.items() if stage == "stepped"]
        for ref, obj in self.optimizers(world):
            stage = s.stages.get(ref.oid, ("ready", None))[0]
            if stage == "stepped" or not (obj.fresh and obj.sure):
                continue
            if obj.grads not in ("scaled", "unscaled") or (obj.by is not None and obj.by != scaler):
                continue
            early: dict[str, Any] = {"event": event, "place": place, "bare": not s.stages, "scaler": scaler}
            for other, since in stepped:
                first = world.heap.get(other.oid)
                if isinstance(first, Optimizer) and first.places.get("stepped-from") == obj.places.get(
                    "last"
                ):
                    early["other"] = first.name
                    early["other_at"] = since
            changed = world.edit(ref)
            changed.pending["update"] = early
        s = world.edit(scaler)
        s.stages = {}
        s.left = {}

    # -- parameters --

    def cells_of(self, world: World, value: Value, node: ast.AST, consume: bool = True) -> Cells | None:
        """The parameters that a value stands for; a one-shot iterator is spent by it."""
        value = self.as_ref(world, value)
        kind = type(value)
        if isinstance(value, Cells):
            return value
        if kind is Tup:
            return self._cells_of_items(world, list(value.items), node)
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
            found = self._cells_of_items(world, obj.items, node)
            if found is not None and obj.open:
                return found._replace(wide=True)
            return found
        return None

    def parameters_in(self, world: World, value: Value, node: ast.AST) -> Value:
        """`*model.parameters()` walks the iterator once, and leaves the parameters."""
        held = self.as_ref(world, value)
        if type(held) is Ref and isinstance(world.heap.get(held.oid), Iter):
            return self.cells_of(world, held, node)
        return None

    def _cells_of_items(self, world: World, items: list[Value], node: ast.AST) -> Cells | None:
        roots: frozenset[Any] = frozenset()
        wide = False
        filtered: str | None = None
        for item in items:
            cells = self.cells_of(world, item, node)
            if cells is None:
                group = self.object(world, item)
                if group is not None and group.kind == "dict":
                    inner = group.items.get("params")  # type: ignore[attr-defined]
                    cells = None if inner is None else self.cells_of(world, inner, node)
            if cells is None:
                item = self.as_ref(world, item)
                if type(item) is Term:
                    roots |= {item}
                wide = True
                continue
            roots |= cells.roots
            wide = wide or cells.wide
            if cells.filtered is not None:
                filtered = cells.filtered if filtered in (None, cells.filtered) else "partial"
        return Cells(roots, filtered, wide) if items else None

    def spend(self, world: World, ref: Ref, node: ast.AST) -> None:
        """A one-shot iterator is consumed: the second time it is empty."""
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

    # -- modules --

    def forward(
        self,
        world: World,
        ref: Ref,
        obj: Model,
        args: list[Value],
        keywords: dict[str, Value],
        node: ast.AST,
        wild: bool,
    ) -> Value:
        """Call a module: its result is fed by its parameters, at the precision in force."""
        raise NotImplementedError

    def special_store(self, world: World, base: Value, name: str, value: Value, node: ast.AST) -> bool:
        """Stores that mean more than an attribute (`p.grad = None`, `p.requires_grad = False`)."""
        return False

    def entered_autocast(self, world: World, auto: Auto, node: ast.AST) -> None:
        """Tell that an autocast region starts."""
        dtype, enabled = self.auto_precision(world, auto)
        known = world.truth(enabled)
        self.tell(
            world,
            AutocastEnter,
            node,
            dtype="off" if dtype == "none" else dtype,
            enabled=known,
            text=show(auto.enabled) if auto.enabled is not None else "",
        )


def from_gradients(value: Value) -> bool:
    """Whether a number was computed from gradients: scaling them by it is not linear."""
    if type(value) is Tup:
        return any(from_gradients(item) for item in value.items)
    if type(value) is not Term:
        return False
    return value.op in ("grad-derived", "grad-norm") or any(from_gradients(arg) for arg in value.args)


def flow_place(flow: Flow, optimizer: Optimizer) -> Place | None:
    """Where the forward that a message should cite stands, if it is known."""
    return optimizer.places.get("forward")


__all__ = ["NONE", "Const", "Protocol", "distinguish"]
