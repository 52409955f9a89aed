"""Modules beside a program: found by import, by `sys.path`, and only where the program trains with them."""

import pytest

from qalint.analysis.imported import Imported
from qalint.linter import parse
from qalint.source import Source

TRAINER = """\
import torch


def train(model, loss):
    scaler = torch.amp.GradScaler("cuda")
    loss.backward()
"""


def imported(folder, text):
    path = folder / "main.py"
    path.write_text(text)
    return Imported.of(parse(Source(str(path), text)))


@pytest.mark.parametrize(
    "text",
    [
        "import trainer\n\ntrainer.train(1, 2)\n",
        "import trainer as t\n\nt.train(1, 2)\n",
        "from trainer import train\n\ntrain(1, 2)\n",
        "from trainer import train as fit\n\nfit(1, 2)\n",
    ],
)
def test_spellings(tmp_path, text):
    (tmp_path / "trainer.py").write_text(TRAINER)
    found = imported(tmp_path, text)
    assert found.trains
    assert [module.path for module in found.modules] == [str(tmp_path / "trainer.py")]
    decisions = found.kind("optimization")
    assert [decision.topic for decision in decisions] == ["gradient scaling"]
    assert decisions[0].text == text.split("\n")[0]


@pytest.mark.parametrize(
    "text",
    [
        "import trainer\n\nprint(trainer.VERSION)\n",
        "import trainer\n\n\ndef f():\n    trainer.train(1, 2)\n",
        "import elsewhere\n\nelsewhere.train(1, 2)\n",
        "trainer = 1\ntrainer.train(1, 2)\n",
    ],
)
def test_what_is_not_trained_with(tmp_path, text):
    (tmp_path / "trainer.py").write_text(TRAINER)
    assert imported(tmp_path, text).modules == []


def test_a_folder_on_the_path(tmp_path):
    (tmp_path / "nb").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "trainer.py").write_text(TRAINER)
    text = (
        "import sys\nfrom pathlib import Path\n\nsys.path.insert(0, str(Path(__file__).parent.parent /"
        " 'lib'))\n"
        "import trainer\n\ntrainer.train(1, 2)\n"
    )
    assert imported(tmp_path / "nb", text).trains
