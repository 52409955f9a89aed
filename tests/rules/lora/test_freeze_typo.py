from __future__ import annotations

from pathlib import Path

import pytest
from qalint_rules.lora.freeze_typo import FreezeHasNoEffect

from qalint.testing import apply, findings, lint

CASES = {
    "a misspelt attribute": (
        "for p in model.parameters():\n    p.require_grad = False\n",
        "for p in model.parameters():\n    p.requires_grad = False\n",
    ),
    "a misspelt attribute that a test of the name decides": (
        "for n, p in m.named_parameters():\n    p.require_grad = 'lora' in n or n.endswith('.bias')\n",
        "for n, p in m.named_parameters():\n    p.requires_grad = 'lora' in n or n.endswith('.bias')\n",
    ),
    "a flag": (
        "def trains(m, on):\n    for n, p in m.named_parameters():\n        p.require_grad = on\n",
        "def trains(m, on):\n    for n, p in m.named_parameters():\n        p.requires_grad = on\n",
    ),
    "a comparison": (
        "for n, p in m.named_parameters():\n    p.requires_grad == False\n",
        "for n, p in m.named_parameters():\n    p.requires_grad = False\n",
    ),
    "a module of torch": (
        "m = torch.nn.Linear(2, 2).cuda()\nm.requires_grad = False\n",
        "m = torch.nn.Linear(2, 2).cuda()\nm.requires_grad_(False)\n",
    ),
    "a module of this file": (
        "class N(torch.nn.Module): pass\nm = N()\nm.requires_grad = False\n",
        "class N(torch.nn.Module): pass\nm = N()\nm.requires_grad_(False)\n",
    ),
    "a module that a loop yields": (
        "for m in model.modules():\n    m.requires_grad = False\n",
        "for m in model.modules():\n    m.requires_grad_(False)\n",
    ),
    "a misspelt attribute of a module": (
        "def freeze(m: torch.nn.Module):\n    m.required_grad = False\n",
        "def freeze(m: torch.nn.Module):\n    m.requires_grad_(False)\n",
    ),
    "an attribute of self": (
        "class N:\n  def __init__(self):\n    self.e = torch.nn.ReLU()\n    self.e.requires_grad = False\n",
        "class N:\n  def __init__(self):\n    self.e = torch.nn.ReLU()\n    self.e.requires_grad_(False)\n",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_fix(case: str) -> None:
    before, after = CASES[case]
    (found,) = findings(FreezeHasNoEffect, "import torch\n" + before)
    assert apply(found) == "import torch\n" + after
    assert findings(FreezeHasNoEffect, apply(found)) == []


@pytest.mark.parametrize(
    "text",
    [
        "for p in m.parameters():\n    p.requires_grad = False\n",
        "m.requires_grad_(False)\n",
        "x = torch.zeros(1)\nx.requires_grad = True\n",
        "m = torch.nn.Linear(1, 1)\nm.weight.requires_grad = False\n",
        "class C:\n    def __init__(self):\n        self.require_grad = True\n",
        "for n, p in m.named_parameters():\n    p.requires_grad = any(k in n for k in keys)\n",
        "option.require_grad = parse(text)\n",
        "for option in options:\n    option.require_grad = flag\n",
        "config.require_grad = False\nuse(config.require_grad)\n",
        "ok = p.requires_grad == False\nassert p.requires_grad == False\n",
        "model.requires_grad = False\n",
        "for m in pairs:\n    m.requires_grad = False\n",
    ],
)
def test_silent(text: str) -> None:
    assert findings(FreezeHasNoEffect, "import torch\n" + text) == []


def test_a_library_without_torch_has_attributes_of_its_own() -> None:
    assert findings(FreezeHasNoEffect, "x.require_grad = False\n") == []


def test_a_helper_that_does_not_import_torch(tmp_path: Path) -> None:
    path = tmp_path / "helpers.py"
    loop = "def still(m):\n    for name, p in m.named_parameters():\n        p.{} = 'head' in name\n"
    path.write_text(loop.format("require_grad"))
    assert [(item.code, item.region.row) for item in lint([str(path)])] == [("QA1206", 3)]
    path.write_text(loop.format("requires_grad"))
    assert lint([str(path)]) == []
    path.write_text("def note(options):\n    options.require_grad = False\n")
    assert lint([str(path)]) == []
