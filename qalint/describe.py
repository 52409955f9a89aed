"""A rule's `Finding` to plain data: rows and columns, fingerprint, the notebook cell it stands in."""

from __future__ import annotations

import ast

from .diagnostic import Diagnostic, PlainEdit, PlainFix, Region, RelatedPlace
from .registry import Catalog
from .rule import Finding, Place
from .source import Source
from .store import blake2b


class Describer:
    """Turns the findings of one linted file into diagnostics; remembers what it worked out per source."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._strings: dict[int, dict[int, int]] = {}
        self._seen: dict[tuple[str, str, str], int] = {}

    def describe(self, finding: Finding, tree: ast.Module | None, cell_name: str | None) -> Diagnostic:
        """The diagnostic; `tree` is that of the finding's own file if it is at hand."""
        source, start, _ = finding.place
        info = self._catalog.rules[finding.code]
        row = source.row(start)
        return Diagnostic(
            code=finding.code,
            name=finding.name,
            message=finding.message,
            severity=finding.severity.value,
            confidence=finding.confidence.value,
            filename=source.path,
            cell=source.location(start).cell,
            notebook_cell=cell_name,
            region=region(finding.place),
            related=tuple(
                RelatedPlace(
                    item.place.source.path,
                    item.place.source.location(item.place.start).cell,
                    region(item.place),
                    item.message,
                )
                for item in finding.related
            ),
            fix=_fix(finding),
            help=finding.help,
            status="new",
            checklist=info.checklist,
            url=info.url,
            noqa_row=self._noqa_row(source, tree, row) - row + source.location(start).row,
            fingerprint=self._fingerprint(finding.code, source, row),
        )

    def _fingerprint(self, code: str, source: Source, row: int) -> str:
        """Stable while lines shift and files move: the rule, the line's words, and which of equals it is."""
        words = " ".join(source.line(row).split())
        key = (source.path, code, words)
        number = self._seen[key] = self._seen.get(key, 0) + 1
        return blake2b(f"{code}\0{words}\0{number}".encode("utf-8", "replace"), digest_size=12).hexdigest()

    def _noqa_row(self, source: Source, tree: ast.Module | None, row: int) -> int:
        """The line at whose end a suppression comment works: not inside a string, not before a backslash."""
        if tree is None:
            return row
        ends = self._strings.get(id(source))
        if ends is None:
            ends = self._strings[id(source)] = _string_lines(tree)
        while True:
            if row in ends:
                row = ends[row]
            elif source.line(row).endswith("\\") and row < len(source.line_starts):
                row += 1
            else:
                return row


def region(place: Place) -> Region:
    """Rows and columns of a place, relative to its cell in a Jupyter notebook."""
    start = place.source.location(place.start)
    end = place.source.location(place.end)
    if end.cell != start.cell:
        end = start
    return Region(start.row, start.column, end.row, end.column)


def _fix(finding: Finding) -> PlainFix | None:
    if finding.fix is None:
        return None
    source = finding.place.source
    edits = tuple(
        PlainEdit(edit.start, edit.end, edit.content, region(Place(source, edit.start, edit.end)))
        for edit in sorted(finding.fix.edits)
    )
    return PlainFix(finding.fix.applicability.value, finding.fix.message, edits)


def _string_lines(tree: ast.Module) -> dict[int, int]:
    """Lines whose end lies inside a string, and the line on which that string ends."""
    found: dict[int, int] = {}
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
        ):
            last = node.end_lineno or node.lineno
            for row in range(node.lineno, last):
                found[row] = max(last, found.get(row, 0))
        pending.extend(ast.iter_child_nodes(node))
    return found
