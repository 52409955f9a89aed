"""What a model is fed with: its own forward may cast it, and one wrong input is one fault."""

from __future__ import annotations

import pytest
from machine_programs import faults_of

HEAD = "import torch\nfrom torch import nn\n"
NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        {forward}

net = Net().cuda(){cast}.eval()
with torch.no_grad():
    print(net(torch.randn(2, 4, device="cuda"){given}))
"""


def told(forward: str, cast: str = ".half()", given: str = "") -> list[str]:
    """The faults of a model with this forward."""
    return faults_of(NET.format(forward=forward, cast=cast, given=given), HEAD)


@pytest.mark.parametrize("forward", ["return self.a(x)", "return self.b(torch.relu(self.a(x)))"])
def test_an_input_that_reaches_the_layers_as_it_is(forward: str) -> None:
    """The fault is at the call of the model, and not once more at each layer."""
    call = 'print(net(torch.randn(2, 4, device="cuda")))'
    assert told(forward) == [f"dtype-mismatch:float32->float16 @ {call}"]
    assert told(forward, given=".half()") == []
    assert told(forward, cast="") == []


@pytest.mark.parametrize(
    "forward",
    [
        "x = x.half()\n        return self.a(x)",
        "return self.a(x.to(self.a.weight.dtype))",
        "return self.a(x.to(self.a.weight))",
        "return self.b(self.a(x.type_as(self.a.weight)))",
        'with torch.autocast("cuda"):\n            return self.a(x)',
    ],
)
def test_a_forward_that_casts_what_it_gets(forward: str) -> None:
    assert told(forward) == []


def test_a_forward_that_casts_something_else() -> None:
    """Then the layer that gets the wrong dtype is the place, and the call of the model is named with it."""
    forward = "y = self.a(x)\n        return y.float()"
    assert told(forward) == ["dtype-mismatch:float32->float16 @ y = self.a(x)"]


def test_a_layer_that_casts_for_the_model() -> None:
    text = """
class First(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return self.inner(x.to(self.inner.weight.dtype))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = First(), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.first(x))

net = Net().half()
print(net(torch.randn(2, 4)))
"""
    assert faults_of(text, HEAD) == []
    assert faults_of(text.replace(".to(self.inner.weight.dtype)", ""), HEAD) == [
        "dtype-mismatch:float32->float16 @ print(net(torch.randn(2, 4)))"
    ]


def test_a_model_that_was_never_cast() -> None:
    (fault,) = told("return self.b(self.a(x))", cast="", given=".half()")
    assert fault == "dtype-mismatch:float16->float32 @ return self.b(self.a(x))"


def test_a_forward_that_only_moves_what_it_gets() -> None:
    forward = "return self.a(x.to(self.a.device))"
    assert told(forward) == [f"dtype-mismatch:float32->float16 @ {forward}"]


def test_layers_without_parameters_take_any_dtype() -> None:
    text = """
net = nn.Sequential(nn.Linear(4, 4, dtype=torch.float16), nn.ReLU(), nn.Dropout(0.1))
print(net(torch.randn(2, 4, dtype=torch.float16)))
print(nn.ReLU()(torch.randn(2, 4).half()))
"""
    assert faults_of(text, HEAD) == []
    (fault,) = faults_of(text.replace("4, dtype=torch.float16))", "4))"), HEAD)
    assert fault.startswith("dtype-mismatch:float32->float16")
