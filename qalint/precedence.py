"""One fault, one finding: where a specific and a general rule speak of the same fault, general is silent."""

from __future__ import annotations

from collections.abc import Iterable

from .diagnostic import Diagnostic, Region
from .rule import Confidence, Finding
from .statements import Statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast


def hidden(
    findings: list[Finding], pairs: Iterable[tuple[str, str]], trees: dict[str, ast.Module]
) -> set[int]:
    """Indices of the general findings that a specific one, at least as sure, makes superfluous.

    Both speak of one fault if they start on one line or in one statement, or if one of them starts
    at a place that the other names as related.
    """
    by_code: dict[str, list[int]] = {}
    for index, finding in enumerate(findings):
        by_code.setdefault(finding.code, []).append(index)
    statements: dict[str, Statements] = {}
    found: set[int] = set()
    for specific, general in pairs:
        for low in by_code.get(general, ()):
            for high in by_code.get(specific, ()):
                if findings[high].confidence.rank > findings[low].confidence.rank:
                    continue
                if _same_fault(findings[high], findings[low], statements, trees):
                    found.add(low)
                    break
    return found


def _same_fault(
    one: Finding, other: Finding, statements: dict[str, Statements], trees: dict[str, ast.Module]
) -> bool:
    first, second = _start(one), _start(other)
    if first == second or first in _related(other) or second in _related(one):
        return True
    if first[0] != second[0]:
        return False
    source = one.place.source
    rows = source.row(one.place.start), source.row(other.place.start)
    if rows[0] == rows[1]:
        return True
    if source.path not in statements:
        statements[source.path] = Statements(source, trees.get(source.path))
    return statements[source.path].holding(rows[0]) == statements[source.path].holding(rows[1])


def _start(finding: Finding) -> tuple[str, int]:
    return finding.place.source.path, finding.place.start


def _related(finding: Finding) -> set[tuple[str, int]]:
    return {(item.place.source.path, item.place.start) for item in finding.related}


def told_elsewhere(found: list[Diagnostic], pairs: Iterable[tuple[str, str]]) -> set[int]:
    """Indices of the general findings of a run that a specific one of another file makes superfluous.

    What a file itself finds is settled there; here only the places that findings name count.
    """
    by_code: dict[str, list[int]] = {}
    for index, item in enumerate(found):
        by_code.setdefault(item.code, []).append(index)
    superfluous: set[int] = set()
    for specific, general in pairs:
        for low in by_code.get(general, ()):
            for high in by_code.get(specific, ()):
                one, other = found[high], found[low]
                if Confidence(one.confidence).rank > Confidence(other.confidence).rank:
                    continue
                first, second = (
                    _at(one.filename, one.cell, one.region),
                    _at(other.filename, other.cell, other.region),
                )
                if first in _named(other) or second in _named(one):
                    superfluous.add(low)
                    break
    return superfluous


def _at(filename: str, cell: int | None, region: Region) -> tuple[str, int | None, int, int]:
    return filename, cell, region.row, region.column


def _named(item: Diagnostic) -> set[tuple[str, int | None, int, int]]:
    return {_at(place.filename, place.cell, place.region) for place in item.related}
