"""GitLab: a Code Quality report (the part of the Code Climate format that GitLab reads)."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from .common import GITLAB, relative
from .physical import physical

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic
    from ..report_data import Report


def render(report: Report) -> str:
    """The array of findings, each with a fingerprint of its own, as GitLab demands."""
    seen: set[str] = set()
    issues = [_issue(diagnostic, report, seen) for diagnostic in report.shown]
    return json.dumps(issues, indent=2) + "\n"


def _issue(diagnostic: Diagnostic, report: Report, seen: set[str]) -> dict[str, Any]:
    root = report.top_level
    where = physical(diagnostic.filename, diagnostic.cell, diagnostic.region, report)
    region = where or diagnostic.region
    path = relative(diagnostic.filename, root)
    body = [diagnostic.help] if diagnostic.help else []
    body += [
        f"{relative(place.filename, root)}:{place.region.row}: {place.message}"
        for place in diagnostic.related
    ]
    return {
        "type": "issue",
        "check_name": diagnostic.code,
        "description": f"{diagnostic.code}: {diagnostic.message}",
        "content": {"body": "\n\n".join(body)},
        "categories": ["Bug Risk"],
        "severity": GITLAB[diagnostic.severity],
        "fingerprint": _unique(diagnostic.fingerprint or f"{diagnostic.code} {path}", seen),
        "location": {
            "path": path,
            "positions": {
                "begin": {"line": region.row, "column": region.column},
                "end": {"line": region.end_row, "column": region.end_column},
            },
        },
    }


def _unique(fingerprint: str, seen: set[str]) -> str:
    """GitLab drops all but one of equal fingerprints: the second takes the hash of the first, and so on."""
    while fingerprint in seen:
        fingerprint = sha256(fingerprint.encode(errors="surrogatepass")).hexdigest()[:32]
    seen.add(fingerprint)
    return fingerprint
