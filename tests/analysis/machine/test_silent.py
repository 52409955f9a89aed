"""Correct programs, in the idioms of real code: nothing to say."""

from __future__ import annotations

import pytest
from machine_programs import HEAD, faults_of

CORRECT = {
    "no unscale where nothing reads gradients": """
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    """,
    "zero_grad at the loop's end": """
        scaler = GradScaler("cuda")
        for x, y in loader:
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            model.zero_grad(set_to_none=True)
    """,
    "zero_grad after the forward": """
        scaler = GradScaler("cuda")
        for x, y in loader:
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    """,
    "gradients set to None": """
        scaler = GradScaler("cuda")
        for x, y in loader:
            for p in model.parameters():
                p.grad = None
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    """,
    "enabled by a flag, guards that agree": """
        import argparse
        parser = argparse.ArgumentParser()
        args = parser.parse_args()
        use_amp = args.amp and torch.cuda.is_available()
        scaler = GradScaler("cuda", enabled=use_amp)
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda", enabled=use_amp):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            if use_amp:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
    """,
    "a scaler or None": """
        def build(args):
            scaler = None
            if args.fp16:
                scaler = GradScaler("cuda")
            return scaler
        scaler = build(args)
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda", enabled=scaler is not None):
                loss = F.mse_loss(model(x), y)
            if scaler is None:
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            else:
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
    """,
    "is_enabled": """
        scaler = GradScaler("cuda", enabled=cfg.amp)
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda", enabled=cfg.amp):
                loss = F.mse_loss(model(x), y)
            if scaler.is_enabled():
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            else:
                loss.backward()
                optimizer.step()
    """,
    "accumulation with a flush after the loop": """
        scaler = GradScaler("cuda")
        optimizer.zero_grad()
        for i, (x, y) in enumerate(loader):
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y) / accum
            scaler.scale(loss).backward()
            if (i + 1) % accum == 0:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
        if (i + 1) % accum != 0:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    """,
    "accumulation by a counter": """
        scaler = GradScaler("cuda")
        optimizer.zero_grad()
        last = -1
        for epoch in range(3):
            for i, (x, y) in enumerate(loader):
                ni = i + len(loader) * epoch
                with autocast("cuda"):
                    loss = F.mse_loss(model(x), y) / accumulate
                scaler.scale(loss).backward()
                if ni - last >= accumulate:
                    scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(model.parameters(), 10.0)
                    scaler.step(optimizer)
                    scaler.update()
                    optimizer.zero_grad()
                    last = ni
    """,
    "a bad loss is skipped before the backward": """
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            if not torch.isfinite(loss):
                continue
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
    """,
    "update after each unscale, step conditional": """
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if norm < 100:
                scaler.step(optimizer)
            scaler.update()
    """,
    "a GAN: two optimizers, one update": """
        gen, disc = nn.Linear(4, 4), nn.Linear(4, 1)
        opt_g = torch.optim.Adam(gen.parameters())
        opt_d = torch.optim.Adam(disc.parameters())
        scaler = GradScaler("cuda")
        for real in loader:
            with autocast("cuda"):
                fake = gen(torch.randn(8, 4, device="cuda"))
                loss_d = disc(fake.detach()).mean() - disc(real).mean()
            opt_d.zero_grad()
            scaler.scale(loss_d).backward()
            scaler.unscale_(opt_d)
            nn.utils.clip_grad_norm_(disc.parameters(), 1.0)
            scaler.step(opt_d)
            with autocast("cuda"):
                loss_g = -disc(gen(torch.randn(8, 4, device="cuda"))).mean()
            opt_g.zero_grad()
            scaler.scale(loss_g).backward()
            scaler.unscale_(opt_g)
            nn.utils.clip_grad_norm_(gen.parameters(), 1.0)
            scaler.step(opt_g)
            scaler.update()
    """,
    "another optimizer without a scaled loss": """
        target = nn.Linear(4, 4)
        opt_t = torch.optim.SGD(target.parameters(), lr=0.1)
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            opt_t.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            side = F.mse_loss(target(x), y)
            side.backward()
            opt_t.step()
    """,
    "several losses, all scaled": """
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                out = model(x)
                a = F.mse_loss(out, y)
                b = F.l1_loss(out, y)
            scaler.scale(a).backward(retain_graph=True)
            scaler.scale(b).backward()
            scaler.step(optimizer)
            scaler.update()
    """,
    "a list of parameters used twice": """
        params = [p for p in model.parameters() if p.requires_grad]
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
    """,
    "a context variable, null or autocast": """
        from contextlib import nullcontext
        dtype = cfg.dtype
        ptdtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]
        device_type = "cuda" if "cuda" in cfg.device else "cpu"
        amp = torch.amp.autocast(device_type=device_type, dtype=ptdtype)
        ctx = nullcontext() if device_type == "cpu" else amp
        scaler = torch.cuda.amp.GradScaler(enabled=(dtype == "float16"))
        grad_clip = cfg.grad_clip
        while True:
            for micro in range(cfg.accum):
                with ctx:
                    logits, loss = model(x, y)
                    loss = loss / cfg.accum
                x, y = get_batch("train")
                scaler.scale(loss).backward()
            if grad_clip != 0.0:
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            if done():
                break
    """,
    "closures inside the loop": """
        scaler = GradScaler("cuda")
        for x, y in loader:
            def _forward():
                with autocast("cuda"):
                    return F.mse_loss(model(x), y)
            def _backward(loss):
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
            loss = _forward()
            _backward(loss)
            optimizer.zero_grad()
    """,
    "partial and suppress": """
        from contextlib import suppress
        from functools import partial
        amp_autocast = suppress
        loss_scaler = None
        if args.amp:
            amp_autocast = partial(torch.autocast, device_type="cuda", dtype=torch.float16)
            loss_scaler = GradScaler("cuda")
        for x, y in loader:
            with amp_autocast():
                loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            if loss_scaler is not None:
                loss_scaler.scale(loss).backward()
                loss_scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                loss_scaler.step(optimizer)
                loss_scaler.update()
            else:
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
    """,
    "a wrapper with __call__": """
        class NativeScaler:
            state_dict_key = "amp_scaler"
            def __init__(self):
                self._scaler = torch.cuda.amp.GradScaler()
            def __call__(self, loss, optimizer, clip_grad=None, parameters=None, create_graph=False,
                         update_grad=True):
                self._scaler.scale(loss).backward(create_graph=create_graph)
                if update_grad:
                    if clip_grad is not None:
                        assert parameters is not None
                        self._scaler.unscale_(optimizer)
                        norm = torch.nn.utils.clip_grad_norm_(parameters, clip_grad)
                    else:
                        self._scaler.unscale_(optimizer)
                        norm = None
                    self._scaler.step(optimizer)
                    self._scaler.update()
                else:
                    norm = None
                return norm
        def train_one_epoch(model, loader, optimizer, loss_scaler, accum_iter, clip):
            optimizer.zero_grad()
            for i, (x, y) in enumerate(loader):
                with torch.cuda.amp.autocast():
                    loss = F.mse_loss(model(x), y)
                loss /= accum_iter
                loss_scaler(loss, optimizer, clip_grad=clip, parameters=model.parameters(),
                            update_grad=(i + 1) % accum_iter == 0)
                if (i + 1) % accum_iter == 0:
                    optimizer.zero_grad()
        scaler = NativeScaler()
        for epoch in range(args.epochs):
            train_one_epoch(model, loader, optimizer, scaler, args.accum, args.clip)
    """,
    "methods of a trainer": """
        class Trainer:
            def __init__(self, model, cfg):
                self.model = model
                self.optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr)
                self.grad_scaler = GradScaler("cuda") if torch.cuda.is_available() else None
                self.cfg = cfg
            def forward(self, batch):
                with autocast("cuda", enabled=self.grad_scaler is not None):
                    return self.model(batch).mean()
            def backward(self, loss):
                if self.grad_scaler is not None:
                    self.grad_scaler.scale(loss).backward()
                else:
                    loss.backward()
            def step(self):
                if self.grad_scaler is not None:
                    self.grad_scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                if self.grad_scaler is not None:
                    self.grad_scaler.step(self.optimizer)
                    self.grad_scaler.update()
                else:
                    self.optimizer.step()
                self.optimizer.zero_grad()
            def fit(self, loader):
                for batch in loader:
                    loss = self.forward(batch)
                    self.backward(loss)
                    self.step()
        Trainer(model, cfg).fit(loader)
    """,
    "linear changes of gradients": """
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            for p in model.parameters():
                p.grad.div_(4)
                p.grad *= 0.5
            scaler.step(optimizer)
            scaler.update()
    """,
    "a norm that is only measured": """
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
            total = sum(p.grad.norm() ** 2 for p in model.parameters())
            scaler.step(optimizer)
            scaler.update()
    """,
    "gradients divided by the scale by hand": """
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            inv = 1.0 / scaler.get_scale()
            for p in model.parameters():
                p.grad.mul_(inv)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    """,
    "disabled for good": """
        scaler = GradScaler("cuda", enabled=False)
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
    """,
    "Accelerate": """
        from accelerate import Accelerator
        accelerator = Accelerator(mixed_precision="fp16")
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = F.mse_loss(model(x), y)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
    """,
    "apex": """
        from apex import amp
        model, optimizer = amp.initialize(model, optimizer, opt_level="O1")
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            with amp.scale_loss(loss, optimizer) as scaled_loss:
                scaled_loss.backward()
            nn.utils.clip_grad_norm_(amp.master_params(optimizer), 1.0)
            optimizer.step()
    """,
    "DeepSpeed": """
        import deepspeed
        engine, optimizer, _, _ = deepspeed.initialize(model=model, optimizer=optimizer, config=cfg)
        for x, y in loader:
            loss = F.mse_loss(engine(x), y)
            engine.backward(loss)
            engine.step()
    """,
    "inference only": """
        @torch.no_grad()
        def predict(model, loader):
            model.eval()
            out = []
            for x in loader:
                with autocast("cuda", dtype=torch.float16):
                    out.append(model(x))
            return out
        predict(model, loader)
    """,
    "bfloat16 needs no scaler": """
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda", dtype=torch.bfloat16):
                loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
    """,
    "a scaler for each fold": """
        for fold in range(5):
            model = nn.Linear(4, 4)
            optimizer = torch.optim.AdamW(model.parameters())
            scaler = GradScaler("cuda")
            for epoch in range(3):
                for x, y in loader:
                    optimizer.zero_grad()
                    with autocast("cuda"):
                        loss = F.mse_loss(model(x), y)
                    scaler.scale(loss).backward()
                    scaler.step(optimizer)
                    scaler.update()
    """,
    "another library's scaler": """
        from sklearn.preprocessing import StandardScaler
        scaler = StandardScaler().fit(data)
        targets = scaler.transform(data)
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), scaler.transform(y))
            loss.backward()
            optimizer.step()
    """,
    "a scaler passed through functions": """
        def backward(loss, scaler):
            if scaler is not None:
                scaler.scale(loss).backward()
            else:
                loss.backward()
        def finish_step(model, optimizer, scaler, max_norm):
            if scaler is not None:
                scaler.unscale_(optimizer)
            if max_norm:
                nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            if scaler is not None:
                scaler.step(optimizer)
                scaler.update()
            else:
                optimizer.step()
            optimizer.zero_grad()
        def train(model, loader, optimizer, scaler, args):
            for i, (x, y) in enumerate(loader):
                with autocast("cuda", enabled=scaler is not None):
                    loss = F.mse_loss(model(x), y)
                backward(loss, scaler)
                if (i + 1) % args.accum == 0:
                    finish_step(model, optimizer, scaler, args.clip)
    """,
    "a duck type": """
        class DummyGradScaler:
            def scale(self, loss):
                return loss
            def unscale_(self, optimizer):
                pass
            def step(self, optimizer):
                optimizer.step()
            def update(self):
                pass
        scaler = GradScaler("cuda") if args.amp else DummyGradScaler()
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda", enabled=args.amp):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
    """,
    "a scaler that is global to a function before it": """
        def train_step(x, y):
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            return loss.item()
        scaler = GradScaler("cuda")
        for x, y in loader:
            train_step(x, y)
    """,
    "gradients of some layers dropped between unscale and step": """
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            for n, p in model.named_parameters():
                if "last_layer" in n:
                    p.grad = None
            scaler.step(optimizer)
            scaler.update()
    """,
    "a context manager of one's own": """
        from contextlib import contextmanager
        @contextmanager
        def precision(enabled):
            with autocast("cuda", enabled=enabled):
                yield
        scaler = GradScaler("cuda")
        for x, y in loader:
            optimizer.zero_grad()
            with precision(True):
                loss = F.mse_loss(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    """,
    "autocast as a decorator": """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(4, 4)
            @torch.autocast("cuda")
            def forward(self, x):
                return self.fc(x)
        net = Net()
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        scaler = GradScaler("cuda")
        for x, y in loader:
            opt.zero_grad()
            loss = F.mse_loss(net(x), y)
            scaler.scale(loss).backward()
            scaler.step(opt)
            scaler.update()
    """,
    "one of two optimizers takes the same groups": """
        groups = [{"params": net.parameters(), "lr": 0.1}]
        if kind == "adamw":
            optimizer = torch.optim.AdamW(groups)
        if kind == "sgd":
            optimizer = torch.optim.SGD(groups)
        for x, y in loader:
            optimizer.zero_grad()
            F.mse_loss(net(x), y).backward()
            optimizer.step()
    """,
    "manual loss scaling with master weights": """
        scale = 1024.0
        for x, y in loader:
            optimizer.zero_grad()
            with autocast("cuda"):
                loss = F.mse_loss(model(x), y)
            (loss * scale).backward()
            for p in model.parameters():
                p.grad.div_(scale)
            optimizer.step()
    """,
}


@pytest.mark.parametrize("name", CORRECT)
def test_correct_programs_are_silent(name: str) -> None:
    assert faults_of(CORRECT[name], HEAD) == []
