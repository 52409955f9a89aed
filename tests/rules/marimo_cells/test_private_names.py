from __future__ import annotations

import pytest
from qalint_rules.marimo_cells import PrivateNameCrossesCells, PrivateNameReturned

from qalint.rule import Severity
from qalint.testing import apply, findings, notebook


def crossing(*cells: str):
    return findings(PrivateNameCrossesCells, notebook(*cells))


class TestCrossing:
    def test_place_message_and_related(self):
        (found,) = crossing("_losses = [1]\nreturn _losses,", "plot(_losses)")
        source = found.place.source
        assert source.text[found.place.start : found.place.end] == "_losses"
        assert source.location(found.place.start).row == 14
        assert (
            found.message
            == "`_losses` is private to the cell that binds it: reading it here raises NameError"
        )
        assert [source.location(each.place.start).row for each in found.related] == [8, 9]
        assert "call it `losses` in both cells" in found.help

    def test_the_fix_renames_everywhere_and_keeps_comments(self):
        (found,) = crossing(
            "_n = 3  # steps\nprint(_n, f'{_n}')\nreturn (_n,)",
            "def f(_n=_n):\n    return _n\nx = [_n for _n in range(_n)]",
        )
        fixed = apply(found)
        assert "n = 3  # steps" in fixed
        assert "print(n, f'{n}')" in fixed
        assert "return (n,)" in fixed
        assert "def f(_n=n):\n        return _n" in fixed
        assert "x = [_n for _n in range(n)]" in fixed

    @pytest.mark.parametrize(
        ("definer", "expected"),
        [
            ("import numpy as _np", "import numpy as np"),
            ("from m import _hidden", "from m import _hidden as hidden"),
            ("def _f():\n    return 1", "def f():"),
            ("for _i in range(3):\n    pass", "for i in range(3):"),
            ("global _g\n_g = 1", "global g"),
        ],
    )
    def test_ways_to_bind(self, definer, expected):
        name = {"import numpy as _np": "_np", "from m import _hidden": "_hidden"}.get(definer)
        name = name or next(word for word in ("_f", "_i", "_g") if word in definer)
        (found,) = crossing(definer, f"print({name})")
        assert expected in apply(found)

    def test_in_a_function_it_fails_when_called(self):
        (found,) = crossing("_k = 1", "def f():\n    return _k")
        assert found.severity is Severity.HIGH
        assert "calling this" in found.message

    def test_an_own_binding_that_comes_too_late(self):
        (found,) = crossing("_count = 0", "_count += 1")
        assert found.fix is None

    @pytest.mark.parametrize(
        "reader",
        [
            "_x = 2\nprint(_x)",
            "for _x in range(3):\n    print(_x)",
            "try:\n    print(_x)\nexcept NameError:\n    pass",
            "def f(_x):\n    return _x",
            "lambda _x: _x",
            "[_x for _x in range(3)]",
            "class C:\n    _x = 1\n    y = _x",
            "def f():\n    _x = 1\n    return _x",
            "obj._x",
            "f(_x=1)",
        ],
    )
    def test_names_that_are_the_cells_own(self, reader):
        assert crossing("_x = 1", reader) == []

    @pytest.mark.parametrize(
        "cells",
        [
            ("_a = 1", "_a = 2", "print(_a)"),  # whose?
            ("_a = 1", "print(_a)", "a = 3"),  # the public name is taken
            ("_a = 1", "print(_a)", "lambda a: a"),
            ("_a = 1", "print(_a, globals()['_a'])"),  # a string holds the name
            ("_list = 1", "print(_list)"),  # a builtin
            ("_if = 1", "print(_if)"),  # a keyword
        ],
    )
    def test_no_fix_where_it_is_not_clear_cut(self, cells):
        found = crossing(*cells)
        assert found
        assert all(each.fix is None for each in found)

    def test_one_finding_for_each_cell_and_name(self):
        assert len(crossing("_a = _b = 1", "print(_a, _a, _b)", "print(_a)")) == 3


class TestReturned:
    def test_fix_of_the_return(self):
        (found,) = findings(PrivateNameReturned, notebook("_a = 1\nb = 2\nreturn _a, b"))
        assert "return (b,)" in apply(found)

    def test_fix_of_the_parameters(self):
        text = notebook("x = 1").replace("def _():", "def _(_seed, mo):")
        (found,) = findings(PrivateNameReturned, text)
        assert "def _(mo):" in apply(found)

    def test_silent_where_the_read_is_reported(self):
        assert findings(PrivateNameReturned, notebook("_a = 1\nreturn (_a,)", "print(_a)")) == []
