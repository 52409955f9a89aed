"""Correct programs of which it is not known where their tensors are: section 17 is silent."""

from __future__ import annotations

import pytest
from qalint_rules.gpu.mismatch import BatchNotMoved, DeviceMismatch, InputDtypeNotMatched
from qalint_rules.gpu.tensors import DiscardedToResult, UnregisteredTensorAttribute

from qalint.testing import findings

LOOP = """
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")

def collate(examples):
    return tokenizer.pad(examples, padding="longest", return_tensors="pt")

net = AutoModel.from_pretrained("bert-base-uncased")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
net.to(device)
for {target} in DataLoader(texts{collate}):
    {move}
    net({given})
"""


@pytest.mark.parametrize(
    ("target", "collate", "move", "given"),
    [
        ("batch", ", collate_fn=collate", "batch.to(device)", "**batch"),
        ("batch", "", "batch.to(device)", "**batch"),
        ("batch", "", "batch.update(on(device, batch))", "**batch"),
        ("inputs, labels", ", collate_fn=collate", "inputs.to(device)", "inputs"),
        ("inputs, labels", "", "inputs.to(device)", "**inputs"),
        ("inputs, labels", "", "for k, v in inputs.items(): inputs[k] = v.to(device)", "inputs"),
        ("inputs, labels", "", "for k in inputs: inputs[k] = inputs[k].to(device)", "inputs"),
    ],
)
def test_a_mapping_moves_in_place(target: str, collate: str, move: str, given: str) -> None:
    text = LOOP.format(target=target, collate=collate, move=move, given=given)
    assert findings(BatchNotMoved, text) == []
    assert findings(DiscardedToResult, text) == []
    left = LOOP.format(target=target, collate=collate, move="pass", given=given)
    assert len(findings(BatchNotMoved, left)) == 1


def test_a_tensor_of_a_batch_does_not() -> None:
    text = LOOP.format(target="x, y", collate="", move="x.to(device)", given="x")
    assert len(findings(DiscardedToResult, text)) == 1


@pytest.mark.parametrize(
    "weight",
    [
        "nn.Parameter(torch.tensor(args.weight))",
        "nn.Parameter(torch.tensor(2.0)) if args.learn else args.weight",
        "nn.Parameter(torch.ones([])) * 2",
        "torch.zeros(())",
        "torch.linspace(0, 1, 5)[args.step]",
    ],
)
def test_a_number_meets_any_device(weight: str) -> None:
    text = f"""
    import torch
    from torch import nn
    net = nn.Linear(8, 2).to("cuda")
    weight = {weight}
    out = net(torch.randn(4, 8, device="cuda"))
    print(weight * out + weight)
    """
    assert findings(DeviceMismatch, text) == []
    assert len(findings(DeviceMismatch, text.replace(weight, "torch.ones(2)"))) == 1


def test_a_method_out_of_sight_gives_what_it_likes() -> None:
    text = """
    import torch
    from torch.utils.data import DataLoader
    from elsewhere.nn import Forecaster
    model = Forecaster(8).to("cuda")
    total = torch.zeros(4)
    for data in DataLoader(rows):
        data = data.to("cuda")
        total += model.score(model(data), data.y)
    """
    assert findings(DeviceMismatch, text) == []


def test_a_layer_of_ones_own_may_move_its_input() -> None:
    text = """
    import torch
    from torch import nn

    class Streamed(nn.Linear):
        def forward(self, x):
            return stream(x, self.weight)

    device = torch.device("cuda")
    other = nn.Linear(4, 4).to(device)
    model = nn.Sequential({layer}(4, 4), nn.SiLU())
    model(torch.randn(8, 4, device=device))
    """
    assert findings(DeviceMismatch, text.format(layer="Streamed")) == []
    assert len(findings(DeviceMismatch, text.format(layer="nn.Linear"))) == 1


@pytest.mark.parametrize("new", ["Stub()", "library.Linear(child.in_features, child.out_features)"])
def test_layers_that_were_replaced(new: str) -> None:
    text = f"""
    import torch
    from torch import nn
    import library

    class Stub(nn.Module):
        def forward(self, x):
            return x

    def replace(module):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, {new})
            else:
                replace(child)

    model = nn.Sequential(nn.Linear(4, 4))
    replace(model)
    model(torch.ones(1, 4, dtype=torch.bfloat16))
    """
    assert findings(InputDtypeNotMatched, text) == []
    assert len(findings(InputDtypeNotMatched, text.replace("replace(model)\n", "print(model)\n"))) == 1


@pytest.mark.parametrize(
    "probe",
    [
        "torch.zeros(1).to('cuda')",
        "try:\n    if asked:\n        x.to('mps')\n        found = 1\nexcept RuntimeError:\n    found = 0",
    ],
)
def test_a_question_whether_it_can_be_done(probe: str) -> None:
    text = f"import torch\nx = torch.ones(2)\n{probe}\nnet = torch.nn.Linear(2, 2)\nnet(x)\n"
    assert findings(DiscardedToResult, text) == []
    assert len(findings(DiscardedToResult, text.replace(probe, "x.to('cuda')"))) == 1


def test_a_sharded_model_is_where_it_is_put() -> None:
    text = """
    import torch
    from torch import nn
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
    other = nn.Linear(4, 4).to("cuda")
    model = FSDP(nn.Linear(4, 4), device_id=torch.cuda.current_device())
    model(torch.randn(8, 4, device="cuda"))
    """
    assert findings(DeviceMismatch, text) == []
    assert (
        len(
            findings(
                DeviceMismatch,
                text.replace(
                    "FSDP(nn.Linear(4, 4), device_id=torch.cuda.current_device())", "nn.Linear(4, 4)"
                ),
            )
        )
        == 1
    )


@pytest.mark.parametrize(
    "data",
    [
        "TensorDataset(torch.randn(10, 4){0}, torch.zeros(10){0})",
        "random_split(TensorDataset(torch.randn(10, 4){0}, torch.zeros(10){0}), [8, 2])[0]",
        "Subset(TensorDataset(torch.randn(10, 4){0}, torch.zeros(10){0}), [1, 2])",
        "list(zip(torch.randn(10, 4){0}, torch.zeros(10){0}))",
        "Rows()",
    ],
)
def test_a_dataset_may_be_on_the_device(data: str) -> None:
    text = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, random_split

    class Rows(Dataset):
        def __init__(self):
            self.rows = torch.randn(10, 4){0}
        def __getitem__(self, index):
            return self.rows[index], index

    net = nn.Linear(4, 2).to("cuda")
    for x, y in DataLoader({data}, batch_size=2):
        net(x)
    """.replace("{data}", data)
    assert findings(BatchNotMoved, text.replace("{0}", '.to("cuda")')) == []
    assert len(findings(BatchNotMoved, text.replace("{0}", ""))) == 1


@pytest.mark.parametrize(("kind", "known"), [("torch.cuda.FloatTensor", False), ("torch.float32", True)])
def test_a_type_may_be_a_device(kind: str, known: bool) -> None:
    text = f"""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    net = nn.Linear(4, 2).cuda()
    for x, y in DataLoader(rows):
        x = x.type({kind})
        net(x)
    """
    assert len(findings(BatchNotMoved, text)) == known


def test_a_copy_that_waits() -> None:
    text = """
    import time
    import torch
    net = torch.nn.Linear(2, 2).cuda()
    start = time.time()
    out = net(torch.ones(1, 2).cuda())
    out.cpu()
    print(time.time() - start)
    """
    assert findings(DiscardedToResult, text) == []
    assert len(findings(DiscardedToResult, text.replace("- start", ""))) == 1


@pytest.mark.parametrize(
    "collate", ["lambda rows: put(rows, 'cuda')", "gather", "partial(put, device='cuda')"]
)
def test_what_a_collate_function_calls(collate: str) -> None:
    text = """
    import torch
    from functools import partial
    from torch import nn
    from torch.utils.data import DataLoader

    def put(rows, device):
        return torch.stack(rows).to(device)

    def gather(rows):
        return put(rows, "cuda")

    net = nn.Linear(4, 2).cuda()
    for x in DataLoader(rows, collate_fn={collate}):
        net(x)
    """.replace("{collate}", collate)
    assert findings(BatchNotMoved, text) == []
    if "partial" not in collate:
        assert len(findings(BatchNotMoved, text.replace(".to(device)", ""))) == 1


def test_a_wrapped_model_of_unknown_class_takes_batches_from_the_cpu() -> None:
    text = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    import zoo

    def train(model, loader):
        model.train()
        for x, y in loader:
            model(x)

    model = zoo.__dict__[args.arch](2)
    model = model.cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model = nn.parallel.DistributedDataParallel(model, device_ids=[0])
    train(model, DataLoader(rows))
    """
    assert findings(BatchNotMoved, text) == []
    bare = text.replace("nn.parallel.DistributedDataParallel(model, device_ids=[0])", "torch.compile(model)")
    assert len(findings(BatchNotMoved, bare)) == 1


def test_a_tensor_without_elements_stands_for_none_yet() -> None:
    text = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)
            self.cache = torch.zeros(0, 0)

        def forward(self, x):
            if self.cache.size(0) > 0:
                x = torch.cat((self.cache, x))
            return self.layer(x)

    net = Net().cuda()
    net.eval()
    net(torch.randn(4, 8, device="cuda"))
    """
    assert findings(UnregisteredTensorAttribute, text) == []
    assert findings(DeviceMismatch, text) == []
    assert len(findings(UnregisteredTensorAttribute, text.replace("zeros(0, 0)", "zeros(1, 8)"))) == 1


@pytest.mark.parametrize(
    "test", ["isinstance({}, torch.Tensor)", "torch.is_tensor({})", "not isinstance({}, str)"]
)
@pytest.mark.parametrize(
    "chosen", ["torch.randn(2, 4), 'mean'", "torch.randn(2, 4) if len(sys.argv) > 1 else 'none'"]
)
@pytest.mark.parametrize("form", ["choice", "branch", "early"])
def test_what_a_test_tells_apart(test: str, chosen: str, form: str) -> None:
    forms = {
        "choice": f"    given = [v.cuda() if {test.format('v')} else v for v in chosen]\n",
        "branch": "    given = []\n    for v in chosen:\n"
        f"        if {test.format('v')}:\n            v = v.cuda()\n        given.append(v)\n",
        "early": "    def put(v):\n"
        f"        if not ({test.format('v')}):\n            return v\n        return v.cuda()\n"
        "    given = [put(v) for v in chosen]\n",
    }
    text = (
        "import sys\nimport torch\nfrom transformers import AutoModel\n\n\n"
        "def bench(model):\n    chosen = [{chosen}]\n{form}    model(*given)\n\n\n"
        "model = AutoModel.from_pretrained('gpt2').cuda()\nbench(model)\n"
    )
    assert findings(DeviceMismatch, text.format(chosen=chosen, form=forms[form])) == []
    assert len(findings(DeviceMismatch, text.format(chosen=chosen, form="    given = chosen\n"))) == 1


@pytest.mark.parametrize("asked", ["torch.jit.is_tracing()", "torchvision._is_tracing()"])
def test_what_only_an_export_runs(asked: str) -> None:
    text = (
        "import torch\nimport torchvision\nfrom torch import nn\n\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.head = nn.Linear(4, 4)\n\n"
        "    def forward(self, x):\n        y = self.head(x)\n"
        "        if {}:\n            return torch.cat((y, torch.zeros(2, 4)))\n        return y\n\n\n"
        "net = Net().cuda()\nnet(torch.randn(2, 4, device='cuda'))\n"
    )
    assert findings(DeviceMismatch, text.format(asked)) == []
    assert len(findings(DeviceMismatch, text.format("y.mean() > 0"))) == 1
