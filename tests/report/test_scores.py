"""Good teaching scores clearly higher than a description, and that higher than bare code."""

import re
from pathlib import Path

import pytest

from qalint.linter import parse
from qalint.report.evidence import Facts
from qalint.report.scores import DOCUMENTATION, EDUCATIONAL, score_json, scores
from qalint.source import Source

SAMPLES = Path(__file__).parent / "samples"


def of(text, path="sample.py"):
    return Facts(parse(Source(path, text)))


def sample(name):
    return scores([of((SAMPLES / f"{name}.py").read_text())])


def test_teaching_beats_describing_beats_bare_code():
    teaching, described, bare = sample("teaching"), sample("described"), sample("bare")
    for name in ("educational_value", "documentation_quality"):
        assert teaching[name].value > described[name].value > bare[name].value
    assert teaching["educational_value"].value >= 8
    assert described["educational_value"].value <= 4
    assert bare["educational_value"].value <= 1
    assert teaching["documentation_quality"].value >= 8
    assert bare["documentation_quality"].value <= 3


def test_words_without_reasons_do_not_teach():
    filler = "This is a notebook about a model. It has cells and the cells have code. " * 20
    text = (SAMPLES / "bare.py").read_text()
    padded = text.replace("import marimo\n", f'"""{filler}"""\nimport marimo\n', 1)
    before, after = scores([of(text)]), scores([of(padded)])
    assert after["educational_value"].value - before["educational_value"].value < 3.5
    assert after["educational_value"].value < 4


def test_each_removed_explanation_lowers_the_score():
    text = (SAMPLES / "teaching.py").read_text()
    whole = scores([of(text)])["educational_value"].value
    for heading, code in (
        ("**Trade-offs**", "at the cost of some quality"),
        ("## How to choose the hyperparameters", "because the adapter starts at zero"),
    ):
        start = text.index("    mo.md(\n", text.rindex("@app.cell", 0, text.index(heading)))
        end = text.index('        """\n    )\n', start) + len('        """\n    )\n')
        assert code in text[start:end]
        without = text[:start] + "    pass\n" + text[end:]
        assert scores([of(without)])["educational_value"].value < whole


def test_every_criterion_says_what_it_saw():
    for score in sample("described").values():
        for part in score.parts:
            assert part.value is None or 0 <= part.value <= 1
            assert part.evidence or part.places or part.value == 1
        gains = [gain for gain, _ in score.to_gain()]
        assert gains == sorted(gains, reverse=True)
        assert sum(gains) <= 10.001


def test_the_value_is_the_weighted_mean():
    for score in sample("described").values():
        judged = [part for part in score.parts if part.value is not None]
        mean = sum(part.weight * part.value for part in judged) / sum(part.weight for part in judged)
        assert score.value == pytest.approx(10 * mean, abs=0.06)


def test_json_has_the_promised_keys():
    found = score_json(sample("teaching")["educational_value"])
    assert list(found) == ["value", "criteria"]
    assert [criterion["name"] for criterion in found["criteria"]] == [
        criterion.name for criterion in EDUCATIONAL
    ]
    assert all(list(each) == ["name", "weight", "value", "evidence"] for each in found["criteria"])


def test_a_module_is_documented_but_teaches_nobody():
    docstring = '"""Helpers for arrays of readings from the station."""'
    text = docstring + '\n\n\ndef mean(values):\n    """The mean."""\n    return 1\n'
    found = scores([of(text)])
    assert found["educational_value"].value is None
    bare = scores([of("def mean(values):\n    return 1\n")])
    assert found["documentation_quality"].value > bare["documentation_quality"].value + 2


def test_nothing_to_score():
    assert {score.value for score in scores([]).values()} == {None}


def test_criteria_have_different_names_and_advice():
    for criteria in (EDUCATIONAL, DOCUMENTATION):
        assert len({criterion.name for criterion in criteria}) == len(criteria)
        assert all(criterion.advice and criterion.weight > 0 for criterion in criteria)


GERMAN = '''\
"""Warum LoRA: das Modell wird eingefroren und nur zwei kleine Matrizen werden trainiert, weil der Speicher
nicht für alle Gewichte und die Gradienten reicht. Die Lernrate ist höher als sonst, weil die Adapter bei null
beginnen und sich von dort entfernen müssen. Das ist der Preis für den kleinen Speicher."""

import torch

if __name__ == "__main__":
    weight = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for _ in range(3):
        loss = (weight - 1).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
'''


def test_prose_in_another_language_is_not_judged_by_english_words():
    parts = {part.criterion.name: part for part in scores([of(GERMAN)])["educational_value"].parts}
    assert parts["reasons"].value is None
    assert "not in English" in parts["reasons"].evidence[0]
    assert parts["narrative"].value > 0.5


def test_the_page_has_the_weights_of_the_code():
    page = (Path(__file__).parents[2] / "docs" / "scores.md").read_text(encoding="utf-8")
    written = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and re.fullmatch(r"[\d.]+(?: each)?", cells[1]):
            for name in cells[0].split(", "):
                written.setdefault(name, []).append(float(cells[1].split()[0]))
    for criterion in (*EDUCATIONAL, *DOCUMENTATION):
        names = [
            name for name in written if criterion.name.startswith(name) or name.startswith(criterion.name)
        ]
        assert names, criterion.name
        assert criterion.weight in written[names[0]], criterion.name
