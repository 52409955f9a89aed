"""Code that is not seen: what becomes of what it is given."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from .comprehensions import Comprehensions
from .facts import clears
from .objects import DictObj, Instance, Iter, ListObj, Model, Optimizer, Scaler
from .paths import World
from .values import (
    Bound,
    Flow,
    Lib,
    Method,
    Ref,
    Term,
    Tup,
    Value,
    flow_of,
    mix,
    root,
    term,
)

PURE = frozenset(
    [
        "torch.cuda.is_available",
        "torch.backends.mps.is_available",
        "torch.cuda.device_count",
        "torch.cuda.is_bf16_supported",
        "builtins.isinstance",
        "builtins.hasattr",
        "builtins.len",
        "builtins.issubclass",
        "builtins.callable",
        "builtins.bool",
        "builtins.int",
        "builtins.float",
        "builtins.str",
        "builtins.abs",
        "builtins.max",
        "builtins.min",
        "builtins.round",
        "os.environ.get",
        "os.getenv",
        "os.path.exists",
        "os.path.isfile",
        "os.path.isdir",
        "os.path.join",
        "torch.distributed.get_rank",
        "torch.distributed.get_world_size",
        "torch.distributed.is_initialized",
        "torch.distributed.is_available",
        "sys.platform.startswith",
        "math.isfinite",
        "math.isnan",
        "torch.isfinite",
        "torch.isnan",
        "torch.isinf",
        "numpy.isfinite",
        "builtins.type",
        "builtins.id",
        "builtins.sorted",
        "builtins.sum",
    ]
)


PURE_LAST = frozenset(["get_rank", "get_world_size", "get_local_rank"])


QUERIES = frozenset(
    [
        "startswith",
        "endswith",
        "lower",
        "upper",
        "strip",
        "is_enabled",
        "get_scale",
        "is_set",
        "exists",
        "is_file",
        "is_floating_point",
        "is_initialized",
        "is_available",
        "is_dir",
        "isnumeric",
        "isdigit",
        "split",
    ]
)


HARMLESS = (
    "builtins.",
    "torch.",
    "numpy.",
    "logging.",
    "wandb.",
    "tqdm.",
    "os.",
    "sys.",
    "time.",
    "json.",
    "math.",
    "copy.",
    "random.",
    "itertools.",
    "functools.",
    "collections.",
    "warnings.",
    "datetime.",
    "pathlib.",
    "typing.",
    "argparse.",
    "contextlib.",
    "matplotlib.",
    "pandas.",
    "sklearn.",
    "rich.",
    "marimo.",
    "tensorboardX.",
    "mlflow.",
    "torchvision.",
    "torchaudio.",
    "torchinfo.",
    "torchsummary.",
    "transformers.get_",
    "transformers.optimization.get_",
    "transformers.set_seed",
    "diffusers.optimization.get_",
    "diffusers.get_",
    "loguru.",
    "gc.",
    "re.",
    "pickle.",
    "shutil.",
    "subprocess.",
    "types.",
    "yaml.",
    "omegaconf.",
    "einops.",
    "PIL.",
    "cv2.",
    "scipy.",
)


HARMLESS_LAST = frozenset(
    ["print", "log", "info", "debug", "warning", "SummaryWriter", "count_parameters", "set_seed", "tqdm"]
)


HARMLESS_METHODS = frozenset(
    [
        "log",
        "info",
        "debug",
        "warning",
        "error",
        "exception",
        "watch",
        "add_scalar",
        "add_graph",
        "set_postfix",
        "write",
        "print",
        "format",
        "save",
        "save_checkpoint",
        "store",
        "append",
        "extend",
        "add",
        "insert",
        "items",
        "keys",
        "values",
        "get",
        "put",
        "update_lr",
        "get_last_lr",
        "__enter__",
        "__exit__",
        "set_description",
        "writerow",
    ]
)


class Unseen(Comprehensions):
    """Code that is not seen: what becomes of what it is given."""

    def tree(self, world: World, ref: Ref) -> Iterator[tuple[Ref, Model]]:
        """A module and the modules below it that are known apart."""
        raise NotImplementedError

    def holds_actor(self, world: World, values: list[Value]) -> bool:
        """Whether a scaler or optimizer is reached from some values."""
        seen: set[Any] = set()
        todo = list(values)
        while todo:
            value = self.as_ref(world, todo.pop())
            kind = type(value)
            if kind is Tup:
                todo += value.items
            elif kind is Bound or kind is Method:
                todo.append(value.receiver)
            elif kind is Term and value.op == "ite":
                todo += value.args[1:]
            elif kind is Term and value.op == "generator":
                todo += (*value.args[1].items, *(item for _, item in value.args[2]))
            elif kind is Ref and value.oid not in seen:
                seen.add(value.oid)
                if value.oid in world.actors:
                    return True
                obj = world.heap.get(value.oid)
                if isinstance(obj, Instance):
                    todo += obj.attrs.values()
                elif isinstance(obj, ListObj):
                    todo += obj.items
                elif isinstance(obj, DictObj):
                    todo += obj.items.values()
        return False

    def opaque(
        self, world: World, callee: Value, args: list[Value], keywords: dict[str, Value], node: ast.AST
    ) -> Value:
        """A call that is not seen: its arguments escape, its result is a symbol they flow into."""
        values = [*args, *keywords.values()]
        receiver = callee.receiver if type(callee) is Method else None
        name = callee.name if type(callee) in (Method, Lib) else ""
        if clears(name.rpartition(".")[2]):
            self.perhaps_cleared(world)
        if not self.harmless(callee):
            self.escape(world, values, node, name or "a function that is not seen")
            if type(receiver) is Ref and isinstance(world.heap.get(receiver.oid), Instance):
                # A method that an unseen base class defines receives `self`.
                self.escape(world, [receiver], node, name)
        flow = None
        feeding = False
        for value in values:
            own = flow_of(value)
            if own is not None:
                flow = mix(flow, own, (node, world.module))
                feeding = True
        target = callee
        if type(callee) is Method:
            target = receiver
            if type(receiver) is Term and receiver.flow is not None:
                flow = mix(receiver.flow, flow, (node, world.module))
                feeding = True
        if type(callee) is Lib and self.is_query(callee, values):
            return term("call", callee, *values)
        if type(callee) is Method and callee.name in QUERIES:
            return term("call", callee, *values)
        if type(target) is Term and (target is callee or target.flow is None) and target.op != "call":
            # Perhaps a module: what comes out of it was fed by its parameters.
            precision = frozenset({self.precision_inside(world)})
            made = Flow(frozenset({target}), False, precision=precision, grad=world.grad)
            # What it makes of other results may be their sum.
            flow = made if flow is None else mix(flow, made, (node, world.module))
            if feeding and flow is not None:
                flow = flow._replace(summed=True)
        elif type(callee) in (Lib, Method) and flow is None and not feeding:
            pass
        if flow is not None and (flow.dtype is not None or not world.grad):
            flow = flow._replace(grad=world.grad and flow.grad, dtype=None)
        what = "instance" if type(callee) is Lib and is_class_name(callee.name) else ""
        return self.carry(world, self.fresh(world, node, flow, what), [receiver, *values])

    def perhaps_cleared(self, world: World) -> None:
        """Some gradients were cleared; see `protocol`."""
        raise NotImplementedError

    def perhaps_fed(self, world: World) -> None:
        """Who has a scaler may run a backward through it: what was cleared may hold gradients again."""
        for ref, obj in world.of_kind(Optimizer):
            if obj.pending.keys() & {"zero", "unscale", "update"}:
                changed = world.edit(ref)
                for name in ("zero", "unscale", "update"):
                    changed.pending.pop(name, None)

    def is_query(self, callee: Lib, values: list[Value]) -> bool:
        """Whether a library function answers alike when asked alike."""
        last = callee.name.rpartition(".")[2]
        return callee.name in PURE or last.startswith(("is_", "has_")) or last in PURE_LAST

    def harmless(self, callee: Value) -> bool:
        """Whether a callee that is not seen leaves the states of what it gets alone."""
        if type(callee) is Lib:
            name = callee.name
            return name.startswith(HARMLESS) or name.rpartition(".")[2] in HARMLESS_LAST
        origin = root(callee.receiver if type(callee) is Method else callee)
        if type(origin) is Term and origin.op == "lib" and origin.args[0] == "cold":
            return True
        if type(callee) is Method:
            return callee.name in HARMLESS_METHODS
        return False

    def escape(self, world: World, values: list[Value], node: ast.AST, to: str) -> None:
        """Objects reach code that is not seen: their states are unknown until an event shows them again."""
        seen: set[Any] = set()
        todo = list(values)
        while todo:
            value = self.as_ref(world, todo.pop())
            kind = type(value)
            if kind is Tup:
                todo += value.items
            elif kind is Bound or kind is Method:
                todo.append(value.receiver)
            elif kind is Term and value.op == "ite":
                todo += value.args[1:]
            elif kind is Term and value.op == "generator":
                todo += (*value.args[1].items, *(item for _, item in value.args[2]))
            elif kind is Ref and value.oid not in seen:
                seen.add(value.oid)
                obj = world.heap.get(value.oid)
                if isinstance(obj, Scaler):
                    self.perhaps_fed(world)
                    if obj.stages or obj.pending:
                        changed = world.edit(value)
                        changed.stages, changed.pending = {}, None
                        self.why(
                            world, node, f"`{obj.name or 'scaler'}` is given to {to}: its state is unknown"
                        )
                elif isinstance(obj, Optimizer):
                    if obj.grads != "unknown" or obj.pending or obj.stale:
                        self.lose(world, value)
                        self.why(
                            world, node, f"`{obj.name or 'optimizer'}` is given to {to}: its state is unknown"
                        )
                elif isinstance(obj, Model):
                    for part, module in list(self.tree(world, value)):
                        # Whoever has it may have cast it; a cast that the program shows counts on.
                        if module.cast is None and module.dtype is not None:
                            world.edit(part).dtype = None
                elif isinstance(obj, Iter):
                    continue
                elif isinstance(obj, Instance):
                    todo += obj.attrs.values()
                elif isinstance(obj, ListObj):
                    todo += obj.items
                elif isinstance(obj, DictObj):
                    todo += obj.items.values()

    def lose(self, world: World, ref: Ref) -> None:
        """Nothing is known any more of an optimizer's gradients."""
        obj = world.edit(ref)
        obj.grads, obj.by, obj.sure, obj.fresh, obj.stale = "unknown", None, False, False, None
        obj.pending = {}
        obj.flow = None
        for scaler, held in world.of_kind(Scaler):
            # Whoever has the optimizer may have stepped it, and updated the scaler too.
            if ref.oid in held.stages or ref.oid in held.left:
                changed = world.edit(scaler)
                changed.stages = {oid: stage for oid, stage in held.stages.items() if oid != ref.oid}
                changed.left = {oid: left for oid, left in held.left.items() if oid != ref.oid}


def is_class_name(name: str) -> bool:
    """Whether something from outside the project is a class, by its name: `CapWords`."""
    last = name.rpartition(".")[2]
    return last[:1].isupper() and not last.isupper() and "_" not in last
