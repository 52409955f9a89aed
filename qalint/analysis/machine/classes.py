"""Classes of the project: definition, construction, dataclasses."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from .base import DEPTH, Dead, Multi, Split
from .facts import clears, dotted
from .objects import Instance, Model
from .paths import World
from .values import (
    Bound,
    Cls,
    Fn,
    Lib,
    Ref,
    Value,
    term,
)

if TYPE_CHECKING:
    pass
from .calls import BARREN, Calls


class Classes(Calls):
    """Classes of the project: definition, construction, dataclasses."""

    def class_(self, node: ast.ClassDef, world: World) -> Value:
        """The value of a class statement."""
        bases = tuple(world.resolve(self.evaluate(base, world)) for base in node.bases)
        flags = set()
        for decorator in node.decorator_list:
            text = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
            if text.rpartition(".")[2] == "dataclass":
                flags.add("dataclass")
        for base in bases:
            if type(base) is Cls and "dataclass" in base.flags:
                flags.add("dataclass")
            name = base.name if type(base) is Lib else ""
            if name in ("typing.NamedTuple", "pydantic.BaseModel", "pydantic_settings.BaseSettings"):
                flags.add("dataclass")
            if name == "typing.NamedTuple":
                flags.add("tuple")
        return Cls(node, world.module, world.frame, bases, frozenset(flags))

    def is_module(self, cls: Value) -> bool:
        """Whether a class is a neural-network module."""
        if type(cls) is Lib:
            last = cls.name.rpartition(".")[2]
            return cls.name.startswith("torch.nn.") or last in MODULE_BASES
        if type(cls) is Cls:
            return any(self.is_module(base) for base in cls.bases)
        return False

    def hidden_base(self, cls: Cls) -> bool:
        """Whether part of a class is defined out of sight."""
        for base in cls.bases:
            if type(base) is Cls:
                if self.hidden_base(base):
                    return True
            elif not (
                type(base) is Lib
                and (
                    base.name in ("builtins.object", "torch.nn.Module", "abc.ABC", "typing.Generic")
                    or base.name.startswith(("torch.nn.", "builtins.", "enum.", "torch.utils.data."))
                )
            ):
                return True
        return False

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
        """A new instance of a class of the project."""
        module = self.is_module(cls)
        obj: Instance = (Model if module else Instance)(node, world.module, cls)
        obj.hidden = self.hidden_base(cls)
        base = self.foreign_base(cls)
        if base is not None:
            made = self.subclass_of_library(world, cls, base, args, keywords, node, wild)
            if made is not None:
                return made
        given = keywords.get("dtype")
        if isinstance(obj, Model) and given is not None:
            known = self.dtype_name(world, given)
            obj.dtype = known if known in ("float16", "bfloat16") else None
            self.halved = self.halved or known == "float16"
        oid = self.oid(world, "new", node)
        if oid in world.heap and (world.pc or world.bind or world.eqs):
            world.renew(Ref(oid))
        ref = world.put(oid, obj)
        init = self.member(world, cls, "__init__")
        if type(init) is Fn:
            facts = init.module.facts.get(init.node)
            light = facts is not None and facts.size <= 30
            closed = init.node in self.barren or self.spent() or len(world.stack) >= DEPTH
            closed = closed or any(step[2] is init.node for step in world.stack)
            hot = self.program.hot(init.module, init.node)
            if entry or (not closed and (light or hot)):
                self.entered.add(init.node)
                told, before = self.acts, self.steps
                worlds = self.activate(world, init, [ref, *args], keywords, node, wild or entry, entry)
                if self.acts == told:
                    self.idle[init.node] = self.idle.get(init.node, 0) + self.steps - before
                    if self.idle[init.node] > 3 * BARREN:
                        self.barren.add(init.node)
                if not worlds:
                    raise Dead
                for each in worlds:
                    each.ret = ref
                if len(worlds) == 1:
                    if worlds[0] is not world:
                        world.become(worlds[0])
                    return ref
                raise Multi(worlds)
            self.why(world, node, "the constructor holds nothing of the protocol and was not entered")
            world.edit(ref).hidden = True
        elif "dataclass" in cls.flags:
            self.fill_dataclass(world, ref, cls, args, keywords, wild or entry)
        elif obj.hidden:
            self.escape(world, [*args, *keywords.values()], node, "an unseen constructor")
        return ref

    def foreign_base(self, cls: Cls) -> Lib | None:
        """The first base class from outside the project."""
        for base in cls.bases:
            if type(base) is Lib:
                return base
            if type(base) is Cls:
                found = self.foreign_base(base)
                if found is not None:
                    return found
        return None

    def subclass_of_library(
        self,
        world: World,
        cls: Cls,
        base: Lib,
        args: list[Value],
        keywords: dict[str, Value],
        node: ast.AST,
        wild: bool,
    ) -> Value | None:
        """A subclass of GradScaler or of an optimizer is one, if it overrides nothing of the protocol."""
        own = {s.name for s in cls.node.body if isinstance(s, ast.FunctionDef)}
        last = base.name.rpartition(".")[2]
        if last in ("GradScaler", "ShardedGradScaler") and not own & {"scale", "step", "update", "unscale_"}:
            return self.call_library(world, base, args, keywords, node, wild)
        if any(
            isinstance(s, ast.FunctionDef) and s.name == "step" and self.clears_gradients(cls, s)
            for s in cls.node.body
        ):
            return None
        if base.name.startswith("torch.optim.") and "lr_scheduler" not in base.name:
            if last != "Optimizer" or "step" in own:
                made = self.call_library(world, Lib("torch.optim.Optimizer"), args, keywords, node, wild)
                if type(made) is Ref and self.unscales_itself(cls):
                    world.edit(made).extra["unscales"] = True
                return made
        return None

    @staticmethod
    def unscales_itself(cls: Cls) -> bool:
        """Whether an optimizer takes scaled gradients, of any dtype: `scaler.step` leaves them to it."""
        flag = "_step_supports_amp_scaling"
        return any(
            (isinstance(node, ast.Attribute) and node.attr == flag)
            or (isinstance(node, ast.Name) and node.id == flag)
            for node in ast.walk(cls.node)
        )

    @staticmethod
    def clears_gradients(cls: Cls, step: ast.FunctionDef) -> bool:
        """Whether an optimizer's own `step` clears what it used."""
        facts = cls.module.facts.get(step)
        if facts is None:
            return False
        return any(map(clears, facts.calls)) or any(target.attr == "grad" for target in facts.targets)

    def fill_dataclass(
        self,
        world: World,
        ref: Ref,
        cls: Cls,
        args: list[Value],
        keywords: dict[str, Value],
        wild: bool,
    ) -> None:
        """Set the fields of a dataclass instance."""
        fields: list[tuple[str, ast.expr | None, Cls]] = []
        chain: list[Cls] = [cls]
        while chain:
            each = chain.pop(0)
            chain += [base for base in each.bases if type(base) is Cls]
            own = [
                (statement.target.id, statement.value, each)
                for statement in each.node.body
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
            ]
            fields = list(own) if each is cls and not fields else own + fields
        obj = world.edit(ref)
        for index, (name, default, owner) in enumerate(fields):
            if index < len(args):
                value = args[index]
            elif name in keywords:
                value = keywords[name]
            elif wild or default is None:
                value = term("attr", ref, name)
            elif isinstance(default, ast.Call) and dotted(default.func).rpartition(".")[2] in (
                "field",
                "Field",
            ):
                inner = next((k.value for k in default.keywords if k.arg == "default"), None)
                if inner is None and default.args:
                    inner = default.args[0]
                value = term("attr", ref, name) if inner is None else self.class_value(world, owner, inner)
            else:
                value = self.class_value(world, owner, default)
            obj.attrs[name] = value
        post = self.member(world, cls, "__post_init__")
        if type(post) is Fn:
            try:
                self.call_value(world, Bound(post, ref), [], {}, cls.node)
            except (Split, Multi):
                return


MODULE_BASES = frozenset(
    [
        "Module",
        "PreTrainedModel",
        "LightningModule",
        "ModelMixin",
        "GenerationMixin",
        "BaseModel_",
        "ScriptModule",
        "ModuleUtilsMixin",
        "GraphModule",
    ]
)
