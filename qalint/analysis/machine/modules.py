"""Modules and their parameters: casts, freezes, moves, injection, and what a step says of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from ..names import CONTAINERS
from .casts import cast_parameters, of_elements
from .expressions import children
from .facts import OPTIMIZERS
from .objects import Frame, ListObj, Model, Optimizer, Scaler
from .paths import World
from .refusals import PROBABILITIES, loss_under_autocast, refuses
from .steps import Steps
from .story import Cast, Event, Forward, Freeze, GradEdit, Inject, Move
from .values import (
    GRADIENTS,
    NONE,
    TRUE,
    Cells,
    Cls,
    Const,
    Flow,
    Fn,
    Lib,
    Place,
    Ref,
    Term,
    Tup,
    Value,
    flow_of,
    mix,
    term,
)

HALF = ("float16",)


class Modules(Steps):
    """Trees of parameter cells."""

    # -- trees --

    def tree(self, world: World, ref: Ref) -> Iterator[tuple[Ref, Model]]:
        """A module and the modules below it that are known apart."""
        seen: set[Any] = set()
        todo: list[Value] = [ref]
        while todo:
            value = self.as_ref(world, todo.pop())
            if type(value) is Tup:
                todo += value.items
                continue
            if type(value) is Term and value.op == "ite":
                todo += value.args[1:]
                continue
            if type(value) is not Ref or value.oid in seen:
                continue
            seen.add(value.oid)
            obj = world.heap.get(value.oid)
            if isinstance(obj, Model):
                yield value, obj
                todo += obj.attrs.values()
            elif isinstance(obj, ListObj):
                todo += obj.items
            elif obj is not None and obj.kind == "dict":
                todo += obj.items.values()  # type: ignore[attr-defined]

    def leaves(self, world: World, ref: Ref) -> list[tuple[Ref, Model]]:
        """The modules below one that have parameters of their own, as far as is known.

        Those with no modules below them, and models of a library: what the program replaced in them
        (`backbone.fc = nn.Identity()`) is not all they have.
        """
        found = []
        for each, obj in self.tree(world, ref):
            below = [other for other, _ in self.tree(world, each) if other != each]
            whole = type(obj.cls) is Lib and obj.cls.name.rpartition(".")[2] not in CONTAINERS
            if not below or whole:
                found.append((each, obj))
        return found

    def as_module(self, world: World, value: Value, node: ast.AST, name: str = "") -> Ref | None:
        """The module that a value is; an unknown that is used as one becomes one."""
        value = self.as_ref(world, value)
        if type(value) is Ref:
            return value if isinstance(world.heap.get(value.oid), Model) else None
        if type(value) is not Term or value.op == "copy":
            return None
        ref = self.refine(world, value, "module", node, name)
        if ref is None or not isinstance(world.heap.get(ref.oid), Model):
            return None
        if value.op in ("attr", "item"):
            owner = self.as_ref(world, value.args[0])
            parent = world.heap.get(owner.oid) if type(owner) is Ref else None
            if isinstance(parent, Model):
                child = world.edit(ref)
                child.owner, child.dtype, child.trainable = owner, parent.dtype, parent.trainable
                child.cast, child.clock = parent.cast, dict(parent.clock)
                child.made, child.frozen = parent.made, parent.frozen
                if value.op == "attr":
                    world.edit(owner).attrs.setdefault(value.args[1], ref)
        return ref

    def looks_like_module(self, name: str) -> bool:
        """Whether the program uses a name as a module."""
        used = self.program.uses.get(name.rpartition(".")[2], set())
        return bool(used & MODULE_USES)

    # -- casts, moves, freezes --

    def cast(self, world: World, ref: Ref, dtype: Any, node: ast.AST) -> None:
        """`model.half()`, `model.to(dtype)`; the dtype may be a term that a test decides."""
        place = (node, world.module)
        now = world.tick()
        self.halved = self.halved or dtype == "float16"
        self.tell(world, Cast, node, things=(ref,), dtype=dtype)
        for each, _ in list(self.tree(world, ref)):
            changed: Model = world.edit(each)
            changed.dtype, changed.cast = dtype, place
            changed.clock["cast"] = now

    def move(self, world: World, ref: Ref, device: Value, node: ast.AST) -> None:
        """`model.to(device)`."""
        self.tell(world, Move, node, things=(ref,), device=self.device_name(world, device))
        now = world.tick()
        for each, _ in list(self.tree(world, ref)):
            changed: Model = world.edit(each)
            changed.device, changed.moved = device, (node, world.module)
            changed.clock["move"] = now

    def freeze(
        self, world: World, roots: Any, value: bool | None, node: ast.AST, partial: bool = False
    ) -> None:
        """`requires_grad` of everything below some modules."""
        self.tell(world, Freeze, node, things=tuple(sorted(roots, key=repr)), value=value, partial=partial)
        now = world.tick()
        for root in roots:
            ref = self.as_module(world, root, node)
            if ref is None:
                continue
            for each, _ in list(self.tree(world, ref)):
                changed: Model = world.edit(each)
                changed.trainable = None if partial else value
                changed.frozen = (node, world.module)
                changed.clock["freeze" if value is False else "thaw"] = now

    def tested(self, world: World, cells: Cells) -> bool:
        """Whether this path knows something about the very parameter that a loop is at."""
        return bool(self.tests_of(world, cells))

    def tests_of(self, world: World, cells: Cells) -> dict[Term, bool]:
        """What this path knows about the very parameter that a loop is at."""
        symbol = world.attrs.get((cells, "#"))
        if type(symbol) is not Term:
            return {}
        site = symbol.args[1:]
        return {
            test: outcome
            for test, outcome in world.pc.items()
            if any(dep.args[1:] == site for dep in test.deps if dep.op == "fresh")
        }

    # -- stores --

    def special_store(self, world: World, base: Value, name: str, value: Value, node: ast.AST) -> bool:
        """`p.requires_grad = ...`, `p.grad = ...`, a module put into a module."""
        if type(base) is not Cells and name == "grad":
            self.perhaps_cleared(world)
        if type(base) is Cells:
            if name == "requires_grad":
                known = world.truth(value)
                partial = cells_partial(base) or self.tested(world, base)
                self.freeze(world, base.roots, known, node, partial)
            elif name == "grad":
                if value == NONE:
                    self.grad_cleared(world, base, node)
                else:
                    self.tell(world, GradEdit, node, linear=False, cleared=False)
                    world.tags = world.tags | {"scaler"}
                    if self._derived(value):
                        self.clip_at(world, node, base, "edit", False)
            elif name == "data" and base.what == "grad":
                if self._derived(value):
                    self.clip_at(world, node, base, "edit", False)
            elif name == "data" and base.what == "element":
                dtype = getattr(flow_of(value), "dtype", None)
                if type(value) is Cells:
                    dtype = value.what.partition(":")[2] or None
                if dtype in ("float16", "float32", "bfloat16"):
                    cast_parameters(self, world, base, dtype, node)  # type: ignore[arg-type]
            return True
        if type(base) is Ref:
            obj = world.heap.get(base.oid)
            if name == "data" and self.is_parameter(world, base):
                dtype = getattr(flow_of(value), "dtype", None)
                if dtype in ("float16", "float32", "bfloat16"):
                    self.cast(world, base, dtype, node)
                return True
            if isinstance(obj, Model):
                inner = self.as_ref(world, value)
                child = world.heap.get(inner.oid) if type(inner) is Ref else None
                if isinstance(child, Model):
                    if child.owner is None and inner != base:
                        world.edit(inner).owner = base
                    if not self._constructing(world, base):
                        self.inject(world, base, inner, name, "assign", node)
        return False

    def _derived(self, value: Value) -> bool:
        """Whether a value is computed from gradients, and not in proportion to them."""
        if type(value) is not Term or not value.gradient:
            return False
        if value.op in ("bin", "grad-part"):
            operands = [arg for arg in value.args if type(arg) in (Term, Cells)]
            squared = value.op == "bin" and value.args[0] in ("Mult", "Div", "Pow")
            both = all(type(arg) is Cells or arg.gradient for arg in operands)
            return (squared and len(operands) > 1 and both) or any(map(self._derived, operands))
        return value.op in GRADIENTS

    def _constructing(self, world: World, ref: Ref) -> bool:
        """Whether a module's own constructor is running."""
        frame = world.heap.get(world.frame)
        node = frame.node if isinstance(frame, Frame) else None
        return isinstance(node, ast.FunctionDef) and node.name in ("__init__", "__post_init__", "setup")

    def inject(self, world: World, owner: Value, child: Value, name: str, how: str, node: ast.AST) -> None:
        """A module is put into another after it was made."""
        self.tell(world, Inject, node, things=(owner, child), how=how, name=name)
        ref = self.as_module(world, owner, node)
        if ref is not None:
            now = world.tick()
            changed: Model = world.edit(ref)
            place = (node, world.module)
            if place not in changed.injected:
                changed.injected = (*changed.injected, place)
            changed.clock["inject"] = now

    # -- forward --

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
        values = [*args, *keywords.values()]
        flow: Flow | None = None
        for value in values:
            flow = mix(flow, flow_of(value), (node, world.module))
        if isinstance(obj.cls, Lib) and obj.cls.name.rpartition(".")[2].endswith("Loss"):
            self.tell(world, Forward, node, things=(ref,), loss=True)
            if obj.cls.name == PROBABILITIES:
                loss_under_autocast(self, world, node, obj)  # type: ignore[arg-type]
            made = flow if flow is not None else Flow(wide=True, grad=world.grad)
            made = made._replace(summed=obj.attrs.get("reduction") == Const("sum"), divided=False)
            return self.fresh(world, node, made)
        self.tell(world, Forward, node, things=(ref,), loss=False, inputs=self.inputs(world, values))
        refused = self.forward_faults(world, ref, obj, values, node)
        result: Value = None
        half = self.precision(world)[0] == "none" and self.halves(world, ref, values)
        if half and type(obj.cls) is Lib and obj.cls.name == "torch.nn.Sequential":
            result = self._in_turn(world, obj, values, node)
        if type(obj.cls) is Cls:
            method = self.member(world, obj.cls, "forward") or self.member(world, obj.cls, "__call__")
            whole = half or refuses(self, world, ref)  # type: ignore[arg-type]
            if type(method) is Fn and (
                whole or method.autos or (world.grad and self.program.casting(method.module, method.node))
            ):
                if half:
                    self.followed.add(method.node)
                outside = self.callers, self.refused
                self.callers = (*self.callers, (node, world.module))
                self.refused = self.refused or refused
                try:
                    result = self.enter(world, method, [ref, *args], keywords, node, wild, force=whole)
                finally:
                    self.callers, self.refused = outside
        inner = flow_of(result)
        dtype, enabled = self.precision(world)
        if inner is not None and inner.precision:
            precision = inner.precision
        elif obj.cls is None and self.program.mutes:
            precision = frozenset({self.precision_inside(world)})
        elif dtype == "none" and (obj.assumed or obj.hidden or obj.extra.get("autocast")):
            precision = frozenset({("maybe", TRUE)})
        else:
            precision = frozenset({(dtype, enabled)})
        own = Flow(
            frozenset({ref}),
            precision=precision,
            grad=world.grad,
            dtype=obj.dtype if dtype == "none" else None,
        )
        total = mix(mix(flow, inner, (node, world.module)), own, (node, world.module))
        if total is not None and not world.grad:
            total = total._replace(grad=False)
        if type(result) is Tup:
            return Tup(
                tuple(
                    term("item", self.fresh(world, node, total), Const(index), flow=total)
                    for index in range(len(result.items))
                )
            )
        return self.fresh(world, node, total)

    def _in_turn(self, world: World, obj: Model, values: list[Value], node: ast.AST) -> Value:
        """What goes through the modules of a `Sequential`, one after the other."""
        parts = children(world, obj)
        if parts is None or parts[1] or len(values) != 1:
            return None
        value = values[0]
        for part in parts[0]:
            value = self.call_value(world, part, [value], {}, node)
        return value

    def dtype_in(self, world: World, obj: Model) -> str | None:
        """The dtype of a module on this path."""
        if type(obj.dtype) is Term:
            value = world.resolve(obj.dtype)
            return value.value if type(value) is Const else None
        dtype: str | None = obj.dtype
        return dtype

    def is_half(self, world: World, value: Value) -> bool:
        """Whether a value is a module with FP16 in it."""
        if not self.halved or type(value) not in (Ref, Term):
            return False
        ref = self.as_ref(world, value)
        if type(ref) is not Ref or not isinstance(world.heap.get(ref.oid), Model):
            return False
        return any(part.dtype == "float16" for _, part in self.tree(world, ref))

    def halves(self, world: World, ref: Ref, values: list[Value]) -> bool:
        """Whether FP16 is in play: in an input, or in a part of the module."""
        if any(getattr(flow_of(value), "dtype", None) == "float16" for value in values):
            return True
        return any(obj.dtype == "float16" for _, obj in self.tree(world, ref))

    def operand(self, world: World, value: Value) -> tuple[str | None, Model | None]:
        """The dtype of a factor, and the parameter it is, if it is one."""
        flow = flow_of(value)
        if flow is not None and flow.dtype is not None:
            weights = [weight for weight in flow.feeds if self.is_parameter(world, weight)]
            whole = len(weights) == len(flow.feeds) == 1
            held = self.object(world, weights[0]) if whole else None
            return flow.dtype, held if isinstance(held, Model) else None
        while type(value) is Term and (
            (value.op == "attr" and value.args[1] in ("T", "mT", "H", "data")) or value.op == "transposed"
        ):
            value = value.args[0]
        obj = self.object(world, value)
        if isinstance(obj, Model) and isinstance(obj.cls, Lib) and obj.cls.name == "torch.nn.Parameter":
            return obj.dtype, obj
        return None, None

    unseen_caller = False
    """Whether a function is run that nothing in sight calls: its receiver may be in any state."""

    def product(self, world: World, factors: list[Value], node: ast.AST) -> None:
        """A matrix product: its factors must agree in dtype where no autocast is on."""
        if self.precision(world)[0] != "none" or self.unseen_caller or self.refused:
            return  # whoever calls this may cast the module, or run it under autocast
        (one, first), (two, second) = self.operand(world, factors[0]), self.operand(world, factors[1])
        if {one, two} != {"float16", "float32"}:
            return
        parameter = first or second
        kind = "dtype-mismatch" if parameter is None else "mixed-dtype-layer"
        event = self.tell(world, Forward, node, loss=False, mismatch=True)
        made = None if parameter is None or parameter.node is None else (parameter.node, parameter.module)
        self.fault(
            world,
            kind,
            event,
            event,
            [(made, "the parameter is made here, in float32")],
            {"parameters": parameter.name if parameter is not None else ""},
            "",
            {"parameter": made},
        )

    def inputs(self, world: World, values: list[Value]) -> str:
        """The dtypes of tensor arguments, as far as they are known."""
        return ",".join(str(getattr(flow_of(value), "dtype", None)) for value in values)

    def forward_faults(self, world: World, ref: Ref, obj: Model, values: list[Value], node: ast.AST) -> bool:
        """A floating input of another dtype than the module's, outside autocast; whether there is one."""
        if obj.dtype not in ("float16", "float32") or self.precision(world)[0] != "none" or self.refused:
            return False
        if obj.extra.get("empty") or (self.unseen_caller and obj.cast is None and obj.owner is not None):
            return False
        if type(obj.cls) is Cls and any(self._casts(world, part) for _, part in self.tree(world, ref)):
            return False  # What its layers get decides, not what it is called with.
        for value in values:
            flow = flow_of(value)
            if flow is None or flow.dtype not in ("float16", "float32") or flow.dtype == obj.dtype:
                continue
            event = self.tell(world, Forward, node, things=(ref,), loss=False, mismatch=True)
            self.fault(
                world,
                "dtype-mismatch",
                event,
                event,
                [
                    (obj.cast, f"the model becomes {obj.dtype} here"),
                    (self.callers[0] if self.callers else None, "the model is called with its input here"),
                ],
                {"model": obj.name},
                f"{flow.dtype}->{obj.dtype}",
                {"cast": obj.cast},
            )
            return True
        return False

    callers: tuple[Place, ...] = ()
    """The calls of models whose forwards are being run, outermost first."""

    refused = False
    """Whether one of them gets an input of another dtype than its own: its layers do too."""

    def _casts(self, world: World, obj: Model) -> bool:
        """Whether the forward of a module may give its layers another dtype than it gets."""
        if type(obj.cls) is not Cls:
            return False
        method = self.member(world, obj.cls, "forward") or self.member(world, obj.cls, "__call__")
        if type(method) is not Fn:
            return True
        facts = method.module.facts.get(method.node)
        return facts is None or not facts.calls.isdisjoint(CASTING)

    # -- what a step says of the parameters --

    def step_faults(
        self, world: World, scaler: Ref | None, optimizer: Ref, event: Event, place: Place
    ) -> None:
        """FP16 parameters that a step would train."""
        o: Optimizer = world.get(optimizer)  # type: ignore[assignment]
        names = self.names_of(world, scaler, optimizer)
        for root in sorted(o.cells.roots, key=repr):
            ref = self.as_ref(world, root)
            obj = world.heap.get(ref.oid) if type(ref) is Ref else None
            if not isinstance(obj, Model):
                continue
            for each, model in self.tree(world, ref):
                if model.trainable is False or model.cast is None:
                    continue
                if not self._can_be_half(world, model, scaler):
                    continue
                if o.cells.filtered == "partial" and (each == ref or o.cells.wide):
                    continue
                if model.trainable is None and o.cells.filtered is not None:
                    continue
                self._half_fault(world, model, obj, o, event, place, names, scaler)
                return

    def _can_be_half(self, world: World, model: Model, scaler: Ref | None) -> bool:
        """Whether a module is FP16 on this path, or on one of the paths it stands for.

        `dtype=torch.float16 if cuda else torch.float32`: there is a path on which it is. The scaler has to
        be at work on that path too.
        """
        if type(model.dtype) is not Term:
            return model.dtype in HALF
        path = self.path_to(world, model.dtype, HALF)
        if path is None or scaler is None:
            return path is not None
        held: Scaler = path.get(scaler)  # type: ignore[assignment]
        return self.enabled(path, held.enabled) is True

    def path_to(self, world: World, value: Value, wanted: tuple[str, ...]) -> World | None:
        """A part of this world in which a choice falls on one of some constants."""
        value = world.resolve(value)
        if type(value) is Const:
            return world if value.value in wanted else None
        if type(value) is Term and value.op == "ite" and not of_elements(value.args[0]):
            for outcome in (True, False):
                path = world.fork()
                if path.assume(value.args[0], outcome):
                    found = self.path_to(path, value.args[1 if outcome else 2], wanted)
                    if found is not None:
                        return found
        return None

    def _half_fault(
        self,
        world: World,
        model: Model,
        top: Model,
        o: Optimizer,
        event: Event,
        place: Place,
        names: dict[str, str],
        scaler: Ref | None,
    ) -> None:
        cast = model.cast
        assert cast is not None
        if o.cls not in OPTIMIZERS and (scaler is None or o.extra.get("unscales")):
            return  # An optimizer of one's own may keep FP32 copies.
        made = None if o.node is None or o.assumed else (o.node, o.module)
        late_optimizer = made is not None and model.clock.get("cast", 0) > o.born
        injected = top.injected or model.injected
        since_injection = max(model.clock.get("inject", 0), top.clock.get("inject", 0))
        late_injection = bool(injected) and model.clock.get("cast", 0) > since_injection
        if late_optimizer or late_injection:
            kind = "late-half-cast"
            since = (
                (made, "the optimizer is built here, before the cast")
                if late_optimizer
                else (
                    injected[0],
                    "adapters are injected here, before the cast",
                )
            )
            steps = [since, (place, "the parameters are trained here")]
        else:
            kind = "fp16-trainable-parameters"
            steps = [(made, "the optimizer takes them"), (place, "and steps them here")]
        self.fault(
            world,
            kind,
            self.event_at(world, Cast, cast, dtype="float16"),
            event,
            steps,
            {**names, "model": top.name or model.name},
            "scaler" if scaler is not None else "plain",
            {"cast": cast, "optimizer": made, "step": place},
        )


def cells_partial(cells: Cells) -> bool:
    """Whether a loop's parameter is one of a chosen few."""
    return cells.filtered == "partial"


CASTING = frozenset(("to", "half", "float", "bfloat16", "double", "type", "type_as", "autocast"))
"""Calls with which a forward changes the dtype of what it gets."""

MODULE_USES = frozenset(
    (
        "parameters",
        "named_parameters",
        "train",
        "train/1",
        "eval",
        "state_dict",
        "load_state_dict/1",
        "named_modules",
        "modules",
        "children",
        "named_children",
        "requires_grad_/1",
        "zero_grad",
    )
)
