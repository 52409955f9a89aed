"""Run before the fix, fix, run after: what `qalint verify` does with every rule and fixture.

A verdict is earned by running. `confirmed`: the declared symptom shows before, qalint finds the fault,
its own fix makes the symptom go, and nothing else breaks. `refuted`: any of these fails. `needs-gpu`:
only a GPU can tell. `no-oracle`: running cannot tell; the rule says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

from . import notebook_symptoms, symptoms
from .branches import forced
from .cases import Case, script_of
from .jobs import Workers, copied
from .oracles import BASE, Look, Oracle, oracle_of
from .symptoms import Reports, Symptom


class Entry(NamedTuple):
    """One line of the result; the keys of its JSON are the fields here (see the interface)."""

    code: str | None
    name: str
    fixture: str | None
    device: str
    before: str
    after: str
    verdict: str
    seconds: float
    detail: str


class Fixed(NamedTuple):
    """What qalint made of a program."""

    files: dict[str, str]
    findings: int
    """Findings of the rule before any fix."""
    fixes: int
    """Findings that offered one."""


Fixer = Callable[[dict[str, str], str], Fixed]
"""Applies the fixes of one rule, unsafe ones included, to the files of a program."""


class RuleFacts(NamedTuple):
    """What verify needs to know of a rule."""

    code: str
    name: str
    oracle: str


def run(
    files: dict[str, str], main: str, oracle: Oracle, workers: Workers, branches: Container[str] | None = None
) -> Reports | None:
    """The reports of a program under all modes of an oracle; None when the file is no program.

    `branches`: those to take, by name, where the oracle asks for every branch; by default all that show
    something.
    """
    if oracle.notebook:
        kind, script, text = "notebook", main, files[main]
    else:
        kind = "training"
        found = script_of(main, files[main])
        if found is None:
            return None
        script = main if main.endswith(".py") else main + ".py"
        text = found
    with copied({**files, script: text}) as folder:
        cuda = any("cuda" in part for part in files.values())
        # CUDA maps far more address space than it uses.
        limits = {"memory": 1 << 46} if oracle.gpu else {}
        reports = {
            mode: workers.run(kind, folder / script, folder, mode=mode, uses_cuda=cuda, **limits)
            for mode in oracle.modes
        }
    if oracle.branches:
        for name, changed in forced(main, text, branches).items():
            with copied({**files, script: changed}) as folder:
                reports[name] = workers.run("notebook", folder / script, folder, mode="branch")
    return reports


def see(reports: Reports, oracle: Oracle) -> list[Symptom]:
    """All symptoms in the reports."""
    return notebook_symptoms.symptoms(reports) if oracle.notebook else symptoms.symptoms(reports)


def verify_bad(case: Case, rule: RuleFacts, oracle: Oracle, fixer: Fixer, workers: Workers) -> Entry | None:
    """The verdict on one faulty fixture; None when it is no program (definitions only)."""
    started = time.perf_counter()

    def entry(before: str, after: str, verdict: str, detail: str) -> Entry:
        seconds = round(time.perf_counter() - started, 2)
        return Entry(
            rule.code,
            rule.name,
            case.name,
            "cuda" if oracle.gpu else "cpu",
            before,
            after,
            verdict,
            seconds,
            detail,
        )

    reports = run(case.files, case.main, oracle, workers)
    if reports is None or (not oracle.notebook and not symptoms.did_anything(reports)):
        return None
    found = see(reports, oracle)
    shown = oracle.declared(found)
    before = "; ".join(map(str, shown))
    fixed = fixer(case.files, rule.code)
    if fixed.findings == 0:
        return entry(before, "", "refuted", "qalint does not find the fault")
    if fixed.files == case.files:
        if shown:
            return entry(before, "", "confirmed", "the fault shows; the rule offers no fix here")
        others = "; ".join(map(str, found)) or "none at all"
        if oracle.compare is not None:
            return entry(
                "", "", "no-oracle", "only a fix could show the difference, and none is offered here"
            )
        return entry("", "", "refuted", f"the declared symptom does not show; seen: {others}")
    again = run(fixed.files, case.main, oracle, workers, frozenset(reports))
    assert again is not None
    if not shown and not oracle.notebook and ends_alike(reports, again):
        return None
    return entry(*judge(oracle, reports, again))


def ends_alike(before: Reports, after: Reports) -> bool:
    """Whether both runs end with the same exception, which is neither the fault nor the fix's doing."""
    old, new = (next(iter(reports.values())).get("exception") for reports in (before, after))
    return (
        old is not None and new is not None and (old["type"], old["message"]) == (new["type"], new["message"])
    )


def judge(oracle: Oracle, before: Reports, after: Reports) -> tuple[str, str, str, str]:
    """(before, after, verdict, detail) of the runs of a program before and after its fix."""
    found, left = see(before, oracle), see(after, oracle)
    shown, still = oracle.declared(found), oracle.declared(left)
    brought = broken(oracle, before, after, found, left)
    texts = ("; ".join(map(str, shown)), "; ".join(map(str, still)) or "none")
    if brought:
        return (*texts, "refuted", "the fix breaks something: " + "; ".join(map(str, brought)))
    if shown and not still:
        return (*texts, "confirmed", "")
    lost = any("lost" in report for report in (*before.values(), *after.values()))
    if oracle.compare is not None and not lost:
        difference = oracle.compare(before, after)
        if difference is not None:
            return (difference, "none", "confirmed", "")
    if still and shown:
        return (*texts, "refuted", "the symptom is still there after the fix")
    return (
        *texts,
        "refuted",
        f"the declared symptom does not show; seen: {'; '.join(map(str, found)) or 'none'}",
    )


def broken(
    oracle: Oracle, before: Reports, after: Reports, found: list[Symptom], left: list[Symptom]
) -> list[Symptom]:
    """What a fix brought that was not there."""
    kind = notebook_symptoms if oracle.notebook else symptoms
    names = {symptom.name for symptom in found}
    if "raises" in names:
        # Whether a program that never came so far needed a scaler is not the fix's doing.
        names.add("underflow")
    brought = [s for s in left if s.name in kind.BREAKING and s.name not in names]
    # A program that ended early may have had more wrong with it; only its own fault is judged then.
    if oracle.notebook and not any("lost" in reports["plain"] for reports in (before, after)):
        brought += notebook_symptoms.vanished(before, after)
        gone = notebook_symptoms.lost_definitions(before["plain"], after["plain"])
        if gone and not oracle.may_undefine:
            brought.append(Symptom("undisplayed", f"no longer defined: {', '.join(gone)}"))
    return brought


def verify_good(case: Case, rule: RuleFacts, oracle: Oracle, workers: Workers) -> Entry | None:
    """A correct fixture must not show the symptom, or the oracle would be worth nothing."""
    started = time.perf_counter()
    reports = run(case.files, case.main, oracle, workers)
    if reports is None or (not oracle.notebook and not symptoms.did_anything(reports)):
        return None
    shown = oracle.declared(see(reports, oracle))
    seconds = round(time.perf_counter() - started, 2)
    text = "; ".join(map(str, shown)) or "none"
    verdict, detail = (
        ("refuted", "correct code shows the symptom") if shown else ("confirmed", "correct code")
    )
    return Entry(rule.code, rule.name, case.name, "cpu", text, text, verdict, seconds, detail)


def can_run(rule: RuleFacts, device: str) -> bool:
    """Whether running on this device can show the rule's fault."""
    if rule.oracle == "gpu":
        oracle = oracle_of(rule.code)
        return device == "cuda" and oracle is not None and oracle.gpu
    return rule.oracle == "cpu"


def without_run(rule: RuleFacts, device: str = "cpu") -> Entry:
    """The entry of a rule whose fault cannot be shown here."""
    if rule.oracle == "gpu" and device == "cuda":
        detail = "what a GPU shows of it is not measured yet"
        return Entry(rule.code, rule.name, None, "cuda", "", "", "no-oracle", 0.0, detail)
    if rule.oracle == "gpu":
        detail = "run `qalint verify --device cuda` on a machine with a GPU"
        return Entry(rule.code, rule.name, None, "cuda", "", "", "needs-gpu", 0.0, detail)
    reason = rule.oracle.partition(":")[2].strip()
    return Entry(rule.code, rule.name, None, "", "", "", "no-oracle", 0.0, reason)


def verify(
    rules: Iterable[RuleFacts],
    all_cases: Iterable[Case],
    fixer: Fixer,
    workers: Workers,
    *,
    quick: bool = False,
    device: str = "cpu",
    progress: Callable[[int, int, str], None] | None = None,
) -> Iterator[Entry]:
    """The entries of all rules, by code. `quick`: one faulty fixture a rule, no correct ones."""
    by_rule: dict[str, list[Case]] = {}
    for case in all_cases:
        by_rule.setdefault(case.rule, []).append(case)
    rules = sorted(rules, key=lambda rule: rule.code)
    runnable = [rule for rule in rules if can_run(rule, device)]
    work = [(rule, case) for rule in runnable for case in by_rule.get(rule.name, [])]
    done: dict[str, list[Entry]] = {}

    def one(rule: RuleFacts, case: Case) -> Entry | None:
        oracle = oracle_of(rule.code) or third_party(case)
        if quick:
            oracle = oracle.quick()
        if case.good:
            return verify_good(case, rule, oracle, workers)
        return verify_bad(case, rule, oracle, fixer, workers)

    def first(rule: RuleFacts) -> Entry | None:
        candidates = _by_size(by_rule.get(rule.name, []))
        return next((entry for case in candidates if (entry := one(rule, case)) is not None), None)

    with ThreadPoolExecutor(workers.count) as pool:
        if quick:
            futures = {pool.submit(first, rule): (rule, rule.name) for rule in runnable}
        else:
            futures = {pool.submit(one, rule, case): (rule, case.name) for rule, case in work}
        for count, future in enumerate(as_completed(futures), 1):
            rule, name = futures[future]
            entry = future.result()
            if entry is not None:
                done.setdefault(rule.code, []).append(entry)
            if progress is not None:
                progress(count, len(futures), name)
    for rule in rules:
        if not can_run(rule, device):
            yield without_run(rule, device)
            continue
        own = sorted(done.get(rule.code, []), key=lambda entry: entry.fixture or "")
        if not any("/bad_" in (entry.fixture or "") for entry in own):
            detail = "no faulty fixture of this rule can be run"
            yield Entry(rule.code, rule.name, None, "cpu", "", "", "refuted", 0.0, detail)
        yield from own


def _by_size(cases: Iterable[Case]) -> list[Case]:
    """Faulty programs, those first that need no hub, then the shorter ones."""

    def cost(case: Case) -> tuple[bool, int]:
        text = "".join(case.files.values())
        return ("transformers" in text or "peft" in text, len(text))

    return sorted((case for case in cases if not case.good), key=cost)


def third_party(case: Case) -> Oracle:
    """For a rule that declares no symptom of its own: any that breaks a program, or a notebook."""
    notebook = "marimo.App(" in case.files[case.main] or case.main.endswith((".md", ".qmd"))
    breaking = notebook_symptoms.BREAKING if notebook else symptoms.BREAKING
    return Oracle(tuple(Look(name) for name in sorted(breaking)), notebook=notebook)


__all__ = ["BASE", "Entry", "Fixed", "RuleFacts", "judge", "verify"]
