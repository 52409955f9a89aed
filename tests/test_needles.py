"""The first tier: which rules the bytes of a program leave."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qalint import needles
from qalint.needles import Lookup, Mask, Needles, code_of, imported_names, may_suppress, unless
from qalint.registry import SectionInfo


def section(
    *rules: tuple[tuple[bytes, ...], ...], program: bool = True, starts: tuple[bytes, ...] = ()
) -> SectionInfo:
    """A section whose rules R0, R1, ... have these groups of their own, and `torch` as the section's."""
    codes = tuple(f"R{number}" for number in range(len(rules)))
    return SectionInfo("99", "", "", "", codes, ((b"torch",),), (), program, rules, starts)


@pytest.fixture(params=["one pass", "one by one"])
def without_package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "one by one":
        monkeypatch.setattr(needles, "_matcher", lambda found: None)


def survivors(files: dict[str, bytes], info: SectionInfo) -> dict[str, set[str]]:
    tested = Needles([info], frozenset(info.codes))
    masks = {path: Mask(tested.find(data)) for path, data in files.items()}
    load: Callable[[str], bytes] = files.__getitem__
    return {path: set(codes) for path, codes in tested.survivors(masks, load).items()}


@pytest.mark.usefixtures("without_package")
def test_all_groups_are_needed() -> None:
    info = section(((b".backward",), (b"scale", b"GradScaler")), ((b"half",),))
    files = {
        "/p/all.py": b"torch .backward GradScaler half",
        "/p/some.py": b"torch .backward",
        "/p/half.py": b"torch half",
        "/p/none.py": b"numpy half .backward scale",
    }
    assert survivors(files, info) == {"/p/all.py": {"R0", "R1"}, "/p/half.py": {"R1"}}


@pytest.mark.usefixtures("without_package")
def test_imports_count() -> None:
    info = section(((b".backward",), (b"GradScaler",)))
    files = {
        "/p/train.py": b"import torch\nfrom tools.amp import scaler\n.backward",
        "/p/tools/__init__.py": b"",
        "/p/tools/amp.py": b"import torch\nGradScaler",
        "/p/main.py": b"from tools import amp\nimport train\n",
        "/p/script.py": b"from tools import amp\nimport train\nGradScaler\n",
        "/p/pkg/part.py": b"from ..train import x\nGradScaler\n",
        "/p/other.py": b"import torch\n.backward",
    }
    assert survivors(files, info) == {"/p/train.py": {"R0"}, "/p/script.py": {"R0"}}
    assert survivors(files, section(((b".backward",), (b"GradScaler",)), program=False)) == {}


def test_imported_names() -> None:
    data = b"""from __future__ import annotations
import os, torch.nn as nn
from . import a
from .b import (
    c,
    d as e,
)
    from ..f.g import *
x = "import nothing"
"""
    assert imported_names(data, "a.py") == (
        "__future__", "__future__.annotations", "os", "torch.nn", ".", ".a", ".b", ".b.c", ".b.d", "..f.g",
    )  # fmt: skip


def test_lookup() -> None:
    files = Lookup(["/p/a.py", "/p/q/__init__.py", "/p/q/b.py", "/p/q/r/c.py", "/x/b.py"])
    assert files.files("/p/a.py", ["q.b"]) == ["/p/q/b.py"]
    assert files.files("/p/a.py", ["q"]) == ["/p/q/__init__.py"]
    assert files.files("/p/q/r/c.py", ["..b"]) == ["/p/q/b.py"]
    assert files.files("/p/q/b.py", [".r.c"]) == ["/p/q/r/c.py"]
    assert files.files("/p/q/b.py", ["."]) == ["/p/q/__init__.py"]
    assert files.files("/p/a.py", ["b"]) == ["/p/q/b.py", "/x/b.py"], "too many rather than too few"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"# qalint: ignore[QA1105]", True),
        (b"x  # noqa: QA1105", True),
        (b"x  # NoQA:E501,QA1105", True),
        (b"x  # noqa", False),
        (b"x  # noqa: E501", False),
        (b"QA1105", False),
    ],
)
def test_may_suppress(data: bytes, expected: bool) -> None:
    assert may_suppress(data, frozenset({"QA"})) is expected


@pytest.mark.usefixtures("without_package")
def test_what_comments_and_docstrings_say_is_no_code() -> None:
    info = section(((b".backward",),))
    files = {
        "/p/doc.py": b'import torch\n\n\ndef f():\n    """Call loss.backward()."""\n',
        "/p/comment.py": b"import torch\nx = 1  # loss.backward()\n",
        "/p/hash.py": b"import torch\nname = '#'; loss.backward()\n",
        "/p/quoted.py": b"import torch\nrun('loss.backward()')\n",
        "/p/given.py": b'import torch\nrun(source="""\nloss.backward()\n""")\n',
    }
    assert set(survivors(files, info)) == {"/p/hash.py", "/p/quoted.py", "/p/given.py"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"x = 'a#b'  # c\n", b"x = 'a#b'  \n"),
        (b"x = 1\n'''doc # \"\"\" '''\ny = '''kept # it'''\n", b"x = 1\ny = '''kept # it'''\n"),
        (b'def f():\n    r"""a \\""" b"""\n    return 1\n', b"def f():\n    return 1\n"),
        (b"x = \"it's\" # isn't\ny = 2\n", b'x = "it\'s" \ny = 2\n'),
        (b"fail('call loss.backward() once before that')\n", b"fail('')\n"),
        (b"say(f'the model is {net.cuda()} at last')\n", b"say(f'the model is {net.cuda()} at last')\n"),
        (b"einsum('b i, i o -> b o')\n", b"einsum('')\n"),
    ],
)
def test_code(text: bytes, code: bytes) -> None:
    assert code_of(text) == code


@pytest.mark.usefixtures("without_package")
def test_surroundings() -> None:
    half = unless(b"float16", before=(b"b", b"== torch."), after=(b"_t",))
    info = section(((half,),), ((b"float16",),))
    files = {
        "/p/made.py": b"torch bfloat16 torch.float16",
        "/p/other.py": b"torch bfloat16, x.dtype == torch.float16, float16_t",
    }
    assert survivors(files, info) == {"/p/made.py": {"R0", "R1"}, "/p/other.py": {"R1"}}


@pytest.mark.usefixtures("without_package")
def test_a_library_needs_all_groups_itself() -> None:
    info = section(((b"setattr",), (b"cuda",)), starts=(b"__main__",))
    files = {
        "/p/tools/__init__.py": b"",
        "/p/tools/devices.py": b"import torch\ncuda",
        "/p/tools/inject.py": b"from . import devices\nimport torch\nsetattr",
        "/p/tools/run.py": b"from . import devices\nimport torch\nsetattr\n__main__",
        "/p/script.py": b"from tools import devices\nimport torch\nsetattr",
    }
    assert set(survivors(files, info)) == {"/p/tools/run.py", "/p/script.py"}


@pytest.mark.usefixtures("without_package")
@pytest.mark.parametrize("starts", [(), (b"optim",)])
def test_a_file_without_needles_may_start_a_program(starts: tuple[bytes, ...]) -> None:
    info = section(((b"setattr",), (b"cuda",)), starts=starts)
    files = {
        "/p/tools/__init__.py": b"",
        "/p/tools/devices.py": b"import torch\ncuda",
        "/p/tools/inject.py": b"from . import devices\nimport torch\nsetattr",
        "/p/tools/names.py": b"from . import inject\nNAMES = ['inject']\n",
        "/p/tools/again.py": b"from . import inject\nif __name__ == '__main__':\n    inject.it()\n",
        "/p/main.py": b"from tools import inject\nif __name__ == '__main__':\n    inject.it()\n",
        "/p/top.py": b"import torch\nfrom tools.inject import Trainer\nTrainer().fit()\n",
        "/p/other.py": b"import json\nif __name__ == '__main__':\n    print(json)\n",
        "/p/list.py": b"from tools import inject\nALL = [inject]\n",
    }
    # A package's own modules and what only names things start nothing, and a start needs its imports.
    assert set(survivors(files, info)) - {"/p/tools/inject.py"} == {"/p/main.py", "/p/top.py"}
