"""The adapters of the split program."""

import torch
from torch import nn


class Delta(nn.Module):
    def __init__(self, takes, gives, rank, alpha):
        super().__init__()
        self.left = nn.Parameter(torch.randn(takes, rank) * 0.1)
        self.right = nn.Parameter(torch.zeros(rank, gives))
        self.scale = alpha / rank

    def forward(self, x):
        return x @ self.left @ self.right * self.scale


class Adapted(nn.Module):
    def __init__(self, layer, rank=4, alpha=2):
        super().__init__()
        self.layer = layer
        self.delta = Delta(layer.in_features, layer.out_features, rank, alpha)

    def forward(self, x):
        return self.layer(x) + self.delta(x)


def freeze(model):
    for p in model.parameters():
        p.requires_grad_(False)


def inject(model, device):
    for name in ("q_proj", "v_proj"):
        layer = getattr(model, name)
        setattr(model, name, Adapted(layer).to(device))
    return model
