"""`--statistics`: the most frequent rule first."""

from __future__ import annotations

import json

from qalint.output import statistics


def test_table_and_json(desk, clipped):
    other = clipped(code="QA1301", name="private-name-across-cells", fix=None)
    half = clipped(fix=None)
    report = desk.report(clipped(), half, other, clipped(status="baseline"))
    assert statistics.render(report) == (
        "2  QA1105  [-] clip-before-unscale\n"
        "1  QA1301  [ ] private-name-across-cells\n"
        "Found 3 findings of 2 rules.\n"
        "[*] 1 fixable with `--fix`.\n"
    )
    first, second = json.loads(statistics.render_json(report))
    assert (first["code"], first["count"], first["fixable"], first["fixable_count"]) == (
        "QA1105",
        2,
        False,
        1,
    )
    assert (second["code"], second["count"]) == ("QA1301", 1)


def test_nothing_to_count(desk):
    assert statistics.render(desk.report()) == ""
    assert statistics.render_json(desk.report()) == "[]\n"
