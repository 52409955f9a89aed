from __future__ import annotations

import pytest
from qalint_rules.mixed_precision.deprecated_amp_api import DeprecatedAmpApi

from qalint.file import File
from qalint.linter import check
from qalint.testing import apply, file_of, findings

FIXED = {
    "positional arguments of the scaler": (
        "import torch\ns = torch.cuda.amp.GradScaler(1024.0, enabled=x)\n",
        'import torch\ns = torch.amp.GradScaler("cuda", 1024.0, enabled=x)\n',
    ),
    "positional arguments of autocast": (
        "import torch\nwith torch.cuda.amp.autocast((use), torch.float16):\n    pass\n",
        'import torch\nwith torch.amp.autocast("cuda", enabled=(use), dtype=torch.float16):\n    pass\n',
    ),
    "a from import with all its uses": (
        "from torch.cuda.amp import GradScaler, autocast  # amp\n"
        "s = GradScaler()\n@autocast()\ndef f(s: GradScaler): ...\n",
        "from torch.amp import GradScaler, autocast  # amp\n"
        's = GradScaler("cuda")\n@autocast("cuda")\ndef f(s: GradScaler): ...\n',
    ),
    "the module by from": (
        "from torch.cuda import amp\ns = amp.GradScaler()\nwith amp.autocast(enabled=False): pass\n",
        'from torch import amp\ns = amp.GradScaler("cuda")\nwith amp.autocast("cuda", enabled=False): pass\n',
    ),
    "the module by as": (
        "import torch.cuda.amp as amp\ns = amp.GradScaler()\n",
        'import torch.amp as amp\ns = amp.GradScaler("cuda")\n',
    ),
    "an alias and its uses": (
        "import torch\nGS = torch.cuda.amp.GradScaler\ns = GS(2.0)\n",
        'import torch\nGS = torch.amp.GradScaler\ns = GS("cuda", 2.0)\n',
    ),
    "an alias of a from import": (
        "from torch.cuda.amp import GradScaler\nGS = GradScaler\ns = GS(2.0)\n",
        'from torch.amp import GradScaler\nGS = GradScaler\ns = GS("cuda", 2.0)\n',
    ),
    "partial": (
        "import torch, functools\np = functools.partial(torch.cuda.amp.autocast, True)\n",
        'import torch, functools\np = functools.partial(torch.amp.autocast, "cuda", enabled=True)\n',
    ),
    "custom_fwd as a bare decorator": (
        "import torch\n@torch.cuda.amp.custom_fwd\ndef f(): ...\n",
        'import torch\n@torch.amp.custom_fwd(device_type="cuda")\ndef f(): ...\n',
    ),
    "custom_fwd with an argument": (
        "import torch\n@torch.cuda.amp.custom_fwd(cast_inputs=torch.float32)\ndef f(): ...\n",
        'import torch\n@torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)\ndef f(): ...\n',
    ),
    "the CPU twin": (
        "import torch\nwith torch.cpu.amp.autocast(dtype=torch.bfloat16): pass\n",
        'import torch\nwith torch.amp.autocast("cpu", dtype=torch.bfloat16): pass\n',
    ),
    "the class's own module": (
        "from torch.cuda.amp.grad_scaler import GradScaler\ns = GradScaler(**options)\n",
        'from torch.amp import GradScaler\ns = GradScaler("cuda", **options)\n',
    ),
    "torch imported twice": (
        "import torch\nimport torch.utils.checkpoint\ns = torch.cuda.amp.GradScaler()\n",
        'import torch\nimport torch.utils.checkpoint\ns = torch.amp.GradScaler("cuda")\n',
    ),
    "inside a function": (
        "def f():\n    from torch.cuda.amp import autocast\n    with autocast(): pass\n",
        'def f():\n    from torch.amp import autocast\n    with autocast("cuda"): pass\n',
    ),
}


@pytest.mark.parametrize("case", FIXED)
def test_fix(case: str) -> None:
    before, after = FIXED[case]
    first = findings(DeprecatedAmpApi, before)[0]
    assert apply(first) == after
    assert findings(DeprecatedAmpApi, after) == []


def test_place_message_and_help() -> None:
    (found,) = findings(DeprecatedAmpApi, "import torch\ns = torch.cuda.amp.GradScaler()\n")
    assert found.place.source.text[found.place.start : found.place.end] == "torch.cuda.amp.GradScaler"
    assert found.message == "`torch.cuda.amp.GradScaler` is deprecated"
    assert found.help == 'use `torch.amp.GradScaler("cuda", ...)`'


@pytest.mark.parametrize(
    "text",
    [
        "import torch\nwith torch.cuda.amp.autocast(*arguments): pass\n",
        "from torch.cuda.amp import GradScaler\nmake(GradScaler)\n",
        "try:\n    from torch.cuda.amp import autocast\nexcept ImportError:\n"
        "    autocast = None\nwith autocast(): pass\n",
    ],
)
def test_what_cannot_be_rewritten_whole_is_reported_without_a_fix(text: str) -> None:
    found = findings(DeprecatedAmpApi, text)
    assert found and all(item.fix is None for item in found)


@pytest.mark.parametrize(
    "text",
    [
        "from torch.amp import GradScaler, autocast\ns = GradScaler('cuda')\n",
        "# from torch.cuda.amp import GradScaler\n",
        "from torch.cuda.amp import GradScaler\ndef f(s: GradScaler | None = None): ...\n",
        "from torch.cuda.amp import GradScaler\nisinstance(s, GradScaler)\n",
        "import torch\n"
        "s = torch.amp.GradScaler() if hasattr(torch.amp, 'GradScaler') else torch.cuda.amp.GradScaler()\n",
        "import torch\nif new:\n    s = torch.amp.GradScaler()\nelse:\n    s = torch.cuda.amp.GradScaler()\n",
        "try:\n    from torch.amp import GradScaler\nexcept ImportError:\n"
        "    from torch.cuda.amp import GradScaler\ns = GradScaler()\n",
        "from mylib.cuda.amp import GradScaler\ns = GradScaler()\n",
        "def f(torch):\n    torch.cuda.amp.GradScaler()\n",
    ],
)
def test_silent(text: str) -> None:
    assert findings(DeprecatedAmpApi, text) == []


@pytest.mark.parametrize(("floor", "count"), [((2, 2), 1), ((2, 3), 2), ((2, 4), 2)])
def test_the_floor_of_torch_decides(floor: tuple[int, ...], count: int) -> None:
    file: File = file_of(
        "import torch\ns = torch.cuda.amp.GradScaler()\nwith torch.cuda.amp.autocast(): pass\n"
    )
    file.floors = {"torch": floor}
    assert len(list(check(file, [DeprecatedAmpApi()]))) == count
