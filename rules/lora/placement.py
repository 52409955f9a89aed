"""In which dtype and on which device an adapter is made."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Adapters, Event, Injection
from qalint.analysis.modules.adapters import held_by
from qalint.analysis.modules.needles import DEVICE, RUN, TRAIN, WALK
from qalint.analysis.modules.subjects import attached, training
from qalint.analysis.modules.torchlib import WEIGHTED
from qalint.analysis.modules.values import Cell, Const, Lib, Mod, Param, Site, Value
from qalint.rule import Finding, Fix, Related, Rule, Severity

ENDS = ("in", "out")


def trained(adapters: Adapters, injection: Injection) -> Event | None:
    """The event that trains the adapters after they were injected: an optimizer, a backward, a trainer."""
    return next(adapters.after(injection, "optimizer", "backward", "step", "train"), None)


def parameters(injection: Injection, adapters: Adapters) -> list[Cell]:
    """The adapters' own matrices, in the order in which they were made.

    Where a bottleneck is no product of two, they are the layers and parameters that its wrapper brings.
    """
    cells = [cell for cell in injection.cells if cell in adapters.paired] or [
        cell
        for cell in injection.cells
        if isinstance(cell, Param) or (isinstance(cell, Mod) and cell.kind == "Linear" and cell.cls is None)
    ]
    return sorted(cells, key=lambda cell: cell.time)


class AdapterNotFp32(Rule):
    """An adapter's parameters are made in FP16.

    ## What it does
    Finds adapters whose matrices are FP16 when they are trained, because they were made so: by
    `dtype=torch.float16`, by the dtype of a base that is FP16 (`weight.dtype`, `new_zeros`), by a
    cast of the adapter itself, or by a cast of the model that has them.

    ## Why is this bad?
    A gradient scaler refuses them (`ValueError: Attempting to unscale FP16 gradients.`). Without one,
    AdamW's second moment underflows and the parameters become NaN, or small updates are rounded
    away. What is trained is kept in FP32; the base may stay in FP16.

    ## Example
    ```python
    adapter = LoRA(layer, rank).to(layer.weight.dtype)   # the base is FP16
    ```

    ## Use instead
    ```python
    adapter = LoRA(layer, rank).to(torch.float32)
    ```

    ## Fix safety
    The fix writes `torch.float32` where the FP16 dtype is given. It is safe: training in FP16 does not
    work. The adapter's forward must then cast its input (see `adapter-input-not-cast`).

    ## References
    - [Automatic mixed precision](https://docs.pytorch.org/docs/stable/amp.html)
    - [peft: autocast_adapter_dtype](https://huggingface.co/docs/peft/package_reference/peft_model)
    """

    code = "QA1210"
    severity = Severity.CRITICAL
    checklist = ("11.02", "11.14", "12.07")
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (TRAIN,)
    subject = staticmethod(training)

    def check(self, adapters: Adapters) -> Iterator[Finding]:
        """Adapters' matrices that are FP16 in the end, by their own making."""
        seen: set[ast.AST] = set()
        run = adapters.run
        for injection in adapters.everywhere:
            event = trained(adapters, injection)
            if event is None:
                continue
            sites: list[tuple[Site, int]] = []
            for cell in parameters(injection, adapters):
                found = run.latest(cell, "dtype")
                if found is None or found[1] != "float16":
                    continue
                if found[2] not in injection.cells:
                    if frozen_outright(adapters, cell):
                        continue  # a layer of the base before the adapter
                    yield from self.along(adapters, injection, found[2], found[0], seen)
                    continue
                site = cast_site(adapters, found[2], found[0]) or cell.site
                if site is None or site.node in seen:
                    continue
                seen.add(site.node)
                sites.append((site, found[0]))
            for site, time in sites:
                related = [Related(adapters.place(event.site), "the adapter is trained from here")]
                base = next(
                    (
                        other
                        for other in adapters.modules.all("cast")
                        if other.target is injection.model and other.value == "float16" and other.time < time
                    ),
                    None,
                )
                if base is not None:
                    related.append(
                        Related(adapters.place(base.site), f"`{injection.name}` becomes FP16 here")
                    )
                yield self.finding(
                    adapters.place(site),
                    "the adapter's parameters are FP16" + (", like the base" if base is not None else ""),
                    related=related,
                    fix=together([in_fp32(one) for one, _ in sites if one.file is site.file]),
                    help="keep what is trained in FP32: dtype=torch.float32",
                )

    def along(
        self, adapters: Adapters, injection: Injection, model: Cell, time: int, seen: set[ast.AST]
    ) -> Iterator[Finding]:
        """A cast of the model that already has its adapters, with training to follow."""
        site = cast_site(adapters, model, time)
        if site is None or time < injection.first.time or site.node in seen or not to_half(adapters, site):
            return
        if injection in adapters.built and not low_rank(adapters, injection):
            return
        event = next(
            (one for one in adapters.after(injection, "backward", "step", "train") if one.time > time), None
        )
        if event is None or not adapters.about(Event("cast", site, target=model), injection):
            return
        seen.add(site.node)
        yield self.finding(
            adapters.place(site),
            f"`{injection.name}` becomes FP16 only here, and takes its adapters along",
            related=[
                Related(adapters.place(injection.site), "the adapters are injected here"),
                Related(adapters.place(event.site), "they are trained from here"),
            ],
            help="cast the base first, then inject the adapters",
        )


def low_rank(adapters: Adapters, injection: Injection) -> bool:
    """Whether two matrices that a model is built with can be narrower between them than at their ends."""
    return any(
        event.target in injection.cells
        and not any(as_wide(event.info["rank"], event.info[end]) for end in ENDS)
        for event in adapters.modules.all("pair")
    )


def as_wide(middle: Value | None, end: Value | None) -> bool:
    """Whether what lies between two matrices is known to be at least as wide as one of their ends."""
    if isinstance(middle, Const) and isinstance(end, Const):
        return isinstance(middle.value, int) and isinstance(end.value, int) and middle.value >= end.value
    return middle is not None and end is not None and middle.term == end.term


def frozen_outright(adapters: Adapters, cell: Cell) -> bool:
    """Whether the last that was said of training a parameter froze it, without a test of its name."""
    said = adapters.run.latest(cell, "grad")
    if said is None or said[1] is not False:
        return False
    time, _, holder = said
    return any(when == time and what == "grad" and not guards for when, what, _, guards in holder.history)


def to_half(adapters: Adapters, site: Site) -> bool:
    """Whether a cast is to FP16 whatever the program is told: not to a dtype that is chosen outside."""
    call = site.node
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return False
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return call.func.attr == "half" or any(
        ast.unparse(node).rsplit(".", 1)[-1] in {"float16", "half"}
        or (
            isinstance(held := adapters.run.memo.get(node), Lib)
            and held.name in {"torch.float16", "torch.half"}
        )
        for node in given
    )


def cast_site(adapters: Adapters, cell: Cell, time: int) -> Site | None:
    """The cast of `cell` at `time`, None where it was made so."""
    for event in adapters.modules.all("cast"):
        if event.target is cell and 0 <= event.time - time <= 2:
            return event.site
    return None


def together(fixes: list[Fix | None]) -> Fix | None:
    """All of the adapter in FP32: one matrix alone would only move the error."""
    made = [fix for fix in fixes if fix is not None]
    if not made or len(made) != len(fixes):
        return None
    edits = tuple(dict.fromkeys(edit for fix in made for edit in fix.edits))
    return made[0]._replace(edits=edits)


def in_fp32(site: Site) -> Fix | None:
    """Write `torch.float32` for the dtype that a call is given."""
    edits = site.file.get(Edits)
    if edits is None:
        return None
    spelled = edits.spelling("torch.float32", site.node)
    if spelled is None:
        return None
    text, imports = spelled
    message = "keep the adapter in FP32"
    for call in ast.walk(site.node):
        if not isinstance(call, ast.Call):
            continue
        for keyword in call.keywords:
            if keyword.arg == "dtype":
                return edits.safe(message, edits.replace(keyword.value, text), imports)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "half" and not call.args:
            return edits.safe(
                message, edits.replace(call, f"{edits.segment(call.func.value)}.float()"), imports
            )
        if isinstance(call.func, ast.Attribute) and call.func.attr == "to":
            for argument in call.args:
                last = ast.unparse(argument).rsplit(".", 1)[-1]
                if last in {"dtype", "float16", "half"}:
                    return edits.safe(message, edits.replace(argument, text), imports)
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"new_zeros", "new_empty", "new_ones"}:
            return edits.safe(message, edits.add_argument(call, f"dtype={text}"), imports)
    return None


class AdapterOnWrongDevice(Rule):
    """An adapter is made on the CPU after its model was moved to a device.

    ## What it does
    Finds adapters that are put into a model which is on a device (moved there before, or loaded with a
    `device_map`), made without a device and not moved afterwards, alone or with the model.

    ## Why is this bad?
    The layer's input is on the GPU and the adapter's matrices are on the CPU: `Expected all tensors to
    be on the same device, but found at least two devices, cuda:0 and cpu!` On a machine without a
    GPU nothing shows.

    ## Example
    ```python
    model.to(device)
    layer.adapter = LoRA(layer, rank)
    ```

    ## Use instead
    ```python
    model.to(device)
    layer.adapter = LoRA(layer, rank).to(layer.weight.device)
    ```

    ## Fix safety
    The fix moves the new adapter to the device of the layer's weight. It is safe: where it is there
    already, nothing happens.

    ## References
    - [torch.nn.Module.to](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html)
    """

    code = "QA1211"
    severity = Severity.CRITICAL
    checklist = ("12.08",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = ((*RUN, *WALK), DEVICE)
    subject = staticmethod(attached)

    def check(self, adapters: Adapters) -> Iterator[Finding]:
        """Adapters that stay on the CPU in a model that is elsewhere."""
        seen: set[ast.AST] = set()
        run = adapters.run
        told: set[Cell] = set()
        for injection in adapters.injections:
            root = injection.model
            for event in injection.events:
                value = event.value
                moved = last_move(adapters, injection, event)
                if moved is None or taken(adapters, injection, event):
                    continue
                cells = [
                    cell
                    for cell in parameters(injection, adapters)
                    if not isinstance(value, Cell) or held_by(cell, value)
                ]
                stuck = [cell for cell in cells if on_cpu(adapters, cell)]
                if not stuck or told & set(stuck):
                    continue
                if any(run.device_of(cell) is None for cell in cells):
                    continue
                whole = len(stuck) == len(cells)
                made = (value if isinstance(value, Mod | Param) else owner(stuck)) if whole else stuck[0]
                site = made.site
                if site is None or site.node in seen:
                    continue
                device = run.device_of(event.target) or run.device_of(root)
                if device is None or "cuda" not in device.kinds:
                    continue
                seen.add(site.node)
                told |= set(stuck)
                yield self.finding(
                    adapters.place(site),
                    f"the adapter is made on the CPU, but `{injection.name}` has been "
                    "moved to its device before",
                    related=[
                        Related(adapters.place(moved.site), f"`{injection.name}` is moved here"),
                        Related(adapters.place(event.site), "the adapter is put in here"),
                    ],
                    fix=to_layer(adapters, event, site),
                    help=(
                        "make it on the layer's device: .to(layer.weight.device), or "
                        "move the model after the injection"
                    ),
                )


def owner(cells: list[Cell]) -> Cell:
    """The module that holds all of some cells, or the first of them."""
    for holder, _ in cells[0].holders:
        if isinstance(holder, Mod) and all(holder in {one for one, _ in cell.holders} for cell in cells):
            return holder
    return cells[0]


def on_cpu(adapters: Adapters, cell: Cell) -> bool:
    """Whether a cell was never moved from the CPU, where it was made."""
    found = adapters.run.latest(cell, "device")
    return found is not None and found[1] is not None and found[1].kinds == {"cpu"}


def taken(adapters: Adapters, injection: Injection, attached: Event) -> bool:
    """Whether the model goes to what may move it: a trainer, `accelerator.prepare`, an unseen function."""
    return any(
        isinstance(event.target, Mod) and event.target.root is injection.model and event.target.parent is None
        for event in adapters.after(injection, "train", "escape")
        if event.time > attached.time
    )


def last_move(adapters: Adapters, injection: Injection, attached: Event) -> Event | None:
    """The move of the model before an adapter was put in."""
    moves = [
        event
        for event in adapters.modules.all("move")
        if held_by(attached.target, event.target)
        and event.program == injection.program
        and event.time < attached.time
        and event.value is not None
        and "cuda" in event.value.kinds
    ]
    return moves[-1] if moves else None


def to_layer(adapters: Adapters, event: Event, site: Site) -> Fix | None:
    """Move the adapter where it is made."""
    edits = site.file.get(Edits)
    if edits is None or not isinstance(event.value, Mod) or not isinstance(site.node, ast.Call):
        return None
    if site.file is not event.site.file:
        return None
    function = edits.function(site.node)
    if function is not edits.function(event.site.node):
        return None
    layer = layer_of(adapters, event, site)
    if layer is None:
        return None
    text = edits.segment(layer)
    weight = f"{text}.weight" if has_weight(adapters, layer) else f"next({text}.parameters())"
    return edits.safe("move it to the layer's device", edits.wrap(site.node, "", f".to({weight}.device)"))


def has_weight(adapters: Adapters, layer: ast.expr) -> bool:
    """Whether what a name stands for is a layer with a weight, and no larger part of a model."""
    module = adapters.run.memo.get(layer)
    if not isinstance(module, Mod):
        return True  # its sizes are read
    if module.cls is not None or module.elements:
        return "weight" in module.attrs
    return module.parent is not None or module.kind.startswith(WEIGHTED)


def layer_of(adapters: Adapters, event: Event, site: Site) -> ast.expr | None:
    """What stands for the layer that gets the adapter, or for what holds it, where the adapter is made."""
    call = site.node
    assert isinstance(call, ast.Call)
    for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
        if isinstance(argument, ast.Name | ast.Attribute) and isinstance(
            adapters.run.memo.get(argument), Mod
        ):
            return argument
    for read in ast.walk(call):
        if isinstance(read, ast.Attribute) and read.attr in {"in_features", "out_features", "weight"}:
            return read.value
    target = event.site.node
    if isinstance(target, ast.Attribute) and event.how == "attribute" and isinstance(target.value, ast.Name):
        return target.value
    if isinstance(target, ast.Call) and event.how in {"setattr", "add_module"}:
        first = target.args[0] if event.how == "setattr" else getattr(target.func, "value", None)
        if isinstance(first, ast.Name) and event.target.path == "*":
            return first
    return None
