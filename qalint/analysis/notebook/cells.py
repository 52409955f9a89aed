"""The cells of a marimo notebook: where they are, what they are, what they bind and read.

What counts is what marimo's loader reads: the body of each decorated function without its trailing
`return`. Signature and return tuple change nothing when a notebook is loaded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ...parsing import attempt
from ...source import Block, Source, Span
from .scope import Import, Scope, Use, is_private, scope_of

DECORATORS = {"cell": "cell", "function": "function", "class_definition": "class"}

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class Cell:
    """One cell.

    `kind` is `cell`, `setup`, `function` (`@app.function`), `class` (`@app.class_definition`),
    `unparsable`, or `sql` or `markdown` (such fences of a Markdown notebook). `body` holds the statements
    that marimo runs: the trailing `return` is stripped; a reusable function or class is its own only
    statement. `node` is the `ast` node of the whole cell (None in Markdown), `span` its place from
    the decorator to its last line, `number` its position among the cells from 0.
    """

    __slots__ = (
        "block",
        "body",
        "disabled",
        "is_async",
        "kind",
        "name",
        "node",
        "number",
        "params",
        "returns",
        "scope",
        "source",
        "span",
        "sql",
    )

    def __init__(
        self,
        source: Source,
        kind: str,
        number: int,
        name: str,
        span: Span,
        body: list[ast.stmt],
        *,
        node: ast.stmt | None = None,
        block: Block | None = None,
        params: tuple[ast.arg, ...] = (),
        returns: ast.Return | None = None,
        is_async: bool = False,
        disabled: bool = False,
        sql: str = "",
        scope: Scope | None = None,
    ) -> None:
        self.source = source
        self.kind = kind
        self.number = number
        self.name = name
        self.span = span
        self.body = body
        self.node = node
        self.block = block
        self.params = params
        self.returns = returns
        self.is_async = is_async
        self.disabled = disabled
        self.sql = sql
        self.scope = scope_of(body) if scope is None else scope

    def __repr__(self) -> str:
        row = self.source.location(self.span.start).row
        return f"<{self.kind} cell {self.number} {self.name!r} at line {row}>"

    @property
    def bound(self) -> set[str]:
        """All names that the cell binds at its top level, private ones included."""
        return set(self.scope.stores)

    @property
    def defs(self) -> set[str]:
        """The names that other cells can read."""
        return {name for name in self.scope.stores if name not in self.private}

    @property
    def private(self) -> set[str]:
        """The names that marimo keeps to this cell.

        `from m import _x` without an alias is private as well, though marimo does not rename it.
        """
        return {name for name in self.scope.stores if is_private(name)}

    @property
    def refs(self) -> set[str]:
        """The names that the cell reads from outside, builtins and private names included.

        As in marimo, a name that the cell binds only after reading it is one of them.
        """
        scope = self.scope
        names = {*scope.loads, *scope.deletes}
        return {name for name in names if any(not use.augmented for use in scope.reads(name))}

    @property
    def deleted(self) -> set[str]:
        """The names of other cells that this cell deletes: `del` stands before any binding of its own."""
        stores = self.scope.stores
        return {
            name
            for name, uses in self.scope.deletes.items()
            if name not in stores or uses[0].order < min(store.order for store in stores[name])
        }

    @property
    def imports(self) -> list[Import]:
        """The imports of the cell, at any depth outside nested scopes' own names."""
        return self.scope.imports

    def reads(self, name: str) -> list[Use]:
        """Where the cell reads `name` from outside, in the order of evaluation."""
        return self.scope.reads(name)

    def stores(self, name: str) -> list[Use]:
        """Where the cell binds `name`."""
        return self.scope.stores.get(name, [])

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to run."""
        return not self.body and not self.sql

    @property
    def returned(self) -> list[ast.expr]:
        """The expressions of the trailing `return`, a tuple taken apart."""
        if self.returns is None or self.returns.value is None:
            return []
        value = self.returns.value
        return list(value.elts) if isinstance(value, ast.Tuple) else [value]

    @property
    def last(self) -> ast.stmt | None:
        """The last statement, which alone can be the output."""
        return self.body[-1] if self.body else None

    @property
    def code_span(self) -> Span:
        """From the first to the last statement of the body (the cell's span if it has none)."""
        if not self.body:
            return self.span
        return Span(
            self.source.span(_with_decorators(self.body[0])).start, self.source.span(self.body[-1]).end
        )

    @property
    def silenced(self) -> bool:
        """Whether the code ends in a semicolon, by which marimo shows nothing."""
        last = self.last
        return isinstance(last, ast.Expr) and ends_with_semicolon(self.source, last)


def ends_with_semicolon(source: Source, statement: ast.stmt) -> bool:
    """Whether the line ends in `;` after the statement (`a; b` shows b, and only drops a)."""
    end = source.span(statement).end
    return re.compile(r"[ \t]*;[ \t]*(#[^\r\n]*)?(\r|\n|$)").match(source.text, end) is not None


def statement_span(source: Source, statement: ast.stmt) -> Span:
    """The span of a statement, decorators included."""
    return Span(source.span(_with_decorators(statement)).start, source.span(statement).end)


def _with_decorators(statement: ast.stmt) -> ast.AST:
    decorators = getattr(statement, "decorator_list", None)
    return decorators[0] if decorators else statement


def app_names(tree: ast.Module) -> set[str]:
    """The names that hold a `marimo.App`; empty where the module is no notebook.

    marimo's own loader wants `app = <alias>.App(...)`; `python notebook.py` runs the other spellings
    too, so they are read as notebooks as well.
    """
    aliases: set[str] = set()
    classes: set[str] = set()
    names: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            aliases.update(a.asname or a.name for a in statement.names if a.name == "marimo")
        elif isinstance(statement, ast.ImportFrom) and statement.module == "marimo" and not statement.level:
            classes.update(a.asname or a.name for a in statement.names if a.name == "App")
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Call):
            match statement.value.func:
                case ast.Attribute(value=ast.Name(id=module), attr="App") if module in aliases:
                    pass
                case ast.Name(id=name) if name in classes:
                    pass
                case _:
                    continue
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def python_cells(source: Source, tree: ast.Module, apps: set[str]) -> tuple[list[Cell], list[ast.stmt]]:
    """The cells of a `.py` notebook and the module code between them, which marimo never runs."""
    cells: list[Cell] = []
    outside: list[ast.stmt] = []
    for statement in tree.body:
        cell = _python_cell(source, statement, apps, len(cells))
        if cell is None:
            outside.append(statement)
        else:
            cells.append(cell)
    return cells, outside


def _python_cell(source: Source, statement: ast.stmt, apps: set[str], number: int) -> Cell | None:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            for decorator in statement.decorator_list:
                kind = _decorator_kind(decorator, apps)
                if kind == "cell" and isinstance(statement, FunctionNode):
                    return _cell(source, statement, decorator, number)
                if kind in ("function", "class"):
                    return _reusable(source, statement, decorator, kind, number)
        case ast.With() | ast.AsyncWith() if _is_setup(statement.items, apps):
            span = source.span(statement)
            body = [each for each in statement.body if not isinstance(each, ast.Pass)]
            return Cell(source, "setup", number, "setup", span, body, node=statement)
        case ast.Expr(
            value=ast.Call(func=ast.Attribute(value=ast.Name(id=app), attr="_unparsable_cell"))
        ) if app in apps:
            return Cell(
                source,
                "unparsable",
                number,
                _keyword(statement.value, "name") or "_",
                source.span(statement),
                [],
                node=statement,
            )
    return None


def _cell(source: Source, node: FunctionNode, decorator: ast.expr, number: int) -> Cell:
    body = list(node.body)
    returns = body.pop() if isinstance(body[-1], ast.Return) else None
    if len(body) == 1 and isinstance(body[0], ast.Pass):
        body = []
    start = source.offset(node.decorator_list[0].lineno, 0)
    arguments = node.args
    params = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    params += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return Cell(
        source,
        "cell",
        number,
        node.name,
        Span(start, source.span(node).end),
        body,
        node=node,
        params=tuple(params),
        returns=returns if isinstance(returns, ast.Return) else None,
        is_async=isinstance(node, ast.AsyncFunctionDef),
        disabled=_option(decorator, "disabled") is True,
    )


def _reusable(
    source: Source, node: FunctionNode | ast.ClassDef, decorator: ast.expr, kind: str, number: int
) -> Cell:
    """A reusable function or class; the decorator that makes it one is no code of the cell."""
    start = source.offset(node.decorator_list[0].lineno, 0)
    others = [each for each in node.decorator_list if each is not decorator]
    scope = scope_of([*others, *_bare(node)])
    return Cell(
        source, kind, number, node.name, Span(start, source.span(node).end), [node],
        node=node, scope=scope, disabled=_option(decorator, "disabled") is True,
        is_async=isinstance(node, ast.AsyncFunctionDef),
    )  # fmt: skip


def _bare(node: FunctionNode | ast.ClassDef) -> list[ast.stmt]:
    """The definition without its decorators, for the scope analysis only."""
    kind = type(node)
    copy = kind(**{field: getattr(node, field) for field in node._fields if hasattr(node, field)})
    copy.decorator_list = []
    ast.copy_location(copy, node)
    return [copy]


def markdown_cells(source: Source, tree: ast.Module) -> list[Cell]:
    """The cells of a Markdown notebook, one a fence; the prose between them binds nothing."""
    statements = [(source.span(_with_decorators(statement)).start, statement) for statement in tree.body]
    cells: list[Cell] = []
    position = 0
    for block in source.blocks:
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', block.info))
        name = attributes.get("name", "_")
        span = Span(block.start, block.end)
        disabled = attributes.get("disabled") == "true"
        number = len(cells)
        if block.language in ("markdown", "unparsable"):
            cells.append(Cell(source, block.language, number, name, span, [], block=block, disabled=disabled))
            continue
        if block.language == "sql":
            cells.append(_sql_cell(source, block, attributes, number, name, disabled))
            continue
        body = []
        while position < len(statements) and statements[position][0] < block.end:
            body.append(statements[position][1])
            position += 1
        match body:
            case [ast.Expr(value=ast.Call(func=ast.Attribute(attr="_unparsable_cell"), args=[])) as broken]:
                cell = Cell(source, "unparsable", number, name, span, [], node=broken, block=block)
            case _:
                cell = Cell(source, "cell", number, name, span, body, block=block, disabled=disabled)
        cells.append(cell)
    return cells


def _sql_cell(
    source: Source, block: Block, attributes: dict[str, str], number: int, name: str, disabled: bool
) -> Cell:
    """A SQL fence: marimo turns it into `<query> = mo.sql(f\"\"\"...\"\"\")`, which also shows the result."""
    text = source.text[block.start : block.end]
    scope = Scope()
    query = attributes.get("query", "_df")
    anchor = ast.Name(query, ast.Store(), lineno=1, col_offset=0, end_lineno=1, end_col_offset=0)
    scope.stores[query] = [Use(query, anchor, 0)]
    for hole in re.findall(r"(?<!\{)\{([^{}]+)\}", text):
        tree = attempt(f"({hole.strip()})")
        if tree is None:
            continue
        for read, uses in scope_of(tree.body).loads.items():
            scope.loads.setdefault(read, []).extend(Use(read, anchor, use.order) for use in uses)
    return Cell(source, "sql", number, name, Span(block.start, block.end), [],
                block=block, disabled=disabled, sql=text, scope=scope)  # fmt: skip


def _decorator_kind(decorator: ast.expr, apps: set[str]) -> str | None:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    match called:
        case ast.Attribute(value=ast.Name(id=app), attr=attribute) if app in apps:
            return DECORATORS.get(attribute)
    return None


def _is_setup(items: list[ast.withitem], apps: set[str]) -> bool:
    if len(items) != 1:
        return False
    expression = items[0].context_expr
    called = expression.func if isinstance(expression, ast.Call) else expression
    match called:
        case ast.Attribute(value=ast.Name(id=app), attr="setup"):
            return app in apps
    return False


def _option(decorator: ast.expr, name: str) -> object:
    for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
        if keyword.arg == name and isinstance(keyword.value, ast.Constant):
            return keyword.value.value
    return None


def _keyword(call: ast.expr, name: str) -> str | None:
    value = _option(call, name)
    return value if isinstance(value, str) else None


def strings_of(nodes: list[ast.stmt]) -> Iterator[str]:
    """All string constants below the statements: SQL, `globals()` keys and the like."""
    stack: list[ast.AST] = list(nodes)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        stack.extend(ast.iter_child_nodes(node))
