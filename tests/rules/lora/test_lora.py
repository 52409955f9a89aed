"""What the rules of section 12 say, where they stand, and what their fixes make of the code."""

from __future__ import annotations

import textwrap

import pytest
from qalint_rules.lora.application import AdapterNeverApplied
from qalint_rules.lora.casting import AdapterInputNotCast, AdapterOutputNotRestored
from qalint_rules.lora.dimensions import LinearOnlyInjection, SwappedConv1dDimensions, UncheckedLayerType
from qalint_rules.lora.freezing import AdapterLeavesExtraTrainable, BaseModelNotFrozen, FreezeAfterInjection
from qalint_rules.lora.late_binding import LateBoundForward
from qalint_rules.lora.learning import InertAdapter
from qalint_rules.lora.optimizing import EmptyOptimizer, OptimizerBeforeInjection
from qalint_rules.lora.placement import AdapterNotFp32, AdapterOnWrongDevice
from qalint_rules.lora.registration import NonLeafParameter, UnregisteredAdapter
from qalint_rules.lora.walking import InjectionWhileIterating

from qalint.rule import Finding, Rule
from qalint.testing import apply, findings

ADAPTER = """
import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

class Adapter(nn.Module):
    def __init__(self, layer, rank=4):
        super().__init__()
        self.layer = layer
        self.down = nn.Parameter(torch.randn(layer.in_features, rank) * 0.02)
        self.up = nn.Parameter(torch.zeros(rank, layer.out_features))

    def forward(self, x):
        return self.layer(x) + x @ self.down @ self.up

def inject(model):
    for block in model.model.layers:
        block.self_attn.q_proj = Adapter(block.self_attn.q_proj)
"""
LLAMA = "meta-llama/Llama-3.2-1B"


def program(body: str) -> str:
    return ADAPTER + textwrap.dedent(body)


def only(rule: type[Rule], text: str) -> Finding:
    found = findings(rule, text)
    assert len(found) == 1, found
    return found[0]


def line(finding: Finding) -> str:
    source = finding.place.source
    return source.line(source.location(finding.place.start).row).strip()


def texts(finding: Finding) -> list[str]:
    """The lines of the related places."""
    return [
        item.place.source.line(item.place.source.location(item.place.start).row).strip()
        for item in finding.related
    ]


def test_swapped_indices_are_swapped_back() -> None:
    text = """
    import torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    class Low(nn.Module):
        def __init__(self, takes, gives, r):
            super().__init__()
            self.a = nn.Linear(takes, r, bias=False)
            self.b = nn.Linear(r, gives, bias=False)

        def forward(self, x):
            return self.b(self.a(x))

    def make(layer: nn.Module):
        if isinstance(layer, Conv1D):
            one = layer.weight.shape[1]
            two = layer.weight.shape[0]
            return Low(one, two, 4)
        return Low(layer.in_features, layer.out_features, 4)
    """
    finding = only(SwappedConv1dDimensions, text)
    assert line(finding) == "one = layer.weight.shape[1]"
    assert "Conv1D stores (in, out)" in finding.message
    assert "one = layer.weight.shape[0]" in apply(finding)
    assert "two = layer.weight.shape[1]" in apply(finding)


def test_swapped_names_are_swapped_back() -> None:
    text = """
    from transformers.pytorch_utils import Conv1D

    def sizes(layer):
        if type(layer).__name__ == "Conv1D":
            out_features, in_features = layer.weight.shape
        else:
            out_features, in_features = layer.weight.shape
        return in_features, out_features
    """
    finding = only(SwappedConv1dDimensions, text)
    assert "in_features, out_features = layer.weight.shape\n    else:" in apply(finding)


@pytest.mark.parametrize(
    "test", ['hasattr(layer, "nf")', "isinstance(layer, Conv1D)", 'layer.__class__.__name__ == "Conv1D"']
)
def test_the_right_order_is_left_alone(test: str) -> None:
    text = f"""
    from transformers.pytorch_utils import Conv1D

    def sizes(layer):
        if {test}:
            in_features, out_features = layer.weight.shape
        else:
            out_features, in_features = layer.weight.shape
        return in_features, out_features
    """
    assert findings(SwappedConv1dDimensions, text) == []


def test_only_linear_in_a_gpt2() -> None:
    text = program("""
        model = AutoModelForCausalLM.from_pretrained("gpt2")
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear) and name == "c_attn":
                    setattr(parent, name, Adapter(child))
        """)
    finding = only(LinearOnlyInjection, text)
    assert line(finding) == 'if isinstance(child, nn.Linear) and name == "c_attn":'
    assert "`model` is a GPT-2" in finding.message
    assert 'model = AutoModelForCausalLM.from_pretrained("gpt2")' in texts(finding)
    assert (
        findings(LinearOnlyInjection, text.replace('"gpt2"', f'"{LLAMA}"').replace("c_attn", "q_proj")) == []
    )


def test_a_conv1d_of_the_program_is_let_in_by_its_own_name() -> None:
    text = """
    import torch
    from torch import nn

    class Conv1D(nn.Module):
        def __init__(self, gives, takes):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(takes, gives))
        def forward(self, x):
            return x @ self.weight

    class Side(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer
            first, second = layer.weight.shape
            takes, gives = (first, second) if isinstance(layer, Conv1D) else (second, first)
            self.a = nn.Parameter(torch.randn(takes, 2))
            self.b = nn.Parameter(torch.zeros(2, gives))
        def forward(self, x):
            return self.layer(x) + x @ self.a @ self.b

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.c_attn = Conv1D(24, 8)
            self.c_fc = nn.Linear(24, 8)
        def forward(self, x):
            return self.c_fc(self.c_attn(x))

    net = Net()
    net.requires_grad_(False)
    for name, child in list(net.named_modules()):
        if name in ("c_attn", "c_fc") and isinstance(child, nn.Linear):
            setattr(net, name, Side(child))
    """
    fixed = apply(only(LinearOnlyInjection, text))
    assert "isinstance(child, (nn.Linear, Conv1D))" in fixed
    assert "transformers" not in fixed


def test_in_features_of_a_conv1d() -> None:
    text = program("""
        model = AutoModelForCausalLM.from_pretrained("gpt2")
        for block in model.transformer.h:
            block.attn.c_attn = Adapter(block.attn.c_attn)
        """)
    assert "layer.in_features" in line(only(UncheckedLayerType, text))


def test_nothing_is_frozen() -> None:
    text = program(f"""
        def main():
            net = AutoModelForCausalLM.from_pretrained("{LLAMA}")
            inject(net)
            return torch.optim.AdamW(net.parameters())

        main()
        """)
    finding = only(BaseModelNotFrozen, text)
    assert line(finding) == "inject(net)"
    assert "`net`" in finding.message
    assert texts(finding) == ["return torch.optim.AdamW(net.parameters())"]
    assert "    net.requires_grad_(False)\n    inject(net)" in apply(finding)


@pytest.mark.parametrize(
    "freeze",
    [
        "net.requires_grad_(False)",
        "for p in net.parameters(): p.requires_grad = False",
        "[p.requires_grad_(False) for p in net.parameters()]",
        "for _, p in net.named_parameters(): p.requires_grad_(False)",
        "net.apply(lambda module: module.requires_grad_(False))",
    ],
)
def test_every_way_to_freeze(freeze: str) -> None:
    text = program(f"""
        net = AutoModelForCausalLM.from_pretrained("{LLAMA}")
        {freeze}
        inject(net)
        optimizer = torch.optim.AdamW(p for p in net.parameters() if p.requires_grad)
        """)
    for rule in (BaseModelNotFrozen, FreezeAfterInjection, EmptyOptimizer, AdapterLeavesExtraTrainable):
        assert findings(rule, text) == []


def test_only_the_adapters_are_optimised_without_a_freeze() -> None:
    text = program(f"""
        net = AutoModelForCausalLM.from_pretrained("{LLAMA}")
        inject(net)
        chosen = [p for n, p in net.named_parameters() if n.endswith(("down", "up"))]
        optimizer = torch.optim.AdamW(chosen)
        """)
    assert only(BaseModelNotFrozen, text).severity.value == "medium"


def test_freeze_after_injection_moves_first() -> None:
    text = program(f"""
        net = AutoModelForCausalLM.from_pretrained("{LLAMA}")
        inject(net)
        for p in net.parameters():
            p.requires_grad = False
        optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad])
        """)
    finding = only(FreezeAfterInjection, text)
    assert line(finding) == "p.requires_grad = False"
    assert "inject(net)" in texts(finding)
    fixed = apply(finding)
    assert fixed.index("p.requires_grad = False") < fixed.index("\ninject(net)")
    assert findings(FreezeAfterInjection, fixed) == []


def test_exclusive_guards_are_no_order() -> None:
    text = program(f"""
        def build(lora):
            net = AutoModelForCausalLM.from_pretrained("{LLAMA}")
            if lora:
                net.requires_grad_(False)
                inject(net)
            if not lora:
                net.requires_grad_(False)
                net.lm_head.requires_grad_(True)
            return torch.optim.AdamW([p for p in net.parameters() if p.requires_grad])
        """)
    assert findings(FreezeAfterInjection, text) == []


@pytest.mark.parametrize("more", ["", "self.learner = torch.optim.SGD(net.parameters(), lr=0.1)"])
def test_what_does_more_than_to_freeze_is_not_moved(more: str) -> None:
    text = program(f"""
        class Fit:
            def __init__(self, net):
                self.net = net
                for weight in net.parameters():
                    weight.requires_grad = False
                {more}
        net = AutoModelForCausalLM.from_pretrained("{LLAMA}")
        inject(net)
        fit = Fit(net)
        learner = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
        """)
    finding = only(FreezeAfterInjection, text)
    assert line(finding) == "fit = Fit(net)"
    assert (finding.fix is None) == bool(more)


def test_optimizer_before_injection() -> None:
    text = program(f"""
        net = AutoModelForCausalLM.from_pretrained("{LLAMA}")
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        inject(net)
        """)
    finding = only(OptimizerBeforeInjection, text)
    assert line(finding).startswith("optimizer = ")
    fixed = apply(finding)
    assert fixed.index("\ninject(net)") < fixed.index("optimizer = ")
    assert findings(OptimizerBeforeInjection, fixed) == []


def test_an_optimizer_over_a_list_from_before_is_not_moved_alone() -> None:
    text = program(f"""
        net = AutoModelForCausalLM.from_pretrained("{LLAMA}")
        tuned = [p for p in net.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(tuned, lr=0.1)
        inject(net)
        """)
    finding = only(OptimizerBeforeInjection, text)
    assert line(finding).startswith("optimizer = ")
    assert finding.fix is None


def test_an_empty_list_of_parameters() -> None:
    assert "empty" in only(EmptyOptimizer, "import torch\nopt = torch.optim.SGD([], lr=1)\n").message
    filled = """
    import torch
    def build(model, fill):
        chosen = []
        fill(model, chosen)
        return torch.optim.SGD(chosen, lr=1)
    """
    assert findings(EmptyOptimizer, filled) == []


def test_a_plain_list_becomes_a_module_list() -> None:
    text = program("""
        class Bank(nn.Module):
            def __init__(self, layers):
                super().__init__()
                self.bank = []
                for layer in layers:
                    self.bank.append(Adapter(layer))
        """)
    finding = only(UnregisteredAdapter, text)
    assert line(finding) == "self.bank = []"
    assert "`bank` is a plain list" in finding.message and "`Bank`" in finding.message
    assert "self.bank = nn.ModuleList()" in apply(finding)


def test_fp16_of_the_base_is_made_fp32() -> None:
    text = program(f"""
        net = AutoModelForCausalLM.from_pretrained("{LLAMA}", dtype=torch.float16)
        net.requires_grad_(False)
        for block in net.model.layers:
            layer = block.self_attn.v_proj
            block.self_attn.v_proj = Adapter(layer).to(layer.weight.dtype)
        optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad])
        """)
    finding = only(AdapterNotFp32, text)
    assert line(finding).startswith("block.self_attn.v_proj = ")
    assert "Adapter(layer).to(torch.float32)" in apply(finding)
    assert findings(AdapterNotFp32, text.replace("float16", "bfloat16")) == []


def test_an_adapter_left_on_the_cpu() -> None:
    text = program(f"""
        net = AutoModelForCausalLM.from_pretrained("{LLAMA}").to("cuda")
        net.requires_grad_(False)
        for block in net.model.layers:
            block.self_attn.q_proj = Adapter(block.self_attn.q_proj)
        """)
    finding = only(AdapterOnWrongDevice, text)
    assert "Adapter(block.self_attn.q_proj).to(block.self_attn.q_proj.weight.device)" in apply(finding)
    assert findings(AdapterOnWrongDevice, text + 'net.to("cuda")\n') == []
    assert findings(AdapterOnWrongDevice, text.replace('"cuda"', '"cpu"')) == []


HALF = f"""
net = AutoModelForCausalLM.from_pretrained("{LLAMA}").half()
net.requires_grad_(False)
inject(net)
out = net(torch.zeros(1, 8, dtype=torch.long))
"""


def test_an_fp16_input_meets_fp32_matrices() -> None:
    finding = only(AdapterInputNotCast, program(HALF))
    assert line(finding) == "return self.layer(x) + x @ self.down @ self.up"
    assert "net = AutoModelForCausalLM" in " ".join(texts(finding))
    assert "x.to(self.down.dtype) @ self.down @ self.up" in apply(finding)
    assert only(AdapterOutputNotRestored, apply(finding))


def test_autocast_needs_no_cast() -> None:
    text = program(
        HALF.replace("out = net", 'with torch.autocast("cuda", dtype=torch.float16):\n    out = net')
    )
    assert findings(AdapterInputNotCast, text) == []


def test_the_result_is_cast_back() -> None:
    text = program(HALF).replace("x @ self.down @ self.up", "x.float() @ self.down @ self.up")
    finding = only(AdapterOutputNotRestored, text)
    assert "(x.float() @ self.down @ self.up).to(x.dtype)" in apply(finding)
    assert findings(AdapterOutputNotRestored, apply(finding)) == []


def test_an_attribute_that_nobody_reads() -> None:
    text = program(f"""
        net = AutoModelForCausalLM.from_pretrained("{LLAMA}")
        for name, layer in list(net.named_modules()):
            if isinstance(layer, nn.Linear):
                layer.extra = Low(layer)
        optimizer = torch.optim.AdamW(net.parameters())
        """).replace("def inject", LOW + "\ndef inject")
    finding = only(AdapterNeverApplied, text)
    assert line(finding) == "layer.extra = Low(layer)"
    assert "`extra`" in finding.message
    used = text + "\ndef hook(module, args, output):\n    return output + module.extra(args[0])\n"
    assert findings(AdapterNeverApplied, used) == []


LOW = """
class Low(nn.Module):
    def __init__(self, layer, rank=4):
        super().__init__()
        self.a = nn.Linear(layer.in_features, rank, bias=False)
        self.b = nn.Linear(rank, layer.out_features, bias=False)

    def forward(self, x):
        return self.b(self.a(x))
"""


def test_a_walk_that_meets_what_it_makes() -> None:
    text = program(f"""
        net = AutoModelForCausalLM.from_pretrained("{LLAMA}")
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                layer.extra = Low(layer)
        """).replace("def inject", LOW + "\ndef inject")
    finding = only(InjectionWhileIterating, text)
    assert "for layer in list(net.modules()):" in apply(finding)
    assert findings(InjectionWhileIterating, apply(finding)) == []


def test_closures_get_their_names_as_defaults() -> None:
    text = """
    import torch
    def patch(layers, sides):
        for layer, side in zip(layers, sides):
            plain = layer.forward
            layer.forward = lambda x: plain(x) + side(x)
    """
    finding = only(LateBoundForward, text)
    assert "`plain`, `side`" in finding.message
    assert "lambda x, plain=plain, side=side: plain(x) + side(x)" in apply(finding)
    assert findings(LateBoundForward, apply(finding)) == []


def test_a_floor_division_becomes_a_division() -> None:
    text = """
    import torch
    from torch import nn
    class LoRA(nn.Module):
        def __init__(self, width, r, alpha):
            super().__init__()
            self.a = nn.Parameter(torch.randn(width, r))
            self.b = nn.Parameter(torch.zeros(r, width))
            self.scale = alpha // r

        def forward(self, x):
            return (x @ self.a @ self.b) * self.scale
    """
    finding = only(InertAdapter, text)
    assert "self.scale = alpha / r" in apply(finding)
    zero = only(InertAdapter, apply(finding).replace("randn", "zeros"))
    assert line(zero) == "self.b = nn.Parameter(torch.zeros(r, width))"
    assert texts(zero) == ["self.a = nn.Parameter(torch.zeros(width, r))"]


def test_the_conversion_moves_inside_the_parameter() -> None:
    text = """
    import torch
    from torch import nn
    class M(nn.Module):
        def __init__(self, device):
            super().__init__()
            self.w = nn.Parameter(torch.randn(3) * 0.1, requires_grad=True).to(device)  # here
    """
    finding = only(NonLeafParameter, text)
    assert "self.w = nn.Parameter((torch.randn(3) * 0.1).to(device), requires_grad=True)  # here" in apply(
        finding
    )


def test_a_list_that_hides_the_base_of_registered_adapters() -> None:
    text = """
    import torch
    from torch import nn

    class Adapter(nn.Module):
        def __init__(self, base, rank=4):
            super().__init__()
            self.base = [base]
            self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
            self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
            self.plain = base.forward
            base.forward = self.forward
        def forward(self, x):
            return self.plain(x) + x @ self.lora_A.T @ self.lora_B.T

    class Tuned(nn.Module):
        def __init__(self, net):
            super().__init__()
            for p in net.parameters():
                p.requires_grad = False
            self._net = [net]
            self.adapters = nn.ModuleList()
            for module in list(net.modules()):
                if isinstance(module, nn.Linear):
                    self.adapters.append(Adapter(module))
        def forward(self, x):
            return self._net[0](x)

    tuned = Tuned(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)))
    optimizer = torch.optim.AdamW(tuned.parameters(), lr=1e-3)
    """
    assert findings(UnregisteredAdapter, text) == []


def test_the_freeze_goes_before_the_loop_that_injects() -> None:
    text = program("""
    lm = AutoModelForCausalLM.from_pretrained("facebook/opt-125m")
    for parent in list(lm.modules()):
        for name, layer in list(parent.named_children()):
            if name == "q_proj":
                setattr(parent, name, Adapter(layer))
    optimizer = torch.optim.AdamW(lm.parameters(), lr=1e-4)
    """)
    fixed = apply(only(BaseModelNotFrozen, text))
    assert "lm.requires_grad_(False)\nfor parent in list(lm.modules()):" in fixed


def test_both_matrices_become_fp32_together() -> None:
    text = """
    import torch
    from torch import nn
    from transformers import AutoModelForCausalLM

    class Side(nn.Module):
        def __init__(self, layer, rank=4):
            super().__init__()
            self.layer = layer
            self.a = nn.Parameter(torch.randn(layer.in_features, rank, dtype=layer.weight.dtype))
            self.b = nn.Parameter(torch.zeros(rank, layer.out_features, dtype=layer.weight.dtype))
        def forward(self, x):
            return self.layer(x) + (x.to(self.a.dtype) @ self.a @ self.b).to(x.dtype)

    lm = AutoModelForCausalLM.from_pretrained("facebook/opt-125m", torch_dtype=torch.float16)
    lm.requires_grad_(False)
    for layer in lm.model.decoder.layers:
        layer.self_attn.q_proj = Side(layer.self_attn.q_proj)
    optimizer = torch.optim.AdamW([p for p in lm.parameters() if p.requires_grad])
    """
    first, second = findings(AdapterNotFp32, text)
    assert apply(first) == apply(second)
    assert apply(first).count("dtype=torch.float32") == 2


def test_wrong_names_of_a_gpt2_are_fixed_with_the_flag_that_its_layers_need() -> None:
    from qalint_rules.gpu.layer_names import WrongLayerNames

    text = """
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained("gpt2")
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    """
    fixed = apply(only(WrongLayerNames, text))
    assert 'target_modules=["c_attn", "c_proj"], fan_in_fan_out=True' in fixed


@pytest.mark.parametrize("cast", [".half()", ".to(torch.float16)"])
def test_a_parameter_is_not_made_fp16_by_a_fix(cast: str) -> None:
    text = f"""
    import torch
    from torch import nn
    class Low(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.randn(4, 2)){cast}
            self.b = nn.Parameter(torch.zeros(2, 4))
        def forward(self, x):
            return x @ self.a @ self.b
    """
    finding = only(NonLeafParameter, text)
    assert line(finding).startswith("self.a = ")
    assert finding.fix is None


def test_an_adapter_of_a_whole_block_goes_where_its_parameters_are() -> None:
    text = """
    import torch
    from torch import nn
    class After(nn.Module):
        def __init__(self, layer, width):
            super().__init__()
            self.layer = layer
            self.down = nn.Linear(width, 2, bias=False)
            self.up = nn.Linear(2, width, bias=False)
            nn.init.zeros_(self.up.weight)
        def forward(self, x):
            x = self.layer(x)
            return x + self.up(self.down(x))
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(8, 2) for _ in range(2)])
        def adapt(self):
            self.blocks = nn.ModuleList([After(block, 8) for block in self.blocks])
        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x
    net = Encoder().to("cuda")
    net.requires_grad_(False)
    net.adapt()
    learner = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    net(torch.randn(2, 3, 8, device="cuda")).mean().backward()
    """
    fixed = apply(only(AdapterOnWrongDevice, text))
    assert "weight.device" not in fixed
    assert ".parameters()).device)" in fixed
    assert findings(AdapterOnWrongDevice, fixed) == []


def test_the_optimizer_moves_past_what_is_made_trainable_after_the_injection() -> None:
    text = """
import torch
from torch import nn

class Slim(nn.Module):
    def __init__(self, layer, inner=2):
        super().__init__()
        self.layer = layer
        self.shrink = nn.Parameter(torch.randn(layer.in_features, inner))
        self.grow = nn.Parameter(torch.zeros(inner, layer.out_features))

    def forward(self, x):
        return self.layer(x) + x @ self.shrink @ self.grow

net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2))
net.requires_grad_(False)
learner = torch.optim.SGD([p for p in net.parameters() if p.requires_grad or p.ndim < 2], lr=0.1)
net[0] = Slim(net[0])
print("adapted")
net[2].requires_grad_(True)
net.train()
for _ in range(2):
    net(torch.randn(4, 8)).sum().backward()
    learner.step()
"""
    fixed = apply(only(OptimizerBeforeInjection, text)).splitlines()
    at = next(number for number, line in enumerate(fixed) if line.startswith("learner ="))
    assert fixed[at - 1] == "net[2].requires_grad_(True)"
    assert fixed[at + 1] == "net.train()"


SCHOOL = """
import torch

class School:
    def __init__(self, net):
        self.net = net
        for weight in self.net.parameters():
            weight.requires_grad = False
        self.extend()
        self.learner = torch.optim.SGD([w for w in self.net.parameters() if w.requires_grad], lr=0.1)

    def extend(self):
        {}

    def teach(self, rows):
        for row in rows:
            self.net(row).mean().backward()
            self.learner.step()
"""


@pytest.mark.parametrize(
    ("body", "use", "count"),
    [
        ('"""What a class derived from this one adds."""', "", 0),
        ("pass", "", 0),
        ('print("nothing to add")', "", 1),
        ("pass", "School(torch.nn.Linear(4, 4)).teach([torch.ones(4)])", 1),
    ],
)
def test_a_method_that_is_left_empty_may_be_filled_by_a_subclass(body: str, use: str, count: int) -> None:
    assert len(findings(EmptyOptimizer, SCHOOL.format(body) + use)) == count


TOWER = """
import torch
from torch import nn
from transformers import CLIPModel

class Beside(nn.Module):
    def __init__(self, layer, width):
        super().__init__()
        self.layer = layer
        self.down = nn.Linear(width, 8, bias=False)
        self.up = nn.Linear(8, width, bias=False)

    def forward(self, x):
        return self.layer(x) + self.up(self.down(x))

tower = CLIPModel.from_pretrained("openai/clip-vit-base-patch32")
for block in tower.vision_model.encoder.layers:
    block.mlp = Beside(block.mlp, 768)
{}
learner = torch.optim.AdamW(tower.parameters(), lr=1e-4)
(tower.get_image_features(pixels) * tower.logit_scale.{}()).mean().backward()
learner.step()
"""


@pytest.mark.parametrize(
    ("before", "method", "count"),
    [
        ("scale = tower.logit_scale.exp()", "detach", 1),
        ("scale = tower.vision_model.prepared()", "exp", 0),
        ("scale = tower.exp()", "exp", 0),
    ],
)
def test_a_number_made_of_a_parameter_leaves_the_model_alone(before: str, method: str, count: int) -> None:
    text = TOWER.format(before, method).replace(
        "tower.get_image_features(pixels)", "tower(pixels).image_embeds"
    )
    assert len(findings(BaseModelNotFrozen, text)) == count


NUMBERED = """
import torch
from torch import nn

class Four(nn.Module):
    def __init__(self, layer, one, two):
        super().__init__()
        self.layer = layer
        self.one, self.two = one, two

    def forward(self, x):
        return self.layer(x) + self.two(self.one(x))

net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
{}
made = [nn.Linear(8, 2) if number % 2 == 0 else nn.Linear(2, 8) for number in range(2)]
net[0] = Four(net[0], *made)
{}
learner = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
net(torch.randn(4, 8)).sum().backward()
learner.step()
"""


@pytest.mark.parametrize(("at", "count"), [(1, 1), (0, 0)])
def test_which_of_a_few_numbers_decides_what_a_list_holds(at: int, count: int) -> None:
    places = ["", ""]
    places[at] = "net.requires_grad_(False)"
    assert len(findings(FreezeAfterInjection, NUMBERED.format(*places))) == count


BLOCKS = """
import torch
from torch import nn

class Deep(nn.Module):
    def __init__(self, wide=32, inner={}):
        super().__init__()
        self.first = nn.Linear(8, wide)
        self.rest = nn.ModuleList(
            nn.Sequential(nn.Linear(wide, inner), nn.Identity(), nn.Linear(inner, wide)) for _ in range(3)
        )

    def forward(self, x):
        x = self.first(x)
        for part in self.rest:
            x = x + part(x)
        return x

net = Deep().cuda()
net = net.to(torch.float16)
learner = torch.optim.AdamW(net.parameters())
net(torch.randn(4, 8, device="cuda").half()).mean().backward()
learner.step()
"""


@pytest.mark.parametrize(("inner", "count"), [("2", 1), ("32", 0)])
def test_layers_of_one_width_are_no_adapters(inner: str, count: int) -> None:
    assert len(findings(AdapterNotFp32, BLOCKS.format(inner))) == count
