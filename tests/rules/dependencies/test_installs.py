from __future__ import annotations

import pytest
from qalint_rules.dependencies import (
    IncompatibleUpgrade,
    InstallWithoutTimeout,
    SilentInstall,
    StaleImport,
    UnconditionalInstall,
    UndeclaredDependency,
    UnhandledInstallFailure,
    WrongInterpreterPip,
)

from qalint.testing import apply, findings, notebook

HEAD = "import marimo as mo\nimport os\nimport sys\nimport subprocess\nimport importlib.util"
PIP = '[sys.executable, "-m", "pip", "install", "peft"]'


def run(rule, *cells: str):
    return findings(rule, notebook(HEAD, *cells))


class TestWhen:
    @pytest.mark.parametrize(
        "cell",
        [
            f"subprocess.run({PIP})",
            "os.system('pip install peft')",
            "subprocess.run('pip install peft', shell=True)",
            "subprocess.run('pip install peft'.split())",
            "subprocess.check_call(['uv', 'pip', 'install', 'peft'])",
            "subprocess.run(['conda', 'install', '-y', 'peft'])",
            "import pip\npip.main(['install', 'peft'])",
            "cmd = ['pip', 'install', 'peft']\nsubprocess.run(cmd)",
            "if True:\n    os.system('pip install peft')",
            "def setup():\n    os.system('pip install peft')\nsetup()",
            "for p in ['a', 'b']:\n    subprocess.run(['pip', 'install', p])",
        ],
    )
    def test_always(self, cell):
        (found,) = run(UnconditionalInstall, cell)
        assert "installed each time this runs" in found.message

    @pytest.mark.parametrize(
        "cell",
        [
            f"try:\n    import peft\nexcept ImportError:\n    subprocess.run({PIP})",
            f"if importlib.util.find_spec('peft') is None:\n    subprocess.run({PIP})",
            f"if not peft_available:\n    subprocess.run({PIP})",
            f"if install_button.value:\n    subprocess.run({PIP})",
            f"mo.stop(not install_button.value)\nsubprocess.run({PIP})",
            "for p in missing:\n    subprocess.run(['pip', 'install', p])",
            f"def get():\n    try:\n        import peft\n    except ImportError:\n"
            f"        subprocess.run({PIP})\nget()",
            f"def ensure():\n    subprocess.run({PIP})\nif not found:\n    ensure()",
            "print('pip install peft')",
            "mo.md('```\\npip install peft\\n```')",
            "import micropip\nawait_(micropip.install('peft'))",
            "subprocess.run(['apt-get', 'install', 'git'])",
            "subprocess.run([sys.executable, '-m', 'pip', 'list'])",
        ],
    )
    def test_guarded_or_no_install(self, cell):
        assert run(UnconditionalInstall, cell) == []

    def test_the_fix_tries_the_import(self):
        (found,) = run(UnconditionalInstall, f"subprocess.run({PIP})  # once\nx = 1")
        assert (
            "    try:\n        import peft\n    except ImportError:\n"
            f"        subprocess.run({PIP})  # once\n    x = 1" in apply(found)
        )

    def test_no_fix_where_the_result_is_used(self):
        (found,) = run(UnconditionalInstall, f"r = subprocess.run({PIP})\nprint(r.returncode)")
        assert found.fix is None


class TestHow:
    def test_torchvision_alone(self):
        cell = "subprocess.run(['pip', 'install', '-U', 'transformers', 'torchvision'])"
        (found,) = run(IncompatibleUpgrade, cell)
        assert found.place.source.text[found.place.start : found.place.end] == "'torchvision'"
        assert "'install', \"torch\", 'transformers', 'torchvision'" in apply(found)

    @pytest.mark.parametrize(
        "packages",
        ["'torch', 'torchvision'", "'torchvision==0.19.1'", "'transformers'", "'-r', 'torchvision'"],
    )
    def test_together_or_pinned(self, packages):
        assert run(IncompatibleUpgrade, f"subprocess.run(['pip', 'install', {packages}])") == []

    def test_silence(self):
        (found,) = run(SilentInstall, f"if missing:\n    subprocess.run({PIP})")
        assert 'with mo.status.spinner(title="Installing peft..."):\n            subprocess.run(' in apply(
            found
        )
        assert run(SilentInstall, f"print('wait')\nsubprocess.run({PIP})") == []

    @pytest.mark.parametrize(
        ("cell", "count"),
        [
            (f"subprocess.run({PIP})", 1),
            (f"r = subprocess.run({PIP})\nreturn r,", 1),
            ("os.system('pip install x')", 1),
            ("p = subprocess.Popen(['pip', 'install', 'x'])\np.wait()", 1),
            (f"try:\n    subprocess.check_call({PIP})\nexcept Exception:\n    pass", 1),
            (f"subprocess.run({PIP}, check=True)", 0),
            (f"subprocess.check_call({PIP})", 0),
            (f"r = subprocess.run({PIP})\nif r.returncode:\n    print('by hand')", 0),
            ("if os.system('pip install x') != 0:\n    print('by hand')", 0),
            (f"try:\n    subprocess.check_call({PIP})\nexcept Exception as e:\n    print(e)", 0),
        ],
    )
    def test_failure(self, cell, count):
        assert len(run(UnhandledInstallFailure, cell)) == count

    def test_timeout(self):
        (found,) = run(InstallWithoutTimeout, f"subprocess.run({PIP}, check=True)")
        assert "check=True, timeout=300)" in apply(found)
        assert run(InstallWithoutTimeout, f"subprocess.run({PIP}, timeout=9)") == []
        assert run(InstallWithoutTimeout, "os.system('pip install x')") == []

    def test_whose_pip(self):
        (found,) = run(WrongInterpreterPip, 'subprocess.run(["pip", "install", "x"])')
        assert '[sys.executable, "-m", "pip", "install", "x"]' in apply(found)
        (found,) = run(WrongInterpreterPip, 'subprocess.run(["python", "-m", "pip", "install", "x"])')
        assert '[sys.executable, "-m", "pip", "install", "x"]' in apply(found)
        (found,) = run(WrongInterpreterPip, 'subprocess.run(["pip", "install"] + names)')
        assert '[sys.executable, "-m", "pip", "install"] + names' in apply(found)
        assert run(WrongInterpreterPip, f"subprocess.run({PIP})") == []
        assert run(WrongInterpreterPip, "subprocess.run(['uv', 'pip', 'install', 'x'])") == []

    def test_declared(self):
        (found,) = run(UndeclaredDependency, f"subprocess.run({PIP})")
        assert apply(found).startswith('# /// script\n# requires-python = ">=3.11"\n# dependencies = [\n')
        text = '# /// script\n# dependencies = ["peft"]\n# ///\n' + notebook(HEAD, f"subprocess.run({PIP})")
        assert findings(UndeclaredDependency, text) == []


TRY = "try:\n    import peft\nexcept ImportError:\n    peft = None"


class TestStale:
    def test_none_and_another_cell(self):
        (found,) = run(
            StaleImport, TRY, f"if peft is None:\n    subprocess.run({PIP})", "x = peft.LoraConfig()"
        )
        assert (
            found.message == "`peft` is used after the install without being imported again: it is still None"
        )
        assert [each.message for each in found.related] == ["set to None here", "installed here"]

    def test_the_fix_imports_after_the_install(self):
        cell = f"try:\n    import peft as p\nexcept ImportError:\n    p = None\n    subprocess.run({PIP})"
        (found,) = run(StaleImport, cell, "x = p.LoraConfig()")
        assert f"except ImportError:\n        subprocess.run({PIP})\n        import peft as p" in apply(found)

    @pytest.mark.parametrize(
        "use",
        [
            "if peft is not None:\n    peft.LoraConfig()",
            "mo.stop(peft is None)\npeft.LoraConfig()",
            "mo.stop(needs_restart)\npeft.LoraConfig()",
            "peft and peft.LoraConfig()",
            "x = peft.LoraConfig() if peft else None",
            "print(peft)",
        ],
    )
    def test_guarded(self, use):
        install = (
            f"needs_restart = False\nif peft is None:\n    subprocess.run({PIP})\n    needs_restart = True"
        )
        assert run(StaleImport, TRY, install, use) == []

    def test_whether_it_worked_is_no_guard(self):
        install = (
            f"worked = True\nif peft is None:\n    r = subprocess.run({PIP})\n    worked = r.returncode == 0"
        )
        assert len(run(StaleImport, TRY, install, "mo.stop(not worked)\npeft.LoraConfig()")) == 1

    def test_a_flag_of_the_import_is_a_guard(self):
        cell = "ok = False\ntry:\n    import peft\n    ok = True\nexcept ImportError:\n    peft = None"
        install = f"if not ok:\n    subprocess.run({PIP})"
        assert run(StaleImport, cell, install, "mo.stop(not ok)\npeft.LoraConfig()") == []
        assert run(StaleImport, cell, install, "if ok:\n    peft.LoraConfig()") == []

    def test_imported_again_or_never_installed(self):
        again = f"try:\n    import peft\nexcept ImportError:\n    subprocess.run({PIP})\n    import peft"
        assert run(StaleImport, again, "peft.LoraConfig()") == []
        assert run(StaleImport, TRY, "peft.LoraConfig()") == []


class TestAcrossCells:
    def test_a_flag_that_a_failed_import_sets_in_another_cell(self):
        head = "try:\n    import tiktoken as _t\nexcept ImportError:\n    _t = None\nhad = _t is not None"
        assert run(UnconditionalInstall, head, f"if not had:\n    subprocess.run({PIP})") == []

    @pytest.mark.parametrize(
        "reader", ["print(done.returncode)", "ok = done.returncode == 0", "done.check_returncode()"]
    )
    def test_a_result_that_another_cell_reads(self, reader):
        assert run(UnhandledInstallFailure, f"done = subprocess.run({PIP})", reader) == []

    def test_only_the_text_of_the_result_is_read(self):
        assert len(run(UnhandledInstallFailure, f"done = subprocess.run({PIP})", "print(done.stdout)")) == 1

    @pytest.mark.parametrize(
        "cells",
        [
            (
                "names = ['transformers', 'xformers']",
                "subprocess.run([sys.executable, '-m', 'pip', 'install', *names])",
            ),
            ("names = ['xformers']\nsubprocess.run([sys.executable, '-m', 'pip', 'install'] + names)",),
        ],
    )
    def test_packages_by_name(self, cells):
        (found,) = run(IncompatibleUpgrade, *cells)
        assert "`xformers` fits one version of torch" in found.message

    @pytest.mark.parametrize(
        "cell",
        [
            "import asyncio\nawait asyncio.create_subprocess_exec('uv', 'pip', 'install', 'peft')",
            "import shlex\nsubprocess.run(shlex.split('pip install peft'))",
        ],
    )
    def test_other_runners(self, cell):
        assert len(run(UnconditionalInstall, cell)) == 1

    @pytest.mark.parametrize(
        ("package", "imports", "module"),
        [
            ("faiss-cpu", "", "faiss"),
            ("scikit-learn", "", "sklearn"),
            ("peft", "", "peft"),
            ("my-tools", "import my_tools", "my_tools"),
            ("lightly-train", "import lightly", "lightly"),
            ("some-thing", "", None),
        ],
    )
    def test_the_module_of_a_package(self, package, imports, module):
        call = f"subprocess.run([sys.executable, '-m', 'pip', 'install', '{package}'])"
        (found,) = run(UnconditionalInstall, imports or "x = 1", call)
        assert (found.fix is None) == (module is None)
        assert module is None or f"    import {module}\n" in apply(found)

    def test_stale_though_its_cell_stands_last(self):
        (found,) = run(
            StaleImport,
            "peft.LoraConfig()\nprint(installed)",
            f"installed = subprocess.run({PIP}).returncode == 0 if not have else True",
            "try:\n    import peft\n    have = True\nexcept ImportError:\n    peft = None\n    have = False",
        )
        assert found.message.startswith("`peft` is used after the install")

    def test_stale_in_the_cell_that_installs(self):
        head = "try:\n    import faiss\nexcept ImportError:\n    faiss = None"
        install = (
            "if faiss is None:\n    subprocess.run(['pip', 'install', 'faiss-cpu'])\nfaiss.IndexFlatL2(3)"
        )
        assert len(run(StaleImport, head, install)) == 1

    def test_no_spinner_where_the_notebook_has_no_marimo(self):
        text = notebook(f"import subprocess, sys\nsubprocess.run({PIP})")
        (found,) = findings(SilentInstall, text)
        assert found.fix is None


def test_the_cell_that_calls_a_function_may_be_the_one_that_speaks():
    function = f"def bring():\n    return subprocess.run({PIP}).returncode"
    told = "with mo.status.spinner(title='Installing'):\n    _code = bring()"
    assert not run(SilentInstall, function, told)
    (found,) = run(SilentInstall, function, "_code = bring()")
    assert "without a word" in found.message
