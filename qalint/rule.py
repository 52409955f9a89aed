"""What a rule author imports: `Section`, `Rule`, `Severity`, `Finding`, `Related`, `Fix`, `Edit`.

A rule is a declarative head and one pure generator. The annotations of the parameters of `check`
say which analyses it needs; nothing else is computed:

    class ClipBeforeUnscale(Rule):
        \"\"\"Gradients are clipped while they still carry the loss scale.

        ## What it does
        ...
        \"\"\"

        code = "QA1105"
        severity = Severity.CRITICAL
        checklist = ("11.06", "11.07")
        oracle = "cpu"

        def check(self, story: Story) -> Iterator[Finding]:
            ...
            yield self.finding(place, "...", related=[Related(other, "gradients are scaled here")])

An analysis is a class with `@classmethod def of(cls, file: File) -> Self | None`; where it returns
None (this file is no notebook), the rule has nothing to say. See `qalint.file`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    import ast

    from .source import Source


class Severity(Enum):
    """How bad the fault is. CRITICAL: training fails, or silently trains wrongly."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the worst, growing."""
        return ("critical", "high", "medium", "low").index(self.value)


class Confidence(Enum):
    """How sure the analysis is. Only HIGH is shown by default."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the surest, growing."""
        return ("high", "medium", "low").index(self.value)


class Applicability(Enum):
    """Whether a fix may be applied without a look."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    DISPLAY_ONLY = "display-only"


class Place(NamedTuple):
    """A range of one file's text, in code points."""

    source: Source
    start: int
    end: int


class Related(NamedTuple):
    """Another place of the same fault, and what happens there."""

    place: Place
    message: str


class Edit(NamedTuple):
    """Replace `[start, end)` of the text of the finding's own file by `content`."""

    start: int
    end: int
    content: str


class Fix(NamedTuple):
    """Edits that belong together: all are applied or none."""

    applicability: Applicability
    message: str
    edits: tuple[Edit, ...]


class Finding:
    """One fault at one place."""

    __slots__ = ("code", "confidence", "fix", "help", "message", "name", "place", "related", "severity")

    def __init__(
        self,
        *,
        code: str,
        name: str,
        place: Place,
        message: str,
        severity: Severity,
        confidence: Confidence = Confidence.HIGH,
        related: tuple[Related, ...] = (),
        fix: Fix | None = None,
        help: str | None = None,
    ) -> None:
        self.code = code
        self.name = name
        self.place = place
        self.message = message
        self.severity = severity
        self.confidence = confidence
        self.related = related
        self.fix = fix
        self.help = help

    def __repr__(self) -> str:
        row, column, _ = self.place.source.location(self.place.start)
        return f"<{self.code} {self.place.source.path}:{row}:{column} {self.message!r}>"


class Option(NamedTuple):
    """An option of a rule, set in `[tool.qalint.rules.<name>]`. `type` is int, float, bool, str or list."""

    default: Any
    type: type
    help: str


class Rule:
    """Base of all rules. See the module docstring."""

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity]
    checklist: ClassVar[tuple[str, ...]] = ()
    """Ids of the checklist's items; empty for a rule that goes beyond it (its page says why)."""
    fix: ClassVar[str] = "none"
    """`safe`, `unsafe` or `none`: the best applicability a fix of this rule can have."""
    fix_availability: ClassVar[str] = "none"
    """`always`, `sometimes` or `none`."""
    oracle: ClassVar[str] = "none: nothing has been declared"
    """What running can show: `cpu`, `gpu`, or `none: REASON`."""
    default: ClassVar[bool] = True
    preview: ClassVar[bool] = False
    since: ClassVar[str] = "0.1.0"
    former: ClassVar[tuple[str, ...]] = ()
    """Codes and names that it had before: they keep working everywhere, and a warning tells the new one."""
    options: ClassVar[dict[str, Option]] = {}
    needles: ClassVar[tuple[tuple[bytes, ...], ...]] = ()
    """Further groups beside the section's (see `Section`), without which this rule cannot speak.

    Its analyses are not computed for files that lack them, so give an expensive rule its own.
    """
    check: ClassVar[Callable[..., Iterable[Finding]]]

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = {key: option.default for key, option in self.options.items()}
        self.values.update(options or {})

    @staticmethod
    def gate(file: Any) -> bool:
        """A cheap look at the tree of a `File`: False if the rule cannot speak of it.

        It saves the rule's analyses, and must be no more than that: it is left out where filters are tested.
        """
        return True

    @staticmethod
    def subject(trees: Any) -> bool:
        """False if this rule cannot speak of a definition of a library, and of those that it uses.

        Where no program starts in a file only definitions with the rule's needles are looked at, and this
        says more of them: `trees` are the `ast` nodes of one that has the first needles and of what it uses.
        """
        return True

    in_users: ClassVar[bool] = False
    """Whether also those definitions of a library are looked at that use one with the rule's needles."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__).lower()

    def finding(
        self,
        place: Place,
        message: str,
        *,
        related: Iterable[Related] = (),
        fix: Fix | None = None,
        severity: Severity | None = None,
        confidence: Confidence = Confidence.HIGH,
        help: str | None = None,
    ) -> Finding:
        """A finding of this rule: what is wrong here in the user's own names, and what to do (`help`)."""
        return Finding(
            code=self.code,
            name=self.name,
            place=place,
            message=message,
            severity=severity or self.severity,
            confidence=confidence,
            related=tuple(related),
            fix=fix,
            help=help,
        )


class Section:
    """A plugin: the rules of one checklist section, and the cheap tests that come before them.

    `needles` is an AND of ORs over the bytes of a program: unless each group has at least one of
    its byte strings in the file or in a file that it imports, no rule of the section can speak, and
    the file is not parsed for it. Each needle must be provably necessary. The rarest group comes
    first, the commonest (`b"torch"`) last: a file that has only a part of the groups counts as the
    start of a program if it has the first, or if it could be a script (no relative imports) and has
    one that is not the last, or whose top level starts something (`qalint.needles.LAUNCH`): then all groups
    may lie in what it imports. With `program=False` all groups must be in the file itself; with `starts`
    (bytes without which no program starts in a file) also in files that have none of those and could be
    no script. Docstrings and comments are no part of a program. `qalint.needles.unless` makes needles that
    do not count in some surroundings.
    `gate` looks at the parsed tree (standard library `ast`) and says whether there is a candidate.
    `precedence` lists pairs (specific, general): where both speak of one fault, general is silent.
    """

    __slots__ = ("gate", "id", "needles", "precedence", "prefix", "program", "rules", "starts", "title")

    def __init__(
        self,
        id: str,
        title: str,
        rules: Iterable[type[Rule]],
        *,
        needles: Iterable[Iterable[bytes]] = (),
        gate: Callable[[ast.Module], bool] | None = None,
        precedence: Iterable[tuple[str, str]] = (),
        program: bool = True,
        starts: Iterable[bytes] = (),
    ) -> None:
        self.id = id
        self.program = program
        self.starts = tuple(starts)
        self.prefix = "QA" + id
        self.title = title
        self.rules = tuple(rules)
        self.needles = tuple(tuple(group) for group in needles)
        self.gate = gate
        self.precedence = tuple(precedence)


__all__ = [
    "Applicability",
    "Confidence",
    "Edit",
    "Finding",
    "Fix",
    "Iterator",
    "Option",
    "Place",
    "Related",
    "Rule",
    "Section",
    "Severity",
]
