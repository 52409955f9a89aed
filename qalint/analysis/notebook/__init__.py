"""marimo notebooks: cells, the names that cross them, the order in which they run.

`Notebook.of(file)` is None for everything that is no marimo notebook. What marimo does is the
measure (its semantics are in the rules' pages); marimo itself is never imported, only the tests
hold this analysis against it.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from ...source import Source, Span
from .cells import (
    Cell,
    app_names,
    ends_with_semicolon,
    markdown_cells,
    python_cells,
    statement_span,
    strings_of,
)
from .display import (
    Display,
    Function,
    Shown,
    bindings,
    blocks_of,
    dotted,
    is_effect,
    is_name,
    returned_by,
    tails,
    walk_statements,
)
from .scope import Import, Scope, Use, is_private, name_nodes, scope_of

if TYPE_CHECKING:
    from ...file import File
    from ...rule import Place

BUILTINS = frozenset(dir(builtins)) | {
    "__file__", "__builtins__", "__builtin__", "__class__", "__doc__", "__name__", "__package__",
    "__loader__", "__spec__", "__debug__", "__marimo__", "__annotations__",
}  # fmt: skip
"""Names that are there without anybody binding them."""

CONVENTIONAL = {
    "mo": "marimo", "plt": "matplotlib.pyplot", "pd": "pandas", "pl": "polars", "np": "numpy",
    "px": "plotly.express", "go": "plotly.graph_objects", "alt": "altair", "sns": "seaborn",
}  # fmt: skip
"""What a name stands for where nothing in the notebook binds it: drafts forget the import."""


class Notebook:
    """One marimo notebook. `cells` in file order, `outside` the module code that is in no cell."""

    def __init__(self, file: File, cells: list[Cell], outside: list[ast.stmt]) -> None:
        self.file = file
        self.source = file.source
        self.cells = cells
        self.outside = outside
        self._definers: dict[str, list[Cell]] = {}
        self._private: dict[str, list[Cell]] = {}
        self._readers: dict[str, list[Cell]] = {}
        for cell in cells:
            for name in cell.bound:
                table = self._private if name in cell.private else self._definers
                table.setdefault(name, []).append(cell)
            for name in cell.refs - cell.bound:
                self._readers.setdefault(name, []).append(cell)
        self.memo: dict[str, Any] = {}
        """What rules compute once for the notebook and share, by a name of theirs."""
        self._mentions: dict[int, set[str]] = {}
        self._sql: dict[int, set[str]] = {}
        self._imports: dict[int, dict[str, str]] = {}
        self._all_names: set[str] | None = None
        self._parents: dict[int, list[Cell]] = {}
        self._displays: dict[int, Display] = {}
        self._returned: dict[tuple[int, str], Shown | None] = {}
        self._outside_scope: Scope | None = None
        self._shared_imports: dict[str, str] | None = None

    @classmethod
    def of(cls, file: File) -> Self | None:
        """The notebook that `file` is, or None."""
        source = file.source
        if source.kind == "jupyter":
            return None
        if source.kind == "markdown":
            return cls(file, markdown_cells(source, file.tree), []) if source.blocks else None
        if "marimo" not in source.text or "App" not in source.text:
            return None
        apps = app_names(file.tree)
        if not apps:
            return None
        cells, outside = python_cells(source, file.tree, apps)
        return cls(file, cells, outside)

    # Names across cells.

    def definers(self, name: str) -> list[Cell]:
        """The cells whose public name this is, in file order (more than one is a fault)."""
        return self._definers.get(name, [])

    def private_definers(self, name: str) -> list[Cell]:
        """The cells that bind this private name, each for itself."""
        return self._private.get(name, [])

    def readers(self, name: str) -> list[Cell]:
        """The cells that read `name` and do not bind it, in file order."""
        return self._readers.get(name, [])

    def mentions(self, cell: Cell) -> set[str]:
        """The words in the cell's strings: names that SQL, `globals()[...]` or a template may use."""
        if cell.number not in self._mentions:
            texts = [cell.sql, *strings_of(list(cell.body))]
            self._mentions[cell.number] = {word for text in texts for word in re.findall(r"\w+", text)}
        return self._mentions[cell.number]

    def sql_reads(self, cell: Cell) -> set[str]:
        """The words of the cell's SQL, which can name data frames of other cells."""
        if cell.number in self._sql:
            return self._sql[cell.number]
        texts = [cell.sql] if cell.sql else []
        for statement in cell.body:
            for node in ast.walk(statement):
                match node:
                    case ast.Call(func=ast.Attribute(attr="sql" | "execute" | "query"), args=[first, *_]):
                        texts.extend(strings_of([ast.Expr(first)]))
                    case _:
                        pass
        self._sql[cell.number] = {word for text in texts for word in re.findall(r"\w+", text)}
        return self._sql[cell.number]

    def is_bound(self, name: str) -> bool:
        """Whether any cell binds `name` publicly, or it is a builtin."""
        return name in BUILTINS or name in self._definers

    @property
    def outside_names(self) -> dict[str, list[Use]]:
        """What module code outside the cells binds: no cell can read it when marimo runs the notebook."""
        if self._outside_scope is None:
            self._outside_scope = scope_of(self.outside)
        return self._outside_scope.stores

    @property
    def all_names(self) -> set[str]:
        """Every name that occurs anywhere in the notebook: what a new name must not collide with."""
        if self._all_names is not None:
            return self._all_names
        names = set(self._definers) | set(self._private) | set(self._readers) | set(self.outside_names)
        for cell in self.cells:
            for statement in cell.body:
                for node in ast.walk(statement):
                    match node:
                        case ast.Name(id=name) | ast.arg(arg=name):
                            names.add(name)
                        case _:
                            pass
        self._all_names = names
        return names

    # What names stand for.

    def imported(self, cell: Cell | None) -> dict[str, str]:
        """What the imported names that `cell` can see stand for, as qualified names.

        Imports of module code outside the cells count: the author meant them.
        """
        if self._shared_imports is None:
            shared = {name: meaning for name, meaning in CONVENTIONAL.items() if name not in self._definers}
            scope = scope_of(self.outside)
            for found in scope.imports:
                shared[found.name] = found.qualified
            for other in self.cells:
                for found in other.imports:
                    if not is_private(found.name):
                        shared[found.name] = found.qualified
            self._shared_imports = shared
            for other in self.cells:
                shared.update(
                    (name, meaning) for name, meaning in self._parts(other).items() if not is_private(name)
                )
        if cell is None:
            return self._shared_imports
        if cell.number not in self._imports:
            own = {found.name: found.qualified for found in cell.imports} | self._parts(cell)
            self._imports[cell.number] = {**self._shared_imports, **own} if own else self._shared_imports
        return self._imports[cell.number]

    def _parts(self, cell: Cell) -> dict[str, str]:
        """The names that the cell gives to parts of marimo: `ui = mo.ui`, `note = mo.callout`."""
        found: dict[str, str] = {}
        for target, value in bindings(cell.body):
            if isinstance(target, ast.Name) and isinstance(value, ast.Attribute):
                qualified = dotted(value)
                root, _, rest = qualified.partition(".")
                meaning = (self._shared_imports or {}).get(root)
                meaning = next((each.qualified for each in cell.imports if each.name == root), meaning)
                if meaning == "marimo" and len(cell.stores(target.id)) == 1 and target.id != root:
                    found[target.id] = f"marimo.{rest}"
        return found

    @property
    def alias(self) -> set[str]:
        """The names that marimo goes by, wherever in the notebook it is imported."""
        names = {name for name, meaning in self.imported(None).items() if meaning == "marimo"}
        for cell in self.cells:
            names.update(found.name for found in cell.imports if found.qualified == "marimo")
        return names

    def alias_for(self, cell: Cell) -> str | None:
        """The name by which `cell` calls marimo (`mo`); None where the notebook neither has nor uses one."""
        names = [name for name, meaning in self.imported(cell).items() if meaning == "marimo"]
        own = [name for name in names if name in cell.bound or name in self._definers]
        return next(iter(own or [name for name in names if self.readers(name)]), None)

    def resolve(self, cell: Cell | None, expr: ast.expr) -> str | None:
        """The qualified name of a dotted expression as far as imports decide it: `marimo.ui.table`."""
        parts: list[str] = []
        while isinstance(expr, ast.Attribute):
            parts.append(expr.attr)
            expr = expr.value
        if not isinstance(expr, ast.Name):
            return None
        root = self.imported(cell).get(expr.id)
        if root is None:
            return None
        return ".".join([root, *reversed(parts)])

    def marimo(self, cell: Cell | None, expr: ast.expr) -> str | None:
        """What `expr` is called inside marimo: `md`, `ui.table`, `status.spinner`; None elsewhere."""
        qualified = self.resolve(cell, expr)
        if qualified is None or not qualified.startswith("marimo."):
            return None
        return qualified.removeprefix("marimo.")

    def display(self, cell: Cell) -> Display:
        """What the expressions of `cell` show."""
        if cell.number not in self._displays:
            self._displays[cell.number] = Display(self, cell)
        return self._displays[cell.number]

    def returned_by(self, name: str, cell: Cell) -> Shown | None:
        """What the notebook's function `name` gives to look at, if it always gives such a thing."""
        function = self.function(name, cell) or self.lambda_of(name, cell)
        if function is None:
            return None
        definer = cell if name in cell.bound else self.definers(name)[0]
        key = (definer.number, name)
        if key not in self._returned:
            self._returned[key] = None  # a function that calls itself gives nothing more
            self._returned[key] = returned_by(self, definer, function)
        return self._returned[key]

    def lambda_of(self, name: str, cell: Cell) -> ast.Lambda | None:
        """The lambda that `name` means in `cell`: bound once."""
        definers = [cell] if name in cell.bound else self.definers(name)
        if len(definers) != 1 or len(definers[0].stores(name)) != 1:
            return None
        values = [value for target, value in bindings(definers[0].body) if is_name(target, name)]
        return values[0] if len(values) == 1 and isinstance(values[0], ast.Lambda) else None

    def method(self, func: ast.Attribute, cell: Cell) -> tuple[Cell, Function] | None:
        """The method that `panel.view` means, where the notebook makes `panel` from a class of its own."""
        made, where = func.value, cell
        if isinstance(made, ast.Name):
            definers = [cell] if made.id in cell.bound else self.definers(made.id)
            if len(definers) != 1 or len(definers[0].stores(made.id)) != 1:
                return None
            where = definers[0]
            found = [value for target, value in bindings(where.body) if is_name(target, made.id)]
            made = found[0] if len(found) == 1 else made
        if not isinstance(made, ast.Call) or not isinstance(made.func, ast.Name):
            return None
        name = made.func.id
        for definer in [where] if name in where.bound else self.definers(name):
            for use in definer.stores(name):
                for each in use.node.body if isinstance(use.node, ast.ClassDef) else ():
                    if isinstance(each, Function) and each.name == func.attr and not each.decorator_list:
                        return definer, each
        return None

    def function(self, name: str, cell: Cell) -> Function | None:
        """The plain function that `name` means in `cell`: bound once, and not decorated."""
        definers = [cell] if name in cell.bound else self.definers(name)
        if len(definers) != 1:
            return None
        stores = definers[0].stores(name)
        if len(stores) != 1 or not isinstance(stores[0].node, Function):
            return None
        if definers[0].kind == "function":
            first = definers[0].body[0]
            return first if isinstance(first, Function) and len(first.decorator_list) == 1 else None
        return None if stores[0].node.decorator_list else stores[0].node

    # The graph.

    def parents(self, cell: Cell) -> list[Cell]:
        """The cells that must run before `cell`: they bind what it reads, or read what it deletes."""
        if cell.number in self._parents:
            return self._parents[cell.number]
        found: set[int] = set()
        for name in cell.refs:
            found.update(definer.number for definer in self.definers(name))
        for name in cell.deleted:
            found.update(reader.number for reader in self.readers(name))
        for name in self.sql_reads(cell):
            found.update(definer.number for definer in self.definers(name))
        found.discard(cell.number)
        parents = [self.cells[number] for number in sorted(found)]
        self._parents[cell.number] = parents
        return parents

    def children(self, cell: Cell) -> list[Cell]:
        """The cells that run again when `cell` did."""
        return [other for other in self.cells if cell in self.parents(other)]

    def ancestors(self, cell: Cell) -> list[Cell]:
        """All cells that `cell` depends on, directly or not, without itself."""
        seen: set[int] = set()
        queue = [cell]
        while queue:
            for other in self.parents(queue.pop()):
                if other.number not in seen and other is not cell:
                    seen.add(other.number)
                    queue.append(other)
        return [self.cells[number] for number in sorted(seen)]

    def run_order(self) -> list[Cell]:
        """The cells as marimo runs them: setup first, then by dependency, else as in the file.

        Cells on a cycle (which marimo refuses to run) come when only such cells are left.
        """
        waiting = {cell.number: {parent.number for parent in self.parents(cell)} for cell in self.cells}
        ordered: list[Cell] = []
        for cell in self.cells:
            if cell.kind == "setup":
                ordered.append(cell)
                waiting.pop(cell.number)
        done = {cell.number for cell in ordered}
        while waiting:
            ready = next((n for n in sorted(waiting) if waiting[n] <= done), None)
            number = min(waiting) if ready is None else ready
            del waiting[number]
            done.add(number)
            ordered.append(self.cells[number])
        return ordered

    def cycles(self) -> list[list[Cell]]:
        """Groups of cells that depend on each other in a circle (names in SQL are not counted)."""
        parents = {
            cell.number: {
                definer.number for name in cell.refs for definer in self.definers(name) if definer is not cell
            }
            | {reader.number for name in cell.deleted for reader in self.readers(name) if reader is not cell}
            for cell in self.cells
        }
        reach: dict[int, set[int]] = {}
        for start in parents:
            seen: set[int] = set()
            queue = list(parents[start])
            while queue:
                number = queue.pop()
                if number not in seen:
                    seen.add(number)
                    queue.extend(parents[number])
            reach[start] = seen
        groups: list[list[Cell]] = []
        used: set[int] = set()
        for start, seen in reach.items():
            if start in seen and start not in used:
                group = sorted(number for number in seen if start in reach[number])
                used.update(group)
                groups.append([self.cells[number] for number in group])
        return groups

    # Places.

    def cell_at(self, offset: int) -> Cell | None:
        """The cell that the position lies in."""
        return next((cell for cell in self.cells if cell.span.start <= offset < cell.span.end + 1), None)

    def place(self, use: Use | ast.AST) -> Place:
        """The place of a name: the name itself where it is part of a larger node."""
        if not isinstance(use, Use):
            return self.file.place(use)
        return self.file.place(self.name_span(use))

    def name_span(self, use: Use) -> Span:
        """Where the name of `use` is written."""
        return name_span(self.source, use)


def name_span(source: Source, use: Use) -> Span:
    """Where the name of `use` is written: in an import the bound name, in a `def` the name after it."""
    node = use.node
    span = source.span(node)
    if isinstance(node, ast.Name):
        return span
    text = source.text[span.start : span.end]
    pattern = rf"\b{re.escape(use.name)}\b"
    matches = list(re.finditer(pattern, text))
    if not matches:
        return span
    found = (
        matches[-1]
        if isinstance(node, ast.alias | ast.MatchAs | ast.MatchStar | ast.MatchMapping)
        else matches[0]
    )
    return Span(span.start + found.start(), span.start + found.end())


def cells_of(notebook: Notebook, *kinds: str) -> Iterator[Cell]:
    """The cells of these kinds, in file order."""
    return (cell for cell in notebook.cells if cell.kind in kinds)


__all__ = [
    "BUILTINS", "Cell", "Display", "Import", "Notebook", "Scope", "Shown", "Use", "bindings", "blocks_of",
    "cells_of", "ends_with_semicolon", "is_effect", "is_name", "is_private", "name_nodes", "name_span",
    "scope_of", "statement_span", "tails", "walk_statements",
]  # fmt: skip
