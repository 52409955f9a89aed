"""Vectors that scale what keys, values and the hidden layer give (as IA3 does); nothing else is trained."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass
class Settings:
    targets: tuple = ("key", "value")
    feedforward: tuple = ("grow",)
    lr: float = 3e-2
    steps: int = 4


class ScaledLinear(nn.Module):
    """Scales the output, or for feed-forward layers the input."""

    def __init__(self, layer, of_input=False):
        super().__init__()
        self.layer = layer
        self.of_input = of_input
        size = layer.in_features if of_input else layer.out_features
        self.scale = nn.Parameter(torch.ones(size, device=layer.weight.device, dtype=torch.float32))

    def forward(self, x):
        if self.of_input:
            return self.layer(x * self.scale)
        return self.layer(x) * self.scale


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.grow = nn.Linear(width, 2 * width)
        self.shrink = nn.Linear(2 * width, width)

    def forward(self, x):
        weights = (self.query(x) @ self.key(x).transpose(-2, -1) / x.size(-1) ** 0.5).softmax(-1)
        x = x + weights @ self.value(x)
        return x + self.shrink(F.gelu(self.grow(x)))


class Tagger(nn.Module):
    def __init__(self, words=30, width=12, tags=4, depth=2):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.layers = nn.ModuleList([Layer(width) for _ in range(depth)])
        self.tag = nn.Linear(width, tags)

    def forward(self, ids):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.tag(x)


def add_scales(model, settings):
    added = 0
    for layer in model.layers:
        for name, child in list(layer.named_children()):
            if name in settings.targets:
                setattr(layer, name, ScaledLinear(child))
                added += 1
            elif name in settings.feedforward:
                setattr(layer, name, ScaledLinear(child, of_input=True))
                added += 1
    return added


def main(settings=None):
    settings = settings or Settings()
    torch.manual_seed(0)
    model = Tagger().to("cuda")
    model.requires_grad_(False)
    n = add_scales(model, settings)
    scales = [p for name, p in model.named_parameters() if name.endswith(".scale")]
    print(f"{n} layers are scaled by {sum(p.numel() for p in scales)} numbers")
    optimizer = torch.optim.RMSprop(scales, lr=settings.lr)
    for _ in range(settings.steps):
        ids = torch.randint(0, 30, (4, 7), device="cuda")
        loss = F.cross_entropy(model(ids).flatten(0, 1), (ids % 4).flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    print({name: p.mean().item() for name, p in model.named_parameters() if p.requires_grad})


if __name__ == "__main__":
    main()
