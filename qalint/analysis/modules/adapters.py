"""`Adapters`: which of the things that a program puts into its models are adapters, and their lives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from .analysis import Modules
from .effects import part
from .events import Event, compatible
from .families import BY_NAME
from .spellings import UNSEEN
from .values import Cell, Const, Func, Mod, Optim, Param, Params, Seq, Site, Value

if TYPE_CHECKING:
    from ...file import File
    from ...rule import Place


class Injection:
    """All adapters that one program puts into one model."""

    def __init__(self, model: Mod, program: int) -> None:
        self.model = model
        self.program = program
        self.events: list[Event] = []
        self.cells: set[Cell] = set()
        """The adapters and everything in them that is their own."""

    @property
    def first(self) -> Event:
        """The first adapter's injection."""
        return self.events[0]

    @property
    def peft(self) -> bool:
        """Whether peft does it, which freezes the base and registers by itself."""
        return all(event.how == "peft" for event in self.events)

    @property
    def beside(self) -> bool:
        """Whether the adapters stay outside the model, which only calls them: a patched forward, a hook."""
        return bool(self.cells) and not any(held_by(cell, self.model) for cell in self.cells)

    @property
    def seen(self) -> bool:
        """Whether the model came to be in this program, so that nothing was done to it before."""
        return self.model.loaded

    @property
    def name(self) -> str:
        """What the user calls the model."""
        return self.model.name or "the model"

    @property
    def site(self) -> Site:
        """The injection as it stands in the function that has the model by itself."""
        return outer(self.first, self.model)


def outer(event: Event, model: Mod) -> Site:
    """Where `event` stands in the function that has the model by itself, not in one it was given to."""
    depth = len(event.stack)
    while depth and len(event.given) == len(event.stack) and id(model) in event.given[depth - 1]:
        if hasattr(event.stack[depth - 1].node, "body"):
            break
        depth -= 1
    return event.stack[depth] if depth < len(event.stack) else event.site


class Adapters:
    """The injections of a file's programs."""

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        self.run = modules.run
        self.paired: set[Cell] = set()
        for event in modules.all("pair"):
            rank, rank2 = event.info["rank"], event.info["rank2"]
            if rank is None or rank2 is None or rank.term == rank2.term:
                self.paired |= {event.target, event.value}
        self.injections: list[Injection] = []
        self.built: list[Injection] = []
        """Adapters that the program's own models are built with."""
        table: dict[tuple[int, int], Injection] = {}
        for event in modules.all("attach"):
            if not isinstance(event.target, Mod) or not self.counts(event):
                continue
            root = event.target.root
            cells = self.adapter_cells(event)
            if cells is None:
                continue
            key = (event.program, id(root) if event.how != "init" else -id(root))
            if key not in table:
                table[key] = Injection(root, event.program)
                (self.built if event.how == "init" else self.injections).append(table[key])
            table[key].events.append(event)
            table[key].cells |= cells

    def counts(self, event: Event) -> bool:
        """Whether an attachment can bring an adapter: those inside the adapter's own class do not."""
        if event.how != "init":
            return True
        value = event.value
        if not isinstance(value, Mod) or (
            value.cls is None and value.kind not in {"ModuleDict", "ModuleList"}
        ):
            return False
        return bool(own_cells(value) & self.paired)

    @property
    def everywhere(self) -> list[Injection]:
        """Adapters that are injected and adapters that models are built with."""
        return [*self.injections, *self.built]

    @classmethod
    def of(cls, file: File) -> Self | None:
        """The adapters of `file`'s programs, None where there is no torch."""
        modules = file.get(Modules)
        return cls(modules) if modules is not None else None

    def adapter_cells(self, event: Event) -> set[Cell] | None:
        """The cells of the adapter that an injection brings, None where it brings none."""
        if event.how == "peft":
            return set()
        value = event.value
        if isinstance(value, Func):
            found = {
                cell
                for pair in self.modules.all("pair")
                for cell in (pair.target, pair.value)
                if any(site.node is event.site.node for site in pair.stack) or pair.info["owner"] is value
            }
            if found and isinstance(value.receiver, Mod):
                found |= own_cells(value.receiver)  # the module whose method is put there
            return found or None
        if not isinstance(value, Mod | Param):
            return None
        if event.target.cls is not None and event.how == "attribute" and event.info.get("old") is None:
            return None  # a new attribute of a class of the program: its own business
        cells = own_cells(value)
        if cells & self.paired or (isinstance(value, Mod) and unseen(value, event.target.root)):
            return cells
        around = [
            wrapper
            for wrapper in ([value] if isinstance(value, Mod) and value.cls is not None else listed(value))
            if wraps(wrapper, event.target.root) and replaces(event, wrapper)
        ]
        return set[Cell]().union(*(own_cells(wrapper) for wrapper in around)) if around else None

    def place(self, site: Site) -> Place:
        """The place of a site."""
        return self.modules.place(site)

    def after(self, injection: Injection, *kinds: str) -> Iterator[Event]:
        """Events of the same program after the first injection, on a path that takes both."""
        first = injection.first
        for event in self.modules.all(*kinds):
            if (
                event.program == injection.program
                and event.time > first.time
                and compatible(event.guards, first.guards)
            ):
                yield event

    def about(self, event: Event, injection: Injection) -> bool:
        """Whether an event's target is the injection's model or a part of it."""
        target = event.target
        if isinstance(target, Param) and target.owner is not None:
            target = target.owner
        return isinstance(target, Mod) and held_by(target, injection.model)

    def selection(self, optimizer: Optim, injection: Injection) -> set[str]:
        """What of the model an optimizer owns: `all`, `trainable`, `named`, `part`, `adapters`, `unknown`."""
        found: set[str] = set()
        for value in optimizer.params:
            found |= self.selected(value, injection.model, injection.cells)
        return found

    def selected(self, value: Value, model: Mod, cells: set[Cell]) -> set[str]:
        """What of a model one of an optimizer's parameters is."""
        if isinstance(value, Params):
            if value.module in cells:
                return {"adapters"}
            if (
                value.module.root is not model
                and not held_by(value.module, model)
                and not held_by(model, value.module)
            ):
                # a container beside the model may have its adapters
                return {"adapters"} if any(held_by(cell, value.module) for cell in cells) else {"other"}
            if value.module.parent is not None or (
                value.module is not model and held_by(value.module, model)
            ):
                return {"part"}
            if "named" in value.filters:
                return {"named"}
            return {"trainable"} if "trainable" in value.filters else {"all"}
        if isinstance(value, Param):
            if value in cells:
                return {"adapters"}
            return {"part"} if value.owner is not None and value.owner.root is model else {"other"}
        if isinstance(value, Mod):
            return {"adapters"} if value in cells else {"other"}
        if isinstance(value, Const | Seq):
            return set()
        return {"unknown"}


def own_cells(value: Mod | Param) -> set[Cell]:
    """A module or parameter and all that is in it, without parts of other models."""
    found: set[Cell] = set()
    queue: list[Value] = [value]
    while queue:
        cell = queue.pop()
        if isinstance(cell, Seq):
            queue.extend(cell.items)
        if not isinstance(cell, Mod | Param) or cell in found:
            continue
        if isinstance(cell, Mod) and cell.parent is not None:
            continue
        if cell is not value and elsewhere(cell, value, found):
            continue
        found.add(cell)
        queue.extend(cell.attrs.values())
        if isinstance(cell, Mod):
            queue.extend(cell.elements)
    return found


def elsewhere(cell: Cell, value: Cell, own: set[Cell] | None = None) -> bool:
    """Whether `cell` was a part of something else (but `own`) before `value` was made."""
    if isinstance(cell, Mod) and cell.parent is not None:
        return True
    return cell.time < value.time and any(
        time < value.time and (own is None or holder not in own) for holder, time in cell.holders
    )


def unseen(value: Mod, model: Mod) -> bool:
    """Whether a module is an adapter around a layer of `model`, made by what is out of sight."""
    base = value.attrs.get("base")
    return (value.qual or "").startswith(UNSEEN) and isinstance(base, Mod) and base.root is model


def wraps(value: Mod, model: Mod) -> bool:
    """Whether a module holds a part of `model` and parameters of its own."""
    parts = [cell for cell in value.attrs.values() if isinstance(cell, Mod | Param)]
    inside = [
        cell for cell in parts if isinstance(cell, Mod) and elsewhere(cell, value) and cell.root is model
    ]
    if not inside:
        return False
    own = [cell for cell in parts if not elsewhere(cell, value)]
    return any(
        (isinstance(cell, Param) and cell.tensor_of is None)
        or (isinstance(cell, Mod) and cell.kind in {"Linear", "ParameterList", "ModuleList", "Sequential"})
        or (
            isinstance(cell, Mod)
            and any(isinstance(part, Mod) and part.kind == "Linear" for part in own_cells(cell))
        )
        for cell in own
    )


def listed(value: Value) -> list[Mod]:
    """The modules of the program's own classes in a container of modules."""
    elements = value.elements if isinstance(value, Mod) and value.cls is None else []
    return [element for element in elements if isinstance(element, Mod) and element.cls is not None]


def replaces(event: Event, value: Mod) -> bool:
    """Whether a wrapper takes the place of what it wraps, alone or in a container that does."""
    inside = [cell for cell in value.attrs.values() if isinstance(cell, Mod) and elsewhere(cell, value)]
    old = event.info.get("old")
    if event.value is not value:
        inside += [cell.parent for cell in inside if cell.parent is not None]
        if any(holder is old for cell in inside for holder, _ in cell.holders):
            return True
    return not event.name or any(cell is old or cell.path.rsplit(".", 1)[-1] == event.name for cell in inside)


def conv1d_names(model: Mod) -> frozenset[str]:
    """The names under which a model written in the program keeps layers of a class `Conv1D`, or a loaded
    model that is made of them.
    """
    found: set[str] = set()
    seen: set[int] = set()
    queue: list[Mod] = [model]
    while queue:
        here = queue.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        for name, value in here.attrs.items():
            if isinstance(value, Mod):
                inner = [value, *value.attrs.values()]
                if any(isinstance(one, Mod) and one.kind == "Conv1D" for one in inner):
                    found.add(name)
                elif value.parent is None and value.family is not None and BY_NAME[value.family].conv1d:
                    found |= BY_NAME[value.family].layers
                queue.append(value)
        queue.extend(value for value in here.elements if isinstance(value, Mod))
    return frozenset(found)


def held_by(cell: Cell, model: Cell, depth: int = 0) -> bool:
    """Whether `cell` is `model` or somewhere in it."""
    if cell is model:
        return True
    return depth < 10 and any(held_by(holder, model, depth + 1) for holder, _ in cell.holders)


__all__ = ["Adapters", "Injection", "held_by", "outer", "own_cells", "part", "wraps"]
