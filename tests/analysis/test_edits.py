from __future__ import annotations

import ast
from collections.abc import Callable

import pytest

from qalint.analysis.edits import Changes, Edits
from qalint.file import File
from qalint.source import Source
from qalint.testing import file_of


def edits_of(text: str) -> Edits:
    found = file_of(text).get(Edits)
    assert found is not None
    return found


def changed(edits: Edits, changes: Changes | None) -> str:
    assert changes is not None
    text = edits.text
    for edit in sorted(changes, reverse=True):
        text = text[: edit.start] + edit.content + text[edit.end :]
    ast.parse(text)
    return text


def call(edits: Edits, name: str = "f") -> ast.Call:
    for node in ast.walk(edits.file.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
            return node
    raise AssertionError(name)


def stmt(edits: Edits, start: str) -> ast.stmt:
    """The statement whose text begins so."""
    for node in ast.walk(edits.file.tree):
        if isinstance(node, ast.stmt) and edits.segment(node).startswith(start):
            return node
    raise AssertionError(start)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("f()", "f(n)"),
        ("f( )", "f( n)"),
        ("f(a)", "f(a, n)"),
        ("f(a, )", "f(a, n, )"),
        ("f((a), *(b))", "f((a), *(b), n)"),
        ("f(a, b)", "f(a, b, n)"),
        ("f(x for x in y)", "f((x for x in y), n)"),
        ("f(\n    a,  # why\n)", "f(\n    a, n,  # why\n)"),
        ("f('ü', a)", "f('ü', a, n)"),
    ],
)
def test_add_argument_at_the_end(before: str, after: str) -> None:
    edits = edits_of(before)
    assert changed(edits, edits.add_argument(call(edits), "n")) == after


BLOCK = """
if x:
    # clip
    clip(p)  # tail
    step(o)
"""


def test_insert_before_stands_above_the_comments_of_the_statement() -> None:
    edits = edits_of(BLOCK)
    got = changed(edits, edits.insert_before(stmt(edits, "clip"), "unscale(o)"))
    assert got == "if x:\n    unscale(o)\n    # clip\n    clip(p)  # tail\n    step(o)\n"


def test_insert_after_stands_below_the_trailing_comment() -> None:
    edits = edits_of(BLOCK)
    got = changed(edits, edits.insert_after(stmt(edits, "clip"), "unscale(o)"))
    assert got == "if x:\n    # clip\n    clip(p)  # tail\n    unscale(o)\n    step(o)\n"


def test_insert_after_at_the_end_of_a_file_without_line_end() -> None:
    edits = edits_of("a = 1\nb = 2")
    assert changed(edits, edits.insert_after(stmt(edits, "b"), "c = 3")) == "a = 1\nb = 2\nc = 3"


@pytest.mark.parametrize(
    "text",
    ["a(); b()", "if x: b()", "a(); b()\n", "if x:\n    \\\nb()\n", "a(); \\\nb()\n", "if x: \\\n  b()\n"],
)
def test_statements_that_share_a_line_are_left_alone(text: str) -> None:
    edits = edits_of(text)
    assert edits.insert_before(stmt(edits, "b()"), "c()") is None
    assert edits.insert_after(stmt(edits, "b()"), "c()") is None
    assert edits.remove(stmt(edits, "b()")) is None


def test_remove_leaves_pass_in_a_suite_that_would_be_empty() -> None:
    edits = edits_of("if x:\n    a()  # why\nb()\n")
    assert changed(edits, edits.remove(stmt(edits, "a()"))) == "if x:\n    pass  # why\nb()\n"
    assert changed(edits, edits.remove(stmt(edits, "b()"))) == "if x:\n    a()  # why\n"


def test_move_takes_comments_along_and_takes_the_new_indentation() -> None:
    edits = edits_of("""
        for b in l:
            # one scaler
            s = make(
                1,
                name=\"\"\"a
            kept\"\"\",
            )  # tail
            use(s)
    """)
    got = changed(edits, edits.move_before(stmt(edits, "s = "), stmt(edits, "for")))
    assert got == (
        '# one scaler\ns = make(\n    1,\n    name="""a\n    kept""",\n)  # tail\nfor b in l:\n    use(s)\n'
    )


def test_move_leaves_pass_behind() -> None:
    edits = edits_of("if x:\n    a()\nb()\n")
    got = changed(edits, edits.move_after(stmt(edits, "a()"), stmt(edits, "b()")))
    assert got == "if x:\n    pass\nb()\na()\n"


def test_move_many_keeps_the_order() -> None:
    edits = edits_of("a()\nb()\nc()\n")
    one, two, three = edits.file.tree.body
    assert changed(edits, edits.move_many([one, two], three, after=True)) == "c()\na()\nb()\n"


def test_crlf_tabs_and_form_feeds_survive() -> None:
    text = "if x:\r\n\ta = 'ü'\r\n\tb()\r\n"
    edits = Edits(File(Source("x.py", text), ast.parse(text)))
    assert (
        changed(edits, edits.insert_before(stmt(edits, "b()"), "c()"))
        == "if x:\r\n\ta = 'ü'\r\n\tc()\r\n\tb()\r\n"
    )


@pytest.mark.parametrize(
    ("text", "spelled", "added"),
    [
        ("import torch\nf()", "torch.amp.GradScaler", ""),
        ("import torch as t\nf()", "t.amp.GradScaler", ""),
        ("from torch import amp\nf()", "amp.GradScaler", ""),
        ("from torch.amp import GradScaler as GS\nf()", "GS", ""),
        (
            "'''doc'''\nfrom __future__ import annotations\nimport os\nx = 1\nf()",
            "torch.amp.GradScaler",
            "import torch\n",
        ),
        ("from torch import nn\n\n\ndef g():\n    f()", "torch.amp.GradScaler", "import torch\n"),
    ],
)
def test_spelling_uses_what_is_imported(text: str, spelled: str, added: str) -> None:
    edits = edits_of(text)
    found = edits.spelling("torch.amp.GradScaler", call(edits))
    assert found is not None and found[0] == spelled
    assert "".join(edit.content for edit in found[1]) == added
    if found[1]:
        assert changed(edits, found[1]).splitlines()[:4].count("import torch") == 1


def test_spelling_refuses_a_name_that_means_something_else() -> None:
    edits = edits_of("torch = 3\nf()")
    assert edits.spelling("torch.amp.GradScaler", call(edits)) is None


def test_an_import_for_a_marimo_cell_goes_into_the_cell() -> None:
    edits = edits_of("import marimo\napp = marimo.App()\n\n@app.cell\ndef _():\n    f()\n    return\n")
    found = edits.add_import("import torch", call(edits))
    assert "def _():\n    import torch\n    f()\n" in changed(edits, found)


def test_fresh_and_parents() -> None:
    edits = edits_of("def g():\n    for i in y:\n        scaler = f()\n")
    node = call(edits)
    assert edits.fresh("scaler") == "scaler_2"
    statement = edits.statement(node)
    assert statement is not None
    assert [type(parent).__name__ for parent in edits.parents(statement)] == ["For", "FunctionDef"]


def test_a_fix_is_made_of_all_changes_or_none() -> None:
    edits = edits_of("a()\nb(); c()\n")
    one: Callable[[], Changes | None] = lambda: edits.insert_before(stmt(edits, "a()"), "x()")  # noqa: E731
    assert edits.safe("x", one()) is not None
    assert edits.safe("x", one(), edits.remove(stmt(edits, "b()"))) is None
