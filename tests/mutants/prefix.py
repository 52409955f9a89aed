"""Prefix tuning: keys and values that are learned stand before those of a frozen attention."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x, past=None):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if past is not None:
            k = torch.cat([past[0].expand(len(x), -1, -1), k], dim=1)
            v = torch.cat([past[1].expand(len(x), -1, -1), v], dim=1)
        shape = (len(x), -1, self.heads, x.size(-1) // self.heads)
        q, k, v = (part.reshape(shape).transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(x.shape))


class Encoder(nn.Module):
    def __init__(self, words=24, width=16, depth=2, heads=2):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.layers = nn.ModuleList(SelfAttention(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words)

    def forward(self, ids, prefixes=None):
        x = self.embed(ids)
        for i, layer in enumerate(self.layers):
            x = x + layer(x, None if prefixes is None else prefixes[i])
        return self.head(self.norm(x))


class Prefix(nn.Module):
    """A small network makes the prefixes of all layers from one table."""

    def __init__(self, depth, length, width, hidden=8):
        super().__init__()
        self.depth = depth
        self.register_buffer("places", torch.arange(length))
        self.table = nn.Embedding(length, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 2 * depth * width))

    def forward(self):
        made = self.mlp(self.table(self.places))
        keys_and_values = made.unsqueeze(0).chunk(2 * self.depth, dim=-1)
        return [(keys_and_values[2 * i], keys_and_values[2 * i + 1]) for i in range(self.depth)]


class PrefixTuned(nn.Module):
    def __init__(self, base, length=4):
        super().__init__()
        self.base = base
        for p in self.base.parameters():
            p.requires_grad = False
        self.prefix = Prefix(len(base.layers), length, base.embed.embedding_dim)

    def forward(self, ids):
        return self.base(ids, self.prefix())


def main():
    torch.manual_seed(2)
    device = torch.device("cuda")
    model = PrefixTuned(Encoder()).to(device)
    optimizer = torch.optim.AdamW(model.prefix.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 2))
    for _ in range(4):
        ids = torch.randint(0, 24, (4, 6), device=device)
        logits = model(ids)
        loss = F.cross_entropy(logits.flatten(0, 1), ids.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.prefix.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        print(f"{loss.item():.3f}")


if __name__ == "__main__":
    main()
