"""Which parameters reach the optimizer, and whether anybody looked."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Adapters, Event, Injection, Modules, compatible
from qalint.analysis.modules.adapters import outer
from qalint.analysis.modules.needles import OPTIMIZER, TRAIN
from qalint.analysis.modules.subjects import training
from qalint.analysis.modules.values import Cell, Dict, Mod, Params, Seq, Site, Unknown, Value, each
from qalint.rule import Finding, Fix, Related, Rule, Severity

from .freezing import has_parameters, unconditional


class OptimizerBeforeInjection(Rule):
    """The optimizer is built before the adapters exist, so it never moves them.

    ## What it does
    Finds optimizers over a model's parameters that are built before adapters (hand-written or peft's)
    are put into the model, and that nobody tells of the new parameters or replaces.

    ## Why is this bad?
    An optimizer keeps the list of parameters it was given. With the base frozen the gradient scaler
    fails with `No inf checks were recorded for this optimizer.`, or nothing moves at all; with the
    base trainable the loss falls and the adapters stay at zero.

    ## Example
    ```python
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    inject_adapters(model)
    ```

    ## Use instead
    ```python
    inject_adapters(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    ```

    ## Fix safety
    The fix moves the optimizer after the injection where both are statements of one block and nothing
    in between uses it. It is unsafe: what else the optimizer was given cannot always be seen.

    ## References
    - [torch.optim](https://docs.pytorch.org/docs/stable/optim.html)
    """

    code = "QA1207"
    severity = Severity.CRITICAL
    checklist = ("12.06",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (OPTIMIZER,)
    subject = staticmethod(training)

    def check(self, adapters: Adapters) -> Iterator[Finding]:
        """Optimizers older than the adapters of their model."""
        for injection in adapters.injections:
            first = injection.first
            if any(event.info.get("loaded") for event in injection.events):
                continue
            optimizers = [
                event
                for event in adapters.modules.all("optimizer")
                if event.program == injection.program and compatible(event.guards, first.guards)
            ]
            if any(event.time > first.time for event in optimizers):
                continue
            for event in optimizers:
                owns = adapters.selection(event.target, injection)
                if (
                    "unknown" in owns
                    or "adapters" in owns
                    or not owns & {"all", "trainable", "named", "part"}
                ):
                    continue
                if any(
                    other.target is event.target and other.time > event.time
                    for other in adapters.modules.all("group", "escape")
                ):
                    continue
                site = outer(event, injection.model)
                if site.node is not event.site.node and in_constructor(event):
                    site = event.site
                yield self.finding(
                    adapters.place(site),
                    f"the optimizer is built before `{injection.name}` gets its adapters: "
                    "it never moves them",
                    related=[Related(adapters.place(injection.site), "the adapters are injected here")],
                    fix=move(site, injection),
                    help="build the optimizer after the injection",
                )


def in_constructor(event: Event) -> bool:
    """Whether an event happens in the `__init__` of an object that keeps what it builds."""
    edits = event.site.file.get(Edits)
    function = edits.function(event.site.node) if edits is not None else None
    return function is not None and function.name == "__init__"


def move(built: Site, injection: Injection) -> Fix | None:
    """Move the optimizer's statement after the injection."""
    site = injection.site
    edits = built.file.get(Edits)
    if edits is None or site.file is not built.file:
        return None
    statement, target = edits.statement(built.node), edits.statement(site.node)
    if not isinstance(statement, ast.Assign) or target is None:
        return None
    one, two = edits.seat(statement), edits.seat(target)
    if one is None or two is None or one.block is not two.block or len(statement.targets) != 1:
        return None
    name = ast.unparse(statement.targets[0])
    target, last = unfrozen_after(one.block, two.position, name)
    between = one.block[one.position + 1 : last + 1]
    if collected(statement, one.block[: one.position]):
        return None
    if any(
        ast.unparse(node) == name
        for other in between
        for node in ast.walk(other)
        if isinstance(node, ast.expr)
    ):
        return None
    return edits.unsafe("build the optimizer after the injection", edits.move_after(statement, target))


def unfrozen_after(block: Sequence[ast.stmt], injected: int, name: str) -> tuple[ast.stmt, int]:
    """The injection, or the last statement after it that sets what is trained, before `name` is read."""
    last = injected
    for at in range(injected + 1, len(block)):
        parts = [node for node in ast.walk(block[at]) if isinstance(node, ast.expr)]
        if any(ast.unparse(node) == name for node in parts if isinstance(node, ast.Name | ast.Attribute)):
            break
        if any(
            isinstance(node, ast.Attribute) and node.attr in {"requires_grad", "requires_grad_"}
            for node in parts
        ):
            last = at
    return block[last], last


def collected(built: ast.Assign, before: list[ast.stmt]) -> bool:
    """Whether the optimizer is given a list that earlier statements have made of parameters."""
    read = {node.id for node in ast.walk(built.value) if isinstance(node, ast.Name)}
    return any(
        isinstance(node, ast.Attribute) and node.attr in {"parameters", "named_parameters"}
        for statement in before
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.For)
        and any(isinstance(part, ast.Name) and part.id in read for part in bound_by(statement))
        for node in ast.walk(statement)
    )


def bound_by(statement: ast.stmt) -> Iterator[ast.AST]:
    """What a statement binds or fills: the targets of an assignment, the lists that a loop appends to."""
    match statement:
        case ast.Assign(targets=targets):
            for target in targets:
                yield from ast.walk(target)
        case ast.AnnAssign(target=target):
            yield target
        case _:
            yield from ast.walk(statement)


class EmptyOptimizer(Rule):
    """The optimizer gets no parameters.

    ## What it does
    Finds optimizers over what still requires gradients in a model of which everything was frozen and
    to which nothing new was added, optimizers over a list that is empty, and optimizers all of whose
    parameters are frozen and stay so.

    ## Why is this bad?
    `ValueError: optimizer got an empty parameter list`. As a group (`[{"params": []}]`) an empty list is
    accepted in silence, and nothing is ever trained.

    ## Example
    ```python
    for p in model.parameters():
        p.requires_grad = False
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    ```

    ## Use instead
    ```python
    for p in model.parameters():
        p.requires_grad = False
    inject_adapters(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    ```

    ## Fix safety
    No fix: what was to be trained is not in the program.

    ## References
    - [torch.optim](https://docs.pytorch.org/docs/stable/optim.html)
    """

    code = "QA1208"
    severity = Severity.CRITICAL
    checklist = ("12.06",)
    oracle = "cpu"
    needles = (OPTIMIZER,)
    subject = staticmethod(training)

    def check(self, modules: Modules, adapters: Adapters) -> Iterator[Finding]:
        """Optimizers all of whose parameters are frozen, or that have none."""
        for event in modules.all("optimizer"):
            given = event.value
            if empty(given):
                yield self.finding(
                    modules.place(event.site),
                    "the optimizer gets an empty list of parameters",
                    help="give it the parameters that are to be trained",
                )
                continue
            causes = [frozen_before(modules, value, event) for value in event.target.params]
            if causes and all(cause is not None for cause in causes):
                cause = causes[0]
                assert cause is not None
                injections = [
                    injection
                    for injection in adapters.injections
                    if injection.program == event.program and injection.model is cause.target
                ]
                name = cause.target.name or "the model"
                whole = any(not value.filters for value in event.target.params if isinstance(value, Params))
                yield self.finding(
                    modules.place(event.site),
                    f"all parameters that the optimizer gets of `{name}` are frozen"
                    if whole
                    else f"the optimizer gets no parameters: all of `{name}` is frozen and nothing was added",
                    related=[
                        Related(modules.place(cause.site), "everything is frozen here"),
                        *(
                            Related(modules.place(one.site), "the adapters are injected here")
                            for one in injections
                        ),
                    ],
                    help="inject the adapters after the freeze and before the optimizer is built",
                )


def empty(value: Value | None) -> bool:
    """Whether a list of parameters is known to be empty."""
    if (
        isinstance(value, Seq)
        and value.kind in {"list", "tuple"}
        and value.site is not None
        and not value.open
    ):
        if not value.items:
            return True
        groups = [item.pairs.get("params") for item in value.items if hasattr(item, "pairs")]
        return len(groups) == len(value.items) and all(group is not None and empty(group) for group in groups)
    return False


def frozen_before(modules: Modules, value: Value, event: Event) -> Event | None:
    """The freeze that leaves `value` (what still requires gradients in a model) empty."""
    if not isinstance(value, Params) or value.module.parent is not None:
        return None
    if not value.filters:
        return stilled(modules, value.module, event) if for_good(modules, value.module, event) else None
    return stilled(modules, value.module, event) if value.filters == {"trainable"} else None


def for_good(modules: Modules, model: Mod, event: Event) -> bool:
    """Whether training goes on after an optimizer is built and nothing of its model is unfrozen any more."""
    later = [other for other in modules.events if other.time > event.time and other.program == event.program]
    return any(other.kind in {"backward", "step"} for other in later) and not any(
        (other.kind == "freeze" and other.flag is not False)
        or (
            other.kind in {"attach", "escape"}
            and isinstance(other.target, Mod)
            and other.target.root is model
        )
        for other in later
    )


def stilled(modules: Modules, model: Mod, event: Event, depth: int = 0) -> Event | None:
    """The freeze after which nothing of a model requires gradients: its own, or those of all its parts."""
    cause = frozen_whole(modules, model, event)
    if cause is not None or depth > 4:
        return cause
    parts = parts_of(model)
    if not parts or any(
        other.kind == "escape" and other.target is model and other.time <= event.time
        for other in modules.all("escape")
    ):
        return None
    causes = [stilled(modules, part, event, depth + 1) for part in parts]
    return None if None in causes else causes[0]


def parts_of(model: Mod) -> list[Mod]:
    """The parts with parameters that a model consists of; empty where they are not all in sight, or
    something is its own.
    """
    if not (model.elements or (model.known and model.cls is not None)) or model.parts:
        return []
    found: list[Mod] = []
    for held in [*model.attrs.values(), *model.elements]:
        for value in each(held):
            if isinstance(value, Mod):
                if has_parameters(value) or value.cls is not None or value.elements:
                    found.append(value)
            elif isinstance(value, Cell | Unknown | Seq | Dict):
                return []
    return found


def frozen_whole(modules: Modules, model: Mod, event: Event) -> Event | None:
    """The freeze of a model as a whole that holds when `event` happens."""
    cause: Event | None = None
    for other in modules.events:
        if other.time > event.time:
            break
        if other.program != event.program or not compatible(other.guards, event.guards):
            continue
        target = other.target
        about = isinstance(target, Cell) and (
            target is model or (isinstance(target, Mod) and target.root is model)
        )
        if other.kind == "freeze":
            if (
                target is model
                and other.flag is False
                and not other.filters - {"trainable"}
                and other.how != "kbit"
            ):
                if len(other.guards) <= len(event.guards):
                    cause = other
            elif other.flag is not False:
                cause = None
        elif other.kind in {"attach", "escape"} and about:
            cause = None
    return cause


class TrainableShareUnverified(Rule):
    """Adapters are injected and nobody looks how much of the model is trainable.

    ## What it does
    Finds programs that inject adapters and never count, print or assert trainable parameters.

    ## Why is this bad?
    A wrong name matches no layer and a forgotten freeze trains everything; both run without an error
    for hours. One line that prints the share shows either at once.

    ## Example
    ```python
    inject_adapters(model)
    train(model)
    ```

    ## Use instead
    ```python
    inject_adapters(model)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{trainable / sum(p.numel() for p in model.parameters()):.2%} trainable")
    train(model)
    ```

    ## Fix safety
    The fix adds the line that prints the share after the injection. It is unsafe only in that it prints.

    ## References
    - [peft: print_trainable_parameters](https://huggingface.co/docs/peft/package_reference/peft_model)
    """

    code = "QA1212"
    severity = Severity.LOW
    default = False
    checklist = ("12.09",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "none: nothing fails, somebody has to look"
    needles = (TRAIN,)
    subject = staticmethod(training)

    def check(self, adapters: Adapters) -> Iterator[Finding]:
        """Injections without a count."""
        for injection in adapters.injections:
            if any(True for _ in adapters.modules.all("count")):
                continue
            trained = any(
                event.program == injection.program
                for event in adapters.modules.all("optimizer", "backward", "train")
            )
            if not trained:
                continue
            yield self.finding(
                adapters.place(injection.site),
                f"`{injection.name}` gets adapters and its trainable parameters are never counted",
                fix=count_after(injection),
                help="print or assert the trainable share after the injection",
            )


def count_after(injection: Injection) -> Fix | None:
    """Print the trainable share after the injection."""
    name, site = injection.model.name, injection.site
    edits = site.file.get(Edits)
    statement = edits.statement(site.node) if edits is not None else None
    if edits is None or statement is None or not name.isidentifier():
        return None
    if (
        outer(injection.events[0], injection.model).node is injection.events[0].site.node
        and not injection.peft
    ):
        return None
    return edits.unsafe(
        "print the trainable share",
        edits.insert_after(
            statement,
            f'print("trainable parameters:", sum(p.numel() for p in {name}.parameters() if p.requires_grad))',
        ),
    )


__all__ = ["unconditional"]
