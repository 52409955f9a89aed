"""Formats for code hosts point into the notebook's JSON, which is what those show."""

from __future__ import annotations

import json

import pytest

from qalint import reader
from qalint.diagnostic import PlainEdit, PlainFix, Region
from qalint.output import render

CELLS = [
    {"cell_type": "markdown", "metadata": {}, "source": ["# Title\n", "text"]},
    {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": ["π = '\"'\n", "\n", "x = 'π'; bad = 1\n", "y = 2"],
    },
]


@pytest.fixture(params=[1, None], ids=["indented", "compact"])
def notebook(request, desk, tmp_path):
    path = tmp_path / "nb.ipynb"
    data = {"cells": CELLS, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(data, indent=request.param, ensure_ascii=False), encoding="utf-8")
    source = reader.read(str(path))
    desk.sources[str(path)] = source
    region = Region(3, 10, 3, 13)
    edit = PlainEdit(0, 3, "good", region)
    finding = desk.finding("/repo/src/train.py", "import torch")._replace(
        filename=str(path), cell=2, region=region, fix=PlainFix("safe", "Rename", (edit,))
    )
    return path, desk.report(finding, base=str(tmp_path), top_level=str(tmp_path))


def cut(path, row: int, column: int, end_column: int) -> str:
    line = path.read_text(encoding="utf-8").split("\n")[row - 1]
    return line[column - 1 : end_column - 1]


def test_sarif(notebook):
    path, report = notebook
    (result,) = json.loads(render("sarif", report))["runs"][0]["results"]
    region = result["locations"][0]["physicalLocation"]["region"]
    assert region["startLine"] == region["endLine"]
    assert cut(path, region["startLine"], region["startColumn"], region["endColumn"]) == "bad"
    assert result["locations"][0]["logicalLocations"] == [{"name": "cell 2", "kind": "module"}]
    assert "fixes" not in result, "the text of a cell lies inside JSON"


def test_github_and_gitlab(notebook):
    path, report = notebook
    properties = dict(
        pair.split("=") for pair in render("github", report).split("::")[1].split(" ", 1)[1].split(",")
    )
    assert cut(path, int(properties["line"]), int(properties["col"]), int(properties["endColumn"])) == "bad"
    positions = json.loads(render("gitlab", report))[0]["location"]["positions"]
    begin, end = positions["begin"], positions["end"]
    assert cut(path, begin["line"], begin["column"], end["column"]) == "bad"


def test_rdjson(notebook):
    path, report = notebook
    (item,) = json.loads(render("rdjson", report))["diagnostics"]
    place = item["location"]["range"]
    line = path.read_bytes().split(b"\n")[place["start"]["line"] - 1]
    assert line[place["start"]["column"] - 1 : place["end"]["column"] - 1] == b"bad"
    assert "suggestions" not in item


def test_json_keeps_the_cell(notebook):
    _, report = notebook
    (item,) = json.loads(render("json", report))
    assert (item["cell"], item["location"]) == (2, {"row": 3, "column": 10})
    assert render("concise", report).startswith("nb.ipynb:cell 2:3:10: ")
