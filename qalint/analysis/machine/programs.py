"""Programs: which files and entries a program has, and how its story is told.

A script runs from its top, `if __name__ == "__main__":` included; what no one called is then run on
its own, with unknown arguments. A marimo notebook is one program of its cells in dependency order,
a Jupyter notebook one of its cells in file order (the file's tree is that already).
"""

from __future__ import annotations

import ast
import os
import re
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from ...codeprint import STEP, code_without_comments
from ...rule import Confidence
from ..project import Project, meanings
from . import models
from .base import STEPS, Dead, Multi, Out, Split
from .facts import dotted, is_abstract, words
from .interpreter import Machine
from .objects import Frame, Instance, Scaler
from .paths import World
from .scope import Scope
from .slicing import Module, Program
from .story import (
    Backward,
    Clip,
    Counts,
    FrameworkUse,
    LibraryCall,
    Load,
    OptimizerStep,
    Save,
    ScalerStep,
    Unscale,
    ZeroGrad,
)
from .values import Cls, Const, Fn, Lazy, Namespace, Ref, Value, forget_terms, term

if TYPE_CHECKING:
    from ...file import File
    from .story import Story

S = TypeVar("S", bound="Story")

NEEDLES = (
    "backward",
    "GradScaler",
    "autocast",
    "optim",
    "zero_grad",
    "requires_grad",
    "require_grad",
    ".half()",
    "float16",
    "Parameter",
    "lora",
    "LoRA",
    "peft",
    "from_pretrained",
    ".step(",
    "unscale",
    ".cuda(",
    ".to(",
)
"""A file with none of these concerns no rule that reads a story."""

STARTS = ("torch", "peft", "transformers", "accelerate", "lightning")
BUILT_ON = words(
    """torch peft transformers accelerate lightning pytorch_lightning diffusers timm deepspeed apex trl
    torchvision fastai ignite mmengine bitsandbytes marimo"""
)
FILES = 40
BYTES = 700_000
"""At most so many files, of so many bytes together, are taken into one program."""
SHORT = STEP
PROTOCOL = re.compile(
    rb"backward\(|\.step\(|GradScaler|autocast|zero_grad|unscale_|optim\.|requires_grad|\.half\(|clip_grad"
    rb"|BCELoss|binary_cross_entropy"
)
"""A file of the project of `SHORT` bytes without one of these in its code is not read: it changes nothing."""


def imports_torch(module: Module) -> bool:
    """Whether a file imports torch or a library built on it."""
    for node in module.imports:
        if isinstance(node, ast.Import):
            if any(alias.name.partition(".")[0] in BUILT_ON for alias in node.names):
                return True
        elif node.level == 0 and (node.module or "").partition(".")[0] in BUILT_ON:
            return True
    return False


_weights: dict[tuple[str, int, int], int | None] = {}
"""By path, time and size: many programs import the same files."""


def weight_of(raw: bytes) -> int | None:
    """See `Files.weigh`. Comments do not count: what they say changes nothing for who imports the file."""
    if len(raw) >= SHORT and not (PROTOCOL.search(raw) and PROTOCOL.search(code_without_comments(raw))):
        return None
    return len(raw) // STEP * STEP


class Files:
    """The modules of one program, loaded as their imports are met."""

    def __init__(self, program: Program, project: Project, home: Module) -> None:
        self.program = program
        self.project = project
        self.home = home
        self.paths: dict[tuple[str, str, int], str | None] = {}
        self.by_path: dict[str, Module] = {}
        self.cold: set[str] = set()
        self.own = os.path.abspath(home.path)
        self.machine: Machine | None = None

    def locate(self, path: str, name: str, level: int) -> str | None:
        """The path of an imported module of the project."""
        key = (path, name, level)
        if key not in self.paths:
            self.paths[key] = self.project.resolve(path, name, level)
        return self.paths[key]

    def load_all(self) -> bool:
        """Take in the files that the program imports, directly or not, as far as they may matter.

        False, and at once, where neither the file nor what it imports, at most one file between, imports
        torch or a library built on it.
        """
        todo = [self.home]
        near = 0
        """How many of the files to come are imported by the file itself."""
        trains = imports_torch(self.home)
        size = 0
        while todo:
            module = todo.pop(0)
            for node in module.imports:
                for name, level in meanings(node):
                    if level == 0 and name.partition(".")[0] in OUTSIDE:
                        continue
                    path = self.locate(module.path, name, level)
                    if path is None or path in self.by_path or path in self.cold or path == self.own:
                        continue
                    self.project.used.add(path)
                    weight = self.weigh(path)
                    if weight is None:
                        self.cold.add(path)
                        continue
                    if len(self.by_path) >= FILES or size + weight > BYTES:
                        continue
                    file = self.project.file(path)
                    if file is None:
                        continue
                    size += weight
                    made = Module(file)
                    self.by_path[path] = made
                    self.program.add(made)
                    todo.append(made)
                    trains = trains or imports_torch(made)
            near = len(todo) if module is self.home else near - 1
            if not trains and near <= 0:
                return False
        return trains

    @staticmethod
    def weigh(path: str) -> int | None:
        """The size of a file in whole steps; None if it is long and holds no word of the protocol."""
        try:
            status = os.stat(path)
            key = (path, status.st_mtime_ns, status.st_size)
            if key not in _weights:
                with open(path, "rb") as handle:
                    _weights[key] = weight_of(handle.read())
        except OSError:
            return 0
        return _weights[key]

    def is_cold(self, module: Module, name: str, level: int) -> bool:
        """Whether an import means a file of the project that holds nothing of the protocol."""
        path = self.locate(module.path, name, level)
        return path is not None and path in self.cold

    def namespace(self, module: Module, name: str, level: int) -> Namespace | None:
        """The project's module that an import means, or None."""
        if level == 0 and name.partition(".")[0] in OUTSIDE:
            return None
        path = self.locate(module.path, name, level)
        return Namespace(path) if path is not None and path in self.by_path else None

    def defines(self, path: str, name: str) -> bool:
        """Whether a module binds a name at its top."""
        module = self.by_path.get(path)
        return module is not None and name in module.top.stores

    def names(self, path: str) -> set[str]:
        """The names that a module binds."""
        module = self.by_path.get(path)
        return set() if module is None else module.top.stores

    @staticmethod
    def frame(path: str) -> Any:
        """The frame of a module."""
        return ("module", path)

    def ensure(self, world: World, path: str) -> None:
        """Run the top of a module once in this world; it comes back as one world."""
        oid = self.frame(path)
        if oid in world.heap:
            return
        module = self.by_path[path]
        machine = self.machine
        assert machine is not None
        frame = Frame(module, ())
        world.put(oid, frame)
        saved = (world.frame, world.module, world.ctx, world.stack, world.memo, world.auto, world.loops)
        world.frame, world.module, world.auto, world.memo = oid, module, (), {}
        frame.vars["__name__"] = Const(module.path)
        out = Out()
        body = [statement for statement in module.body if not is_main(statement)]
        unroll, machine.unroll = machine.unroll, ()
        try:
            worlds = machine.block(body, [world], out)
        finally:
            machine.unroll = unroll
        if not worlds:
            worlds = [world]
        first = worlds[0]
        joiner = machine.joiner(None, first)
        for other in worlds[1:]:
            joiner.merge(first, other)
        if first is not world:
            world.become(first)
        (world.frame, world.module, world.ctx, world.stack, world.memo, world.auto, world.loops) = saved


class Teller(Machine):
    """A machine with its files: imports are read when they are first used."""

    def force(self, world: World, value: Value) -> Value:
        """Read a name of another module."""
        assert type(value) is Lazy
        self.files.ensure(world, value.path)
        frame = world.heap[self.files.frame(value.path)]
        assert isinstance(frame, Frame)
        found = frame.vars.get(value.name)
        for _ in range(8):
            if type(found) is not Lazy:
                break
            if found == value:
                return term("global", value.name)
            self.files.ensure(world, found.path)
            other = world.heap[self.files.frame(found.path)]
            assert isinstance(other, Frame)
            found = other.vars.get(found.name)
        if found is None:
            path = self.files.locate(value.path, value.name, 1)
            if path is not None and path in self.files.by_path:
                return Namespace(path)
            return term("lib", value.path, value.name)
        return found


OUTSIDE = frozenset(sys.stdlib_module_names)
"""What no file of a project stands for, whatever it is called."""


def is_main(statement: ast.stmt) -> bool:
    """Whether a statement is `if __name__ == "__main__":`."""
    return (
        isinstance(statement, ast.If)
        and isinstance(statement.test, ast.Compare)
        and isinstance(statement.test.left, ast.Name)
        and statement.test.left.id == "__name__"
    )


def relevant(text: str) -> bool:
    """Whether a file can have a story at all."""
    return any(word in text for word in STARTS) and any(needle in text for needle in NEEDLES)


def tell(file: File, story: type[S]) -> S | None:
    """The story of `file`'s program, or None when nothing in it concerns training."""
    scope = file.get(Scope)
    if scope is None:
        return None
    models.load()
    forget_terms()
    told = story(file)
    home, program, files = scope.home, scope.program, scope.files
    program.settle()
    machine = Teller(program, told, files)
    machine.missing_scaler, machine.bare_forwards, machine.own_backwards = [], [], []
    files.machine = machine
    entries = run(machine, home)
    finish(machine)
    told.counts = Counts(
        machine.steps,
        machine.widest,
        entries,
        len(told.bounds),
        sum(1 for event in told.events if isinstance(event, OptimizerStep | ScalerStep)),
    )
    return told


def notebook_body(file: File) -> list[ast.stmt] | None:
    """The cells of a marimo notebook in running order, in one scope; None for other files."""
    if "marimo" not in file.source.text:
        return None
    from .cells import body_of

    return body_of(file)


def run(machine: Machine, home: Module) -> int:
    """Run the top of the file, then what nobody called; the number of entries."""
    world = World()
    oid = Files.frame(home.path)
    frame = Frame(home, ())
    frame.vars["__name__"] = Const("__main__")
    world.put(oid, frame)
    world.frame, world.module = oid, home
    out = Out()
    worlds = machine.block(home.body, [world], out)
    ended = worlds + out.every()
    if not ended:
        # Every path ended early (an assertion, an exit): the definitions are still wanted.
        ended = [definitions(machine, home)]
    base = ended[0]
    joiner = machine.joiner(None, base)
    for other in ended[1:]:
        joiner.merge(base, other)
    base.frame, base.module, base.stack, base.auto, base.loops = oid, home, (), (), ()
    base.grad, base.memo, base.ctx = True, {}, 0
    return 1 + uncalled(machine, home, base)


def definitions(machine: Machine, home: Module) -> World:
    """A world in which only the definitions of a file were run."""
    world = World()
    oid = Files.frame(home.path)
    world.put(oid, Frame(home, ()))
    world.frame, world.module = oid, home
    body: list[ast.stmt] = [
        statement
        for statement in home.body
        if isinstance(
            statement,
            ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom | ast.Assign,
        )
    ]
    worlds = machine.block(body, [world], Out())
    return worlds[0] if worlds else world


def uncalled(machine: Machine, home: Module, base: World) -> int:
    """Run the hot functions that nobody called, callers first."""
    entries = 0
    # What the top left behind in its objects is not what these functions are called with.
    pending = [node for node in home.order if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    machine.unseen_caller = True
    called = home.top.calls.union(*(facts.calls for facts in home.facts.values()))
    pending.sort(key=lambda node: node.name in called)
    for node in pending:
        if node in machine.entered or not machine.program.hot(home, node):
            continue
        owner = home.parents.get(node)
        if isinstance(owner, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for receiver in receivers(home, owner, node):
            world = base.fork()
            world.pc = {}
            forget_states(machine, world)
            machine.limit = machine.steps + STEPS // 2
            try:
                fn: Any
                if isinstance(owner, ast.ClassDef):
                    fn, world_ = method_entry(machine, home, owner, node, world, receiver)
                    world = world_
                else:
                    fn = function_of(machine, world, node)
                if type(fn) is not Fn:
                    continue
                machine.entered.add(node)
                given = [world.ret] if isinstance(owner, ast.ClassDef) and "static" not in fn.flags else []
                machine.activate(world, fn, given, {}, node, True, entry=True)
                entries += 1
            except (Dead, Split, Multi):
                continue
    return entries


def receivers(home: Module, owner: Any, node: Any) -> list[Any]:
    """The classes of whose instances a method is run: where it calls what is to be overridden, who does."""
    if not isinstance(owner, ast.ClassDef):
        return [None]
    methods = [item for item in owner.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
    if not any(map(is_abstract, methods)):
        return [owner]
    classes = [item for item in home.parents if isinstance(item, ast.ClassDef)]
    found: list[ast.ClassDef] = []
    below = {owner.name}
    for item in classes:
        if any(dotted(base) in below for base in item.bases):
            below.add(item.name)
            own = {inner.name for inner in item.body if isinstance(inner, ast.FunctionDef)}
            if node.name not in own and own & {method.name for method in methods if is_abstract(method)}:
                found.append(item)
    return list(found[:3]) or [owner]


def function_of(machine: Machine, world: World, node: Any) -> Value:
    """The function that a definition at the top of the file made."""
    frame = world.heap[world.frame]
    assert isinstance(frame, Frame)
    found = frame.vars.get(node.name)
    if type(found) is Fn and found.node is node:
        return found
    world.memo = {}
    try:
        made = machine.function(node, world)
    except (Split, Dead):
        return None
    if type(made) is Fn:
        return made
    return found


def class_of(machine: Machine, owner: ast.ClassDef, world: World) -> Cls:
    """The class that a definition at the top of the file made."""
    frame = world.heap[world.frame]
    assert isinstance(frame, Frame)
    cls = frame.vars.get(owner.name)
    if type(cls) is not Cls or cls.node is not owner:
        made = machine.class_(owner, world)
        assert type(made) is Cls
        cls = made
    return cls


def method_entry(
    machine: Machine, home: Module, owner: ast.ClassDef, node: Any, world: World, receiver: ast.ClassDef
) -> tuple[Value, World]:
    """A method of a class with a receiver: an instance, of that class or one below, made with unknowns."""
    world.memo = {}
    cls = class_of(machine, owner, world)
    fn = machine.function(node, world, cls)
    if type(fn) is not Fn:
        return None, world
    if node.name == "__init__":
        world.ret = machine_instance(machine, world, cls, owner)
        return fn, world
    worlds: list[World]
    if receiver is not owner:
        cls = class_of(machine, receiver, world)
    try:
        world.ret = machine.instantiate(world, cls, [], {}, owner, True, entry=True)
        worlds = [world]
    except Multi as multi:
        worlds = multi.worlds
    first = worlds[0]
    ref = first.ret
    joiner = machine.joiner(owner, first)
    for other in worlds[1:]:
        joiner.merge(first, other)
    first.ret = ref
    forget_attributes(first, ref, cls)
    forget_states(machine, first)
    return fn, first


def forget_attributes(world: World, ref: Value, cls: Cls) -> None:
    """What other methods set is not what the constructor left there (`self.optimizer = None`)."""
    obj = world.heap.get(ref.oid) if type(ref) is Ref else None
    if not isinstance(obj, Instance):
        return
    names: set[str] = set()
    todo: list[Value] = [cls]
    while todo:
        each = todo.pop()
        if type(each) is not Cls:
            continue
        todo += each.bases
        for statement in each.node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.name != "__init__":
                facts = each.module.facts.get(statement)
                own = statement.args.args[0].arg if statement.args.args else ""
                for target in facts.targets if facts is not None else ():
                    if isinstance(target.value, ast.Name) and target.value.id == own:
                        names.add(target.attr)
    changed = world.edit(ref)
    for name in names:
        if type(changed.attrs.get(name)) is Const:
            changed.attrs[name] = term("attr", ref, name)


def machine_instance(machine: Machine, world: World, cls: Cls, owner: ast.AST) -> Ref:
    """A bare instance, for running `__init__` itself."""
    from .objects import Instance, Model

    kind = Model if machine.is_module(cls) else Instance
    obj = kind(owner, world.module, cls)
    obj.hidden = machine.hidden_base(cls)
    return world.put(("new", id(owner), world.ctx, "entry"), obj)


def forget_states(machine: Machine, world: World) -> None:
    """At an entry nothing is known of what was done with scalers and optimizers before."""
    for ref, obj in world.of_kind(Scaler):
        if obj.stages or obj.pending:
            changed = world.edit(ref)
            changed.stages, changed.pending, changed.left = {}, None, {}
    for ref, _ in machine.optimizers(world):
        machine.lose(world, ref)


def finish(machine: Machine) -> None:
    """What only the whole program tells."""
    story = machine.story
    framework = any(event.kind == "framework" for event in story.events)
    if not story.has_scaler and not framework:
        for world, optimizer, event, at, place, context in machine.missing_scaler:
            machine.fault(
                world,
                "missing-grad-scaler",
                machine.event_at(world, Backward, at, state="plain"),
                event,
                [(context, "the loss is computed in float16 here"), (place, "the step follows")],
                machine.names_of(world, None, optimizer),
                "",
                {
                    "backward": at,
                    "step": place,
                    "with": context,
                    "optimizer": machine._made(world, optimizer),
                },
            )
    if any(event.what.get("fp16") for event in story.find(FrameworkUse)):
        for told in machine.own_backwards:
            machine.fault(*told)
    if not any("autocast" in module.file.source.text for module in machine.program.modules.values()):
        # Whenever the scaler is enabled, it has nothing to do.
        for told in machine.bare_forwards:
            machine.fault(*told)
    doubt(story)
    # A loss that some path divides is divided where there is something to divide by.
    divided = {event.node for event in story.find(Backward) if event.what.get("divided")}
    for key, fault in list(story._faults.items()):
        if fault.kind == "accumulated-loss-not-divided" and fault.node in divided:
            del story._faults[key]
    # Unscaling in every micro-step leaves the last one of an epoch open: that is no fault of its own.
    micro = {fault.node for fault in story.faults("unscale-every-micro-step")}
    for key, fault in list(story._faults.items()):
        if fault.kind == "missing-scaler-update" and fault.node in micro:
            del story._faults[key]
    steps = [event for event in story.find(ScalerStep) if event.scaler and event.scaler.facts["enabled"]]
    if not steps or framework:
        return
    called = {name for module in machine.program.modules.values() for name in module.top.calls}
    for module in machine.program.modules.values():
        for facts in module.facts.values():
            called |= facts.calls
    world = World()
    first = steps[0]
    names = {
        "scaler": first.scaler.name if first.scaler else "",
        "optimizer": first.optimizer.name if first.optimizer else "",
    }
    if not any(name.startswith(("clip_grad", "clip_")) for name in called):
        machine.fault(world, "missing-gradient-clipping", first, first, [], names, "", {})
    if called.isdisjoint(LOOKS):
        backward = next((event for event in story.find(Backward) if event.scaler == first.scaler), None)
        if backward is not None:
            machine.fault(world, "unchecked-loss", backward, first, [], names, "", {})
    restored = {event.what["of"] for event in story.find(Load)}
    if "optimizer" in restored and "scaler" not in restored:
        kept = any(
            event.what.get("name") == "state_dict" and event.what.get("of") == "scaler"
            for event in story.find(LibraryCall)
        )
        for save in story.find(Save):
            if not kept and "optimizer" in save.what["of"] and not {"scaler", "?"} & set(save.what["of"]):
                machine.fault(
                    world,
                    "scaler-not-checkpointed",
                    save,
                    first,
                    [(scaler_place(first), "the scaler")],
                    names,
                    "",
                    {"save": None},
                )


def doubt(story: Story) -> None:
    """Faults that need a guard which nothing relates to another are less sure.

    A clip that finds unscaled gradients on another path of the same call, or a step that finds scaled
    ones while the scaler may be off: the two guards may well be the same flag under two names.
    """
    for key, fault in list(story._faults.items()):
        if fault.kind == "clip-before-unscale":
            unsure = any(
                event.node is fault.node and event.stack == fault.at.stack and event.state == "unscaled"
                for event in story.find(Clip)
            )
        elif fault.kind == "unscaled-backward" and fault.variant == "plain" and fault.at.state != "mixed":
            confirmed = fault.confirmed
            scaler = confirmed.scaler
            unsure = (
                scaler is not None
                and scaler.facts.get("enabled") is None
                and any(
                    event.node is confirmed.node
                    and event.stack == confirmed.stack
                    and event.state == "scaled"
                    for event in story.find(type(confirmed))
                )
            )
        elif fault.kind == "scaler-call-order" and fault.variant == "update-without-step":
            # Each of several optimizers was left out by a test of its own: all at once, perhaps never.
            left_out = {
                event.optimizer
                for event in story.find(ScalerStep, Unscale)
                if event.scaler == fault.at.scaler and story.reaches(event, fault.at)
            }
            unsure = len(left_out) > 1
        elif fault.kind == "missing-zero-grad":
            # Two countings of rounds, one for the step and one for the clearing: they may well agree.
            unsure = sum(" Mod " in guard.text for guard in fault.guards) > 1 and any(
                event.file is fault.file and story.reaches(event, fault.at) for event in story.find(ZeroGrad)
            )
        else:
            continue
        if unsure:
            story._faults[key] = fault._replace(confidence=Confidence.MEDIUM)


def scaler_place(event: ScalerStep) -> Any:
    """Where the scaler of a step was made, as a place of the machine."""
    return None


LOOKS = frozenset(
    (
        "isfinite",
        "isnan",
        "isinf",
        "item",
        "print",
        "log",
        "log_metrics",
        "add_scalar",
        "info",
        "set_postfix",
        "detect_anomaly",
        "append",
        "tolist",
        "float",
        "write",
    )
)
