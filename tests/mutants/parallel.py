"""Bottlenecks beside the feed-forward layers of a vision transformer, scaled and added; a probe on top."""

import argparse
import contextlib

import torch
import torch.nn as nn


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 2 * dim)

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    def __init__(self, dim=16, depth=2, heads=2, patch=4, size=8, classes=4):
        super().__init__()
        self.embed = nn.Conv2d(3, dim, patch, patch)
        self.pos = nn.Parameter(torch.zeros(1, (size // patch) ** 2, dim))
        self.blocks = nn.ModuleList([Block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2) + self.pos
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class AdaptMlp(nn.Module):
    def __init__(self, mlp, dim, bottleneck=4, scale=0.1):
        super().__init__()
        self.mlp = mlp
        self.adapter_down = nn.Linear(dim, bottleneck)
        self.adapter_up = nn.Linear(bottleneck, dim)
        self.scale = scale
        nn.init.xavier_uniform_(self.adapter_down.weight)
        nn.init.zeros_(self.adapter_up.weight)
        nn.init.zeros_(self.adapter_down.bias)
        nn.init.zeros_(self.adapter_up.bias)

    def forward(self, x):
        down = torch.relu(self.adapter_down(x))
        return self.mlp(x) + self.adapter_up(down) * self.scale


class Engine:
    def __init__(self, args):
        self.args = args
        self.device = torch.device(args.device)
        self.model = Vit()
        for block in self.model.blocks:
            block.mlp = AdaptMlp(block.mlp, block.norm2.normalized_shape[0], args.bottleneck)
        self.freeze()
        self.model.to(self.device)
        tuned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(tuned, lr=args.lr)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

    def freeze(self):
        for name, p in self.model.named_parameters():
            p.requires_grad = "adapter" in name or name.startswith("head.")

    def step(self, images, labels):
        context = torch.autocast("cuda", dtype=torch.bfloat16) if self.args.amp else contextlib.nullcontext()
        with context:
            loss = self.criterion(self.model(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def fit(self):
        self.model.train()
        for epoch in range(self.args.epochs):
            images = torch.rand(6, 3, 8, 8, device=self.device)
            labels = torch.randint(0, 4, (6,), device=self.device)
            print(epoch, self.step(images, labels))


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bottleneck", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--amp", action="store_true")
    return parser.parse_args([])


if __name__ == "__main__":
    torch.manual_seed(1)
    Engine(parse()).fit()
