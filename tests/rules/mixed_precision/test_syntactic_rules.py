"""QA1121, QA1125, QA1130, QA1131: places, messages, fixes and silence."""

from __future__ import annotations

import pytest
from qalint_rules.mixed_precision.backward_inside_autocast import BackwardInsideAutocast
from qalint_rules.mixed_precision.conflicting_precision_flags import ConflictingPrecisionFlags
from qalint_rules.mixed_precision.half_overflow_constant import HalfOverflowConstant
from qalint_rules.mixed_precision.unsafe_loss_under_autocast import UnsafeLossUnderAutocast

from qalint.rule import Rule
from qalint.testing import apply, findings

REGION = "import torch\nwith torch.autocast('cuda'):\n    "


def only(rule: type[Rule], text: str) -> str:
    """The text after the fix of the only finding."""
    (found,) = findings(rule, text)
    after = apply(found)
    assert findings(rule, after) == []
    return after


def test_backward_moves_out_with_what_follows_it_and_its_comment() -> None:
    text = (
        "import torch\nfor b in l:\n    with torch.autocast('cuda'):\n        loss = m(b)\n        # back\n"
        "        s.scale(loss).backward()  # x\n        s.step(o)\n        s.update()\n    print(1)\n"
    )
    assert only(BackwardInsideAutocast, text) == (
        "import torch\nfor b in l:\n    with torch.autocast('cuda'):\n        loss = m(b)\n    # back\n"
        "    s.scale(loss).backward()  # x\n    s.step(o)\n    s.update()\n    print(1)\n"
    )


@pytest.mark.parametrize("rest", ["print(loss)", "loss = 2 * loss"])
def test_backward_is_not_moved_past_other_code(rest: str) -> None:
    (found,) = findings(BackwardInsideAutocast, f"{REGION}loss = m(x)\n    loss.backward()\n    {rest}\n")
    assert found.fix is None


@pytest.mark.parametrize(
    "text",
    [
        "import torch\nwith torch.autocast('cuda'):\n    loss = m(x)\nloss.backward()\n",
        "import torch\nwith torch.autocast('cuda', enabled=False):\n    loss.backward()\n",
        f"{REGION}with torch.autocast('cuda', enabled=False):\n        loss.backward()\n",
        f"{REGION}accelerator.backward(loss)\n",
        f"{REGION}def later():\n        loss.backward()\n",
        "with open(x) as f:\n    loss.backward()\n",
    ],
)
def test_backward_silent(text: str) -> None:
    assert findings(BackwardInsideAutocast, text) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = x.half()\nx.masked_fill(m, -1e9)", "x = x.half()\nx.masked_fill(m, torch.finfo(x.dtype).min)"),
        (
            "x = x.to(torch.float16)\nx.fill_(1e9)",
            "x = x.to(torch.float16)\nx.fill_(torch.finfo(x.dtype).max)",
        ),
        ("x = y.half()\nx.clamp_(min=-1e6)", "x = y.half()\nx.clamp_(min=torch.finfo(x.dtype).min)"),
        (
            "NEG = -1e9\nx = y.half()\ntorch.masked_fill(x, m, NEG)",
            "NEG = -1e9\nx = y.half()\ntorch.masked_fill(x, m, torch.finfo(x.dtype).min)",
        ),
        (
            "torch.full((2,), -1e9, dtype=torch.float16)",
            "torch.full((2,), torch.finfo(torch.float16).min, dtype=torch.float16)",
        ),
    ],
)
def test_constants(before: str, after: str) -> None:
    assert only(HalfOverflowConstant, f"import torch\n{before}\n") == f"import torch\n{after}\n"


@pytest.mark.parametrize(
    "text",
    [
        "x = y.half()\nx.masked_fill(m, -6e4)",
        "x = y.half()\nx.masked_fill(m, float('-inf'))",
        "x = y.half()\nx = x.float()\nx.masked_fill(m, -1e9)",
        "x.masked_fill(m, -1e9)",
        "x = y.half() if z else y\nx.masked_fill(m, -1e9)",
        "with torch.autocast('cuda', dtype=torch.bfloat16):\n    s = (q @ k).masked_fill(m, -1e9)",
        "with torch.autocast('cuda'):\n    s = (q @ k).float().masked_fill(m, -1e9)",
        "with torch.autocast('cuda'):\n    s = (q @ k) * mask\n    s.masked_fill(m, -1e9)",
        "s = (q @ k).masked_fill(m, -1e9)",
        "with torch.autocast('cuda'):\n    s = q @ k\n    s = s + b.to(t.dtype)\n    s.masked_fill(m, -1e9)",
        "with torch.autocast('cuda'):\n    s = q @ k\n    s = s + bias\n    s.masked_fill(m, -1e9)",
    ],
)
def test_constants_silent(text: str) -> None:
    assert findings(HalfOverflowConstant, f"import torch\n{text}\n") == []


@pytest.mark.parametrize("cast", ["bias[:4].to(s.dtype)", "bias.type_as(s)", "bias.to(device, s.dtype)"])
def test_what_is_cast_like_a_product_leaves_it_half(cast: str) -> None:
    text = f"{REGION}s = q @ k\n    s = s + {cast}\n    s = s.masked_fill(m, -1e9)\n"
    assert len(findings(HalfOverflowConstant, text)) == 1


@pytest.mark.parametrize(("last", "found"), [("model = DDP(model)", 1), ("model = other(model)", 0)])
def test_a_model_that_is_wrapped_runs_as_it_did(last: str, found: int) -> None:
    text = f"""
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
class Att(nn.Module):
    def forward(self, q, k, m):
        return (q @ k).masked_fill(m, -1e9)
model = Att().to("cuda")
if parallel:
    {last}
with torch.autocast("cuda", torch.float16):
    model(q, k, m)
"""
    assert len(findings(HalfOverflowConstant, text)) == found


def test_products_under_autocast_are_half() -> None:
    (found,) = findings(HalfOverflowConstant, f"{REGION}s = (q @ k).masked_fill(m, -1e9)\n")
    assert "a product under float16 autocast" in found.message


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "import torch.nn.functional as F\n{}loss = F.binary_cross_entropy(torch.sigmoid(z), y)\n",
            "import torch.nn.functional as F\n{}loss = F.binary_cross_entropy_with_logits(z, y)\n",
        ),
        (
            "from torch import nn\nc = nn.BCELoss()\n{}loss = c(m(x).sigmoid(), y)\n",
            "from torch import nn\nc = nn.BCEWithLogitsLoss()\n{}loss = c(m(x), y)\n",
        ),
        (
            "from torch.nn.functional import binary_cross_entropy\n{}binary_cross_entropy(z.sigmoid(), y)\n",
            "from torch.nn.functional import binary_cross_entropy\n"
            "{}torch.nn.functional.binary_cross_entropy_with_logits(z, y)\n",
        ),
    ],
)
def test_loss_with_logits(before: str, after: str) -> None:
    assert only(UnsafeLossUnderAutocast, before.format(REGION)) == after.format(REGION)


@pytest.mark.parametrize(
    "text",
    [
        "c = nn.BCELoss()\n{}loss = c(m(x), y)\n",
        "c = nn.BCELoss()\n{}loss = c(m(x).sigmoid(), y)\nc(p, y)\n",
        "c = nn.BCELoss(weight=w)\n{}loss = c(m(x).sigmoid(), y)\n",
    ],
)
def test_loss_without_fix(text: str) -> None:
    found = findings(UnsafeLossUnderAutocast, "from torch import nn\n" + text.format(REGION))
    assert [item.fix for item in found] == [None]


@pytest.mark.parametrize(
    "text",
    [
        f"{REGION}with torch.autocast('cuda', enabled=False):\n"
        "        torch.nn.functional.binary_cross_entropy(p, y)\n",
        "import torch\nwith torch.autocast('cpu'):\n    torch.nn.functional.binary_cross_entropy(p, y)\n",
        "import torch\ntorch.nn.functional.binary_cross_entropy(p, y)\n",
        f"{REGION}torch.nn.functional.binary_cross_entropy_with_logits(p, y)\n",
    ],
)
def test_loss_silent(text: str) -> None:
    assert findings(UnsafeLossUnderAutocast, text) == []


LOAD = (
    "import torch\nfrom transformers import AutoModelForCausalLM, Trainer, TrainingArguments\n"
    "model = AutoModelForCausalLM.from_pretrained('x', torch_dtype=torch.float16)\n"
)


def test_both_flags() -> None:
    text = "from transformers import TrainingArguments\nTrainingArguments('o', fp16=True, bf16=True)\n"
    assert only(ConflictingPrecisionFlags, text).endswith("TrainingArguments('o', fp16=False, bf16=True)\n")


def test_trained_in_half() -> None:
    text = f"{LOAD}args = TrainingArguments('o', fp16=True)\nTrainer(model=model, args=args).train()\n"
    assert "from_pretrained('x', torch_dtype=torch.float32)\n" in only(ConflictingPrecisionFlags, text)


@pytest.mark.parametrize(
    "text",
    [
        "from transformers import TrainingArguments\nTrainingArguments('o', fp16=a, bf16=not a)\n",
        "from transformers import TrainingArguments\nTrainingArguments('o', fp16=True, bf16=False)\n",
        f"{LOAD}args = TrainingArguments('o', bf16=True)\nTrainer(model=model, args=args).train()\n",
        f"{LOAD}model = model.float()\n"
        "args = TrainingArguments('o', fp16=True)\nTrainer(model=model, args=args)\n",
        f"{LOAD}args = TrainingArguments('o', fp16=True)\nTrainer(model=model, args=args, peft_config=c)\n",
        f"{LOAD}args = TrainingArguments('o', fp16=True)\nTrainer(model=wrap(model), args=args)\n",
        "from mylib import TrainingArguments\nTrainingArguments('o', fp16=True, bf16=True)\n",
    ],
)
def test_flags_silent(text: str) -> None:
    assert findings(ConflictingPrecisionFlags, text) == []


@pytest.mark.parametrize(
    "made", ["torch.randn(2, dtype=torch.float16)", "torch.zeros_like(x, dtype=torch.half)"]
)
def test_a_tensor_made_as_float16_cannot_hold_the_constant(made: str) -> None:
    text = f"import torch\ns = {made}\ns = s.masked_fill(m, -1e9)\n"
    assert len(findings(HalfOverflowConstant, text)) == 1
    assert findings(HalfOverflowConstant, text.replace("float16", "float32").replace("half", "float")) == []


def test_both_flags_where_one_is_unpacked() -> None:
    text = (
        "from transformers import TrainingArguments\n"
        "common = dict(output_dir='out', fp16={})\nargs = TrainingArguments(**common, bf16=True)\n"
    )
    (found,) = findings(ConflictingPrecisionFlags, text.format(True))
    assert apply(found) == text.format(False)
    assert findings(ConflictingPrecisionFlags, text.format(False)) == []


RUN = """\
import torch
from transformers import AutoModel, Trainer, TrainingArguments

class Run:
    def model(self):
        {model}

    def arguments(self, out):
        made = TrainingArguments(out, fp16=True)
        return made

    def start(self, **more):
        return Trainer(model=self.model(), args=self.arguments("out"))
"""


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("return AutoModel.from_pretrained('x', torch_dtype=torch.float16)", 1),
        ("net = AutoModel.from_pretrained('x', torch_dtype=torch.float16)\n        return net", 1),
        ("return AutoModel.from_pretrained('x')", 0),
        ("net = AutoModel.from_pretrained('x', torch_dtype=torch.float16)\n        return net.float()", 0),
        ("if x:\n            return AutoModel.from_pretrained('x', torch_dtype=torch.float16)", 0),
    ],
)
def test_a_model_and_arguments_that_methods_make(model: str, found: int) -> None:
    assert len(findings(ConflictingPrecisionFlags, RUN.format(model=model))) == found
