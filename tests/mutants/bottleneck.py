"""Houlsby adapters and a fresh head on a frozen encoder of the standard library of torch."""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class Bottleneck(nn.Module):
    """down, non-linearity, up, residual; the up projection starts at zero."""

    def __init__(self, dim: int, reduction: int = 4):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.down = nn.Linear(dim, dim // reduction)
        self.act = nn.GELU()
        self.up = nn.Linear(dim // reduction, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x):
        return x + self.up(self.act(self.down(self.norm(x))))


class AdaptedLayer(nn.Module):
    def __init__(self, layer, dim):
        super().__init__()
        self.layer = layer
        self.adapter = Bottleneck(dim)

    def forward(self, x):
        return self.adapter(self.layer(x))


class Classifier(nn.Module):
    def __init__(self, dim=16, depth=2, classes=3, max_len=16):
        super().__init__()
        self.embed = nn.Linear(5, dim)
        self.blocks = nn.ModuleList(
            [nn.TransformerEncoderLayer(dim, 2, 2 * dim, dropout=0.0, batch_first=True) for _ in range(depth)]
        )
        self.register_buffer("positions", torch.randn(1, max_len, dim) * 0.02)
        self.head = nn.Linear(dim, classes)

    def freeze_backbone(self):
        for module in (self.embed, self.blocks):
            for p in module.parameters():
                p.requires_grad = False

    def add_adapters(self):
        dim = self.head.in_features
        self.blocks = nn.ModuleList([AdaptedLayer(block, dim) for block in self.blocks])

    def forward(self, x):
        h = self.embed(x) + self.positions[:, : x.size(1)]
        for block in self.blocks:
            h = block(h)
        return self.head(h.mean(1))


class Series(Dataset):
    def __init__(self, n=32):
        self.x = torch.randn(n, 10, 5)
        self.y = torch.randint(0, 3, (n,))

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        return {"x": self.x[index], "y": self.y[index]}


def evaluate(model, loader, device):
    model.eval()
    right = 0
    with torch.inference_mode():
        for batch in loader:
            right += (model(batch["x"].to(device)).argmax(-1) == batch["y"].to(device)).sum().item()
    return right / len(loader.dataset)


def run(epochs=1, lr=1e-3):
    torch.manual_seed(0)
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    model = Classifier()
    model.freeze_backbone()
    model.add_adapters()
    model.to(device)
    n_train = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{n_train} trainable")
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=lr)
    weights = torch.tensor([1.0, 2.0, 1.0], device=device)
    criterion = nn.CrossEntropyLoss(weight=weights)
    loader = DataLoader(Series(), batch_size=8, shuffle=True)
    for epoch in range(epochs):
        model.train()
        for batch in loader:
            batch = {name: value.to(device) for name, value in batch.items()}
            loss = criterion(model(batch["x"]), batch["y"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, evaluate(model, loader, device))


if __name__ == "__main__":
    run()
