"""Updates of whole weights by parametrization, and a hand-made loop over the layers that get one."""

import torch
import torch.nn as nn
import torch.nn.utils.parametrize as parametrize


class LowRankUpdate(nn.Module):
    def __init__(self, rows, columns, rank=2, alpha=2, device="cpu"):
        super().__init__()
        self.lora_a = nn.Parameter(torch.zeros(rank, columns, device=device))
        self.lora_b = nn.Parameter(torch.zeros(rows, rank, device=device))
        nn.init.normal_(self.lora_a, mean=0, std=1)
        self.scale = alpha / rank
        self.enabled = True

    def forward(self, weight):
        if not self.enabled:
            return weight
        return weight + (self.lora_b @ self.lora_a).view(weight.shape) * self.scale


def register(layer, device, rank=2):
    rows, columns = layer.weight.shape
    parametrize.register_parametrization(
        layer, "weight", LowRankUpdate(rows, columns, rank=rank, device=device)
    )


class Digits(nn.Module):
    def __init__(self, inputs=16, hidden=20, classes=10):
        super().__init__()
        self.linear1 = nn.Linear(inputs, hidden)
        self.linear2 = nn.Linear(hidden, hidden)
        self.linear3 = nn.Linear(hidden, classes)

    def forward(self, x):
        x = torch.relu(self.linear1(x))
        x = torch.relu(self.linear2(x))
        return self.linear3(x)


device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(0)
net = Digits().to(device)
for layer in (net.linear1, net.linear2, net.linear3):
    register(layer, device)
for name, param in net.named_parameters():
    if "lora" not in name:
        param.requires_grad = False

optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-2)
cross_el = nn.CrossEntropyLoss()
for _ in range(4):
    x = torch.randn(8, 16)
    y = torch.randint(0, 10, (8,))
    x, y = x.to(device), y.to(device)
    optimizer.zero_grad()
    loss = cross_el(net(x), y)
    loss.backward()
    optimizer.step()
print(f"{loss.item():.3f}")
