"""What runs on a GPU only, as far as a CPU can try it: the choice of device, the one run, the result file."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from qalint.cli import verify as command
from qalint.harness import checklist
from qalint.harness.cases import Case
from qalint.harness.fixer import Fixer
from qalint.harness.oracles import oracle_of
from qalint.harness.verify import Entry, Fixed, RuleFacts, can_run, verify

RULES = [rule for rule in Fixer().rules() if rule.oracle == "gpu"]
QUIET = {
    "exception": None, "warnings": [], "events": [["forward", "train.py", 1, {"grad": False}]], "steps": [],
    "scales": [], "parameters": [], "models": [], "finite_loss": True, "backwards": 0,
    "promoted": [], "misread": [], "clips": [], "host_copies": [], "output": "",
}  # fmt: skip


class Pretended:
    """Workers that remember what they were asked, and answer as if a GPU had run it."""

    count = 1

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []

    def run(self, kind: str, path: Path, root: Path, **more: object) -> dict[str, object]:
        self.asked.append({"kind": kind, **more})
        return QUIET


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_rules_that_need_a_gpu_are_run_once_on_it_or_say_so(rule: RuleFacts) -> None:
    case = Case(rule.name, f"{rule.name}/bad_x", False, {"train.py": "import torch\n"}, "train.py")
    workers = Pretended()

    def on(device: str) -> list[Entry]:
        fixer = lambda files, code: Fixed(files, 1, 0)  # noqa: E731
        return list(verify([rule], [case], fixer, workers, device=device))  # type: ignore[arg-type]

    entries = on("cpu")
    assert [entry.verdict for entry in entries] == ["needs-gpu"] and workers.asked == []
    oracle = oracle_of(rule.code)
    assert oracle is not None and oracle.gpu and can_run(rule, "cuda")
    entries = on("cuda")
    assert [asked["mode"] for asked in workers.asked] == ["gpu"]
    assert workers.asked[0]["memory"] == 1 << 46, "CUDA maps more than it uses"
    assert {entry.device for entry in entries} == {"cuda"}
    assert all(entry.verdict != "needs-gpu" for entry in entries)


TIMED = """
import time, torch
start = time.perf_counter()
work()
{wait}elapsed = time.perf_counter() - start
"""


@pytest.mark.parametrize(
    ("wait", "seen"), [("", ["early-clock timed.py line 5"]), ("torch.cuda.synchronize()\n", [])]
)
def test_a_clock_that_does_not_wait_is_seen(
    wait: str, seen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from qalint.harness.probe import MODES, Probe
    from qalint.harness.symptoms import symptoms

    busy = []
    for name in ("time", "perf_counter", "monotonic"):
        monkeypatch.setattr(time, name, getattr(time, name))  # what the probe sets is taken back
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", busy.clear)
    monkeypatch.setattr(
        torch.cuda, "current_stream", lambda: type("Stream", (), {"query": lambda self: not busy})()
    )
    probe = Probe(str(tmp_path), MODES["gpu"])
    probe.patch_clocks()
    program = compile(TIMED.format(wait=wait), str(tmp_path / "timed.py"), "exec")
    exec(program, {"work": lambda: busy.append(1)})
    told = [f"{kind} {file} line {line}" for kind, file, line, _ in probe.events]
    assert told == seen
    found = symptoms({"gpu": {**QUIET, "events": [[*event] for event in probe.events]}})  # type: ignore[dict-item]
    assert [symptom.name for symptom in found] == ["early-clock"][: len(seen)]


MEASURE = """
import json, sys
assert sys.argv[1:3] == ["--device", "cuda"], sys.argv
if {fails}:
    sys.exit("CUDA out of memory")
row = {{"parameters": 3e8, "seconds_per_step": 0.5, "peak_mib": 4000.0, "finite": {finite}}}
rows = [{{**row, "precision": name}} for name in ("fp32", "bf16", "fp16")]
open(sys.argv[4], "w").write(json.dumps({{"rows": rows}}))
"""


@pytest.mark.parametrize(
    ("fails", "finite", "verdict"),
    [(False, True, "confirmed"), (False, False, "refuted"), (True, True, "refuted")],
)
def test_the_measurement_at_real_size_writes_its_own_file(
    tmp_path: Path, fails: bool, finite: bool, verdict: str
) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer/measure.py").write_text(MEASURE.format(fails=fails, finite=finite))
    result = tmp_path / "measured.json"
    (entry,) = checklist.at_real_size(tmp_path, result)
    assert (entry.name, entry.device, entry.verdict) == ("17.08", "cuda", verdict)
    if fails:
        assert entry.detail == "CUDA out of memory" and not result.exists()
    else:
        assert "300 million parameters" in entry.after and str(result) in entry.detail
        assert len(json.loads(result.read_text())["rows"]) == 3


def test_a_gpu_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert command.main(["--device", "cuda"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "qalint verify: There is no CUDA device that torch can use here.\n"
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert command._device("auto") == "cpu"


def test_a_gpu_that_is_there_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "nvidia-smi")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: type("Done", (), {"stdout": "True\n"}))
    assert (command._device("auto"), command._device("cuda"), command._device("cpu")) == (
        "cuda",
        "cuda",
        "cpu",
    )
