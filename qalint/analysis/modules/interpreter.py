"""Runs a program on abstract values, once along its text, and notes what happens to modules.

One walk serves all paths: the arms of a test that cannot be decided both run, each under its guard,
and their names are joined. Events carry their guards, so that a rule can ask whether one path takes
two of them. Loops run once, short literal sequences item by item; calls of the program's own
functions are followed, everything else is in `library`.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import containers, library, methods, tensors
from .events import Event, Guard, compatible
from .slicing import Slices
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
    Params,
    Scope,
    Seq,
    Shape,
    Site,
    Tensor,
    Test,
    Thing,
    Union,
    Unknown,
    Value,
    Walk,
    each,
    join,
)

if TYPE_CHECKING:
    from ...file import File

STEPS = 45_000
"""Statements and expressions of one entry."""
TOTAL = 110_000
"""The same of all entries of a file."""
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
Resolve = Callable[["File", str, int], "File | None"]


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

    def __init__(self, op: str, parts: list[Cond], value: Value | None, node: ast.expr) -> None:
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


class Interpreter:
    """One program's run. See the module docstring."""

    def __init__(self, resolve: Resolve | None = None) -> None:
        self.resolve = resolve
        self.events: list[Event] = []
        self.time = 0
        self.steps = 0
        self.limit = STEPS
        self.guards: list[Guard] = []
        self.loops: list[ast.AST] = []
        self.stack: list[Site] = []
        self.frames: list[Frame] = []
        self.autocast: list[tuple[bool | None, str | None]] = []
        self.no_grad = 0
        self.quiet = 0
        """Above zero while something runs out of its time (a hook when it is registered): what it
        does to tensors then is not what it will do."""
        self.building: list[Value] = []
        self.slices = Slices()
        self.modules: dict[int, Scope] = {}
        self.main: File | None = None
        self.refined: dict[str, Mod] = {}
        self.parts: dict[tuple[int, str], Value] = {}
        self.called: set[ast.AST] = set()
        self.built: set[ast.AST] = set()
        self.listed: dict[int, Event] = {}
        """Containers that are attributes of modules, by identity."""
        self.forwarded: set[Mod] = set()
        """Modules whose own forward has run."""
        self.classes: list[Class] = []
        self.applied: set[tuple[int, str | None]] = set()
        self.program = 0
        self.default_device = False
        self.default_dtype = "float32"
        self.counter = 0
        self.memo: dict[ast.AST, Value] = {}

    # --- bookkeeping -------------------------------------------------------------------------

    def tick(self) -> int:
        """The next moment."""
        self.time += 1
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

    def latest(self, cell: Cell, kind: str, since: int = 0, depth: int = 0) -> tuple[int, Any, Cell] | None:
        """The last thing of `kind` that happened to `cell`, or to what holds it, on this path:
        when, what, and to which of them.
        """
        best: tuple[int, Any, Cell] | None = None
        here = tuple(self.guards)
        for time, what, value, guards in reversed(cell.history):
            if what == kind and time >= since and compatible(guards, here):
                best = (time, value, cell)
                break
        if depth < 12:
            for holder, start in cell.holders:
                found = self.latest(holder, kind, max(since, start), depth + 1)
                if found is not None and (best is None or found[0] > best[0]):
                    best = found
        return best

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

    def guards_fit(self, guards: tuple[Guard, ...]) -> bool:
        """Whether this path can have taken `guards`."""
        return compatible(guards, tuple(self.guards))

    def site(self, node: ast.AST, scope: Scope) -> Site:
        """Where `node` stands."""
        return Site(node, scope.file)

    def fresh(self, hint: str, node: ast.AST) -> Unknown:
        """An unknown of its own."""
        self.counter += 1
        return Unknown(f"{hint}@{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}#{self.counter}")

    def as_module(self, value: Value, site: Site) -> Mod | None:
        """A value as a module: see `library.as_module`."""
        return library.as_module(self, value, site)

    # --- programs ----------------------------------------------------------------------------

    def module(self, file: File) -> Scope:
        """The scope of a file, whose top level runs when it is first needed."""
        key = id(file)
        if key not in self.modules:
            scope = Scope(file, None, "module")
            self.modules[key] = scope
            guards, self.guards = self.guards, []
            loops, self.loops = self.loops, []
            stack, self.stack = self.stack, []
            frames, self.frames = self.frames, []
            autocast, self.autocast = self.autocast, []
            try:
                self.block(file.tree.body, scope)
            finally:
                self.guards, self.loops, self.stack, self.frames, self.autocast = (
                    guards,
                    loops,
                    stack,
                    frames,
                    autocast,
                )
        return self.modules[key]

    # --- statements --------------------------------------------------------------------------

    def block(self, body: Sequence[ast.stmt], scope: Scope) -> str | None:
        """Run statements; `return`, `break`, `continue` or `raise` if the block ends that way."""
        depth = len(self.guards)
        out: str | None = None
        for statement in body:
            self.steps += 1
            if self.steps > self.limit:
                raise Stop
            method = getattr(self, "do_" + type(statement).__name__, None)
            if method is None:
                continue
            out = method(statement, scope)
            if out is not None:
                break
        del self.guards[depth:]
        return out

    def do_Expr(self, node: ast.Expr, scope: Scope) -> None:
        value = self.ev(node.value, scope)
        call = node.value
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in library.CONVERSIONS
            and isinstance(value, Tensor)
        ):
            receiver = self.memo.get(call.func.value)
            if isinstance(receiver, Tensor) and receiver.source in PROVEN:
                self.emit("discard", self.site(call, scope), target=receiver, name=call.func.attr)

    def do_Assign(self, node: ast.Assign, scope: Scope) -> None:
        value = self.ev(node.value, scope)
        for target in node.targets:
            self.assign(target, value, scope)

    def do_AnnAssign(self, node: ast.AnnAssign, scope: Scope) -> None:
        if node.value is not None:
            self.assign(node.target, self.ev(node.value, scope), scope)

    def do_AugAssign(self, node: ast.AugAssign, scope: Scope) -> None:
        target = node.target
        load: ast.expr
        if isinstance(target, ast.Name):
            load = ast.copy_location(ast.Name(target.id, ast.Load()), target)
        elif isinstance(target, ast.Attribute):
            load = ast.copy_location(ast.Attribute(target.value, target.attr, ast.Load()), target)
        else:
            load = ast.copy_location(ast.Subscript(target.value, target.slice, ast.Load()), target)
        old = self.ev(load, scope)
        value = self.ev(node.value, scope)
        if isinstance(old, Seq) and isinstance(node.op, ast.Add):
            containers.extend(self, old, value)
            return
        self.assign(target, tensors.binary(self, node, node.op, old, value, scope), scope)

    def do_Delete(self, node: ast.Delete, scope: Scope) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                scope.vars.pop(target.id, None)
            elif isinstance(target, ast.Attribute):
                base = self.ev(target.value, scope)
                if isinstance(base, Thing):
                    base.attrs.pop(target.attr, None)

    def do_Global(self, node: ast.Global, scope: Scope) -> None:
        scope.globals.update(node.names)

    do_Nonlocal = do_Global

    def do_Return(self, node: ast.Return, scope: Scope) -> str:
        value: Value = Const(None) if node.value is None else self.ev(node.value, scope)
        if self.frames:
            self.frames[-1].returns.append(value)
        return "return"

    def do_Raise(self, node: ast.Raise, scope: Scope) -> str:
        return "raise"

    def do_Break(self, node: ast.Break, scope: Scope) -> str:
        return "break"

    def do_Continue(self, node: ast.Continue, scope: Scope) -> str:
        return "continue"

    def do_Assert(self, node: ast.Assert, scope: Scope) -> None:
        self.assume(self.cond(node.test, scope), True)

    def do_If(self, node: ast.If, scope: Scope) -> str | None:
        if _main_test(node.test):
            if scope.file is self.main:
                return self.block(node.body, scope)
            return self.block(node.orelse, scope)
        condition = self.cond(node.test, scope)
        known = self.truth(condition)
        if known is not None:
            return self.block(node.body if known else node.orelse, scope)
        before = dict(scope.vars)
        depth = len(self.guards)
        self.assume(condition, True)
        first = self.block(node.body, scope)
        del self.guards[depth:]
        after = scope.vars
        scope.vars = dict(before)
        self.assume(condition, False)
        second = self.block(node.orelse, scope)
        del self.guards[depth:]
        if first and second:
            return first if first == second else "return"
        if first:
            self.assume(condition, False)
        elif second:
            scope.vars = after
            self.assume(condition, True)
        else:
            scope.vars = self.merge(after, scope.vars)
        return None

    @staticmethod
    def merge(first: dict[str, Value], second: dict[str, Value]) -> dict[str, Value]:
        """The names after both arms of a test."""
        return {name: join(first.get(name), second.get(name)) for name in {**first, **second}}

    def do_For(self, node: ast.For, scope: Scope) -> str | None:
        iterable = self.ev(node.iter, scope)
        elements = self.elements(iterable, node, scope)
        self.loops.append(node)
        out: str | None = None
        for element in elements:
            self.assign(node.target, element, scope)
            out = self.block(node.body, scope)
            if out in {"return", "break"}:
                break
        self.loops.pop()
        if out == "return":
            return None if len(elements) != 1 else None
        if node.orelse and out != "break":
            self.block(node.orelse, scope)
        return None

    do_AsyncFor = do_For

    def do_While(self, node: ast.While, scope: Scope) -> str | None:
        condition = self.cond(node.test, scope)
        if self.truth(condition) is False:
            return None
        self.loops.append(node)
        self.block(node.body, scope)
        self.loops.pop()
        return None

    def do_With(self, node: ast.With, scope: Scope) -> str | None:
        undo: list[Callable[[], Any]] = []
        for item in node.items:
            value = self.ev(item.context_expr, scope)
            undo.append(library.enter(self, value))
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value, scope)
        out = self.block(node.body, scope)
        for leave in reversed(undo):
            leave()
        return out

    do_AsyncWith = do_With

    def do_Try(self, node: ast.Try, scope: Scope) -> str | None:
        before = dict(scope.vars)
        out = self.block(node.body, scope)
        if out is None:
            out = self.block(node.orelse, scope)
        after = scope.vars
        for handler in node.handlers:
            scope.vars = dict(before)
            depth = len(self.guards)
            self.counter += 1
            self.guards.append(Guard(f"except#{self.counter}", True, Const(True), handler))
            if handler.name:
                scope.vars[handler.name] = self.fresh("exception", handler)
            ended = self.block(handler.body, scope)
            del self.guards[depth:]
            if not ended:
                after = self.merge(after, scope.vars) if out is None else dict(scope.vars)
                out = None
        scope.vars = after
        last = self.block(node.finalbody, scope)
        return last or out

    do_TryStar = do_Try

    def do_Match(self, node: ast.Match, scope: Scope) -> None:
        subject = self.ev(node.subject, scope)
        merged: dict[str, Value] | None = None
        before = dict(scope.vars)
        for index, case in enumerate(node.cases):
            scope.vars = dict(before)
            for part in ast.walk(case.pattern):
                name = getattr(part, "name", None)
                if isinstance(part, ast.MatchAs | ast.MatchStar) and name:
                    scope.vars[name] = subject
            depth = len(self.guards)
            key = f"match({subject.term})"
            self.guards.append(Guard(f"{key}[{index}]", True, subject, case.pattern))
            out = self.block(case.body, scope)
            del self.guards[depth:]
            if out is None:
                merged = dict(scope.vars) if merged is None else self.merge(merged, scope.vars)
        scope.vars = merged if merged is not None else before

    def do_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> None:
        value: Value = self.function(node, scope)
        for decorator in reversed(node.decorator_list):
            value = library.decorate(self, decorator, value, scope)
        scope.vars[node.name] = value

    do_AsyncFunctionDef = do_FunctionDef

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: Scope) -> Func:
        """The function that a definition or lambda makes, with its defaults evaluated now."""
        arguments = node.args
        defaults: dict[str, Value] = {}
        positional = [*arguments.posonlyargs, *arguments.args]
        for argument, default in zip(reversed(positional), reversed(arguments.defaults), strict=False):
            defaults[argument.arg] = self.ev(default, scope)
        for argument, keyword in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=False):
            if keyword is not None:
                defaults[argument.arg] = self.ev(keyword, scope)
        home = scope
        while home.kind == "class" and home.parent is not None:
            home = home.parent
        return Func(node, home, defaults)

    def do_ClassDef(self, node: ast.ClassDef, scope: Scope) -> None:
        bases = [self.ev(base, scope) for base in node.bases]
        body = Scope(scope.file, scope, "class")
        self.block(node.body, body)
        value = Class(node, scope, bases, body.vars)
        for member in value.members.values():
            if isinstance(member, Func) and member.owner is None:
                member.owner = value
        scope.vars[node.name] = value
        self.classes.append(value)

    def do_Import(self, node: ast.Import, scope: Scope) -> None:
        for alias in node.names:
            file = self.resolve(scope.file, alias.name, 0) if self.resolve else None
            if file is not None:
                self.slices.imported(scope.file, (alias.asname or alias.name).split(".")[0])
                if alias.asname:
                    scope.vars[alias.asname] = ModuleValue(file)
                elif "." not in alias.name:
                    scope.vars[alias.name] = ModuleValue(file)
            elif alias.asname:
                scope.vars[alias.asname] = Lib(alias.name)
            else:
                root = alias.name.split(".")[0]
                scope.vars[root] = Lib(root)

    def do_ImportFrom(self, node: ast.ImportFrom, scope: Scope) -> None:
        module = node.module or ""
        file = self.resolve(scope.file, module, node.level) if self.resolve else None
        for alias in node.names:
            name = alias.asname or alias.name
            if file is not None:
                self.slices.imported(scope.file, name)
                if alias.name == "*":
                    scope.vars.update(self.module(file).vars)
                else:
                    dotted = f"{module}.{alias.name}" if module else alias.name
                    scope.vars[name] = Imported(file, alias.name, scope.file, dotted, node.level)
            elif node.level:
                inner = (
                    self.resolve(scope.file, alias.name, node.level) if self.resolve and not module else None
                )
                scope.vars[name] = ModuleValue(inner) if inner else Unknown(f"import:.{module}.{alias.name}")
            elif alias.name != "*":
                scope.vars[name] = Lib(f"{module}.{alias.name}")

    def force(self, value: Value, depth: int = 0) -> Value:
        """What an imported name stands for: its file runs when the name is first needed."""
        if not isinstance(value, Imported):
            return value
        found = self.module(value.file).vars.get(value.name)
        if found is not None and depth < 12:
            return self.force(found, depth + 1)
        inner = self.resolve(value.where, value.dotted, value.level) if self.resolve else None
        return ModuleValue(inner) if inner is not None else Unknown(f"import:{value.dotted}")

    # --- tests -------------------------------------------------------------------------------

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
        if isinstance(value, Thing | Func | Class | Lib | Bound | Device | Dim) and not isinstance(
            value, Param
        ):
            return True
        if isinstance(value, Seq) and not value.open and value.kind != "generator":
            return bool(value.items) or None if value.site is None else (True if value.items else None)
        for guard in reversed(self.guards):
            if guard.key == value.term:
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
            self.guards.append(
                Guard(value.term, outcome, value, condition.node, tests, flavor(condition.node, value))
            )

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
        if types is not None:
            types = types - excluded or types
        return types, excluded, tested

    # --- assignment --------------------------------------------------------------------------

    def assign(self, target: ast.expr, value: Value, scope: Scope) -> None:
        """Bind a target."""
        if isinstance(target, ast.Name):
            home = scope
            if target.id in scope.globals:
                home = self.owner_of(target.id, scope)
            if isinstance(value, Thing) and not value.name and not (isinstance(value, Mod) and value.parent):
                value.name = target.id
            home.vars[target.id] = value
            for option in each(value):
                if isinstance(option, Dim) and option.index is not None:
                    self.emit("bound", option.site, target=option, name=target.id, value=target)
        elif isinstance(target, ast.Attribute):
            base = self.ev(target.value, scope)
            if isinstance(value, Thing) and not value.name:
                value.name = ast.unparse(target)
            library.set_attribute(self, base, target.attr, value, self.site(target, scope))
        elif isinstance(target, ast.Subscript):
            base = self.ev(target.value, scope)
            index = self.ev(target.slice, scope)
            containers.set_item(self, base, index, value, self.site(target, scope))
        elif isinstance(target, ast.Starred):
            self.assign(target.value, value, scope)
        elif isinstance(target, ast.Tuple | ast.List):
            for element, part in zip(
                target.elts, self.unpack(value, len(target.elts), target, scope), strict=False
            ):
                self.assign(element, part, scope)

    def owner_of(self, name: str, scope: Scope) -> Scope:
        """The scope that `global` or `nonlocal` means."""
        here = scope.parent
        while here is not None:
            if name in here.vars or here.parent is None:
                return here
            here = here.parent
        return scope

    def unpack(self, value: Value, count: int, node: ast.AST, scope: Scope) -> list[Value]:
        """The parts of a value that is unpacked into `count` targets."""
        if isinstance(value, Seq) and len(value.items) == count:
            return value.items
        if isinstance(value, Shape) and count == 2:
            return [tensors.dimension(self, value, index) for index in range(count)]
        if isinstance(value, Union):
            columns = [self.unpack(option, count, node, scope) for option in value.options]
            parts = columns[0]
            for column in columns[1:]:
                parts = [join(a, b) for a, b in zip(parts, column, strict=False)]
            return parts
        return [containers.item(self, value, Const(index), self.site(node, scope)) for index in range(count)]

    # --- expressions -------------------------------------------------------------------------

    def ev(self, node: ast.expr, scope: Scope) -> Value:
        """The value of an expression."""
        self.steps += 1
        if self.steps > self.limit:
            raise Stop
        method = getattr(self, "ev_" + type(node).__name__, None)
        if method is None:
            return self.fresh(type(node).__name__, node)
        value: Value = method(node, scope)
        self.memo[node] = value
        return value

    def ev_Constant(self, node: ast.Constant, scope: Scope) -> Value:
        return Const(node.value, Site(node, scope.file))

    def ev_Name(self, node: ast.Name, scope: Scope) -> Value:
        here: Scope | None = scope
        while here is not None:
            if node.id in here.vars:
                value = here.vars[node.id]
                if isinstance(value, Imported):
                    value = here.vars[node.id] = self.force(value)
                return value
            here = here.parent
            while here is not None and here.kind == "class":
                here = here.parent
        return Lib("builtins." + node.id) if node.id in BUILTINS else Unknown(f"name:{node.id}")

    def ev_Attribute(self, node: ast.Attribute, scope: Scope) -> Value:
        base = self.ev(node.value, scope)
        return self.attribute(base, node.attr, node, scope)

    def attribute(self, base: Value, name: str, node: ast.AST, scope: Scope) -> Value:
        """The attribute `name` of a value."""
        if isinstance(base, Union):
            result: Value | None = None
            for option in base.options:
                if isinstance(option, Const) and option.value is None:
                    continue
                result = join(result, self.attribute(option, name, node, scope))
            return result or self.fresh(name, node)
        if isinstance(base, ModuleValue):
            found_ = self.module(base.file).vars.get(name)
            return self.force(found_) if found_ is not None else Unknown(f"import:{base.file.path}.{name}")
        if isinstance(base, Super):
            found = base.cls.find(name, skip_self=True)
            if isinstance(found, Func):
                return found.bind(base.receiver)
            return Bound(base, name, node)
        return library.get_attribute(self, base, name, Site(node, scope.file))

    def ev_Call(self, node: ast.Call, scope: Scope) -> Value:
        function = self.ev(node.func, scope)
        args: list[Value] = []
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                value = self.ev(argument.value, scope)
                if isinstance(value, Seq) and not value.open:
                    args.extend(value.items)
                else:
                    args.append(Seq([value], "star", open=True))
            else:
                args.append(self.ev(argument, scope))
        kwargs: dict[str, Value] = {}
        for keyword in node.keywords:
            value = self.ev(keyword.value, scope)
            if keyword.arg is not None:
                kwargs[keyword.arg] = value
            elif isinstance(value, Dict):
                kwargs.update({key: item for key, item in value.pairs.items() if isinstance(key, str)})
                if value.open or value.rest:
                    kwargs["**"] = value
            else:
                kwargs["**"] = value
        if isinstance(function, Lib) and function.name == "builtins.super":
            return self.super_of(args, node, scope)
        return self.call(function, args, kwargs, node, scope)

    def super_of(self, args: list[Value], node: ast.Call, scope: Scope) -> Value:
        """`super()` or `super(C, self)`."""
        if len(args) == 2 and isinstance(args[0], Class):
            return Super(args[0], args[1])
        for frame in reversed(self.frames):
            if frame.function.owner is not None and frame.function.receiver is not None:
                return Super(frame.function.owner, frame.function.receiver)
        return self.fresh("super", node)

    def call(
        self, function: Value, args: list[Value], kwargs: dict[str, Value], node: ast.AST, scope: Scope
    ) -> Value:
        """Call a value."""
        site = Site(node, scope.file)
        if isinstance(function, Func):
            return self.enter(function, args, kwargs, site)
        if isinstance(function, Class):
            return self.instantiate(function, args, kwargs, site)
        if isinstance(function, Partial):
            return self.call(
                function.function, [*function.args, *args], {**function.kwargs, **kwargs}, node, scope
            )
        if isinstance(function, Union):
            result: Value | None = None
            for option in function.options[:3]:
                if isinstance(option, Const):
                    continue
                made = self.call(option, args, kwargs, node, scope)
                if isinstance(made, Mod) and len(function.options) > 1:
                    made.family = None  # which of the classes it is, the path decides
                result = join(result, made)
            return result or self.fresh("call", node)
        if isinstance(function, Mod):
            return methods.forward(self, function, args, kwargs, site)
        if isinstance(function, Obj):
            method = function.cls.find("__call__")
            if isinstance(method, Func):
                return self.enter(method.bind(function), args, kwargs, site)
        if isinstance(function, Bound):
            if isinstance(function.base, Super):
                return methods.super_call(self, function.base, function.name, args, kwargs, site)
            return methods.method(self, function.base, function.name, args, kwargs, site)
        if isinstance(function, Lib):
            return library.call(self, function.name, args, kwargs, site)
        return library.unknown_call(self, function, args, kwargs, site)

    def enter(self, function: Func, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
        """Follow a call of the program's own function."""
        node = function.node
        self.called.add(node)
        if function.name == "forward" and isinstance(function.receiver, Mod):
            self.forwarded.add(function.receiver)
        if not self.slices.hot(node, function.scope.file) and not any(
            matters(value) for value in (function.receiver, *args, *kwargs.values())
        ):
            return tensors.mixed(
                f"call@{getattr(site.node, 'lineno', 0)}:{function.name}", [*args, *kwargs.values()]
            )
        if len(self.frames) >= DEPTH or sum(frame.function.node is node for frame in self.frames) >= 2:
            return self.fresh(function.name, site.node)
        scope = Scope(function.scope.file, function.scope, "function")
        self.bind(function, args, kwargs, scope, site)
        given = frozenset(
            id(option.root)
            for value in [*args, *kwargs.values()]
            for option in each(value)
            if isinstance(option, Mod)
        )
        frame = Frame(function, [], [], given)
        self.frames.append(frame)
        self.stack.append(site)
        depth = len(self.guards)
        undo: list[Callable[[], Any]] = []
        try:
            if isinstance(node, ast.Lambda):
                return self.ev(node.body, scope)
            undo = [library.decorated(self, decorator, function.scope) for decorator in node.decorator_list]
            self.block(node.body, scope)
        finally:
            for leave in undo:
                leave()
            del self.guards[depth:]
            self.frames.pop()
            self.stack.pop()
        if frame.yields:
            return library.collect(self, frame.yields, site)
        result: Value | None = None
        for value in frame.returns:
            result = join(result, value)
        return result or Const(None)

    def bind(
        self, function: Func, args: list[Value], kwargs: dict[str, Value], scope: Scope, site: Site
    ) -> None:
        """Give the parameters their values; what is not given and has no default is unknown."""
        arguments = function.node.args
        names = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]]
        given = list(args)
        if function.receiver is not None:
            given.insert(0, function.receiver)
        prefix = f"{function.name}@{getattr(function.node, 'lineno', 0)}"
        for index, name in enumerate(names):
            if index < len(given) and not any(
                isinstance(value, Seq) and value.kind == "star" for value in given[: index + 1]
            ):
                scope.vars[name] = given[index]
            elif name in kwargs:
                scope.vars[name] = kwargs[name]
            elif name in function.defaults and "**" not in kwargs and not self.entry_call(site):
                scope.vars[name] = function.defaults[name]
            else:
                scope.vars[name] = Unknown(f"{prefix}.{name}")
        for name in names:
            value = scope.vars[name]
            if isinstance(value, Mod) and not value.name and value.parent is None and name != "self":
                value.name = name
        for argument in arguments.kwonlyargs:
            name = argument.arg
            scope.vars[name] = kwargs.get(name) or (
                function.defaults[name]
                if name in function.defaults and not self.entry_call(site)
                else Unknown(f"{prefix}.{name}")
            )
        if arguments.vararg:
            scope.vars[arguments.vararg.arg] = Seq(given[len(names) :], "tuple", open=self.entry_call(site))
        if arguments.kwarg:
            known = {*names, *(argument.arg for argument in arguments.kwonlyargs)}
            rest = Dict({key: value for key, value in kwargs.items() if key not in known and key != "**"}, [])
            rest.open = "**" in kwargs or self.entry_call(site)
            scope.vars[arguments.kwarg.arg] = rest

    def entry_call(self, site: Site) -> bool:
        """Whether this call is the analysis's own (nobody is seen to call the function)."""
        return isinstance(site.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)

    def instantiate(self, cls: Class, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
        """Make an instance of a class of the program."""
        self.built.add(cls.node)
        roots = cls.roots()
        base = library.module_base(roots)
        thing: Mod | Obj
        if base is not None:
            thing = Mod(site, self.tick(), qual=base, cls=cls)
            thing.known = all(root in library.PLAIN_BASES for root in roots)
            thing.loaded = True
            library.fresh_module(self, thing, kwargs if base != "torch.nn.Module" else {})
            self.emit("load", site, target=thing)
        else:
            thing = Obj(cls, site, self.tick())
        thing.stack = tuple(self.stack)
        init = cls.find("__init__")
        if isinstance(init, Func):
            self.building.append(thing)
            try:
                self.enter(init.bind(thing), args, kwargs, site)
            finally:
                self.building.pop()
        elif isinstance(thing, Obj):
            fields = [
                (item.target.id, item.value)
                for item in cls.node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            ]
            for index, (name, default) in enumerate(fields):
                if index < len(args):
                    thing.attrs[name] = args[index]
                elif name in kwargs:
                    thing.attrs[name] = kwargs[name]
                elif default is not None and not self.entry_call(site) and "**" not in kwargs:
                    thing.attrs[name] = self.ev(default, cls.scope)
                else:
                    thing.attrs[name] = Unknown(f"{cls.name}@{cls.node.lineno}.{name}")
        elif isinstance(thing, Mod) and not thing.known:
            library.constructed(self, thing, args, kwargs)
        return thing

    def ev_Lambda(self, node: ast.Lambda, scope: Scope) -> Value:
        return self.function(node, scope)

    def ev_IfExp(self, node: ast.IfExp, scope: Scope) -> Value:
        condition = self.cond(node.test, scope)
        known = self.truth(condition)
        if known is not None:
            return self.ev(node.body if known else node.orelse, scope)
        depth = len(self.guards)
        self.assume(condition, True)
        first = self.ev(node.body, scope)
        del self.guards[depth:]
        self.assume(condition, False)
        second = self.ev(node.orelse, scope)
        del self.guards[depth:]
        return join(first, second)

    def ev_BoolOp(self, node: ast.BoolOp, scope: Scope) -> Value:
        condition = self.cond(node, scope)
        known = self.truth(condition)
        values = [part.value for part in condition.parts if part.value is not None]
        if isinstance(node.op, ast.Or) and len(values) == len(node.values) and known is not False:
            result: Value | None = None
            for value in values:
                if self.truth_of(value) is False:
                    continue
                result = join(result, value)
                if self.truth_of(value):
                    break
            if result is not None and not all(isinstance(value, Unknown) for value in values):
                return result
        if known is not None:
            return Const(known)
        return self.outcome(condition)

    def ev_UnaryOp(self, node: ast.UnaryOp, scope: Scope) -> Value:
        if isinstance(node.op, ast.Not):
            condition = self.cond(node.operand, scope)
            known = self.truth(condition)
            if known is not None:
                return Const(not known)
            return self.outcome(Cond("not", [condition], None, node))
        value = self.ev(node.operand, scope)
        if (
            isinstance(value, Const)
            and isinstance(value.value, int | float)
            and isinstance(node.op, ast.USub)
        ):
            return Const(-value.value, Site(node, scope.file))
        return value if isinstance(value, Tensor) else tensors.mixed(type(node.op).__name__, [value])

    def ev_Compare(self, node: ast.Compare, scope: Scope) -> Value:
        value = tensors.compare(self, node, scope)
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.NotIn | ast.IsNot | ast.NotEq):
            if isinstance(value, Const):
                return Const(not value.value)
            return self.outcome(Cond("not", [Cond("atom", [], value, node)], None, node))
        return value

    def outcome(self, condition: Cond) -> Unknown:
        """The outcome of a test as a value, which a later test of it takes apart again."""
        atoms = [atom.value for atom in _atoms(condition) if atom.value is not None]
        value = tensors.mixed(condition.op, atoms)
        value.cond = condition
        return value

    def ev_BinOp(self, node: ast.BinOp, scope: Scope) -> Value:
        left = self.ev(node.left, scope)
        right = self.ev(node.right, scope)
        return tensors.binary(self, node, node.op, left, right, scope)

    def ev_Subscript(self, node: ast.Subscript, scope: Scope) -> Value:
        base = self.ev(node.value, scope)
        index = self.ev(node.slice, scope)
        return containers.item(self, base, index, Site(node, scope.file))

    def ev_Tuple(self, node: ast.Tuple, scope: Scope) -> Value:
        return self.sequence(node.elts, "tuple", node, scope)

    def ev_List(self, node: ast.List, scope: Scope) -> Value:
        return self.sequence(node.elts, "list", node, scope)

    def ev_Set(self, node: ast.Set, scope: Scope) -> Value:
        return self.sequence(node.elts, "set", node, scope)

    def sequence(self, elements: list[ast.expr], kind: str, node: ast.AST, scope: Scope) -> Value:
        """A display of a list, tuple or set."""
        result = Seq([], kind, site=Site(node, scope.file))
        for element in elements:
            if isinstance(element, ast.Starred):
                containers.extend(self, result, self.ev(element.value, scope))
            else:
                result.items.append(self.ev(element, scope))
        return result

    def ev_Dict(self, node: ast.Dict, scope: Scope) -> Value:
        result = Dict({}, [], Site(node, scope.file))
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.ev(item, scope)
            if key is None:
                if isinstance(value, Dict):
                    result.pairs.update(value.pairs)
                    result.rest.extend(value.rest)
                else:
                    result.open = True
                continue
            name = self.ev(key, scope)
            if isinstance(name, Const):
                result.pairs[name.value] = value
            else:
                result.rest.append(value)
        return result

    def ev_Starred(self, node: ast.Starred, scope: Scope) -> Value:
        return self.ev(node.value, scope)

    def ev_NamedExpr(self, node: ast.NamedExpr, scope: Scope) -> Value:
        value = self.ev(node.value, scope)
        self.assign(node.target, value, scope)
        return value

    def ev_Await(self, node: ast.Await, scope: Scope) -> Value:
        return self.ev(node.value, scope)

    def ev_Yield(self, node: ast.Yield, scope: Scope) -> Value:
        if node.value is not None and self.frames:
            self.frames[-1].yields.append(self.ev(node.value, scope))
        return self.fresh("yield", node)

    def ev_YieldFrom(self, node: ast.YieldFrom, scope: Scope) -> Value:
        value = self.ev(node.value, scope)
        if self.frames:
            self.frames[-1].yields.extend(self.elements(value, node, scope))
        return self.fresh("yield", node)

    def ev_JoinedStr(self, node: ast.JoinedStr, scope: Scope) -> Value:
        parts = [
            self.ev(part.value if isinstance(part, ast.FormattedValue) else part, scope)
            for part in node.values
        ]
        if all(isinstance(part, Const) for part in parts):
            return Const("".join(str(part.value) for part in parts if isinstance(part, Const)))
        return tensors.mixed("fstring", parts)

    def ev_ListComp(self, node: ast.ListComp, scope: Scope) -> Value:
        return self.comprehension(node.generators, [node.elt], "list", node, scope)

    def ev_SetComp(self, node: ast.SetComp, scope: Scope) -> Value:
        return self.comprehension(node.generators, [node.elt], "set", node, scope)

    def ev_GeneratorExp(self, node: ast.GeneratorExp, scope: Scope) -> Value:
        return self.comprehension(node.generators, [node.elt], "generator", node, scope)

    def ev_DictComp(self, node: ast.DictComp, scope: Scope) -> Value:
        value = self.comprehension(node.generators, [node.value], "list", node, scope, key=node.key)
        return Dict({}, value.items if isinstance(value, Seq) else [value], Site(node, scope.file))

    def comprehension(
        self,
        generators: list[ast.comprehension],
        elements: list[ast.expr],
        kind: str,
        node: ast.AST,
        scope: Scope,
        key: ast.expr | None = None,
    ) -> Value:
        """A comprehension's value: what its element is, once for each unrolled combination."""
        inner = Scope(scope.file, scope, "function")
        inner.globals = set()
        found: list[Value] = []
        depth = len(self.guards)
        exact = self.clauses(generators, 0, elements[0], key, found, inner)
        del self.guards[depth:]
        if len(found) == 1 and isinstance(found[0], Params | Param) and not exact:
            return library.collect(self, found, Site(node, scope.file), once=kind == "generator")
        return Seq(found, kind, open=not exact, site=Site(node, scope.file))

    def clauses(
        self,
        generators: list[ast.comprehension],
        index: int,
        element: ast.expr,
        key: ast.expr | None,
        found: list[Value],
        scope: Scope,
    ) -> bool:
        """The clauses of a comprehension from `index` on; whether the result is exact."""
        if index == len(generators):
            if key is not None:
                self.ev(key, scope)
            found.append(library.filtered(self, self.ev(element, scope)))
            return True
        generator = generators[index]
        iterable = self.ev(generator.iter, scope)
        items = self.elements(iterable, generator.iter, scope)
        exact = isinstance(iterable, Seq) and not iterable.open
        self.loops.append(generator)
        for item in items:
            self.assign(generator.target, item, scope)
            depth = len(self.guards)
            alive = True
            for test in generator.ifs:
                condition = self.cond(test, scope)
                known = self.truth(condition)
                if known is False:
                    alive = False
                    break
                if known is None:
                    exact = False
                    self.assume(condition, True)
            if alive:
                exact = self.clauses(generators, index + 1, element, key, found, scope) and exact
            del self.guards[depth:]
        self.loops.pop()
        return exact

    def elements(self, value: Value, node: ast.AST, scope: Scope) -> list[Value]:
        """What iterating over a value yields: its items where they are few and known, else one for all."""
        return containers.elements(self, value, Site(node, scope.file), UNROLL)


class ModuleValue(Value):
    """A file of the program as an imported module."""

    __slots__ = ("file",)

    def __init__(self, file: File) -> None:
        self.file = file


class Imported(Value):
    """A name that is imported from another file of the program and was not needed yet."""

    __slots__ = ("dotted", "file", "level", "name", "where")

    def __init__(self, file: File, name: str, where: File, dotted: str, level: int) -> None:
        self.file = file
        self.name = name
        self.where = where
        self.dotted = dotted
        self.level = level


def matters(value: Value | None, depth: int = 0) -> bool:
    """Whether a value is, or holds, something that a function can do something to."""
    if value is None or isinstance(value, Const | Unknown | Lib | Device):
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
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and part.attr == "requires_grad":
            return "trainable"
    return "named" if isinstance(value, Unknown) and value.name_of is not None else "other"


def _main_test(test: ast.expr) -> bool:
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value == "__main__"
    )


def _atoms(condition: Cond) -> Iterator[Cond]:
    if condition.op == "atom":
        yield condition
    for part in condition.parts:
        yield from _atoms(part)


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


__all__ = ["Interpreter", "ModuleValue", "Partial", "Stop", "Super", "Walk", "each"]
