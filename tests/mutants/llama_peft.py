"""LoRA on an FP16 LLaMA with gradient checkpointing, autocast and a scaler."""

from dataclasses import dataclass, field

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader, Dataset
from transformers import LlamaConfig, LlamaForCausalLM, get_cosine_schedule_with_warmup


@dataclass
class TrainConfig:
    vocab: int = 96
    seq_len: int = 12
    batch_size: int = 2
    lr: float = 2e-3
    grad_clip: float = 1.0
    lora_r: int = 8
    lora_alpha: int = 16
    target_modules: list = field(default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj"])


class ToyText(Dataset):
    def __init__(self, cfg, n=8):
        gen = torch.Generator().manual_seed(0)
        self.rows = torch.randint(0, cfg.vocab, (n, cfg.seq_len), generator=gen)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return {"input_ids": self.rows[i], "labels": self.rows[i]}


def load_base(cfg):
    hf = LlamaConfig(
        vocab_size=cfg.vocab,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        use_cache=False,
    )
    model = LlamaForCausalLM(hf).half()
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    return model


def train(cfg):
    torch.manual_seed(0)
    model = load_base(cfg)
    peft_config = LoraConfig(
        r=cfg.lora_r,
        lora_alpha=cfg.lora_alpha,
        target_modules=cfg.target_modules,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, peft_config)
    model.to("cuda")
    model.print_trainable_parameters()

    loader = DataLoader(ToyText(cfg), batch_size=cfg.batch_size, shuffle=True)
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=cfg.lr)
    scheduler = get_cosine_schedule_with_warmup(optimizer, 1, len(loader))
    scaler = torch.amp.GradScaler("cuda")

    model.train()
    for batch in loader:
        ids = batch["input_ids"].to("cuda", non_blocking=True)
        labels = batch["labels"].to("cuda", non_blocking=True)
        with torch.autocast("cuda", dtype=torch.float16):
            loss = model(input_ids=ids, labels=labels).loss
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(params, cfg.grad_clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        scheduler.step()
    return model


if __name__ == "__main__":
    train(TrainConfig())
