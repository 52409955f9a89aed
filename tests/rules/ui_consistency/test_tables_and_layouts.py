from __future__ import annotations

import pytest
from qalint_rules.ui_consistency import (
    CutOffFigure,
    OverwideColumn,
    PageSizeOutOfRange,
    PreviewSelectable,
    PreviewWithoutIndex,
    PrivateUiInLayout,
    TruncatedPreview,
)

from qalint.testing import apply, findings, notebook

HEAD = "import marimo as mo\nimport pandas as pd\nimport polars as pl\nfrom itertools import islice"
DATA = "df = pd.DataFrame({'a': range(100)})\nrows = list(range(100))"


def run(rule, *cells: str, **options):
    return findings(rule, notebook(HEAD, *cells), **options)


def last(text: str) -> str:
    """The body of the last cell."""
    lines = text.rstrip("\n").split("\n\n\n")[-1].split("\n")[2:]
    return "\n".join(line[4:] for line in lines)


class TestTruncatedElsewhere:
    @pytest.mark.parametrize(
        ("cell", "fixed"),
        [
            (
                "out = []\nfor i in range(5):\n    out.append({'r': rows[i]})\nmo.ui.table(out)",
                "out = []\nfor i in range(len(rows)):\n    out.append({'r': rows[i]})\nmo.ui.table(out)",
            ),
            (
                "out = []\nfor i, r in enumerate(rows):\n    if i >= 5:\n        break\n"
                "    out.append(r)\nmo.ui.table(out)",
                "out = []\nfor i, r in enumerate(rows):\n    out.append(r)\nmo.ui.table(out)",
            ),
            (
                "mo.ui.table([{'r': r} for i, r in enumerate(rows) if i < 5])",
                "mo.ui.table([{'r': r} for i, r in enumerate(rows)])",
            ),
            ("N = 8\nmo.ui.table(df.head(N))", "N = 8\nmo.ui.table(df, page_size=8)"),
            (
                "def show(frame, n=6):\n    return mo.ui.table(frame[:n])\nshow(df)",
                "def show(frame, n=6):\n    return mo.ui.table(frame, page_size=6)\nshow(df)",
            ),
        ],
    )
    def test_limits_that_are_no_slice_of_the_argument(self, cell, fixed):
        (found,) = run(TruncatedPreview, DATA, cell)
        assert last(apply(found)) == fixed

    def test_few_rows_that_other_code_reads_stay_few(self):
        cells = ("few = rows[:8]\nprompts = [str(r) for r in few]", "mo.ui.table(few)")
        (found,) = run(TruncatedPreview, DATA, *cells)
        text = apply(found)
        assert "few = rows[:8]" in text and last(text) == "mo.ui.table(rows, page_size=8)"

    def test_no_fix_beside_a_text_that_would_become_untrue(self):
        (found,) = run(TruncatedPreview, DATA, "mo.vstack([mo.md('First 8 rows'), mo.ui.table(df.head(8))])")
        assert found.fix is None

    @pytest.mark.parametrize(
        "cell",
        [
            "train, test = rows[:80], rows[80:]\nmo.ui.table(train)",
            "train = rows[:80]\ntest = rows[80:]\nmo.ui.table(train)",
            "few = [1, 2, 3]\nmo.ui.table([{'r': few[i]} for i in range(3)])",
            "mo.ui.table([{'epoch': i, 'loss': losses[i]} for i in range(5)])",
            "def show(frame, n=6):\n    return mo.ui.table(frame[:n])\nshow(df, slider.value)",
            "top_n = 5\nmo.ui.table(df.head(top_n))",
        ],
    )
    def test_what_is_no_cut(self, cell):
        assert run(TruncatedPreview, DATA, cell) == []


class TestTruncated:
    @pytest.mark.parametrize(
        ("call", "fixed"),
        [
            ("mo.ui.table(df.head(10))", "mo.ui.table(df, page_size=10)"),
            ("mo.ui.table(df.head())", "mo.ui.table(df, page_size=5)"),
            ("mo.ui.table(df[:20])", "mo.ui.table(df, page_size=20)"),
            ("mo.ui.table(df.iloc[:20])", "mo.ui.table(df, page_size=20)"),
            ("mo.ui.table(df.limit(8), page_size=4)", "mo.ui.table(df, page_size=4)"),
            ("mo.ui.table(df.sample(100))", "mo.ui.table(df, page_size=50)"),
            ("mo.ui.table(list(islice(rows, 10)))", "mo.ui.table(list(rows))"),
            ("mo.ui.table(data=rows[:10])", "mo.ui.table(data=rows, page_size=10)"),
            ("mo.ui.table([{'r': r} for r in rows[:10]])", "mo.ui.table([{'r': r} for r in rows])"),
            ("mo.ui.table(pd.DataFrame(rows[:10]))", "mo.ui.table(pd.DataFrame(rows))"),
        ],
    )
    def test_found_and_fixed(self, call, fixed):
        (found,) = run(TruncatedPreview, DATA, call)
        assert "the other rows cannot be reached" in found.message
        assert fixed in apply(found)

    def test_ranges_and_columns(self):
        cell = "mo.ui.table([{'i': i, 'r': rows[i]} for i in range(min(10, len(rows)))])"
        (found,) = run(TruncatedPreview, DATA, cell)
        assert "for i in range(len(rows))])" in apply(found)
        (found,) = run(TruncatedPreview, DATA, "mo.ui.table(pd.DataFrame({'a': rows[:9], 'b': rows[:9]}))")
        assert found.fix is None

    def test_by_name_and_by_loop(self):
        assert len(run(TruncatedPreview, DATA, "preview = df.head(3)\nmo.ui.table(preview)")) == 1
        loop = "out = []\nfor i, r in enumerate(rows):\n    if i >= 5:\n        break\n    out.append(r)\n"
        loop += "mo.ui.table(out)"
        (found,) = run(TruncatedPreview, DATA, loop)
        assert "the first 5 rows" in found.message

    @pytest.mark.parametrize(
        "cell",
        [
            "mo.ui.table(df)",
            "mo.ui.table(df[::-1])",
            "mo.ui.table(df[:0])",
            "mo.ui.table(df.head(n))",
            "mo.ui.table(df.head(size.value))",
            "mo.ui.table(df.sort_values('a').head(5))",
            "mo.ui.table(df.nlargest(5, 'a'))",
            "best_rows = df[:3]\nmo.ui.table(best_rows)",
            "mo.ui.table(pl.scan_csv('x').head(5).collect())",
            "mo.ui.table(mo.sql('select 1').head(5))",
            "lazy = pl.scan_csv('x')\nmo.ui.table(lazy.limit(5).collect())",
            "df.head()",
            "mo.ui.table(df[10:20])",
            "mo.ui.table(df.sample(frac=0.1))",
        ],
    )
    def test_silent(self, cell):
        assert run(TruncatedPreview, DATA, cell) == []

    def test_what_a_sql_cell_gives_is_left_alone(self):
        assert run(TruncatedPreview, "r = mo.sql('select * from t')", "mo.ui.table(r.head(5))") == []


class TestPages:
    def test_options_reach_the_rule(self):
        assert run(PageSizeOutOfRange, DATA, "mo.ui.table(df, page_size=60)", max=100) == []
        (found,) = run(PageSizeOutOfRange, DATA, "mo.ui.table(df, page_size=20)", max=10)
        assert "page_size=10" in apply(found)

    def test_above_marimos_own_limit(self):
        (found,) = run(PageSizeOutOfRange, DATA, "mo.ui.table(df, page_size=500)")
        assert "200 at most" in found.message

    def test_one_long_page(self):
        (found,) = run(PageSizeOutOfRange, "mo.ui.table([n for n in range(30)], pagination=False, label='x')")
        assert "mo.ui.table([n for n in range(30)], label='x')" in apply(found)
        assert run(PageSizeOutOfRange, "mo.ui.table([1, 2], pagination=False)") == []
        assert run(PageSizeOutOfRange, "mo.ui.table(unknown, pagination=False)") == []


class TestColumns:
    def test_index(self):
        (found,) = run(PreviewWithoutIndex, "mo.ui.table(pd.DataFrame({'text': texts}))")
        assert "{\"index\": range(len(texts)), 'text': texts}" in apply(found)
        assert run(PreviewWithoutIndex, "mo.ui.table(pd.DataFrame({'#': n, 'text': texts}))") == []
        assert run(PreviewWithoutIndex, "mo.ui.table(df)") == []

    def test_wrapping(self):
        (found,) = run(OverwideColumn, "mo.ui.table([{'prompt': p, 'n': 1}])")
        assert 'wrapped_columns=["prompt"]' in apply(found)
        assert run(OverwideColumn, "mo.ui.table([{'n': 1}])") == []

    def test_selection(self):
        (found,) = run(PreviewSelectable, "mo.ui.table(df)")
        assert "mo.ui.table(df, selection=None)" in apply(found)
        assert run(PreviewSelectable, "t = mo.ui.table(df)\nt", "print(t.value)") == []
        assert run(PreviewSelectable, "mo.ui.table(df, on_change=f)") == []

    def test_width(self):
        assert len(run(CutOffFigure, "plt.figure(figsize=(20, 4))")) == 1
        assert run(CutOffFigure, "plt.figure(figsize=(10, 4))") == []


class TestPrivateElements:
    def test_a_private_name(self):
        (found,) = run(PrivateUiInLayout, "_b = mo.ui.button(on_click=f)\nmo.vstack([mo.md('x'), _b])")
        assert found.place.source.text[found.place.start : found.place.end] == "_b"
        assert "b = mo.ui.button(on_click=f)\n    mo.vstack([mo.md('x'), b])" in apply(found)

    def test_inline(self):
        (found,) = run(PrivateUiInLayout, "mo.hstack([mo.ui.button(on_click=f)])")
        assert "layout = mo.hstack([mo.ui.button(on_click=f)])\n    layout" in apply(found)

    def test_in_a_private_layout(self):
        (found,) = run(PrivateUiInLayout, "_out = mo.callout(mo.ui.text(on_change=f))\n_out")
        assert "out = mo.callout(mo.ui.text(on_change=f))\n    out" in apply(found)

    @pytest.mark.parametrize(
        "cell",
        [
            "b = mo.ui.button(on_click=f)\nmo.vstack([b])",
            "_b = mo.ui.button(on_click=f)\n_b",
            "_b = mo.ui.button(on_click=f)\n[_b]",
            "_b = mo.ui.button()\nmo.vstack([_b])",
            "out = mo.vstack([mo.ui.button(on_click=f)])\nout",
            "mo.vstack([mo.ui.array([mo.ui.button(on_click=f)])])",
            "mo.ui.tabs({'a': mo.ui.button(on_click=f)})",
            "mo.vstack([mo.ui.button(on_click=None)])",
            "_b = mo.ui.button(on_click=f)\ndef g():\n    return _b\nmo.vstack([_b])",
        ],
    )
    def test_silent(self, cell):
        assert run(PrivateUiInLayout, cell) == []
