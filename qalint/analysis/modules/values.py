"""What a name can hold, as far as modules, parameters and tensors are concerned.

An unknown is a term: `Unknown("args.fp16")` met twice is the same unknown, so that guards that
agree are seen to agree. Modules and parameters have identity; everything else is plain data.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ...file import File

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
LONGEST_TERM = 160


class Site(NamedTuple):
    """A node and the file that it stands in."""

    node: ast.AST
    file: File


class Value:
    """Base of all values."""

    __slots__ = ()

    @property
    def term(self) -> str:
        """A name for the value: equal terms are equal values."""
        return f"{type(self).__name__}@{id(self):x}"


class Unknown(Value):
    """A value from outside. `name_of` is the module whose dotted name it is, if it is one;
    `strings` are the constant strings that took part in computing it (`"c_attn" in name`).
    """

    __slots__ = ("_term", "cond", "device", "floor", "name_of", "strings", "tests")

    def __init__(
        self,
        term: str,
        *,
        name_of: Mod | None = None,
        strings: frozenset[str] = frozenset(),
        tests: tuple[Test, ...] = (),
        floor: Site | None = None,
    ) -> None:
        self._term = term if len(term) <= LONGEST_TERM else f"#{hash(term)}"
        self.name_of = name_of
        self.strings = strings
        self.tests = tests
        self.floor = floor
        self.cond: Any = None
        """The test that it is the outcome of, if it is one (`interpreter.Cond`)."""
        self.device: Device | None = None
        """The device that it names: an option with a default, unless the user says otherwise, or a text."""

    @property
    def term(self) -> str:
        """See `Value`."""
        return self._term


class Test(NamedTuple):
    """A test of a module's layer type: `kind` is `is`, `has` (hasattr) or `name`."""

    module: Mod
    types: frozenset[str]
    kind: str
    site: Site


class Const(Value):
    """A constant of the program's text."""

    __slots__ = ("site", "value")

    def __init__(self, value: Any, site: Site | None = None) -> None:
        self.value = value
        self.site = site

    @property
    def term(self) -> str:
        """See `Value`."""
        return repr(self.value)


class Lib(Value):
    """Something of a library, by its qualified name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def term(self) -> str:
        """See `Value`."""
        return self.name


class Bound(Value):
    """A method or attribute of a value that is called or read later: `model.parameters`."""

    __slots__ = ("base", "name", "node")

    def __init__(self, base: Value, name: str, node: ast.AST | None = None) -> None:
        self.base = base
        self.name = name
        self.node = node

    @property
    def term(self) -> str:
        """See `Value`."""
        return f"{self.base.term}.{self.name}"


class Seq(Value):
    """A list, tuple, set or dict's values. `open`: it may hold more than `items`."""

    __slots__ = ("attribute_of", "items", "kind", "open", "site")

    def __init__(
        self, items: Iterable[Value], kind: str = "list", *, open: bool = False, site: Site | None = None
    ) -> None:
        self.items = list(items)
        self.kind = kind
        self.open = open
        self.site = site
        self.attribute_of: Value | None = None


class Dict(Value):
    """A dict with constant keys; what stands under others is in `rest`."""

    __slots__ = ("open", "pairs", "rest", "site")

    def __init__(self, pairs: dict[Any, Value], rest: list[Value], site: Site | None = None) -> None:
        self.pairs = pairs
        self.rest = rest
        self.open = False
        self.site = site

    def values(self) -> list[Value]:
        """All values that it is seen to hold."""
        return [*self.pairs.values(), *self.rest]


class Scope:
    """The names of a module, function or class body."""

    __slots__ = ("file", "globals", "kind", "parent", "vars")

    def __init__(self, file: File, parent: Scope | None, kind: str) -> None:
        self.file = file
        self.parent = parent
        self.kind = kind
        self.vars: dict[str, Value] = {}
        self.globals: set[str] = set()


class Func(Value):
    """A function of the program, with the scope it was defined in and the object it is bound to."""

    __slots__ = ("defaults", "node", "owner", "receiver", "scope")

    def __init__(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda,
        scope: Scope,
        defaults: dict[str, Value],
        receiver: Value | None = None,
        owner: Class | None = None,
    ) -> None:
        self.node = node
        self.scope = scope
        self.defaults = defaults
        self.receiver = receiver
        self.owner = owner

    @property
    def name(self) -> str:
        """The name in its definition, or `lambda`."""
        return "lambda" if isinstance(self.node, ast.Lambda) else self.node.name

    def bind(self, receiver: Value) -> Func:
        """This function as a method of `receiver`."""
        return Func(self.node, self.scope, self.defaults, receiver, self.owner)


class Class(Value):
    """A class of the program."""

    __slots__ = ("bases", "members", "node", "scope")

    def __init__(
        self, node: ast.ClassDef, scope: Scope, bases: list[Value], members: dict[str, Value]
    ) -> None:
        self.node = node
        self.scope = scope
        self.bases = bases
        self.members = members

    @property
    def name(self) -> str:
        """The name in its definition."""
        return self.node.name

    def find(self, name: str, *, skip_self: bool = False) -> Value | None:
        """The member `name`, looked up through the bases in order."""
        if not skip_self and name in self.members:
            return self.members[name]
        for base in self.bases:
            if isinstance(base, Class) and (found := base.find(name)) is not None:
                return found
        return None

    def fields(self) -> dict[str, tuple[ast.expr | None, Scope]]:
        """The annotated fields, as a constructor made of them takes them in order, with their defaults."""
        found: dict[str, tuple[ast.expr | None, Scope]] = {}
        for base in reversed(self.bases):
            if isinstance(base, Class):
                found.update(base.fields())
        for item in self.node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                found[item.target.id] = (item.value, self.scope)
        return found

    def roots(self) -> list[str]:
        """The qualified names of the library classes it derives from, nearest first."""
        found: list[str] = []
        for base in self.bases:
            if isinstance(base, Lib):
                found.append(base.name)
            elif isinstance(base, Class):
                found.extend(base.roots())
            else:
                found.append("?")
        return found


class Thing(Value):
    """Something with identity: where it was made and what it was called first."""

    __slots__ = ("attrs", "name", "site", "stack", "time")

    def __init__(self, site: Site | None, time: int) -> None:
        self.site = site
        self.name = ""
        self.time = time
        self.attrs: dict[str, Value] = {}
        self.stack: tuple[Site, ...] = ()


class Obj(Thing):
    """An instance of a class of the program that is no module."""

    __slots__ = ("cls",)

    def __init__(self, cls: Class, site: Site | None, time: int) -> None:
        super().__init__(site, time)
        self.cls = cls


class Cell(Thing):
    """What has a history of dtype, device and requires_grad: modules and parameters.

    `holders` are the modules it was put into, with the time: what happens to them later happens to it.
    """

    __slots__ = ("history", "holders")

    def __init__(self, site: Site | None, time: int) -> None:
        super().__init__(site, time)
        self.history: list[Any] = []
        self.holders: list[tuple[Cell, int]] = []


class Mod(Cell):
    """A module: an instance of a class of the program (`cls`), or of a library's (`qual`), or a
    part of another (`parent`, `path`; `*` for one met while walking over it).
    """

    __slots__ = (
        "args",
        "cls",
        "elements",
        "family",
        "known",
        "loaded",
        "model_id",
        "parent",
        "parts",
        "passed",
        "path",
        "qual",
    )

    def __init__(
        self,
        site: Site | None,
        time: int,
        *,
        qual: str | None = None,
        cls: Class | None = None,
        parent: Mod | None = None,
        path: str = "",
    ) -> None:
        super().__init__(site, time)
        self.qual = qual
        self.cls = cls
        self.parent = parent
        self.path = path
        self.args: dict[str, Value] = {}
        self.elements: list[Value] = []
        self.family: str | None = None
        self.model_id: Site | None = None
        self.loaded = False
        """It came from a loader or constructor in sight (not from a parameter)."""
        self.known = False
        """Its attributes are all in sight (made by a constructor that was followed)."""
        self.parts: dict[str, Mod] = {}
        self.passed: tuple[Any, ...] = ()
        """The tests that it passed when it was put into a list (guards)."""
        if parent is not None:
            self.holders.append((parent, time))

    @property
    def root(self) -> Mod:
        """The model that it is a part of, or itself."""
        here: Mod = self
        for _ in range(24):
            above = here.parent or next(
                (holder for holder, _ in here.holders if isinstance(holder, Mod) and holder is not here), None
            )
            if above is None or above is self:
                break
            here = above
        return here

    @property
    def full_path(self) -> str:
        """Its path in the model that it is a part of, as far as known."""
        names: list[str] = []
        here: Mod | None = self
        while here is not None and here.parent is not None and len(names) < 24:
            names.append(here.path)
            here = here.parent
        return ".".join(reversed(names))

    @property
    def kind(self) -> str:
        """The last part of its class's name, as far as known."""
        if self.cls is not None:
            return self.cls.name
        return (self.qual or "").rsplit(".", 1)[-1]


class Param(Cell):
    """A parameter (or, with name `*`, each parameter of a walk over `owner`)."""

    __slots__ = ("dims", "fill", "owner", "select", "tensor_of")

    def __init__(self, site: Site | None, time: int) -> None:
        super().__init__(site, time)
        self.owner: Mod | None = None
        self.dims: tuple[Value, ...] | None = None
        self.fill: str | None = None
        self.select: Params | None = None
        self.tensor_of: str | None = None


class Params(Value):
    """The parameters of a module, or some of them: `filters` holds `trainable`, `named`, `other`."""

    __slots__ = ("filters", "module", "named", "once", "site", "strings", "what")

    def __init__(
        self,
        module: Mod,
        filters: frozenset[str] = frozenset(),
        *,
        named: bool = False,
        once: bool = False,
        site: Site | None = None,
        strings: frozenset[str] = frozenset(),
    ) -> None:
        self.module = module
        self.filters = filters
        self.named = named
        self.once = once
        self.site = site
        self.strings = strings


class Walk(Value):
    """`named_modules()` and its kin over `module`. `listed`: a list was made of it first."""

    __slots__ = ("kind", "listed", "module", "site")

    def __init__(self, module: Mod, kind: str, site: Site, *, listed: bool = False) -> None:
        self.module = module
        self.kind = kind
        self.listed = listed
        self.site = site


class Device(Value):
    """A device: the kinds it can be (`cuda`, `cpu`), and a term that tells equal ones."""

    __slots__ = ("_term", "kinds")

    def __init__(self, kinds: frozenset[str], term: str) -> None:
        self.kinds = kinds
        self._term = term

    @property
    def term(self) -> str:
        """See `Value`."""
        return self._term


class Tensor(Value):
    """A tensor. `chain` are the own matrices it was multiplied by since the input; `source` says
    where it came from (`input`, `factory`, `batch`, `model`, `weight`); `sums` are the promotions that
    made it FP32 and that no cast has taken back. `used` are the layers and parameters that it was computed
    with since the forward of a class of the program began.
    """

    __slots__ = (
        "chain",
        "device",
        "dims",
        "dtype",
        "fill",
        "grad",
        "rank0",
        "site",
        "source",
        "sums",
        "used",
        "weights",
    )

    def __init__(
        self,
        dtype: str | None = None,
        device: Device | None = None,
        *,
        site: Site | None = None,
        source: str = "",
        dims: tuple[Value, ...] | None = None,
        fill: str | None = None,
        rank0: bool = False,
        chain: tuple[Any, ...] = (),
        weights: tuple[tuple[Cell, bool], ...] = (),
    ) -> None:
        self.dtype = dtype
        self.device = device
        self.site = site
        self.source = source
        self.dims = dims
        self.fill = fill
        self.rank0 = rank0
        self.chain = chain
        self.weights = weights
        self.grad = False
        self.sums: tuple[Any, ...] = ()
        self.used: frozenset[Cell] = frozenset()

    def copy(self, **changes: Any) -> Tensor:
        """The same with some fields changed."""
        new = Tensor.__new__(Tensor)
        for slot in Tensor.__slots__:
            setattr(new, slot, changes.get(slot, getattr(self, slot)))
        return new


class Array(Value):
    """An array of numpy's, of a known dtype."""

    __slots__ = ("dtype", "site")

    def __init__(self, dtype: str | None, site: Site) -> None:
        self.dtype = dtype
        self.site = site


class Shape(Value):
    """`layer.weight.shape`."""

    __slots__ = ("layer", "site")

    def __init__(self, layer: Mod, site: Site) -> None:
        self.layer = layer
        self.site = site


class Dim(Value):
    """One dimension of a layer's weight: `role` is `in` or `out` where the layer's type is known."""

    __slots__ = ("index", "kind", "layer", "role", "site")

    def __init__(self, layer: Mod, index: int | None, role: str | None, kind: str, site: Site) -> None:
        self.layer = layer
        self.index = index
        self.role = role
        self.kind = kind
        self.site = site

    @property
    def term(self) -> str:
        """See `Value`."""
        return f"{self.layer.term}.{self.role or self.index}"


class Optim(Thing):
    """An optimizer: `params` are what it was given, groups flattened."""

    __slots__ = ("params", "qual")

    def __init__(self, site: Site, time: int, qual: str, params: list[Value]) -> None:
        super().__init__(site, time)
        self.qual = qual
        self.params = params


class Loader(Value):
    """A data loader: its elements are batches on the CPU, unless what makes them moves them. `plain`: the
    parts of a batch are tensors (a `collate_fn` may make anything).
    """

    __slots__ = ("moved", "plain", "site")

    def __init__(self, site: Site, moved: bool = False, *, plain: bool = True) -> None:
        self.site = site
        self.moved = moved
        self.plain = plain


class Batch(Value):
    """A batch of a loader or a part of one, or (`kind`) what a tokenizer gives: an unknown structure of
    CPU tensors.
    """

    __slots__ = ("kind", "moved", "plain", "site")

    def __init__(self, site: Site, moved: bool = False, kind: str = "", *, plain: bool = True) -> None:
        self.site = site
        self.moved = moved
        self.kind = kind
        self.plain = plain


class Tokenizer(Value):
    """A tokenizer or processor of transformers."""

    __slots__ = ("site",)

    def __init__(self, site: Site) -> None:
        self.site = site


class Choice(Value):
    """A dropdown or radio button of a notebook: its value is one of the options."""

    __slots__ = ("options",)

    def __init__(self, options: tuple[Value, ...]) -> None:
        self.options = options


class Clock(Value):
    """A reading of the clock."""

    __slots__ = ("site", "time")

    def __init__(self, site: Site, time: int) -> None:
        self.site = site
        self.time = time


class Union(Value):
    """One of several values, which path decides."""

    __slots__ = ("options",)

    def __init__(self, options: tuple[Value, ...]) -> None:
        self.options = options

    @property
    def term(self) -> str:
        """See `Value`."""
        return "|".join(sorted(option.term for option in self.options))[:LONGEST_TERM]


def join(first: Value | None, second: Value | None) -> Value:
    """One of the two; None stands for "not bound on that path", and what no path binds is unknown."""
    if first is None or second is None or first is second:
        return first or second or Unknown("")
    if not isinstance(first, Union) and not isinstance(second, Union):
        return first if first.term == second.term else Union((first, second))
    options: list[Value] = []
    for value in (first, second):
        for option in value.options if isinstance(value, Union) else (value,):
            if all(option is not other and option.term != other.term for other in options):
                options.append(option)
    if len(options) == 1:
        return options[0]
    return Union(tuple(options[:6]))


def each(value: Value) -> tuple[Value, ...]:
    """The options of a union, or the value itself."""
    return value.options if isinstance(value, Union) else (value,)
