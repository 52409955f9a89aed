"""Much code of other people: the standard library and installed packages give no internal error.

More of it, millions of lines, is tried outside CI; docs/security.md has the figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from importlib.metadata import packages_distributions
from pathlib import Path

from qalint.testing import lint

LARGEST = 1_500_000
"""Packages with more bytes of Python than this are left to the runs outside CI."""
ENOUGH = 9_000_000
"""How many bytes of Python in packages are tried here."""


def python_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.py"))


def packages() -> list[Path]:
    """Installed packages that are neither tiny nor huge, the smaller ones first."""
    site = Path(sysconfig.get_path("purelib"))
    sizes = {
        site / name: python_bytes(site / name)
        for name in packages_distributions()
        if (site / name / "__init__.py").is_file()
    }
    chosen, total = [], 0
    for path, size in sorted(sizes.items(), key=lambda item: item[1]):
        if 20_000 < size < LARGEST and (total := total + size) < ENOUGH:
            chosen.append(path)
    return chosen


def test_the_standard_library():
    """Every rule, as a user runs it; what cannot be checked cannot be read by Python either."""
    folder = sysconfig.get_path("stdlib")
    options = ["--isolated", "--no-cache", "--no-respect-gitignore", "--min-confidence", "low", "--preview"]
    options += ["--extend-select", "ALL", "--exclude", "site-packages", "--exclude", "dist-packages"]
    done = subprocess.run(
        [sys.executable, "-m", "qalint", "check", *options, "--output-format", "json", folder],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("QALINT_")},
    )
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    assert [item for item in found if item["code"] == "QA0003"] == []
    for item in found:
        if item["code"] == "QA0001":
            assert "coding comment" in item["message"] or "not valid UTF-8" in item["message"], item


def test_installed_packages():
    """Every rule on every file of twenty packages, whatever the needles and gates say of it."""
    tried = packages()
    assert len(tried) >= 20
    found = lint(map(str, tried), filters=False, extend_select=["ALL"], preview=True)
    bad = [item for item in found if item.code in ("QA0001", "QA0003")]
    assert [(item.filename, item.message) for item in bad if "is not valid" not in item.message] == []
