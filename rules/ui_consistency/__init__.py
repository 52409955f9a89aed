"""Section 16: UI consistency."""

from __future__ import annotations

from qalint.rule import Section

section = Section("16", "UI consistency", ())
