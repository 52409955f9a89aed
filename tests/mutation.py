"""Break correct trainers in every systematic way, run what came out, and see whether qalint finds it.

    python tests/mutation.py [--limit N] [--verbose]

Each correct fixture of section 11 that trains with a scaler is edited: a call of the protocol is
removed, doubled, swapped with its neighbour, moved under or out of a test, or goes past the scaler.
Every mutant runs under the harness (in FP16 on a CPU, compared with the same program in FP32). A
mutant whose run shows a symptom that the original does not show must have a finding; one that shows
nothing may have one or not (a missing `update` in a program of one iteration harms nobody yet).

Known survivors: an `update` for which no step came, and a step that comes before the backward pass, in
a program that ends right there. Both are told by the next round, and such a program has none:
`deprecated-amp-api/good_fallback_for_old_torch.py`, `scaler-call-order/good_single_iteration.py` and the
flush at the end of `missing-scaler-update/good_flush_after_loop.py`. In
`scaler-call-order/good_two_backwards.py`, the `update` and the clearing between two backward passes that
no step separates: the next step uses the sum of both. In `unscale-every-micro-step/good_two_optimizers.py`,
a norm over the parameters of two optimizers of which one was unscaled. In
`update-between-optimizers/good_two_scalers.py`, what becomes of the second of two optimizers whose models
stand in one list.

`RIGHT` has the codes that name a kind of mutation; any other finding counts as a wrong one.

The exit status is 1 if fewer than 95 % of the symptomatic mutants have a right finding, or a correct
program has any.
"""

from __future__ import annotations

import argparse
import ast
import collections
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from qalint.analysis.edits import Changes, Edits
from qalint.file import File
from qalint.harness import verify
from qalint.harness.jobs import Workers
from qalint.harness.oracles import Oracle
from qalint.harness.symptoms import BREAKING
from qalint.source import Source
from qalint.testing import lint

ROOT = Path(__file__).resolve().parents[1] / "fixtures" / "mixed_precision"
RIGHT = {
    "remove unscale_": {"QA1105", "QA1109", "QA1113"},
    "remove update": {"QA1108", "QA1111"},
    "remove zero_grad": {"QA1115"},
    "remove scaler step": {"QA1109", "QA1108", "QA1115"},
    "double unscale_": {"QA1110"},
    "double step": {"QA1107"},
    "step past the scaler": {"QA1107"},
    "step both ways": {"QA1107"},
    "clear before the step": {"QA1116"},
    "backward unscaled": {"QA1104"},
    "scaled loss discarded": {"QA1104"},
    "swap step and update": {"QA1109", "QA1111"},
    "swap unscale and clip": {"QA1105"},
    "swap backward and unscale": {"QA1109", "QA1110"},
    "swap unscale and step": {"QA1109"},
    "swap clip and step": {"QA1105", "QA1109"},
    "swap backward and clip": {"QA1105", "QA1109"},
    "swap backward and step": {"QA1109", "QA1115", "QA1116", "QA1107"},
    "unscale each micro-step": {"QA1110"},
}
"""What names each kind of mutation, several where it depends on the program around."""

GOAL = 0.95

LIBRARIES = ("accelerate", "lightning", "deepspeed", "transformers", "trl", "peft", "marimo")


class Mutant(NamedTuple):
    """One broken program: how it was broken, at which line, and its text."""

    kind: str
    line: int
    text: str


def call_of(statement: ast.stmt) -> tuple[str, ast.expr] | None:
    """The method and receiver of a statement `receiver.method(...)`."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        func = statement.value.func
        if isinstance(func, ast.Attribute):
            return func.attr, func.value
    return None


def is_scaler_step(statement: ast.stmt) -> bool:
    """Whether a statement is `scaler.step(optimizer)`."""
    found = call_of(statement)
    return found is not None and found[0] == "step" and bool(statement.value.args)  # type: ignore[attr-defined]


def is_scaled_backward(statement: ast.stmt) -> bool:
    """Whether a statement is `scaler.scale(loss).backward()`."""
    found = call_of(statement)
    return (
        found is not None
        and found[0] == "backward"
        and isinstance(found[1], ast.Call)
        and isinstance(found[1].func, ast.Attribute)
        and found[1].func.attr == "scale"
    )


def is_clip(statement: ast.stmt) -> bool:
    """Whether a statement clips gradients."""
    return "clip_grad_norm_" in ast.dump(statement) and isinstance(statement, (ast.Expr, ast.Assign))


def mutants(text: str) -> Iterator[Mutant]:
    """All mutants of a program, each with one change."""
    file = File(Source("x.py", text), ast.parse(text))
    edits = Edits(file)
    segment = edits.segment

    def made(kind: str, at: ast.stmt, *changes: Changes | None) -> Iterator[Mutant]:
        if any(change is None for change in changes):
            return
        out = text
        for edit in sorted((edit for change in changes for edit in change or ()), reverse=True):
            out = out[: edit.start] + edit.content + out[edit.end :]
        yield Mutant(kind, at.lineno, out)

    for statement in [node for node in ast.walk(file.tree) if isinstance(node, ast.stmt)]:
        seat = edits.seat(statement)
        if seat is None or not edits.alone(statement):
            continue
        following = seat.block[seat.position + 1] if seat.position + 1 < len(seat.block) else None
        method = (call_of(statement) or ("", None))[0]
        if method in ("unscale_", "update", "zero_grad") or is_scaler_step(statement):
            name = "scaler step" if method == "step" else method
            yield from made(f"remove {name}", statement, edits.remove(statement))
        if method in ("unscale_",) or is_scaler_step(statement):
            yield from made(f"double {method}", statement, edits.insert_after(statement, segment(statement)))
        if is_scaler_step(statement):
            call = statement.value  # type: ignore[attr-defined]
            past = f"{segment(call.args[0])}.step()"
            yield from made("step past the scaler", statement, edits.replace(statement, past))
            yield from made("step both ways", statement, edits.insert_after(statement, past))
            clear = f"{segment(call.args[0])}.zero_grad()"
            yield from made("clear before the step", statement, edits.insert_before(statement, clear))
        if is_scaled_backward(statement):
            receiver = statement.value.func.value  # type: ignore[attr-defined]
            loss = segment(receiver.args[0])
            yield from made("backward unscaled", statement, edits.replace(statement, f"{loss}.backward()"))
            yield from made(
                "scaled loss discarded",
                statement,
                edits.replace(receiver, loss),
                edits.insert_before(statement, segment(receiver)),
            )
        if following is not None and edits.alone(following) and swappable(statement, following):
            name = f"swap {kind_of(statement)} and {kind_of(following)}"
            yield from made(name, statement, edits.move_after(statement, following))
        holder = seat.parent
        if (
            isinstance(holder, ast.If)
            and not holder.orelse
            and method == "unscale_"
            and "%" in segment(holder.test)
        ):
            clip = [item for item in holder.body if is_clip(item)]
            yield from made(
                "unscale each micro-step", statement, edits.move_many([statement, *clip], holder, after=False)
            )


def kind_of(statement: ast.stmt) -> str:
    """`step`, `update`, `unscale`, `clip`, `backward`, or nothing."""
    method = (call_of(statement) or ("", None))[0]
    if is_clip(statement):
        return "clip"
    if is_scaler_step(statement):
        return "step"
    return {"update": "update", "unscale_": "unscale", "backward": "backward"}.get(method, "")


def swappable(one: ast.stmt, other: ast.stmt) -> bool:
    """Whether two neighbours are calls of the protocol whose order matters."""
    return (kind_of(one), kind_of(other)) in {
        ("step", "update"),
        ("unscale", "clip"),
        ("backward", "unscale"),
        ("unscale", "step"),
        ("clip", "step"),
        ("backward", "clip"),
        ("backward", "step"),
    }


def programs() -> Iterator[tuple[str, str]]:
    """The correct programs, by name."""
    for path in sorted(ROOT.glob("*/good_*.py")):
        text = path.read_text(encoding="utf-8")
        if "GradScaler" in text and "backward" in text and not any(name in text for name in LIBRARIES):
            yield f"{path.parent.name}/{path.name}", text


def main(argv: list[str] | None = None) -> int:
    """Run it all and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--limit", type=int, default=0, help="at most so many programs")
    parser.add_argument("--skip", type=int, default=0, help="leave so many programs out first")
    parser.add_argument("--verbose", action="store_true", help="list every mutant")
    options = parser.parse_args(argv)
    workers = Workers()
    oracle = Oracle()
    every: collections.Counter[str] = collections.Counter()
    ill: collections.Counter[str] = collections.Counter()
    seen: collections.Counter[str] = collections.Counter()
    right: collections.Counter[str] = collections.Counter()
    latent: collections.Counter[str] = collections.Counter()
    missed: list[str] = []
    wrong: list[str] = []
    alarms: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for index, (name, text) in enumerate(programs()):
            if index < options.skip:
                continue
            if options.limit and index >= options.skip + options.limit:
                break
            healthy = symptoms(text, oracle, workers)
            if codes(folder, text):
                alarms.append(name)
            for mutant in mutants(text):
                every[mutant.kind] += 1
                shown = symptoms(mutant.text, oracle, workers) - healthy
                found = codes(folder, mutant.text)
                if shown:
                    ill[mutant.kind] += 1
                    seen[mutant.kind] += bool(found)
                    right[mutant.kind] += bool(found & RIGHT[mutant.kind])
                    if found and not found & RIGHT[mutant.kind]:
                        wrong.append(f"{name}:{mutant.line} {mutant.kind}: {', '.join(sorted(found))}")
                        print("WRONG CODE", wrong[-1], flush=True)
                    if not found:
                        missed.append(f"{name}:{mutant.line} {mutant.kind}: {', '.join(sorted(shown))}")
                        print("MISSED", missed[-1], flush=True)
                else:
                    latent[mutant.kind] += bool(found)
                if options.verbose:
                    print(f"{name}:{mutant.line} {mutant.kind}: {sorted(shown)} -> {sorted(found)}")
            print(f"{name}: {right.total()} of {ill.total()} so far", flush=True)
    print(f"{'mutation':28} mutants  ill  found  right  found without symptom")
    for kind in sorted(every):
        print(f"{kind:28} {every[kind]:7} {ill[kind]:4} {seen[kind]:6} {right[kind]:6} {latent[kind]:6}")
    totals = [counter.total() for counter in (every, ill, seen, right, latent)]
    print(f"{'all':28} {totals[0]:7} {totals[1]:4} {totals[2]:6} {totals[3]:6} {totals[4]:6}")
    for line in alarms:
        print("FALSE ALARM", line)
    return 1 if alarms or right.total() < GOAL * ill.total() else 0


def symptoms(text: str, oracle: Oracle, workers: Workers) -> set[str]:
    """The breaking symptoms of a run, by name."""
    reports = verify.run({"main.py": text}, "main.py", oracle, workers)
    assert reports is not None
    return {symptom.name for symptom in verify.see(reports, oracle) if symptom.name in BREAKING}


def codes(folder: str, text: str) -> set[str]:
    """The codes of section 11 that are reported for a text."""
    path = Path(folder) / "program.py"
    path.write_text(text, encoding="utf-8")
    return {
        item.code
        for item in lint([str(path)], select=["QA11"], ignore=["QA1106", "QA1120"])
        if item.confidence == "high"
    }


if __name__ == "__main__":
    sys.exit(main())
