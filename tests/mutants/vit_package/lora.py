"""Adds low rank updates to the fused qkv projections: to q and v, not to k."""

import torch
from torch import nn


class LoRAQKV(nn.Module):
    def __init__(self, qkv, a_q, b_q, a_v, b_v):
        super().__init__()
        self.qkv = qkv
        self.a_q, self.b_q = a_q, b_q
        self.a_v, self.b_v = a_v, b_v
        self.dim = qkv.in_features

    def forward(self, x):
        qkv = self.qkv(x)
        qkv[..., : self.dim] += self.b_q(self.a_q(x))
        qkv[..., -self.dim :] += self.b_v(self.a_v(x))
        return qkv


class LoRAViT(nn.Module):
    def __init__(self, vit, r):
        super().__init__()
        assert r > 0
        self.w_a = []
        self.w_b = []
        for param in vit.parameters():
            param.requires_grad = False
        for block in vit.blocks:
            qkv = block.attn.qkv
            dim = qkv.in_features
            a_q, b_q = nn.Linear(dim, r, bias=False), nn.Linear(r, dim, bias=False)
            a_v, b_v = nn.Linear(dim, r, bias=False), nn.Linear(r, dim, bias=False)
            self.w_a += [a_q, a_v]
            self.w_b += [b_q, b_v]
            block.attn.qkv = LoRAQKV(qkv, a_q, b_q, a_v, b_v)
        self.reset_parameters()
        self.vit = vit
        self.vit.head = nn.Linear(vit.head.in_features, vit.head.out_features)

    def reset_parameters(self):
        for layer in self.w_a:
            nn.init.kaiming_uniform_(layer.weight, a=5**0.5)
        for layer in self.w_b:
            nn.init.zeros_(layer.weight)

    def forward(self, x):
        return self.vit(x)

    @torch.no_grad()
    def share(self):
        sizes = [(p.numel(), p.requires_grad) for p in self.parameters()]
        return sum(n for n, g in sizes if g) / sum(n for n, _ in sizes)
