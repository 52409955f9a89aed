"""The plugin of docs/plugins.md, taken from the page: built, installed elsewhere, used like our own rules."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs/plugins.md"
BAD = "import torch as t\nt.manual_seed(7)\n"


def files_of_the_guide() -> dict[str, str]:
    """The blocks of the page that have a file name as their title."""
    text = GUIDE.read_text(encoding="utf-8")
    blocks = re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', text, flags=re.MULTILINE | re.DOTALL)
    return dict(blocks)


class Home:
    """A virtual environment that sees qalint and its dependencies, and in which the plugin is installed."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "acme-qalint"
        for name, text in files_of_the_guide().items():
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.work = folder / "work"
        self.work.mkdir()
        (self.work / "seed.py").write_text(BAD, encoding="utf-8")
        environment = folder / "venv"
        venv.create(environment, with_pip=False)
        scripts = environment / ("Scripts" if os.name == "nt" else "bin")
        self.python = scripts / ("python.exe" if os.name == "nt" else "python")
        self.site = Path(
            self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
        )
        ours = sysconfig.get_path("purelib")
        (self.site / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n", encoding="utf-8")

    def install(self) -> None:
        """`pip install --no-deps`, as a user would, with this environment's pip and setuptools."""
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet"),
                *("--no-deps", "--no-build-isolation", "--disable-pip-version-check", str(self.source)),
            ],
            check=True,
            capture_output=True,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("QALINT_", "PYTHON"))}
        env["XDG_CACHE_HOME"] = str(self.work.parent / "cache")
        return subprocess.run(
            [str(self.python), *arguments],
            cwd=self.work,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    def qalint(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "qalint", *arguments)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    pytest.importorskip("setuptools")
    home = Home(tmp_path_factory.mktemp("plugin"))
    done = home.qalint("rule", "ACME01")
    assert done.returncode == 2 and "no rule `ACME01`" in done.stderr, "not there before it is installed"
    home.install()
    return home


def test_the_guide_has_all_files():
    fixtures = [f"acme_qalint/fixtures/step-without-gradients/{name}_order.py" for name in ("bad", "good")]
    assert set(files_of_the_guide()) == {
        *("pyproject.toml", "acme_qalint/__init__.py", "tests/test_rules.py"),
        *fixtures,
    }


def test_the_plugins_own_tests_pass(home):
    done = home.run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(home.source / "tests"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_it_is_selected_and_found(home):
    done = home.qalint("check", "--select", "ACME", "--output-format", "json")
    assert done.returncode == 1, done.stderr
    (finding,) = json.loads(done.stdout)
    assert (finding["code"], finding["name"]) == ("ACME01", "seed-not-pinned")
    assert finding["message"] == "Seed 7 is not the agreed 1234"
    assert home.qalint("check", "--ignore", "ACME01").returncode == 0


def test_its_order_rule_follows_the_program(home):
    tests = files_of_the_guide()["tests/test_rules.py"]
    path = home.work / "order.py"
    path.write_text(tests.partition('WRONG_ORDER = """')[2].partition('"""')[0], encoding="utf-8")
    done = home.qalint("check", "--select", "ACME02", "--output-format", "concise", "order.py")
    assert "order.py:5:5: ACME02 `optimizer` steps without gradients" in done.stdout, (
        done.stdout + done.stderr
    )
    path.unlink()


def test_it_is_configured(home):
    (home.work / "qalint.toml").write_text("[rules.seed-not-pinned]\nseed = 7\n", encoding="utf-8")
    assert home.qalint("check").returncode == 0
    (home.work / "qalint.toml").write_text("[rules.seed-not-pinned]\nsead = 7\n", encoding="utf-8")
    done = home.qalint("check")
    assert done.returncode == 2
    assert "`sead`" in done.stderr and "`seed`" in done.stderr
    (home.work / "qalint.toml").unlink()


def test_it_is_suppressed(home):
    path = home.work / "quiet.py"
    path.write_text("import torch\ntorch.manual_seed(7)  # qalint: ignore[seed-not-pinned] a test\n", "utf-8")
    assert home.qalint("check", "quiet.py").returncode == 0
    path.unlink()


def test_it_is_documented(home):
    page = home.qalint("rule", "seed-not-pinned", "--output-format", "markdown").stdout
    assert page.startswith("# seed-not-pinned (ACME01)\n")
    assert "- `seed` (int, default `1234`): the agreed seed" in page
    codes = [
        item["code"] for item in json.loads(home.qalint("rule", "--all", "--output-format", "json").stdout)
    ]
    assert "ACME01" in codes
    schema = json.loads(home.qalint("schema").stdout)
    assert (
        schema["properties"]["rules"]["properties"]["seed-not-pinned"]["properties"]["seed"]["default"]
        == 1234
    )


def test_it_is_fixed(home):
    path = home.work / "fixed.py"
    path.write_text(BAD, encoding="utf-8")
    assert home.qalint("check", "--fix", "fixed.py").returncode == 1, "the fix is unsafe"
    assert path.read_text(encoding="utf-8") == BAD
    done = home.qalint("check", "--fix", "--unsafe-fixes", "fixed.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert path.read_text(encoding="utf-8") == "import torch as t\nt.manual_seed(1234)\n"
    path.unlink()


def test_its_fixtures_are_marked_as_its_rules_and_ours_see_them(home):
    program = (
        "import acme_qalint, pathlib\nfrom qalint.testing import mismatches\n"
        "for path in (pathlib.Path(acme_qalint.__file__).parent / 'fixtures').glob('*/*.py'):\n"
        "    print(path.name, mismatches(str(path)))\n"
    )
    done = home.run("-c", program)
    assert sorted(done.stdout.splitlines()) == ["bad_order.py []", "good_order.py []"], done.stderr


def test_it_is_verified_by_running(home):
    pytest.importorskip("torch")
    done = home.qalint("verify", "--rule", "ACME02", "--device", "cpu", "--output-format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = {entry["fixture"]: (entry["verdict"], entry["before"]) for entry in json.loads(done.stdout)}
    assert set(seen) == {f"step-without-gradients/{name}_order" for name in ("bad", "good")}
    assert seen["step-without-gradients/good_order"] == ("confirmed", "none")
    verdict, symptom = seen["step-without-gradients/bad_order"]
    assert verdict == "confirmed" and "zero-gradient" in symptom
    done = home.qalint("verify", "--rule", "ACME01", "--device", "cpu", "--output-format", "json")
    (entry,) = json.loads(done.stdout)
    assert (entry["verdict"], entry["detail"]) == ("no-oracle", "every seed is a valid program")


def test_a_plugin_that_does_not_load_is_named(home):
    module = home.site / "acme_qalint" / "__init__.py"
    text = module.read_text(encoding="utf-8")
    module.write_text("raise RuntimeError('broken on purpose')\n", encoding="utf-8")
    try:
        done = home.qalint("check")
        assert done.returncode == 2
        assert "acme-qalint" in done.stderr and "broken on purpose" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        module.write_text(text, encoding="utf-8")
