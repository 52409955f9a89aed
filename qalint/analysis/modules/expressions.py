"""Expressions and calls on abstract values."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from . import containers, effects, methods, narrowing, spellings, tensors, torchlib
from .values import (
    Bound,
    Class,
    Const,
    Dict,
    Func,
    Lib,
    Mod,
    Obj,
    Param,
    Params,
    Scope,
    Seq,
    Site,
    Tensor,
    Tokenizer,
    Union,
    Unknown,
    Value,
    each,
    join,
)

if TYPE_CHECKING:
    pass
from .core import (
    BUILTINS,
    DEPTH,
    LATE,
    UNROLL,
    Cond,
    Core,
    Frame,
    ModuleValue,
    Partial,
    Stop,
    Super,
    matters,
)
from .repeats import anew


class Expressions(Core):
    """Evaluates expressions. See `interpreter`."""

    evaluators: ClassVar[dict[type, Callable[..., Value]]]
    """The methods that evaluate expressions, by the class of the expression."""

    def ev(self, node: ast.expr, scope: Scope) -> Value:
        """The value of an expression."""
        self.steps += 1
        if self.steps > self.limit:
            raise Stop
        method = self.evaluators.get(node.__class__)
        if method is None:
            return self.fresh(type(node).__name__, node)
        value = method(self, node, scope)
        self.memo[node] = value
        return value

    def ev_Constant(self, node: ast.Constant, scope: Scope) -> Value:
        """The value of a `Constant`."""
        return Const(node.value, Site(node, scope.file))

    def ev_Name(self, node: ast.Name, scope: Scope) -> Value:
        """The value of a `Name`."""
        here: Scope | None = scope
        while here is not None:
            if node.id in here.vars:
                value = here.vars[node.id]
                if isinstance(value, LATE):
                    value = here.vars[node.id] = self.force(value, node.id)
                return value
            here = here.parent
            while here is not None and here.kind == "class":
                here = here.parent
        return Lib("builtins." + node.id) if node.id in BUILTINS else Unknown(f"name:{node.id}")

    def ev_Attribute(self, node: ast.Attribute, scope: Scope) -> Value:
        """The value of a `Attribute`."""
        base = self.ev(node.value, scope)
        return self.attribute(base, node.attr, node, scope)

    def ev_Call(self, node: ast.Call, scope: Scope) -> Value:
        """The value of a `Call`."""
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
                continue
            value = containers.one_dict(value)
            if isinstance(value, Dict):
                kwargs.update({key: item for key, item in value.pairs.items() if isinstance(key, str)})
                if value.open or value.rest:
                    kwargs["**"] = value
            else:
                kwargs["**"] = value
        if isinstance(function, Lib) and function.name == "builtins.super":
            return self.super_of(args, node, scope)
        return self.call(function, args, kwargs, node, scope)

    def ev_Lambda(self, node: ast.Lambda, scope: Scope) -> Value:
        """The value of a `Lambda`."""
        return self.function(node, scope)

    def ev_IfExp(self, node: ast.IfExp, scope: Scope) -> Value:
        """The value of a `IfExp`."""
        condition = self.cond(node.test, scope)
        known = self.truth(condition)
        if known is not None:
            return self.ev(node.body if known else node.orelse, scope)
        depth = len(self.guards)
        arms: list[Value] = []
        for outcome, arm in ((True, node.body), (False, node.orelse)):
            self.assume(condition, outcome)
            narrowed = narrowing.narrowed(self, node.test, outcome, scope)
            before = {name: scope.vars[name] for name in narrowed}
            scope.vars.update(narrowed)
            arms.append(self.ev(arm, scope))
            scope.vars.update(before)
            del self.guards[depth:]
        return join(*arms)

    def ev_BoolOp(self, node: ast.BoolOp, scope: Scope) -> Value:
        """The value of a `BoolOp`."""
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
        """The value of a `UnaryOp`."""
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
        """The value of a `Compare`."""
        value = tensors.compare(self, node, scope)
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.NotIn | ast.IsNot | ast.NotEq):
            if isinstance(value, Const):
                return Const(not value.value)
            return self.outcome(Cond("not", [Cond("atom", [], value, node)], None, node))
        return value

    def ev_BinOp(self, node: ast.BinOp, scope: Scope) -> Value:
        """The value of a `BinOp`."""
        left = self.ev(node.left, scope)
        right = self.ev(node.right, scope)
        return tensors.binary(self, node, node.op, left, right, scope)

    def ev_Subscript(self, node: ast.Subscript, scope: Scope) -> Value:
        """The value of a `Subscript`."""
        base = self.ev(node.value, scope)
        index = self.ev(node.slice, scope)
        return containers.item(self, base, index, Site(node, scope.file))

    def ev_Tuple(self, node: ast.Tuple, scope: Scope) -> Value:
        """The value of a `Tuple`."""
        return self.sequence(node.elts, "tuple", node, scope)

    def ev_List(self, node: ast.List, scope: Scope) -> Value:
        """The value of a `List`."""
        return self.sequence(node.elts, "list", node, scope)

    def ev_Set(self, node: ast.Set, scope: Scope) -> Value:
        """The value of a `Set`."""
        return self.sequence(node.elts, "set", node, scope)

    def ev_Dict(self, node: ast.Dict, scope: Scope) -> Value:
        """The value of a `Dict`."""
        result = Dict({}, [], Site(node, scope.file))
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.item(item, scope)
            if key is None:
                if isinstance(value, Dict):
                    result.pairs.update(value.pairs)
                    result.rest.extend(value.rest)
                else:
                    result.open = True
                continue
            name = self.item(key, scope)
            if isinstance(name, Const):
                result.pairs[name.value] = value
            else:
                result.rest.append(value)
        return result

    def ev_Starred(self, node: ast.Starred, scope: Scope) -> Value:
        """The value of a `Starred`."""
        return self.ev(node.value, scope)

    def ev_NamedExpr(self, node: ast.NamedExpr, scope: Scope) -> Value:
        """The value of a `NamedExpr`."""
        value = self.ev(node.value, scope)
        self.assign(node.target, value, scope)
        return value

    def ev_Await(self, node: ast.Await, scope: Scope) -> Value:
        """The value of a `Await`."""
        return self.ev(node.value, scope)

    def ev_Yield(self, node: ast.Yield, scope: Scope) -> Value:
        """The value of a `Yield`."""
        if node.value is not None and self.frames:
            self.frames[-1].yields.append(effects.filtered(self, self.ev(node.value, scope)))
        return self.fresh("yield", node)

    def ev_YieldFrom(self, node: ast.YieldFrom, scope: Scope) -> Value:
        """The value of a `YieldFrom`."""
        value = self.ev(node.value, scope)
        if self.frames:
            found = self.elements(value, node, scope)
            self.frames[-1].yields.extend(effects.filtered(self, item) for item in found)
        return self.fresh("yield", node)

    def ev_JoinedStr(self, node: ast.JoinedStr, scope: Scope) -> Value:
        """The value of a `JoinedStr`."""
        parts = [
            self.ev(part.value if isinstance(part, ast.FormattedValue) else part, scope)
            for part in node.values
        ]
        if all(isinstance(part, Const) for part in parts):
            return Const("".join(str(part.value) for part in parts if isinstance(part, Const)))
        return tensors.mixed("fstring", parts)

    def ev_ListComp(self, node: ast.ListComp, scope: Scope) -> Value:
        """The value of a `ListComp`."""
        return self.comprehension(node.generators, [node.elt], "list", node, scope)

    def ev_SetComp(self, node: ast.SetComp, scope: Scope) -> Value:
        """The value of a `SetComp`."""
        return self.comprehension(node.generators, [node.elt], "set", node, scope)

    def ev_GeneratorExp(self, node: ast.GeneratorExp, scope: Scope) -> Value:
        """The value of a `GeneratorExp`."""
        return self.comprehension(node.generators, [node.elt], "generator", node, scope)

    def ev_DictComp(self, node: ast.DictComp, scope: Scope) -> Value:
        """The value of a `DictComp`."""
        value = self.comprehension(node.generators, [node.value], "list", node, scope, key=node.key)
        return Dict({}, value.items if isinstance(value, Seq) else [value], Site(node, scope.file))

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
            return (
                self.force(found_, name) if found_ is not None else Unknown(f"import:{base.file.path}.{name}")
            )
        if isinstance(base, Super):
            found = base.cls.find(name, skip_self=True)
            if isinstance(found, Func):
                return found.bind(base.receiver)
            return Bound(base, name, node)
        return effects.get_attribute(self, base, name, Site(node, scope.file))

    def super_of(self, args: list[Value], node: ast.Call, scope: Scope) -> Value:
        """`super()` or `super(C, self)`."""
        if len(args) == 2 and isinstance(args[0], Class):
            return Super(args[0], args[1])
        for frame in reversed(self.frames):
            if frame.function.owner is not None and frame.function.receiver is not None:
                return Super(frame.function.owner, frame.function.receiver)
        return self.fresh("super", node)

    def sequence(self, elements: list[ast.expr], kind: str, node: ast.AST, scope: Scope) -> Value:
        """A display of a list, tuple or set."""
        result = Seq([], kind, site=Site(node, scope.file))
        for element in elements:
            if isinstance(element, ast.Starred):
                containers.extend(self, result, self.ev(element.value, scope))
            else:
                result.items.append(self.item(element, scope))
        return result

    def item(self, node: ast.expr, scope: Scope) -> Value:
        """The value of an element of a display; constants, of which tables have thousands, are no steps."""
        if node.__class__ is ast.Constant:
            return self.ev_Constant(node, scope)
        return self.ev(node, scope)

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
            return effects.collect(self, found, Site(node, scope.file), once=kind == "generator")
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
            found.append(effects.filtered(self, self.ev(element, scope)))
            return True
        generator = generators[index]
        iterable = self.ev(generator.iter, scope)
        if (numbers := counted(generator, element)) is not None:
            iterable = Seq([Const(number) for number in numbers], site=Site(generator.iter, scope.file))
        items = self.elements(iterable, generator.iter, scope)
        exact = isinstance(iterable, Seq) and not iterable.open
        denied = self.denials
        met = False
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
                    self.match(depth, scope)
            met = met or alive
            if alive:
                exact = self.clauses(generators, index + 1, element, key, found, scope) and exact
            del self.guards[depth:]
        self.loops.pop()
        return exact or (not met and self.denials > denied)

    def elements(self, value: Value, node: ast.AST, scope: Scope) -> list[Value]:
        """What iterating over a value yields: its items where they are few and known, else one for all."""
        return containers.elements(self, value, Site(node, scope.file), UNROLL)

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
                self.unsure += 1
                made = self.call(option, args, kwargs, node, scope)
                self.unsure -= 1
                if isinstance(made, Mod) and len(function.options) > 1:
                    made.family = None  # which of the classes it is, the path decides
                result = join(result, made)
            return result or self.fresh("call", node)
        if isinstance(function, Mod):
            return methods.forward(self, function, args, kwargs, site)
        if isinstance(function, Tokenizer):
            return methods.encoded(self, function, "__call__", kwargs, site)
        if isinstance(function, Obj):
            method = function.cls.find("__call__")
            if isinstance(method, Func):
                return self.enter(method.bind(function), args, kwargs, site)
        if isinstance(function, Bound):
            if isinstance(function.base, Super):
                return methods.super_call(self, function.base, function.name, args, kwargs, site)
            return methods.method(self, function.base, function.name, args, kwargs, site)
        if isinstance(function, Lib):
            return torchlib.call(self, function.name, args, kwargs, site)
        return effects.unknown_call(self, function, args, kwargs, site)

    def enter(self, function: Func, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
        """Follow a call of the program's own function."""
        node = function.node
        self.called.add(node)
        if function.name == "forward" and isinstance(function.receiver, Mod):
            self.forwarded.add(function.receiver)
            if self.frames or not self.forcing:
                self.reached.add(function.receiver)
        if self.passive and not self.leads(function):
            return tensors.mixed(
                f"call@{getattr(site.node, 'lineno', 0)}:{function.name}", [*args, *kwargs.values()]
            )
        if not self.slices.hot(node, function.scope.file) and not (
            self.readies(function)
            or any(matters(value) for value in (function.receiver, *args, *kwargs.values()))
        ):
            return tensors.mixed(
                f"call@{getattr(site.node, 'lineno', 0)}:{function.name}", [*args, *kwargs.values()]
            )
        if len(self.frames) >= DEPTH or sum(frame.function.node is node for frame in self.frames) >= 2:
            return self.fresh(function.name, site.node)
        key = None if self.entry_call(site) else self.repeats.key(function, args, kwargs)
        if key is not None and (known := self.repeats.find(key, self.guards)) is not None:
            self.asked.update(known.asked)
            if known.value is not None:
                return known.value
        if key is None:
            return self.follow(function, args, kwargs, site)
        began = self.effects
        before, self.asked = self.asked, set()
        try:
            result = self.follow(function, args, kwargs, site)
            if self.effects == began:
                self.repeats.keep(key, self.guards, self.asked, result, function.scope)
        finally:
            self.asked |= before
        return result

    def leads(self, function: Func) -> bool:
        """Whether a library's call of a function is followed: of other files only what makes modules is."""
        file = function.scope.file
        return file is self.main or self.slices.makes(function.node, file)

    def readies(self, function: Func) -> bool:
        """Whether a function makes an object ready whose other methods can matter."""
        owner = function.owner
        return (
            owner is not None
            and function.receiver in self.building
            and self.slices.hot(owner.node, owner.scope.file)
        )

    def follow(self, function: Func, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
        """Run the body of a function."""
        node = function.node
        thing = function.receiver
        if effects.is_abstract(function) or (
            isinstance(thing, Obj) and self.alone(thing) and effects.is_hollow(function)
        ):
            effects.overridden(self, function, [*args, *kwargs.values()], site)
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
        denied = self.denials
        undo: list[Callable[[], Any]] = []
        try:
            if isinstance(node, ast.Lambda):
                return self.ev(node.body, scope)
            undo = [effects.decorated(self, decorator, function.scope) for decorator in node.decorator_list]
            self.block(node.body, scope)
        finally:
            for leave in undo:
                leave()
            del self.guards[depth:]
            self.frames.pop()
            self.stack.pop()
        if frame.yields:
            return effects.collect(self, frame.yields, site)
        if self.denials > denied and is_generator(node):
            return Seq([], "generator", site=site)  # there is nothing of the kind that it looks for
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

    def alone(self, thing: Obj) -> bool:
        """Whether the analysis made an object by itself: its class may be there to be derived from."""
        return thing.site is not None and self.entry_call(thing.site)

    def entry_call(self, site: Site) -> bool:
        """Whether this call is the analysis's own (nobody is seen to call the function)."""
        return isinstance(site.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)

    def instantiate(self, cls: Class, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
        """Make an instance of a class of the program."""
        self.built.add(cls.node)
        roots = cls.roots()
        base = effects.module_base(roots)
        key = None if base is not None or self.entry_call(site) else self.repeats.key(cls, args, kwargs)
        if key is not None and (known := self.repeats.find(key, self.guards)) is not None:
            self.asked.update(known.asked)
            self.time += 1
            again = Obj(cls, site, self.time)
            again.stack = tuple(self.stack)
            again.attrs.update(anew(known.attrs) or {})
            return again
        thing: Mod | Obj
        if base is not None:
            thing = Mod(site, self.tick(), qual=base, cls=cls)
            thing.known = all(root in spellings.PLAIN_BASES for root in roots)
            thing.loaded = True
            effects.fresh_module(self, thing, kwargs if base != "torch.nn.Module" else {})
            self.emit("load", site, target=thing)
        else:
            self.time += 1
            thing = Obj(cls, site, self.time)
        thing.stack = tuple(self.stack)
        if key is None:
            self.construct(cls, thing, args, kwargs, site)
            return thing
        began = self.effects
        before, self.asked = self.asked, set()
        try:
            self.construct(cls, thing, args, kwargs, site)
            if self.effects == began:
                self.repeats.keep(key, self.guards, self.asked, thing, cls.scope)
        finally:
            self.asked |= before
        return thing

    def construct(
        self, cls: Class, thing: Mod | Obj, args: list[Value], kwargs: dict[str, Value], site: Site
    ) -> None:
        """Give a new instance what its class gives it."""
        init = cls.find("__init__")
        if isinstance(init, Func):
            self.building.append(thing)
            try:
                self.enter(init.bind(thing), args, kwargs, site)
            finally:
                self.building.pop()
        elif isinstance(thing, Obj):
            for index, (name, (default, scope)) in enumerate(cls.fields().items()):
                if index < len(args):
                    thing.attrs[name] = args[index]
                elif name in kwargs:
                    thing.attrs[name] = kwargs[name]
                elif default is not None and not self.entry_call(site) and "**" not in kwargs:
                    thing.attrs[name] = self.ev(default, scope)
                else:
                    thing.attrs[name] = Unknown(f"{cls.name}@{cls.node.lineno}.{name}")
        elif isinstance(thing, Mod) and not thing.known:
            effects.constructed(self, thing, args, kwargs)


def counted(generator: ast.comprehension, element: ast.expr) -> range | None:
    """The few numbers of `for i in range(4)` where a choice in the element asks which it is."""
    match generator.iter:
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int(count))], keywords=[]) if (
            0 < count <= UNROLL
        ):
            pass
        case _:
            return None
    target = generator.target
    asked = isinstance(target, ast.Name) and any(
        isinstance(part, ast.Name) and part.id == target.id
        for choice in ast.walk(element)
        if isinstance(choice, ast.IfExp)
        for part in ast.walk(choice.test)
    )
    return range(count) if asked else None


def is_generator(node: ast.AST) -> bool:
    """Whether a function yields: its own body, not that of one inside."""
    if not isinstance(node, ast.FunctionDef):
        return False
    todo: list[ast.AST] = list(node.body)
    while todo:
        part = todo.pop()
        if isinstance(part, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            todo.extend(ast.iter_child_nodes(part))
    return False


Expressions.evaluators = {
    getattr(ast, name[3:]): method
    for name, method in vars(Expressions).items()
    if name.startswith("ev_") and hasattr(ast, name[3:])
}
