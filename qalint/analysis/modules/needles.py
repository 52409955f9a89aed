"""Bytes without which certain things cannot happen in a program: what rules name as their needles."""

from __future__ import annotations

DEVICE = (b'"cuda', b"'cuda", b".cuda(", b"device_map=", b'"device_map"', b".to(0")
"""Without one of these no module is seen to move to a GPU."""

OPTIMIZER = (
    b"optim.",
    b"optim import",
    b"Adam",
    b"SGD",
    b"RMSprop",
    b"Adagrad",
    b"Adadelta",
    b"Adafactor",
    b"LBFGS",
    b"Lion",
    b"LAMB",
    b"Muon",
    b"Prodigy",
    b"Sophia",
)
"""Without one of these no optimizer is built."""

TRAIN = (*OPTIMIZER, b".backward(", b".step(", b"Trainer")
"""Without one of these nothing is trained."""

RUN = (
    *TRAIN,
    b"__main__",
    b"marimo.App",
    b"\nprint(",
    b"\nfor ",
    b"\nwith ",
    b"\nwhile ",
    b"\nmain(",
    b"\n    main(",
)
"""What makes a file a program rather than a library."""

USE = (*RUN, b".eval()", b"inference_mode")
USED = (*RUN, *DEVICE)
"""Two groups that together let a file pass which uses a model on a device and trains nothing."""

ADAPT = (
    *RUN,
    b"lora_",
    b"LoRA",
    b"Lora",
    b"LORA",
    b"low_rank",
    b"LowRank",
    b"Adapter(nn.Module",
    b"Adapter(torch.nn",
)
"""What makes of two low-rank matrices an adapter, and of a file a program."""

WALK = (b"modules(", b"named_children", b"._modules")
"""Without one of these nobody walks over a model."""

GPT2 = (b"gpt2", b"GPT2", b"Gpt2", b"ialo", b"Conv1D", b"c_attn")
"""Without one of these nothing is known to be a GPT-2 (`ialo`: DialoGPT)."""

FORWARD = (b".forward =", b".forward=", b'"forward"', b"'forward'", b"_hook(")
"""Without one of these no function becomes the forward or a hook of a module."""
