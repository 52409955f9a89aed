"""QA1101, QA1103, QA1106, QA1120, QA1122, QA1127: what an FP16 step has, lacks, or has too much."""

from __future__ import annotations

import ast

from qalint.analysis.edits import Changes
from qalint.analysis.machine.story import Fault
from qalint.rule import Fix, Severity

from .amp import argument, regions
from .faults import FaultRule, Repair, receiver


class MissingGradScaler(FaultRule):
    """A model trains under float16 autocast without loss scaling.

    ## What it does
    Finds a plain `backward()` and `optimizer.step()` on a loss whose forward pass ran under float16
    autocast (asked for, or CUDA's default), in a program that has no gradient scaler, no loss scaling of
    its own and no framework that brings one.

    ## Why is this bad?
    Gradients in FP16 below 6e-8 are exactly zero. How many that are depends on the size of the loss and
    the depth of the model; the parameters behind them stop learning, and nothing is raised: the loss
    curve is only a little worse. The scaler multiplies the loss so that they survive, and skips the
    steps in which that was too much.

    ## Example
    ```python
    with torch.autocast("cuda", dtype=torch.float16):
        loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    ```

    ## Use instead
    ```python
    scaler = torch.amp.GradScaler("cuda")

    with torch.autocast("cuda", dtype=torch.float16):
        loss = model(x).square().mean()
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    ```

    ## Fix safety
    The fix is unsafe: it makes a scaler beside the optimizer and routes the backward pass, the step and the
    update through it. Gradients that the code reads between them (clipping, logging) have to be
    unscaled by hand, and the scaler belongs into the checkpoint. With bfloat16 no scaler is needed.

    ## References
    - [Gradient scaling](https://docs.pytorch.org/docs/stable/amp.html#gradient-scaling)
    """

    code = "QA1101"
    severity = Severity.CRITICAL
    needles = ((b".backward",), (b"autocast",))
    checklist = ("11.01", "11.16")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """Which loss is not scaled."""
        loss = receiver(repair.node("backward"))
        text = f"`{repair.edits.segment(loss)}`" if loss is not None else "the loss"
        return (
            f"{text} was computed in float16 and no scaler protects its gradients from becoming zero",
            "scale it with a `torch.amp.GradScaler`, or use bfloat16",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Insert the whole protocol, where backward, step and optimizer are in reach of one name."""
        edits = repair.edits
        backward, step = repair.node("backward"), repair.node("step")
        made = repair.statement("optimizer")
        step_statement = repair.statement("step")
        loss, owner = receiver(backward), receiver(step)
        if loss is None or owner is None or made is None or step_statement is None or step is None:
            return None
        scaler = scaler_name(repair, made)
        if scaler is None or not isinstance(step, ast.Call) or step.args or step.keywords:
            return None
        same = repair.function(backward) is repair.function(step) and (
            scaler.startswith("self.") or repair.function(made) in (repair.function(step), None)
        )
        spelled = edits.spelling("torch.amp.GradScaler", made)
        if not same or spelled is None or edits.seat(made) is None:
            return None
        clips: list[Changes | None] = []
        seat = edits.seat(step_statement)
        for before in seat.block[: seat.position] if seat is not None else ():
            calls = [node.func for node in ast.walk(before) if isinstance(node, ast.Call)]
            if any(getattr(func, "attr", getattr(func, "id", "")).startswith("clip_grad") for func in calls):
                clips.append(edits.insert_before(before, f"{scaler}.unscale_({edits.segment(owner)})"))
                break
        return edits.unsafe(
            "Scale the loss",
            spelled[1],
            *clips,
            edits.insert_after(made, f"{scaler} = {spelled[0]}({device_text(repair, made)})"),
            edits.replace(loss, f"{scaler}.scale({edits.segment(loss)})"),
            edits.replace(step, f"{scaler}.step({edits.segment(owner)})"),
            edits.insert_after(step_statement, f"{scaler}.update()"),
        )


def device_text(repair: Repair, at: ast.stmt) -> str:
    """The device of the file's first autocast region, as far as it can be named at `at`."""
    for region in regions(repair.names):
        call = region.call
        given = argument(call, 0, "device_type")
        if given is not None and repair.names.canonical(call.func) == "torch.amp.autocast":
            return written(repair, given, at)
    return '"cuda"'


def written(repair: Repair, expr: ast.expr, at: ast.stmt) -> str:
    """The text of a device, where its names are known at `at`; else CUDA."""
    root = expr
    while isinstance(root, ast.Attribute):
        root = root.value
    if isinstance(expr, ast.Constant) or (isinstance(root, ast.Name) and repair.visible(root.id, at)):
        return repair.edits.segment(expr)
    return '"cuda"'


def scaler_name(repair: Repair, made: ast.stmt) -> str | None:
    """A name for a scaler that lives where the optimizer does: `scaler`, or `self.scaler`."""
    if not isinstance(made, ast.Assign) or len(made.targets) != 1:
        return None
    target = made.targets[0]
    name = repair.edits.fresh("scaler")
    if isinstance(target, ast.Name):
        return name
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        return f"{target.value.id}.{name}"
    return None


class ForwardOutsideAutocast(FaultRule):
    """A loss is scaled, and its forward pass runs in FP32.

    ## What it does
    Finds a scaled training step whose forward pass runs under no autocast, with a model that is not FP16
    itself.

    ## Why is this bad?
    The scaler protects FP16 gradients, and here there are none: everything is computed in FP32. The program
    pays for the scaler (a test of all gradients for infinity in each step) and gets neither the speed
    nor the memory that AMP was meant to bring.

    ## Example
    ```python
    loss = model(x).square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    ```

    ## Use instead
    ```python
    with torch.autocast("cuda", dtype=torch.float16):
        loss = model(x).square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    ```

    ## Fix safety
    The fix is unsafe: it puts the statement with the forward pass under autocast, which changes the
    precision of everything in it.

    ## References
    - [Autocasting](https://docs.pytorch.org/docs/stable/amp.html#autocasting)
    """

    code = "QA1103"
    severity = Severity.MEDIUM
    needles = ((b".backward",), (b"scale", b"GradScaler"), (b"step",))
    checklist = ("11.04",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """The scaler has nothing to do."""
        return (
            f"the forward pass runs in FP32, so that `{fault.scaler}` has nothing to protect",
            "run the forward pass under `torch.autocast`, or do without the scaler",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Indent the statement of the forward pass under autocast."""
        edits = repair.edits
        statement = self.forward(repair)
        if not isinstance(statement, ast.Assign) or not edits.alone(statement):
            return None
        spelled = edits.spelling("torch.autocast", statement)
        half = edits.spelling("torch.float16", statement)
        if spelled is None or half is None or half[1] != spelled[1]:
            return None
        indentation = edits.indentation(statement)
        body = edits.reindented([statement], indentation + "    ", comments=False)
        start, end = edits.lines(statement)
        device = self.device(repair, statement)
        header = f"{indentation}with {spelled[0]}({device}, dtype={half[0]}):{edits.newline}"
        return edits.unsafe("Run it under autocast", spelled[1], edits.swap(start, end, header + body))

    @staticmethod
    def device(repair: Repair, at: ast.stmt) -> str:
        """The device that the scaler was made for, as far as it can be named at `at`."""
        for call in repair.names.calls("torch.amp.GradScaler"):
            if call.args:
                return written(repair, call.args[0], at)
        return '"cuda"'

    @staticmethod
    def forward(repair: Repair) -> ast.stmt | None:
        """The statement that computes the loss, in the block of the backward pass."""
        statement = repair.edits.statement(repair.fault.node)
        if isinstance(statement, ast.Assign):
            return statement
        loss = receiver(repair.node("backward"))
        if isinstance(loss, ast.Call) and len(loss.args) == 1:
            loss = loss.args[0]
        if not isinstance(loss, ast.Name) or statement is None:
            return None
        for binding in repair.names.bindings(loss):
            made = binding.statement
            if isinstance(made, ast.Assign) and repair.same_suite(made, statement):
                return made
        return None


class MissingGradientClipping(FaultRule):
    """An FP16 training step never clips its gradients.

    ## What it does
    Finds `scaler.step` of an optimizer whose gradients are never clipped. Off by default: `report` uses it.

    ## Why is this bad?
    One bad batch can throw a fine-tuned model far off; a bound on the gradient's norm limits the damage. It
    is advice, no more: much correct code has no clipping, and clipping does **not** prevent NaN, as
    is often said. An infinite gradient clipped to a norm becomes NaN; it is the scaler that skips it.

    ## Example
    ```python
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    ```

    ## Use instead
    ```python
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    ```

    ## Fix safety
    The fix is unsafe: it clips to a norm of 1, which changes the training.

    ## References
    - [Gradient clipping](https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-clipping)
    """

    code = "QA1106"
    severity = Severity.LOW
    needles = ((b".backward",), (b"scale", b"GradScaler"), (b"step",))
    checklist = ("11.13",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "none: a run without clipping is correct"
    default = False

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """No clip anywhere."""
        return (
            f"the gradients of `{fault.optimizer}` are never clipped",
            "unscale them and clip their norm before the step",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Unscale and clip before the step."""
        edits = repair.edits
        step = edits.statement(fault.node)
        if step is None:
            return None
        scaler, optimizer = repair.name("scaler", step), repair.name("optimizer", step)
        spelled = edits.spelling("torch.nn.utils.clip_grad_norm_", step)
        if scaler is None or optimizer is None or spelled is None:
            return None
        parameters = f'[p for group in {optimizer}.param_groups for p in group["params"]]'
        changes: Changes | None = edits.insert_before(
            step, f"{scaler}.unscale_({optimizer})", f"{spelled[0]}({parameters}, 1.0)"
        )
        return edits.unsafe("Clip to a norm of 1", spelled[1], changes)


class UncheckedLoss(FaultRule):
    """An FP16 training loop never looks whether its loss is finite.

    ## What it does
    Finds an FP16 training loop in which the loss is neither tested with `isfinite` or `isnan` nor
    logged or collected. Off by default: `report` uses it.

    ## Why is this bad?
    Once the forward pass itself gives NaN, the scaler skips every step and halves its scale for ever. The
    run goes on for hours and learns nothing.

    ## Example
    ```python
    scaler.scale(loss).backward()
    ```

    ## Use instead
    ```python
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss.item()}")
    scaler.scale(loss).backward()
    ```

    ## Fix safety
    The fix is unsafe: it ends the program when the loss is not finite, and reading the loss waits for the
    GPU in every iteration.

    ## References
    - [torch.isfinite](https://docs.pytorch.org/docs/stable/generated/torch.isfinite.html)
    """

    code = "QA1120"
    severity = Severity.LOW
    needles = ((b".backward",), (b"scale", b"GradScaler"), (b"step",))
    checklist = ("11.12",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "none: a run whose loss is finite shows nothing"
    default = False

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """The loss is never looked at."""
        loss = self.loss(repair)
        text = f"`{loss.id}`" if loss is not None else "the loss"
        return f"nothing would notice that {text} has become NaN", "test it with `torch.isfinite`"

    @staticmethod
    def loss(repair: Repair) -> ast.Name | None:
        """The variable on which `backward` is called, scaled or not."""
        found = receiver(repair.fault.node)
        if isinstance(found, ast.Call) and len(found.args) == 1:
            found = found.args[0]
        return found if isinstance(found, ast.Name) else None

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Test the loss before the backward pass."""
        edits = repair.edits
        statement, variable = edits.statement(fault.node), self.loss(repair)
        if statement is None or variable is None:
            return None
        loss = variable.id
        spelled = edits.spelling("torch.isfinite", statement)
        if spelled is None:
            return None
        error = f'raise FloatingPointError(f"the loss is {{{loss}.item()}}")'
        added = edits.insert_before(statement, f"if not {spelled[0]}({loss}):", f"    {error}")
        return edits.unsafe("Stop when the loss is not finite", spelled[1], added)


class ScalerWithBfloat16(FaultRule):
    """A gradient scaler is used with bfloat16.

    ## What it does
    Finds an enabled scaler all of whose losses come from bfloat16 autocast.

    ## Why is this bad?
    bfloat16 has the exponents of FP32: nothing underflows, and scaling only costs time. With bfloat16
    parameters on CUDA the scaler's `unscale_` raises `NotImplementedError`, since its kernel does not exist
    for that dtype.

    ## Example
    ```python
    scaler = torch.amp.GradScaler("cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = model(x).square().mean()
    scaler.scale(loss).backward()
    ```

    ## Use instead
    ```python
    scaler = torch.amp.GradScaler("cuda", enabled=False)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = model(x).square().mean()
    scaler.scale(loss).backward()
    ```

    ## Fix safety
    The fix is unsafe: it disables the scaler, which then passes everything through. If float16 was meant, the
    dtype of autocast is what has to change.

    ## Beyond the checklist
    The checklist asks for a scaler with FP16; this rule asks that it stays with FP16.

    ## References
    - [Automatic mixed precision](https://docs.pytorch.org/docs/stable/amp.html)
    """

    code = "QA1122"
    severity = Severity.MEDIUM
    needles = ((b".backward",), (b"autocast",), (b"scale", b"GradScaler"))
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """The scaler is not needed."""
        return (
            f"`{fault.scaler}` only scales losses that were computed in bfloat16, which needs no scaling",
            "disable it, or enable it by the dtype: `enabled=dtype == torch.float16`",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Disable the scaler."""
        made = repair.node("scaler")
        if not isinstance(made, ast.Call) or any(item.arg in (None, "enabled") for item in made.keywords):
            return None
        return repair.edits.unsafe("Disable the scaler", repair.edits.add_argument(made, "enabled=False"))


class ScalerInsideFramework(FaultRule):
    """An own training protocol is run on objects that a framework has taken over.

    ## What it does
    Finds a gradient scaler, a plain `loss.backward()` or a plain `optimizer.step()` on models and optimizers
    that Accelerate, Fabric, DeepSpeed or a Trainer has prepared.

    ## Why is this bad?
    The framework has a scaler of its own inside the optimizer that it returns. A second one, or a backward
    pass that goes past it, leaves it without the scale: it raises `No inf checks were recorded for this
    optimizer`, or steps on gradients of the wrong size.

    ## Example
    ```python
    model, optimizer = accelerator.prepare(model, optimizer)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    ```

    ## Use instead
    ```python
    model, optimizer = accelerator.prepare(model, optimizer)
    accelerator.backward(loss)
    optimizer.step()
    ```

    ## Fix safety
    The fix is unsafe: it lets the framework run the backward pass and steps the optimizer that it returned.
    It is offered where nothing reads the gradients in between.

    ## Beyond the checklist
    The checklist describes the protocol by hand; who lets a framework do it must not do it again.

    ## References
    - [Accelerate: migrating](https://huggingface.co/docs/accelerate/basic_tutorials/migration)
    """

    code = "QA1127"
    severity = Severity.HIGH
    needles = ((b".backward", b"GradScaler"),)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "gpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """By variant: scaler, backward, trainer."""
        framework = fault.name("framework") or "a framework"
        if fault.variant == "trainer":
            return (
                f"this backward goes past the loss scaling of {framework}, which steps the optimizer",
                "call `self.accelerator.backward(loss)`",
            )
        if fault.variant == "backward":
            return (
                f"{framework} has taken `{fault.optimizer}` over: this backward goes past its loss scaling",
                "let the framework run the backward pass",
            )
        return (
            f"`{fault.scaler}` is a second scaler: {framework} has taken `{fault.optimizer}` over",
            "remove it, and let the framework run the backward pass",
        )

    @staticmethod
    def accelerated(repair: Repair) -> Fix | None:
        """The backward of a Trainer's subclass by the Trainer's Accelerator."""
        call = repair.node("backward")
        loss = receiver(call)
        function = repair.function(call)
        if call is None or loss is None or not isinstance(function, ast.FunctionDef):
            return None
        if isinstance(loss, ast.Call) and len(loss.args) == 1 and getattr(loss.func, "attr", "") == "scale":
            loss = loss.args[0]
        own = function.args.args[0].arg
        text = f"{own}.accelerator.backward({repair.edits.segment(loss)})"
        return repair.edits.unsafe("Let the framework run it", repair.edits.replace(call, text))

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """The framework's own backward pass, and a plain step."""
        if fault.variant == "trainer":
            return self.accelerated(repair)
        framework = receiver(repair.node("framework"))
        if framework is None:
            return None
        edits, owner = repair.edits, repair.edits.segment(framework)
        if fault.variant == "backward":
            call = repair.node("backward")
            loss = receiver(call)
            if call is None or loss is None:
                return None
            text = f"{owner}.backward({edits.segment(loss)})"
            return edits.unsafe("Let the framework run it", edits.replace(call, text))
        step = fault.node
        statement = edits.statement(step)
        scaler = receiver(step)
        if statement is None or scaler is None or not isinstance(step, ast.Call) or len(step.args) != 1:
            return None
        name = edits.segment(scaler)
        holder = edits.function(statement) or repair.file.tree
        backward = scaled_backwards(repair, name, holder)
        if len(backward) != 1 or repair.calls("unscale_", name, holder):
            return None
        call, loss = backward[0]
        changes: list[Changes | None] = [
            edits.replace(call, f"{owner}.backward({edits.segment(loss)})"),
            edits.replace(step, f"{edits.segment(step.args[0])}.step()"),
        ]
        changes += [edits.remove(update) for update in repair.calls("update", name, holder)]
        return edits.unsafe("Let the framework scale the loss", *changes)


def scaled_backwards(repair: Repair, scaler: str, holder: ast.AST) -> list[tuple[ast.Call, ast.expr]]:
    """The calls `scaler.scale(loss).backward()` below a node, each with its loss."""
    found = []
    for node in ast.walk(holder):
        scaled = receiver(node)
        if not isinstance(node, ast.Call) or not isinstance(scaled, ast.Call) or len(scaled.args) != 1:
            continue
        method, inner = node.func, scaled.func
        named = isinstance(method, ast.Attribute) and method.attr == "backward"
        if named and isinstance(inner, ast.Attribute) and inner.attr == "scale":
            if repair.edits.segment(inner.value) == scaler:
                found.append((node, scaled.args[0]))
    return found
