"""The scorecard on a terminal. rich is imported here; this module only when a report is printed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.text import Text

from .frames import frames
from .listing import LABELS, by_section, counts, explanation
from .paths import readable
from .scorecard import Scorecard, raises, summary
from .scores import NAMES, Score
from .verdicts import ALL, UNKNOWN, Verdict

if TYPE_CHECKING:
    from rich.console import Console


_STYLES = {"critical": "bold red", "high": "yellow", "medium": "cyan", "low": "blue"}
_VERDICT_STYLES = {
    "pass": "green",
    "fail": "bold red",
    "unknown": "yellow",
    "needs-person": "cyan",
    "not-applicable": "dim",
}


def render(card: Scorecard, *, colour: bool, width: int) -> str:
    """The scorecard as text of at most `width` columns."""
    from rich.console import Console

    stream = io.StringIO()
    console = Console(
        file=stream,
        width=max(60, min(width, 110)),
        force_terminal=colour,
        no_color=not colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )
    _header(console, card)
    _sections(console, card)
    for name, score in card.scores.items():
        _score(console, name, score)
    _failed(console, card)
    _others(console, card)
    _findings(console, card, colour)
    return "\n".join(line.rstrip() for line in stream.getvalue().split("\n"))


def _header(console: Console, card: Scorecard) -> None:
    console.print(Text(f"QA scorecard: {card.target}", style="bold"))
    console.print(Text(summary(card)))
    if card.beside:
        console.print(Text(card.beside, style="dim"))
    console.print()


def _sections(console: Console, card: Scorecard) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("section")
    for verdict in ALL:
        table.add_column(LABELS[verdict].lower(), justify="right")
    for section, title, group in by_section(card.verdicts):
        tally = counts(group)
        cells = [
            Text(str(tally[verdict]), style=_VERDICT_STYLES[verdict]) if tally[verdict] else Text("")
            for verdict in ALL
        ]
        table.add_row(Text(f"{section} {title}"), *cells)
    console.print(table)
    console.print()


def _score(console: Console, name: str, score: Score) -> None:
    if score.value is None:
        console.print(Text(f"{NAMES[name]}: nothing to score"))
        console.print()
        return
    full = round(score.value)
    bar = "█" * full + "░" * (10 - full)
    console.print(
        Text.assemble((f"{NAMES[name]:22}", "bold"), f" {bar} ", (f"{score.value:.1f}", "bold"), " of 10")
    )
    for part in score.parts:
        value = "  -" if part.value is None else f"{part.value:4.0%}"
        why = part.evidence[0] if part.evidence else ""
        console.print(
            Text(f"  {value:>4}  {part.criterion.name}" + (f": {why}" if why else ""), style="dim"),
            no_wrap=True,
            overflow="ellipsis",
        )
    for line in raises(score):
        _hanging(console, "  ", Text(line, style="cyan"), 7)
    console.print()


def _hanging(console: Console, first: str, text: Text, further: int) -> None:
    """Print a text whose further lines are indented by `further` columns."""
    lines = text.wrap(console, console.width - further)
    for number, line in enumerate(lines):
        line.rstrip()
        console.print(Text(first if number == 0 else " " * further) + line)


def _failed(console: Console, card: Scorecard) -> None:
    from rich.padding import Padding

    failed = card.failed()
    if not failed:
        return
    console.print(Text("Failed, in the order of priority", style="bold"))
    for verdict in failed:
        item = verdict.item
        style = _STYLES[item.priority]
        _hanging(
            console,
            "  ",
            Text.assemble((f"{item.id} ", "bold"), (f"{item.priority:8} ", style), item.text),
            17,
        )
        for line in explanation(verdict, 4):
            console.print(Padding(Text(line, style="dim"), (0, 0, 0, 8)))
    console.print()


def _others(console: Console, card: Scorecard) -> None:
    from rich.padding import Padding

    for wanted, title in ((UNKNOWN, "Unknown, with what hid it"), ("needs-person", "For a person to judge")):
        chosen: list[Verdict] = [verdict for verdict in card.open_items() if verdict.verdict == wanted]
        if not chosen:
            continue
        console.print(Text(title, style="bold"))
        groups: dict[tuple[str, ...], list[Verdict]] = {}
        for verdict in chosen:
            groups.setdefault(tuple(explanation(verdict, 1)), []).append(verdict)
        for lines, group in groups.items():
            for verdict in group:
                _hanging(console, "  ", Text.assemble((f"{verdict.item.id} ", "bold"), verdict.item.text), 8)
            for line in lines:
                console.print(Padding(Text(line, style="dim"), (0, 0, 0, 8)))
        console.print()


def _findings(console: Console, card: Scorecard, colour: bool) -> None:
    report = card.gathered.report(card.findings, color=colour, width=console.width)
    faults = [finding for finding in card.by_severity() if not card.is_advice(finding)]
    advice = [finding for finding in card.by_severity() if card.is_advice(finding)]
    if faults:
        console.print(Text(f"Findings ({len(faults)}), the worst first", style="bold"))
        console.print()
        for finding in faults:
            console.print(Text.from_ansi("\n".join(frames([finding], report, console.width))), soft_wrap=True)
            console.print()
    told = {code for verdict in card.failed() for code in verdict.item.rules}
    further = [finding for finding in advice if finding.code not in told]
    if further:
        console.print(Text(f"Further advice ({len(further)}), off in `qalint check`", style="bold"))
        for finding in further:
            where = f"{readable(finding.filename)}:{finding.region.row}"
            line = Text.assemble((where, "dim"), f" {finding.code} {finding.message}")
            _hanging(console, "  ", line, 4)
    if not card.findings:
        console.print(Text("No findings.", style="green"))
