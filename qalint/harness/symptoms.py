"""What a run showed: reports of `probe` in, named symptoms out. Pure; imports no torch.

"The loss goes down" is no symptom and its absence no health: AdamW divides every gradient by its own
size and so hides nearly every fault of scale. What counts is the gradient that reaches `step`,
compared with the same program in FP32; how often steps come; what is finite; what moves.
"""

from __future__ import annotations

import array
import base64
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

Report = dict[str, Any]
Reports = dict[str, Report]
"""Mode of the run to its report. See `probe.MODES`."""


class Symptom(NamedTuple):
    """Something that a run showed: a name from `MEANINGS` and the particulars."""

    name: str
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}" if self.detail else self.name


MEANINGS = {
    "lost": "the run gave no report: out of time or memory, or killed",
    "raises": "the program ends with an exception",
    "device": "tensors of two devices meet (devices are pretended on a CPU)",
    "no-cuda": "the program cannot run where there is no CUDA",
    "non-finite-loss": "the loss is NaN or infinite",
    "non-finite-parameters": "a trained parameter is NaN or infinite",
    "overflow-applied": "an infinite gradient is stepped on instead of skipped",
    "wrong-gradient": "the gradient that reaches step is not the one of the same program in FP32",
    "zero-gradient": "every gradient that reaches step is zero or missing",
    "no-gradient": "some of the optimizer's parameters never receive a gradient",
    "stale-gradient": "a gradient that a step has used is added to the next one",
    "repeated-step": "an optimizer steps twice on one backward",
    "underflow": "small gradients become exactly zero",
    "unmoved": "a parameter of the optimizer never changes",
    "unowned": "a parameter receives gradients and no optimizer has it",
    "outside-module": "a trained parameter belongs to no module that runs",
    "fully-trainable": "nearly all of the model is trainable",
    "stuck-scale": "the scale never adapts after an overflow",
    "empty-clip": "clipping is given no parameters",
    "promoted": "a half-precision module hands float32 on",
    "fp32-forward": "the loss is scaled, and its forward ran in FP32",
    "bf16-scaled": "a loss computed in BF16 only is scaled",
    "backward-in-autocast": "backward runs inside autocast",
    "scaler-not-saved": "the optimizer's state is saved, the scaler's is not",
    "closure": "a closure is handed to scaler.step",
    "argument-misread": "an argument of AMP lands in another parameter",
    "warns": "a warning at a line of the program",
    "early-clock": "a clock is read while the GPU is still at work",
    "host-copy": "a tensor is made on the CPU and copied to the GPU at once",
}

BREAKING = frozenset(
    {
        "lost",
        "raises",
        "device",
        "non-finite-loss",
        "non-finite-parameters",
        "overflow-applied",
        "wrong-gradient",
        "zero-gradient",
        "no-gradient",
        "stale-gradient",
        "repeated-step",
        "underflow",
        "unmoved",
        "outside-module",
        "stuck-scale",
        "empty-clip",
        "argument-misread",
        "undisplayed",
    }
)
"""Symptoms that no fix may bring."""


def symptoms(reports: Reports) -> list[Symptom]:
    """All that the runs of one program showed, worst first."""
    found = list(_of_all(reports))
    order = list(MEANINGS)
    return sorted(found, key=lambda symptom: order.index(symptom.name))


def did_anything(reports: Reports) -> bool:
    """Whether the program did anything that could be judged here.

    A file of definitions shows nothing, and a program that ends for want of a package, a file or a
    network shows nothing about its own faults.
    """
    if any("lost" in report for report in reports.values()):
        return True
    error = next(iter(reports.values()))["exception"]
    if error is not None and (
        error["type"] in ("ModuleNotFoundError", "FileNotFoundError")
        or (error["type"] == "OSError" and ("connect" in error["message"] or "network" in error["message"]))
    ):
        return False
    idle = ("optimizer-created", "scaler-created")
    return any(
        report["exception"] or report["warnings"] or any(event[0] not in idle for event in report["events"])
        for report in reports.values()
    )


def _of_all(reports: Reports) -> Iterator[Symptom]:
    for report in reports.values():
        if "lost" in report:
            yield Symptom("lost", report["lost"])
            return
    plain = reports.get("plain", reports.get("gpu"))
    if plain is not None:
        yield from _of_plain(plain)
    if "still" in reports and "reference" in reports:
        yield from _wrong_gradient(reports["still"], reports["reference"])
    if "underflow" in reports and "tiny-reference" in reports:
        yield from _underflow(reports["underflow"], reports["tiny-reference"])
    if "overflow" in reports:
        overflow = reports["overflow"]
        bad = [p for p in overflow["parameters"] if not p["finite"]]
        was_bad = plain is not None and any(not p["finite"] for p in plain["parameters"])
        if bad and not was_bad:
            yield Symptom(
                "overflow-applied", f"{len(bad)} parameters are not finite after an infinite gradient"
            )
        updates = sum(event[0] == "update" for event in overflow["events"])
        scales = overflow["scales"]
        skipped = not overflow["steps"]
        if skipped and updates >= 2 and len(scales) >= 2 and len(set(scales)) == 1 and scales[0] > 1e30:
            yield Symptom("stuck-scale", f"{updates} updates, the scale stays {scales[0]:.3g}")
        elif skipped and _forgets(overflow):
            yield Symptom("stuck-scale", "the scale forgets that it was too large")
    if "devices" in reports:
        devices = reports["devices"]
        error = devices["exception"]
        alone = plain is not None and plain["exception"] is None
        # `parameter.to(device)` is the parameter itself on one device, and a mere tensor across two.
        only_apart = ("non-leaf", "empty parameter list")
        if error is not None and (
            "same device" in error["message"]
            or (alone and any(words in error["message"] for words in only_apart))
        ):
            yield Symptom("device", f"{error['message']} (line {error['line']})")
        if devices["host_copies"]:
            lines = sorted(set(devices["host_copies"]))
            yield Symptom("host-copy", f"lines {', '.join(map(str, lines))}")
    if "no-cuda" in reports:
        error = reports["no-cuda"]["exception"]
        if error is not None and "CUDA" in error["message"] + error["type"]:
            yield Symptom("no-cuda", f"{error['type']}: {error['message']}")


def _forgets(report: Report) -> bool:
    """Whether a new scaler goes on with an optimizer that an old one had served; a new fold has both new."""
    if not any(later > earlier for earlier, later in pairwise(report["scales"])):
        return False
    since: list[str] = []
    for kind, *_ in report["events"]:
        if kind == "scale":
            if "scale" in since and "scaler-created" in since and "optimizer-created" not in since:
                return True
            since = ["scale"]
        else:
            since.append(kind)
    return False


def _of_plain(report: Report) -> Iterator[Symptom]:
    error = report["exception"]
    if error is not None:
        first = (error["message"].strip().splitlines() or [""])[0]
        yield Symptom("raises", f"{error['type']}: {first[:200]} (line {error['line']})")
    if not report["finite_loss"]:
        yield Symptom("non-finite-loss", "")
    bad = [p["name"] or "a parameter" for p in report["parameters"] if not p["finite"]]
    if bad:
        yield Symptom("non-finite-parameters", _some(bad))
    yield from _of_steps(report)
    yield from _of_parameters(report)
    yield from _of_events(report)
    if report["promoted"]:
        yield Symptom("promoted", ", ".join(sorted({name for _, name in report["promoted"]})))
    if any(count == 0 for _, _, count in report["clips"]):
        yield Symptom("empty-clip", f"line {next(line for line, _, count in report['clips'] if count == 0)}")
    for text in report["misread"][:1]:
        yield Symptom("argument-misread", text)
    seen = set()
    for warning in report["warnings"]:
        text = f"{warning['category']}: {warning['message']}"
        if warning["line"] and text not in seen:
            seen.add(text)
            yield Symptom("warns", text[:200])


def _of_steps(report: Report) -> Iterator[Symptom]:
    steps = report["steps"]
    if any(step["stale"] for step in steps):
        yield Symptom("stale-gradient", f"line {next(step['line'] for step in steps if step['stale'])}")
    if any(step["repeated"] for step in steps):
        yield Symptom("repeated-step", f"line {next(step['line'] for step in steps if step['repeated'])}")
    for optimizer in sorted({step["optimizer"] for step in steps}):
        own = [step for step in steps if step["optimizer"] == optimizer and step["count"]]
        if own and all(step["zero"] + step["missing"] == step["count"] for step in own):
            yield Symptom("zero-gradient", f"in all {len(own)} steps")
        elif own and all(step["missing"] for step in own):
            least = min(step["missing"] for step in own)
            yield Symptom("no-gradient", f"{least} of {own[0]['count']} parameters in all {len(own)} steps")


def _of_parameters(report: Report) -> Iterator[Symptom]:
    parameters = report["parameters"]
    still = [
        p["name"] for p in parameters if p["owned"] and p["trainable"] and p["steps"] >= 2 and not p["moved"]
    ]
    if still:
        yield Symptom("unmoved", _some(still))
    if any(p["owned"] for p in parameters):
        lost = [
            p["name"]
            for p in parameters
            if p["trainable"] and p["grad"] and not p["owned"] and p["in_module"]
        ]
        if lost:
            yield Symptom("unowned", _some(lost))
    if report["models"]:
        outside = [p for p in parameters if p["owned"] and not p["in_module"]]
        if outside:
            yield Symptom("outside-module", f"{len(outside)} parameters")
    total = sum(model["total"] for model in report["models"])
    trainable = sum(model["trainable"] for model in report["models"])
    if total and trainable > 0.9 * total:
        yield Symptom("fully-trainable", f"{trainable / total:.0%} of {report['models'][0]['class']}")


def _of_events(report: Report) -> Iterator[Symptom]:
    forwards: list[dict[str, Any]] = []
    told = set()

    def once(name: str, detail: str) -> Iterator[Symptom]:
        if name not in told:
            told.add(name)
            yield Symptom(name, detail)

    for kind, _, line, what in report["events"]:
        if kind == "forward" and what["grad"]:
            forwards.append(what)
        elif kind == "backward":
            if what["autocast"]:
                yield from once("backward-in-autocast", f"line {line}")
            if what["scaled"] and forwards:
                if not any(forward["autocast"] or forward["half"] for forward in forwards):
                    yield from once("fp32-forward", f"backward at line {line}")
                if all(forward["autocast"] == "bfloat16" and not forward["half"] for forward in forwards):
                    yield from once("bf16-scaled", f"backward at line {line}")
            forwards = []
        elif kind == "scaler-step" and what.get("closure"):
            yield from once("closure", f"line {line}")
        elif kind == "early-clock":
            yield from once("early-clock", f"line {line}")
    kinds = {kind for kind, *_ in report["events"]}
    enabled = any(kind == "scaler-created" and what["enabled"] for kind, _, _, what in report["events"])
    if enabled and "optimizer-saved" in kinds and "scaler-saved" not in kinds:
        yield Symptom("scaler-not-saved", "")


def _wrong_gradient(still: Report, reference: Report) -> Iterator[Symptom]:
    for step, good in _pairs(still, reference):
        mine, true = _vectors(step, good)
        size, right = _length(mine), _length(true)
        if not math.isfinite(right) or (right == 0.0 and size == 0.0):
            continue
        if right == 0.0:
            yield Symptom("wrong-gradient", f"should be zero (line {step['line']})")
            return
        if not math.isfinite(size):
            yield Symptom("wrong-gradient", f"not finite (line {step['line']})")
            return
        ratio = size / right
        cosine = sum(x * y for x, y in zip(mine, true, strict=True)) / (size * right) if size else 0.0
        if not 0.8 <= ratio <= 1.25 or cosine < 0.9:
            yield Symptom(
                "wrong-gradient",
                f"{ratio:.3g} times the true size, cosine {cosine:.2f} (line {step['line']})",
            )
            return


def _underflow(tiny: Report, reference: Report) -> Iterator[Symptom]:
    lost = every = 0
    for step, good in _pairs(tiny, reference):
        for x, y in zip(*_vectors(step, good), strict=True):
            if y != 0.0:
                every += 1
                lost += x == 0.0
    if every and lost / every > 0.2:
        yield Symptom("underflow", f"{lost} of {every} gradients are zero at a loss a million times smaller")


def _pairs(mine: Report, reference: Report) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Steps of two runs that belong together: same optimizer after the same number of backwards.

    The position in the program would not do: a scaler may skip steps in one run and not in the other.
    """
    right: dict[tuple[int, int, int], dict[str, Any]] = {}
    for steps, first in ((reference["steps"], True), (mine["steps"], False)):
        seen: dict[tuple[int, int], int] = {}
        for step in steps:
            if "gradients" not in step:
                continue
            place = (step["optimizer"], step["backwards"])
            nth = seen[place] = seen.get(place, -1) + 1
            key = (*place, nth)
            if first:
                right[key] = step
            elif key in right and len(right[key]["gradients"]) == len(step["gradients"]):
                yield step, right[key]


def _vectors(step: dict[str, Any], other: dict[str, Any]) -> tuple[list[float], list[float]]:
    """The gradients of two steps, each in one vector; a missing gradient counts as zeros."""
    mine: list[float] = []
    true: list[float] = []
    for left, right in zip(step["gradients"], other["gradients"], strict=True):
        a, b = _values(left), _values(right)
        size = max(len(a), len(b))
        mine.extend(a or [0.0] * size)
        true.extend(b or [0.0] * size)
    return mine, true


def _values(text: str | None) -> array.array[float]:
    values = array.array("f")
    values.frombytes(base64.b64decode(text or ""))
    return values


def _length(values: list[float]) -> float:
    return math.sqrt(sum(x * x for x in values))


def gradient_ratio(mine: Report, other: Report) -> float | None:
    """How many times longer the gradients of one run are than those of another; None if not comparable."""
    for step, good in _pairs(mine, other):
        size, right = map(_length, _vectors(step, good))
        if right and math.isfinite(size) and math.isfinite(right):
            return size / right
    return None


def trained(report: Report) -> int:
    """How many values moved."""
    return sum(p["count"] for p in report["parameters"] if p["moved"])


def _some(names: list[str]) -> str:
    """At most three names."""
    shown = ", ".join(name or "a parameter" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
