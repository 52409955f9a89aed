"""What happened: the story of a program, as the abstract machine tells it.

A story is a list of events, each told once for each program point, object and state before it, and
of *faults*. A fault is a suspicious event together with the event that makes it real: a clip is
wrong when a `scaler.step` of its optimizer follows, `unscale_` before the backward when a backward
follows. The machine keeps suspicions in the states of its objects and drops them at the clearing
event, so that a rule is a query:

    class ClipBeforeUnscale(Rule):
        def check(self, story: Story) -> Iterator[Finding]:
            for fault in story.faults("clip-before-unscale"):
                yield self.finding(
                    fault.place,
                    f"gradients of `{fault.optimizer}` are clipped while they are still scaled",
                    related=fault.related,
                    confidence=fault.confidence,
                )

A third party's order rule asks the graph of events (`event.previous`, `story.reaches`) instead.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeVar

from ...rule import Confidence, Place, Related

if TYPE_CHECKING:
    from ...file import File


class Guard(NamedTuple):
    """A test that a path took, as its source text or a rendering of it, and its outcome."""

    text: str
    outcome: bool

    def __str__(self) -> str:
        return self.text if self.outcome else f"not ({self.text})"


class Thing:
    """An abstract object as the story tells of it.

    `kind` is `scaler`, `optimizer`, `module`, `parameters`, `tensor`, `autocast`, `iterator`,
    `framework`, `scheduler` or `unknown`. `name` is the user's own expression (`self.scaler`), the
    last by which the object was used at the event; "" when it has none. `node` and `file` say where
    it was created, or first used as what it is (`assumed`: it was refined by use, not created in
    sight). Things are equal when they are the same abstract object.
    """

    __slots__ = ("assumed", "facts", "file", "id", "kind", "name", "node")

    def __init__(
        self,
        kind: str,
        id: object,
        name: str,
        node: ast.AST | None,
        file: File | None,
        *,
        assumed: bool = False,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.id = id
        self.name = name
        self.node = node
        self.file = file
        self.assumed = assumed
        self.facts = facts or {}
        """What is known: for a scaler `enabled` (True, False, None unknown); for an optimizer `cls`, `fused`;
        for a module `cls`, `dtype`, `device`, `trainable`; see the models."""

    @property
    def place(self) -> Place | None:
        """Where it was created."""
        return self.file.place(self.node) if self.file is not None and self.node is not None else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.name or self.kind

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r}>"


class Event:
    """Something that happened at `node` of `file` on at least one feasible path.

    `guards` are the tests that the first such path took, `loops` the loop statements it was in
    (outermost first, through calls), `stack` the call nodes that led here (outermost first) with
    their files, `autocast` the precision in force: None (no autocast), "float16", "bfloat16",
    "off" (an inner `enabled=False`), or "unknown". `state` is the state of the main object before
    the event: for scaler and optimizer events one of `none`, `never`, `plain`, `scaled`, `unscaled`,
    `mixed`, `stepped`, `unknown`.
    """

    kind: ClassVar[str] = "event"
    __slots__ = (
        "autocast",
        "autocast_node",
        "file",
        "guards",
        "loops",
        "node",
        "optimizer",
        "previous",
        "scaler",
        "stack",
        "state",
        "things",
        "what",
    )

    def __init__(
        self,
        node: ast.AST,
        file: File,
        *,
        scaler: Thing | None = None,
        optimizer: Thing | None = None,
        things: tuple[Thing, ...] = (),
        state: str = "unknown",
        what: dict[str, Any] | None = None,
    ) -> None:
        self.node = node
        self.file = file
        self.scaler = scaler
        self.optimizer = optimizer
        self.things = things
        self.state = state
        self.what = what or {}
        self.guards: tuple[Guard, ...] = ()
        self.loops: tuple[ast.AST, ...] = ()
        self.stack: tuple[tuple[ast.AST, File], ...] = ()
        self.autocast: str | None = None
        self.autocast_node: ast.AST | None = None
        self.previous: set[Event] = set()
        """The events that came directly before it, each on some path."""

    @property
    def place(self) -> Place:
        """Where it happened."""
        return self.file.place(self.node)

    def __repr__(self) -> str:
        return f"<{self.kind} line {getattr(self.node, 'lineno', '?')} {self.state} {self.what}>"


E = TypeVar("E", bound=Event)


class ScalerCreated(Event):
    """A gradient scaler is constructed (`scaler`). `what["enabled"]`: True, False or None (a term)."""

    kind = "scaler-created"
    __slots__ = ()


class OptimizerCreated(Event):
    """An optimizer is constructed. `things`: the modules whose parameters it got; `what["made"]`."""

    kind = "optimizer-created"
    __slots__ = ()


class Scale(Event):
    """`scaler.scale(loss)`. `what["discarded"]`: its value is an expression statement."""

    kind = "scale"
    __slots__ = ()


class Backward(Event):
    """A backward pass. `things`: the modules that the loss came through; `scaler`: by which it was scaled.

    `state`: `plain`, `scaled`, `mixed` or `unknown` (of the loss). `what["precision"]`: the precision of
    the forwards (None, "float16", "bfloat16", "unknown"), `what["divided"]`, `what["loss"]` (its text).
    """

    kind = "backward"
    __slots__ = ()


class Unscale(Event):
    """`scaler.unscale_(optimizer)`; `state`: of its gradients before."""

    kind = "unscale"
    __slots__ = ()


class Clip(Event):
    """A clip. `what["how"]`: `norm`, `value`, `clamp`; `what["measures"]`: max_norm is None or inf."""

    kind = "clip"
    __slots__ = ()


class GradEdit(Event):
    """`.grad` is changed. `what["linear"]`, `what["cleared"]`."""

    kind = "grad-edit"
    __slots__ = ()


class ScalerStep(Event):
    """`scaler.step(optimizer)`. `what["closure"]`: None, `keyword` or `positional`."""

    kind = "scaler-step"
    __slots__ = ()


class OptimizerStep(Event):
    """`optimizer.step()`, outside the scaler."""

    kind = "optimizer-step"
    __slots__ = ()


class Update(Event):
    """`scaler.update()`."""

    kind = "update"
    __slots__ = ()


class ZeroGrad(Event):
    """Gradients are cleared: of `optimizer`, or of the modules in `things`."""

    kind = "zero-grad"
    __slots__ = ()


class AutocastEnter(Event):
    """An autocast region starts. `what["dtype"]`: "float16", "bfloat16", "off", "unknown"; `what["how"]`."""

    kind = "autocast-enter"
    __slots__ = ()


class Forward(Event):
    """A module (`things[0]`) is called; `what["inputs"]`: what is known of the tensors (dtype, device)."""

    kind = "forward"
    __slots__ = ()


class Freeze(Event):
    """`requires_grad` of modules or parameters (`things`) is set to `what["value"]` (True, False, None).

    `what["partial"]`: under a test of the parameter's name or kind; `what["names"]`: literals tested.
    """

    kind = "freeze"
    __slots__ = ()


class Cast(Event):
    """A module, parameter or tensor changes dtype: `what["dtype"]`."""

    kind = "cast"
    __slots__ = ()


class Move(Event):
    """A module, parameter or tensor changes device: `what["device"]` (text or None)."""

    kind = "move"
    __slots__ = ()


class Inject(Event):
    """A module is put into another: `things = (owner, child)`, `what["name"]`.

    `what["how"]`: `setattr`, `add_module`, `assign`, `attribute` (kept beside, forward untouched),
    `forward` (patched), `hook`, `peft`.
    """

    kind = "inject"
    __slots__ = ()


class Register(Event):
    """A parameter or buffer is registered: `what["how"]`."""

    kind = "register"
    __slots__ = ()


class Collect(Event):
    """Parameters are collected in a container: `things`; `what["filtered"]`."""

    kind = "collect"
    __slots__ = ()


class HookSet(Event):
    """A hook is set or a forward patched; `what["function"]`: the ast node of the function if seen."""

    kind = "hook-set"
    __slots__ = ()


class IteratorUse(Event):
    """A one-shot iterator is consumed. `state`: `fresh` or `spent`; `what["by"]`, `what["spent_at"]`."""

    kind = "iterator-use"
    __slots__ = ()


class Checkpointing(Event):
    """Activation checkpointing: `what["reentrant"]` True, False, None; `what["how"]`."""

    kind = "checkpointing"
    __slots__ = ()


class Save(Event):
    """State is saved: `what["of"]` the kinds whose state_dict is in it (`scaler`, `optimizer`, `module`)."""

    kind = "save"
    __slots__ = ()


class Load(Event):
    """State is restored: `what["of"]` the kind (`scaler`, `optimizer`, `module`)."""

    kind = "load"
    __slots__ = ()


class FrameworkUse(Event):
    """A framework takes objects in (`prepare`, a Trainer): `what["framework"]`, `things`."""

    kind = "framework"
    __slots__ = ()


class LibraryCall(Event):
    """A library call that a model wants to tell of: `what["name"]` its qualified name, `what["args"]`."""

    kind = "library-call"
    __slots__ = ()


class Fault(NamedTuple):
    """A suspicious event and the event that made it real.

    `kind` is the name of the rule that speaks of it (`clip-before-unscale`), `variant` which of its
    forms. `steps` are the other places of the fault in the order of the run, with what happens there.
    `names` has the user's own names of the objects (`scaler`, `optimizer`, `parameters`, `loss`,
    `model`), "" for one without a name. `data` holds what a fix wants (the nodes by role:
    `scale`, `backward`, `clip`, `unscale`, `step`, `update`, `zero_grad`, `scaler`, `optimizer`, `cast`).
    """

    kind: str
    at: Event
    confirmed: Event
    steps: tuple[tuple[ast.AST, File, str], ...]
    names: dict[str, str]
    variant: str = ""
    confidence: Confidence = Confidence.HIGH
    data: Mapping[str, tuple[ast.AST, File]] = MappingProxyType({})
    guards: tuple[Guard, ...] = ()

    @property
    def node(self) -> ast.AST:
        """The node of the finding."""
        return self.at.node

    @property
    def file(self) -> File:
        """The file of the finding (it may be another file of the program)."""
        return self.at.file

    @property
    def place(self) -> Place:
        """Where the finding stands."""
        return self.at.place

    @property
    def related(self) -> tuple[Related, ...]:
        """The other places, each with what happens there."""
        return tuple(Related(file.place(node), role) for node, file, role in self.steps)

    @property
    def scaler(self) -> str:
        """The user's name of the scaler, or "the scaler"."""
        return self.names.get("scaler") or "the scaler"

    @property
    def optimizer(self) -> str:
        """The user's name of the optimizer, or "the optimizer"."""
        return self.names.get("optimizer") or "the optimizer"

    def name(self, role: str, default: str = "") -> str:
        """The user's name of an object of the fault."""
        return self.names.get(role) or default


class Counts(NamedTuple):
    """What the run cost and where it was cut, for `-v`."""

    steps: int
    worlds: int
    entries: int
    bounds: int
    protocol: int


class Story:
    """The story of the program to which a file belongs; `None` where a file holds nothing relevant."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.events: list[Event] = []
        self.bounds: list[tuple[ast.AST, File, str]] = []
        """Where a bound was met: the place and what was joined or given up there."""
        self.starts: set[Event] = set()
        """The events before which nothing happened on some path."""
        self.counts = Counts(0, 0, 0, 0, 0)
        self._faults: dict[tuple[Any, ...], Fault] = {}

    @classmethod
    def of(cls, file: File) -> Self | None:
        """The story of `file`'s program, or None when nothing in it concerns training."""
        from .programs import tell

        return tell(file, cls)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def tell(self, event: Event) -> None:
        """Add an event (the machine's models do this)."""
        self.events.append(event)

    def find(self, *kinds: type[E]) -> Iterator[E]:
        """The events of the given classes, in the order in which they were first reached."""
        for event in self.events:
            if isinstance(event, kinds):
                yield event

    def faults(self, *kinds: str) -> list[Fault]:
        """The confirmed faults of the given kinds, in the order in which they were found."""
        return [fault for fault in self._faults.values() if fault.kind in kinds]

    def all_faults(self) -> Iterable[Fault]:
        """Every confirmed fault."""
        return self._faults.values()

    def reaches(self, first: Event, last: Event, avoiding: tuple[type[Event], ...] = ()) -> bool:
        """Whether some path leads from `first` to `last` with no event of `avoiding` in between."""
        seen: set[Event] = set()
        todo = list(last.previous)
        while todo:
            event = todo.pop()
            if event is first:
                return True
            if event in seen or isinstance(event, avoiding):
                continue
            seen.add(event)
            todo += event.previous
        return False

    def trace(self, nodes: Iterable[tuple[type[Event], int]]) -> bool:
        """Whether a run that met these events (class, line of the file) in order is one of the paths."""
        here: set[Event] | None = None
        for cls, line in nodes:
            found = {
                event
                for event in self.events
                if isinstance(event, cls)
                and getattr(event.node, "lineno", 0) == line
                and (here is None or self._follows(event, here, cls))
            }
            if not found:
                return False
            here = found
        return True

    def _follows(self, event: Event, here: set[Event], cls: type[Event]) -> bool:
        told = (Backward, Unscale, Clip, ScalerStep, OptimizerStep, Update, ZeroGrad)
        seen: set[Event] = set()
        todo = list(event.previous)
        while todo:
            before = todo.pop()
            if before in here:
                return True
            if before in seen or isinstance(before, told):
                continue
            seen.add(before)
            todo += before.previous
        return False

    @property
    def has_scaler(self) -> bool:
        """Whether any path has a scaler."""
        return any(event.scaler is not None for event in self.events)

    @property
    def trains(self) -> bool:
        """Whether any path steps an optimizer after a backward."""
        return any(isinstance(event, ScalerStep | OptimizerStep) for event in self.events)
