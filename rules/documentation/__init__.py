"""Section 14: educational documentation."""

from __future__ import annotations

from qalint.rule import Section

section = Section("14", "Educational documentation", ())
