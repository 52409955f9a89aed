"""A marimo notebook as one program: its cells in dependency order in one scope."""

from __future__ import annotations

import ast
from collections import Counter
from copy import deepcopy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...file import File


def body_of(file: File) -> list[ast.stmt] | None:
    """The statements of the notebook in running order, or None if the file is no marimo notebook.

    Names that begin with an underscore belong to their cell: where two cells use the same one, they
    are renamed in copies of the cells (which keep their positions).
    """
    from ..notebook import Notebook

    notebook = file.get(Notebook)
    if notebook is None:
        return None
    cells = list(notebook.run_order())
    shared = Counter(name for cell in cells for name in cell.private)
    body: list[ast.stmt] = []
    for number, cell in enumerate(cells):
        statements = list(cell.body)
        clashing = {name for name in cell.private if shared[name] > 1}
        if clashing:
            statements = [_renamed(statement, clashing, number) for statement in statements]
        body += statements
    return body


def _renamed(statement: ast.stmt, names: set[str], cell: int) -> ast.stmt:
    copy = deepcopy(statement)
    for node in ast.walk(copy):
        if isinstance(node, ast.Name) and node.id in names:
            node.id = f"{node.id} (cell {cell})"
        elif isinstance(node, ast.arg) and node.arg in names:
            node.arg = f"{node.arg} (cell {cell})"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name in names:
            node.name = f"{node.name} (cell {cell})"
    return copy
