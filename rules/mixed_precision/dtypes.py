"""QA1118, QA1119: tensors and parameters of different dtypes meet outside autocast."""

from __future__ import annotations

import ast

from qalint.analysis.edits import Changes
from qalint.analysis.machine.scope import halves
from qalint.analysis.machine.story import Fault
from qalint.analysis.modules.gates import makes_half
from qalint.analysis.modules.needles import HALF
from qalint.file import File
from qalint.rule import Fix, Severity

from .faults import FaultRule, Repair


def mixes(file: File) -> bool:
    """Whether something is FP16 in a file, or in the program that starts in it."""
    return makes_half(file) and halves(file)


_PRODUCTS = ("torch.matmul", "torch.mm", "torch.bmm", "torch.nn.functional.linear")


class DtypeMismatch(FaultRule):
    """A model gets a floating input of another dtype than its parameters.

    ## What it does
    Finds a model that is known to be FP16 and is fed a tensor known to be FP32, or the reverse, where no
    autocast is in force. Integer inputs (token ids) never need the model's dtype.

    ## Why is this bad?
    Outside autocast torch multiplies only tensors of one dtype: `RuntimeError: mat1 and mat2 must have the
    same dtype, but got Float and Half`. It often happens only in evaluation, where the autocast of the
    training loop is missing.

    ## Example
    ```python
    model = model.half()
    x = torch.randn(4, 6)
    y = model(x)
    ```

    ## Use instead
    ```python
    model = model.half()
    x = torch.randn(4, 6)
    y = model(x.half())
    ```

    ## Fix safety
    The fix is unsafe: it casts the input to the model's dtype; running the model under autocast, or leaving
    it in FP32, may be what was meant.

    ## References
    - [Autocasting](https://docs.pytorch.org/docs/stable/amp.html#autocasting)
    """

    code = "QA1118"
    severity = Severity.HIGH
    needles = (HALF,)
    gate = staticmethod(mixes)
    checklist = ("11.10", "11.15", "17.07")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """Which dtypes meet; the variant is `input->model`."""
        given, _, wanted = fault.variant.partition("->")
        if not wanted:
            return (
                "a float16 and a float32 tensor are multiplied here, and torch takes only one dtype",
                "cast one of them, or run the product under autocast",
            )
        model = f"`{fault.names['model']}`" if fault.names.get("model") else "the model"
        return (
            f"{model} is {wanted} and gets an input in {given}",
            "cast the input, or run the model under autocast",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Cast the only positional argument."""
        edits, node = repair.edits, fault.node
        _, _, wanted = fault.variant.partition("->")
        method = {"float16": "half", "float32": "float"}.get(wanted)
        if not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords or method is None:
            return None
        text = edits.segment(node.args[0])
        simple = isinstance(node.args[0], (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
        cast = f"{text}.{method}()" if simple else f"({text}).{method}()"
        return edits.unsafe("Cast the input", edits.replace(node.args[0], cast))


class MixedDtypeLayer(FaultRule):
    """A layer multiplies an FP16 input by FP32 parameters.

    ## What it does
    Finds a layer whose `forward` multiplies its input by FP32 parameters without a cast, inside a model that
    hands it FP16 tensors, with no autocast on the path from the call.

    ## Why is this bad?
    torch raises `RuntimeError: mat1 and mat2 must have the same dtype, but got Half and Float`. FP32 matrices
    in an FP16 model are right (trained parameters must be FP32), but then the layer has to convert.

    ## Example
    ```python
    class Scale(torch.nn.Module):
        def forward(self, x):
            return x @ self.matrix
    ```

    ## Use instead
    ```python
    class Scale(torch.nn.Module):
        def forward(self, x):
            return (x.to(self.matrix.dtype) @ self.matrix).to(x.dtype)
    ```

    ## Fix safety
    The fix is safe: it converts the input to the dtype of the matrix and the result back; where both are the
    same, neither does anything.

    ## References
    - [Autocasting](https://docs.pytorch.org/docs/stable/amp.html#autocasting)
    """

    code = "QA1119"
    severity = Severity.HIGH
    needles = (HALF,)
    gate = staticmethod(mixes)
    checklist = ("11.11", "11.15")
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def say(self, fault: Fault, repair: Repair) -> tuple[str, str]:
        """What meets what."""
        parameter = f"`{fault.names['parameters']}`" if fault.names.get("parameters") else "the parameters"
        return (
            f"the input is FP16 here and {parameter} FP32: torch multiplies only tensors of one dtype",
            "convert the input to the dtype of the parameters, and the result back",
        )

    def repair(self, fault: Fault, repair: Repair) -> Fix | None:
        """Convert the input and the result."""
        return repair.edits.safe("Convert the input and the result", self.converted(repair, fault.node))

    @staticmethod
    def converted(repair: Repair, node: ast.AST) -> Changes | None:
        """`x @ w` or `torch.matmul(x, w)` with both conversions."""
        edits = repair.edits
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            x, w = node.left, node.right
            form = "({x}.to({w}.dtype) @ {w}).to({x}.dtype)"
        elif isinstance(node, ast.Call) and len(node.args) >= 2:
            x, w = node.args[0], node.args[1]
            func = repair.names.canonical(node.func)
            if func not in _PRODUCTS:
                return None
            rest = "".join(f", {edits.segment(item)}" for item in edits.arguments(node)[2:])
            form = (
                edits.segment(node.func)
                + "({x}.to({w}.dtype), {w}"
                + rest.replace("{", "{{")
                + ").to({x}.dtype)"
            )
        else:
            return None
        if not isinstance(x, ast.Name) or not isinstance(w, (ast.Name, ast.Attribute)):
            return None
        return edits.replace(node, form.format(x=edits.segment(x), w=edits.segment(w)))
