"""Scopes, imports and qualified names.

One iterative walk over the tree notes what binds each name in each scope; everything else is
answered on demand. The analysis does not follow the order of statements: a name that is bound twice
in one scope to different things is unknown, unless the bindings exclude each other (`try`/`except`,
the arms of an `if`) and only one of them is an import.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Self

from ..file import File

_SAME = {
    "torch.GradScaler": "torch.amp.GradScaler",
    "torch.amp.grad_scaler.GradScaler": "torch.amp.GradScaler",
    "torch.autocast": "torch.amp.autocast",
    "torch.amp.autocast_mode.autocast": "torch.amp.autocast",
    "torch.amp.autocast_mode.custom_fwd": "torch.amp.custom_fwd",
    "torch.amp.autocast_mode.custom_bwd": "torch.amp.custom_bwd",
    "torch.cuda.amp.grad_scaler.GradScaler": "torch.cuda.amp.GradScaler",
    "torch.cuda.amp.autocast_mode.autocast": "torch.cuda.amp.autocast",
    "torch.cuda.amp.autocast_mode.custom_fwd": "torch.cuda.amp.custom_fwd",
    "torch.cuda.amp.autocast_mode.custom_bwd": "torch.cuda.amp.custom_bwd",
    "torch.cpu.amp.grad_scaler.GradScaler": "torch.cpu.amp.GradScaler",
    "torch.cpu.amp.autocast_mode.autocast": "torch.cpu.amp.autocast",
    "torch.nn.utils.clip_grad.clip_grad_norm_": "torch.nn.utils.clip_grad_norm_",
    "torch.nn.utils.clip_grad.clip_grad_value_": "torch.nn.utils.clip_grad_value_",
    "torch.nn.utils.clip_grad.clip_grad_norm": "torch.nn.utils.clip_grad_norm",
    "torch.nn.parameter.Parameter": "torch.nn.Parameter",
    "torch.nn.modules.module.Module": "torch.nn.Module",
    "torch.nn.modules.Module": "torch.nn.Module",
    "torch.nn.modules.linear.Linear": "torch.nn.Linear",
    "torch.nn.modules.Linear": "torch.nn.Linear",
    "torch.optim.adamw.AdamW": "torch.optim.AdamW",
    "torch.optim.adam.Adam": "torch.optim.Adam",
    "torch.optim.sgd.SGD": "torch.optim.SGD",
    "torch.optim.optimizer.Optimizer": "torch.optim.Optimizer",
    "transformers.modeling_utils.Conv1D": "transformers.pytorch_utils.Conv1D",
    "transformers.Conv1D": "transformers.pytorch_utils.Conv1D",
    "transformers.training_args.TrainingArguments": "transformers.TrainingArguments",
    "transformers.trainer.Trainer": "transformers.Trainer",
    "peft.mapping.get_peft_model": "peft.get_peft_model",
    "peft.tuners.lora.LoraConfig": "peft.LoraConfig",
    "accelerate.accelerator.Accelerator": "accelerate.Accelerator",
}
"""One name for one object: where a class can be reached by several paths, the one that counts."""

_BUILTINS = frozenset(dir(builtins))


def canonical(qualified: str) -> str:
    """The one name of an object that is exported under several: `torch.autocast` is `torch.amp.autocast`.

    The deprecated classes of `torch.cuda.amp` keep their own names: they are other classes, with
    other arguments.
    """
    return _SAME.get(qualified, qualified)


CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"})
"""Modules of torch that have what is put into them, and no more."""


class Branch(NamedTuple):
    """One arm of a statement that takes one of several; `outer` is the arm around that statement."""

    node: int
    arm: int
    outer: Branch | None


class Binding(NamedTuple):
    """One place that gives a name a meaning.

    `kind` is `import`, `assign` (a plain `name = value`), `def`, `class`, `param`, or `other` (loop
    and `with` targets, augmented assignments, unpacking, captures). `node` is the `ast.alias`, the
    target, the definition or the argument; `statement` the statement around it; `value` the assigned
    expression; `qualified` what an import names, with leading dots if it is relative.
    """

    name: str
    kind: str
    node: ast.AST
    statement: ast.AST
    value: ast.expr | None
    qualified: str | None
    scope: Scope
    branch: Branch | None


class Scope:
    """A module, function, class, lambda or comprehension, and what is bound in it.

    A `cell` is the body of a marimo cell: its names are the module's, but for those that begin with
    one underscore.
    """

    __slots__ = ("bindings", "globals", "kind", "node", "nonlocals", "parent", "stars")

    def __init__(self, kind: str, node: ast.AST, parent: Scope | None) -> None:
        self.kind = kind
        self.node = node
        self.parent = parent
        self.bindings: dict[str, list[Binding]] = {}
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.stars: list[str] = []

    @property
    def module(self) -> Scope:
        """The outermost scope."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope

    def home(self, name: str) -> Scope:
        """The scope in which a binding of `name` that is written here takes effect."""
        if name in self.globals:
            return self.module
        if name in self.nonlocals:
            scope = self.parent
            while scope is not None and (scope.kind == "class" or name not in scope.bindings):
                scope = scope.parent
            return scope or self
        if self.kind == "cell" and not private(name):
            return self.module
        return self

    def find(self, name: str) -> list[Binding]:
        """The bindings that `name` read in this scope can mean; none for builtins and unbound names."""
        scope: Scope | None = self.module if name in self.globals else self
        first = True
        while scope is not None:
            if first or scope.kind != "class":
                found = scope.bindings.get(name)
                if found:
                    return found
            first = False
            scope = scope.parent
        return []


def private(name: str) -> bool:
    """Whether marimo keeps this name to its cell."""
    return name == "__" or (name.startswith("_") and not name.startswith("__"))


class Names:
    """What the names of one file mean.

    `resolve(expr)` is the qualified name of a name or attribute chain as far as imports and plain
    aliases decide it, spelled as the import spells it: after `from torch.cuda import amp as a`,
    `a.GradScaler` is `torch.cuda.amp.GradScaler`. None where the root is rebound, local, or not
    imported. `canonical(name)` maps the several paths to one object to one name.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        self.module = Scope("module", file.tree, None)
        self.scopes: dict[ast.AST, Scope] = {file.tree: self.module}
        """Module, functions, classes, lambdas and comprehensions to their scopes."""
        self.references: list[ast.expr] = []
        """Every name or attribute chain that is read, whole: `torch.amp.GradScaler` once."""
        self.call_nodes: list[ast.Call] = []
        self._scope: dict[ast.AST, Scope] = {}
        self._known: dict[tuple[Scope, str], str | None] = {}
        self._depth = 0
        self._index: dict[str, list[ast.Call]] | None = None
        self._reference_index: dict[str, list[ast.expr]] | None = None
        _Walk(self, file.tree).run()

    @classmethod
    def of(cls, file: File) -> Self:
        """The names of `file`."""
        return cls(file)

    def scope(self, name: ast.AST) -> Scope:
        """The scope in which a `Name` of this file stands; the module's for nodes from elsewhere."""
        return self._scope.get(name, self.module)

    def bindings(self, name: ast.expr) -> list[Binding]:
        """Everything that the `Name` node can mean, in file order."""
        return self.scope(name).find(name.id) if isinstance(name, ast.Name) else []

    def binding(self, name: ast.expr) -> Binding | None:
        """The only binding of the `Name` node, or None where there are none or several."""
        found = self.bindings(name)
        return found[0] if len(found) == 1 else None

    def definition(self, name: ast.expr) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None:
        """The function or class of this file that the `Name` node means, if nothing else binds the name."""
        found = self.binding(name)
        if found and isinstance(found.node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return found.node
        return None

    def resolve(self, expr: ast.expr | None) -> str | None:
        """The qualified name that `expr` stands for, as its import spells it, or None."""
        parts: list[str] = []
        while True:
            if isinstance(expr, ast.Attribute):
                parts.append(expr.attr)
                expr = expr.value
            elif isinstance(expr, ast.Name):
                break
            elif isinstance(expr, ast.Call):
                root = self._imported_by_call(expr)
                return ".".join([root, *reversed(parts)]) if root else None
            else:
                return None
        root = self.meaning(self.scope(expr), expr.id)
        if root is None or not parts:
            return root
        parts.append(root)
        parts.reverse()
        return ".".join(parts)

    def canonical(self, expr: ast.expr | None) -> str | None:
        """`canonical(resolve(expr))`."""
        found = self.resolve(expr)
        return None if found is None else _SAME.get(found, found)

    def meaning(self, scope: Scope, name: str) -> str | None:
        """The qualified name that the bare `name` has in `scope`, or None."""
        key = (scope, name)
        if key not in self._known:
            self._known[key] = None  # a name that is defined by itself means nothing
            self._known[key] = self._meaning(scope, name)
        return self._known[key]

    def imports(self, prefix: str = "") -> Iterator[Binding]:
        """The import bindings whose qualified name is `prefix` or lies below it."""
        for scope in dict.fromkeys(self.scopes.values()):
            for bindings in scope.bindings.values():
                for binding in bindings:
                    name = binding.qualified
                    if name is not None and (not prefix or name == prefix or name.startswith(prefix + ".")):
                        yield binding

    def calls(self, *names: str) -> Iterator[ast.Call]:
        """Calls of the objects with these canonical names, in file order (decorators included).

        `functools.partial(torch.autocast, "cuda")` is no call of autocast: see `partials`.
        """
        if self._index is None:
            self._index = {}
            for call in self.call_nodes:
                found = self.canonical(call.func)
                if found is not None:
                    self._index.setdefault(found, []).append(call)
        found_calls = [call for name in names for call in self._index.get(name, ())]
        found_calls.sort(key=lambda call: (call.lineno, call.col_offset))
        return iter(found_calls)

    def partials(self, *names: str) -> Iterator[ast.Call]:
        """Calls `partial(X, ...)` whose X has one of these canonical names; X is `call.args[0]`."""
        for call in self.calls("functools.partial"):
            if call.args and self.canonical(call.args[0]) in names:
                yield call

    def reads(self, *names: str) -> Iterator[ast.expr]:
        """Whole chains that read the objects with these canonical names, in file order."""
        if self._reference_index is None:
            self._reference_index = {}
            for chain in self.references:
                found = self.canonical(chain)
                if found is not None:
                    self._reference_index.setdefault(found, []).append(chain)
        chains = [chain for name in names for chain in self._reference_index.get(name, ())]
        chains.sort(key=lambda chain: (chain.lineno, chain.col_offset))
        return iter(chains)

    def _meaning(self, scope: Scope, name: str) -> str | None:
        bindings = scope.find(name)
        if not bindings:
            return self._starred(scope, name)
        kept: list[tuple[str, Binding]] = []
        lost: list[Binding] = []
        for binding in bindings:
            if binding.kind == "assign" and _is_none(binding.value):
                continue  # a placeholder: what is None cannot be called or read from
            found = binding.qualified
            if found is None and binding.kind == "assign":
                found = self._alias(binding.value)
            if found is None:
                lost.append(binding)
            else:
                kept.append((found, binding))
        if not kept:
            return None
        first, holder = kept[0]
        for found, binding in kept[1:]:
            if canonical(found) != canonical(first) and not _exclusive(binding.branch, holder.branch):
                return None
        for binding in lost:
            if not all(_exclusive(binding.branch, other.branch) for _, other in kept):
                return None
        return first

    def _alias(self, value: ast.expr | None) -> str | None:
        if self._depth > 50 or not isinstance(value, (ast.Attribute, ast.Name, ast.Call)):
            return None
        self._depth += 1
        found = self.resolve(value)
        self._depth -= 1
        return found

    def _imported_by_call(self, call: ast.Call) -> str | None:
        """`importlib.import_module("x.y")` and `getattr(x, "y")`, spelled out."""
        if call.keywords or not call.args:
            return None
        last = call.args[-1]
        if not (isinstance(last, ast.Constant) and isinstance(last.value, str)):
            return None
        if len(call.args) == 1 and self.resolve(call.func) == "importlib.import_module":
            return None if last.value.startswith(".") else last.value
        if len(call.args) == 2 and isinstance(call.func, ast.Name) and call.func.id == "getattr":
            if self.bindings(call.func):
                return None
            root = self.resolve(call.args[0])
            return f"{root}.{last.value}" if root else None
        return None

    def _starred(self, scope: Scope, name: str) -> str | None:
        stars = [star for at in self._outward(scope) for star in at.stars]
        if len(set(stars)) == 1 and name not in _BUILTINS and not name.startswith("_"):
            return f"{stars[0]}.{name}"
        return None

    @staticmethod
    def _outward(scope: Scope) -> Iterator[Scope]:
        at: Scope | None = scope
        while at is not None:
            yield at
            at = at.parent


def _is_none(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _exclusive(one: Branch | None, other: Branch | None) -> bool:
    """Whether at most one of two places is reached: they lie in different arms of one statement."""
    arms: dict[int, int] = {}
    while one is not None:
        arms[one.node] = one.arm
        one = one.outer
    while other is not None:
        if arms.get(other.node, other.arm) != other.arm:
            return True
        other = other.outer
    return False


_Step = tuple[ast.AST, Scope, "Branch | None", ast.AST]
"""A node to visit, its scope, its branch, and the statement it stands in."""


class _Walk:
    """The one walk. It keeps its own stack, so that no depth of nesting can exhaust Python's."""

    def __init__(self, names: Names, tree: ast.Module) -> None:
        self.names = names
        self.tree = tree
        self.app = _marimo_app(tree)
        self.stack: list[_Step] = []
        self.handlers: dict[type, Callable[[_Step], None]] = {
            ast.Name: self.name,
            ast.Attribute: self.attribute,
            ast.Call: self.call,
            ast.Assign: self.assign,
            ast.AnnAssign: self.annotated,
            ast.Import: self.imported,
            ast.ImportFrom: self.imported_from,
            ast.FunctionDef: self.function,
            ast.AsyncFunctionDef: self.function,
            ast.Lambda: self.lambda_,
            ast.ClassDef: self.class_,
            ast.ListComp: self.comprehension,
            ast.SetComp: self.comprehension,
            ast.GeneratorExp: self.comprehension,
            ast.DictComp: self.comprehension,
            ast.NamedExpr: self.walrus,
            ast.If: self.if_,
            ast.Try: self.try_,
            ast.TryStar: self.try_,
            ast.Match: self.match,
            ast.ExceptHandler: self.captured,
            ast.MatchAs: self.captured,
            ast.MatchStar: self.captured,
            ast.MatchMapping: self.captured,
            ast.Global: self.global_,
            ast.Nonlocal: self.nonlocal_,
        }

    def run(self) -> None:
        stack, handlers = self.stack, self.handlers
        self.push(self.tree.body, self.names.module, None, self.tree)
        while stack:
            step = stack.pop()
            handler = handlers.get(step[0].__class__)
            if handler is not None:
                handler(step)
            else:
                self.children(step)

    def push(
        self, nodes: Iterable[ast.AST | None], scope: Scope, branch: Branch | None, statement: ast.AST
    ) -> None:
        """To be visited next, in this order."""
        new = [(node, scope, branch, statement) for node in nodes if node is not None]
        new.reverse()
        self.stack += new

    def children(self, step: _Step) -> None:
        node, scope, branch, statement = step
        if isinstance(node, ast.stmt):
            statement = node
        fields = node._fields
        stack = self.stack
        for field in reversed(fields):
            value = getattr(node, field, None)
            if value.__class__ is list:
                for item in reversed(value):
                    if isinstance(item, ast.AST):
                        stack.append((item, scope, branch, statement))
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                stack.append((value, scope, branch, statement))

    def bind(
        self,
        name: str,
        kind: str,
        node: ast.AST,
        step: _Step,
        value: ast.expr | None = None,
        qualified: str | None = None,
        statement: ast.AST | None = None,
    ) -> None:
        home = step[1].home(name)
        binding = Binding(name, kind, node, statement or step[3], value, qualified, home, step[2])
        home.bindings.setdefault(name, []).append(binding)

    def name(self, step: _Step) -> None:
        node, scope = step[0], step[1]
        assert isinstance(node, ast.Name)
        if scope.kind != "module":
            self.names._scope[node] = scope
        if isinstance(node.ctx, ast.Load):
            self.names.references.append(node)
        else:
            self.bind(node.id, "other", node, step)

    def attribute(self, step: _Step) -> None:
        chain, scope = step[0], step[1]
        assert isinstance(chain, ast.Attribute)
        root: ast.expr = chain.value
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name):
            self.stack.append((root, *step[1:]))
            return
        if scope.kind != "module":
            self.names._scope[root] = scope
        self.names.references.append(chain if isinstance(chain.ctx, ast.Load) else chain.value)

    def call(self, step: _Step) -> None:
        assert isinstance(step[0], ast.Call)
        self.names.call_nodes.append(step[0])
        self.children(step)

    def assign(self, step: _Step) -> None:
        node, scope, branch, _ = step
        assert isinstance(node, ast.Assign)
        self.push([node.value], scope, branch, node)
        for target in node.targets:
            self.target(target, node.value, step)

    def annotated(self, step: _Step) -> None:
        node, scope, branch, _ = step
        assert isinstance(node, ast.AnnAssign)
        self.push([node.annotation, node.value], scope, branch, node)
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.target(node.target, node.value, step)

    def target(self, target: ast.expr, value: ast.expr | None, step: _Step) -> None:
        node, scope, branch, _ = step
        if isinstance(target, ast.Name):
            if scope.kind != "module":
                self.names._scope[target] = scope
            self.bind(target.id, "assign", target, step, value, statement=node)
        else:
            self.push([target], scope, branch, node)

    def walrus(self, step: _Step) -> None:
        node, scope, branch, statement = step
        assert isinstance(node, ast.NamedExpr)
        self.push([node.value], scope, branch, statement)
        home = scope
        while home.kind == "comprehension" and home.parent is not None:
            home = home.parent
        if home.kind != "module":
            self.names._scope[node.target] = home
        self.bind(node.target.id, "assign", node.target, (node, home, branch, statement), node.value)

    def imported(self, step: _Step) -> None:
        node = step[0]
        assert isinstance(node, ast.Import)
        for alias in node.names:
            root = alias.name.partition(".")[0]
            qualified = alias.name if alias.asname else root
            self.bind(alias.asname or root, "import", alias, step, qualified=qualified, statement=node)

    def imported_from(self, step: _Step) -> None:
        node, scope = step[0], step[1]
        assert isinstance(node, ast.ImportFrom)
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                (self.names.module if scope.kind == "cell" else scope).stars.append(module)
                continue
            dot = "" if module.endswith(".") else "."
            qualified = f"{module}{dot}{alias.name}"
            self.bind(alias.asname or alias.name, "import", alias, step, qualified=qualified, statement=node)

    def function(self, step: _Step) -> None:
        node, scope, branch, _ = step
        assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        arguments = node.args
        if self.app and scope.kind == "module" and any(self.is_cell(item) for item in node.decorator_list):
            inner = Scope("cell", node, scope)
            self.names.scopes[node] = inner
            self.push(node.decorator_list, scope, branch, node)
            self.push(node.body, inner, None, node)
            return
        inner = Scope("function", node, scope)
        self.names.scopes[node] = inner
        self.bind(node.name, "def", node, step, statement=node)
        self.parameters(arguments, (node, inner, None, node))
        annotations = [item.annotation for item in _all_arguments(arguments)]
        self.push(node.body, inner, None, node)
        self.push(getattr(node, "type_params", ()), inner, None, node)
        outside = [
            *node.decorator_list,
            *arguments.defaults,
            *arguments.kw_defaults,
            *annotations,
            node.returns,
        ]
        self.push(outside, scope, branch, node)

    def lambda_(self, step: _Step) -> None:
        node, scope, branch, statement = step
        assert isinstance(node, ast.Lambda)
        inner = Scope("lambda", node, scope)
        self.names.scopes[node] = inner
        self.parameters(node.args, (node, inner, None, statement))
        self.push([node.body], inner, None, statement)
        self.push([*node.args.defaults, *node.args.kw_defaults], scope, branch, statement)

    def parameters(self, arguments: ast.arguments, step: _Step) -> None:
        for argument in _all_arguments(arguments):
            self.bind(argument.arg, "param", argument, step)

    def class_(self, step: _Step) -> None:
        node, scope, branch, _ = step
        assert isinstance(node, ast.ClassDef)
        inner = Scope("class", node, scope)
        self.names.scopes[node] = inner
        self.bind(node.name, "class", node, step, statement=node)
        self.push(node.body, inner, None, node)
        self.push(getattr(node, "type_params", ()), inner, None, node)
        outside = [*node.decorator_list, *node.bases, *(item.value for item in node.keywords)]
        self.push(outside, scope, branch, node)

    def comprehension(self, step: _Step) -> None:
        node, scope, branch, statement = step
        assert isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp))
        inner = Scope("comprehension", node, scope)
        self.names.scopes[node] = inner
        result = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self.push(result, inner, branch, statement)
        for index, generator in reversed(list(enumerate(node.generators))):
            self.push([generator.target, *generator.ifs], inner, branch, statement)
            self.push([generator.iter], inner if index else scope, branch, statement)

    def if_(self, step: _Step) -> None:
        node, scope, branch, _ = step
        assert isinstance(node, ast.If)
        self.push(node.orelse, scope, Branch(id(node), 1, branch), node)
        self.push(node.body, scope, Branch(id(node), 0, branch), node)
        self.push([node.test], scope, branch, node)

    def try_(self, step: _Step) -> None:
        node, scope, branch, _ = step
        assert isinstance(node, (ast.Try, ast.TryStar))
        self.push(node.finalbody, scope, branch, node)
        self.push(node.orelse, scope, Branch(id(node), 0, branch), node)
        for index, handler in reversed(list(enumerate(node.handlers, 1))):
            self.push([handler], scope, Branch(id(node), index, branch), node)
        self.push(node.body, scope, Branch(id(node), 0, branch), node)

    def match(self, step: _Step) -> None:
        node, scope, branch, _ = step
        assert isinstance(node, ast.Match)
        for index, case in reversed(list(enumerate(node.cases))):
            self.push([case], scope, Branch(id(node), index, branch), node)
        self.push([node.subject], scope, branch, node)

    def captured(self, step: _Step) -> None:
        node = step[0]
        name = (
            getattr(node, "rest", None) if isinstance(node, ast.MatchMapping) else getattr(node, "name", None)
        )
        if name:
            self.bind(name, "other", node, step)
        self.children(step)

    def global_(self, step: _Step) -> None:
        assert isinstance(step[0], ast.Global)
        step[1].globals.update(step[0].names)

    def nonlocal_(self, step: _Step) -> None:
        assert isinstance(step[0], ast.Nonlocal)
        step[1].nonlocals.update(step[0].names)

    @staticmethod
    def is_cell(decorator: ast.expr) -> bool:
        if isinstance(decorator, ast.Call):
            decorator = decorator.func
        return (
            isinstance(decorator, ast.Attribute)
            and decorator.attr == "cell"
            and isinstance(decorator.value, ast.Name)
            and decorator.value.id == "app"
        )


def _all_arguments(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from arguments.posonlyargs
    yield from arguments.args
    if arguments.vararg:
        yield arguments.vararg
    yield from arguments.kwonlyargs
    if arguments.kwarg:
        yield arguments.kwarg


def _marimo_app(tree: ast.Module) -> bool:
    """Whether the module makes `app = marimo.App(...)`; marimo accepts no other name."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            target, func = statement.targets[0], statement.value.func
            if isinstance(target, ast.Name) and target.id == "app":
                return isinstance(func, ast.Attribute) and func.attr == "App"
    return False
