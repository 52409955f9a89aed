from __future__ import annotations

import ast

import pytest

from qalint.analysis.names import Names, canonical
from qalint.testing import file_of


def names_of(text: str) -> Names:
    found = file_of(text).get(Names)
    assert found is not None
    return found


def meaning(text: str) -> str | None:
    """What the expression of the last expression statement resolves to."""
    names = names_of(text)
    last = [node for node in ast.walk(names.file.tree) if isinstance(node, ast.Expr)]
    last.sort(key=lambda node: node.lineno)
    return names.resolve(last[-1].value)


GRAD_SCALERS = {
    "import torch\ntorch.amp.GradScaler": "torch.amp.GradScaler",
    "import torch\ntorch.GradScaler": "torch.GradScaler",
    "import torch as t\nt.cuda.amp.GradScaler": "torch.cuda.amp.GradScaler",
    "import torch.cuda.amp\ntorch.cuda.amp.GradScaler": "torch.cuda.amp.GradScaler",
    "import torch.cuda.amp as amp\namp.GradScaler": "torch.cuda.amp.GradScaler",
    "from torch.cuda import amp as a\na.GradScaler": "torch.cuda.amp.GradScaler",
    "from torch.cuda.amp import GradScaler\nGradScaler": "torch.cuda.amp.GradScaler",
    "from torch.cuda.amp import GradScaler as GS\nGS": "torch.cuda.amp.GradScaler",
    "from torch.cuda.amp.grad_scaler import GradScaler\nGradScaler": "torch.cuda.amp.grad_scaler.GradScaler",
    "from torch.cuda.amp import *\nGradScaler": "torch.cuda.amp.GradScaler",
    "import torch\nGS = torch.cuda.amp.GradScaler\nGS": "torch.cuda.amp.GradScaler",
    "import torch\namp = torch.cuda.amp\nGS = amp.GradScaler\nGS": "torch.cuda.amp.GradScaler",
    "import torch\nGS: type = torch.amp.GradScaler\nGS": "torch.amp.GradScaler",
    "import importlib as i\namp = i.import_module('torch.amp')\namp.autocast": "torch.amp.autocast",
    "import torch\ngetattr(torch.cuda, 'amp').GradScaler": "torch.cuda.amp.GradScaler",
    "def f():\n    from torch.cuda import amp\n    amp.GradScaler": "torch.cuda.amp.GradScaler",
    "from torch import amp\nclass T:\n    def run(self):\n        amp.GradScaler": "torch.amp.GradScaler",
    "if True:\n    from torch.amp import GradScaler\nGradScaler": "torch.amp.GradScaler",
    "try:\n    from torch.amp import GradScaler\nexcept ImportError:\n"
    "    from torch.cuda.amp import GradScaler\nGradScaler": "torch.amp.GradScaler",
    "try:\n    from torch.cuda.amp import GradScaler\nexcept ImportError:\n"
    "    class GradScaler: pass\nGradScaler": "torch.cuda.amp.GradScaler",
    "try:\n    from torch.cuda.amp import GradScaler\nexcept ImportError:\n"
    "    GradScaler = None\nGradScaler": ("torch.cuda.amp.GradScaler"),
    "def f():\n    global GS\n    from torch.amp import GradScaler as GS\nGS": "torch.amp.GradScaler",
    "from .amp import GradScaler\nGradScaler": ".amp.GradScaler",
    "from ..lib import amp\namp.GradScaler": "..lib.amp.GradScaler",
    "from . import amp\namp.GradScaler": ".amp.GradScaler",
}


@pytest.mark.parametrize("text", GRAD_SCALERS)
def test_every_way_to_reach_the_scaler(text: str) -> None:
    assert meaning(text) == GRAD_SCALERS[text]


@pytest.mark.parametrize(
    "text",
    [
        "GradScaler",
        "from torch.amp import GradScaler\nGradScaler = wrap(GradScaler)\nGradScaler",
        "from torch.amp import GradScaler\ndef f(GradScaler):\n    GradScaler",
        "from torch.amp import GradScaler\nclass GradScaler: pass\nGradScaler",
        "from torch.amp import GradScaler\nfor GradScaler in (): pass\nGradScaler",
        "from torch.amp import autocast\nfrom torch.cuda.amp import autocast\nautocast",
        "import torch\nf(torch).amp",
        "import torch\ntorch.amp['GradScaler']",
        "def f():\n    import torch\ntorch.amp",
        "import torch\ndef f():\n    torch = None or 1\n    torch.amp",
        "import torch\n[torch for torch in x if torch.amp]\nlambda torch: torch",
        "a = b\nb = a\na",
        "from torch.amp import *\nfrom torch.optim import *\nGradScaler",
        "from torch.amp import *\nprint",
    ],
)
def test_what_is_rebound_or_local_is_unknown(text: str) -> None:
    assert meaning(text) is None


def test_class_names_are_not_seen_from_methods() -> None:
    text = "from torch import amp\nclass T:\n    amp = 3\n    def run(self):\n        amp.GradScaler"
    assert meaning(text) == "torch.amp.GradScaler"


def test_comprehension_targets_stay_inside_and_walrus_goes_outside() -> None:
    assert meaning("from torch import amp\n[amp for amp in y]\namp.autocast") == "torch.amp.autocast"
    assert meaning("from torch import amp\n[(amp := i) for i in y]\namp.autocast") is None


def test_canonical_joins_the_exports_and_keeps_the_deprecated_classes_apart() -> None:
    assert canonical("torch.GradScaler") == "torch.amp.GradScaler"
    assert canonical("torch.autocast") == "torch.amp.autocast"
    assert canonical("torch.cuda.amp.grad_scaler.GradScaler") == "torch.cuda.amp.GradScaler"
    assert canonical("torch.cuda.amp.GradScaler") == "torch.cuda.amp.GradScaler"


def test_calls_are_indexed_by_canonical_name_decorators_included() -> None:
    names = names_of("""
        import torch
        from functools import partial
        from torch.cuda.amp import GradScaler as GS

        cast = partial(torch.autocast, "cuda")
        scaler = GS()
        other = torch.GradScaler("cuda")

        @torch.autocast("cuda")
        def forward(x):
            return x
    """)
    assert [call.lineno for call in names.calls("torch.cuda.amp.GradScaler")] == [6]
    assert [call.lineno for call in names.calls("torch.amp.GradScaler", "torch.amp.autocast")] == [7, 9]
    assert [call.lineno for call in names.partials("torch.amp.autocast")] == [5]
    assert [chain.lineno for chain in names.reads("torch.amp.autocast")] == [5, 9]


def test_binding_and_definition() -> None:
    names = names_of("""
        import torch
        def build(): ...
        scaler = torch.GradScaler()
        twice = 1
        twice = 2
        build, scaler, twice, missing
    """)
    last = names.file.tree.body[-1]
    assert isinstance(last, ast.Expr) and isinstance(last.value, ast.Tuple)
    build, scaler, twice, missing = last.value.elts
    definition = names.definition(build)
    assert isinstance(definition, ast.FunctionDef) and definition.name == "build"
    binding = names.binding(scaler)
    assert binding is not None and binding.kind == "assign" and isinstance(binding.value, ast.Call)
    assert names.binding(twice) is None and len(names.bindings(twice)) == 2
    assert names.bindings(missing) == []


NOTEBOOK = """
import marimo

app = marimo.App()


@app.cell
def _():
    import torch
    from torch.cuda import amp as _amp
    return (torch,)


@app.cell
def _(torch):
    scaler = torch.amp.GradScaler()
    return (scaler,)


@app.cell
def _(_amp):
    _amp.GradScaler
    return


@app.function
def helper(torch):
    return torch.amp
"""


def test_the_cells_of_a_notebook_share_their_names() -> None:
    names = names_of(NOTEBOOK)
    assert [call.lineno for call in names.calls("torch.amp.GradScaler")] == [15]
    assert list(names.reads("torch.cuda.amp.GradScaler")) == []  # `_amp` is private to its cell
    assert list(names.reads("torch.amp")) == []  # a function's own parameter


def test_imports_lists_what_lies_below_a_module() -> None:
    names = names_of(
        "from torch.cuda.amp import GradScaler, autocast\nimport torch\nfrom torchvision import x"
    )
    assert [binding.qualified for binding in names.imports("torch.cuda.amp")] == [
        "torch.cuda.amp.GradScaler",
        "torch.cuda.amp.autocast",
    ]
    assert [binding.name for binding in names.imports("torch")] == ["GradScaler", "autocast", "torch"]


def test_depth_does_not_exhaust_the_stack() -> None:
    deep = "x = " + "a." * 700 + "b\n" + "".join(f"n{i} = n{i + 1}\n" for i in range(500)) + "n0\n"
    assert meaning(deep) is None
    assert meaning("import torch\ntorch" + ".amp" * 700) is not None
