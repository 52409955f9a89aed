"""Attributes that an object of the program surely has not, as `getattr(callback, event, None)` asks for."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..nodes import nodes
from .values import Class, Const, Lib, Obj, Value, each, join

if TYPE_CHECKING:
    from .core import Core
    from .values import Site

PLAIN = ("builtins.object", "abc.", "typing.", "typing_extensions.")
"""Library classes that give their subclasses no attributes of their own."""
ANY = "*"
"""The name of what was set on an object under a name that is not seen."""
OPEN = frozenset({"__getattr__", "__getattribute__", "__dict__", "vars", "setattr"})
"""Where a class has these, what its objects have is not seen."""


def lacks(run: Core, thing: Value, name: str) -> bool:
    """Whether an object has no such attribute, and nothing that the program runs gives it one."""
    if not isinstance(thing, Obj) or not thing.attrs.keys().isdisjoint((name, ANY)) or thing in run.building:
        return False
    if thing.site is None or not isinstance(thing.site.node, ast.Call) or not closed(thing.cls):
        return False
    if thing.cls.find(name) is not None:
        return False
    return not any(name in stored(scope.file.tree) for scope in run.modules.values())


def closed(cls: Class) -> bool:
    """Whether all that a class gives its objects is written in it and in its bases."""
    for base in cls.bases:
        if isinstance(base, Class):
            if not closed(base):
                return False
        elif not isinstance(base, Lib) or not base.name.startswith(PLAIN):
            return False
    known = cls.node.__dict__.get("_closed")
    if known is None:
        known = cls.node.__dict__["_closed"] = not any(
            getattr(node, "id", getattr(node, "attr", getattr(node, "name", ""))) in OPEN
            for node in nodes(*cls.node.body)
        )
    return bool(known)


_stored: WeakKeyDictionary[ast.Module, frozenset[str]] = WeakKeyDictionary()


def stored(tree: ast.Module) -> frozenset[str]:
    """The attributes that a file sets on anything, and the texts in it by which `setattr` could."""
    found = _stored.get(tree)
    if found is None:
        names: set[str] = set()
        for node in nodes(tree):
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setattr":
                names |= {str(one.value) for one in node.args if isinstance(one, ast.Constant)}
        found = _stored[tree] = frozenset(names)
    return found


def got(run: Core, base: Value, name: str, default: Value | None, site: Site) -> Value:
    """`getattr(base, name, default)`."""
    from .torchlib import scope_of

    result: Value | None = None
    for option in each(base):
        if default is not None and lacks(run, option, name):
            result = join(result, default)
        elif not (isinstance(option, Const) and option.value is None and len(each(base)) > 1):
            result = join(result, run.attribute(option, name, site.node, scope_of(run, site)))
    return result or run.fresh("getattr", site.node)
