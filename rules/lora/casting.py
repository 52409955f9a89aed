"""An adapter in FP32 inside a model in FP16: its input must be cast, and its result cast back."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Adapters, Event
from qalint.analysis.modules.adapters import held_by
from qalint.analysis.modules.needles import RUN
from qalint.analysis.modules.subjects import adapted
from qalint.analysis.modules.values import Cell, Tensor
from qalint.rule import Finding, Fix, Related, Rule, Severity


def weights(tensor: Tensor) -> tuple[Cell, ...]:
    """The parameters that a tensor is made of."""
    return tuple(cell for cell, _ in tensor.weights)


def is_adapters(adapters: Adapters, cells: tuple[Cell, ...]) -> bool:
    """Whether one of the cells belongs to an adapter of the program."""
    return any(
        cell in adapters.paired
        and (cell in injection.cells or any(held_by(cell, own) for own in injection.cells))
        for cell in cells
        for injection in adapters.everywhere
    )


class AdapterInputNotCast(Rule):
    """An adapter multiplies an FP16 input by its FP32 matrices.

    ## What it does
    Finds adapters in FP32 inside a model that is FP16, whose forward multiplies its input as it comes,
    where no autocast is in force when the model runs.

    ## Why is this bad?
    `RuntimeError: mat1 and mat2 must have the same dtype, but got Half and Float`. Under autocast no
    cast is needed; without it the adapter has to do it by itself.

    ## Example
    ```python
    def forward(self, x):
        return self.base(x) + (x @ self.lora_A @ self.lora_B) * self.scaling
    ```

    ## Use instead
    ```python
    def forward(self, x):
        delta = x.to(self.lora_A.dtype) @ self.lora_A @ self.lora_B
        return self.base(x) + (delta * self.scaling).to(x.dtype)
    ```

    ## Fix safety
    The fix casts the input to the matrix's dtype. It is safe: where they agree already, nothing happens.

    ## References
    - [Automatic mixed precision](https://docs.pytorch.org/docs/stable/amp.html)
    """

    code = "QA1213"
    severity = Severity.HIGH
    checklist = ("11.15", "12.10")
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (RUN,)
    subject = staticmethod(adapted)

    def check(self, adapters: Adapters) -> Iterator[Finding]:
        """Products of two dtypes, one of them an adapter's matrix."""
        seen: set[ast.AST] = set()
        for event in adapters.modules.all("clash"):
            if event.how != "dtype" or event.site.node in seen:
                continue
            for matrix, other in ((event.value, event.target), (event.target, event.value)):
                if not is_adapters(adapters, weights(matrix)) or matrix.dtype != "float32" or other.chain:
                    continue
                if is_adapters(adapters, weights(other)) or other.dtype != "float16":
                    continue
                seen.add(event.site.node)
                yield self.finding(
                    adapters.place(event.site),
                    "an FP16 input is multiplied by the adapter's FP32 matrix without a cast",
                    related=origin(adapters, weights(matrix)),
                    fix=cast_input(event, matrix is event.value),
                    help="cast the input to the matrix's dtype first, and the result back",
                )
                break


def origin(adapters: Adapters, cells: tuple[Cell, ...]) -> list[Related]:
    """Where the adapter's matrix is made and where its model becomes FP16."""
    related = (
        [Related(adapters.place(cells[0].site), "the FP32 matrix is made here")]
        if cells and cells[0].site
        else []
    )
    for event in adapters.modules.all("cast"):
        if event.value == "float16" and any(
            event.target is injection.model for injection in adapters.everywhere
        ):
            related.append(Related(adapters.place(event.site), "the model becomes FP16 here"))
            break
    return related


def cast_input(event: Event, right: bool) -> Fix | None:
    """`x @ A` becomes `x.to(A.dtype) @ A`; `A(x)` becomes `A(x.to(A.weight.dtype))`."""
    edits = event.site.file.get(Edits)
    node = event.site.node
    if edits is None:
        return None
    message = "cast the input to the adapter's dtype"
    if isinstance(node, ast.BinOp) and right and isinstance(node.right, ast.Name | ast.Attribute):
        matrix = edits.segment(node.right).removesuffix(".T")
        left = node.left
        if isinstance(left, ast.Name | ast.Attribute | ast.Subscript):
            return edits.safe(message, edits.wrap(left, "", f".to({matrix}.dtype)"))
        if isinstance(left, ast.Call):
            return edits.safe(message, edits.wrap(left, "", f".to({matrix}.dtype)"))
        return None
    if isinstance(node, ast.Call) and node.args:
        argument = node.args[0]
        if (
            isinstance(node.func, ast.Attribute)
            and event.name == "linear"
            and isinstance(argument, ast.Name | ast.Attribute | ast.Call)
        ):
            layer = edits.segment(node.func)
            return edits.safe(message, edits.wrap(argument, "", f".to({layer}.weight.dtype)"))
        if (
            len(node.args) > 1
            and isinstance(node.args[1], ast.Name | ast.Attribute)
            and isinstance(argument, ast.Name | ast.Call)
        ):
            matrix = edits.segment(node.args[1]).removesuffix(".T")
            return edits.safe(message, edits.wrap(argument, "", f".to({matrix}.dtype)"))
    return None


class AdapterOutputNotRestored(Rule):
    """An adapter's FP32 result is added to the FP16 output of the base without a cast back.

    ## What it does
    Finds adapters that compute in FP32 and add their result to a base that is FP16, where no autocast
    is in force.

    ## Why is this bad?
    FP16 plus FP32 is FP32, without a word. The layer now returns FP32, and the next FP16 layer fails
    with `mat1 and mat2 must have the same dtype`, far from the cause.

    ## Example
    ```python
    delta = x.float() @ self.lora_A @ self.lora_B
    return self.base(x) + delta
    ```

    ## Use instead
    ```python
    delta = x.float() @ self.lora_A @ self.lora_B
    return self.base(x) + delta.to(x.dtype)
    ```

    ## Fix safety
    The fix casts the result to the other operand's dtype. It is safe: the base's dtype is what the next
    layer expects.

    ## References
    - [Type promotion](https://docs.pytorch.org/docs/stable/tensor_attributes.html#type-promotion-doc)
    """

    code = "QA1214"
    severity = Severity.HIGH
    checklist = ("11.15", "12.11")
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (RUN,)
    subject = staticmethod(adapted)

    def check(self, adapters: Adapters) -> Iterator[Finding]:
        """Sums of an FP16 output and an adapter's FP32 result."""
        seen: set[ast.AST] = set()
        for event in adapters.modules.all("promote"):
            if event.site.node in seen or not event.flag:
                continue
            for delta, other, right in (
                (event.value, event.target, True),
                (event.target, event.value, False),
            ):
                cells = tuple(step.cell for step in delta.chain) + weights(delta)
                if delta.dtype != "float32" or other.dtype != "float16" or not is_adapters(adapters, cells):
                    continue
                seen.add(event.site.node)
                yield self.finding(
                    adapters.place(event.site),
                    "the adapter's FP32 result is added to an FP16 output: the sum is FP32",
                    related=origin(adapters, cells),
                    fix=cast_back(event, right),
                    help="cast the result back before it is added: .to(x.dtype)",
                )
                break


def cast_back(event: Event, right: bool) -> Fix | None:
    """`base + delta` becomes `base + delta.to(base.dtype)`, in the terms at hand."""
    edits = event.site.file.get(Edits)
    node = event.site.node
    if edits is None or not isinstance(node, ast.BinOp):
        return None
    delta, other = (node.right, node.left) if right else (node.left, node.right)
    if isinstance(other, ast.Name | ast.Attribute):
        reference = edits.segment(other)
    else:
        function = edits.function(node)
        names = (
            [argument.arg for argument in function.args.args if argument.arg != "self"] if function else []
        )
        used = [n.id for n in ast.walk(other) if isinstance(n, ast.Name) and n.id in names]
        if not used:
            return None
        reference = used[0]
    if isinstance(delta, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
        return edits.safe("cast the result back", edits.wrap(delta, "", f".to({reference}.dtype)"))
    text = edits.segment(delta)
    return edits.safe("cast the result back", edits.replace(delta, f"({text}).to({reference}.dtype)"))
