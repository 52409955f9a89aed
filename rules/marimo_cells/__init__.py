"""Section 13: passing variables and showing output."""

from __future__ import annotations

from qalint.rule import Section

section = Section("13", "Passing variables and showing output", ())
