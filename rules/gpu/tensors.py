"""Where tensors are made, and what happens to moved copies."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Event, Modules
from qalint.analysis.modules.effects import carries
from qalint.analysis.modules.needles import DEVICE, TRAIN, USE, USED, mentions
from qalint.analysis.modules.subjects import discarded, made_and_moved, placed
from qalint.analysis.modules.torchlib import FACTORIES
from qalint.analysis.modules.values import Mod, Tensor
from qalint.rule import Finding, Fix, Related, Rule, Severity


class CreatedOnCpuThenMoved(Rule):
    """A tensor is made on the CPU and moved at once, again and again.

    ## What it does
    Finds `torch.randn(...).to(device)` and its kin inside a training loop, and in a module's `forward` in a
    file that trains.

    ## Why is this bad?
    Each time the tensor is filled on the CPU, copied, and thrown away there; the copy also makes the CPU
    wait. With `device=` it is made where it is needed.

    ## Example
    ```python
    for batch in loader:
        noise = torch.randn(16, 64).to(device)
    ```

    ## Use instead
    ```python
    for batch in loader:
        noise = torch.randn(16, 64, device=device)
    ```

    ## Fix safety
    The fix passes `device=` to the factory. It is unsafe: random numbers made on a GPU are others than
    those that the CPU's generator gives for the same seed.

    ## References
    - [CUDA semantics](https://docs.pytorch.org/docs/stable/notes/cuda.html)
    """

    code = "QA1703"
    severity = Severity.LOW
    checklist = ("17.05",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (TRAIN,)
    subject = staticmethod(made_and_moved)

    def check(self, modules: Modules) -> Iterator[Finding]:
        """Moves of a factory's result where they are repeated."""
        if not mentions(modules.file, TRAIN):
            return
        seen: set[ast.AST] = set()
        working = {
            event.loops[-1]
            for event in modules.all("forward", "backward", "step")
            if event.loops and isinstance(event.loops[-1], ast.For | ast.While)
        }
        for event in modules.all("moved"):
            node = event.site.node
            if node in seen or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            made = node.func.value
            if not isinstance(made, ast.Call) or event.target.site.node is not made:
                continue
            name = ast.unparse(made.func).rsplit(".", 1)[-1]
            if name not in FACTORIES - {"tensor"} or name.startswith("new_"):
                continue
            if any(keyword.arg in {"generator", "pin_memory", "device", "out"} for keyword in made.keywords):
                continue
            if not (event.loops and event.loops[-1] in working) and not in_forward(modules, event):
                continue
            if event.name == "cpu" or "non_blocking" in event.info["kwargs"]:
                continue
            seen.add(node)
            yield self.finding(
                modules.place(event.site),
                f"`{ast.unparse(made.func)}` fills a tensor on the CPU, which is then "
                "copied: make it on the device",
                fix=with_device(event),
                help="pass device= to the factory",
            )


def in_forward(modules: Modules, event: Event) -> bool:
    """Whether an event happens in the text of a module's `forward`."""
    edits = event.site.file.get(Edits)
    function = edits.function(event.site.node) if edits is not None else None
    if function is None or function.name != "forward" or edits is None:
        return False
    return any(
        cls.members.get("forward") is not None and function in cls.node.body for cls in modules.run.classes
    )


def with_device(event: Event) -> Fix | None:
    """`torch.randn(n).to(d)` becomes `torch.randn(n, device=d)`."""
    node = event.site.node
    edits = event.site.file.get(Edits)
    if edits is None or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    made = node.func.value
    if not isinstance(made, ast.Call):
        return None
    if node.func.attr == "cuda" and not node.args and not node.keywords:
        device = '"cuda"'
    elif node.func.attr == "to" and len(node.args) == 1 and not node.keywords:
        device = edits.segment(node.args[0])
    elif (
        node.func.attr == "to"
        and not node.args
        and len(node.keywords) == 1
        and node.keywords[0].arg == "device"
    ):
        device = edits.segment(node.keywords[0].value)
    else:
        return None
    text = edits.segment(made)
    if not text.endswith(")"):
        return None
    inside = text[:-1].rstrip()
    comma = "" if inside.endswith("(") else " " if inside.endswith(",") else ", "
    return edits.unsafe("make it on the device", edits.replace(node, f"{inside}{comma}device={device})"))


class DiscardedToResult(Rule):
    """The result of `to`, `cuda`, `half` or `float` on a tensor is thrown away.

    ## What it does
    Finds statements such as `x.to(device)` where `x` is known to be a tensor: made by a factory, taken
    from a data loader's batch, returned by an operation.

    ## Why is this bad?
    On a module these methods work in place; on a tensor they return another tensor and leave this one as
    it was. The statement has no effect, and the model fails with tensors on two devices.

    ## Example
    ```python
    mask = torch.ones(8, 8)
    mask.to(device)
    ```

    ## Use instead
    ```python
    mask = torch.ones(8, 8)
    mask = mask.to(device)
    ```

    ## Fix safety
    The fix assigns the result to the tensor's name. It is safe: without it the statement does nothing.

    ## References
    - [torch.Tensor.to](https://docs.pytorch.org/docs/stable/generated/torch.Tensor.to.html)

    ## Beyond the checklist
    The checklist asks that inputs are on the model's device; this is how one moves them and does not.
    """

    code = "QA1704"
    severity = Severity.CRITICAL
    checklist = ()
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (USE, USED, (b".to(", b".cuda(", b".half(", b".float(", b".cpu(", b".double(", b".bfloat16("))
    subject = staticmethod(discarded)

    def check(self, modules: Modules) -> Iterator[Finding]:
        """Conversion statements on tensors."""
        seen: set[ast.AST] = set()
        for event in modules.all("discard"):
            node = event.site.node
            if node in seen or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if tried(event) or (event.target.site is not None and event.target.site.node is node.func.value):
                continue  # a question whether it can be done, or work to warm up: nobody has the tensor
            if mapping(event):
                continue
            if event.name == "cpu" and any(True for _ in modules.all("clock")):
                continue  # a copy to the CPU waits for the GPU, which is what a clock needs
            seen.add(node)
            receiver = ast.unparse(node.func.value)
            tensor = event.target
            related = []
            if (
                isinstance(tensor, Tensor)
                and tensor.site is not None
                and tensor.site.node is not node.func.value
            ):
                where = "comes from this data loader" if tensor.source == "batch" else "is made here"
                related.append(Related(modules.place(tensor.site), f"`{receiver}` {where}"))
            yield self.finding(
                modules.place(event.site),
                f"`{receiver}` is a tensor: `{event.name}` returns another one, which is thrown away",
                related=related,
                fix=assign(event),
                help=f"write {receiver} = {ast.unparse(node)}",
            )


def tried(event: Event) -> bool:
    """Whether the conversion stands in a `try` that asks whether it can be done at all."""
    edits = event.site.file.get(Edits)
    statement = edits.statement(event.site.node) if edits is not None else None
    while edits is not None and statement is not None:
        seat = edits.seat(statement)
        if seat is None or not isinstance(seat.parent, ast.Try | ast.If | ast.With):
            return False
        if isinstance(seat.parent, ast.Try) and seat.block is seat.parent.body:
            return True
        statement = seat.parent
    return False


def mapping(event: Event) -> bool:
    """Whether what is converted is used as a mapping: those of transformers move in place."""
    node = event.site.node
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    edits = event.site.file.get(Edits)
    function = edits.function(node) if edits is not None else None
    return used_as_mapping(node.func.value, function or event.site.file.tree)


def used_as_mapping(value: ast.expr, scope: ast.AST) -> bool:
    """Whether `**value`, `value["key"]`, `value.items()` or `value.input_ids` stands in a scope."""
    name = ast.unparse(value)
    for part in ast.walk(scope):
        match part:
            case (
                ast.keyword(arg=None, value=used)
                | ast.Subscript(value=used, slice=ast.Constant(value=str()))
                | ast.Attribute(value=used, attr="items" | "keys" | "values" | "input_ids" | "attention_mask")
            ):
                if ast.unparse(used) == name:
                    return True
    return False


def assign(event: Event) -> Fix | None:
    """`x.to(d)` becomes `x = x.to(d)`."""
    node, edits = event.site.node, event.site.file.get(Edits)
    if edits is None or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    receiver = node.func.value
    if not isinstance(receiver, ast.Name | ast.Attribute | ast.Subscript):
        return None
    return edits.safe("assign the result", edits.wrap(node, f"{edits.segment(receiver)} = ", ""))


def visible(modules: Modules) -> bool:
    """Whether a program of the file moves a model to a device that can be a GPU and runs or trains it."""
    moved = any(
        isinstance(event.target, Mod) and event.value is not None and "cuda" in event.value.kinds
        for event in modules.all("move")
    )
    return moved and any(True for _ in modules.all("forward", "backward", "train"))


class UnregisteredTensorAttribute(Rule):
    """A plain tensor attribute of a module stays behind when the module moves.

    ## What it does
    Finds tensors that a module's `__init__` sets as plain attributes and that its forward combines with
    its input, in programs that move the module to a device.

    ## Why is this bad?
    `module.to(device)` moves parameters and buffers, not other attributes: `Expected all tensors to be
    on the same device`. The tensor is missing from the checkpoint too.

    ## Example
    ```python
    def __init__(self, width):
        super().__init__()
        self.scale = torch.ones(width)
    ```

    ## Use instead
    ```python
    def __init__(self, width):
        super().__init__()
        self.register_buffer("scale", torch.ones(width), persistent=False)
    ```

    ## Fix safety
    The fix registers a buffer that is not saved, so that checkpoints stay as they are. It is safe.

    ## References
    - [torch.nn.Module.register_buffer](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html)
    """

    code = "QA1706"
    severity = Severity.HIGH
    checklist = ("17.05",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (USE, DEVICE)
    subject = staticmethod(placed)

    def check(self, modules: Modules) -> Iterator[Finding]:
        """Plain tensor attributes that meet a tensor on the device."""
        if not visible(modules):
            return
        seen: set[ast.AST] = set()
        attributes = plain_attributes(modules)
        for event in modules.all("clash"):
            if event.how != "device":
                continue
            for tensor in (event.target, event.value):
                made = attributes.get(tensor.site.node) if tensor.site is not None else None
                if (
                    made is None
                    or carries(made.target)
                    or made.site.node in seen
                    or not tensor.device
                    or tensor.device.kinds != {"cpu"}
                ):
                    continue
                seen.add(made.site.node)
                owner = made.target.kind
                yield self.finding(
                    modules.place(made.site),
                    f"`{ast.unparse(made.site.node)}` is a plain tensor: it stays on the "
                    f"CPU when `{owner}` is moved",
                    related=[Related(modules.place(event.site), "it meets a tensor on the device here")],
                    fix=buffer(made),
                    help="register it as a buffer",
                )


def plain_attributes(modules: Modules) -> dict[ast.AST, Event]:
    """The plain tensor attributes that modules get in `__init__`, by the node that makes the tensor."""
    return {
        event.value.site.node: event
        for event in modules.all("tensor")
        if event.flag
        and isinstance(event.value, Tensor)
        and event.value.site is not None
        and event.value.source in {"factory", "moved"}
    }


def buffer(made: Event) -> Fix | None:
    """`self.x = t` becomes `self.register_buffer("x", t, persistent=False)`."""
    edits = made.site.file.get(Edits)
    if edits is None:
        return None
    statement = edits.statement(made.site.node)
    match statement:
        case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=owner), attr=name)], value=value):
            text = edits.segment(value)
            return edits.safe(
                "register it as a buffer",
                edits.replace(statement, f'{owner}.register_buffer("{name}", {text}, persistent=False)'),
            )
        case _:
            return None
