"""A marimo notebook as one program: its cells in dependency order in one scope."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...file import File


def body_of(file: File) -> list[ast.stmt] | None:
    """The statements of the notebook in running order, or None if the file is no marimo notebook."""
    from ..notebook import Notebook

    notebook = file.get(Notebook)
    if notebook is None:
        return None
    body: list[ast.stmt] = []
    for cell in notebook.run_order():
        body += [statement for statement in cell.body if not isinstance(statement, ast.Return)]
    return body
