"""Section 17: GPU patterns."""

from __future__ import annotations

from qalint.rule import Section

section = Section("17", "GPU patterns", ())
