import marimo

app = marimo.App(width="full")


@app.cell
def imports():
    import math

    import marimo as mo
    import torch
    from torch import nn

    return math, mo, nn, torch


@app.cell
def settings(mo):
    form = mo.ui.dictionary(
        {
            "rank": mo.ui.slider(2, 16, value=4),
            "alpha": mo.ui.slider(2, 32, value=8),
            "lr": mo.ui.number(start=1e-5, stop=1e-1, value=1e-3),
        }
    )
    form
    return (form,)


@app.cell
def load(nn, torch):
    def build(width=12, classes=4):
        return nn.Sequential(
            nn.Linear(20, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, classes),
        )

    torch.manual_seed(3)
    backbone = build().half().cuda()
    backbone.requires_grad_(False)
    return (backbone,)


@app.cell
def adapters(math, nn, torch):
    class LoRA(nn.Module):
        def __init__(self, inner, rank, alpha):
            super().__init__()
            self.inner = inner
            n_in, n_out = inner.in_features, inner.out_features
            where = inner.weight.device
            self.A = nn.Parameter(torch.empty((rank, n_in), device=where, dtype=torch.float32))
            self.B = nn.Parameter(torch.empty((n_out, rank), device=where, dtype=torch.float32))
            nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
            nn.init.zeros_(self.B)
            self.scale = alpha / rank

        def forward(self, x):
            y = self.inner(x)
            z = x.to(self.A.dtype) @ self.A.T @ self.B.T
            return y + (self.scale * z).to(y.dtype)

    return (LoRA,)


@app.cell
def inject(LoRA, backbone, form, nn):
    def inject_lora(root, rank, alpha):
        names = [n for n, m in root.named_modules() if isinstance(m, nn.Linear)]
        for n in names:
            root._modules[n] = LoRA(root._modules[n], rank, alpha)
        return root

    student = inject_lora(backbone, form["rank"].value, form["alpha"].value)
    return (student,)


@app.cell
def optimize(form, student, torch):
    weights = [w for w in student.parameters() if w.requires_grad]
    print("trainable", sum(w.numel() for w in weights))
    opt = torch.optim.AdamW(weights, lr=form["lr"].value)
    grad_scaler = torch.amp.GradScaler("cuda")
    return grad_scaler, opt, weights


@app.cell
def train(grad_scaler, nn, opt, student, torch, weights):
    ce = nn.CrossEntropyLoss()
    for _epoch in range(4):
        x = torch.randn(16, 20, device="cuda").half()
        y = torch.randint(0, 4, (16,), device="cuda")
        opt.zero_grad()
        loss = ce(student(x).float(), y)
        grad_scaler.scale(loss).backward()
        grad_scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(weights, 1.0)
        grad_scaler.step(opt)
        grad_scaler.update()
    loss.item()
    return


if __name__ == "__main__":
    app.run()
