"""Section 17 on forms that were met in code of others, in our own words."""

from __future__ import annotations

import pytest
from qalint_rules.gpu.layer_names import WrongLayerNames
from qalint_rules.gpu.mismatch import BatchNotMoved, DeviceMismatch, InputDtypeNotMatched
from qalint_rules.gpu.portability import ModuleHasNoDevice
from qalint_rules.gpu.tensors import UnregisteredTensorAttribute
from qalint_rules.gpu.timing import UnsynchronizedTiming

from qalint.testing import findings

STEP = """
import torch
from torch import nn

model = nn.Linear(8, 8).to("cuda")
optimizer = torch.optim.Adam(model.parameters())
row = torch.linspace(0, 1, 9)
x = torch.randn(4, 8, device="cuda")
model(x).sum().backward()
optimizer.step()
y = x * {}
"""


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ("torch.arange(8, out=torch.cuda.FloatTensor(8))", 0),
        ("torch.rand(4, 8, out=torch.empty(4, 8, device='cuda'))", 0),
        ("torch.rand(4, 8, out=torch.empty(4, 8))", 1),
        ("torch.normal(0, x.abs())", 0),
        ("torch.normal(x, 1.0)", 0),
        ("torch.normal(0.0, 1.0, size=(4, 8))", 1),
        ("torch.normal(0, torch.ones(4, 8))", 1),
    ],
)
def test_where_a_new_tensor_is_made(given: str, count: int) -> None:
    assert len(findings(DeviceMismatch, STEP.format(given))) == count


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ("row[3].clamp(min=1e-9)", 0),
        ("torch.sqrt((row[3] * (1 - row[2])).clamp(min=1e-9))", 0),
        ("torch.cumprod(1 - row, dim=0)[3]", 0),
        ("row[:8].clamp(min=1e-9)", 1),
        ("torch.cumprod(1 - row, dim=0)[:8]", 1),
        ("row[3].repeat(8)", 1),
    ],
)
def test_one_number_of_a_row_may_stay_on_the_cpu(given: str, count: int) -> None:
    assert len(findings(DeviceMismatch, STEP.format(given))) == count


TIMED = """
import time
import torch
from torch import nn

model = nn.Linear(8, 8).to("cuda")
host = torch.device("cpu")
for batch in [torch.randn(2, 8, device="cuda")] * 3:
    start = time.perf_counter()
    out = model(batch)
    {}
    print(time.perf_counter() - start)
"""


@pytest.mark.parametrize(
    ("then", "count"),
    [
        ("out = out.to(host)", 0),
        ("out = out.to('cpu')", 0),
        ("out = [{k: v.to(host) for k, v in part.items()} for part in out]", 0),
        ("out = out.to('cpu', non_blocking=True)", 1),
        ("out = out.to(batch.device)", 1),
    ],
)
def test_a_copy_to_the_cpu_waits(then: str, count: int) -> None:
    assert len(findings(UnsynchronizedTiming, TIMED.format(then))) == count


@pytest.mark.parametrize(("asked", "count"), [("auto", 0), ("cuda", 1), ("cuda:0", 1)])
def test_an_option_that_stands_for_a_device(asked: str, count: int) -> None:
    text = (
        "import torch\nfrom torch import nn\n\n\n"
        "def pick(device='auto'):\n"
        f"    if device == {asked!r}:\n        device = 'cuda:0'\n    return torch.device(device)\n\n\n"
        "place = pick(torch.device('cuda' if torch.cuda.is_available() else 'cpu'))\n"
        "model = nn.Linear(4, 4).to(place)\nmodel(torch.randn(2, 4, device=place))\n"
    )
    assert len(findings(ModuleHasNoDevice, text)) == count


@pytest.mark.parametrize(("made", "count"), [("nn.Experts.packed(8)", 0), ("nn.Linear8bitLt(8, 8)", 1)])
def test_a_container_of_packed_weights_has_no_dtype_of_its_own(made: str, count: int) -> None:
    text = (
        "import torch\nfrom bitsandbytes import nn\n\n"
        f"layer = {made}\nx = torch.randn(2, 8, dtype=torch.bfloat16)\n"
        "layer(x).sum().backward()\n"
    )
    assert len(findings(InputDtypeNotMatched, text)) == count


PLACED = """
import torch
from torch import nn

class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 8)
        self.shift = torch.ones(8)

{}
    def forward(self, x):
        return self.net(x) + self.shift

head = Head().to("cuda")
head(torch.randn(4, 8, device="cuda")).sum().backward()
"""
APPLIED = """
    def _apply(self, fn, *rest, **more):
        super()._apply(fn, *rest, **more)
        self.shift = fn(self.shift)
        return self
"""
COUNTED = """
    def _reset(self):
        self.net.reset_parameters()
"""


@pytest.mark.parametrize(("method", "code"), [(APPLIED, ""), (COUNTED, "QA1706")])
def test_a_class_may_move_its_own_tensors(method: str, code: str) -> None:
    text = PLACED.format(method)
    assert findings(DeviceMismatch, text) == []
    assert [one.code for one in findings(UnregisteredTensorAttribute, text)] == [code] * bool(code)


@pytest.mark.parametrize(
    ("index", "count"), [("[None]", 1), ("[None, :]", 1), ("[...]", 1), ("[3]", 0), ("[step]", 0)]
)
def test_a_row_with_one_more_dimension_is_no_number(index: str, count: int) -> None:
    text = "from settings import step\n" + STEP.format(f"torch.arange(8.0){index}")
    assert len(findings(DeviceMismatch, text)) == count


TARGETS = """
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from settings import wide

model = AutoModelForCausalLM.from_pretrained("gpt2")
narrow = ["q_proj", "v_proj"]
chosen = {} if wide else narrow
model = get_peft_model(model, LoraConfig(r=4, target_modules=chosen))
"""


@pytest.mark.parametrize(
    ("other", "count"),
    [('narrow + ["up_proj"]', 1), ('["c_attn"]', 0), ('narrow + ["c_proj"]', 0), ("wide", 0)],
)
def test_none_of_several_lists_of_names_matches(other: str, count: int) -> None:
    assert len(findings(WrongLayerNames, TARGETS.format(other))) == count


CARRIER = """
import torch
from torch import nn
from torch.utils.data import DataLoader

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 1)

    {}

    def forward(self, x):
        return self.layer(x)

class Carries:
    def carried(self, rows):
        if {}:
            return {{key: self.carried(value) for key, value in rows.items()}}
        return rows.to(self.net.device)

class Work(Carries):
    def __init__(self):
        self.net = Net().to("cuda")

    def go(self, loader):
        for rows in loader:
            rows = self.carried(rows)
            self.net(rows["x"]).mean().backward()

Work().go(DataLoader([{{"x": torch.randn(8)}}], batch_size=4))
"""
PLACE = """@property
    def device(self):
        return self.layer.weight.device"""


@pytest.mark.parametrize(
    ("prop", "test", "count"),
    [
        ("", "isinstance(rows, dict)", 1),
        ("", "isinstance(rows, (list, tuple))", 1),
        ("", "not hasattr(self.net, 'device')", 0),
        ("", "isinstance(self.net, str)", 1),  # which it never is
        ("", "len(rows) > 3", 0),
        (PLACE, "isinstance(rows, dict)", 0),
    ],
)
def test_of_what_type_the_data_is_says_nothing_of_the_model(prop: str, test: str, count: int) -> None:
    assert len(findings(ModuleHasNoDevice, CARRIER.format(prop, test))) == count


WRAPPED = """
import torch
from torch import nn
from elsewhere import cut
from torch.utils.data import DataLoader, TensorDataset

place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
x, y = {}
model = nn.Linear(8, 1).to(place)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for rows, aims in DataLoader(TensorDataset(x, y), 4):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(rows), aims.to(place)).backward()
    optimizer.step()
"""


@pytest.mark.parametrize(("made", "count"), [("cut(place)", 0), ("torch.ones(8, 8), torch.ones(8, 1)", 1)])
def test_tensors_of_a_dataset_that_are_made_out_of_sight_may_have_been_moved(made: str, count: int) -> None:
    assert len(findings(BatchNotMoved, WRAPPED.format(made))) == count


@pytest.mark.parametrize(("wait", "count"), [("torch.distributed.barrier()", 0), ("print()", 1)])
def test_processes_that_wait_for_each_other_wait_for_the_device(wait: str, count: int) -> None:
    text = (
        "import time\nimport torch\nfrom torch import nn\n\n"
        'model = nn.Linear(8, 8).to("cuda")\nx = torch.randn(4, 8, device="cuda")\n'
        f"start = time.time()\nmodel(x)\n{wait}\ntaken = time.time() - start\n"
    )
    assert len(findings(UnsynchronizedTiming, text)) == count


def test_a_product_with_a_tensor_of_unknown_shape_has_a_shape() -> None:
    text = (
        "import torch\nfrom torch import nn\n\ndef square(m):\n    assert m.shape[0] == m.shape[1]\n\n"
        "def cost(model):\n    for part in model.modules():\n        for p in part.parameters():\n"
        "            if p.dim() == 3:\n                p = p.transpose(0, 1)\n"
        "            p = p.view(len(p), -1)\n            square(p.t() @ p)\n\n"
        'cost(nn.Linear(8, 8).to("cuda"))\n'
    )
    assert not findings(DeviceMismatch, text)
