"""What every statement and function of a file holds, before anything is interpreted.

One walk over a file notes, for every statement and function, whether it holds a word of the training
protocol, what it calls, what it binds, and whether it jumps. It knows no program: it is made once for a
tree, and shared by all programs that import the file.
"""

from __future__ import annotations

import ast
from typing import Any


def words(text: str) -> frozenset[str]:
    """The words of a text: how the long tables here stay readable."""
    return frozenset(text.split())


OPTIMIZERS = words(
    """Adam AdamW SGD RMSprop Adagrad Adadelta Adamax NAdam RAdam ASGD LBFGS Rprop SparseAdam Adafactor Lion
    AdamW8bit Adam8bit PagedAdamW8bit PagedAdamW FusedAdam FusedLAMB LAMB Lamb DAdaptAdam Prodigy AdaBelief
    Ranger Shampoo CPUAdam DeepSpeedCPUAdam Muon LARS AdamP AdaBound LionW"""
)

STRONG = OPTIMIZERS | words(
    """backward unscale_ zero_grad GradScaler ShardedGradScaler autocast clip_grad_norm_ clip_grad_value_
    clip_grad_norm clip_grads_with_norm_ clip_grad dispatch_clip_grad clip_gradients requires_grad
    require_grad requires_grad_ half bfloat16 float16 grad add_param_group param_groups get_peft_model prepare
    optim scale_loss Accelerator scale step manual_backward setattr __setattr__ add_module torch_dtype
    Parameter from_pretrained DataParallel DistributedDataParallel FullyShardedDataParallel optimizer_step
    set_to_none load_state_dict state_dict enter_context __enter__ __exit__ binary_cross_entropy"""
)
"""Words that make a statement hot wherever they stand."""

CORE = OPTIMIZERS | words(
    """backward unscale_ zero_grad GradScaler ShardedGradScaler autocast clip_grad_norm_ clip_grad_value_ step
    scale scale_loss add_param_group prepare binary_cross_entropy"""
)
"""Of these, those that make a function worth entering where no graph is built."""

CASTING = words("autocast custom_fwd backward GradScaler binary_cross_entropy")
"""Words for which the forward of a module is entered."""

TRAINING = words("backward zero_grad unscale_")
"""Words of a function that takes a training step, whatever its name (`agent.update()`)."""

KEPT = words("state_dict load_state_dict")
"""Of these, those of what saves or restores a training: they tell something only where there is a scaler."""

CALLED = words("""step scale prepare half setattr grad load_state_dict state_dict from_pretrained backward""")
"""Of these, those that are also plain variables: they count only when called (or as `.grad`)."""

WARM = words("to cuda")
"""Words that make a small function or an `if` worth running, but not a loop: loops of these move data."""

JUMPS = (ast.Return, ast.Raise, ast.Break, ast.Continue, ast.Yield, ast.YieldFrom)


class Facts:
    """What one statement or function holds (nested functions apart)."""

    __slots__ = (
        "called",
        "calls",
        "casting",
        "consumes",
        "core",
        "defines",
        "entered",
        "globals",
        "graph",
        "halves",
        "held",
        "jumps",
        "kept",
        "loops",
        "passed",
        "paths",
        "size",
        "stores",
        "strong",
        "targets",
        "trains",
        "warm",
        "words",
        "yields",
    )

    def __init__(self) -> None:
        self.strong = False
        self.kept = False
        """A training is saved or restored."""
        self.warm = False
        self.calls: set[str] = set()
        self.stores: set[str] = set()
        """Names bound."""
        self.targets: list[ast.Attribute] = []
        """Attributes assigned."""
        self.globals: set[str] = set()
        self.entered: set[str] = set()
        """Names that a `with` binds."""
        self.paths: dict[str, set[str]] = {}
        """Dotted receivers, each with the methods called on it (`step/1`: called with an argument)."""
        self.called: set[str] = set()
        """Dotted paths that are called."""
        self.passed: set[str] = set()
        """Dotted paths given to calls as arguments."""
        self.jumps = False
        self.yields = False
        self.loops = False
        self.defines = False
        self.size = 0
        self.core = False
        self.casting = False
        self.trains = False
        self.consumes = False
        """Iterates over something inside an expression."""
        self.graph = False
        """Calls `loss.backward()`."""
        self.words: set[str] = set()
        """The words of the protocol that stand here, under their own names."""
        self.halves = False
        """Something is FP16, or becomes it; what is only compared with it does not count."""
        self.held = 0
        """How many iterators over parameters, or what may be some, are made and not used up at once."""

    def mark(self, word: str) -> None:
        """A word of the protocol stands here."""
        self.words.add(word)
        if word in KEPT:
            self.kept = True
            return
        self.strong = True
        if word in CORE:
            self.core = True
            if word in CASTING:
                self.casting = True
            if word in TRAINING:
                self.trains = True

    def calling(self, more: set[str]) -> Facts:
        """A copy that calls more functions."""
        other = Facts.__new__(Facts)
        for slot in Facts.__slots__:
            setattr(other, slot, getattr(self, slot))
        other.calls = self.calls | more
        return other


CONSUMERS = frozenset(("sum", "list", "tuple", "sorted", "set"))


def casts_back(node: ast.expr) -> bool:
    """Whether an expression statement is `model.float()` or `model.to(torch.float32)`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    if node.func.attr != "to":
        return node.func.attr in ("float", "double") and not node.args
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    return any(dotted(value).rpartition(".")[2] in ("float32", "float", "float64") for value in given)


def is_abstract(node: ast.AST) -> bool:
    """Whether a method is there to be overridden: its body only raises NotImplementedError."""
    body = getattr(node, "body", None)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not body:
        return False
    if any(dotted(decorator).endswith("abstractmethod") for decorator in node.decorator_list):
        return True
    last = body[-1]
    if not isinstance(last, ast.Raise) or last.exc is None or len(body) > 2:
        return False
    if len(body) == 2 and not (isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)):
        return False
    raised = last.exc.func if isinstance(last.exc, ast.Call) else last.exc
    return dotted(raised) == "NotImplementedError"


def moves(node: ast.AST, facts: Facts) -> frozenset[str]:
    """The attributes of its first parameter that a function sets."""
    if not facts.targets or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return frozenset()
    own = node.args.args[0].arg if node.args.args else ""
    return frozenset(target.attr for target in facts.targets if dotted(target.value) == own)


def mutes(node: ast.AST) -> bool:
    """Whether all that a function returns is computed where it has turned autocast off."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    returned = 0
    todo: list[tuple[ast.AST, bool]] = [(node, any(map(turns_off, node.decorator_list)))]
    while todo:
        each, off = todo.pop()
        if isinstance(each, ast.Return):
            returned += 1
            if not off:
                return False
        if isinstance(each, ast.With | ast.AsyncWith):
            off = off or any(turns_off(item.context_expr) for item in each.items)
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and each is not node:
            continue
        todo += [(child, off) for child in ast.iter_child_nodes(each) if not isinstance(child, ast.expr)]
    return returned > 0


def turns_off(node: ast.expr) -> bool:
    """Whether an expression is `autocast(..., enabled=False)`, or its older form `autocast(False)`."""
    if not isinstance(node, ast.Call) or dotted(node.func).rpartition(".")[2] != "autocast":
        return False
    given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "enabled")]
    return any(isinstance(value, ast.Constant) and value.value is False for value in given)


def clears(name: str) -> bool:
    """Whether a function calls itself one that clears gradients (`reset_grads`)."""
    return "grad" in name and any(part in name for part in ("zero", "clear", "reset", "clean", "none"))


def dotted(node: ast.AST) -> str:
    """The text of a chain of names and attributes, or ""."""
    if type(node) is ast.Name:
        return node.id
    if type(node) is ast.Attribute:
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


class Scan:
    """What one walk over a tree notes: the facts of every function and class, and what the file defines.

    It is made once for a tree and shared by all programs that the file is of, so that nothing that
    depends on a program is kept here. The facts of a statement are worked out when they are asked for:
    only statements of functions that are run ever need them.
    """

    __slots__ = (
        "_outer",
        "aliases",
        "first",
        "functions",
        "imports",
        "losses",
        "order",
        "owners",
        "parents",
        "statements",
        "top",
    )

    def __init__(self, body: list[ast.stmt]) -> None:
        self.owners: dict[ast.AST, Facts] = {}
        """The facts of functions, lambdas and classes."""
        self.statements: set[ast.AST] = set()
        self.functions: dict[str, list[ast.AST]] = {}
        """Functions and classes by simple name."""
        self.parents: dict[ast.AST, ast.AST | None] = {}
        """The class or function in which a function or class is defined."""
        self.order: list[ast.AST] = []
        """Function nodes in the order of the text."""
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.losses: set[str] = set()
        """Names that hold a loss which autocast refuses."""
        self.aliases: dict[str, str] = {}
        """Words under other names in this file: `from torch.nn.utils import clip_grad_norm_ as clip`."""
        self._outer: ast.AST | None = None
        self.first = True
        """This is the first walk, which notes what is defined and imported."""
        self.top = Facts()
        for statement in body:
            self._statement(statement, self.top)
        self.first = False
        for nodes in self.functions.values():
            for node in nodes:
                if isinstance(node, ast.ClassDef):
                    self._settle_class(node)

    def of(self, node: ast.AST) -> Facts:
        """The facts of one statement, worked out anew."""
        facts = Facts()
        self._statement(node, facts)
        return facts

    def _settle_class(self, node: ast.ClassDef) -> None:
        """A class holds what its methods hold."""
        facts = self.owners[node]
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = self.owners[statement]
                facts.strong = facts.strong or inner.strong
                facts.kept = facts.kept or inner.kept
                facts.core = facts.core or inner.core
                facts.calls |= inner.calls
        if any("Module" in dotted(base) or dotted(base).startswith("nn.") for base in node.bases):
            facts.strong = True

    # -- statements --

    def _statement(self, node: ast.AST, facts: Facts) -> None:
        facts.size += 1
        if self.first:
            self.statements.add(node)
        special = _STATEMENTS.get(type(node))
        if special is None:
            self._fields(node, facts)
        else:
            special(self, node, facts)

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef, facts: Facts) -> None:
        facts.stores.add(node.name)
        facts.defines = True
        if self.first:
            self.functions.setdefault(node.name, []).append(node)
        for decorator in node.decorator_list:
            self._scan(decorator, facts)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self._scan(default, facts)
        if self.first:
            self._function(node, node.body)

    def _class(self, node: ast.ClassDef, facts: Facts) -> None:
        facts.stores.add(node.name)
        facts.defines = True
        if not self.first:
            return
        self.functions.setdefault(node.name, []).append(node)
        self.parents[node] = self._outer
        outer, self._outer = self._outer, node
        inner = Facts()
        for statement in node.body:
            self._statement(statement, inner)
        for base in node.bases:
            self._scan(base, inner)
        self._outer = outer
        self.owners[node] = inner

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, facts: Facts) -> None:
        facts.loops = True
        if type(node) is not ast.While:
            facts.held -= makes_iterator(node.iter)  # type: ignore[union-attr]
        self._fields(node, facts)

    def _enters(self, node: ast.withitem, facts: Facts) -> None:
        if isinstance(node.optional_vars, ast.Name):
            facts.entered.add(node.optional_vars.id)
        self._fields(node, facts)

    def _leave(self, node: ast.AST, facts: Facts) -> None:
        facts.jumps = True
        self._fields(node, facts)

    def _import(self, node: ast.Import | ast.ImportFrom, facts: Facts) -> None:
        for alias in node.names:
            facts.stores.add(alias.asname or alias.name.split(".")[0])
            if alias.asname and alias.name in STRONG:
                self.aliases[alias.asname] = alias.name
        if self.first:
            self.imports.append(node)

    def _global(self, node: ast.Global | ast.Nonlocal, facts: Facts) -> None:
        facts.globals.update(node.names)

    def _expression(self, node: ast.Expr, facts: Facts) -> None:
        if casts_back(node.value):
            facts.mark("float")
        self._scan(node.value, facts)

    def _assign(self, node: ast.Assign, facts: Facts) -> None:
        value = node.value
        if type(value) is ast.Attribute and value.attr in STRONG and value.attr not in CALLED:
            for target in node.targets:
                if type(target) is ast.Name:
                    self.aliases[target.id] = value.attr
        for target in node.targets:
            if self.first:
                self._losses(target, value)
            self._scan(target, facts)
        self._scan(value, facts)

    def _losses(self, target: ast.expr, value: ast.expr) -> None:
        """Note what is bound to a loss that autocast refuses."""
        if type(target) is ast.Tuple and type(value) is ast.Tuple and len(target.elts) == len(value.elts):
            for one, other in zip(target.elts, value.elts, strict=True):
                self._losses(one, other)
        elif type(value) is ast.Call:
            made = value.func
            if getattr(made, "attr", getattr(made, "id", "")) == "BCELoss":
                self.losses.add(dotted(target).rpartition(".")[2])
            elif type(made) is ast.Attribute:
                self._losses(target, made.value)  # BCELoss().to(device)

    def _function(self, node: ast.AST, body: list[ast.stmt]) -> None:
        self.parents[node] = self._outer
        self.order.append(node)
        outer, self._outer = self._outer, node
        facts = Facts()
        for statement in body:
            self._statement(statement, facts)
        facts.stores -= facts.globals
        arguments: ast.arguments = node.args  # type: ignore[attr-defined]
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            facts.stores.add(argument.arg)
        for extra in (arguments.vararg, arguments.kwarg):
            if extra is not None:
                facts.stores.add(extra.arg)
        self._outer = outer
        if facts.yields and yields_parameters(node):
            facts.held += 1
        self.owners[node] = facts

    # -- expressions --

    def _fields(self, node: ast.AST, facts: Facts) -> None:
        for field in _fields_of(type(node)):
            value = getattr(node, field, None)
            if type(value) is list:
                for item in value:
                    if isinstance(item, ast.stmt):
                        self._statement(item, facts)
                    else:
                        self._scan(item, facts)
            elif value is not None:
                self._scan(value, facts)

    def _scan(self, node: ast.AST, facts: Facts) -> None:
        kind = type(node)
        special = _EXPRESSIONS.get(kind)
        if special is not None:
            special(self, node, facts)
            return
        for field in _fields_of(kind):
            value = getattr(node, field, None)
            if type(value) is list:
                for item in value:
                    self._scan(item, facts)
            elif value is not None:
                self._scan(value, facts)

    def _nothing(self, node: ast.AST, facts: Facts) -> None:
        pass

    def _name(self, node: ast.Name, facts: Facts) -> None:
        if type(node.ctx) is ast.Store:
            facts.stores.add(node.id)
        else:
            word = self.aliases.get(node.id, node.id)
            if word in NAMED:
                facts.mark(word)
            if word in HALVES:
                facts.halves = True

    def _constant(self, node: ast.Constant, facts: Facts) -> None:
        value = node.value
        if type(value) is str and len(value) < 20:
            if value.rpartition(".")[2] in HALVES:
                facts.halves = True
            elif value in STRONG:
                facts.words.add(value)  # `getattr(loss, "backward")()`

    def _compare(self, node: ast.Compare, facts: Facts) -> None:
        """What something is compared with is asked for, not made."""
        self._scan(node.left, facts)
        before = facts.halves
        for each in node.comparators:
            self._scan(each, facts)
        facts.halves = before

    def _call(self, node: ast.Call, facts: Facts) -> None:
        function = node.func
        name = getattr(function, "attr", None) or getattr(function, "id", "")
        if makes_iterator(node):
            facts.held += 1
        if name in USES_UP:
            facts.held -= sum(map(makes_iterator, node.args))
        before = facts.halves
        self._call_parts(node, function, facts)
        if name == "finfo":
            facts.halves = before

    def _call_parts(self, node: ast.Call, function: ast.expr, facts: Facts) -> None:
        for argument in node.args:
            given = dotted(argument.value if type(argument) is ast.Starred else argument)
            if given:
                facts.passed.add(given)
            self._scan(argument, facts)
        for keyword in node.keywords:
            given = dotted(keyword.value)
            if given:
                facts.passed.add(given)
            self._keyword(keyword, facts)
        if type(function) is ast.Name:
            called = function.id
            facts.calls.add(called)
            facts.called.add(called)
            if called in CONSUMERS:
                facts.consumes = True
            word = self.aliases.get(called, called)
            if word in STRONG or clears(word):
                facts.mark(word)
            return
        if type(function) is not ast.Attribute:
            if type(function) is ast.Subscript:
                facts.strong = True  # a table of functions
            self._scan(function, facts)
            return
        name = function.attr
        facts.calls.add(name)
        if name in STRONG or clears(name):
            facts.mark(name)
        if name == "backward" and not node.args:
            facts.graph = True
        base = function.value
        path = dotted(base)
        if path:
            facts.called.add(f"{path}.{name}")
            methods = facts.paths.get(path)
            if methods is None:
                methods = facts.paths[path] = set()
            methods.add(f"{name}/1" if node.args or node.keywords else name)
            if name in ("step", "unscale_") and node.args:
                other = dotted(node.args[0])
                if other:
                    facts.paths.setdefault(other, set()).add(f"@{name}:{path}")
        elif name == "backward" and type(base) is ast.Call and type(base.func) is ast.Attribute:
            if base.func.attr == "scale":
                inner = dotted(base.func.value)
                if inner:
                    facts.paths.setdefault(inner, set()).add("scale.backward")
        self._attribute(function, facts)

    def _attribute(self, node: ast.Attribute, facts: Facts) -> None:
        name = node.attr
        if name in REFERRED:
            facts.mark(name)
            if name == "param_groups":
                path = dotted(node.value)
                if path:
                    facts.paths.setdefault(path, set()).add("param_groups")
        elif name in WARM:
            facts.warm = True
        if name in HALVES:
            facts.halves = True
        elif name == "backward":
            facts.words.add(name)  # `step = loss.backward` is no call yet
        if type(node.ctx) is ast.Store:
            facts.targets.append(node)
            if name == "data":
                facts.mark(name)
        self._scan(node.value, facts)

    def _lambda(self, node: ast.Lambda, facts: Facts) -> None:
        if self.first:
            self._function(node, [])
            held = self.owners[node]
            self._scan(node.body, held)
            if casts_back(node.body):
                held.mark("float")
        held = self.owners[node]
        facts.strong = facts.strong or held.strong
        facts.kept = facts.kept or held.kept
        facts.calls |= held.calls
        facts.defines = True

    def _named(self, node: ast.AST, facts: Facts) -> None:
        """`except ... as name`, `case ... as name`, `case [*name]`."""
        name = node.name  # type: ignore[attr-defined]
        if name:
            facts.stores.add(name)
        self._fields(node, facts)

    def _comprehension(self, node: ast.AST, facts: Facts) -> None:
        facts.consumes = True
        facts.held += makes_iterator(node)
        self._fields(node, facts)

    def _source(self, node: ast.comprehension, facts: Facts) -> None:
        facts.held -= makes_iterator(node.iter)
        self._fields(node, facts)

    def _yield(self, node: ast.AST, facts: Facts) -> None:
        facts.yields = True
        self._fields(node, facts)

    def _keyword(self, node: ast.keyword, facts: Facts) -> None:
        if node.arg in ("torch_dtype", "enabled"):
            facts.strong = True
        self._scan(node.value, facts)


HALVES = words("float16 half fp16 HalfTensor")
"""What FP16 is called."""

ITERATORS = words("parameters named_parameters chain from_iterable")
"""Calls that make an iterator over parameters, or may."""

USES_UP = OPTIMIZERS | words(
    """list tuple set sorted sum len dict any all max min next enumerate zip filter map chain islice
    clip_grad_norm_ clip_grad_value_ extend update"""
)
"""Calls that use up an iterator that they are given, and keep it from everyone else."""


def makes_iterator(node: ast.AST) -> bool:
    """Whether an expression may make an iterator over parameters."""
    if type(node) is ast.Call:
        function = node.func
        if type(function) is ast.Attribute:
            return function.attr in ITERATORS
        name = getattr(function, "id", "")
        return (
            name in ITERATORS or name == "filter" or (name == "map" and any(map(makes_iterator, node.args)))
        )
    return type(node) is ast.GeneratorExp and type(node.elt) is ast.Name


def yields_parameters(node: ast.AST) -> bool:
    """Whether all that a generator function yields is parameters: those of modules, or what modules of a walk
    have under names.
    """
    if not isinstance(node, ast.FunctionDef):
        return False
    walked: dict[str, str] = {}
    yielded: list[ast.expr | None] = []
    for part in own_nodes(node):
        if type(part) is ast.For:
            called = part.iter
            name = getattr(getattr(called, "func", None), "attr", "")
            for target in part.target.elts if type(part.target) is ast.Tuple else [part.target]:
                if type(target) is ast.Name:
                    walked[target.id] = name
        elif type(part) is ast.YieldFrom:
            yielded.append(part.value if makes_iterator(part.value) else None)
        elif type(part) is ast.Yield:
            value = part.value
            base = value.value if type(value) is ast.Attribute else value
            kinds = WALKS if type(value) is ast.Attribute else ITERATORS
            yielded.append(value if type(base) is ast.Name and walked.get(base.id) in kinds else None)
    return bool(yielded) and None not in yielded


def own_nodes(node: ast.FunctionDef) -> list[ast.AST]:
    """The nodes of a function's body in the order of the text, without those of functions inside."""
    found: list[ast.AST] = []
    todo: list[ast.AST] = [*reversed(node.body)]
    while todo:
        part = todo.pop()
        found.append(part)
        if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            todo.extend(reversed(list(ast.iter_child_nodes(part))))
    return found


WALKS = words("modules named_modules children named_children")
"""Methods that walk over modules."""

NAMED = STRONG - CALLED
"""The words that count as plain names."""
REFERRED = NAMED | {"grad"}
"""The words that count as attributes that are not called."""

_IGNORED = frozenset(("ctx", "op", "ops", "type_comment"))
_FIELDS: dict[type, tuple[str, ...]] = {}


def _fields_of(kind: type) -> tuple[str, ...]:
    """The fields of a kind of node in which other nodes can stand; none for what is no node."""
    found = _FIELDS.get(kind)
    if found is None:
        every: tuple[str, ...] = getattr(kind, "_fields", ())
        found = _FIELDS[kind] = tuple(field for field in every if field not in _IGNORED)
    return found


_STATEMENTS: dict[type, Any] = {
    ast.FunctionDef: Scan._definition,
    ast.AsyncFunctionDef: Scan._definition,
    ast.ClassDef: Scan._class,
    ast.For: Scan._loop,
    ast.AsyncFor: Scan._loop,
    ast.While: Scan._loop,
    ast.Return: Scan._leave,
    ast.Raise: Scan._leave,
    ast.Break: Scan._leave,
    ast.Continue: Scan._leave,
    ast.Import: Scan._import,
    ast.ImportFrom: Scan._import,
    ast.Global: Scan._global,
    ast.Nonlocal: Scan._global,
    ast.Expr: Scan._expression,
    ast.Assign: Scan._assign,
    ast.Pass: Scan._nothing,
}
_EXPRESSIONS: dict[type, Any] = {
    ast.Name: Scan._name,
    ast.Constant: Scan._constant,
    ast.Compare: Scan._compare,
    ast.comprehension: Scan._source,
    ast.Call: Scan._call,
    ast.Attribute: Scan._attribute,
    ast.Lambda: Scan._lambda,
    ast.ExceptHandler: Scan._named,
    ast.MatchAs: Scan._named,
    ast.MatchStar: Scan._named,
    ast.GeneratorExp: Scan._comprehension,
    ast.ListComp: Scan._comprehension,
    ast.SetComp: Scan._comprehension,
    ast.DictComp: Scan._comprehension,
    ast.Yield: Scan._yield,
    ast.YieldFrom: Scan._yield,
    ast.keyword: Scan._keyword,
    ast.withitem: Scan._enters,
    ast.match_case: Scan._fields,
}


def scan_of(tree: ast.Module) -> Scan:
    """The scan of a file's tree, made once."""
    found: Scan | None = tree.__dict__.get("_scan")
    if found is None:
        found = tree.__dict__["_scan"] = Scan(tree.body)
    return found
