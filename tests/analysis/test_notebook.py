from __future__ import annotations

import ast
import textwrap

import pytest

from qalint.analysis.notebook import Notebook, is_private, tails
from qalint.file import File
from qalint.markdown import fences
from qalint.source import Source
from qalint.testing import file_of, notebook


def of(text: str) -> Notebook:
    found = file_of(text).get(Notebook)
    assert found is not None
    return found


def of_cells(*cells: str) -> Notebook:
    return of(notebook(*cells))


def of_markdown(text: str) -> Notebook:
    text = textwrap.dedent(text).lstrip("\n")
    blocks = fences(text)
    kept = [" " if char not in "\r\n" else char for char in text]
    for block in blocks:
        if block.language == "python":
            kept[block.start : block.end] = text[block.start : block.end]
    source = Source("nb.md", text, kind="markdown", blocks=blocks)
    found = File(source, ast.parse("".join(kept))).get(Notebook)
    assert found is not None
    return found


GENERATIONS = """
    # /// script
    # dependencies = ["marimo"]
    # ///
    \"\"\"A notebook of all generations.\"\"\"
    import marimo

    __generated_with = "0.25.2"
    app = marimo.App(width="medium")
    BETWEEN = 1

    with app.setup(hide_code=True):
        import marimo as mo
        _private = 1

    @app.function
    def helper(x):
        return x + factor

    @app.class_definition
    class Config:
        size = 3

    @app.cell
    def __(mo):
        factor = 2
        return factor,

    @app.cell(hide_code=True, disabled=True)
    async def named(factor, _x):
        await load(factor)

    app._unparsable_cell(r"x = = 1", name="broken")

    if __name__ == "__main__":
        app.run()
"""


class TestCells:
    def test_every_generation(self):
        cells = of(GENERATIONS).cells
        assert [(cell.kind, cell.name) for cell in cells] == [
            ("setup", "setup"),
            ("function", "helper"),
            ("class", "Config"),
            ("cell", "__"),
            ("cell", "named"),
            ("unparsable", "broken"),
        ]
        assert [cell.is_async for cell in cells] == [False, False, False, False, True, False]
        assert [cell.disabled for cell in cells] == [False, False, False, False, True, False]

    def test_code_between_the_cells_is_kept_apart(self):
        found = of(GENERATIONS)
        assert "BETWEEN" in found.outside_names
        assert found.definers("BETWEEN") == []

    def test_the_trailing_return_is_no_part_of_the_body(self):
        cell = of(GENERATIONS).cells[3]
        assert [type(each).__name__ for each in cell.body] == ["Assign"]
        assert [node.id for node in cell.returned] == ["factor"]
        assert [parameter.arg for parameter in cell.params] == ["mo"]

    @pytest.mark.parametrize(
        "head",
        [
            "import marimo\napp = marimo.App()",
            "import marimo as mo\napp = mo.App()",
            "from marimo import App\napp = App()",
            "import marimo\nnb = marimo.App()\napp = nb",
        ],
    )
    def test_ways_to_make_the_app(self, head):
        name = "nb" if "nb" in head else "app"
        found = file_of(f"{head}\n\n@{name}.cell\ndef _():\n    x = 1\n").get(Notebook)
        assert found is not None
        assert [sorted(cell.defs) for cell in found.cells] == [["x"]]

    @pytest.mark.parametrize(
        "text",
        ["import marimo as mo\nmo.md('no app')\n", "app = App()\n", "import flask\napp = flask.App()\n", ""],
    )
    def test_no_notebook(self, text):
        assert file_of(text).get(Notebook) is None

    def test_markdown_in_three_spellings_and_sql(self):
        found = of_markdown(
            """
            # Title

            ```python {.marimo name="load"}
            frame = 1
            ```

            ```{python .marimo}
            _y = frame
            ```

            ```{.python.marimo}
            z = 3
            ```

            ```sql {.marimo query="result"}
            select * from frame where v > {z}
            ```

            ```python
            prose = True
            ```
            """
        )
        assert [(cell.kind, cell.name) for cell in found.cells] == [
            ("cell", "load"),
            ("cell", "_"),
            ("cell", "_"),
            ("sql", "_"),
        ]
        sql = found.cells[3]
        assert sql.defs == {"result"}
        assert sql.refs == {"z"}
        assert [cell.number for cell in found.parents(sql)] == [0, 2]
        assert found.definers("prose") == []
        place = found.place(found.cells[1].reads("frame")[0])
        assert place.source.location(place.start)[:2] == (8, 6)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "private"),
        [
            ("_", True),
            ("__", True),
            ("_x", True),
            ("__x", False),
            ("___x", False),
            ("x_", False),
            ("__x__", False),
        ],
    )
    def test_what_is_private(self, name, private):
        assert is_private(name) is private

    @pytest.mark.parametrize(
        ("code", "defs", "refs"),
        [
            ("x = y", {"x"}, {"y"}),
            ("x = x + 1", {"x"}, {"x"}),
            ("x += 1", {"x"}, set()),
            ("for i in items:\n    pass", {"i"}, {"items"}),
            ("with open(p) as f:\n    pass", {"f"}, {"open", "p"}),
            ("import a.b.c", {"a"}, set()),
            ("import a.b as c", {"c"}, set()),
            ("from m import (a, b as c)", {"a", "c"}, set()),
            ("(n := k)", {"n"}, {"k"}),
            ("z = [n for n in xs if n]", {"z"}, {"xs"}),
            ("[y := n for n in xs]", {"y"}, {"xs"}),
            ("def f(a, b=d, *c, e: t = g, **h):\n    return a + q", {"f"}, {"d", "t", "g", "q"}),
            ("class C(B):\n    x = y\n    def m(self):\n        return x", {"C"}, {"B", "y", "x"}),
            ("try:\n    a\nexcept E as e:\n    e", set(), {"a", "E"}),
            (
                "match v:\n    case [p, *q]:\n        pass\n    case {'k': r, **s}:\n        pass",
                set("pqrs"),
                {"v"},
            ),
            ("def f():\n    global g\n    g = 1", {"f", "g"}, set()),
            ("lambda a: a + b", set(), {"b"}),
            ("f'{x} {y:{w}}'", set(), {"x", "y", "w"}),
            ("del q", set(), {"q"}),
            ("x: int = 3", {"x"}, {"int"}),
        ],
    )
    def test_definitions_and_references(self, code, defs, refs):
        cell = of_cells(code).cells[0]
        assert cell.defs == defs
        assert cell.refs == refs

    def test_a_read_before_the_binding_counts_unless_a_loop_holds_both(self):
        early, loop = of_cells(
            "print(_x)\n_x = 1", "for n in [1, 2]:\n    if n > 1:\n        print(_x)\n    _x = n"
        ).cells
        assert [use.name for use in early.reads("_x")] == ["_x"]
        assert loop.reads("_x") == []

    def test_guarded_and_deferred_reads(self):
        cell = of_cells(
            "try:\n    a\nexcept NameError:\n    pass\n"
            "def f():\n    return b\n"
            "try:\n    c\nexcept KeyError:\n    pass"
        ).cells[0]
        assert [use.guarded for use in cell.reads("a")] == [True]
        assert [use.deferred for use in cell.reads("b")] == [True]
        assert [use.guarded for use in cell.reads("c")] == [False]

    def test_deeply_nested_code_does_not_overflow(self):
        cell = of_cells("x = " + " + ".join(["y"] * 900)).cells[0]
        assert cell.refs == {"y"}

    def test_the_place_of_a_name_in_imports_and_definitions(self):
        found = of_cells("import numpy as _np", "def _f(x):\n    return x", "x = f'''\n {_np} and {_f}'''")
        text = found.source.text
        for name, cell in (("_np", 0), ("_f", 1)):
            span = found.name_span(found.cells[cell].stores(name)[0])
            assert text[span.start : span.end] == name
        for name in ("_np", "_f"):
            span = found.name_span(found.cells[2].reads(name)[0])
            assert text[span.start : span.end] == name


class TestGraph:
    def test_run_order_is_by_dependency_and_stable(self):
        found = of_cells("print(total)", "total = factor + 1", "factor = 2", "print('apart')")
        assert [cell.number for cell in found.run_order()] == [2, 1, 0, 3]

    def test_setup_runs_first_and_cycles_do_not_hang(self):
        found = of(
            """
            import marimo
            app = marimo.App()

            @app.cell
            def _():
                a = b

            @app.cell
            def _():
                b = a

            with app.setup:
                c = 1
            """
        )
        assert [cell.number for cell in found.run_order()] == [2, 0, 1]
        assert [[cell.number for cell in group] for group in found.cycles()] == [[0, 1]]

    def test_deleting_makes_a_child_of_the_readers(self):
        found = of_cells("del x", "print(x)", "x = 1")
        assert [cell.number for cell in found.run_order()] == [2, 1, 0]


class TestMeaning:
    def test_the_alias_wherever_it_is_imported(self):
        found = of_cells("import marimo as ui_lib\nfrom marimo import ui, md as markdown", "ui_lib.md('x')")
        assert found.marimo(found.cells[1], ast.parse("ui_lib.ui.table", mode="eval").body) == "ui.table"
        assert found.marimo(found.cells[1], ast.parse("ui.slider", mode="eval").body) == "ui.slider"
        assert found.marimo(found.cells[1], ast.parse("markdown", mode="eval").body) == "md"
        assert found.alias_for(found.cells[1]) == "ui_lib"

    def test_a_private_alias_holds_in_its_cell_only(self):
        found = of_cells("import marimo as _m\n_m.md('x')", "_m.md('x')")
        expression = ast.parse("_m.md", mode="eval").body
        assert found.marimo(found.cells[0], expression) == "md"
        assert found.marimo(found.cells[1], expression) is None

    def test_conventional_names_that_nothing_binds(self):
        found = of_cells("mo.md('x')")
        assert found.marimo(found.cells[0], ast.parse("mo.md", mode="eval").body) == "md"
        found = of_cells("mo = object()\nmo.md('x')")
        assert found.marimo(found.cells[0], ast.parse("mo.md", mode="eval").body) is None


class TestDisplay:
    @pytest.mark.parametrize(
        ("expression", "kind"),
        [
            ("mo.md('x')", "layout"),
            ("mo.md('x').callout(kind='info')", "layout"),
            ("mo.md('x').center()", "layout"),
            ("mo.vstack([1]) if a else None", "layout"),
            ("[mo.md(str(n)) for n in range(3)]", "layout"),
            ("mo.ui.slider(1, 2)", "input"),
            ("mo.ui.table([])", "widget"),
            ("mo.md('{x}').batch(x=mo.ui.text())", "layout"),
            ("px.line(y=[1])", "figure"),
            ("alt.Chart(d).mark_bar().encode(x='a')", "figure"),
            ("alt.Chart(d).mark_bar() + alt.Chart(d).mark_line()", "figure"),
            ("alt.Chart(d)", None),
            ("pd.DataFrame({}).head()", "frame"),
            ("pd.DataFrame({}).sort_values('a', inplace=True)", None),
            ("mo.stop(a)", None),
            ("mo.state(1)", None),
            ("mo.output.append(1)", None),
            ("mo.status.spinner()", None),
            ("slider.value", None),
            ("print(1)", None),
            ("mo.md('x').text", None),
        ],
    )
    def test_kinds(self, expression, kind):
        found = of_cells(
            "import marimo as mo\nimport plotly.express as px\nimport altair as alt\nimport pandas as pd",
            f"x = {expression}",
        )
        value = found.cells[1].body[0].value
        shown = found.display(found.cells[1]).of(value)
        assert (shown.kind if shown else None) == kind

    def test_functions_that_only_build_something_to_look_at(self):
        found = of_cells(
            "def card(t):\n    return mo.callout(t)\n\ndef work(t):\n    save(t)\n    return mo.callout(t)",
            "card('a')\nwork('b')\nx = 1",
        )
        display = found.display(found.cells[1])
        assert [display.of_statement(each) is not None for each in found.cells[1].body] == [
            True,
            False,
            False,
        ]

    def test_elements_without_a_public_name(self):
        made = "a = mo.ui.text()\n_b = mo.ui.text()\n"
        found = of_cells(made + "mo.vstack([a])\nmo.vstack([_b])\nmo.vstack([mo.ui.text()])")
        display = found.display(found.cells[0])
        lost = [display.of(each.value).lost_ui for each in found.cells[0].body[2:]]
        assert lost == [False, True, True]

    def test_tails_of_nested_blocks(self):
        statement = ast.parse("if a:\n    x\nelif b:\n    for n in c:\n        y\nelse:\n    z = 1\n").body[0]
        assert [ast.unparse(tail) for tail in tails(statement)] == ["x", "y"]

    @pytest.mark.parametrize(
        ("body", "shows"),
        [
            ("mo.md('x')", True),
            ("mo.md('x');", False),
            ("mo.md('x')  # ;", True),
            ("x = 1; x", True),
            ("None", False),
        ],
    )
    def test_what_the_last_line_shows(self, body, shows):
        found = of_cells(body)
        assert found.display(found.cells[0]).shows_last is shows
