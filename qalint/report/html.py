"""The scorecard as one HTML page that needs nothing else: no network, no other file, no framework.

All text that comes from the judged files passes `markup.escape`. The page carries a content security
policy that allows its own script, by its hash, and its own style, and nothing from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files as resources
from itertools import chain

from ..diagnostic import Diagnostic, Region
from ..output.frame import Lines, lines_of
from ..output.patch import hunks
from .charts import VERDICT_VARIABLES, bars, gauge, stacked
from .listing import LABELS, by_section, counts, judges
from .markup import escape, escape_line, prose
from .paths import readable
from .scorecard import SEVERITIES, Scorecard, raises, summary
from .scores import NAMES, Score
from .verdicts import ALL, FAIL, PERSON, UNKNOWN, Evidence, Verdict

MOST_LINES = 4000
"""Of a longer file only the lines around marks are shown."""
AROUND = 12
NAMED = {**LABELS, FAIL: "fail", PERSON: "a person"}


class _Page:
    """The state of one page: which file has which number, and which places have an anchor."""

    def __init__(self, card: Scorecard) -> None:
        self.card = card
        self.findings = card.by_severity()
        self.ids = {id(finding): f"finding-{number}" for number, finding in enumerate(self.findings, 1)}
        seen = dict.fromkeys(finding.filename for finding in card.findings)
        for verdict in card.verdicts:
            seen.update(dict.fromkeys(piece.filename for piece in verdict.evidence))
        self.files = {path: number for number, path in enumerate(sorted(seen), 1)}

    def anchor(self, path: str, row: int, cell: int | None) -> str:
        """The id of a source line."""
        return f"f{self.files[path]}-c{cell}-l{row}" if cell else f"f{self.files[path]}-l{row}"

    def place(self, path: str, row: int, cell: int | None) -> str:
        """A place as a link into the source."""
        where = f"{readable(path)}:{f'cell {cell}:' if cell else ''}{row}"
        if path not in self.files:
            return f'<span class="place">{escape(where)}</span>'
        return f'<a class="place" href="#{self.anchor(path, row, cell)}">{escape(where)}</a>'

    def section_of(self, finding: Diagnostic) -> str:
        """The section that a finding's rule belongs to."""
        rule = self.card.gathered.rule(finding.code)
        return rule.section if rule else ""


def render(card: Scorecard) -> str:
    """The page."""
    page = _Page(card)
    style = resources("qalint.report").joinpath("page.css").read_text("utf-8")
    script = resources("qalint.report").joinpath("page.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}';"
        " base-uri 'none'; form-action 'none'"
    )
    title = f"QA scorecard: {card.target}"
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="referrer" content="no-referrer">\n',
            f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n",
            '<a class="skip" href="#main">Skip to the report</a>\n',
            f"<header><h1>{escape(title)}</h1>",
            '<button type="button" id="theme" aria-pressed="false" hidden>Dark or light</button></header>\n',
            f'<main id="main">\n<p>{escape(summary(card))}</p>\n',
            f'<p class="quiet">{escape(card.beside)}</p>\n' if card.beside else "",
            _overview(page),
            _scores(page),
            _filters(page),
            _checklist(page),
            _findings(page),
            _sources(page),
            "</main>\n<footer>Made by qalint. What is not seen is not passed: an item passes only on"
            " the evidence it names.",
            f"</footer>\n<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


def _overview(page: _Page) -> str:
    card = page.card
    rows = [(f"{section} {title}", counts(group)) for section, title, group in by_section(card.verdicts)]
    legend = "".join(
        f'<li><span style="background:var({VERDICT_VARIABLES[verdict]})"></span>{escape(NAMED[verdict])}</li>'
        for verdict in ALL
    )
    severities = [
        (name, sum(finding.severity == name for finding in card.findings), f"--{name}") for name in SEVERITIES
    ]
    gauges = "".join(
        f'<div class="card"><h3>{escape(NAMES[name])}</h3>{gauge(NAMES[name], score.value, number)}</div>'
        for number, (name, score) in enumerate(card.scores.items(), 1)
    )
    return (
        '<section aria-labelledby="overview"><h2 id="overview">Overview</h2><div class="cards">'
        f"{gauges}"
        f'<div class="card"><h3>Findings by severity</h3>{bars("Findings by severity", severities)}</div>'
        f"</div>"
        f'<div class="card"><h3>Verdicts by section</h3><div class="scroll">{stacked(rows)}</div>'
        f'<ul class="legend">{legend}</ul></div></section>\n'
    )


def _scores(page: _Page) -> str:
    out = ['<section aria-labelledby="scores"><h2 id="scores">Scores, and what would raise them</h2>']
    for name, score in page.card.scores.items():
        out.append(f"<details><summary><strong>{escape(NAMES[name])}</strong>: {_value(score)}</summary>")
        if gains := raises(score):
            out.append(
                "<p>What would raise it most:</p><ul>"
                + "".join(f"<li>{prose(line)}</li>" for line in gains)
                + "</ul>"
            )
        out.append(
            '<div class="scroll"><table><thead><tr><th scope="col">criterion</th><th scope="col"'
            ' class="n">weight</th>'
            '<th scope="col">value</th><th scope="col">evidence</th></tr></thead><tbody>'
        )
        for part in score.parts:
            if part.value is None:
                value = '<span class="quiet">nothing to judge</span>'
            else:
                value = (
                    f'{part.value:.0%}<div class="bar" aria-hidden="true">'
                    f'<span style="width:{part.value:.0%}"></span></div>'
                )
            seen = [escape(text) for text in part.evidence]
            seen += [
                f"{page.place(place.filename, place.row, place.cell)} {escape(place.text)}"
                for place in part.places
            ]
            out.append(
                f'<tr><th scope="row">{escape(part.criterion.name)}</th><td class="n">{part.weight:g}</td>'
                f"<td>{value}</td><td>{'<br>'.join(seen)}</td></tr>"
            )
        out.append("</tbody></table></div></details>")
    out.append("</section>\n")
    return "".join(out)


def _value(score: Score) -> str:
    return "nothing to score" if score.value is None else f"{score.value:.1f} of 10"


def _filters(page: _Page) -> str:
    sections = "".join(
        f'<option value="{section}">{escape(f"{section} {title}")}</option>'
        for section, title, _ in by_section(page.card.verdicts)
    )
    files = "".join(
        f'<option value="{number}">{escape(readable(path))}</option>' for path, number in page.files.items()
    )
    severities = "".join(
        f'<label><input type="checkbox" name="severity" value="{name}" checked> {name}</label>'
        for name in SEVERITIES
    )
    verdicts = "".join(
        f'<label><input type="checkbox" name="verdict" value="{name}" checked> {escape(NAMED[name])}</label>'
        for name in ALL
    )
    return (
        '<form class="filters" id="filters" role="search" aria-label="Filters" hidden>'
        f'<div><label for="section">Section</label><select id="section"><option'
        f' value="">all</option>{sections}</select></div>'
        f'<div><label for="file">File</label><select id="file"><option'
        f' value="">all</option>{files}</select></div>'
        '<div><label for="words">Words</label><input type="search" id="words" autocomplete="off"></div>'
        f"<fieldset><legend>Severity of findings</legend>{severities}</fieldset>"
        f"<fieldset><legend>Verdict of items</legend>{verdicts}</fieldset>"
        '<div><button type="button" id="clear">Reset</button></div>'
        '<div role="status" aria-live="polite" id="shown" class="quiet"></div></form>\n'
    )


def _checklist(page: _Page) -> str:
    out = ['<section aria-labelledby="checklist"><h2 id="checklist">The checklist</h2>']
    for section, title, group in by_section(page.card.verdicts):
        out.append(f"<div data-group><h3>{escape(f'{section} {title}')}</h3>")
        out += [_item(page, verdict) for verdict in group]
        out.append("</div>")
    out.append("</section>\n")
    return "".join(out)


def _item(page: _Page, verdict: Verdict) -> str:
    item = verdict.item
    name = verdict.verdict or UNKNOWN
    paths = chain((f.filename for f in verdict.findings), (e.filename for e in verdict.evidence))
    numbers = " ".join(sorted({str(page.files[path]) for path in paths if path in page.files}))
    inside = []
    if verdict.reason:
        inside.append(f"<p>{prose(verdict.reason)}</p>")
    if verdict.question:
        inside.append(f"<p><strong>{escape(verdict.question)}</strong></p>")
    if verdict.findings:
        inside.append("<ul>" + "".join(_link(page, finding) for finding in verdict.findings) + "</ul>")
    if verdict.evidence:
        inside.append("<ul>" + "".join(_seen(page, piece) for piece in verdict.evidence) + "</ul>")
    if item.note:
        inside.append(f'<p class="quiet">{prose(item.note)}</p>')
    inside.append(f'<p class="quiet">Judged by {escape(judges(item))}.</p>')
    return (
        f'<details class="item" data-entry="item" data-sections="{item.section}" data-verdict="{name}"'
        f' data-files="{numbers}" id="item-{item.id.replace(".", "-")}"{" open" if name == FAIL else ""}>'
        f'<summary><span class="badge v-{name}">{escape(NAMED[name])}</span><span>{item.id}</span>'
        f'<span class="text">{prose(item.text)}</span><span class="quiet">{item.priority}</span></summary>'
        f'<div class="inside">{"".join(inside)}</div></details>'
    )


def _link(page: _Page, finding: Diagnostic) -> str:
    target = page.ids.get(id(finding))
    text = f"<strong>{escape(finding.code)}</strong> {prose(finding.message)}"
    if target:
        text = f'<a href="#{target}">{escape(finding.code)}</a> {prose(finding.message)}'
    return f"<li>{text} {page.place(finding.filename, finding.region.row, finding.cell)}</li>"


def _seen(page: _Page, piece: Evidence) -> str:
    return f"<li>{page.place(piece.filename, piece.row, piece.cell)} {prose(piece.text)}</li>"


def _findings(page: _Page) -> str:
    out = ['<section aria-labelledby="findings"><h2 id="findings">Findings, the worst first</h2>']
    if not page.findings:
        out.append("<p>No findings.</p>")
    out.append("<div data-group>")
    out += [_finding(page, finding) for finding in page.findings]
    out.append("</div></section>\n")
    return "".join(out)


def _finding(page: _Page, finding: Diagnostic) -> str:
    card = page.card
    sections = {page.section_of(finding), *(item.partition(".")[0] for item in finding.checklist)}
    words = [finding.name, finding.severity]
    if finding.confidence != "high":
        words.append(f"{finding.confidence} confidence")
    if card.is_advice(finding):
        words.append("advice, off in check")
    if finding.notebook_cell:
        words.append(f"cell {finding.notebook_cell}")
    inside = [
        f"<p>{page.place(finding.filename, finding.region.row, finding.cell)} <span"
        f' class="quiet">{escape(", ".join(words))}</span></p>'
    ]
    lines = lines_of(card.gathered.source(finding.filename), finding.cell)
    if lines is not None:
        inside.append(_frame(finding, lines))
    if finding.related:
        notes = "".join(
            f"<li>{prose(place.message)} {page.place(place.filename, place.region.row, place.cell)}</li>"
            for place in finding.related
        )
        inside.append(f"<ul>{notes}</ul>")
    if finding.help:
        inside.append(f"<p>Help: {prose(finding.help)}</p>")
    if finding.fix is not None:
        inside.append(f"<p>Fix ({escape(finding.fix.applicability)}): {prose(finding.fix.message)}</p>")
        if lines is not None and finding.fix.edits:
            inside.append(_diff(finding, lines))
    if finding.url.startswith("https://"):
        inside.append(
            f'<p><a href="{escape(finding.url)}" rel="noreferrer noopener">About'
            f" {escape(finding.code)}</a></p>"
        )
    return (
        f'<details class="finding" data-entry="finding" data-sections="{escape(" ".join(sorted(sections)))}"'
        f' data-severity="{escape(finding.severity)}" data-files="{page.files[finding.filename]}"'
        f' id="{page.ids[id(finding)]}"{"" if card.is_advice(finding) else " open"}>'
        f'<summary><span class="badge s-{escape(finding.severity)}">{escape(finding.severity)}</span>'
        f'<span>{escape(finding.code)}</span><span class="text">{prose(finding.message)}</span></summary>'
        f'<div class="inside">{"".join(inside)}</div></details>'
    )


def _frame(finding: Diagnostic, lines: Lines) -> str:
    """The lines around a finding, and those of its related places in the same file."""
    region = finding.region
    rows = set(range(region.row - 2, min(region.end_row, region.row + 3) + 3))
    near = {
        place.region.row: place.message
        for place in finding.related
        if place.filename == finding.filename and place.cell == finding.cell
    }
    rows |= set(near)
    out = []
    previous = None
    for row in sorted(row for row in rows if 1 <= row <= lines.count):
        if previous is not None and row > previous + 1:
            out.append('<span class="row quiet"><span class="no">…</span></span>')
        previous = row
        kind = "here" if region.row <= row <= region.end_row else "on" if row in near else ""
        note = f'<span class="note">  {escape(near[row])}</span>' if row in near and kind == "on" else ""
        out.append(_row(row, _marked(lines[row], row, region), kind, note))
    return f'<pre tabindex="0" aria-label="Source of {escape(finding.code)}">{"".join(out)}</pre>'


def _row(row: int, content: str, kind: str = "", note: str = "", anchor: str = "") -> str:
    classes = f"row {kind}".strip()
    name = f' id="{anchor}"' if anchor else ""
    return f'<span class="{classes}"{name}><span class="no">{row}</span>{content or " "}{note}\n</span>'


def _marked(line: str, row: int, region: Region) -> str:
    """A line with the part of it that the region covers."""
    if not region.row <= row <= region.end_row:
        return escape_line(line)
    start = region.column - 1 if row == region.row else len(line) - len(line.lstrip())
    end = region.end_column - 1 if row == region.end_row else len(line)
    start, end = min(start, len(line)), min(end, len(line))
    if end <= start:
        return escape_line(line)
    return f"{escape_line(line[:start])}<mark>{escape_line(line[start:end])}</mark>{escape_line(line[end:])}"


def _diff(finding: Diagnostic, lines: Lines) -> str:
    assert finding.fix is not None
    out = []
    for hunk in hunks(lines, finding.fix.edits):
        out += [
            f'<span class="row del"><span class="no">{hunk.row + i} −</span>{escape_line(text)}\n</span>'
            for i, text in enumerate(hunk.old)
        ]
        out += [
            f'<span class="row add"><span class="no">+</span>{escape_line(text)}\n</span>'
            for text in hunk.new
        ]
    return (
        f'<pre tabindex="0" aria-label="Fix of {escape(finding.code)} as a diff">{"".join(out)}</pre>'
        if out
        else ""
    )


def _sources(page: _Page) -> str:
    out = ['<section aria-labelledby="sources"><h2 id="sources">Source</h2>']
    for path, number in page.files.items():
        source = page.card.gathered.source(path)
        if source is None:
            continue
        marks: dict[tuple[int | None, int], list[Diagnostic]] = {}
        for finding in page.findings:
            if finding.filename == path:
                marks.setdefault((finding.cell, finding.region.row), []).append(finding)
        wanted = {
            (piece.cell, piece.row)
            for verdict in page.card.verdicts
            for piece in verdict.evidence
            if piece.filename == path
        }
        wanted |= set(marks)
        wanted |= {
            (place.cell, place.region.row)
            for finding in page.findings
            for place in finding.related
            if place.filename == path
        }
        cells = [block.number for block in source.blocks] if source.kind == "jupyter" else [None]
        body = []
        for cell in cells:
            if (lines := lines_of(source, cell)) is not None:
                body.append(f"<h4>cell {cell}</h4>" if cell else "")
                body.append(
                    _listing(page, path, cell, lines, marks, {row for at, row in wanted if at == cell})
                )
        out.append(
            f'<details id="file-{number}"><summary><code>{escape(readable(path))}</code>'
            f' <span class="quiet">{sum(map(len, marks.values()))} findings</span>'
            f"</summary>{''.join(body)}</details>"
        )
    out.append("</section>\n")
    return "".join(out)


def _listing(
    page: _Page,
    path: str,
    cell: int | None,
    lines: Lines,
    marks: dict[tuple[int | None, int], list[Diagnostic]],
    wanted: set[int],
) -> str:
    """The lines of a file or cell; of a very long file those around its marks."""
    rows: Iterable[int] = range(1, lines.count + 1)
    if lines.count > MOST_LINES:
        rows = sorted(
            {
                near
                for row in wanted
                for near in range(row - AROUND, row + AROUND + 1)
                if 1 <= near <= lines.count
            }
        )
    out = []
    previous = 0
    for row in rows:
        if row > previous + 1:
            out.append('<span class="row quiet"><span class="no">…</span></span>')
        previous = row
        found = marks.get((cell, row), [])
        anchor = page.anchor(path, row, cell) if row in wanted else ""
        if found:
            notes = "; ".join(f"{finding.code} {finding.message}" for finding in found)
            content = _marked(lines[row], row, found[0].region)
            out.append(_row(row, content, "here", f'<span class="note">  {escape(notes)}</span>', anchor))
        else:
            out.append(_row(row, escape_line(lines[row]), "on" if row in wanted else "", "", anchor))
    return f'<pre tabindex="0" aria-label="Source of {escape(readable(path))}">{"".join(out)}</pre>'
