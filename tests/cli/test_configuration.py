"""Where settings come from, which wins, and what they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Run

CODE = "old()\nrisky()\noff()\nfresh()\nmany(1, 2, 3, 4)\n"


@pytest.fixture(autouse=True)
def code(project: Path) -> None:
    (project / "a.py").write_text(CODE)


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        ([], ["QA9901", "QA9902", "QA9907"]),
        (["--select", "QA9901,risky-call"], ["QA9901", "QA9902"]),
        (["--select", "QA9901", "--select", "QA9907"], ["QA9901", "QA9907"]),
        (["--select", "QA99"], ["QA9901", "QA9902", "QA9903", "QA9907"]),
        (["--select", "QA99", "--ignore", "QA990"], []),
        (["--select", "QA9901", "--ignore", "QA99"], ["QA9901"]),
        (["--select", "QA99", "--ignore", "QA9901"], ["QA9902", "QA9903", "QA9907"]),
        (["--select", "QA9901", "--ignore", "QA9901"], []),
        (["--extend-select", "QA9903"], ["QA9901", "QA9902", "QA9903", "QA9907"]),
        (["--preview"], ["QA9901", "QA9902", "QA9905", "QA9907"]),
        (["--select", "QA9905"], []),
        (["--select", "QA9905", "--preview"], ["QA9905"]),
        (["--select", "ALL", "--ignore", "QA1,QA09"], ["QA9901", "QA9902", "QA9903", "QA9907"]),
        (["--per-file-ignores", "a.py:QA9901,*.py:QA9902"], ["QA9907"]),
        (["--per-file-ignores", "!a.py:QA99"], ["QA9901", "QA9902", "QA9907"]),
        (["--per-file-ignores", "sub/*.py:QA99"], ["QA9901", "QA9902", "QA9907"]),
        (["--config", "ignore = ['QA9901']"], ["QA9902", "QA9907"]),
        (["--config", "rules.too-long.max = 4"], ["QA9901", "QA9902"]),
    ],
)
def test_selection(run: Run, arguments: list[str], codes: list[str]) -> None:
    assert run("a.py", *arguments).codes == codes


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", "[tool.qalint]\nselect = ['QA9902']\n"),
        ("qalint.toml", "select = ['QA9902']\n"),
        (".qalint.toml", "select = ['QA9902']\n"),
    ],
)
def test_each_kind_of_file(project: Path, run: Run, name: str, text: str) -> None:
    (project / name).write_text(text)
    assert run("a.py").codes == ["QA9902"]
    assert run("a.py", "--isolated").codes == ["QA9901", "QA9902", "QA9907"]
    assert run("a.py", "--select", "QA9901").codes == ["QA9901"]


def test_nearest_file_holds_alone(project: Path, run: Run) -> None:
    (project / "qalint.toml").write_text("select = ['QA9901']\n")
    sub = project / "sub"
    sub.mkdir()
    (sub / "b.py").write_text(CODE)
    assert run("sub").codes == ["QA9901"]
    (sub / "pyproject.toml").write_text("[project]\nname = 'no qalint table'\n")
    assert run("sub").codes == ["QA9901"]
    (sub / "qalint.toml").write_text("ignore = ['QA9901']\n")
    assert run("sub").codes == ["QA9902", "QA9907"]
    assert run(".").codes == ["QA9901", "QA9902", "QA9907"]


def test_extend(project: Path, run: Run) -> None:
    (project / "base.toml").write_text("select = ['QA99']\nignore = ['QA9901']\n[rules.too-long]\nmax = 4\n")
    (project / "qalint.toml").write_text("extend = 'base.toml'\nextend-select = ['QA9901']\n")
    assert run("a.py").codes == ["QA9901", "QA9902", "QA9903"]
    (project / "base.toml").write_text("extend = 'qalint.toml'\n")
    assert run("a.py").err == "error: The configuration qalint.toml extends itself.\n"


def test_config_file_flag(project: Path, run: Run) -> None:
    (project / "qalint.toml").write_text("select = ['QA9901']\n")
    (project / "other.toml").write_text("select = ['QA9902']\n")
    assert run("a.py", "--config", "other.toml").codes == ["QA9902"]
    assert run("a.py", "--config", "other.toml", "--config", "select = ['QA9907']").codes == ["QA9907"]


def test_variables(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "qalint.toml").write_text("select = ['QA9901']\nfail-on = 'critical'\n")
    monkeypatch.setenv("QALINT_SELECT", "QA9902, QA9907")
    assert run("a.py").codes == ["QA9902", "QA9907"]
    assert run("a.py", "--select", "QA9901").codes == ["QA9901"]
    assert run("a.py").status == 0
    monkeypatch.setenv("QALINT_FAIL_ON", "low")
    assert run("a.py").status == 1
    monkeypatch.setenv("QALINT_FAIL_ON", "lwo")
    ran = run("a.py")
    assert ran.status == 2
    assert "The variable QALINT_FAIL_ON sets `fail-on` to `lwo`" in ran.err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[rules.too-lon]\nmax = 1\n", "options for an unknown rule `too-lon` (did you mean `too-long`?)"),
        ("[rules.too-long]\nmx = 1\n", "unknown option `mx` of the rule `too-long` (did you mean `max`?)"),
        ("[rules.too-long]\nmax = '1'\n", "sets `rules.too-long.max` to `'1'`, which is not of type int"),
        ("[rules.old-call]\nmax = 1\n", "unknown option `max` of the rule `old-call` (it has none)"),
        ("[lint]\nselect = []\n", "has a table `lint`; qalint's keys stand directly in its own table"),
        ("select = 'QA99'\n", "sets `select` to `'QA99'`, which is not a list of strings"),
        ("fix = 1\n", "sets `fix` to `1`, which is not true or false"),
        ("torch-version = 'new'\n", "which is not a version such as `2.3`"),
        ("output-file = 'x'\n", "sets `output-file`, which only the flag"),
        ("cache-dir = '../x'\n", "sets `cache-dir` to a folder outside its own"),
        ("select = [\n", "is not valid TOML"),
        (
            "[tool.qalint]\nignore = []\n",
            "qalint.toml has a table `[tool.qalint]`, as in pyproject.toml; here keys",
        ),
        ("select = ['QA9x']\n", "Unknown rule `QA9x` in `qalint.toml: select`"),
    ],
)
def test_errors_name_what_is_wrong(project: Path, run: Run, text: str, sentence: str) -> None:
    (project / "qalint.toml").write_text(text)
    ran = run("a.py")
    assert ran.status == 2
    assert sentence in ran.err


def test_script_block_speaks_for_its_file(project: Path, run: Run) -> None:
    (project / "a.py").write_text(
        "# /// script\n# dependencies = ['torch>=2.1']\n# [tool.qalint]\n# select = ['QA9903']\n# ///\n"
        + CODE
    )
    (project / "b.py").write_text(CODE)
    assert run("a.py").codes == ["QA9903"]
    assert run("b.py").codes == ["QA9901", "QA9902", "QA9907"]
    assert run("a.py").codes == ["QA9903"]
    assert run("a.py", "--select", "QA9901").codes == ["QA9901"]


def test_floors(project: Path) -> None:
    from qalint.config import Configs
    from qalint.registry import catalog

    (project / "requirements.txt").write_text("torch>=2.3,<3\nmarimo==0.20.1\n")
    path = str(project / "a.py")
    assert Configs(catalog()).policy(path).floors == {"torch": (2, 3), "marimo": (0, 20, 1)}
    (project / "pyproject.toml").write_text("[project]\ndependencies = ['torch[x] ~= 2.4']\n[tool.qalint]\n")
    assert Configs(catalog()).policy(path).floors == {"torch": (2, 4), "marimo": (0, 20, 1)}
    (project / "qalint.toml").write_text("torch-version = '2.6'\n")
    assert Configs(catalog()).policy(path).floors["torch"] == (2, 6)
    script = b"# /// script\n# dependencies = ['torch>=2.7']\n# ///\n"
    assert Configs(catalog()).policy(path, script).floors["torch"] == (2, 7)


def test_variables_of_flags_that_are_no_settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QALINT_EXIT_ZERO", "1")
    assert run("a.py").status == 0
    monkeypatch.setenv("QALINT_EXIT_ZERO", "false")
    assert run("a.py").status == 1
    monkeypatch.setenv("QALINT_COLOR", "purple")
    ran = run("a.py")
    assert (ran.status, ran.err) == (
        2,
        "error: The variable QALINT_COLOR is `purple`, none of `auto`, `always`, `never`.\n",
    )


def test_excludes(project: Path, run: Run) -> None:
    for name in ("node_modules/x.py", "sub/x.py", "sub/deep/y.py", "build.py"):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old()\n")

    def files(*arguments: str) -> list[str]:
        return [
            str(Path(line).relative_to(project)) for line in run("--show-files", *arguments).out.splitlines()
        ]

    assert files() == ["a.py", "build.py", "sub/deep/y.py", "sub/x.py"]
    assert files("--extend-exclude", "sub") == ["a.py", "build.py"]
    assert files("--extend-exclude", "sub/*.py") == ["a.py", "build.py", "sub/deep/y.py"]
    assert files("--extend-exclude", "sub/**/*.py,b*.py") == ["a.py"]
    assert files("--exclude", "a.py") == ["build.py", "node_modules/x.py", "sub/deep/y.py", "sub/x.py"]
    assert files("node_modules/x.py") == ["node_modules/x.py"]
    assert files("node_modules/x.py", "--force-exclude") == []


def test_gitignore(project: Path, run: Run) -> None:
    for name in ("kept.py", "out.py", "sub/in.py", "sub/also.py", "gen/x.py"):
        path = project / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("old()\n")
    (project / ".gitignore").write_text("# comment\n/out.py\ngen/\nalso.py\n")
    (project / "sub" / ".gitignore").write_text("in.py\n!also.py\n")

    def files(*arguments: str) -> list[str]:
        return [Path(line).name for line in run("--show-files", *arguments).out.splitlines()]

    assert files() == ["a.py", "kept.py", "also.py"]
    assert files("--no-respect-gitignore") == ["a.py", "x.py", "kept.py", "out.py", "also.py", "in.py"]
    assert files("out.py") == ["out.py"]
    (project / ".git").mkdir()
    assert files("sub") == ["also.py"]


def test_links_are_followed_only_where_named(project: Path, run: Run, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.py").write_text("old()\n")
    (project / "loop").symlink_to(project)
    (project / "away").symlink_to(outside)
    (project / "away.py").symlink_to(outside / "x.py")
    assert run("--show-files").out == f"{project / 'a.py'}\n"
    assert run("--show-files", "away").out == f"{project / 'away' / 'x.py'}\n"
    assert run("away.py").codes == ["QA9901"]


def test_baseline(project: Path, run: Run) -> None:
    (project / "sub").mkdir()
    (project / "a.py").write_text("old()\nold(1)\n")
    ran = run("--write-baseline", "known.json")
    assert ran.status == 0
    assert ran.err == "2 findings were written to known.json as known.\n"
    (project / "qalint.toml").write_text("baseline = 'known.json'\n")
    assert run().status == 0
    assert run("sub").status == 0
    assert run("--no-baseline").codes == ["QA9901", "QA9901"]
    (project / "a.py").write_text("x = 1\n\nold(1)\nold(2)\nold()\n")
    ran = run()
    assert [(item["code"], item["location"]["row"]) for item in ran.json] == [("QA9901", 4)]
    (project / "a.py").rename(project / "sub" / "b.py")
    assert [item["location"]["row"] for item in run().json] == [4]
    (project / "sub" / "b.py").write_text("x = 1\n")
    (project / "a.py").write_text("old()\n")
    ran = run()
    assert (ran.status, ran.err) == (
        0,
        "warning: 1 known finding is gone: write the baseline again with "
        f"--write-baseline {project / 'known.json'}.\n",
    )


def test_ignore_suppressions_shows_known_findings_marked(project: Path, run: Run) -> None:
    (project / "a.py").write_text("old()\nrisky()  # qalint: ignore[QA9902]\n")
    run("--write-baseline", "known.json")
    ran = run("--baseline", "known.json", "--ignore-suppressions")
    assert [(item["code"], item["status"]) for item in ran.json] == [
        ("QA9901", "baseline"),
        ("QA9902", "suppressed"),
    ]
