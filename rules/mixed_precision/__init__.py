"""Section 11: mixed precision training."""

from __future__ import annotations

from qalint.rule import Section

section = Section("11", "Mixed precision training", ())
