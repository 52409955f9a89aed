"""Bytes without which certain things cannot happen in a program: what rules name as their needles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...needles import code_of, unless

if TYPE_CHECKING:
    from ...file import File

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
    unless(b"lora_", after=(b"rank",)),
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

HALF = (
    unless(
        b"float16",
        before=(
            b"b",
            b"== torch.",
            b"!= torch.",
            b"in (torch.",
            b"in [torch.",
            b"in {torch.",
            b"finfo(torch.",
        ),
    ),
    b".half",
    b"import half",
)
"""Without one of these nothing becomes float16; a comparison with it makes nothing so."""

READ = (b"in_features", b"out_features", b".nx", b".nf", b"shape", b"size(")
"""Without one of these nobody asks for a layer's dimensions."""

FREEZE = (b"requires_grad", b"reeze", b"mark_only_lora", b"prepare_model_for")
"""Without one of these nothing is frozen."""

ZEROS = (b"zero", b"constant_(", b"fill_(", b"full", b"//")
"""Without one of these nothing starts at zero, and nothing is rounded down."""


class Code:
    """The bytes of a file's code: in Python files without docstrings and comments."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @classmethod
    def of(cls, file: File) -> Code:
        """The code of `file`."""
        return cls(code_of(file.source.raw) if file.source.kind == "python" else file.source.raw)


def mentions(file: File, group: tuple[bytes, ...]) -> bool:
    """Whether the code of a file has one of these bytes."""
    code = file.get(Code)
    return code is not None and any(needle.partition(b"\0")[0] in code.data for needle in group)
