"""The fast walk meets what `ast.walk` meets, but for what only says how a name is used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from qalint.analysis.nodes import nodes

ROOT = Path(__file__).parents[2]
EVERY = """
@decorated(1)
async def f(a, /, b: int = 1, *c, d=2, **e) -> int:
    global g
    async with a as b, c: pass
    async for x in y: await z
    try: raise A from b
    except* B as c: del d[1:2, ...]
    return lambda x: (yield), [i async for i in j if k], {1: 2, **m}, f"{a!r:>{b}}", not a, a @ b

match x:
    case {"a": 1, **rest} | [A(b, c=d), *e] | None as f if g: a += (b := c)
"""


@pytest.mark.parametrize("text", [EVERY, *(path.read_text() for path in sorted(ROOT.glob("qalint/*.py")))])
def test_all_nodes_are_met(text: str) -> None:
    tree = ast.parse(text)
    met = list(nodes(tree))
    wanted = {id(node) for node in ast.walk(tree) if not isinstance(node, ast.expr_context)}
    assert {id(node) for node in met} == wanted
    assert len(met) >= len(wanted)


def test_several_trees_are_walked() -> None:
    first, second = ast.parse("a"), ast.parse("b")
    assert {node.id for node in nodes(first, second) if isinstance(node, ast.Name)} == {"a", "b"}
