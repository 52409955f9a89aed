"""Kinds that are chosen by the position in a loop."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from qalint.analysis.notebook import Notebook, walk_statements

from .callouts import Callout, Function, callouts, calls_of

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)


class Choice(NamedTuple):
    """A kind chosen by position: where, by which test, and what all should have instead."""

    node: ast.expr
    test: str
    common: str | None
    replaced: ast.expr | None
    related: list[tuple[ast.AST, str]]


class Positions(NamedTuple):
    """What stands for the position around a callout: index names, pairs of item and list, and flags.

    A flag is a name that says what a test of the position would: `first`, which is True in the first
    round only, or a parameter that gets `i == 0`. Its value tells whether it is true for the many.
    """

    indexes: set[str]
    items: dict[str, str]
    source: ast.AST | None
    flags: dict[str, bool]


def choices(notebook: Notebook) -> Iterator[Choice]:
    """The choices by position, each once."""
    seen: set[ast.AST] = set()
    for callout in callouts(notebook):
        positions = _positions(notebook, callout)
        if not positions.indexes and not positions.items and not positions.flags:
            continue
        for choice in (
            *_by_expression(notebook, callout, positions),
            *_by_statement(notebook, callout, positions),
        ):
            if choice.node not in seen:
                seen.add(choice.node)
                yield choice


# Where the position comes from


def _positions(notebook: Notebook, callout: Callout) -> Positions:
    positions = Positions(set(), {}, None, {})
    for node in callout.around:
        if isinstance(node, ast.For | ast.AsyncFor):
            positions = _loop(positions, node.target, node.iter, node)
            positions = _counters(positions, node)
            positions = _flags(positions, callout, node)
        elif isinstance(node, COMPREHENSIONS):
            for generator in node.generators:
                positions = _loop(positions, generator.target, generator.iter, node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            positions = _parameters(notebook, positions, node)
        elif isinstance(node, ast.Lambda):
            positions = Positions(set(), {}, None, {})
    return positions


def _loop(known: Positions, target: ast.expr, iterable: ast.expr, loop: ast.AST) -> Positions:
    indexes, items = set(known.indexes), dict(known.items)
    match iterable, target:
        case ast.Call(func=ast.Name(id="enumerate"), args=[over, *_]), ast.Tuple(
            elts=[ast.Name(id=index), item]
        ):
            indexes.add(index)
            if isinstance(item, ast.Name) and isinstance(over, ast.Name):
                items[item.id] = over.id
            return known._replace(indexes=indexes, items=items, source=loop)
        case ast.Call(func=ast.Attribute(value=frame, attr="iterrows"), args=[]), ast.Tuple(
            elts=[ast.Name(id=index), _]
        ) if not re.search(r"index|group|pivot|value_counts", ast.unparse(frame)):
            indexes.add(index)  # the index of a frame counts its rows unless somebody sets another
            return known._replace(indexes=indexes, items=items, source=loop)
        case ast.Call(func=ast.Name(id="range"), args=[end]), ast.Name(id=index) if (
            _is_length(end) or _subscripts(loop, index) or not _computes(loop, index)
        ):
            indexes.add(index)
            return known._replace(indexes=indexes, items=items, source=loop)
        case ast.Name(id=over), ast.Name(id=item):
            items[item] = over
            return known._replace(indexes=indexes, items=items, source=known.source or loop)
    return known


def _computes(loop: ast.AST, index: str) -> bool:
    """Whether the loop computes with its index, so that it is data: `n % 3`, `2 * n`."""
    return any(
        isinstance(node, ast.BinOp)
        and not isinstance(node.op, ast.Add | ast.Sub)
        and any(isinstance(each, ast.Name) and each.id == index for each in (node.left, node.right))
        for node in ast.walk(loop)
    )


def _is_length(expr: ast.expr) -> bool:
    return isinstance(expr, ast.Call) and isinstance(expr.func, ast.Name) and expr.func.id == "len"


def _subscripts(loop: ast.AST, index: str) -> bool:
    """Whether the loop uses its index to take items: `samples[i]`."""
    for node in ast.walk(loop):
        match node:
            case ast.Subscript(slice=ast.Name(id=name)) if name == index:
                return True
            case _:
                pass
    return False


def _counters(known: Positions, loop: ast.For | ast.AsyncFor) -> Positions:
    """`i += 1` in the loop body makes `i` a position."""
    indexes = set(known.indexes)
    for statement in walk_statements(loop.body):
        match statement:
            case ast.AugAssign(target=ast.Name(id=name), op=ast.Add(), value=ast.Constant(value=1)):
                if statement in loop.body:
                    indexes.add(name)
            case _:
                pass
    return known._replace(indexes=indexes, source=known.source or loop)


def _flags(known: Positions, callout: Callout, loop: ast.For | ast.AsyncFor) -> Positions:
    """`first = True` before the loop and `first = False` in every round of it."""
    changed = {name: value for statement in loop.body for name, value in _truth(statement)}
    stored = [n.id for n in ast.walk(loop) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    changed = {name: value for name, value in changed.items() if stored.count(name) == 1}
    if not changed:
        return known
    flags = dict(known.flags)
    inside = {id(each) for each in walk_statements(loop.body)}
    for body in (callout.cell.body, *(n.body for n in callout.around if isinstance(n, ast.FunctionDef))):
        for statement in walk_statements(body):
            if id(statement) not in inside:
                for name, value in _truth(statement):
                    if changed.get(name) is not value and name in changed:
                        flags[name] = changed[name]
    return known._replace(flags=flags, source=known.source or loop)


def _truth(statement: ast.stmt) -> Iterator[tuple[str, bool]]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=bool() as value)):
            yield name, value
        case _:
            pass


def _parameters(
    notebook: Notebook, known: Positions, function: ast.FunctionDef | ast.AsyncFunctionDef
) -> Positions:
    """Parameters that every call in the notebook fills with a loop index."""
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    filled: dict[str, list[bool]] = {}
    flags: dict[str, list[bool | None]] = {}
    for cell, call, around in calls_of(notebook, function.name):
        outside = _positions(notebook, Callout(cell, call, None, None, around))
        given = dict(zip(names, call.args, strict=False))
        given.update({each.arg: each.value for each in call.keywords if each.arg is not None})
        for name, value in given.items():
            index = isinstance(value, ast.Name) and value.id in outside.indexes
            filled.setdefault(name, []).append(index)
            tested = not index and _is_positional(value, outside) and not isinstance(value, ast.BinOp)
            flags.setdefault(name, []).append(_body_is_common(value, outside) if tested else None)
    indexes = {name for name, given in filled.items() if all(given)}
    told = {name: found[0] for name, found in flags.items() if found[0] is not None and None not in found}
    return Positions(indexes, {}, function, told)


# Where it chooses


def _is_positional(test: ast.expr, positions: Positions) -> bool:
    """Whether the test looks at nothing but the position."""
    if not any(
        isinstance(node, ast.Name)
        and (node.id in positions.indexes or node.id in positions.items or node.id in positions.flags)
        for node in ast.walk(test)
    ):
        return False
    return _positional(test, positions)


def _positional(test: ast.expr, positions: Positions) -> bool:
    match test:
        case ast.Name(id=name):
            return name in positions.indexes or name in positions.flags
        case ast.Constant(value=int() | bool()):
            return True
        case ast.UnaryOp(operand=operand):
            return _positional(operand, positions)
        case ast.BinOp(left=left, right=right):
            return _positional(left, positions) and _positional(right, positions)
        case ast.BoolOp(values=values):
            return all(_positional(value, positions) for value in values)
        case ast.Call(func=ast.Name(id="len"), args=[_]):
            return True
        case ast.Call(func=ast.Name(id="int" | "bool" | "min" | "max"), args=[_, *_] as arguments):
            return all(_positional(each, positions) for each in arguments)
        case ast.Compare(left=left, comparators=[right]) if _is_end(left, right, positions):
            return True
        case ast.Compare(left=left, comparators=comparators):
            return all(_positional(each, positions) for each in (left, *comparators)) or (
                isinstance(left, ast.Name)
                and left.id in positions.indexes
                and all(_constants(each) for each in comparators)
            )
    return False


def _constants(expr: ast.expr) -> bool:
    return isinstance(expr, ast.Tuple | ast.List | ast.Set) and all(
        isinstance(each, ast.Constant) and isinstance(each.value, int) for each in expr.elts
    )


def _is_end(left: ast.expr, right: ast.expr, positions: Positions) -> bool:
    """`sample is samples[0]`, `sample == samples[-1]`."""
    for one, other in ((left, right), (right, left)):
        match one, other:
            case ast.Name(id=item), ast.Subscript(
                value=ast.Name(id=over), slice=ast.Constant() | ast.UnaryOp()
            ):
                if positions.items.get(item) == over:
                    return True
            case _:
                pass
    return False


def _by_expression(notebook: Notebook, callout: Callout, positions: Positions) -> Iterator[Choice]:
    """`kind="success" if i == 0 else "neutral"` and `kind=kinds[i]`, also by way of a local name."""
    from .callouts import values_of

    if callout.kind is None:
        return
    expressions = [callout.kind]
    if isinstance(callout.kind, ast.Name):
        expressions = list(values_of(notebook, callout, callout.kind.id))
    for expr in expressions:
        match expr:
            case ast.IfExp(orelse=ast.IfExp()) if (special := _chained(expr, positions)) is not None:
                common = special[-1]
                text = ast.unparse(expr.test)
                yield Choice(expr, text, common, expr, _related(callout, positions, expr))
            case ast.IfExp(test=test, body=body, orelse=orelse) if _is_positional(test, positions):
                one, other = _literal(body), _literal(orelse)
                if one is None or other is None or one == other:
                    continue
                common = one if _body_is_common(test, positions) else other
                yield Choice(expr, ast.unparse(test), common, expr, _related(callout, positions, expr))
            case ast.Call(func=ast.Attribute(value=table, attr="get"), args=[index, _]) if _is_positional(
                index, positions
            ) and _is_written_out(notebook, callout, table):
                common = _literal(expr.args[1]) or "neutral"
                yield Choice(expr, ast.unparse(index), common, expr, _related(callout, positions, expr))
            case ast.Subscript(slice=index, value=table) if _is_positional(index, positions):
                found = _kinds_of(notebook, callout, table)
                if len(set(found)) > 1:
                    text = ast.unparse(index)
                    yield Choice(expr, text, _commonest(found), expr, _related(callout, positions, expr))
            case _:
                pass


def _chained(expr: ast.IfExp, positions: Positions) -> list[str] | None:
    """The kinds of `a if i == 0 else b if i == 9 else c`, where all tests look at the position alone."""
    found: list[str | None] = []
    arm: ast.expr = expr
    while isinstance(arm, ast.IfExp):
        if not _is_positional(arm.test, positions):
            return None
        found.append(_literal(arm.body))
        arm = arm.orelse
    found.append(_literal(arm))
    kinds = [kind for kind in found if kind is not None]
    return kinds if len(kinds) == len(found) and len(set(kinds)) > 1 else None


def _is_written_out(notebook: Notebook, callout: Callout, table: ast.expr) -> bool:
    """Whether the table is a dictionary of literal kinds by literal position."""
    from .callouts import values_of

    tables = list(values_of(notebook, callout, table.id)) if isinstance(table, ast.Name) else [table]
    return any(
        isinstance(each, ast.Dict) and all(_literal(value) is not None for value in each.values)
        for each in tables
    )


def _kinds_of(notebook: Notebook, callout: Callout, table: ast.expr) -> list[str]:
    """The literal kinds of a list or dictionary, as often as each stands in it; empty for other tables."""
    from .callouts import values_of

    tables = list(values_of(notebook, callout, table.id)) if isinstance(table, ast.Name) else [table]
    for each in tables:
        found = _listed(each)
        if found and None not in found:
            return [kind for kind in found if kind is not None]
    return []


def _listed(table: ast.expr) -> list[str | None]:
    match table:
        case ast.List(elts=values) | ast.Tuple(elts=values) | ast.Dict(values=values):
            return [_literal(value) for value in values]
        case ast.BinOp(left=left, op=ast.Add(), right=right):  # ["success"] + ["neutral"] * 9
            return [*_listed(left), *_listed(right)]
        case ast.BinOp(left=left, op=ast.Mult(), right=times):
            number = times.value if isinstance(times, ast.Constant) and isinstance(times.value, int) else 2
            return _listed(left) * min(number, 100)
    return []


def _commonest(kinds: list[str]) -> str:
    """The kind that most positions have; where there is none, the one that a callout has by itself."""
    counts = sorted(((kinds.count(kind), kind) for kind in set(kinds)), reverse=True)
    return counts[0][1] if counts[0][0] > counts[1][0] else "neutral"


def _by_statement(notebook: Notebook, callout: Callout, positions: Positions) -> Iterator[Choice]:
    """`if i == 0: kind = "success"` before the callout, or two callouts in the arms of such an `if`."""
    kind = callout.kind
    scope = next((node for node in reversed(callout.around) if isinstance(node, ast.For | Function)), None)
    if isinstance(kind, ast.Name) and scope is not None and not isinstance(scope, ast.Lambda):
        chained: set[ast.stmt] = set()
        for statement in walk_statements(scope.body):
            if isinstance(statement, ast.Match) and _is_positional(statement.subject, positions):
                yield from _by_match(callout, statement, kind.id)
            if not isinstance(statement, ast.If) or statement in chained:
                continue
            chain = _chain(statement)
            chained.update(chain)
            if all(_is_positional(each.test, positions) for each in chain):
                one = _assigned(statement.body, kind.id)
                other = _assigned(chain[-1].orelse, kind.id) or _assigned(
                    [each for each in scope.body if each is not statement], kind.id
                )
                if one is None or other is None or one.value == other.value:
                    continue
                swapped = (
                    len(chain) == 1 and _body_is_common(statement.test, positions) and bool(statement.orelse)
                )
                special, common = (other, one) if swapped else (one, other)
                yield Choice(
                    special, ast.unparse(statement.test), str(common.value), special,
                    [(statement.test, "the position is tested here"), (callout.call, "this callout gets it")],
                )  # fmt: skip
    if isinstance(kind, ast.Constant):
        for node in reversed(callout.around):
            if isinstance(node, ast.If):
                if _is_positional(node.test, positions):
                    yield from _arms(notebook, callout, node, kind, positions)
                return


def _by_match(callout: Callout, statement: ast.Match, name: str) -> Iterator[Choice]:
    """`match i: case 0: kind = "success"; case _: kind = "neutral"`."""
    *special, last = statement.cases
    match last.pattern:
        case ast.MatchAs(pattern=None):
            common = _assigned(last.body, name)
        case _:
            return
    for case in special:
        chosen = _assigned(case.body, name)
        if chosen is not None and common is not None and chosen.value != common.value:
            yield Choice(
                chosen, ast.unparse(statement.subject), str(common.value), chosen,
                [(statement.subject, "the position is tested here"), (callout.call, "this callout gets it")],
            )  # fmt: skip


def _chain(statement: ast.If) -> list[ast.If]:
    """An `if` with the `elif` that follow it."""
    chain = [statement]
    while len(chain[-1].orelse) == 1 and isinstance(chain[-1].orelse[0], ast.If):
        chain.append(chain[-1].orelse[0])
    return chain


def _arms(
    notebook: Notebook, callout: Callout, branch: ast.If, kind: ast.Constant, positions: Positions
) -> Iterator[Choice]:
    """Two callouts that differ in kind, in the two arms of an `if` on the position."""
    inside = {id(node) for statement in branch.body for node in ast.walk(statement)}
    if id(kind) not in inside or not branch.orelse:
        return
    for other in callouts(notebook):
        if other.cell is not callout.cell or not isinstance(other.kind, ast.Constant):
            continue
        here = any(other.kind is node for statement in branch.orelse for node in ast.walk(statement))
        if here and other.kind.value != kind.value:
            swapped = _body_is_common(branch.test, positions)
            special, common = (other.kind, kind) if swapped else (kind, other.kind)
            yield Choice(
                special, ast.unparse(branch.test), str(common.value), special,
                [(branch.test, "the position is tested here"), (common, "the others get this kind")],
            )  # fmt: skip
            return


def _assigned(body: list[ast.stmt], name: str) -> ast.Constant | None:
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)], value=ast.Constant(value=str()) as value):
                if target == name:
                    return value
            case _:
                pass
    return None


def _literal(expr: ast.expr) -> str | None:
    return expr.value if isinstance(expr, ast.Constant) and isinstance(expr.value, str) else None


def _body_is_common(test: ast.expr, positions: Positions) -> bool:
    """Whether the test holds for the many, not for the special position: `i`, `i > 0`, `i != 0`."""
    match test:
        case ast.Name(id=name):
            return positions.flags.get(name, True)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Name(id=name)) if name in positions.flags:
            return not positions.flags[name]
        case ast.Compare(ops=[ast.NotEq() | ast.IsNot() | ast.NotIn()]):
            return True
        case ast.Compare(left=ast.Name(), ops=[ast.Gt() | ast.GtE()], comparators=[ast.Constant()]):
            return True
        case ast.Compare(left=ast.Name(), ops=[ast.Lt() | ast.LtE()], comparators=[ast.BinOp() | ast.Call()]):
            return True  # i < len(items) - 1
    return False


def _related(callout: Callout, positions: Positions, expr: ast.expr) -> list[tuple[ast.AST, str]]:
    related: list[tuple[ast.AST, str]] = []
    if expr is not callout.kind:
        related.append((callout.call, "this callout gets it"))
    match positions.source:
        case ast.For(target=target) | ast.AsyncFor(target=target):
            related.append((target, "the loop counts here"))
        case ast.ListComp(generators=[first, *_]) | ast.GeneratorExp(generators=[first, *_]):
            related.append((first.target, "the loop counts here"))
        case _:
            pass
    return related
