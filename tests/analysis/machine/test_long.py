"""A long training script: branches that have nothing to do with training must not spend the budget."""

from __future__ import annotations

import pytest
from machine_programs import faults_of, story_of

SCRIPT = """
import argparse
import json
import logging
import math
import os
import random
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, DistributedSampler

try:
    import wandb
except ImportError:
    wandb = None

logger = logging.getLogger(__name__)


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--opt", default="adamw")
    parser.add_argument("--resume", default="")
    args = parser.parse_args()
    if args.lr <= 0:
        raise ValueError("lr")
    if args.resume and not os.path.exists(args.resume):
        raise FileNotFoundError(args.resume)
    return args


def is_main_process():
    return not dist.is_initialized() or dist.get_rank() == 0


def setup(args):
    if "RANK" in os.environ:
        dist.init_process_group("nccl")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        args.distributed = True
    else:
        args.distributed = False
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    if args.deterministic:
        torch.backends.cudnn.deterministic = True
    elif args.benchmark:
        torch.backends.cudnn.benchmark = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build_model(args):
    layers = []
    for i in range(args.depth):
        layers.append(nn.Linear(args.width, args.width))
        if args.norm == "layer":
            layers.append(nn.LayerNorm(args.width))
        elif args.norm == "batch":
            layers.append(nn.BatchNorm1d(args.width))
        if args.act == "relu":
            layers.append(nn.ReLU())
        else:
            layers.append(nn.GELU())
    return nn.Sequential(*layers)


def build_optimizer(model, args):
    decay, no_decay = [], []
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        if p.ndim <= 1 or name.endswith(".bias"):
            no_decay.append(p)
        else:
            decay.append(p)
    groups = [{"params": decay, "weight_decay": args.wd}, {"params": no_decay, "weight_decay": 0.0}]
    if args.opt == "adamw":
        return torch.optim.AdamW(groups, lr=args.lr)
    elif args.opt == "adam":
        return torch.optim.Adam(groups, lr=args.lr)
    elif args.opt == "sgd":
        return torch.optim.SGD(groups, lr=args.lr, momentum=0.9)
    raise ValueError(args.opt)


def build_loaders(args):
    train, val = make_datasets(args.data)
    sampler = DistributedSampler(train) if args.distributed else None
    kwargs = dict(batch_size=args.batch, num_workers=args.workers)
    if args.pin:
        kwargs["pin_memory"] = True
    return DataLoader(train, sampler=sampler, **kwargs), DataLoader(val, **kwargs), sampler


class Meter:
    def __init__(self):
        self.sum = 0.0
        self.count = 0

    def update(self, value, n=1):
        self.sum += value * n
        self.count += n

    @property
    def mean(self):
        return self.sum / max(self.count, 1)


@torch.no_grad()
def evaluate(model, loader, device, args):
    model.eval()
    meter, correct = Meter(), 0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        out = model(x)
        if args.loss == "ce":
            loss = F.cross_entropy(out, y)
        else:
            loss = F.mse_loss(out, y)
        meter.update(loss.item(), len(x))
        if args.top5:
            correct += (out.topk(5)[1] == y[:, None]).sum().item()
    model.train()
    return meter.mean, correct


def save(path, model, optimizer, scaler, scheduler, epoch, best):
    state = {
        "model": model.module.state_dict() if hasattr(model, "module") else model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "scheduler": scheduler.state_dict(),
        "epoch": epoch,
        "best": best,
    }
    torch.save(state, path)


def main():
    args = parse_args()
    device = setup(args)
    out = Path(args.out)
    if is_main_process():
        out.mkdir(parents=True, exist_ok=True)
        (out / "args.json").write_text(json.dumps(vars(args)))
        if wandb is not None and args.wandb:
            wandb.init(project=args.project, config=vars(args))
    model = build_model(args).to(device)
    if args.compile:
        model = torch.compile(model)
    if args.distributed:
        if args.sync_bn:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        model = DDP(model, device_ids=[int(os.environ["LOCAL_RANK"])])
    optimizer = build_optimizer(model, args)
    train_loader, val_loader, sampler = build_loaders(args)
    if args.schedule == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    elif args.schedule == "step":
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    else:
        scheduler = None
    scaler = torch.amp.GradScaler("cuda", enabled=args.amp)
    start, best, step = 0, math.inf, 0
    if args.resume:
        checkpoint = torch.load(args.resume, map_location="cpu")
        target = model.module if args.distributed else model
        target.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        if "scaler" in checkpoint:
            scaler.load_state_dict(checkpoint["scaler"])
        if scheduler is not None and checkpoint.get("scheduler"):
            scheduler.load_state_dict(checkpoint["scheduler"])
        start = checkpoint["epoch"] + 1
        best = checkpoint["best"]
    for epoch in range(start, args.epochs):
        if sampler is not None:
            sampler.set_epoch(epoch)
        meter, since = Meter(), time.time()
        model.train()
        optimizer.zero_grad(set_to_none=True)
        for i, (x, y) in enumerate(train_loader):
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            last = (i + 1) % args.accumulate == 0 or i + 1 == len(train_loader)
            sync = nullcontext() if last or not args.distributed else model.no_sync()
            with sync:
                with torch.autocast("cuda", dtype=torch.float16, enabled=args.amp):
                    out_ = model(x)
                    if args.loss == "ce":
                        loss = F.cross_entropy(out_, y)
                    else:
                        loss = F.mse_loss(out_, y)
                    loss = loss / args.accumulate
                BACKWARD
            if last:
                UNSCALE
                if args.clip:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
                STEP
                UPDATE
                ZERO
                step += 1
            meter.update(loss.item(), len(x))
            if is_main_process() and i % args.log_every == 0:
                logger.info("epoch %d step %d loss %.4f", epoch, step, meter.mean)
                if wandb is not None and args.wandb:
                    wandb.log({"loss": meter.mean, "lr": optimizer.param_groups[0]["lr"]})
        if scheduler is not None:
            scheduler.step()
        if (epoch + 1) % args.eval_every == 0:
            value, correct = evaluate(model, val_loader, device, args)
            if value < best:
                best = value
                if is_main_process():
                    save(out / "best.pt", model, optimizer, scaler, scheduler, epoch, best)
            elif args.patience and epoch - start > args.patience:
                break
        if is_main_process():
            save(out / "last.pt", model, optimizer, scaler, scheduler, epoch, best)
            logger.info("epoch %d took %.1f s", epoch, time.time() - since)
    if args.distributed:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
"""

RIGHT = {
    "BACKWARD": "scaler.scale(loss).backward()",
    "UNSCALE": "scaler.unscale_(optimizer)",
    "STEP": "scaler.step(optimizer)",
    "UPDATE": "scaler.update()",
    "ZERO": "optimizer.zero_grad(set_to_none=True)",
}


def script(**changes: str) -> str:
    text = SCRIPT
    for place, line in {**RIGHT, **changes}.items():
        text = text.replace(place, line)
    return text


def test_the_right_script_is_silent_and_cheap() -> None:
    assert faults_of(script(), "") == []
    counts = story_of(script()).counts
    assert counts.protocol > 0 and counts.bounds == 0
    assert counts.steps < 3000


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"UPDATE": "pass"}, "missing-scaler-update"),
        ({"UNSCALE": "pass"}, "clip-before-unscale"),
        ({"STEP": "optimizer.step()"}, "optimizer-step-bypasses-scaler"),
        ({"BACKWARD": "loss.backward()"}, "unscaled-backward"),
        ({"STEP": "scaler.update()", "UPDATE": "scaler.step(optimizer)"}, "scaler-call-order"),
        ({"UNSCALE": "optimizer.zero_grad()"}, "zero-grad-before-step"),
    ],
)
def test_each_broken_script_is_found(changes: dict[str, str], fault: str) -> None:
    found = faults_of(script(**changes), "")
    assert [line.partition(":")[0].partition(" @")[0] for line in found] == [fault]


def test_missing_zero_grad_within_an_epoch() -> None:
    found = faults_of(script(ZERO="pass"), "")
    assert [line.partition(" @")[0] for line in found] == ["missing-zero-grad"]
