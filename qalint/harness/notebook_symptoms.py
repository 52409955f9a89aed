"""What a notebook's reader would see: reports of `notebook_probe` in, named symptoms out. Pure."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator

from .symptoms import Report, Reports, Symptom

MEANINGS = {
    "lost": "the run gave no report: out of time or memory, or killed",
    "unloadable": "marimo finds no notebook, or refuses it",
    "undefined-name": "a cell reads a name that it cannot see",
    "cell-error": "a cell ends with an error",
    "mixed-kinds": "callouts of one cell differ in kind",
    "page-size": "a table shows fewer than 5 or more than 50 rows a page, or all of more than 20",
    "selectable": "a table lets its reader select rows",
    "string-shown": "a bare string is shown as the cell's output",
    "installs-though-there": "packages are installed although they can be imported",
    "unhandled-install-failure": "an install fails, and nobody says so",
    "silent-install": "an install says nothing",
    "stale-import": "after the install the package is still what it was before",
    "erased": "moving an element takes away what a click had brought",
    "shut-gate": "a click on a plain button without a handler changes nothing",
    "lost-event": "an element with a handler is shown, and no event reaches it",
    "no-timeout": "an install may wait for ever",
    "foreign-pip": "pip may belong to another interpreter",
}

BREAKING = frozenset({"lost", "unloadable", "undefined-name", "cell-error", "undisplayed"})
"""Symptoms that no fix may bring."""

STOPPED = ("ancestor-stopped", "ancestor-prevented", "interruption")


def symptoms(reports: Reports) -> list[Symptom]:
    """All that the runs of one notebook showed, worst first."""
    order = list(MEANINGS)
    return sorted(_of_all(reports), key=lambda symptom: order.index(symptom.name))


def _of_all(reports: Reports) -> Iterator[Symptom]:
    for report in reports.values():
        if "lost" in report:
            yield Symptom("lost", report["lost"])
            return
    if "plain" in reports:
        yield from _of_plain(reports["plain"])
    for mode, report in reports.items():
        if mode == "used":
            yield from _of_use(report)
        elif mode != "plain":
            yield from _of_installs(mode, report)


def _of_plain(report: Report) -> Iterator[Symptom]:
    if report["trouble"]:
        yield Symptom("unloadable", report["trouble"].strip().splitlines()[-1][:300])
    elif report["run"] is not None and not report["errors"]:
        yield Symptom("cell-error", f"{report['run']['type']}: {report['run']['message'][:200]}")
    yield from _errors(report)
    for cell in report["cells"]:
        kinds = callout_kinds(cell)
        if len(kinds) > 1:
            yield Symptom("mixed-kinds", ", ".join(sorted(kinds)))
        for table in tables(cell):
            if (table.size is not None and not 5 <= table.size <= 50) or (
                not table.paged and table.rows > 20
            ):
                yield Symptom(
                    "page-size", str(table.size if table.paged else f"{table.rows} rows on one page")
                )
            if table.selection:
                yield Symptom("selectable", table.selection)
        for shown in cell["shown"]:
            if shown["mime"] == "text/plain" or re.match(r"<pre[^>]*>(?:'|&#x27;)", shown["text"]):
                yield Symptom("string-shown", shown["text"][:60])


def _errors(report: Report) -> Iterator[Symptom]:
    for error in report["errors"]:
        if error["type"] in STOPPED:
            continue
        text = (
            f"{error['type']}: {error['message'].strip().splitlines()[0][:200] if error['message'] else ''}"
        )
        if "not defined" in text:
            yield Symptom("undefined-name", f"cell {error['cell'] + 1}: {text}")
        else:
            yield Symptom("cell-error", f"cell {error['cell'] + 1}: {text}")


def _of_use(report: Report) -> Iterator[Symptom]:
    """What clicks and moves did to what the cells show."""
    for element in report["elements"]:
        if element["handled"] and not element["reached"]:
            yield Symptom("lost-event", f"a {element['kind']} of the page")
    opened, *steps = ([cell["text"] for cell in step["cells"]] for step in report["steps"])
    before, clicked = opened, opened
    button = ""
    for step, shown in zip(report["steps"][1:], steps, strict=True):
        if step["act"] == "click":
            button, clicked = step["name"], shown
            if step["dumb"] and shown == before:
                yield Symptom("shut-gate", f"clicking {button}")
        else:
            for number, (first, brought, left) in enumerate(zip(opened, clicked, shown, strict=True), 1):
                if brought not in (first, "") and left in (first, ""):
                    yield Symptom("erased", f"moving {step['name']} after {button}: cell {number}")
        before = shown


def _of_installs(mode: str, report: Report) -> Iterator[Symptom]:
    """`present`: nothing should be installed. `missing`: what was installed works. `broken`: say so."""
    installs = [call for call in report["installs"] if "install" in call["words"] or "add" in call["words"]]
    if not installs:
        return
    said = " ".join(text_of(cell) + cell["console"] for cell in report["cells"]).lower()
    failed = list(_errors(report))
    if mode == "present":
        yield Symptom("installs-though-there", " ".join(installs[0]["words"][-3:]))
    elif mode == "broken":
        if not failed and not said.strip():
            yield Symptom("unhandled-install-failure", "nothing is shown")
    elif mode == "missing":
        if failed:
            yield Symptom("stale-import", failed[0].detail)
        if not said.strip():
            yield Symptom("silent-install", "nothing is shown")
        if any(not call["timeout"] and not call["shell"] for call in installs):
            yield Symptom("no-timeout", " ".join(installs[0]["words"][-3:]))
        if any(not call["own_interpreter"] for call in installs):
            yield Symptom("foreign-pip", installs[0]["words"][0])


# ---------------------------------------------------------------- what is displayed


class Table:
    """What marimo sends to the browser for one table."""

    def __init__(self, tag: str) -> None:
        def number(name: str) -> int | None:
            found = re.search(rf"data-{name}='(\d+)'", tag)
            return int(found[1]) if found else None

        self.rows = number("total-rows") or 0
        self.size = number("page-size")
        self.paged = "data-pagination='true'" in tag
        selection = re.search(r"data-selection='(?:&quot;|\")*([\w-]*)", tag)
        self.selection = "" if selection is None or selection[1] == "null" else selection[1]


def markup(cell: Report) -> str:
    """All that a cell shows, as it is sent, without the ids that differ from run to run.

    Tables and callouts nested in a layout arrive escaped, once or more; they are unescaped here.
    """
    text = " ".join(shown["text"] for shown in cell["shown"])
    text = re.sub(r"(random-id|object-id|data-initial-value)='[^']*'", "", text)
    text = re.sub(r"data:image/[^\s'\")<]*", "(image)", text)
    return re.sub(r"0x[0-9a-f]{6,}", "0x", text)


def text_of(cell: Report) -> str:
    """The words that a cell shows."""
    return html.unescape(re.sub(r"<[^>]*>", " ", markup(cell)))


def tables(cell: Report) -> list[Table]:
    """The tables that a cell shows."""
    return [Table(tag) for tag in re.findall(r"<marimo-table[^>]*>", markup(cell))]


def callout_kinds(cell: Report) -> set[str]:
    """The kinds of the callouts that a cell shows."""
    return set(re.findall(r"data-kind=['\"](?:&quot;)?(\w+)", markup(cell)))


def _words(report: Report) -> Counter[str]:
    """Every word of the markup, contents of tables and charts included."""
    words: Counter[str] = Counter()
    for cell in report["cells"]:
        words.update(re.findall(r"\w+", html.unescape(html.unescape(markup(cell)))))
    return words


def vanished(before: Reports, after: Reports) -> list[Symptom]:
    """What was shown before the fix and no longer is. Layout words come and go; words of content may not.

    What a cell showed only by accident may go when it now shows a figure: the value of the last call that
    drew it.
    """
    old, new = before["plain"]["cells"], after["plain"]["cells"]
    if len(old) == len(new):
        kept = [cell for cell, other in zip(old, new, strict=True) if _figures(other) <= _figures(cell)]
    else:
        kept = old
    lost = sorted((text_words({"cells": kept}) - text_words(after["plain"])).elements())
    return [Symptom("undisplayed", " ".join(lost[:8]))] if lost else []


def _figures(cell: Report) -> int:
    return len(re.findall(r"\(image\)|<img\b|<svg\b|<marimo-(?:plotly|vega)", markup(cell)))


def text_words(report: Report) -> Counter[str]:
    """The words of the text that all cells show."""
    words: Counter[str] = Counter()
    for cell in report["cells"]:
        words.update(re.findall(r"\w+", text_of(cell)))
    return words


def shows_more(before: Reports, after: Reports) -> str | None:
    """The fix displays what was not displayed: text, or else at least markup."""
    fresh = _newly_shown(before["plain"], after["plain"])
    return f"newly displayed: {fresh}" if fresh else None


def shows_more_everywhere(before: Reports, after: Reports) -> str | None:
    """The fix displays what was not displayed, whichever branch is taken; none brings an error.

    A branch that ends with an error before the fix, because nothing led there, says nothing.
    """
    seen = []
    for mode, old in before.items():
        new = after.get(mode)
        if mode != "plain" and any(error["type"] not in STOPPED for error in old["errors"]):
            continue
        if new is None or len(new["errors"]) > len(old["errors"]):
            return None
        fresh = _newly_shown(old, new)
        if not fresh:
            return None
        seen.append((mode, fresh))
    taken = f", on each of {len(seen) - 1} branches" if len(seen) > 2 else ""
    return f"newly displayed: {seen[0][1]}{taken}" if seen else None


def _newly_shown(before: Report, after: Report) -> str:
    """A few of the words that only the second run shows."""
    for words in (text_words, _words):
        fresh = list((words(after) - words(before)).elements())
        if fresh:
            return " ".join(fresh[:6])
    return ""


def fewer_kinds(before: Reports, after: Reports) -> str | None:
    """Callouts of one cell come in fewer kinds than before."""
    old, new = ([callout_kinds(cell) for cell in reports["plain"]["cells"]] for reports in (before, after))
    if len(old) != len(new):
        return None
    for one, other in zip(old, new, strict=True):
        if len(other) < len(one):
            return f"{', '.join(sorted(one))} in one cell, {', '.join(sorted(other))} after the fix"
    return None


def less_work(before: Reports, after: Reports) -> str | None:
    """A stopped cell no longer does what it did before it stopped: printing, or binding names."""
    gone = lost_definitions(before["plain"], after["plain"])
    if gone:
        return f"bound {', '.join(gone)} before it stopped"
    for cell, other in zip(before["plain"]["cells"], after["plain"]["cells"], strict=False):
        if cell["console"].strip() and not other["console"].strip():
            return f"printed {cell['console'].strip().splitlines()[0][:60]!r} before it stopped"
    return None


def tells_more(before: Reports, after: Reports) -> str | None:
    """When the install fails, the fixed notebook says so, or stops with the error."""
    old, new = before["broken"], after["broken"]
    if len(new["errors"]) > len(old["errors"]):
        return f"went on in silence; now: {new['errors'][0]['message'][:100]}"
    fresh = list((text_words(new) - text_words(old)).elements())
    return f"now says: {' '.join(fresh[:8])}" if fresh else None


def less_selectable(before: Reports, after: Reports) -> str | None:
    """Fewer tables let their reader select rows."""
    old, new = (
        sum(bool(table.selection) for cell in reports["plain"]["cells"] for table in tables(cell))
        for reports in (before, after)
    )
    return f"{old} tables with selection, {new} after the fix" if new < old else None


def declares_more(before: Reports, after: Reports) -> str | None:
    """A sandbox reads more dependencies from the notebook itself."""
    fresh = sorted(set(after["plain"]["declared"]) - set(before["plain"]["declared"]))
    return f"a sandbox now reads: {', '.join(fresh)}" if fresh else None


def more_rows(before: Reports, after: Reports) -> str | None:
    """The fix makes a table show more rows."""
    old, new = (sum(t.rows for cell in r["plain"]["cells"] for t in tables(cell)) for r in (before, after))
    return f"{old} rows, {new} after the fix" if new > old else None


def lost_definitions(before: Report, after: Report) -> list[str]:
    """Public definitions of a run that another no longer has. A renamed private one was never public."""
    return sorted(set(before["definitions"]) - set(after["definitions"]))
