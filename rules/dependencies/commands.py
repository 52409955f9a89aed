"""What an install command brings, when, and to which Python: QA1501, QA1502, QA1507, QA1508."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.notebook import Notebook
from qalint.rule import Edit, Finding, Fix, Rule, Severity

from .guards import is_guarded
from .installs import COUPLED, Install, Installs, is_pinned, module_of, name_of

UPGRADE = ("--upgrade", "-U", "--force-reinstall")
"""Options by which pip replaces what is there."""


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
                f"{install.what()} is installed each time this runs, present or not",
                fix=_try_import(installs.notebook, installs.edits, install),
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
            place = install.word(loose[0])
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
            first = install.word(install.words[0])
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


def _try_import(notebook: Notebook, edits: Edits, install: Install) -> Fix | None:
    statement = install.statement()
    if not isinstance(statement, ast.Expr) or not edits.alone(statement) or len(install.packages) != 1:
        return None
    name = module_of(notebook, install.packages[0])
    if name is None:
        return None
    indentation = edits.indentation(statement)
    start, end = edits.lines(statement)
    newline = edits.newline
    inner = edits.reindented([statement], indentation + "    ", comments=False)
    lines = ["try:", f"    import {name}", "except ImportError:"]
    head = "".join(f"{indentation}{line}{newline}" for line in lines)
    return edits.unsafe("Install only where the import fails", (Edit(start, end, head + inner),))


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
