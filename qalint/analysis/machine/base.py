"""What every part of the machine shares: naming of sites, forks inside expressions, telling events."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, NoReturn

from .facts import dotted
from .objects import ListObj, Model, Obj, Optimizer, Scaler
from .paths import Joiner, World, autocast_stack
from .slicing import Module, Program
from .story import AutocastEnter, Event, Forward, Guard, IteratorUse, LibraryCall, Move, Story, Thing
from .values import (
    FALSE,
    NONE,
    PREPARED,
    TRUE,
    Auto,
    Cells,
    Const,
    Flow,
    Lib,
    Ref,
    Term,
    Tup,
    Value,
    ite,
    root,
    show,
    term,
    test_of,
)

if TYPE_CHECKING:
    from .programs import Files

Site = ast.AST


class Split(Exception):
    """An expression cannot go on in one world: its statement starts again in each of `worlds`."""

    def __init__(self, worlds: list[World]) -> None:
        self.worlds = worlds


class Multi(Exception):
    """A call came back in several worlds, each with its result in `ret`."""

    def __init__(self, worlds: list[World]) -> None:
        self.worlds = worlds


class Dead(Exception):
    """This path cannot be taken any further."""


class Head:
    """The head of a loop in one state. Who comes back in that state is followed by what followed it first."""

    __slots__ = ("last", "next")

    def __init__(self) -> None:
        self.last: set[Event | None] = set()
        self.next: set[Event | Head] = set()


class Out:
    """Where the worlds go that leave a block early."""

    __slots__ = ("breaks", "continues", "raises", "returns")

    def __init__(self) -> None:
        self.breaks: list[World] = []
        self.continues: list[World] = []
        self.returns: list[World] = []
        self.raises: list[World] = []

    def every(self) -> list[World]:
        """All of them."""
        return self.breaks + self.continues + self.returns + self.raises


QUIET = (Forward, IteratorUse, Move, LibraryCall, AutocastEnter)
"""Events that do not make a function worth entering again."""
ROUNDS = 3
DEPTH = 16
WORK = 160_000
"""Expressions evaluated, counted in each world, for one program: a bound of last resort."""
STEPS = 30_000
"""Statements executed, counted in each world, before joins become coarse and loops run once."""
ACTIVATION = 18_000
"""The same for one activation of a function."""


class Base:
    """State of one run. The abstract methods are those that the parts call on each other."""

    def __init__(self, program: Program, story: Story, files: Files) -> None:
        self.program = program
        self.story = story
        self.files = files
        self.steps = 0
        self.limit = STEPS
        self.budget = STEPS
        self.widest = 0
        self.contexts: dict[tuple[int, Any], int] = {}
        self.told: dict[tuple[Any, ...], Event] = {}
        self.unroll: tuple[int, ...] = ()
        self.roles: dict[str, str] = {}
        self.entered: set[ast.AST] = set()
        """Functions that were run from somewhere."""
        self.cut: set[tuple[int, str]] = set()
        self.catching: list[list[World]] = []
        """Where exceptions that leave a function go: innermost `try` last."""
        self.barren: set[ast.AST] = set()
        """Functions that were run at length and met nothing of the protocol."""
        self.idle: dict[ast.AST, int] = {}
        self.points: set[tuple[Any, ...]] = set()
        """Events by kind, place and state, whatever the objects."""
        self.stale: dict[ast.AST, int] = {}
        """How often in a row a function was run and showed nothing that was not known."""
        self.acts = 0
        """Protocol events met so far, told or not."""
        self.work = 0
        """Expressions evaluated, in each world."""
        self.halved = False
        """Something became FP16: what calls of models do with dtypes matters, graph or no graph."""
        self.followed: set[ast.AST] = set()
        """Forwards in which FP16 is in play: their loops are run too."""
        self.handlers: dict[ast.AST, Any] = {}
        """Generators that are being run, each with what it hands over to, and where that stands."""
        for last, methods in program.uses.items():
            role = program.role(last, methods)
            if role is not None and not (role == "optimizer" and program.step_clears):
                self.roles[last] = role

    # -- the other parts --

    def evaluate(self, node: ast.expr, world: World) -> Value:
        """The value of an expression; raises `Split` or `Dead`."""
        raise NotImplementedError

    def call_value(
        self,
        world: World,
        callee: Value,
        args: list[Value],
        keywords: dict[str, Value],
        node: ast.AST,
        wild: bool = False,
    ) -> Value:
        """Call a value."""
        raise NotImplementedError

    def block(self, body: list[ast.stmt], worlds: list[World], out: Out) -> list[World]:
        """Run statements in worlds."""
        raise NotImplementedError

    def get_attribute(self, world: World, base: Value, name: str, node: ast.AST) -> Value:
        """Read an attribute."""
        raise NotImplementedError

    def known_items(self, world: World, value: Value) -> list[Value] | None:
        """The elements of a sequence that is known whole, or None."""
        raise NotImplementedError

    def assign(self, target: ast.expr, value: Value, world: World) -> None:
        """Bind a target."""
        raise NotImplementedError

    def spent(self) -> bool:
        """Whether the whole budget, in statements or in expressions, is used up."""
        return self.steps > self.budget or self.work > WORK

    # -- naming --

    def context(self, ctx: int, step: Any) -> int:
        """The call context `step` below `ctx`."""
        key = (ctx, step)
        found = self.contexts.get(key)
        if found is None:
            found = self.contexts[key] = len(self.contexts) + 1
        return found

    def oid(self, world: World, kind: str, node: ast.AST) -> tuple[Any, ...]:
        """The name of an object made at `node`."""
        return (kind, id(node), world.ctx, *self.unroll)

    def fresh(
        self, world: World, node: ast.AST, flow: Flow | None = None, what: str = "", of: Any = ()
    ) -> Term:
        """The symbol of a program point, evaluated anew; `of` an object, if it stands for a part of it."""
        symbol = term("fresh", what, id(node), world.ctx, (*self.unroll, *of), flow=flow)
        if world.pc or world.bind:
            world.forget(symbol)
            # A statement that split starts again: what the split decided holds in this evaluation too.
            for test, outcome in world.memo.get("split", ()):
                if symbol in test.deps:
                    world.assume(test, outcome)
        if world.attrs:
            for key in [key for key in world.attrs if key[0] is symbol]:
                del world.attrs[key]
        return symbol

    def why(self, world: World, node: ast.AST, reason: str) -> None:
        """Note for `--why` that something became unknown here."""
        key = (id(node), reason)
        if key not in self.cut and hasattr(node, "lineno"):
            self.cut.add(key)
            self.module_of(world, node).file.why(node, reason)

    def bound(self, world: World, node: ast.AST, reason: str) -> None:
        """Note that a bound was met here."""
        key = (id(node), reason)
        if key not in self.cut:
            self.cut.add(key)
            file = self.module_of(world, node).file
            self.story.bounds.append((node, file, reason))
            if hasattr(node, "lineno"):
                file.why(node, reason)

    def module_of(self, world: World, node: ast.AST) -> Module:
        """The file that a statement stands in, where a world may be in another one at the time."""
        module: Module = world.module
        if isinstance(node, ast.stmt) and not module.holds(node):
            return next((other for other in self.program.modules.values() if other.holds(node)), module)
        return module

    # -- forking inside expressions --

    def fork_on(self, world: World, test: Value) -> NoReturn:
        """Restart the statement with the test decided both ways."""
        other = world.fork()
        worlds = []
        for each, outcome in ((world, True), (other, False)):
            if each.assume(test, outcome):
                each.memo["split"] = (*each.memo.get("split", ()), (test, outcome))
                worlds.append(each)
        raise Split(worlds)

    def decide(self, world: World, value: Value) -> Value:
        """The value with all choices made; forks where it must, and drops impossible arms."""
        value = world.resolve(value)
        while type(value) is Term and value.op == "ite":
            condition, yes, no = value.args
            left = self.possible(world, yes)
            if left and self.possible(world, no):
                self.fork_on(world, condition)
            if not world.assume(condition, left):
                raise Dead
            value = world.resolve(yes if left else no)
        return value

    def possible(self, world: World, value: Value) -> bool:
        """False for what cannot be used as an object: None, unbound."""
        value = world.resolve(value)
        if type(value) is Term and value.op == "ite":
            return self.possible(world, value.args[1]) or self.possible(world, value.args[2])
        return not (type(value) is Const and (value.value is None or value.value is NotImplemented))

    def object(self, world: World, value: Value) -> Obj | None:
        """The heap object that a value surely is, through refinements."""
        value = world.resolve(value)
        if type(value) is Term:
            value = world.bind.get(value, value)
        if type(value) is Ref:
            return world.heap.get(value.oid)
        return None

    def as_ref(self, world: World, value: Value) -> Value:
        """The reference that a refined term stands for, else the value."""
        value = world.resolve(value)
        if type(value) is Term:
            return world.bind.get(value, value)
        return value

    def of_gradients(self, world: World, value: Value) -> bool:
        """Whether a value is a gradient, or was computed from some."""
        kind = type(value)
        if kind is Term:
            return bool(value.gradient)
        if kind is Cells:
            return bool(value.what == "grad")
        if kind is Tup:
            return any(self.of_gradients(world, item) for item in value.items)
        if kind is Ref:
            obj = world.heap.get(value.oid)
            return isinstance(obj, ListObj) and any(self.of_gradients(world, item) for item in obj.items[:8])
        return False

    def carry(self, world: World, value: Value, given: list[Value]) -> Value:
        """What a call of unknown effect on numbers makes of gradients comes from gradients too."""
        if type(value) is not Term or value.gradient:
            return value
        parts = sum(self.of_gradients(world, each) for each in given)
        if not parts:
            return value
        # Two of them together are not in proportion to the scale of either.
        return term("grad-part" if parts == 1 else "grad-derived", value, flow=value.flow)

    # -- refinement by use --

    def refine(
        self, world: World, value: Value, role: str, node: ast.AST, name: str, cells: Cells | None = None
    ) -> Ref | None:
        """Make an unknown term a scaler, an optimizer or a module."""
        value = world.resolve(value)
        if type(value) is Ref:
            return value
        if type(value) is not Term or value.op in ("ite", "not", "and", "or", "is", "eq", "lt", "in"):
            return None
        known = world.bind.get(value)
        if known is not None:
            return known if type(known) is Ref else None
        oid = ("assumed", role, value)
        obj: Obj
        if role == "scaler":
            obj = Scaler(node, world.module, name, term("attr", value, "_enabled"), assumed=True)
        elif role == "optimizer":
            wide = Cells(frozenset(), wide=True) if cells is None else cells
            obj = Optimizer(node, world.module, wide, "", name, assumed=True)
            origin = root(value)
            if type(origin) is Term and origin.op == "fresh" and origin.args[0] == PREPARED:
                obj.tainted = "!a framework"
        else:
            obj = Model(node, world.module, None, name)
            obj.assumed = True
            obj.made = "assumed"
            obj.hidden = True
        ref = world.put(oid, obj)
        world.bind[value] = ref
        # Used as an object, it is there.
        world.pc.pop(value, None)
        return ref

    def refine_by_name(self, world: World, value: Value, name: str, node: ast.AST) -> Value:
        """A value stored or read under a name that the program uses as a scaler or optimizer."""
        role = self.roles.get(name.rpartition(".")[2])
        if role is None or type(value) is not Term:
            return value
        resolved = world.resolve(value)
        if type(resolved) is Term and resolved.op in ("param", "global", "fresh", "attr", "item", "join"):
            if resolved not in world.bind and world.truth(term("is", resolved, NONE)) is not True:
                ref = self.refine(world, resolved, role, node, name)
                if ref is not None and resolved.op == "attr" and isinstance(world.get(ref), Optimizer):
                    # `args.optimizer` may as well be a string: it counts once it is used as one.
                    world.edit(ref).extra["weak"] = True
        return value

    # -- telling --

    def thing(self, world: World, value: Value, kind: str = "unknown") -> Thing:
        """What the story says of a value."""
        value = self.as_ref(world, value)
        if type(value) is Ref:
            obj = world.heap.get(value.oid)
            if obj is not None:
                facts: dict[str, Any] = {}
                if isinstance(obj, Scaler):
                    facts["enabled"] = self.enabled(world, obj.enabled)
                elif isinstance(obj, Optimizer):
                    facts["cls"] = obj.cls
                    facts["fused"] = obj.fused
                elif isinstance(obj, Model):
                    facts["dtype"] = obj.dtype
                    facts["trainable"] = obj.trainable
                    facts["cls"] = getattr(getattr(obj.cls, "node", None), "name", None) or getattr(
                        obj.cls, "name", None
                    )
                file = obj.module.file if obj.module is not None else None
                return Thing(obj.kind, value.oid, obj.name, obj.node, file, assumed=obj.assumed, facts=facts)
        if type(value) is Cells:
            return Thing("parameters", value, value.what, None, None)
        return Thing(kind, value, show(value)[:60], None, None)

    def tell(
        self,
        world: World,
        cls: type[Event],
        node: ast.AST,
        *,
        scaler: Value = None,
        optimizer: Value = None,
        things: tuple[Value, ...] = (),
        state: str = "unknown",
        **what: Any,
    ) -> Event:
        """Tell an event, once for each point, objects and state; returns the told one."""
        if cls not in QUIET:
            self.acts += 1
        self.points.add((cls, id(node), state))
        ids = tuple(value.oid if type(value) is Ref else value for value in things)
        auto = self.precision(world)
        key = (cls, id(node), scaler, optimizer, ids, state, auto[0], tuple(sorted(map(str, what.items()))))
        event = self.told.get(key)
        if event is None:
            event = cls(
                node,
                world.module.file,
                scaler=self.thing(world, scaler, "scaler") if scaler is not None else None,
                optimizer=self.thing(world, optimizer, "optimizer") if optimizer is not None else None,
                things=tuple(self.thing(world, value) for value in things),
                state=state,
                what=what,
            )
            event.guards = tuple(
                Guard(show(test), outcome) for test, outcome in world.pc.items() if test.op != "or"
            )
            event.loops = world.loops
            event.stack = tuple((site, module.file) for site, module, _ in world.stack)
            enabled = world.truth(auto[1])
            if auto[0] != "none":
                event.autocast = auto[0] if enabled else ("off" if enabled is False else "unknown")
            contexts = autocast_stack(world)
            event.autocast_node = contexts[-1].node if contexts else None
            self.told[key] = event
            self.story.tell(event)
        self.arrive(world, event)
        return event

    def arrive(self, world: World, point: Event | Head) -> None:
        """The paths of this world come to an event, or to a loop's head."""
        before: set[Event | None] = set()
        for last in world.last:
            if type(last) is Head:
                last.next.add(point)
                before |= last.last
            else:
                before.add(last)
        self.link(before, point)
        world.last = frozenset((point,))

    def link(self, before: set[Event | None], point: Event | Head) -> None:
        """These events come directly before the point; None is the start of the program."""
        if isinstance(point, Head):
            fresh = before - point.last
            if fresh:
                point.last |= fresh
                for after in point.next:
                    self.link(fresh, after)
            return
        if None in before:
            self.story.starts.add(point)
        point.previous.update(event for event in before if event is not None)

    # -- precision --

    def enabled(self, world: World, value: Value) -> bool | None:
        """Whether an `enabled=` value is true; not given means true."""
        if value is None:
            return True
        return world.truth(test_of(value))

    def precision(self, world: World) -> tuple[str, Value]:
        """The autocast in force: (dtype, test under which it is)."""
        contexts = autocast_stack(world)
        if not contexts:
            return ("none", TRUE)
        return self.auto_precision(world, contexts[-1])

    def precision_inside(self, world: World) -> tuple[str, Value]:
        """The autocast that a module of unknown class computes in: under none it may enter its own."""
        if not world.auto or self.program.mutes:
            return ("maybe", TRUE)
        return self.precision(world)

    def auto_precision(self, world: World, auto: Auto) -> tuple[str, Value]:
        """What one autocast context means: (dtype, test)."""
        enabled = TRUE if auto.enabled is None else test_of(auto.enabled)
        if world.truth(enabled) is False:
            return ("none", TRUE)
        return (self.dtype_of_auto(world, auto), enabled)

    def dtype_of_auto(self, world: World, auto: Auto) -> str:
        """ "float16", "bfloat16", "float32" or "unknown"."""
        if auto.dtype is not None and auto.dtype != NONE:
            return self.dtype_name(world, auto.dtype) or "unknown"
        device = self.device_name(world, auto.device)
        if device == "cuda":
            return "float16"
        if device == "cpu":
            return "bfloat16"
        return "unknown"

    def dtype_name(self, world: World, value: Value) -> str | None:
        """The dtype that a value names, without the `torch.`."""
        value = world.resolve(value)
        if type(value) is Lib:
            name = value.name.rpartition(".")[2]
            return {"half": "float16", "float": "float32", "double": "float64"}.get(name, name)
        if type(value) is Const and type(value.value) is str:
            name = value.value.rpartition(".")[2]
            return {"half": "float16", "fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}.get(
                name, name
            )
        if type(value) is Term and value.op == "ite":
            yes = self.dtype_name(world, value.args[1])
            return yes if yes == self.dtype_name(world, value.args[2]) else None
        if type(value) is Term and value.op == "attr" and value.args[1] == "dtype":
            base = value.args[0]
            while True:
                obj = self.object(world, base)
                if isinstance(obj, Model):
                    known = obj.dtype
                    return known if type(known) is str else None
                if type(base) is Term and base.flow is not None and base.flow.dtype is not None:
                    return base.flow.dtype
                if type(base) is not Term or base.op not in ("attr", "item"):
                    return None
                base = base.args[0]
        return None

    def dtype_choice(self, world: World, value: Value) -> Any:
        """The dtype that a value names, or the term of dtypes that a test chooses from; None unknown."""
        value = world.resolve(value)
        if type(value) is not Term or value.op != "ite":
            return self.dtype_name(world, value)
        yes, no = (self.dtype_choice(world, arm) for arm in value.args[1:])
        if yes == no or "float16" not in (yes, no):
            return yes if yes == no else None
        return ite(value.args[0], *(Const(arm) if type(arm) is str else NONE for arm in (yes, no)))

    def device_name(self, world: World, value: Value) -> str | None:
        """`cuda` if the device is, or can be, CUDA; `cpu`, `mps`, ... if it surely is; None unknown."""
        if value is None:
            return None
        value = world.resolve(value)
        if type(value) is Const and type(value.value) is str:
            return value.value.partition(":")[0]
        if type(value) is Const and type(value.value) is int:
            return "cuda"
        if type(value) is Term:
            if value.op == "ite":
                arms = {self.device_name(world, value.args[1]), self.device_name(world, value.args[2])}
                if "cuda" in arms:
                    return "cuda"
                return arms.pop() if len(arms) == 1 else None
            if value.op == "device":
                return self.device_name(world, value.args[0])
            if value.op == "attr" and value.args[1] == "type":
                return self.device_name(world, value.args[0])
        return None

    def joiner(self, node: ast.AST | None, world: World) -> Joiner:
        """A joiner for a program point."""
        return Joiner(node, world.ctx)


def name_of(node: ast.AST) -> str:
    """The user's own name of what an expression denotes, or ""."""
    return dotted(node)


__all__ = [
    "ACTIVATION",
    "DEPTH",
    "FALSE",
    "ROUNDS",
    "Base",
    "Dead",
    "Module",
    "Multi",
    "Out",
    "Split",
    "name_of",
]
