"""Steps and updates: the events that make suspicions real."""

from __future__ import annotations

import ast
from typing import Any

from ...rule import Confidence
from .calls import Call
from .objects import ListObj, Model, Optimizer, Scaler
from .paths import World
from .protocol import Protocol
from .story import (
    Backward,
    Event,
    OptimizerStep,
    Scale,
    ScalerStep,
    Update,
)
from .values import (
    NONE,
    Cls,
    Lib,
    Place,
    Ref,
    Term,
    Value,
    root,
    show,
)


class Steps(Protocol):
    """Steps and updates: the events that make suspicions real."""

    def scaler_step(self, call: Call, scaler: Ref, optimizer: Ref) -> None:
        """`scaler.step(optimizer)`."""
        world, node, place = call.world, call.node, call.place
        s = world.get(scaler)
        o = world.get(optimizer)
        assert isinstance(s, Scaler) and isinstance(o, Optimizer)
        closure = None
        given = call.arg_node(1)
        if len(call.args) > 1 and given is not None and not isinstance(call.node.args[1], ast.Starred):  # type: ignore[attr-defined]
            closure = "positional"
        elif "closure" in call.keywords:
            closure = "keyword"
        event = self.tell(
            world, ScalerStep, node, scaler=scaler, optimizer=optimizer, state=o.grads, closure=closure
        )
        names = self.names_of(world, scaler, optimizer)
        if self.disabled(world, s):
            self.optimizer_step(call, optimizer, event)
            return
        if self._framework_fault(world, scaler, optimizer, event):
            return
        if closure is not None:
            own = any("GradScaler" in name for name in self.program.subclassed)
            self.fault(
                world,
                "scaler-step-closure",
                event,
                event,
                [],
                names,
                closure,
                confidence=Confidence.MEDIUM if own else None,
            )
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
        self,
        world: World,
        scaler: Ref | None,
        optimizer: Ref,
        zero: dict[str, Any],
        event: Event,
        variant: str = "",
    ) -> None:
        place = (event.node, world.module)
        self.fault(
            world,
            "zero-grad-before-step",
            zero["event"],
            event,
            [
                (zero.get("backward"), "the gradients are computed here"),
                (
                    place,
                    "the step finds those of the last round" if variant else "the step finds them cleared",
                ),
            ],
            self.names_of(world, scaler, optimizer),
            variant,
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
            entry = clip is not None and clip.get("entry") and o.grads == "unknown"
            if clip is not None and (entry or o.grads in ("scaled", "unscaled")):
                made = world.get(scaler)
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
                    Confidence.MEDIUM if entry and made.assumed else None,
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
        dropped = pending.get("dropped")
        if dropped is not None and o.places.get("last") == dropped["backward"]:
            # Dropping a round is right where its step was left out for what came out of it.
            if any(" Mod " in show(test) for test in world.pc):
                self._zero_fault(world, scaler, optimizer, dropped, event, "micro-step")
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
        elif precision is None and (at_place := o.places.get("backward")) is not None:
            if all(self._plain_model(world, module) for module in flow.feeds) and flow.feeds:
                told: tuple[Any, ...] = (
                    world,
                    "forward-outside-autocast",
                    self.event_at(world, Backward, at_place),
                    event,
                    [(place, "the scaler's step")],
                    names,
                    "",
                    {"backward": at_place, "step": place},
                )
                if self.enabled(world, s.enabled):
                    self.fault(*told)
                else:
                    self.bare_forwards.append(told)

    def _plain_model(self, world: World, value: Value) -> bool:
        """A module whose code is seen, or known, to enter no autocast, and that is not FP16 itself."""
        ref = self.as_ref(world, value)
        obj = world.heap.get(ref.oid) if type(ref) is Ref else None
        if not isinstance(obj, Model) or obj.extra.get("autocast"):
            return False
        if any(part.dtype not in ("float32", None) for _, part in self.tree(world, ref)):
            return False
        if obj.made not in ("constructor", "pretrained") or obj.hidden or obj.assumed:
            return False
        return not any(self._computes_unseen(world, part) for _, part in self.tree(world, ref))

    def _computes_unseen(self, world: World, part: Model) -> bool:
        """Whether a module computes with a part that is not known: one that may enter autocast itself."""
        called = called_parts(part.cls.node) if type(part.cls) is Cls else {}
        for name, value in part.attrs.items():
            held = self.as_ref(world, value)
            obj = world.heap.get(held.oid) if type(held) is Ref else None
            if type(part.cls) is Lib and not isinstance(obj, ListObj):
                continue  # an option, such as `reduction`
            if type(part.cls) is Cls and name not in called:
                continue
            todo = list(obj.items) if isinstance(obj, ListObj) else [held]
            while todo:
                item = self.as_ref(world, todo.pop())
                if type(item) is not Term:
                    continue
                if item.op == "ite":
                    todo += item.args[1:]
                elif type(part.cls) is Lib or called[name] or root(item).op == "fresh":
                    return True
        return False

    def _created_in_loop(self, world: World, scaler: Ref, optimizer: Ref, event: Event) -> None:
        s: Scaler = world.get(scaler)  # type: ignore[assignment]
        o: Optimizer = world.get(optimizer)  # type: ignore[assignment]
        if not s.loops or s.assumed or not s.again or len(o.loops) >= len(s.loops):
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
        obj.stale = place if obj.fresh and obj.sure else None
        if obj.grads not in ("none", "never"):
            obj.grads = "stepped"
        obj.fresh = False
        obj.pending = {}
        obj.flow = None
        obj.backwards = 0
        obj.extra.pop("clipped", None)
        obj.extra.pop("again", None)

    def step_event(self, world: World, node: ast.AST, optimizer: Ref) -> Event:
        """Tell that an optimizer is stepped."""
        o: Optimizer = world.get(optimizer)  # type: ignore[assignment]
        return self.tell(world, OptimizerStep, node, optimizer=optimizer, state=o.grads)

    def optimizer_step(self, call: Call, optimizer: Ref, event: Event | None = None) -> None:
        """`optimizer.step()`, past the scaler; `event`: where it began, if a closure was called since."""
        world, place = call.world, call.place
        o: Optimizer = world.get(optimizer)  # type: ignore[assignment]
        if event is None:
            event = self.step_event(world, call.node, optimizer)
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
                stages = world.edit(scaler).stages
                if stages.pop(optimizer.oid, ("", None))[0] == "unscaled":
                    stages[optimizer.oid] = ("bypassed", place)
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
        if o.grads == "plain" and o.sure and o.fresh and self.possibly(world, o.flow, "float16"):
            if not self.story_has_scaler(world) and "framework" not in world.tags:
                at = o.places.get("backward") or place
                context = next((p for p in (o.extra.get("autocast"),) if p is not None), None)
                self.missing_scaler.append((world, optimizer, event, at, place, context))

    def story_has_scaler(self, world: World) -> bool:
        """Whether a scaler, or something like one, is in sight."""
        return bool(world.of_kind(Scaler)) or "scaler" in world.tags

    missing_scaler: list[tuple[Any, ...]]
    bare_forwards: list[tuple[Any, ...]]
    """Forwards under no autocast, of scalers of which it is not known whether they are enabled."""

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

    def update(self, call: Call, scaler: Ref) -> None:
        """`scaler.update()`."""
        world, place = call.world, call.place
        s: Scaler = world.get(scaler)  # type: ignore[assignment]
        event = self.tell(world, Update, call.node, scaler=scaler)
        if self.disabled(world, s):
            return
        given = call.arg(0, "new_scale")
        bare = not s.stages and (given is None or given == NONE)
        stepped = [(Ref(oid), since) for oid, (stage, since) in s.stages.items() if stage == "stepped"]
        for ref, obj in self.optimizers(world):
            stage = s.stages.get(ref.oid, ("ready", None))[0]
            if stage == "stepped" or not obj.fresh:
                continue
            if obj.grads not in ("scaled", "unscaled") or (obj.by is not None and obj.by != scaler):
                continue
            if not (bare or s.stages):
                continue  # A new scale that is given asks for no gradients.
            early: dict[str, Any] = {"event": event, "place": place, "bare": bare, "scaler": scaler}
            for other, since in stepped:
                first = world.heap.get(other.oid)
                if isinstance(first, Optimizer) and first.places.get("stepped-from") == obj.places.get(
                    "last"
                ):
                    early["other"] = first.name
                    early["other_at"] = since
            if not obj.sure and "other" not in early:
                continue  # Of two that one loss perhaps feeds, the step of both says that it does.
            changed = world.edit(ref)
            changed.pending["update"] = early
        s = world.edit(scaler)
        s.stages = {}
        s.left = {}


def called_parts(node: ast.AST) -> dict[str, bool]:
    """The attributes that a class calls: themselves (`self.part(x)`: True), or only methods of theirs."""
    found: dict[str, bool] = {}
    for call in ast.walk(node):
        if not isinstance(call, ast.Call):
            continue
        target, direct = call.func, True
        while isinstance(target, ast.Attribute | ast.Subscript):
            inner = target.value
            if isinstance(target, ast.Attribute):
                if isinstance(inner, ast.Name) and inner.id == "self":
                    found[target.attr] = found.get(target.attr, False) or direct
                    break
                direct = False
            target = inner
    return found
