"""Break correct programs with adapters in every systematic way, run what came out, and look it up.

    python tests/mutation_adapters.py [--kind NAME] [--program NAME] [--runs FILE] [--fixes] [--verbose]

The programs in `tests/mutants` put adapters into models in many ways, by hand and by PEFT, in one file,
in several and in the cells of notebooks; some only move tensors between devices. Each edit of
`mutation_edits.py` is made at every place that it fits. A mutant runs under the harness; the declared
oracles of the rules that the edit should wake say whether it shows a symptom that the original does not.
One that does must have a finding of one of the codes named for the edit; one that runs like the original
must have none, unless the finding is true all the same (`TRUE`). With `--fixes` our fix of each finding
is applied: the symptom must go, and nothing else break.

What a run showed is kept in `mutants/runs.json` by the text of the program: a mutant that is known is not
run again, unless another file is named by `--runs`. The tests look all of them up and run a sample anew.

The exit status is 1 if fewer than 95 in a hundred of the ill are found, if a healthy program has a
finding, or if a fix does harm.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import mutation_edits  # noqa: F401  (fills the table)
from mutation_program import Edit, edits

from qalint.config import Configs
from qalint.discovery import Found
from qalint.fixing import Fixer
from qalint.harness import symptoms, verify
from qalint.harness.cases import main_of
from qalint.harness.jobs import Workers
from qalint.harness.oracles import Oracle, oracle_of
from qalint.harness.symptoms import Reports
from qalint.registry import catalog
from qalint.runner import Runner
from qalint.testing import lint

ROOT = Path(__file__).resolve().parent / "mutants"
RUNS = ROOT / "runs.json"
SELECT = ["QA11", "QA12", "QA17"]
IGNORE = ["QA1106", "QA1120", "QA1212", "QA1702", "QA1712"]
"""Rules that are off unless asked for."""
TRUE = {
    ("floor division", "QA1218"): "alpha is a multiple of the rank as long as nobody changes either",
    ("freeze misspelt", "QA1206"): "what it should freeze is frozen elsewhere as well",
    ("freeze compared", "QA1206"): "what it should freeze is frozen elsewhere as well",
    ("parameter moved", "QA1219"): "the parameter is frozen: nobody misses it in the optimizer",
    ("no test of the layer's type", "QA1203"): "the names that are asked for are all of one type here",
    ("move thrown away", "QA1704"): "what stays on the CPU is moved once more inside the model",
}
"""Findings on mutants that run like the original, and why they are true all the same."""
BY_DESIGN = "no fault by the catalogue: "
SURVIVORS = {
    "checkpointed/checkpointed.py:38 no freeze": BY_DESIGN + "a model built with adapters may train whole",
    "conv_adapters/conv_adapters.py:72 optimizer earlier": "a head made trainable too late is no adapter",
    "kohya/kohya.py:66 cast left out": "the dtype of integers that a cast would have made floats",
    "notebook_peft/notebook_peft.py:43 nothing injected": BY_DESIGN + "then the whole model is trained",
    "parallel/parallel.py:58 both zero": "zeros with a non-linearity between them, which may be any",
    "prompt_tuning/prompt_tuning.py:33 adapter left out": "the base mixes, which carries the prompt on",
    "prompt_tuning/prompt_tuning.py:33 adapter detached": "the base mixes, which carries the prompt on",
    "prompt_tuning/prompt_tuning.py:19 sizes swapped": BY_DESIGN + "an embedding is no layer that is adapted",
    "scaling_vectors/scaling_vectors.py:26 device of a module": "the types of children that a walk meets",
    "split/lora.py:34 names of another family": BY_DESIGN
    + "Python itself says that there is no such attribute",
}
"""Mutants with a symptom that are not found, and why not. The tests fail when one is found after all."""
VOID = re.compile(
    r"NameError|UnboundLocalError|has no attribute '(net|model|blocks)'|cannot assign 'list' as child module"
    r"|'(list|dict)' object has no attribute|is not a Module subclass"
)
"""What a mutant raises that was no program any more: the edit took away what a name stands for, or Python
and torch refuse the very line that was edited."""

Files = dict[str, str]


class Mutant(NamedTuple):
    """One broken program: its origin, the file that was edited, the edit, and all files."""

    program: str
    file: str
    edit: Edit
    files: Files

    def __str__(self) -> str:
        return f"{self.program}/{self.file}:{self.edit.line} {self.edit.kind}"

    @property
    def key(self) -> str:
        """Tells the texts and what was looked for."""
        return hashlib.sha256(json.dumps([self.files, self.edit.codes]).encode()).hexdigest()[:16]


class Shown(NamedTuple):
    """What a mutant's run showed."""

    declared: str
    """The symptom, by the oracles of the codes of the edit."""
    other: str
    """Any symptom that the original does not have."""
    void: bool
    """It is no program any more."""


class Verdict(NamedTuple):
    """What a mutant's run showed and what qalint said."""

    mutant: Mutant
    shown: str
    other: str
    void: bool
    found: tuple[tuple[str, int], ...]
    """Codes and lines of the findings."""

    @property
    def seen(self) -> bool:
        """Whether a finding has one of the codes of the edit."""
        return any(code in self.mutant.edit.codes for code, _ in self.found)

    @property
    def alarms(self) -> list[tuple[str, int]]:
        """Findings on a mutant that runs like the original, but for those that are true all the same."""
        if self.shown or self.other or self.void:
            return []
        return [item for item in self.found if (self.mutant.edit.kind, item[0]) not in TRUE]


def programs() -> Iterator[tuple[str, Files]]:
    """The correct programs."""
    for path in sorted(ROOT.iterdir()):
        if path.suffix == ".py":
            yield path.stem, {path.name: path.read_text(encoding="utf-8")}
        elif path.is_dir() and path.name != "__pycache__":
            yield (
                path.name,
                {file.name: file.read_text(encoding="utf-8") for file in sorted(path.glob("*.py"))},
            )


def mutants(program: str, files: Files) -> Iterator[Mutant]:
    """All mutants of a program, each with one change."""
    for name, text in files.items():
        for change in edits(text):
            yield Mutant(program, name, change, {**files, name: change.text})


def run(files: Files, codes: tuple[str, ...], workers: Workers) -> Reports:
    """A program's runs, as many as the oracles of some rules ask for."""
    modes = {"plain": None, "devices": None}
    for code in codes:
        oracle = oracle_of(code)
        assert oracle is not None
        modes.update(dict.fromkeys(oracle.quick().modes))
    reports = verify.run(files, main_of(files), Oracle(only=tuple(modes)), workers)
    assert reports is not None
    return reports


def shows(codes: tuple[str, ...], healthy: Reports, broken: Reports) -> str:
    """The first symptom that the oracles of some rules declare, shown by the broken program alone."""
    for code in codes:
        oracle = oracle_of(code)
        assert oracle is not None
        before = {symptom.name for symptom in oracle.declared(symptoms.symptoms(healthy))}
        for symptom in oracle.declared(symptoms.symptoms(broken)):
            if symptom.name not in before:
                return f"{code} {symptom}"[:90]
        if oracle.compare is None or any(report.get("exception") for report in broken.values()):
            continue
        if difference := oracle.compare(broken, healthy):
            return f"{code} {difference}"
    return ""


def others(healthy: Reports, broken: Reports) -> str:
    """The first thing that a broken program shows and its original does not."""
    before = {symptom.name for symptom in symptoms.symptoms(healthy)}
    told = [str(symptom)[:90] for symptom in symptoms.symptoms(broken) if symptom.name not in before]
    if any(
        symptoms.trained(after) < symptoms.trained(healthy[mode])
        for mode, after in broken.items()
        if "lost" not in after
    ):
        told.append("less is trained")
    return told[0] if told else ""


def findings(files: Files) -> tuple[tuple[str, int], ...]:
    """Codes and lines of what is reported for a program with high confidence."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        found = lint([folder], select=SELECT, ignore=IGNORE, exclude=[])
    return tuple((item.code, item.region.row) for item in found if item.confidence == "high")


def mended(files: Files, codes: tuple[str, ...], unsafe: bool) -> Files:
    """A program after qalint's own fixes of some rules."""
    known = catalog()
    overrides = {"select": list(codes), "ignore": IGNORE, "exclude": []}
    runner = Runner(known, Configs(known, overrides=overrides, isolated=True, environment={}), jobs=0)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in files.items():
            path = Path(folder).resolve() / name
            path.write_text(text, encoding="utf-8")
            paths.append(Found(str(path), None, True))
        Fixer(runner, unsafe=unsafe).run(paths)
        return {name: (Path(folder) / name).read_text(encoding="utf-8") for name in files}


class Judge:
    """Runs mutants and looks them up; keeps the runs of the originals.

    `known`: what mutants showed, by their key; those are run only where a fix is to be judged.
    """

    def __init__(self, workers: Workers, known: dict[str, Shown] | None = None) -> None:
        self.workers = workers
        self.known = {} if known is None else known
        self.healthy: dict[tuple[str, tuple[str, ...]], Reports] = {}

    def original(self, program: str, files: Files, codes: tuple[str, ...]) -> Reports:
        """The runs of the program as it was."""
        key = (program, codes)
        if key not in self.healthy:
            self.healthy[key] = run(files, codes, self.workers)
        return self.healthy[key]

    def show(self, mutant: Mutant, files: Files) -> Shown:
        """What the mutant's run shows. `files`: the original."""
        if mutant.key not in self.known:
            codes = mutant.edit.codes
            healthy = self.original(mutant.program, files, codes)
            broken = run(mutant.files, codes, self.workers)
            errors = [report.get("exception") for report in broken.values()]
            void = any(error and VOID.search(f"{error['type']}: {error['message']}") for error in errors)
            shown = shows(codes, healthy, broken)
            self.known[mutant.key] = Shown(shown, "" if shown else others(healthy, broken), void)
        return self.known[mutant.key]

    def judge(self, mutant: Mutant, files: Files) -> Verdict:
        """What the mutant's run shows and what is said of it."""
        return Verdict(mutant, *self.show(mutant, files), findings(mutant.files))

    def fixes(self, verdict: Verdict, files: Files) -> Iterator[tuple[str, str]]:
        """(what was applied, what is wrong with it or "") for each fix of a mutant just judged.

        Each code of the edit by itself with unsafe fixes, as `verify` does; then all safe ones together.
        """
        mutant = verdict.mutant
        codes = mutant.edit.codes
        self.original(mutant.program, files, codes)
        broken: Reports | None = None
        told = dict.fromkeys(code for code, _ in verdict.found)
        for names, unsafe in [*(((code,), True) for code in told), (tuple(SELECT), False)]:
            after = mended(mutant.files, names, unsafe)
            if after != mutant.files:
                broken = broken or run(mutant.files, codes, self.workers)
                wrong = self.harm(mutant, broken, after, names if unsafe else ())
                yield (f"{names[0]} unsafe" if unsafe else "all safe"), wrong

    def harm(self, mutant: Mutant, broken: Reports, after: Files, codes: tuple[str, ...]) -> str:
        """What a fix did wrong: a symptom of some rules that stays, or anything that breaks."""
        reports = run(after, mutant.edit.codes, self.workers)
        healthy = self.healthy[mutant.program, mutant.edit.codes]
        for code in codes:
            # Only what the fault of the rule showed before must be gone; there may be others.
            oracle = oracle_of(code)
            if oracle is None or not shows((code,), healthy, broken):
                continue
            usual = {symptom.name for symptom in symptoms.symptoms(healthy)}
            left = [one for one in oracle.declared(symptoms.symptoms(reports)) if one.name not in usual]
            if left:
                return f"still {left[0]}"
        was = {symptom.name for symptom in (*symptoms.symptoms(broken), *symptoms.symptoms(healthy))}
        brought = [
            symptom
            for symptom in symptoms.symptoms(reports)
            if symptom.name in symptoms.BREAKING and symptom.name not in was
        ]
        if any(report.get("exception") for report in broken.values()):
            # A program that ended early may have had more wrong with it.
            brought = [symptom for symptom in brought if symptom.name in ("raises", "lost")]
        return "brings " + "; ".join(map(str, brought)) if brought else ""


def recorded(path: Path = RUNS) -> dict[str, Shown]:
    """What mutants showed when they were run, by their key."""
    if not path.exists():
        return {}
    return {key: Shown(*value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}


def keep(path: Path, known: dict[str, Shown]) -> None:
    """Write down what mutants showed."""
    lines = [f"{json.dumps(key)}: {json.dumps(known[key])}" for key in sorted(known)]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Run it all and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", default="", help="only edits of this kind")
    parser.add_argument("--program", default="", help="only this program")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where what runs showed is kept")
    parser.add_argument("--fixes", action="store_true", help="apply our fixes and run again")
    parser.add_argument("--verbose", action="store_true", help="list every mutant")
    options = parser.parse_args(argv)
    every, ill, seen, fixed = (collections.Counter[str]() for _ in range(4))
    missed: list[Verdict] = []
    alarms: list[str] = []
    harmful: list[str] = []
    known = recorded(options.runs)
    keys: list[str] = []
    with Workers() as workers:
        judge = Judge(workers, known)
        for program, files in programs():
            if options.program not in ("", program):
                continue
            alarms += [f"{program} as it is: {code} at line {row}" for code, row in findings(files)]
            for mutant in mutants(program, files):
                if options.kind not in ("", mutant.edit.kind):
                    continue
                verdict = judge.judge(mutant, files)
                keys.append(mutant.key)
                kind = mutant.edit.kind
                if options.verbose:
                    state = "void" if verdict.void else verdict.shown or f"({verdict.other or '-'})"
                    print(f"{mutant}: {state} -> {list(verdict.found)}", flush=True)
                if verdict.void:
                    continue
                every[kind] += 1
                if verdict.shown:
                    ill[kind] += 1
                    seen[kind] += verdict.seen
                    if not verdict.seen:
                        missed.append(verdict)
                        print(f"MISSED {mutant}: {verdict.shown}; found {list(verdict.found)}", flush=True)
                elif verdict.alarms:
                    alarms.append(f"{mutant}: {verdict.alarms}")
                    print("ALARM", alarms[-1], flush=True)
                if options.fixes and verdict.found:
                    for applied, wrong in judge.fixes(verdict, files):
                        fixed["right" if not wrong else "wrong"] += 1
                        if wrong:
                            harmful.append(f"{mutant}: {applied}: {wrong}")
                            print("HARM", harmful[-1], flush=True)
            keep(options.runs, known)
    if not (options.kind or options.program):
        keep(options.runs, {key: known[key] for key in keys})
    print(f"{'mutation':40} mutants  ill  found")
    for kind in sorted(every):
        print(f"{kind:40} {every[kind]:7} {ill[kind]:4} {seen[kind]:6}")
    total = sum(ill.values())
    print(f"{'all':40} {sum(every.values()):7} {total:4} {sum(seen.values()):6}")
    print(f"{len(alarms)} false alarms, {fixed['right']} fixes right, {fixed['wrong']} wrong")
    return 1 if alarms or harmful or sum(seen.values()) < 0.95 * total else 0


if __name__ == "__main__":
    sys.exit(main())
