"""A call that did nothing is not followed again, and the program's meaning is the same."""

import ast

from qalint.analysis.modules import Modules
from qalint.linter import parse
from qalint.source import Source


def modules(text: str) -> Modules:
    found = parse(Source("main.py", text)).get(Modules)
    assert found is not None
    return found


def test_what_a_call_asks_for_is_asked_again_on_another_path():
    found = modules(
        "import sys\nimport torch\n\n\n"
        "def place(small):\n    if small:\n        return torch.device('cpu')\n"
        "    return torch.device('cuda')\n\n\n"
        "net = torch.nn.Linear(2, 2)\nsmall = len(sys.argv) > 1\n"
        "if small:\n    net.to(place(small))\n    net.to(place(small))\nelse:\n    net.to(place(small))\n"
    )
    kinds = [sorted(event.value.kinds) for event in found.all("move")]
    assert kinds == [["cpu"], ["cpu"], ["cuda"]]


def test_a_call_is_followed_once():
    helper = "def helper(x):\n    return torch.cuda.is_available() and x > 2\n\n\n"
    calls = "helper(3)\n"
    one = modules("import torch\n\n\n" + helper + calls)
    many = modules("import torch\n\n\n" + helper + calls * 20)
    assert many.run.steps - one.run.steps == 19 * 4, "an expression statement, a call, a name and a constant"


def test_instances_do_not_share_what_is_put_into_them():
    found = modules(
        "import torch\n\n\n"
        "class Config:\n    def __init__(self):\n        self.device = 'cuda'\n        self.parts = []\n\n\n"
        "one, two = Config(), Config()\n"
        "one.net = torch.nn.Linear(2, 2)\ntwo.net = torch.nn.Linear(2, 2)\n"
        "one.parts.append(one.net)\n"
        "one.net.half()\ntwo.net.to(two.device)\n"
        "for part in two.parts:\n    part.cuda()\n"
    )
    cast, moved = next(found.all("cast")), list(found.all("move"))
    assert [ast.unparse(event.site.node) for event in moved] == ["two.net.to(two.device)"]
    assert cast.target is not moved[0].target


def test_a_call_that_does_something_is_followed_each_time():
    found = modules(
        "import torch\n\nnet = torch.nn.Linear(2, 2)\n\n\n"
        "def move(where):\n    net.to(where)\n\n\nmove('cuda')\nmove('cpu')\nmove('cuda')\n"
    )
    assert [sorted(event.value.kinds) for event in found.all("move")] == [["cuda"], ["cpu"], ["cuda"]]
