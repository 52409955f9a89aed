"""Adapters that cannot learn: both matrices zero, or a factor that is rounded to zero."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Adapters, Modules
from qalint.analysis.modules.adapters import held_by
from qalint.analysis.modules.needles import ADAPT, ZEROS
from qalint.analysis.modules.subjects import inert
from qalint.analysis.modules.values import Cell, Mod, Param, Site
from qalint.rule import Finding, Fix, Related, Rule, Severity


class InertAdapter(Rule):
    """An adapter cannot learn: both matrices start at zero, or its factor is rounded to zero.

    ## What it does
    Finds adapters both of whose matrices are initialised with zeros, and adapters whose result is
    scaled by a floor division (`alpha // rank`).

    ## Why is this bad?
    The gradient of each matrix is a product with the other: with both at zero it is exactly zero, for
    ever. `alpha // rank` is 0 as soon as alpha is less than the rank, and then result and gradients are
    zero too. Nothing is raised; the loss stays where the base leaves it.

    ## Example
    ```python
    self.lora_A = nn.Parameter(torch.zeros(width, rank))
    self.lora_B = nn.Parameter(torch.zeros(rank, width))
    self.scaling = alpha // rank
    ```

    ## Use instead
    ```python
    self.lora_A = nn.Parameter(torch.randn(width, rank) / rank)
    self.lora_B = nn.Parameter(torch.zeros(rank, width))
    self.scaling = alpha / rank
    ```

    ## Fix safety
    The fix for the factor divides with `/`. It is safe: where alpha is a multiple of the rank the value is
    the same. For the matrices there is no fix: how the first is initialised is a choice.

    ## References
    - [LoRA: Low-Rank Adaptation](https://arxiv.org/abs/2106.09685)

    ## Beyond the checklist
    A silent fault of hand-written adapters that the checklist does not name.
    """

    code = "QA1218"
    severity = Severity.CRITICAL
    checklist = ()
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (ADAPT, ZEROS)
    subject = staticmethod(inert)
    in_users = True

    def check(self, modules: Modules, adapters: Adapters) -> Iterator[Finding]:
        """Pairs of zeros, and floor-divided factors."""
        seen: set[ast.AST] = set()
        trained = any(True for _ in modules.all("optimizer", "backward", "step", "train"))
        restored = [] if trained else [event.target for event in modules.all("restore")]
        for event in modules.all("pair"):
            first, second = event.target, event.value
            if any(held_by(first, model) for model in restored):
                continue  # loaded and used: what they began with does not matter
            rank, rank2 = event.info["rank"], event.info["rank2"]
            if rank is not None and rank2 is not None and rank.term != rank2.term:
                continue
            if fill_of(first) == "zeros" and fill_of(second) == "zeros" and first.site is not None:
                early, late = sorted((first, second), key=lambda cell: cell.time)
                if late.site.node in seen:
                    continue
                seen.add(late.site.node)
                yield self.finding(
                    modules.place(late.site),
                    "both matrices of the adapter start at zero: their gradients are zero for ever",
                    related=[Related(modules.place(early.site), "the other matrix is made here")],
                    help="initialise the first at random and the second with zeros",
                )
        for event in modules.all("floor"):
            factors = {step.cell for step in event.target.chain} | {cell for cell, _ in event.target.weights}
            if event.site.node in seen or not factors & adapters.paired:
                continue
            seen.add(event.site.node)
            yield self.finding(
                modules.place(event.site),
                f"`{ast.unparse(event.site.node)}` scales an adapter and is rounded down: "
                "0 where it should be a fraction",
                fix=true_division(event.site),
                help="divide with /",
            )


def fill_of(cell: Cell) -> str | None:
    """What a matrix was initialised with."""
    if isinstance(cell, Param):
        return cell.fill
    if isinstance(cell, Mod):
        fill = cell.args.get("fill")
        value = getattr(fill, "value", None)
        return value if isinstance(value, str) else None
    return None


def true_division(site: Site) -> Fix | None:
    """`a // b` becomes `a / b`."""
    edits = site.file.get(Edits)
    node = site.node
    if edits is None or not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.FloorDiv):
        return None
    start = site.file.source.span(node.left).end
    end = site.file.source.span(node.right).start
    operator = site.file.source.text[start:end]
    if operator.count("//") != 1:
        return None
    at = start + operator.index("//")
    return edits.safe("divide with /", edits.swap(at, at + 2, "/"))
