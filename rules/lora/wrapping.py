"""Models that a class is given whole, to train something beside: prompts, prefixes, low-rank updates."""

from __future__ import annotations

from collections.abc import Iterator

from qalint.analysis.modules import Adapters, Injection
from qalint.analysis.modules.adapters import held_by, own_cells
from qalint.analysis.modules.spellings import keeps_trained
from qalint.analysis.modules.values import Cell, Func, Mod, Param

from .pairs import made_for, made_to_adapt, shared_ranks

LEARNED = ("prompt", "prefix")
"""What tokens are called that are learned in place of a model's own parameters."""


def wrapped_models(adapters: Adapters) -> Iterator[Injection]:
    """Models around which a class of the program puts parameters that are to be trained in their place."""
    for event in adapters.modules.all("attach"):
        model, wrapper = event.value, event.target
        if event.how != "init" or not isinstance(model, Mod) or not isinstance(wrapper, Mod):
            continue
        if wrapper.cls is None or not model.loaded or model.time >= wrapper.time or model.parent is not None:
            continue
        if model.holders[0][0] is not wrapper or not (model.cls is not None or model.family is not None):
            continue
        cells = beside(adapters, wrapper)
        if not cells or touched(adapters, model):
            continue
        injection = Injection(model, event.program)
        injection.events.append(event)
        injection.cells |= cells
        yield injection


def beside(adapters: Adapters, wrapper: Mod) -> set[Cell]:
    """What a wrapper has beside the model that it was given, if that is to be trained in its place."""
    assert wrapper.cls is not None
    found: set[Cell] = set()
    for pair in shared_ranks(made_for(adapters.modules, wrapper.cls)):
        if made_to_adapt(pair):
            found |= {one.value for one in pair}
    for name, value in wrapper.attrs.items():
        if isinstance(value, Mod | Param) and value.time > wrapper.time and depends_on_nothing(value):
            if any(word in name.lower() for word in LEARNED):
                found |= own_cells(value)
    return found


def depends_on_nothing(value: Mod | Param) -> bool:
    """Whether what a parameter or module gives is the same for every input."""
    if isinstance(value, Param) or value.cls is None:
        return isinstance(value, Param) or value.kind in {"Embedding", "ParameterList", "ParameterDict"}
    forward = value.cls.find("forward")
    return isinstance(forward, Func) and len(forward.node.args.args) == 1


def touched(adapters: Adapters, model: Mod) -> bool:
    """Whether what holds a model was frozen or given away, and the model with it."""
    return any(
        isinstance(event.target, Mod)
        and (event.kind == "freeze" or not keeps_trained(event.name))
        and (held_by(model, event.target) or held_by(event.target, model))
        for event in adapters.modules.all("freeze", "escape")
    )
