"""What the projects of one run share, and what each still knows that it has asked for."""

from __future__ import annotations

import ast
from pathlib import Path

from qalint.analysis.modules.toplevel import TopLevel
from qalint.analysis.project import Project, Seen
from qalint.testing import lint


def test_what_another_project_resolved_was_consulted_here_too(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    (tmp_path / "b.py").write_text("")
    seen = Seen()
    first, second = (Project([str(tmp_path)], seen=seen) for _ in range(2))
    wanted = [("b", 0), ("c", 0)]
    answers = [[one.resolve(str(tmp_path / "a.py"), *name) for name in wanted] for one in (first, second)]
    assert answers[0] == answers[1] == [str(tmp_path / "b.py"), None]
    assert first.consulted == second.consulted
    assert str(tmp_path / "b.py") in second.consulted and str(tmp_path / "c.py") in second.consulted


def test_projects_of_other_roots_do_not_share_answers(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder / "inner").mkdir(parents=True)
        (tmp_path / folder / "inner" / "a.py").write_text("")
    (tmp_path / "one" / "b.py").write_text("")
    seen = Seen()
    start = str(tmp_path / "one" / "inner" / "a.py")
    assert Project([str(tmp_path / "one")], seen=seen).resolve(start, "b", 0) is not None
    assert Project([], seen=seen).resolve(start, "b", 0) is None


def test_a_library_that_the_tables_know_is_not_followed_where_its_sources_lie_near(tmp_path: Path) -> None:
    package = tmp_path / "accelerate"
    package.mkdir()
    for name in ("__init__", "accelerator", "state"):
        (package / f"{name}.py").write_text("")
    (tmp_path / "train.py").write_text("")
    project = Project([str(tmp_path)])
    assert project.resolve(str(tmp_path / "train.py"), "accelerate", 0) is None
    assert project.resolve(str(package / "accelerator.py"), "accelerate.state", 0) is None
    assert project.resolve(str(package / "accelerator.py"), "state", 1) == str(package / "state.py")
    # By what it lacks a folder is told from a library whose name it has.
    other = Project([str(tmp_path)])
    (package / "accelerator.py").unlink()
    assert other.resolve(str(tmp_path / "train.py"), "accelerate", 0) == str(package / "__init__.py")
    assert str(package / "accelerator.py") in other.consulted


def test_a_folder_of_data_sets_is_followed_into_a_training_step(tmp_path: Path) -> None:
    """Many projects have a folder of this name, and some keep more than data in it."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text(
        "import torch\n\n\ndef clip(model, optimizer, scaler):\n"
        "    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
        "    scaler.step(optimizer)\n    scaler.update()\n"
    )
    script = tmp_path / "train.py"
    script.write_text(
        "import torch\nfrom datasets import clip\n\nmodel = torch.nn.Linear(4, 4).cuda()\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\nscaler = torch.amp.GradScaler()\n"
        "for batch in range(9):\n    optimizer.zero_grad()\n"
        "    with torch.autocast('cuda', dtype=torch.float16):\n"
        "        loss = model(torch.randn(4, 4, device='cuda')).float().pow(2).mean()\n"
        "    scaler.scale(loss).backward()\n    clip(model, optimizer, scaler)\n"
    )
    found = [finding for finding in lint([str(tmp_path)], select=["QA11"]) if finding.code == "QA1105"]
    assert [Path(finding.filename).name for finding in found] == ["__init__.py"], found


def test_a_table_that_is_filled_waits_until_it_is_needed() -> None:
    text = (
        "TABLE = {}\ntry:\n    import x\nexcept ImportError:\n    pass\nelse:\n    TABLE['x'] = ['X']\n"
        "TABLE['y'] = make()\nOTHER = {}\nOTHER['z'] = 1\n"
    )
    top = TopLevel.of(ast.parse(text))
    assert [ast.unparse(statement) for statement in top.waiting["OTHER"]] == ["OTHER = {}", "OTHER['z'] = 1"]
    assert "TABLE" in top.waiting
    assert [ast.unparse(statement) for statement in top.at_once] == ["TABLE['y'] = make()"]


def test_files_near_one_are_those_of_its_project(tmp_path: Path) -> None:
    for name in ("run.py", "nets/__init__.py", "nets/deep/one.py", "parts/adapt.py", "other/two.py"):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).write_text("layer = 1\n")
    (tmp_path / "elsewhere.py").write_text("layer = 1\n")
    (tmp_path / "top" / "run.py").write_text("nothing = 1\n")
    start = str(tmp_path / "top" / "parts" / "adapt.py")
    project = Project([str(tmp_path / "top")])
    found = [Path(file.path).name for file in project.near(start, b"layer", b"=")]
    assert sorted(found) == ["__init__.py", "one.py", "two.py"]
    assert str(tmp_path / "top" / "run.py") in project.used, "it was asked, and may have the word tomorrow"
    assert str(tmp_path / "top" / "other") in project.used, "a file may come"
    # Where no script stands above, the folders beside one are other projects.
    (tmp_path / "top" / "run.py").unlink()
    assert not list(Project([str(tmp_path / "top")]).near(start, b"layer"))
