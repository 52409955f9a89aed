"""QA1115, QA1116, QA1117: when gradients are cleared, and how they add up until then."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from qalint.analysis.machine.story import Fault
from qalint.rule import Confidence, Fix, Severity

from .faults import FaultRule, Repair, receiver


class MissingZeroGrad(FaultRule):
    """Gradients are never cleared between two steps.

    ## What it does
    Finds a step from which a path leads to the next backward pass of the same optimizer without
    `zero_grad`, `model.zero_grad()` or setting the gradients to None.

    ## Why is this bad?
    `backward` adds to what is there. Each step then uses the sum of all gradients since the beginning: the
    second step is twice too large, the hundredth a hundred times, in directions that no longer hold. A
    scaler with a large scale hides it, because what is left over was already divided by the scale.

    ## Example
    ```python
    for x in batches:
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
    ```

    ## Use instead
    ```python
    for x in batches:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
    ```

    ## Fix safety
    The fix is unsafe: it clears after the step, where gradient accumulation is not disturbed; code that
    reads the gradients after the step would find none.

    ## Beyond the checklist
    The checklist lists what an FP16 step must do; this is what every step must do.

    ## References
    - [Optimizer.zero_grad](https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.zero_grad.html)
    """

    code = "QA1115"
    severity = Severity.CRITICAL
    needles = ((b".backward",), (b"step",))
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def trust(self, fault: Fault, repair: Repair) -> Confidence:
        """Less where one number decides about the step and about a clearing before the backward pass.

        `if turn == 0: zero_grad()` and `if turn == n: step()` are two tests which may well agree.
        """
        edits = repair.edits
        step, backward = repair.statement("step"), repair.statement("backward")
        if step is not None and backward is not None:
            fed = list(edits.parents(backward))
            steps = own_tests(repair, step, fed)
            counted = {name for test in steps for name in names_in(repair, test)}
            for call in ast.walk(repair.file.tree):
                if (
                    isinstance(call, ast.Call)
                    and is_method(call, "zero_grad")
                    and call.lineno < backward.lineno
                ):
                    clear = edits.statement(call)
                    for test in own_tests(repair, clear, fed) if clear is not None else ():
                        alike = any(edits.segment(test) == edits.segment(other) for other in steps)
                        if not alike and counted & names_in(repair, test):
                            return Confidence.MEDIUM
        return super().trust(fault, repair)

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """Whose gradients add up."""
        return (
            f"the gradients of `{fault.optimizer}` are never cleared: this backward adds to used ones",
            f"call `{fault.names.get('optimizer') or 'optimizer'}.zero_grad()` in each iteration",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Clear after the step, and after the update that belongs to it."""
        edits = repair.edits
        step = repair.statement("step")
        optimizer = repair.name("optimizer", step) if step is not None else None
        if step is None or optimizer is None or repair.call_statement(step) is None:
            return None
        last = step
        call = receiver(repair.call_statement(step))
        owner = edits.segment(call) if call is not None else ""
        for following in edits.siblings_after(step):
            if following in repair.calls("update", owner, following):
                last = following
        return edits.unsafe(
            "Clear the gradients after the step", edits.insert_after(last, f"{optimizer}.zero_grad()")
        )


class ZeroGradBeforeStep(FaultRule):
    """All gradients are cleared between the backward pass and the step.

    ## What it does
    Finds `zero_grad` (of the optimizer or the model) between the backward pass that fills the gradients and
    the step that should use them; with gradient accumulation, also one in each micro-step.

    ## Why is this bad?
    With accumulation, only the last micro-step of each round counts; the others are computed for nothing.
    Otherwise the step finds nothing. A scaler raises `AssertionError: No inf checks were recorded for this
    optimizer`; without a scaler, or with `set_to_none=False`, nothing is raised and no parameter moves.

    ## Example
    ```python
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    ```

    ## Use instead
    ```python
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    ```

    ## Fix safety
    The fix is safe: it moves the clearing behind the step. It is offered where both stand in one block.

    ## Beyond the checklist
    The checklist lists what an FP16 step must do; this is what every step must do.

    ## References
    - [Optimizer.zero_grad](https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.zero_grad.html)
    """

    code = "QA1116"
    severity = Severity.CRITICAL
    needles = ((b".backward",), (b"step",))
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def speaks(self, fault: Fault) -> bool:
        """In rounds that end without a step only where rounds are counted.

        A step that is left out for a loss that is not finite is right to drop the gradients.
        """
        repair = Repair(fault)
        if fault.variant != "micro-step" and after_the_loop(repair):
            return False  # what is left of the last, incomplete round is dropped
        return fault.variant != "micro-step" or counts_rounds(repair)

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """What is cleared too early."""
        if fault.variant == "micro-step":
            return (
                f"`{fault.optimizer}` has its gradients cleared in each micro-step: only the last one counts",
                "clear them after the step, under its test",
            )
        return (
            f"the gradients are cleared before `{fault.optimizer}` has used them: its parameters never move",
            "clear them after the step, or before the backward pass",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Move the clearing behind the step and its update."""
        if fault.variant == "micro-step":
            return None
        edits = repair.edits
        clear, step = repair.statement("zero_grad"), repair.statement("step")
        if clear is None or step is None or not repair.same_suite(clear, step):
            return None
        if repair.call_statement(clear) is None:
            return None
        last = step
        call = receiver(repair.call_statement(step))
        owner = edits.segment(call) if call is not None else ""
        for following in edits.siblings_after(step):
            if following in repair.calls("update", owner, following):
                last = following
        return edits.safe("Clear after the step", edits.move_after(clear, last))


def is_method(call: ast.Call, name: str) -> bool:
    """Whether a call is one of a method of this name."""
    return isinstance(call.func, ast.Attribute) and call.func.attr == name


def own_tests(repair: Repair, node: ast.AST, fed: list[ast.AST]) -> list[ast.expr]:
    """The tests around a node that are not around the backward as well."""
    return [
        around.test
        for around in repair.edits.parents(node)
        if isinstance(around, ast.If) and around not in fed
    ]


def names_in(repair: Repair, test: ast.expr) -> set[str]:
    """The names and attributes that a test reads."""
    found = {
        repair.edits.segment(part) for part in ast.walk(test) if isinstance(part, (ast.Name, ast.Attribute))
    }
    return found - {"self"}


def after_the_loop(repair: Repair) -> bool:
    """Whether the clearing stands outside a loop of its function that holds the backward pass and step."""
    step, clear, backward = (repair.statement(role) for role in ("step", "zero_grad", "backward"))
    if step is None or clear is None or backward is None:
        return False
    around = [set(repair.edits.parents(one)) for one in (step, backward)]
    outside = set(repair.edits.parents(clear))
    both = around[0] & around[1] - outside
    return any(
        isinstance(one, ast.For | ast.While) and functions(repair.edits.parents(one)) == functions(outside)
        for one in both
    )


def functions(around: Iterable[ast.AST]) -> set[ast.AST]:
    """The functions among what something stands in."""
    return {one for one in around if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}


def counts_rounds(repair: Repair) -> bool:
    """Whether a test of a remainder decides about the step, and not about the clearing.

    `if (i + 1) % n == 0`, or of a name that was set to such a test.
    """
    step, clear, backward = (repair.statement(role) for role in ("step", "zero_grad", "backward"))
    if step is None or clear is None or backward is None:
        return False
    fed = list(repair.edits.parents(backward))
    if any(isinstance(around, ast.If) and around not in fed for around in repair.edits.parents(clear)):
        return False  # It has a test of its own, which may count rounds as well.
    holder = repair.edits.function(step) or repair.file.tree
    named = {
        target.id
        for node in ast.walk(holder)
        if isinstance(node, ast.Assign) and has_remainder(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    both = list(repair.edits.parents(clear))
    return any(
        isinstance(around, ast.If)
        and around not in both
        and (
            has_remainder(around.test)
            or any(isinstance(node, ast.Name) and node.id in named for node in ast.walk(around.test))
        )
        for around in repair.edits.parents(step)
    )


def has_remainder(node: ast.expr) -> bool:
    """Whether a `%` is in an expression."""
    return any(isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mod) for part in ast.walk(node))


class AccumulatedLossNotDivided(FaultRule):
    """Gradients are accumulated over several micro-batches whose losses are not divided.

    ## What it does
    Finds gradient accumulation (a step that is taken every N iterations only) in which the mean loss of each
    micro-batch is neither divided by N nor summed.

    ## Why is this bad?
    The gradient is N times that of one batch of the same samples: the learning rate is N times what it
    seems, and clipping to a norm cuts N times as hard. Adam hides most of it.

    ## Example
    ```python
    for i, x in enumerate(batches):
        loss = model(x).square().mean()
        scaler.scale(loss).backward()
        if (i + 1) % 4 == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    ```

    ## Use instead
    ```python
    for i, x in enumerate(batches):
        loss = model(x).square().mean() / 4
        scaler.scale(loss).backward()
        if (i + 1) % 4 == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    ```

    ## Fix safety
    The fix is unsafe: it changes the size of the gradients, and the learning rate may have been chosen for
    what they were.

    ## Beyond the checklist
    The checklist asks for effective batch sizes to be explained; this asks whether they are what they seem.

    ## References
    - [Gradient accumulation](https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-accumulation)
    """

    code = "QA1117"
    severity = Severity.LOW
    needles = ((b".backward",), (b"step",))
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def speaks(self, fault: Fault) -> bool:
        """Not where the function divides by the number of micro-steps under a test of its own.

        `if n > 1: loss = loss / n` is right, though a path on which `n` is 1 accumulates too as
        far as anyone can see.
        """
        repair = Repair(fault)
        count = self.count(repair)
        holder = repair.edits.function(fault.node) or fault.file.tree
        return not any(
            isinstance(node, (ast.BinOp, ast.AugAssign))
            and isinstance(node.op, (ast.Div, ast.FloorDiv))
            and count
            and repair.edits.segment(node.right if isinstance(node, ast.BinOp) else node.value) == count
            for node in ast.walk(holder)
        )

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """By how much the gradients are too large."""
        steps = self.count(repair)
        loss = fault.name("loss") or "the loss"
        return (
            f"`{loss}` is accumulated and not divided: the gradients are as many times too large",
            f"divide it by `{steps}`" if steps else "divide it by the number of micro-batches",
        )

    @staticmethod
    def count(repair: Repair) -> str:
        """N, as the test of the step spells it: `(i + 1) % N == 0`."""
        step = repair.statement("step")
        around = list(repair.edits.parents(step)) if step is not None else []
        # A counter that moves by more than one does not count rounds.
        strides = {
            node.target.id
            for node in around
            if isinstance(node, ast.For)
            and isinstance(node.target, ast.Name)
            and isinstance(node.iter, ast.Call)
            and isinstance(node.iter.func, ast.Name)
            and node.iter.func.id == "range"
            and len(node.iter.args) > 2
        }
        for holder in around:
            if isinstance(holder, ast.If):
                for node in ast.walk(holder.test):
                    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
                        counted = {name.id for name in ast.walk(node.left) if isinstance(name, ast.Name)}
                        return "" if counted & strides else repair.edits.segment(node.right)
        return ""

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Divide the loss where it is scaled or called backward on."""
        edits = repair.edits
        count = self.count(repair)
        node = repair.node("backward") or fault.node
        loss = receiver(node)
        if (
            not count
            or loss is None
            or not all(part.isidentifier() or part.isdigit() for part in count.split("."))
        ):
            return None
        if not count.isdigit() and not repair.visible(count.partition(".")[0], fault.node):
            return None
        if isinstance(loss, ast.Call) and isinstance(loss.func, ast.Attribute) and len(loss.args) == 1:
            loss = loss.args[0] if loss.func.attr == "scale" else loss
        text = edits.segment(loss)
        simple = text.replace(".", "").replace("_", "").isalnum()
        new = f"{text} / {count}" if simple else f"({text}) / {count}"
        if receiver(node) is loss:
            new = f"({new})"
        return edits.unsafe(f"Divide by {count}", edits.replace(loss, new))
