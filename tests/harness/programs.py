"""Training programs with known faults, made from one correct program by replacing some of its text.

They test the harness itself and know nothing of the linter.
"""

from __future__ import annotations

GOOD = """\
import torch
from torch import nn
from torch.nn.functional import mse_loss

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class LoRA(nn.Module):
    def __init__(self, base, rank=4):
        super().__init__()
        self.base = base
        where = base.weight.device
        self.lora_A = nn.Parameter(torch.randn(base.in_features, rank, device=where) * 0.3)
        self.lora_B = nn.Parameter(torch.randn(rank, base.out_features, device=where) * 0.3)

    def forward(self, x):
        y = self.base(x)
        delta = x.to(self.lora_A.dtype) @ self.lora_A @ self.lora_B
        return y + delta.to(y.dtype)


model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
model = model.half().to(device)
for parameter in model.parameters():
    parameter.requires_grad = False
model[0] = LoRA(model[0])
model[2] = LoRA(model[2])
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.SGD(trained, lr=1e-2)
scaler = torch.amp.GradScaler("cuda")
x = torch.randn(32, 8, device=device)
y = torch.randn(32, 4, device=device)

for step in range(4):
    optimizer.zero_grad()
    with torch.autocast("cuda", dtype=torch.float16):
        loss = mse_loss(model(x).float(), y)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(trained, 0.05)
    scaler.step(optimizer)
    scaler.update()
"""

UNSCALE = "    scaler.unscale_(optimizer)\n"
CLIP = "    torch.nn.utils.clip_grad_norm_(trained, 0.05)\n"
STEP = "    scaler.step(optimizer)\n"
UPDATE = "    scaler.update()\n"
BACKWARD = "    scaler.scale(loss).backward()\n"
ZERO = "    optimizer.zero_grad()\n"
LOSS = "        loss = mse_loss(model(x).float(), y)\n"
FREEZE = "for parameter in model.parameters():\n    parameter.requires_grad = False\n"
INJECT = "model[0] = LoRA(model[0])\nmodel[2] = LoRA(model[2])\n"
TRAINED = "trained = [p for p in model.parameters() if p.requires_grad]\n"
AUTOCAST = '    with torch.autocast("cuda", dtype=torch.float16):\n'
SCALER = 'scaler = torch.amp.GradScaler("cuda")\n'
OPTIMIZER = "optimizer = torch.optim.SGD(trained, lr=1e-2)\n"


def without_scaler() -> dict[str, str]:
    return {
        SCALER: "",
        BACKWARD: "    loss.backward()\n",
        UNSCALE: "",
        STEP: "    optimizer.step()\n",
        UPDATE: "",
    }


HALF_ADAPTERS = {"* 0.3)\n": "* 0.3, requires_grad=True)\n", "LoRA(model[0])": "LoRA(model[0]).half()"}

FAULTS: dict[str, tuple[dict[str, str], str, str]] = {
    # name: (replacements, symptom, what its detail says)
    "no scaler": (without_scaler(), "underflow", ""),
    "clip without unscale": ({UNSCALE: ""}, "wrong-gradient", ""),
    "clip before unscale": ({UNSCALE + CLIP: CLIP + UNSCALE}, "wrong-gradient", ""),
    "clamp scaled gradients": (
        {UNSCALE + CLIP: "    for p in trained:\n        p.grad.clamp_(-1, 1)\n"},
        "wrong-gradient",
        "",
    ),
    "clip value scaled": (
        {UNSCALE + CLIP: "    torch.nn.utils.clip_grad_value_(trained, 0.5)\n"},
        "wrong-gradient",
        "",
    ),
    "scale discarded": (
        {BACKWARD: "    scaler.scale(loss)\n    loss.backward()\n", CLIP: ""},
        "wrong-gradient",
        "1.53e-05",
    ),
    "unscaled backward": ({BACKWARD: "    loss.backward()\n"}, "raises", "_scale is None"),
    "one loss unscaled": (
        {BACKWARD: "    (scaler.scale(loss) + loss).backward()\n", CLIP: ""},
        "wrong-gradient",
        r"0\.5",
    ),
    "optimizer step with update": (
        {UNSCALE + CLIP + STEP: "    optimizer.step()\n"},
        "raises",
        "No inf checks",
    ),
    "optimizer step": ({UNSCALE + CLIP + STEP + UPDATE: "    optimizer.step()\n"}, "wrong-gradient", "6.55e"),
    "unscale, optimizer step": ({STEP: "    optimizer.step()\n"}, "overflow-applied", ""),
    "both steps": ({STEP: STEP + "    optimizer.step()\n"}, "repeated-step", ""),
    "no update": ({UPDATE: ""}, "raises", "called"),
    "update first": ({UNSCALE + CLIP + STEP + UPDATE: UPDATE + STEP}, "raises", "No inf checks"),
    "update before step": ({STEP + UPDATE: UPDATE + STEP, CLIP: ""}, "wrong-gradient", "1.53e-05"),
    "unscale twice": ({UNSCALE: UNSCALE * 2}, "raises", "already been called"),
    "unscale after step": ({UNSCALE + CLIP: "", STEP: STEP + UNSCALE}, "raises", "after step"),
    "zero_grad before step": ({UNSCALE + CLIP: ZERO}, "raises", "No inf checks"),
    "zeros before step": (
        {UNSCALE + CLIP: "    optimizer.zero_grad(set_to_none=False)\n"},
        "zero-gradient",
        "",
    ),
    "zero_grad after unscale": ({CLIP: ZERO}, "zero-gradient", ""),
    "no zero_grad": ({ZERO: ""}, "stale-gradient", ""),
    "scaler in the loop": ({SCALER: "", ZERO: "    " + SCALER + ZERO}, "stuck-scale", ""),
    "update between optimizers": (
        {
            OPTIMIZER: "optimizer = torch.optim.SGD(trained[:2], lr=1e-2)\n"
            "other = torch.optim.SGD(trained[2:], lr=1e-2)\n",
            ZERO: ZERO + "    other.zero_grad()\n",
            UNSCALE + CLIP: UNSCALE + "    scaler.unscale_(other)\n",
            STEP + UPDATE: STEP + UPDATE + "    scaler.step(other)\n" + UPDATE,
        },
        "wrong-gradient",
        "",
    ),
    "fp16 adapters": ({TRAINED: "model.half()\n" + TRAINED}, "raises", "unscale FP16"),
    "fp16 adapters, Adam, no scaler": (
        {**without_scaler(), TRAINED: "model.half()\n" + TRAINED, "optim.SGD": "optim.AdamW", CLIP: ""},
        "non-finite-parameters",
        "",
    ),
    "fp32 forward": ({AUTOCAST + LOSS: LOSS[4:], "model.half()": "model"}, "fp32-forward", ""),
    "bf16 scaled": (
        {"dtype=torch.float16": "dtype=torch.bfloat16", "model.half()": "model"},
        "bf16-scaled",
        "",
    ),
    "backward in autocast": (
        {BACKWARD: "        scaler.scale(loss).backward()\n"},
        "backward-in-autocast",
        "",
    ),
    "deprecated": ({'torch.amp.GradScaler("cuda")': "torch.cuda.amp.GradScaler()"}, "warns", "is deprecated"),
    "enabled for device": ({'GradScaler("cuda")': "GradScaler(True)"}, "argument-misread", "True"),
    "overflowing constant": (
        {LOSS: LOSS.replace("model(x)", "model(x).masked_fill(y > 0, -1e9)")},
        "raises",
        "overflow",
    ),
    "generator clipped": (
        {TRAINED: "trained = (p for p in model.parameters() if p.requires_grad)\n"},
        "empty-clip",
        "",
    ),
    "clip beyond the optimizer": (
        {
            FREEZE: "",
            "half().to": "to",
            OPTIMIZER: OPTIMIZER.replace(
                "trained", "[p for n, p in model.named_parameters() if 'lora' in n]"
            ),
        },
        "wrong-gradient",
        "",
    ),
    "closure": ({STEP: "    scaler.step(optimizer, lambda: None)\n"}, "closure", ""),
    "freeze after injection": ({FREEZE + INJECT: INJECT + FREEZE}, "raises", "empty parameter list"),
    "nothing frozen": ({FREEZE: "", "model.half()": "model"}, "fully-trainable", ""),
    "optimizer before injection": (
        {
            FREEZE + INJECT + TRAINED + OPTIMIZER: "trained = list(model.parameters())\n"
            + OPTIMIZER
            + FREEZE
            + INJECT,
        },
        "raises",
        "No inf checks",
    ),
    "dtype mismatch": (
        {"x.to(self.lora_A.dtype)": "x", AUTOCAST + LOSS: LOSS[4:].replace("(x)", "(x.half())")},
        "raises",
        "dtype",
    ),
    "promoted": (
        {
            "delta.to(y.dtype)": "delta",
            AUTOCAST + LOSS: LOSS[4:].replace("model(x)", "model[0](x.half())[:, :4]"),
        },
        "promoted",
        "LoRA",
    ),
    "inert adapter": (
        {
            "torch.randn(base.in_features, rank": "torch.zeros(base.in_features, rank",
            "torch.randn(rank, base.out_features": "torch.zeros(rank, base.out_features",
        },
        "zero-gradient",
        "",
    ),
    "adapter never applied": ({"return y + delta.to(y.dtype)": "return y"}, "raises", "element 0 of tensors"),
    "non-leaf": (
        {
            "where) * 0.3)\n        self.lora_B": "where) * 0.3).double()\n        self.lora_B",
            TRAINED: "trained = [model[0].lora_A, model[2].lora_A]\n",
        },
        "raises",
        "non-leaf",
    ),
    "moved by a copy": (
        {", device=where) * 0.3)": ') * 0.3).to("cuda")'},
        "device",
        "empty parameter list",
    ),
    "adapter on the CPU": ({", device=where": ""}, "device", "cuda:0 and cpu"),
    "batch on the CPU": (
        {"y = torch.randn(32, 4, device=device)": "y = torch.randn(32, 4)"},
        "device",
        "cuda:0 and cpu",
    ),
    "to discarded": (
        {"torch.randn(32, 8, device=device)": "torch.randn(32, 8)\nx.to(device)"},
        "device",
        "cuda:0 and cpu",
    ),
    "made on the CPU": (
        {"torch.randn(32, 8, device=device)": "torch.randn(32, 8).to(device)"},
        "host-copy",
        "lines 32",
    ),
    "cuda only": (
        {'torch.device("cuda" if torch.cuda.is_available() else "cpu")': 'torch.device("cuda")'},
        "no-cuda",
        "CUDA",
    ),
    "runs for ever": ({UPDATE: UPDATE + "while True:\n    pass\n"}, "lost", "no end within"),
    "eats memory": (
        {UPDATE: UPDATE + "hog = []\nwhile True:\n    hog.append(bytearray(1 << 28))\n"},
        "raises",
        "MemoryError",
    ),
}

HARMLESS: dict[str, dict[str, str]] = {
    "moved by keywords": {"model = model.half().to(device)": "model.to(device=device, dtype=torch.float16)"},
    "as it is": {},
    "no clip, no unscale": {UNSCALE + CLIP: ""},
    "unscale, no clip": {CLIP: ""},
    "linear scaling before unscale": {
        UNSCALE: "    for p in trained:\n        p.grad.mul_(0.5).div_(0.5)\n" + UNSCALE
    },
    "zero_grad after the forward": {ZERO: "", LOSS: LOSS + ZERO},
    "zero_grad at the end": {ZERO: "", UPDATE: UPDATE + ZERO},
    "gradients set to None": {ZERO: "    for p in trained:\n        p.grad = None\n"},
    "bf16 without scaler": {
        **without_scaler(),
        "dtype=torch.float16": "dtype=torch.bfloat16",
        "half()": "bfloat16()",
    },
    "fp32 without scaler": {**without_scaler(), "dtype=torch.float16": "enabled=False", ".half()": ""},
    "square norm measured": {BACKWARD: BACKWARD + "    norm = sum(p.grad.square().sum() for p in trained)\n"},
    "fused": {"lr=1e-2": "lr=1e-2, fused=True"},
    "accumulation": {
        ZERO: "    optimizer.zero_grad()\n    for micro in range(2):\n",
        AUTOCAST + LOSS + BACKWARD: "".join(
            "    " + line for line in (AUTOCAST, LOSS.replace("y)", "y) / 2"), BACKWARD)
        ),
    },
    "two optimizers": {
        OPTIMIZER: "optimizer = torch.optim.SGD(trained[:2], lr=1e-2)\n"
        "other = torch.optim.Adam(trained[2:], lr=1e-2)\n",
        ZERO: ZERO + "    other.zero_grad()\n",
        UNSCALE + CLIP: UNSCALE,
        STEP: STEP + "    scaler.step(other)\n",
    },
}


def program(replacements: dict[str, str]) -> str:
    """The correct program with texts replaced; each must be there."""
    text = GOOD
    for old, new in replacements.items():
        assert old in text, old
        text = text.replace(old, new)
    return text
