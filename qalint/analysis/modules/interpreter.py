"""Runs a program on abstract values, once along its text, and notes what happens to modules.

One walk serves all paths: the arms of a test that cannot be decided both run, each under its guard,
and their names are joined. Events carry their guards, so that a rule can ask whether one path takes
two of them. Loops run once, short literal sequences item by item; calls of the program's own
functions are followed, everything else is in `library`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from . import containers, effects, narrowing, spellings, tensors, torchlib
from .events import Guard
from .values import (
    Class,
    Const,
    Dim,
    Func,
    Lib,
    Mod,
    Obj,
    Param,
    Scope,
    Seq,
    Shape,
    Tensor,
    Thing,
    Union,
    Unknown,
    Value,
    each,
    join,
)

if TYPE_CHECKING:
    from ...file import File
from .core import (
    FILES,
    LATE,
    PROVEN,
    STEPS,
    TOTAL,
    Cond,
    Imported,
    ModuleValue,
    Partial,
    Pending,
    Stop,
    Super,
)
from .expressions import Expressions
from .toplevel import TopLevel, is_main_test


class Interpreter(Expressions):
    """One program's run. See the module docstring."""

    doers: ClassVar[dict[type, Callable[..., str | None]]]
    """The methods that run statements, by the class of the statement."""

    def module(self, file: File, *, waits: bool = False) -> Scope:
        """The scope of a file, whose top level runs when it is first needed.

        Of the file that is linted all of it runs, unless it `waits` as that of others does.
        """
        key = id(file)
        if key not in self.modules:
            scope = Scope(file, None, "module")
            self.modules[key] = scope
            if file is self.main and not waits:
                self.apart(file.tree.body, scope)
            else:
                top = TopLevel.of(file.tree)
                pending = [Pending(scope, group) for group in top.groups]
                scope.vars = {name: pending[number] for name, number in top.group_of.items()}
                self.apart(top.at_once, scope)
        return self.modules[key]

    def apart(self, body: Sequence[ast.stmt], scope: Scope) -> None:
        """Run statements of a file's top level, which know nothing of who needs them."""
        guards, self.guards = self.guards, []
        loops, self.loops = self.loops, []
        stack, self.stack = self.stack, []
        frames, self.frames = self.frames, []
        autocast, self.autocast = self.autocast, []
        try:
            self.block(body, scope)
        finally:
            self.guards, self.loops, self.stack, self.frames, self.autocast = (
                guards,
                loops,
                stack,
                frames,
                autocast,
            )

    def block(self, body: Sequence[ast.stmt], scope: Scope) -> str | None:
        """Run statements; `return`, `break`, `continue` or `raise` if the block ends that way."""
        depth = len(self.guards)
        out: str | None = None
        doers = self.doers
        for statement in body:
            self.steps += 1
            if self.steps > self.limit:
                raise Stop
            method = doers.get(statement.__class__)
            if method is None:
                continue
            out = method(self, statement, scope)
            if out is not None:
                break
        del self.guards[depth:]
        return out

    def do_Expr(self, node: ast.Expr, scope: Scope) -> None:
        """Run a `Expr`."""
        value = self.ev(node.value, scope)
        call = node.value
        if isinstance(call, ast.Compare) and isinstance(call.left, ast.Attribute):
            self.compared(call, call.left, scope)
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in spellings.CONVERSIONS
            and isinstance(value, Tensor)
        ):
            receiver = self.memo.get(call.func.value)
            if isinstance(receiver, Tensor) and receiver.source in PROVEN:
                self.emit("discard", self.site(call, scope), target=receiver, name=call.func.attr)

    def compared(self, node: ast.Compare, left: ast.Attribute, scope: Scope) -> None:
        """`p.requires_grad == False` as a statement, which was to be an assignment."""
        held = self.memo.get(left.value)
        if left.attr != "requires_grad":
            return
        if isinstance(held, Param) and held.select is not None:
            held = held.select.module
        if isinstance(held, Mod):
            self.emit("mistaken", self.site(node, scope), target=held, name="==")

    def do_Assign(self, node: ast.Assign, scope: Scope) -> None:
        """Run a `Assign`."""
        value = self.ev(node.value, scope)
        for target in node.targets:
            self.assign(target, value, scope)

    def do_AnnAssign(self, node: ast.AnnAssign, scope: Scope) -> None:
        """Run a `AnnAssign`."""
        if node.value is not None:
            self.assign(node.target, self.ev(node.value, scope), scope)

    def do_AugAssign(self, node: ast.AugAssign, scope: Scope) -> None:
        """Run a `AugAssign`."""
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
        result = tensors.binary(self, node, node.op, old, value, scope)
        if isinstance(old, Param):
            return  # in place: it stays the parameter that it is
        if isinstance(old, Tensor) and isinstance(result, Tensor):
            result = result.copy(dtype=old.dtype, sums=old.sums)  # in place: the dtype stays
        self.assign(target, result, scope)

    def do_Delete(self, node: ast.Delete, scope: Scope) -> None:
        """Run a `Delete`."""
        for target in node.targets:
            if isinstance(target, ast.Name):
                scope.vars.pop(target.id, None)
            elif isinstance(target, ast.Attribute):
                base = self.ev(target.value, scope)
                if isinstance(base, Thing):
                    base.attrs.pop(target.attr, None)

    def do_Global(self, node: ast.Global, scope: Scope) -> None:
        """Run a `Global`."""
        scope.globals.update(node.names)

    do_Nonlocal = do_Global

    def do_Return(self, node: ast.Return, scope: Scope) -> str:
        """Run a `Return`."""
        value: Value = Const(None) if node.value is None else self.ev(node.value, scope)
        if self.frames:
            self.frames[-1].returns.append(value)
        return "return"

    def do_Raise(self, node: ast.Raise, scope: Scope) -> str:
        """Run a `Raise`."""
        return "raise"

    def do_Break(self, node: ast.Break, scope: Scope) -> str:
        """Run a `Break`."""
        return "break"

    def do_Continue(self, node: ast.Continue, scope: Scope) -> str:
        """Run a `Continue`."""
        return "continue"

    def do_Assert(self, node: ast.Assert, scope: Scope) -> None:
        """Run a `Assert`."""
        self.assume(self.cond(node.test, scope), True)

    def do_If(self, node: ast.If, scope: Scope) -> str | None:
        """Run a `If`."""
        if is_main_test(node.test):
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
        self.match(depth, scope)
        scope.vars.update(narrowing.narrowed(self, node.test, True, scope))
        first = self.block(node.body, scope)
        del self.guards[depth:]
        after = scope.vars
        scope.vars = dict(before)
        self.assume(condition, False)
        scope.vars.update(narrowing.narrowed(self, node.test, False, scope))
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
        merged = dict(first)
        for name, value in second.items():
            other = merged.get(name)
            if other is value:
                continue
            if other is None or isinstance(other, LATE):
                merged[name] = value
            elif not isinstance(value, LATE):
                merged[name] = join(other, value)
        return merged

    def do_For(self, node: ast.For, scope: Scope) -> str | None:
        """Run a `For`."""
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
            return None  # what comes after the loop may still run
        if node.orelse and out != "break":
            self.block(node.orelse, scope)
        return None

    do_AsyncFor = do_For

    def do_While(self, node: ast.While, scope: Scope) -> str | None:
        """Run a `While`."""
        condition = self.cond(node.test, scope)
        if self.truth(condition) is False:
            return None
        self.loops.append(node)
        self.block(node.body, scope)
        self.loops.pop()
        return None

    def entered(self, value: Obj, node: ast.expr, scope: Scope) -> tuple[Value, Callable[[], Any]]:
        """What a context of the program gives, and what leaves it."""
        enter, leave = value.cls.find("__enter__"), value.cls.find("__exit__")
        nothing: list[Value] = [Const(None), Const(None), Const(None)]
        site = self.site(node, scope)

        def left() -> None:
            if isinstance(leave, Func):
                self.enter(leave.bind(value), nothing, {}, site)

        if not isinstance(enter, Func):
            return self.fresh("context", node), left
        return self.enter(enter.bind(value), [], {}, site), left

    def do_With(self, node: ast.With, scope: Scope) -> str | None:
        """Run a `With`."""
        undo: list[Callable[[], Any]] = []
        for item in node.items:
            value = self.ev(item.context_expr, scope)
            undo.append(torchlib.enter(self, value))
            if isinstance(value, Obj):
                value, leave = self.entered(value, item.context_expr, scope)
                undo.append(leave)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value, scope)
        out = self.block(node.body, scope)
        for leave in reversed(undo):
            leave()
        return out

    do_AsyncWith = do_With

    def do_Try(self, node: ast.Try, scope: Scope) -> str | None:
        """Run a `Try`."""
        before = dict(scope.vars)
        out = self.block(node.body, scope)
        if out is None:
            out = self.block(node.orelse, scope)
        after = scope.vars
        returned = len(self.frames[-1].returns) if self.frames else 0
        body = out
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
        if body == "return" and self.frames:
            del self.frames[-1].returns[returned:]  # what a handler returns instead is the exception
        scope.vars = after
        last = self.block(node.finalbody, scope)
        return last or out

    do_TryStar = do_Try

    def do_Match(self, node: ast.Match, scope: Scope) -> str | None:
        """Run a `Match`: its cases are tests of the subject, each under the failure of those before."""
        subject = self.ev(node.subject, scope)
        merged: dict[str, Value] | None = None
        before = dict(scope.vars)
        depth = len(self.guards)
        outs: set[str | None] = set()
        for index, case in enumerate(node.cases):
            scope.vars = dict(before)
            condition = self.pattern(case.pattern, subject, index, scope)
            known = True if condition is None else self.truth(condition)
            if known is False:
                continue
            inside = len(self.guards)
            if condition is not None:
                self.assume(condition, True)
                self.match(inside, scope)
            if case.guard is not None:
                guard = self.cond(case.guard, scope)
                known = None
                self.assume(guard, True)
                condition = guard if condition is None else Cond("and", [condition, guard], None, case.guard)
            out = self.block(case.body, scope)
            del self.guards[inside:]
            outs.add(out)
            if out is None:
                merged = dict(scope.vars) if merged is None else self.merge(merged, scope.vars)
            if known:
                break
            if condition is not None:
                self.assume(condition, False)
        else:
            outs.add(None)  # no case may fit
            merged = before if merged is None else self.merge(merged, before)
        del self.guards[depth:]
        scope.vars = merged if merged is not None else before
        return None if None in outs else outs.pop() if len(outs) == 1 else "return"

    def pattern(self, node: ast.pattern, subject: Value, index: int, scope: Scope) -> Cond | None:
        """The test that a pattern is, None where it always fits. The names in it are bound."""
        inner = node.pattern if isinstance(node, ast.MatchAs) else None
        test: Cond | None
        match node:
            case ast.MatchAs():
                test = self.pattern(inner, subject, index, scope) if inner is not None else None
                if node.name:
                    scope.vars[node.name] = subject
                return test
            case ast.MatchOr(patterns=patterns):
                parts = [self.pattern(part, subject, index, scope) for part in patterns]
                tests = [part for part in parts if part is not None]
                return Cond("or", tests, None, node) if len(tests) == len(parts) else None
            case ast.MatchClass(patterns=[], kwd_patterns=[]):
                value = torchlib.call(
                    self,
                    "builtins.isinstance",
                    [subject, self.ev(node.cls, scope)],
                    {},
                    self.site(node, scope),
                )
                return Cond("atom", [], value, node)
            case ast.MatchValue(value=expression):
                value = tensors.compared(
                    self, subject, ast.Eq(), self.ev(expression, scope), self.site(node, scope)
                )
                return Cond("atom", [], value, node)
        for part in ast.walk(node):
            name = getattr(part, "name", None)
            if isinstance(part, ast.MatchAs | ast.MatchStar) and name:
                scope.vars[name] = subject
        return Cond("atom", [], Unknown(f"match({subject.term})[{index}]"), node)

    def do_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> None:
        """Run a `FunctionDef`."""
        # A decorator leaves the function as it is; `effects.decorated` enters one that is a context.
        scope.vars[node.name] = self.function(node, scope)

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
        """Run a `ClassDef`."""
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
        """Run a `Import`."""
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
        """Run a `ImportFrom`."""
        module = node.module or ""
        load = self.find(scope.file, module, node.level) if self.find else None
        for alias in node.names:
            name = alias.asname or alias.name
            if load is not None:
                self.slices.imported(scope.file, name)
                if alias.name != "*":
                    dotted = f"{module}.{alias.name}" if module else alias.name
                    scope.vars[name] = Imported(load, alias.name, scope.file, dotted, node.level)
                elif len(self.modules) < FILES and (file := load()) is not None:
                    scope.vars.update(self.module(file).vars)
            elif node.level:
                inner = (
                    self.resolve(scope.file, alias.name, node.level) if self.resolve and not module else None
                )
                scope.vars[name] = ModuleValue(inner) if inner else Unknown(f"import:.{module}.{alias.name}")
            elif alias.name != "*":
                scope.vars[name] = Lib(f"{module}.{alias.name}")

    def force(self, value: Value, name: str, depth: int = 0) -> Value:
        """What a name stands for: its file, or the statement that binds it, runs when it is needed."""
        if isinstance(value, Pending):
            if value.found is None:
                value.found = {}
                self.apart(value.group, value.scope)
                value.found = value.scope.vars
            found = value.found.get(name)
            if found is None or isinstance(found, Pending):
                return Unknown(f"name:{name}")
            return self.force(found, name, depth + 1) if depth < 12 else found
        if not isinstance(value, Imported):
            return value
        unknown = Unknown(f"import:{value.dotted}")
        file = value.load()
        if file is None:
            return unknown
        if id(file) not in self.modules and len(self.modules) >= FILES:
            return Unknown(f"import:{value.dotted}.{value.name}")
        found = self.module(file).vars.get(value.name)
        if found is not None and depth < 12:
            return self.force(found, value.name, depth + 1)
        inner = self.resolve(value.where, value.dotted, value.level) if self.resolve else None
        return ModuleValue(inner) if inner is not None else unknown

    def assign(self, target: ast.expr, value: Value, scope: Scope) -> None:
        """Bind a target."""
        if isinstance(target, ast.Name):
            home = scope
            if target.id in scope.globals:
                home = self.owner_of(target.id, scope)
            if isinstance(value, Thing) and not value.name and not (isinstance(value, Mod) and value.parent):
                value.name = target.id
            home.vars[target.id] = value
            if home.kind == "module" and isinstance(value, Mod) and value.parent is None and not self.frames:
                effects.shared(self, value, target.id, scope.file)
            for option in each(value):
                if isinstance(option, Dim) and option.index is not None:
                    self.emit("bound", option.site, target=option, name=target.id, value=target)
        elif isinstance(target, ast.Attribute):
            base = self.ev(target.value, scope)
            if isinstance(value, Thing) and not value.name:
                value.name = ast.unparse(target)
            effects.set_attribute(self, base, target.attr, value, self.site(target, scope))
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


Interpreter.doers = {
    getattr(ast, name[3:]): method
    for name, method in vars(Interpreter).items()
    if name.startswith("do_") and hasattr(ast, name[3:])
}

__all__ = ["STEPS", "TOTAL", "Imported", "Interpreter", "ModuleValue", "Partial", "Stop", "Super"]
