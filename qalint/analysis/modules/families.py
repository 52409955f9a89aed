"""Families of language models: how they are called and how their layers are.

The table can be widened by a rule's option: `falcon-like = query_key_value, dense`.
"""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """A family: parts of model names, parts of class names, its adaptable layers, and whether they
    are GPT-2's Conv1D (weights stored as (in, out)).
    """

    name: str
    models: tuple[str, ...]
    classes: tuple[str, ...]
    layers: frozenset[str]
    conv1d: bool = False


LLAMA = frozenset(["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])

FAMILIES: tuple[Family, ...] = (
    Family("gpt2", ("gpt2", "dialogpt"), ("GPT2",), frozenset(["c_attn", "c_proj", "c_fc", "q_attn"]), True),
    Family(
        "gpt_neo",
        ("gpt-neo-",),
        ("GPTNeo",),
        frozenset(["q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"]),
    ),
    Family(
        "gpt_neox",
        ("gpt-neox", "pythia", "dolly", "stablelm-base-alpha"),
        ("GPTNeoX",),
        frozenset(["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]),
    ),
    Family(
        "gptj",
        ("gpt-j",),
        ("GPTJ",),
        frozenset(["q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out"]),
    ),
    Family(
        "bloom",
        ("bloom",),
        ("Bloom",),
        frozenset(["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]),
    ),
    Family(
        "falcon",
        ("falcon",),
        ("Falcon",),
        frozenset(["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]),
    ),
    Family(
        "opt",
        ("facebook/opt",),
        ("OPTFor", "OPTModel"),
        frozenset(["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]),
    ),
    Family(
        "phi3", ("phi-3", "phi-4"), ("Phi3",), frozenset(["qkv_proj", "o_proj", "gate_up_proj", "down_proj"])
    ),
    Family(
        "phi",
        ("microsoft/phi-1", "microsoft/phi-2"),
        ("PhiFor", "PhiModel"),
        frozenset(["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"]),
    ),
    Family("mixtral", ("mixtral",), ("Mixtral",), LLAMA | frozenset(["w1", "w2", "w3", "gate"])),
    Family("mistral", ("mistral", "zephyr"), ("Mistral",), LLAMA),
    Family("llama", ("llama", "vicuna", "alpaca", "smollm", "codellama"), ("Llama",), LLAMA),
    Family("qwen2", ("qwen2", "qwen3", "qwq"), ("Qwen2", "Qwen3"), LLAMA),
    Family("gemma", ("gemma",), ("Gemma",), LLAMA),
    Family(
        "bert",
        ("bert-base", "bert-large", "roberta"),
        ("Bert", "Roberta"),
        frozenset(["query", "key", "value", "dense"]),
    ),
    Family(
        "distilbert",
        ("distilbert",),
        ("DistilBert",),
        frozenset(["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"]),
    ),
    Family("t5", ("t5-", "flan-t5"), ("T5",), frozenset(["q", "k", "v", "o", "wi", "wo", "wi_0", "wi_1"])),
)
BY_NAME = {family.name: family for family in FAMILIES}
ALL_LAYERS = frozenset[str]().union(*(family.layers for family in FAMILIES))
DISTINCT = frozenset(
    [
        "c_attn",
        "c_proj",
        "c_fc",
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
        "query_key_value",
        "qkv_proj",
        "gate_up_proj",
    ]
)


def layer_type(family: str | None, path: str) -> frozenset[str] | None:
    """The type of the layer that a part of a model of a known family is, by its name."""
    found = BY_NAME.get(family or "")
    if found is None or path.rsplit(".", 1)[-1] not in found.layers:
        return None
    return frozenset({"Conv1D" if found.conv1d else "Linear"})


def of_model(name: str) -> str | None:
    """The family of a model's name on the hub."""
    low = name.lower()
    if "distilbert" in low:
        return "distilbert"
    if "santacoder" in low or "starcoder" in low or "bigcode" in low:
        return None
    if "vision" in low or "-vl" in low or "moe" in low:
        return None
    for family in FAMILIES:
        if any(part in low for part in family.models):
            return family.name
    return None


def of_class(name: str) -> str | None:
    """The family of a class of transformers."""
    if name.startswith("DistilBert"):
        return "distilbert"
    found = [
        (len(part), family.name) for family in FAMILIES for part in family.classes if name.startswith(part)
    ]
    return max(found)[1] if found else None
