"""What the projects of one run share, and what each still knows that it has asked for."""

from __future__ import annotations

import ast
from pathlib import Path

from qalint.analysis.modules.toplevel import TopLevel
from qalint.analysis.project import Project, Seen


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


def test_a_table_that_is_filled_waits_until_it_is_needed() -> None:
    text = (
        "TABLE = {}\ntry:\n    import x\nexcept ImportError:\n    pass\nelse:\n    TABLE['x'] = ['X']\n"
        "TABLE['y'] = make()\nOTHER = {}\nOTHER['z'] = 1\n"
    )
    top = TopLevel.of(ast.parse(text))
    assert [ast.unparse(statement) for statement in top.waiting["OTHER"]] == ["OTHER = {}", "OTHER['z'] = 1"]
    assert "TABLE" in top.waiting
    assert [ast.unparse(statement) for statement in top.at_once] == ["TABLE['y'] = make()"]
