"""What library calls do, as tables: a model is a function registered under qualified names.

    @library("torch.nn.utils.clip_grad_norm_")
    def clip_grad_norm(call: Call) -> Value | None:
        ...

`call` (see `qalint.analysis.machine.calls.Call`) has the machine, the world, the node, the receiver
and the evaluated arguments; the result is the value of the call, or None for an unknown result (a
symbol). A model may change objects (`call.world.edit(ref)`) and tell events (`call.tell(Event)`).
`@method("optimizer", "step")` registers the method of a kind of object (`scaler`, `optimizer`,
`module`, `parameters`, `tensor`, `iterator`, `list`, `dict`, ...); `"*"` as the kind is asked for
receivers about which nothing is known. `@attribute("module", "weight")` answers attribute reads.
Prefixes end in `.*` (`torch.optim.*`): the longest match wins. A module of models is named in
`MODELS`, from which the machine loads them when it starts.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

Model = Callable[..., Any]
F = TypeVar("F", bound=Model)

MODELS = ["torch_amp", "torch_optim", "torch_nn", "tensors", "frameworks", "builtins"]
"""The modules of this package that register models."""

LIBRARY: dict[str, Model] = {}
PREFIXES: dict[str, Model] = {}
METHODS: dict[tuple[str, str], Model] = {}
ATTRIBUTES: dict[tuple[str, str], Model] = {}


def library(*names: str) -> Callable[[F], F]:
    """Register a model of library functions or classes by qualified name (`torch.amp.GradScaler`)."""

    def register(model: F) -> F:
        for name in names:
            if name.endswith(".*"):
                PREFIXES[name[:-1]] = model
            else:
                LIBRARY[name] = model
        return model

    return register


def method(kind: str, *names: str) -> Callable[[F], F]:
    """Register a model of methods of a kind of object."""

    def register(model: F) -> F:
        for name in names:
            METHODS[kind, name] = model
        return model

    return register


def attribute(kind: str, *names: str) -> Callable[[F], F]:
    """Register a model of attribute reads of a kind of object: `model(machine, world, value, node)`."""

    def register(model: F) -> F:
        for name in names:
            ATTRIBUTES[kind, name] = model
        return model

    return register


def lookup(name: str) -> Model | None:
    """The model of a qualified name: exact, else by the longest prefix."""
    found = LIBRARY.get(name)
    if found is not None:
        return found
    end = len(name)
    while (end := name.rfind(".", 0, end)) > 0:
        found = PREFIXES.get(name[: end + 1])
        if found is not None:
            return found
    return None


_loaded = False


def load() -> None:
    """Import every module of models once."""
    global _loaded
    if not _loaded:
        _loaded = True
        for name in MODELS:
            import_module(f"{__name__}.{name}")
