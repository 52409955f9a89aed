"""The rules that read the story: what they say of a small training step, and what their fix makes of it."""

from __future__ import annotations

import textwrap

import pytest
from qalint_rules import mixed_precision

from qalint.rule import Applicability, Rule, Severity
from qalint.testing import apply, findings

RULES: dict[str, type[Rule]] = {rule.code: rule for rule in mixed_precision.section.rules}
HEAD = """\
import torch
from torch import nn

model = nn.Linear(2, 2).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cuda")
"""
FORWARD = """\
x = torch.randn(4, 2, device="cuda")
optimizer.zero_grad()
with torch.autocast("cuda", dtype=torch.float16):
    loss = model(x).square().mean()
"""
CLIP = "nn.utils.clip_grad_norm_(model.parameters(), 1.0)"


def program(step: str, *, forward: str = FORWARD, head: str = HEAD, loop: str = "for i in range(6):") -> str:
    """A script that runs `step` in a loop."""
    body = textwrap.indent(forward + textwrap.dedent(step).strip("\n") + "\n", "    ")
    return f"{head}{loop}\n{body}"


CASES: dict[str, tuple[str, str, str, str | None]] = {
    "plain": (
        "QA1104",
        "loss.backward()\nscaler.step(optimizer)\nscaler.update()",
        "the loss is not scaled here",
        "scaler.scale(loss).backward()\nscaler.step(optimizer)\nscaler.update()",
    ),
    "discarded": (
        "QA1104",
        "scaler.scale(loss)\nloss.backward()\nscaler.step(optimizer)\nscaler.update()",
        "thrown away",
        "scaler.scale(loss).backward()\nscaler.step(optimizer)\nscaler.update()",
    ),
    "clip without unscale": (
        "QA1105",
        f"scaler.scale(loss).backward()\n# small\n{CLIP}  # one\nscaler.step(optimizer)\nscaler.update()",
        "while they still carry the loss scale",
        f"scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n# small\n{CLIP}  # one\n"
        "scaler.step(optimizer)\nscaler.update()",
    ),
    "clip, then unscale": (
        "QA1105",
        f"scaler.scale(loss).backward()\n{CLIP}\nscaler.unscale_(optimizer)\nscaler.step(optimizer)\nscaler.update()",
        "are clipped before they are unscaled",
        f"scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n{CLIP}\nscaler.step(optimizer)\nscaler.update()",
    ),
    "clip by hand": (
        "QA1105",
        "scaler.scale(loss).backward()\nfor p in model.parameters():\n    p.grad.clamp_(-1, 1)\n"
        "scaler.step(optimizer)\nscaler.update()",
        "clipped",
        "scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\nfor p in model.parameters():\n"
        "    p.grad.clamp_(-1, 1)\nscaler.step(optimizer)\nscaler.update()",
    ),
    "step past the scaler": (
        "QA1107",
        "scaler.scale(loss).backward()\noptimizer.step()\nscaler.update()",
        "on gradients that `scaler` has scaled",
        "scaler.scale(loss).backward()\nscaler.step(optimizer)\nscaler.update()",
    ),
    "step past the scaler, no update": (
        "QA1107",
        f"scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n{CLIP}\noptimizer.step()",
        "an infinite gradient is not skipped",
        f"scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n{CLIP}\nscaler.step(optimizer)\nscaler.update()",
    ),
    "both steps": (
        "QA1107",
        "scaler.scale(loss).backward()\nscaler.step(optimizer)\noptimizer.step()\nscaler.update()",
        "applied twice",
        "scaler.scale(loss).backward()\nscaler.step(optimizer)\nscaler.update()",
    ),
    "no update": (
        "QA1108",
        "scaler.scale(loss).backward()\nscaler.step(optimizer)  # go",
        "no `scaler.update()` follows",
        "scaler.scale(loss).backward()\nscaler.step(optimizer)  # go\nscaler.update()",
    ),
    "continue without update": (
        "QA1108",
        f"scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\nn = {CLIP}\nif not torch.isfinite(n):\n"
        "    continue\nscaler.step(optimizer)\nscaler.update()",
        "without `scaler.update()`",
        f"scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\nn = {CLIP}\nif not torch.isfinite(n):\n"
        "    scaler.update()\n    continue\nscaler.step(optimizer)\nscaler.update()",
    ),
    "update before step": (
        "QA1109",
        "scaler.scale(loss).backward()\nscaler.update()\nscaler.step(optimizer)",
        "updated before",
        "scaler.scale(loss).backward()\nscaler.step(optimizer)\nscaler.update()",
    ),
    "unscale after step": (
        "QA1109",
        "scaler.scale(loss).backward()\nscaler.step(optimizer)\nscaler.unscale_(optimizer)\nscaler.update()",
        "has already been stepped",
        "scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\nscaler.step(optimizer)\nscaler.update()",
    ),
    "unscale twice": (
        "QA1110",
        f"scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n{CLIP}\nscaler.unscale_(optimizer)\n"
        "scaler.step(optimizer)\nscaler.update()",
        "unscaled already",
        f"scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n{CLIP}\nscaler.step(optimizer)\nscaler.update()",
    ),
    "cleared before the step": (
        "QA1116",
        "scaler.scale(loss).backward()\noptimizer.zero_grad()\nscaler.step(optimizer)\nscaler.update()",
        "its parameters never move",
        "scaler.scale(loss).backward()\nscaler.step(optimizer)\nscaler.update()\noptimizer.zero_grad()",
    ),
    "closure": (
        "QA1126",
        "scaler.scale(loss).backward()\nscaler.step(optimizer, closure=f)\nscaler.update()",
        "refuses a closure",
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_message_and_fix(case: str) -> None:
    code, before, words, after = CASES[case]
    (found,) = findings(RULES[code], program(before))
    assert words in found.message
    if after is None:
        assert found.fix is None
        return
    assert found.fix is not None and found.fix.applicability is Applicability.SAFE
    assert apply(found) == program(after)
    assert findings(RULES[code], program(after)) == []


@pytest.mark.parametrize("case", CASES)
def test_one_fault_is_one_finding_and_its_fix_leaves_none(case: str) -> None:
    code, before, _, after = CASES[case]
    default = [rule for rule in RULES.values() if rule.default]
    general = {pair[1] for pair in mixed_precision.section.precedence if pair[0] == code}
    spoken = {item.code for rule in default for item in findings(rule, program(before))}
    assert spoken - general == {code}
    if after is not None:
        assert [item for rule in default for item in findings(rule, program(after))] == []


def test_unscale_goes_under_the_guard_of_the_step() -> None:
    step = f"""
        if scaler is not None:
            scaler.scale(loss).backward()
        else:
            loss.backward()
        {CLIP}
        if scaler is not None:
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step()
    """
    head = HEAD.replace('torch.amp.GradScaler("cuda")', 'torch.amp.GradScaler("cuda") if amp else None')
    (found,) = findings(RULES["QA1105"], program(step, head="amp = input()\n" + head))
    after = apply(found)
    assert f"    if scaler is not None:\n        scaler.unscale_(optimizer)\n    {CLIP}\n" in after
    assert findings(RULES["QA1105"], after) == []


def test_unscale_is_not_inserted_where_it_would_come_in_every_micro_step() -> None:
    step = f"""
        scaler.scale(loss / 2).backward()
        {CLIP}
        if (i + 1) % 2 == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    """
    forward = FORWARD.replace("optimizer.zero_grad()\n", "")
    found = findings(RULES["QA1105"], program(step, forward=forward))
    assert [item.fix for item in found] == [None]


def test_unscale_of_each_micro_step_moves_under_the_guard_with_the_clip() -> None:
    step = f"""
        scaler.scale(loss / 2).backward()
        scaler.unscale_(optimizer)
        # bounded
        {CLIP}
        if (i + 1) % 2 == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    """
    moved = f"""
        scaler.scale(loss / 2).backward()
        if (i + 1) % 2 == 0:
            scaler.unscale_(optimizer)
            # bounded
            {CLIP}
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    """
    forward = FORWARD.replace("optimizer.zero_grad()\n", "")
    (found,) = findings(RULES["QA1110"], program(step, forward=forward))
    assert "in every micro-step" in found.message
    assert apply(found) == program(moved, forward=forward)


def test_a_scaler_in_the_batch_loop_is_hoisted_and_one_in_the_epoch_loop_is_less_severe() -> None:
    head = HEAD.replace('scaler = torch.amp.GradScaler("cuda")\n', "")
    made = 'scaler = torch.amp.GradScaler("cuda")  # new\n'
    step = "scaler.scale(loss).backward()\nscaler.step(optimizer)\nscaler.update()"
    (found,) = findings(RULES["QA1112"], program(step, head=head, forward=made + FORWARD))
    assert found.severity is Severity.CRITICAL
    assert apply(found) == program(step, head=head + made)
    epochs = head + "for epoch in range(3):\n" + textwrap.indent(made, "    ")
    inner = textwrap.indent(program(step, head=""), "    ")
    (found,) = findings(RULES["QA1112"], epochs + inner)
    assert found.severity is Severity.HIGH


def test_related_places_tell_the_run_in_order() -> None:
    text = program(CASES["clip without unscale"][1])
    (found,) = findings(RULES["QA1105"], text)
    told = [(text[item.place.start : item.place.end], item.message) for item in found.related]
    assert told == [
        ("scaler.scale(loss)", "the loss is scaled here"),
        ("scaler.step(optimizer)", "the step uses them here"),
    ]


def test_missing_zero_grad_is_inserted_after_the_update() -> None:
    forward = FORWARD.replace("optimizer.zero_grad()\n", "")
    step = "scaler.scale(loss).backward()\nscaler.step(optimizer)\nscaler.update()"
    (found,) = findings(RULES["QA1115"], program(step, forward=forward))
    assert found.fix is not None and found.fix.applicability is Applicability.UNSAFE
    assert apply(found) == program(step + "\noptimizer.zero_grad()", forward=forward)


def test_the_whole_protocol_is_inserted_where_no_scaler_is() -> None:
    head = HEAD.replace('scaler = torch.amp.GradScaler("cuda")\n', "")
    (found,) = findings(RULES["QA1101"], program("loss.backward()\noptimizer.step()", head=head))
    assert apply(found) == program(
        "scaler.scale(loss).backward()\nscaler.step(optimizer)\nscaler.update()",
        head=head + 'scaler = torch.amp.GradScaler("cuda")\n',
    )


@pytest.mark.parametrize(
    ("cast", "after"),
    [
        ("model = nn.Linear(2, 2).cuda().half()", "model = nn.Linear(2, 2).cuda()"),
        ("model = nn.Linear(2, 2).to('cuda', torch.float16)", "model = nn.Linear(2, 2).to('cuda')"),
        ("model = nn.Linear(2, 2, dtype=torch.float16).cuda()", "model = nn.Linear(2, 2).cuda()"),
    ],
)
def test_the_cast_of_trained_parameters_is_removed(cast: str, after: str) -> None:
    step = "scaler.scale(loss).backward()\nscaler.step(optimizer)\nscaler.update()"
    head = HEAD.replace("model = nn.Linear(2, 2).cuda()", cast)
    (found,) = findings(RULES["QA1102"], program(step, head=head))
    assert "Attempting to unscale FP16 gradients" in found.message
    assert apply(found) == program(step, head=head.replace(cast, after))


@pytest.mark.parametrize(
    "code", ["QA1101", "QA1102", "QA1104", "QA1105", "QA1107", "QA1108", "QA1115", "QA1116"]
)
@pytest.mark.parametrize(
    "step",
    [
        f"scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n{CLIP}\nscaler.step(optimizer)\nscaler.update()",
        "scaler.scale(loss).backward()\nscaler.step(optimizer)\nscaler.update()",
        "scaler.scale(loss).backward()\nunseen(optimizer, scaler)\nscaler.step(optimizer)\nscaler.update()",
    ],
)
def test_correct_steps_are_silent(code: str, step: str) -> None:
    assert findings(RULES[code], program(step)) == []


ACCUMULATED = """
    scaler.scale(loss).backward()
    if (i + 1) % n == 0:
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
"""


@pytest.mark.parametrize(
    ("before", "count"),
    [("", 1), ("loss = loss / n\n", 0), ("if n > 1:\n    loss = loss / n\n", 0), ("loss /= n\n", 0)],
)
def test_an_accumulated_loss_is_divided_once_somewhere(before: str, count: int) -> None:
    forward = FORWARD.replace("optimizer.zero_grad()\n", "")
    text = program(before + textwrap.dedent(ACCUMULATED), forward=forward, head="n = int(input())\n" + HEAD)
    found = findings(RULES["QA1117"], text)
    assert len(found) == count
    if found:
        assert "scaler.scale(loss / n).backward()" in apply(found[0])


def test_an_update_for_which_no_step_came() -> None:
    (found,) = findings(RULES["QA1109"], program("scaler.scale(loss).backward()\nscaler.update()"))
    assert "was not stepped" in found.message and found.fix is None


def test_an_update_in_some_rounds_only_is_missed_in_the_others() -> None:
    text = """\
import torch


def fit(model, loader, every=16, last=True):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda")
    for i, x in enumerate(loader):
        optimizer.zero_grad()
        with torch.autocast("cuda"):
            loss = model(x).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        if i % every == 0:
            scaler.update()
"""
    (found,) = findings(RULES["QA1108"], text)
    assert found.confidence.value == "high"
    (unsure,) = findings(RULES["QA1108"], text.replace("if i % every == 0:", "if last:"))
    assert unsure.confidence.value == "medium"


def test_a_model_loaded_as_float16_is_loaded_as_float32() -> None:
    text = """\
import torch
from transformers import AutoModel

model = AutoModel.from_pretrained("x", dtype=torch.float16).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in loader:
    optimizer.zero_grad()
    model(x).mean().backward()
    optimizer.step()
"""
    (found,) = findings(RULES["QA1102"], text)
    assert apply(found) == text.replace("float16", "float32")


def test_a_clip_gets_its_unscale_with_the_whole_protocol() -> None:
    head = HEAD.replace('scaler = torch.amp.GradScaler("cuda")\n', "")
    (found,) = findings(RULES["QA1101"], program(f"loss.backward()\n{CLIP}\noptimizer.step()", head=head))
    assert apply(found) == program(
        f"scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n{CLIP}\nscaler.step(optimizer)\nscaler.update()",
        head=head + 'scaler = torch.amp.GradScaler("cuda")\n',
    )


@pytest.mark.parametrize(("loop", "counts"), [("range(48)", True), ("range(0, 48, 4)", False)])
def test_only_a_counter_of_rounds_tells_how_many_are_accumulated(loop: str, counts: bool) -> None:
    text = f"""\
import torch

model = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for i in {loop}:
    loss = model(torch.randn(4, 2)).mean()
    loss.backward()
    if i % 8 == 4:
        optimizer.step()
        optimizer.zero_grad()
"""
    (found,) = findings(RULES["QA1117"], text)
    assert (found.fix is not None) is counts


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("x.dtype is torch.float16", False),
        ("x.dtype != torch.float32", False),
        ("torch.float16 == x.dtype", False),
        ("x.dtype is torch.float32", True),
        ("x.dtype is not torch.bfloat16", True),
    ],
)
def test_a_test_of_a_known_dtype_is_decided(test: str, found: bool) -> None:
    """A model that becomes FP16 where its input is: the input of this program is FP32."""
    source = f"""\
import torch

def time_of(model, x):
    for _ in range(3):
        model = model.half() if {test} else model
        y = model(x)
    return y

time_of(torch.nn.Linear(3, 3), torch.randn(3, 3))
"""
    lines = [finding.place.source.row(finding.place.start) for finding in findings(RULES["QA1118"], source)]
    assert lines == ([6] if found else [])


@pytest.mark.parametrize(("given", "found"), [("engines.prepare(model)", False), ("print(model)", True)])
def test_what_unseen_code_has_had_may_be_cast(given: str, found: bool) -> None:
    """An engine casts the model it is given; printing it does not."""
    source = f"""\
import torch, engines

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 3)

    def forward(self, x):
        return self.first(x)

model = Net()
{given}
for i in range(3):
    model(torch.randn(3, 3).half())
"""
    assert bool(findings(RULES["QA1118"], source)) is found


RESUMED = """\
import torch

net = torch.nn.Linear(2, 2).cuda()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cuda")
kept = torch.load("last.pt")
net.load_state_dict(kept["net"])
opt.load_state_dict({loaded})
for x in torch.randn(8, 4, 2, device="cuda"):
    opt.zero_grad()
    with torch.autocast("cuda", dtype=torch.float16):
        loss = net(x).square().mean()
    scaler.scale(loss).backward()
    scaler.step(opt)
    scaler.update()
torch.save({{"net": net.state_dict(), "opt": opt.state_dict()}}, "last.pt")
"""


def test_the_scaler_is_saved_and_loaded() -> None:
    source = RESUMED.format(loaded='kept["opt"]')
    (finding,) = findings(RULES["QA1129"], source)
    assert finding.fix is not None
    load = 'opt.load_state_dict(kept["opt"])\n'
    more = 'if "scaler" in kept:\n    scaler.load_state_dict(kept["scaler"])\n'
    mended = source.replace(load, load + more).replace(
        '"opt": opt.state_dict()}', '"opt": opt.state_dict(), "scaler": scaler.state_dict()}'
    )
    assert apply(finding) == mended
    assert findings(RULES["QA1129"], mended) == []


@pytest.mark.parametrize("loaded", ['torch.load("last.pt")["opt"]', 'kept["old"]', "kept"])
def test_a_scaler_that_could_not_be_loaded_is_not_saved(loaded: str) -> None:
    (finding,) = findings(RULES["QA1129"], RESUMED.format(loaded=loaded))
    assert finding.fix is None


CLEARED = """
import torch

net = torch.nn.Linear(4, 2)
opt = torch.optim.SGD(net.parameters(), lr=0.1)


def note(value):
    {noted}
    return value


for epoch in range(3):
    {before}
    for x in torch.randn(8, 4, 4):
        loss = net(x).square().mean()
        loss.backward()
        note(loss.item())
        opt.step()
        {after}
"""


def test_a_clearing_in_what_the_loop_calls_is_not_one_after_the_loop() -> None:
    """What is dropped before a loop is the rest of a round; what a function drops within it is all of it."""
    (finding,) = findings(
        RULES["QA1116"], CLEARED.format(noted="opt.zero_grad()", before="pass", after="pass")
    )
    assert "opt" in finding.message
    right = CLEARED.format(noted="pass", before="opt.zero_grad()", after="opt.zero_grad()")
    assert findings(RULES["QA1116"], right) == []
