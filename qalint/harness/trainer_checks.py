"""The checklist's own tests, performed on the reference trainer, inside the child process.

Each check trains really and raises `AssertionError` where the item fails; it returns what it saw.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

CHECKS: dict[str, Callable[[Trainer], str]] = {}


def check(item: str) -> Callable[[Callable[[Trainer], str]], Callable[[Trainer], str]]:
    """Register a check under the id of its checklist item."""

    def register(function: Callable[[Trainer], str]) -> Callable[[Trainer], str]:
        CHECKS[item] = function
        return function

    return register


class Trainer:
    """The trainer's modules, and runs of it that several checks share."""

    def __init__(self, folder: str, device: str) -> None:
        import torch

        sys.path.insert(0, folder)
        import data  # type: ignore[import-not-found]
        import generate  # type: ignore[import-not-found]
        import lora  # type: ignore[import-not-found]
        import model  # type: ignore[import-not-found]
        import train  # type: ignore[import-not-found]

        self.torch: Any = torch
        self.train: Any = train
        self.lora: Any = lora
        self.data: Any = data
        self.generate: Any = generate
        self.model: Any = model
        self.device = torch.device(device)
        self.words = data.vocabulary()
        self._runs: dict[tuple[str, str], tuple[Any, Any, Any]] = {}

    def run(self, architecture: str, precision: str) -> tuple[Any, Any, Any]:
        """(model, settings, progress) of one whole fine-tuning, done once."""
        key = (architecture, precision)
        if key not in self._runs:
            settings = self.train.Settings(model=architecture, precision=precision)
            model = self.train.pretrain(settings, self.words, self.device)
            self.train.prepare(model, settings)
            batches = self.batches(settings)
            progress = self.train.finetune(model, batches, settings, self.device)
            self._runs[key] = (model, settings, progress)
        return self._runs[key]

    def batches(self, settings: Any) -> Any:
        """The fine-tuning text."""
        return self.data.Batches(self.data.read("sounds"), self.words, settings.batch_size, settings.seed)

    def fresh(self, architecture: str, precision: str = "fp16") -> tuple[Any, Any]:
        """(model with new adapters, settings), not pretrained."""
        settings = self.train.Settings(model=architecture, precision=precision, pretraining_steps=0)
        model = self.train.pretrain(settings, self.words, self.device)
        self.train.prepare(model, settings)
        return model, settings


@check("09.01")
def fp16_without_nan(trainer: Trainer) -> str:
    """FP16 trains, and no loss and no parameter is ever NaN or infinite."""
    model, _, progress = trainer.run("gpt", "fp16")
    assert all(map(math.isfinite, progress.losses)), "a loss is not finite"
    for name, parameter in model.named_parameters():
        assert trainer.torch.isfinite(parameter).all(), f"{name} is not finite"
    first, last = progress.losses[0], progress.losses[-1]
    assert last < 0.6 * first, f"the loss only went from {first:.3f} to {last:.3f}"
    half = {p.dtype for p in model.parameters() if not p.requires_grad}
    full = {p.dtype for p in model.parameters() if p.requires_grad}
    assert half == {trainer.torch.float16} and full == {trainer.torch.float32}, (
        f"{half} frozen, {full} trained"
    )
    skipped = sum(not math.isfinite(norm) for norm in progress.norms)
    return (
        f"{len(progress.losses)} steps, loss {first:.2f} to {last:.2f}, all finite, {skipped} steps skipped"
    )


@check("09.02")
def fp32_trains_too(trainer: Trainer) -> str:
    """FP32 trains as well, and how long each takes here."""
    _, _, half = trainer.run("gpt", "fp16")
    _, _, full = trainer.run("gpt", "fp32")
    assert abs(half.losses[-1] - full.losses[-1]) < 0.3, "FP16 and FP32 end at different losses"
    slower = full.seconds / half.seconds
    text = f"loss {full.losses[-1]:.2f} as in FP16; FP32 takes {slower:.2f} times as long as FP16 here"
    if trainer.device.type == "cpu":
        text += " (a CPU emulates FP16: its gain is on a GPU)"
    return text


@check("09.03")
def trainable_share(trainer: Trainer) -> str:
    """Only the adapters are trainable, and at real size they are between 0.1 and 3 percent."""
    torch = trainer.torch
    tiny = {}
    for architecture in ("gpt", "llama"):
        model, _ = trainer.fresh(architecture)
        trainable = [name for name, p in model.named_parameters() if p.requires_grad]
        assert trainable and all("lora_" in name for name in trainable), f"{architecture}: {trainable[:3]}"
        tiny[architecture] = trainer.lora.trainable_share(model)
    size = trainer.model.Config(vocabulary=50_257, context=512, width=1024, layers=24, heads=16, kv_heads=4)
    texts = []
    for architecture in tiny:
        # On the meta device: shapes without memory.
        with torch.device("meta"):
            model = trainer.model.build(architecture, size)
            trainer.lora.add_lora(model, 8, 16.0)
        share = trainer.lora.trainable_share(model)
        millions = sum(p.numel() for p in model.parameters()) / 1e6
        assert 0.001 <= share <= 0.03, f"{architecture}: {share:.2%} of {millions:.0f} million parameters"
        texts.append(
            f"{architecture} {share:.2%} of {millions:.0f} million ({tiny[architecture]:.1%} of the tiny one)"
        )
    return "; ".join(texts)


@check("09.04")
def gradient_flow(trainer: Trainer) -> str:
    """Every adapter receives a gradient: B from the first step, A from the second, the base never.

    B starts at zero, so the gradient of A is zero until B has moved.
    """
    torch, count = trainer.torch, 0
    for architecture in ("gpt", "llama"):
        model, settings = trainer.fresh(architecture, "fp32")
        batches = trainer.batches(settings)
        optimizer = torch.optim.AdamW(trainer.lora.lora_parameters(model), lr=settings.learning_rate)
        for step in range(2):
            optimizer.zero_grad()
            trainer.train.loss_of(model, *batches.next(trainer.device)).backward()
            for name, parameter in model.named_parameters():
                if "lora_" not in name:
                    assert parameter.grad is None, f"{architecture}: the frozen {name} has a gradient"
                elif "lora_B" in name or step == 1:
                    grad = parameter.grad
                    assert grad is not None and bool((grad != 0).any()), (
                        f"{architecture}: {name} in step {step + 1}"
                    )
                    count += 1
            optimizer.step()
    return f"{count} gradients seen, none missing, none zero"


@check("09.05")
def generation(trainer: Trainer) -> str:
    """The trained model generates, and says something else than before it was trained."""
    model, settings, _ = trainer.run("gpt", "fp16")
    prompt = trainer.data.read("held")[0].rsplit(" ", 2)[0]
    base = trainer.train.pretrain(settings, trainer.words, trainer.device)
    before = trainer.generate.complete(base, trainer.words, prompt, trainer.device)
    after = trainer.generate.complete(model, trainer.words, prompt, trainer.device)
    assert after and after != before, f"{prompt!r} is completed by {after!r} before and after"
    return f"{prompt!r}: {before!r} before, {after!r} after"


@check("09.06")
def architectures(trainer: Trainer) -> str:
    """Conv1D and Linear are told apart, read the right way round, and both train."""
    texts = []
    for architecture, kind in (("gpt", "Conv1D"), ("llama", "Linear")):
        model, _ = trainer.fresh(architecture)
        layers = [module for module in model.modules() if type(module).__name__ == "LoRALayer"]
        kinds = {type(layer.base).__name__ for layer in layers}
        assert kinds == {kind}, f"{architecture}: adapted {kinds}"
        shapes = {(layer.lora_A.shape[0], layer.lora_B.shape[1]) for layer in layers}
        assert any(a != b for a, b in shapes), "no layer is wider than high: a swapped shape would not show"
        ids = trainer.torch.ones(1, 4, dtype=trainer.torch.long, device=trainer.device)
        model(ids)
        texts.append(f"{architecture}: {len(layers)} {kind} layers adapted")
    _, _, progress = trainer.run("llama", "fp16")
    assert progress.losses[-1] < 0.6 * progress.losses[0], "the LLaMA-like model does not learn in FP16"
    return "; ".join(texts) + "; both train in FP16"


@check("09.09")
def held_patterns(trainer: Trainer) -> str:
    """Sentences that follow the data's pattern, and that training never saw, are completed by it."""
    held = trainer.data.read("held")
    seen = set(trainer.data.read("sounds"))
    assert not seen & set(held), "a held sentence is in the training data"
    texts = []
    for architecture in ("gpt", "llama"):
        model, _, _ = trainer.run(architecture, "fp16")
        share = trainer.generate.accuracy(model, trainer.words, held, trainer.device)
        assert share >= 0.9, f"{architecture}: {share:.0%}"
        texts.append(f"{architecture} {share:.0%}")
    return f"of {len(held)} held sentences: {', '.join(texts)}"


def run(folder: str, items: list[str], device: str) -> dict[str, Any]:
    """Perform the checks and report each as `{ok, seen, seconds}`."""
    trainer = Trainer(folder, device)
    report: dict[str, Any] = {}
    for item in items:
        started = time.perf_counter()
        try:
            seen, ok = CHECKS[item](trainer), True
        except Exception as error:
            seen, ok = f"{type(error).__name__}: {error}", False
        report[item] = {"ok": ok, "seen": seen, "seconds": round(time.perf_counter() - started, 2)}
    return report
