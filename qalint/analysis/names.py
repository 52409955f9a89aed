"""Scopes, imports and qualified names."""

from __future__ import annotations

import ast
from typing import Self

from ..file import File


class Names:
    """What the names of one file mean.

    `resolve(expr)` is the qualified name of a name or attribute chain as far as imports decide it:
    after `from torch import amp as a`, `a.GradScaler` is `torch.amp.GradScaler`. None where the
    root is rebound, local, or not imported.
    """

    def __init__(self, file: File) -> None:
        self.file = file

    @classmethod
    def of(cls, file: File) -> Self:
        """The names of `file`."""
        return cls(file)

    def resolve(self, expr: ast.expr) -> str | None:
        """The qualified name that `expr` stands for, or None."""
        raise NotImplementedError
