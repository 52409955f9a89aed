"""In which precision a forward runs: what its own code, its caller and its device decide."""

from __future__ import annotations

import pytest
from machine_programs import faults_of

HEAD = """\
import torch
from torch import nn
from torch.nn import functional as F
from torch.amp import GradScaler, autocast
"""

QUIET = """
class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 1)

    def forward(self, x):
        with autocast("cuda", enabled=False):
            return self.body(x.float())


class Game:
    def __init__(self):
        self.judge = None
        self.optimizer = None

    def setup(self):
        self.judge = Judge().cuda()
        self.optimizer = torch.optim.Adam(self.judge.parameters())

    def turn(self, batch):
        self.optimizer.zero_grad()
        with autocast("cuda"):
            loss = self.judge(batch).mean()
        loss.backward()
        self.optimizer.step()
"""


def test_a_module_that_may_turn_autocast_off_for_itself() -> None:
    assert faults_of(QUIET, HEAD) == []
    decorated = QUIET.replace(
        '    def forward(self, x):\n        with autocast("cuda", enabled=False):\n            return',
        '    @autocast("cuda", enabled=False)\n    def forward(self, x):\n        return',
    )
    assert decorated != QUIET
    assert faults_of(decorated, HEAD) == []


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ('        with autocast("cuda", enabled=False):\n            return', "        return"),
        ("enabled=False", "enabled=True"),
        ("            return self.body(x.float())", "            x = x.float()\n        return self.body(x)"),
    ],
    ids=["nothing", "on", "not what it returns"],
)
def test_a_module_that_leaves_autocast_on(here: str, there: str) -> None:
    text = QUIET.replace(here, there)
    assert text != QUIET
    assert faults_of(text, HEAD) == ["missing-grad-scaler @ loss.backward()"]


DEVICE = 'device = torch.device("cuda" if torch.cuda.is_available() else "cpu")'
FLAGS = [
    f'{DEVICE}\namp = device.type == "cuda"',
    f'{DEVICE}\namp = str(device).startswith("cuda")',
    f'{DEVICE}\namp = "cuda" in str(device)',
    f'{DEVICE}\namp = device == torch.device("cuda")',
    f'{DEVICE}\namp = device != torch.device("cpu")',
    'device = "cuda" if torch.cuda.is_available() else "cpu"\namp = device != "cpu"',
    'device = "cuda:0" if torch.cuda.is_available() else "cpu"\namp = device.startswith("cuda")',
    'device = "cuda" if torch.cuda.is_available() else "cpu"\namp = torch.cuda.is_available()',
]
TRAINING = """
net = nn.Linear(4, 1).to(device)
{before}
opt = torch.optim.SGD(net.parameters(), lr=0.1)
{after}
scaler = GradScaler("cuda", enabled=amp)
for x in loader:
    opt.zero_grad()
    with autocast("cuda", dtype=torch.float16, enabled=amp):
        loss = net(x).mean()
    scaler.scale(loss).backward()
    scaler.step(opt)
    scaler.update()
"""


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_that_says_that_there_is_a_gpu(flag: str) -> None:
    cast = "net.to(dtype=torch.float16 if amp else torch.float32)"
    text = flag + TRAINING.format(before=cast, after="")
    assert faults_of(text, HEAD) == [f"fp16-trainable-parameters:scaler @ {cast}"]
    late = "if torch.cuda.is_available():\n    net.half()"
    assert faults_of(flag + TRAINING.format(before="", after=late), HEAD) == [
        "late-half-cast:scaler @ net.half()"
    ]


@pytest.mark.parametrize("flag", FLAGS)
def test_a_scaler_for_a_gpu_without_autocast(flag: str) -> None:
    text = flag + TRAINING.format(before="", after="")
    text = text.replace(
        '    with autocast("cuda", dtype=torch.float16, enabled=amp):\n        loss', "    loss"
    )
    head = HEAD.replace(", autocast", "")
    assert faults_of(text, head) == ["forward-outside-autocast @ scaler.scale(loss).backward()"]
    assert faults_of(text.replace("net = nn.Linear", "net = project.Net"), head) == []


@pytest.mark.parametrize(
    ("cast", "enabled"),
    [
        ("if args.half:\n    net.half()", "not args.half"),
        ("net.to(dtype=torch.float16 if args.half else torch.float32)", "not args.half"),
        ("net.to(dtype=torch.bfloat16 if args.half else torch.float32)", "args.half"),
        ("net.to(dtype=torch.float16 if args.half else torch.float32)", "args.scale"),
    ],
)
def test_a_cast_on_a_path_on_which_the_scaler_may_be_off(cast: str, enabled: str) -> None:
    text = TRAINING.format(before=cast, after="").replace("enabled=amp", f"enabled={enabled}")
    assert "fp16" not in str(faults_of("device = args.device\n" + text, HEAD))


def test_a_scaler_for_the_precision_and_no_autocast_for_the_device() -> None:
    text = """
from contextlib import nullcontext
kind = "cuda" if "cuda" in args.device else "cpu"
context = nullcontext() if kind == "cpu" else autocast(kind, dtype=torch.float16)
net = nn.Linear(4, 1).to(args.device)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = GradScaler(enabled=args.dtype == "float16")
for x in loader:
    opt.zero_grad()
    with context:
        loss = net(x).mean()
    scaler.scale(loss).backward()
    scaler.step(opt)
    scaler.update()
"""
    assert faults_of(text, HEAD) == []


TOWER = """
class Gate(nn.Module):
    def __init__(self, d, n):
        super().__init__()
        self.w = nn.Parameter(torch.randn(d, n) * d**-0.5)
        self.register_buffer("mask", torch.ones(n))

    def forward(self, x):
        return {product}


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.inner = nn.Linear(d, d)
        self.gate = None

    def forward(self, x):
        return self.gate(self.inner(x))


class Tower(nn.Module):
    def __init__(self, d=8, n=3):
        super().__init__()
        self.emb = nn.Embedding(50, d)
        self.blocks = nn.ModuleList(Block(d) for _ in range(n))

    def forward(self, ids):
        h = self.emb(ids)
        for block in self.blocks:
            h = block(h)
        return h


def build():
    tower = Tower(){before}
    for block in tower.blocks:
        block.gate = Gate(8, 8)
    return tower{after}


@torch.inference_mode()
def rate(tower, rows):
    for row in rows:
        seen = tower(row)
    return seen


print(rate(build(), rows))
"""
PRODUCTS = [
    "x @ self.w",
    "F.linear(x, self.w)",
    "torch.matmul(x, (self.w * self.mask)[:, :8])",
    "x.matmul(self.w)",
]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_layer_that_came_after_the_cast(product: str) -> None:
    text = TOWER.format(product=product, before=".half()", after="")
    assert faults_of(text, HEAD) == [f"mixed-dtype-layer @ return {product}"]


@pytest.mark.parametrize(
    ("product", "before", "after"),
    [
        ("x @ self.w", ".half()", ".half()"),
        ("x @ self.w", "", ""),
        ("x @ self.w", ".bfloat16()", ""),
        ("x.to(self.w) @ self.w", ".half()", ""),
        ("x.to(self.w.dtype) @ self.w", ".half()", ""),
        ("x.float() @ self.w", ".half()", ""),
        ("x @ self.w.to(x.dtype)", ".half()", ""),
        ("x @ self.w.type_as(x)", ".half()", ""),
        ("x * self.mask", ".half()", ""),
    ],
)
def test_layers_of_one_dtype_or_that_convert(product: str, before: str, after: str) -> None:
    assert faults_of(TOWER.format(product=product, before=before, after=after), HEAD) == []


def test_a_parameter_that_is_cast_back_through_its_data() -> None:
    text = """
class Mix(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.inner = nn.Linear(d, d)
        self.weight = nn.Parameter(torch.eye(d))

    def forward(self, x):
        return self.inner(x) @ self.weight

net = nn.Sequential(nn.ReLU(), Mix(4)).half()
net[1].weight.data = net[1].weight.data.float()
print(net(torch.randn(2, 4, dtype=torch.float16)))
"""
    assert faults_of(text, HEAD) == ["mixed-dtype-layer @ return self.inner(x) @ self.weight"]
    assert faults_of(text.replace("data.float()", "data.half()"), HEAD) == []


def test_a_cast_that_is_thrown_away_is_the_fault() -> None:
    text = """
net = nn.Linear(4, 4).half()
rows = torch.randn(2, 4)
{cast}
print(net(rows))
"""
    assert faults_of(text.format(cast="pass"), HEAD) == ["dtype-mismatch:float32->float16 @ print(net(rows))"]
    assert faults_of(text.format(cast="rows.half()"), HEAD) == []


@pytest.mark.parametrize(
    "batch",
    [
        'tok(["a"], return_tensors="pt").to("cuda")',
        'tok.batch_encode_plus(["a"], return_tensors="pt")',
        '{k: v.to("cuda") for k, v in tok(["a"], return_tensors="pt").items()}',
    ],
)
def test_what_a_tokenizer_makes_is_data(batch: str) -> None:
    text = f"""
from transformers import AutoModelForCausalLM, AutoTokenizer
tok = AutoTokenizer.from_pretrained("some")
net = AutoModelForCausalLM.from_pretrained("some").cuda()
opt = torch.optim.AdamW(net.parameters())
scaler = GradScaler("cuda")
for k in range(9):
    opt.zero_grad()
    batch = {batch}
    scaler.scale(net(**batch).loss).backward()
    scaler.step(opt)
    scaler.update()
"""
    line = "scaler.scale(net(**batch).loss).backward()"
    assert faults_of(text, HEAD) == [f"forward-outside-autocast @ {line}"]


def test_the_cast_to_fp16_is_cited_where_another_cast_may_follow() -> None:
    text = """
import argparse

args = argparse.ArgumentParser().parse_args()
net = nn.Linear(4, 2)
if args.half:
    net.half()
if args.double:
    net.double()
optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
for _ in range(3):
    optimizer.zero_grad()
    net(torch.ones(2, 4)).sum().backward()
    optimizer.step()
"""
    assert [fault for fault in faults_of(text, HEAD) if "parameters" in fault] == [
        "fp16-trainable-parameters:plain @ net.half()"
    ]
