"""How the tests of the machine write their programs."""

from __future__ import annotations

import textwrap

from qalint.analysis.machine.story import Story
from qalint.testing import file_of

HEAD = """\
import torch
from torch import nn
from torch.nn import functional as F
from torch.amp import GradScaler, autocast

model = nn.Linear(4, 4).cuda()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
"""


def story_of(text: str, head: str = "", path: str = "example.py") -> Story:
    """The story of a program; `head` comes before it."""
    story = file_of(head + textwrap.dedent(text), path).get(Story)
    assert story is not None
    return story


def faults_of(text: str, head: str = HEAD) -> list[str]:
    """`kind[:variant]@line text` of every fault, sorted; the line's text is stripped."""
    story = story_of(text, head)
    shown = []
    for fault in story.all_faults():
        if fault.kind in ("missing-gradient-clipping", "unchecked-loss"):
            continue  # Advice that is off by default.
        line = fault.file.source.line(fault.node.lineno).strip()  # type: ignore[attr-defined]
        kind = fault.kind + (f":{fault.variant}" if fault.variant else "")
        shown.append(f"{kind} @ {line}")
    return sorted(shown)
