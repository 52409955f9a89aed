"""QA1107 to QA1111, QA1126: the order of the scaler's own calls."""

from __future__ import annotations

import ast

from qalint.analysis.edits import Changes
from qalint.analysis.machine.story import Fault
from qalint.rule import Confidence, Fix, Severity

from .faults import FaultRule, Repair, receiver


class OptimizerStepBypassesScaler(FaultRule):
    """An optimizer whose loss was scaled is stepped without the scaler.

    ## What it does
    Finds `optimizer.step()` where `scaler.scale(loss).backward()` filled its gradients, before or after
    `unscale_`; and an optimizer that is stepped twice for one backward pass, once by the scaler and
    once directly.

    ## Why is this bad?
    Before `unscale_` the step uses gradients that are 65536 times too large. After it the size is right,
    but only `scaler.step` skips the step when a gradient is infinite, which is what FP16 training
    does in its first iterations: one infinite gradient makes every parameter NaN. A second
    step applies the same gradients again.

    ## Example
    ```python
    scaler.scale(loss).backward()
    optimizer.step()
    scaler.update()
    ```

    ## Use instead
    ```python
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    ```

    ## Fix safety
    The fix is safe: it steps through the scaler, and adds the `update` that belongs to it where there is
    none; or it removes the second of two steps that stand in one block.

    ## References
    - [Typical mixed precision training](https://docs.pytorch.org/docs/stable/notes/amp_examples.html#typical-mixed-precision-training)
    """

    code = "QA1107"
    severity = Severity.CRITICAL
    needles = ((b".backward",), (b"scale", b"GradScaler"), (b"step",))
    checklist = ("11.08",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """By variant: scaled, unscaled, twice."""
        optimizer, scaler = fault.optimizer, fault.scaler
        if fault.variant == "twice":
            return (
                f"`{optimizer}` has already been stepped by `{scaler}`: the same gradients are applied twice",
                "keep one of the two steps",
            )
        call = f"`{scaler}.step({fault.names.get('optimizer') or 'optimizer'})`"
        if fault.variant == "unscaled":
            return (
                f"`{optimizer}` is stepped past `{scaler}`: an infinite gradient is not skipped",
                f"call {call}",
            )
        return f"`{optimizer}` is stepped on gradients that `{scaler}` has scaled", f"call {call}"

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Step through the scaler; or drop the second step."""
        step = repair.node("step")
        statement = repair.statement("step")
        owner = receiver(step)
        if step is None or statement is None or owner is None:
            return None
        if fault.variant == "twice":
            if not repair.same_suite(statement, repair.statement("before")):
                return None
            return repair.edits.safe("Remove the second step", repair.edits.remove(statement))
        scaler = repair.name("scaler", step)
        if scaler is None or not isinstance(step, ast.Call) or step.args or step.keywords:
            return None
        changes: Changes | None = repair.edits.replace(step, f"{scaler}.step({repair.edits.segment(owner)})")
        holder = repair.function(step) or repair.file.tree
        if not repair.calls("update", scaler, holder):
            added = repair.edits.insert_after(statement, f"{scaler}.update()")
            return repair.edits.safe("Step through the scaler, then update it", changes, added)
        return repair.edits.safe("Step through the scaler", changes)


class MissingScalerUpdate(FaultRule):
    """A path leads back to the scaler without `update`.

    ## What it does
    Finds a path from `scaler.step` (or `unscale_`) to the next `scale`, `unscale_` or `step` on which
    `scaler.update()` is not called: it is missing, stands under a test of its own, or is jumped over
    by a `continue`.

    ## Why is this bad?
    The second iteration raises `RuntimeError: step() has already been called since the last update()` or
    `unscale_() has already been called on this optimizer`. A run of a single iteration passes, and a
    `continue` for batches that are not finite passes until the first such batch comes.

    ## Example
    ```python
    for x in batches:
        optimizer.zero_grad()
        scaler.scale(model(x).sum()).backward()
        scaler.step(optimizer)
    ```

    ## Use instead
    ```python
    for x in batches:
        optimizer.zero_grad()
        scaler.scale(model(x).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    ```

    ## Fix safety
    The fix is safe: it inserts `update` after the last step of the cycle, or before the `continue`.

    ## References
    - [GradScaler.update](https://docs.pytorch.org/docs/stable/amp.html#torch.amp.GradScaler.update)
    """

    code = "QA1108"
    severity = Severity.CRITICAL
    needles = ((b".backward", b"unscale_"), (b"step", b"unscale_"), (b"scale", b"GradScaler"))
    checklist = ("11.09",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def trust(self, fault: Fault, repair: Repair) -> Confidence:
        """Less where the caller decides by an argument whether this call updates.

        `if last_of_several_optimizers: scaler.update()` is right; whether the caller passes the truth
        cannot be seen from here.
        """
        step = repair.statement("step")
        holder = repair.edits.function(step) if step is not None else None
        scaler = receiver(repair.call_statement(step)) if step is not None else None
        if holder is None or scaler is None:
            return fault.confidence
        given = {item.arg for item in [*holder.args.args, *holder.args.kwonlyargs]} - {"self"}
        for update in repair.calls("update", repair.edits.segment(scaler), holder):
            call = repair.call_statement(update)
            if call is not None and call.args:
                continue  # A new scale that is set ends no round.
            for around in repair.edits.parents(update):
                if isinstance(around, ast.If) and update.lineno > (step.lineno if step is not None else 0):
                    tested = {node.id for node in ast.walk(around.test) if isinstance(node, ast.Name)}
                    # With the loop's counter in it, the test is about rounds, not about the caller.
                    if tested and tested <= given and not any(item is step for item in ast.walk(around)):
                        return Confidence.MEDIUM
        return fault.confidence

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """By variant: step, unscale, continue."""
        update = f"`{fault.scaler}.update()`"
        if fault.variant == "continue":
            return (
                f"this iteration can end after `unscale_` without {update}: the next one raises",
                f"call {update} before leaving the iteration",
            )
        if isinstance(fault.node, ast.Call) and "unscale_" in ast.dump(fault.node.func):
            return (
                f"a path leads from this `unscale_` to the next one without {update}: it raises",
                f"call {update} on every path after `unscale_`, whether the step is taken or not",
            )
        return (
            f"no {update} follows this step on the way to the next one: the second iteration raises",
            f"call {update} after the step",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Insert `update`, or move the one that stands under a test of its own."""
        edits = repair.edits
        if fault.variant == "continue":
            left = repair.statement("continue")
            scaler = repair.name("scaler", left) if left is not None else None
            if left is None or scaler is None or not isinstance(left, (ast.Continue, ast.Return)):
                return None
            return edits.safe("Update before leaving", edits.insert_before(left, f"{scaler}.update()"))
        step = repair.statement("step")
        scaler = repair.name("scaler", step) if step is not None else None
        if step is None or scaler is None or repair.call_statement(step) is None:
            return None
        last = step
        for following in edits.siblings_after(step):
            if following in repair.calls("step", scaler, following):
                last = following
        others = repair.calls("update", scaler, repair.file.tree)
        inserted = edits.insert_after(last, f"{scaler}.update()")
        if not others:
            return edits.safe("Insert `update`", inserted)
        if len(others) == 1:
            return edits.safe("Update after each step", inserted, edits.remove(others[0]))
        return None


class ScalerCallOrder(FaultRule):
    """The calls of a scaler come in the wrong order.

    ## What it does
    Finds `update` before `step` or with no step at all, `unscale_` before the backward pass that fills
    the gradients, and `unscale_` after `step`.

    ## Why is this bad?
    `update` forgets which gradients were unscaled and whether one was infinite, so that the `step` after it
    raises, or unscales a second time and steps with gradients 65536 times too small. `unscale_` before
    the backward pass finds nothing to unscale; after the step it raises.

    ## Example
    ```python
    scaler.scale(loss).backward()
    scaler.update()
    scaler.step(optimizer)
    ```

    ## Use instead
    ```python
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    ```

    ## Fix safety
    The fix is safe where it swaps two statements that stand next to each other, and unsafe where others
    stand between them.

    ## References
    - [Typical mixed precision training](https://docs.pytorch.org/docs/stable/notes/amp_examples.html#typical-mixed-precision-training)
    """

    code = "QA1109"
    severity = Severity.CRITICAL
    needles = ((b".backward", b"unscale_"), (b"step", b"unscale_", b"update"), (b"scale", b"GradScaler"))
    checklist = ("11.09",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """By variant: update-before-step, unscale-before-backward, unscale-after-step."""
        scaler, optimizer = fault.scaler, fault.optimizer
        if fault.variant == "update-before-step":
            return f"`{scaler}` is updated before `{optimizer}` is stepped", "update after the step"
        if fault.variant == "update-without-step":
            return (
                f"`{scaler}` is updated and `{optimizer}` was not stepped: `No inf checks were recorded`",
                f"call `{scaler}.step({fault.names.get('optimizer') or 'optimizer'})` before it",
            )
        if fault.variant == "unscale-before-backward":
            return (
                f"the gradients of `{optimizer}` are unscaled before the backward pass has filled them",
                "unscale after the backward pass",
            )
        return (
            f"`{optimizer}` has already been stepped: unscaling its gradients now raises",
            "unscale before the step",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Move the early or late call."""
        edits = repair.edits
        if fault.variant == "update-without-step":
            return None
        if fault.variant == "update-before-step":
            moved, target, after = repair.statement("update"), repair.statement("step"), True
        elif fault.variant == "unscale-before-backward":
            moved, target, after = repair.statement("unscale"), repair.statement("backward"), True
        else:
            moved, target, after = repair.statement("unscale"), repair.statement("step"), False
        if moved is None or target is None or not repair.same_suite(moved, target):
            return None
        if repair.call_statement(moved) is None:
            return None
        changes = edits.move_after(moved, target) if after else edits.move_before(moved, target)
        one, other = edits.seat(moved), edits.seat(target)
        near = one is not None and other is not None and abs(one.position - other.position) == 1
        return edits.safe("Swap them", changes) if near else edits.unsafe("Move the call", changes)


class UnscaleEveryMicroStep(FaultRule):
    """Gradients are unscaled more than once before they are used.

    ## What it does
    Finds `scaler.unscale_(optimizer)` called again for the same optimizer with no `update` in between: in
    each micro-step of gradient accumulation, or twice in one step.

    ## Why is this bad?
    The second call raises `RuntimeError: unscale_() has already been called on this optimizer since the last
    update()`. It has to: what was added in between is scaled, what was there before no longer is.

    ## Example
    ```python
    for i, x in enumerate(batches):
        scaler.scale(model(x).sum() / 4).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if (i + 1) % 4 == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    ```

    ## Use instead
    ```python
    for i, x in enumerate(batches):
        scaler.scale(model(x).sum() / 4).backward()
        if (i + 1) % 4 == 0:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    ```

    ## Fix safety
    The fix is safe: it moves `unscale_` and the clip under the test that guards the step, or removes the
    second of two calls that stand in one block.

    ## References
    - [Gradient accumulation](https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-accumulation)
    """

    code = "QA1110"
    severity = Severity.CRITICAL
    needles = ((b"unscale_",),)
    checklist = ("11.06",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """By variant: micro-step, twice."""
        if fault.variant == "twice":
            return (
                f"the gradients of `{fault.optimizer}` have been unscaled already: this call raises",
                "unscale once",
            )
        return (
            f"the gradients of `{fault.optimizer}` are unscaled in every micro-step: the second one raises",
            "unscale and clip only when the accumulated gradients are stepped",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Move `unscale_` and the clip under the guard of the step."""
        edits = repair.edits
        unscale = repair.statement("unscale")
        if unscale is None or repair.call_statement(unscale) is None:
            return None
        if fault.variant == "twice":
            if not repair.same_suite(unscale, repair.statement("before")):
                return None
            return edits.safe("Remove the second call", edits.remove(unscale))
        scaler = repair.name("scaler", unscale)
        if scaler is None:
            return None
        moved = [unscale]
        for following in edits.siblings_after(unscale):
            if isinstance(following, ast.If) and repair.calls("step", scaler, following):
                inside = repair.calls("step", scaler, following)[0]
                if repair.same_suite(inside, following.body[0]):
                    return edits.safe(
                        "Unscale only before the step",
                        edits.move_many(moved, following.body[0], after=False),
                    )
                return None
            if "clip_grad" not in ast.dump(following):
                return None
            moved.append(following)
        return None


class UpdateBetweenOptimizers(FaultRule):
    """The scaler is updated between the steps of two optimizers that share a backward pass.

    ## What it does
    Finds `scaler.update()` between `scaler.step(a)` and `scaler.step(b)` where one scaled backward pass has
    filled the gradients of both.

    ## Why is this bad?
    `update` forgets that `b` has been unscaled, and the step unscales it again: `b` then moves by a
    65536th part, and nothing is raised. Without `unscale_`, `b` is unscaled by a scale that may have
    changed in between.

    ## Example
    ```python
    scaler.scale(loss).backward()
    scaler.step(optimizer_a)
    scaler.update()
    scaler.step(optimizer_b)
    scaler.update()
    ```

    ## Use instead
    ```python
    scaler.scale(loss).backward()
    scaler.step(optimizer_a)
    scaler.step(optimizer_b)
    scaler.update()
    ```

    ## Fix safety
    The fix is safe: it removes the update that comes too early where another follows the last step, else
    moves it there.

    ## References
    - [Working with multiple models, losses, and optimizers](https://docs.pytorch.org/docs/stable/notes/amp_examples.html#working-with-multiple-models-losses-and-optimizers)
    """

    code = "QA1111"
    severity = Severity.HIGH
    needles = ((b".backward",), (b"scale", b"GradScaler"), (b"update",))
    checklist = ("11.09",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """Which optimizer is stepped too late."""
        first = fault.name("other") or "the first optimizer"
        return (
            f"`{fault.scaler}` is updated between `{first}` and `{fault.optimizer}`, which share a backward",
            "update once, after the last step",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Remove the early update, or move it behind the last step."""
        edits = repair.edits
        update, step = repair.statement("update"), repair.statement("step")
        if update is None or step is None or not repair.same_suite(update, step):
            return None
        if update.lineno >= step.lineno:
            return None  # the two steps come from two calls of one helper
        scaler = receiver(repair.call_statement(update))
        if scaler is None:
            return None
        following = edits.siblings_after(step)
        again = [item for item in following if item in repair.calls("update", edits.segment(scaler), item)]
        if again:
            return edits.safe("Remove the early update", edits.remove(update))
        return edits.safe("Update after the last step", edits.move_after(update, step))


class ScalerStepClosure(FaultRule):
    """A closure is handed to `scaler.step`.

    ## What it does
    Finds `scaler.step(optimizer, closure)` and `scaler.step(optimizer, closure=...)`.

    ## Why is this bad?
    By keyword it raises `RuntimeError: Closure use is not currently supported if GradScaler is enabled.` By
    position nothing is raised: the optimizer calls the closure, which computes new gradients that are
    scaled and that nobody unscales, and steps on those.

    ## Example
    ```python
    scaler.step(optimizer, closure)
    ```

    ## Use instead
    ```python
    closure()
    scaler.step(optimizer)
    ```

    ## References
    - [GradScaler.step](https://docs.pytorch.org/docs/stable/amp.html#torch.amp.GradScaler.step)
    """

    code = "QA1126"
    severity = Severity.HIGH
    needles = ((b".backward", b"GradScaler"), (b"scale", b"GradScaler"), (b"step",))
    checklist = ("11.08",)
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """By variant: keyword, positional."""
        if fault.variant == "keyword":
            return (
                f"`{fault.scaler}.step` refuses a closure and raises RuntimeError",
                "compute the gradients before the step; what needs a closure cannot use a scaler",
            )
        return (
            f"`{fault.optimizer}` calls this closure inside the step: its gradients are never unscaled",
            "compute the gradients before the step; what needs a closure cannot use a scaler",
        )
