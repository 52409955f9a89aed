"""QA1121: the backward pass stands inside the autocast region."""

from __future__ import annotations

import ast

from qalint.analysis.concrete import Concrete
from qalint.analysis.edits import Changes, Edits
from qalint.analysis.names import Names
from qalint.rule import Finding, Iterator, Related, Rule, Severity

from .amp import Region, inside, regions


class BackwardInsideAutocast(Rule):
    """The backward pass is called inside an autocast region.

    ## What it does
    Finds a call of `backward()` in the body of a `with` statement that enters autocast.

    ## Why is this bad?
    Autocast chooses a dtype for each operation of the forward pass, and the backward pass of each uses
    the same one by itself. torch's documentation says not to run the backward pass under autocast: it
    gains nothing, and what is computed there by hand (a gradient penalty, a clip, the optimizer's
    arithmetic) is cast to float16 unasked.

    ## Example
    ```python
    with torch.autocast("cuda"):
        loss = model(x).sum()
        scaler.scale(loss).backward()
    ```

    ## Use instead
    ```python
    with torch.autocast("cuda"):
        loss = model(x).sum()
    scaler.scale(loss).backward()
    ```

    ## Fix safety
    The fix is safe: it moves the statements from the backward pass to the end of the region out of it.
    It is offered where only calls on the loss, a scaler, an optimizer or a scheduler would move.

    ## Beyond the checklist
    The checklist asks that the forward pass runs under autocast; this rule asks that nothing else does.

    ## References
    - [Autocasting](https://docs.pytorch.org/docs/stable/amp.html#autocasting)
    """

    code = "QA1121"
    severity = Severity.LOW
    needles = ((b".backward",), (b"autocast",))
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, names: Names, edits: Edits, concrete: Concrete) -> Iterator[Finding]:
        """Look for `backward` in each enabled region."""
        seen: set[ast.AST] = set()
        for region in reversed(list(regions(names))):  # inner regions first
            if region.off:
                seen.update(inside(region.statement))
                continue
            for node in inside(region.statement):
                if node in seen or not is_backward(names, node):
                    continue
                seen.add(node)
                yield self.finding(
                    names.file.place(node),
                    "the backward pass runs inside the autocast region",
                    help="end the `with` block before it",
                    related=[Related(names.file.place(region.call), "autocast is entered here")],
                    fix=edits.safe("Move it out of the region", self.dedent(edits, concrete, region, node)),
                )

    @staticmethod
    def dedent(edits: Edits, concrete: Concrete, region: Region, backward: ast.AST) -> Changes | None:
        """Move the statements from the backward pass on behind the region."""
        statement = edits.statement(backward)
        body = region.statement.body
        if statement is None or statement not in body or len(region.statement.items) != 1:
            return None
        first = body.index(statement)
        if first == 0 or not all(harmless(item) for item in body[first:]):
            return None
        inner, outer = edits.indentation(statement), edits.indentation(region.statement)
        return concrete.dedent_tail(region.statement, statement, inner, outer)


def is_backward(names: Names, node: ast.AST) -> bool:
    """Whether a node calls `backward` on a tensor."""
    if not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backward"
    ):
        return False
    root: ast.expr = node.func.value
    if isinstance(root, ast.Call):  # scaler.scale(loss).backward()
        return isinstance(root.func, ast.Attribute)
    if node.args and isinstance(root, (ast.Name, ast.Attribute)):
        return False  # accelerator.backward(loss), engine.backward(loss)
    while isinstance(root, (ast.Attribute, ast.Subscript)):
        root = root.value
    return isinstance(root, (ast.Name, ast.BinOp)) and names.resolve(root) is None


def harmless(statement: ast.stmt) -> bool:
    """Whether a statement does the same outside the region: a call on the objects of the protocol."""
    if isinstance(statement, ast.If):
        return not statement.orelse and all(harmless(item) for item in statement.body)
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    func = statement.value.func
    name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
    return name in (
        "backward",
        "step",
        "update",
        "unscale_",
        "zero_grad",
        "clip_grad_norm_",
        "clip_grad_value_",
    )
