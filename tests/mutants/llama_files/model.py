"""The frozen base."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

TINY = {
    "vocab_size": 80,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "use_cache": False,
}


def load_llama(dtype=torch.float16, device="cuda"):
    model = LlamaForCausalLM(LlamaConfig(**TINY))
    return model.to(device=device, dtype=dtype)


def freeze(model):
    for _, p in model.named_parameters():
        p.requires_grad_(False)
    model.eval()
