"""Section 15: installing dependencies."""

from __future__ import annotations

from qalint.rule import Section

section = Section("15", "Installing dependencies", ())
