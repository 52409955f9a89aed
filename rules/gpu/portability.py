"""What is taken for granted about modules and machines."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Event, Modules
from qalint.analysis.modules.needles import DEVICE, RUN
from qalint.analysis.modules.subjects import asked
from qalint.analysis.modules.values import Batch, Class, Const, Device, Dict, Mod, Obj, Seq, Tensor
from qalint.analysis.names import Names
from qalint.rule import Finding, Fix, Related, Rule, Severity

from .tensors import visible


class ModuleHasNoDevice(Rule):
    """`device` or `dtype` of a plain module, or a device compared with a string.

    ## What it does
    Finds reads of `.device` and `.dtype` of modules whose class is known to have no such attribute, and
    `tensor.device == "cpu"`.

    ## Why is this bad?
    `nn.Module` has neither: its parameters may be on several devices. `AttributeError: 'Linear' object
    has no attribute 'device'`; only transformers' models define it. A `torch.device` never equals a
    string, so the comparison has always the same outcome.

    ## Example
    ```python
    net = Net().to("cuda")
    x = x.to(net.device)
    ```

    ## Use instead
    ```python
    net = Net().to("cuda")
    x = x.to(next(net.parameters()).device)
    ```

    ## Fix safety
    The fix asks the module's first parameter, and compares the device's type. It is unsafe: which device
    is meant, where there are several, is the author's to say.

    ## References
    - [torch.device](https://docs.pytorch.org/docs/stable/tensor_attributes.html)
    """

    code = "QA1709"
    severity = Severity.HIGH
    checklist = ("17.06",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (RUN, (b".device", b".dtype"))
    subject = staticmethod(asked)

    def check(self, modules: Modules) -> Iterator[Finding]:
        """Reads of `device` on plain modules, and comparisons of devices with strings."""
        if not any(True for _ in modules.all("forward", "backward")):
            return
        shown = visible(modules) or any(True for _ in modules.all("move"))
        seen: set[ast.AST] = set()
        for event in modules.all("attribute"):
            node = event.site.node
            if node in seen or not shown:
                continue
            if isinstance(event.target, Device):
                if computed(modules, node) or not names_device(node):
                    continue
                seen.add(node)
                text = ast.unparse(node)
                yield self.finding(
                    modules.place(event.site),
                    f"`{text}` is always {outcome(node)}: a torch.device never equals a string",
                    fix=compare_type(event),
                    help="compare the device's type: x.device.type == 'cuda'",
                )
                continue
            module = event.target
            if not isinstance(module, Mod):
                continue
            kind = tested_as(event)
            if kind is None and not (about_data(modules, event) and plain(module, event.name)):
                continue
            seen.add(node)
            yield self.finding(
                modules.place(event.site),
                f"`{ast.unparse(node)}`: a plain module ({kind or module.kind}) has no `{event.name}`",
                related=[Related(modules.place(module.site), "the module is made here")]
                if module.site and kind is None
                else [],
                fix=first_parameter(event),
                help=f"ask a parameter: next(module.parameters()).{event.name}",
            )


def about_data(modules: Modules, event: Event) -> bool:
    """Whether the tests on the way to an event only ask of what type some data is, nothing of a model."""
    return all(
        isinstance(guard.node, ast.Call)
        and ast.unparse(guard.node.func) == "isinstance"
        and isinstance(modules.run.memo.get(guard.node.args[0]), Batch | Tensor | Seq | Dict)
        for guard in event.guards
    )


def tested_as(event: Event) -> str | None:
    """The plain layer that tests say a module is, where nothing else decides whether it is asked."""
    types = [
        test.types
        for guard in event.guards
        if guard.outcome
        for test in guard.tests
        if test.module is event.target and test.kind == "is"
    ]
    if not types or not all(guard.tests or guard.flavor == "named" for guard in event.guards):
        return None
    kinds = frozenset.intersection(*types)
    return "/".join(sorted(kinds)) if kinds and kinds <= LAYERS else None


def plain(module: Mod, name: str) -> bool:
    """Whether a module is known to have no attribute of this name."""
    if module.parent is not None or name in module.attrs:
        return False
    if module.cls is not None:
        return (
            module.known
            and module.cls.find("__getattr__") is None
            and module.cls.find(name) is None
            and not reflective(module.cls)
        )
    return bool(module.qual) and str(module.qual).startswith("torch.nn.")


def computed(modules: Modules, node: ast.AST) -> bool:
    """Whether a comparison reads what an object sets under computed names."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.Attribute):
            owner = modules.run.memo.get(part.value)
            cls = owner.cls if isinstance(owner, Mod | Obj) else None
            if cls is not None and reflective(cls):
                return True
    return False


def names_device(node: ast.AST) -> bool:
    """Whether the string of a comparison names a device: "auto" asks whether a string was given at all."""
    texts = [
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    return not texts or any(text.partition(":")[0] in TYPES for text in texts)


def reflective(cls: Class) -> bool:
    """Whether a class or one that it derives from sets attributes under computed names."""
    for node in ast.walk(cls.node):
        match node:
            case ast.Attribute(attr="__dict__") | ast.Name(id="setattr" | "locals" | "vars"):
                return True
            case _:
                pass
    return any(reflective(base) for base in cls.bases if isinstance(base, Class))


def first_parameter(event: Event) -> Fix | None:
    """`m.device` becomes `next(m.parameters()).device`."""
    node, edits = event.site.node, event.site.file.get(Edits)
    if edits is None or not isinstance(node, ast.Attribute):
        return None
    text = edits.segment(node.value)
    return edits.unsafe(
        "ask the first parameter", edits.replace(node, f"next({text}.parameters()).{node.attr}")
    )


def outcome(node: ast.AST) -> str:
    """What comparing a device with a string always gives."""
    unequal = isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.NotEq | ast.NotIn | ast.IsNot)
    return "true" if unequal else "false"


def compare_type(event: Event) -> Fix | None:
    """`x.device == "cuda"` becomes `x.device.type == "cuda"`."""
    node, edits = event.site.node, event.site.file.get(Edits)
    if edits is None or not isinstance(node, ast.Compare) or len(node.comparators) != 1:
        return None
    for side, other in ((node.left, node.comparators[0]), (node.comparators[0], node.left)):
        if isinstance(other, ast.Constant) and isinstance(other.value, str) and ":" not in other.value:
            return edits.unsafe("compare the device's type", edits.wrap(side, "", ".type"))
    return None


TYPES = frozenset({"cpu", "cuda", "mps", "xpu", "xla", "hpu", "npu", "hip", "mtia", "meta"})
LAYERS = frozenset({"Linear", "Conv1D", "Conv1d", "Conv2d", "Conv3d", "Embedding", "LayerNorm"})
"""Layers that have no device or dtype of their own to ask for."""


class HardCodedCuda(Rule):
    """A program insists on CUDA and never asks whether there is any.

    ## What it does
    Finds `.cuda()`, `.to("cuda")` and `device="cuda"` in programs that contain no test of
    `torch.cuda.is_available()`.

    ## Why is this bad?
    On a machine without a GPU the program stops: `Torch not compiled with CUDA enabled`. That may be as
    it should be, so the rule is off by default.

    ## Example
    ```python
    model = Net().cuda()
    ```

    ## Use instead
    ```python
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Net().to(device)
    ```

    ## Fix safety
    The fix writes the test in the place of the constant. It is unsafe: the program may not be meant to
    run without a GPU.

    ## References
    - [CUDA semantics](https://docs.pytorch.org/docs/stable/notes/cuda.html)

    ## Beyond the checklist
    The checklist asks for the right device, not for programs that run on every machine.
    """

    code = "QA1712"
    severity = Severity.LOW
    default = False
    checklist = ()
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (RUN, DEVICE)

    def check(self, names: Names, modules: Modules) -> Iterator[Finding]:
        """Constant CUDA devices in a file that never asks."""
        file = names.file
        if re.search(r"(^|[/\\])tests?[/\\]|(^|[/\\])test_|conftest", file.path):
            return
        text = file.source.text
        if "is_available" in text or "device_count" in text or "current_accelerator" in text:
            return
        if not any(True for _ in modules.all("forward", "backward", "train", "move")):
            return
        for node in ast.walk(file.tree):
            match node:
                case ast.Call(func=ast.Attribute(attr="cuda", value=value), args=[]) if (
                    not isinstance(value, ast.Name) or value.id != "torch"
                ):
                    yield self.report(names, node, None)
                case ast.Call(
                    func=ast.Attribute(attr="to"), args=[ast.Constant(value=device) as constant, *_]
                ) if is_cuda(device):
                    yield self.report(names, node, constant)
                case ast.keyword(
                    arg="device" | "map_location", value=ast.Constant(value=device) as constant
                ) if is_cuda(device):
                    yield self.report(names, constant, constant)
                case ast.Call(func=function, args=[ast.Constant(value=device) as constant]) if (
                    is_cuda(device) and names.resolve(function) == "torch.device"
                ):
                    yield self.report(names, node, constant)
                case _:
                    pass

    def report(self, names: Names, node: ast.AST, constant: ast.Constant | None) -> Finding:
        """One constant."""
        return self.finding(
            names.file.place(node),
            f"`{ast.unparse(node)}` without a test whether there is a GPU",
            fix=choose(names, node, constant),
            help='choose the device: "cuda" if torch.cuda.is_available() else "cpu"',
        )


def is_cuda(value: object) -> bool:
    """Whether a constant names a CUDA device."""
    return isinstance(value, str) and value.split(":")[0] == "cuda"


def choose(names: Names, node: ast.AST, constant: ast.Constant | None) -> Fix | None:
    """Write the test in the place of the constant."""
    edits = names.file.get(Edits)
    if edits is None:
        return None
    spelled = edits.spelling("torch.cuda", node)
    if spelled is None:
        return None
    text, imports = spelled
    message = "ask whether there is a GPU"
    if constant is not None:
        chosen = f'{edits.segment(constant)} if {text}.is_available() else "cpu"'
        return edits.unsafe(message, edits.replace(constant, chosen), imports)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        receiver = edits.segment(node.func.value)
        return edits.unsafe(
            message,
            edits.replace(node, f'{receiver}.to("cuda" if {text}.is_available() else "cpu")'),
            imports,
        )
    return None


__all__ = ["Const"]
