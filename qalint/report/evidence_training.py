"""Evidence for section 11: what the story of a program shows of mixed precision."""

from __future__ import annotations

import ast
import re

from ..analysis.machine.story import (
    Backward,
    Clip,
    Event,
    FrameworkUse,
    OptimizerStep,
    Scale,
    ScalerCreated,
    ScalerStep,
    Story,
    Unscale,
    Update,
)
from ..analysis.modules import Adapters
from ..analysis.modules import Event as ModuleEvent
from ..analysis.modules.values import Cell, Mod, Optim, Param, Params, Tensor, Value
from ..rule import Place
from .evidence import Facts, absent, at, leaf, not_applicable, passed, provides, provides_in_half, unknown
from .verdicts import PASS, Evidence, Judgement
from .verdicts import UNKNOWN as HIDDEN
from .worlds import dtype_at

HALVES = frozenset({"float16", "bfloat16"})
WHOLE = frozenset({"int64", "int32", "int16", "int8", "uint8", "bool"})


class Half:
    """The FP16 training of one file: its story, or the judgement that holds for every item without one."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.story: Story | None = None
        self.otherwise: Judgement | None = None
        topics = {decision.topic: decision for decision in facts.decisions.kind("architecture")}
        half = topics.get("FP16") or topics.get("mixed precision")
        if half is None or not facts.decisions.trains:
            elsewhere = facts.elsewhere("FP16", "mixed precision")
            self.otherwise = elsewhere or not_applicable("no FP16 training found")
            return
        seen = [facts.at(half.node, f"FP16 stands here: {half.text}")]
        found = facts.get(Story)
        if not isinstance(found, Story):
            self.otherwise = unknown("the training could not be followed", seen)
            return
        self.story = found
        if any(isinstance(event, FrameworkUse) for event in found.events):
            framework = next(event for event in found.events if isinstance(event, FrameworkUse))
            name = framework.what.get("framework") or "a framework"
            self.otherwise = unknown(
                f"{name} owns the protocol of mixed precision here", [_at(framework, "taken in here")]
            )
        elif not self.backwards:
            self.otherwise = unknown(_cut(facts, found, "no backward pass was reached"), seen)
        elif not any(self.is_half(event) for event in self.backwards):
            if all(event.what.get("precision") == "bfloat16" for event in self.backwards):
                self.otherwise = not_applicable("training runs in BF16, which needs no scaler")
            elif all(
                event.what.get("precision") is None and event.scaler is None for event in self.backwards
            ):
                self.otherwise = not_applicable("the training that was followed does not run in FP16")
            else:
                self.otherwise = unknown(
                    _cut(facts, found, "the precision of the forward pass is not known"), seen
                )

    @property
    def backwards(self) -> list[Backward]:
        """The backward passes that were reached."""
        return self.all(Backward)

    def all(self, kind: type[Event]) -> list:  # type: ignore[type-arg]
        """The events of one kind."""
        return [event for event in self.story.events if isinstance(event, kind)] if self.story else []

    def fault(self, *kinds: str) -> Judgement | None:
        """A fault of the story, whether or not a rule is there to speak of it: then nothing passes."""
        found = self.story.faults(*kinds) if self.story else []
        if not found:
            return None
        return unknown("the program does not keep to the order on every path", [at(found[0].place, "here")])

    @staticmethod
    def is_half(event: Backward) -> bool:
        """Whether a backward pass is FP16 training: its forward ran in FP16, or its loss was scaled."""
        return event.what.get("precision") == "float16" or event.scaler is not None or event.state == "scaled"


def _cut(facts: Facts, story: Story, otherwise: str) -> str:
    """What hid the facts: the first bound that was met, else the words given."""
    if story.bounds:
        node, file, what = story.bounds[0]
        row = file.source.location(file.place(node).start).row
        return f"{otherwise}: the analysis met a bound at line {row} ({what})"
    if facts.file.unknowns:
        place, what = facts.file.unknowns[0]
        return f"{otherwise}: line {place.source.location(place.start).row}: {what}"
    return otherwise


def _at(event: Event, text: str) -> Evidence:
    return at(event.place, text)


def _half(facts: Facts) -> Half:
    cached = facts.__dict__.get("_half")
    if cached is None:
        cached = facts.__dict__["_half"] = Half(facts)
    half: Half = cached
    return half


@provides_in_half("11.01")
def scaler_exists(facts: Facts) -> Judgement:
    """A scaler is made and scales the loss."""
    half = _half(facts)
    if half.otherwise:
        return half.otherwise
    if fault := half.fault("missing-grad-scaler", "scaler-created-in-loop"):
        return fault
    scales = half.all(Scale)
    if not scales:
        return unknown("no scaler was seen to scale a loss")
    made = [_at(event, "the scaler is created") for event in half.all(ScalerCreated)]
    return passed([*made, *(_at(event, "it scales the loss") for event in scales)])


@provides_in_half("11.04")
def forward_in_autocast(facts: Facts) -> Judgement:
    """The forward of each FP16 backward ran under FP16 autocast."""
    half = _half(facts)
    if half.otherwise:
        return half.otherwise
    if fault := half.fault("forward-outside-autocast"):
        return fault
    wrapped = [event for event in half.backwards if event.what.get("precision") == "float16"]
    if len(wrapped) < sum(half.is_half(event) for event in half.backwards):
        return unknown(
            "the precision of a forward pass is not known", [_at(half.backwards[0], "its backward")]
        )
    return passed([_at(event, "its forward ran under FP16 autocast") for event in wrapped])


@provides_in_half("11.05")
def backward_from_scaled(facts: Facts) -> Judgement:
    """Each FP16 backward starts from a scaled loss."""
    half = _half(facts)
    if half.otherwise:
        return half.otherwise
    if fault := half.fault("unscaled-backward"):
        return fault
    events = [event for event in half.backwards if half.is_half(event)]
    scaled = [event for event in events if event.state == "scaled"]
    if len(scaled) < len(events):
        return unknown(
            "it is not known whether a loss was scaled", [_at(event, "backward") for event in events]
        )
    return passed([_at(event, "the loss is scaled") for event in scaled])


@provides_in_half("11.06", "11.07")
def unscale_then_clip(facts: Facts) -> Judgement:
    """Gradients are unscaled, then clipped."""
    half = _half(facts)
    if half.otherwise:
        return half.otherwise
    if fault := half.fault("clip-before-unscale", "unscale-every-micro-step", "scaler-call-order"):
        return fault
    clips = [event for event in half.all(Clip) if not event.what.get("measures")]
    if not clips:
        return not_applicable("nothing clips the gradients, so nothing needs to unscale them first")
    good = [event for event in clips if event.state == "unscaled"]
    if len(good) < len([event for event in clips if event.state not in ("plain",)]) or not good:
        return unknown(
            "the state of the gradients at a clip is not known", [_at(event, "clip") for event in clips]
        )
    unscales = [_at(event, "the gradients are unscaled") for event in half.all(Unscale)]
    return passed([*unscales, *(_at(event, "then they are clipped") for event in good)])


@provides_in_half("11.08")
def step_through_scaler(facts: Facts) -> Judgement:
    """The optimizer steps through the scaler, and nowhere past it."""
    half = _half(facts)
    if half.otherwise:
        return half.otherwise
    if fault := half.fault("optimizer-step-bypasses-scaler", "scaler-step-closure"):
        return fault
    steps = half.all(ScalerStep)
    past = [
        event
        for event in half.all(OptimizerStep)
        if event.state in ("scaled", "unscaled", "mixed", "unknown")
    ]
    if past:
        return unknown(
            "an optimizer steps outside the scaler", [_at(event, "a step of its own") for event in past]
        )
    if not steps:
        return unknown("no step through a scaler was seen")
    if closures := [event for event in steps if event.what.get("closure")]:
        return unknown("a closure is handed to the scaler", [_at(event, "here") for event in closures])
    return passed([_at(event, "the scaler steps the optimizer") for event in steps])


@provides_in_half("11.09")
def updated_after_step(facts: Facts) -> Judgement:
    """The scaler is updated, and a step came before."""
    half = _half(facts)
    if half.otherwise:
        return half.otherwise
    if fault := half.fault("missing-scaler-update", "scaler-call-order", "update-between-optimizers"):
        return fault
    updates = half.all(Update)
    if not updates or not half.all(ScalerStep):
        return unknown("no update after a step was seen")
    first = min(half.story.events.index(event) for event in half.all(ScalerStep)) if half.story else 0
    after = [event for event in updates if half.story and half.story.events.index(event) > first]
    if not after:
        return unknown("no update after a step was seen", [_at(event, "update") for event in updates])
    return passed([_at(event, "the scaler is updated after the step") for event in after])


@provides_in_half("11.12")
def loss_is_tested(facts: Facts) -> Judgement:
    """Something asks whether the loss is finite."""
    half = _half(facts)
    if half.otherwise and half.story is None:
        return half.otherwise
    names = frozenset({"isnan", "isfinite", "isinf", "detect_anomaly", "set_detect_anomaly"})
    tests = [call for call in facts.calls if leaf(call.func) in names]
    if tests:
        return passed([facts.at(call, f"tested here: {facts.code(call)}") for call in tests])
    return half.otherwise or absent("no test for NaN was seen")


@provides_in_half("11.13")
def gradients_clipped(facts: Facts) -> Judgement:
    """FP16 training clips its gradients."""
    half = _half(facts)
    if half.otherwise:
        return half.otherwise
    if fault := half.fault("clip-beyond-optimizer", "exhausted-parameter-iterator"):
        return fault
    clips = [event for event in half.all(Clip) if not event.what.get("measures")]
    return (
        passed([_at(event, "clips the gradients") for event in clips])
        if clips
        else unknown("no clip was seen")
    )


@provides_in_half("11.02", "11.14")
def trained_in_fp32(facts: Facts) -> Judgement:
    """The scaler steps an optimizer whose parameters are known to be FP32."""
    half = _half(facts)
    if half.otherwise:
        return half.otherwise
    if fault := half.fault("fp16-trainable-parameters", "late-half-cast"):
        return fault
    return trained_parameters(facts)


def trained_parameters(facts: Facts) -> Judgement:
    """Whether what each optimizer owns is known to be FP32."""
    modules = facts.modules
    if modules is None:
        return unknown("the parameters of the optimizer could not be followed")

    def cells(value: Value) -> list[Cell] | None:
        if isinstance(value, Params):
            if "named" in value.filters:
                return _named(facts, value)
            return [value.module] if isinstance(value.module, Mod) else None
        if isinstance(value, Mod | Param):
            return [value]
        items = getattr(value, "items", None)
        if isinstance(items, list):
            found: list[Cell] = []
            for item in items:
                inner = cells(item)
                if inner is None:
                    return None
                found += inner
            return found
        return None

    scaled = _scaled_optimizers(facts)
    seen = []
    for event in modules.all("optimizer"):
        place = modules.place(event.site)
        if not isinstance(event.target, Optim) or (scaled and _key(place) not in scaled):
            continue
        for value in event.target.params:
            owned = cells(value)
            dtypes = [dtype_at(cell, event) for cell in owned] if owned else []
            if not dtypes or any(dtype != "float32" for dtype in dtypes):
                where = at(place, "the optimizer is built here")
                return unknown("the dtype of what the optimizer is given is not known", [where])
        seen.append(at(place, "what this optimizer is given is FP32"))
    return passed(seen) if seen else unknown("no optimizer was seen to be built")


def _named(facts: Facts, chosen: Params) -> list[Cell] | None:
    """The adapters' parameters that a selection by name takes: `if "lora_" in name`."""
    adapters = facts.get(Adapters)
    if not isinstance(adapters, Adapters) or not chosen.strings:
        return None
    found: list[Cell] = [
        cell
        for injection in adapters.injections
        if injection.model is chosen.module
        for holder in injection.cells
        if isinstance(holder, Mod)
        for name, cell in holder.attrs.items()
        if isinstance(cell, Param) and any(string in name for string in chosen.strings)
    ]
    return found or None


def _scaled_optimizers(facts: Facts) -> set[tuple[str, int]]:
    """Where the optimizers were built that a scaler steps."""
    story = _half(facts).story
    steps = [event for event in story.events if isinstance(event, ScalerStep)] if story else []
    made = [event.optimizer for event in steps if event.optimizer is not None]
    return {
        _key(thing.file.place(thing.node))
        for thing in made
        if thing.file is not None and thing.node is not None and not thing.assumed
    }


def _key(place: Place) -> tuple[str, int]:
    return place.source.path, place.start


@provides("11.03")
def frozen_may_be_half(facts: Facts) -> Judgement:
    """Frozen weights are FP16 somewhere, and nothing objects."""
    if not facts.decisions.trains:
        return not_applicable("nothing is trained here")
    modules = facts.modules
    if modules is None:
        return not_applicable("no model is made here")
    frozen = [event for event in modules.all("freeze") if event.flag is False]
    casts = [event for event in modules.all("cast") if event.value == "float16"]
    loaded = re.search(r"(?:torch_)?dtype\s*=\s*torch\.(?:float16|half)", facts.file.source.text)
    if frozen and (casts or loaded):
        evidence = [at(modules.place(event.site), "frozen here") for event in frozen]
        return passed([*(at(modules.place(event.site), "FP16 from here") for event in casts), *evidence])
    return not_applicable("no frozen FP16 weights")


@provides_in_half("11.10", "11.15", "17.07")
def dtypes_match(facts: Facts) -> Judgement:
    """Every forward pass runs under autocast, or nothing in the code is anything but FP32."""
    if not facts.decisions.trains and not any(leaf(call.func) == "generate" for call in facts.calls):
        return not_applicable("no model is run here")
    topics = {decision.topic for decision in facts.decisions.kind("architecture")}
    if not topics & {"FP16", "BF16", "mixed precision"}:
        return not_applicable("no reduced precision, so there is one dtype only")
    modules = facts.modules
    if modules is None:
        return not_applicable("no model is run here")
    # What a module calls inside its own forward gets what it was given: the call from outside decides.
    forwards = [event for event in modules.all("forward") if not event.inside]
    if not forwards:
        return unknown("no forward pass was reached")
    seen, hidden = [], []
    for event in forwards:
        place = modules.place(event.site)
        if event.autocast is True:
            seen.append(at(place, "under autocast, which casts both sides"))
        elif _is_full(event):
            seen.append(at(place, "an FP32 model outside autocast"))
        elif _is_whole(event):
            seen.append(at(place, "is given whole numbers, which fit a model of any dtype"))
        else:
            hidden.append(at(place, "not known to run under autocast"))
    if hidden:
        return unknown("the dtypes of a forward pass outside autocast are not known", dict.fromkeys(hidden))
    return passed(dict.fromkeys(seen))


def _is_full(event: ModuleEvent) -> bool:
    """Whether a forward pass is one of an FP32 model that is given nothing of a half dtype."""
    given = {getattr(argument, "dtype", None) for argument in event.args}
    target = event.target
    return isinstance(target, Mod) and dtype_at(target, event) == "float32" and not given & HALVES


def _is_whole(event: ModuleEvent) -> bool:
    """Whether a forward pass is given tensors of whole numbers only."""
    tensors = [argument for argument in event.args if isinstance(argument, Tensor)]
    return bool(tensors) and all(str(tensor.dtype) in WHOLE for tensor in tensors)


@provides_in_half("11.11")
def layers_convert(facts: Facts) -> Judgement:
    """Layers of the program's own that cast their input, or run under autocast."""
    half = _half(facts)
    if half.otherwise:
        return half.otherwise
    files = {facts.file.path: facts.file}
    if facts.modules is not None:
        # The layers that the program builds may be classes of its other files.
        sites = [event.site for event in facts.modules.all("attach") if event.how == "init"]
        files |= {site.file.path: site.file for site in sites}
    forwards = [
        (file, node)
        for file in files.values()
        for node in ast.walk(file.tree)
        if isinstance(node, ast.FunctionDef) and node.name == "forward"
    ]
    if not forwards:
        return not_applicable("no layers of its own")
    casts = [
        at(file.place(call), f"the layer converts: {file.source.segment(call).split(chr(10))[0]}")
        for file, node in forwards
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and _casts(call)
    ]
    if casts:
        return passed(casts)
    judgement = dtypes_match(facts)
    return judgement if judgement.verdict == PASS else unknown("its own layers convert nothing that was seen")


def _casts(call: ast.Call) -> bool:
    """Whether a call casts what it is called on."""
    text = ast.unparse(call)
    return leaf(call.func) in ("type_as", "float") or (
        leaf(call.func) == "to" and ("dtype" in text or "float" in text)
    )


@provides_in_half("11.16")
def nan_is_prevented(facts: Facts) -> Judgement:
    """What keeps FP16 finite is all there: FP32 parameters, a scaler that steps, and its update."""
    half = _half(facts)
    if half.otherwise:
        return half.otherwise
    parts = [
        scaler_exists(facts),
        backward_from_scaled(facts),
        step_through_scaler(facts),
        updated_after_step(facts),
    ]
    for part in parts:
        if part.verdict != PASS:
            return part
    clips = unscale_then_clip(facts)
    if clips.verdict == HIDDEN:
        return clips
    return passed([part.evidence[0] for part in parts])
