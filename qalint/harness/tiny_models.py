"""Stands in for downloads: `from_pretrained` builds a tiny model of the named family, with random weights.

The layers, their types and names are those of the real model; only the size differs. A name of a family
that is not known here raises as it would without a network.
"""

from __future__ import annotations

from typing import Any


def offer() -> None:
    """Patch transformers, if it is installed."""
    try:
        import transformers
        from transformers.models.auto.auto_factory import _BaseAutoModelClass
    except ImportError:
        return
    refuse = transformers.PreTrainedModel.from_pretrained.__func__

    def from_pretrained(cls: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
        config = config_of(str(name))
        if config is None:
            return refuse(cls, name, *args, **kwargs)
        dtype = kwargs.get("dtype", kwargs.get("torch_dtype"))
        if issubclass(cls, _BaseAutoModelClass):
            model = cls.from_config(config)
        else:
            model = cls(config)
        if dtype is not None and dtype != "auto":
            import torch

            model = model.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
        return model.eval()

    transformers.PreTrainedModel.from_pretrained = classmethod(from_pretrained)
    for auto in (_BaseAutoModelClass, transformers.AutoModelForCausalLM):
        auto.from_pretrained = classmethod(from_pretrained)


def config_of(name: str) -> Any:
    """The configuration of a tiny model of the family that a hub name tells, or None."""
    import transformers

    lowered = name.lower()
    if "gpt2" in lowered:
        return transformers.GPT2Config(n_layer=2, n_embd=64, n_head=2, n_positions=128)
    shape: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    for family, config in (
        ("mistral", transformers.MistralConfig),
        ("llama", transformers.LlamaConfig),
        ("qwen2", transformers.Qwen2Config),
    ):
        if family in lowered:
            return config(**shape)
    return None
