"""From a run to text: one file a format, each a pure function over a `Report`.

`render(format, report)` imports only the module of that format. Nothing here writes, colours only
on request, and reads no file by itself: source lines come through `Report.source`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..diagnostic import Diagnostic
    from ..rule import Rule
    from ..source import Source

FORMATS: Mapping[str, str] = {
    "full": "full",
    "concise": "concise",
    "grouped": "grouped",
    "json": "json_array",
    "json-lines": "json_lines",
    "github": "github",
    "gitlab": "gitlab",
    "junit": "junit",
    "sarif": "sarif",
    "rdjson": "rdjson",
    "pylint": "pylint",
}
"""The name of a format on the command line -> its module in this package."""

HUMAN = ("full", "concise", "grouped")
"""The formats made for a terminal: they end in a closing line, and may be coloured."""


class Fixed(NamedTuple):
    """Findings of one rule that a run has fixed in one file."""

    filename: str
    code: str
    name: str
    count: int


def no_source(filename: str) -> Source | None:
    """Knows no text: formats leave out frames, and count columns as if all text were ASCII."""
    return None


def no_rules() -> Sequence[type[Rule]]:
    """Knows no rule: SARIF then describes rules by what their findings say."""
    return ()


class Report(NamedTuple):
    """One run, as every output format sees it.

    `diagnostics` holds findings of every status, sorted by `Diagnostic.sort_key`. A format shows
    those that are `new`; with `ignore_suppressions` also the known and the suppressed ones, marked
    as such where the format can; SARIF always has all of them.

    `directory` (absolute) is what people's paths are relative to, `root` (absolute, the git top
    level, else `directory`) what code hosts' paths are relative to. `source(filename)` gives the
    text that the positions of `filename` are counted in (after `--fix`: the fixed text), or None.
    `rules()` gives the rules that ran, for the formats that describe them.

    `unsafe_fixes`: True when unsafe fixes are enabled, False when the user has turned them off,
    None when they said nothing (then the closing line mentions the flag).
    `hidden` counts findings below the minimum confidence; `known` those of the baseline.
    """

    diagnostics: tuple[Diagnostic, ...] = ()
    directory: str = "."
    root: str | None = None
    source: Callable[[str], Source | None] = no_source
    rules: Callable[[], Sequence[type[Rule]]] = no_rules
    files: int = 0
    fixed: tuple[Fixed, ...] = ()
    show_fixes: bool = False
    fixing: bool = False
    unsafe_fixes: bool | None = None
    ignore_suppressions: bool = False
    baseline: bool = False
    hidden: int = 0
    version: str = "0"

    def shown(self) -> list[Diagnostic]:
        """The findings that a format without room for statuses shows."""
        if self.ignore_suppressions:
            return list(self.diagnostics)
        return [diagnostic for diagnostic in self.diagnostics if diagnostic.status == "new"]

    def count(self, status: str) -> int:
        """How many findings have this status."""
        return sum(diagnostic.status == status for diagnostic in self.diagnostics)


def render(format: str, report: Report, *, color: bool = False, width: int = 80) -> str:
    """The whole output of a run in one format, with a final line end (empty if there is nothing to say).

    `color` and `width` (columns of the terminal) matter to the formats in `HUMAN` only.
    """
    module = import_module("." + FORMATS[format], __name__)
    if format in HUMAN:
        text: str = module.render(report, color=color, width=width)
    else:
        text = module.render(report)
    return text
