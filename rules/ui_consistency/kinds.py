"""Kinds of callouts: invalid ones, ones chosen by position, ones that contradict their text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Notebook
from qalint.rule import Edit, Finding, Fix, Related, Rule, Severity

from .callouts import KINDS, Callout, Literal, callouts, literals, text_of

NEAREST = {
    "error": "danger", "alert": "danger", "failure": "danger", "fail": "danger", "critical": "danger",
    "negative": "danger", "destructive": "danger", "exception": "danger", "red": "danger",
    "warning": "warn", "caution": "warn", "attention": "warn", "important": "warn", "yellow": "warn",
    "orange": "warn", "ok": "success", "done": "success", "positive": "success", "complete": "success",
    "completed": "success", "passed": "success", "green": "success", "note": "info", "tip": "info",
    "hint": "info", "information": "info", "primary": "info", "help": "info", "blue": "info",
    "question": "info", "default": "neutral", "secondary": "neutral", "none": "neutral", "plain": "neutral",
    "gray": "neutral", "grey": "neutral", "muted": "neutral", "": "neutral",
}  # fmt: skip


class InvalidCalloutKind(Rule):
    """A callout gets a kind that marimo does not know.

    ## What it does

    Reports a literal kind other than `neutral`, `warn`, `success`, `info` and `danger` that reaches
    `mo.callout(...)` or `mo.md(...).callout(...)`: written there, or by way of a name, a ternary, a
    table or a parameter's default. The `kind` of buttons is another matter and is left alone.

    ## Why is this bad?

    marimo raises `ValueError: Unsupported callout kind` since 0.24 (before, it drew an unstyled box).
    `"warning"` and `"error"`, the words of other libraries, are the usual ones; in a branch for
    failures, the error message itself then fails.

    ## Example

    ```python
    mo.callout(mo.md("Training failed"), kind="error")
    ```

    ## Use instead

    ```python
    mo.callout(mo.md("Training failed"), kind="danger")
    ```

    ## Fix safety

    The fix writes the nearest of the five. It is unsafe because the author may have meant another.

    ## References

    - [marimo: callout](https://docs.marimo.io/api/layouts/callout/)
    - Checklist 16.05
    """

    code = "QA1606"
    severity = Severity.CRITICAL
    checklist = ("16.05",)
    fix = "unsafe"
    fix_availability = "always"
    oracle = "cpu"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each literal."""
        seen: set[ast.AST] = set()
        for callout in callouts(notebook):
            for literal in literals(notebook, callout):
                if literal.value in KINDS or literal.node in seen:
                    continue
                seen.add(literal.node)
                best = nearest(literal.value)
                related = []
                if literal.node is not callout.kind:
                    related.append(Related(notebook.file.place(callout.call), "this callout gets it"))
                yield self.finding(
                    notebook.file.place(literal.node),
                    f"`{literal.value!r}` is no kind of callout: marimo raises ValueError",
                    related=related,
                    fix=_respelled(notebook, callout, literal, best, edits),
                    help="The kinds are neutral, info, success, warn and danger.",
                )


def _respelled(notebook: Notebook, callout: Callout, literal: Literal, best: str, edits: Edits) -> Fix | None:
    """Write the valid kind, where nothing but callouts reads the literal; else at the callout itself."""
    message = f'Use "{best}"'
    if any(node is literal.node for node in ast.walk(callout.call)) or not _is_shared(notebook, callout):
        return edits.unsafe(message, edits.replace(literal.node, f'"{best}"'))
    if isinstance(callout.kind, ast.Name) and len(literals(notebook, callout)) == 1:
        return edits.unsafe(message, edits.replace(callout.kind, f'"{best}"'))
    return None


def _is_shared(notebook: Notebook, callout: Callout) -> bool:
    """Whether the name that brings the kind is read by more than callouts."""
    kind, key = callout.kind, None
    if isinstance(kind, ast.Subscript) and isinstance(kind.slice, ast.Constant):
        key = kind.slice.value
    while isinstance(kind, ast.Subscript | ast.Attribute | ast.Call):
        kind = kind.func if isinstance(kind, ast.Call) else kind.value
    if not isinstance(kind, ast.Name):
        return False
    known = {id(node) for each in callouts(notebook) if each.kind is not None for node in ast.walk(each.kind)}
    name = kind.id
    if key is not None:  # of a record, its other fields are read as they are
        known |= {
            id(node.value)
            for cell in notebook.cells
            for statement in cell.body
            for node in ast.walk(statement)
            if isinstance(node, ast.Subscript)
            and isinstance(node.slice, ast.Constant)
            and node.slice.value != key
        }
    function = next(
        (
            node
            for node in reversed(callout.around)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and any(isinstance(each, ast.arg) and each.arg == name for each in ast.walk(node.args))
        ),
        None,
    )
    if function is not None:
        inside: list[ast.AST] = [function]
    else:
        shared = name not in callout.cell.private
        inside = [s for cell in notebook.cells if shared or cell is callout.cell for s in cell.body]
    return any(
        isinstance(node, ast.Name)
        and node.id == name
        and isinstance(node.ctx, ast.Load)
        and id(node) not in known
        for root in inside
        for node in ast.walk(root)
    )


def nearest(kind: str) -> str:
    """The valid kind that an invalid one most likely means."""
    word = kind.strip().lower()
    if word in KINDS:
        return word
    if word in NEAREST:
        return NEAREST[word]
    from difflib import get_close_matches

    found = get_close_matches(word, [*KINDS, *NEAREST], n=1, cutoff=0.6)
    if not found:
        return "neutral"
    return NEAREST.get(found[0], found[0])


class KindByPosition(Rule):
    """The colour of a callout depends on its position in a list.

    ## What it does

    Reports a kind that is chosen by a loop index, or by whether the item is the first or last one:
    as a ternary, as an `if` statement or by indexing a list of kinds. A kind chosen by data or state
    (`"success" if sample.ok else "danger"`), alone or together with the position, is fine.

    ## Why is this bad?

    Colours carry meaning in marimo: green says that something succeeded. Among equal samples, the
    green first one looks like the right answer, or like the only one that worked.

    ## Example

    ```python
    mo.vstack([
        mo.callout(mo.md(sample), kind="success" if i == 0 else "neutral")
        for i, sample in enumerate(samples)
    ])
    ```

    ## Use instead

    ```python
    mo.vstack([mo.callout(mo.md(sample), kind="neutral") for sample in samples])
    ```

    ## Fix safety

    The fix gives all items the kind of the many: the branch that is not for the special position, the
    default of a lookup, the kind that stands most often in a list; where there is none, `neutral`. It is
    safe: nothing but the colour changes.

    ## References

    - [marimo: callout](https://docs.marimo.io/api/layouts/callout/)
    - Checklist 16.01, 09.12
    """

    code = "QA1601"
    severity = Severity.HIGH
    checklist = ("16.01", "09.12")
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each choice."""
        from .position import choices

        for choice in choices(notebook):
            fix = None
            if choice.common is not None and choice.replaced is not None:
                fix = edits.safe(
                    f'Use "{choice.common}" for all', edits.replace(choice.replaced, f'"{choice.common}"')
                )
            yield self.finding(
                notebook.file.place(choice.node),
                f"the kind of this callout depends on its position (`{choice.test}`), not on what it says",
                related=[Related(notebook.file.place(node), text) for node, text in choice.related],
                fix=fix,
                help="Give similar elements the same kind; keep success, warn and danger for states.",
            )


SUCCESS = re.compile(
    r"✅|✓|🎉|\b(success\w*|complete[ds]?|done|finished|ready|loaded|installed|saved|passed|detected|available|"
    r"succeeded|works?|working|correct|found|connected|created|trained|improved|best|great|well done)\b",
    re.IGNORECASE,
)
WARNING = re.compile(
    r"⚠|\b(warn\w*|caution|careful\w*|beware|attention|deprecated|avoid|risk\w*|limit\w*|missing|slow\w*|not|no|"
    r"don't|never|cannot|can't|only|may|might|could|unless|without|please|before|must|required?|requires|memory|"
    r"unstable|experimental|overwrit\w*|delet\w*|lost|lose|long|expensive|important|unable|failed|error)\b",
    re.IGNORECASE,
)
ERROR = re.compile(
    r"❌|🚫|⛔|\b(errors?|fail\w*|invalid|cannot|can't|could not|couldn't|unable|missing|exception|not|no|"
    r"crash\w*|stop\w*|wrong|unsupported|required?|denied|broken|abort\w*|critical|danger\w*|nan|"
    r"out of memory|never|lost)\b",
    re.IGNORECASE,
)
EXPLANATION = re.compile(
    r"💡|📚|📖|🎓|🧠|\b(did you know|key (takeaway|insight|idea|concept)s?|insight|"
    r"learn(ing)? (more|objective)\w*|"
    r"tip|note|how it works|what is|what are|why|explanation|explained|in other words|for example|"
    r"concepts?|understand\w*|intuition|background|theory|remember)\b",
    re.IGNORECASE,
)


class _Contradiction(Rule):
    """What the rules on the meaning of kinds share."""

    severity = Severity.LOW
    default = False
    fix = "unsafe"
    fix_availability = "always"
    oracle = "none: whether a text is a success or a warning is a question of meaning"
    kind = ""

    def check(self, notebook: Notebook, edits: Edits) -> Iterator[Finding]:
        """One finding for each callout whose own text contradicts its kind."""
        for callout in callouts(notebook):
            if not isinstance(callout.kind, ast.Constant) or not isinstance(callout.kind.value, str):
                continue
            text = text_of(callout)
            if text is None:
                continue
            verdict = self.verdict(callout.kind.value, text)
            if verdict is None:
                continue
            better, reason = verdict
            yield self.finding(
                notebook.file.place(callout.kind),
                f'kind "{callout.kind.value}" on a callout {reason}',
                fix=_use(edits, callout, better),
                help=f'Use kind="{better}".',
            )

    def verdict(self, kind: str, text: str) -> tuple[str, str] | None:
        """The kind that would fit, and why this one does not."""
        raise NotImplementedError


class SuccessWithoutSuccess(_Contradiction):
    """A green callout reports no success.

    ## What it does

    Reports a callout of kind `success` whose text, written out in English, speaks of a failure or a
    warning and of no success. Computed texts are not judged. Off by default: words judge poorly.

    ## Why is this bad?

    Readers scan colours before they read. Green says that a step worked.

    ## Example

    ```python
    mo.callout(mo.md("Could not load the model"), kind="success")
    ```

    ## Use instead

    ```python
    mo.callout(mo.md("Could not load the model"), kind="danger")
    ```

    ## Fix safety

    Unsafe: only the author knows what was meant.

    ## References

    - Checklist 16.02
    """

    code = "QA1602"
    checklist = ("16.02",)

    def verdict(self, kind: str, text: str) -> tuple[str, str] | None:
        """Failure or warning in green."""
        if kind != "success" or SUCCESS.search(text) or EXPLANATION.search(text):
            return None
        if re.search(
            r"❌|\b(error|fail\w*|could not|couldn't|unable|crash\w*|invalid)\b", text, re.IGNORECASE
        ):
            return "danger", "that reports a failure"
        if re.search(r"⚠|\b(warning|caution|careful|beware)\b", text, re.IGNORECASE):
            return "warn", "that warns"
        return None


class WarnWithoutWarning(_Contradiction):
    """A yellow callout warns of nothing.

    ## What it does

    Reports a callout of kind `warn` whose text, written out in English, reports a success and has no
    word of warning. Off by default.

    ## Why is this bad?

    Warnings that warn of nothing teach readers to skip the ones that matter.

    ## Example

    ```python
    mo.callout(mo.md("Model loaded successfully"), kind="warn")
    ```

    ## Use instead

    ```python
    mo.callout(mo.md("Model loaded successfully"), kind="success")
    ```

    ## Fix safety

    Unsafe: only the author knows what was meant.

    ## References

    - Checklist 16.03
    """

    code = "QA1603"
    checklist = ("16.03",)

    def verdict(self, kind: str, text: str) -> tuple[str, str] | None:
        """Success in yellow."""
        if kind == "warn" and SUCCESS.search(text) and not WARNING.search(text):
            return "success", "that reports a success"
        return None


class EducationalNotInfo(_Contradiction):
    """A callout that explains something wears the colour of a state.

    ## What it does

    Reports a callout of kind `success` or `warn` whose text, written out in English, explains
    (insight, tip, "why", "how it works") and reports no state. Off by default.

    ## Why is this bad?

    Explanations are `info`. In green or yellow they look like a result or a problem.

    ## Example

    ```python
    mo.callout(mo.md("Key insight: LoRA trains two small matrices"), kind="success")
    ```

    ## Use instead

    ```python
    mo.callout(mo.md("Key insight: LoRA trains two small matrices"), kind="info")
    ```

    ## Fix safety

    Unsafe: only the author knows what was meant.

    ## References

    - Checklist 16.04
    """

    code = "QA1604"
    checklist = ("16.04",)

    def verdict(self, kind: str, text: str) -> tuple[str, str] | None:
        """Explanations in green or yellow."""
        if kind not in ("success", "warn") or not EXPLANATION.search(text):
            return None
        state = SUCCESS if kind == "success" else WARNING
        return None if state.search(text) else ("info", "that explains")


class DangerWithoutError(_Contradiction):
    """A red callout reports no error.

    ## What it does

    Reports a callout of kind `danger` whose text, written out in English, has no word of failure and
    either reports a success or explains. Off by default.

    ## Why is this bad?

    Red is for what went wrong. Readers stop and look for the error.

    ## Example

    ```python
    mo.callout(mo.md("Tip: lower the learning rate later"), kind="danger")
    ```

    ## Use instead

    ```python
    mo.callout(mo.md("Tip: lower the learning rate later"), kind="info")
    ```

    ## Fix safety

    Unsafe: only the author knows what was meant.

    ## References

    - Checklist 16.05
    """

    code = "QA1605"
    checklist = ("16.05",)

    def verdict(self, kind: str, text: str) -> tuple[str, str] | None:
        """Success or explanation in red."""
        if kind != "danger" or ERROR.search(text):
            return None
        if EXPLANATION.search(text):
            return "info", "that explains"
        return ("success", "that reports a success") if SUCCESS.search(text) else None


def _use(edits: Edits, callout: Callout, kind: str) -> Fix | None:
    if callout.kind is None:
        return None
    span = edits.source.span(callout.kind)
    return edits.unsafe(f'Use "{kind}"', (Edit(*span, f'"{kind}"'),))
