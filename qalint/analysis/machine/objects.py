"""What lives in the heap: objects that change.

Each object's state has two parts. Its *typestate* (`state()`) is compared: worlds of equal typestate
join. Everything else is provenance (the places that messages cite) and is not. `state()` is None
while nothing happened to the object that an order rule could care about.
"""

from __future__ import annotations

import ast
from copy import copy
from typing import Any, Self

from .values import NONE, Cells, Flow, Place, Value


class Obj:
    """A heap object. `node`, `module`: where it was made; `name`: the user's last name for it."""

    kind = "object"
    __slots__ = ("_state", "assumed", "loops", "module", "name", "node")

    def __init__(self, node: ast.AST | None, module: Any, name: str = "", assumed: bool = False) -> None:
        self.node = node
        self.module = module
        self.name = name
        self.assumed = assumed
        self.loops: tuple[ast.AST, ...] = ()
        self._state: Any = self

    def copy(self) -> Self:
        """A copy that may be changed."""
        other = copy(self)
        other._state = other
        return other

    def state(self) -> Any:
        """The typestate, cached until the object is copied or `touch`ed."""
        if self._state is self:
            self._state = self.typestate()
        return self._state

    def touch(self) -> None:
        """Forget the cached typestate: the object is about to change."""
        self._state = self

    def typestate(self) -> Any:
        """A hashable value, None while virgin."""
        return None


class Frame(Obj):
    """The names of one function activation, module or class body."""

    kind = "frame"
    __slots__ = ("parent", "vars")

    def __init__(self, module: Any, parent: Any) -> None:
        super().__init__(None, module)
        self.vars: dict[str, Value] = {}
        self.parent = parent

    def copy(self) -> Self:
        other = super().copy()
        other.vars = dict(self.vars)
        return other


class Instance(Obj):
    """An instance of a class, seen (`cls`) or not, with the attributes that the program set."""

    kind = "instance"
    __slots__ = ("attrs", "cls", "hidden")

    def __init__(self, node: ast.AST | None, module: Any, cls: Any, name: str = "") -> None:
        super().__init__(node, module, name)
        self.cls = cls
        self.attrs: dict[str, Value] = {}
        self.hidden = False
        """Part of its class is not seen: an attribute nobody set may still be there."""

    def copy(self) -> Self:
        other = super().copy()
        other.attrs = dict(self.attrs)
        return other


class Model(Instance):
    """A module: an instance with parameter cells.

    `dtype`: "float16", "bfloat16", "float32", None (unknown) or a term of these;
    `trainable`: True, False, None;
    `device`: a value or None. They hold for every parameter below that has no entry of its own
    (children are attributes). `clock`: when the last cast, freeze or injection happened, counted by
    the world. `made`: `constructor`, `pretrained`, `copy`, `assumed`.
    """

    kind = "module"
    __slots__ = (
        "cast",
        "clock",
        "device",
        "dtype",
        "extra",
        "frozen",
        "injected",
        "made",
        "moved",
        "owner",
        "trainable",
    )

    def __init__(self, node: ast.AST | None, module: Any, cls: Any, name: str = "") -> None:
        super().__init__(node, module, cls, name)
        self.dtype: Any = None
        self.cast: Place | None = None
        self.trainable: bool | None = None
        self.frozen: Place | None = None
        self.device: Value = None
        self.moved: Place | None = None
        self.injected: tuple[Place, ...] = ()
        self.owner: Value = None
        self.made = "constructor"
        self.clock: dict[str, int] = {}
        self.extra: dict[str, Any] = {}
        """What models of adapters and architectures keep; part of the typestate by its keys' values."""

    def copy(self) -> Self:
        other = super().copy()
        other.clock = dict(self.clock)
        other.extra = dict(self.extra)
        return other


class ListObj(Obj):
    """A list or set. `open`: it may hold more than `items`."""

    kind = "list"
    __slots__ = ("items", "open")

    def __init__(self, node: ast.AST | None, module: Any, items: list[Value], open: bool = False) -> None:
        super().__init__(node, module)
        self.items = items
        self.open = open

    def copy(self) -> Self:
        other = super().copy()
        other.items = list(self.items)
        return other


class DictObj(Obj):
    """A dict with constant keys. `open`: it may hold more."""

    kind = "dict"
    __slots__ = ("items", "open")

    def __init__(
        self, node: ast.AST | None, module: Any, items: dict[Any, Value], open: bool = False
    ) -> None:
        super().__init__(node, module)
        self.items = items
        self.open = open

    def copy(self) -> Self:
        other = super().copy()
        other.items = dict(self.items)
        return other


class Iter(Obj):
    """A one-shot iterator over parameters. `source`: the iterator it draws from, if lazy."""

    kind = "iterator"
    __slots__ = ("cells", "source", "spent", "spent_by")

    def __init__(self, node: ast.AST | None, module: Any, cells: Cells, source: Value = None) -> None:
        super().__init__(node, module)
        self.cells = cells
        self.source = source
        self.spent: Place | None = None
        self.spent_by = ""

    def typestate(self) -> Any:
        # One that no variable holds is gone once it is used.
        return ("spent",) if self.spent is not None and self.name else None


class Scaler(Obj):
    """A gradient scaler. `stages`: of each optimizer since the last update (`unscaled`, `stepped`)."""

    kind = "scaler"
    __slots__ = ("again", "enabled", "left", "pending", "stages", "tainted")

    def __init__(
        self, node: ast.AST | None, module: Any, name: str = "", enabled: Value = None, assumed: bool = False
    ) -> None:
        super().__init__(node, module, name, assumed)
        self.enabled = enabled
        self.again = False
        """This place made one before, on the same path."""
        self.stages: dict[Any, tuple[str, Place]] = {}
        self.left: dict[Any, Place] = {}
        """Optimizers whose stage was open when a `continue` left the round."""
        self.tainted = ""
        self.pending: Place | None = None
        """A `scale` whose value was thrown away."""

    def copy(self) -> Self:
        other = super().copy()
        other.stages = dict(self.stages)
        other.left = dict(self.left)
        return other

    def typestate(self) -> Any:
        if not self.stages and not self.tainted and self.pending is None:
            return None
        return (
            frozenset((key, stage) for key, (stage, _) in self.stages.items()),
            frozenset(self.left),
            bool(self.tainted),
            self.pending is not None,
        )


class Optimizer(Obj):
    """An optimizer, the parameters it owns, and what their gradients are.

    `grads`: `never`, `none` (cleared), `plain`, `scaled`, `unscaled`, `mixed`, `stepped` (used and not
    cleared) or `unknown`; `by`: the scaler (a Ref); `sure`: fed surely; `fresh`: a backward came since
    the last step; `stale`: stepped and not cleared since, where. `pending`: suspicions by name, each
    the places by role.
    """

    kind = "optimizer"
    __slots__ = (
        "backwards",
        "born",
        "by",
        "cells",
        "cls",
        "extra",
        "flow",
        "fresh",
        "fused",
        "grads",
        "pending",
        "places",
        "stale",
        "sure",
        "tainted",
    )

    def __init__(
        self, node: ast.AST | None, module: Any, cells: Cells, cls: str, name: str = "", assumed: bool = False
    ) -> None:
        super().__init__(node, module, name, assumed)
        self.cells = cells
        self.cls = cls
        self.fused = False
        self.grads = "unknown" if assumed else "never"
        self.by: Value = None
        self.sure = False
        self.fresh = False
        self.stale: Place | None = None
        self.tainted = ""
        self.pending: dict[str, dict[str, Any]] = {}
        self.places: dict[str, Place] = {}
        self.flow: Flow | None = None
        self.backwards = 0
        self.born = 0
        self.extra: dict[str, Any] = {}

    def copy(self) -> Self:
        other = super().copy()
        other.pending = dict(self.pending)
        other.places = dict(self.places)
        other.extra = dict(self.extra)
        return other

    def typestate(self) -> Any:
        if (
            not self.pending
            and not self.fresh
            and self.stale is None
            and self.grads in ("never", "none", "unknown")
            and not self.tainted
        ):
            # Whether cleared or never fed makes no difference any more.
            return None if self.grads == "unknown" or not self.assumed else ("none",)
        return (
            self.grads,
            self.by,
            self.sure,
            self.fresh,
            self.stale is not None,
            frozenset(self.pending),
            bool(self.tainted),
        )


class Box(Obj):
    """An unknown object about which something was found out by use; only attributes."""

    kind = "box"
    __slots__ = ("value",)

    def __init__(self, node: ast.AST | None, module: Any, value: Value = NONE) -> None:
        super().__init__(node, module)
        self.value = value
