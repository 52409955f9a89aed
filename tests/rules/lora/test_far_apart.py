"""What the analyses do not see yet of programs of several files."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from qalint.testing import found


def write(folder: Path, **files: str) -> None:
    """Files of a program; `__` in a name is a folder's end."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/', 1)}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


@pytest.mark.xfail(strict=True, reason="decorators are not called: what registers itself is not found")
def test_an_adapter_from_a_registry_stays_on_the_cpu(tmp_path: Path) -> None:
    write(
        tmp_path,
        table="""
            KNOWN = {}


            def known(name):
                def keep(made):
                    KNOWN[name] = made
                    return made

                return keep
        """,
        parts="""
            import torch
            from table import known
            from torch import nn


            class Low(nn.Module):
                def __init__(self, layer, rank):
                    super().__init__()
                    self.layer = layer
                    self.down = nn.Parameter(torch.randn(rank, layer.in_features))
                    self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

                def forward(self, x):
                    return self.layer(x) + x @ self.down.T @ self.up.T


            @known("low")
            def low(net, rank):
                net.fit = Low(net.fit, rank)
                return net
        """,
        run="""
            import parts  # fills the table
            import torch
            from table import KNOWN
            from torch import nn


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fit = nn.Linear(8, 8)

                def forward(self, x):
                    return self.fit(x)


            net = Net().requires_grad_(False).to("cuda")
            net = KNOWN["low"](net, 4)
            chosen = [p for p in net.parameters() if p.requires_grad]
            print(sum(p.numel() for p in chosen))
            optimizer = torch.optim.Adam(chosen)
            for _ in range(9):
                loss = net(torch.randn(4, 8, device="cuda")).pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        """,
    )
    assert [(name, code) for name, _, _, code in found(str(tmp_path))] == [("parts.py", "QA1211")]


@pytest.mark.xfail(strict=True, reason="words are looked for two imports away, and a package is one")
def test_a_clip_three_files_away_from_the_start(tmp_path: Path) -> None:
    write(
        tmp_path,
        core____init__="from .middle import Middle\n",
        core__lowest="""
            import torch


            class Lowest:
                def __init__(self, net):
                    self.net = net.cuda()
                    self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)
                    self.scaler = torch.amp.GradScaler("cuda")

                def turn(self, rows):
                    with torch.autocast("cuda", dtype=torch.float16):
                        loss = self.loss(rows)
                    self.optimizer.zero_grad()
                    self.scaler.scale(loss).backward()
                    self.ready()
                    self.scaler.step(self.optimizer)
                    self.scaler.update()
        """,
        core__middle="""
            import torch
            from .lowest import Lowest


            class Middle(Lowest):
                def ready(self):
                    torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        """,
        run="""
            import torch
            from core import Middle


            class Job(Middle):
                def loss(self, rows):
                    return self.net(rows).pow(2).mean()


            job = Job(torch.nn.Linear(4, 4))
            for _ in range(9):
                job.turn(torch.randn(2, 4, device="cuda"))
        """,
    )
    assert [(name, code) for name, _, _, code in found(str(tmp_path))] == [("core/middle.py", "QA1105")]
