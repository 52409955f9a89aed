"""Paths as people read them."""

from __future__ import annotations

import os


def readable(path: str) -> str:
    """Relative to the working folder where it lies below, else as it is."""
    base = os.getcwd()
    return os.path.relpath(path, base) if path.startswith(base.rstrip(os.sep) + os.sep) else path
