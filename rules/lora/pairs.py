"""Pairs of matrices that classes keep for their instances: what makes a low-rank or bottleneck adapter."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from qalint.analysis.modules import Modules
from qalint.analysis.modules.spellings import ADAPTERS
from qalint.analysis.modules.values import Cell, Class, Mod, Param, Site
from qalint.analysis.names import CONTAINERS

from .learning import fill_of

SIZES = {"Linear": ("in_features", "out_features")} | {
    f"Conv{n}d": ("in_channels", "out_channels") for n in (1, 2, 3)
}
KEEPING = CONTAINERS - {"Sequential"}
"""What is in a `Sequential` runs as one."""


class Named(NamedTuple):
    """A matrix under the name by which its module keeps it, and where it was put there."""

    name: str
    value: Cell
    site: Site


def made_to_adapt(pair: list[Named]) -> bool:
    """Whether one matrix of a pair begins with zeros, or a name says what they are for."""
    if any(fill_of(one.value) == "zeros" for one in pair):
        return True
    names = {one.name.lower() for one in pair}
    return any(word in name for name in names for word in ADAPTERS)


def made_for(modules: Modules, cls: Class) -> list[Named]:
    """The matrices that a class keeps under names that it writes, alone or in a container, in their order."""
    found: list[Named] = []
    seen: set[Cell] = {
        item
        for event in modules.all("listed")  # these go by another name as well
        if isinstance(event.target, Mod) and event.target.cls is cls
        for item in event.args
        if isinstance(item, Cell)
    }
    for event in modules.all("attach"):
        if event.how != "init" or not isinstance(event.site.node, ast.Attribute):
            continue
        if not isinstance(event.target, Mod):
            continue
        if event.target.cls is not cls or not isinstance(event.value, Mod | Param) or event.value in seen:
            continue
        seen.add(event.value)
        found.append(Named(event.name, event.value, event.site))
        if isinstance(event.value, Mod) and event.value.cls is None and event.value.kind in KEEPING:
            found += [
                Named(event.name, inner, inner.site or event.site)
                for inner in event.value.elements
                if isinstance(inner, Mod | Param)
            ]
    return found


def shared_rank(made: list[Named]) -> list[Named] | None:
    """The first of `shared_ranks`."""
    return next(shared_ranks(made), None)


def shared_ranks(made: list[Named]) -> Iterator[list[Named]]:
    """Pairs of matrices of which one gives what the other takes, and that is neither's outer dimension."""
    sizes = []
    for one in made:
        dims: tuple[object, object] | None = None
        if isinstance(one.value, Param) and one.value.dims is not None and len(one.value.dims) == 2:
            dims = (one.value.dims[0].term, one.value.dims[1].term)
        elif isinstance(one.value, Mod) and one.value.cls is None and one.value.kind in SIZES:
            takes, gives = (one.value.args.get(name) for name in SIZES[one.value.kind])
            if takes is not None and gives is not None:
                dims = (takes.term, gives.term)
        if dims is not None:
            sizes.append((one, dims))
    for one, dims in sizes:
        for other, others in sizes:
            if other is one or isinstance(one.value, Param) != isinstance(other.value, Param):
                continue
            chained = dims[1] == others[0] or (isinstance(one.value, Param) and dims[0] == others[1])
            outside = {dims[0], others[1]} if dims[1] == others[0] else {dims[1], others[0]}
            rank = dims[1] if dims[1] == others[0] else dims[0]
            if chained and rank not in outside and one.value.time < other.value.time:
                yield [one, other]
