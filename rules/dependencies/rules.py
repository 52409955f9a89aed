"""Installing packages from a notebook: QA1501 to QA1504, QA1506 to QA1508."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Cell, Notebook
from qalint.rule import Edit, Finding, Fix, Related, Rule, Severity

from .guards import is_guarded
from .installs import CHECKED, COUPLED, TIMEOUT_RUNNERS, Install, Installs, is_pinned, name_of


class UnconditionalInstall(Rule):
    """An install command runs each time the cell runs.

    ## What it does

    Reports `pip install` and its like (uv, conda; by `subprocess`, `os.system` or `pip.main`) in a
    notebook that is not inside an `except ImportError`, under a test for the package (`find_spec`, a
    flag such as `transformers_available`) or behind a button. A helper function counts as tested if its
    calls are.

    ## Why is this bad?

    marimo runs cells when the page opens and whenever something they read changes. Each time pip
    resolves, and may upgrade, packages under the running program; offline the notebook fails although
    everything is there.

    ## Example

    ```python
    @app.cell
    def _(subprocess, sys):
        subprocess.run([sys.executable, "-m", "pip", "install", "transformers"], check=True)
        import transformers
        return (transformers,)
    ```

    ## Use instead

    ```python
    @app.cell
    def _(subprocess, sys):
        try:
            import transformers
        except ImportError:
            subprocess.run([sys.executable, "-m", "pip", "install", "transformers"], check=True)
            import transformers
        return (transformers,)
    ```

    ## Fix safety

    The fix wraps the statement in `try: import ...` / `except ImportError:`. It is unsafe because the
    name to import is guessed from the name of the package.

    ## References

    - [marimo: package management](https://docs.marimo.io/guides/package_management/)
    - Checklist 15.01
    """

    code = "QA1501"
    severity = Severity.HIGH
    checklist = ("15.01",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, installs: Installs) -> Iterator[Finding]:
        """One finding for each install."""
        for install in installs.found:
            if is_guarded(installs.notebook, install):
                continue
            yield self.finding(
                installs.file.place(install.call),
                f"{_what(install)} is installed each time this runs, present or not",
                fix=_try_import(installs.edits, install),
                help="Try the import first, and install in `except ImportError`.",
            )


class IncompatibleUpgrade(Rule):
    """A package that is built for one version of torch is installed apart from it.

    ## What it does

    Reports an install of torchvision, torchaudio, xformers, flash-attn and the like without a version,
    in a command that does not install torch with it, or that upgrades torch as well (`--upgrade`).

    ## Why is this bad?

    Each release of these fits one release of torch. Alone and unpinned, pip takes the newest, and with
    it another torch, or leaves the old one: `operator torchvision::nms does not exist`, `undefined
    symbol`, CUDA builds replaced by CPU builds. `pip install --upgrade transformers torchvision`, the
    checklist's own example, does exactly that; transformers needs no torchvision for text models.

    ## Example

    ```python
    subprocess.run([sys.executable, "-m", "pip", "install", "--upgrade", "transformers", "torchvision"])
    ```

    ## Use instead

    ```python
    subprocess.run([sys.executable, "-m", "pip", "install", "torch==2.4.1", "torchvision==0.19.1"])
    ```

    ## Fix safety

    The fix adds `torch` to the command, so that pip chooses both together. It is unsafe because it may
    still change the installed torch: pin both where you can. `--upgrade` goes, since it would replace the
    torch that is running.

    ## References

    - [torchvision: which torch for which version](https://github.com/pytorch/vision#installation)
    - Checklist 15.02
    """

    code = "QA1502"
    severity = Severity.HIGH
    checklist = ("15.02",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "none: needs the package index"

    def check(self, installs: Installs) -> Iterator[Finding]:
        """One finding for each install."""
        for install in installs.found:
            loose = [each for each in install.packages if name_of(each) in COUPLED and not is_pinned(each)]
            upgrade = any(word in UPGRADE for word in install.words)
            together = "torch" in install.names()
            if not loose or (together and not upgrade):
                continue
            place = _word_of(install, loose[0])
            yield self.finding(
                installs.file.place(place or install.call),
                f"`{name_of(loose[0])}` fits one version of torch, and is "
                + (
                    "upgraded with it to whatever is newest, under a running kernel"
                    if together
                    else "installed without a version and apart from it"
                ),
                fix=_with_torch(installs.edits, install, place),
                help="Install it together with torch, both with their versions.",
            )


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
            if install.cell is None or _speaks(installs.notebook, install.cell):
                continue
            yield self.finding(
                installs.file.place(install.call),
                f"{_what(install)} is installed without a word to the reader",
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
                        f"if {_what(install)} cannot be installed, nobody learns of it",
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
                f"nothing looks whether {_what(install)} was installed: a failure goes unnoticed",
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


class WrongInterpreterPip(Rule):
    """`pip` is called by its name, and may belong to another Python.

    ## What it does

    Reports `["pip", "install", ...]`, `["python", "-m", "pip", ...]` and the same as a shell command.

    ## Why is this bad?

    The first `pip` on the path installs into its own environment. With virtual environments, conda or
    a marimo sandbox that is often not the one the notebook runs in: the install succeeds, the import
    fails.

    ## Example

    ```python
    subprocess.run(["pip", "install", "peft"], check=True)
    ```

    ## Use instead

    ```python
    subprocess.run([sys.executable, "-m", "pip", "install", "peft"], check=True)
    ```

    ## Fix safety

    The fix writes `sys.executable, "-m", "pip"` and imports `sys` where needed. It is unsafe because
    environments made by uv have no pip of their own.

    ## References

    - [pip: running pip](https://pip.pypa.io/en/stable/user_guide/#running-pip)
    - Checklist 15.02
    """

    code = "QA1507"
    severity = Severity.MEDIUM
    checklist = ("15.02",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, installs: Installs) -> Iterator[Finding]:
        """One finding for each install."""
        for install in installs.found:
            if install.runner.startswith("pip") or install.words[:1] == ["<python>"]:
                continue
            if install.tool not in ("pip", "python -m pip") or not install.words[0]:
                continue
            first = _word_of(install, install.words[0])
            yield self.finding(
                installs.file.place(first or install.call),
                f"`{install.words[0]}` may belong to another Python than the one that runs this notebook",
                fix=_own_pip(installs.edits, install, first),
                help='Use [sys.executable, "-m", "pip", "install", ...].',
            )


class UndeclaredDependency(Rule):
    """A notebook installs at run time what it could declare.

    ## What it does

    Reports a notebook that installs packages and has no `# /// script` block. Off by default.

    ## Why is this bad?

    `marimo edit --sandbox` and `uv run` read that block and make the environment before the first cell
    runs: no install code, no restart, the same versions for everybody.

    ## Beyond the checklist

    The checklist knows only installs at run time; a declared environment needs none.

    ## Example

    ```python
    import subprocess
    import sys

    import marimo

    app = marimo.App()


    @app.cell
    def _():
        subprocess.run([sys.executable, "-m", "pip", "install", "peft"], check=True)
        return
    ```

    ## Use instead

    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["marimo", "peft"]
    # ///

    import marimo

    app = marimo.App()
    ```

    ## Fix safety

    The fix adds the block with the packages that the notebook installs. It is unsafe because others
    may be missing from it.

    ## References

    - [marimo: inlining dependencies](https://docs.marimo.io/guides/package_management/inlining_dependencies/)
    """

    code = "QA1508"
    severity = Severity.LOW
    default = False
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, installs: Installs) -> Iterator[Finding]:
        """One finding for each notebook."""
        source = installs.file.source
        if source.kind != "python" or re.search(r"^# /// script", source.text, re.MULTILINE):
            return
        first = installs.found[0]
        packages = sorted({each for install in installs.found for each in install.packages})
        listed = "".join(f'#     "{each}",\n' for each in ["marimo", *packages])
        block = f'# /// script\n# requires-python = ">=3.11"\n# dependencies = [\n{listed}# ]\n# ///\n\n'
        start = 0
        if source.text.startswith("#!"):
            start = source.text.find("\n") + 1
        text = block.replace("\n", installs.edits.newline)
        yield self.finding(
            installs.file.place(first.call),
            "this notebook installs packages at run time and declares none",
            fix=installs.edits.unsafe("Declare them in a `# /// script` block", (Edit(start, start, text),))
            if packages
            else None,
            help="Declare the dependencies in a `# /// script` block, and run with `--sandbox`.",
        )


# Shared parts

UPGRADE = ("--upgrade", "-U", "--force-reinstall")
"""Options by which pip replaces what is there."""


def _what(install: Install) -> str:
    names = install.packages
    if not names:
        return "a package"
    return f"`{name_of(names[0])}`" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _keyword(call: ast.Call, name: str) -> object:
    for each in call.keywords:
        if each.arg == name and isinstance(each.value, ast.Constant):
            return each.value.value
    return None


def _word_of(install: Install, word: str) -> ast.Constant | None:
    """The literal of a word in the list of arguments."""
    for node in ast.walk(install.argv):
        if isinstance(node, ast.Constant) and node.value == word:
            return node
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


def _try_import(edits: Edits, install: Install) -> Fix | None:
    statement = install.statement()
    if not isinstance(statement, ast.Expr) or not edits.alone(statement) or len(install.packages) != 1:
        return None
    name = name_of(install.packages[0]).replace("-", "_")
    name = {"scikit_learn": "sklearn", "pillow": "PIL", "opencv_python": "cv2", "pyyaml": "yaml"}.get(
        name, name
    )
    indentation = edits.indentation(statement)
    start, end = edits.lines(statement)
    newline = edits.newline
    inner = edits.reindented([statement], indentation + "    ", comments=False)
    lines = ["try:", f"    import {name}", "except ImportError:"]
    head = "".join(f"{indentation}{line}{newline}" for line in lines)
    return edits.unsafe("Install only where the import fails", (Edit(start, end, head + inner),))


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


def _with_torch(edits: Edits, install: Install, place: ast.Constant | None) -> Fix | None:
    """Name torch in the command, in place of the word that upgrades everything."""
    argv = install.argv
    if place is None or " " in str(place.value) or not isinstance(argv, ast.List | ast.Tuple):
        return None
    message = (
        "Install torch with it, and upgrade neither"
        if "torch" in install.names()
        else ("Install torch with it")
    )
    for word, following in zip(argv.elts, argv.elts[1:], strict=False):
        if isinstance(word, ast.Constant) and word.value in UPGRADE:
            span = edits.source.span(word)
            if "torch" in install.names():
                return edits.unsafe(message, (Edit(span.start, edits.source.span(following).start, ""),))
            return edits.unsafe(message, (Edit(*span, '"torch"'),))
    if "torch" in install.names():
        return None
    start, _ = edits.source.span(place)
    return edits.unsafe(message, (Edit(start, start, '"torch", '),))


def _own_pip(edits: Edits, install: Install, first: ast.Constant | None) -> Fix | None:
    spelled = edits.spelling("sys.executable", install.call)
    if first is None or spelled is None or not isinstance(install.argv, ast.List | ast.Tuple | ast.BinOp):
        return None
    text, changes = spelled
    tail = ', "-m", "pip"' if install.tool == "pip" else ""
    return edits.unsafe(
        "Use the pip of the running Python",
        edits.replace(first, text + tail),
        *([changes] if changes else []),
    )
