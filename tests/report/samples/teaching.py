# ruff: noqa: B018, B905, E501
import marimo

app = marimo.App(width="medium")


@app.cell
def _():
    import marimo as mo
    import matplotlib.pyplot as plt
    import torch

    return mo, plt, torch


@app.cell
def _(mo):
    mo.md(
        r"""
        # Teaching a small model a new habit with LoRA

        ## Why LoRA, instead of training everything?

        Training all weights needs their gradients and two moments of Adam beside them, four times the memory of the
        model. LoRA freezes the model and adds two thin matrices to each layer, so only these need gradients: here 3 %
        of the parameters.

        **Trade-offs**

        - The adapters are small enough to be sent by mail, at the cost of some quality: what needs a new feature and
          not a new mixture of old ones is learned worse.
        - Unlike prompt tuning, LoRA changes what the layers compute, and it needs access to the weights for that.

        **When to use it**: when you have a few hundred examples and one GPU with 8 GB. With a hundred thousand
        examples, train everything.
        """
    )
    return


@app.cell
def _(mo):
    mo.md(
        r"""
        ## The data

        Each row is a point and the class we want. The classes touch, so no model can reach 100 %: that way you see
        the difference between learning and memorising.
        """
    )
    return


@app.cell
def _(torch):
    torch.manual_seed(0)
    points = torch.randn(200, 8)
    classes = (points.sum(1) + 0.5 * torch.randn(200) > 0).long()
    return classes, points


@app.cell
def _(classes, mo, points):
    mo.ui.table(
        [
            {"row": row, "sum": round(point.sum().item(), 2), "class": int(label)}
            for row, (point, label) in enumerate(zip(points, classes))
        ],
        selection=None,
    )
    return


@app.cell
def _(mo):
    mo.md(
        r"""
        ## How to choose the hyperparameters

        The **learning rate** is ten times what full training would use, because the adapter starts at zero and has to
        move away from it. If the curve below jumps up and down, it is too high.

        The **rank** says how many directions an adapter can add. A higher rank learns more and overfits sooner; 4 is
        enough for a task with two classes.
        """
    )
    return


@app.cell
def _(mo):
    learning_rate = mo.ui.slider(0.001, 0.1, step=0.001, value=0.02, label="learning rate")
    rank = mo.ui.slider(1, 16, value=4, label="rank of the adapters")
    mo.vstack([learning_rate, rank])
    return learning_rate, rank


@app.cell
def _(torch):
    class LoraLinear(torch.nn.Module):
        """A frozen layer and the low-rank correction that is trained beside it."""

        def __init__(self, base: torch.nn.Linear, rank: int):
            super().__init__()
            self.base = base.requires_grad_(False)
            self.down = torch.nn.Linear(base.in_features, rank, bias=False)
            self.up = torch.nn.Linear(rank, base.out_features, bias=False)
            # The correction must be zero at first, so that training starts from the model as it was.
            torch.nn.init.zeros_(self.up.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.base(x) + self.up(self.down(x))

    return (LoraLinear,)


@app.cell
def _(LoraLinear, classes, learning_rate, mo, points, rank, torch):
    adapted = LoraLinear(torch.nn.Linear(8, 2), rank.value)
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=learning_rate.value)
    losses = []
    for _ in mo.status.progress_bar(range(300), title="training"):
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


@app.cell
def _(mo):
    mo.md(
        r"""
        ## Reading the curve

        The loss should fall steeply during the first 50 steps and then flatten above zero, because the classes touch.
        A curve that rises again means that the learning rate is too high.
        """
    )
    return


if __name__ == "__main__":
    app.run()
