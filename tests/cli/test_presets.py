"""Presets: what each turns on, and that every other key refines it."""

from __future__ import annotations

from pathlib import Path

import pytest

from qalint.config import Config
from qalint.presets import PRESETS
from qalint.registry import Catalog, catalog

from .conftest import Run

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture(scope="module")
def known() -> Catalog:
    return catalog()


def enabled(known: Catalog, *layers: dict[str, object]) -> set[str]:
    config = Config("/", [(f"layer {number}", layer) for number, layer in enumerate(layers)], known)
    return set(config.enabled) - {"QA0001", "QA0002", "QA0003"}


def sections(codes: set[str]) -> set[str]:
    return {code[2:4] for code in codes}


def test_what_each_preset_runs(known: Catalog) -> None:
    rules = known.rules
    assert sections(enabled(known, {"preset": "training"})) == {"11", "12", "17"}
    assert sections(enabled(known, {"preset": "notebooks"})) == {"13", "15", "16"}
    teaching = enabled(known, {"preset": "teaching"})
    assert teaching - enabled(known, {"preset": "notebooks"}) == {
        code for code in rules if code[:4] == "QA14"
    }
    strict = enabled(known, {"preset": "strict"})
    assert strict == {code for code, rule in rules.items() if not rule.preview} - {
        "QA0001",
        "QA0002",
        "QA0003",
    }
    critical = enabled(known, {"preset": "critical"})
    assert {rules[code].severity for code in critical} == {"critical"}
    assert {"QA1105", "QA1301"} <= critical < enabled(known)


def test_thresholds_of_presets_yield_to_their_own_keys(known: Catalog) -> None:
    def values(*layers: dict[str, object]) -> tuple[str, str]:
        config = Config("/", [(str(number), layer) for number, layer in enumerate(layers)], known)
        return config.values["fail-on"], config.values["min-confidence"]

    assert values({"preset": "critical"}) == ("critical", "high")
    assert values({"preset": "strict"}) == ("low", "medium")
    assert values({"preset": "strict", "min-confidence": "low"}) == ("low", "low")
    assert values({"min-confidence": "low"}, {"preset": "strict"}) == ("low", "medium")


def test_other_keys_refine_a_preset(known: Catalog) -> None:
    notebooks = enabled(known, {"preset": "notebooks"})
    assert enabled(known, {"preset": "notebooks", "extend-select": ["QA1105"]}) == notebooks | {"QA1105"}
    assert enabled(known, {"preset": "notebooks", "ignore": ["QA16"]}) == {
        code for code in notebooks if not code.startswith("QA16")
    }
    assert enabled(known, {"preset": "notebooks", "select": ["QA1105"]}) == {"QA1105"}
    # A later place starts anew, as it does with `select`.
    assert enabled(known, {"preset": "notebooks"}, {"preset": "training"}) == enabled(
        known, {"preset": "training"}
    )
    assert enabled(known, {"preset": "notebooks"}, {"ignore": ["QA16"]}) < notebooks


def test_flag_variable_and_file(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QALINT_IGNORE")
    (project / "nb.py").write_text(
        "import marimo\n\napp = marimo.App()\n\n\n"
        "@app.cell\ndef _():\n    import marimo as mo\n    return (mo,)\n\n\n"
        "@app.cell\ndef _(mo, x):\n    if x:\n        mo.md('a')\n    return\n\n\n"
        "@app.cell\ndef _():\n    from helpers import old\n\n    old(1)\n    x = 1\n    return (x,)\n"
    )
    assert set(run("nb.py").codes) == {"QA1305", "QA9901"}
    assert run("nb.py", "--preset", "notebooks").codes == ["QA1305"]
    assert run("nb.py", "--preset", "training").codes == []
    (project / "qalint.toml").write_text('preset = "training"\n')
    assert run("nb.py").codes == []
    assert run("nb.py", "--preset", "notebooks").codes == ["QA1305"]
    assert run("nb.py", "--extend-select", "QA99").codes == ["QA9901"]
    monkeypatch.setenv("QALINT_PRESET", "notebooks")
    assert run("nb.py").codes == ["QA1305"]
    monkeypatch.setenv("QALINT_IGNORE", "output-in-branch")
    assert run("nb.py").codes == []


def test_a_preset_that_does_not_exist(project: Path, run: Run) -> None:
    (project / "a.py").write_text("x = 1\n")
    ran = run("a.py", "--preset", "notebook")
    assert ran.status == 2
    assert "`--preset` cannot be `notebook` (did you mean `notebooks`?)" in ran.err
    (project / "qalint.toml").write_text('preset = "notebook"\n')
    ran = run("a.py")
    assert ran.status == 2
    assert "sets `preset` to `notebook`" in ran.err and "(did you mean `notebooks`?)" in ran.err


def test_a_report_runs_every_rule_whatever_the_preset(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qalint.report.gather import gather

    monkeypatch.delenv("QALINT_IGNORE")
    (project / "qalint.toml").write_text('preset = "training"\n')
    (project / "a.py").write_text("import torch\n")
    assert {"QA1105", "QA1305", "QA1401"} <= gather(["a.py"]).enabled(str(project / "a.py"))


def test_the_documentation_names_them_all() -> None:
    text = DOCS.read_text()
    for name, preset in PRESETS.items():
        assert f"| `{name}` | {preset.help}" in text


def test_the_key_explains_each_preset(run: Run) -> None:
    out = run("preset", command="config").out
    for name, preset in PRESETS.items():
        assert f"{name}: {preset.help}" in out
