"""What marimo says, and does without saying, when a notebook is wrong."""

from __future__ import annotations

from .diagnose import Cause, Symptom


def _cause(rule: str | None, why: str, fix: str, look_at: str, first: int = 50) -> Cause:
    return Cause(rule, why, fix, look_at, first)


MARIMO: tuple[Symptom, ...] = (
    Symptom(
        "nothing-displayed",
        "a cell runs and shows nothing",
        (
            r"(?:chart|plot|figure|output|callout|table|visuali[sz]ation)s? (?:is|are|was|does|do"
            r"|did)(?: not|n't) (?:\w+ )?"
            r"(?:show\w*|display\w*|visible|appear\w*|render\w*)",
            r"no (?:charts?|plots?|output|visuali[sz]ations?) (?:is |are |was )?(?:shown|displayed"
            r"|visible|appears?)",
            r"(?:nothing|cell|output) (?:is )?(?:shows?|shown|displays? nothing|displayed)",
            r"visuali[sz]ations? not displaying",
        ),
        (
            _cause(
                "QA1305",
                "the expression stands inside `if`, `for`, `with` or `try`: only a cell's last"
                " top-level expression is shown",
                "bind it to one name in every branch, and end the cell with that name",
                "the last statement of the cell",
                1,
            ),
            _cause(
                "QA1306",
                "something follows the expression, so it is not the last one",
                "move it to the end, or join several with `mo.vstack`",
                "what stands after the expression",
                2,
            ),
            _cause(
                "QA1303",
                "the cell returns its output instead of showing it",
                "write the bare name before the return",
                "whether the last statement before `return` is an expression",
                3,
            ),
            _cause(
                "QA1307",
                "a `return` in the middle makes the cell unparsable",
                "use `mo.stop`",
                "`return` inside `if`",
                4,
            ),
            _cause(
                "QA1301",
                "the cell reads a private name of another cell, and fails",
                "remove the leading underscore",
                "the names with one leading underscore",
                5,
            ),
            _cause(
                "QA1308",
                "`mo.stop` on a run button hides the output when another control moves",
                "gate by a form, keep the result in `mo.state`, or drop the gate where the data already"
                " depend on it",
                "other `.value`s that the cell reads",
                6,
            ),
            _cause(
                "QA1309",
                "`mo.stop` comes after the work it should guard",
                "put it first",
                "the place of `mo.stop`",
                7,
            ),
            _cause(
                None,
                "a semicolon ends the last expression, or it is None (`ax.set_title(...)`, `.append(...)`)",
                "end with the figure itself",
                "the value of the last line",
                8,
            ),
        ),
        correction="A missing `return` is never the cause: marimo strips the last return of a cell and"
        " shows the last"
        " expression. Returning the output shows nothing. And a `mo.stop` in a cell that reads nothing"
        " but its data is"
        " harmless.",
    ),
    Symptom(
        "private-name",
        "a cell reads a private name of another cell",
        (
            r"names? prefixed with an underscore are local",
            r"name '_(?!_)\w*' is not defined",
            r"did you mean: '_cell_\w+",
        ),
        (
            _cause(
                "QA1301",
                "a name with one leading underscore is private to its cell",
                "rename it without underscore where it is bound and read",
                "the cell that binds it",
                1,
            ),
            _cause(
                "QA1302",
                "the name is in the cell's parameters or return, which changes nothing",
                "remove it there",
                "signature and return of the cell",
                2,
            ),
        ),
        specific=4,
    ),
    Symptom(
        "undefined-name",
        "a cell reads a name that nobody binds",
        (r"nameerror: name '\w+' is not defined", r"name `\w+` is not defined"),
        (
            _cause(
                "QA1304",
                "no cell binds the name (an import at module level outside `app.setup` does not count)",
                "bind it in a cell, or in `with app.setup:`",
                "the spelling, and the imports",
                2,
            ),
            _cause(
                "QA1301",
                "only a private form of the name exists",
                "drop the underscore",
                "names that differ by an underscore",
                1,
            ),
            _cause(
                "QA1505",
                "the import failed, and was not repeated after the install",
                "import again after installing",
                "`try: import ...` cells",
                3,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "multiple-definitions",
        "one name is bound in two cells",
        (
            r"multiple[- ]definitions?",
            r"multipledefinition",
            r"redefines variables from other cells",
            r"variable '\w+' (?:is|was) defined (?:in|by) multiple cells",
        ),
        (
            _cause(
                "QA1313",
                "marimo lets each public name be bound by one cell only",
                "rename one, or make it private with a leading underscore",
                "the cells that are named",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "cyclic-cells",
        "cells depend on each other in a circle",
        (
            r"cycle[- ]?(?:error|dependenc\w+)",
            r"cells? (?:are|is) (?:part of|in) a cycle",
            r"cyclic dependenc",
        ),
        (
            _cause(
                "QA1314",
                "two cells read each other's names",
                "move what both need into a third",
                "the names that go round",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "setup-depends-on-cell",
        "the setup cell reads a name of another cell",
        (r"setup[- ]cell.{0,40}(?:depend|refer)", r"setuprootdependency\w*"),
        (
            _cause(
                "QA1315",
                "the setup cell runs before all others",
                "bind the name in the setup cell",
                "what it reads",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "star-import",
        "a star import in a cell",
        (
            r"import \* (?:only allowed|is not allowed|not allowed)",
            r"importstarerror",
            r"star imports? (?:is|are) not",
        ),
        (
            _cause(
                "QA1316",
                "marimo must know which names a cell binds",
                "import the names you use",
                "`from ... import *`",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "unparsable-cell",
        "a cell cannot be parsed",
        (r"unparsable cell", r"_unparsable_cell", r"'return' outside function", r"'await' outside function"),
        (
            _cause(
                "QA1307",
                "`return` stands elsewhere than at the end of the cell",
                "use `mo.stop(condition)`",
                "`return` inside `if` or a loop",
                1,
            ),
            _cause(
                "QA1319",
                "marimo has kept the cell as text, because it was not valid Python",
                "repair it; it is saved as a cell again",
                "`app._unparsable_cell`",
                2,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "callout-kind",
        "a callout of an unknown kind",
        (r"unsupported callout kind", r"invalid callout kind"),
        (
            _cause(
                "QA1606",
                "there are five kinds: neutral, warn, success, info, danger",
                "take the nearest of them (`error` is `danger`, `warning` is `warn`)",
                "every `kind=`",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "output-vanishes",
        "an output appears and vanishes again",
        (
            r"(?:appears?|shows?|shown|flash\w*).{0,30}(?:disappear\w*|vanish\w*|gone|goes away)",
            r"\b(?:output|result|chart|plot)s? (?:disappear|vanish)\w*",
            r"ancestor[- ]stopped|an ancestor .{0,30}was stopped",
        ),
        (
            _cause(
                "QA1308",
                "the cell is gated by a run button and reads another control: when that moves, the"
                " button is False again",
                "use a form, `mo.state`, or split the cell",
                "each `.value` in the gated cell",
                1,
            ),
            _cause("QA1309", "`mo.stop` comes after work", "put it first", "the place of `mo.stop`", 2),
            _cause(
                None,
                "`mo.output.append` was replaced by a trailing expression, or a spinner removed itself",
                "end the cell with the output",
                "`mo.output` and `remove_on_exit`",
                3,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "value-where-created",
        "a control's value is read in the cell that creates it",
        (
            r"accessing the value of a uielement in the cell that created it",
            r"value .{0,40}cell that (?:created|defines) (?:it|the)",
        ),
        (
            _cause(
                "QA1318",
                "the cell would run again for ever, so marimo refuses",
                "read `.value` in another cell",
                "the cell that makes the control",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "torchvision-mismatch",
        "torch and torchvision do not fit each other",
        (
            r"operator torchvision::nms does not exist",
            r"couldn't load custom c\+\+ ops",
            r"undefined symbol: .*torch",
        ),
        (
            _cause(
                "QA1502",
                "torchvision was installed or upgraded apart from torch",
                "install both in one command, pinned to versions that belong together, and restart",
                "the install command",
                1,
            ),
            _cause(
                "QA1501",
                "the install ran although the package was there",
                "look for the package first",
                "the install cell",
                2,
            ),
        ),
        specific=3,
        correction="`pip install --upgrade transformers torchvision` is itself a way to get this error.",
    ),
    Symptom(
        "stale-import",
        "a module is missing, or None, after it was installed",
        (
            r"modulenotfounderror: no module named",
            r"importerror: cannot import name",
            r"'nonetype' object has no attribute '(?:from_pretrained|auto\w+)'",
        ),
        (
            _cause(
                "QA1505",
                "the name still holds the None of the failed import",
                "import again after the install",
                "`except ImportError: x = None`",
                1,
            ),
            _cause(
                "QA1504",
                "the install failed, and nobody looked",
                "check the return code, and say how to install by hand",
                "the install cell",
                2,
            ),
            _cause(
                "QA1507",
                "`pip` belongs to another Python",
                '`[sys.executable, "-m", "pip", ...]`',
                "the install command",
                3,
            ),
            _cause(
                None,
                "the package is installed for another environment, or the kernel must be restarted",
                "restart the kernel",
                "`sys.executable`",
                4,
            ),
        ),
        specific=2,
    ),
)
