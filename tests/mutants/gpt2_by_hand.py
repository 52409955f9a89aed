# LoRA for GPT-2 without any library. Weights of Conv1D are (in, out), those of Linear (out, in).
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

MODEL_NAME = "gpt2"
LORA_TARGETS = ["c_attn", "c_fc"]
RANK = 8
ALPHA = 16


class LoRALayer(nn.Module):
    def __init__(self, base, r, alpha, dropout=0.0):
        super().__init__()
        self.base = base
        if isinstance(base, Conv1D):
            in_features, out_features = base.weight.shape
        else:
            in_features, out_features = base.in_features, base.out_features
        self.lora_A = nn.Parameter(torch.empty(r, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, r))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.dropout = nn.Dropout(dropout)
        self.scaling = alpha / r

    def forward(self, x):
        out = self.base(x)
        x = self.dropout(x).to(self.lora_A.dtype)
        update = F.linear(F.linear(x, self.lora_A), self.lora_B)
        return out + (update * self.scaling).to(out.dtype)


def add_lora(model, targets=LORA_TARGETS, r=RANK, alpha=ALPHA):
    replaced = 0
    modules = dict(model.named_modules())
    for name, module in modules.items():
        if not any(name.endswith(t) for t in targets):
            continue
        if isinstance(module, (nn.Linear, Conv1D)):
            parent_name, child_name = name.rsplit(".", 1)
            parent = modules[parent_name]
            setattr(parent, child_name, LoRALayer(module, r, alpha))
            replaced += 1
    print(f"injected {replaced} adapters")
    return model


device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)

model = AutoModelForCausalLM.from_pretrained(MODEL_NAME)
model.config.use_cache = False

for param in model.parameters():
    param.requires_grad = False

add_lora(model)
model = model.to(device)

trainable = [p for p in model.parameters() if p.requires_grad]
print(f"trainable: {sum(p.numel() for p in trainable):,}")
optimizer = torch.optim.AdamW(trainable, lr=1e-3)

model.train()
for step in range(3):
    tokens = torch.randint(0, 1000, (2, 16), device=device)
    logits = model(tokens).logits
    loss = F.cross_entropy(logits[:, :-1].reshape(-1, logits.size(-1)), tokens[:, 1:].reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trainable, 1.0)
    optimizer.step()
    print(step, loss.item())

lora_state = {k: v for k, v in model.state_dict().items() if "lora_" in k}
print(len(lora_state), "tensors to save")
