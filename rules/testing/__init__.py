"""Section 9: tests."""

from __future__ import annotations

from qalint.rule import Section

section = Section("09", "Tests", ())
