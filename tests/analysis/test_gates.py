"""What the cheap looks at a tree let pass: all that may show the fault, and little more."""

import pytest

from qalint.analysis.modules.gates import makes_half, says_dimensions, walks
from qalint.linter import parse
from qalint.source import Source


def file(text: str):
    return parse(Source("part.py", text))


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("def f(m):\n    for x in m.modules():\n        x.proj = Wrapped(x.proj)\n", True),
        ("def f(m):\n    for n, x in m.named_modules():\n        replace(m, n, x)\n", True),
        ("def f(m):\n    for n, x in list(m.named_modules()):\n        setattr(m, n, make(x))\n", True),
        ("def f(m):\n    for x in m.modules():\n        x.flag = True\n        x.eval()\n", False),
        ("def f(m):\n    for x in m.children():\n        x.proj = Wrapped(x.proj)\n", False),
        (
            "def f(m):\n    for x in m.modules():\n        print(x)\nif __name__ == '__main__':\n    f(1)\n",
            True,
        ),
    ],
)
def test_walks(text, passes):
    assert walks(file(text)) is passes


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("def f(x):\n    return x.to(torch.float16)\n", True),
        ("def f(x):\n    return x.half()\n", True),
        ("def f(x):\n    return x.to('float16')\n", True),
        ("def f(x):\n    if x.dtype in (torch.bfloat16, torch.float16):\n        return x.float()\n", False),
        ("def f(x):\n    return torch.finfo(torch.float16).min\n", False),
        ("def f(x):\n    y = x.half().dtype == z\n", True),
        ("def f(x):\n    if x.dtype == torch.float16:\n        pass\nfor x in y:\n    f(x)\n", True),
    ],
)
def test_makes_half(text, passes):
    assert makes_half(file(text)) is passes


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("d_in, d_out = layer.weight.shape\n", True),
        ("def f(w):\n    return (d_out := w.shape[1])\n", True),
        ("d_in = 3\nx = layer.weight.shape\n", False),
        ("class LoRA:\n    pass\n", True),
    ],
)
def test_says_dimensions(text, passes):
    assert says_dimensions(file(text), frozenset({"d_in", "d_out"})) is passes
