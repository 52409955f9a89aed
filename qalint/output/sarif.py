"""SARIF 2.1.0: what GitHub code scanning and many viewers read.

Nothing is dropped: suppressed findings carry `suppressions`, those of the baseline `baselineState`
as well, or a code host would open and close their alerts with every change of either. The
fingerprint has a key of its own, since GitHub recomputes `primaryLocationLineHash` and warns when
another tool's differs.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .. import __version__
from .common import INFORMATION_URI, SARIF, relative
from .physical import physical

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic, PlainFix, Region, RelatedPlace
    from ..registry import RuleInfo
    from ..report_data import Report

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "%SRCROOT%"
FINGERPRINT = "qalint/v1"
MOST_TEXT = 1000
"""GitHub refuses a `fullDescription` of more than 1,024 characters."""
_LINK = re.compile(r"(\[)(?=[^\[\]]*\]\()")
"""What would start an embedded link: user code such as `layers[i](x)` must not."""
PROBLEM = {"critical": "error", "high": "error", "medium": "warning", "low": "recommendation"}


def render(report: Report) -> str:
    """The log with its one run."""
    codes = sorted({diagnostic.code for diagnostic in report.diagnostics})
    marked = report.known > 0
    run = {
        "tool": {
            "driver": {
                "name": "qalint",
                "semanticVersion": __version__,
                "informationUri": INFORMATION_URI,
                "rules": [_rule(code, report) for code in codes],
            }
        },
        "automationDetails": {"id": "qalint/"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {ROOT: {"description": {"text": "The root of the repository."}}},
        "invocations": [_invocation(report)],
        "results": [_result(diagnostic, codes, report, marked) for diagnostic in report.diagnostics],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _invocation(report: Report) -> dict[str, Any]:
    """Whether the run succeeded, which SARIF keeps apart from what it found."""
    failed = [diagnostic for diagnostic in report.diagnostics if diagnostic.code == "QA0003"]
    invocation: dict[str, Any] = {"executionSuccessful": not failed}
    if failed:
        invocation["toolExecutionNotifications"] = [
            {
                "level": "error",
                "message": {"text": diagnostic.message},
                "locations": [_location(diagnostic, report)],
            }
            for diagnostic in failed
        ]
    return invocation


def _rule(code: str, report: Report) -> dict[str, Any]:
    info = report.get_rule(code)
    if info is None:
        return {"id": code}
    heading = f"# {info.name} ({info.code})\n\n{info.summary}\n\n"
    codes = [old for old in info.former if old[-1].isdigit()]
    names = [old for old in info.former if not old[-1].isdigit()]
    return {
        "id": info.code,
        "name": info.name,
        **({"deprecatedIds": codes} if codes else {}),
        **({"deprecatedNames": names} if names else {}),
        "shortDescription": {"text": info.summary},
        "fullDescription": {"text": _description(info)},
        "help": {
            "text": f"{info.summary}\n\n{info.explanation}",
            "markdown": heading + info.explanation,
        },
        "helpUri": info.url,
        "defaultConfiguration": {"enabled": info.default, "level": SARIF[info.severity]},
        "properties": {
            "precision": info.confidence,
            "problem.severity": PROBLEM[info.severity],
            "severity": info.severity,
            "tags": ["qalint", *(f"checklist/{item}" for item in info.checklist)],
        },
    }


def _description(info: RuleInfo) -> str:
    """The summary and the first section of the page, short enough for GitHub."""
    section = next((part for part in re.split(r"^## .*$", info.explanation, flags=re.M) if part.strip()), "")
    text = f"{info.summary} {' '.join(section.split())}".strip()
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 3].rsplit(" ", 1)[0] + "..."


def _result(diagnostic: Diagnostic, codes: list[str], report: Report, marked: bool) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": codes.index(diagnostic.code),
        "level": SARIF[diagnostic.severity],
        "message": {"text": _message(diagnostic)},
        "locations": [_location(diagnostic, report)],
        "partialFingerprints": {FINGERPRINT: diagnostic.fingerprint},
        "suppressions": _suppressions(diagnostic),
        "properties": {
            "severity": diagnostic.severity,
            "confidence": diagnostic.confidence,
            "checklist": list(diagnostic.checklist),
        },
    }
    if marked:
        result["baselineState"] = "unchanged" if diagnostic.status == "baseline" else "new"
    if diagnostic.related:
        result["relatedLocations"] = [
            {"id": number, **_related(place, report)} for number, place in enumerate(diagnostic.related, 1)
        ]
        result["codeFlows"] = [{"threadFlows": [{"locations": _flow(diagnostic, report)}]}]
    # An edit of a Jupyter cell is one of text inside JSON, which a viewer could not apply.
    if diagnostic.fix is not None and diagnostic.fix.edits and diagnostic.cell is None:
        result["fixes"] = [_fix(diagnostic, diagnostic.fix, report)]
    return result


def _message(diagnostic: Diagnostic) -> str:
    """The message, then the related places as links that a viewer follows."""
    text = _LINK.sub(r"\\\1", diagnostic.message)
    if diagnostic.help:
        text += "\n" + _LINK.sub(r"\\\1", diagnostic.help)
    links = [f"[{_escaped(place.message)}]({number})" for number, place in enumerate(diagnostic.related, 1)]
    return text + (f"\nSee: {', '.join(links)}." if links else "")


def _escaped(text: str) -> str:
    return re.sub(r"([\[\]\\])", r"\\\1", text)


def _suppressions(diagnostic: Diagnostic) -> list[dict[str, str]]:
    """Empty, not absent, for a live finding: SARIF wants all results of a run to agree on that."""
    if diagnostic.status == "suppressed":
        return [{"kind": "inSource"}]
    if diagnostic.status == "baseline":
        return [{"kind": "external", "justification": "Known: counted in the baseline."}]
    return []


def _location(diagnostic: Diagnostic, report: Report) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": _physical(diagnostic.filename, diagnostic.cell, diagnostic.region, report)
    }
    if diagnostic.cell is not None:
        location["logicalLocations"] = [{"name": f"cell {diagnostic.cell}", "kind": "module"}]
    elif diagnostic.notebook_cell:
        location["logicalLocations"] = [{"name": diagnostic.notebook_cell, "kind": "function"}]
    return location


def _related(place: RelatedPlace, report: Report) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": _physical(place.filename, place.cell, place.region, report),
        "message": {"text": place.message},
    }
    if place.cell is not None:
        location["logicalLocations"] = [{"name": f"cell {place.cell}", "kind": "module"}]
    return location


def _flow(diagnostic: Diagnostic, report: Report) -> list[dict[str, Any]]:
    """The path step by step: what stands before the finding, the finding, what stands after it."""
    before: list[dict[str, Any]] = []
    after: list[dict[str, Any]] = []
    for place in diagnostic.related:
        later = place.filename == diagnostic.filename and place.region > diagnostic.region
        (after if later else before).append({"location": _related(place, report)})
    main = {**_location(diagnostic, report), "message": {"text": diagnostic.message}}
    return [*before, {"location": main, "importance": "essential"}, *after]


def _physical(filename: str, cell: int | None, region: Region, report: Report) -> dict[str, Any]:
    found = physical(filename, cell, region, report)
    return {"artifactLocation": _artifact(filename, report), "region": _region(found or region)}


def _artifact(filename: str, report: Report) -> dict[str, str]:
    path = relative(filename, report.top_level)
    uri = quote(os.fsencode(path))
    if os.path.isabs(path):
        return {"uri": "file://" + uri if uri.startswith("/") else "file:///" + uri}
    return {"uri": uri, "uriBaseId": ROOT}


def _region(region: Region) -> dict[str, int]:
    return {
        "startLine": region.row,
        "startColumn": region.column,
        "endLine": region.end_row,
        "endColumn": region.end_column,
    }


def _fix(diagnostic: Diagnostic, fix: PlainFix, report: Report) -> dict[str, Any]:
    return {
        "description": {"text": fix.message},
        "artifactChanges": [
            {
                "artifactLocation": _artifact(diagnostic.filename, report),
                "replacements": [
                    {"deletedRegion": _region(edit.region), "insertedContent": {"text": edit.content}}
                    for edit in fix.edits
                ],
            }
        ],
        "properties": {"applicability": fix.applicability},
    }
