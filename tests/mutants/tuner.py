"""A class that loads in FP16, freezes, injects and trains with a scaler."""

import torch
from torch import nn
from torch.nn import functional as F


class Wrapped(nn.Module):
    def __init__(self, linear, rank):
        super().__init__()
        self.linear = linear
        where = linear.weight.device
        self.a = nn.Parameter(torch.randn(rank, linear.in_features, dtype=torch.float32, device=where))
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank, dtype=torch.float32, device=where))

    def forward(self, x):
        result = self.linear(x)
        delta = F.linear(F.linear(x.to(self.a.dtype), self.a), self.b)
        return result + delta.to(result.dtype)


class Tuner:
    def __init__(self, net, rank=2):
        self.net = net.half().to("cuda")
        self.freeze()
        self.inject(rank)
        self.optimizer = torch.optim.AdamW([p for p in self.net.parameters() if p.requires_grad], lr=1e-3)
        self.scaler = torch.amp.GradScaler("cuda")

    def freeze(self):
        for p in self.net.parameters():
            p.requires_grad = False

    def inject(self, rank):
        for name, child in list(self.net.named_children()):
            if isinstance(child, nn.Linear):
                setattr(self.net, name, Wrapped(child, rank))

    def step(self, x, y):
        logits = self.net(x.half())
        loss = F.cross_entropy(logits.float(), y)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()


if __name__ == "__main__":
    torch.manual_seed(0)
    tuner = Tuner(nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)))
    for _ in range(4):
        tuner.step(torch.randn(8, 6, device="cuda"), torch.randint(0, 3, (8,), device="cuda"))
