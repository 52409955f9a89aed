"""What the analyses may cost, in steps and worlds: seconds depend on the machine, these do not.

Each rule has fixtures in many idioms; an idiom that makes an analysis run on and on shows here first.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from qalint import reader
from qalint.analysis.machine.story import Story
from qalint.analysis.modules import Modules
from qalint.analysis.project import Project
from qalint.file import File
from qalint.linter import parse

ROOT = Path(__file__).parent.parent / "fixtures"
SECTIONS = ("mixed_precision", "lora", "gpu")
STEPS_A_LINE = 16
"""Statements and expressions that `Modules` may run for a line of the program; the most today is 11."""
STORY_STEPS_A_LINE = 4
"""The same of the abstract machine; the most today is 2.3."""
WORLDS = 8
"""How many worlds the machine may keep apart; the most today is 4."""


def rules() -> list[Path]:
    return sorted(folder for section in SECTIONS for folder in (ROOT / section).iterdir() if folder.is_dir())


def programs(folder: Path) -> list[tuple[Path, int]]:
    """The files of a rule's fixtures, each with the lines of the program that it belongs to."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        beside = path.parent.glob("*.py") if path.parent != folder else [path]
        found.append((path, sum(len(other.read_bytes().splitlines()) for other in beside)))
    return found


@pytest.mark.parametrize("folder", rules(), ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_analyses_stay_within_their_budget(folder: Path) -> None:
    over = []
    for path, lines in programs(folder):
        source = reader.read(str(path))
        file = File(source, parse(source).tree, Project([str(path.parent)]))
        modules, story = file.get(Modules), file.get(Story)
        if modules is not None:
            steps = modules.used + modules.run.steps
            if steps > STEPS_A_LINE * lines or modules.spent:
                over.append((path.name, "steps", steps, lines))
        if story is not None:
            counts = story.counts
            if counts.steps > STORY_STEPS_A_LINE * lines or counts.worlds > WORLDS or counts.bounds:
                over.append((path.name, "story", counts.steps, counts.worlds))
    assert over == []


def test_a_library_has_a_smaller_budget_than_a_program(tmp_path: Path) -> None:
    """What nobody calls is looked at within a bound, however long the file is."""
    from qalint.analysis.modules.core import LIBRARY, METHOD, TOTAL

    part = (
        "class Part{0}(torch.nn.Module):\n"
        "    def __init__(self, width):\n"
        "        super().__init__()\n"
        "        self.layers = torch.nn.ModuleList([torch.nn.Linear(width, width) for _ in range(8)])\n\n"
        "    def forward(self, x):\n"
        "        for layer in self.layers:\n"
        "            x = layer(x) + x\n"
        "        return x\n\n\n"
    )
    library = "import torch\n\n\n" + "".join(part.format(number) for number in range(1200))
    program = library + "if __name__ == '__main__':\n    print(Part0(4))\n"
    spent = {}
    for name, text in (("library", library), ("program", program)):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        modules = parse(reader.read(str(path))).get(Modules)
        assert modules is not None
        spent[name] = modules.used + modules.run.steps
    assert spent["library"] <= LIBRARY + METHOD
    assert LIBRARY + METHOD < spent["program"] <= TOTAL + METHOD
