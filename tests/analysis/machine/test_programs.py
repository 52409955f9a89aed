"""What a program is: scripts, functions nobody calls, classes nobody constructs, notebooks, several files."""

from __future__ import annotations

import ast
from pathlib import Path

from machine_programs import faults_of, story_of

from qalint import parsing
from qalint.analysis.machine.story import Story
from qalint.analysis.project import Project, load
from qalint.file import File
from qalint.reader import read


def faults_in(path: Path, root: Path) -> list[str]:
    source = read(str(path))
    file = File(source, parsing.tree_of(source), Project([str(root)], load))
    story = file.get(Story)
    assert story is not None
    return sorted(
        f"{Path(fault.file.path).name}:{fault.node.lineno} {fault.kind}"  # type: ignore[attr-defined]
        for fault in story.all_faults()
        if fault.kind not in ("missing-gradient-clipping", "unchecked-loss")
    )


def test_a_function_that_nobody_calls() -> None:
    assert faults_of(
        """
        import torch
        def train(model, loader, optimizer, scaler, criterion):
            for x, y in loader:
                optimizer.zero_grad()
                with torch.autocast("cuda", dtype=torch.float16):
                    loss = criterion(model(x), y)
                scaler.scale(loss).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
        """,
        "",
    ) == ["clip-before-unscale:norm @ torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)"]


def test_a_method_of_a_class_that_nobody_constructs() -> None:
    assert faults_of(
        """
        import torch
        from base import BaseTrainer
        class Trainer(BaseTrainer):
            def __init__(self, cfg):
                super().__init__(cfg)
                self.scaler = torch.amp.GradScaler("cuda", enabled=cfg.amp)
            def training_step(self, batch):
                self.optimizer.zero_grad()
                with torch.autocast("cuda", enabled=self.cfg.amp):
                    loss = self.model(batch).mean()
                self.scaler.scale(loss).backward()
                self.optimizer.step()
                self.scaler.update()
        """,
        "",
    ) == ["optimizer-step-bypasses-scaler:scaled @ self.optimizer.step()"]


def test_an_unseen_base_class_may_do_the_rest() -> None:
    assert (
        faults_of(
            """
        import torch
        from base import BaseTrainer
        class Trainer(BaseTrainer):
            def step(self, batch):
                with torch.autocast("cuda"):
                    loss = self.model(batch).mean()
                self.scaler.scale(loss).backward()
                self.finish()
        """,
            "",
        )
        == []
    )


def test_cells_of_a_marimo_notebook_in_dependency_order() -> None:
    text = """
        import marimo
        app = marimo.App()

        @app.cell
        def _(F, loader, model, nn, optimizer, scaler, torch):
            for _x, _y in loader:
                optimizer.zero_grad()
                with torch.autocast("cuda"):
                    _loss = F.mse_loss(model(_x), _y)
                scaler.scale(_loss).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
            return

        @app.cell
        def _(model, torch):
            optimizer = torch.optim.AdamW(model.parameters())
            scaler = torch.amp.GradScaler("cuda")
            return optimizer, scaler

        @app.cell
        def _(nn):
            model = nn.Linear(4, 4)
            loader = []
            loader = make()
            return loader, model

        @app.cell
        def _():
            import torch
            from torch import nn
            from torch.nn import functional as F
            return F, nn, torch

        if __name__ == "__main__":
            app.run()
    """
    assert faults_of(text, "") == [
        "clip-before-unscale:norm @ nn.utils.clip_grad_norm_(model.parameters(), 1.0)"
    ]


def test_underscored_names_belong_to_their_cell() -> None:
    text = """
        import marimo
        app = marimo.App()

        @app.cell
        def _():
            import torch
            _enabled = True
            scaler = torch.amp.GradScaler("cuda", enabled=_enabled)
            return scaler, torch

        @app.cell
        def _(scaler, torch):
            _enabled = False
            disabled = torch.amp.GradScaler("cuda", enabled=_enabled)
            return (disabled,)
    """
    enabled = [event.what["enabled"] for event in story_of(text).events if event.kind == "scaler-created"]
    assert enabled == [True, False]


def test_the_fault_stands_in_the_imported_file(tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text(
        "import torch\n"
        "def train_one_epoch(model, loader, optimizer, scaler):\n"
        "    for x in loader:\n"
        "        optimizer.zero_grad()\n"
        "        with torch.autocast('cuda'):\n"
        "            loss = model(x).mean()\n"
        "        scaler.scale(loss).backward()\n"
        "        scaler.step(optimizer)\n"
    )
    main = tmp_path / "main.py"
    main.write_text(
        "import torch\n"
        "from engine import train_one_epoch\n"
        "model = torch.nn.Linear(4, 4)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "scaler = torch.amp.GradScaler()\n"
        "for epoch in range(3):\n"
        "    train_one_epoch(model, loader, optimizer, scaler)\n"
    )
    assert faults_in(main, tmp_path) == ["engine.py:8 missing-scaler-update"]


def test_update_in_the_caller_is_seen(tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text(
        "def step(loss, optimizer, scaler):\n    scaler.scale(loss).backward()\n    scaler.step(optimizer)\n"
    )
    main = tmp_path / "main.py"
    main.write_text(
        "import torch, engine\n"
        "model = torch.nn.Linear(4, 4)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "scaler = torch.amp.GradScaler()\n"
        "for x in loader:\n"
        "    optimizer.zero_grad()\n"
        "    with torch.autocast('cuda'):\n"
        "        loss = model(x).mean()\n"
        "    engine.step(loss, optimizer, scaler)\n"
        "    scaler.update()\n"
    )
    assert faults_in(main, tmp_path) == []


class Rename(ast.NodeTransformer):
    """Renames the user's own names, never a library's or an attribute of one."""

    own = ("scaler", "optimizer", "model", "loss", "loader", "x", "y")

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.own:
            node.id = f"q_{node.id}_z"
        return node


def test_names_mean_nothing() -> None:
    text = """
        import torch
        from torch import nn
        model = nn.Linear(4, 4)
        optimizer = torch.optim.AdamW(model.parameters())
        scaler = torch.amp.GradScaler("cuda")
        for x in loader:
            optimizer.zero_grad()
            with torch.autocast("cuda"):
                loss = model(x).mean()
            scaler.scale(loss).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
    """
    import textwrap

    renamed = ast.unparse(Rename().visit(ast.parse(textwrap.dedent(text))))
    before = [fault.partition(" @")[0] for fault in faults_of(text, "")]
    after = [fault.partition(" @")[0] for fault in faults_of(renamed, "")]
    assert before == after == ["clip-before-unscale:norm", "missing-scaler-update:step"]


def test_nothing_relevant_has_no_story() -> None:
    from qalint.testing import file_of

    assert file_of("import os\nprint(os.getcwd())\n").get(Story) is None


def test_a_module_is_no_list() -> None:
    text = """
def thaw(given):
    for net in given if isinstance(given, list) else [given]:
        net.float()

net = nn.Linear(4, 1).half().cuda()
{call}
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for x in loader:
    opt.zero_grad()
    net(x).mean().backward()
    opt.step()
"""
    assert not any("fp16" in fault for fault in faults_of(text.format(call="thaw(net)")))
    assert not any("fp16" in fault for fault in faults_of(text.format(call="thaw([net])")))
    assert any("fp16" in fault for fault in faults_of(text.format(call="pass")))
