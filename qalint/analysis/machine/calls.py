"""Calls: functions, methods, classes, library models, and what becomes of objects given to the unseen."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from . import models
from .base import ACTIVATION, DEPTH, Dead, Multi, Out, Split, name_of
from .facts import dotted, is_abstract, yields_parameters
from .objects import DictObj, Frame, Instance, Model
from .paths import World, still_entered
from .story import Event
from .unseen import Unseen
from .values import (
    NONE,
    Auto,
    Bound,
    Cells,
    Cls,
    Const,
    Flow,
    Fn,
    Lib,
    Method,
    Mode,
    Partial,
    Ref,
    Super,
    Term,
    Tup,
    Value,
    flow_of,
    mix,
    term,
)

if TYPE_CHECKING:
    from .interpreter import Machine

BARREN = 250
"""A call that took so many steps and met no protocol event is not entered again."""
SMALL = 14
"""A cold function of at most so many statements and no loop is entered for its value."""


class Call:
    """One call as a model sees it.

    `args` and `keywords` are values; `receiver` is the object of a method call (a `Ref`, `Cells`, a
    term, ...); `wild` means that `*args` or `**kwargs` of unknown content were passed.
    """

    __slots__ = ("args", "callee", "keywords", "machine", "name", "node", "receiver", "wild", "world")

    def __init__(
        self,
        machine: Machine,
        world: World,
        node: ast.AST,
        callee: Value,
        args: list[Value],
        keywords: dict[str, Value],
        wild: bool,
        receiver: Value = None,
        name: str = "",
    ) -> None:
        self.machine = machine
        self.world = world
        self.node = node
        self.callee = callee
        self.args = args
        self.keywords = keywords
        self.wild = wild
        self.receiver = receiver
        self.name = name

    def arg(self, index: int | None, name: str | None = None) -> Value | None:
        """An argument by position or keyword; None when it was not given."""
        if name is not None and name in self.keywords:
            return self.keywords[name]
        if index is not None and index < len(self.args):
            return self.args[index]
        return None

    def const(self, index: int | None, name: str | None = None, default: Any = None) -> Any:
        """The Python constant of an argument: `default` if not given, NotImplemented if not known."""
        value = self.arg(index, name)
        if value is None:
            return NotImplemented if self.wild else default
        value = self.world.resolve(value)
        return value.value if type(value) is Const else NotImplemented

    def arg_node(self, index: int | None, name: str | None = None) -> ast.expr | None:
        """The expression of an argument."""
        if isinstance(self.node, ast.Call):
            for keyword in self.node.keywords:
                if name is not None and keyword.arg == name:
                    return keyword.value
            if index is not None and index < len(self.node.args):
                return self.node.args[index]
        return None

    def arg_name(self, index: int | None, name: str | None = None) -> str:
        """The user's text of an argument, if it is a dotted name."""
        node = self.arg_node(index, name)
        return "" if node is None else dotted(node)

    @property
    def values(self) -> list[Value]:
        """All arguments."""
        return [*self.args, *self.keywords.values()]

    @property
    def receiver_node(self) -> ast.expr | None:
        """The expression of the receiver."""
        if isinstance(self.node, ast.Call) and isinstance(self.node.func, ast.Attribute):
            return self.node.func.value
        return None

    @property
    def receiver_name(self) -> str:
        """The user's text of the receiver."""
        node = self.receiver_node
        return "" if node is None else name_of(node)

    @property
    def place(self) -> tuple[ast.AST, Any]:
        """The place of the call."""
        return (self.node, self.world.module)

    def tell(self, cls: type[Event], **facts: Any) -> Event:
        """Tell an event at the call."""
        return self.machine.tell(self.world, cls, self.node, **facts)

    def fresh(self, flow: Flow | None = None) -> Value:
        """An unknown result, with a flow."""
        return self.machine.fresh(self.world, self.node, flow)


class Calls(Unseen):
    """Calls of every kind of value."""

    # -- definitions --

    def function(self, node: Any, world: World, cls: Cls | None = None) -> Value:
        """The value of a `def` or `lambda`, decorators applied."""
        arguments: ast.arguments = node.args
        defaults = tuple(self._default(default, world, cls) for default in arguments.defaults)
        kw_defaults = tuple(
            None if default is None else self._default(default, world, cls)
            for default in arguments.kw_defaults
        )
        module = world.module if cls is None else cls.module
        scope = world.frame if cls is None else cls.scope
        flags: set[str] = set()
        autos: list[Value] = []
        others: list[ast.expr] = []
        if not isinstance(node, ast.Lambda):
            facts = module.facts.get(node)
            if facts is not None and facts.yields:
                flags.add("generator")
                if yields_parameters(node):
                    flags.add("parameters")
            for decorator in reversed(node.decorator_list):
                text = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
                last = text.rpartition(".")[2]
                if last == "property" or last == "cached_property" or last == "setter":
                    flags.add("property")
                elif last == "staticmethod":
                    flags.add("static")
                elif last == "classmethod":
                    flags.add("class")
                elif last in ("contextmanager", "asynccontextmanager"):
                    flags.add("context")
                elif last in ("no_grad", "inference_mode"):
                    flags.add("nograd")
                elif last in HARMLESS_DECORATORS:
                    continue
                else:
                    others.append(decorator)
        fn: Value = Fn(node, module, scope, defaults, kw_defaults, cls, tuple(autos), frozenset(flags))
        for decorator in others:
            fn = self._decorate(decorator, fn, world, cls)
        return fn

    def _default(self, node: ast.expr, world: World, cls: Cls | None) -> Value:
        if cls is not None:
            return self.class_value(world, cls, node)
        return self.evaluate(node, world)

    def _decorate(self, decorator: ast.expr, fn: Fn, world: World, cls: Cls | None) -> Value:
        try:
            value = self._default(decorator, world, cls)
        except (Split, Dead):
            return fn
        value = world.resolve(value)
        if type(value) is Auto:
            return fn._replace(autos=(*fn.autos, value))
        if type(value) is Term and value.op == "ite":
            # Chosen by a test: the context is kept and decided when the function is called.
            return fn._replace(autos=(*fn.autos, value))
        if type(value) is Mode and value.kind == "nograd":
            return fn._replace(flags=fn.flags | {"nograd"})
        if type(value) is Lib and value.name.rpartition(".")[2] in ("autocast", "custom_fwd"):
            made = self.call_value(world, value, [], {}, decorator)
            return fn._replace(autos=(*fn.autos, made)) if type(made) is Auto else fn
        if type(value) is Fn and value.node not in [step[2] for step in world.stack]:
            try:
                made = self.call_value(world, value, [fn], {}, decorator)
            except (Split, Multi, Dead):
                return fn
            return made if type(made) in (Fn, Bound, Partial) else fn
        return fn._replace(flags=fn.flags | {"decorated"})

    # -- calling --

    def call_value(
        self,
        world: World,
        callee: Value,
        args: list[Value],
        keywords: dict[str, Value],
        node: ast.AST,
        wild: bool = False,
    ) -> Value:
        """Call any value."""
        callee = self.as_ref(world, callee)
        if type(callee) is Term and callee.op == "ite":
            callee = self.as_ref(world, self.decide(world, callee))
        kind = type(callee)
        if kind is Lib:
            return self.call_library(world, callee, args, keywords, node, wild)
        if kind is Method:
            return self.call_method(world, callee.receiver, callee.name, args, keywords, node, wild)
        if kind is Fn:
            return self.enter(world, callee, args, keywords, node, wild)
        if kind is Bound:
            if type(callee.fn) is Fn:
                return self.enter(world, callee.fn, [callee.receiver, *args], keywords, node, wild)
            return self.call_value(world, callee.fn, [callee.receiver, *args], keywords, node, wild)
        if kind is Cls:
            return self.instantiate(world, callee, args, keywords, node, wild)
        if kind is Partial:
            merged = {**dict(callee.keywords), **keywords}
            return self.call_value(world, callee.fn, [*callee.args, *args], merged, node, wild)
        if kind is Ref:
            obj = world.heap.get(callee.oid)
            if isinstance(obj, Model):
                return self.forward(world, callee, obj, args, keywords, node, wild)
            if isinstance(obj, Instance):
                if type(obj.cls) is Cls:
                    method = self.member(world, obj.cls, "__call__")
                    if type(method) is Fn:
                        return self.enter(world, method, [callee, *args], keywords, node, wild)
                return self.opaque(world, callee, args, keywords, node)
            return self.call_method(world, callee, "__call__", args, keywords, node, wild)
        if kind is Const:
            if callee.value is None:
                raise Dead
            return self.fresh(world, node)
        if kind is Auto:
            # A context used as a decorator.
            inner = world.resolve(args[0]) if args else NONE
            return inner._replace(autos=(*inner.autos, callee)) if type(inner) is Fn else inner
        if kind is Super:
            return self.fresh(world, node)
        return self.opaque(world, callee, args, keywords, node)

    def call_library(
        self,
        world: World,
        callee: Lib,
        args: list[Value],
        keywords: dict[str, Value],
        node: ast.AST,
        wild: bool,
    ) -> Value:
        """Call something from outside the project."""
        model = models.lookup(callee.name)
        if model is not None:
            value = model(Call(self, world, node, callee, args, keywords, wild))  # type: ignore[arg-type]
            value = self.fresh(world, node) if value is None else value
            return self.carry(world, value, [*args, *keywords.values()])
        return self.opaque(world, callee, args, keywords, node)

    def call_method(
        self,
        world: World,
        receiver: Value,
        name: str,
        args: list[Value],
        keywords: dict[str, Value],
        node: ast.AST,
        wild: bool,
    ) -> Value:
        """Call a method of an object that the models know, or of an unknown."""
        receiver = self.as_ref(world, receiver)
        kind = type(receiver)
        if kind is Ref:
            obj = world.heap.get(receiver.oid)
            group = obj.kind if obj is not None else "*"
            if isinstance(obj, Instance):
                value = self.get_attribute(world, receiver, name, node)
                if type(value) is not Method and not (type(value) is Term and value.op == "attr"):
                    return self.call_value(world, value, args, keywords, node, wild)
        elif kind is Cells:
            group = receiver.what
        elif kind is Const:
            if receiver.value is None:
                raise Dead
            group = type(receiver.value).__name__
        elif kind is Tup:
            group = "tuple"
        elif kind is Auto or kind is Mode:
            group = "context"
        else:
            group = "*"
        model = models.METHODS.get((group, name)) or models.METHODS.get((group, "*"))
        if model is None and group != "*":
            model = (
                models.METHODS.get(("*", name))
                if kind is not Ref or group in ("instance", "module")
                else None
            )
        if model is not None:
            callee = Method(receiver, name)
            value = model(
                Call(self, world, node, callee, args, keywords, wild, receiver, name)  # type: ignore[arg-type]
            )
            if value is not NotImplemented:
                value = self.fresh(world, node) if value is None else value
                return self.carry(world, value, [receiver, *args])
        return self.opaque(world, Method(receiver, name), args, keywords, node)

    def instantiate(
        self,
        world: World,
        cls: Cls,
        args: list[Value],
        keywords: dict[str, Value],
        node: ast.AST,
        wild: bool,
        entry: bool = False,
    ) -> Value:
        """A new instance of a class of the project; see `classes`."""
        raise NotImplementedError

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
        """Call a module; see `protocol`."""
        raise NotImplementedError

    def acts_when_called(self, world: World, value: Value) -> bool:
        """Whether a call of a value can matter; see `statements`."""
        raise NotImplementedError

    def is_half(self, world: World, value: Value) -> bool:
        """Whether a value is a module with FP16 in it; see `modules`."""
        raise NotImplementedError

    def unsettle(self, world: World, receiver: Value | None, name: str, node: ast.AST) -> None:
        """Constants that a method sets are unknown from here on; see `statements`."""
        raise NotImplementedError

    # -- entering --

    def enter(
        self,
        world: World,
        fn: Fn,
        args: list[Value],
        keywords: dict[str, Value],
        node: ast.AST,
        wild: bool = False,
        force: bool = False,
    ) -> Value:
        """Run a function of the project, or stand for it where it is cold, recursive or too deep."""
        body_node = fn.node
        program = self.program
        facts = fn.module.facts.get(body_node)
        hot = (
            force
            or isinstance(body_node, ast.Lambda)
            or program.hot(fn.module, body_node)
            or bool(fn.autos)
            or any(
                type(value) in (Fn, Bound, Partial) and self.acts_when_called(world, value)
                for value in (*args, *keywords.values())
            )
            or (self.halved and any(self.is_half(world, value) for value in (*args, *keywords.values())))
        )
        if "generator" in fn.flags:
            # It runs where it is walked over, or entered.
            flow = None
            for value in (*args, *keywords.values()):
                flow = mix(flow, flow_of(value))
            if not (hot or "parameters" in fn.flags) or "**" in keywords:
                return self._stand_in(world, fn, args, keywords, node)
            return term("generator", fn, Tup(tuple(args)), tuple(keywords.items()), wild, flow=flow)
        if is_abstract(body_node):
            return self.overridden(world, fn, args, keywords, node)
        recursive = any(step[2] is body_node for step in world.stack)
        if recursive or len(world.stack) >= DEPTH:
            self.why(world, node, "this call is recursive or nested too deeply and was not entered")
            return self._stand_in(world, fn, args, keywords, node)
        if not hot and (facts is None or facts.size > SMALL or facts.loops):
            return self._stand_in(world, fn, args, keywords, node)
        if self.spent():
            self.bound(world, node, "the budget is spent: this call was not entered")
            return self._stand_in(world, fn, args, keywords, node)
        if not world.grad and not force and not self.halved and not self.program.core(fn.module, body_node):
            return self._stand_in(world, fn, args, keywords, node)
        if body_node in self.barren:
            return self._stand_in(world, fn, args, keywords, node)
        if not isinstance(body_node, ast.Lambda) and hot:
            self.entered.add(body_node)
        if self.stale.get(body_node, 0) >= 2 and not self.holds_actor(world, [*args, *keywords.values()]):
            # It makes all of its objects itself and has shown what it does.
            return self._stand_in(world, fn, args, keywords, node)
        told, before, points = self.acts, self.steps, len(self.points)
        worlds = self.activate(world, fn, args, keywords, node, wild)
        if self.steps - before > 60:
            self.stale[body_node] = self.stale.get(body_node, 0) + 1 if len(self.points) == points else 0
        if self.acts == told:
            # A long way for nothing, in sum: it is not gone again.
            self.idle[body_node] = self.idle.get(body_node, 0) + self.steps - before
            if self.idle[body_node] > BARREN:
                self.barren.add(body_node)
        else:
            self.idle.pop(body_node, None)
        if len(worlds) == 1:
            only = worlds[0]
            value = only.ret
            if only is not world:
                world.become(only)
            return value
        if not worlds:
            raise Dead
        raise Multi(worlds)

    def overridden(
        self, world: World, fn: Fn, args: list[Value], keywords: dict[str, Value], node: ast.AST
    ) -> Value:
        """The result of a method that some class out of sight defines: perhaps a loss."""
        name = getattr(fn.node, "name", "")
        if any(part in name for part in ("step", "optimi", "backward", "train", "fit", "update")):
            self.escape(world, [*args, *keywords.values()], node, name)
        precision = frozenset({self.precision_inside(world)})
        return self.fresh(world, node, Flow(wide=True, precision=precision, grad=world.grad))

    def _stand_in(
        self, world: World, fn: Fn, args: list[Value], keywords: dict[str, Value], node: ast.AST
    ) -> Value:
        """The result of a function that is not entered: a mix of its tensor arguments."""
        flow = None
        for value in (*args, *keywords.values()):
            flow = mix(flow, flow_of(value))
        name = getattr(fn.node, "name", "")
        if fn.cls is not None and args and name in self.program.movers:
            self.unsettle(world, args[0], name, node)
        if flow is None and name.startswith(PURE_PREFIXES) and not world.loops:
            return term("call", Lib(f"project.{name}"), *args, *keywords.values())
        if name.startswith(PURE_PREFIXES) and not args and not keywords:
            return term("call", Lib(f"project.{name}"))
        if flow is None and name.startswith(("is_", "has_")):
            return term("call", Lib(f"project.{name}"), *args, *keywords.values())
        return self.fresh(world, node, flow)

    def activate(
        self,
        world: World,
        fn: Fn,
        args: list[Value],
        keywords: dict[str, Value],
        node: ast.AST,
        wild: bool,
        entry: bool = False,
    ) -> list[World]:
        """Run a function body: the worlds that come back, each with its result in `ret`."""
        saved = (world.frame, world.module, world.ctx, world.stack, world.memo, world.auto, world.grad)
        unroll, self.unroll = self.unroll, ()
        limit = self.limit
        ctx = self.context(world.ctx, (node, unroll))
        frame = Frame(fn.module, fn.scope)
        frame.node = fn.node
        oid = ("call", id(fn.node), ctx)
        before = set(world.heap)
        world.put(oid, frame)
        self.bind_arguments(world, fn, frame.vars, args, keywords, wild, entry)
        caller = world.module
        world.frame, world.module, world.ctx = oid, fn.module, ctx
        world.stack = (*world.stack, (node, caller, fn.node))
        world.memo = {}
        for auto in fn.autos:
            world.auto = (*world.auto, (world.resolve(auto), oid))
        if "nograd" in fn.flags:
            world.grad = False
        out = Out()
        self.limit = min(limit, self.steps + ACTIVATION) if not entry else limit
        try:
            if isinstance(fn.node, ast.Lambda):
                normal = self.run_lambda(fn.node, world)
            else:
                self.refine_parameters(world, fn)
                normal = self.block(fn.node.body, [world], out)
                for each in normal:
                    each.ret = NONE
        finally:
            self.limit = limit
            self.unroll = unroll
        results = normal + out.returns
        facts = fn.module.facts.get(fn.node)
        keep = facts is None or facts.defines
        for each in results:
            self.leave(each, saved, oid, keep)
            self.sweep(each, before)
        for each in out.raises:
            self.leave(each, saved, oid, keep)
        self.raised(out.raises)
        if len(results) > 1:
            results = self.joiner(node, world).join(results)
        return results

    def raised(self, worlds: list[World]) -> None:
        """Worlds that an exception leaves a function in; see `interpreter`."""

    def leave(self, world: World, saved: tuple[Any, ...], oid: Any, keep: bool) -> None:
        """Go back to the caller's frame."""
        world.frame, world.module, world.ctx, world.stack, memo, auto, world.grad = saved
        world.auto = still_entered(auto, world.auto)
        world.memo = dict(memo)
        if not keep:
            world.heap.pop(oid, None)
            world.owned.discard(oid)

    def sweep(self, world: World, before: set[Any]) -> None:
        """Drop what an activation made and nothing reaches any more."""
        made = [oid for oid, obj in world.heap.items() if oid not in before and obj.kind != "frame"]
        if len(made) < 4:
            return
        alive = self.reachable(world, [world.ret, *map(Ref, before)])
        for oid in made:
            if oid not in alive:
                world.drop(oid)
        for symbol in [s for s, r in world.bind.items() if type(r) is Ref and r.oid not in world.heap]:
            del world.bind[symbol]

    def reachable(self, world: World, more: list[Value]) -> set[Any]:
        """The objects that some name of this path can reach; see `protocol`."""
        raise NotImplementedError

    def run_lambda(self, node: ast.Lambda, world: World) -> list[World]:
        """The worlds after a lambda's expression."""
        done = []
        todo = [world]
        home = (world.frame, world.module)
        while todo:
            each = todo.pop()
            each.frame, each.module = home
            try:
                each.ret = self.evaluate(node.body, each)
                done.append(each)
            except Split as split:
                todo += split.worlds
            except Dead:
                continue
        return done

    def bind_arguments(
        self,
        world: World,
        fn: Fn,
        names: dict[str, Value],
        args: list[Value],
        keywords: dict[str, Value],
        wild: bool,
        entry: bool,
    ) -> None:
        """Bind parameters. A default is a value only where the call is seen whole."""
        arguments = fn.node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        left = dict(keywords)
        left.pop("**", None)
        offset = len(positional) - len(fn.defaults)
        for index, parameter in enumerate(positional):
            name = parameter.arg
            if index < len(args):
                names[name] = args[index]
            elif name in left:
                names[name] = left.pop(name)
            elif index >= offset and not wild and not entry:
                names[name] = fn.defaults[index - offset]
            else:
                names[name] = self.parameter(world, fn, parameter, entry)
        for parameter, default in zip(arguments.kwonlyargs, fn.kw_defaults, strict=False):
            name = parameter.arg
            if name in left:
                names[name] = left.pop(name)
            elif default is not None and not wild and not entry:
                names[name] = default
            else:
                names[name] = self.parameter(world, fn, parameter, entry)
        if arguments.vararg is not None:
            name = arguments.vararg.arg
            extra = args[len(positional) :]
            if entry or wild:
                names[name] = term("param", name, id(fn.node), world.ctx)
            else:
                names[name] = Tup(tuple(extra))
        if arguments.kwarg is not None:
            name = arguments.kwarg.arg
            oid = ("kwargs", id(fn.node), world.ctx)
            items: dict[Any, Value] = dict(left)
            names[name] = world.put(oid, DictObj(fn.node, fn.module, items, wild or entry))

    def parameter(self, world: World, fn: Fn, parameter: ast.arg, entry: bool) -> Value:
        """The value of a parameter of which nothing is known but its annotation."""
        return term("param", parameter.arg, id(fn.node), 0 if entry else world.ctx)

    def refine_parameters(self, world: World, fn: Fn) -> None:
        """On entry: every dotted path that this function uses as a scaler or optimizer is one."""
        facts = fn.module.facts.get(fn.node)
        if facts is None or isinstance(fn.node, ast.Lambda):
            return
        names = world.heap[world.frame]
        assert isinstance(names, Frame)
        arguments = fn.node.args
        for parameter in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            if parameter.annotation is not None:
                role = self.annotation_role(parameter.annotation)
                if role is not None:
                    value = world.resolve(names.vars[parameter.arg])
                    if type(value) is Term:
                        self.refine(world, value, role, parameter, parameter.arg)
        for path, methods in facts.paths.items():
            role = self.program.role(path, methods)
            if role is None:
                continue
            first, *rest = path.split(".")
            if first in facts.stores and first not in names.vars:
                continue
            try:
                value = self.read_name(first, world, fn.node)
                for part in rest:
                    value = self.get_attribute(world, value, part, fn.node)
            except (Dead, Split, Multi):
                continue
            value = world.resolve(value)
            if type(value) is Term and value.op not in ("ite",):
                ref = self.refine(world, value, role, fn.node, path)
                if ref is not None and getattr(world.get(ref), "extra", {}).get("weak"):
                    world.edit(ref).extra.pop("weak")

    @staticmethod
    def annotation_role(node: ast.expr) -> str | None:
        """The role that an annotation gives: `scaler`, `optimizer`, or None."""
        for inner in ast.walk(node):
            text = ""
            if isinstance(inner, ast.Attribute):
                text = inner.attr
            elif isinstance(inner, ast.Name):
                text = inner.id
            elif isinstance(inner, ast.Constant) and type(inner.value) is str:
                text = inner.value.rpartition(".")[2].strip("]) ")
            if text in ("GradScaler", "ShardedGradScaler"):
                return "scaler"
            if text == "Optimizer":
                return "optimizer"
        return None

    # -- classes --

    # -- the unseen --


HARMLESS_DECORATORS = frozenset(
    [
        "wraps",
        "lru_cache",
        "cache",
        "override",
        "overload",
        "abstractmethod",
        "final",
        "jit",
        "script",
        "compile",
        "export",
        "torch_jit",
        "record",
        "main",
        "command",
        "hydra_main",
        "rank_zero_only",
        "typechecked",
        "beartype",
        "dataclass",
        "total_ordering",
    ]
)
PURE_PREFIXES = ("is_", "has_", "get_rank", "get_world_size", "should_", "use_", "on_")
