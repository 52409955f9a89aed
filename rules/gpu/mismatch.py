"""Tensors that meet on different devices or in different dtypes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Adapters, Event, Modules
from qalint.analysis.modules.adapters import held_by, own_cells
from qalint.analysis.modules.needles import DEVICE, USE, USED
from qalint.analysis.modules.subjects import placed, typed
from qalint.analysis.modules.torchlib import DTYPES, FACTORIES, WEIGHTED
from qalint.analysis.modules.values import FLOATS, Batch, Cell, Dict, Func, Mod, Site, Tensor, Value, each
from qalint.rule import Finding, Fix, Related, Rule, Severity

from .tensors import mapping, plain_attributes, visible

LOSS = re.compile(r"Loss$|loss$|cross_entropy|entropy_with_logits$|kl_div$")
"""What compares a model's output with a part of the batch, by its name."""
MADE = frozenset({"factory", "leaf"})
"""Tensors that the program itself made, of which it is known that they are on the CPU."""


class DeviceMismatch(Rule):
    """Tensors on different devices are combined.

    ## What it does
    Finds operations one of whose operands is on the CPU (a factory call without `device=`, a batch that
    was never moved) and the other on the device that the program moves its model to.

    ## Why is this bad?
    `Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!` On a
    machine without a GPU nothing shows.

    ## Example
    ```python
    def forward(self, x):
        positions = torch.arange(x.shape[1])
        return self.embed(x) + self.position(positions)
    ```

    ## Use instead
    ```python
    def forward(self, x):
        positions = torch.arange(x.shape[1], device=x.device)
        return self.embed(x) + self.position(positions)
    ```

    ## Fix safety
    The fix gives the factory the other operand's device. It is safe: on one device it changes nothing.

    ## References
    - [CUDA semantics](https://docs.pytorch.org/docs/stable/notes/cuda.html)
    """

    code = "QA1705"
    severity = Severity.HIGH
    checklist = ("17.06",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (USE, DEVICE)
    subject = staticmethod(placed)

    def check(self, modules: Modules, adapters: Adapters) -> Iterator[Finding]:
        """Device clashes that no more specific rule explains, and models that were never moved."""
        seen: set[ast.AST] = set()
        own = {cell for injection in adapters.injections for cell in injection.cells} | adapters.paired
        yield from self.never_moved(modules, own)
        if not visible(modules):
            return
        yield from self.encodings(modules)
        yield from self.left_on_cpu(modules, seen)
        attributes = plain_attributes(modules)
        for event in modules.all("clash"):
            if event.how != "device":
                continue
            cpu, other = event.target, event.value
            if not cpu.device or cpu.device.kinds != {"cpu"}:
                cpu, other = other, cpu
            if cpu.source not in MADE or (cpu.site is not None and cpu.site.node in attributes):
                continue
            if any(cell in own for tensor in (cpu, other) for cell, _ in tensor.weights):
                continue
            if any(cell.cell in own for tensor in (cpu, other) for cell in tensor.chain):
                continue
            site = cpu.site if cpu.source in {"factory"} and cpu.site is not None else event.site
            if site.node in seen or event.site.node in seen:
                continue
            seen |= {site.node, event.site.node}
            device = other.device.term if other.device is not None else "the device"
            yield self.finding(
                modules.place(site),
                "a tensor on the CPU meets one on "
                f"{device if device in {'cuda', 'device_map'} else 'the model' + chr(39) + 's device'}",
                related=[
                    *(
                        []
                        if site.node is event.site.node
                        else [Related(modules.place(event.site), "they meet here")]
                    ),
                    *left_behind(modules, cpu.site),
                ],
                fix=on_device(site, event),
                help="make it on the device of what it meets: device=x.device",
            )

    def encodings(self, modules: Modules) -> Iterator[Finding]:
        """What a tokenizer gave, in a model that was moved."""
        seen: set[ast.AST] = set()
        for event in modules.all("forward"):
            model = event.target
            if event.site.node in seen or not isinstance(model, Mod) or not outermost(event):
                continue
            given = next((value for value in event.args if from_tokenizer(value)), None)
            if (
                given is None
                or not event.info["sure"]
                or escaped(modules, event)
                or moves_inputs(modules, event)
            ):
                continue
            moved = moved_to_gpu(modules, event)
            if moved is None or "device_map" in model.args:
                continue
            seen.add(event.site.node)
            yield self.finding(
                modules.place(event.site),
                f"what the tokenizer gives is on the CPU, but `{model.name or 'the model'}` has been moved "
                "to its device",
                related=[
                    Related(modules.place(moved.site), f"`{model.name or 'the model'}` is moved here"),
                    *(
                        Related(modules.place(option.site), "the tensors are made here")
                        for option in each(given)[:1]
                        if isinstance(option, Batch | Tensor) and option.site is not None
                    ),
                ],
                help="move them first: inputs = inputs.to(device)",
            )

    def left_on_cpu(self, modules: Modules, seen: set[ast.AST]) -> Iterator[Finding]:
        """Tensors made on the CPU that a library's model is fed after it was moved."""
        for event in modules.all("forward"):
            model = event.target
            if event.site.node in seen or not isinstance(model, Mod) or not outermost(event):
                continue
            if model.cls is not None or not str(model.qual).startswith("transformers."):
                continue
            if not event.info["sure"] or escaped(modules, event) or "device_map" in model.args:
                continue
            made = next(
                (
                    option
                    for option in tensors_in(without_labels(event))
                    if option.device is not None and option.device.kinds == {"cpu"} and option.source in MADE
                ),
                None,
            )
            moved = moved_to_gpu(modules, event)
            if made is None or moved is None:
                continue
            seen.add(event.site.node)
            related = [Related(modules.place(moved.site), f"`{model.name or 'the model'}` is moved here")]
            if made.site is not None:
                related.append(Related(modules.place(made.site), "the tensor is made here, on the CPU"))
            yield self.finding(
                modules.place(event.site),
                f"a tensor on the CPU goes into `{model.name or 'the model'}`, which was moved to its device",
                related=[*related, *left_behind(modules, made.site)],
                help="move it first: x = x.to(device)",
            )

    def never_moved(self, modules: Modules, own: set[Cell]) -> Iterator[Finding]:
        """Models made on the CPU that are fed what was made on, or moved to, a device."""
        seen: set[ast.AST] = set()
        if modules.run.default_device:
            return
        for event in modules.all("forward"):
            model = event.target
            if not isinstance(model, Mod) or model.parent is not None or not model.loaded or event.inside:
                continue
            if not event.info["sure"]:
                continue
            if event.program in modules.run.parents and tuple(model.stack) != event.stack:
                continue  # of an object that nobody is seen to make: whoever makes it can move it
            if (
                event.site.node in seen
                or "device" in model.args
                or "device_map" in model.args
                or model.holders
            ):
                continue
            fed = next(
                (
                    option
                    for option in tensors_in(event.args)
                    if option.device is not None and "cuda" in option.device.kinds
                ),
                None,
            )
            here = modules.run.device_of(model)
            if fed is None or here is None or here.kinds != {"cpu"} or _moved_or_gone(modules, model):
                continue
            if all(cell in own or not has_weights(cell) for cell in own_cells(model)):
                continue
            if any(not isinstance(element, Mod) for element in model.elements):
                continue
            places = [modules.run.device_of(cell) for cell in own_cells(model)]
            elsewhere = any(place is not None and place.kinds != {"cpu"} for place in places)
            if (elsewhere or _parts_moved(modules, model)) and not stays(modules, event, own):
                continue
            if None in places and model.cls is None:
                continue  # of a class of the program it is seen what meets the input
            if not shown(modules, event):
                continue
            seen.add(event.site.node)
            related = (
                [Related(modules.place(model.site), "the model is made here, on the CPU")]
                if model.site
                else []
            )
            yield self.finding(
                modules.place(event.site),
                f"the input is on the device, but `{model.name or 'the model'}` was never moved there",
                related=related,
                help="move the model first: model.to(device)",
            )


def without_labels(event: Event) -> list[Value]:
    """What a model of transformers is called with, but for the labels, which it moves itself."""
    named = event.info["kwargs"]
    positional = event.args[: len(event.args) - len(named)]
    return [*positional, *(value for name, value in named.items() if name != "labels")]


def tensors_in(values: Iterable[Value]) -> Iterator[Tensor]:
    """The tensors among arguments and in the dicts among them, but for their labels."""
    for value in values:
        for option in each(value):
            if isinstance(option, Tensor):
                yield option
            elif isinstance(option, Dict):
                rest = {key: inner for key, inner in option.pairs.items() if key != "labels"}
                yield from tensors_in([*rest.values(), *option.rest])


def shown(modules: Modules, call: Event) -> bool:
    """Whether a layer is seen to meet the input: a class of the program's own may move what it is given."""
    model = call.target
    if not any(isinstance(cell, Mod) and cell.cls is not None for cell in own_cells(model)):
        return True
    return any(
        event.how == "device"
        and event.time > call.time
        and (event.site.node is call.site.node or any(site.node is call.site.node for site in event.stack))
        for event in modules.all("clash")
    )


def has_weights(cell: Cell) -> bool:
    """Whether a module or parameter is known to have parameters of its own."""
    if isinstance(cell, Mod):
        return cell.kind.startswith(WEIGHTED) or str(cell.qual).startswith("transformers.")
    return True


def _moved_or_gone(modules: Modules, model: Mod) -> bool:
    """Whether a model, or what holds it, was moved, or it or something in it went out of sight."""
    return any(
        isinstance(event.target, Mod)
        and (held_by(model, event.target) or (event.kind != "move" and held_by(event.target, model)))
        for event in modules.all("move", "escape", "train")
    )


def _parts_moved(modules: Modules, model: Mod) -> bool:
    """Whether something in a model was moved by itself."""
    return any(
        isinstance(event.target, Mod) and held_by(event.target, model) for event in modules.all("move")
    )


def stays(modules: Modules, call: Event, own: set[Cell]) -> bool:
    """Whether a layer of the called model, no adapter, is seen to meet the input where it was made."""
    moves = [event.target for event in modules.all("move") if isinstance(event.target, Cell)]
    return any(
        event.how == "device"
        and event.time > call.time
        and any(site.node is call.site.node for site in event.stack)
        and isinstance(cell, Mod)
        and cell not in own
        and held_by(cell, call.target)
        and not any(held_by(cell, moved) for moved in moves)
        for event in modules.all("clash")
        for tensor in (event.target, event.value)
        if isinstance(tensor, Tensor)
        for cell, _ in tensor.weights
    )


def on_device(site: Site, event: Event) -> Fix | None:
    """Give a factory call in a function the device of one of its tensor arguments."""
    edits = site.file.get(Edits)
    call = site.node
    if edits is None or not isinstance(call, ast.Call):
        return None
    if ast.unparse(call.func).rsplit(".", 1)[-1] not in FACTORIES or any(
        k.arg == "device" for k in call.keywords
    ):
        return None
    function = edits.function(call)
    if function is None or function.name != "forward" or len(function.args.args) < 2:
        return None
    return edits.safe(
        "make it on the input's device",
        edits.add_argument(call, f"device={function.args.args[1].arg}.device"),
    )


class BatchNotMoved(Rule):
    """A loader's batch goes into a model on a device without being moved there.

    ## What it does
    Finds models that were moved to a device and are called with what a `DataLoader` yields, where neither
    the batch nor its parts were moved.

    ## Why is this bad?
    A data loader yields tensors on the CPU: `Expected all tensors to be on the same device, but found at
    least two devices, cuda:0 and cpu!`

    ## Example
    ```python
    model.to(device)
    for x, y in loader:
        loss = loss_fn(model(x), y)
    ```

    ## Use instead
    ```python
    model.to(device)
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        loss = loss_fn(model(x), y)
    ```

    ## Fix safety
    The fix moves the parts at the start of the loop, where they have names and the device has one. It is
    unsafe: how the batch is built is not always in sight.

    ## References
    - [torch.utils.data.DataLoader](https://docs.pytorch.org/docs/stable/data.html)
    """

    code = "QA1707"
    severity = Severity.HIGH
    checklist = ("17.06",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = ((b"DataLoader",), DEVICE)

    def check(self, modules: Modules) -> Iterator[Finding]:
        """Calls of moved models with batches that were not."""
        if not visible(modules):
            return
        seen: set[ast.AST] = set()
        for event in modules.all("forward"):
            if event.site.node in seen or not isinstance(event.target, Mod) or not outermost(event):
                continue
            if str(event.target.qual).startswith("torch.nn.") and not has_weights(event.target):
                if event.target.cls is None and not event.target.elements:
                    continue
            given = event.args
            if str(event.target.qual).startswith("transformers."):
                given = without_labels(event)
            batch = next((value for value in given if on_cpu(value)), None)
            if batch is None or escaped(modules, event) or moves_inputs(modules, event):
                continue
            if moved_as_mapping(modules, batch):
                continue
            moved = moved_to_gpu(modules, event)
            if moved is None:
                continue
            loader = next((option.site for option in each(batch) if isinstance(option, Batch | Tensor)), None)
            seen.add(event.site.node)
            related = [
                Related(modules.place(moved.site), f"`{event.target.name or 'the model'}` is moved here")
            ]
            if loader is not None:
                seen.add(loader.node)
                related.append(Related(modules.place(loader), "the loader yields tensors on the CPU"))
                related += left_behind(modules, loader)
            yield self.finding(
                modules.place(event.site),
                f"the batch is on the CPU, but `{event.target.name or 'the model'}` has "
                "been moved to its device",
                related=related,
                fix=move_parts(event, moved),
                help="move the batch first: x = x.to(device)",
            )
        yield from self.targets(modules, seen)

    def targets(self, modules: Modules, seen: set[ast.AST]) -> Iterator[Finding]:
        """What a model on the device gave meets the part of the batch that stayed behind: a loss, `==`."""
        for event in modules.all("clash"):
            if event.how != "device" or event.site.node in seen:
                continue
            if event.name != "==" and not LOSS.search(event.name):
                continue
            cpu = event.target
            if not cpu.device or cpu.device.kinds != {"cpu"}:
                cpu = event.value
            if cpu.site is not None and cpu.site.node in seen:
                continue  # the whole batch stayed behind
            if not on_cpu(cpu) or moved_as_mapping(modules, cpu):
                continue
            seen.add(event.site.node)
            made = [Related(modules.place(cpu.site), "the loader yields tensors on the CPU")]
            yield self.finding(
                modules.place(event.site),
                "this part of the batch is on the CPU, but what it is compared with is on the model's device",
                related=[*made, *left_behind(modules, cpu.site)] if cpu.site is not None else [],
                help="move it first: y = y.to(device)",
            )


def left_behind(modules: Modules, made: Site | None) -> list[Related]:
    """Moves of what was made at a place whose results are thrown away."""
    return [
        Related(modules.place(event.site), "this leaves it where it is")
        for event in modules.all("discard")
        if made is not None and event.target.site is not None and event.target.site.node is made.node
    ]


def moved_as_mapping(modules: Modules, batch: Value) -> bool:
    """Whether a part of a batch that is used as a mapping was told to move, which it does in place."""
    sites = {option.site.node for option in each(batch) if isinstance(option, Tensor) and option.site}
    return any(
        event.target.site is not None and event.target.site.node in sites and mapping(event)
        for event in modules.all("discard")
    )


def moves_inputs(modules: Modules, call: Event) -> bool:
    """Whether the forward of the called model moves tensors by itself, and none is seen to be forgotten."""
    forward = call.target.cls.find("forward") if call.target.cls is not None else None
    return (
        isinstance(forward, Func)
        and any(moving(node) for node in ast.walk(forward.node))
        and not any(
            event.how == "device" and any(site.node is call.site.node for site in event.stack)
            for event in modules.all("clash")
        )
    )


def moving(node: ast.AST) -> bool:
    """Whether a call may move a tensor: `to` with a dtype alone does not."""
    match node:
        case ast.Call(func=ast.Attribute(attr="cuda")):
            return True
        case ast.Call(func=ast.Attribute(attr="to"), args=args, keywords=keywords):
            given = [*args, *(keyword.value for keyword in keywords if keyword.arg != "dtype")]
            names = [ast.unparse(value).rsplit(".", 1)[-1] for value in given]
            return any(name != "dtype" and name not in DTYPES for name in names)
        case _:
            return False


def outermost(event: Event) -> bool:
    """Whether a call of a module is not made inside another module's method."""
    return not event.inside


def on_cpu(value: Value) -> bool:
    """Whether a value is what a loader yields, moved on no path."""
    return all(
        (isinstance(option, Batch) and not option.moved and not option.kind)
        or (
            isinstance(option, Tensor)
            and option.source in {"batch", "part"}
            and option.device is not None
            and option.device.kinds == {"cpu"}
        )
        for option in each(value)
    )


def from_tokenizer(value: Value) -> bool:
    """Whether a value is what a tokenizer gave, moved on no path."""
    return all(
        (isinstance(option, Batch) and option.kind != "" and not option.moved)
        or (
            isinstance(option, Tensor)
            and option.source == "encoding"
            and option.device is not None
            and option.device.kinds == {"cpu"}
        )
        for option in each(value)
    )


def escaped(modules: Modules, event: Event) -> bool:
    """Whether the model was handed to a framework or another unseen function before."""
    return any(
        (
            other.target is event.target
            or (isinstance(other.target, Mod) and held_by(other.target, event.target))
        )
        and modules.before(other, event)
        for other in modules.all("escape", "scatter")
    )


def moved_to_gpu(modules: Modules, event: Event) -> Event | None:
    """The move of the called model to a device that can be a GPU."""
    moves = [
        other
        for other in modules.all("move")
        if other.target is event.target and modules.before(other, event)
    ]
    if not moves or moves[-1].value is None or "cuda" not in moves[-1].value.kinds:
        return None
    return moves[-1]


def move_parts(event: Event, moved: Event) -> Fix | None:
    """Move the loop's names at the start of its body."""
    edits = event.site.file.get(Edits)
    call = moved.site.node
    loop = next((loop for loop in reversed(event.loops) if isinstance(loop, ast.For)), None)
    if (
        edits is None
        or loop is None
        or not isinstance(call, ast.Call)
        or moved.site.file is not event.site.file
    ):
        return None
    target = loop.target
    if isinstance(loop.iter, ast.Call) and ast.unparse(loop.iter.func) == "enumerate":
        if not isinstance(target, ast.Tuple) or len(target.elts) != 2:
            return None
        target = target.elts[1]  # the first is a number
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    if len(names) != len(parts):
        return None
    fed = {part.id for part in getattr(event.site.node, "args", []) if isinstance(part, ast.Name)}
    if isinstance(target, ast.Name) and target.id not in fed:
        return None  # a part of it is fed, and what else it holds is not seen
    device = (
        edits.segment(call.args[0])
        if call.args
        else '"cuda"'
        if isinstance(call.func, ast.Attribute) and call.func.attr == "cuda"
        else None
    )
    if device is None:
        return None
    if any(
        isinstance(node, ast.Attribute) and node.attr in {"cpu", "numpy"}
        for statement in loop.body
        for node in ast.walk(statement)
    ):
        # What the model gives goes back to the CPU, and meets the rest of the batch there.
        names = [name for name in names if name in fed]
        if not names:
            return None
    line = ", ".join(names) + " = " + ", ".join(f"{name}.to({device})" for name in names)
    return edits.unsafe("move the batch to the device", edits.insert_before(loop.body[0], line))


class InputDtypeNotMatched(Rule):
    """A model is fed floating numbers of another dtype than its own.

    ## What it does
    Finds models whose dtype is known (cast, or loaded so) and that are called with a floating tensor of
    another known dtype, where no autocast is in force.

    ## Why is this bad?
    `RuntimeError: mat1 and mat2 must have the same dtype, but got Float and Half`. Token ids are
    integers and need no cast; pixels, audio and other features do.

    ## Example
    ```python
    model.half()
    out = model(torch.randn(4, 64, device=device))
    ```

    ## Use instead
    ```python
    model.half()
    out = model(torch.randn(4, 64, device=device, dtype=torch.float16))
    ```

    ## Fix safety
    The fix casts the input to the dtype of the model's parameters. It is unsafe: autocast may be what
    was meant.

    ## References
    - [Automatic mixed precision](https://docs.pytorch.org/docs/stable/amp.html)
    """

    code = "QA1710"
    severity = Severity.HIGH
    checklist = ("11.10", "17.07")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (USE, USED, (b"half", b"float16", b"float64", b"double", b"dtype", b"import numpy"))
    subject = staticmethod(typed)

    def check(self, modules: Modules) -> Iterator[Finding]:
        """Calls of models with a floating tensor of another dtype."""
        seen: set[ast.AST] = set()
        run = modules.run
        for event in modules.all("forward"):
            model = event.target
            if event.site.node in seen or not isinstance(model, Mod) or model.parent is not None:
                continue
            if event.autocast is not False or not model.loaded or event.inside or model.holders:
                continue
            if not event.info["sure"] or escaped(modules, event) or rebuilt(modules, event):
                continue
            own = event.info["dtype"]
            if own not in FLOATS:
                continue
            wrong = next(
                (
                    option
                    for value in event.args
                    for option in each(value)
                    if isinstance(option, Tensor) and option.dtype in FLOATS and option.dtype != own
                ),
                None,
            )
            if wrong is None or wrong.dtype is None or not reaches_weights(modules, event, wrong.dtype):
                continue
            if any(run.dtype_of(cell) not in {own, None} for cell in own_cells(model)):
                continue  # some of it is of another dtype: which layer gets what is not for this rule
            seen.add(event.site.node)
            cast = last_cast(modules, event)
            related = (
                [Related(modules.place(cast.site), f"`{model.name or 'the model'}` becomes {own} here")]
                if cast is not None
                else []
            )
            if wrong.site is not None and wrong.site.node is not event.site.node:
                related.append(Related(modules.place(wrong.site), f"the input is {wrong.dtype}"))
            yield self.finding(
                modules.place(event.site),
                f"`{model.name or 'the model'}` is {own}, its input is "
                f"{wrong.dtype}, and no autocast is in force",
                related=related,
                fix=cast_argument(event, str(own)),
                help=f"cast the input: x.to(torch.{own})",
            )
        del run


def rebuilt(modules: Modules, call: Event) -> bool:
    """Whether layers of the called model were replaced, in a function or under a name that is computed."""
    return any(
        isinstance(event.target, Mod)
        and (event.kind == "replaced" or event.how in {"setattr", "item", "add_module", "register_module"})
        and (held_by(event.target, call.target) or event.target.root is call.target.root)
        and event.time < call.time
        for event in modules.all("attach", "replaced")
    )


def reaches_weights(modules: Modules, call: Event, dtype: str) -> bool:
    """Whether an input of this dtype meets the model's parameters as it is.

    Where the model's forward is in sight, a product in it has to show that; a forward may cast.
    """
    model = call.target
    if model.cls is None and not str(model.qual).startswith("torch.nn."):
        return True
    return any(
        event.how == "dtype"
        and event.time > call.time
        and (event.site.node is call.site.node or any(site.node is call.site.node for site in event.stack))
        and any(
            one.dtype == dtype and other.weights
            for one, other in ((event.target, event.value), (event.value, event.target))
        )
        for event in modules.all("clash")
    )


def last_cast(modules: Modules, event: Event) -> Event | None:
    """The cast that gave the called model its dtype."""
    casts = [
        other
        for other in modules.all("cast")
        if other.target is event.target and other.time < event.time and other.program == event.program
    ]
    return casts[-1] if casts else None


def cast_argument(event: Event, dtype: str) -> Fix | None:
    """Cast the first argument of a call."""
    edits = event.site.file.get(Edits)
    node = event.site.node
    if edits is None or not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords:
        return None
    if not isinstance(node.args[0], ast.Name | ast.Call | ast.Attribute | ast.Subscript):
        return None
    spelled = edits.spelling(f"torch.{dtype}", node)
    if spelled is None:
        return None
    text, imports = spelled
    return edits.unsafe("cast the input", edits.wrap(node.args[0], "", f".to({text})"), imports)
