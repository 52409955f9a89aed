"""Timing work that the device does on its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Event, Modules
from qalint.analysis.modules.needles import DEVICE
from qalint.analysis.modules.values import Site
from qalint.rule import Finding, Fix, Related, Rule, Severity

from .tensors import visible


class UnsynchronizedTiming(Rule):
    """A clock is read around GPU work, and nothing waits for the GPU in between.

    ## What it does
    Finds pairs of clock readings tight around the run of a model on a device that can be a GPU, with no
    `torch.cuda.synchronize()`, event, `item()` or `cpu()` before the second reading.

    ## Why is this bad?
    Work for a GPU is queued: the call returns when it is launched. The difference measures the launch, a
    fraction of what the work takes. Timers of whole epochs are left alone: something in them waits.

    ## Example
    ```python
    start = time.perf_counter()
    out = model(x)
    elapsed = time.perf_counter() - start
    ```

    ## Use instead
    ```python
    start = time.perf_counter()
    out = model(x)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elapsed = time.perf_counter() - start
    ```

    ## Fix safety
    The fix waits before the second reading, where there is a GPU. It is unsafe: waiting costs time that a
    program in production may not want to spend.

    ## References
    - [CUDA semantics: asynchronous execution](https://docs.pytorch.org/docs/stable/notes/cuda.html)
    """

    code = "QA1708"
    severity = Severity.MEDIUM
    checklist = ("17.08",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "gpu"
    needles = (
        (b"time.time", b"perf_counter", b"monotonic", b"default_timer", b"process_time", b" time import"),
        DEVICE,
    )

    def check(self, modules: Modules) -> Iterator[Finding]:
        """Clock pairs with work and no wait between them."""
        if not visible(modules) and not any(work.how == "product" for work in modules.all("work")):
            return
        seen: set[ast.AST] = set()
        works = [work for work in modules.all("work") if work.how != "cpu"]
        waits = list(modules.all("wait"))
        for event in modules.all("clock"):
            start, end = event.target, event.value
            if event.site.node in seen or end.time <= start.time:
                continue
            between = launched([work for work in works if start.time < work.time < end.time])
            if not between or not tight(event, between) or before_loop(start.site.node, event):
                continue
            if any(between[0].time < wait.time < end.time or wait.how == "event" for wait in waits):
                continue
            seen.add(event.site.node)
            yield self.finding(
                modules.place(end.site),
                "the clock is read while the GPU may still be working: this measures the launch",
                related=[
                    Related(modules.place(start.site), "the clock starts here"),
                    Related(modules.place(between[-1].site), "the work is launched here"),
                ],
                fix=wait_before(event),
                help="call torch.cuda.synchronize() first, where there is a GPU",
            )


def tight(event: Event, between: list[Event]) -> bool:
    """Whether the work stands beside the clock, or in a loop that only repeats it."""
    for work in between:
        inner = work.loops[len(event.loops) :]
        if work.loops[: len(event.loops)] != event.loops:
            return False
        for loop in inner:
            repeats = isinstance(loop, ast.For) and ast.unparse(loop.iter).startswith("range(")
            if not repeats:
                return False
    return not any(work.target is None and work.site.node is None for work in between) and not training(
        between
    )


def before_loop(start: ast.AST, event: Event) -> bool:
    """Whether the first reading stands before the loop of the second: how long the loop runs so far."""
    loop = event.loops[-1] if event.loops else None
    return isinstance(loop, ast.For | ast.While) and not any(node is start for node in ast.walk(loop))


def training(between: list[Event]) -> bool:
    """Whether so much is done between that it is an epoch's timer."""
    return len({work.site.node for work in between}) > 8


def launched(works: list[Event]) -> list[Event]:
    """Work without that of the layers of a model whose call is work already."""
    nodes = {work.site.node for work in works}
    return [work for work in works if not any(site.node in nodes for site in work.stack)]


def wait_before(event: Event) -> Fix | None:
    """Synchronise on the line before the second reading."""
    site: Site = event.value.site
    edits = site.file.get(Edits)
    statement = edits.statement(site.node) if edits is not None else None
    if edits is None or statement is None:
        return None
    spelled = edits.spelling("torch.cuda", site.node)
    if spelled is None:
        return None
    text, imports = spelled
    return edits.unsafe(
        "wait for the GPU",
        edits.insert_before(statement, f"if {text}.is_available():", f"    {text}.synchronize()"),
        imports,
    )
