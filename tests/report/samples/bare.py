# ruff: noqa: B018
import marimo

app = marimo.App(width="medium")


@app.cell
def _():
    import marimo as mo
    import matplotlib.pyplot as plt
    import torch

    return mo, plt, torch


@app.cell
def _(torch):
    torch.manual_seed(0)
    points = torch.randn(200, 8)
    classes = (points.sum(1) + 0.5 * torch.randn(200) > 0).long()
    return classes, points


@app.cell
def _(mo):
    learning_rate = 0.02
    rank = 4
    return learning_rate, rank


@app.cell
def _(torch):
    class LoraLinear(torch.nn.Module):
        def __init__(self, base, rank):
            super().__init__()
            self.base = base.requires_grad_(False)
            self.down = torch.nn.Linear(base.in_features, rank, bias=False)
            self.up = torch.nn.Linear(rank, base.out_features, bias=False)
            torch.nn.init.zeros_(self.up.weight)

        def forward(self, x):
            return self.base(x) + self.up(self.down(x))

    return (LoraLinear,)


@app.cell
def _(LoraLinear, classes, learning_rate, mo, points, rank, torch):
    adapted = LoraLinear(torch.nn.Linear(8, 2), rank)
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=learning_rate)
    losses = []
    for _ in range(300):
        loss = torch.nn.functional.cross_entropy(adapted(points), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return (losses,)


@app.cell
def _(losses, plt):
    figure, axes = plt.subplots(figsize=(6, 3))
    axes.plot(losses)
    axes.set_xlabel("step")
    figure
    return


if __name__ == "__main__":
    app.run()
