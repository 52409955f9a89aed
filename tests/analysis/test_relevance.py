"""In a library only what a rule can speak of is run, and nothing that it speaks of is left out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from qalint.analysis.modules import Modules
from qalint.analysis.modules.relevance import Relevance
from qalint.analysis.modules.starting import starts
from qalint.analysis.modules.subjects import (
    adapted,
    asked,
    attached,
    discarded,
    idle,
    inert,
    listed,
    loaded,
    made_and_moved,
    parametric,
    placed,
    sized,
    training,
    typed,
    walked,
)
from qalint.analysis.project import Project
from qalint.file import File, Need
from qalint.linter import parse
from qalint.source import Source


def file(text: str, folder: Path | None = None, **others: str) -> File:
    path = "part.py"
    if folder is not None:
        (folder / "__init__.py").write_text("")
        for name, other in others.items():
            (folder / f"{name}.py").write_text(other)
        path = str(folder / "part.py")
    source = Source(path, text)
    return File(source, parse(source).tree, Project([str(folder)]) if folder is not None else None)


def names(file: File, *needs: Need) -> list[str]:
    """The definitions that matter."""
    found = Relevance(file, needs, passive=True)
    return [
        node.name
        for node in file.tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and found.matters(node)
    ]


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("def f(net):\n    opt = torch.optim.AdamW(net.parameters())\n", True),
        ("def f(net):\n    opt = getattr(torch.optim, name)(net.parameters())\n    opt.step()\n", True),
        ("def f(loss):\n    loss.backward()\n", True),
        ("def f(opt):\n    opt.step()\n", True),
        ("def f(scaler, opt):\n    scaler.step(opt)\n", True),
        ("def f(accelerator, optimizer):\n    accelerator.step(optimizer, 3)\n", True),
        ("class T(Trainer):\n    pass\n", True),
        ("for x in range(3):\n    print(x)\n", True),
        ("if __name__ == '__main__':\n    run()\n", True),
        ("try:\n    main()\nfinally:\n    pass\n", True),
        ("def f(decoder, token):\n    return decoder.step(token, 1)\n", False),
        ("from torch.optim import AdamW\n__all__ = ['AdamW']\n", False),
        ("from .optim import (\n    AdamW,\n    Lion,\n)\n", False),
        ("class Lion(Base):\n    pass\n", False),
        ("def f():\n    raise ValueError('Adam needs .step( first')\n", False),
        ("class Callback(TrainerCallback):\n    pass\n", False),
        ("def f(x):\n    return x\n", False),
    ],
)
def test_where_a_program_starts(text: str, begins: bool) -> None:
    assert starts(file("import torch\n" + text)) is begins


LIBRARY = """
import torch
from torch import nn


class Plain(nn.Module):
    def forward(self, x):
        return x


class Low(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.lora_a = nn.Linear(n, 4)
        self.lora_b = nn.Linear(4, n)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.low = Low(8)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block()


def freeze(model):
    for p in model.parameters():
        p.requires_grad = False


def build():
    model = Model()
    freeze(model)
    return model
"""


def test_only_what_has_the_needles_matters() -> None:
    assert names(file(LIBRARY), Need(((b"lora_",), (b"torch",)))) == ["Low"]


def test_what_uses_it_matters_where_the_rule_says_so() -> None:
    assert names(file(LIBRARY), Need(((b"lora_",), (b"torch",)), in_users=True)) == ["Low", "Block"]


def test_the_nearest_that_reaches_all_needles_matters() -> None:
    assert names(file(LIBRARY), Need(((b"lora_",), (b"requires_grad",)))) == ["build"]


def test_a_needle_that_is_nowhere_lets_nothing_pass() -> None:
    assert names(file(LIBRARY), Need(((b"lora_",), (b"checkpoint(",)))) == []


def test_a_subject_is_asked_of_all_that_is_used() -> None:
    seen: list[list[str]] = []

    def subject(trees: list[ast.AST]) -> bool:
        seen.append([tree.name for tree in trees])  # type: ignore[attr-defined]
        return False

    assert names(file(LIBRARY), Need(((b"requires_grad",), (b"Model()",)), subject)) == []
    assert seen == [["Low", "Block", "Model", "freeze", "build"]]


def test_needles_outside_of_definitions_count_for_all() -> None:
    text = "import torch\nLORA = 'lora_'\n\n\ndef f(x):\n    return x.half()\n\n\ndef g(x):\n    return x\n"
    assert names(file(text), Need(((b"lora_",), (b".half",)))) == ["f"]


def test_what_begins_a_program_is_no_needle_in_a_library() -> None:
    text = "import torch\n\n\ndef f(stream):\n    return stream.step(1, 2)\n"
    assert names(file(text), Need(((b".step(",), (b"torch",)))) == []


def test_a_script_may_find_the_rest_in_what_it_imports(tmp_path: Path) -> None:
    text = (
        "from part2 import helper\n\n\ndef f(m):\n    helper(m.modules())\n\n\ndef g(m):\n    m.modules()\n"
    )
    need = Need(((b"modules(",), (b"setattr(",)))
    script = file(text, tmp_path, part2="def helper(m):\n    setattr(m, 'a', 1)\n")
    assert names(script, need) == ["f"]
    module = file(text.replace("from part2", "from .part2"), tmp_path)
    assert names(module, need) == []


def analysed(file: File, *needs: Need) -> Modules:
    file.needs = {"Modules": set(needs)}
    found = file.get(Modules)
    assert found is not None
    return found


def test_the_rest_of_a_library_is_not_run_and_says_so() -> None:
    library = file(LIBRARY)
    modules = analysed(library, Need(((b"lora_",), (b"torch",))))
    assert [cls.name for cls in modules.run.classes] == ["Low"]
    rows = [item.place.source.row(item.place.start) for item in library.unknowns]
    assert rows == [6, 18, 24, 30, 35]
    assert all("no program starts in this file" in item.reason for item in library.unknowns)


def test_a_model_in_a_file_that_trains_need_not_train_itself() -> None:
    text = (
        "import torch\n\n\ndef fit(loss):\n    loss.backward()\n\n\n"
        "def mask(x):\n    return torch.ones(2).to(x.device)\n\n\ndef other(x):\n    return x\n"
    )
    trains = Relevance(file(text), [Need(((b".backward(",), (b"torch",)), made_and_moved)], passive=False)
    found = [node.name for node in trains.file.tree.body if trains.matters(node)]  # type: ignore[attr-defined]
    assert found == ["fit", "mask"]


def test_a_program_runs_as_a_whole() -> None:
    program = file(LIBRARY + "\n\nif __name__ == '__main__':\n    build()\n")
    modules = analysed(program, Need(((b"lora_",), (b"torch",))))
    assert {cls.name for cls in modules.run.classes} == {"Plain", "Low", "Block", "Model"}
    assert list(modules.all("freeze"))


PARTS = """
import torch


class Net(torch.nn.Module):
    pass


def make():
    return Net()


def name():
    return getattr(torch, str(len(make.__name__)))
"""


def test_of_other_files_a_library_follows_what_makes_modules(tmp_path: Path) -> None:
    library = file(
        "import torch\nfrom .parts import make, name\n\n\n"
        "def build():\n    lora_a = make()\n    return name(), lora_a\n",
        tmp_path,
        parts=PARTS.replace("return Net()", "return Net()\n\n\ndef other():\n    return make()"),
    )
    modules = analysed(library, Need(((b"lora_a",),)))
    assert [ast.unparse(event.site.node) for event in modules.all("load")] == ["Net()"]
    (build,) = (node for node in modules.run.called if getattr(node, "name", "") == "build")
    call = build.body[1].value.elts[0]  # type: ignore[attr-defined]
    assert "getattr" not in modules.run.memo[call].term


def test_what_a_package_exports_by_stars_for_type_checkers_is_not_read(tmp_path: Path) -> None:
    library = file(
        "import torch\nfrom . import tools\n\n\ndef build():\n    return tools.make()\n",
        tmp_path,
        tools="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .all import *\n"
        "    from .parts import make\nelse:\n    raise SystemExit\n",
        parts=PARTS,
        all=PARTS + "\n\nNET = Net()\n",
    )
    modules = library.get(Modules)
    assert modules is not None
    assert [ast.unparse(event.site.node) for event in modules.all("load")] == ["Net()"]
    assert str(tmp_path / "parts.py") in library.project.used
    assert str(tmp_path / "all.py") not in library.project.used


ADAPTER = """class Low(nn.Module):
    def __init__(self):
        self.down, self.up = nn.Linear(8, 2), nn.Linear(2, 8)
"""
USED = ADAPTER + "    def forward(self, x):\n        return self.up(self.down(x))\n"


@pytest.mark.parametrize(
    ("subject", "text", "holds"),
    [
        (walked, "for m in net.modules():\n    setattr(m, 'a', x)", True),
        (walked, "for m in net.modules():\n    m.eval()", False),
        (attached, "setattr(parent, name, new)", True),
        (attached, "parent.proj = new", True),
        (attached, "net._modules[name] = new", True),
        (attached, "net = get_peft_model(net, config)", True),
        (attached, "self.proj = new", False),
        (adapted, "a = nn.Linear(2, 3)\nb = nn.Linear(3, 2)", True),
        (adapted, "a = [nn.Parameter(x) for x in y]", True),
        (adapted, "class A(nn.Linear):\n    a = nn.Linear(2, 3)", True),
        (adapted, "def make():\n    return nn.Linear(2, 2)\n\na, b = make(), make()", True),
        (adapted, "a = nn.Linear(2, 3)\nfor x in y:\n    x.eval()\nmask = torch.zeros(2)", False),
        (adapted, "a = torch.zeros(2, requires_grad=True)\nb = torch.rand(2, requires_grad=True)", True),
        (listed, ADAPTER + "        self.parts = [self.down, self.up]", True),
        (listed, ADAPTER + "        parts = {}\n        self.parts = parts", True),
        (listed, ADAPTER + "        self.parts = self.made()\n    def made(self):\n        return x", True),
        (listed, ADAPTER + "        self.parts = parts\nnet = Low([Low(), Low()])", True),
        (
            listed,
            ADAPTER + "        self.parts = nn.ModuleList([self.down])\n        self.n = ['a', 'b']",
            False,
        ),
        (idle, ADAPTER, True),
        (idle, ADAPTER + "    def forward(self, x):\n        return self.up(self.down(x))", False),
        (
            idle,
            ADAPTER + "    def forward(self, x):\n        y = self.up(self.down(x))\n        return x",
            True,
        ),
        (
            idle,
            ADAPTER + "    def forward(self, x):\n        return self.up(x) + len(self.down.state_dict())",
            True,
        ),
        (idle, USED + "def put(net):\n    net.head.low = Low()", True),
        (idle, USED + "def put(net):\n    Low()", True),
        (idle, USED + "def put(net):\n    low = Low()", True),
        (idle, USED + "def put(net):\n    net.register_forward_hook(Low())", True),
        (
            idle,
            USED + "class Net(nn.Module):\n    def __init__(self, low):\n        self.low = low\nNet(Low())",
            True,
        ),
        (
            idle,
            USED + "class Net(nn.Module):\n    def __init__(self, n):\n        self.n = n\nprint(Net(3))",
            False,
        ),
        (inert, ADAPTER + "        nn.init.zeros_(self.up.weight)", True),
        (inert, ADAPTER + "        self.scale = alpha // rank", True),
        (inert, ADAPTER, False),
        (adapted, "class A(nn.Module):\n    a = nn.Linear(2, 3)", False),
        (parametric, "w = nn.Parameter(x).half()", True),
        (parametric, "p = nn.Parameter(x)\nself.w = p.half()", True),
        (parametric, "self.w = nn.Parameter(x)\nself.w = y", True),
        (parametric, "self.w = nn.Parameter(x)\nself.v = y.half()", False),
        (parametric, "w = nn.Linear(2, 3)", False),
        (sized, "a, b = layer.weight.shape", True),
        (sized, "n = layer.weight.data.size(0)", True),
        (sized, "w = layer.weight\nn = w.shape[1]", True),
        (sized, "n = getattr(layer, 'weight').shape[0]", True),
        (sized, "n = getattr(layer, name).shape[0]", True),
        (sized, "def f(w):\n    return w.shape[0]\nn = f(layer.weight)", True),
        (sized, "n = layer.in_features", False),
        (sized, "y = F.linear(x, self.weight)\nn = x.shape[1]", False),
        (sized, "n = x.shape[0]", False),
        (training, "opt = torch.optim.AdamW(net.parameters())", True),
        (training, "loss.backward()", True),
        (training, "trainer = Seq2SeqTrainer(net)", True),
        (training, "x = net(x).eval()", False),
        (placed, "net = net.cuda()", True),
        (placed, "x = torch.zeros(2, device=where)", True),
        (placed, "x = torch.zeros(2)", False),
        (typed, "x = torch.zeros(2, dtype=kind)", True),
        (typed, "x = x.double()", True),
        (typed, "x = np.zeros(2)", True),
        (typed, "x = torch.zeros(2)", False),
        (asked, "x = torch.zeros(2, device=net.device)", True),
        (asked, "x = torch.zeros(2, device=device)", False),
        (made_and_moved, "x = torch.zeros(2).to(device)", True),
        (made_and_moved, "x = x.to(device)", False),
        (discarded, "x.to(device)", True),
        (discarded, "x = x.to(device)", False),
        (loaded, "net = AutoModel.from_pretrained(x)\nnet.a.b = c", True),
        (loaded, "net = GPT2LMHeadModel(x)\nnet.a.b = c", True),
        (loaded, "class OwnModel:\n    pass\nnet = OwnModel(x)\nnet.a.b = c", True),
        (loaded, "net = build(x)\nnet.a.b = c", False),
    ],
)
def test_subjects(subject, text: str, holds: bool) -> None:  # type: ignore[no-untyped-def]
    assert subject([ast.parse(text)]) is holds


def test_an_own_class_is_no_known_model() -> None:
    trees = ast.parse("class OwnModel:\n    pass\n\n\ndef f():\n    net = OwnModel()\n    net.a.b = 1\n").body
    assert not loaded(trees)


def test_what_a_base_of_another_file_makes_counts(tmp_path: Path) -> None:
    text = "import torch\nfrom .{} import Base\n\n\nclass Low(Base):\n    name = 'lora_'\n"
    need = Need(((b"lora_",),), adapted)
    parts = """
from torch import nn


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(8, 2), nn.Linear(2, 8)


class Base(Deep):
    pass


class Mixin:
    def widen(self):
        return nn.Linear(8, 2), nn.Linear(2, 8)
"""
    others = {"parts": parts, "again": "from .parts import Base\n"}
    assert names(file(text.format("parts"), tmp_path, **others), need) == ["Low"]
    assert names(file(text.format("again"), tmp_path, **others), need) == ["Low"]
    assert names(file(text.format("nowhere"), tmp_path, **others), need) == []
    assert names(file(text.format("parts").replace("Base", "Mixin"), tmp_path, **others), need) == []
