"""Whether a module knows its adapters' parameters, and whether they are parameters at all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Adapters, Event, Modules
from qalint.analysis.modules.adapters import held_by, own_cells
from qalint.analysis.modules.needles import ADAPT
from qalint.analysis.modules.spellings import ADAPTERS
from qalint.analysis.modules.subjects import listed, parametric
from qalint.analysis.modules.values import (
    Cell,
    Class,
    Dict,
    Func,
    Lib,
    Mod,
    Param,
    Seq,
    Site,
    Tensor,
    Value,
    each,
)
from qalint.rule import Finding, Fix, Related, Rule, Severity

BASES = ("Conv", "Embedding", "LSTM", "GRU", "Multihead", "Transformer")
"""Layers that a model has and an adapter of two matrices has not."""


class UnregisteredAdapter(Rule):
    """Adapters are kept in a plain list or dict, where their module does not see them.

    ## What it does
    Finds adapters (modules or parameters) whose only place in a module is a Python list or dict that
    is an attribute of it, and layers that are kept so in a model into which a walk puts adapters.

    ## Why is this bad?
    `nn.Module` registers modules and parameters that are set as attributes, not those inside a list.
    They are missing from `parameters()` (so from the optimizer), from `state_dict()` (so from the
    checkpoint), and stay behind at `.to(device)` and `.half()`.

    ## Example
    ```python
    class Adapters(nn.Module):
        def __init__(self, layers, rank):
            super().__init__()
            self.adapters = [LoRA(layer, rank) for layer in layers]
    ```

    ## Use instead
    ```python
    class Adapters(nn.Module):
        def __init__(self, layers, rank):
            super().__init__()
            self.adapters = nn.ModuleList([LoRA(layer, rank) for layer in layers])
    ```

    ## Fix safety
    The fix makes a `ModuleList`, `ParameterList` or `ModuleDict` of the list or dict. It is safe: these
    are used like a list and a dict.

    ## References
    - [torch.nn.ModuleList](https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html)
    - [torch.nn.ParameterList](https://docs.pytorch.org/docs/stable/generated/torch.nn.ParameterList.html)
    """

    code = "QA1209"
    severity = Severity.CRITICAL
    checklist = ("12.06",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (ADAPT,)
    subject = staticmethod(listed)
    in_users = True

    def check(self, modules: Modules, adapters: Adapters) -> Iterator[Finding]:
        """Containers that are attributes of modules and hold adapters that nothing else holds."""
        seen: set[int] = set()
        for event in modules.all("listed"):
            container = event.value
            if id(container) in seen or not isinstance(event.target, Mod) or registers(event.target):
                continue
            called = any(word in event.name.lower() for word in ADAPTERS)
            hidden = runs(event.target, event.name) and walked_into(adapters, event)
            members = [
                value
                for value in flat(container)
                if adapter(adapters, value) or ((called or hidden) and new_layer(value, event.target))
            ]
            if not members or any(registered(value) for value in members):
                continue
            if all(value.time < event.target.time for value in members) and (
                keeps(adapters, event.target) or around(container, event.target)
            ):
                # the adapters are registered, and the list hides the base that the module was given
                continue
            seen.add(id(container))
            kind = "dict" if isinstance(container, Dict) else "list"
            parameters = all(isinstance(value, Param) for value in members)
            better = f"nn.{'Parameter' if parameters else 'Module'}{'Dict' if kind == 'dict' else 'List'}"
            name = event.name or "the list"
            where = next(
                (other for other in modules.all("listed") if other.value is container and other.name), event
            )
            what = (
                "layers" if not called and not any(adapter(adapters, one) for one in members) else "adapters"
            )
            yield self.finding(
                modules.place(where.site),
                f"`{where.name or name}` is a plain {kind}: the {what} in it are not registered with "
                f"`{event.target.kind or 'the module'}`",
                related=[Related(modules.place(members[0].site), f"the {what[:-1]} is made here")]
                if members[0].site is not None
                else [],
                fix=register(where, container, better),
                help=f"keep them in a torch.{better}",
            )


def runs(module: Mod, name: str) -> bool:
    """Whether the forward of a class of the program reads an attribute."""
    forward = module.cls.find("forward") if module.cls is not None and name else None
    return isinstance(forward, Func) and any(
        isinstance(node, ast.Attribute) and node.attr == name for node in ast.walk(forward.node)
    )


def walked_into(adapters: Adapters, event: Event) -> bool:
    """Whether adapters go into what a list holds, or into what a walk over its module meets (not these)."""
    members = flat(event.value)
    return any(
        injection.program == event.program
        and (
            (held_by(event.target, injection.model) and any(walks(one.target) for one in injection.events))
            or any(held_by(one.target, member) for one in injection.events for member in members)
        )
        for injection in adapters.injections
    )


def walks(part: Mod) -> bool:
    """Whether a part of a model is one that a walk met, or one that is found by its name."""
    return part.parent is not None and ("*" in part.full_path or "(" in part.full_path)


def new_layer(value: Cell, module: Mod) -> bool:
    """Whether a layer or module of the program was made for `module`, while that was made."""
    if not isinstance(value, Mod) or value.parent is not None or value.time < module.time:
        return False
    return value.cls is not None or value.kind.startswith(
        ("Linear", "Conv", "Embedding", "Sequential", "ModuleDict", "ModuleList")
    )


def around(container: Value, module: Mod) -> bool:
    """Whether a class writes a list around the one thing that it was given, so as not to register it."""
    return (
        isinstance(container, Seq)
        and len(container.items) == 1
        and container.site is not None
        and module.cls is not None
        and any(node is container.site.node for node in ast.walk(module.cls.node))
    )


def keeps(adapters: Adapters, module: Mod) -> bool:
    """Whether a module was ever given adapters as attributes or in containers that register them."""
    return any(
        isinstance(event.target, Mod)
        and held_by(event.target, module)
        and isinstance(event.value, Mod | Param)
        and own_cells(event.value) & adapters.paired
        for event in adapters.modules.all("attach")
    )


ATTRIBUTE_ONLY = frozenset(
    (
        "torch",
        "builtins",
        "abc",
        "typing",
        "enum",
        "lightning",
        "pytorch_lightning",
        "transformers",
        "diffusers",
        "timm",
        "peft",
        "accelerate",
        "huggingface_hub",
    )
)
"""Packages whose classes register nothing but what is set as an attribute."""


def registers(module: Mod) -> bool:
    """Whether a method of the module's class, or of a base of it, registers modules under computed names.

    A base that is not seen may, but for those of libraries known not to.
    """
    return module.cls is not None and _class_registers(module.cls)


def _class_registers(cls: Class) -> bool:
    if _registers(cls.node):
        return True
    for base in cls.bases:
        if isinstance(base, Class):
            if _class_registers(base):
                return True
        elif not isinstance(base, Lib) or base.name.partition(".")[0] not in ATTRIBUTE_ONLY:
            return True
    return False


@lru_cache(maxsize=256)
def _registers(node: ast.AST) -> bool:
    for part in ast.walk(node):
        match part:
            case ast.Call(func=ast.Attribute(attr="add_module" | "register_module" | "register_parameter")):
                return True
            case ast.Call(func=ast.Name(id="setattr")):
                return True
            case _:
                pass
    return False


def flat(value: Value) -> list[Cell]:
    """The modules and parameters in a container."""
    found: list[Cell] = []
    items = value.items if isinstance(value, Seq) else value.values() if isinstance(value, Dict) else []
    for item in items:
        for option in each(item):
            if isinstance(option, Mod | Param):
                found.append(option)
            elif isinstance(option, Seq | Dict):
                found.extend(flat(option))
    return found


def adapter(adapters: Adapters, value: Cell) -> bool:
    """Whether a module or parameter belongs to an adapter."""
    if isinstance(value, Mod) and value.parent is not None:
        return False
    if isinstance(value, Mod) and value.cls is None and value.kind in {"ParameterDict", "ParameterList"}:
        return True
    if not isinstance(value, Mod | Param):
        return False
    if isinstance(value, Mod) and bottleneck(value):
        return True
    cells = own_cells(value)
    return bool(cells & adapters.paired) and not any(
        isinstance(cell, Mod) and cell not in adapters.paired and cell.kind.startswith(BASES)
        for cell in cells
    )


def bottleneck(module: Mod) -> bool:
    """Whether a `Sequential` goes down to another width and back up to its own."""
    layers = [
        layer
        for layer in module.elements
        if isinstance(layer, Mod) and layer.kind == "Linear" and not layer.cls
    ]
    if module.kind != "Sequential" or len(layers) != 2:
        return False
    ends = layers[0].args.get("in_features"), layers[1].args.get("out_features")
    inner = layers[0].args.get("out_features")
    if ends[0] is None or ends[1] is None or inner is None:
        return False
    return ends[0].term == ends[1].term != inner.term


def registered(value: Cell) -> bool:
    """Whether a module holds it as an attribute of its own."""
    return bool(value.holders)


def register(event: Event, container: Value, better: str) -> Fix | None:
    """Wrap the container where it is made."""
    site = container.site if isinstance(container, Seq | Dict) else None
    items = (
        container.items
        if isinstance(container, Seq)
        else container.values()
        if isinstance(container, Dict)
        else []
    )
    if any(isinstance(option, Seq | Dict) for item in items for option in each(item)):
        return None
    if site is None or site.file is not event.site.file:
        return None
    edits = site.file.get(Edits)
    if edits is None or not isinstance(site.node, ast.List | ast.ListComp | ast.Dict | ast.DictComp):
        return None
    spelled = edits.spelling(f"torch.{better}", site.node)
    if spelled is None:
        return None
    text, imports = spelled
    if isinstance(site.node, ast.List | ast.Dict) and not getattr(
        site.node, "elts", getattr(site.node, "keys", [])
    ):
        return edits.safe(f"make it a {better}", edits.replace(site.node, f"{text}()"), imports)
    return edits.safe(f"make it a {better}", edits.wrap(site.node, f"{text}(", ")"), imports)


class NonLeafParameter(Rule):
    """A converted copy of a parameter is used as if it were the parameter.

    ## What it does
    Finds `nn.Parameter(x).to(...)` and its kin (`half`, `cuda`, `float`), and a plain tensor set over
    a registered parameter.

    ## Why is this bad?
    `.to` on a parameter returns a tensor that is no parameter and no leaf: the module does not register
    it, and an optimizer refuses it (`can't optimize a non-leaf Tensor`). Set over a registered
    parameter it is a TypeError. Where the conversion changes nothing, `.to` returns the parameter
    itself: on a CPU everything works, and the error comes with the first GPU.

    ## Example
    ```python
    self.lora_A = nn.Parameter(torch.zeros(rank, width)).to(device)
    ```

    ## Use instead
    ```python
    self.lora_A = nn.Parameter(torch.zeros(rank, width).to(device))
    ```

    ## Fix safety
    The fix moves the conversion inside `nn.Parameter(...)`. It is safe: the values are the same. A
    conversion to FP16 has no fix: the parameter would then be trained in FP16.

    ## References
    - [torch.Tensor.is_leaf](https://docs.pytorch.org/docs/stable/generated/torch.Tensor.is_leaf.html)

    ## Beyond the checklist
    The checklist asks that adapters' parameters are collected and are on their device; this is the way
    of moving them that undoes the first.
    """

    code = "QA1219"
    severity = Severity.CRITICAL
    checklist = ()
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (ADAPT,)
    subject = staticmethod(parametric)

    def check(self, modules: Modules) -> Iterator[Finding]:
        """Conversions right at the parameter's construction, and tensors set over parameters."""
        seen: set[ast.AST] = set()
        for event in modules.all("nonleaf"):
            node = event.site.node
            if node in seen or (event.name != "assign" and not event.grad):
                continue
            if event.name == "store" and (copied := unregistered(event)) is not None:
                seen.add(copied.node)
                yield self.finding(
                    modules.place(copied),
                    f"`{event.info['attribute']}` is a converted copy of a parameter, which the module "
                    "does not register",
                    help="convert the tensor before it becomes a parameter",
                )
            elif event.name == "assign":
                seen.add(node)
                attribute = event.info["attribute"]
                yield self.finding(
                    modules.place(event.site),
                    f"`{ast.unparse(node)}` is a registered parameter, and a plain tensor is set over it",
                    related=[Related(modules.place(event.target.site), "the parameter is made here")],
                    help=f"set its data ({attribute}.data = ...), or make a new nn.Parameter",
                )
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                inner = node.func.value
                made = (
                    isinstance(event.target, Param)
                    and event.target.site is not None
                    and event.target.site.node is inner
                )
                if not made or event.flag:
                    continue
                seen.add(node)
                yield self.finding(
                    modules.place(event.site),
                    f"`{event.name}` on a new parameter returns a tensor that is no parameter any more",
                    fix=convert_inside(event),
                    help="convert the tensor before it becomes a parameter",
                )


def unregistered(event: Event) -> Site | None:
    """Where a module's own parameter was converted, of which it keeps the copy alone, while it is built."""
    value = event.value
    cells = [cell for cell, _ in value.weights] if isinstance(value, Tensor) else []
    if not event.flag or len(cells) != 1 or not isinstance(cells[0], Param) or registered(cells[0]):
        return None
    inner = getattr(getattr(value.site.node, "func", None), "value", None)
    if cells[0].site is not None and cells[0].site.node is inner:
        return None  # `nn.Parameter(x).to(y)`: told where it is written
    return value.site if isinstance(value.site, Site) else None


HALVES = frozenset({"torch.float16", "torch.half"})


def convert_inside(event: Event) -> Fix | None:
    """`nn.Parameter(x).to(y)` becomes `nn.Parameter(x.to(y))`."""
    call = event.site.node
    edits = event.site.file.get(Edits)
    if edits is None or not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return None
    made = call.func.value
    if not isinstance(made, ast.Call) or not made.args:
        return None
    if call.func.attr == "half" or any(ast.unparse(one) in HALVES for one in call.args):
        return None  # then it would be registered and trained in FP16, which is no better
    tensor = made.args[0]
    text = edits.segment(call)
    tail = text[len(edits.segment(made)) :].strip()
    if not tail.startswith("."):
        return None
    inside = edits.segment(tensor)
    if not isinstance(tensor, ast.Name | ast.Call | ast.Attribute | ast.Subscript):
        inside = f"({inside})"
    body = edits.segment(made)
    start = edits.segment(made).index(edits.segment(tensor))
    whole = body[:start] + inside + tail + body[start + len(edits.segment(tensor)) :]
    return edits.safe("convert the tensor before it becomes a parameter", edits.replace(call, whole))
