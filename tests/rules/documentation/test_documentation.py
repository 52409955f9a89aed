"""Section 14: what the rules say, where, and when they keep silent."""

import pytest

from qalint.registry import rules, sections
from qalint.testing import findings

RULES = {rule.code: rule for rule in rules() if rule.code.startswith("QA14")}

TRAINING = """\
import torch

device = "cuda" if torch.cuda.is_available() else "cpu"
model = torch.nn.Linear(4, 1).to(device)
learning_rate = 3e-4
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
for x, y in loader:
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
"""


def found(code, text, **options):
    return [
        (finding.place.source.location(finding.place.start).row, finding.message)
        for finding in findings(RULES[code], text, **options)
    ]


def test_all_thirteen_are_advice():
    assert sorted(RULES) == [f"QA14{number:02}" for number in range(1, 14)]
    for rule in RULES.values():
        assert not rule.default
        assert rule.severity.value == "low"
        assert rule.checklist == (f"14.{rule.code[-2:]}",)
    assert next(section for section in sections() if section.id == "14").needles == ()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("QA1402", [(1, "nothing says what GPU and gradient clipping costs or saves in time and memory")]),
        ("QA1403", [(1, "GPU and gradient clipping is compared with no alternative")]),
        ("QA1404", [(1, "nothing says what is given up with GPU and gradient clipping")]),
        ("QA1405", [(3, "the code uses a GPU here, and nothing says why that helps")]),
        ("QA1406", [(5, "no reason is given for the learning rate: `learning_rate = 3e-4`")]),
        ("QA1407", []),
        ("QA1408", [(11, "gradient clipping is used here, and nothing says what it is for")]),
        (
            "QA1409",
            [(1, "nothing says for how much data, for which hardware or in which case this is meant")],
        ),
        ("QA1412", [(7, "this loop trains and shows nothing until it is done")]),
        ("QA1401", []),
        ("QA1411", []),
        ("QA1413", []),
    ],
)
def test_a_bare_script(code, expected):
    assert found(code, TRAINING) == expected


@pytest.mark.parametrize("code", sorted(RULES))
def test_a_module_of_definitions_teaches_nobody(code):
    body = "".join(f"    {line}\n" for line in TRAINING.splitlines()[2:])
    assert found(code, f"import torch\n\n\ndef train(loader):\n{body}") == []


def test_a_comment_beside_the_value_counts():
    for comment in ("# higher diverged on this data, because it is noisy",):
        above = TRAINING.replace("learning_rate = 3e-4", f"{comment}\nlearning_rate = 3e-4")
        beside = TRAINING.replace("learning_rate = 3e-4", f"learning_rate = 3e-4  {comment}")
        assert found("QA1406", above) == found("QA1406", beside) == []
    assert found(
        "QA1406", TRAINING.replace("learning_rate = 3e-4", "learning_rate = 3e-4  # the learning rate")
    )


GERMAN = (
    '"""'
    + "Wir trainieren das Modell mit den Daten, und es ist nicht groß, weil der Speicher knapp ist. " * 4
    + '"""\n'
)


def test_prose_in_another_language_is_judged_only_by_its_own_words():
    text = GERMAN + TRAINING
    assert found("QA1406", text) == []
    assert found("QA1406", text, **{"reasoning-words": ["weil"]}) != []
    explained = text.replace("trainieren das Modell", "nehmen diese Lernrate und trainieren das Modell")
    assert found("QA1406", explained, **{"reasoning-words": ["weil"], "topic-words": ["Lernrate"]}) == []


def test_progress_in_a_function_of_the_file_counts():
    text = TRAINING.replace("    optimizer.step()\n", "    optimizer.step()\n    tell(loss)\n")
    assert found("QA1412", text) != []
    assert found("QA1412", "def tell(loss):\n    print(loss)\n\n\n" + text) == []


def test_a_printed_example_is_a_preview():
    text = TRAINING.replace("import torch\n", "import torch\n\ntrain_dataset = MyDataset()\n", 1)
    assert [row for row, _ in found("QA1410", text)] == [3]
    shown = "first, label = train_dataset[0]\nprint(first)\n"
    assert found("QA1410", text.replace("MyDataset()\n", f"MyDataset()\n{shown}")) == []
    computed = "loss = model(train_dataset[0])\nprint(loss)\n"
    assert found("QA1410", text.replace("MyDataset()\n", f"MyDataset()\n{computed}")) != []


def test_every_finding_says_what_to_do():
    for rule in RULES.values():
        for finding in findings(rule, TRAINING):
            assert finding.help
            assert finding.fix is None
