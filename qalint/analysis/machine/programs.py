"""Programs: which entries a file has, and how its story is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ...file import File
    from .story import Story

S = TypeVar("S", bound="Story")


def tell(file: File, story: type[S]) -> S | None:
    """The story of `file`'s program, or None when nothing in it concerns training."""
    return None
