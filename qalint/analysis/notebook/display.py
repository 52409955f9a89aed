"""What a cell shows: which expressions build something to look at, and which of them marimo displays.

marimo displays one thing a cell: its last top-level statement, if that is a bare expression not
ended by a semicolon. DISPLAY expressions anywhere else build their object and lose it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from .cells import Cell
from .scope import is_private

if TYPE_CHECKING:
    from . import Notebook

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYOUT = _words(
    "md callout vstack hstack accordion tabs Html as_html image image_compare mermaid stat tree json plain "
    "plain_text latex carousel center left right sidebar download iframe pdf video audio show_code inspect "
    "outline nav_menu lazy grid routes"
)
"""Functions of the marimo module that build something to look at."""

INPUTS = _words(
    "slider range_slider number text text_area dropdown multiselect checkbox switch radio button run_button "
    "date datetime date_range datetime_range time file file_browser code_editor microphone form refresh "
    "batch array dictionary"
)
"""Elements of `mo.ui` through which the reader says something."""

HTML_METHODS = _words("callout center left right style batch form lazy")

FIGURES = {
    "matplotlib.pyplot": _words("figure gcf gca subplots subplot axes subplot_mosaic"),
    "matplotlib.figure": _words("Figure"),
    "plotly.graph_objects": _words("Figure FigureWidget"),
    "plotly.graph_objs": _words("Figure FigureWidget"),
    "plotly.subplots": _words("make_subplots"),
    "altair": _words("Chart layer hconcat vconcat concat repeat LayerChart HConcatChart VConcatChart"),
    "plotnine": _words("ggplot"),
    "lets_plot": _words("ggplot"),
    "bokeh.plotting": _words("figure"),
    "folium": _words("Map"),
    "graphviz": _words("Digraph Graph"),
    "great_tables": _words("GT"),
    "seaborn": _words("relplot displot catplot lmplot pairplot jointplot clustermap FacetGrid PairGrid"),
}
"""Calls that make a figure."""

FRAMES = {
    "pandas": re.compile(r"DataFrame|Series|read_\w+|concat|merge|pivot_table|crosstab|json_normalize|melt"),
    "polars": re.compile(r"DataFrame|LazyFrame|Series|read_\w+|scan_\w+|concat|from_\w+"),
    "duckdb": re.compile(r"sql|query|from_df|read_\w+"),
    "marimo": re.compile(r"sql"),
}
"""Calls that make a data frame."""

FRAME_METHODS = _words(
    "head tail describe sample sort_values sort sort_index value_counts groupby agg aggregate reset_index "
    "set_index rename drop dropna fillna drop_duplicates assign query merge join pivot pivot_table melt "
    "nlargest nsmallest corr cov round transpose select filter with_columns group_by limit collect copy "
    "astype isna isnull sum mean median count nunique loc iloc T to_frame unique slice explode unstack stack "
    "style highlight_max highlight_min background_gradient set_caption set_properties"
)
"""Methods and attributes of a data frame that give another one and change nothing."""

EFFECTS = _words(
    "print append extend insert remove discard clear sort reverse write close info debug warning show "
    "savefig save put stop"
)
"""Functions and methods that give nothing to look at."""

ALTAIR_EFFECTS = _words("save show display to_dict to_json serve")


class Shown(NamedTuple):
    """Something to look at.

    `kind`: `layout` (Markdown, callouts, stacks), `input`, `widget` (another `mo.ui` element),
    `figure`, `axes` or `frame`. `what` names it for people. `lost_ui`: an element of `mo.ui` is made
    inside it without a public name, so that it works only if the whole is bound to one.
    """

    kind: str
    what: str
    lost_ui: bool = False


class Display:
    """What the expressions of one cell show, or those of a function with the body `body` in it."""

    def __init__(self, notebook: Notebook, cell: Cell, body: list[ast.stmt] | None = None) -> None:
        self.notebook = notebook
        self.cell = cell
        self.body = cell.body if body is None else body
        self._names: dict[str, Shown | None] = {}

    # Expressions

    def of(self, expr: ast.expr | None) -> Shown | None:
        """What `expr` would show, or None where that is unknown or nothing."""
        match expr:
            case ast.Call():
                return self._call(expr)
            case ast.Name(id=name):
                return self.named(name)
            case ast.IfExp(body=body, orelse=orelse):
                return self.of(body) or self.of(orelse)
            case ast.BoolOp(values=values):
                return next((shown for value in values if (shown := self.of(value))), None)
            case ast.NamedExpr(value=value) | ast.Await(value=value):
                return self.of(value)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return self._group(elements)
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element):
                return self._group([element])
            case ast.BinOp(left=left, right=right):
                shown = self.of(left) or self.of(right)
                return shown if shown is not None and shown.kind == "figure" else None
            case ast.Subscript(value=value):
                shown = self.of(value)
                return shown if shown is not None and shown.kind == "frame" else None
            case ast.Attribute(value=value, attr=attr):
                shown = self.of(value)
                if shown is not None and shown.kind == "frame" and attr in FRAME_METHODS:
                    return shown
        return None

    def named(self, name: str) -> Shown | None:
        """What the name holds: bound in this cell, else in the cell that defines it."""
        if name in self._names:
            return self._names[name]
        self._names[name] = None  # a name defined by itself is unknown
        shown = self._bound(name)
        if shown is None and name not in self.cell.bound and not is_private(name):
            for definer in self.notebook.definers(name):
                shown = shown or self.notebook.display(definer).named(name)
        if shown is not None:
            shown = shown._replace(what=name, lost_ui=shown.lost_ui and is_private(name))
        self._names[name] = shown
        return shown

    def _bound(self, name: str) -> Shown | None:
        for target, value in bindings(self.body):
            shown: Shown | None = None
            if isinstance(target, ast.Name) and target.id == name:
                shown = self.of(value)
            elif isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Call):
                shown = self._unpacked(name, target, value)
            if shown is not None:
                private = is_private(name)
                holds = shown.lost_ui or (private and shown.kind in ("input", "widget"))
                return shown._replace(lost_ui=holds)
        return self._looped(name)

    def _looped(self, name: str) -> Shown | None:
        """What a loop variable holds, where the loop goes over a list or dictionary of such things."""
        for statement in walk_statements(self.body):
            match statement:
                case ast.For(target=ast.Name(id=item), iter=ast.Name(id=over)) if item == name:
                    return self._held(over)
                case ast.For(
                    target=ast.Name(id=item),
                    iter=ast.Call(func=ast.Attribute(value=ast.Name(id=over), attr="values")),
                ) if item == name:
                    return self._held(over)
                case ast.For(
                    target=ast.Tuple(elts=[_, ast.Name(id=item)]),
                    iter=ast.Call(func=ast.Attribute(value=ast.Name(id=over), attr="items"))
                    | ast.Call(func=ast.Name(id="enumerate"), args=[ast.Name(id=over)]),
                ) if item == name:
                    return self._held(over)
                case _:
                    pass
        return None

    def _held(self, over: str) -> Shown | None:
        """What the list or dictionary holds: this cell's, or another's."""
        if over not in self.cell.bound:
            for definer in self.notebook.definers(over):
                return self.notebook.display(definer)._held(over) if definer is not self.cell else None
        values = [value for target, value in bindings(self.body) if is_name(target, over)]
        match values:
            case [ast.List(elts=[first, *_]) | ast.Tuple(elts=[first, *_]) | ast.Dict(values=[first, *_])]:
                return self.of(first)
            case [ast.ListComp(elt=first) | ast.DictComp(value=first)]:
                return self.of(first)
        return None

    def _unpacked(self, name: str, target: ast.Tuple | ast.List, value: ast.Call) -> Shown | None:
        """`fig, ax = plt.subplots()`."""
        if self.notebook.resolve(self.cell, value.func) not in (
            "matplotlib.pyplot.subplots",
            "matplotlib.pyplot.subplot_mosaic",
        ):
            return None
        for index, element in enumerate(target.elts):
            inner = name_nodes_of(element)
            if any(node.id == name for node in inner):
                return Shown("figure" if index == 0 else "axes", name)
        return None

    def _group(self, elements: list[ast.expr]) -> Shown | None:
        shown = [found for element in elements if (found := self.of(element))]
        if not shown:
            return None
        return Shown("layout", shown[0].what, any(found.lost_ui for found in shown))

    def _call(self, call: ast.Call) -> Shown | None:
        qualified = self.notebook.resolve(self.cell, call.func)
        text = dotted(call.func)
        if qualified is not None:
            module, _, function = qualified.rpartition(".")
            if module == "marimo.ui":
                kind = "input" if function in INPUTS else "widget"
                return Shown(kind, text, lost_ui=True)
            if module == "marimo" and function in LAYOUT:
                return Shown("layout", text, self._holds_ui(call))
            if module.startswith("marimo.mpl"):
                return Shown("figure", text)
            if qualified == "altair.Chart":
                return None  # without a mark there is nothing to see yet: see `_method`
            if function in FIGURES.get(module, ()):
                return Shown("axes" if function in ("gca", "subplot", "axes") else "figure", text)
            if module == "plotly.express" and function[:1].islower():
                return Shown("figure", text)
            if module == "plotly.figure_factory" and function.startswith("create_"):
                return Shown("figure", text)
            pattern = FRAMES.get(module)
            if pattern is not None and pattern.fullmatch(function):
                return Shown("frame", text)
        if isinstance(call.func, ast.Attribute):
            return self._method(call.func, call)
        if isinstance(call.func, ast.Name):
            whole = self._partial(call.func.id)
            if whole is not None:
                return self.of(ast.Call(whole, call.args, call.keywords))
            shown = self.notebook.returned_by(call.func.id, self.cell)
            return shown._replace(what=call.func.id) if shown is not None else None
        return None

    def _partial(self, name: str) -> ast.expr | None:
        """What is called by `note = functools.partial(mo.callout, kind="info")`."""
        for definer in [self.cell] if name in self.cell.bound else self.notebook.definers(name):
            for target, value in bindings(definer.body):
                match value:
                    case ast.Call(func=func, args=[whole, *_]) if is_name(target, name):
                        if self.notebook.resolve(definer, func) == "functools.partial":
                            return whole
                    case _:
                        pass
        return None

    def _method(self, func: ast.Attribute, call: ast.Call) -> Shown | None:
        shown = self.of(func.value)
        if shown is None:
            if func.attr.startswith("mark_") and self._is_altair(func.value):
                return Shown("figure", dotted(func))
            own = self.notebook.method(func, self.cell)
            shown = None if own is None else returned_by(self.notebook, *own)
            return None if shown is None else shown._replace(what=dotted(func))
        if shown.kind in ("layout", "input", "widget"):
            if func.attr == "batch":
                return shown._replace(lost_ui=True)
            return shown if func.attr in HTML_METHODS else None
        if shown.kind == "frame":
            inplace = any(keyword.arg == "inplace" for keyword in call.keywords)
            return shown if func.attr in FRAME_METHODS and not inplace else None
        if shown.kind == "figure" and self._is_altair(func.value):
            return None if func.attr in ALTAIR_EFFECTS else shown
        if shown.kind == "figure" and func.attr.startswith(("update_", "add_")):
            return shown
        return None

    def _is_altair(self, expr: ast.expr) -> bool:
        root = root_name(expr)
        if root is None:
            return False
        if self.notebook.imported(self.cell).get(root) in ("altair", "great_tables"):
            return True
        if any(
            isinstance(target, ast.Name) and target.id == root and self._is_altair(value)
            for target, value in bindings(self.cell.body)
            if root_name(value) != root
        ):
            return True
        qualified = self.notebook.imported(self.cell).get(root, "")
        return qualified.startswith(("altair.", "great_tables."))

    def _holds_ui(self, call: ast.Call) -> bool:
        """Whether an element without a public name is among the arguments, at any depth."""
        stack: list[ast.AST] = [*call.args, *(keyword.value for keyword in call.keywords)]
        while stack:
            node = stack.pop()
            if isinstance(node, ast.Call):
                marimo = self.notebook.marimo(self.cell, node.func)
                if marimo is not None and marimo.startswith("ui."):
                    return True
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                shown = self.named(node.id)
                if shown is not None and shown.lost_ui:
                    return True
            if not isinstance(node, ast.Lambda):
                stack.extend(ast.iter_child_nodes(node))
        return False

    # Statements

    def of_statement(self, statement: ast.stmt) -> Shown | None:
        """What a bare expression statement was meant to show.

        None for calls that change something and happen to return it: pyplot's state, in-place
        updates of a plotly figure, a walrus.
        """
        if not isinstance(statement, ast.Expr):
            return None
        value = statement.value
        shown = self.of(value)
        if shown is None or isinstance(value, ast.NamedExpr):
            return None
        if isinstance(value, ast.Await):
            value = value.value
        if isinstance(value, ast.Call):
            if isinstance(value.func, ast.Name):
                function = self.notebook.function(value.func.id, self.cell)
                if function is not None and not only_builds(function):
                    return None
            elif isinstance(value.func, ast.Attribute):
                own = self.notebook.method(value.func, self.cell)
                if own is not None and not only_builds(own[1]):
                    return None
            qualified = self.notebook.resolve(self.cell, value.func) or ""
            if (
                qualified.startswith(("matplotlib.pyplot.", "duckdb.", "seaborn."))
                or qualified == "marimo.sql"
            ):
                return None
            if shown.kind == "frame" and re.search(r"\.(read|scan)_\w+$", qualified):
                return None
            if isinstance(value.func, ast.Attribute) and value.func.attr.startswith(("update_", "add_")):
                return None
        return shown

    @property
    def shows_last(self) -> bool:
        """Whether the last statement is an expression that marimo displays."""
        last = self.cell.last
        if not isinstance(last, ast.Expr) or self.cell.silenced:
            return False
        if isinstance(last.value, ast.Call) and isinstance(last.value.func, ast.Name):
            function = self.notebook.function(last.value.func.id, self.cell)
            if function is not None:  # `show(...)` of the notebook's own
                return any(
                    isinstance(each, ast.Return) and each.value is not None
                    for each in walk_statements(function.body)
                )
        return not (
            (isinstance(last.value, ast.Constant) and last.value.value is None) or is_effect(last.value)
        )

    @property
    def uses_output_api(self) -> bool:
        """Whether the cell writes to its output itself, by `mo.output.*`, or prints figures."""
        for statement in self.cell.body:
            for node in ast.walk(statement):
                if isinstance(node, ast.Attribute):
                    marimo = self.notebook.marimo(self.cell, node)
                    if marimo is not None and marimo.startswith("output."):
                        return True
        return False


def is_effect(value: ast.expr) -> bool:
    """Whether the expression is a call that is made for what it does."""
    match value:
        case ast.Call(func=ast.Name(id=name)):
            return name in EFFECTS or name.startswith("set_")
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in EFFECTS
    return False


def returned_by(notebook: Notebook, cell: Cell, function: Function | ast.Lambda) -> Shown | None:
    """What a function of the notebook gives to look at; None where it returns anything else as well."""
    if isinstance(function, ast.Lambda):
        shown = Display(notebook, cell).of(function.body)
        return None if shown is None or shown.kind == "frame" else shown
    display = Display(notebook, cell, function.body)
    found: list[Shown] = []
    for statement in walk_statements(function.body):
        match statement:
            case ast.Return(value=None):
                pass
            case ast.Return(value=value):
                shown = display.of(value)
                if shown is None or shown.kind == "frame":
                    return None
                found.append(shown)
            case _:
                pass
    return found[0]._replace(lost_ui=any(each.lost_ui for each in found)) if found else None


def only_builds(function: Function) -> bool:
    """Whether calling the function cannot be meant for an effect: it only builds what it returns."""
    for statement in walk_statements(function.body):
        match statement:
            case ast.Expr(value=ast.Constant()):
                pass
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(), attr=method))):
                if method not in ("append", "extend", "update", "insert", "update_layout", "add_trace"):
                    return False
            case ast.Expr() | ast.Global() | ast.Nonlocal() | ast.Delete():
                return False
            case ast.Assign(targets=[ast.Attribute(), *_]) | ast.AugAssign(target=ast.Attribute()):
                return False
            case _:
                pass
    return True


def bindings(body: list[ast.stmt]) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The assignments of a cell outside functions and classes, as pairs of target and value.

    `a, b = x, y` is two of them.
    """
    for statement in walk_statements(body):
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                yield from _pairs(target, statement.value)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield statement.target, statement.value
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.NamedExpr):
            yield statement.value.target, statement.value.value


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    match target, value:
        case ((ast.Tuple(elts=ones) | ast.List(elts=ones)), (ast.Tuple(elts=others) | ast.List(elts=others))):
            if len(ones) == len(others) and not any(isinstance(e, ast.Starred) for e in (*ones, *others)):
                for one, other in zip(ones, others, strict=True):
                    yield from _pairs(one, other)
                return
    yield target, value


def walk_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements of a cell in file order, without those inside functions and classes."""
    stack = list(reversed(body))
    while stack:
        statement = stack.pop()
        yield statement
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = [child for block in blocks_of(statement) for child in block]
            stack.extend(reversed(inner))


def blocks_of(statement: ast.stmt) -> list[list[ast.stmt]]:
    """The suites of a compound statement, in file order; none for a function or class."""
    match statement:
        case ast.If() | ast.For() | ast.AsyncFor() | ast.While():
            found = [statement.body, statement.orelse]
        case ast.With() | ast.AsyncWith():
            found = [statement.body]
        case ast.Try() | ast.TryStar():
            handlers = [handler.body for handler in statement.handlers]
            found = [statement.body, *handlers, statement.orelse, statement.finalbody]
        case ast.Match():
            found = [case.body for case in statement.cases]
        case _:
            return []
    return [block for block in found if block]


def tails(statement: ast.stmt) -> Iterator[ast.Expr]:
    """The expressions that end a path through a compound statement, in file order."""
    stack = [statement]
    found: list[ast.Expr] = []
    while stack:
        current = stack.pop()
        if isinstance(current, ast.Expr):
            found.append(current)
        stack.extend(block[-1] for block in reversed(blocks_of(current)))
    yield from found


def dotted(expr: ast.expr) -> str:
    """`a.b.c` as it is written, `…` for what is no name."""
    parts: list[str] = []
    while isinstance(expr, ast.Attribute):
        parts.append(expr.attr)
        expr = expr.value
        while isinstance(expr, ast.Call):
            expr = expr.func
            if isinstance(expr, ast.Attribute):
                parts = [expr.attr]
                expr = expr.value
    parts.append(expr.id if isinstance(expr, ast.Name) else "…")
    return ".".join(reversed(parts))


def root_name(expr: ast.expr) -> str | None:
    """The name at the root of a chain of attributes, calls, subscripts and operators."""
    while True:
        match expr:
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Call(func=inner):
                expr = inner
            case ast.BinOp(left=inner):
                expr = inner
            case ast.Name(id=name):
                return name
            case _:
                return None


def is_name(expr: ast.expr, name: str) -> bool:
    """Whether the expression is this name and nothing more."""
    return isinstance(expr, ast.Name) and expr.id == name


def name_nodes_of(expr: ast.expr) -> list[ast.Name]:
    """The names below an expression."""
    return [node for node in ast.walk(expr) if isinstance(node, ast.Name)]
