"""The gates that look at a program's files before it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from qalint.analysis.machine.scope import Scope, halves, keeps_iterators, trains
from qalint.analysis.project import Project
from qalint.file import File
from qalint.linter import parse
from qalint.source import Source

HEAD = "import torch\nfrom torch import nn, optim\n"


def file_of(text: str) -> File:
    return parse(Source("train.py", HEAD + text))


@pytest.mark.parametrize(
    "text",
    [
        "loss.backward()\n",
        "step = loss.backward\n",
        'getattr(loss, "backward")()\n',
        "class Trainer:\n    def run(self, loss):\n        self.scaler.scale(loss).backward()\n",
        "from torch.amp import GradScaler as Scaler\nscaler = Scaler()\n",
        "hooks = [lambda loss: loss.backward()]\n",
        "def clip(scaler, optimizer):\n    scaler.unscale_(optimizer)\n",
        "class Scaler(torch.amp.GradScaler):\n    pass\n",
    ],
)
def test_what_may_take_a_step_is_run(text: str) -> None:
    assert trains(file_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "model.eval()\nwith torch.no_grad():\n    y = model(x)\n",
        '# loss.backward()\nprint("call loss.backward() yourself")\noptimizer.step()\n',
        "backward = 1\nprint(backward)\noptim.SGD(model.parameters(), lr=0.1)\n",
    ],
)
def test_what_takes_no_step_is_not(text: str) -> None:
    file = file_of(text)
    assert file.get(Scope) is not None
    assert not trains(file)


@pytest.mark.parametrize(
    ("text", "half"),
    [
        ("model.half()\n", True),
        ("model.to(torch.float16)\n", True),
        ("model = load(torch_dtype='torch.float16')\n", True),
        ("dtype = 'fp16' if amp else 'fp32'\n", True),
        ("x = y if x.dtype == torch.float16 else x.to(torch.float32)\n", False),
        ("low = torch.finfo(torch.float16).min\nmodel.to(low)\n", False),
        ("if mode in ('fp16', 'bf16'):\n    model.to(torch.bfloat16)\n", False),
    ],
)
def test_what_is_fp16(text: str, half: bool) -> None:
    assert halves(file_of(text)) is half


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("params = model.parameters()\n", True),
        ("params = filter(lambda p: p.requires_grad, model.parameters())\n", True),
        ("params = map(lambda pair: pair[1], model.named_parameters())\n", True),
        ("params = (p for p in model.parameters() if p.requires_grad)\n", True),
        ("groups = [{'params': model.parameters()}]\n", True),
        ("def trained(model):\n    return model.parameters()\n", True),
        ("train(model.parameters())\n", True),
        ("params = list(model.parameters())\noptim.SGD(model.parameters(), lr=0.1)\n", False),
        ("for p in model.parameters():\n    p.requires_grad = False\n", False),
        ("print(sum(p.numel() for p in model.parameters()))\n", False),
        ("nn.utils.clip_grad_norm_(filter(lambda p: p.requires_grad, model.parameters()), 1.0)\n", False),
        ("data = data.filter(lambda row: row).map(len)\noptim.SGD(model.parameters())\n", False),
    ],
)
def test_which_iterators_are_kept(text: str, kept: bool) -> None:
    assert keeps_iterators(file_of(text)) is kept


def test_the_files_that_a_program_imports_count(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text("def take(loss):\n    loss.backward()\n")
    (tmp_path / "train.py").write_text(f"{HEAD}from steps import take\n\ntake(model(x))\n")
    path = str(tmp_path / "train.py")
    source = Source(path, (tmp_path / "train.py").read_text())
    file = parse(source)
    file.project = Project([str(tmp_path)])
    file.project.add(file)
    assert trains(file) and not halves(file)
    assert not trains(file_of("from steps import take\n\ntake(model(x))\n")), (
        "a file that is not there holds nothing"
    )


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("if __name__ == '__main__':\n    take(get())\n", True),
        ("take(get())\n", True),
        ("for part in get():\n    take(part)\n", True),
        ("try:\n    take(get())\nexcept KeyError:\n    pass\n", True),
        ("def later():\n    take(get())\n", False),
        ("HOOKS = {'take': take}\n", False),
    ],
)
def test_a_file_that_says_nothing_may_start_what_it_imports(tmp_path: Path, text: str, starts: bool) -> None:
    (tmp_path / "deep.py").write_text("import torch\n\n\ndef take(loss):\n    loss.backward()\n")
    (tmp_path / "near.py").write_text("from deep import take\n")
    (tmp_path / "go.py").write_text(f"from near import take\n\n{text}")
    file = parse(Source(str(tmp_path / "go.py"), (tmp_path / "go.py").read_text()))
    file.project = Project([str(tmp_path)])
    file.project.add(file)
    assert trains(file) is starts


def test_a_file_without_a_story_passes_no_gate() -> None:
    file = parse(Source("names.py", "def backward(x):\n    return x.half()\n"))
    assert file.get(Scope) is None
    assert not trains(file) and not halves(file) and not keeps_iterators(file)
