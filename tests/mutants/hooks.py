"""Adapters kept beside a frozen model, applied by hooks."""

import torch
from torch import nn
from torch.nn import functional as F


class Adapter(nn.Module):
    def __init__(self, takes, gives, rank=2):
        super().__init__()
        self.down = nn.Linear(takes, rank, bias=False)
        self.up = nn.Linear(rank, gives, bias=False)
        nn.init.normal_(self.down.weight, std=0.1)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.up(self.down(x))


class Tuned(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.model.requires_grad_(False)
        self.adapters = nn.ModuleList()
        for layer in model:
            if isinstance(layer, nn.Linear):
                adapter = Adapter(layer.in_features, layer.out_features)
                self.adapters.append(adapter)

                def add(_module, inputs, output, adapter=adapter):
                    return output + adapter(inputs[0])

                layer.register_forward_hook(add)

    def forward(self, x):
        return self.model(x)


def main():
    torch.manual_seed(0)
    tuned = Tuned(nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)))
    tuned.to("cuda")
    optimizer = torch.optim.SGD([p for p in tuned.parameters() if p.requires_grad], lr=0.1)
    for _ in range(4):
        x = torch.randn(8, 6, device="cuda")
        y = torch.randint(0, 3, (8,), device="cuda")
        optimizer.zero_grad()
        F.cross_entropy(tuned(x), y).backward()
        optimizer.step()


if __name__ == "__main__":
    main()
