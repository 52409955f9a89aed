"""Adapters of layers that never take part in their model: made and dropped, or trained and never run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Adapters, Event, Modules
from qalint.analysis.modules.adapters import elsewhere, held_by, own_cells, wraps
from qalint.analysis.modules.spellings import keeps_trained
from qalint.analysis.modules.values import Cell, Class, Func, Mod, Obj, Param, Params, Seq, Site
from qalint.analysis.nodes import nodes
from qalint.file import File

from .pairs import made_for, made_to_adapt, shared_ranks


class Lost(NamedTuple):
    """An adapter that no forward can reach: where, what is wrong, what belongs to it."""

    site: Site
    message: str
    related: list[tuple[Site, str]]


def lost(modules: Modules, adapters: Adapters) -> Iterator[Lost]:
    """Adapters that are made for a layer and dropped, or trained beside a model that never runs them."""
    made = [
        (event, base)
        for event in modules.all("load")
        if isinstance(event.target, Mod) and (base := base_of(event.target)) is not None
    ]
    if not made:
        return
    names: dict[Class, frozenset[str]] = {}
    for event, _ in made:
        cls = event.target.cls
        if cls not in names:
            names[cls] = pair_names(modules, cls)
    for event, base in made:
        if (names[event.target.cls] or wraps(event.target, base.root)) and dropped(modules, event):
            yield Lost(
                event.site,
                f"this `{event.target.cls.name}` is made and put nowhere: the layer stays as it was",
                [(base.site, "it is made for this layer")] if base.parent is None and base.site else [],
            )
    if modules.spent or not any(True for _ in modules.all("backward")):
        return
    seen: set[Class] = set()
    for event, base in made:
        cls = event.target.cls
        if cls in seen or not names[cls] or not idle(modules, cls, names[cls]):
            continue
        built = trained(modules, event, base)
        if built is not None:
            seen.add(cls)
            name = base.root.name or "the model"
            yield Lost(
                event.site,
                f"`{cls.name}` is trained and never runs: nothing puts it into `{name}`",
                [(built.site, "the optimizer gets its parameters")],
            )


def base_of(module: Mod) -> Mod | None:
    """The layer of somebody else's model that a module of the program holds, registered or in a list."""
    if module.cls is None or not isinstance(module.cls.find("forward"), Func):
        return None
    for held in module.attrs.values():
        for value in held.items if isinstance(held, Seq) and len(held.items) == 1 else [held]:
            if isinstance(value, Mod) and elsewhere(value, module):
                return value
    return None


def pair_names(modules: Modules, cls: Class) -> frozenset[str]:
    """The names of the matrices of an adapter's class; none where it is none."""
    for pair in shared_ranks(made_for(modules, cls)):
        if made_to_adapt(pair):
            return frozenset(one.name for one in pair)
    return frozenset()


# --- made and dropped -----------------------------------------------------------------------


def dropped(modules: Modules, event: Event) -> bool:
    """Whether nobody keeps a new module: it is a statement, or has a name that is never read."""
    module: Mod = event.target
    if module.holders or not unread(event.site) or hands_out(module.cls):
        return False
    own = own_cells(module)
    return not any(
        other.how != "init"
        and other.target not in own
        and any(site.node is event.site.node for site in other.stack)
        for other in modules.all("attach")
    ) and not any(other.target is module for other in modules.all("forward", "escape", "move", "cast"))


def unread(site: Site) -> bool:
    """Whether a call's result goes nowhere: it stands alone, or its name is never read in the function."""
    edits = site.file.get(Edits)
    statement = edits.statement(site.node) if edits is not None else None
    match statement:
        case ast.Expr(value=value):
            return value is site.node
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if value is site.node and edits is not None:
            function = edits.function(statement)
            return function is not None and not any(
                isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Store)
                for node in ast.walk(function)
            )
        case _:
            return False


def hands_out(cls: Class | None) -> bool:
    """Whether a constructor gives its own object, or a method of it, to anybody."""
    todo = ["__init__"]
    done: set[str] = set()
    while todo and cls is not None:
        name = todo.pop()
        method = cls.find(name)
        if name in done or not isinstance(method, Func):
            continue
        done.add(name)
        arguments = method.node.args.args
        own = arguments[0].arg if arguments else ""
        asked: set[ast.AST] = set()
        for node in ast.walk(method.node):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=held), attr=called)) if held == own:
                    asked.add(node.func)
                    asked.add(node.func.value)  # type: ignore[attr-defined]
                    todo.append(called)
                case ast.Call(func=ast.Name(id="super"), args=given):
                    asked.update(given)
                case ast.Call(func=ast.Attribute(attr="__init__"), args=[first, *_]):
                    asked.add(first)
                case _:
                    pass
        for node in ast.walk(method.node):
            match node:
                case ast.Attribute(value=ast.Name(id=held) as inner, attr=attr) if held == own:
                    asked.add(inner)
                    if node not in asked and isinstance(cls.find(attr), Func):
                        return True
                case _:
                    pass
        if any(isinstance(n, ast.Name) and n.id == own and n not in asked for n in ast.walk(method.node)):
            return True
    return False


# --- trained and never run ------------------------------------------------------------------


def idle(modules: Modules, cls: Class, names: frozenset[str]) -> bool:
    """Whether no code that ran runs an adapter of a class, takes a method of it, or reads its matrices."""
    run = modules.run
    if any(isinstance(one, Mod) and one.cls is cls for one in run.reached):
        return False
    own = {id(node) for name in ("forward", "__init__") for node in _method(cls, name)}
    methods = {name for name, value in cls.members.items() if isinstance(value, Func)} - {"__init__"}
    for file in _files(modules):
        edits = file.get(Edits)
        for node in nodes(file.tree):
            if not isinstance(node, ast.Attribute) or id(node) in own or edits is None:
                continue
            if node.attr not in names and node.attr not in methods:
                continue
            function = edits.function(node)
            if function is not None and function not in run.called:
                continue
            if node.attr in names:
                return False
            held = run.memo.get(node.value)
            if not isinstance(held, Mod | Obj) or not (
                held.cls is not None or held.parent is not None or held.qual is not None
            ):
                return False  # whose method this is cannot be seen
    return True


def _method(cls: Class, name: str) -> Iterator[ast.AST]:
    method = cls.members.get(name)
    return ast.walk(method.node) if isinstance(method, Func) else iter(())


def _files(modules: Modules) -> Iterator[File]:
    seen: set[int] = set()
    for scope in modules.run.modules.values():
        if id(scope.file) not in seen:
            seen.add(id(scope.file))
            yield scope.file


def trained(modules: Modules, made: Event, base: Mod) -> Event | None:
    """The optimizer that trains an adapter, where its base runs and nobody has put the adapter into it."""
    module: Mod = made.target
    own = own_cells(module)
    model = base.root
    holders = {holder for cell in own for holder in _above(cell)} | own
    for event in modules.all("attach"):
        value = event.value
        if event.how == "init" or event.target in holders:
            continue
        if value in own or (isinstance(value, Func) and _own_method(value, module)):
            return None
    for event in modules.all("escape"):
        target = event.target
        if not isinstance(target, Mod) or keeps_trained(event.name):
            continue
        if target in holders or target.root is model:
            return None
    if any(event.target.root is model for event in modules.all("replaced") if isinstance(event.target, Mod)):
        return None
    if not any(isinstance(e.target, Mod) and e.target.root is model for e in modules.all("forward")):
        return None
    for event in modules.all("optimizer"):
        if event.program != made.program or event.time < made.time:
            continue
        for value in event.target.params:
            given = value.module if isinstance(value, Params) else value
            if isinstance(given, Mod | Param) and any(held_by(cell, given) for cell in own):
                return event
    return None


def _own_method(function: Func, module: Mod) -> bool:
    """Whether a function is a method of a module's class, or a closure that is made in one."""
    assert module.cls is not None
    return function.owner is module.cls or any(node is function.node for node in ast.walk(module.cls.node))


def _above(cell: Cell, depth: int = 0) -> Iterator[Cell]:
    """What holds a cell, and what holds that."""
    for holder, _ in cell.holders if depth < 10 else ():
        yield holder
        yield from _above(holder, depth + 1)
