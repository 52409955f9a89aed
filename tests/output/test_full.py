"""The terminal formats: what stands where, at 80 columns, without colour, with nothing active in it."""

from __future__ import annotations

import re
import time

import pytest

from qalint.diagnostic import PlainFix, Region, RelatedPlace
from qalint.output import render
from qalint.output.common import columns
from qalint.report_data import Fixed

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def test_one_frame_shows_the_path_from_scaling_to_stepping(desk, clipped):
    text = render("full", desk.report(clipped(notebook_cell="train")))
    assert text == (
        "QA1105 [*] `model` is clipped while scaled\n"
        "--> train.py:10:9 (clip-before-unscale, critical, cell train)\n"
        "   |\n"
        " 8 |             loss = model(batch).loss\n"
        " 9 |         scaler.scale(loss).backward()\n"
        "   |         ----------------------------- gradients are scaled here\n"
        "10 |         torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
        "   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "11 |         scaler.step(optimizer)\n"
        "   |         ---------------------- and used here\n"
        "12 |         scaler.update()\n"
        "   |\n"
        "help: Call `scaler.unscale_(optimizer)` before clipping.\n"
        "fix: Insert `scaler.unscale_(optimizer)` (safe: applied by `--fix`)\n"
        "   |\n"
        "10 +         scaler.unscale_(optimizer)\n"
        "11           torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
        "   |\n"
        "\n"
        "Found 1 finding in 1 file: 1 critical.\n"
        "[*] 1 fixable with `--fix`.\n"
        "`qalint rule QA1105` explains the rule.\n"
    )


def test_colour_changes_no_character(desk, clipped):
    plain = render("full", desk.report(clipped()))
    coloured = render("full", desk.report(clipped(), color=True))
    assert coloured != plain
    assert ANSI.sub("", coloured) == plain


def test_no_colour_unless_asked_for(desk, clipped):
    for format in ("full", "concise", "grouped"):
        assert "\x1b" not in render(format, desk.report(clipped()))


def test_a_place_in_another_file_gets_a_frame_of_its_own(desk, clipped):
    other = desk.related("/repo/src/helper.py", "make_scaler()", "the scaler is made here")
    text = render("full", desk.report(clipped(related=(other,), fix=None, help=None)))
    assert (
        "note: the scaler is made here\n"
        "--> helper.py:1:21\n"
        "  |\n"
        "1 | π = '日本語'; scaler = make_scaler()\n"
        "  |                        -------------\n"
        "  |\n"
    ) in text


def test_far_places_of_one_file_share_a_frame_with_a_gap(desk):
    desk.add("/repo/src/far.py", "first = 1\n" + "x = 2\n" * 20 + "last = first\n")
    finding = desk.finding(
        "/repo/src/far.py",
        "last = first",
        related=(desk.related("/repo/src/far.py", "first = 1", "bound here"),),
    )
    lines = render("full", desk.report(finding)).splitlines()
    at = lines.index("   | --------- bound here")
    assert lines[at - 1] == " 1 | first = 1"
    assert lines[at + 1] == "..."
    assert "22 | last = first" in lines
    assert "10 | x = 2" not in lines


@pytest.mark.parametrize(
    ("applicability", "unsafe_fixes", "mark", "says", "closing"),
    [
        ("safe", False, "[*] ", "(safe: applied by `--fix`)", "[*] 1 fixable with `--fix`."),
        (
            "unsafe",
            False,
            "",
            "(unsafe: read it first; applied by `--fix --unsafe-fixes`)",
            "1 fix to look at first: `--unsafe-fixes --diff`.",
        ),
        (
            "unsafe",
            True,
            "[*] ",
            "(unsafe: read it first; applied by `--fix --unsafe-fixes`)",
            "[*] 1 fixable with `--fix`.",
        ),
        ("display-only", True, "", "(for you to apply: it needs a decision)", None),
    ],
)
def test_whether_and_how_a_fix_is_applied(desk, applicability, unsafe_fixes, mark, says, closing):
    path = "/repo/src/train.py"
    finding = desk.finding(path, "1.0", fix=desk.replace(path, "1.0", "2.0", applicability))
    text = render("full", desk.report(finding, unsafe_fixes=unsafe_fixes))
    assert text.startswith(f"QA1105 {mark}`model`")
    assert says in re.sub(r"\n +", " ", text)
    assert "10 -         torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n" in text
    assert "10 +         torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)\n" in text
    assert ("fixable" in text or "fix to look" in text) == (closing is not None)
    assert closing is None or closing in text.splitlines()


def test_a_deletion_shows_what_follows(desk):
    path = "/repo/src/train.py"
    finding = desk.finding(
        path, "optimizer.zero_grad()", fix=desk.replace(path, "        optimizer.zero_grad()\n", "")
    )
    text = render("full", desk.report(finding))
    assert "6 -         optimizer.zero_grad()\n6           with torch.autocast" in text


def test_nothing_is_wider_than_the_terminal(desk, clipped):
    name = "a_name_that_is_long_enough_to_matter"
    desk.add("/repo/src/long.py", f"result = call({', '.join(f'{name}_{i}' for i in range(9))})\n")
    finding = desk.finding(
        "/repo/src/long.py",
        f"{name}_7",
        message="`" + name + "` is " + "very " * 30 + "wrong",
        help="do " * 60,
        related=(desk.related("/repo/src/long.py", f"{name}_6", "bound " * 20),),
        fix=desk.replace("/repo/src/long.py", f"{name}_7", "short"),
    )
    text = render("full", desk.report(finding, clipped()))
    assert max(columns(line) for line in text.splitlines()) <= 80
    assert f"{name}_7" in text
    underline = next(line for line in text.splitlines() if "^" in line)
    above = text.splitlines()[text.splitlines().index(underline) - 1]
    assert above[underline.index("^") : underline.rindex("^") + 1] == f"{name}_7"


def test_columns_of_wide_characters_and_tabs(desk):
    desk.add("/repo/src/wide.py", "if x:\n\tπ = '日本語'; bad = 1\n")
    text = render("full", desk.report(desk.finding("/repo/src/wide.py", "bad")))
    lines = text.splitlines()
    line = next(line for line in lines if "bad" in line)
    underline = lines[lines.index(line) + 1]
    assert line.startswith("2 |     π")
    assert columns(line[: line.index("bad")]) == underline.index("^^^")


def test_control_characters_and_bidi_marks_are_shown_not_obeyed(desk):
    evil = "\x1b]0;owned\x07 \x1b[2J \u202e \u2066 \r"
    path = f"/repo/src/{evil}.py"
    desk.add(path, f"bad = 1  # {evil[:-1]}\n")
    finding = desk.finding(path, "bad", message=f"name `{evil}`", help=evil, notebook_cell=evil)
    for format in ("full", "concise", "grouped", "pylint", "github"):
        text = render(format, desk.report(finding))
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text), format
        assert "bad = 1  # ␛]0;owned␇" in text or format != "full"


def test_a_jupyter_finding_shows_lines_of_its_cell(desk):
    finding = desk.finding("/repo/src/nb.ipynb", "scaler = 2", cell=3)
    assert finding.region == Region(2, 1, 2, 11)
    text = render("full", desk.report(finding))
    assert "--> nb.ipynb:cell 3:2:1 (" in text
    assert "1 | x = 1\n2 | scaler = 2\n  | ^^^^^^^^^^\n" in text
    assert "import torch" not in text


def test_a_file_without_text_still_says_everything(desk, clipped):
    text = render("full", desk.report(clipped(), get_source=lambda filename: None))
    assert "--> train.py:10:9" in text
    assert "note: gradients are scaled here\n--> train.py:9:9\n" in text
    assert "help: Call" in text and "fix: Insert" in text


def test_more_related_places_than_fit_are_counted(desk, clipped):
    place = RelatedPlace("/repo/src/helper.py", None, Region(1, 1, 1, 2), "read here")
    text = render("full", desk.report(clipped(related=(place,) * 11)))
    assert text.count("note: read here") == 8
    assert "note: 3 more such places are not shown" in text


def test_a_multi_line_finding_is_underlined_on_its_first_line(desk):
    desk.add("/repo/src/call.py", "a = f(\n    1,\n    2,\n)\nb = 3\n")
    text = render("full", desk.report(desk.finding("/repo/src/call.py", "f(\n    1,\n    2,\n)")))
    assert "1 | a = f(\n  |     ^^\n2 |     1,\n3 |     2,\n4 | )\n5 | b = 3\n" in text


def test_concise_and_grouped(desk, clipped):
    second = desk.finding(
        "/repo/src/nb.ipynb", "scaler = 2", cell=3, severity="low", confidence="medium", code="QA1301"
    )
    elsewhere = second._replace(filename="/other/x.py", cell=None, confidence="high")
    report = desk.report(clipped(), second, elsewhere)
    closing = (
        "Found 3 findings in 3 files: 1 critical, 2 low.\n"
        "[*] 1 fixable with `--fix`.\n"
        "`qalint rule QA1105` explains the first.\n"
    )
    assert (
        render("concise", report)
        == (
            "train.py:10:9: QA1105 [*] `model` is clipped while scaled\n"
            "nb.ipynb:cell 3:2:1: QA1301 `model` is clipped while scaled (medium confidence)\n"
            "/other/x.py:2:1: QA1301 `model` is clipped while scaled\n"
        )
        + closing
    )
    assert (
        render("grouped", report)
        == (
            "train.py:\n  10:9 QA1105 [*] `model` is clipped while scaled\n\n"
            "nb.ipynb:\n  cell 3:2:1 QA1301 `model` is clipped while scaled (medium confidence)\n\n"
            "/other/x.py:\n  2:1 QA1301 `model` is clipped while scaled\n\n"
        )
        + closing
    )


def test_the_closing_lines_of_a_clean_run(desk):
    for format in ("full", "concise", "grouped"):
        assert render(format, desk.report()) == "All checks passed!\n"


def test_known_hidden_and_harmless_findings_are_told(desk, clipped):
    known = clipped(status="baseline")
    assert render("concise", desk.report(known, known, hidden=2)).splitlines() == [
        "All checks passed!",
        "Not shown: 2 known findings of the baseline.",
        "Not shown: 2 less certain findings (`--min-confidence low` shows all).",
    ]
    low = clipped(severity="low")
    text = render("concise", desk.report(low, fail_on="high"))
    assert text.splitlines()[-1] == "None of them fails the run (`--fail-on high`)."
    assert "fails the run" not in render("concise", desk.report(clipped(), low, fail_on="high"))


def test_statuses_are_marked_where_asked_for(desk, clipped):
    report = desk.report(clipped(status="baseline"), clipped(status="suppressed"), show_marked=True)
    lines = render("concise", report).splitlines()
    assert lines[0].endswith("(known)")
    assert lines[1].endswith("(suppressed)")


def test_what_was_fixed_is_listed_on_request(desk, clipped):
    fixed = (
        Fixed("/repo/src/train.py", "QA1105", "clip-before-unscale", 2),
        Fixed("/repo/src/a.py", "QA1301", "private-name-across-cells", 1),
    )
    text = render("full", desk.report(fixed=fixed, show_fixes=True, fixing=True))
    assert text == (
        "Fixed 3 findings:\n"
        "- a.py:\n    1 × QA1301 (private-name-across-cells)\n"
        "- train.py:\n    2 × QA1105 (clip-before-unscale)\n"
        "\n"
        "Found 3 findings (3 fixed, 0 remaining).\n"
    )
    text = render("concise", desk.report(clipped(), fixed=fixed, fixing=True))
    assert "Found 4 findings (3 fixed, 1 remaining) in 1 file: 1 critical.\n" in text
    assert "fixable" not in text


def test_a_fix_that_findings_share_is_drawn_once(desk):
    path = "/repo/src/shared.py"
    desk.add(path, "_x = 1\ny = 2\nz = 3\nprint(_x)\n")
    first = desk.replace(path, "_x = 1", "x = 1", "unsafe")
    second = desk.replace(path, "_x)", "x)", "unsafe")
    fix = PlainFix("unsafe", "Rename `_x` to `x`", (*first.edits, *second.edits))
    text = render(
        "full", desk.report(desk.finding(path, "_x = 1", fix=fix), desk.finding(path, "_x)", fix=fix))
    )
    assert ("  |\n1 - _x = 1\n1 + x = 1\n...\n4 - print(_x)\n4 + print(x)\n  |\n") in text
    assert text.count("4 + print(x)") == 1
    assert "fix: Rename `_x` to `x` (the fix shown above)\n" in text


def test_a_line_of_a_million_characters_is_read_once(desk):
    path = "/repo/src/minified.py"
    desk.add(path, "x = [" + "1, " * 400_000 + "bad]\n")
    finding = desk.finding(path, "bad")
    began = time.process_time()
    text = render("full", desk.report(*[finding] * 200))
    assert time.process_time() - began < 20, "walking it for each finding takes minutes"
    assert text.count("1 | ...") == 200
    assert max(map(len, text.splitlines())) <= 80
