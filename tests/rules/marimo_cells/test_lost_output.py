from __future__ import annotations

import pytest
from qalint_rules.marimo_cells import DroppedOutput, OutputInBranch, ReturnDoesNotDisplay, ReturnInsideCell

from qalint.rule import Confidence
from qalint.testing import apply, findings, notebook

HEAD = "import marimo as mo\nimport pandas as pd\nimport matplotlib.pyplot as plt"


def run(rule, *cells: str):
    return findings(rule, notebook(HEAD, *cells))


def body(text: str) -> str:
    """The last cell, without decorator and signature."""
    lines = text.rstrip("\n").split("\n\n\n")[-1].split("\n")[2:]
    return "\n".join(line[4:] for line in lines)


class TestBranches:
    def test_place_related_and_message(self):
        (found,) = run(OutputInBranch, "if a:\n    x = 1\n    mo.md('y')\nelse:\n    mo.md('n')")
        source = found.place.source
        assert source.text[found.place.start : found.place.end] == "mo.md('y')"
        assert found.message == "`mo.md` is not displayed: it is inside the `if` that ends the cell"
        assert [each.message for each in found.related] == [
            "this branch shows nothing either",
            "the cell ends with this `if`, which has no value",
        ]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (
                "if a:\n    mo.md('y')\nelse:\n    mo.md('n')\nreturn",
                "if a:\n    _output = mo.md('y')\nelse:\n    _output = mo.md('n')\n_output\nreturn",
            ),
            ("if a:\n    mo.md('y')", "_output = None\nif a:\n    _output = mo.md('y')\n_output"),
            (
                "for x in xs:\n    mo.md(x)  # each",
                "_output = []\nfor x in xs:\n    _output.append(mo.md(x))  # each\nmo.vstack(_output)",
            ),
            (
                "with mo.status.spinner():\n    mo.md('y')",
                "with mo.status.spinner():\n    _output = mo.md('y')\n_output",
            ),
            (
                "if a:\n    mo.ui.slider(1, 2)\nelse:\n    mo.md('n')",
                "if a:\n    output = mo.ui.slider(1, 2)\nelse:\n    output = mo.md('n')\noutput",
            ),
            (
                "_output = 3\nif a:\n    mo.md('y')\nelif b:\n    print(_output)",
                "_output = 3\n_output_2 = None\nif a:\n    _output_2 = mo.md('y')\n"
                "elif b:\n    print(_output)\n_output_2",
            ),
            (
                "if a:\n    for x in xs:\n        mo.md(x)\nelse:\n    mo.md('n')",
                "_output = []\nif a:\n    for x in xs:\n        _output.append(mo.md(x))\n"
                "else:\n    _output.append(mo.md('n'))\nmo.vstack(_output)",
            ),
            (
                "match a:\n    case 1:\n        mo.md('1')\n    case _:\n        mo.md('2')",
                "match a:\n    case 1:\n        _output = mo.md('1')\n    case _:\n"
                "        _output = mo.md('2')\n_output",
            ),
        ],
    )
    def test_fixes(self, before, after):
        (found,) = run(OutputInBranch, before)
        assert body(apply(found)) == after

    @pytest.mark.parametrize(
        "cell",
        [
            "if a:\n    print(1)\nelse:\n    xs.append(2)",
            "if a:\n    plt.plot([1])\n    plt.show()",
            "if a:\n    mo.stop(True)\nelse:\n    mo.output.replace(mo.md('x'))",
            "if a:\n    x = mo.md('y')\nelse:\n    x = None\nx",
            "if a:\n    mo.md('y');",
            "if a:\n    'a note'\nelse:\n    ...",
            "def f():\n    if a:\n        mo.md('y')",
            "try:\n    pd.DataFrame(x).pivot(index='a')\nexcept KeyError as e:\n    print(e)",
            "for x in xs:\n    x",
            "try:\n    known\nexcept NameError:\n    known = 1",
            "try:\n    cache[key]\nexcept KeyError:\n    cache[key] = 1",
            "with pytest.raises(KeyError):\n    pd.DataFrame().head()",
            "if a:\n    set_state(mo.md('y'))",
            "while a:\n    break",
        ],
    )
    def test_silent(self, cell):
        assert run(OutputInBranch, cell) == []

    def test_bare_names_in_branches_only(self):
        assert len(run(OutputInBranch, "if a:\n    result\nelse:\n    print(1)")) == 1

    def test_head_in_try_is_meant_to_be_seen(self):
        assert (
            len(run(OutputInBranch, "df = pd.DataFrame()\ntry:\n    df\nexcept KeyError:\n    print(1)")) == 1
        )

    def test_lower_confidence_beside_the_output_api(self):
        (found,) = run(OutputInBranch, "mo.output.clear()\nif a:\n    mo.md('y')")
        assert found.confidence is Confidence.MEDIUM

    def test_other_aliases(self):
        text = notebook(
            "import marimo as m\nfrom marimo import md", "if a:\n    m.hstack([1])", "if a:\n    md('x')"
        )
        assert len(findings(OutputInBranch, text)) == 2


class TestDropped:
    def test_place_and_message(self):
        (found,) = run(DroppedOutput, "mo.callout('x')\ny = 1")
        assert found.message == "`mo.callout` is not displayed: the cell goes on after it"
        assert found.related[0].message == "the cell ends here, and shows only this"

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("# first\nmo.md('x')  # note\ny = 1\nreturn", "y = 1\n# first\nmo.md('x')  # note\nreturn"),
            ("n = 1\nmo.md(f'{n}')\nn = 2", "n = 1\n_output = mo.md(f'{n}')\nn = 2\n_output"),
            ("rows = []\nmo.md(f'{rows}')\nrows.append(1)", "rows = []\n_output = mo.md(f'{rows}')\n"
             "rows.append(1)\n_output"),
            ("mo.md('a')\nmo.md('b')", "_output = mo.md('a')\nmo.vstack([_output, mo.md('b')])"),
            ("mo.md('a')\nmo.md('b')\nx = 1", "_output = mo.md('a')\n_output_2 = mo.md('b')\nx = 1\n"
             "mo.vstack([_output, _output_2])"),
            ("df = pd.DataFrame()\ndf\nx = df.size", "df = pd.DataFrame()\nx = df.size\ndf"),
            ("if a:\n    mo.md('a')\nx = 1", "_output = []\nif a:\n    _output.append(mo.md('a'))\nx = 1\n"
             "mo.vstack(_output)"),
            ("mo.ui.text()\nmo.md('b')", "output = mo.ui.text()\nmo.vstack([output, mo.md('b')])"),
        ],
    )  # fmt: skip
    def test_fixes(self, before, after):
        found = run(DroppedOutput, before)
        assert body(apply(found[0])) == after

    @pytest.mark.parametrize(
        "cell",
        [
            "mo.md('x')\nNone",
            "x = 1\nmo.md('x')\nNone\ny = 2",
            "mo.md('x');\ny = 1",
            "plt.figure()\nplt.subplots()\ny = 1",
            "df = pd.DataFrame()\ndf.drop('a', inplace=True)\ny = 1",
            "pd.read_csv('x')\ny = 1",
            "mo.stop(a)\nmo.state(1)\nmo.output.append(mo.md('x'))\ny = 1",
            "s = mo.ui.slider(1, 2)\ns\nmo.md(f'{s}')",
            "def f():\n    mo.md('x')\n    return 1",
            "'a docstring'\ny = 1",
            "import seaborn as sns\nsns.displot(x)\nplt.title('t')\nplt.gcf()",
            "import altair as alt\ntry:\n    alt.Chart(d).mark_point().encode(z='a')\n"
            "except TypeError as e:\n    print(e)\ny = 1",
            "s = mo.ui.text()\ns if a else None\ns",
        ],
    )
    def test_silent(self, cell):
        assert run(DroppedOutput, cell) == []

    def test_another_cells_name_only_makes_it_run_again(self):
        text = notebook(HEAD, "refresh = mo.ui.refresh()\nrefresh", "refresh\nx = 1")
        assert findings(DroppedOutput, text) == []

    def test_two_statements_on_one_line(self):
        assert len(run(DroppedOutput, "mo.md('x'); y")) == 1


class TestReturns:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("return mo.md('# x')", "mo.md('# x')\nreturn"),
            ("x = 1\nreturn mo.md('y'), x", "x = 1\nmo.md('y')\nreturn (x,)"),
            ("fig, ax = plt.subplots()\nax.plot([1])\nreturn fig,", None),
            ("out = mo.vstack([1])\nreturn out", "out = mo.vstack([1])\nout\nreturn out"),
            ("_out = mo.vstack([1])", "_out = mo.vstack([1])\n_out"),
            ("fig, ax = plt.subplots()\nax.grid(True)", "fig, ax = plt.subplots()\nax.grid(True)\nfig"),
            ("plt.plot([1])\nplt.tight_layout()", "plt.plot([1])\nplt.tight_layout()\nplt.gcf()"),
            ("t = mo.ui.table([])\nreturn t,", "t = mo.ui.table([])\nt\nreturn t,"),
            ("out = mo.md('x')\nprint(1)\nreturn out", "out = mo.md('x')\nprint(1)\nout\nreturn out"),
        ],
    )
    def test_fixes(self, before, after):
        found = run(ReturnDoesNotDisplay, before)
        if after is None:  # ax.plot shows the figure: it gives artists
            assert found == []
        else:
            (one,) = found
            assert body(apply(one)) == after

    @pytest.mark.parametrize(
        "cell",
        [
            "s = mo.ui.slider(1, 2)\nreturn s,",
            "out = mo.md('x')\nout\nreturn out,",
            "fig, ax = plt.subplots()\nax.set_title('x')",
            "fig, ax = plt.subplots()\nax.grid()\nplt.show()",
            "fig, ax = plt.subplots()\nax.grid()\nfig.savefig('x.png')\ny = 1",
            "x = compute()\nreturn x,",
            "out = mo.md('x')\nmo.output.replace(out)\ny = 1",
            "a = mo.md('x')\nb = send(a)",
        ],
    )
    def test_silent(self, cell):
        assert run(ReturnDoesNotDisplay, cell) == []

    def test_what_another_cell_reads_is_left_alone(self):
        assert (
            findings(ReturnDoesNotDisplay, notebook(HEAD, "v = mo.md('x')\nreturn v,", "mo.vstack([v])"))
            == []
        )

    def test_an_element_read_but_placed_nowhere_has_lower_confidence(self):
        (found,) = findings(ReturnDoesNotDisplay, notebook(HEAD, "s = mo.ui.slider(1, 2)", "print(s.value)"))
        assert found.confidence is Confidence.MEDIUM
        assert "displayed nowhere" in found.message


class TestStrayReturns:
    @pytest.mark.parametrize(
        "cell",
        [
            "if a:\n    return 1\nx = 2",
            "for x in xs:\n    return x",
            "try:\n    return 1\nexcept E:\n    pass\nreturn",
        ],
    )
    def test_found(self, cell):
        (found,) = run(ReturnInsideCell, cell)
        assert "unparsable" in found.message
        assert run(ReturnDoesNotDisplay, cell) == []

    def test_one_finding_for_a_cell_with_the_others_beside_it(self):
        (found,) = run(ReturnInsideCell, "if a:\n    return 1\nelse:\n    return 2")
        assert len(found.related) == 1

    @pytest.mark.parametrize(
        "cell",
        [
            "x = 1\nreturn x,",
            "def f():\n    return 1",
            "return",
            "class C:\n    def m(self):\n        return 1",
        ],
    )
    def test_silent(self, cell):
        assert run(ReturnInsideCell, cell) == []


class TestInOrder:
    def test_what_is_dropped_and_what_is_lost_go_into_one_list(self):
        cell = "for name, frame in parts:\n    mo.md(name)\n    mo.md(frame)"
        for rule in (DroppedOutput, OutputInBranch):
            (found,) = run(rule, cell)
            assert body(apply(found)) == (
                "_output = []\nfor name, frame in parts:\n    _output.append(mo.md(name))\n"
                "    _output.append(mo.md(frame))\nmo.vstack(_output)"
            )

    def test_no_fix_before_a_raise(self):
        (found,) = run(DroppedOutput, "if not ok:\n    mo.md('bad')\n    raise ValueError\nx = 1")
        assert found.fix is None


class TestWhoseFigure:
    @pytest.mark.parametrize(
        "cell",
        [
            "fig, ax = plt.subplots()\nax.plot(x)\nprint('done')",
            "fig, ax = plt.subplots()\nfor a in x:\n    ax.plot(a)",
            "def draw(ax):\n    ax.plot(x)\nfig, ax = plt.subplots()\ndraw(ax)",
            "fig, ax = plt.subplots()\nax.pie(x)",
        ],
    )
    def test_a_figure_that_nobody_shows(self, cell):
        (found,) = run(ReturnDoesNotDisplay, cell)
        assert body(apply(found)).endswith("\nfig")

    @pytest.mark.parametrize(
        "cells",
        [
            ("fig, ax = plt.subplots()\nax.plot(x)\nprint(1)", "ax"),
            ("fig, ax = plt.subplots()\nax.plot(x)\nchart = mo.ui.matplotlib(ax)", "chart"),
            ("fig, ax = plt.subplots()\nax.plot(x)\nlog(fig)",),
            ("def draw(ax):\n    plt.show()\nfig, ax = plt.subplots()\ndraw(ax)",),
            ("def show(ax):\n    return ax\nplt.plot(x)\nshow(plt.gca())",),
            ("plt.plot(x)\naxes = plt.gca()\nNone", "mo.hstack([axes])"),
            ("fig, ax = plt.subplots()\nax.set_xticks([0, 1])",),
            ("_ = mo.md('kept for later')",),
        ],
    )
    def test_shown_in_another_way_or_on_purpose_not(self, cells):
        assert run(ReturnDoesNotDisplay, *cells) == []
