"""A wrapper takes the place of each layer of a frozen model of two layer types."""

import torch
from torch import nn
from torch.nn import functional as F

TARGETS = ("c_attn", "c_fc")


class Conv1D(nn.Module):
    """GPT-2's layer: the weight is stored as (in, out)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf) * 0.1)

    def forward(self, x):
        return x @ self.weight


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_attn = Conv1D(2 * width, width)
        self.c_fc = nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.c_fc(torch.tanh(self.c_attn(x)))


class Net(nn.Module):
    def __init__(self, words=12, width=8):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))
        self.head = nn.Linear(width, words)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class LoRA(nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer = layer
        if isinstance(layer, Conv1D):
            size_in, size_out = layer.weight.shape
        else:
            size_out, size_in = layer.weight.shape
        self.lora_a = nn.Parameter(torch.randn(size_in, rank) * 0.1)
        self.lora_b = nn.Parameter(torch.zeros(rank, size_out))
        self.scale = alpha / rank

    def forward(self, x):
        delta = x @ self.lora_a @ self.lora_b
        return self.layer(x) + delta * self.scale


def inject(model, rank=4, alpha=2):
    for name, layer in list(model.named_modules()):
        parent, _, leaf = name.rpartition(".")
        if leaf in TARGETS and isinstance(layer, (nn.Linear, Conv1D)):
            setattr(model.get_submodule(parent), leaf, LoRA(layer, rank, alpha))


torch.manual_seed(0)
net = Net()
for p in net.parameters():
    p.requires_grad = False
inject(net)
net.to("cuda")
trainable = [p for p in net.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trainable, lr=1e-2)
for _ in range(4):
    ids = torch.randint(0, 12, (4, 6))
    ids = ids.to("cuda")
    loss = F.cross_entropy(net(ids).flatten(0, 1), ids.flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
