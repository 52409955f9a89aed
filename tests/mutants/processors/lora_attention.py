"""Processors with low rank updates of the projections."""

import torch.nn as nn


class LoRALinearLayer(nn.Module):
    def __init__(self, in_features, out_features, rank=4):
        super().__init__()
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=False)
        nn.init.normal_(self.down.weight, std=1 / rank)
        nn.init.zeros_(self.up.weight)

    def forward(self, hidden_states):
        return self.up(self.down(hidden_states))


class LoRAProcessor(nn.Module):
    def __init__(self, hidden_size, context_size=None, rank=4):
        super().__init__()
        context_size = context_size or hidden_size
        self.to_q_lora = LoRALinearLayer(hidden_size, hidden_size, rank)
        self.to_k_lora = LoRALinearLayer(context_size, hidden_size, rank)
        self.to_v_lora = LoRALinearLayer(context_size, hidden_size, rank)
        self.to_out_lora = LoRALinearLayer(hidden_size, hidden_size, rank)

    def forward(self, attn, hidden_states, context=None, scale=1.0):
        context = hidden_states if context is None else context
        query = attn.to_q(hidden_states) + scale * self.to_q_lora(hidden_states)
        key = attn.to_k(context) + scale * self.to_k_lora(context)
        value = attn.to_v(context) + scale * self.to_v_lora(context)
        mixed = attn.mix(query, key, value)
        return attn.to_out(mixed) + scale * self.to_out_lora(mixed)


def add_lora(unet, rank=2):
    processors = nn.ModuleDict()
    for name, attn in unet.attentions().items():
        processor = LoRAProcessor(attn.to_q.in_features, attn.to_k.in_features, rank)
        attn.set_processor(processor)
        processors[name.replace(".", "_")] = processor
    return processors
