import marimo

__generated_with = "0.15.2"
app = marimo.App(width="medium", app_title="Adapter dashboard")

with app.setup:
    import marimo as mo
    import torch
    import torch.nn as nn
    import torch.nn.functional as F


@app.cell
def _():
    mo.md("""
    # Fine-tuning dashboard

    Choose, inject, train, look.
    """)
    return


@app.class_definition
class CharModel(nn.Module):
    def __init__(self, vocab=27, dim=24, depth=3):
        super().__init__()
        self.wte = nn.Embedding(vocab, dim)
        self.mlps = nn.ModuleList(
            nn.ModuleDict({"up": nn.Linear(dim, 2 * dim), "down": nn.Linear(2 * dim, dim)})
            for _ in range(depth)
        )
        self.ln = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)

    def forward(self, ids):
        x = self.wte(ids)
        for mlp in self.mlps:
            x = x + mlp["down"](F.relu(mlp["up"](x)))
        return self.head(self.ln(x))


@app.class_definition
class LoRA(nn.Module):
    def __init__(self, base: nn.Linear, r: int, alpha: float, dropout: float = 0.0):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, r, bias=False)
        self.lora_B = nn.Linear(r, base.out_features, bias=False)
        self.drop = nn.Dropout(dropout)
        self.scaling = alpha / r
        nn.init.kaiming_uniform_(self.lora_A.weight, a=5**0.5)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return self.base(x) + self.scaling * self.lora_B(self.lora_A(self.drop(x)))


@app.function
def inject(model, r, alpha, targets):
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and name in targets:
                parent._modules[name] = LoRA(child, r, alpha)
    return model


@app.cell
def _():
    r = mo.ui.slider(1, 8, value=2, label="rank")
    alpha = mo.ui.slider(1, 32, value=4, label="alpha")
    epochs = mo.ui.number(1, 10, value=4, label="epochs")
    where = mo.ui.multiselect(["up", "down"], value=["up", "down"], label="layers")
    mo.vstack([mo.hstack([r, alpha]), mo.hstack([epochs, where])])
    return alpha, epochs, r, where


@app.cell
def _():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    base_model = CharModel()
    base_model.requires_grad_(False)
    return base_model, device


@app.cell
def _(alpha, base_model, device, r, where):
    peft_model = inject(base_model, r.value, alpha.value, where.value)
    peft_model.to(device)
    return (peft_model,)


@app.cell
def _(peft_model):
    n_train = sum(p.numel() for p in peft_model.parameters() if p.requires_grad)
    n_all = sum(p.numel() for p in peft_model.parameters())
    mo.hstack([mo.stat(n_train, label="trainable"), mo.stat(n_all, label="all")])
    return


@app.cell
def _(peft_model):
    opt = torch.optim.AdamW((p for p in peft_model.parameters() if p.requires_grad), lr=1e-2)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=4)
    return opt, sched


@app.cell
def _(device, epochs, opt, peft_model, sched):
    losses = []
    peft_model.train()
    for _epoch in range(epochs.value):
        _x = torch.randint(0, 27, (8, 12))
        _x = _x.to(device)
        _logits = peft_model(_x[:, :-1])
        _loss = F.cross_entropy(_logits.reshape(-1, 27), _x[:, 1:].reshape(-1))
        opt.zero_grad()
        _loss.backward()
        opt.step()
        sched.step()
        losses.append(_loss.item())
    return (losses,)


@app.cell
def _(losses):
    mo.ui.table([{"epoch": i, "loss": loss} for i, loss in enumerate(losses)])
    return


if __name__ == "__main__":
    app.run()
