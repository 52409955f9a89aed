"""What the interpreter knows at a moment: path, time, events, the state of cells, tests."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import effects, families, tensors
from .events import Event, Guard, compatible
from .repeats import Repeats
from .slicing import Slices
from .toplevel import Group
from .values import (
    Bound,
    Cell,
    Class,
    Const,
    Device,
    Dict,
    Dim,
    Func,
    Lib,
    Mod,
    Obj,
    Param,
    Scope,
    Seq,
    Site,
    Test,
    Thing,
    Union,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from ...file import File

STEPS = 45_000
"""Statements and expressions of one entry."""
FILES = 40
"""Files of the project that one program runs."""
METHOD = 6_000
"""Steps of a method, or a construction, that nobody was seen to call: a library's class, not a program."""
TOTAL = 60_000
"""The same of all entries of a file that is a program: its top level does something."""
LIBRARY = 16_000
"""The same of a file whose top level does nothing: a library, in which nobody is seen to call anything."""
PART, PARTS = 3_000, 8_000
"""`METHOD` and `LIBRARY` where no program starts: only what rules can speak of is run at all."""
DEPTH = 14
UNROLL = 8
BUILTINS = frozenset(dir(builtins))
PROVEN = frozenset({"factory", "moved", "batch", "input-derived", "output", "loss"})
"""Where a value that is surely a tensor can come from."""
LATER = frozenset(
    [
        "clash",
        "promote",
        "forward",
        "backward",
        "step",
        "work",
        "wait",
        "clock",
        "discard",
        "moved",
        "use",
        "attribute",
        "checkpoint",
    ]
)
_TRUE = (Thing, Func, Class, Lib, Bound, Device, Dim)
_PLAIN = (Const, Lib, Device)
Resolve = Callable[["File", str, int], "File | None"]
Find = Callable[["File", str, int], "Callable[[], File | None] | None"]
"""As `Resolve`, but gives what reads and parses the file, or None where there is none."""


class Super(Value):
    """`super()` inside a method of `cls`, for `receiver`."""

    __slots__ = ("cls", "receiver")

    def __init__(self, cls: Class, receiver: Value) -> None:
        self.cls = cls
        self.receiver = receiver


class Partial(Value):
    """`functools.partial(function, ...)`."""

    __slots__ = ("args", "function", "kwargs")

    def __init__(self, function: Value, args: list[Value], kwargs: dict[str, Value]) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs


class Cond:
    """A test as a tree: `op` is `and`, `or`, `not` or `atom`."""

    __slots__ = ("node", "op", "parts", "value")

    def __init__(self, op: str, parts: list[Cond], value: Value | None, node: ast.expr | ast.pattern) -> None:
        self.op = op
        self.parts = parts
        self.value = value
        self.node = node


class Frame(NamedTuple):
    """A call that is being followed."""

    function: Func
    returns: list[Value]
    yields: list[Value]
    given: frozenset[int] = frozenset()
    """The models that it is given, or parts of (ids)."""


class Stop(Exception):
    """The budget of steps is spent."""


class ModuleValue(Value):
    """A file of the program as an imported module."""

    __slots__ = ("file",)

    def __init__(self, file: File) -> None:
        self.file = file


class Imported(Value):
    """A name that is imported from another file of the program and was not needed yet."""

    __slots__ = ("dotted", "level", "load", "name", "where")

    def __init__(
        self, load: Callable[[], File | None], name: str, where: File, dotted: str, level: int
    ) -> None:
        self.load = load
        """Reads and parses the file, which costs more than running it: most imports are never needed."""
        self.name = name
        self.where = where
        self.dotted = dotted
        self.level = level


class Pending(Value):
    """A name of an imported file whose statements did not run yet: see `toplevel`.

    All names of a group of statements share one; `found` is what they were bound to, once it has run.
    """

    __slots__ = ("found", "group", "scope")

    def __init__(self, scope: Scope, group: Group) -> None:
        self.scope = scope
        self.group = group
        self.found: dict[str, Value] | None = None


LATE = (Imported, Pending)
"""What stands for a name until it is needed."""


class Core:
    """The state of a run. See the module docstring."""

    def __init__(self, resolve: Resolve | None = None, find: Find | None = None) -> None:
        self.resolve = resolve
        self.find = find
        self.events: list[Event] = []
        self.time = 0
        self.effects = 0
        """How much has happened: it stands still while a call does nothing but work things out."""
        self.steps = 0
        self.limit = STEPS
        self.guards: list[Guard] = []
        self.loops: list[ast.AST] = []
        self.stack: list[Site] = []
        self.frames: list[Frame] = []
        self.autocast: list[tuple[bool | None, str | None]] = []
        self.no_grad = 0
        self.shared: set[Mod] = set()
        """Globals that some function of their file moves."""
        self.scattered: set[Mod] = set()
        """Modules that are wrapped by what moves their inputs for them."""
        self.unsure = 0
        """Above zero while one of several values is called, of which a path takes one."""
        self.quiet = 0
        """Above zero while something runs out of its time (a hook when it is registered): what it
        does to tensors then is not what it will do."""
        self.building: list[Value] = []
        self.slices = Slices(find)
        self.repeats = Repeats()
        self.asked: set[str] = set()
        """The terms whose truth was asked for since the innermost call began that may be repeated."""
        self.modules: dict[int, Scope] = {}
        self.main: File | None = None
        self.passive = False
        """Whether no program starts in `main`: then of other files only what makes modules is followed."""
        self.refined: dict[str, Mod] = {}
        self.converted: dict[str, tuple[str, list[Value], dict[str, Value], Site]] = {}
        """What `to` and its kin were called with on unknowns, should they turn out to be modules."""
        self.parts: dict[tuple[int, str], Value] = {}
        self.called: set[ast.AST] = set()
        self.built: set[ast.AST] = set()
        self.listed: dict[int, Event] = {}
        """Containers that are attributes of modules, by identity."""
        self.forwarded: set[Mod] = set()
        """Modules whose own forward has run."""
        self.forcing = False
        """Whether forwards run that nobody was seen to call."""
        self.reached: set[Mod] = set()
        """Modules whose forward the program itself calls, or one that it may call."""
        self.classes: list[Class] = []
        self.applied: set[tuple[int, str | None]] = set()
        self.program = 0
        self.parents: dict[int, int] = {}
        """The program in which the object was made whose method a program is."""
        self.live: set[Cell] = set()
        """Layers and parameters whose results were added to something with their gradients."""
        self.denials = 0
        """How many tests found that nothing of a class of the program is in a model."""
        self.default_device = False
        self.default_dtype = "float32"
        self.counter = 0
        self.memo: dict[ast.AST, Value] = {}

    def tick(self) -> int:
        """The next moment, at which something happens to a module, parameter or tensor."""
        self.time += 1
        self.effects += 1
        return self.time

    def emit(self, kind: str, site: Site, **fields: Any) -> Event:
        """Note that something happens now."""
        event = Event(kind, site, **fields)
        event.time = self.tick()
        event.guards = tuple(self.guards) + passed(event)
        event.loops = tuple(self.loops)
        event.stack = tuple(self.stack)
        event.autocast = self.in_autocast()
        event.grad = not self.no_grad
        event.program = self.program
        event.given = tuple(frame.given for frame in self.frames)
        event.inside = any(isinstance(frame.function.receiver, Mod) for frame in self.frames)
        if not self.quiet or kind not in LATER:
            self.events.append(event)
        return event

    def in_autocast(self) -> bool | None:
        """Whether autocast is in force; None where that is unknown."""
        return self.autocast[-1][0] if self.autocast else False

    def latest(self, cell: Cell, kind: str, since: int = 0) -> tuple[int, Any, Cell] | None:
        """The last thing of `kind` that happened to `cell`, or to what holds it, on this path:
        when, what, and to which of them.
        """
        best: tuple[int, Any, Cell] | None = None
        here = tuple(self.guards)
        # Holders form a graph with many ways up: each is looked at again only for an earlier time.
        seen: dict[Cell, int] = {}
        todo = [(cell, since)]
        while todo:
            holder, start = todo.pop()
            if seen.get(holder, start + 1) <= start:
                continue
            seen[holder] = start
            for time, what, value, guards in reversed(holder.history):
                if what == kind and time >= start and compatible(guards, here):
                    if best is None or time > best[0]:
                        best = (time, value, holder)
                    break
            todo.extend((above, max(start, joined)) for above, joined in holder.holders)
        return best

    def match(self, depth: int, scope: Scope) -> None:
        """Note the tests of names that were taken since there were `depth` of them."""
        for guard in self.guards[depth:]:
            value = guard.value
            if guard.outcome and isinstance(value, Unknown) and value.name_of is not None and value.strings:
                self.emit("match", Site(guard.node, scope.file), target=value.name_of, value=value)

    def guards_fit(self, guards: tuple[Guard, ...]) -> bool:
        """Whether this path can have taken `guards`."""
        return compatible(guards, tuple(self.guards))

    def set(self, cell: Cell, kind: str, value: Any) -> None:
        """Something of `kind` happens to `cell` now."""
        cell.history.append((self.tick(), kind, value, tuple(self.guards)))

    def dtype_of(self, cell: Cell) -> str | None:
        """The dtype of a module's floating parameters, or of a parameter, now."""
        found = self.latest(cell, "dtype")
        return found[1] if found else None

    def device_of(self, cell: Cell) -> Device | None:
        """The device of a module or parameter now."""
        found = self.latest(cell, "device")
        return found[1] if found else None

    def site(self, node: ast.AST, scope: Scope) -> Site:
        """Where `node` stands."""
        return Site(node, scope.file)

    def fresh(self, hint: str, node: ast.AST) -> Unknown:
        """An unknown of its own."""
        self.counter += 1
        return Unknown(f"{hint}@{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}#{self.counter}")

    def as_module(self, value: Value, site: Site) -> Mod | None:
        """A value as a module: see `effects.as_module`."""
        return effects.as_module(self, value, site)

    def cond(self, node: ast.expr, scope: Scope) -> Cond:
        """A test as a tree of evaluated atoms."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return Cond("not", [self.cond(node.operand, scope)], None, node)
        if isinstance(node, ast.BoolOp):
            op = "and" if isinstance(node.op, ast.And) else "or"
            parts: list[Cond] = []
            depth = len(self.guards)
            for operand in node.values:
                part = self.cond(operand, scope)
                parts.append(part)
                known = self.truth(part)
                if known is (op == "or"):
                    break
                if known is None:
                    self.assume(part, op == "and")
            del self.guards[depth:]
            return Cond(op, parts, None, node)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            value = tensors.compare(self, node, scope)
            if isinstance(node.ops[0], ast.NotIn | ast.IsNot | ast.NotEq):
                return Cond("not", [Cond("atom", [], value, node)], None, node)
            return Cond("atom", [], value, node)
        return Cond("atom", [], self.ev(node, scope), node)

    def truth(self, condition: Cond) -> bool | None:
        """Whether a test is known to hold on this path."""
        if condition.op == "not":
            inner = self.truth(condition.parts[0])
            return None if inner is None else not inner
        if condition.op in {"and", "or"}:
            known = [self.truth(part) for part in condition.parts]
            stop = condition.op == "or"
            if stop in known:
                return stop
            return None if None in known else not stop
        assert condition.value is not None
        if isinstance(condition.value, Unknown) and condition.value.cond is not None:
            return self.truth(condition.value.cond)
        return self.truth_of(condition.value)

    def truth_of(self, value: Value) -> bool | None:
        """Whether a value is true, as far as known."""
        if isinstance(value, Const):
            return bool(value.value)
        if isinstance(value, _TRUE) and not isinstance(value, Param):
            return True
        if isinstance(value, Seq) and not value.open and value.kind != "generator":
            return bool(value.items) or None if value.site is None else (True if value.items else None)
        term = value.term
        self.asked.add(term)
        for guard in reversed(self.guards):
            if guard.key == term:
                return guard.outcome
        return None

    def assume(self, condition: Cond, outcome: bool) -> None:
        """Push the guards that hold when the test went `outcome`."""
        if condition.op == "not":
            self.assume(condition.parts[0], not outcome)
        elif (condition.op == "and") is outcome and condition.op != "atom":
            for part in condition.parts:
                self.assume(part, outcome)
        elif condition.op == "atom":
            assert condition.value is not None
            value = condition.value
            if isinstance(value, Const):
                return
            if isinstance(value, Unknown) and value.cond is not None:
                self.assume(value.cond, outcome)
                return
            tests = value.tests if isinstance(value, Unknown) else ()
            self.guards.append(
                Guard(value.term, outcome, value, condition.node, tests, flavor(condition.node, value))
            )
        else:
            atoms = list(_atoms(condition))
            values = [atom.value for atom in atoms if atom.value is not None]
            tests = (
                _common_tests([v for v in values if isinstance(v, Unknown)]) if condition.op == "or" else ()
            )
            key = f"{condition.op}(" + ",".join(value.term for value in values) + ")"
            strings = frozenset[str]().union(*(v.strings for v in values if isinstance(v, Unknown)))
            named = next((v.name_of for v in values if isinstance(v, Unknown) and v.name_of), None)
            value = Unknown(key, name_of=named, strings=strings, tests=tests)
            kind = flavor(condition.node, value)
            denied = frozenset(_outcomes(condition, not outcome) or ())
            self.guards.append(Guard(value.term, outcome, value, condition.node, tests, kind, denied))

    def layer_types(self, module: Mod) -> tuple[frozenset[str] | None, frozenset[str], bool]:
        """What the tests on this path say of a layer's type: possible types, excluded types, and
        whether it was tested at all.
        """
        types: frozenset[str] | None = None
        excluded: frozenset[str] = frozenset()
        tested = False
        for guard in [*self.guards, *module.passed]:
            for test in guard.tests:
                if test.module is not module:
                    continue
                tested = True
                if guard.outcome:
                    types = test.types if types is None else (types & test.types or test.types)
                elif test.kind == "is":
                    excluded |= test.types
        if types is None and module.kind in {"Linear", "Conv1D"} and module.parent is None:
            types = frozenset({module.kind})
        elif types is None and module.parent is not None and not excluded:
            types = families.layer_type(module.family, module.path)
        if types is not None:
            types = types - excluded or types
        return types, excluded, tested

    def outcome(self, condition: Cond) -> Unknown:
        """The outcome of a test as a value, which a later test of it takes apart again."""
        atoms = [atom.value for atom in _atoms(condition) if atom.value is not None]
        value = tensors.mixed(condition.op, atoms)
        value.cond = condition
        return value

    # --- what the parts of the interpreter ask of each other ---

    def ev(self, node: ast.expr, scope: Scope) -> Value:
        """The value of an expression."""
        raise NotImplementedError

    def attribute(self, base: Value, name: str, node: ast.AST, scope: Scope) -> Value:
        """The attribute `name` of a value."""
        raise NotImplementedError

    def call(
        self, function: Value, args: list[Value], kwargs: dict[str, Value], node: ast.AST, scope: Scope
    ) -> Value:
        """Call a value."""
        raise NotImplementedError

    def enter(self, function: Func, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
        """Follow a call of the program's own function."""
        raise NotImplementedError

    def block(self, body: Sequence[ast.stmt], scope: Scope) -> str | None:
        """Run statements."""
        raise NotImplementedError

    def assign(self, target: ast.expr, value: Value, scope: Scope) -> None:
        """Bind a target."""
        raise NotImplementedError

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: Scope) -> Func:
        """The function that a definition or lambda makes."""
        raise NotImplementedError

    def module(self, file: File) -> Scope:
        """The scope of a file."""
        raise NotImplementedError

    def force(self, value: Value, name: str, depth: int = 0) -> Value:
        """What an imported name stands for."""
        raise NotImplementedError


def matters(value: Value | None, depth: int = 0) -> bool:
    """Whether a value is, or holds, something that a function can do something to."""
    if isinstance(value, Unknown):
        return value.name_of is not None
    if value is None or isinstance(value, _PLAIN):
        return False
    if depth > 2:
        return True
    if isinstance(value, Obj):
        return any(matters(attribute, depth + 1) for attribute in value.attrs.values())
    if isinstance(value, Seq):
        return any(matters(item, depth + 1) for item in value.items[:8])
    if isinstance(value, Dict):
        return any(matters(item, depth + 1) for item in value.values()[:16])
    if isinstance(value, Union):
        return any(matters(option, depth + 1) for option in value.options)
    return True


def passed(event: Event) -> tuple[Guard, ...]:
    """The tests that the modules of an event passed when they were put into a list."""
    found: tuple[Guard, ...] = ()
    for value in (event.target, event.value):
        if isinstance(value, Mod):
            for module in (value, *value.attrs.values()):
                if isinstance(module, Mod) and module.passed:
                    found += module.passed
    return found


def flavor(node: ast.AST, value: Value) -> str:
    """What a test is about: `trainable` (requires_grad), `named` (a dotted name) or `other`."""
    known = node.__dict__
    trainable = known.get("_trainable")
    if trainable is None:
        trainable = known["_trainable"] = any(
            isinstance(part, ast.Attribute) and part.attr == "requires_grad" for part in ast.walk(node)
        )
    if trainable:
        return "trainable"
    return "named" if isinstance(value, Unknown) and value.name_of is not None else "other"


def _atoms(condition: Cond) -> Iterator[Cond]:
    if condition.op == "atom":
        yield condition
    for part in condition.parts:
        yield from _atoms(part)


def _outcomes(condition: Cond, outcome: bool) -> list[tuple[str, bool]] | None:
    """The outcomes of single tests that all hold just when the test goes `outcome`; None: no such list."""
    if condition.op == "not":
        return _outcomes(condition.parts[0], not outcome)
    if condition.op == "atom":
        value = condition.value
        if isinstance(value, Unknown) and value.cond is not None:
            return _outcomes(value.cond, outcome)
        return None if value is None or isinstance(value, Const) else [(value.term, outcome)]
    if (condition.op == "and") is not outcome:
        return None
    found: list[tuple[str, bool]] = []
    for part in condition.parts:
        inner = _outcomes(part, outcome)
        if inner is None:
            return None
        found += inner
    return found


def _common_tests(values: list[Unknown]) -> tuple[Test, ...]:
    """Tests that hold when one of several does: those on a module that each of them tests."""
    tested = [test for value in values for test in value.tests]
    if not tested or not all(value.tests for value in values):
        return ()
    module = tested[0].module
    if any(test.module is not module for test in tested):
        return ()
    types = frozenset[str]().union(*(test.types for test in tested))
    return (Test(module, types, "is", tested[0].site),)
