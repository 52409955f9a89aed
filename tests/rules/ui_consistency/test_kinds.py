from __future__ import annotations

import pytest
from qalint_rules.ui_consistency import (
    DangerWithoutError,
    EducationalNotInfo,
    InvalidCalloutKind,
    KindByPosition,
    SuccessWithoutSuccess,
    WarnWithoutWarning,
)
from qalint_rules.ui_consistency.kinds import nearest

from qalint.testing import apply, findings, notebook

HEAD = "import marimo as mo"


def run(rule, *cells: str):
    return findings(rule, notebook(HEAD, *cells))


def literal(found) -> str:
    return found.place.source.text[found.place.start : found.place.end]


class TestInvalidInShared:
    def test_a_constant_that_is_a_key_as_well_stays(self):
        (found,) = run(
            InvalidCalloutKind, "LEVEL = 'warning'\nicon = icons[LEVEL]", "mo.callout('x', kind=LEVEL)"
        )
        text = apply(found)
        assert "LEVEL = 'warning'" in text and "mo.callout('x', kind=\"warn\")" in text

    def test_no_fix_where_a_table_of_kinds_means_more(self):
        (found,) = run(
            InvalidCalloutKind,
            "kinds = {'a': 'error', 'b': 'info'}",
            "mo.callout('x', kind=kinds[s])",
            "mo.Html(f'<p class={kinds[s]}>')",
        )
        assert found.fix is None

    @pytest.mark.parametrize(
        "cell",
        [
            "notes = [('a', 'error'), ('b', 'info')]\n[mo.callout(t, kind=k) for t, k in notes]",
            "notes = [{'t': 'a', 'k': 'error'}]\n[mo.callout(n['t'], kind=n['k']) for n in notes]",
            "for t, k in {'a': 'error'}.items():\n    mo.output.append(mo.callout(t, kind=k))",
            "for i, k in enumerate(['info', 'error']):\n    mo.output.append(mo.callout(str(i), kind=k))",
            "[mo.callout(t, kind=k) for t, k in zip(['a', 'b'], ['info', 'error'])]",
            "look = dict_of_looks\nmo.callout('x', **{'kind': 'error'})",
            "look = {'kind': 'error'}\nmo.callout('x', **look)",
        ],
    )
    def test_kinds_that_arrive_through_loops_and_options(self, cell):
        (found,) = run(InvalidCalloutKind, cell)
        assert literal(found) == "'error'"
        assert '"danger"' in apply(found)

    @pytest.mark.parametrize(
        "cell",
        [
            "class Slide:\n    def callout(self, text, kind='x'):\n        return text\n"
            "Slide().callout('look', kind='error')",
            "class Slide:\n    def callout(self, kind):\n        return kind\n"
            "page = Slide()\npage.callout(kind='error')",
            "import slides\nslides.Slide().callout(kind='error')",
            "deck.callout('look', kind='error')",
        ],
    )
    def test_methods_of_others(self, cell):
        assert run(InvalidCalloutKind, cell) == []


class TestInvalid:
    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            ("error", "danger"), ("warning", "warn"), ("alert", "danger"), ("note", "info"),
            ("ok", "success"),
            ("Success", "success"), ("sucess", "success"), ("failure", "danger"), ("tip", "info"),
            ("primary", "info"), ("zebra", "neutral"),
        ],
    )  # fmt: skip
    def test_the_nearest_of_the_five(self, given, meant):
        assert nearest(given) == meant

    @pytest.mark.parametrize(
        ("cell", "place"),
        [
            ("mo.callout('x', kind='error')", "'error'"),
            ("mo.callout('x', 'error')", "'error'"),
            ("mo.md('x').callout(kind='error')", "'error'"),
            ("mo.md('x').callout('error')", "'error'"),
            ("k = 'error'\nmo.callout('x', kind=k)", "'error'"),
            ("mo.callout('x', kind='error' if a else 'info')", "'error'"),
            ("mo.callout('x', kind=level or 'error')", "'error'"),
            ("mo.callout('x', kind={'a': 'error', 'b': 'info'}[s])", "'error'"),
            ("ks = ['info', 'error']\nmo.callout('x', kind=ks[n])", "'error'"),
            ("mo.callout('x', kind=table.get(s, 'error'))", "'error'"),
            ("def f(t, kind='error'):\n    return mo.callout(t, kind=kind)", "'error'"),
            ("def f(t, kind):\n    return mo.callout(t, kind=kind)\nf('x', 'error')", "'error'"),
            (
                "def f(ok):\n    k = 'error'\n    if ok:\n        k = 'info'\n    return mo.callout('x', k)",
                "'error'",
            ),
        ],
    )
    def test_ways_to_the_callout(self, cell, place):
        (found,) = run(InvalidCalloutKind, cell)
        assert literal(found) == place
        assert found.message == "`'error'` is no kind of callout: marimo raises ValueError"
        assert "'error'" not in apply(found)

    def test_by_way_of_another_cell(self):
        (found,) = run(InvalidCalloutKind, "level = 'error'", "mo.callout('x', kind=level)")
        assert found.related[0].message == "this callout gets it"

    @pytest.mark.parametrize(
        "cell",
        [
            "mo.callout('x')",
            "mo.callout('error', kind='danger')",
            "mo.ui.button(kind='error')",
            "toast('x', kind='error')",
            "mo.callout('x', kind=unknown)",
            "mo.callout('x', kind=f'{level}')",
            "thing.callout('error', 'x')",
        ],
    )
    def test_silent(self, cell):
        assert run(InvalidCalloutKind, cell) == []


class TestPosition:
    @pytest.mark.parametrize(
        ("cell", "common"),
        [
            ("[mo.callout(x, kind='success' if i == 0 else 'neutral') for i, x in enumerate(xs)]", "neutral"),
            ("[mo.callout(x, kind='success' if not i else 'neutral') for i, x in enumerate(xs)]", "neutral"),
            ("[mo.callout(x, kind='neutral' if i else 'success') for i, x in enumerate(xs)]", "neutral"),
            ("[mo.callout(x, kind='neutral' if i > 0 else 'info') for i, x in enumerate(xs, 1)]", "neutral"),
            ("[mo.callout(x, kind='info' if x is xs[0] else 'warn') for x in xs]", "warn"),
            ("[mo.callout(x, kind='info' if x == xs[-1] else 'warn') for x in xs]", "warn"),
            (
                "[mo.callout(xs[i], kind='info' if i == len(xs) - 1 else 'warn') for i in range(len(xs))]",
                "warn",
            ),
            ("[mo.callout(x, kind='info' if i in (0, 1) else 'warn') for i, x in enumerate(xs)]", "warn"),
            (
                "for i, x in enumerate(xs):\n    k = 'info' if i == 0 else 'warn'\n    mo.callout(x, kind=k)",
                "warn",
            ),
            (
                "n = 0\nfor x in xs:\n    mo.callout(x, kind='info' if n == 0 else 'warn')\n    n += 1",
                "warn",
            ),
        ],
    )
    def test_ternaries(self, cell, common):
        (found,) = run(KindByPosition, cell)
        assert "depends on its position" in found.message
        assert f"kind='{common}'" in apply(found).replace('"', "'") or f"k = '{common}'" in apply(
            found
        ).replace('"', "'")

    def test_arms_of_an_if(self):
        cell = (
            "for i, x in enumerate(xs):\n    if i == 0:\n        y.append(mo.callout(x, kind='success'))\n"
            "    else:\n        y.append(mo.callout(x, kind='neutral'))"
        )
        (found,) = run(KindByPosition, cell)
        assert literal(found) == "'success'"
        assert "'success'" not in apply(found)

    def test_a_chain_of_tests(self):
        cell = (
            "for i, x in enumerate(xs):\n    if i == 0:\n        k = 'success'\n"
            "    elif i == 1:\n        k = 'info'\n"
            "    else:\n        k = 'neutral'\n    y.append(mo.callout(x, kind=k))"
        )
        (found,) = run(KindByPosition, cell)
        assert literal(found) == "'success'"
        assert run(KindByPosition, cell.replace("i == 1", "x.bad")) == []

    def test_a_default_before_the_if(self):
        cell = (
            "for i, x in enumerate(xs):\n    kind = 'neutral'\n    if i == 0:\n        kind = 'success'\n"
            "    y.append(mo.callout(x, kind=kind))"
        )
        (found,) = run(KindByPosition, cell)
        assert literal(found) == "'success'"

    @pytest.mark.parametrize(
        "cell",
        [
            "[mo.callout(x, kind='success' if x.ok else 'danger') for i, x in enumerate(xs)]",
            "[mo.callout(x, kind='success' if i == 0 and x.ok else 'neutral') for i, x in enumerate(xs)]",
            "[mo.callout(x, kind='success' if i < done else 'neutral') for i, x in enumerate(xs)]",
            "[mo.callout(x, kind='neutral' if i == 0 else 'neutral') for i, x in enumerate(xs)]",
            "[mo.ui.button(label=x, kind='success' if i == 0 else 'neutral') for i, x in enumerate(xs)]",
            "[mo.callout(str(n), kind='warn' if n % 15 == 0 else 'info') for n in range(100)]",
            "mo.callout('x', kind='success' if i == 0 else 'neutral')",
            "[mo.callout(x, kind=kinds[x]) for i, x in enumerate(xs)]",
        ],
    )
    def test_data_and_state(self, cell):
        assert run(KindByPosition, cell) == []


class TestMeaning:
    @pytest.mark.parametrize(
        ("rule", "cell", "better"),
        [
            (SuccessWithoutSuccess, "mo.callout(mo.md('Could not load'), kind='success')", "danger"),
            (WarnWithoutWarning, "mo.callout('Loaded successfully', kind='warn')", "success"),
            (EducationalNotInfo, "mo.callout(mo.md('Key insight: small matrices'), kind='warn')", "info"),
            (DangerWithoutError, "mo.callout('Tip: try rank 8', kind='danger')", "info"),
        ],
    )
    def test_contradictions(self, rule, cell, better):
        (found,) = run(rule, cell)
        assert f'kind="{better}"' in apply(found)

    @pytest.mark.parametrize(
        "rule", [SuccessWithoutSuccess, WarnWithoutWarning, EducationalNotInfo, DangerWithoutError]
    )
    @pytest.mark.parametrize(
        "cell",
        [
            "mo.callout(mo.md(f'{message}'), kind='success')",
            "mo.callout(message, kind='danger')",
            "mo.callout('Training complete', kind='success')",
            "mo.callout('Error: no GPU', kind='danger')",
            "mo.callout('Careful with memory', kind='warn')",
            "mo.callout('Modell geladen', kind='warn')",
        ],
    )
    def test_silent(self, rule, cell):
        assert run(rule, cell) == []


class TestLookups:
    @pytest.mark.parametrize(
        ("kind", "common"),
        [
            ("kinds[i % 3]", "neutral"),
            ("['success', 'info', 'info'][i]", "info"),
            ("(['success'] + ['warn'] * 9)[i]", "warn"),
            ("{0: 'success', 1: 'info', 2: 'info'}[i]", "info"),
            ("{0: 'success'}.get(i, 'info')", "info"),
        ],
    )
    def test_all_get_the_common_kind(self, kind, common):
        cell = f"kinds = ['success', 'info', 'warn']\n[mo.callout(t, kind={kind}) for i, t in enumerate(ts)]"
        (found,) = run(KindByPosition, cell)
        assert f'mo.callout(t, kind="{common}")' in apply(found)

    def test_rows_of_a_frame(self):
        cell = "[mo.callout(row, 'success' if n == 0 else 'info') for n, row in {}.iterrows()]"
        assert len(run(KindByPosition, cell.format("frame"))) == 1
        assert run(KindByPosition, cell.format("frame.set_index('epoch')")) == []

    def test_nested_ternaries_of_the_position(self):
        chosen = "'success' if i == 0 else 'danger' if i == len(ts) - 1 else 'info'"
        (found,) = run(KindByPosition, f"[mo.callout(t, kind={chosen}) for i, t in enumerate(ts)]")
        assert 'mo.callout(t, kind="info")' in apply(found)
        mixed = "'success' if i == 0 else 'danger' if t.failed else 'info'"
        assert run(KindByPosition, f"[mo.callout(t, kind={mixed}) for i, t in enumerate(ts)]") == []

    def test_a_flag_that_the_loop_decides_is_no_position(self):
        cell = (
            "ok = False\nfor r in rs:\n    ok = True\n    if r.bad:\n        ok = False\n"
            "    out.append(mo.callout(r.text, kind='success' if ok else 'danger'))"
        )
        assert run(KindByPosition, cell) == []
        first = (
            "first = True\nfor r in rs:\n"
            "    out.append(mo.callout(r.text, kind='success' if first else 'info'))\n    first = False"
        )
        (found,) = run(KindByPosition, first)
        assert 'kind="info")' in apply(found)
