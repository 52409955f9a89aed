"""Numbers beyond float16 that are written into what a model in half precision computes."""

from __future__ import annotations

import pytest
from machine_programs import faults_of

HEAD = "import math\nimport torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"
ATTENTION = """
FAR = -1e9

class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads, self.far, self.scale = heads, -1e9, d ** -0.5
        self.q, self.kv = nn.Linear(d, d), nn.Linear(d, 2 * d)

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x, keep):
        k, v = self.kv(x).chunk(2, -1)
        q, k, v = self.split(self.q(x)), self.split(k), self.split(v)
        {scores}
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)

class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.inner, self.out = Attention(d, 2), nn.Linear(d, d)

    def forward(self, x, keep):
        return self.out(x + self.inner(x, keep))

@torch.no_grad()
def run(net, batches):
    for x in batches:
        print(net({given}, keep=mask(x)).mean())

net = Block(8)
net.load_state_dict(torch.load("block.pt"))
net = net{cast}.cuda().eval()
run(net, torch.load("data.pt"))
"""
SCORES = "scores = (q @ k.transpose(-1, -2)) / math.sqrt(q.size(-1))\n        "


def told(scores: str, cast: str = ".half()", given: str = "x.cuda().half()") -> list[str]:
    """The faults of a model whose attention fills its scores so."""
    return faults_of(ATTENTION.format(scores=scores, cast=cast, given=given), HEAD)


@pytest.mark.parametrize(
    "fill",
    [
        "scores = scores.masked_fill(~keep, -1e9)",
        "scores.masked_fill_(~keep, -1e10)",
        "scores = scores.masked_fill(mask=~keep, value=FAR)",
        "scores = torch.masked_fill(scores, ~keep, self.far)",
        'scores = scores.masked_fill(~keep, -float("1e9"))',
        "scores = torch.where(keep, scores, torch.full_like(scores, -1e9))",
    ],
)
def test_a_number_beyond_half_in_a_model_in_half(fill: str) -> None:
    assert told(SCORES + fill) == [f"half-overflow-constant:min @ {fill}"]
    assert told(SCORES + fill, cast="", given="x.cuda()") == []
    assert told(SCORES + fill, cast=".bfloat16()", given="x.cuda().bfloat16()") == []


@pytest.mark.parametrize(
    "scores",
    [
        "scores = q @ k.transpose(-1, -2) * self.scale",
        "scores = torch.matmul(q, k.transpose(-1, -2)) * (q.shape[-1] ** -0.5)",
        "scores = torch.einsum('bhid,bhjd->bhij', q, k)",
        "scores = (q / math.sqrt(8)) @ k.mT",
    ],
)
def test_however_the_scores_are_computed(scores: str) -> None:
    fill = "scores = scores.masked_fill(~keep, -1e9)"
    assert told(scores + "\n        " + fill) == [f"half-overflow-constant:min @ {fill}"]


@pytest.mark.parametrize(
    "fill",
    [
        "scores = scores.masked_fill(~keep, torch.finfo(scores.dtype).min)",
        'scores = scores.masked_fill(~keep, float("-inf"))',
        "scores = scores.masked_fill(~keep, -1e4)",
        "scores = scores.float().masked_fill(~keep, -1e9).half()",
        "scores = scores.to(torch.float32)\n        scores = scores.masked_fill_(~keep, -1e9).half()",
        "scores = scores + bias(x).masked_fill(~keep, -1e9)",
    ],
)
def test_what_fits(fill: str) -> None:
    assert told(SCORES + fill) == []
