"""Break correct programs with adapters in every systematic way, run what came out, and look it up.

    python tests/mutation_adapters.py [--kind NAME] [--verbose]

The programs in `tests/mutants` inject adapters in four ways (wrappers, hooks, a class that tunes,
layers with adapters of their own) and once in three files. Each edit below is made at every place that
it fits. A mutant runs under the harness; the declared oracle of the rule that the edit should wake says
whether it shows the symptom, which the original must not. A mutant with the symptom must have a finding
of one of the codes named for the edit.

The exit status is 1 if fewer than 95 in a hundred of those are found, or a correct program has a finding.
"""

from __future__ import annotations

import argparse
import collections
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from qalint.harness import verify
from qalint.harness.jobs import Workers
from qalint.harness.oracles import oracle_of
from qalint.harness.symptoms import Reports
from qalint.testing import lint

ROOT = Path(__file__).resolve().parent / "mutants"
FREEZE = (
    r"( *)for p in [\w.]+\.parameters\(\):\n +p\.requires_grad(?: = False|_\(False\))\n"
    r"| *(?:self\.)?freeze\(\w*\)\n| *self\.model\.requires_grad_\(False\)\n"
)


class Edit(NamedTuple):
    """A way to break a program: a pattern, what it becomes, and the codes that tell it, likeliest first."""

    kind: str
    pattern: str
    becomes: str
    codes: tuple[str, ...]


EDITS = (
    Edit("no freeze", FREEZE, "", ("QA1204",)),
    Edit(
        "no freeze in the class",
        r"(def freeze\(\w+\):\n)(?:.*\n)+?(?=\n)",
        r"\1    pass\n",
        ("QA1204",),
    ),
    Edit(
        "freeze after the injection",
        r"((?: *)for p in net\.parameters\(\):\n +p\.requires_grad = False\n)(inject\(net\)\n)",
        r"\2\1",
        ("QA1205",),
    ),
    Edit(
        "freeze after the injection",
        r"( +(?:self\.)?freeze\(\w*\)\n)( +(?:self\.)?inject\(.*\)\n)",
        r"\2\1",
        ("QA1205",),
    ),
    Edit(
        "freeze after the injection",
        r"( +self\.model\.requires_grad_\(False\)\n)((?:.*\n)+?)(\n    def forward)",
        r"\2        self.requires_grad_(False)\n\3",
        ("QA1205", "QA1208"),
    ),
    Edit(
        "optimizer before the injection",
        r"((?:self\.)?inject\(.*\)\n)((?:.*\n)*?)( *)((?:self\.)?optimizer = .*parameters.*\n)",
        r"\4\3\1\2",
        ("QA1207", "QA1208"),
    ),
    Edit(
        "optimizer before the injection",
        r"(inject\(net\)\n)(.*\n)(trainable = .*\noptimizer = .*\n)",
        r"\3\1\2",
        ("QA1208", "QA1207"),
    ),
    Edit("requires_grad misspelt", r"requires_grad = False", "require_grad = False", ("QA1206",)),
    Edit("requires_grad compared", r"p\.requires_grad = False", "p.requires_grad == False", ("QA1206",)),
    Edit("adapters in a list", r"nn\.ModuleList\(\)", "[]", ("QA1209",)),
    Edit(
        "FP16 adapter",
        r"dtype=torch\.float32, device=where",
        "dtype=torch.float16, device=where",
        ("QA1210",),
    ),
    Edit(
        "dtype of the base",
        r"dtype=torch\.float32, device=where",
        "dtype=linear.weight.dtype, device=where",
        ("QA1210",),
    ),
    Edit("adapter cast like the base", r"Wrapped\(child, rank\)", "Wrapped(child, rank).half()", ("QA1210",)),
    Edit("adapter on the CPU", r", device=where", "", ("QA1211",)),
    Edit("adapter on the CPU", r"Adapted\(layer\)\.to\(device\)", "Adapted(layer)", ("QA1211",)),
    Edit(
        "model moved before the injection",
        r"(inject\(net\)\n)(net\.to\(\"cuda\"\)\n)",
        r"\2\1",
        ("QA1211",),
    ),
    Edit("input not cast", r"x\.to\(self\.a\.dtype\)", "x", ("QA1213",)),
    Edit("output not restored", r"delta\.to\(result\.dtype\)", "delta", ("QA1214",)),
    Edit("adapter left out", r"return self\.layer\(x\) \+ .*\n", "return self.layer(x)\n", ("QA1215",)),
    Edit(
        "adapter left out",
        r"return super\(\)\.forward\(x\) \+ .*\n",
        "return super().forward(x)\n",
        ("QA1215",),
    ),
    Edit("adapter left out", r"return result \+ .*\n", "return result\n", ("QA1215",)),
    Edit("hook returns nothing", r"return output \+", "output +", ("QA1215",)),
    Edit("no hook", r" +layer\.register_forward_hook\(add\)\n", "", ("QA1215",)),
    Edit("late binding", r", adapter=adapter\)", ")", ("QA1217",)),
    Edit("both zero", r"torch\.randn\((.*?rank.*?)\)( \* 0\.1)?\)", r"torch.zeros(\1))", ("QA1218",)),
    Edit(
        "both zero",
        r"nn\.init\.normal_\(self\.down\.weight, std=0\.1\)",
        "nn.init.zeros_(self.down.weight)",
        ("QA1218",),
    ),
    Edit("floor division", r"alpha / rank", "alpha // rank", ("QA1218",)),
    Edit("parameter moved", r"(self\.\w+ = nn\.Parameter\(.*\))\n", r'\1.to("cuda")\n', ("QA1219",)),
    Edit("parameter cast", r"(self\.\w+ = nn\.Parameter\(.*\))\n", r"\1.half()\n", ("QA1219",)),
    Edit("reentrant", r"use_reentrant=False", "use_reentrant=True", ("QA1220",)),
    Edit("swapped Conv1D", r"size_in, size_out = layer", "size_out, size_in = layer", ("QA1201",)),
    Edit("swapped Linear", r"size_out, size_in = layer", "size_in, size_out = layer", ("QA1201",)),
    Edit("only Linear", r"\(nn\.Linear, Conv1D\)", "nn.Linear", ("QA1202",)),
    Edit(
        "no type test",
        r"if isinstance\(layer, Conv1D\):\n.*\n +else:\n    (.*\n)",
        r"\1",
        ("QA1203", "QA1201"),
    ),
    Edit("batch not moved", r" +\w+ = \w+\.to\((?:\"cuda\"|device)\)\n", "", ("QA1707", "QA1705")),
    Edit("move thrown away", r"( +)(\w+) = (\2\.to\((?:\"cuda\"|device)\))\n", r"\1\3\n", ("QA1704",)),
    Edit("tensor made on the CPU", r", device=ids\.device", "", ("QA1705",)),
    Edit("tensor made on the CPU", r', device="cuda"\)', ")", ("QA1705", "QA1707")),
    Edit(
        "buffer becomes an attribute",
        r'self\.register_buffer\("(\w+)", (.*)\)\n',
        r"self.\1 = \2\n",
        ("QA1706",),
    ),
    Edit(
        "model not moved", r"(?:net|tuned)\.to\(\"cuda\"\)\n|(?<=Net\(\))\.to\(\"cuda\"\)", "\n", ("QA1705",)
    ),
    Edit("input in FP32", r"x\.half\(\)", "x", ("QA1710", "QA1118")),
    Edit("nothing new", r"^ *(?:self\.)?inject\((?!.*:).*\)\n", "", ("QA1208",)),
)


class Mutant(NamedTuple):
    """One broken program: the edit, the file and line, and all files."""

    edit: Edit
    where: str
    files: dict[str, str]


def programs() -> Iterator[tuple[str, dict[str, str]]]:
    """The correct programs: their main file and their files."""
    for path in sorted(ROOT.iterdir()):
        if path.suffix == ".py":
            yield path.name, {"main.py": path.read_text(encoding="utf-8")}
        elif path.is_dir() and path.name != "__pycache__":
            yield path.name, {file.name: file.read_text(encoding="utf-8") for file in path.glob("*.py")}


def mutants(files: dict[str, str]) -> Iterator[Mutant]:
    """All mutants of a program, each with one change."""
    for name, text in files.items():
        for edit in EDITS:
            for match in re.finditer(edit.pattern, text, re.MULTILINE):
                changed = text[: match.start()] + match.expand(edit.becomes) + text[match.end() :]
                try:
                    compile(changed, name, "exec")
                except SyntaxError:
                    continue
                line = text.count("\n", 0, match.start()) + 1
                yield Mutant(edit, f"{name}:{line}", {**files, name: changed})


def run(files: dict[str, str], code: str, workers: Workers) -> Reports:
    """A program's runs, as many as the oracle of a rule asks for."""
    oracle = oracle_of(code)
    assert oracle is not None
    reports = verify.run(files, "main.py", oracle.quick(), workers)
    assert reports is not None
    return reports


def shows(code: str, healthy: Reports, broken: Reports) -> str:
    """The symptom that the oracle of a rule declares, shown by the broken program alone; else nothing."""
    oracle = oracle_of(code)
    assert oracle is not None
    before = {symptom.name for symptom in oracle.declared(verify.see(healthy, oracle))}
    shown = {symptom.name for symptom in oracle.declared(verify.see(broken, oracle))} - before
    if not shown and oracle.compare is not None and (difference := oracle.compare(broken, healthy)):
        return difference
    return ", ".join(sorted(shown))


def codes(folder: str, files: dict[str, str]) -> set[str]:
    """The codes of sections 11, 12 and 17 that are reported for a program."""
    for name, text in files.items():
        (Path(folder) / name).write_text(text, encoding="utf-8")
    ignored = ["QA1106", "QA1120", "QA1212", "QA1712"]
    found = lint([folder], select=["QA11", "QA12", "QA17"], ignore=ignored, exclude=[])
    return {item.code for item in found if item.confidence == "high"}


def main(argv: list[str] | None = None) -> int:
    """Run it all and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", default="", help="only edits of this kind")
    parser.add_argument("--verbose", action="store_true", help="list every mutant")
    options = parser.parse_args(argv)
    workers = Workers()
    every, ill, seen = (collections.Counter[str]() for _ in range(3))
    missed: list[str] = []
    alarms: list[str] = []
    for name, files in programs():
        with tempfile.TemporaryDirectory() as folder:
            if found := codes(folder, files):
                alarms.append(f"{name}: {', '.join(sorted(found))}")
        healthy: dict[str, Reports] = {}
        for mutant in mutants(files):
            kind, wanted = mutant.edit.kind, mutant.edit.codes
            if not wanted or (options.kind and kind != options.kind):
                continue
            every[kind] += 1
            shown = ""
            for code in wanted:
                healthy.setdefault(code, run(files, code, workers))
                shown = shown or shows(code, healthy[code], run(mutant.files, code, workers))
            with tempfile.TemporaryDirectory() as folder:
                found = codes(folder, mutant.files)
            if shown:
                ill[kind] += 1
                seen[kind] += bool(found & set(wanted))
                if not found & set(wanted):
                    missed.append(f"{name}/{mutant.where} {kind}: {shown}; found {sorted(found)}")
                    print("MISSED", missed[-1], flush=True)
            if options.verbose:
                print(f"{name}/{mutant.where} {kind}: {shown or '-'} -> {sorted(found)}", flush=True)
    print(f"{'mutation':34} mutants  ill  found")
    for kind in sorted(every):
        print(f"{kind:34} {every[kind]:7} {ill[kind]:4} {seen[kind]:6}")
    total = sum(ill.values())
    print(f"{'all':34} {sum(every.values()):7} {total:4} {sum(seen.values()):6}")
    for line in alarms:
        print("FALSE ALARM", line)
    return 1 if alarms or sum(seen.values()) < 0.95 * total else 0


if __name__ == "__main__":
    sys.exit(main())
