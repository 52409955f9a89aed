"""The model of the split program."""

from torch import nn


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.q_proj = nn.Linear(width, 2 * width)
        self.v_proj = nn.Linear(2 * width, width)

    def forward(self, x):
        return self.v_proj(self.q_proj(x).relu())


def load(device):
    return Net().to(device)
