"""Evidence for sections 15 and 16 and the tables of section 9: installs, callouts and tables."""

from __future__ import annotations

import ast
import re

from .evidence import Facts, ask, leaf, not_applicable, passed, provides, unknown
from .evidence_notebooks import NO_NOTEBOOK, marimo_calls
from .verdicts import Judgement

# Section 15: installs.

_INSTALLERS = frozenset({"run", "call", "check_call", "check_output", "Popen", "system", "getoutput", "main"})


def _installs(facts: Facts) -> list[ast.Call]:
    """The calls that install packages."""
    found = []
    for call in facts.calls:
        if leaf(call.func) in _INSTALLERS:
            words = " ".join(
                node.value
                for node in ast.walk(call)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            )
            if re.search(r"\b(?:pip3?|uv|conda|mamba)\b.*\binstall\b|^install\b", words):
                found.append(call)
    return found


def _around(facts: Facts, call: ast.Call) -> list[ast.AST]:
    """The statements around a call, outermost first."""
    return [
        node
        for node in ast.walk(facts.file.tree)
        if isinstance(node, ast.stmt | ast.ExceptHandler) and any(inner is call for inner in ast.walk(node))
    ]


def _each_install(facts: Facts) -> tuple[list[ast.Call], Judgement | None]:
    calls = _installs(facts)
    return calls, None if calls else not_applicable("nothing is installed from the code")


@provides("15.01")
def install_is_guarded(facts: Facts) -> Judgement:
    """Each install stands under a failed import or a test."""
    calls, none = _each_install(facts)
    if none:
        return none
    seen = []
    for call in calls:
        guard = next(
            (node for node in _around(facts, call) if isinstance(node, ast.ExceptHandler | ast.If)), None
        )
        if guard is None:
            return unknown("an install stands under no test", [facts.at(call, facts.code(call))])
        seen.append(facts.at(guard, f"installs only here: {facts.code(guard)}"))
    return passed(seen)


_COUPLED = re.compile(r"\b(?:torchvision|torchaudio|torchtext|xformers|flash-attn|bitsandbytes)\b")


@provides("15.02")
def versions_fit(facts: Facts) -> Judgement:
    """Packages coupled to torch are installed with it, or pinned."""
    calls, none = _each_install(facts)
    if none:
        return none
    coupled = [call for call in calls if _COUPLED.search(facts.file.source.segment(call))]
    if not coupled:
        return not_applicable("nothing that is coupled to torch is installed")
    pinned = [call for call in coupled if re.search(r"==|~=", facts.file.source.segment(call))]
    if len(pinned) < len(coupled):
        return unknown(
            "a package coupled to torch has no pinned version", [facts.at(coupled[0], facts.code(coupled[0]))]
        )
    return passed([facts.at(call, f"versions are pinned: {facts.code(call)}") for call in pinned])


@provides("15.03")
def install_speaks(facts: Facts) -> Judgement:
    """Something is shown around the install."""
    calls, none = _each_install(facts)
    if none:
        return none
    speaking = frozenset({"spinner", "callout", "print", "md", "info", "progress_bar", "replace", "append"})
    seen = []
    for call in calls:
        statements = [
            node for node in _around(facts, call) if not isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]
        scope: ast.AST = statements[0] if statements else facts.file.tree
        message = next(
            (n for n in ast.walk(scope) if isinstance(n, ast.Call) and leaf(n.func) in speaking), None
        )
        if message is None:
            return unknown("nothing is shown around an install", [facts.at(call, facts.code(call))])
        seen.append(facts.at(message, f"tells the reader: {facts.code(message)}"))
    return passed(seen)


@provides("15.04")
def failure_is_handled(facts: Facts) -> Judgement:
    """The return code or the exception of the install is looked at."""
    calls, none = _each_install(facts)
    if none:
        return none
    for call in calls:
        checked = any(keyword.arg == "check" for keyword in call.keywords) or leaf(call.func) in (
            "check_call",
            "check_output",
        )
        tried = any(isinstance(node, ast.Try) for node in _around(facts, call)) and checked
        if tried:
            continue
        if not re.search(r"\.returncode\b", facts.file.source.text):
            return unknown("the result of an install is not looked at", [facts.at(call, facts.code(call))])
    return passed([facts.at(call, f"its result is looked at: {facts.code(call)}") for call in calls])


@provides("15.05")
def imported_again(facts: Facts) -> Judgement:
    """An import follows the install, or the reader is told to restart."""
    calls, none = _each_install(facts)
    if none:
        return none
    for call in calls:
        later = [
            node
            for node in ast.walk(facts.file.tree)
            if isinstance(node, ast.Import | ast.ImportFrom) and node.lineno > call.lineno
        ]
        if later:
            return passed([facts.at(later[0], f"imported after the install: {facts.code(later[0])}")])
    if found := re.search(r"(?i)restart|refresh|reload the", facts.file.source.text):
        from ..source import Span

        place = facts.file.place(Span(found.start(), found.end()))
        return passed([facts.at(place, "the reader is told to restart")])
    return unknown("no import follows the install", [facts.at(calls[0], facts.code(calls[0]))])


# Section 16: callouts and tables.


def _callouts(facts: Facts) -> list[tuple[ast.Call, str | None, str]]:
    """The callouts: the call, its literal kind (None if it is computed), and its static text."""
    if facts.notebook is None:
        return []
    found = []
    for call in facts.calls:
        if leaf(call.func) != "callout":
            continue
        kind = next((keyword.value for keyword in call.keywords if keyword.arg == "kind"), None)
        if kind is None and len(call.args) > 1:
            kind = call.args[1]
        literal = "neutral" if kind is None else kind.value if isinstance(kind, ast.Constant) else None
        text = " ".join(
            node.value
            for node in ast.walk(call)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node is not kind
        )
        found.append((call, str(literal) if literal is not None else None, text))
    return found


@provides("16.01", "09.12")
def one_colour(facts: Facts) -> Judgement:
    """Callouts made in one loop share one literal kind; whether others are alike is for a person."""
    if facts.notebook is None:
        return not_applicable(NO_NOTEBOOK)
    callouts = _callouts(facts)
    if len(callouts) < 2:
        loops = [call for call, _, _ in callouts if _in_loop(facts, call)]
        if not loops:
            return not_applicable("fewer than two callouts")
    alike = [
        facts.at(call, f"all of one loop are {kind}")
        for call, kind, _ in callouts
        if kind is not None and _in_loop(facts, call)
    ]
    computed = [call for call, kind, _ in callouts if kind is None]
    if alike and not computed and len(alike) == len(callouts):
        return passed(alike)
    return ask(
        facts.at(call, f"{kind or 'a computed kind'}: {facts.code(call)}") for call, kind, _ in callouts
    )


def _in_loop(facts: Facts, call: ast.Call) -> bool:
    loops = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp)
    return any(
        isinstance(node, loops) and any(inner is call for inner in ast.walk(node))
        for node in ast.walk(facts.file.tree)
    )


_MEANING = {
    "16.02": (
        "success",
        r"✅|🎉|success\w*|complet\w*|done|finished|ready|saved|loaded|installed|available"
        r"|passed|trained|works",
    ),
    "16.03": (
        "warn",
        r"⚠|warn\w*|caution|careful|attention|may|might|not recommended|slow|large|limited|only|without"
        r"|beware|note that",
    ),
    "16.04": (
        "info",
        r"ℹ|💡|why|because|how|learn\w*|note|tip|means|explain\w*|example|about|this|each|is|are",
    ),
    "16.05": (
        "danger",
        r"❌|error\w*|fail\w*|invalid|missing|could not|cannot|can't|unable|exception|broken|wrong"
        r"|not found|stopped",
    ),
}


def _kind_fits(id: str) -> None:
    kind, words = _MEANING[id]

    @provides(id)
    def provider(facts: Facts) -> Judgement:
        if facts.notebook is None:
            return not_applicable(NO_NOTEBOOK)
        mine = [(call, text) for call, each, text in _callouts(facts) if each == kind]
        if not mine:
            return not_applicable(f"no callout of kind {kind}")
        fits = [(call, re.search(rf"(?<!\w)(?:{words})(?!\w)", text, re.IGNORECASE)) for call, text in mine]
        if all(found for _, found in fits):
            return passed(
                [
                    facts.at(call, f"says “{found.group()}”: {facts.code(call)}")
                    for call, found in fits
                    if found
                ]
            )
        return ask(facts.at(call, facts.code(call)) for call, found in fits if not found)


for _id in _MEANING:
    _kind_fits(_id)


def _tables(facts: Facts) -> list[ast.Call]:
    if facts.notebook is None:
        return []
    return [
        call
        for _, call in marimo_calls(facts, facts.notebook, "ui.table", "ui.dataframe", "ui.data_explorer")
    ]


@provides("16.06")
def whole_tables(facts: Facts) -> Judgement:
    """Tables get their data uncut."""
    tables = _tables(facts)
    if not tables:
        return not_applicable("no tables")
    for call in tables:
        data = call.args[0] if call.args else None
        if (
            data is None
            or (isinstance(data, ast.Subscript) and isinstance(data.slice, ast.Slice))
            or (isinstance(data, ast.Call) and leaf(data.func) in ("head", "sample", "limit", "islice"))
        ):
            return unknown("a table's data cannot be followed", [facts.at(call, facts.code(call))])
    return passed([facts.at(call, f"gets its data uncut: {facts.code(call)}") for call in tables])


@provides("16.07")
def page_size(facts: Facts) -> Judgement:
    """Pages have a literal size in the usual range, or marimo's default of ten."""
    tables = _tables(facts)
    if not tables:
        return not_applicable("no tables")
    seen = []
    for call in tables:
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        size = given.get("page_size")
        if getattr(given.get("pagination"), "value", None) is False:
            return unknown("a table is not divided into pages", [facts.at(call, facts.code(call))])
        if size is None:
            seen.append(facts.at(call, f"marimo's default of ten rows: {facts.code(call)}"))
        elif isinstance(size, ast.Constant) and isinstance(size.value, int) and 5 <= size.value <= 50:
            seen.append(facts.at(size, f"{size.value} rows a page"))
        elif isinstance(size, ast.Constant):
            return unknown("a page has an unusual number of rows", [facts.at(size, facts.code(size))])
        else:
            return unknown("a page size is computed", [facts.at(size, facts.code(size))])
    return passed(seen)


@provides("16.08")
def row_index(facts: Facts) -> Judgement:
    """A table has an index column, by name; else a person must look."""
    tables = _tables(facts)
    if not tables:
        return not_applicable("no tables")
    pattern = re.compile(
        r"""["'](?:index|idx|#|id|no\.?|row|nr|number|step)["']|reset_index|enumerate\(|range\(""",
        re.IGNORECASE,
    )
    found = pattern.search(facts.file.source.text)
    if found and len(tables) == 1:
        from ..source import Span

        place = facts.file.place(Span(found.start(), found.end()))
        return passed([facts.at(place, "rows are numbered")])
    return ask(facts.at(call, facts.code(call)) for call in tables)


@provides("16.09", "09.10")
def readable_tables(facts: Facts) -> Judgement:
    """Whether columns can be read is seen on the page."""
    tables = _tables(facts)
    return ask(facts.at(call, facts.code(call)) for call in tables) if tables else not_applicable("no tables")
