"""Weights split into length and direction: both are learned, the direction by two small matrices."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class DoRALinear(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        weight = linear.weight
        self.A = nn.Parameter(weight.new_empty(rank, linear.in_features))
        self.B = nn.Parameter(weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        self.m = nn.Parameter(weight.detach().norm(p=2, dim=1, keepdim=True))
        self.scaling = alpha / rank

    def forward(self, x):
        direction = self.linear.weight + self.scaling * (self.B @ self.A)
        length = direction.norm(p=2, dim=1, keepdim=True).detach()
        return F.linear(x, self.m * direction / length, self.linear.bias)


class Regressor(nn.Module):
    def __init__(self, inputs=6, width=16):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(inputs, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
        )
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(self.body(x)).squeeze(-1)


def freeze(module):
    for parameter in module.parameters():
        parameter.requires_grad_(False)


def adapt(model, rank=2, alpha=4.0):
    for i, layer in enumerate(model.body):
        if isinstance(layer, nn.Linear):
            model.body[i] = DoRALinear(layer, rank, alpha)
    return model


def groups_of(model, lr):
    lengths = [p for n, p in model.named_parameters() if p.requires_grad and n.endswith(".m")]
    rest = [p for n, p in model.named_parameters() if p.requires_grad and not n.endswith(".m")]
    return [{"params": lengths, "lr": lr / 10}, {"params": rest, "lr": lr}]


def run(device="cuda", epochs=4):
    torch.manual_seed(4)
    model = Regressor().to(device)
    freeze(model)
    model = adapt(model)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{trainable} of {sum(p.numel() for p in model.parameters())}")
    optimizer = torch.optim.AdamW(groups_of(model, 1e-2), weight_decay=0.0)
    x = torch.randn(32, 6, device=device)
    y = x.sin().sum(1)
    for _ in range(epochs):
        model.train()
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    return loss.item()


if __name__ == "__main__":
    print(run())
