"""What is frozen when: the base before the adapters, and all of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Adapters, Event, Injection, compatible
from qalint.analysis.modules.adapters import held_by, outer, own_cells
from qalint.analysis.modules.needles import OPTIMIZER, TRAIN
from qalint.analysis.modules.spellings import keeps_trained
from qalint.analysis.modules.subjects import training
from qalint.analysis.modules.torchlib import WEIGHTED
from qalint.analysis.modules.values import Cell, Mod, Param, Site, Value
from qalint.rule import Confidence, Finding, Fix, Related, Rule, Severity

from .wrapping import wrapped_models


def frozen(adapters: Adapters, injection: Injection) -> list[Event]:
    """Freezes of the injection's model or of parts of it, in its program."""
    return [
        event
        for event in adapters.modules.all("freeze")
        if (
            event.program == injection.program
            and event.flag is not True
            and adapters.about(event, injection)
            and not (isinstance(event.target, Cell) and event.target in injection.cells)
        )
        or (event.program == injection.program and event.flag is not True and inside_base(event, injection))
    ]


def inside_base(event: Event, injection: Injection) -> bool:
    """Whether a freeze is of a layer that an adapter wraps, or of what holds the places of the adapters."""
    target = event.target
    if isinstance(target, Param) and target.owner is not None:
        target = target.owner
    if not isinstance(target, Mod) or target in injection.cells:
        return False
    return target.root is injection.model or any(held_by(put.target, target) for put in injection.events)


def whole(event: Event, injection: Injection) -> bool:
    """Whether a freeze is of the whole base: all its parameters, or all but those with a certain name."""
    target = event.target
    if isinstance(target, Param) and target.select is not None:
        target = target.owner
    if target is not injection.model and not base_of(target, injection):
        return False
    if "typed" in event.filters or "other" in event.filters:
        return False
    if "named" not in event.filters:
        return True
    named = [guard for guard in event.guards if guard.flavor == "named"]
    return not named or not named[-1].outcome


def base_of(part: Value | None, injection: Injection) -> bool:
    """Whether a part of the program's own model is the base: the model that all of the adapters go into."""
    return (
        isinstance(part, Mod)
        and part.loaded
        and all(held_by(event.target, part) for event in injection.events)
    )


def unconditional(event: Event, injection: Injection) -> bool:
    """Whether a freeze takes all parameters of the model, or of the part that all adapters went into."""
    return (
        event.flag is False
        and (
            event.target is injection.model
            or (
                base_of(event.target, injection)
                and all(held_by(cell, event.target) for cell in injection.cells)
            )
        )
        and not event.filters - {"trainable"}
    )


def sets_again(event: Event, injection: Injection) -> bool:
    """Whether an event makes (some) parameters trainable again."""
    return not (event.kind != "freeze" or event.flag is False)


class BaseModelNotFrozen(Rule):
    """Adapters are injected and trained, and nothing of the base model was frozen.

    ## What it does
    Finds models that get hand-written adapters and an optimizer over their parameters, where no
    parameter of the model was ever frozen, or where all of it is made trainable again after the
    injection, by hand or by peft. The same of models that a class is given and learns a prompt, a prefix
    or a low-rank update beside.

    ## Why is this bad?
    Everything is trained: all of the base with the adapters. That costs the memory and time that
    LoRA is there to save, and the base drifts away from what it knew. With a base in FP16 the first
    step of a gradient scaler fails with `Attempting to unscale FP16 gradients.`

    ## Example
    ```python
    model = AutoModelForCausalLM.from_pretrained(name)
    inject_adapters(model)
    optimizer = torch.optim.AdamW(model.parameters())
    ```

    ## Use instead
    ```python
    model = AutoModelForCausalLM.from_pretrained(name)
    model.requires_grad_(False)
    inject_adapters(model)
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    ```

    ## Fix safety
    The fix freezes the model on the line before the injection. It is unsafe: training the whole model
    beside its adapters may be meant.

    ## References
    - [LoRA: Low-Rank Adaptation](https://arxiv.org/abs/2106.09685)
    - [torch.nn.Module.requires_grad_](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html)
    """

    code = "QA1204"
    severity = Severity.CRITICAL
    checklist = ("12.05",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (OPTIMIZER,)
    subject = staticmethod(training)

    def check(self, adapters: Adapters) -> Iterator[Finding]:
        """Injections into a model made in sight, with an optimizer and no freeze that lasts."""
        yield from self.unfrozen(adapters)
        around = list(wrapped_models(adapters))
        for injection in [*adapters.injections, *around]:
            if injection.peft or not injection.seen or frozen(adapters, injection):
                continue
            if escaped(adapters, injection) or replaced(injection):
                continue
            for event in adapters.modules.all("optimizer"):
                if event.program != injection.program or not compatible(event.guards, injection.first.guards):
                    continue
                owns = adapters.selection(event.target, injection)
                if "unknown" in owns or not owns & {"all", "trainable", "adapters", "named"}:
                    continue
                everything = bool(owns & {"all", "trainable"})
                if event.time < injection.first.time:
                    continue
                if injection in around and "all" in owns:
                    continue  # a model with something beside it may be trained whole: nothing was chosen
                yield self.finding(
                    adapters.place(injection.site),
                    f"`{injection.name}` gets adapters, but none of its own parameters is frozen"
                    + (": all of it is trained" if everything else ""),
                    severity=Severity.CRITICAL if everything else Severity.MEDIUM,
                    related=[
                        Related(adapters.place(event.site), "the optimizer is built here"),
                        *mistakes(adapters, injection),
                    ],
                    fix=freeze_before(adapters, injection),
                    help=f"call {injection.name}.requires_grad_(False) before the adapters are injected",
                )
                break

    def unfrozen(self, adapters: Adapters) -> Iterator[Finding]:
        """Models with adapters all of whose parameters are made trainable before the optimizer is built."""
        for injection in adapters.everywhere:
            frees = [
                event
                for event in adapters.modules.all("freeze")
                if event.program == injection.program and adapters.about(event, injection)
            ]
            built = [
                event
                for event in adapters.after(injection, "optimizer")
                if adapters.selection(event.target, injection) & {"all", "trainable"}
            ]
            if not built or (not injection.peft and all(event.flag is True for event in frees)):
                continue  # it never was frozen: another matter
            first = built[0]
            before = [event for event in frees if event.time < first.time]
            last = before[-1] if before else None
            if last is None or last.flag is not True or last.filters - {"trainable"}:
                continue
            if last.target is not injection.model or last.time < injection.events[-1].time:
                continue
            if not compatible(last.guards, first.guards) or escaped(adapters, injection):
                continue
            if any(event.how == "unload" for event in before):
                continue  # there are no adapters any more
            yield self.finding(
                adapters.place(last.site),
                f"all of `{injection.name}` is made trainable again after its adapters were injected",
                related=[
                    Related(adapters.place(injection.site), "the adapters are injected here"),
                    Related(adapters.place(first.site), "the optimizer is built here"),
                ],
                help="leave the base frozen: only the adapters are to be trained",
            )


def replaced(injection: Injection) -> bool:
    """Whether nothing is left of a model in sight but its adapters and what has no parameters."""
    model = injection.model
    if not model.elements and not (model.known and model.cls is not None):
        return False
    seen: set[Cell] = set()
    queue: list[Value] = [model]
    while queue:
        cell = queue.pop()
        if not isinstance(cell, Cell) or cell in seen:
            continue  # a plain list registers nothing: what it holds is not the model's
        seen.add(cell)
        queue.extend(cell.attrs.values())
        if isinstance(cell, Mod):
            queue.extend(cell.elements)
    return not any(
        isinstance(cell, Param) or (isinstance(cell, Mod) and has_parameters(cell))
        for cell in seen - injection.cells
    )


def has_parameters(module: Mod) -> bool:
    """Whether a module has parameters of its own, or parts that are not in sight."""
    return (
        module.parent is not None
        or bool(module.parts)
        or module.kind.startswith(WEIGHTED)
        or (module.cls is None and not str(module.qual).startswith("torch.nn."))
    )


def mistakes(adapters: Adapters, injection: Injection) -> list[Related]:
    """Where the model was to be frozen and was not: `QA1206` tells it."""
    return [
        Related(adapters.place(event.site), f"`{event.name}` freezes nothing")
        for event in adapters.modules.all("mistaken")
        if event.program == injection.program
        and isinstance(event.target, Mod)
        and event.target.root is injection.model
    ]


def escaped(adapters: Adapters, injection: Injection) -> bool:
    """Whether the model went where more of it may have been frozen."""
    return any(
        event.program == injection.program
        and isinstance(event.target, Mod)
        and event.target.root is injection.model
        and not keeps_trained(event.name)
        for event in adapters.modules.all("escape")
    )


def freeze_before(adapters: Adapters, injection: Injection) -> Fix | None:
    """Freeze the model on the line before the injection, or before the loop over the model that injects."""
    site = injection.site
    edits = site.file.get(Edits)
    statement = edits.statement(site.node) if edits is not None else None
    if edits is None or statement is None:
        return None
    found: tuple[ast.stmt, str] | None = None
    header: ast.AST = site.node
    while statement is not None:
        name = next((name for name in names_of_model(adapters, header, injection)), None)
        if name is not None:
            found = (statement, name)
        seat = edits.seat(statement)
        holder = seat.parent if seat is not None else None
        if not isinstance(holder, ast.For | ast.If | ast.With):
            break
        statement = holder
        header = holder.iter if isinstance(holder, ast.For) else ast.Pass()
    if found is None:
        return None
    return edits.unsafe(
        "freeze the base model first", edits.insert_before(found[0], f"{found[1]}.requires_grad_(False)")
    )


def names_of_model(adapters: Adapters, node: ast.AST, injection: Injection) -> Iterator[str]:
    """The names in some code that stand for the model, or for what was all of it when it got its adapters."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            held = adapters.run.memo.get(part)
            if isinstance(held, Mod) and held.parent is None and held.loaded:
                if held.root is injection.model and held not in injection.cells:
                    yield part.id


OTHERWISE = {
    "inference": (
        "`inference_mode=True`: the adapters of `{}` are frozen, and it is to be trained",
        "leave `inference_mode` at False where the adapters are trained",
    ),
    "unload": (
        "this takes the adapters out of `{}` before it is trained: all that is left is frozen",
        "merge the adapters when training is over",
    ),
}
"""What freezes adapters and is no freeze to look at: what is said of it, and what helps."""


def ran_before(backward: Event, adapters: Adapters, injection: Injection) -> bool:
    """Whether the last model that ran with gradients before a backward pass can be that of the injection."""
    ran = [
        event
        for event in adapters.modules.all("forward")
        if event.time < backward.time and event.grad and event.program == backward.program
    ]
    whole = [event for event in ran if isinstance(event.target, Mod) and event.target.root is event.target]
    return not whole or adapters.about(whole[-1], injection) or held_by(injection.model, whole[-1].target)


class FreezeAfterInjection(Rule):
    """All parameters are frozen after the adapters were injected, the adapters' too.

    ## What it does
    Finds a freeze of all parameters of a model that already has its adapters, hand-written or peft's,
    after which nothing makes the adapters trainable again. A peft configuration with
    `inference_mode=True` freezes them as well, and `merge_and_unload()` leaves only what is frozen.

    ## Why is this bad?
    The adapters are frozen with the rest. An optimizer over what still requires gradients is empty
    (`ValueError: optimizer got an empty parameter list`), and `backward` fails with `element 0 of
    tensors does not require grad`.

    ## Example
    ```python
    inject_adapters(model)
    for p in model.parameters():
        p.requires_grad = False
    ```

    ## Use instead
    ```python
    for p in model.parameters():
        p.requires_grad = False
    inject_adapters(model)
    ```

    ## Fix safety
    The fix moves the freeze before the injection where both are statements of one block. It is safe:
    as it stands nothing can be trained.

    ## References
    - [torch.Tensor.requires_grad](https://docs.pytorch.org/docs/stable/generated/torch.Tensor.requires_grad.html)
    """

    code = "QA1205"
    severity = Severity.CRITICAL
    checklist = ("12.05",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (TRAIN,)
    subject = staticmethod(training)

    def check(self, adapters: Adapters) -> Iterator[Finding]:
        """Freezes of everything after the last injection, with training to follow."""
        for injection in adapters.injections:
            if injection.beside:
                continue  # what is frozen with the model is the model alone
            last = injection.events[-1]
            for event in adapters.after(injection, "freeze"):
                if not unconditional(event, injection) or event.time < last.time:
                    continue
                later = [
                    other
                    for other in adapters.modules.all(
                        "freeze", "optimizer", "backward", "step", "train", "escape"
                    )
                    if other.program == event.program
                    and other.time > event.time
                    and compatible(other.guards, event.guards)
                ]
                if any(sets_again(other, injection) for other in later):
                    continue
                confirming = next(
                    (
                        other
                        for other in later
                        if other.kind == "train"
                        or (other.kind == "backward" and ran_before(other, adapters, injection))
                        or (
                            other.kind in {"optimizer", "step"}
                            and adapters.selection(other.target, injection) - {"other"}
                        )
                    ),
                    None,
                )
                if confirming is None or event.how == "loralib":
                    continue
                if event.how in OTHERWISE and not any(
                    other.kind in {"train", "optimizer", "step"} for other in later
                ):
                    continue  # a backward pass that nothing steps after asks for gradients, it does not train
                if any(
                    o.kind == "escape" and o.time < confirming.time and o.target is injection.model
                    for o in later
                ):
                    continue
                site = outer(event, injection.model)
                inside = [Related(adapters.place(event.site), "the parameters are frozen here")]
                if event.how in OTHERWISE:
                    message, help = OTHERWISE[event.how]
                    yield self.finding(
                        adapters.place(event.site),
                        message.format(injection.name),
                        related=[
                            Related(adapters.place(injection.site), "the adapters are injected here"),
                            Related(adapters.place(confirming.site), "training goes on from here"),
                        ],
                        help=help,
                    )
                    break
                yield self.finding(
                    adapters.place(site),
                    f"all parameters of `{injection.name}` are frozen after its adapters "
                    "were injected: the adapters are frozen too",
                    related=[
                        Related(adapters.place(injection.site), "the adapters are injected here"),
                        Related(adapters.place(confirming.site), "training goes on from here"),
                        *(inside if site.node is not event.site.node else []),
                    ],
                    fix=(
                        move(site, injection.site)
                        if event.how != "kbit" and only_freezes(adapters, site)
                        else None
                    ),
                    confidence=Confidence.HIGH,
                    help="freeze first, then inject",
                )
                break


def only_freezes(adapters: Adapters, call: Site) -> bool:
    """Whether nothing else is done to modules in a call: what builds an optimizer as well is not moved."""
    inside = [
        event
        for event in adapters.modules.events
        if any(site.node is call.node for site in event.stack) and event.site.node is not call.node
    ]
    return all(event.kind in {"freeze", "count", "reflect"} for event in inside)


def move(freeze: Site, injection: Site) -> Fix | None:
    """Move the freeze before the injection, where both are statements of one block."""
    edits = freeze.file.get(Edits)
    if edits is None or freeze.file is not injection.file:
        return None
    target = edits.statement(injection.node)
    statement = edits.statement(freeze.node)
    while statement is not None and target is not None:
        one, two = edits.seat(statement), edits.seat(target)
        if one is None or two is None:
            return None
        if one.block is two.block:
            if statement is target:
                return None
            return edits.safe("freeze before the adapters are injected", edits.move_before(statement, target))
        if isinstance(one.parent, ast.For) and isinstance(one.parent, ast.stmt):
            statement = one.parent
        elif isinstance(two.parent, ast.For):
            target = two.parent
        else:
            return None
    return None


class AdapterLeavesExtraTrainable(Rule):
    """Only some layers of the base are frozen; the rest is trained beside the adapters.

    ## What it does
    Finds models with adapters of which only layers of a certain type or name were frozen, or only the
    layers that carry the adapters, and whose optimizer takes every parameter that requires gradients.

    ## Why is this bad?
    Norms, embeddings and whatever else the test did not meet stay trainable without anybody having
    said so: the trainable share is a multiple of what LoRA promises, checkpoints that hold only the
    adapters do not hold what was trained, and with an FP16 base the gradient scaler fails.

    ## Example
    ```python
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear):
            layer.weight.requires_grad = False
            inject(model, name, layer)
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    ```

    ## Use instead
    ```python
    model.requires_grad_(False)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear):
            inject(model, name, layer)
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    ```

    ## Fix safety
    The fix freezes the whole model before the injection. It is unsafe: training norms may be meant;
    then say so by name.

    ## References
    - [peft: LoraConfig, modules_to_save and bias](https://huggingface.co/docs/peft/package_reference/lora)

    ## Beyond the checklist
    The checklist asks that the base is frozen; this is the base frozen in part.
    """

    code = "QA1221"
    severity = Severity.MEDIUM
    checklist = ()
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (OPTIMIZER,)
    subject = staticmethod(training)

    def check(self, adapters: Adapters) -> Iterator[Finding]:
        """Partial freezes, and an optimizer over the model."""
        for injection in adapters.everywhere:
            if injection.peft or not injection.seen or escaped(adapters, injection):
                continue
            built = injection in adapters.built
            freezes = frozen(adapters, injection)
            if built:
                own = by_themselves(adapters, injection)
                alone = all(event in own for event in freezes) and norms_or_embeddings(injection.model)
                freezes = own if alone else []  # a new head beside adapters may be meant, these hardly are
            if not freezes or any(whole(event, injection) for event in freezes):
                continue
            if not built and any(not walked(event, injection) for event in freezes):
                continue
            if any(
                event.flag is not False
                and adapters.about(event, injection)
                and event.target not in injection.cells
                for event in adapters.modules.all("freeze")
            ):
                continue
            for event in adapters.modules.all("optimizer"):
                owns = adapters.selection(event.target, injection)
                if (
                    event.program == injection.program
                    and owns & ({"trainable"} if built else {"all", "trainable"})
                    and "unknown" not in owns
                ):
                    first = freezes[0]
                    yield self.finding(
                        adapters.place(first.site),
                        f"only the layers with adapters of `{injection.name}` are frozen; the rest is "
                        "trained beside the adapters"
                        if built
                        else f"only some layers of `{injection.name}` are frozen; the rest is "
                        "trained beside the adapters",
                        related=[
                            Related(adapters.place(injection.site), "the adapters are injected here"),
                            Related(
                                adapters.place(event.site),
                                "the optimizer takes what still requires gradients",
                            ),
                        ],
                        fix=None if built else freeze_before(adapters, injection),
                        help="freeze all parameters whose names are not those of the adapters"
                        if built
                        else f"freeze all of it before the injection: {injection.name}.requires_grad_(False)",
                    )
                    break


def norms_or_embeddings(model: Mod) -> bool:
    """Whether a norm or an embedding is seen in a model."""
    return any(
        isinstance(cell, Mod) and (cell.kind.startswith("Embedding") or "Norm" in cell.kind)
        for cell in own_cells(model)
    )


def by_themselves(adapters: Adapters, injection: Injection) -> list[Event]:
    """Freezes of their own weights by the layers that a model is built with and that carry adapters."""
    return [
        event
        for event in adapters.modules.all("freeze")
        if event.program == injection.program
        and event.flag is False
        and isinstance(event.target, Param)
        and event.target.tensor_of is not None
        and event.target.owner in injection.cells
    ]


def walked(event: Event, injection: Injection) -> bool:
    """Whether a freeze meets the layers of a walk or the layer that an adapter wraps, no part by its name."""
    target = event.target
    if isinstance(target, Param):
        target = target.owner
    if not isinstance(target, Mod):
        return False
    if event.filters & {"typed", "named"}:
        return True
    if any(isinstance(cell, Mod) and target in cell.attrs.values() for cell in injection.cells):
        return True
    here: Mod | None = target
    while here is not None:
        if "*" in here.path or "(" in here.path:
            return True
        here = here.parent
    return False
