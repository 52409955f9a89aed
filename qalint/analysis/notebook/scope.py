"""What the code of one cell binds and reads, at any depth.

marimo runs a cell's body as module code, so Python's own scoping rules say what is a definition and
what a reference; this module applies them to the statements of one cell in one iterative walk in
the order of evaluation. Two things differ from `symtable` on purpose, since marimo differs: the
name of `except E as e` at cell level is no definition, and annotations count as read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

NAME_ERROR_CATCHERS = frozenset({"NameError", "Exception", "BaseException"})


def is_private(name: str) -> bool:
    """Whether marimo keeps `name` private to its cell: `__`, or exactly one leading underscore."""
    return name == "__" or (name.startswith("_") and not name.startswith("__"))


class Use(NamedTuple):
    """One occurrence of a name that means the cell's own (module) scope.

    `node` is the `Name`, the `alias`, the definition or the pattern that holds the name; `order`
    grows in the order of evaluation; `deferred`: inside a function or lambda, so it runs when that
    is called; `guarded`: inside a `try` that catches NameError, or
    under `if "name" in globals()`; `loops`: the loops of the cell
    around it; `annotation`: in an annotation, which Python 3.14 evaluates only on demand.
    """

    name: str
    node: ast.AST
    order: int
    deferred: bool = False
    guarded: bool = False
    augmented: bool = False
    loops: tuple[ast.AST, ...] = ()
    annotation: bool = False


class Import(NamedTuple):
    """An import at cell level: the name it binds, what that stands for, and its alias node."""

    name: str
    qualified: str
    node: ast.alias
    statement: ast.Import | ast.ImportFrom


class Scope:
    """The names of one cell's code: what it binds (`stores`), reads (`loads`) and deletes."""

    __slots__ = ("declared", "deletes", "dynamic", "imports", "loads", "stars", "stores")

    def __init__(self) -> None:
        self.stores: dict[str, list[Use]] = {}
        self.loads: dict[str, list[Use]] = {}
        self.deletes: dict[str, list[Use]] = {}
        self.declared: dict[str, list[Use]] = {}
        """`global` statements, by name."""
        self.imports: list[Import] = []
        self.stars: list[ast.ImportFrom] = []
        self.dynamic = False
        """Whether names are looked up by string: `globals()`, `locals()`, `exec`, `eval`."""

    def reads(self, name: str) -> list[Use]:
        """Where the cell reads `name` although nothing in it binds the name, or before it does.

        In evaluation order. `del name` counts as reading it.
        """
        uses = self.loads.get(name, []) + self.deletes.get(name, [])
        uses.sort(key=lambda use: use.order)
        stores = self.stores.get(name)
        if not stores:
            return [use for use in uses if not use.augmented]
        first = min(stores, key=lambda use: use.order)
        if first.deferred:  # `global name` in a function: nobody knows when it runs
            return []
        return [
            use
            for use in uses
            if use.order < first.order
            and not use.deferred
            and not any(loop in store.loops for loop in use.loops for store in stores)
        ]

    def occurrences(self, name: str) -> list[Use]:
        """Every use of `name` that means the cell's scope, in order: what a rename has to touch."""
        groups = (self.stores, self.loads, self.deletes, self.declared)
        uses = [use for group in groups for use in group.get(name, []) if not use.augmented]
        return sorted(uses, key=lambda use: use.order)


class _Block:
    """A lexical scope while the walk goes on."""

    __slots__ = ("bound", "deferred", "global_names", "kind", "parent", "reads")

    def __init__(self, kind: str, parent: _Block | None) -> None:
        self.kind = kind
        self.parent = parent
        self.bound: set[str] = set()
        self.global_names: set[str] = set()
        self.reads: list[tuple[str, ast.AST, int, _State]] = []
        self.deferred: bool = kind == "function" or (parent is not None and parent.deferred)


class _State(NamedTuple):
    block: _Block
    guarded: bool
    obscured: frozenset[str]
    loops: tuple[ast.AST, ...]
    annotation: bool = False


_Task = tuple[object, _State]


class _Bind(NamedTuple):
    """Work for later: bind `name` when its value has been walked."""

    name: str
    node: ast.AST


class _Walker:
    def __init__(self) -> None:
        self.scope = Scope()
        self.root = _Block("module", None)
        self.blocks = [self.root]
        self.order = 0

    def walk(self, body: Iterable[ast.AST]) -> Scope:
        stack: list[_Task] = []
        state = _State(self.root, False, frozenset(), ())
        stack.extend((node, state) for node in reversed(list(body)))
        while stack:
            task, state = stack.pop()
            self.order += 1
            if isinstance(task, _Bind):
                self.bind(task.name, task.node, state)
                continue
            following = self.visit(task, state)
            stack.extend(reversed(following))
        self.resolve()
        return self.scope

    # The walk of one node: what happens at once, and what is to be walked next, in order.

    def visit(self, node: object, state: _State) -> list[_Task]:
        match node:
            case ast.Name():
                return self.name(node, state)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return self.function(node, state)
            case ast.Lambda():
                inner = self.nested("function", state)
                self.parameters(node.args, inner)
                return [*self.defaults(node.args, state), (node.body, inner)]
            case ast.ClassDef():
                return self.klass(node, state)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self.comprehension(node, state)
            case ast.NamedExpr():
                return [(node.value, state), (_Bind(node.target.id, node.target), self.outside(state))]
            case ast.Import() | ast.ImportFrom():
                self.imported(node, state)
                return []
            case ast.Global():
                for name in node.names:
                    state.block.global_names.add(name)
                    use = Use(name, node, self.order, state.block.deferred)
                    self.scope.declared.setdefault(name, []).append(use)
                return []
            case ast.Nonlocal():
                return []
            case ast.Assign():
                return [(node.value, state), *((target, state) for target in node.targets)]
            case ast.AugAssign():
                return self.augmented(node, state)
            case ast.AnnAssign():
                value = [] if node.value is None else [(node.value, state)]
                annotated = state._replace(annotation=True)
                return [*value, (node.annotation, annotated), (node.target, state)]
            case ast.For() | ast.AsyncFor():
                inside = state._replace(loops=(*state.loops, node))
                return [
                    (node.iter, state),
                    (node.target, inside),
                    *((child, inside) for child in node.body),
                    *((child, state) for child in node.orelse),
                ]
            case ast.While():
                inside = state._replace(loops=(*state.loops, node))
                return [
                    (node.test, inside),
                    *((child, inside) for child in node.body),
                    *((child, state) for child in node.orelse),
                ]
            case ast.If() if _asks_for_name(node.test):
                known = state._replace(guarded=True)
                body: list[_Task] = [(child, known) for child in node.body]
                return [(node.test, state), *body, *((child, state) for child in node.orelse)]
            case ast.IfExp() if _asks_for_name(node.test):
                known = state._replace(guarded=True)
                return [(node.test, state), (node.body, known), (node.orelse, state)]
            case ast.Try() | ast.TryStar():
                return self.tried(node, state)
            case ast.MatchAs() | ast.MatchStar():
                children: list[_Task] = [(child, state) for child in ast.iter_child_nodes(node)]
                return children if node.name is None else [*children, (_Bind(node.name, node), state)]
            case ast.MatchMapping():
                children = [(child, state) for child in ast.iter_child_nodes(node)]
                return children if node.rest is None else [*children, (_Bind(node.rest, node), state)]
            case ast.AST():
                return [(child, state) for child in ast.iter_child_nodes(node)]
            case _:
                return []

    def name(self, node: ast.Name, state: _State) -> list[_Task]:
        if node.id in state.obscured:
            return []
        if isinstance(node.ctx, ast.Load):
            self.read(node.id, node, state)
        elif isinstance(node.ctx, ast.Store):
            self.bind(node.id, node, state)
        elif state.block.kind == "function" and node.id not in state.block.global_names:
            state.block.bound.add(node.id)
        else:
            use = Use(node.id, node, self.order, state.block.deferred, state.guarded, False, state.loops)
            self.scope.deletes.setdefault(node.id, []).append(use)
        return []

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, state: _State) -> list[_Task]:
        outer = self.generic(node, state)
        inner = self.nested("function", outer)
        self.parameters(node.args, inner)
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [argument for argument in (node.args.vararg, node.args.kwarg) if argument is not None]
        annotations = [argument.annotation for argument in arguments if argument.annotation is not None]
        if node.returns is not None:
            annotations.append(node.returns)
        return [
            *((decorator, state) for decorator in node.decorator_list),
            *self.defaults(node.args, state),
            *((annotation, outer._replace(annotation=True)) for annotation in annotations),
            (_Bind(node.name, node), state),
            *((child, inner) for child in node.body),
        ]

    def klass(self, node: ast.ClassDef, state: _State) -> list[_Task]:
        outer = self.generic(node, state)
        inner = self.nested("class", outer)
        return [
            *((decorator, state) for decorator in node.decorator_list),
            *((base, outer) for base in node.bases),
            *((keyword.value, outer) for keyword in node.keywords),
            *((child, inner) for child in node.body),
            (_Bind(node.name, node), state),
        ]

    def generic(self, node: ast.AST, state: _State) -> _State:
        """The state with the type parameters of `def f[T]` or `class C[T]` bound, if there are any."""
        names = [parameter.name for parameter in getattr(node, "type_params", ())]
        if not names:
            return state
        inner = self.nested("types", state)
        inner.block.bound.update(names)
        return inner

    def comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, state: _State
    ) -> list[_Task]:
        inner = self.nested("comprehension", state)
        tasks: list[_Task] = []
        for index, generator in enumerate(node.generators):
            tasks.append((generator.iter, inner if index else state))
            tasks.append((generator.target, inner))
            tasks.extend((test, inner) for test in generator.ifs)
        if isinstance(node, ast.DictComp):
            tasks += [(node.key, inner), (node.value, inner)]
        else:
            tasks.append((node.elt, inner))
        return tasks

    def augmented(self, node: ast.AugAssign, state: _State) -> list[_Task]:
        target = node.target
        if isinstance(target, ast.Name) and state.block is self.root and target.id not in state.obscured:
            use = Use(target.id, target, self.order, False, state.guarded, True, state.loops)
            self.scope.loads.setdefault(target.id, []).append(use)
        return [(node.value, state), (target, state)]

    def tried(self, node: ast.Try | ast.TryStar, state: _State) -> list[_Task]:
        inside = state
        if any(_catches_name_error(handler.type) for handler in node.handlers):
            inside = state._replace(guarded=True)
        tasks: list[_Task] = [(child, inside) for child in node.body]
        for handler in node.handlers:
            if handler.type is not None:
                tasks.append((handler.type, state))
            body = state
            if handler.name is not None:
                if state.block.kind == "module":
                    body = state._replace(obscured=state.obscured | {handler.name})
                else:
                    state.block.bound.add(handler.name)
            tasks.extend((child, body) for child in handler.body)
        tasks.extend((child, state) for child in [*node.orelse, *node.finalbody])
        return tasks

    def imported(self, node: ast.Import | ast.ImportFrom, state: _State) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.scope.stars.append(node)  # type: ignore[arg-type]
                continue
            bound = alias.asname or alias.name.split(".")[0]
            self.bind(bound, alias, state)
            if isinstance(node, ast.ImportFrom):
                qualified = f"{'.' * node.level}{node.module or ''}.{alias.name}".lstrip(".")
            else:
                qualified = alias.name if alias.asname else bound
            self.scope.imports.append(Import(bound, qualified, alias, node))

    # Parts.

    def nested(self, kind: str, state: _State) -> _State:
        block = _Block(kind, state.block)
        self.blocks.append(block)
        return state._replace(block=block)

    def outside(self, state: _State) -> _State:
        """The state of the scope in which a walrus inside a comprehension binds."""
        block = state.block
        while block.kind == "comprehension" and block.parent is not None:
            block = block.parent
        return state._replace(block=block)

    def parameters(self, arguments: ast.arguments, state: _State) -> None:
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
        state.block.bound.update(argument.arg for argument in every)

    def defaults(self, arguments: ast.arguments, state: _State) -> list[_Task]:
        given = [*arguments.defaults, *arguments.kw_defaults]
        return [(default, state) for default in given if default is not None]

    def bind(self, name: str, node: ast.AST, state: _State) -> None:
        if name in state.obscured:
            return
        block = state.block
        if block is self.root or name in block.global_names:
            use = Use(name, node, self.order, block.deferred, state.guarded, False, state.loops)
            self.scope.stores.setdefault(name, []).append(use)
            if block is self.root:
                block.bound.add(name)
        else:
            block.bound.add(name)

    def read(self, name: str, node: ast.AST, state: _State) -> None:
        if name in ("globals", "locals", "exec", "eval", "vars"):
            self.scope.dynamic = True
        block = state.block
        if block.kind == "class" and name in block.bound:
            return
        block.reads.append((name, node, self.order, state))

    def resolve(self) -> None:
        """Sort the reads: those that mean a scope inside the cell, and those that mean the cell's."""
        for block in self.blocks:
            for name, node, order, state in block.reads:
                if self.is_local(name, block):
                    continue
                use = Use(
                    name, node, order, block.deferred, state.guarded, False, state.loops, state.annotation
                )
                self.scope.loads.setdefault(name, []).append(use)
        for uses in self.scope.loads.values():
            uses.sort(key=lambda use: use.order)

    def is_local(self, name: str, start: _Block) -> bool:
        block: _Block | None = start
        while block is not None and block is not self.root:
            if name in block.global_names:
                return False
            if block.kind != "class" and name in block.bound:
                return True
            block = block.parent
        return False


def scope_of(body: Iterable[ast.AST]) -> Scope:
    """The scope of a cell with these statements."""
    return _Walker().walk(body)


def name_nodes(tree: ast.AST) -> Iterator[ast.Name]:
    """All `Name` nodes below `tree`, without recursion."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name):
            yield node
        stack.extend(ast.iter_child_nodes(node))


def _asks_for_name(test: ast.expr) -> bool:
    """Whether the test looks a name up first: `"model" in globals()`."""
    match test:
        case ast.Compare(
            left=ast.Constant(value=str()),
            ops=[ast.In()],
            comparators=[ast.Call(func=ast.Name(id="globals" | "locals" | "vars" | "dir"))],
        ):
            return True
        case ast.BoolOp(op=ast.And(), values=values):
            return any(_asks_for_name(value) for value in values)
    return False


def _catches_name_error(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(isinstance(each, ast.Name) and each.id in NAME_ERROR_CATCHERS for each in kinds)
