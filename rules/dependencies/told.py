"""What the reader learns of an install: QA1503, QA1504, QA1506."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Cell, Notebook
from qalint.rule import Edit, Finding, Fix, Related, Rule, Severity

from .installs import CHECKED, TIMEOUT_RUNNERS, Install, Installs


class SilentInstall(Rule):
    """An install says nothing while it runs.

    ## What it does

    Reports an install with no spinner, callout, Markdown, print or toast in the same cell (or in the
    function that holds it).

    ## Why is this bad?

    Installing takes minutes. The reader sees a cell that hangs and does not know why.

    ## Example

    ```python
    try:
        import peft
    except ImportError:
        subprocess.run([sys.executable, "-m", "pip", "install", "peft"], check=True)
    ```

    ## Use instead

    ```python
    try:
        import peft
    except ImportError:
        with mo.status.spinner(title="Installing peft..."):
            subprocess.run([sys.executable, "-m", "pip", "install", "peft"], check=True)
    ```

    ## Fix safety

    The fix puts the statement under `mo.status.spinner`. It is unsafe because it needs marimo in the
    cell.

    ## References

    - [marimo: spinner](https://docs.marimo.io/api/status/)
    - Checklist 15.03
    """

    code = "QA1503"
    severity = Severity.MEDIUM
    checklist = ("15.03",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "none: needs a browser while the cell runs"

    def check(self, installs: Installs) -> Iterator[Finding]:
        """One finding for each install."""
        for install in installs.found:
            if install.cell is None:
                continue
            if any(_speaks(installs.notebook, cell) for cell in (install.cell, *_callers(installs, install))):
                continue
            yield self.finding(
                installs.file.place(install.call),
                f"{install.what()} is installed without a word to the reader",
                fix=_spinner(installs.notebook, installs.edits, install),
                help="Put the install under `mo.status.spinner`, and say how it ended.",
            )


class UnhandledInstallFailure(Rule):
    """Nobody looks whether the install worked.

    ## What it does

    Reports an install whose return code is not read (`subprocess.run` without `check=True`,
    `os.system`, `Popen`), or whose exception is swallowed by `except: pass`. `check=True`,
    `check_call` and `check_output` that raise are fine.

    ## Why is this bad?

    pip fails often: no network, no permission, no wheel. The notebook goes on as if the package were
    there, and the reader gets an ImportError that names another cause, instead of the words "install
    it by hand and restart".

    ## Example

    ```python
    subprocess.run([sys.executable, "-m", "pip", "install", "peft"])
    ```

    ## Use instead

    ```python
    result = subprocess.run([sys.executable, "-m", "pip", "install", "peft"], capture_output=True, text=True)
    message = mo.md("Installed") if result.returncode == 0 else mo.callout(
        mo.md("Run `pip install peft` and restart the notebook"), kind="danger"
    )
    ```

    ## Fix safety

    The fix adds `check=True`, which makes a failure visible. It is unsafe because the cell then stops.

    ## References

    - Checklist 15.04
    """

    code = "QA1504"
    severity = Severity.HIGH
    checklist = ("15.04",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, installs: Installs) -> Iterator[Finding]:
        """One finding for each install."""
        for install in installs.found:
            swallowed = _swallowing(install)
            raises = install.runner in CHECKED or _keyword(install.call, "check") is True
            if raises:
                if swallowed is not None:
                    yield self.finding(
                        installs.file.place(install.call),
                        f"if {install.what()} cannot be installed, nobody learns of it",
                        related=[Related(installs.file.place(swallowed), "the error is dropped here")],
                        help="Tell the reader to install it by hand and restart.",
                    )
                continue
            if _is_inspected(installs.notebook, install):
                continue
            fix = None
            if install.runner == "subprocess.run":
                fix = installs.edits.unsafe(
                    "Raise when the install fails", installs.edits.add_argument(install.call, "check=True")
                )
            yield self.finding(
                installs.file.place(install.call),
                f"nothing looks whether {install.what()} was installed: a failure goes unnoticed",
                fix=fix,
                help="Read the return code, and tell the reader to install it by hand and restart.",
            )


class InstallWithoutTimeout(Rule):
    """An install may run for ever.

    ## What it does

    Reports `subprocess.run`, `call`, `check_call` and `check_output` of an install without `timeout`.

    ## Why is this bad?

    pip waits for a slow or blocked index; without a limit the cell, and the kernel with it, hangs.

    ## Example

    ```python
    subprocess.run([sys.executable, "-m", "pip", "install", "peft"], check=True)
    ```

    ## Use instead

    ```python
    subprocess.run([sys.executable, "-m", "pip", "install", "peft"], check=True, timeout=300)
    ```

    ## Fix safety

    The fix adds `timeout=300`. It is safe: an install that takes less is not changed.

    ## References

    - Checklist 15.04
    """

    code = "QA1506"
    severity = Severity.LOW
    checklist = ("15.04",)
    fix = "safe"
    fix_availability = "always"
    oracle = "cpu"

    def check(self, installs: Installs) -> Iterator[Finding]:
        """One finding for each install."""
        for install in installs.found:
            if install.runner not in TIMEOUT_RUNNERS:
                continue
            given = {each.arg for each in install.call.keywords}
            if given & {"timeout", None}:
                continue
            yield self.finding(
                installs.file.place(install.call),
                "this install has no time limit",
                fix=installs.edits.safe(
                    "Add timeout=300", installs.edits.add_argument(install.call, "timeout=300")
                ),
                help="Add `timeout=300`.",
            )


def _keyword(call: ast.Call, name: str) -> object:
    for each in call.keywords:
        if each.arg == name and isinstance(each.value, ast.Constant):
            return each.value.value
    return None


def _is_inspected(notebook: Notebook, install: Install) -> bool:
    """Whether the result goes anywhere: bound and read, compared, returned, waited for."""
    statement = install.statement()
    if isinstance(statement, ast.Expr) and statement.value is install.call:
        return False
    if isinstance(statement, ast.Assign):
        names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
        if not names or any(_reads_status(cell, name) for name in names for cell in notebook.readers(name)):
            return True
        scope = next(
            (
                node
                for node in reversed(install.around)
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module)
            ),
            None,
        )
        if scope is None:
            return True
        reads = [
            node
            for node in ast.walk(scope)
            if isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load)
        ]
        waiting = {
            id(node.value.func.value)
            for node in ast.walk(scope)
            if isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Attribute)
            and node.value.func.attr in ("wait", "communicate")
        }
        texts = {
            id(node.value)
            for node in ast.walk(scope)
            if isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr", "args", "pid")
        }
        reads = [node for node in reads if id(node) not in waiting | texts]
        returns = scope.body[-1] if not isinstance(scope, ast.Module) else None
        trailing = {id(node) for node in ast.walk(returns)} if isinstance(returns, ast.Return) else set()
        return any(id(node) not in trailing for node in reads)
    return True


def _reads_status(cell: Cell, name: str) -> bool:
    """Whether another cell looks at more of the result than its text."""
    texts = {
        id(node.value)
        for statement in cell.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr", "args", "pid")
    }
    return any(id(use.node) not in texts for use in cell.reads(name))


def _swallowing(install: Install) -> ast.ExceptHandler | None:
    """The handler around the install that drops its error."""
    for node, inner in zip(reversed(install.around), (install.call, *reversed(install.around)), strict=False):
        if isinstance(node, ast.Try) and inner in node.body:
            for handler in node.handlers:
                if all(isinstance(each, ast.Pass) or _is_constant(each) for each in handler.body):
                    return handler
            return None
    return None


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _callers(installs: Installs, install: Install) -> list[Cell]:
    """The cells that use the function or class in which an install stands: it runs when they call it."""
    body = install.cell.body if install.cell is not None else []
    for node in install.around:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node in body:
            return installs.notebook.readers(node.name)
    return []


def _speaks(notebook: Notebook, cell: Cell) -> bool:
    for node in (each for statement in cell.body for each in ast.walk(statement)):
        if not isinstance(node, ast.Call):
            continue
        marimo = notebook.marimo(cell, node.func) or ""
        if marimo.startswith(("status.", "output.", "callout", "md")):
            return True
        match node.func:
            case (
                ast.Name(id="print" | "display")
                | ast.Attribute(attr="info" | "warning" | "write" | "callout")
            ):
                return True
            case _:
                pass
    return False


def _spinner(notebook: Notebook, edits: Edits, install: Install) -> Fix | None:
    statement = install.statement()
    alias = notebook.alias_for(install.cell) if install.cell is not None else None
    if alias is None or not isinstance(statement, ast.Expr | ast.Assign) or not edits.alone(statement):
        return None
    if any(isinstance(node, ast.FunctionDef) and node is not install.cell.node for node in install.around):  # type: ignore[union-attr]
        return None
    indentation = edits.indentation(statement)
    start, end = edits.lines(statement)
    names = ", ".join(install.names()) or "packages"
    head = f'{indentation}with {alias}.status.spinner(title="Installing {names}..."):{edits.newline}'
    inner = edits.reindented([statement], indentation + "    ", comments=False)
    return edits.unsafe("Show a spinner", (Edit(start, end, head + inner),))
