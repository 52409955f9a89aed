"""QA1112, QA1114, QA1129: how long scalers and iterators live."""

from __future__ import annotations

import ast

from qalint.analysis.edits import Changes
from qalint.analysis.machine.scope import keeps_iterators
from qalint.analysis.machine.story import Fault
from qalint.rule import Fix, Severity

from .faults import FaultRule, Repair, receiver


class ScalerCreatedInLoop(FaultRule):
    """A gradient scaler is made anew in each iteration or epoch.

    ## What it does
    Finds `GradScaler()` inside the loop over batches or epochs of the training that it serves. A new
    scaler for a new model (a fold, a seed) is right, and is left alone.

    ## Why is this bad?
    The scaler finds the right scale by trial: it halves it after an overflow and doubles it after 2000
    good steps. A new one in each iteration starts from 65536 again; where that overflows, every step
    is skipped and the parameters never change, silently. A new one in each epoch repeats the skipped
    steps of the beginning.

    ## Example
    ```python
    for x in batches:
        scaler = torch.amp.GradScaler("cuda")
        optimizer.zero_grad()
        scaler.scale(model(x).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    ```

    ## Use instead
    ```python
    scaler = torch.amp.GradScaler("cuda")
    for x in batches:
        optimizer.zero_grad()
        scaler.scale(model(x).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    ```

    ## Fix safety
    The fix is safe: it moves the construction before the loop. It is offered where its arguments do not
    depend on the loop.

    ## Beyond the checklist
    The checklist asks that a scaler exists; this rule asks that it lives long enough to work.

    ## References
    - [GradScaler](https://docs.pytorch.org/docs/stable/amp.html#gradient-scaling)
    """

    code = "QA1112"
    severity = Severity.CRITICAL
    needles = ((b"GradScaler",), (b"step",))
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def weigh(self, fault: Fault) -> Severity:
        """An epoch loop is less bad than a batch loop."""
        return Severity.HIGH if fault.variant == "epoch" else Severity.CRITICAL

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """By variant: batch, epoch."""
        when = "epoch" if fault.variant == "epoch" else "iteration"
        return (
            f"a new scaler in each {when} forgets the scale that `{fault.optimizer}` needs",
            "make one scaler before the loop",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Hoist the construction."""
        edits = repair.edits
        made, loop = repair.statement("scaler"), repair.node("loop")
        if not isinstance(made, ast.Assign) or not isinstance(loop, (ast.For, ast.While, ast.AsyncFor)):
            return None
        if not repair.same_suite(made, loop.body[0]):
            return None
        bound = {
            node.id
            for node in ast.walk(loop)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        targets = {
            node.id
            for node in ast.walk(made)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        reads = {node.id for node in ast.walk(made.value) if isinstance(node, ast.Name)}
        if reads & bound or (targets and self.rebound(loop, made, targets)):
            return None
        return edits.safe("Make it before the loop", edits.move_before(made, loop))

    @staticmethod
    def rebound(loop: ast.stmt, made: ast.stmt, targets: set[str]) -> bool:
        """Whether the loop binds the scaler's name a second time."""
        return any(
            isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)) and node.id in targets
            for statement in ast.walk(loop)
            if isinstance(statement, ast.stmt) and statement is not made
            for node in ast.iter_child_nodes(statement)
        )


class ExhaustedParameterIterator(FaultRule):
    """An iterator over parameters is used a second time, when it is empty.

    ## What it does
    Finds one generator, `filter`, `map` or `model.parameters()` object that is consumed twice: counted and
    then handed to the optimizer, handed to the optimizer and then clipped, or clipped in each iteration.

    ## Why is this bad?
    An iterator can be walked once. The optimizer raises `ValueError: optimizer got an empty parameter list`;
    a clip of nothing only warns, and the gradients stay unclipped for the rest of the run.

    ## Example
    ```python
    trainable = filter(lambda p: p.requires_grad, model.parameters())
    print(sum(p.numel() for p in trainable))
    optimizer = torch.optim.AdamW(trainable)
    ```

    ## Use instead
    ```python
    trainable = list(filter(lambda p: p.requires_grad, model.parameters()))
    print(sum(p.numel() for p in trainable))
    optimizer = torch.optim.AdamW(trainable)
    ```

    ## Fix safety
    The fix is safe: it keeps the parameters in a list.

    ## References
    - [Iterators](https://docs.python.org/3/glossary.html#term-iterator)
    """

    code = "QA1114"
    severity = Severity.CRITICAL
    needles = ((b"clip_grad", b"optim.", b"optimizer", b"Adam", b"SGD"), (b"parameters",))
    gate = staticmethod(keeps_iterators)
    checklist = ("11.13", "12.06")
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def speaks(self, fault: Fault) -> bool:
        """Only where parameters are trained: elsewhere an empty iterator is somebody else's business."""
        text = fault.file.source.text
        return any(word in text for word in ("optim.", "optimizer", "Adam", "SGD", "clip_grad"))

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """Which iterator is empty."""
        name = f"`{fault.names['parameters']}`" if fault.names.get("parameters") else "this iterator"
        return f"{name} has been used up already and is empty here", "keep the parameters in a `list`"

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """`list(...)` around what makes the iterator."""
        made = repair.node("made")
        if not isinstance(made, ast.expr):
            return None
        edits = repair.edits
        if isinstance(made, ast.GeneratorExp):
            return edits.safe("Keep a list", edits.replace(made, f"list{edits.segment(made)}"))
        return edits.safe("Keep a list", edits.wrap(made, "list(", ")"))


class ScalerNotCheckpointed(FaultRule):
    """A checkpoint has the optimizer's state and not the scaler's.

    ## What it does
    Finds a program that saves and restores the state of an optimizer, trains it with a scaler, and never
    saves the scaler's state.

    ## Why is this bad?
    A resumed run starts with a scale of 65536 again: its first steps overflow and are skipped, and the
    growth of the scale begins from zero. It is not the run that was interrupted.

    ## Example
    ```python
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    ```

    ## Use instead
    ```python
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**state, "scaler": scaler.state_dict()}, path)
    ```

    ## Fix safety
    The fix is unsafe: it saves the scaler's state, and loads it after the optimizer's, where the checkpoint
    has one. Where it cannot see both places, there is no fix.

    ## Beyond the checklist
    The checklist ends with the training; this concerns the run that goes on later.

    ## References
    - [Saving and resuming](https://docs.pytorch.org/tutorials/recipes/recipes/amp_recipe.html#saving-resuming)
    """

    code = "QA1129"
    severity = Severity.LOW
    needles = ((b".backward",), (b"scale", b"GradScaler"), (b"state_dict",))
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """What is missing in the checkpoint."""
        return (
            f"the state of `{fault.optimizer}` is saved and that of `{fault.scaler}` is not",
            f"save `{fault.scaler}.state_dict()` too, and load it when the run is resumed",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Add an entry to the dictionary that is saved."""
        edits = repair.edits
        node = fault.node
        scaler = repair.name("scaler", node)
        if not isinstance(node, ast.Call) or not node.args or scaler is None:
            return None
        saved = node.args[0]
        if not isinstance(saved, ast.Dict) or not saved.values:
            return None
        if any(not (isinstance(key, ast.Constant) and isinstance(key.value, str)) for key in saved.keys):
            return None
        resumed = self.resume(repair, saved)
        if resumed is None:
            return None
        end = edits.source.span(saved.values[-1]).end
        return edits.unsafe(
            "Save the scaler's state, and load it",
            edits.insert(end, f', "scaler": {scaler}.state_dict()'),
            resumed,
        )

    @staticmethod
    def resume(repair: Repair, saved: ast.Dict) -> Changes | None:
        """Load the scaler's state where that of an optimizer is loaded; older checkpoints have none."""
        edits = repair.edits
        kept = {
            key.value
            for key, value in zip(saved.keys, saved.values, strict=True)
            if isinstance(key, ast.Constant)
            and (owner := receiver(value)) is not None
            and edits.segment(owner).rpartition(".")[2] == repair.fault.optimizer.rpartition(".")[2]
        }
        for node in ast.walk(repair.file.tree):
            if not isinstance(node, ast.stmt):
                continue
            call = repair.call_statement(node)
            if call is None or len(call.args) != 1 or receiver(call) is None:
                continue
            given = call.args[0]
            if getattr(call.func, "attr", "") != "load_state_dict" or not isinstance(given, ast.Subscript):
                continue
            key = given.slice
            if not isinstance(key, ast.Constant) or key.value not in kept:
                continue
            scaler, source = repair.name("scaler", node), given.value
            if scaler is None or not isinstance(source, ast.Name | ast.Attribute):
                return None
            text = edits.segment(source)
            return edits.insert_after(
                node, f'if "scaler" in {text}:', f'    {scaler}.load_state_dict({text}["scaler"])'
            )
        return None
