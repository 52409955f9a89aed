"""What can matter in one program: the facts of its files put together.

A function is *hot* when it holds a word of the training protocol or calls, by simple name, one that
does. Cold functions are not entered, cold statements not run: what they bind becomes symbols. The facts
also say which dotted paths are used as scalers and optimizers, from which unknown parameters and
attributes are refined.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from .facts import Facts, Scan, dotted, moves, mutes, scan_of, words

if TYPE_CHECKING:
    from ...file import File


class FactsOf(dict[ast.AST, Facts]):
    """The facts of the functions of a file in one program, and on demand those of statements."""

    __slots__ = ("program_names", "scan")

    def __init__(self, scan: Scan) -> None:
        super().__init__(scan.owners)
        self.scan = scan
        self.program_names: set[str] = set()
        """The names of the program's functions: one that is given to a call may be called there."""

    def __missing__(self, node: ast.AST) -> Facts:
        if node not in self.scan.statements:
            raise KeyError(node)
        facts = self.scan.of(node)
        facts.calls |= self.given(facts)
        self[node] = facts
        return facts

    def get(self, node: ast.AST, default: Any = None) -> Any:
        """The facts of a function or statement; the default for any other node."""
        found = super().get(node)
        if found is not None:
            return found
        return self[node] if node in self.scan.statements else default

    def given(self, facts: Facts) -> set[str]:
        """The functions of the program that are given to calls."""
        return {path.rpartition(".")[2] for path in facts.passed} & self.program_names

    def settle(self, names: set[str]) -> None:
        """Count what is given to a call as called, now that the program's functions are known."""
        self.program_names = names
        for node, facts in self.scan.owners.items():
            if facts.passed:
                given = self.given(facts)
                if not given <= facts.calls:
                    self[node] = facts.calling(given)


class Module:
    """One file as the machine sees it in one program: its statements and the facts about them."""

    def __init__(self, file: File, body: list[ast.stmt] | None = None) -> None:
        self.file = file
        self.body = file.tree.body if body is None else body
        self.path = file.path
        scan = scan_of(file.tree) if body is None else Scan(body)
        self.facts = FactsOf(scan)
        self.functions = scan.functions
        self.parents = scan.parents
        self.order = scan.order
        self.imports = scan.imports
        self.top = scan.top

    def __repr__(self) -> str:
        return f"<Module {self.path}>"

    def __hash__(self) -> int:
        return hash(self.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Module) and other.path == self.path

    def holds(self, node: ast.AST) -> bool:
        """Whether a statement stands in this file."""
        return node in self.facts.scan.statements


COMMON = words(
    """get load update add append items close start stop write read __init__ reset set log parse join
    split copy sort index count pop keys values save open format print len range zip enumerate map info
    warning exists forward"""
)
"""Names so common that a call of one says nothing about which function it is."""


NO_OPTIMIZER = words(
    """backward/1 scale/1 eval train step/1 get_last_lr get_lr get_lr/1 parameters act reset render close
    finish start stop update set_postfix/1"""
)
"""Methods that an optimizer does not have, or that make what has them more than one."""
OTHER_STEPPERS = words(
    """sched prof lr env ema bar warm timer sim engine self model agent game log track meter accel callback
    trainer runner state anneal progress decay cls net monitor"""
)
"""Parts of the names of other things that are stepped without arguments."""


class Program:
    """The files that a story is told from, with what is hot in them and how their names are used."""

    def __init__(self) -> None:
        self.modules: dict[str, Module] = {}
        self.hot_names: set[str] = set()
        self._telling: set[str] = set()
        """Of these, those whose call says which function it is."""
        self._telling_core: set[str] = set()
        self._telling_casting: set[str] = set()
        self._hot: dict[ast.AST, bool] = {}
        self.uses: dict[str, set[str]] = {}
        """The last part of every dotted receiver, with the methods called on it anywhere."""
        self.scalers: set[str] = set()
        """Of these, those that are used as scalers."""
        self.class_names: set[str] = set()
        self.scales = True
        """There may be a gradient scaler: it is named in a file, or something is used as one."""
        self.common = COMMON
        """Names that say nothing here; one that takes a training step in this program does."""
        self.steppers: set[str] = set()
        """Names that are stepped, without arguments, in functions that run a backward."""
        self.subclassed: set[str] = set()
        """Bases of classes that have a `step` of their own."""
        self.unscales = False
        """Something somewhere unscales gradients, or nothing scales a loss."""
        self.step_clears = False
        """A class has a `step` that clears gradients: what is only stepped may be one of these."""
        self.movers: dict[str, frozenset[str]] = {}
        """Methods by simple name, with the attributes of their own object that they set."""
        self.stacks: set[str] = set()
        """Names of what contexts are entered into: closing one leaves them."""
        self.refused = False
        """A loss is made that autocast refuses."""
        self.inherited: set[ast.AST] = set()
        """Constructors that call the one of a base which holds a word of the protocol, and those calls."""
        self.mutes = False
        """A module here turns autocast off for itself: one that is not known may be of that kind."""

    def add(self, module: Module) -> None:
        """Take in a file; `settle` must follow."""
        self.modules[module.path] = module

    def settle(self) -> None:
        """Work out what is hot, by closure over simple names."""
        every = [
            (name, node, module)
            for module in self.modules.values()
            for name, nodes in module.functions.items()
            for node in nodes
        ]
        for name, node, _ in every:
            if isinstance(node, ast.ClassDef):
                self.class_names.add(name)
                if any(getattr(statement, "name", "") == "step" for statement in node.body):
                    self.subclassed.update(map(dotted, node.bases))
        # A function given to a call may be called there.
        names = {name for name, _, _ in every}
        for module in self.modules.values():
            module.facts.settle(names)
        every_call: set[str] = set()
        for module in self.modules.values():
            for owner in (module.top, *module.facts.values()):
                every_call |= owner.calls
                for path, methods in owner.paths.items():
                    self.uses.setdefault(path.rpartition(".")[2], set()).update(methods)
        self.scalers = {name for name, used in self.uses.items() if is_scaler(used)}
        named = any(module.file.holds("GradScaler") for module in self.modules.values())
        self.scales = named or bool(self.scalers)
        self.common = COMMON
        self.common = COMMON - self._closure(every, "trains")
        kept: set[str] = set()
        if self.scales:
            kept = {name for name, node, module in every if module.facts[node].kept}
            self.common -= kept
        losses = set().union(*(module.facts.scan.losses for module in self.modules.values()))
        ending = {name for name, node, module in every if self.ends_round(module.facts[node])}
        derived = self._inherits(every)
        self.hot_names = self._closure(every, "strong", losses | ending | kept | derived)
        self._telling = self.hot_names - self.common
        self._telling_core = self._closure(every, "core", ending) - self.common
        self._telling_casting = self._closure(every, "casting", losses) - self.common
        self.refused = "BCELoss" in every_call
        self.unscales = "scale" not in every_call or any("unscale" in call for call in every_call)
        self.step_clears = any(
            name == "step" and "zero_grad" in module.facts[node].calls for name, node, module in every
        )
        for name, node, module in every:
            own = moves(node, module.facts[node])
            if own:
                self.movers[name] = self.movers.get(name, frozenset()) | own
        self.stacks = {name for name, used in self.uses.items() if "enter_context/1" in used}
        self.mutes = any(name in ("forward", "__call__") and mutes(node) for name, node, _ in every)
        for module in self.modules.values():
            for owner in (module.top, *(module.facts[node] for node in module.order)):
                if owner.graph and not self.step_clears:
                    self._steppers(owner)

    def _inherits(self, every: list[tuple[str, ast.AST, Module]]) -> set[str]:
        """The classes that get from a base's constructor what holds a word of the protocol, by name."""
        classes = [(name, node, module) for name, node, module in every if isinstance(node, ast.ClassDef)]
        inits = {node: _init_of(node) for _, node, _ in classes if isinstance(node, ast.ClassDef)}
        making = {
            name
            for name, node, module in classes
            if (init := inits.get(node)) is not None and (facts := module.facts.get(init)) and facts.strong
        }
        found: set[str] = set()
        for _ in range(4):
            before = len(found)
            for name, node, _ in classes:
                assert isinstance(node, ast.ClassDef)
                if name in found or not {dotted(base).rpartition(".")[2] for base in node.bases} & (
                    making | found
                ):
                    continue
                init = inits[node]
                calls = [] if init is None else [each for each in init.body if _inits_base(each)]
                if init is None or calls:
                    found.add(name)
                    self.inherited.update([init, *calls] if init is not None else [])
            if len(found) == before:
                break
        return found

    def _steppers(self, facts: Facts) -> None:
        """What a function steps after its backward is an optimizer, whoever made it.

        A scheduler or a profiler is stepped so too: where several things are, or the one has a name that
        says otherwise, only what calls itself an optimizer is taken for one, and never what a `with` binds.
        """
        stepped = {
            path.rpartition(".")[2]
            for path, methods in facts.paths.items()
            if "step" in methods and self.uses[path.rpartition(".")[2]].isdisjoint(NO_OPTIMIZER)
        } - facts.entered
        named = {name for name in stepped if "opt" in name.lower()}
        if not named and len(stepped) == 1:
            named = {name for name in stepped if not any(part in name.lower() for part in OTHER_STEPPERS)}
        self.steppers |= named

    def _closure(
        self,
        every: list[tuple[str, ast.AST, Module]],
        flag: str,
        more: frozenset[str] | set[str] = frozenset(),
    ) -> set[str]:
        """The names of functions that hold such a word, or call by simple name one that does, or `more`."""
        found = {name for name, node, module in every if getattr(module.facts[node], flag)} | more
        pending = [
            (name, module.facts[node].calls - self.common)
            for name, node, module in every
            if name not in found
        ]
        changed = True
        while changed:
            changed = False
            rest = []
            for name, calls in pending:
                if not calls.isdisjoint(found):
                    changed = changed or name not in found
                    found.add(name)
                else:
                    rest.append((name, calls))
            pending = rest
        return found

    def core(self, module: Module, node: ast.AST) -> bool:
        """Whether a function has to do with the training step itself."""
        facts = module.facts.get(node)
        return (
            facts is None
            or facts.core
            or not facts.calls.isdisjoint(self._telling_core)
            or self.ends_round(facts)
        )

    def casting(self, module: Module, node: ast.AST) -> bool:
        """Whether a function may enter autocast."""
        facts = module.facts.get(node)
        if facts is None or facts.casting:
            return True
        return not facts.calls.isdisjoint(self._telling_casting)

    def hot(self, module: Module, node: ast.AST) -> bool:
        """Whether a statement or function holds, or calls what holds, a word of the protocol."""
        facts = module.facts.get(node)
        if facts is None:
            return True
        hot = self._hot.get(node)
        if hot is None:
            loop = isinstance(node, ast.For | ast.AsyncFor | ast.While)
            hot = self._hot[node] = (
                facts.strong
                or node in self.inherited
                or (facts.kept and self.scales)
                or (facts.warm and not loop and facts.size < 12)
                or not facts.calls.isdisjoint(self._telling)
                or (bool(self.stacks) and self._closes(facts))
                or self.ends_round(facts)
            )
        return hot

    def ends_round(self, facts: Facts) -> bool:
        """Whether what is used as a scaler, here or elsewhere, is updated."""
        return "update" in facts.calls and any(
            not methods.isdisjoint(("update", "update/1")) and path.rpartition(".")[2] in self.scalers
            for path, methods in facts.paths.items()
        )

    def _closes(self, facts: Facts) -> bool:
        """Whether a stack of contexts is closed."""
        return any(
            "close" in methods and path.rpartition(".")[2] in self.stacks
            for path, methods in facts.paths.items()
        )

    def role(self, path: str, methods: set[str]) -> str | None:
        """`scaler` or `optimizer`, if the use of this dotted path shows one."""
        last = path.rpartition(".")[2]
        used = methods | self.uses.get(last, set())
        if is_scaler(used):
            return "scaler"
        for use in methods:
            if use.startswith("@"):
                base = use.partition(":")[2].rpartition(".")[2]
                if is_scaler(self.uses.get(base, set())):
                    return "optimizer"
        if is_optimizer(methods if self.step_clears else used) or (last in self.steppers and "step" in used):
            return "optimizer"
        return None


def _init_of(node: ast.ClassDef) -> ast.FunctionDef | None:
    """The constructor that a class has of its own."""
    return next((s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"), None)


def _inits_base(statement: ast.stmt) -> bool:
    """Whether a statement calls the constructor of a base class."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and isinstance(statement.value.func, ast.Attribute)
        and statement.value.func.attr == "__init__"
    )


def is_scaler(used: set[str]) -> bool:
    """Whether the methods called on a name are a gradient scaler's: the trio, or `unscale_`."""
    if "unscale_/1" in used or "scale.backward" in used:
        return "step/1" in used or "update" in used or "unscale_/1" in used
    return "scale/1" in used and "step/1" in used and ("update" in used or "update/1" in used)


def is_optimizer(used: set[str]) -> bool:
    """Whether the methods called on a name are an optimizer's."""
    if "backward/1" in used or "scale/1" in used or "eval" in used or "train" in used:
        return False
    if "param_groups" in used and ("step" in used or "zero_grad" in used or "zero_grad/1" in used):
        return True
    return ("zero_grad" in used or "zero_grad/1" in used) and (
        "step" in used or "step/1" in used or any(use.startswith("@") for use in used)
    )
