"""In the style of loralib: layers that carry their own matrices, everything else is frozen by name."""

import math

import torch
from torch import nn
from torch.nn import functional as F


class LoRALayer:
    def __init__(self, r, lora_alpha):
        self.r = r
        self.lora_alpha = lora_alpha
        self.merged = False


class Linear(nn.Linear, LoRALayer):
    def __init__(self, in_features, out_features, r=0, lora_alpha=1, **kwargs):
        nn.Linear.__init__(self, in_features, out_features, **kwargs)
        LoRALayer.__init__(self, r, lora_alpha)
        if r > 0:
            self.lora_A = nn.Parameter(self.weight.new_zeros((r, in_features)))
            self.lora_B = nn.Parameter(self.weight.new_zeros((out_features, r)))
            self.scaling = self.lora_alpha / self.r
            self.weight.requires_grad = False
            nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def delta(self):
        return (self.lora_B @ self.lora_A) * self.scaling

    def train(self, mode=True):
        super().train(mode)
        if self.r > 0:
            if mode and self.merged:
                self.weight.data -= self.delta().data
                self.merged = False
            elif not mode and not self.merged:
                self.weight.data += self.delta().data
                self.merged = True
        return self

    def forward(self, x):
        if self.r > 0 and not self.merged:
            result = F.linear(x, self.weight, bias=self.bias)
            update = x @ self.lora_A.transpose(0, 1) @ self.lora_B.transpose(0, 1)
            return result + update * self.scaling
        return F.linear(x, self.weight, bias=self.bias)


class Attention(nn.Module):
    def __init__(self, dim, heads, r):
        super().__init__()
        self.heads = heads
        self.q = Linear(dim, dim, r=r, lora_alpha=2 * r)
        self.k = nn.Linear(dim, dim)
        self.v = Linear(dim, dim, r=r, lora_alpha=2 * r)
        self.proj = nn.Linear(dim, dim)

    def split(self, x):
        b, t, d = x.shape
        return x.view(b, t, self.heads, d // self.heads).transpose(1, 2)

    def forward(self, x):
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        mask = torch.ones(x.size(1), x.size(1), dtype=torch.bool, device=x.device).tril()
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(q.size(-1))
        scores = scores.masked_fill(~mask, float("-inf"))
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape_as(x)
        return self.proj(y)


class GPT(nn.Module):
    def __init__(self, vocab=32, dim=16, block_size=8, r=4):
        super().__init__()
        self.wte = nn.Embedding(vocab, dim)
        self.wpe = nn.Embedding(block_size, dim)
        self.attn = Attention(dim, 2, r)
        self.ln = nn.LayerNorm(dim)
        self.lm_head = nn.Linear(dim, vocab, bias=False)

    def forward(self, idx, targets=None):
        pos = torch.arange(0, idx.size(1), dtype=torch.long, device=idx.device)
        x = self.wte(idx) + self.wpe(pos)
        x = self.ln(x + self.attn(x))
        logits = self.lm_head(x)
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))
        return logits, loss


def mark_only_lora_as_trainable(model):
    for n, p in model.named_parameters():
        if "lora_" not in n:
            p.requires_grad = False


@torch.no_grad()
def estimate_loss(model, get_batch):
    model.eval()
    losses = [model(*get_batch())[1].item() for _ in range(2)]
    model.train()
    return sum(losses) / len(losses)


def main():
    torch.manual_seed(1337)
    device = "cuda"
    data = torch.randint(0, 32, (200,))

    def get_batch():
        ix = torch.randint(len(data) - 8, (4,))
        x = torch.stack([data[i : i + 8] for i in ix])
        y = torch.stack([data[i + 1 : i + 9] for i in ix])
        return x.to(device), y.to(device)

    model = GPT()
    mark_only_lora_as_trainable(model)
    model.to(device)
    params = [p for p in model.parameters() if p.requires_grad]
    print(f"{sum(p.numel() for p in params)} parameters to train")
    optimizer = torch.optim.AdamW(params, lr=1e-2, betas=(0.9, 0.95))
    for it in range(4):
        X, Y = get_batch()
        _, loss = model(X, Y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if it == 1:
            print("val", estimate_loss(model, get_batch))


if __name__ == "__main__":
    main()
