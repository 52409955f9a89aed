"""Whether an install runs only where the package is missing, or when somebody asked for it."""

from __future__ import annotations

import ast
import re

from qalint.analysis.notebook import Notebook, walk_statements

from .installs import Install

FLAG = re.compile(
    r"avail|install|missing|need|requir|has_|have_|found|import|exist|present|ready|is_none|colab|wasm|pyodide|"
    r"find_spec|version|modules|sandbox",
    re.IGNORECASE,
)
"""Words in a test that ask whether a package is there."""

IMPORT_ERRORS = frozenset(
    {"ImportError", "ModuleNotFoundError", "Exception", "BaseException", "PackageNotFoundError"}
)


def is_guarded(notebook: Notebook, install: Install) -> bool:
    """Whether the install is inside a failed import, under a test for the package, or behind a button."""
    if _around(notebook, install.around, install.call):
        return True
    if install.cell is not None and _stopped(notebook, install):
        return True
    function = next(
        (
            node
            for node in reversed(install.around)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (install.cell is None or node is not install.cell.node or install.cell.kind == "function")
        ),
        None,
    )
    if function is None:
        return False
    if any(isinstance(node, ast.Try | ast.If) and _asks(notebook, node) for node in ast.walk(function)):
        return True
    return _calls_guarded(notebook, function.name)


def _around(notebook: Notebook, around: tuple[ast.AST, ...], node: ast.AST) -> bool:
    """Whether one of the nodes around makes the code conditional on a package."""
    inner = node
    for outer in reversed(around):
        match outer:
            case ast.ExceptHandler(type=kind) if _is_import_error(kind):
                return True
            case ast.If(test=test) if inner is not test and _is_flag(test, notebook):
                return True
            case ast.For(iter=iterable) if inner is not iterable and _is_flag(iterable, notebook):
                return True
            case ast.IfExp(test=test) if inner is not test and _is_flag(test, notebook):
                return True
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                return False
            case _:
                pass
        inner = outer
    return False


def _asks(notebook: Notebook, node: ast.Try | ast.If) -> bool:
    """Whether the statement tries an import, or tests for a package."""
    if isinstance(node, ast.If):
        return _is_flag(node.test, notebook)
    tries = any(
        isinstance(each, ast.Import | ast.ImportFrom)
        or (isinstance(each, ast.Call) and "import" in ast.unparse(each.func))
        for statement in node.body
        for each in ast.walk(statement)
    )
    return tries and any(_is_import_error(handler.type) for handler in node.handlers)


def _is_import_error(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    return any(isinstance(each, ast.Name) and each.id in IMPORT_ERRORS for each in ast.walk(kind))


def _is_flag(test: ast.expr, notebook: Notebook, depth: int = 0) -> bool:
    """Whether the test asks for a package, for the platform, or for the reader's consent (`button.value`)."""
    for node in ast.walk(test):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.Constant(value=str() as word):
                if FLAG.search(word) or word == "value":
                    return True
                if isinstance(node, ast.Name) and depth < 3 and _is_told(notebook, word, depth):
                    return True
            case ast.Compare(ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(value=None)]):
                return True
            case _:
                pass
    return False


def _is_told(notebook: Notebook, name: str, depth: int) -> bool:
    """Whether a cell binds the name by such a test, or by whether an import worked."""
    for cell in notebook.definers(name) or notebook.private_definers(name):
        tried = {
            id(inner)
            for statement in walk_statements(cell.body)
            if isinstance(statement, ast.Try) and _asks(notebook, statement)
            for inner in walk_statements([statement])
        }
        for statement in walk_statements(cell.body):
            match statement:
                case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                    if id(statement) in tried or _is_flag(value, notebook, depth + 1):
                        return True
                case _:
                    pass
    return False


def _stopped(notebook: Notebook, install: Install) -> bool:
    """Whether `mo.stop` on such a test comes before the install."""
    assert install.cell is not None
    for statement in install.cell.body:
        if statement in install.around:
            return False
        match statement:
            case ast.Expr(value=ast.Call(func=func, args=[test, *_])):
                if notebook.marimo(install.cell, func) == "stop" and _is_flag(test, notebook):
                    return True
            case _:
                pass
    return False


def _calls_guarded(notebook: Notebook, name: str) -> bool:
    """Whether the notebook calls the function only under such tests (and at all)."""
    calls = []
    for cell in notebook.cells:
        stack: list[tuple[ast.AST, tuple[ast.AST, ...]]] = [(statement, ()) for statement in cell.body]
        while stack:
            node, around = stack.pop()
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                calls.append(_around(notebook, around, node))
            stack.extend((child, (*around, node)) for child in ast.iter_child_nodes(node))
    return all(calls)
