"""What in a cell is work: training, loading, generating, anything that takes minutes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from qalint.analysis.notebook import Cell, Notebook

WORK = re.compile(
    r"(train|fit|finetune|fine_tune|backward|generate|from_pretrained|load_dataset|load_model|download|"
    r"snapshot_download|hf_hub_download|urlopen|urlretrieve|read_csv|read_parquet|read_json|sleep|run_training|"
    r"process|compute|simulate|evaluate|optimize|benchmark|predict)(_\w+)?|\w+_(train|training|model)",
)
"""Names of functions that do work."""

SLOW = ("requests.", "httpx.", "urllib.request.", "subprocess.", "torch.load", "joblib.load", "pickle.load")
"""Library functions that wait for a network, a process or a disk."""

STARTS_WORK = re.compile(r"load|train|run|fetch|download|prepare|make_data|get_data|create_model|build_model")
"""How functions begin that do work without being given anything."""

TRAINING = re.compile(r"train|fit|backward|finetune|fine_tune|fit_transform|step")
LOADING = re.compile(
    r"from_pretrained|load_dataset|load_model|\w*download\w*|urlopen|urlretrieve|read_(csv|parquet|json)"
)


def called(call: ast.Call) -> str:
    """The last name of what is called."""
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def calls_in(node: ast.AST) -> Iterator[ast.Call]:
    """The calls that run when the statement runs: not those inside functions that it defines."""
    stack: list[ast.AST] = [node]
    while stack:
        current = stack.pop()
        if isinstance(current, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(current, ast.Call):
            yield current
        stack.extend(ast.iter_child_nodes(current))


def is_work(notebook: Notebook, cell: Cell, statement: ast.stmt) -> bool:
    """Whether running the statement can take long: a loop with calls, training, loading, own functions."""
    if isinstance(
        statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom
    ):
        return False
    if isinstance(statement, ast.For | ast.AsyncFor | ast.While):
        return any(True for _ in calls_in(ast.Module(statement.body, [])))
    for call in calls_in(statement):
        if notebook.marimo(cell, call.func) is not None:
            continue
        if WORK.fullmatch(called(call)) or (notebook.resolve(cell, call.func) or "").startswith(SLOW):
            return True
        if (
            isinstance(call.func, ast.Name)
            and is_function(notebook, call.func.id)
            and (call.args or call.keywords or STARTS_WORK.match(call.func.id))
        ):
            return True
    return False


def is_function(notebook: Notebook, name: str) -> bool:
    """Whether some cell defines a function of this name."""
    for cell in notebook.definers(name):
        if any(isinstance(use.node, ast.FunctionDef | ast.AsyncFunctionDef) for use in cell.stores(name)):
            return True
    return False
