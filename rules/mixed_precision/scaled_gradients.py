"""QA1104, QA1105, QA1113: what happens to gradients between the backward pass and the step."""

from __future__ import annotations

import ast

from qalint.analysis.edits import Changes
from qalint.analysis.machine.story import Fault
from qalint.rule import Fix, Severity

from .faults import FaultRule, Repair, receiver


class UnscaledBackward(FaultRule):
    """A scaler steps on gradients of a loss that it did not scale.

    ## What it does
    Finds a `backward()` on a loss that did not pass `scaler.scale`, where the scaler's `unscale_` or
    `step` follows; a call of `scaler.scale(loss)` whose result is thrown away; a sum of losses of
    which only some are scaled; and a loss that another scaler scaled.

    ## Why is this bad?
    The scaler divides the gradients by its scale, 65536 at first. If no loss was ever scaled it
    raises `AssertionError: Attempted step but _scale is None`; if one was, the gradients of the others come
    out 65536 times too small, and nothing is raised. `scale` returns a new tensor, it does not change
    the one that it gets.

    ## Example
    ```python
    scaler.scale(loss)
    loss.backward()
    scaler.step(optimizer)
    scaler.update()
    ```

    ## Use instead
    ```python
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    ```

    ## Fix safety
    The fix is safe: it scales the loss on which `backward` is called.

    ## References
    - [Typical mixed precision training](https://docs.pytorch.org/docs/stable/notes/amp_examples.html#typical-mixed-precision-training)
    """

    code = "QA1104"
    severity = Severity.CRITICAL
    needles = ((b".backward",), (b"scale", b"GradScaler"), (b"step",))
    checklist = ("11.05",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """By variant: plain, discarded, mixed, other."""
        loss = fault.name("loss") or repair_loss(repair) or "loss"
        if fault.variant == "discarded":
            return (
                f"the scaled loss that `{fault.scaler}.scale` returns is thrown away",
                f"call `backward` on it: `{fault.scaler}.scale({loss}).backward()`",
            )
        if fault.variant == "mixed":
            return (
                f"only a part of this loss is scaled by `{fault.scaler}`, which unscales all its gradients",
                "scale the sum",
            )
        if fault.variant == "other":
            other = fault.names.get("other")
            by = f"`{other}`" if other else "another scaler"
            return (
                f"the loss is scaled by {by} here, and `{fault.scaler}` later divides its gradients by its "
                "own scale",
                "scale, step and update with one scaler",
            )
        return (
            f"the loss is not scaled here, and `{fault.scaler}` later divides its gradients by the scale",
            f"write `{fault.scaler}.scale({loss}).backward()`",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Scale what `backward` is called on."""
        edits = repair.edits
        backward = repair.node("backward")
        loss = backward if isinstance(backward, ast.BinOp) else receiver(backward)
        if loss is None or backward is None or fault.variant == "other":
            return None  # which of the two scalers is meant, the text does not say
        if fault.variant == "mixed":
            return edits.safe("Scale the sum", self.scale_sum(repair, loss))
        scaler = repair.name("scaler", backward)
        if scaler is None:
            return None
        changes = edits.replace(loss, f"{scaler}.scale({edits.segment(loss)})")
        if fault.variant == "discarded":
            statement = repair.statement("scale")
            if statement is None or not repair.same_suite(statement, repair.statement("backward")):
                return None
            return edits.safe("Call `backward` on the scaled loss", changes, edits.remove(statement))
        return edits.safe("Scale the loss", changes)

    @staticmethod
    def scale_sum(repair: Repair, loss: ast.expr) -> Changes | None:
        """`scaler.scale(a) + b` becomes `scaler.scale(a + b)`."""
        if not (isinstance(loss, ast.BinOp) and isinstance(loss.op, ast.Add)):
            return None
        text = repair.edits.segment
        for part, other, first in ((loss.left, loss.right, True), (loss.right, loss.left, False)):
            func = part.func if isinstance(part, ast.Call) else None
            if not isinstance(part, ast.Call) or len(part.args) != 1:
                continue
            if isinstance(func, ast.Attribute) and func.attr == "scale":
                if any(isinstance(node, ast.Attribute) and node.attr == "scale" for node in ast.walk(other)):
                    return None
                terms = (text(part.args[0]), text(other)) if first else (text(other), text(part.args[0]))
                return repair.edits.replace(loss, f"{text(func)}({' + '.join(terms)})")
        return None


class ClipBeforeUnscale(FaultRule):
    """Gradients are clipped while they still carry the loss scale.

    ## What it does
    Finds `clip_grad_norm_`, `clip_grad_value_`, a clamp or another non-linear change of `.grad` between
    `scaler.scale(loss).backward()` and `scaler.unscale_(optimizer)` (or with no `unscale_` at all), where
    `scaler.step` of an optimizer that owns these parameters follows.

    ## Why is this bad?
    The gradients are 65536 times too large when they are clipped to `max_norm`, and are divided by
    65536 afterwards. What reaches the step is thousands of times too small, and clipping by value
    even turns its direction. Nothing is raised, and Adam, which divides each gradient by its own
    size, hides it: the loss goes down, only worse than it should.

    ## Example
    ```python
    scaler.scale(loss).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
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
    The fix is safe: it inserts `unscale_` before the clip, or moves the one that comes too late. It
    is offered only where the clip and the step are taken under the same conditions, so that
    `unscale_` is never called twice in one step. Correct runs stay as they are: only linear changes
    of the gradients are the same before and after it.

    ## References
    - [Working with unscaled gradients](https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-clipping)
    """

    code = "QA1105"
    severity = Severity.CRITICAL
    needles = ((b".backward",), (b"scale", b"GradScaler"), (b"step",))
    checklist = ("11.06", "11.07", "11.16")
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """By variant: norm, value, clamp, edit."""
        act = "clipped" if fault.variant in ("norm", "value", "clamp") else "changed"
        owner = f" of `{fault.names['optimizer']}`" if fault.names.get("optimizer") else ""
        call = f"`{fault.scaler}.unscale_({fault.names.get('optimizer') or 'optimizer'})`"
        if fault.data.get("unscale") is not None:
            return f"the gradients{owner} are {act} before they are unscaled", f"move {call} before it"
        return f"the gradients{owner} are {act} while they still carry the loss scale", f"call {call} first"

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Move the later `unscale_`, or insert one."""
        clip, step = repair.statement("clip"), repair.statement("step")
        if clip is None:
            return None
        first = repair.outermost_loop_over_parameters(clip)
        if fault.data.get("unscale") is not None:
            unscale = repair.statement("unscale")
            if unscale is None or repair.call_statement(unscale) is None:
                return None
            around = repair.in_block_of(first, unscale)
            if around is None:
                return None
            return repair.edits.safe(
                "Move `unscale_` before the clip", repair.edits.move_before(unscale, around)
            )
        if step is None or repair.function(clip) is not repair.function(step):
            return None
        return repair.edits.safe("Insert `unscale_`", repair.unscale_before(first, step))


class ClipBeyondOptimizer(FaultRule):
    """More parameters are clipped than the scaler unscales.

    ## What it does
    Finds a clip over parameters of which some are not in the optimizer that `scaler.unscale_` was
    called with, and require a gradient.

    ## Why is this bad?
    `unscale_` divides the gradients of its optimizer only. The gradients of all other parameters stay
    65536 times too large (or infinite in FP16) and make up the whole norm, so that clipping to that
    norm brings the trained gradients to zero. The loss stays flat, and nothing is raised.

    ## Example
    ```python
    optimizer = torch.optim.AdamW(head.parameters())
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    ```

    ## Use instead
    ```python
    optimizer = torch.optim.AdamW(head.parameters())
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
    scaler.step(optimizer)
    ```

    ## Fix safety
    The fix is safe: it clips what the optimizer owns.

    ## References
    - [Working with unscaled gradients](https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-clipping)
    """

    code = "QA1113"
    severity = Severity.HIGH
    needles = ((b".backward",), (b"clip",), (b"scale", b"GradScaler"))
    checklist = ("11.13",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """What is clipped beyond the optimizer."""
        return (
            f"more is clipped here than `{fault.optimizer}` owns: what it does not own was never unscaled",
            f"clip the parameters of `{fault.optimizer}`, or freeze the others",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Give the clip the optimizer's own parameters."""
        clip = repair.node("clip")
        if not isinstance(clip, ast.Call) or not clip.args:
            return None
        made = repair.node("optimizer")
        text: str | None = None
        if isinstance(made, ast.Call) and made.args and repair.function(made) is repair.function(clip):
            first = made.args[0]
            call = isinstance(first, ast.Call) and isinstance(first.func, ast.Attribute)
            if call and first.func.attr == "parameters":  # type: ignore[attr-defined]
                text = repair.edits.segment(first)
        if text is None:
            optimizer = repair.name("optimizer", clip)
            if optimizer is None:
                return None
            text = f'[p for group in {optimizer}.param_groups for p in group["params"]]'
        return repair.edits.safe(
            "Clip what the optimizer owns", repair.edits.replace_argument(clip.args[0], text)
        )


def repair_loss(repair: Repair) -> str:
    """The text of the loss on which `backward` is called."""
    loss = receiver(repair.node("backward"))
    return repair.edits.segment(loss) if loss is not None else ""
