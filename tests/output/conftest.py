"""One small run that every format is shown: a training loop, a notebook, a helper file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qalint.diagnostic import Diagnostic, PlainEdit, PlainFix, Region, RelatedPlace
from qalint.registry import RuleInfo
from qalint.report_data import Report
from qalint.source import Block, Source

TRAIN = """\
import torch


def train(model, loader, scaler, optimizer):
    for batch in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = model(batch).loss
        scaler.scale(loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
"""
HELPER = "π = '日本語'; scaler = make_scaler()\n"
NOTEBOOK = "import torch\nx = 1\nscaler = 2\n"


class Desk:
    """Sources by file name, and findings that point into them by the text they stand at."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}
        self.add("/repo/src/train.py", TRAIN)
        self.add("/repo/src/helper.py", HELPER)
        cells = (Block(0, 13, 1), Block(13, len(NOTEBOOK), 3))
        self.sources["/repo/src/nb.ipynb"] = Source(
            "/repo/src/nb.ipynb", NOTEBOOK, kind="jupyter", blocks=cells
        )

    def add(self, filename: str, text: str) -> None:
        self.sources[filename] = Source(filename, text)

    def region(self, filename: str, piece: str) -> Region:
        source = self.sources[filename]
        start = source.text.index(piece)
        row, column, _ = source.location(start)
        end_row, end_column, _ = source.location(start + len(piece))
        return Region(row, column, end_row, end_column)

    def related(self, filename: str, piece: str, message: str) -> RelatedPlace:
        return RelatedPlace(filename, None, self.region(filename, piece), message)

    def replace(self, filename: str, piece: str, by: str, applicability: str = "safe") -> PlainFix:
        start = self.sources[filename].text.index(piece)
        edit = PlainEdit(start, start + len(piece), by, self.region(filename, piece))
        return PlainFix(applicability, f"Write `{by.strip()}`", (edit,))

    def finding(self, filename: str, piece: str, **changes: Any) -> Diagnostic:
        plain = Diagnostic(
            code="QA1105",
            name="clip-before-unscale",
            message="`model` is clipped while scaled",
            severity="critical",
            confidence="high",
            filename=filename,
            cell=None,
            notebook_cell=None,
            region=self.region(filename, piece),
            related=(),
            fix=None,
            help=None,
            status="new",
            checklist=("11.06", "11.07"),
            url="https://example.org/rules/clip-before-unscale",
            noqa_row=self.region(filename, piece).row,
            fingerprint="0123456789abcdef",
        )
        return plain._replace(**changes)

    def report(self, *diagnostics: Diagnostic, **changes: Any) -> Report:
        settings: dict[str, Any] = {
            "files": 3,
            "base": "/repo/src",
            "top_level": "/repo",
            "get_source": self.sources.get,
            "get_rule": self.rule,
        }
        return Report(diagnostics, **{**settings, **changes})

    @staticmethod
    def rule(code: str) -> RuleInfo | None:
        if code != "QA1105":
            return None
        return RuleInfo(
            code=code,
            name="clip-before-unscale",
            section="11",
            severity="critical",
            confidence="high",
            fix="safe",
            fix_availability="sometimes",
            oracle="cpu",
            default=True,
            preview=False,
            since="0.1.0",
            checklist=("11.06",),
            summary="Gradients are clipped while they carry the loss scale.",
            explanation="## Why is this bad?\n" + "The threshold means something else. " * 60,
            options=(),
            url="https://example.org/rules/clip-before-unscale",
        )


CLIP = "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)"


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def clipped(desk: Desk) -> Callable[..., Diagnostic]:
    """The finding of the issue's title, with two related places, help and a safe fix."""

    def make(**changes: Any) -> Diagnostic:
        path = "/repo/src/train.py"
        start = TRAIN.index(CLIP)
        region = desk.region(path, CLIP)
        at = Region(region.row, region.column, region.row, region.column)
        edit = PlainEdit(start, start, "scaler.unscale_(optimizer)\n        ", at)
        settings: dict[str, Any] = {
            "related": (
                desk.related(path, "scaler.scale(loss).backward()", "gradients are scaled here"),
                desk.related(path, "scaler.step(optimizer)", "and used here"),
            ),
            "help": "Call `scaler.unscale_(optimizer)` before clipping.",
            "fix": PlainFix("safe", "Insert `scaler.unscale_(optimizer)`", (edit,)),
        }
        return desk.finding(path, CLIP)._replace(**{**settings, **changes})

    return make
