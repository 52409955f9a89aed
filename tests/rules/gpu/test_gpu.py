"""What the rules of section 17 say, where they stand, and what their fixes make of the code."""

from __future__ import annotations

import pytest
from qalint_rules.gpu.layer_names import PeftConv1dFlag, SingleArchitectureInjection, WrongLayerNames
from qalint_rules.gpu.mismatch import BatchNotMoved, DeviceMismatch, InputDtypeNotMatched
from qalint_rules.gpu.portability import HardCodedCuda, ModuleHasNoDevice
from qalint_rules.gpu.tensors import CreatedOnCpuThenMoved, DiscardedToResult, UnregisteredTensorAttribute
from qalint_rules.gpu.timing import UnsynchronizedTiming

from qalint.rule import Finding, Rule
from qalint.testing import apply, findings


def only(rule: type[Rule], text: str, **options: object) -> Finding:
    found = findings(rule, text, **options)
    assert len(found) == 1, found
    return found[0]


def line(finding: Finding) -> str:
    source = finding.place.source
    return source.line(source.location(finding.place.start).row).strip()


PEFT = """
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
base = AutoModelForCausalLM.from_pretrained("{model}")
model = get_peft_model(base, LoraConfig(r=8, target_modules={targets}))
"""


@pytest.mark.parametrize(
    ("model", "targets", "wrong"),
    [
        ("gpt2", '["q_proj", "v_proj"]', True),
        ("openai-community/gpt2-xl", '["query_key_value"]', True),
        ("mistralai/Mistral-7B-v0.1", '["c_attn"]', True),
        ("meta-llama/Llama-2-7b-hf", '["c_attn", "c_proj"]', True),
        ("gpt2", '["c_attn"]', False),
        ("Qwen/Qwen2.5-7B", '["q_proj", "v_proj"]', False),
        ("some/unknown-model", '["c_attn"]', False),
        ("gpt2", '"all-linear"', False),
        ("gpt2", '["c_attn", "q_proj"]', False),
        ("EleutherAI/pythia-70m", '["query_key_value"]', False),
    ],
)
def test_names_of_another_family(model: str, targets: str, wrong: bool) -> None:
    found = findings(WrongLayerNames, PEFT.format(model=model, targets=targets))
    assert bool(found) is wrong
    if found:
        assert line(found[0]).startswith("model = get_peft_model(")


def test_the_names_are_replaced_by_the_familys() -> None:
    finding = only(WrongLayerNames, PEFT.format(model="gpt2", targets='["q_proj"]'))
    assert 'target_modules=["c_attn", "c_proj"]' in apply(finding)


def test_a_family_of_ones_own() -> None:
    text = PEFT.format(model="gpt2", targets='["q_proj", "c_mine"]')
    assert only(WrongLayerNames, text)
    assert findings(WrongLayerNames, text, families=["gpt2=c_attn,c_mine"]) == []


def test_one_architecture() -> None:
    text = """
    import torch
    from torch import nn
    from transformers import AutoModelForCausalLM

    class Adapter(nn.Module):
        def __init__(self, layer, rank):
            super().__init__()
            self.layer = layer
            self.a = nn.Linear(layer.in_features, rank, bias=False)
            self.b = nn.Linear(rank, layer.out_features, bias=False)

        def forward(self, x):
            return self.layer(x) + self.b(self.a(x))

    def build(name):
        model = AutoModelForCausalLM.from_pretrained(name)
        for parent in list(model.modules()):
            for child_name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear) and child_name in ("q_proj", "v_proj"):
                    setattr(parent, child_name, Adapter(child, 8))
        return model
    """
    assert "chosen at run time" in only(SingleArchitectureInjection, text).message
    assert findings(SingleArchitectureInjection, text.replace('"v_proj")', '"c_attn")')) == []


@pytest.mark.parametrize(
    ("model", "given", "fixed"),
    [
        ("gpt2", "", "LoraConfig(r=8, fan_in_fan_out=True)"),
        ("meta-llama/Llama-3.2-1B", ", fan_in_fan_out=True", "LoraConfig(r=8, fan_in_fan_out=False)"),
    ],
)
def test_the_flag_of_conv1d(model: str, given: str, fixed: str) -> None:
    text = f"""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    config = LoraConfig(r=8{given})
    model = get_peft_model(AutoModelForCausalLM.from_pretrained("{model}"), config)
    """
    finding = only(PeftConv1dFlag, text)
    assert fixed in apply(finding)
    assert findings(PeftConv1dFlag, apply(finding)) == []


TRAINED = """
import torch
from torch import nn
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
net = nn.Linear(8, 8).to(device)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(10):
    {make}
    loss = net(x).sum()
    opt.zero_grad()
    loss.backward()
    opt.step()
"""


@pytest.mark.parametrize(
    ("make", "fixed"),
    [
        ("x = torch.randn(4, 8).to(device)", "x = torch.randn(4, 8, device=device)"),
        ("x = torch.zeros(4, 8).cuda()", 'x = torch.zeros(4, 8, device="cuda")'),
        ("x = torch.ones(4, 8, ).to(device=device)", "x = torch.ones(4, 8, device=device)"),
    ],
)
def test_made_where_it_is_needed(make: str, fixed: str) -> None:
    finding = only(CreatedOnCpuThenMoved, TRAINED.format(make=make))
    assert fixed in apply(finding)
    assert findings(CreatedOnCpuThenMoved, apply(finding)) == []


@pytest.mark.parametrize(
    "make",
    [
        "x = torch.randn(4, 8, device=device)",
        "x = torch.randn(4, 8, generator=g).to(device)",
        "x = torch.randn(4, 8).pin_memory().to(device, non_blocking=True)",
        "x = load(step).to(device)",
    ],
)
def test_moves_that_are_right(make: str) -> None:
    assert findings(CreatedOnCpuThenMoved, TRAINED.format(make=make)) == []


def test_the_result_is_assigned() -> None:
    finding = only(DiscardedToResult, TRAINED.format(make="x = torch.randn(4, 8); x.to(device)"))
    assert "x = torch.randn(4, 8); x = x.to(device)" in apply(finding)
    assert "`x` is a tensor" in finding.message


@pytest.mark.parametrize(
    "statement",
    [
        "net.to(device)",
        "net.half()",
        "unknown.to(device)",
        "tokenizer(text).to(device)",
        "self.weight.cuda(0)",
    ],
)
def test_only_proven_tensors(statement: str) -> None:
    text = f"""
    import torch
    from torch import nn
    def place(net: nn.Module, unknown, tokenizer, text, device, self):
        {statement}
    """
    assert findings(DiscardedToResult, text) == []


@pytest.mark.parametrize(
    "make", ["torch.jit.trace(net, x)", "torch.jit.freeze(net)", "torch.fx.symbolic_trace(net, {'x': x})"]
)
def test_what_compiles_a_module_gives_a_module(make: str) -> None:
    text = f"""
    import torch
    from torch import nn
    net = nn.Linear(4, 4)
    x = torch.rand(1, 4)
    traced = {make}
    traced.to("cuda")
    print(traced(torch.rand(1, 4, device="cuda")))
    """
    assert findings(DiscardedToResult, text) == []


FORWARD = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)
        {init}

    def forward(self, x):
        {forward}

net = Net().to("cuda")
out = net(torch.randn(2, 8, device="cuda"))
"""


def test_a_factory_in_a_forward() -> None:
    text = FORWARD.format(init="pass", forward="return self.layer(x) * torch.arange(8)")
    finding = only(DeviceMismatch, text)
    assert "torch.arange(8, device=x.device)" in apply(finding)
    assert findings(DeviceMismatch, apply(finding)) == []


@pytest.mark.parametrize(
    "forward",
    [
        "return self.layer(x) * torch.tensor(0.5)",
        "return self.layer(x) + torch.zeros_like(x)",
        "return self.layer(x) + x.new_ones(8)",
        "return self.layer(x) + torch.arange(8).to(x.device)",
        "return self.layer(x) + torch.arange(8, device=self.layer.weight.device)",
    ],
)
def test_factories_that_are_right(forward: str) -> None:
    assert findings(DeviceMismatch, FORWARD.format(init="pass", forward=forward)) == []


def test_a_library_says_nothing_of_devices() -> None:
    text = FORWARD.format(init="self.table = torch.ones(8)", forward="return self.layer(x) * self.table")
    assert findings(UnregisteredTensorAttribute, text.split("net = ")[0]) == []
    finding = only(UnregisteredTensorAttribute, text)
    assert line(finding) == "self.table = torch.ones(8)"
    assert 'self.register_buffer("table", torch.ones(8), persistent=False)' in apply(finding)
    assert findings(UnregisteredTensorAttribute, apply(finding)) == []


def test_a_batch_that_stays() -> None:
    text = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    def main(data):
        net = nn.Linear(8, 2)
        net.to("cuda")
        for x, y in DataLoader(data):
            print(net(x), y)
    """
    finding = only(BatchNotMoved, text)
    assert line(finding) == "print(net(x), y)"
    assert 'x, y = x.to("cuda"), y.to("cuda")' in apply(finding)
    assert findings(BatchNotMoved, apply(finding)) == []


def test_the_number_of_a_batch_is_not_moved() -> None:
    text = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    loader = DataLoader(TensorDataset(torch.randn(8, 3), torch.randn(8, 2)))
    net = nn.Linear(3, 2).to("cuda")
    for number, (x, y) in enumerate(loader):
        print(number, net(x), y)
    """
    fixed = apply(only(BatchNotMoved, text))
    assert 'for number, (x, y) in enumerate(loader):\n    x, y = x.to("cuda"), y.to("cuda")\n' in fixed
    assert findings(BatchNotMoved, fixed) == []


def test_a_clock_that_does_not_wait() -> None:
    text = """
    import time
    import torch
    from torch import nn
    net = nn.Linear(8, 2).cuda()
    x = torch.randn(4, 8, device="cuda")
    start = time.time()
    net(x)
    took = time.time() - start
    """
    finding = only(UnsynchronizedTiming, text)
    assert line(finding) == "took = time.time() - start"
    assert "if torch.cuda.is_available():\n    torch.cuda.synchronize()\ntook = " in apply(finding)
    assert findings(UnsynchronizedTiming, apply(finding)) == []
    assert findings(UnsynchronizedTiming, text.replace(".cuda()", "").replace(', device="cuda"', "")) == []


def test_a_plain_module_has_no_device() -> None:
    text = FORWARD.format(init="pass", forward="return self.layer(x.to(self.layer.device))")
    finding = only(ModuleHasNoDevice, text)
    assert "x.to(next(self.layer.parameters()).device)" in apply(finding)


def test_a_device_is_no_string() -> None:
    text = (
        FORWARD.format(init="pass", forward="return self.layer(x)")
        + 'if out.device == "cuda":\n    out = out.cpu()\n'
    )
    assert 'if out.device.type == "cuda":' in apply(only(ModuleHasNoDevice, text))


def test_another_dtype_than_the_models() -> None:
    text = FORWARD.format(init="pass", forward="return self.layer(x)").replace(
        '.to("cuda")\n', '.to("cuda").half()\n'
    )
    finding = only(InputDtypeNotMatched, text)
    assert 'net(torch.randn(2, 8, device="cuda").to(torch.float16))' in apply(finding)
    assert findings(InputDtypeNotMatched, apply(finding)) == []


def test_cuda_without_a_question() -> None:
    text = FORWARD.format(init="pass", forward="return self.layer(x)")
    found = findings(HardCodedCuda, text)
    assert [line(finding) for finding in found] == [
        'net = Net().to("cuda")',
        'out = net(torch.randn(2, 8, device="cuda"))',
    ]
    assert 'Net().to("cuda" if torch.cuda.is_available() else "cpu")' in apply(found[0])
    assert findings(HardCodedCuda, text, path="tests/test_net.py") == []


WEIGHTED = """
import torch
import torch.nn.functional as F
from torch import nn

class Weighted(nn.Module):
    def __init__(self, shares):
        super().__init__()
        SET

class Focused(Weighted):
    def __init__(self, shares, power=2.0):
        super().__init__(shares)
        self.power = power

    def forward(self, scores, wanted):
        return LOSS

class Training:
    def __init__(self, net, criterion):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net, self.criterion = net.to(self.device), criterion.to(self.device)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def run(self, batches):
        for x, y in batches:
            loss = self.criterion(self.net(x.to(self.device)), y.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

Training(nn.Linear(3, 4), Focused([0.1, 0.9])).run(batches)
"""
LOSSES = [
    "F.cross_entropy(scores, wanted, weight=self.share)",
    "F.cross_entropy(target=wanted, input=scores, weight=self.share)",
    "F.nll_loss(scores.log_softmax(1), wanted, reduction='sum', weight=self.share)",
    "F.binary_cross_entropy_with_logits(scores, wanted.float(), pos_weight=self.share)",
    "F.cross_entropy(scores, wanted, self.share)",
]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("made", ["torch.tensor([1 / s for s in shares])", "torch.ones(4)"])
def test_a_plain_tensor_of_a_base_class_that_a_loss_is_weighted_with(loss: str, made: str) -> None:
    text = WEIGHTED.replace("SET", f"self.share = {made}").replace("LOSS", loss)
    finding = only(UnregisteredTensorAttribute, text)
    assert line(finding) == f"self.share = {made}"
    assert f'self.register_buffer("share", {made}, persistent=False)' in apply(finding)
    assert findings(UnregisteredTensorAttribute, apply(finding)) == []


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "made",
    [
        "self.register_buffer('share', torch.ones(4))",
        "self.share = nn.Parameter(torch.ones(4), requires_grad=False)",
        "self.share = torch.tensor(shares)",  # shares may lie on the GPU
        "self.share = None",
    ],
)
def test_weights_of_a_loss_that_move_along(loss: str, made: str) -> None:
    text = WEIGHTED.replace("SET", made).replace("LOSS", loss).replace("[0.1, 0.9]", "shares")
    assert findings(UnregisteredTensorAttribute, text) == []


def test_weights_that_the_forward_moves() -> None:
    text = WEIGHTED.replace("SET", "self.share = torch.ones(4)").replace(
        "LOSS", "F.cross_entropy(scores, wanted, weight=self.share.to(scores.device))"
    )
    assert findings(UnregisteredTensorAttribute, text) == []


@pytest.mark.parametrize("kind, found", [("nn.Linear", 1), ("nn.Module", 0)])
def test_what_a_test_says_of_a_name_holds_of_the_module_got_by_it(kind: str, found: int) -> None:
    text = f"""
import torch
from torch import nn
net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).to("cuda")
names = [name for name, part in net.named_modules() if isinstance(part, {kind})]
for name in names:
    part = net._modules[name]
    print(part.device)
net(torch.randn(2, 8, device="cuda")).sum().backward()
"""
    assert [line(one) for one in findings(ModuleHasNoDevice, text)] == ["print(part.device)"] * found


@pytest.mark.parametrize(
    "shown", ["tqdm(batches)", "mo.status.progress_bar(batches, title='epoch')", "track(batches)"]
)
def test_what_shows_how_far_a_loop_is_gives_the_batches(shown: str) -> None:
    text = f"""
import marimo as mo
import torch
from rich.progress import track
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm.auto import tqdm
batches = DataLoader(TensorDataset(torch.randn(64, 8), torch.randn(64, 2)), batch_size=8)
net = nn.Linear(8, 2).to("cuda")
for x, y in {shown}:
    net(x).sum().backward()
"""
    assert line(only(BatchNotMoved, text)) == "net(x).sum().backward()"
    moved = text.replace("net(x)", "net(x.to('cuda'))")
    assert findings(BatchNotMoved, moved) == []


AROUND = """
import contextlib, sys, torch
from torch import nn
from torch.cuda.amp import autocast
net = nn.Linear(8, 2).to(device="cuda", dtype=torch.bfloat16)
log = open("log.tsv", "w") if len(sys.argv) > 1 else contextlib.nullcontext(sys.stdout)
with {}:
    for _ in range(10):
        net(torch.randn(4, 8, device="cuda")).sum().backward()
"""


@pytest.mark.parametrize(
    ("context", "found"),
    [
        ("log as out", 1),
        ("torch.set_grad_enabled(len(sys.argv) > 1)", 1),
        ("open('x') as f, torch.profiler.record_function('train')", 1),
        ("autocast(enabled=len(sys.argv) > 1)", 0),
        ("sys.modules['precision'].context()", 0),
    ],
)
def test_a_context_that_leaves_precision_alone(context: str, found: int) -> None:
    assert len(findings(InputDtypeNotMatched, AROUND.format(context))) == found


@pytest.mark.parametrize(("fill", "found"), [("0.5", 1), ("7", 0), ("pad", 0), ("float('-inf')", 1)])
def test_what_a_tensor_is_filled_with_is_its_dtype(fill: str, found: int) -> None:
    text = f"""
import torch
from torch import nn
from settings import pad
net = nn.Linear(8, 2).to(device="cuda", dtype=torch.bfloat16)
net(torch.full((4, 8), {fill}, device="cuda")).sum().backward()
"""
    assert len(findings(InputDtypeNotMatched, text)) == found
