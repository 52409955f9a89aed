"""`-v`: where the time went, and what was cut or left out."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from ..diagnostic import Diagnostic
from ..outcome import Outcome
from ..runner import Runner


def tell(runner: Runner, outcomes: Iterable[Outcome], seconds: float, found: list[Diagnostic]) -> None:
    """Write the figures to standard error."""
    outcomes = list(outcomes)
    total: dict[str, float] = dict(runner.seconds)
    for outcome in outcomes:
        for what, spent in outcome.seconds.items():
            total[what] = total.get(what, 0.0) + spent
    err = sys.stderr
    print(f"{runner.files} files, {runner.parsed} parsed, in {seconds:.3f} s", file=err)
    passed = [outcome for outcome in outcomes if any(key.startswith("analysis ") for key in outcome.seconds)]
    print(
        f"tiers: the bytes left {len(runner.survivors)} files to the rules, "
        f"the tree left {len(passed)} to the analyses",
        file=err,
    )
    for what, spent in sorted(total.items(), key=lambda item: -item[1]):
        if spent >= 0.0005:
            print(f"{spent:9.3f} s  {what}", file=err)
    for outcome in outcomes:
        for trace in outcome.tracebacks:
            print(f"{outcome.path}:\n{trace}", file=err)
        cuts = [(row, reason) for row, reason in outcome.unknowns if "bound" in reason or "budget" in reason]
        for row, reason in cuts:
            print(f"{outcome.path}:{row}: {reason}", file=err)
