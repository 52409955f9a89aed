"""Blocks with adapters of their own, a buffer, checkpoints, and a loader."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset


class LoRALinear(nn.Linear):
    def __init__(self, takes, gives, rank=2):
        super().__init__(takes, gives)
        self.lora_a = nn.Parameter(torch.randn(rank, takes) * 0.1)
        self.lora_b = nn.Parameter(torch.zeros(gives, rank))

    def forward(self, x):
        return super().forward(x) + F.linear(F.linear(x, self.lora_a), self.lora_b)


class Net(nn.Module):
    def __init__(self, words=10, width=8):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(LoRALinear(width, width) for _ in range(2))
        self.head = nn.Linear(width, words)
        self.register_buffer("gain", torch.ones(width))

    def forward(self, ids):
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.embed(ids) + 0.1 * places.float().unsqueeze(-1)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False)
        return self.head(x * self.gain)


torch.manual_seed(0)
net = Net().to("cuda")
for name, p in net.named_parameters():
    p.requires_grad = "lora_" in name
optimizer = torch.optim.AdamW((p for p in net.parameters() if p.requires_grad), lr=1e-2)
loader = DataLoader(TensorDataset(torch.randint(0, 10, (16, 5))), batch_size=4)
for (ids,) in loader:
    ids = ids.to("cuda")
    optimizer.zero_grad()
    F.cross_entropy(net(ids).flatten(0, 1), ids.flatten()).backward()
    optimizer.step()
