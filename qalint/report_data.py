"""What a run found, as the output formats read it.

A format is one module `qalint/output/<name>.py` (`-` becomes `_`) with a pure function
`render(report: Report) -> str`; the text ends with a line end unless it is empty. A format may
not read files, the environment or the clock: all it needs is here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .diagnostic import Diagnostic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .registry import RuleInfo
    from .source import Source


class Fixed(NamedTuple):
    """How many findings of one rule were fixed in one file."""

    filename: str
    code: str
    name: str
    number: int


class Report:
    """The outcome of one run of `check`.

    `diagnostics` are sorted by file, row, column and code and hold every status: `new`, `baseline`
    and `suppressed`. Formats that cannot mark the last two show `new` only (`self.shown`).
    """

    __slots__ = (
        "base",
        "color",
        "diagnostics",
        "fail_on",
        "files",
        "fixed",
        "fixing",
        "get_rule",
        "get_rules",
        "get_source",
        "hidden",
        "quiet",
        "show_fixes",
        "show_marked",
        "top_level",
        "unsafe_fixes",
        "width",
    )

    def __init__(
        self,
        diagnostics: tuple[Diagnostic, ...] = (),
        *,
        files: int = 0,
        fixed: tuple[Fixed, ...] = (),
        base: str = "",
        top_level: str = "",
        color: bool = False,
        width: int = 80,
        unsafe_fixes: bool = False,
        show_fixes: bool = False,
        show_marked: bool = False,
        fail_on: str = "low",
        fixing: bool = False,
        hidden: int = 0,
        quiet: bool = False,
        get_source: Callable[[str], Source | None] = lambda filename: None,
        get_rule: Callable[[str], RuleInfo | None] = lambda code: None,
        get_rules: Callable[[], list[RuleInfo]] = list,
    ) -> None:
        self.diagnostics = diagnostics
        self.files = files
        """The number of files that were looked at."""
        self.fixed = fixed
        self.base = base
        """The working folder: people read paths relative to it."""
        self.top_level = top_level
        """The git top level if there is one, else the working folder: SARIF is relative to it."""
        self.color = color
        """Whether to write ANSI colours (only `full`, `concise`, `grouped` and statistics heed it)."""
        self.width = width
        """Columns of the terminal, 80 where there is none."""
        self.unsafe_fixes = unsafe_fixes
        """Whether `--unsafe-fixes` was given: unsafe fixes then count as fixable."""
        self.show_fixes = show_fixes
        """Whether to list what was fixed."""
        self.show_marked = show_marked
        """`--ignore-suppressions`: JSON then shows suppressed findings and those of the baseline too."""
        self.fail_on = fail_on
        """The severity at and above which findings fail the run."""
        self.fixing = fixing
        """Whether `--fix` was given: what could be fixed has been."""
        self.hidden = hidden
        """How many findings stay below `--min-confidence`."""
        self.quiet = quiet
        """`--quiet`: the findings and nothing else."""
        self.get_source = get_source
        """The text that the positions of a file count in (after `--fix`: the fixed text), or None."""
        self.get_rule = get_rule
        """Metadata of one rule by code, QA0001 to QA0005 included; None for an unknown code."""
        self.get_rules = get_rules
        """Metadata of all rules, sorted by code."""

    @property
    def new(self) -> tuple[Diagnostic, ...]:
        """The findings that count."""
        return tuple(item for item in self.diagnostics if item.status == "new")

    @property
    def shown(self) -> tuple[Diagnostic, ...]:
        """What a format without marks shows: new findings, and all with `show_marked`."""
        return self.diagnostics if self.show_marked else self.new

    @property
    def known(self) -> int:
        """How many findings the baseline knows."""
        return sum(item.status == "baseline" for item in self.diagnostics)

    @property
    def suppressed(self) -> int:
        """How many findings a comment suppresses."""
        return sum(item.status == "suppressed" for item in self.diagnostics)

    def fixable(self, item: Diagnostic) -> bool:
        """Whether `--fix`, with this run's other flags, would fix the finding."""
        if item.fix is None:
            return False
        return item.fix.applicability == "safe" or (self.unsafe_fixes and item.fix.applicability == "unsafe")

    def relative(self, filename: str) -> str:
        """The path as people read it: relative to the working folder where it lies below."""
        prefix = self.base.rstrip("/\\")
        if prefix and filename.startswith(prefix) and filename[len(prefix) : len(prefix) + 1] in ("/", "\\"):
            return filename[len(prefix) + 1 :]
        return filename
