"""Section 9: the tests of a repository are read, and only what the code asks for is missed."""

import pytest

from qalint.analysis.coverage import REQUIREMENTS, Coverage, is_test
from qalint.linter import check, parse
from qalint.registry import rules
from qalint.source import Source

RULES = {rule.code: rule for rule in rules() if rule.code.startswith("QA09")}

TRAINER = """\
import torch


def fit(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda")
    for x, y in loader:
        with torch.autocast("cuda", dtype=torch.float16):
            loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
"""


def codes(folder, tests=(), text=TRAINER):
    (folder / "pyproject.toml").write_text("")
    (folder / "tests").mkdir(exist_ok=True)
    for number, body in enumerate(tests):
        (folder / "tests" / f"test_{number}.py").write_text(body)
    path = folder / "trainer.py"
    path.write_text(text)
    file = parse(Source(str(path), text))
    found = list(check(file, [rule() for rule in RULES.values()]))
    assert all(finding.place.source.location(finding.place.start).row == 4 for finding in found)
    return {finding.code: finding.message for finding in found}


def test_a_repository_without_tests(tmp_path):
    found = codes(tmp_path)
    assert sorted(found) == ["QA0901", "QA0902", "QA0904"]
    assert (
        found["QA0901"] == "no test looks for NaN after FP16 training in `fit` (the repository has no tests)"
    )


def test_what_the_tests_do_is_not_missed(tmp_path):
    test = (
        "import math\nimport pytest\nfrom trainer import fit\n\n\n@pytest.fixture\ndef model():\n   "
        " return object()\n\n\n"
        "def test_fp16(model):\n"
        "    assert math.isfinite(fit(model, []))\n\n\n"
        "def gradient(model):\n    return model.weight.grad\n\n\n"
        "def test_flow(model):\n    fit(model, [])\n    assert gradient(model) is not None\n"
    )
    assert codes(tmp_path, [test]) == {
        "QA0902": "no test runs the FP32 path of `fit`",
    }
    both = test.replace(
        "def test_fp16(model)",
        '@pytest.mark.parametrize("use_fp16", [True, False])\ndef test_fp16(model, use_fp16)',
    )
    assert codes(tmp_path, [both]) == {}
    assert codes(tmp_path, [test, "def test_full_precision():\n    assert train(amp=False) < 1\n"]) == {}


def test_naming_a_thing_is_not_testing_it(tmp_path):
    assert "QA0901" in codes(tmp_path, ["def test_fp16():\n    assert trainer.fp16\n"])
    assert "QA0901" in codes(tmp_path, ["# fp16 nan backward\ndef test_x():\n    pass\n"])


def test_no_repository_no_opinion(tmp_path, monkeypatch):
    monkeypatch.setattr("qalint.analysis.coverage.repository", lambda path: None)
    path = tmp_path / "trainer.py"
    path.write_text(TRAINER)
    assert Coverage.of(parse(Source(str(path), TRAINER))) is None


def test_code_that_trains_nothing_and_tests_are_not_asked(tmp_path):
    assert codes(tmp_path, text="import torch\n\nx = 1\n" + "def f():\n    pass\n") == {}
    for name in ("test_x.py", "x_test.py", "conftest.py"):
        assert is_test(name)
    assert not is_test("contest.py")


def test_a_broken_test_file_is_left_out(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_broken.py").write_text("def test_(:\n")
    assert "QA0901" in codes(tmp_path)


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("fp16", "def test_a():\n    with autocast(): assert not isnan(loss)"),
        ("fp32", "def test_a():\n    train(dtype=torch.float32)"),
        ("trainable share", "def test_a():\n    assert sum(p.numel() for p in ps if p.requires_grad) < 3"),
        ("gradient flow", "def test_a():\n    loss.backward(); assert layer.weight.grad is not None"),
        ("generation", "def test_a():\n    model.generate(ids)"),
        ("architectures", "def test_a(gpt2, llama): pass"),
        ("preview", "def test_a():\n    assert len(table.data) == 3"),
    ],
)
def test_requirements(item, text):
    assert REQUIREMENTS[item].met(text)
    assert not REQUIREMENTS[item].met("def test_other():\n    assert 1 + 1 == 2")


def test_seven_rules_of_advice():
    assert sorted(RULES) == [f"QA090{number}" for number in range(1, 8)]
    assert all(not rule.default and rule.severity.value == "low" for rule in RULES.values())
