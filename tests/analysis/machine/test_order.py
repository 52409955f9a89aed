"""The protocol of one training step: each wrong order is found where it stands, with its reason."""

from __future__ import annotations

import pytest
from machine_programs import faults_of

LOOP = """
scaler = GradScaler("cuda")
for x, y in loader:
    optimizer.zero_grad()
    with autocast("cuda"):
        loss = F.mse_loss(model(x), y)
    {}
"""


def step(*lines: str) -> str:
    return LOOP.format("\n    ".join(lines))


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (
            [
                "scaler.scale(loss).backward()",
                "nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
                "scaler.step(optimizer)",
                "scaler.update()",
            ],
            "clip-before-unscale:norm @ nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        ),
        (
            [
                "scaler.scale(loss).backward()",
                "nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
                "scaler.unscale_(optimizer)",
                "scaler.step(optimizer)",
                "scaler.update()",
            ],
            "clip-before-unscale:norm @ nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        ),
        (
            [
                "scaler.scale(loss).backward()",
                "nn.utils.clip_grad_value_(model.parameters(), 1.0)",
                "scaler.step(optimizer)",
                "scaler.update()",
            ],
            "clip-before-unscale:value @ nn.utils.clip_grad_value_(model.parameters(), 1.0)",
        ),
        (
            [
                "scaler.scale(loss).backward()",
                "for p in model.parameters():",
                "    p.grad.clamp_(-1, 1)",
                "scaler.step(optimizer)",
                "scaler.update()",
            ],
            "clip-before-unscale:clamp @ p.grad.clamp_(-1, 1)",
        ),
        (
            ["loss.backward()", "scaler.step(optimizer)", "scaler.update()"],
            "unscaled-backward:plain @ loss.backward()",
        ),
        (
            ["scaler.scale(loss)", "loss.backward()", "scaler.step(optimizer)", "scaler.update()"],
            "unscaled-backward:discarded @ scaler.scale(loss)",
        ),
        (
            [
                "extra = F.l1_loss(model(x), y)",
                "total = scaler.scale(loss) + extra",
                "total.backward()",
                "scaler.step(optimizer)",
                "scaler.update()",
            ],
            "unscaled-backward:mixed @ total = scaler.scale(loss) + extra",
        ),
        (
            ["scaler.scale(loss).backward()", "optimizer.step()", "scaler.update()"],
            "optimizer-step-bypasses-scaler:scaled @ optimizer.step()",
        ),
        (
            [
                "scaler.scale(loss).backward()",
                "scaler.unscale_(optimizer)",
                "nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
                "optimizer.step()",
                "scaler.update()",
            ],
            "optimizer-step-bypasses-scaler:unscaled @ optimizer.step()",
        ),
        (
            [
                "scaler.scale(loss).backward()",
                "scaler.step(optimizer)",
                "optimizer.step()",
                "scaler.update()",
            ],
            "optimizer-step-bypasses-scaler:twice @ optimizer.step()",
        ),
        (
            [
                "scaler.scale(loss).backward()",
                "scaler.step(optimizer)",
                "scaler.step(optimizer)",
                "scaler.update()",
            ],
            "optimizer-step-bypasses-scaler:twice @ scaler.step(optimizer)",
        ),
        (
            ["scaler.scale(loss).backward()", "scaler.step(optimizer)"],
            "missing-scaler-update:step @ scaler.step(optimizer)",
        ),
        (
            ["scaler.scale(loss).backward()", "scaler.unscale_(optimizer)", "scaler.step(optimizer)"],
            "missing-scaler-update:unscale @ scaler.step(optimizer)",
        ),
        (
            [
                "scaler.scale(loss).backward()",
                "scaler.unscale_(optimizer)",
                "norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
                "if not torch.isfinite(norm):",
                "    continue",
                "scaler.step(optimizer)",
                "scaler.update()",
            ],
            "missing-scaler-update:continue @ scaler.unscale_(optimizer)",
        ),
        (
            ["scaler.scale(loss).backward()", "scaler.update()", "scaler.step(optimizer)"],
            "scaler-call-order:update-before-step @ scaler.update()",
        ),
        (
            [
                "scaler.unscale_(optimizer)",
                "scaler.scale(loss).backward()",
                "scaler.step(optimizer)",
                "scaler.update()",
            ],
            "scaler-call-order:unscale-before-backward @ scaler.unscale_(optimizer)",
        ),
        (
            [
                "scaler.scale(loss).backward()",
                "scaler.step(optimizer)",
                "scaler.unscale_(optimizer)",
                "scaler.update()",
            ],
            "scaler-call-order:unscale-after-step @ scaler.unscale_(optimizer)",
        ),
        (
            [
                "scaler.scale(loss).backward()",
                "scaler.unscale_(optimizer)",
                "scaler.unscale_(optimizer)",
                "scaler.step(optimizer)",
                "scaler.update()",
            ],
            "unscale-every-micro-step:twice @ scaler.unscale_(optimizer)",
        ),
        (
            [
                "scaler.scale(loss).backward()",
                "optimizer.zero_grad()",
                "scaler.step(optimizer)",
                "scaler.update()",
            ],
            "zero-grad-before-step @ optimizer.zero_grad()",
        ),
        (
            ["scaler.scale(loss).backward()", "scaler.step(optimizer, closure)", "scaler.update()"],
            "scaler-step-closure:positional @ scaler.step(optimizer, closure)",
        ),
    ],
)
def test_each_wrong_order_is_one_fault(lines: list[str], fault: str) -> None:
    assert faults_of(step(*lines)) == [fault]


def test_the_right_order_is_silent() -> None:
    assert (
        faults_of(
            step(
                "scaler.scale(loss).backward()",
                "scaler.unscale_(optimizer)",
                "nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
                "scaler.step(optimizer)",
                "scaler.update()",
            )
        )
        == []
    )


def test_micro_steps_unscale_each_time() -> None:
    assert faults_of(
        """
        scaler = GradScaler("cuda")
        for i, (x, y) in enumerate(loader):
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y) / 4
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if (i + 1) % 4 == 0:
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
        """
    ) == ["unscale-every-micro-step:micro-step @ scaler.unscale_(optimizer)"]


def test_update_between_two_optimizers_of_one_backward() -> None:
    assert faults_of(
        """
        import torch
        from torch import nn
        from torch.amp import GradScaler, autocast
        body, head = nn.Linear(4, 4), nn.Linear(4, 1)
        opt_body = torch.optim.AdamW(body.parameters())
        opt_head = torch.optim.AdamW(head.parameters())
        scaler = GradScaler()
        for x in loader:
            opt_body.zero_grad()
            opt_head.zero_grad()
            with autocast("cuda"):
                loss = head(body(x)).mean()
            scaler.scale(loss).backward()
            scaler.step(opt_body)
            scaler.update()
            scaler.step(opt_head)
            scaler.update()
        """,
        "",
    ) == ["update-between-optimizers @ scaler.update()"]


def test_missing_zero_grad() -> None:
    assert faults_of(
        """
        scaler = GradScaler("cuda")
        for x, y in loader:
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        """
    ) == ["missing-zero-grad @ scaler.scale(loss).backward()"]


def test_missing_zero_grad_without_a_scaler() -> None:
    assert faults_of(
        """
        for x, y in loader:
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        """
    ) == ["missing-zero-grad @ loss.backward()"]


def test_no_scaler_under_float16_autocast() -> None:
    assert faults_of(
        """
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda", dtype=torch.float16):
                loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        """
    ) == ["missing-grad-scaler @ loss.backward()"]


def test_scaler_created_for_each_batch_or_epoch() -> None:
    batch = """
    for x, y in loader:
        scaler = GradScaler("cuda")
        optimizer.zero_grad()
        with autocast("cuda"):
            loss = F.mse_loss(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    """
    assert faults_of(batch) == ['scaler-created-in-loop:batch @ scaler = GradScaler("cuda")']
    epoch = """
    for epoch in range(10):
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    """
    assert faults_of(epoch) == ['scaler-created-in-loop:epoch @ scaler = GradScaler("cuda")']


def test_exhausted_iterator() -> None:
    assert faults_of(
        """
        params = model.parameters()
        opt = torch.optim.SGD(params, lr=0.1)
        scaler = GradScaler("cuda")
        for x, y in loader:
            opt.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(opt)
            nn.utils.clip_grad_norm_(params, 1.0)
            scaler.step(opt)
            scaler.update()
        """
    ) == ["exhausted-parameter-iterator @ nn.utils.clip_grad_norm_(params, 1.0)"]


def test_forward_outside_autocast_and_backward_inside() -> None:
    assert faults_of(
        """
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        """
    ) == ["forward-outside-autocast @ scaler.scale(loss).backward()"]
    assert faults_of(
        """
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
                scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        """
    ) == ["backward-inside-autocast:backward @ scaler.scale(loss).backward()"]


def test_scaler_with_bfloat16() -> None:
    assert faults_of(
        """
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda", dtype=torch.bfloat16):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        """
    ) == ['scaler-with-bfloat16 @ scaler = GradScaler("cuda")']


def test_float16_parameters_reach_the_optimizer() -> None:
    head = """
    import torch
    from torch import nn
    from torch.amp import GradScaler, autocast
    model = nn.Linear(4, 4)
    """
    train = """
    scaler = GradScaler()
    for x in loader:
        optimizer.zero_grad()
        with autocast("cuda"):
            loss = model(x).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    """
    import textwrap

    head, train = textwrap.dedent(head), textwrap.dedent(train)
    build = "optimizer = torch.optim.AdamW(model.parameters())\n"
    assert faults_of(head + "model.half()\n" + build + train, "") == [
        "fp16-trainable-parameters:scaler @ model.half()"
    ]
    assert faults_of(head + build + "model.half()\n" + train, "") == ["late-half-cast:scaler @ model.half()"]
    assert faults_of(head + "model.half().float()\n" + build + train, "") == []


def test_clip_beyond_the_optimizer() -> None:
    assert faults_of(
        """
        import torch
        from torch import nn
        from torch.amp import GradScaler, autocast
        base, head = nn.Linear(4, 4), nn.Linear(4, 1)
        model = nn.Sequential(base, head)
        optimizer = torch.optim.AdamW(head.parameters())
        scaler = GradScaler()
        for x in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = model(x).mean()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        """,
        "",
    ) == ["clip-beyond-optimizer @ nn.utils.clip_grad_norm_(model.parameters(), 1.0)"]


def test_accelerate_with_an_own_backward() -> None:
    assert faults_of(
        """
        from accelerate import Accelerator
        accelerator = Accelerator(mixed_precision="fp16")
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        """
    ) == ["scaler-inside-framework:backward @ loss.backward()"]


@pytest.mark.parametrize(
    "alias",
    ["from torch.nn.utils import clip_grad_norm_ as clip", "clip = nn.utils.clip_grad_norm_"],
)
def test_another_name_of_a_function_is_that_function(alias: str) -> None:
    lines = step(
        "scaler.scale(loss).backward()",
        "clip(model.parameters(), 1.0)",
        "scaler.step(optimizer)",
        "scaler.update()",
    )
    assert faults_of(f"{alias}\n{lines}") == ["clip-before-unscale:norm @ clip(model.parameters(), 1.0)"]
