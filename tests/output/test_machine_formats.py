"""The formats that programs read: the exact keys, the scales, the escapes, and their readers' own parsers."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import jsonschema
import pytest

from qalint.diagnostic import PlainEdit, PlainFix, Region
from qalint.output import FORMATS, render

POSITION = {
    "type": "object",
    "properties": {"line": {"type": "integer", "minimum": 1}, "column": {"type": "integer", "minimum": 1}},
    "required": ["line", "column"],
    "additionalProperties": False,
}
RANGE = {
    "type": "object",
    "properties": {"start": POSITION, "end": POSITION},
    "required": ["start", "end"],
    "additionalProperties": False,
}


def all_findings(desk, clipped):
    other = desk.related("/repo/src/helper.py", "make_scaler()", "made here")
    return (
        clipped(notebook_cell="train"),
        clipped(severity="high", related=(other,), fix=None),
        clipped(severity="medium", confidence="medium", help=None),
        desk.finding("/repo/src/nb.ipynb", "scaler = 2", cell=3, severity="low", code="QA9999"),
    )


def test_every_format_is_pure_and_ends_in_a_line_end(desk, clipped):
    report = desk.report(*all_findings(desk, clipped))
    for format in FORMATS:
        first = render(format, report)
        assert first == render(format, report)
        assert first.endswith("\n") and not first.endswith("\n\n\n")


def test_every_format_survives_a_file_name_that_is_no_text(desk, clipped):
    report = desk.report(clipped(filename="/repo/src/\udcff.py", related=()))
    for format in FORMATS:
        assert render(format, report).encode()


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "sarif"])
def test_known_and_suppressed_findings_are_left_out(desk, clipped, format):
    quiet = (clipped(status="baseline"), clipped(status="suppressed"))
    assert "QA1105" not in render(format, desk.report(*quiet))
    assert render(format, desk.report(clipped(), show_marked=True)).count("QA1105") < render(
        format, desk.report(clipped(), *quiet, show_marked=True)
    ).count("QA1105")


# JSON


def test_json_is_the_interface(desk, clipped):
    (item,) = json.loads(render("json", desk.report(clipped(notebook_cell="train"))))
    assert item == {
        "code": "QA1105",
        "name": "clip-before-unscale",
        "message": "`model` is clipped while scaled",
        "severity": "critical",
        "confidence": "high",
        "filename": "/repo/src/train.py",
        "cell": None,
        "notebook_cell": "train",
        "location": {"row": 10, "column": 9},
        "end_location": {"row": 10, "column": 64},
        "related": [
            {
                "filename": "/repo/src/train.py",
                "cell": None,
                "location": {"row": 9, "column": 9},
                "end_location": {"row": 9, "column": 38},
                "message": "gradients are scaled here",
            },
            {
                "filename": "/repo/src/train.py",
                "cell": None,
                "location": {"row": 11, "column": 9},
                "end_location": {"row": 11, "column": 31},
                "message": "and used here",
            },
        ],
        "help": "Call `scaler.unscale_(optimizer)` before clipping.",
        "fix": {
            "applicability": "safe",
            "message": "Insert `scaler.unscale_(optimizer)`",
            "edits": [
                {
                    "content": "scaler.unscale_(optimizer)\n        ",
                    "location": {"row": 10, "column": 9},
                    "end_location": {"row": 10, "column": 9},
                }
            ],
        },
        "status": "new",
        "checklist": ["11.06", "11.07"],
        "url": "https://example.org/rules/clip-before-unscale",
        "noqa_row": 10,
        "fingerprint": "0123456789abcdef",
    }


def test_json_of_a_clean_run_is_an_empty_array(desk):
    assert json.loads(render("json", desk.report())) == []
    assert render("json-lines", desk.report()) == ""


def test_json_lines_are_the_objects_of_the_array(desk, clipped):
    report = desk.report(*all_findings(desk, clipped))
    lines = render("json-lines", report).splitlines()
    assert [json.loads(line) for line in lines] == json.loads(render("json", report))


def test_json_shows_marked_findings_on_request(desk, clipped):
    report = desk.report(clipped(), clipped(status="suppressed"), show_marked=True)
    assert [item["status"] for item in json.loads(render("json", report))] == ["new", "suppressed"]


# GitHub


def parse_command(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as the runner reads it: split first, unescape then."""
    match = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line)
    assert match is not None, line

    def plain(text: str) -> str:
        for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            text = text.replace(code, char)
        return text

    pairs = (pair.split("=", 1) for pair in match[2].split(","))
    return match[1], {key: plain(value) for key, value in pairs}, plain(match[3])


def test_github_annotations(desk, clipped):
    report = desk.report(*all_findings(desk, clipped))
    first, second, third, fourth = map(parse_command, render("github", report).splitlines())
    assert [first[0], second[0], third[0], fourth[0]] == ["error", "error", "warning", "notice"]
    assert first[1] == {
        "title": "qalint (QA1105)",
        "file": "src/train.py",
        "line": "10",
        "endLine": "10",
        "col": "9",
        "endColumn": "64",
    }
    assert first[2].splitlines() == [
        "src/train.py:10:9: QA1105 `model` is clipped while scaled",
        "  src/train.py:9:9: gradients are scaled here",
        "  src/train.py:11:9: and used here",
        "  help: Call `scaler.unscale_(optimizer)` before clipping.",
    ]
    assert "line" not in fourth[1], "rows of a Jupyter cell are not rows of the file"
    assert fourth[2].startswith("src/nb.ipynb:cell 3:2:1:")


def test_github_messages_cannot_start_a_command(desk, clipped):
    name = "/repo/src/a,b:c%2C\n::add-mask::x.py"
    finding = clipped(message="100% of\n::error::fake\r", filename=name, related=(), help="50%25")
    text = render("github", desk.report(finding))
    assert len(text.splitlines()) == 1
    _, properties, message = parse_command(text.rstrip("\n"))
    assert properties["file"] == "src/a,b:c%2C\\x0a::add-mask::x.py"
    assert "100% of\\x0a::error::fake\\x0d" in message
    assert "help: 50%25" in message


def test_github_drops_columns_of_several_lines(desk, clipped):
    _, properties, _ = parse_command(
        render("github", desk.report(clipped(region=Region(9, 9, 11, 3)))).rstrip("\n")
    )
    assert (properties["line"], properties["endLine"]) == ("9", "11")
    assert "col" not in properties and "endColumn" not in properties


# GitLab

GITLAB = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "type": {"const": "issue"},
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "minLength": 1},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "categories": {"type": "array", "items": {"enum": ["Bug Risk"]}, "minItems": 1},
            "content": {"type": "object", "properties": {"body": {"type": "string"}}},
            "location": {
                "type": "object",
                "required": ["path", "positions"],
                "properties": {
                    "path": {"type": "string", "pattern": "^[^/]"},
                    "positions": {
                        "type": "object",
                        "properties": {"begin": POSITION, "end": POSITION},
                        "required": ["begin", "end"],
                        "additionalProperties": False,
                    },
                },
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    },
}


def test_gitlab_report(desk, clipped):
    issues = json.loads(render("gitlab", desk.report(*all_findings(desk, clipped))))
    jsonschema.validate(issues, GITLAB)
    assert [issue["severity"] for issue in issues] == ["critical", "major", "minor", "info"]
    assert issues[0]["location"]["path"] == "src/train.py"
    assert issues[0]["location"]["positions"]["begin"] == {"line": 10, "column": 9}
    assert "src/train.py:9: gradients are scaled here" in issues[0]["content"]["body"]
    assert json.loads(render("gitlab", desk.report())) == []


def test_gitlab_fingerprints_are_unique_and_stable(desk, clipped):
    twice = [
        issue["fingerprint"] for issue in json.loads(render("gitlab", desk.report(clipped(), clipped())))
    ]
    thrice = json.loads(render("gitlab", desk.report(clipped(), clipped(), clipped())))
    assert len({issue["fingerprint"] for issue in thrice}) == 3
    assert [issue["fingerprint"] for issue in thrice][:2] == twice
    assert twice[0] == "0123456789abcdef"


# JUnit


def test_junit_document(desk, clipped):
    root = ElementTree.fromstring(render("junit", desk.report(*all_findings(desk, clipped))).encode())
    assert root.attrib == {"name": "qalint", "tests": "4", "failures": "4", "errors": "0"}
    assert [suite.get("name") for suite in root] == ["/repo/src/train.py", "/repo/src/nb.ipynb"]
    assert [suite.get("failures") for suite in root] == ["3", "1"]
    case = root[0][0]
    assert (case.get("name"), case.get("classname"), case.get("line")) == ("org.qalint.QA1105", "train", "10")
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == "`model` is clipped while scaled"
    assert "train.py:9:9: gradients are scaled here" in (failure.text or "")
    assert case.find("properties/property[@name='severity']").get("value") == "critical"


def test_junit_is_read_by_a_junit_parser(desk, clipped, tmp_path):
    junitparser = pytest.importorskip("junitparser")
    path = tmp_path / "junit.xml"
    path.write_text(render("junit", desk.report(*all_findings(desk, clipped))), encoding="utf-8")
    document = junitparser.JUnitXml.fromfile(str(path))
    document.update_statistics()
    assert (document.tests, document.failures) == (4, 4)
    cases = [case for suite in document for case in suite]
    assert all(isinstance(case.result[0], junitparser.Failure) for case in cases)


def test_junit_of_a_clean_run_holds_a_passing_test(desk):
    root = ElementTree.fromstring(render("junit", desk.report()).encode())
    assert root.get("tests") == "1" and root.get("failures") == "0"
    assert root.find("testsuite/testcase/failure") is None


def test_junit_escapes(desk, clipped):
    finding = clipped(message='<a href="x">&amp;</a> \x00\x1b', related=(), filename='/repo/src/"<&>.py')
    root = ElementTree.fromstring(render("junit", desk.report(finding)).encode())
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == '<a href="x">&amp;</a> \\x00\\x1b'
    assert root[0].get("name") == '/repo/src/"<&>.py'


# rdjson

RDJSON = {
    "type": "object",
    "required": ["source", "diagnostics"],
    "properties": {
        "source": {"type": "object", "required": ["name", "url"]},
        "severity": {"enum": ["ERROR", "WARNING", "INFO"]},
        "diagnostics": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["message", "location", "severity", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "severity": {"enum": ["ERROR", "WARNING", "INFO"]},
                    "code": {
                        "type": "object",
                        "properties": {"value": {"type": "string"}, "url": {"type": "string"}},
                        "required": ["value"],
                        "additionalProperties": False,
                    },
                    "location": {"$ref": "#/$defs/location"},
                    "suggestions": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["range", "text"],
                            "properties": {"range": RANGE, "text": {"type": "string"}},
                            "additionalProperties": False,
                        },
                    },
                    "relatedLocations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message", "location"],
                            "properties": {
                                "message": {"type": "string"},
                                "location": {"$ref": "#/$defs/location"},
                            },
                            "additionalProperties": False,
                        },
                    },
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
    "$defs": {
        "location": {
            "type": "object",
            "required": ["path", "range"],
            "properties": {"path": {"type": "string"}, "range": RANGE},
            "additionalProperties": False,
        }
    },
}


def test_rdjson_document(desk, clipped):
    document = json.loads(render("rdjson", desk.report(*all_findings(desk, clipped))))
    jsonschema.validate(document, RDJSON)
    severities = [item["severity"] for item in document["diagnostics"]]
    assert severities == ["ERROR", "ERROR", "WARNING", "INFO"]
    first = document["diagnostics"][0]
    assert first["location"]["path"] == "train.py"
    assert first["suggestions"][0]["range"]["start"] == {"line": 10, "column": 9}
    assert first["relatedLocations"][0]["message"] == "gradients are scaled here"


def test_rdjson_columns_count_utf8_bytes(desk):
    path = "/repo/src/helper.py"
    region = desk.region(path, "make_scaler()")
    fix = PlainFix("safe", "x", (PlainEdit(0, 0, "y", region),))
    document = json.loads(render("rdjson", desk.report(desk.finding(path, "make_scaler()", fix=fix))))
    (item,) = document["diagnostics"]
    before = "π = '日本語'; scaler = "
    expected = {"line": 1, "column": len(before.encode()) + 1}
    assert region.column == len(before) + 1
    assert item["location"]["range"]["start"] == expected
    assert item["suggestions"][0]["range"]["start"] == expected


# pylint


def test_pylint_lines(desk, clipped):
    text = render("pylint", desk.report(*all_findings(desk, clipped)))
    pattern = re.compile(r"^(.+?):(\d+): \[(\w+)\] (.+)$")  # what Jenkins' pylint parser matches
    assert [pattern.fullmatch(line).groups()[:3] for line in text.splitlines()] == [
        ("train.py", "10", "QA1105"),
        ("train.py", "10", "QA1105"),
        ("train.py", "10", "QA1105"),
        ("nb.ipynb", "2", "QA9999"),
    ]
