"""Section 12: LoRA."""

from __future__ import annotations

from qalint.rule import Section

section = Section("12", "LoRA", ())
