"""The first tier: which rules the bytes of a program leave."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qalint import needles
from qalint.needles import Lookup, Mask, Needles, imported_names, may_suppress
from qalint.registry import SectionInfo


def section(*rules: tuple[tuple[bytes, ...], ...], program: bool = True) -> SectionInfo:
    """A section whose rules R0, R1, ... have these groups of their own, and `torch` as the section's."""
    codes = tuple(f"R{number}" for number in range(len(rules)))
    return SectionInfo("99", "", "", "", codes, ((b"torch",),), (), program, rules)


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
