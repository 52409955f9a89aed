"""QA1131: losses that CUDA's autocast refuses."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from qalint.analysis.concrete import Concrete
from qalint.analysis.edits import Changes, Edits
from qalint.analysis.machine.story import Story
from qalint.analysis.names import Names
from qalint.rule import Finding, Iterator, Place, Related, Rule, Severity

from .amp import inside, regions

_FUNCTION = "torch.nn.functional.binary_cross_entropy"
_CLASS = "torch.nn.BCELoss"
_SIGMOIDS = ("torch.sigmoid", "torch.nn.functional.sigmoid", "torch.special.expit")


class UnsafeLossUnderAutocast(Rule):
    """Binary cross entropy on probabilities is computed under CUDA autocast.

    ## What it does
    Finds `torch.nn.BCELoss` and `torch.nn.functional.binary_cross_entropy` inside an autocast region that
    can be on CUDA, and in functions and modules that such a region calls.

    ## Why is this bad?
    torch refuses it: `RuntimeError: torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe
    to autocast.` A sigmoid in float16 rounds to exactly 0 or 1, and the logarithm of 0 is infinite. On a
    CPU nothing is raised, so that the program passes its tests and fails on the first GPU.

    ## Example
    ```python
    criterion = torch.nn.BCELoss()
    with torch.autocast("cuda"):
        loss = criterion(torch.sigmoid(model(x)), y)
    ```

    ## Use instead
    ```python
    criterion = torch.nn.BCEWithLogitsLoss()
    with torch.autocast("cuda"):
        loss = criterion(model(x), y)
    ```

    ## Fix safety
    The fix is safe: the loss with logits is the same function, computed in one numerically stable step. It
    is offered only where the sigmoid stands in the call itself.

    ## Beyond the checklist
    The checklist asks for autocast around the forward pass; this loss is the one that it forbids.

    ## References
    - [Autocast op reference](https://docs.pytorch.org/docs/stable/amp.html#prefer-binary-cross-entropy-with-logits-over-binary-cross-entropy)
    """

    code = "QA1131"
    severity = Severity.HIGH
    needles = ((b"BCELoss", b"binary_cross_entropy"), (b"autocast",))
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "gpu"

    def check(self, names: Names, edits: Edits, concrete: Concrete) -> Iterator[Finding]:
        """The calls inside each enabled region that is not surely on a CPU, and those reached from one."""
        seen: set[ast.AST] = set()
        off = {inner for region in regions(names) if region.off for inner in inside(region.statement)}
        for region in regions(names):
            if region.off or region.device not in (None, "cuda"):
                continue
            for call in inside(region.statement):
                if not isinstance(call, ast.Call) or call in seen or call in off:
                    continue
                made = self.loss(names, call)
                if made is None:
                    continue
                seen.add(call)
                related = [Related(names.file.place(region.call), "autocast is entered here")]
                if made is not call:
                    related.append(Related(names.file.place(made), "the loss is made here"))
                yield self.told(names, edits, concrete, call, made, names.file.place(call), related)
        story = names.file.get(Story)
        for fault in () if story is None else story.faults(self.name):
            call = fault.node
            if call in seen or not isinstance(call, ast.Call):
                continue
            if fault.file is not names.file:
                own_names, own_edits = fault.file.get(Names), fault.file.get(Edits)
                assert own_names is not None and own_edits is not None
                own = own_names, own_edits, Concrete(fault.file)
            else:
                own = names, edits, concrete
            loss = fault.data.get("loss")
            made = loss[0] if loss is not None and isinstance(loss[0], ast.Call) else call
            yield self.told(*own, call, made, fault.place, fault.related)

    def told(
        self,
        names: Names,
        edits: Edits,
        concrete: Concrete,
        call: ast.Call,
        made: ast.Call,
        place: Place,
        related: Iterable[Related],
    ) -> Finding:
        """The finding at a call, of the function itself or of a loss that was made at `made`."""
        what = "torch.nn.BCELoss" if made is not call else "binary_cross_entropy"
        changes = None
        if made is call or made in names.call_nodes:
            changes = self.rewrite(names, edits, concrete, call, made)
        return self.finding(
            place,
            f"`{edits.segment(call.func)}` is `{what}`, which CUDA autocast refuses",
            help="use the loss with logits, on the output before the sigmoid",
            related=related,
            fix=edits.safe("Use the loss with logits", changes),
        )

    @staticmethod
    def loss(names: Names, call: ast.Call) -> ast.Call | None:
        """The call itself if it is the function, the constructor if it calls a `BCELoss`; else None."""
        if names.canonical(call.func) == _FUNCTION:
            return call
        func = call.func
        value: ast.expr | None = None
        if isinstance(func, ast.Name):
            binding = names.binding(func)
            value = binding.value if binding is not None else None
        elif isinstance(func, ast.Call):
            value = func
        elif isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == "self":
            values = [
                node.value
                for node in ast.walk(names.file.tree)
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Attribute) and target.attr == func.attr
            ]
            value = values[0] if len(values) == 1 else None
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            inner = value.func.value
            if value.func.attr in ("to", "cuda") and isinstance(inner, ast.Call):
                value = inner  # BCELoss().cuda()
        if isinstance(value, ast.Call) and names.resolve(value.func) == _CLASS:
            return value
        return None

    def rewrite(
        self, names: Names, edits: Edits, concrete: Concrete, call: ast.Call, made: ast.Call
    ) -> Changes | None:
        """The loss with logits, if the sigmoid is in sight and the loss has no other caller."""
        logits = self.logits(names, call)
        sigmoid = call.args[0] if call.args else None
        if logits is None or not isinstance(sigmoid, ast.Call):
            return None
        changes = concrete.peel(sigmoid, logits)
        if changes is None:
            return None
        if made is call:
            if isinstance(call.func, ast.Attribute):
                return (*changes, *edits.insert(edits.source.span(call.func).end, "_with_logits"))
            found = edits.spelling(f"{_FUNCTION}_with_logits", call)
            return None if found is None else (*changes, *found[1], *edits.replace(call.func, found[0]))
        if isinstance(call.func, ast.Name):
            callers = [
                chain
                for chain in names.references
                if chain is not call.func and self.same(names, chain, call.func)
            ]
            if callers:
                return None
        elif made is not call.func:
            return None
        spelled = edits.spelling("torch.nn.BCEWithLogitsLoss", made)
        if spelled is None or any(item.arg == "weight" for item in made.keywords):
            return None
        return (*changes, *spelled[1], *edits.replace(made.func, spelled[0]))

    @staticmethod
    def same(names: Names, chain: ast.expr, name: ast.Name) -> bool:
        """Whether a chain reads the same variable."""
        while isinstance(chain, ast.Attribute):
            chain = chain.value
        return (
            isinstance(chain, ast.Name)
            and chain.id == name.id
            and names.bindings(chain) == names.bindings(name)
        )

    @staticmethod
    def logits(names: Names, call: ast.Call) -> ast.expr | None:
        """What the sigmoid in the first argument is applied to."""
        if not call.args or not isinstance(call.args[0], ast.Call):
            return None
        sigmoid = call.args[0]
        if names.resolve(sigmoid.func) in _SIGMOIDS and len(sigmoid.args) == 1 and not sigmoid.keywords:
            return sigmoid.args[0]
        if isinstance(sigmoid.func, ast.Attribute) and sigmoid.func.attr == "sigmoid" and not sigmoid.args:
            return sigmoid.func.value
        return None
