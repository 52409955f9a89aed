"""Source to tree: positions, newer syntax, notebooks, and where errors are."""

from __future__ import annotations

import ast
import sys

import pytest

from qalint import reader
from qalint.ipython import neutralise
from qalint.newer_syntax import downgrade
from qalint.parsing import BeyondLimit, Broken, broken_blocks, tree_of
from qalint.source import Source


@pytest.mark.parametrize(
    ("text", "older"),
    [
        ("def f[T](x: T): pass\n", "def f   (x: T): pass\n"),
        ("class A[T: int](B[T]): pass\n", "class A        (B[T]): pass\n"),
        ("type X = int\n", "pass;X = int\n"),
        ("type X[T] = list[T]\n", "pass;X    = list[T]\n"),
        ("x = f'{y['a']}'\n", "x = f'{y[\"a\"]}'\n"),
        ("try:\n    f()\nexcept A, B:\n    pass\n", "try:\n    f()\nexcept A   :\n    pass\n"),
        ("x = t'{y}'\n", "x = f'{y}'\n"),
    ],
)
def test_newer_syntax_is_respelled_in_place(text: str, older: str) -> None:
    assert downgrade(text) == older
    ast.parse(older)


@pytest.mark.parametrize("text", ["def f(:\n", "x = = 1\n", "print 'x'\n"])
def test_plain_mistakes_are_no_newer_syntax(text: str) -> None:
    assert downgrade(text) is None


def test_newer_syntax_keeps_positions() -> None:
    text = "def f[T](x: T) -> T:\n    return old(x)\n"
    source = Source("a.py", text)
    call = next(node for node in ast.walk(tree_of(source)) if isinstance(node, ast.Call))
    assert source.segment(call) == "old(x)"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python reads it itself")
def test_newer_syntax_that_cannot_be_respelled_says_so() -> None:
    with pytest.raises(Broken, match="newer than Python"):
        tree_of(Source("a.py", "x = f'{f'{y['a']}'}'\n"))


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("x = 1\ndef f(:\n", 12),
        ("x = 'é' é\n", 8),
        ("x = '\0'\n", 5),
        ("\n\nx = (\n", 6),
        ("x = 1\r\ny = = 2\r\n", 11),
        ("x = 1\ry = = 2\r", 10),
    ],
)
def test_errors_stand_where_they_are(text: str, offset: int) -> None:
    with pytest.raises(Broken) as broken:
        tree_of(Source("a.py", text))
    assert broken.value.offset == offset


@pytest.mark.parametrize("text", ["(" * 250 + ")" * 250, "-" * 20000 + "1", "x" + ".a()" * 20000])
def test_what_is_too_deep_is_beyond_a_limit(text: str) -> None:
    with pytest.raises(BeyondLimit):
        tree_of(Source("a.py", text))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_positions_count_code_points_for_every_line_end(ending: str) -> None:
    source = Source("a.py", ending.join(["# é", "x = 'ü☃'; target(1)", "\x0cy = 'ü'; target(2)", ""]))
    calls = [node for node in ast.walk(tree_of(source)) if isinstance(node, ast.Call)]
    assert [source.segment(call) for call in calls] == ["target(1)", "target(2)"]
    assert [source.location(source.span(call).start)[:2] for call in calls] == [(2, 11), (3, 11)]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%matplotlib inline\nx = 1\n", "#matplotlib inline\nx = 1\n"),
        ("!ls \\\n  -l\nx\n", "#ls \\\n# -l\nx\n"),
        ("x = !ls -l\n", "x = None  \n"),
        ("x = %who\n", "x = None\n"),
        ("%time x = f()\n", "0;    x = f()\n"),
        ("if x:\n    !ls -l\n", "if x:\n    pass  \n"),
        ("df?\n?df\ndf.head??\n", "#f?\n#df\n#f.head??\n"),
        ("x = '''\n%no magic\n'''\n", "x = '''\n%no magic\n'''\n"),
        ("x = (a\n% b)\n", "x = (a\n% b)\n"),
        ("%%time\nx = 1\n", "#%time\nx = 1\n"),
        ("%%bash\nls -l\n", "      \n     \n"),
        ("%%html\n<b>\n", "      \n   \n"),
    ],
)
def test_ipython_syntax_is_blanked_in_place(cell: str, expected: str) -> None:
    assert neutralise(cell) == expected
    ast.parse(expected)


MARKDOWN = """\
# x

```python {.marimo}
a = 1
```

   ```{python .marimo name="b"}
   b = a
   ```

````{.python.marimo}
c = '''```'''
````

```sql {.marimo query="d"}
select 1
```

```python
not = a cell
```
"""


def test_markdown_cells() -> None:
    source = reader.decode("a.md", MARKDOWN.encode())
    assert [(block.language, source.text[block.start : block.end]) for block in source.blocks] == [
        ("python", "a = 1\n"),
        ("python", "   b = a\n"),
        ("python", "c = '''```'''\n"),
        ("sql", "select 1\n"),
    ]
    assert [source.segment(statement) for statement in tree_of(source).body] == [
        "a = 1",
        "b = a",
        "c = '''```'''",
    ]


def test_each_broken_cell_is_told() -> None:
    text = MARKDOWN.replace("a = 1", "a = = 1").replace("b = a", "b = (a")
    source = reader.decode("a.qmd", text.encode())
    assert [source.row(broken.offset) for broken in broken_blocks(source)] == [4, 8]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"# coding: nonsense\n", "no text encoding"),
        (b"# coding: rot13\n", "no text encoding"),
        (b"x = '\xe9'\n", "byte 5 .line 1. is not valid UTF-8"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "starts with a UTF-8 mark"),
        (b"\xff\xfex\0", "is not valid UTF-8"),
    ],
)
def test_undecodable(data: bytes, reason: str) -> None:
    with pytest.raises(reader.Unreadable, match=reason):
        reader.decode("a.py", data)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"cells": 1, "nbformat": 4}', b'{"nbformat": 3, "worksheets": []}', b"{"]
)
def test_no_jupyter_notebook(data: bytes) -> None:
    with pytest.raises(reader.Unreadable, match="not a Jupyter notebook"):
        reader.decode("a.ipynb", data)


def test_notebook_of_another_language_has_no_cells() -> None:
    data = (
        b'{"cells": [{"cell_type": "code", "source": "x <- 1"}],'
        b' "metadata": {"kernelspec": {"language": "R"}}, "nbformat": 4}'
    )
    assert reader.decode("a.ipynb", data).blocks == ()
