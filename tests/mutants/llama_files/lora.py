"""Low rank adapters for any linear layer."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class LoRASpec:
    r: int = 4
    alpha: float = 8.0
    targets: tuple = ("q_proj", "v_proj", "down_proj")


class LoRALinear(nn.Module):
    def __init__(self, linear: nn.Linear, spec: LoRASpec):
        super().__init__()
        self.linear = linear
        device = linear.weight.device
        self.A = nn.Linear(linear.in_features, spec.r, bias=False, device=device, dtype=torch.float32)
        self.B = nn.Linear(spec.r, linear.out_features, bias=False, device=device, dtype=torch.float32)
        nn.init.normal_(self.A.weight, std=1 / spec.r)
        nn.init.zeros_(self.B.weight)
        self.scale = spec.alpha / spec.r

    def forward(self, x):
        y = self.linear(x)
        delta = self.B(self.A(x.float())) * self.scale
        return y + delta.to(y.dtype)


def inject(model: nn.Module, spec: LoRASpec) -> int:
    count = 0
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and name in spec.targets:
                setattr(module, name, LoRALinear(child, spec))
                count += 1
    return count


def lora_parameters(model):
    for module in model.modules():
        if isinstance(module, LoRALinear):
            yield from module.A.parameters()
            yield from module.B.parameters()
