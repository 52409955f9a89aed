"""Calls that were followed once, did nothing, and need not be followed again.

Asking whether a package is there, comparing versions or reading the environment is done hundreds of
times in a large library, and nothing happens to a module, parameter or tensor. A call is known by its
function and the terms of what it was given, and only where all of that is plain: what has an identity
may have changed since.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

from .events import Guard
from .values import Class, Const, Device, Dict, Func, Lib, Obj, Scope, Seq, Union, Unknown, Value

Key = tuple[Hashable, ...]
PLAIN = (Const, Unknown, Lib, Device)


class Known(NamedTuple):
    """What a call gave, or the attributes of the instance that it made."""

    asked: dict[str, bool | None]
    """The terms whose truth it asked for, with what the path knew of them when the call began."""
    value: Value | None
    attrs: dict[str, Value]
    scope: Scope
    """Kept so that no other scope takes its identity, which is a part of the key."""


def is_plain(value: Value) -> bool:
    """Whether a value has no identity and cannot change."""
    return isinstance(value, PLAIN) or (isinstance(value, Union) and all(map(is_plain, value.options)))


def anew(attrs: dict[str, Value]) -> dict[str, Value] | None:
    """The attributes of another instance that is made in the same way; None where they share what may change.

    What a class keeps for all its instances (`self.__dict__ = ...`) is shared by nature.
    """
    made: dict[str, Value] = {}
    for name, value in attrs.items():
        if is_plain(value) or name == "__dict__":
            made[name] = value
        elif isinstance(value, Seq) and value.attribute_of is None and all(map(is_plain, value.items)):
            made[name] = Seq(value.items, value.kind, open=value.open, site=value.site)
        elif isinstance(value, Dict) and all(map(is_plain, value.values())):
            made[name] = copy = Dict(dict(value.pairs), list(value.rest), value.site)
            copy.open = value.open
        else:
            return None
    return made


class Repeats:
    """The calls of a program that did nothing."""

    def __init__(self) -> None:
        self._known: dict[Key, Known] = {}

    @staticmethod
    def key(what: Func | Class, args: Sequence[Value], kwargs: dict[str, Value]) -> Key | None:
        """The key of a call; None where something that it is given may change."""
        if isinstance(what, Func) and what.receiver is not None:
            return None
        if not all(map(is_plain, args)) or not all(map(is_plain, kwargs.values())):
            return None
        given = tuple(value.term for value in args)
        named = tuple((name, value.term) for name, value in sorted(kwargs.items()))
        return (what.node, id(what.scope), given, named)

    def find(self, key: Key, guards: Iterable[Guard]) -> Known | None:
        """What is known of such a call, if this path knows the same of all that it asks."""
        known = self._known.get(key)
        if known is None:
            return None
        if known.asked:
            outcomes = {guard.key: guard.outcome for guard in guards}
            if any(outcomes.get(term) is not outcome for term, outcome in known.asked.items()):
                return None
        return known

    def keep(self, key: Key, guards: Iterable[Guard], asked: set[str], value: Value, scope: Scope) -> None:
        """A call did nothing and gave `value`."""
        attrs = anew(value.attrs) if isinstance(value, Obj) else {} if is_plain(value) else None
        if attrs is None:
            return
        outcomes = {guard.key: guard.outcome for guard in guards} if asked else {}
        known = {term: outcomes.get(term) for term in asked}
        self._known[key] = Known(known, None if isinstance(value, Obj) else value, attrs, scope)
