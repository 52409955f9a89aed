"""Activation checkpointing over a frozen start."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Adapters, Event, Modules
from qalint.analysis.modules.adapters import held_by
from qalint.analysis.modules.needles import FREEZE
from qalint.analysis.modules.values import Cell, Mod, Param, Site, Tensor, Unknown
from qalint.rule import Finding, Fix, Related, Rule, Severity


class CheckpointingCutsGradients(Rule):
    """Reentrant checkpointing over frozen embeddings cuts the adapters off from their gradients.

    ## What it does
    Finds calls of `torch.utils.checkpoint.checkpoint` with `use_reentrant=True` or without saying, in a
    model that was frozen before its adapters were trained, where nothing makes the input require gradients.

    ## Why is this bad?
    The reentrant form records gradients only where one of its inputs requires them. The output of a
    frozen embedding does not: `element 0 of tensors does not require grad`, or, where something else
    is trainable, adapters that never get a gradient and no word about it.

    ## Example
    ```python
    x = checkpoint(block, x)
    ```

    ## Use instead
    ```python
    x = checkpoint(block, x, use_reentrant=False)
    ```

    ## Fix safety
    The fix adds `use_reentrant=False`, which torch recommends. It is safe: the values are the same.

    ## References
    - [torch.utils.checkpoint](https://docs.pytorch.org/docs/stable/checkpoint.html)

    ## Beyond the checklist
    A cause of adapters without gradients that the checklist does not name.
    """

    code = "QA1220"
    severity = Severity.HIGH
    checklist = ()
    fix = "safe"
    fix_availability = "always"
    oracle = "cpu"
    needles = ((b"checkpoint(", b"import checkpoint"), FREEZE)

    def check(self, modules: Modules, adapters: Adapters) -> Iterator[Finding]:
        """Reentrant checkpoints that run in a frozen model with adapters."""
        if any(True for _ in modules.all("inputs")):
            return
        seen: set[ast.AST] = set()
        for event in modules.all("checkpoint"):
            if event.flag not in {None, True} or event.site.node in seen or not isinstance(event.target, Mod):
                continue
            if any(isinstance(value, Tensor) and value.grad for value in event.args):
                continue
            freeze = next(
                (
                    other
                    for other in modules.all("freeze")
                    if other.time < event.time
                    and isinstance(other.target, Cell)
                    and freezes_start(other)
                    and (
                        held_by(event.target, other.target)
                        or (held_by(other.target, event.target) and not alone(other.target))
                    )
                ),
                None,
            )
            if freeze is None or not trains(modules, event, freeze):
                continue
            seen.add(event.site.node)
            yield self.finding(
                modules.place(event.site),
                "reentrant checkpointing in a frozen model: its input requires no "
                "gradients, so what is trained inside gets none",
                related=[Related(modules.place(freeze.site), "the model is frozen here")],
                fix=not_reentrant(event.site),
                help="pass use_reentrant=False",
            )


def trains(modules: Modules, run: Event, freeze: Event) -> bool:
    """Whether something that the checkpoint runs is trained: left out of the freeze by name, made
    trainable again, or put in after it.
    """
    if freeze.flag is None or "named" in freeze.filters:
        return True
    inside = [
        event.target
        for event in modules.all("forward")
        if event.site.node is run.site.node or any(site.node is run.site.node for site in event.stack)
    ]
    for event in modules.all("freeze", "attach"):
        new = event.value if event.kind == "attach" else event.target
        if not isinstance(new, Mod | Param) or event.how == "peft":
            continue
        if event.flag is False if event.kind == "freeze" else event.time < freeze.time:
            continue
        if any(
            held_by(new, module) or (event.kind == "freeze" and held_by(module, new)) for module in inside
        ):
            return True
    return any(
        event.how == "peft" and held_by(freeze.target, event.target) and event.time > freeze.time
        for event in modules.all("attach")
    )


def alone(target: Cell) -> bool:
    """Whether a freeze is of one parameter of a part: what else is added to it may be trained."""
    leaf = target.path if isinstance(target, Mod) else ""
    return isinstance(target, Param) or leaf in {"weight", "bias"}


def freezes_start(event: Event) -> bool:
    """Whether a freeze takes the embeddings too: all parameters, or all but those with a certain name."""
    if event.flag is True or event.filters & {"typed", "other"}:
        return False
    if event.flag is None:  # `p.requires_grad = "lora_" in name`
        negated = isinstance(event.value, Unknown) and event.value.cond is not None
        return "named" in event.filters and not negated
    named = [guard for guard in event.guards if guard.flavor == "named"]
    return not named or not named[-1].outcome


def not_reentrant(site: Site) -> Fix | None:
    """Add or change `use_reentrant`."""
    edits, node = site.file.get(Edits), site.node
    if edits is None or not isinstance(node, ast.Call):
        return None
    for keyword in node.keywords:
        if keyword.arg == "use_reentrant":
            return edits.safe("use the non-reentrant form", edits.replace(keyword.value, "False"))
    return edits.safe("use the non-reentrant form", edits.add_argument(node, "use_reentrant=False"))
