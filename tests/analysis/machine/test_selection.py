"""Parameters that tests choose, and choices that make up the whole model together."""

from __future__ import annotations

import re
import textwrap

import pytest
from machine_programs import faults_of, story_of

from qalint.analysis.machine.story import OptimizerCreated

HEAD = """\
import torch
from torch import nn
from torch.nn import functional as F
from torch.amp import GradScaler, autocast
"""
HALF = HEAD + "model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)).cuda().half()\n"
WHOLE = "fp16-trainable-parameters:scaler"


def owned(groups: str) -> tuple[object, bool]:
    """How the parameters of an optimizer were chosen, and whether there may be others."""
    story = story_of(HALF + textwrap.dedent(groups))
    (made,) = story.find(OptimizerCreated)
    return made.what["filtered"], made.what["wide"]


PAIRS = [
    ("p.ndim > 1", "p.ndim <= 1"),
    ("p.ndim >= 2", "p.ndim < 2"),
    ("p.ndim > 1", "p.ndim < 2"),
    ("p.dim() >= 2", "not p.dim() > 1"),
    ("len(p.shape) == 1", "len(p.shape) != 1"),
    ("1 < p.ndim", "p.ndim <= 1"),
    ("not any(k in n for k in skipped)", "any(k in n for k in skipped)"),
    ("n in decayed", "n not in decayed"),
    ("'head' in n", "'head' not in n"),
    ("p.ndim < 2 or n.endswith('bias')", "p.ndim >= 2 and not n.endswith('bias')"),
    ("n.startswith('0.')", "not n.startswith('0.')"),
]


def renamed(test: str) -> str:
    """The same test of a loop that calls its variables otherwise."""
    return re.sub(r"\bp\b", "q", re.sub(r"\bn\b", "m", test))


TRAINING = """
scaler = GradScaler("cuda")
for x in loader:
    optimizer.zero_grad()
    with autocast("cuda"):
        loss = model(x).mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
"""


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_choices_that_complete_each_other(one: str, other: str) -> None:
    groups = f"""
    one = [p for n, p in model.named_parameters() if {one}]
    two = [q for m, q in model.named_parameters() if {renamed(other)}]
    optimizer = torch.optim.AdamW([{{"params": one, "weight_decay": 0.1}}, {{"params": two}}])
    """
    assert owned(groups) == (None, False)
    assert owned(groups.replace(', {"params": two}', "")) == ("partial", False)


WHOLES = {
    "three of them": """
        a = [p for n, p in model.named_parameters() if "head" in n]
        b = [p for n, p in model.named_parameters() if "head" not in n and p.ndim > 1]
        c = [p for n, p in model.named_parameters() if "head" not in n and p.ndim <= 1]
        optimizer = torch.optim.AdamW([{"params": a}, {"params": b}, {"params": c}])
    """,
    "four of them": """
        a = [p for n, p in model.named_parameters() if "head" in n and p.ndim > 1]
        b = [p for n, p in model.named_parameters() if "head" in n and p.ndim <= 1]
        c = [p for n, p in model.named_parameters() if "head" not in n and p.ndim > 1]
        d = [p for n, p in model.named_parameters() if "head" not in n and p.ndim <= 1]
        optimizer = torch.optim.AdamW([{"params": a}, {"params": b}, {"params": c}, {"params": d}])
    """,
    "lists that are added": """
        a = [p for p in model.parameters() if p.ndim > 1]
        b = [p for p in model.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW(a + b)
    """,
    "generators": """
        optimizer = torch.optim.AdamW([
            {"params": (p for p in model.parameters() if p.ndim > 1)},
            {"params": (p for p in model.parameters() if p.ndim <= 1)},
        ])
    """,
}


@pytest.mark.parametrize("groups", WHOLES.values(), ids=WHOLES)
def test_choices_that_make_up_the_whole(groups: str) -> None:
    assert owned(groups) == (None, False)


def test_one_of_them_left_out() -> None:
    """Three of four quarters are no whole."""
    for left in ("a", "b", "c", "d"):
        groups = WHOLES["four of them"].replace(f'{{"params": {left}}}', "").replace(", ,", ",")
        assert owned(groups.replace("[, ", "[").replace(", ]", "]")) == ("partial", False)


def test_choices_among_those_that_are_trained() -> None:
    direct = """
    a = [p for p in model.parameters() if p.requires_grad and p.dim() >= 2]
    b = [p for p in model.parameters() if p.requires_grad and p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": a}, {"params": b}])
    """
    assert owned(direct) == ("trainable", False)
    before = """
    trained = [p for p in model.parameters() if p.requires_grad]
    a = [p for p in trained if p.dim() >= 2]
    b = [p for p in trained if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": a}, {"params": b}])
    """
    assert owned(before) == ("trainable", False)
    uneven = direct.replace("p.requires_grad and p.dim() < 2", "p.dim() < 2")
    assert owned(uneven) == ("partial", False)


def test_choices_of_two_models_complete_nothing() -> None:
    groups = """
    other = nn.Linear(4, 4)
    a = [p for p in model.parameters() if p.ndim > 1]
    b = [p for p in other.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": a}, {"params": b}])
    """
    assert owned(groups) == ("partial", False)


LOADED = (
    HEAD
    + """\
from transformers import AutoModel
model = AutoModel.from_pretrained("base", torch_dtype=torch.float16).cuda()
"""
)
DECAY = """
decay = [p for n, p in model.named_parameters() if p.ndim > 1]
plain = [p for n, p in model.named_parameters() if p.ndim <= 1]
optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.01}, {"params": plain}])
"""


def test_a_model_in_float16_that_is_trained_in_two_groups() -> None:
    (fault,) = faults_of(DECAY + TRAINING, LOADED)
    assert fault.startswith(WHOLE)
    assert faults_of(DECAY + TRAINING, LOADED.replace("float16", "float32")) == []


@pytest.mark.parametrize(
    "cells",
    [
        'p for n, p in model.named_parameters() if "adapter" in n',
        "p for p in model.parameters() if p.dtype == torch.float32",
        "p for p in model.parameters() if p.ndim > 1 and p.dtype is torch.float32",
    ],
)
def test_a_part_of_a_model_in_float16_may_be_in_float32(cells: str) -> None:
    assert faults_of(f"optimizer = torch.optim.AdamW([{cells}])" + TRAINING, LOADED) == []
    mixed = HALF + "model[1].float()\n"
    if "dtype" in cells:
        assert faults_of(f"optimizer = torch.optim.AdamW([{cells}])" + TRAINING, mixed) == []


BACK = {
    "each parameter": "for p in model.parameters():\n    p.data = p.data.float()",
    "each by its dtype": "for p in model.parameters():\n    p.data = p.data.to(torch.float32)",
    "each by name": "for n, p in model.named_parameters():\n    p.data = p.data.to(dtype=torch.float32)",
    "those in float16": "for p in model.parameters():\n    if p.dtype == torch.float16:\n"
    "        p.data = p.data.float()",
    "those not in float32": "for p in model.parameters():\n    if p.dtype != torch.float32:\n"
    "        p.data = p.data.float()",
    "those that are trained": "for p in model.parameters():\n    if p.requires_grad:\n"
    "        p.data = p.data.float()",
    "a list of them": "for p in [q for q in model.parameters() if q.requires_grad]:\n"
    "    p.data = p.data.float()",
    "each module": "for m in model.modules():\n    m.float()",
    "each module by its dtype": "for m in model.children():\n    m.to(torch.float32)",
    "each module by name": "for n, m in model.named_modules():\n    m.to(torch.float32)",
    "by apply": "model.apply(lambda m: m.float())",
}


@pytest.mark.parametrize("back", BACK.values(), ids=BACK)
def test_parameters_that_are_cast_back_one_by_one(back: str) -> None:
    optimizer = "\noptimizer = torch.optim.AdamW(model.parameters())\n"
    assert faults_of(back + optimizer + TRAINING, HALF) == []
    assert [fault.partition(" @")[0] for fault in faults_of(optimizer + TRAINING, HALF)] == [WHOLE]


@pytest.mark.parametrize(
    "back",
    [
        "for n, p in model.named_parameters():\n    if 'head' in n:\n        p.data = p.data.float()",
        "for m in model.modules():\n    if isinstance(m, nn.LayerNorm):\n        m.float()",
        "for n, m in model.named_modules():\n    if 'head' in n:\n        m.to(torch.float32)",
        "def back(m):\n    if isinstance(m, nn.LayerNorm):\n        m.float()\n\nmodel.apply(back)",
    ],
)
def test_what_is_cast_back_under_a_test_is_not_known(back: str) -> None:
    """It may be all that is trained: nothing is said of the rest."""
    optimizer = "\noptimizer = torch.optim.AdamW(model.parameters())\n"
    assert faults_of(back + optimizer + TRAINING, HALF) == []


@pytest.mark.parametrize(
    "cast",
    [
        "for p in model.parameters():\n    p.data = p.data.half()",
        "for p in model.parameters():\n    p.data = p.data.to(torch.float16)",
        "for m in model.modules():\n    m.half()",
    ],
)
def test_parameters_that_are_cast_one_by_one(cast: str) -> None:
    optimizer = "\noptimizer = torch.optim.AdamW(model.parameters())\n"
    (fault,) = faults_of(cast + optimizer + TRAINING, HALF.replace(".half()", ""))
    assert fault.startswith(WHOLE)


def test_a_cast_that_leaves_the_module_as_it_is() -> None:
    """`apply` of what casts nothing, and a cast of a batch in a walk, leave the parameters alone."""
    for text in ("model.apply(lambda m: m.train())", "for m in model.modules():\n    x = probe.float()"):
        optimizer = "\noptimizer = torch.optim.AdamW(model.parameters())\n"
        (fault,) = faults_of(text + optimizer + TRAINING, HALF)
        assert fault.startswith(WHOLE)
