"""The protocol of a training step: what each event does to gradients, and when it is a fault.

For each optimizer the machine knows what its gradients are (`grads`), whether it was fed surely, and
for each scaler at which stage of its cycle every optimizer is, exactly as `torch.amp.GradScaler`
does. A suspicious event is put into the optimizer's `pending`; the event that makes it real
reports it; the one that makes it harmless drops it.
"""

from __future__ import annotations

import ast
from typing import Any

from .calls import Call
from .feeds import Feeds
from .objects import Instance, Model, Optimizer, Scaler
from .paths import World
from .story import (
    AutocastEnter,
    Backward,
    Clip,
    Event,
    GradEdit,
    Scale,
    ScalerStep,
    Unscale,
    ZeroGrad,
)
from .values import (
    Auto,
    Cells,
    Cls,
    Flow,
    Method,
    Place,
    Ref,
    Term,
    Tup,
    Value,
    flow_of,
    mix,
    show,
    term,
)

SCALING = frozenset(("scale", "scale_loss"))
"""Calls by which a step scales its loss on some path."""


class Protocol(Feeds):
    """Typestate of scalers and optimizers."""

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
        if type(value) is Term and value.op == "tensor" and isinstance(node, ast.Call):
            held = node.func.value if isinstance(node.func, ast.Attribute) else None
            if isinstance(held, ast.Name):
                # A cast that is lost is a fault of its own: what follows from it is none.
                flow = self.flow(value)._replace(dtype=None)
                self.assign(held, term("tensor", value, "?", flow=flow), world)
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
        self._inside_trainer(world, flow, event, place)
        context = self._lexical_autocast(world)
        every = self.optimizers(world)
        alone = self.only(every)
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

    own_backwards: list[tuple[Any, ...]]
    """Backwards of a Trainer's subclass that go past its loss scaling, if it scales."""

    def _inside_trainer(self, world: World, flow: Flow, event: Event, place: Place) -> None:
        """`training_step` of a Trainer's subclass has the framework run its backward."""
        frame = world.heap[world.frame]
        fn = frame.node
        if not isinstance(fn, ast.FunctionDef) or fn.name != "training_step" or not fn.args.args:
            return
        own = self.as_ref(world, frame.vars.get(fn.args.args[0].arg))  # type: ignore[attr-defined]
        obj = world.heap.get(own.oid) if type(own) is Ref else None
        base = self.foreign_base(obj.cls) if isinstance(obj, Instance) and type(obj.cls) is Cls else None
        if base is None or not base.name.startswith(("transformers.", "trl.", "sentence_transformers.")):
            return
        facts = world.module.facts.get(fn)
        held = world.heap.get(flow.scaler.oid) if type(flow.scaler) is Ref else None
        told: tuple[Any, ...] = (
            world,
            "scaler-inside-framework",
            event,
            event,
            [],
            {**self.names_of(world, flow.scaler, None), "framework": base.name.rpartition(".")[2]},
            "trainer",
            {"backward": place},
        )
        if flow.scaling == "scaled" and held is not None and not held.assumed:
            self.fault(*told)
        elif flow.scaling == "plain" and facts is not None and facts.calls.isdisjoint(SCALING):
            self.own_backwards.append(told)

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
        if pending.get("clip", {}).get("entry"):
            del pending["clip"]
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
            zero = pending.pop("zero", None)
            if zero is not None and zero["backward"] == place and zero["event"].loops == event.loops:
                # What this very backward made in the round before was thrown away, with no step between.
                pending["dropped"] = zero
            fed = obj.fresh and obj.sure
            if obj.stale is not None and not fed and "accumulated" not in pending:
                pending["accumulated"] = {"event": event, "step": obj.stale, "place": place}
        else:
            pending.pop("update", None)
            if "accumulated" not in pending:
                pending.pop("zero", None)
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
        # In another turn over `(one, other)` it is another loss.
        point = (place, world.ctx, self.unroll)
        if obj.fresh and obj.extra.get("point") == point:
            obj.extra["again"] = True
        obj.extra["point"] = point
        obj.places["last"] = place
        obj.flow = flow if obj.flow is None or not obj.fresh else mix(obj.flow, flow)
        obj.backwards = obj.backwards + 1 if obj.fresh else 1
        obj.extra["refed"] = True
        obj.fresh = True

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

    def possibly(self, world: World, flow: Flow | None, dtype: str) -> bool:
        """Whether some forward of a loss ran under autocast of this dtype, if that was enabled."""
        return flow is not None and any(
            name == dtype and world.truth(enabled) is not False for name, enabled in flow.precision
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
        elif o.grads == "scaled" and self.strangers(world, scaler, o.by):
            at = o.places.get("backward")
            if at is None:
                return
            other = world.heap[o.by.oid]
            self.fault(
                world,
                "unscaled-backward",
                self.event_at(world, Backward, at, state="scaled"),
                event,
                [
                    (o.places.get("scale"), f"`{other.name or 'the other scaler'}` scales it here"),
                    (step, "the gradients are divided by this scaler's own scale here"),
                ],
                {**names, "other": other.name},
                "other",
                {"backward": at, "scale": o.places.get("scale"), "step": step},
            )
        elif o.grads == "mixed":
            summed = o.places.get("mixed")
            at = summed or o.places.get("plain") or o.places.get("backward")
            if at is None:
                return
            self.fault(
                world,
                "unscaled-backward",
                self.event_at(world, Backward, at, state="mixed"),
                event,
                [
                    (o.places.get("scale"), "the other part is scaled here"),
                    (step, "all of it is divided by the scale here"),
                ],
                names,
                "mixed" if summed is not None else "plain",
                {"backward": at, "scale": o.places.get("scale"), "step": step},
            )

    @staticmethod
    def strangers(world: World, one: Ref, other: Value) -> bool:
        """Whether two scalers were made apart, in sight: neither a copy of the other nor any of a number."""
        if type(other) is not Ref or one == other:
            return False
        pair = [world.heap.get(ref.oid) for ref in (one, other)]
        if not all(isinstance(obj, Scaler) and not obj.assumed and not obj.loops for obj in pair):
            return False
        return "twin" not in (one.oid[0], other.oid[0])

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
        alone = self.only(every)
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
            elif obj.grads == "unknown" and not self.program.unscales and "clip" not in changed.pending:
                # Whoever ran the backward: nothing in this program could have unscaled them.
                changed.pending["clip"] = {"event": event, "place": place, "how": how, "entry": True}
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
        if self.of_gradients(world, value):
            if not self.unscales_by_hand(value):
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

    def unscales_by_hand(self, value: Value) -> bool:
        """Whether a factor takes the scale into account: `limit * scaler.get_scale() / norm`."""
        if type(value) is not Term:
            return False
        if value.op == "call" and type(value.args[0]) is Method and value.args[0].name == "get_scale":
            return True
        return any(map(self.unscales_by_hand, value.args))

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
        alone = self.only(every)
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
                if not whole and own.roots:
                    # Of a model that is known in part only, this may be a part.
                    world.edit(ref).pending.pop("zero", None)
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
        if not obj.pending.get("update", {}).get("bare"):
            # The gradients of that cycle are gone; without an unscaling in it, its update raised.
            obj.pending.pop("update", None)
        obj.grads = "none"
        obj.by = None
        obj.fresh = False
        obj.stale = None
        obj.flow = None
        obj.backwards = 0
        obj.extra.pop("again", None)

    current: Event

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
