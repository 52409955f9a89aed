from __future__ import annotations

import pytest
from qalint_rules.mixed_precision.amp_argument_position import AmpArgumentPosition

from qalint.testing import apply, findings

CASES = {
    "torch.amp.GradScaler(True)": ("device", "torch.amp.GradScaler(enabled=True)"),
    "torch.GradScaler(2.0**16, 2.0)": ("device", 'torch.GradScaler("cuda", 2.0**16, 2.0)'),
    "torch.GradScaler(65536.0)": ("device", "torch.GradScaler(init_scale=65536.0)"),
    "torch.GradScaler(not off)": ("device", "torch.GradScaler(enabled=not off)"),
    "torch.GradScaler(dtype == torch.float16)": (
        "device",
        "torch.GradScaler(enabled=dtype == torch.float16)",
    ),
    "torch.GradScaler(torch.cuda.is_available())": (
        "device",
        "torch.GradScaler(enabled=torch.cuda.is_available())",
    ),
    "torch.autocast(torch.device('cuda'))": ("must be a string", "torch.autocast(torch.device('cuda').type)"),
    "torch.autocast('cuda', (False))": ("taken as the dtype", "torch.autocast('cuda', enabled=(False))"),
    "torch.autocast(True)": ("device type", 'torch.autocast("cuda", enabled=True)'),
    "torch.autocast(torch.float16)": ("device type", 'torch.autocast("cuda", dtype=torch.float16)'),
    "torch.autocast()": ("needs a device type", 'torch.autocast("cuda")'),
    "torch.autocast(enabled=x)": ("needs a device type", 'torch.autocast("cuda", enabled=x)'),
}


@pytest.mark.parametrize("call", CASES)
def test_finding_and_fix(call: str) -> None:
    words, fixed = CASES[call]
    (found,) = findings(AmpArgumentPosition, f"import torch\nx = {call}\n")
    assert words in found.message
    assert apply(found) == f"import torch\nx = {fixed}\n"
    assert findings(AmpArgumentPosition, apply(found)) == []


def test_a_device_by_name() -> None:
    text = "import torch\ndevice = torch.device('cuda')\nwith torch.autocast(device_type=device): pass\n"
    (found,) = findings(AmpArgumentPosition, text)
    assert "device_type=device.type" in apply(found)


def test_a_device_that_is_not_simple_has_no_fix() -> None:
    text = "import torch\ntorch.autocast(torch.device('cuda') if x else torch.device('cpu'))\n"
    (found,) = findings(AmpArgumentPosition, text)
    assert found.fix is None


@pytest.mark.parametrize(
    "call",
    [
        "torch.amp.GradScaler()",
        "torch.amp.GradScaler('cuda', 2.0)",
        "torch.amp.GradScaler(device)",
        "torch.cuda.amp.GradScaler(65536.0)",
        "torch.cuda.amp.autocast(False)",
        "torch.autocast('cuda', torch.float16, False)",
        "torch.autocast(device.type)",
        "torch.autocast(**options)",
        "torch.autocast(*options)",
        "partial(torch.autocast, enabled=True)",
    ],
)
def test_silent(call: str) -> None:
    assert findings(AmpArgumentPosition, f"import torch\nfrom functools import partial\nx = {call}\n") == []


def test_an_annotated_flag_is_no_dtype() -> None:
    text = "import torch\ndef f(fp16: bool = True, kind: str = ''):\n    return torch.autocast('cuda', {})\n"
    (found,) = findings(AmpArgumentPosition, text.format("fp16"))
    assert apply(found) == text.format("enabled=fp16")
    assert findings(AmpArgumentPosition, text.format("kind")) == []


SETTINGS = {
    "store_true": ("parser.add_argument('--amp', action='store_true')", True),
    "spelled with a dash": ("parser.add_argument('-a', '--use-amp', dest='amp', action='store_false')", True),
    "either way": ("parser.add_argument('--amp', action=argparse.BooleanOptionalAction)", True),
    "type": ("parser.add_argument('--amp', type=bool)", True),
    "a namespace": ("config = SimpleNamespace(amp=True, width=8)", True),
    "a field": ("class Config:\n    amp: bool = True", True),
    "set by hand": ("config.amp = False", True),
    "a text": ("parser.add_argument('--amp', default='cuda')", False),
    "a field of text": ("class Config:\n    amp: str = 'cuda'", False),
    "one of two": ("parser.add_argument('--amp', action='store_true')\nconfig.amp = 'cuda'", False),
    "not declared here": ("pass", False),
    "of another function": ("plot(amp=True)", False),
}


@pytest.mark.parametrize(("setting", "found"), SETTINGS.values(), ids=SETTINGS)
def test_a_setting_that_is_declared_as_a_flag(setting: str, found: bool) -> None:
    head = "import argparse\nimport torch\nfrom types import SimpleNamespace\n"
    text = f"{head}{setting}\nscaler = torch.amp.GradScaler(config.amp)\n"
    told = findings(AmpArgumentPosition, text)
    assert len(told) == found
    if found:
        assert apply(told[0]) == text.replace("(config.amp)", "(enabled=config.amp)")
