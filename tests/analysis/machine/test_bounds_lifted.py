"""No finding comes or goes when every bound is lifted: a sample of all fixtures that train."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = 7


def test_the_findings_on_fixtures_depend_on_no_bound() -> None:
    programs = [
        str(path)
        for section in ("mixed_precision", "lora", "gpu")
        for path in sorted((ROOT / "fixtures" / section).glob("*/*.py"))
    ]
    assert len(programs) > 10 * SAMPLE
    command = [sys.executable, str(ROOT / "benchmarks" / "bounds.py"), *programs[::SAMPLE]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 files differ" in done.stdout and ", 0 findings" not in done.stdout
