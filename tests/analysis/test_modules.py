"""What the analysis of modules sees: order, guards, calls, cells, and where it stops."""

from __future__ import annotations

from qalint.analysis.modules import Adapters, Event, Modules
from qalint.testing import file_of


def events(text: str, *kinds: str) -> list[Event]:
    modules = file_of(text).get(Modules)
    assert modules is not None
    return list(modules.all(*kinds))


def lines(found: list[Event]) -> list[tuple[str, int]]:
    return [(event.kind, event.site.node.lineno) for event in found]  # type: ignore[attr-defined]


def test_calls_are_followed_in_order() -> None:
    text = """
    import torch
    from torch import nn

    def freeze(m):
        for p in m.parameters():
            p.requires_grad = False

    def main():
        net = nn.Linear(2, 2)
        opt = torch.optim.SGD(net.parameters(), lr=1)
        freeze(net)

    main()
    """
    assert lines(events(text, "optimizer", "freeze")) == [("optimizer", 10), ("freeze", 6)]


def test_a_file_without_torch_is_not_looked_at() -> None:
    assert file_of("import numpy\nnumpy.zeros(3).to('cuda')\n").get(Modules) is None
    assert file_of("TEXT = '''\nimport torch\n'''\n").get(Modules) is None


def test_arms_of_a_test_carry_their_guards() -> None:
    text = """
    import torch
    from torch import nn
    def build(flag):
        net = nn.Linear(2, 2)
        if flag:
            net.half()
        else:
            net.double()
        if not flag:
            net.cuda()
        return net
    """
    found = events(text, "cast", "move")
    outcomes = [[guard.outcome for guard in event.guards] for event in found]
    assert outcomes == [[True], [False], [False]]
    assert len({guard.key for event in found for guard in event.guards}) == 1


def test_what_is_done_to_a_model_is_done_to_what_is_in_it() -> None:
    text = """
    import torch
    from torch import nn
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.ModuleList([nn.Linear(2, 2)])
    net = Net()
    net.half()
    late = nn.Linear(2, 2)
    net.inner.append(late)
    net.to("cuda")
    """
    modules = file_of(text).get(Modules)
    assert modules is not None
    net = next(modules.all("load")).target
    first, late = net.attrs["inner"].elements
    assert modules.run.dtype_of(first) == "float16"
    assert modules.run.dtype_of(late) == "float32"
    assert modules.run.device_of(late).kinds == {"cuda"}


def test_a_copy_is_another_model() -> None:
    text = """
    import copy
    from torch import nn
    net = nn.Linear(2, 2)
    ema = copy.deepcopy(net)
    ema.half()
    """
    modules = file_of(text).get(Modules)
    assert modules is not None
    cast = next(modules.all("cast")).target
    assert cast.name == "ema"
    assert modules.run.dtype_of(cast) == "float16"


def test_two_matrices_one_after_the_other_are_a_pair() -> None:
    text = """
    import torch
    from torch import nn
    from torch.nn import functional as F
    class Low(nn.Module):
        def __init__(self, n, m, r):
            super().__init__()
            self.a = nn.Parameter(torch.zeros(r, n))
            self.b = nn.Parameter(torch.zeros(m, r))
        def forward(self, x):
            return F.linear(F.linear(F.dropout(x), self.a), self.b)
    class Mlp(nn.Module):
        def __init__(self, n, m):
            super().__init__()
            self.a = nn.Linear(n, m)
            self.b = nn.Linear(m, n)
        def forward(self, x):
            return self.b(torch.relu(self.a(x)))
    """
    pairs = events(text, "pair")
    assert {pair.info["owner"].cls.name for pair in pairs} == {"Low"}
    assert pairs[0].info["in"].term.endswith(".n")
    assert pairs[0].info["out"].term.endswith(".m")


def test_a_head_is_no_adapter() -> None:
    text = """
    from torch import nn
    from transformers import AutoModel
    model = AutoModel.from_pretrained("bert-base-uncased")
    model.classifier = nn.Sequential(nn.Linear(768, 64), nn.ReLU(), nn.Linear(64, 2))
    """
    adapters = file_of(text).get(Adapters)
    assert adapters is not None
    assert adapters.injections == []


def test_a_bound_of_steps_is_noted() -> None:
    deep = "\n".join(f"def f{i}(x):\n    return f{i + 1}(x) @ f{i + 1}(x) @ f{i + 1}(x)" for i in range(13))
    file = file_of(f"import torch\n{deep}\ndef f13(x):\n    return x @ x\nf0(torch.ones(2, 2))\n")
    modules = file.get(Modules)
    assert modules is not None
    assert modules.spent
    assert any("bound of steps" in unknown.reason for unknown in file.unknowns)


def test_what_is_called_without_anything_is_no_layer() -> None:
    text = """
    from transformers import AutoModel

    net = AutoModel.from_pretrained("gpt2")
    net.unwrapped()
    net.head(x)
    """
    assert lines(events(text, "forward")) == [("forward", 5)]
    assert ("escape", 4) in lines(events(text, "escape"))
