"""Fixes in layouts that only concrete syntax gets right: comments, commas, parentheses, line ends."""

from __future__ import annotations

import subprocess
import sys

import pytest
from qalint_rules.lora.freeze_typo import FreezeHasNoEffect
from qalint_rules.mixed_precision.amp_argument_position import AmpArgumentPosition
from qalint_rules.mixed_precision.backward_inside_autocast import BackwardInsideAutocast
from qalint_rules.mixed_precision.deprecated_amp_api import DeprecatedAmpApi
from qalint_rules.mixed_precision.half_parameters import Fp16TrainableParameters
from qalint_rules.mixed_precision.unsafe_loss_under_autocast import UnsafeLossUnderAutocast

from qalint.analysis.cst import MAX_BYTES, MAX_DEPTH
from qalint.rule import Rule
from qalint.testing import apply, findings

CASES: dict[str, tuple[type[Rule], str, str]] = {
    "an import over lines with a comment to each name": (
        DeprecatedAmpApi,
        "from torch.cuda.amp import (  # torch.cuda.amp\n    GradScaler,  # scales\n"
        "    # casts\n    autocast as ac,\n)\n"
        "s = GradScaler(\n    # the default (65536)\n)\nwith ac(  # (\n    (use),\n): pass\n",
        "from torch.amp import (  # torch.cuda.amp\n    GradScaler,  # scales\n"
        "    # casts\n    autocast as ac,\n)\n"
        's = GradScaler("cuda"\n    # the default (65536)\n)\n'
        'with ac(  # (\n    "cuda", enabled=(use),\n): pass\n',
    ),
    "a module with blanks and a backslash": (
        DeprecatedAmpApi,
        "from torch . cuda . amp \\\n    import GradScaler\ns = GradScaler \\\n    (2.0,)\n",
        'from torch.amp \\\n    import GradScaler\ns = GradScaler \\\n    ("cuda", 2.0,)\n',
    ),
    "two on one line, after other alphabets, CRLF": (
        DeprecatedAmpApi,
        "from torch.cuda import amp\r\nx = ['größe', '日本', amp.GradScaler(), amp.autocast(a := b)]\r\n",
        "from torch import amp\r\n"
        "x = ['größe', '日本', amp.GradScaler(\"cuda\"), amp.autocast(\"cuda\", enabled=(a := b))]\r\n",
    ),
    "a parenthesised decorator": (
        DeprecatedAmpApi,
        "import torch\n@(torch.cuda.amp.custom_fwd)  # why\ndef f(): ...\n",
        'import torch\n@(torch.amp.custom_fwd(device_type="cuda"))  # why\ndef f(): ...\n',
    ),
    "partial with parentheses and a comment": (
        DeprecatedAmpApi,
        "import torch, functools\n"
        "p = functools.partial(\n    (torch.cuda.amp.autocast),  # (\n    (True),\n)\n",
        "import torch, functools\n"
        'p = functools.partial(\n    (torch.amp.autocast), "cuda",  # (\n    enabled=(True),\n)\n',
    ),
    "an argument below a comment": (
        AmpArgumentPosition,
        "import torch\ns = torch.amp.GradScaler(  # )\n    (  # the start\n        2.0 ** 10\n    ),\n)\n",
        "import torch\n"
        "s = torch.amp.GradScaler(  # )\n    init_scale=(  # the start\n        2.0 ** 10\n    ),\n)\n",
    ),
    "a device in parentheses": (
        AmpArgumentPosition,
        "import torch\nd = torch.device('cuda')\nwith torch.autocast(\n    ((d)),  # here\n): pass\n",
        "import torch\nd = torch.device('cuda')\nwith torch.autocast(\n    ((d)).type,  # here\n): pass\n",
    ),
    "the second argument on the line of the first": (
        AmpArgumentPosition,
        "import torch\nü = 'ü𝄞', torch.autocast('cuda', (not x),)\n",
        "import torch\nü = 'ü𝄞', torch.autocast('cuda', enabled=(not x),)\n",
    ),
    "what hangs below the backward pass": (
        BackwardInsideAutocast,
        "import torch\r\nif x:\r\n\twith torch.autocast('cuda'):\r\n\t\tloss = m(x)\r\n\r\n\t\t# back\r\n"
        "\t\ts.scale(\r\n\t\t\tloss,  # all\r\n\t\t).backward(); s.step(o)\r\n\t\t# done\r\n\tprint()\r\n",
        "import torch\r\nif x:\r\n\twith torch.autocast('cuda'):\r\n\t\tloss = m(x)\r\n\r\n\t# back\r\n"
        "\ts.scale(\r\n\t\tloss,  # all\r\n\t).backward(); s.step(o)\r\n\t# done\r\n\tprint()\r\n",
    ),
    "the dtype of a model among comments": (
        Fp16TrainableParameters,
        "import torch\nm = torch.nn.Linear(\n    2, 3,  # which\n    dtype=torch.float16,\n"
        "    # where\n    device=d,\n)\n"
        "o = torch.optim.SGD(m.parameters())\n"
        "for x in l:\n    o.zero_grad()\n    m(x).mean().backward()\n    o.step()\n",
        "import torch\nm = torch.nn.Linear(\n    2, 3,  # which\n    # where\n    device=d,\n)\n"
        "o = torch.optim.SGD(m.parameters())\n"
        "for x in l:\n    o.zero_grad()\n    m(x).mean().backward()\n    o.step()\n",
    ),
    "a sigmoid with parentheses around its argument": (
        UnsafeLossUnderAutocast,
        "import torch\nimport torch.nn.functional as F\nwith torch.autocast('cuda'):\n"
        "    l = F.binary_cross_entropy(torch.sigmoid((  # raw\n        z\n    )), y)\n",
        "import torch\nimport torch.nn.functional as F\nwith torch.autocast('cuda'):\n"
        "    l = F.binary_cross_entropy_with_logits((  # raw\n        z\n    ), y)\n",
    ),
    "a comparison in parentheses": (
        FreezeHasNoEffect,
        "import torch\nfor p in m.parameters():\n    (p.requires_grad == False)  # frozen\n",
        "import torch\nfor p in m.parameters():\n    p.requires_grad = False  # frozen\n",
    ),
    "a comparison with a misspelt attribute": (
        FreezeHasNoEffect,
        "import torch\nfor p in m.parameters():\n    p.require_grad \\\n        == (False)\n",
        "import torch\nfor p in m.parameters():\n    p.requires_grad = (False)\n",
    ),
    "a value over lines": (
        FreezeHasNoEffect,
        "import torch\nm = torch.nn.Linear(2, 2)\nm.requires_grad = (  # the base\n    False\n)\n",
        "import torch\nm = torch.nn.Linear(2, 2)\nm.requires_grad_(  # the base\n    False\n)\n",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_fix(case: str) -> None:
    rule, before, after = CASES[case]
    assert apply(findings(rule, before)[0]) == after
    assert findings(rule, after) == []


@pytest.mark.parametrize("case", CASES)
def test_without_concrete_syntax_the_finding_stays_and_has_no_fix(case: str) -> None:
    rule, before, _ = CASES[case]
    long = f"{before}# {'x' * MAX_BYTES}\n"
    found, plain = findings(rule, long), findings(rule, before)
    assert [(item.message, item.place.start) for item in found] == [
        (item.message, item.place.start) for item in plain
    ]
    assert all(item.fix is None for item in found)


@pytest.mark.parametrize("case", CASES)
def test_what_is_beyond_the_limits_elsewhere_costs_no_fix(case: str) -> None:
    rule, before, after = CASES[case]
    deep = f"deep = y{'.z' * (MAX_DEPTH + 1)}\n"
    assert apply(findings(rule, before + deep)[0]) == after + deep


def test_a_comment_in_a_removed_name_is_not_lost() -> None:
    text = "import torch\ns = (torch.cuda  # old\n    .amp.GradScaler)()\n"
    (found,) = findings(DeprecatedAmpApi, text)
    assert found.fix is None


def test_libcst_is_not_loaded_for_a_file_without_a_candidate() -> None:
    text = (
        "import torch\nfor p in m.parameters():\n    p.requires_grad = False\n"
        "s = torch.amp.GradScaler('cuda')\nwith torch.autocast('cuda'):\n    loss = m(x)\nloss.backward()\n"
    )
    codes = ["QA1121", "QA1123", "QA1124", "QA1130", "QA1131", "QA1206"]
    code = (
        "import sys\nfrom qalint.linter import check\nfrom qalint.registry import rules\n"
        "from qalint.testing import file_of\n"
        f"asked = [rule() for rule in rules() if rule.code in {codes}]\nassert len(asked) == {len(codes)}\n"
        f"assert not list(check(file_of({text!r}), asked))\nassert 'libcst' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
