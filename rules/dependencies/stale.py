"""A module that was imported before it was installed: QA1505."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.notebook import Cell, Notebook, Use, bindings, walk_statements
from qalint.rule import Applicability, Edit, Finding, Fix, Related, Rule, Severity

from .guards import _is_import_error
from .installs import MODULES, Install, Installs


class Missing:
    """A module that a failed import leaves as None, or unbound: where, in which cell."""

    __slots__ = ("cell", "handler", "line", "module", "name", "node")

    def __init__(
        self, cell: Cell, name: str, module: str, line: str, node: ast.AST, handler: ast.ExceptHandler
    ) -> None:
        self.cell = cell
        self.name = name
        self.module = module
        self.line = line
        self.node = node
        self.handler = handler


class StaleImport(Rule):
    """A module that was missing is installed and used without being imported again.

    ## What it does

    Reports the use of a name that a cell binds by `try: import m` / `except ImportError: m = None` (or
    leaves unbound there), where the notebook installs the package and the using code does not import
    it again. It stays silent where the use is guarded: `if m is not None`, `mo.stop(m is None)`, a
    flag that the failed import sets (`if available:`), or a stop after the install
    (`mo.stop(needs_restart)`). A test whether the install worked (`if installed:`) is no guard: the
    disk has changed, the name has not.

    ## Why is this bad?

    Installing changes the disk, not the name: `m` is still None (`'NoneType' object has no attribute
    ...`), or was never bound. The cell that tried the import does not run again by itself.

    ## Example

    ```python
    @app.cell
    def _():
        try:
            import transformers
        except ImportError:
            transformers = None
        return (transformers,)


    @app.cell
    def _(subprocess, sys, transformers):
        if transformers is None:
            subprocess.run([sys.executable, "-m", "pip", "install", "transformers"], check=True)
        return


    @app.cell
    def _(transformers):
        tokenizer = transformers.AutoTokenizer.from_pretrained("gpt2")
        return (tokenizer,)
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


    @app.cell
    def _(transformers):
        tokenizer = transformers.AutoTokenizer.from_pretrained("gpt2")
        return (tokenizer,)
    ```

    ## Fix safety

    Where the install stands in the `except` itself, the fix imports the module after it; there is none
    where it stands in another cell. Unsafe: packages that were loaded in part need a restart.

    ## References

    - Checklist 15.05
    """

    code = "QA1505"
    severity = Severity.CRITICAL
    checklist = ("15.05",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, installs: Installs) -> Iterator[Finding]:
        """One finding for each module, at its first use."""
        notebook = installs.notebook
        for missing in _missing(notebook):
            install = _install_of(installs, missing)
            if install is None or _imported_after(missing, install):
                continue
            found = _first_use(notebook, missing, install)
            if found is None:
                continue
            none = isinstance(missing.node, ast.Assign)
            yield self.finding(
                notebook.place(found),
                f"`{missing.name}` is used after the install without being imported again: it is "
                + ("still None" if none else "not bound"),
                related=[
                    Related(
                        notebook.file.place(missing.node),
                        "set to None here" if none else "the import fails here",
                    ),
                    Related(notebook.file.place(install.call), "installed here"),
                ],
                fix=_import_again(installs, missing, install),
                help=f"Import `{missing.module}` again after installing it, in the cell that binds "
                f"`{missing.name}`.",
            )


def _missing(notebook: Notebook) -> Iterator[Missing]:
    """The imports of the notebook that may fail and be caught."""
    for cell in notebook.cells:
        for statement in walk_statements(cell.body):
            if not isinstance(statement, ast.Try):
                continue
            handler = next((each for each in statement.handlers if _is_import_error(each.type)), None)
            if handler is None:
                continue
            for inner in statement.body:
                if not isinstance(inner, ast.Import | ast.ImportFrom):
                    continue
                for alias in inner.names:
                    name = alias.asname or alias.name.split(".")[0]
                    module = (inner.module or "") if isinstance(inner, ast.ImportFrom) else alias.name
                    none = _set_to_none(handler, name)
                    yield Missing(
                        cell, name, module.split(".")[0], ast.unparse(inner), none or inner, handler
                    )


def _set_to_none(handler: ast.ExceptHandler, name: str) -> ast.Assign | None:
    for statement in handler.body:
        match statement:
            case ast.Assign(targets=targets, value=ast.Constant(value=None)):
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    return statement
            case _:
                pass
    return None


def _install_of(installs: Installs, missing: Missing) -> Install | None:
    """The install that brings the module: by its name, in its handler, or under a test of the name."""
    wanted = missing.module.lower().replace("_", "-")
    for install in installs.found:
        if any(name == wanted or MODULES.get(name) == missing.module for name in install.names()):
            return install
    for install in installs.found:
        tests = [each.test for each in install.around if isinstance(each, ast.If)]
        asked = any(
            isinstance(node, ast.Name) and node.id == missing.name
            for test in tests
            for node in ast.walk(test)
        )
        if asked or missing.handler in install.around:
            return install
    return None


def _imported_after(missing: Missing, install: Install) -> bool:
    """Whether the handler, or the cell after the `try`, imports the module again, or leaves."""
    line = install.call.lineno
    for statement in missing.cell.body if install.cell is missing.cell else ():
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom) and node.lineno > line:
                modules = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                )
                if any(module.split(".")[0] == missing.module for module in modules):
                    return True
            if (
                isinstance(node, ast.Call)
                and "import_module" in ast.unparse(node.func)
                and node.lineno > line
            ):
                return True
    return any(
        isinstance(each, ast.Raise) or (isinstance(each, ast.Call) and "exit" in ast.unparse(each.func))
        for statement in missing.handler.body
        for each in ast.walk(statement)
    )


def _first_use(notebook: Notebook, missing: Missing, install: Install) -> Use | None:
    """The first unguarded use of the module as one: an attribute of it, or a call."""
    flags = _flags(missing, install)
    for cell in notebook.run_order():
        if cell is missing.cell:
            uses = [
                use
                for use in cell.scope.loads.get(missing.name, [])
                if getattr(use.node, "lineno", 0) > max(install.call.lineno, missing.handler.end_lineno or 0)
            ]
        elif missing.name in cell.refs - cell.bound:
            uses = cell.reads(missing.name)
        else:
            continue
        guarded = _guarded_nodes(notebook, cell, missing.name, flags)
        if guarded is None:
            continue
        used = _used_as_module(cell, missing.name)
        for use in uses:
            if id(use.node) in used and id(use.node) not in guarded and not use.guarded:
                return use
    return None


def _used_as_module(cell: Cell, name: str) -> set[int]:
    found: set[int] = set()
    for statement in cell.body:
        for node in ast.walk(statement):
            match node:
                case (
                    ast.Attribute(value=ast.Name(id=root) as leaf) | ast.Call(func=ast.Name(id=root) as leaf)
                ):
                    if root == name:
                        found.add(id(leaf))
                case _:
                    pass
    return found


def _flags(missing: Missing, install: Install) -> dict[str, bool]:
    """The names by which other code can tell, and whether each may be true after the install.

    A flag that the failed import sets to False stays False (`available`); one that the installing code
    sets afterwards (`installed`, `needs_restart`) may be true.
    """
    flags: dict[str, bool] = {}
    cells = [missing.cell, *([install.cell] if install.cell not in (None, missing.cell) else [])]
    for cell in cells:
        if cell is None:
            continue
        installing = cell is install.cell
        for target, value in bindings(cell.body):
            if not isinstance(target, ast.Name) or target.id == missing.name:
                continue
            inside = any(value is node for each in missing.handler.body for node in ast.walk(each))
            after = installing and (cell is not missing.cell or inside or value.lineno > install.call.lineno)
            false = isinstance(value, ast.Constant) and not value.value
            flags[target.id] = flags.get(target.id, False) or (after and not false)
    return flags


def _guarded_nodes(notebook: Notebook, cell: Cell, name: str, flags: dict[str, bool]) -> set[int] | None:
    """The nodes that do not run with the stale module; None where a stop guards the whole cell."""
    guarded: set[int] = set()
    for statement in cell.body:
        for node in ast.walk(statement):
            match node:
                case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                    if _guards(test, name, flags, stops=False):
                        guarded.update(id(inner) for inner in ast.walk(node))
                case ast.BoolOp(values=[first, *_]):
                    if _guards(first, name, flags, stops=False):
                        guarded.update(id(inner) for inner in ast.walk(node))
                case ast.Call(func=func, args=[test, *_]) if notebook.marimo(cell, func) == "stop":
                    if _guards(test, name, flags, stops=True):
                        return None
                case ast.Assert(test=test):
                    if _guards(test, name, flags, stops=False):
                        return None
                case _:
                    pass
    return guarded


def _guards(test: ast.expr, name: str, flags: dict[str, bool], *, stops: bool) -> bool:
    """Whether code under the test (or after a stop on it) cannot run with the stale module.

    A test of the module itself always can tell. `if available:` guards, since the flag is still False
    after the install; `if installed:` does not, since that may be true; for `mo.stop(test)`, and under
    `not`, it is the other way round.
    """
    if any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(test)):
        return True
    negated = stops
    inner = test
    while isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.Not):
        negated = not negated
        inner = inner.operand
    if isinstance(inner, ast.BoolOp):
        return any(_guards(each, name, flags, stops=negated) for each in inner.values)
    if isinstance(inner, ast.Attribute):
        inner = inner.value
    if not isinstance(inner, ast.Name) or inner.id not in flags:
        return False
    return flags[inner.id] if negated else not flags[inner.id]


def _import_again(installs: Installs, missing: Missing, install: Install) -> Fix | None:
    """Import after the install, where that stands in the handler itself."""
    edits = installs.edits
    last = missing.handler.body[-1]
    if missing.handler not in install.around or not edits.alone(last):
        return None
    changes: list[Edit] = []
    if isinstance(missing.node, ast.Assign):
        if missing.node is last or len(missing.node.targets) > 1 or not edits.alone(missing.node):
            return None
        changes += edits.remove(missing.node) or ()
    after = edits.insert_after(last, missing.line)
    if after is None:
        return None
    return Fix(Applicability.UNSAFE, "Import it after the install", tuple(sorted([*changes, *after])))
