"""Charts of the HTML report, as inline SVG. Every chart says in words what it shows."""

from __future__ import annotations

from collections.abc import Sequence

from .markup import escape

VERDICT_VARIABLES = {
    "pass": "--pass",
    "fail": "--fail",
    "unknown": "--unknown",
    "needs-person": "--ask",
    "not-applicable": "--na",
}


def gauge(title: str, value: float | None, number: int) -> str:
    """A half circle from 0 to 10."""
    words = "nothing to score" if value is None else f"{value:.1f} of 10"
    share = 0.0 if value is None else value / 10
    length = 251.3  # pi times the radius of 80
    shown = "–" if value is None else f"{value:.1f}"
    return (
        f'<svg class="gauge" viewBox="0 0 200 120" role="img" aria-labelledby="gauge-{number}">'
        f'<title id="gauge-{number}">{escape(title)}: {words}</title>'
        '<path d="M20 105 A80 80 0 0 1 180 105" fill="none" stroke="var(--line)" stroke-width="16"/>'
        '<path d="M20 105 A80 80 0 0 1 180 105" fill="none" stroke="var(--link)" stroke-width="16"'
        f' stroke-dasharray="{length * share:.1f} {length:.1f}"/>'
        f'<text class="big" x="100" y="95" text-anchor="middle">{shown}</text>'
        '<text x="100" y="115" text-anchor="middle">of 10</text></svg>'
    )


def stacked(rows: Sequence[tuple[str, dict[str, int]]]) -> str:
    """One bar a section, divided by verdict."""
    height = 30 * len(rows) + 4
    parts = []
    words = []
    for index, (title, tally) in enumerate(rows):
        y = 30 * index + 4
        total = sum(tally.values()) or 1
        parts.append(f'<text x="0" y="{y + 16}">{escape(title)}</text>')
        x = 290.0
        for verdict, number in tally.items():
            if not number:
                continue
            width = 560 * number / total
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="22"'
                f' fill="var({VERDICT_VARIABLES[verdict]})">'
                f"<title>{escape(title)}: {number} {verdict}</title></rect>"
            )
            if width > 16:
                parts.append(
                    f'<text x="{x + width / 2:.1f}" y="{y + 16}" text-anchor="middle"'
                    f' style="fill:var(--ground);font-weight:600">{number}</text>'
                )
            x += width
        words.append(
            f"{title}: " + ", ".join(f"{number} {verdict}" for verdict, number in tally.items() if number)
        )
    return (
        f'<svg class="wide" viewBox="0 0 860 {height}" role="img"'
        ' aria-labelledby="sections-title sections-desc">'
        '<title id="sections-title">Verdicts by section</title>'
        f'<desc id="sections-desc">{escape(". ".join(words))}</desc>{"".join(parts)}</svg>'
    )


def bars(title: str, rows: Sequence[tuple[str, int, str]]) -> str:
    """Horizontal bars of (name, number, colour variable)."""
    top = max((number for _, number, _ in rows), default=0) or 1
    height = 30 * len(rows) + 4
    parts = []
    for index, (name, number, variable) in enumerate(rows):
        y = 30 * index + 4
        width = 160 * number / top
        parts.append(
            f'<text x="0" y="{y + 16}">{escape(name)}</text>'
            f'<rect x="80" y="{y}" width="{max(width, 1):.1f}" height="22" fill="var({variable})"/>'
            f'<text x="{88 + width:.1f}" y="{y + 16}">{number}</text>'
        )
    words = ", ".join(f"{number} {name}" for name, number, _ in rows)
    return (
        f'<svg class="few" viewBox="0 0 280 {height}" role="img" aria-labelledby="bars-title">'
        f'<title id="bars-title">{escape(title)}: {escape(words)}</title>{"".join(parts)}</svg>'
    )
