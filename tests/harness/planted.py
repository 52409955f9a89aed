"""Faults planted in the reference trainer: (file, text, faulty text) by rule."""

from __future__ import annotations

PLANTED: dict[str, tuple[str, str, str]] = {
    "QA1104": ("train.py", "scaler.scale(loss).backward()", "loss.backward()"),
    "QA1105": ("train.py", "        scaler.unscale_(optimizer)\n", ""),
    "QA1107": ("train.py", "        scaler.step(optimizer)\n", "        optimizer.step()\n"),
    "QA1108": ("train.py", "        scaler.update()\n", ""),
    "QA1109": (
        "train.py",
        "        scaler.step(optimizer)\n        scaler.update()\n",
        "        scaler.update()\n        scaler.step(optimizer)\n",
    ),
    "QA1110": (
        "train.py",
        "            scaler.scale(loss).backward()\n",
        "            scaler.scale(loss).backward()\n            scaler.unscale_(optimizer)\n",
    ),
    "QA1114": (
        "lora.py",
        'return [parameter for name, parameter in model.named_parameters() if "lora_" in name]',
        'return (parameter for name, parameter in model.named_parameters() if "lora_" in name)',
    ),
    "QA1115": ("train.py", "        optimizer.zero_grad()\n        total = 0.0\n", "        total = 0.0\n"),
    "QA1205": (
        "lora.py",
        "    freeze(model)\n    inject(model, rank, alpha)\n",
        "    inject(model, rank, alpha)\n    freeze(model)\n",
    ),
    "QA1128": (
        "train.py",
        "    torch.manual_seed(settings.seed)\n    return add_lora(model, settings.rank, settings.alpha)\n",
        "    trained = add_lora(model, settings.rank, settings.alpha)\n"
        "    model.half()\n    return trained\n",
    ),
}

SHORT = '''\
"""A short run of the trainer, for the harness."""

import torch

from data import Batches, read, vocabulary
from train import Settings, finetune, prepare, pretrain

settings = Settings(width=16, layers=1, pretraining_steps=3, steps=3, batch_size=4)
device = torch.device("cpu")
words = vocabulary()
model = pretrain(settings, words, device)
prepare(model, settings)
finetune(model, Batches(read("sounds"), words, settings.batch_size, settings.seed), settings, device)
'''
