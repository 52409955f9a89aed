from __future__ import annotations

import ast
import subprocess
import sys

import libcst
import pytest

from qalint.analysis.cst import MAX_DEPTH, Cst, limit
from qalint.file import File
from qalint.source import Block, Source
from qalint.testing import file_of


def cst_of(text: str) -> Cst:
    """Of exactly this text."""
    found = File(Source("x.py", text), ast.parse(text)).get(Cst)
    assert found is not None
    return found


TEXTS = {
    "plain": "import torch\n\ndef f(a, b=1):\n    # why\n    return (a + b) * 2  # t\n\nx = f(1, b=(2))\n",
    "crlf": "if x:\r\n\ty = f(1)\r\n\r\nelse:\r\n\tz = 'a'\r\n",
    "non-ascii": "größe = 'ü𝄞' + f(naïve, \"日本\")\nf(größe)\n",
    "no final newline": "a = f(1)",
    "semicolons": "a = 1; b = f(2); c(3)\nd = 4\n",
    "decorators": "@app.cell\n@y(1)\nasync def f():\n    await g()\n@x\nclass A(B, k=1):\n    y = f(1)\n",
    "continuation": "x = 1 + \\\n    f(2)\nwith a as b, \\\n     c: pass\n",
    "strings": "x = '''a\nb''' 'c'\ny = f(rb'x', f'{a!r:>{w}}')\n",
    "comments first": "# a\n\n# b\nx = f(1)\n\n# end\n",
    "match": "match p:\n    case [1, *r]:\n        f(r)\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_spans_agree_with_ast_on_every_call_name_and_statement(name: str) -> None:
    cst = cst_of(TEXTS[name])
    assert cst.reason is None
    checked = 0
    for node in ast.walk(cst.file.tree):
        if isinstance(node, (ast.Call, ast.Name, ast.stmt, ast.keyword, ast.arg)):
            if isinstance(node, ast.Name) and name == "strings" and node.id in "aw":
                continue  # inside an f-string, whose positions ast gets wrong before Python 3.12
            found = cst.at(node)
            assert found is not None, ast.dump(node)
            assert cst.span(found) == cst.file.source.span(node)
            checked += 1
    assert checked >= 2


def test_at_finds_the_node_of_the_right_kind() -> None:
    cst = cst_of("f(x)\n")
    statement = cst.file.tree.body[0]
    assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    assert isinstance(cst.at(statement), libcst.Expr)
    assert isinstance(cst.at(statement.value), libcst.Call)
    assert isinstance(cst.at(statement.value.args[0]), libcst.Name)


def test_nodes_by_type_and_parents() -> None:
    cst = cst_of("def f():\n    g(h(1))\n")
    calls = list(cst.nodes(libcst.Call))
    assert [cst.code(call) for call in calls] == ["g(h(1))", "h(1)"]
    inner = cst.parent(calls[1])
    assert isinstance(inner, libcst.Arg) and cst.parent(inner) is calls[0]


def test_blocks_are_parsed_apart() -> None:
    text = "# Title\n\n```python\nx = f(1)\n```\n\n```python\ny = f(2)\n```\n"
    blocks = (
        Block(text.index("x ="), text.index("x =") + 9),
        Block(text.index("y ="), text.index("y =") + 9),
    )
    blank = "".join(
        char if any(b.start <= at < b.end for b in blocks) or char == "\n" else " "
        for at, char in enumerate(text)
    )
    tree = ast.parse("\n".join(line if line.strip() else "" for line in blank.split("\n")))
    cst = File(Source("x.md", text, kind="markdown", blocks=blocks), tree).get(Cst)
    assert cst is not None
    assert [cst.code(call) for call in cst.nodes(libcst.Call)] == ["f(1)", "f(2)"]
    assert cst.span(next(cst.nodes(libcst.Call))) == (text.index("f(1)"), text.index("f(1)") + 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = a" + ".b()" * 250, "chained"),
        ("x = " + "1 + " * 600 + "1", "chained"),
        ("x = [" + "1," * 20_001 + "]", "elements"),
        ("x = 1\n" + "# " + "x" * 1_000_001, "bytes"),
    ],
)
def test_what_libcst_cannot_bear_is_refused_with_a_reason(text: str, words: str) -> None:
    cst = cst_of(text)
    assert cst.reason is not None and words in cst.reason
    assert list(cst.nodes(libcst.Call)) == []
    assert cst.at(cst.file.tree.body[0]) is None
    assert any(words in unknown.reason for unknown in cst.file.unknowns)


def test_what_the_parser_bears_and_the_generator_does_not_has_no_spans() -> None:
    cst = cst_of("x = " + "(" * 190 + "f(1)" + ")" * 190 + "\n" + "y = " + "[" * 150 + "1" + "]" * 150)
    assert cst.reason is None
    for node in cst.nodes(libcst.Call):
        assert cst.span(node) is None or cst.code(node) == "f(1)"


def test_form_feeds_that_libcst_drops_are_refused() -> None:
    cst = cst_of("x = 1\n\f\ny = 2\n\fz = 3\n")
    assert cst.reason is not None and "reproduce" in cst.reason


def test_ordinary_code_is_within_the_limits() -> None:
    file = file_of("x = a.b().c().d()\n" * 50)
    assert limit(file.tree, len(file.source.raw)) is None
    assert MAX_DEPTH >= 100


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = "import sys, qalint.analysis.cst; sys.exit('libcst' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", TEXTS)
def test_a_statement_parsed_alone_has_the_same_nodes_at_the_same_places(name: str) -> None:
    whole = cst_of(TEXTS[name])
    assert whole.reason is None
    for node in ast.walk(whole.file.tree):
        if not isinstance(node, (ast.Call, ast.Name, ast.stmt, ast.keyword, ast.arg)):
            continue
        apart = cst_of(TEXTS[name])
        same = next(
            other
            for other in ast.walk(apart.file.tree)
            if type(other) is type(node) and apart.file.source.span(other) == whole.file.source.span(node)
        )
        expected, found = whole.at(node), apart.at(same)
        assert type(found) is type(expected)
        if found is None or expected is None:
            continue
        assert apart.span(found) == whole.span(expected)
        assert apart.code(found) == whole.code(expected)
        parents = [(apart, found), (whole, expected)]
        kinds = []
        for cst, current in parents:
            kinds.append([])
            while (above := cst.parent(current)) is not None:
                current = above
                kinds[-1].append(type(current))
        assert kinds[0] == kinds[1]


def test_only_the_statement_that_is_asked_for_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parse = libcst.parse_module
    monkeypatch.setattr(libcst, "parse_module", lambda text: parsed.append(text) or parse(text))
    cst = cst_of("import torch\n\n\ndef f():\n    g(1)\n    # of f\n\n# of x\nx = f()\n")
    call = cst.file.tree.body[1].body[0].value  # type: ignore[attr-defined]
    found = cst.at(call)
    assert found is not None and cst.code(found) == "g(1)"
    assert parsed == ["def f():\n    g(1)\n    # of f\n\n# of x\npass"]
    assert [cst.code(node) for node in cst.nodes(libcst.Call)] == ["g(1)", "f()"]
    assert parsed[1:] == [cst.file.source.text]
