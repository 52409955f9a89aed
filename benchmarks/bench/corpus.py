"""What is linted: packages as wheels, and what is chosen or made from them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGES = {
    "transformers": "5.23.0",
    "diffusers": "0.42.1",
    "marimo": "0.25.2",
    "timm": "1.0.31",
    "peft": "0.21.2",
    "trl": "1.16.0",
    "lightning": "2.6.6",
    "accelerate": "1.15.0",
}
STEP = (b".backward(", b"optimizer.step(")
"""What marks a file that trains: all of these."""


def unpacked(name: str, wheels: Path) -> Path:
    """The folder of a package's unzipped wheel; downloaded and unzipped if it is not there."""
    folder = wheels / name
    if folder.is_dir():
        return folder
    version = PACKAGES[name]
    if not list(wheels.glob(f"{name}-{version}-*.whl")):
        wheels.mkdir(parents=True, exist_ok=True)
        download = ["pip", "download", "--no-deps", "--only-binary=:all:", "-d", str(wheels)]
        subprocess.run([sys.executable, "-m", *download, f"{name}=={version}"], check=True)
    (wheel,) = wheels.glob(f"{name}-{version}-*.whl")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(part)
    part.rename(folder)
    return folder


def python_files(folder: Path) -> list[Path]:
    """All Python files below, sorted."""
    return sorted(folder.rglob("*.py"))


def lines(files: list[Path]) -> int:
    """How many lines they have together."""
    return sum(file.read_bytes().count(b"\n") for file in files)


def training_files(packages: list[Path], most: int | None = None) -> list[Path]:
    """The files with a whole training step, smallest first, up to `most` lines together."""
    found = [file for folder in packages for file in python_files(folder) if _trains(file.read_bytes())]
    found.sort(key=lambda file: (file.stat().st_size, str(file)))
    if most is None:
        return found
    kept: list[Path] = []
    for file in found:
        most -= lines([file])
        if most < 0:
            break
        kept.append(file)
    return kept


def _trains(data: bytes) -> bool:
    return all(part in data for part in STEP)


def nearest(files: list[Path], wanted: int) -> Path:
    """The file whose number of lines is nearest to the wanted one."""
    return min(files, key=lambda file: (abs(lines([file]) - wanted), str(file)))


def notebooks(package: Path) -> list[Path]:
    """The marimo notebooks of a package."""
    return [file for file in python_files(package) if b"\napp = marimo.App(" in file.read_bytes()]


def sample(packages: list[Path], wanted: int, target: Path) -> int:
    """Copy files of all packages to `target` until they have the wanted lines; how many lines they have.

    The order is that of a hash of their names: a small sample has the same mixture as a large one, and
    every sample holds the smaller ones.
    """
    every = [(file, file.relative_to(folder.parent)) for folder in packages for file in python_files(folder)]
    every.sort(key=lambda item: hashlib.sha256(str(item[1]).encode()).digest())
    number = 0
    for file, name in every:
        if number >= wanted:
            break
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        number += lines([file])
    return number


def long_script(target: Path, wanted: int) -> int:
    """A training script of about that many lines: epochs as functions, each with its own step."""
    head = "import torch\n\nfrom models import make_loader, make_model\n\n"
    parts = [head]
    number = head.count("\n")
    while number < wanted:
        part = EPOCH.format(number=len(parts))
        parts.append(part)
        number += part.count("\n")
    os.makedirs(target.parent, exist_ok=True)
    target.write_text("".join(parts))
    return number


EPOCH = '''
def epoch_{number}(model, loader, optimizer, scaler, device="cuda"):
    """Train once over the data."""
    total, seen = 0.0, 0
    for images, labels in loader:
        images = images.to(device)
        labels = labels.to(device)
        optimizer.zero_grad()
        with torch.autocast(device_type="cuda", dtype=torch.float16):
            output = model(images)
            loss = torch.nn.functional.cross_entropy(output, labels)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        total += loss.item() * len(images)
        seen += len(images)
        if seen % 1000 == 0:
            print(f"{{seen}} images, loss {{total / seen:.4f}}")
    return total / max(seen, 1)


def run_{number}(epochs):
    """Train and keep what was learnt."""
    model = make_model({number}).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    scaler = torch.amp.GradScaler("cuda")
    for epoch in range(epochs):
        loss = epoch_{number}(model, make_loader({number}), optimizer, scaler)
        print(epoch, loss)
    torch.save(model.state_dict(), "model_{number}.pt")

'''
