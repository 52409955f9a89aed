"""QA1102, QA1128: trained parameters in float16."""

from __future__ import annotations

import ast

from qalint.analysis.concrete import Concrete
from qalint.analysis.edits import Changes, Edits
from qalint.analysis.machine.story import Fault
from qalint.rule import Fix, Severity

from .faults import FaultRule, Repair

_CASTS = ("half", "to", "type")


class Fp16TrainableParameters(FaultRule):
    """Parameters in float16 are trained.

    ## What it does
    Finds parameters that are known to be FP16 and reach an optimizer: the model was cast with `half()` or
    `to(torch.float16)`, loaded in FP16, or a new part of it took over the dtype of an FP16 base. Frozen
    parameters may be FP16: that is what saves the memory.

    ## Why is this bad?
    A scaler refuses them: `ValueError: Attempting to unscale FP16 gradients.` Without a scaler Adam
    divides by the root of a square that is zero in FP16, and the loss is NaN from the second step on; SGD
    with a small learning rate changes nothing, since the update is rounded away. A fused AdamW does not
    even raise, and trains badly.

    ## Example
    ```python
    model = model.half()
    optimizer = torch.optim.AdamW(model.parameters())
    with torch.autocast("cuda", dtype=torch.float16):
        loss = model(x).square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    ```

    ## Use instead
    ```python
    optimizer = torch.optim.AdamW(model.parameters())
    with torch.autocast("cuda", dtype=torch.float16):
        loss = model(x).square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    ```

    ## Fix safety
    The fix is unsafe: it removes the cast, or loads the model in FP32, so that the parameters take twice the
    memory; autocast makes the FP16 copies that the forward pass uses.

    ## References
    - [Why the gradients of FP16 parameters cannot be unscaled](https://github.com/pytorch/pytorch/issues/74739)
    """

    code = "QA1102"
    severity = Severity.CRITICAL
    needles = ((b".backward",), (b"float16", b".half", b"import half", b"fp16"), (b"step",))
    checklist = ("11.02", "11.03", "11.14")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """What is FP16, and what comes of it."""
        model = model_name(fault)
        end = (
            "`Attempting to unscale FP16 gradients`"
            if fault.variant == "scaler"
            else "FP16 rounds the updates away or gives NaN"
        )
        return (
            f"{model} becomes FP16 here and `{fault.optimizer}` trains it: {end}",
            "train in FP32 under autocast",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Remove the cast."""
        return repair.edits.unsafe("Remove the cast", without_cast(repair))


class LateHalfCast(FaultRule):
    """A model is cast to float16 after its adapters were injected or its optimizer was built.

    ## What it does
    Finds `model.half()` or `model.to(torch.float16)` behind the injection of adapters or behind the
    construction of the optimizer, with training still to come.

    ## Why is this bad?
    The cast takes everything along that is in the model by then, the trained adapters too. Their gradients
    are FP16, and the first step raises `ValueError: Attempting to unscale FP16 gradients.` The base may be
    FP16; it has to become so before the FP32 adapters are put in.

    ## Example
    ```python
    inject_lora(model)
    model.half()
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    ```

    ## Use instead
    ```python
    model.half()
    inject_lora(model)
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    ```

    ## Fix safety
    The fix is unsafe: it removes the cast. Where only a frozen base should be FP16, move the cast before the
    injection instead.

    ## References
    - [Why the gradients of FP16 parameters cannot be unscaled](https://github.com/pytorch/pytorch/issues/74739)
    """

    code = "QA1128"
    severity = Severity.CRITICAL
    needles = ((b".backward",), (b"float16", b".half", b"import half", b"fp16"), (b"step",))
    checklist = ("11.02", "11.14")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """What the cast takes along."""
        model = model_name(fault)
        return (
            f"{model} becomes FP16 only here, and takes the parameters along that `{fault.optimizer}` trains",
            "cast the base first, then inject the adapters and build the optimizer",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Remove the cast."""
        return repair.edits.unsafe("Remove the cast", without_cast(repair))


def model_name(fault: Fault) -> str:
    """The user's name of the model, in quotes."""
    name = fault.names.get("model", "")
    return f"`{name}`" if name not in ("", "self") else "the model"


def without_cast(repair: Repair) -> Changes | None:
    """The change that takes a cast to FP16 out of the text."""
    edits, concrete = repair.edits, Concrete(repair.file)
    cast = repair.node("cast")
    if not isinstance(cast, ast.Call):
        return None
    given: list[ast.expr | ast.keyword] = [*cast.args, *cast.keywords]
    half = [item for item in given if is_half(repair, item)]
    func = cast.func
    if isinstance(func, ast.Attribute) and func.attr in _CASTS and not repair.names.resolve(func):
        others = [item for item in given if item not in half]
        if func.attr != "half" and len(half) != 1:
            return None
        if others:
            return concrete.remove_argument(cast, half[0]) if half else None
        statement = edits.statement(cast)
        if statement is not None and repair.call_statement(statement) is cast:
            return edits.remove(statement)
        return edits.replace(cast, edits.segment(func.value))
    if len(half) == 1 and isinstance(half[0], ast.keyword):
        if isinstance(func, ast.Attribute) and func.attr == "from_pretrained":
            return full_precision(edits, half[0])
        return concrete.remove_argument(cast, half[0])
    return None


def full_precision(edits: Edits, dtype: ast.keyword) -> Changes | None:
    """The change that loads a model in FP32: without a dtype, transformers takes the checkpoint's own."""
    spelled = edits.spelling("torch.float32", dtype.value)
    return None if spelled is None else (*spelled[1], *edits.replace(dtype.value, spelled[0]))


def is_half(repair: Repair, item: ast.expr | ast.keyword) -> bool:
    """Whether an argument is the dtype float16."""
    value = item.value if isinstance(item, ast.keyword) else item
    return repair.names.resolve(value) in ("torch.float16", "torch.half")
