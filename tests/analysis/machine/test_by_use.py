"""What nothing names an optimizer is known as one by its use: stepped where a backward runs."""

from __future__ import annotations

import pytest
from machine_programs import faults_of

HEAD = "import torch\n"
FAULTY = {
    "a parameter that is only stepped": (
        """
        def train(model, loader, optimizer, criterion):
            for x, y in loader:
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
        """,
        "missing-zero-grad @ loss.backward()",
    ),
    "an attribute beside a scheduler": (
        """
        class Trainer:
            def __init__(self, net, optim, sched):
                self.net, self.optim, self.sched = net, optim, sched

            def epoch(self, loader):
                for batch in loader:
                    self.net(batch).mean().backward()
                    self.optim.step()
                    self.sched.step()
        """,
        "missing-zero-grad @ self.net(batch).mean().backward()",
    ),
    "the only thing that is stepped, whatever its name": (
        """
        def fit(model, loader, loss_fn, updater):
            for x, y in loader:
                loss = loss_fn(model(x), y)
                loss.backward()
                updater.step()
        """,
        "missing-zero-grad @ loss.backward()",
    ),
    "made by a function that is not seen": (
        """
        from build import make_loader, make_model, make_optimizer

        model = make_model().cuda()
        optimizer = make_optimizer(model)
        for x, y in make_loader():
            loss = torch.nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        """,
        "missing-zero-grad @ loss.backward()",
    ),
    "no scaler for its FP16 loss": (
        """
        def train(model, loader, optimizer, criterion):
            for x, y in loader:
                model.zero_grad()
                with torch.autocast("cuda", dtype=torch.float16):
                    loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
        """,
        "missing-grad-scaler @ loss.backward()",
    ),
    "a wrapper made once, whose optimizer only its unseen base keeps": (
        """
        from elsewhere import Held, zoo

        class Scaled(Held):
            def __init__(self, optim):
                super().__init__(optim)
                self.scaler = torch.amp.GradScaler("cuda")

            def backward(self, loss):
                self.scaler.scale(loss).backward()

            def clip(self, bound):
                self.scaler.unscale_(self.optim)
                super().clip(bound)

            def step(self):
                self.scaler.step(self.optim)
                self.scaler.update()


        def train(model, loader):
            optimizer = Scaled(torch.optim.Adam(model.parameters()))
            for x in loader:
                with torch.autocast("cuda"):
                    loss = model(x).mean()
                optimizer.backward(loss)
                optimizer.clip(1.0)
                optimizer.step()
        """,
        "missing-zero-grad @ self.scaler.scale(loss).backward()",
    ),
}
CORRECT = {
    "a profiler that a with binds": """
        def measure(model, loader, profile):
            with profile(wait=1, active=2) as p:
                for x in loader:
                    model(x).sum().backward()
                    p.step()
        """,
    "a scheduler and something that is called": """
        def train(model, loader, scheduler, criterion, apply_gradients):
            for x, y in loader:
                criterion(model(x), y).backward()
                apply_gradients(model)
                scheduler.step()
    """,
    "a step that clears": """
        class Stepper:
            def __init__(self, optimizer):
                self.optimizer = optimizer

            def step(self):
                self.optimizer.step()
                self.optimizer.zero_grad()

        def train(model, loader, optimizer, criterion):
            for x, y in loader:
                criterion(model(x), y).backward()
                optimizer.step()
    """,
    "an engine that runs the backward itself": """
        def train(engine, loader):
            for x, y in loader:
                engine.backward(engine(x, y))
                engine.step()
    """,
    "one step for each call": """
        def train_step(model, x, optimizer):
            model(x).mean().backward()
            optimizer.step()
    """,
    "an agent that is stepped": """
        def play(policy, env, agent):
            while True:
                policy(env.observe()).backward()
                agent.step()
    """,
    "given back by something that prepares it": """
        def main(strategy, batches):
            model, optim = strategy.prepare(make_model(), make_optimizer())
            for batch in batches:
                model(batch).mean().backward()
                optim.step()
    """,
    "gradients cleared by a function that is not seen": """
        from helpers import reset_gradients

        def train(model, loader, optimizer, criterion):
            for x, y in loader:
                reset_gradients(model)
                criterion(model(x), y).backward()
                optimizer.step()
    """,
    "gradients of a known optimizer cleared by a method that is not seen": """
        def train(task, model, loader):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in loader:
                task.clear_grads()
                task.loss(model(x), y).backward()
                optimizer.step()
    """,
    "a wrapper made anew for each model, whose optimizer only its unseen base keeps": """
        from elsewhere import Held, zoo

        class Scaled(Held):
            def __init__(self, optim):
                super().__init__(optim)
                self.scaler = torch.amp.GradScaler("cuda")

            def backward(self, loss):
                self.scaler.scale(loss).backward()

            def clip(self, bound):
                self.scaler.unscale_(self.optim)
                super().clip(bound)

            def step(self):
                self.scaler.step(self.optim)
                self.scaler.update()

        def check_each():
            for name, (make, data) in zoo.items():
                model = make().cuda()
                optimizer = Scaled(torch.optim.Adam(model.parameters()))
                with torch.autocast("cuda"):
                    loss = model(**data()).mean()
                optimizer.backward(loss)
                optimizer.clip(1.0)
                optimizer.step()
    """,
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_stepped_unknown_is_an_optimizer(name: str) -> None:
    text, fault = FAULTY[name]
    assert faults_of(text, HEAD) == [fault]


@pytest.mark.parametrize("name", CORRECT)
def test_other_things_that_step_are_none(name: str) -> None:
    assert faults_of(CORRECT[name], HEAD) == []
