"""Evidence for sections 12 and 17: adapters, layers, devices and timing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..analysis.modules import Adapters
from ..analysis.modules.values import Cell, Clock, Mod, Optim, Param, Tensor, Value
from ..file import File
from ..source import Span
from .evidence import Facts, absent, at, leaf, not_applicable, passed, provides, unknown
from .verdicts import Evidence, Judgement
from .worlds import device_at

_NO_ADAPTERS = "no adapters found"
_NAMES_ADAPTERS = re.compile(r"lora|adapter|peft|low_?rank|inject|bottleneck", re.IGNORECASE)
_FACTORIES = frozenset(
    {"zeros", "ones", "randn", "rand", "randint", "arange", "empty", "full", "tensor", "linspace", "eye"}
)


def _adapters(facts: Facts) -> tuple[Adapters | None, Judgement | None]:
    """The adapters of a file, or the judgement that holds without them.

    The analysis follows imports, so it is asked for only where the text gives reason to.
    """
    if not _NAMES_ADAPTERS.search(facts.file.source.text):
        return None, not_applicable(_NO_ADAPTERS)
    found = facts.get(Adapters)
    if isinstance(found, Adapters) and found.injections:
        return found, None
    lora = next((each for each in facts.decisions.kind("architecture") if each.topic == "LoRA"), None)
    if lora is None or not facts.decisions.trains:
        return None, facts.elsewhere("LoRA") or not_applicable(_NO_ADAPTERS)
    return None, unknown(
        "adapters are named here, and their injection could not be followed", [facts.at(lora.node, lora.text)]
    )


def _functions(facts: Facts) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (
        node for node in ast.walk(facts.file.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


_CONV = re.compile(r"Conv1D")
_LINEAR = re.compile(r"\bLinear\b")


def _tests(facts: Facts, pattern: re.Pattern[str]) -> list[ast.expr]:
    """The tests of a layer's kind, and calls of functions of the file that make them.

    `isinstance(m, nn.Linear)`, `type(m).__name__ == "Conv1D"`, `is_conv1d(m)`.
    """
    found = [node for node in ast.walk(facts.file.tree) if _is_test(node, pattern)]
    inside = {id(node) for node in found}
    helpers = {
        function.name
        for function in _functions(facts)
        if len(function.body) <= 3 and any(id(node) in inside for node in ast.walk(function))
    }
    found += [call for call in facts.calls if isinstance(call.func, ast.Name) and call.func.id in helpers]
    tests = [node for node in found if isinstance(node, ast.expr)]
    return sorted(tests, key=lambda node: (node.lineno, node.col_offset))


def _is_test(node: ast.AST, pattern: re.Pattern[str]) -> bool:
    if isinstance(node, ast.Call):
        return leaf(node.func) == "isinstance" and bool(
            pattern.search(ast.unparse(node.args[-1]) if node.args else "")
        )
    if isinstance(node, ast.Compare):
        text = ast.unparse(node)
        return bool(pattern.search(text) and re.search(r"__name__|__class__|type\(|kind", text))
    return False


def _reads(facts: Facts) -> list[ast.Attribute]:
    """Where the dimensions of a layer are read."""
    found = [
        node
        for node in ast.walk(facts.file.tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and (
            node.attr in ("in_features", "out_features", "nf", "nx")
            or (
                node.attr == "shape" and isinstance(node.value, ast.Attribute) and node.value.attr == "weight"
            )
        )
        and ast.unparse(node.value) not in ("self", "self.weight")
    ]
    return sorted(found, key=lambda node: (node.lineno, node.col_offset))


@provides("12.01")
def conv1d_order(facts: Facts) -> Judgement:
    """The shape of a Conv1D is read after its kind was tested."""
    tests = _tests(facts, _CONV)
    reads = [node for node in _reads(facts) if node.attr in ("shape", "nf", "nx")]
    if not tests or not reads:
        return not_applicable("no Conv1D's weight is read")
    return passed(
        [
            facts.at(tests[0], f"tested: {facts.code(tests[0])}"),
            *(facts.at(n, f"read: {facts.code(n)}") for n in reads),
        ]
    )


@provides("12.02")
def linear_order(facts: Facts) -> Judgement:
    """The dimensions of a Linear are read by their names, which cannot be mixed up."""
    named = [node for node in _reads(facts) if node.attr in ("in_features", "out_features")]
    if named:
        return passed([facts.at(node, f"read by its name: {facts.code(node)}") for node in named])
    if _tests(facts, _LINEAR) and _reads(facts):
        return unknown(
            "a Linear's weight is read by its shape",
            [facts.at(node, facts.code(node)) for node in _reads(facts)],
        )
    return not_applicable("no Linear's dimensions are read")


@provides("12.03")
def kind_tested_first(facts: Facts) -> Judgement:
    """A test of the kind stands above the reading, in the same function."""
    reads = _reads(facts)
    if not reads:
        return not_applicable("no layer's dimensions are read")
    tests = [*_tests(facts, _CONV), *_tests(facts, _LINEAR)]
    for function in _functions(facts):
        inside = {id(node) for node in ast.walk(function)}
        here = [node for node in tests if id(node) in inside]
        read = [node for node in reads if id(node) in inside]
        if here and read and here[0].lineno <= read[0].lineno:
            return passed(
                [
                    facts.at(here[0], f"tested: {facts.code(here[0])}"),
                    facts.at(read[0], f"then read: {facts.code(read[0])}"),
                ]
            )
    if tests:
        return unknown(
            "the kind is tested elsewhere than where the dimensions are read",
            [facts.at(reads[0], facts.code(reads[0]))],
        )
    return unknown("no test of the layer's kind was seen", [facts.at(reads[0], facts.code(reads[0]))])


@provides("12.04", "17.04")
def both_kinds(facts: Facts) -> Judgement:
    """Both Conv1D and Linear are tested for."""
    conv, linear = _tests(facts, _CONV), _tests(facts, _LINEAR)
    if conv and linear:
        return passed([facts.at(conv[0], facts.code(conv[0])), facts.at(linear[0], facts.code(linear[0]))])
    adapters, otherwise = _adapters(facts)
    if adapters is None:
        return otherwise or not_applicable(_NO_ADAPTERS)
    if all(injection.peft for injection in adapters.injections):
        first = adapters.injections[0].first
        return passed([at(adapters.place(first.site), "PEFT adapts Conv1D and Linear alike")])
    return absent(
        "only one kind of layer was seen to be asked for",
        [facts.at(node, facts.code(node)) for node in (*conv, *linear)],
    )


@provides("17.01")
def conv1d_recognised(facts: Facts) -> Judgement:
    """Conv1D is tested for."""
    tests = _tests(facts, _CONV)
    if tests:
        return passed([facts.at(node, f"recognised: {facts.code(node)}") for node in tests])
    adapters, otherwise = _adapters(facts)
    if adapters is None:
        return otherwise or not_applicable(_NO_ADAPTERS)
    if re.search(r"gpt-?2|c_attn", facts.file.source.text, re.IGNORECASE):
        return absent("GPT-2 is named, and no test for Conv1D was seen")
    return not_applicable("no GPT-2")


@provides("17.02")
def linear_recognised(facts: Facts) -> Judgement:
    """Linear is tested for."""
    tests = _tests(facts, _LINEAR)
    if tests:
        return passed([facts.at(node, f"recognised: {facts.code(node)}") for node in tests])
    adapters, otherwise = _adapters(facts)
    if adapters is None:
        return otherwise or not_applicable(_NO_ADAPTERS)
    if re.search(r"llama|mistral|q_proj", facts.file.source.text, re.IGNORECASE):
        return absent("LLaMA is named, and no test for Linear was seen")
    return not_applicable("no LLaMA")


_FAMILIES = {
    "GPT-2": (re.compile(r"^(?:\w+/)?(?:distil)?gpt2", re.I), re.compile(r"^c_(?:attn|proj|fc)$|\bc_attn\b")),
    "LLaMA": (
        re.compile(r"llama|mistral", re.I),
        re.compile(r"^[qkvo]_proj$|\bq_proj\b|^(?:gate|up|down)_proj$"),
    ),
}


@provides("17.03")
def names_fit(facts: Facts) -> Judgement:
    """The model's literal name and the layers' literal names are of one family."""
    strings = [
        (node, node.value)
        for node in ast.walk(facts.file.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    layers = {
        family: [(node, text) for node, text in strings if len(text) < 60 and names.search(text)]
        for family, (_, names) in _FAMILIES.items()
    }
    seen: list[Evidence] = _own_layers(facts)
    if seen:
        return passed(seen)
    if not any(layers.values()):
        return not_applicable("no layers are looked for by name")
    for family, (model, _) in _FAMILIES.items():
        models = [
            (node, text)
            for node, text in strings
            if len(text) < 80 and " " not in text and model.search(text)
        ]
        if not models:
            continue
        loaded = facts.at(models[0][0], f"a {family}: {models[0][1]!r}")
        if not layers[family]:
            return unknown(f"a {family} is loaded, and none of its layers is named", [loaded])
        layer = layers[family][0]
        seen += [loaded, facts.at(layer[0], f"its layers: {layer[1]!r}")]
    if seen:
        return passed(seen)
    first = next(found[0] for found in layers.values() if found)
    return absent("it is not known which model the names are for", [facts.at(*first)])


def _own_layers(facts: Facts) -> list[Evidence]:
    """The names by which layers are looked for that each of the program's own models really has."""
    adapters, _ = _adapters(facts)
    seen: list[Evidence] = []
    for injection in adapters.injections if adapters is not None else ():
        layers = _layer_names(injection.model)
        file = injection.first.site.file
        named = [
            node
            for node in ast.walk(file.tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in layers
        ]
        if injection.model.cls is None or not named:
            return []
        kind = injection.model.cls.name
        seen += [at(file.place(node), f"{node.value!r} is a layer of {kind}") for node in named[:2]]
    return seen


def _layer_names(model: Mod) -> set[str]:
    """The names of all layers in a model whose class is in sight."""
    names: set[str] = set()
    todo: list[Value] = [model]
    met: set[int] = set()
    while todo:
        part = todo.pop()
        if not isinstance(part, Mod) or id(part) in met:
            continue
        met.add(id(part))
        names |= {name for name, value in part.attrs.items() if isinstance(value, Mod)}
        todo += [*part.attrs.values(), *part.elements]
    return names


@provides("12.05")
def frozen_first(facts: Facts) -> Judgement:
    """A freeze of the model comes before the first adapter."""
    adapters, otherwise = _adapters(facts)
    if adapters is None:
        return otherwise or not_applicable(_NO_ADAPTERS)
    seen: list[Evidence] = []
    for injection in adapters.injections:
        where = at(adapters.place(injection.first.site), "the first adapter is injected")
        if injection.peft:
            seen.append(at(adapters.place(injection.first.site), "PEFT freezes the base by itself"))
            continue
        freezes = [
            event
            for event in adapters.modules.all("freeze")
            if event.flag is False
            and event.time < injection.first.time
            and event.program == injection.program
        ]
        if not freezes:
            return absent("no freeze before the injection was seen", [where])
        seen += [at(adapters.place(freezes[0].site), "the base is frozen"), where]
    return passed(seen)


@provides("12.06")
def adapters_in_optimizer(facts: Facts) -> Judgement:
    """An optimizer that is built after the injection owns the adapters."""
    adapters, otherwise = _adapters(facts)
    if adapters is None:
        return otherwise or not_applicable(_NO_ADAPTERS)
    seen: list[Evidence] = []
    for injection in adapters.injections:
        for event in adapters.after(injection, "optimizer", "group"):
            if isinstance(event.target, Optim):
                owned = adapters.selection(event.target, injection)
                if owned & {"all", "trainable", "named", "adapters"}:
                    seen.append(at(adapters.place(event.site), "this optimizer owns the adapters"))
    if seen:
        return passed(seen)
    first = adapters.injections[0].first
    return absent(
        "no optimizer was seen to get the adapters", [at(adapters.place(first.site), "injected here")]
    )


_ON_LAYER = re.compile(r"weight\.device|device\s*=\s*\w+(?:\.\w+)*\.device|\.new_\w+\(")


def _own(adapters: Adapters) -> list[Cell]:
    return [cell for injection in adapters.injections for cell in injection.cells if isinstance(cell, Param)]


@provides("12.07")
def adapters_in_fp32(facts: Facts) -> Judgement:
    """The dtype of every adapter parameter is known, and is FP32."""
    adapters, otherwise = _adapters(facts)
    if adapters is None:
        return otherwise or not_applicable(_NO_ADAPTERS)
    if all(injection.peft for injection in adapters.injections):
        if "autocast_adapter_dtype=False" in facts.file.source.text.replace(" ", ""):
            return unknown("PEFT is told to keep the dtype of the base")
        first = adapters.injections[0].first
        return passed([at(adapters.place(first.site), "PEFT keeps adapters in FP32")])
    parameters = _own(adapters)
    if not parameters or any(adapters.run.dtype_of(cell) != "float32" for cell in parameters):
        return unknown("the dtype of the adapters' parameters is not known")
    sites = [cell.site for cell in parameters if cell.site is not None]
    return passed(
        [at(adapters.place(site), "an adapter's parameters are FP32") for site in dict.fromkeys(sites)]
    )


@provides("12.08")
def adapters_on_device(facts: Facts) -> Judgement:
    """The model moves after the injection, or the adapters are made on a layer's device."""
    adapters, otherwise = _adapters(facts)
    if adapters is None:
        return otherwise or not_applicable(_NO_ADAPTERS)
    moves = list(adapters.modules.all("move"))
    if not moves and not facts.decisions.kind("gpu"):
        return not_applicable("nothing leaves the CPU")
    for injection in adapters.injections:
        after = [event for event in adapters.after(injection, "move") if adapters.about(event, injection)]
        if after:
            return passed([at(adapters.place(after[0].site), "the model moves with its adapters")])
    sites = [cell.site for cell in _own(adapters) if cell.site is not None]
    sources = {file.path: file for file in (facts.file, *(site.file for site in sites))}
    for file in sources.values():
        if given := _ON_LAYER.search(file.source.text):
            place = file.place(Span(given.start(), given.end()))
            return passed([at(place, "made on the device of the layer")])
    return unknown("the device of the adapters could not be followed")


@provides("12.09")
def share_is_seen(facts: Facts) -> Judgement:
    """Trainable parameters are counted."""
    adapters, otherwise = _adapters(facts)
    if adapters is None:
        return otherwise or not_applicable(_NO_ADAPTERS)
    counted = [at(adapters.place(event.site), "counted here") for event in adapters.modules.all("count")]
    if not counted:
        names = ("print_trainable_parameters", "get_nb_trainable_parameters")
        counted = [facts.at(call, facts.code(call)) for call in facts.calls if leaf(call.func) in names]
    return passed(counted) if counted else absent("no count of trainable parameters was seen")


def _adapter_forwards(facts: Facts) -> list[tuple[File, ast.FunctionDef]]:
    """The forward methods of adapter classes, here and in the modules whose adapters are injected."""
    adapters, _ = _adapters(facts)
    cells = _own(adapters) if adapters is not None else []
    files = {facts.file.path: facts.file}
    files |= {cell.site.file.path: cell.site.file for cell in cells if cell.site is not None}
    return [
        (file, method)
        for file in files.values()
        for node in ast.walk(file.tree)
        if isinstance(node, ast.ClassDef) and re.search(r"lora|adapter|low_?rank", node.name, re.IGNORECASE)
        for method in node.body
        if isinstance(method, ast.FunctionDef) and method.name == "forward"
    ]


def _conversion(facts: Facts, what: str) -> Judgement:
    """The conversion of an adapter's input or output, or why none is needed."""
    adapters, otherwise = _adapters(facts)
    forwards = _adapter_forwards(facts)
    if adapters is None and not forwards:
        return otherwise or not_applicable(_NO_ADAPTERS)
    topics = {decision.topic for decision in facts.decisions.kind("architecture")}
    if not topics & {"FP16", "BF16", "mixed precision"} and not re.search(
        r"float16|\.half\(", facts.file.source.text
    ):
        return not_applicable("no reduced precision, so nothing needs converting")
    if not forwards:
        return not_applicable("no adapter class of its own")
    seen = []
    for file, forward in forwards:
        calls = [
            call
            for call in ast.walk(forward)
            if isinstance(call, ast.Call) and leaf(call.func) in ("to", "type_as", "float", "type")
        ]
        calls.sort(key=lambda call: (call.lineno, call.col_offset))
        returned = {
            id(inner)
            for node in ast.walk(forward)
            if isinstance(node, ast.Return)
            for inner in ast.walk(node)
        }
        chosen = [call for call in calls if (id(call) in returned) == (what == "output")]
        if what == "output" and not chosen and len(calls) > 1:
            chosen = calls[1:]
        if chosen:
            text = file.source.segment(chosen[0]).split("\n")[0]
            seen.append(at(file.place(chosen[0]), f"converts its {what}: {text}"))
    if seen:
        return passed(seen)
    modules = facts.modules
    if modules is not None:
        events = list(modules.all("forward"))
        if events and all(event.autocast is True for event in events):
            return passed(
                [at(modules.place(event.site), "runs under autocast, which converts") for event in events]
            )
    file, forward = forwards[0]
    return unknown(f"no conversion of the {what} was seen", [at(file.place(forward), f"`{forward.name}`")])


@provides("12.10")
def input_converted(facts: Facts) -> Judgement:
    """An adapter converts its input, or autocast does."""
    return _conversion(facts, "input")


@provides("12.11")
def output_converted(facts: Facts) -> Judgement:
    """An adapter converts its result back, or autocast does."""
    return _conversion(facts, "output")


@provides("17.05")
def created_on_device(facts: Facts) -> Judgement:
    """Tensors are created with a device."""
    if not facts.decisions.kind("gpu"):
        return not_applicable("no GPU in the code")
    calls = [
        call
        for call in facts.calls
        if leaf(call.func) in _FACTORIES and ast.unparse(call.func).startswith(("torch.", "th."))
    ]
    if not calls:
        return not_applicable("no tensors are created")
    given = [call for call in calls if any(keyword.arg == "device" for keyword in call.keywords)]
    if len(given) < len(calls):
        bare = [call for call in calls if call not in given]
        return unknown(
            "it is not known where a tensor is used", [facts.at(call, facts.code(call)) for call in bare]
        )
    return passed([facts.at(call, f"created on its device: {facts.code(call)}") for call in given])


@provides("17.06")
def inputs_on_device(facts: Facts) -> Judgement:
    """Inputs are moved to the device before the model is called."""
    if not facts.decisions.kind("gpu"):
        return not_applicable("no GPU in the code")
    moved = [
        call
        for call in facts.calls
        if leaf(call.func) in ("to", "cuda")
        and isinstance(call.func, ast.Attribute)
        and re.search(r"device|cuda", ast.unparse(call))
        and re.match(
            r"(?:x|y|inputs?|batch|ids|input_ids|labels?|targets?|images?|data|tokens?|mask|v|t|tensor)\b",
            ast.unparse(call.func.value),
        )
    ]
    if moved:
        return passed([facts.at(call, f"moved: {facts.code(call)}") for call in moved])
    tokenized = [
        call for call in facts.calls if leaf(call.func) == "to" and "token" in ast.unparse(call.func)
    ]
    if tokenized:
        return passed([facts.at(call, f"moved: {facts.code(call)}") for call in tokenized])
    modules = facts.modules
    met: list[Evidence] = []
    for event in modules.all("forward") if modules is not None else ():
        if event.inside or modules is None:
            continue
        tensors = [argument for argument in event.args if isinstance(argument, Tensor)]
        where = device_at(event.target, event) if isinstance(event.target, Mod) else None
        if not tensors or where is None or any(_term(tensor.device) != where for tensor in tensors):
            met.clear()
            break
        met.append(at(modules.place(event.site), "its input is on the device of the model"))
    if met:
        return passed(dict.fromkeys(met))
    return unknown("no input was seen to be moved to the device")


def _term(device: Value | None) -> str | None:
    return device.term if device is not None else None


@provides("17.08")
def timing_waits(facts: Facts) -> Judgement:
    """Timed GPU work is followed by a wait for the device."""
    clocks = [
        call for call in facts.calls if leaf(call.func) in ("perf_counter", "time", "monotonic", "Event")
    ]
    clocks = [
        call for call in clocks if ast.unparse(call.func).startswith(("time.", "torch.cuda.", "perf_counter"))
    ]
    if not clocks or not facts.decisions.kind("gpu"):
        return not_applicable("nothing on a GPU is timed")
    waits = [call for call in facts.calls if leaf(call.func) in ("synchronize", "elapsed_time")]
    if waits:
        return passed([facts.at(call, f"waits for the device: {facts.code(call)}") for call in waits])
    modules = facts.modules
    if modules is None:
        return unknown("no wait for the device was seen", [facts.at(clocks[0], facts.code(clocks[0]))])
    for event in modules.all("clock"):
        began = event.target.time if isinstance(event.target, Clock) else event.time
        began = min(began, event.value.time if isinstance(event.value, Clock) else began)
        if between := [wait for wait in modules.all("wait") if began < wait.time < event.time]:
            return passed(
                [at(modules.place(between[-1].site), "waits for the device before the clock is read")]
            )
    return unknown("no wait for the device was seen", [facts.at(clocks[0], facts.code(clocks[0]))])
