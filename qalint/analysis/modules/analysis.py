"""`Modules`: the programs of a file, run by the interpreter, and what they did."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Self

from ..notebook import Notebook
from ..project import Project
from .core import LIBRARY, METHOD, PART, PARTS, STEPS, TOTAL
from .effects import filled, is_static, method_of, module_base
from .events import Event
from .interpreter import Interpreter, Stop
from .relevance import DEFINITIONS, Relevance
from .slicing import statements
from .starting import starts
from .toplevel import bound_names, is_main_test
from .values import Class, Const, Func, Mod, Obj, Scope, Site, Tensor, Value

if TYPE_CHECKING:
    from ...file import File
    from ...rule import Place
    from .core import Find, Resolve

HOPS = 2
"""How many imports away torch may be imported."""
ROOTS = ("torch", "transformers", "peft", "loralib", "bitsandbytes")


class Modules:
    """What the programs of a file do to modules, parameters and tensors."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.run = Interpreter(*resolver(file))
        self.spent = False
        self.program = True
        self.used = 0
        self._tell()
        self.events = self.run.events
        self._kinds: dict[str, list[Event]] = {}
        for event in self.events:
            self._kinds.setdefault(event.kind, []).append(event)

    @classmethod
    def of(cls, file: File) -> Self | None:
        """The analysis of `file`; None where it does not concern torch."""
        return cls(file) if concerns_torch(file, HOPS) else None

    def all(self, *kinds: str) -> Iterator[Event]:
        """The events of these kinds, in the order in which they happen."""
        if len(kinds) == 1:
            yield from self._kinds.get(kinds[0], [])
            return
        for event in self.events:
            if event.kind in kinds:
                yield event

    def before(self, first: Event, second: Event) -> bool:
        """Whether `first` happens before `second` in its program, or while the object was made whose
        method the program of `second` is.
        """
        home = self.run.parents.get(second.program, second.program)
        return first.time < second.time and first.program in {second.program, home}

    @staticmethod
    def place(site: Site) -> Place:
        """The place of a site."""
        return site.file.place(site.node)

    def _tell(self) -> None:
        run, file = self.run, self.file
        run.main = file
        notebook = file.get(Notebook)
        asked = file.needs
        self.relevance: Relevance | None = None
        if asked is not None and file.source.kind == "python" and notebook is None:
            needs = asked.get("Modules", set()) | asked.get("Adapters", set())
            self.relevance = Relevance(file, needs, passive=not starts(file))
        try:
            if notebook is not None:
                self._notebook(notebook)
            elif self.relevance is not None and self.relevance.passive:
                self._needed(self.relevance)
            else:
                run.module(file)
        except (Stop, RecursionError):
            self._cut(file.tree.body[0] if file.tree.body else file.tree, file)
        self.program = notebook is not None or bool(run.events) or acts(file.tree)
        self._forwards()
        self._entries(run.modules.get(id(file)))
        self._forwards()

    def _needed(self, relevance: Relevance) -> None:
        """The top level of a library, as far as the rules that ask can speak of it."""
        run, file = self.run, self.file
        run.passive = True
        scope = run.module(file, waits=True)
        for statement in file.tree.body:
            if relevance.matters(statement):
                for name in bound_names(statement):
                    run.force(scope.vars.get(name, Const(None)), name)
            elif isinstance(statement, DEFINITIONS):
                file.why(
                    statement, "no program starts in this file, and nothing here is what a rule looks for"
                )

    def _matters(self, node: ast.AST) -> bool:
        """Whether the rules that ask can speak of a definition that nobody was seen to call."""
        return self.relevance is None or self.relevance.matters(node)

    def _forwards(self) -> None:
        """Run the forward of modules that were made and that nobody was seen to call."""
        run = self.run
        run.quiet += 1
        run.forcing = True
        paired = {
            event.info["owner"].cls
            for event in run.events
            if event.kind == "pair" and isinstance(event.info["owner"], Mod)
        }
        for event in [event for event in run.events if event.kind == "load"]:
            module = event.target
            forward = module.cls.find("forward") if module.cls is not None else None
            if not isinstance(forward, Func) or module in run.forwarded:
                continue
            if forward.node not in run.called or module.cls in paired:
                run.guards = list(event.guards)
                self._begin()
                run.program -= 1
                inputs: list[Value] = [
                    Tensor(None, None, site=Site(forward.node, forward.scope.file), source="input")
                ]
                try:
                    run.enter(forward.bind(module), inputs, {}, event.site)
                except (Stop, RecursionError):
                    self._cut(forward.node, forward.scope.file)
                    run.quiet = 1
                run.guards = []
        run.quiet -= 1
        run.forcing = False

    def _begin(self, bound: int = STEPS) -> None:
        """A new entry begins, with its own bound of steps and what is left of the file's."""
        run = self.run
        self.used += run.steps
        if self.run.passive:
            bound, whole = min(bound, PART), PARTS
        else:
            whole = TOTAL if self.program else LIBRARY
        run.limit = max(0, min(bound, whole - self.used))
        run.steps = 0
        run.program += 1

    def _cut(self, node: ast.AST, file: File) -> None:
        """The budget of an entry is spent: the rest of it is not analysed."""
        self.spent = True
        run = self.run
        run.guards, run.loops, run.stack, run.frames, run.autocast, run.building = [], [], [], [], [], []
        run.no_grad = run.quiet = run.unsure = 0
        if hasattr(node, "lineno"):
            file.why(
                node,
                "the analysis of modules met its bound of steps; the rest of this entry was not followed",
            )

    def _notebook(self, notebook: Notebook) -> None:
        run = self.run
        scope = Scope(self.file, None, "module")
        run.modules[id(self.file)] = scope
        outside = [
            statement
            for statement in notebook.outside
            if isinstance(
                statement, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign
            )
        ]
        run.block(outside, scope)
        for cell in notebook.run_order():
            run.block(cell.body, scope)
            for name in cell.private:
                scope.vars.pop(name, None)

    def _entries(self, scope: Scope | None) -> None:
        """Functions and classes that nobody was seen to call, callers before callees."""
        if scope is None:
            return
        run = self.run
        classes = [cls for cls in run.classes if cls.scope.file is self.file and self._matters(cls.node)]
        functions: list[tuple[Func, Class | None]] = [
            (value, None)
            for value in scope.vars.values()
            if isinstance(value, Func)
            and value.scope.file is self.file
            and isinstance(value.node, ast.FunctionDef | ast.AsyncFunctionDef)
            and self._matters(value.node)
        ]
        for cls in classes:
            if cls.node not in run.built:
                self._class(cls)
        mentioned: set[str] = set()
        for function, _ in functions:
            for node in ast.walk(function.node):
                if isinstance(node, ast.Name) and node.id != function.name:
                    mentioned.add(node.id)
        for later in (False, True):
            for function, _ in functions:
                if function.node not in run.called and (function.name in mentioned) is later:
                    self._enter(function, [])

    def _class(self, cls: Class) -> None:
        run = self.run
        if cls.node in run.built:
            return
        self._begin(METHOD)
        try:
            thing = run.instantiate(cls, [], {}, Site(cls.node, cls.scope.file))
        except (Stop, RecursionError):
            self._cut(cls.node, cls.scope.file)
            return
        if isinstance(thing, Mod):
            thing.loaded = False
            run.set(thing, "device", None)  # whoever makes one can move it
        filled(thing)
        built = run.program
        module = module_base(cls.roots()) is not None
        methods = [value for value in cls.members.values() if isinstance(value, Func)]
        for method in sorted(methods, key=lambda m: m.name != "forward"):
            if method.node in run.called or method.name == "__init__":
                continue
            run.parents[run.program + 1] = built
            inputs: list[Value] = []
            if module and method.name == "forward":
                inputs = [Tensor(None, None, site=Site(method.node, method.scope.file), source="input")]
            if is_static(method):
                self._enter(method, [], METHOD)
            elif isinstance(thing, Mod | Obj):
                self._enter(method_of(method, thing, cls), inputs, METHOD)

    def _enter(self, function: Func, inputs: list[Value], bound: int = STEPS) -> None:
        run = self.run
        self._begin(bound)
        try:
            run.enter(function, inputs, {}, Site(function.node, function.scope.file))
        except (Stop, RecursionError):
            self._cut(function.node, function.scope.file)


def acts(tree: ast.Module) -> bool:
    """Whether the top level of a file does something: what a program does and a library does not."""
    return any(
        isinstance(statement, ast.For | ast.While | ast.With)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call))
        or (isinstance(statement, ast.If) and is_main_test(statement.test))
        for statement in tree.body
    )


def resolver(file: File) -> tuple[Resolve, Find]:
    """How imports of the program's own files are found: at once, or when they are needed."""
    project = Project.of_file(file)
    project.add(file)

    def find(where: File, module: str, level: int) -> Callable[[], File | None] | None:
        path = project.resolve(where.path, module, level)
        return partial(project.file, path) if path is not None else None

    def resolve(where: File, module: str, level: int) -> File | None:
        load = find(where, module, level)
        return load() if load is not None else None

    return resolve, find


def concerns_torch(file: File, hops: int) -> bool:
    """Whether a file, or one of the program that it imports, imports torch or what stands on it."""
    named = imports_of(file.tree)
    if any(not level and name.split(".")[0] in ROOTS for name, level in named):
        return True
    if not hops:
        return False
    project = Project.of_file(file)
    for name, level in named:
        path = project.resolve(file.path, name, level)
        other = project.file(path) if path is not None else None
        if other is not None and other is not file and any(root in other.source.text for root in ROOTS):
            if concerns_torch(other, hops - 1):
                return True
    return False


def imports_of(tree: ast.Module) -> list[tuple[str, int]]:
    """The modules that a file imports anywhere: as written, and how many dots. Worked out once for a tree."""
    known = tree.__dict__.get("_imports")
    if known is None:
        known = tree.__dict__["_imports"] = []
        for node in statements(tree):
            if isinstance(node, ast.Import):
                known.extend((alias.name, 0) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                known.append((node.module or "", node.level))
    found: list[tuple[str, int]] = known
    return found
