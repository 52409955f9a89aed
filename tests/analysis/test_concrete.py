"""Changes from concrete nodes: each layout here is one that a search in the text gets wrong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable

import pytest

from qalint.analysis.concrete import Changes, Concrete
from qalint.analysis.cst import MAX_DEPTH
from qalint.file import File
from qalint.source import Source


def concrete_of(text: str) -> Concrete:
    """Of exactly this text."""
    return Concrete(File(Source("x.py", text), ast.parse(text)))


def changed(concrete: Concrete, changes: Changes | None) -> str:
    """The text after the changes; still Python."""
    assert changes is not None
    text = concrete.text
    for edit in sorted(changes, key=lambda edit: (edit.start, edit.end), reverse=True):
        text = text[: edit.start] + edit.content + text[edit.end :]
    ast.parse(text)
    return text


def first(concrete: Concrete, type_: type) -> ast.AST:
    """The first node of a type, outermost first."""
    return next(node for node in ast.walk(concrete.file.tree) if isinstance(node, type_))


FIRST = {
    "f()": "f(n)",
    "f (a)": "f (n, a)",
    "f((a))": "f(n, (a))",
    "(f)(a=1)": "(f)(n, a=1)",
    "f(\n  a\n)": "f(\n  n, a\n)",
    "f(\n    # nothing (yet)\n)": "f(n\n    # nothing (yet)\n)",
    "f(  # (\n    (  # )\n        a\n    ),\n)": "f(  # (\n    n, (  # )\n        a\n    ),\n)",
    "'ü𝄞', f(\r\n\t*a,\r\n)": "'ü𝄞', f(\r\n\tn, *a,\r\n)",
    "f \\\n    (a)": "f \\\n    (n, a)",
    "(f  # (\n)()": "(f  # (\n)(n)",
}


@pytest.mark.parametrize("before", FIRST)
def test_first_argument(before: str) -> None:
    concrete = concrete_of(before)
    call = first(concrete, ast.Call)
    assert isinstance(call, ast.Call)
    assert changed(concrete, concrete.first_argument(call, "n")) == FIRST[before]


def test_a_generator_that_shares_the_parentheses_gets_no_neighbour() -> None:
    concrete = concrete_of("f(x for x in y)")
    call = first(concrete, ast.Call)
    assert isinstance(call, ast.Call)
    assert concrete.first_argument(call, "n") is None


NAMED = {
    "f(a)": "f(k=a)",
    "f(((a)), *b)": "f(k=((a)), *b)",
    "f(  # (\n    (  # why\n        a\n    )\n)": "f(  # (\n    k=(  # why\n        a\n    )\n)",
    "f(a := b)": "f(k=(a := b))",
    "f((a := b))": "f(k=(a := b))",
}


@pytest.mark.parametrize("before", NAMED)
def test_name_argument(before: str) -> None:
    concrete = concrete_of(before)
    call = first(concrete, ast.Call)
    assert isinstance(call, ast.Call)
    assert changed(concrete, concrete.name_argument(call, call.args[0], "k")) == NAMED[before]


REMOVED = [
    ("f(a)", 0, "f()"),
    ("f(a,)", 0, "f()"),
    ("f(a, b)", 0, "f(b)"),
    ("f(a, b)", 1, "f(a)"),
    ("f(a, b, c=1,)", 2, "f(a, b,)"),
    ("f((a), (b))", 1, "f((a))"),
    ("f((a), (b))", 0, "f((b))"),
    ("f(a, *b)", 1, "f(a)"),
    ("f(\n    a,\n    b=1,\n)", 1, "f(\n    a,\n)"),
    ("f(\n    a,\n    b=1\n)", 1, "f(\n    a,\n)"),
    ("f(\n    a,  # of the first\n    b=1,\n)", 1, "f(\n    a,  # of the first\n)"),
    ("f(\n    a,\n    # of the second, (\n    b=1,\n)", 0, "f(\n    # of the second, (\n    b=1,\n)"),
    ("f(\r\n    a,\r\n    b=(  # one\r\n        1\r\n    ),\r\n)", 1, "f(\r\n    a,\r\n)"),
    ("f(a, b,\n  c)", 1, "f(a,\n  c)"),
    ("f(\n    a, b,\n    c,\n)", 0, "f(\n    b,\n    c,\n)"),
]


@pytest.mark.parametrize(("before", "index", "after"), REMOVED)
def test_remove_argument(before: str, index: int, after: str) -> None:
    concrete = concrete_of(before)
    call = first(concrete, ast.Call)
    assert isinstance(call, ast.Call)
    given: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    arguments = sorted(given, key=lambda item: (item.lineno, item.col_offset))
    assert changed(concrete, concrete.remove_argument(call, arguments[index])) == after


@pytest.mark.parametrize("text", ["f(\n    a,  # keep me\n    b,\n)", "f(a  # keep me\n  , b)"])
def test_an_argument_with_a_comment_is_not_removed_blindly(text: str) -> None:
    concrete = concrete_of(text)
    call = first(concrete, ast.Call)
    assert isinstance(call, ast.Call)
    assert concrete.remove_argument(call, call.args[0]) is None


TO_ASSIGNMENT = {
    "p.r == False  # a": "p.x = False  # a",
    "(p.r == False)": "p.x = False",
    "((p.r) == (False))": "(p.x) = (False)",
    "p.r \\\n    == False": "p.x = False",
    "(\n    p.r\n    == False\n)": "p.x = False",
    "d['#ü'].r is True; q()": "d['#ü'].x = True; q()",
}


@pytest.mark.parametrize("before", TO_ASSIGNMENT)
def test_comparison_to_assignment(before: str) -> None:
    concrete = concrete_of(before)
    compare = first(concrete, ast.Compare)
    assert isinstance(compare, ast.Compare)
    assert changed(concrete, concrete.comparison_to_assignment(compare, "x")) == TO_ASSIGNMENT[before]


@pytest.mark.parametrize("text", ["(p.r  # why\n == False)", "(f(\n    p).r == False\n)", "(p\n.r == False)"])
def test_a_comparison_that_cannot_lose_its_parentheses_stays(text: str) -> None:
    concrete = concrete_of(text)
    compare = first(concrete, ast.Compare)
    assert isinstance(compare, ast.Compare)
    assert concrete.comparison_to_assignment(compare, "x") is None


TO_CALL = {
    "m.r = False  # a": "m.x(False)  # a",
    "m.r = (  # why\n    False\n)": "m.x(  # why\n    False\n)",
    "m.r = \\\n    False": "m.x(False)",
    "(m.r) = False": "(m.x)(False)",
    "(\n    m  # the base\n    .a\n).r = False": "(\n    m  # the base\n    .a\n).x(False)",
    "ü = 1; m.r=False; n.r=True": "ü = 1; m.x(False); n.r=True",
}


@pytest.mark.parametrize("before", TO_CALL)
def test_assignment_to_call(before: str) -> None:
    concrete = concrete_of(before)
    assign = next(
        node
        for node in ast.walk(concrete.file.tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)
    )
    assert changed(concrete, concrete.assignment_to_call(assign, "x")) == TO_CALL[before]


IMPORTED = {
    "from a.b import (\n    c,  # a.b\n    d as e,\n)\n": "from n import (\n    c,  # a.b\n    d as e,\n)\n",
    "from a . b import c": "from n import c",
    "from \\\n    a.b \\\n    import c\r\n": "from \\\n    n \\\n    import c\r\n",
    "x = 'ü'; from a.b import c": "x = 'ü'; from n import c",
}


@pytest.mark.parametrize("before", IMPORTED)
def test_imported_from(before: str) -> None:
    concrete = concrete_of(before)
    statement = first(concrete, ast.ImportFrom)
    assert isinstance(statement, ast.ImportFrom)
    assert changed(concrete, concrete.imported_from(statement, "n")) == IMPORTED[before]


def test_one_part_of_an_import_is_changed() -> None:
    concrete = concrete_of("import os, a . b \\\n    as c, sys  # a.b as c\n")
    statement = first(concrete, ast.Import)
    assert isinstance(statement, ast.Import)
    after = changed(concrete, concrete.imported(statement.names[1], "n.m"))
    assert after == "import os, n.m \\\n    as c, sys  # a.b as c\n"


def tail(text: str, inner: str = "    ") -> str | None:
    """After the second statement of the first `with` has been moved out of it."""
    concrete = concrete_of(text)
    block = first(concrete, ast.With)
    assert isinstance(block, ast.With)
    at = concrete.file.source.span(block).start
    outer = text[text.rfind("\n", 0, at) + 1 : at]
    changes = concrete.dedent_tail(block, block.body[1], outer + inner, outer)
    return None if changes is None else changed(concrete, changes)


TAILS = {
    "with a:\n    b\n\n    # c\n    d(\n        1,  # e\n    )\n": (
        "with a:\n    b\n\n# c\nd(\n    1,  # e\n)\n"
    ),
    "with a:\n    b\n    d('''\n    e''')\n    # end\nf\n": "with a:\n    b\nd('''\n    e''')\n# end\nf\n",
    "if x:\r\n    with a:\r\n        b\r\n        if c:\r\n            d\r\n\r\n    e\r\n": (
        "if x:\r\n    with a:\r\n        b\r\n    if c:\r\n        d\r\n\r\n    e\r\n"
    ),
    "with a:\n    b\n    c; d": "with a:\n    b\nc; d",
}


@pytest.mark.parametrize("before", TAILS)
def test_dedent_tail(before: str) -> None:
    assert tail(before) == TAILS[before]


@pytest.mark.parametrize("text", ["with a: b; c\n", "with a:\n    b; c\n", "with a:\n  b\n\\\n  c\n"])
def test_what_does_not_begin_its_line_is_not_dedented(text: str) -> None:
    assert tail(text) is None


QUESTIONS: list[Callable[[Concrete, ast.Call], Changes | None]] = [
    lambda concrete, call: concrete.first_argument(call, "n"),
    lambda concrete, call: concrete.name_argument(call, call.args[0], "k"),
    lambda concrete, call: concrete.remove_argument(call, call.args[0]),
    lambda concrete, call: concrete.rename(call.func, "n"),
    lambda concrete, call: concrete.peel(call, call.args[0]),
]


@pytest.mark.parametrize("ask", QUESTIONS)
def test_beyond_the_limits_there_is_no_change(ask: Callable[[Concrete, ast.Call], Changes | None]) -> None:
    concrete = concrete_of("x = f(a), y" + ".z" * (MAX_DEPTH + 1) + "\n")
    call = first(concrete, ast.Call)
    assert isinstance(call, ast.Call)
    assert ask(concrete, call) is None


def test_nothing_is_imported_before_a_question_is_asked() -> None:
    code = (
        "import ast, sys\n"
        "from qalint.analysis.concrete import Concrete\n"
        "from qalint.file import File\n"
        "from qalint.source import Source\n"
        "file = File(Source('x.py', 'f()'), ast.parse('f()'))\n"
        "concrete = file.get(Concrete)\n"
        "before = 'libcst' in sys.modules\n"
        "concrete.first_argument(file.tree.body[0].value, 'n')\n"
        "sys.exit(before or 'libcst' not in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
