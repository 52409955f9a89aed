"""Verdicts on programs whose precision is a setting, and on what held at the moment that is asked."""

from pathlib import Path

import pytest

from qalint.linter import parse
from qalint.report.gather import gather
from qalint.report.judge import judge
from qalint.report.verdicts import PASS, UNKNOWN
from qalint.report.worlds import in_half
from qalint.source import Source

CHOSEN = """\
import torch
from torch import nn


def train(model, batches, precision):
    use_fp16 = precision == "fp16"
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda", enabled=use_fp16)
    for x, y in batches:
        optimizer.zero_grad()
        dtype = torch.float16 if use_fp16 else torch.bfloat16
        with torch.autocast("cuda", dtype=dtype, enabled=precision != "fp32"):
            loss = nn.functional.mse_loss(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()


train(nn.Linear(4, 1), [(torch.ones(2, 4), torch.ones(2, 1))], read_setting())
"""


def verdicts(tmp_path: Path, text: str) -> dict:
    (tmp_path / "train.py").write_text(text)
    return {each.item.id: each for each in judge(gather([str(tmp_path / "train.py")]))}


def test_a_chosen_precision_is_judged_where_it_is_fp16(tmp_path: Path) -> None:
    found = verdicts(tmp_path, CHOSEN)
    for id in ("11.01", "11.02", "11.04", "11.05", "11.06", "11.08", "11.09", "11.10"):
        assert found[id].verdict == PASS, (id, found[id])
        assert "where `precision` is 'fp16'" in found[id].reason, id


def test_an_autocast_that_another_setting_switches_stays_unknown(tmp_path: Path) -> None:
    found = verdicts(tmp_path, CHOSEN.replace('enabled=precision != "fp32"', "enabled=fast()"))
    assert found["11.04"].verdict == UNKNOWN


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('if args.precision == "fp16":\n    a()', "where `args.precision` is 'fp16'"),
        ('x = dtype in ("float16", "half")', "where `dtype` is 'float16'"),
        ('if mixed_precision != "no" and mixed_precision == "fp16":\n    a()', "where `mixed_precision` is"),
        ('if args.model == "fp16":\n    a()', None),  # no setting of a precision
        ('if args.precision == "bf16":\n    a()', None),
        ('if a.dtype == "fp16" or b.dtype == "fp16":\n    a()', None),  # two settings: which?
        ("if args.precision == 16:\n    a()", None),
    ],
)
def test_what_counts_as_the_setting(text: str, words: str | None) -> None:
    world = in_half(parse(Source("a.py", text)))
    assert (world is None) is (words is None)
    if words is not None:
        assert world.words.startswith(words)


INJECTED = """\
import torch
from torch import nn


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(4, 4)

    def forward(self, x):
        return self.q_proj(x)


class Wide(Base):
    pass


class LoRALayer(nn.Module):
    def __init__(self, base, rank):
        super().__init__()
        self.base = base
        where = base.weight.device
        self.lora_A = nn.Parameter(torch.empty(4, rank, dtype=torch.float32, device=where))
        self.lora_B = nn.Parameter(torch.zeros(rank, 4, dtype=torch.float32, device=where))

    def forward(self, x):
        added = x.to(self.lora_A.dtype) @ self.lora_A @ self.lora_B
        return self.base(x) + added.to(x.dtype)


def inject(model):
    for parameter in model.parameters():
        parameter.requires_grad = False
    for name, module in list(model.named_modules()):
        parent, _, child = name.rpartition(".")
        if child in ("q_proj", "v_proj"):
            setattr(model.get_submodule(parent), child, LoRALayer(module, 2))


device = torch.device("cuda")
model = (Wide() if wide() else Base()).to(device)
before = torch.optim.AdamW(model.parameters(), lr=0.1)
model(torch.ones(2, 4, device=device)).sum().backward()
before.step()
model.half()
inject(model)
chosen = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
optimizer = torch.optim.AdamW(chosen, lr=0.1)
scaler = torch.amp.GradScaler("cuda")
for _ in range(3):
    optimizer.zero_grad()
    with torch.autocast("cuda", dtype=torch.float16):
        loss = model(torch.ones(2, 4, device=device)).sum()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
"""


def test_injection_into_one_of_two_models_and_a_selection_by_name(tmp_path: Path) -> None:
    found = verdicts(tmp_path, INJECTED)
    for id in ("11.02", "12.05", "12.06", "12.07", "12.08", "17.03", "17.06"):
        assert found[id].verdict == PASS, (id, found[id])
    texts = [piece.text for piece in found["17.03"].evidence]
    assert "'q_proj' is a layer of Base" in texts


def test_adapters_that_are_cast_with_the_model_are_no_fp32(tmp_path: Path) -> None:
    late = INJECTED.replace("model.half()\ninject(model)", "inject(model)\nmodel.half()")
    assert late != INJECTED
    found = verdicts(tmp_path, late)
    assert found["11.02"].verdict != PASS and found["12.07"].verdict != PASS


def test_names_that_no_layer_of_the_model_has_are_no_evidence(tmp_path: Path) -> None:
    other = INJECTED.replace('("q_proj", "v_proj")', '("k_proj", "v_proj")')
    assert verdicts(tmp_path, other)["17.03"].verdict != PASS


def test_an_input_elsewhere_than_the_model_is_no_evidence(tmp_path: Path) -> None:
    other = INJECTED.replace(
        "        loss = model(torch.ones(2, 4, device=device))", "        loss = model(read())"
    )
    assert other != INJECTED
    assert verdicts(tmp_path, other)["17.06"].verdict != PASS


TIMED = """\
import time

import torch

device = torch.device("cuda")
model = torch.nn.Linear(4, 1).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
began = time.perf_counter()
for _ in range(3):
    loss = model(torch.ones(2, 4, device=device)).sum()
    loss.backward()
    optimizer.step()
    total = WAIT
print(time.perf_counter() - began)
"""


def test_reading_the_loss_waits_for_the_device(tmp_path: Path) -> None:
    assert verdicts(tmp_path, TIMED.replace("WAIT", "loss.item()"))["17.08"].verdict == PASS
    assert verdicts(tmp_path, TIMED.replace("WAIT", "1"))["17.08"].verdict != PASS
