"""Fixed notebooks, run by marimo in a fresh process: no NameError, and the outputs are there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from qalint_rules.marimo_cells import (
    DroppedOutput,
    OutputInBranch,
    PrivateNameCrossesCells,
    ReturnDoesNotDisplay,
    ValueReadWhereCreated,
)

from qalint.testing import apply, findings

pytest.importorskip("marimo")
FIXTURES = Path(__file__).parents[3] / "fixtures" / "marimo_cells"

RUN = """
import importlib.util, json, sys
from marimo._output.formatting import as_html
results = []
for path in sys.argv[1:]:
    try:
        spec = importlib.util.spec_from_file_location("nb", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        outputs, _ = module.app.run()
        results.append({"error": None, "outputs": ["" if o is None else as_html(o).text for o in outputs]})
    except Exception as error:
        results.append({"error": repr(error), "outputs": []})
print("RESULT" + json.dumps(results))
"""

CASES = [
    (PrivateNameCrossesCells, "private-name-crosses-cells/bad_returned_losses.py", "Best loss"),
    (PrivateNameCrossesCells, "private-name-crosses-cells/bad_import_and_fstring.py", "Fibonacci"),
    (ReturnDoesNotDisplay, "return-does-not-display/bad_return_markdown.py", "evaluate"),
    (ReturnDoesNotDisplay, "return-does-not-display/bad_output_by_branch.py", "Losses"),
    (ReturnDoesNotDisplay, "return-does-not-display/bad_figure_ends_in_grid.py", "image/png"),
    (OutputInBranch, "output-in-branch/bad_if_else_vstack.py", "Final loss: 0.40"),
    (OutputInBranch, "output-in-branch/bad_loop_of_callouts.py", "Why FP16?"),
    (OutputInBranch, "output-in-branch/bad_with_spinner_and_try.py", "75%"),
    (OutputInBranch, "output-in-branch/bad_elements_in_match.py", "marimo-slider"),
    (OutputInBranch, "output-in-branch/bad_figure_by_name.py", "image/png"),
    (DroppedOutput, "dropped-output/bad_step_message.py", "data loaded"),
    (DroppedOutput, "dropped-output/bad_heading_before_table.py", "The data"),
    (DroppedOutput, "dropped-output/bad_inside_blocks.py", "No GPU found"),
    (ValueReadWhereCreated, "value-read-where-created/bad_slider_in_same_cell.py", "300 steps"),
    (ValueReadWhereCreated, "value-read-where-created/bad_in_markdown_below.py", "Hello Ada"),
]


def fixed(rule, text: str) -> str:
    """The text after the rule's fixes, one at a time until none is left."""
    for _ in range(10):
        found = [each for each in findings(rule, text) if each.fix is not None]
        if not found:
            return text
        text = apply(found[0])
    raise AssertionError("the fixes do not come to an end")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    paths = []
    for number, (rule, name, _) in enumerate(CASES):
        text = (FIXTURES / name).read_text(encoding="utf-8")
        for state, code in (("before", text), ("after", fixed(rule, text))):
            path = folder / f"nb_{number}_{state}.py"
            path.write_text(code, encoding="utf-8")
            paths.append(str(path))
    done = subprocess.run(
        [sys.executable, "-c", RUN, *paths], capture_output=True, text=True, timeout=300, check=True
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    found = json.loads(line.removeprefix("RESULT"))
    return [(found[2 * number], found[2 * number + 1]) for number in range(len(CASES))]


@pytest.mark.parametrize("number", range(len(CASES)), ids=[Path(name).stem for _, name, _ in CASES])
def test_after_the_fix_it_runs_and_shows_what_it_should(results, number):
    before, after = results[number]
    wanted = CASES[number][2]
    assert after["error"] is None
    assert any(wanted in output for output in after["outputs"])
    assert before["error"] is not None or not any(wanted in output for output in before["outputs"])


def test_other_outputs_stay_as_they_were(results):
    for before, after in results:
        if before["error"] is None and len(before["outputs"]) == len(after["outputs"]):
            kept = [one for one in before["outputs"] if one]
            assert len([one for one in after["outputs"] if one]) >= len(kept)
