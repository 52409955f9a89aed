"""Functions that read a loop's variables when they run, not when they are made."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.modules.needles import FORWARD
from qalint.analysis.names import Names
from qalint.file import File
from qalint.rule import Finding, Fix, Related, Rule, Severity


class LateBoundForward(Rule):
    """A function made in a loop reads the loop's variables when it runs, not when it is made.

    ## What it does
    Finds lambdas and nested functions that are set as `forward` or registered as a hook inside a loop
    and read names that the loop binds anew each time.

    ## Why is this bad?
    A closure looks its names up when it is called. When the loop is over, every patched layer uses the
    last layer's adapter and the last layer's own forward: only the last adapter gets gradients, and
    where shapes differ the model fails.

    ## Example
    ```python
    for layer, adapter in zip(layers, adapters):
        original = layer.forward
        layer.forward = lambda x: original(x) + adapter(x)
    ```

    ## Use instead
    ```python
    for layer, adapter in zip(layers, adapters):
        original = layer.forward
        layer.forward = lambda x, original=original, adapter=adapter: original(x) + adapter(x)
    ```

    ## Fix safety
    The fix binds the names as default arguments. It is safe: each function then keeps what it was made with.

    ## References
    - [Python FAQ: lambdas in a loop](https://docs.python.org/3/faq/programming.html)

    ## Beyond the checklist
    A fault of hand-written injections that the checklist does not name.
    """

    code = "QA1217"
    severity = Severity.CRITICAL
    checklist = ()
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (FORWARD,)

    def check(self, names: Names, edits: Edits) -> Iterator[Finding]:
        """Closures over loop variables that become a forward or a hook."""
        for loop in ast.walk(names.file.tree):
            if isinstance(loop, ast.For | ast.AsyncFor | ast.While):
                yield from self.loop(names.file, edits, loop)

    def loop(self, file: File, edits: Edits, loop: ast.For | ast.AsyncFor | ast.While) -> Iterator[Finding]:
        """The closures of one loop."""
        statements = list(own_nodes(loop.body))
        bound = bound_names(loop, statements)
        local: dict[str, Function] = {
            node.name: node for node in statements if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        if leaves(loop):
            return
        for node in statements:
            for value in installed(node):
                function = unwrap(value, local)
                if function is None or removed(node, statements):
                    continue
                names = [name for name in free_names(function) if name in bound and name not in local]
                if not names:
                    continue
                place = file.place(value)
                listed = ", ".join(f"`{name}`" for name in names)
                yield self.finding(
                    place,
                    f"the function reads {listed} when it is called: every layer gets the loop's last value",
                    related=[Related(file.place(loop.target), "the loop binds its names here")]
                    if not isinstance(loop, ast.While)
                    else [],
                    fix=bind_defaults(edits, function, names),
                    help="bind them as default arguments, or make the function in another function",
                )


def own_nodes(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The nodes of statements, without the inside of nested functions, classes and lambdas."""
    queue: list[ast.AST] = list(body)
    while queue:
        node = queue.pop(0)
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        queue.extend(ast.iter_child_nodes(node))


def bound_names(loop: ast.For | ast.AsyncFor | ast.While, nodes: list[ast.AST]) -> set[str]:
    """The names that each round of a loop binds anew."""
    found = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    if not isinstance(loop, ast.While):
        found |= {node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name)}
    return found


def leaves(loop: ast.For | ast.AsyncFor | ast.While) -> bool:
    """Whether the loop's body ends it in its first round."""
    return bool(loop.body) and isinstance(loop.body[-1], ast.Break | ast.Return)


def removed(node: ast.AST, statements: list[ast.AST]) -> bool:
    """Whether the same round takes a hook off again, by its handle or with a list of handles."""
    kept: set[str] = set()
    for statement in statements:
        match statement:
            case ast.Assign(targets=[target], value=value) if value is node:
                kept.add(ast.unparse(target))
            case ast.Call(func=ast.Attribute(value=holder, attr="append"), args=[value]) if value is node:
                kept.add(ast.unparse(holder))
    for statement in statements:  # `for handle in handles:` gives another name to what is kept
        if isinstance(statement, ast.For) and ast.unparse(statement.iter) in kept:
            kept.add(ast.unparse(statement.target))
    return any(
        isinstance(statement, ast.Call)
        and isinstance(statement.func, ast.Attribute)
        and statement.func.attr == "remove"
        and ast.unparse(statement.func.value) in kept
        for statement in statements
    )


def installed(node: ast.AST) -> Iterator[ast.expr]:
    """What a node sets as a forward or registers as a hook."""
    match node:
        case ast.Assign(targets=[ast.Attribute(attr="forward")], value=value):
            yield value
        case ast.Call(func=ast.Name(id="setattr"), args=[_, ast.Constant(value="forward"), value]):
            yield value
        case ast.Call(func=ast.Attribute(attr=attr), args=[value, *_]) if attr.startswith(
            "register_"
        ) and attr.endswith("hook"):
            yield value
        case _:
            return


Function = ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef


def unwrap(value: ast.expr, local: dict[str, Function]) -> Function | None:
    """The closure that a value is: a lambda, a function defined in the loop, or one bound to an object."""
    match value:
        case ast.Lambda():
            return value
        case ast.Name(id=name):
            return local.get(name)
        case ast.Call(
            func=ast.Attribute(attr="MethodType" | "partial") | ast.Name(id="MethodType" | "partial"),
            args=[first, *_],
        ):
            return unwrap(first, local)
        case ast.Call(func=ast.Attribute(attr="__get__", value=ast.Name(id=name))):
            return local.get(name)
        case _:
            return None


def free_names(function: Function) -> list[str]:
    """The names that a function reads from around it, in order."""
    arguments = function.args
    own = {a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]}
    own |= {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}
    body: list[ast.AST] = [function.body] if isinstance(function, ast.Lambda) else list(function.body)
    read: list[str] = []
    for part in body:
        # autograd's engine hangs on the class: every parameter has the same one
        shared = {
            node.value
            for node in ast.walk(part)
            if isinstance(node, ast.Attribute) and node.attr == "_execution_engine"
        }
        for node in ast.walk(part):
            if node in shared:
                continue
            if isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Store):
                    own.add(node.id)
                elif node.id not in read:
                    read.append(node.id)
            elif isinstance(node, ast.Lambda | ast.FunctionDef):
                own |= {a.arg for a in node.args.args}
    return [name for name in read if name not in own]


def bind_defaults(edits: Edits, function: Function, names: list[str]) -> Fix | None:
    """Bind names as default arguments of a function."""
    arguments = function.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
        return None
    if not arguments.args:
        return None
    last: ast.AST = (
        arguments.defaults[-1]
        if arguments.defaults
        else (arguments.args[-1].annotation or arguments.args[-1])
    )
    if not arguments.defaults and arguments.args[-1].annotation is not None:
        last = arguments.args[-1].annotation
    text = edits.segment(last) + "".join(f", {name}={name}" for name in names)
    return edits.safe("bind the names as default arguments", edits.replace(last, text))
