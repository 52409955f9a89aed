import marimo

__generated_with = "0.14.10"
app = marimo.App(width="medium")


@app.cell
def _():
    import marimo as mo
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    return F, mo, nn, torch


@app.cell
def _(mo):
    mo.md(
        """
        # Adapting a small translator

        Load the model, put adapters into it, train them.
        """
    )
    return


@app.cell
def _(mo):
    rank = mo.ui.slider(1, 16, value=4, label="rank")
    lr = mo.ui.number(value=0.01, label="learning rate")
    steps = mo.ui.slider(1, 20, value=4, label="steps")
    mo.hstack([rank, lr, steps])
    return lr, rank, steps


@app.cell
def _(nn, torch):
    class Encoder(nn.Module):
        def __init__(self, vocab=30, dim=16, depth=2):
            super().__init__()
            self.tok = nn.Embedding(vocab, dim)
            self.layers = nn.ModuleList([nn.Linear(dim, dim) for _ in range(depth)])
            self.norm = nn.LayerNorm(dim)
            self.out = nn.Linear(dim, vocab)

        def forward(self, ids):
            h = self.tok(ids)
            for layer in self.layers:
                h = h + torch.relu(layer(h))
            return self.out(self.norm(h))

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model = Encoder().to(device)
    for param in model.parameters():
        param.requires_grad_(False)
    return device, model


@app.cell
def _(nn, torch):
    class LowRank(nn.Module):
        def __init__(self, layer, r, alpha=8):
            super().__init__()
            self.layer = layer
            self.down = nn.Parameter(torch.randn(layer.in_features, r) / r)
            self.up = nn.Parameter(torch.zeros(r, layer.out_features))
            self.gain = alpha / r

        def forward(self, x):
            return self.layer(x) + self.gain * (x @ self.down @ self.up)

    return (LowRank,)


@app.cell
def _(LowRank, device, model, rank):
    for i, layer in enumerate(model.layers):
        model.layers[i] = LowRank(layer, rank.value).to(device)
    adapted = model
    return (adapted,)


@app.cell
def _(adapted, mo):
    tunable = [p for p in adapted.parameters() if p.requires_grad]
    total = sum(p.numel() for p in adapted.parameters())
    mo.stat(value=f"{sum(p.numel() for p in tunable) / total:.1%}", label="trainable")
    return (tunable,)


@app.cell
def _(F, adapted, device, lr, mo, steps, torch, tunable):
    optimizer = torch.optim.AdamW(tunable, lr=lr.value)
    history = []
    for _ in mo.status.progress_bar(range(steps.value)):
        ids = torch.randint(0, 30, (8, 10))
        ids = ids.to(device)
        logits = adapted(ids)
        loss = F.cross_entropy(logits.flatten(0, 1), ids.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    history
    return


if __name__ == "__main__":
    app.run()
