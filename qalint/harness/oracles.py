"""What to look for when the code of a rule is run: the declared symptom of each rule.

A rule says by `oracle` whether running can show its fault (`cpu`, `gpu`, `none: REASON`); this table
says how. A rule that is not in the table but declares `cpu`, a third party's for example, is confirmed
by any symptom that its fix makes go away.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from .notebook_symptoms import (
    declares_more,
    fewer_kinds,
    less_selectable,
    less_work,
    more_rows,
    shows_more,
    shows_more_everywhere,
    tells_more,
)
from .symptoms import Reports, Symptom, gradient_ratio, trained

BASE = ("plain", "still", "reference", "overflow", "underflow", "tiny-reference")
"""The runs that every training program gets: together well under a second."""


NEEDS = {
    "wrong-gradient": ("still", "reference"),
    "underflow": ("underflow", "tiny-reference"),
    "overflow-applied": ("overflow",),
    "stuck-scale": ("overflow",),
}
"""The runs, beside the plain one, that show a symptom."""


class Look(NamedTuple):
    """A symptom by name, and what its particulars must say."""

    symptom: str
    pattern: str = ""

    def sees(self, symptom: Symptom) -> bool:
        """Whether this is the symptom."""
        return symptom.name == self.symptom and re.search(self.pattern, symptom.detail) is not None


Compare = Callable[[Reports, Reports], str | None]
"""What only the two runs together show: (before, after) to the difference, None if there is none."""


class Oracle(NamedTuple):
    """How a rule's fault is confirmed: any of `looks` before, none after; or a difference between."""

    looks: tuple[Look, ...] = ()
    compare: Compare | None = None
    extra: tuple[str, ...] = ()
    """Runs beyond the usual; see `probe.MODES` and `notebook_probe`."""
    notebook: bool = False
    gpu: bool = False
    """Only a real GPU shows it: one run, on it."""
    may_undefine: bool = False
    """The fix keeps work from being done, and with it the names that it bound."""

    branches: bool = False
    """A notebook's other branches are taken as well, one after the other."""
    only: tuple[str, ...] = ()
    """These runs and no others."""

    def quick(self) -> Oracle:
        """The same oracle with no more runs than its own symptoms need."""
        if self.notebook or self.gpu:
            return self._replace(branches=False)
        needed = ["plain", *self.extra]
        for look in self.looks:
            needed += NEEDS.get(look.symptom, ())
        if self.compare is smaller_gradient:
            needed.append("reference")
        return self._replace(only=tuple(dict.fromkeys(needed)))

    @property
    def modes(self) -> tuple[str, ...]:
        """The runs that it takes."""
        if self.only:
            return self.only
        if self.gpu:
            return ("gpu",)
        return (("plain",) if self.notebook else BASE) + self.extra

    def declared(self, found: list[Symptom]) -> list[Symptom]:
        """Those of the symptoms that this oracle declares."""
        return [symptom for symptom in found if any(look.sees(symptom) for look in self.looks)]


def see(*looks: str, extra: tuple[str, ...] = (), compare: Compare | None = None) -> Oracle:
    """An oracle from `name` or `name pattern` texts."""
    parts = (look.partition(" ") for look in looks)
    return Oracle(tuple(Look(name, pattern) for name, _, pattern in parts), compare, extra)


def notebook(*looks: str, extra: tuple[str, ...] = (), compare: Compare | None = None) -> Oracle:
    """As `see`, for what a notebook shows."""
    return see(*looks, extra=extra, compare=compare)._replace(notebook=True)


def smaller_gradient(before: Reports, after: Reports) -> str | None:
    """Accumulated gradients were a whole number of times too large."""
    ratio = gradient_ratio(before["reference"], after["reference"])
    if ratio is not None and ratio > 1.5 and abs(ratio - round(ratio)) < 0.15:
        return f"gradients were {ratio:.2f} times as long"
    return None


def more_trained(before: Reports, after: Reports) -> str | None:
    """The fix makes more of the model train."""
    old, new = trained(before["plain"]), trained(after["plain"])
    return f"{old} values moved, {new} after the fix" if new > old else None


def fewer_trained(before: Reports, after: Reports) -> str | None:
    """The fix makes less of the model train."""
    old, new = trained(before["plain"]), trained(after["plain"])
    return f"{old} values moved, {new} after the fix" if 0 < new < old else None


def fewer_copies(before: Reports, after: Reports) -> str | None:
    """Fewer tensors are made on the CPU only to be copied."""
    old, new = (len(reports["devices"]["host_copies"]) for reports in (before, after))
    return f"{old} copies from the host, {new} after the fix" if new < old else None


HALF = "raises Attempting to unscale FP16"
DTYPE = (
    "raises m(at)?1 and m(at)?2 .*same dtype",
    "raises expected scalar type",
    "raises Input type .* and (bias|weight) type",
    "raises same dtype",
)
SHAPES = ("raises shapes cannot be multiplied", "raises size of tensor", "raises must match", "raises shape")
EMPTY = "raises empty parameter list"
DETACHED = "raises element 0 of tensors does not require grad"
NOTHING = "raises No inf checks were recorded"
DEVICES = ("devices",)

TRAINING: dict[str, Oracle] = {
    # Section 11
    "QA1101": see("underflow"),
    "QA1102": see(HALF, "non-finite-parameters", "non-finite-loss", "unmoved"),
    "QA1103": see("fp32-forward"),
    "QA1104": see("raises _scale is None", "wrong-gradient"),
    "QA1105": see("wrong-gradient"),
    "QA1107": see(
        "wrong-gradient", "overflow-applied", "repeated-step", NOTHING, "raises has already been called"
    ),
    "QA1108": see("raises already been called", "raises is being called after step"),
    "QA1109": see("raises", "wrong-gradient"),
    "QA1110": see("raises already been called"),
    "QA1111": see("wrong-gradient", "raises"),
    "QA1112": see("stuck-scale"),
    "QA1113": see("wrong-gradient", "zero-gradient"),
    "QA1114": see("empty-clip", EMPTY, "unmoved"),
    "QA1115": see("stale-gradient"),
    "QA1116": see("zero-gradient", NOTHING, "unmoved"),
    "QA1117": see(compare=smaller_gradient),
    "QA1118": see(*DTYPE),
    "QA1119": see(*DTYPE),
    "QA1121": see("backward-in-autocast"),
    "QA1122": see("bf16-scaled"),
    "QA1123": see("warns is deprecated"),
    "QA1124": see("argument-misread", "raises", "warns"),
    "QA1125": see("raises converted to type|overflow", "non-finite-loss", "non-finite-parameters"),
    "QA1126": see("closure", "raises Closure use"),
    "QA1128": see(HALF, "non-finite-parameters", "non-finite-loss", "unmoved"),
    "QA1129": see("scaler-not-saved"),
    "QA1130": see("raises"),
    # Section 12
    "QA1201": see(*SHAPES),
    "QA1202": see(EMPTY, DETACHED, "raises", compare=more_trained),
    "QA1203": see("raises has no attribute", "raises shape"),
    "QA1204": see("fully-trainable", HALF, compare=fewer_trained),
    "QA1205": see(EMPTY, DETACHED, NOTHING),
    "QA1206": see("fully-trainable", HALF, compare=fewer_trained),
    "QA1207": see("unowned", NOTHING, compare=more_trained),
    "QA1208": see(EMPTY, NOTHING),
    "QA1209": see("outside-module", EMPTY, DETACHED, "raises"),
    "QA1210": see(HALF, "non-finite-parameters", "non-finite-loss", "unmoved"),
    "QA1211": see("device", extra=DEVICES),
    "QA1213": see(*DTYPE),
    "QA1214": see(*DTYPE, "promoted"),
    "QA1215": see(DETACHED, "unmoved", "no-gradient", "raises", compare=more_trained),
    "QA1216": see("raises RecursionError", "raises changed size during iteration", "lost", "raises"),
    "QA1217": see("no-gradient", "unmoved"),
    "QA1218": see("zero-gradient", "unmoved"),
    "QA1219": see(
        "raises non-leaf", "device non-leaf|empty parameter", "raises cannot assign", EMPTY, extra=DEVICES
    ),
    "QA1220": see(DETACHED, "no-gradient", "unmoved", "zero-gradient"),
    "QA1221": see(compare=fewer_trained),
    # Section 17
    "QA1701": see(EMPTY, DETACHED, "raises", compare=more_trained),
    "QA1702": see(EMPTY, DETACHED, "raises", compare=more_trained),
    "QA1703": see(compare=fewer_copies, extra=DEVICES),
    "QA1704": see("device", *DTYPE, "raises", extra=DEVICES),
    "QA1705": see("device", extra=DEVICES),
    "QA1706": see("device", extra=DEVICES),
    "QA1707": see("device", extra=DEVICES),
    "QA1709": see("raises has no attribute", "device", extra=DEVICES),
    "QA1710": see(*DTYPE),
    "QA1711": see("warns fan_in_fan_out"),
    "QA1712": see("no-cuda", extra=("no-cuda",)),
}

NOTEBOOKS: dict[str, Oracle] = {
    # Section 13
    "QA1301": notebook("undefined-name"),
    "QA1303": notebook(compare=shows_more),
    "QA1304": notebook("undefined-name"),
    "QA1305": notebook(compare=shows_more_everywhere)._replace(branches=True),
    "QA1306": notebook(compare=shows_more),
    "QA1307": notebook("unloadable", "cell-error"),
    "QA1308": notebook("erased", "shut-gate", extra=("used",)),
    "QA1309": notebook(compare=less_work)._replace(may_undefine=True),
    "QA1313": notebook("cell-error multiple"),
    "QA1314": notebook("cell-error cycle"),
    "QA1315": notebook("cell-error", "undefined-name", "unloadable"),
    "QA1316": notebook("cell-error", "unloadable"),
    "QA1317": notebook("string-shown"),
    "QA1318": notebook("cell-error"),
    "QA1319": notebook("cell-error", "unloadable"),
    "QA1321": notebook("cell-error", "undefined-name", "unloadable"),
    # Section 15
    "QA1501": notebook("installs-though-there", extra=("present",)),
    "QA1504": notebook(compare=tells_more, extra=("broken",)),
    "QA1505": notebook("stale-import", extra=("missing",)),
    "QA1506": notebook("no-timeout", extra=("missing",)),
    "QA1507": notebook("foreign-pip", extra=("missing",)),
    "QA1508": notebook(compare=declares_more),
    # Section 16
    "QA1601": notebook(compare=fewer_kinds),
    "QA1606": notebook("cell-error callout kind"),
    "QA1607": notebook(compare=more_rows),
    "QA1608": notebook("page-size", "cell-error"),
    "QA1611": notebook(compare=less_selectable),
    "QA1612": notebook("lost-event", extra=("used",)),
}


GPU: dict[str, Oracle] = {
    "QA1127": see("raises")._replace(gpu=True),
    "QA1131": see("raises unsafe to autocast")._replace(gpu=True),
    "QA1708": see("early-clock")._replace(gpu=True),
}
"""What a CPU cannot show."""


def oracle_of(code: str) -> Oracle | None:
    """The declared oracle of a rule, or None."""
    return TRAINING.get(code) or NOTEBOOKS.get(code) or GPU.get(code)
