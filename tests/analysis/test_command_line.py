"""The options that a file declares, by the attribute that holds each."""

from __future__ import annotations

import ast

import pytest

from qalint.analysis.command_line import CommandLine


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("'--amp'", "amp"),
        ("'-a', '--use-amp', '--half'", "use_amp"),
        ("'-a'", "a"),
        ("'path'", "path"),
        ("'--amp', dest='half'", "half"),
    ],
)
def test_an_option_has_the_name_that_argparse_gives_it(arguments: str, name: str) -> None:
    line = CommandLine(ast.parse(f"parser.add_argument({arguments}, default=1)"))
    assert list(line.options) == [name]
    (option,) = line.options[name]
    assert ast.unparse(option.given["default"]) == "1"


@pytest.mark.parametrize("arguments", ["name", "'--amp', dest=name", "*names"])
def test_a_name_that_is_computed_is_not_known(arguments: str) -> None:
    assert CommandLine(ast.parse(f"parser.add_argument({arguments})")).options == {}


def test_one_name_may_be_declared_twice() -> None:
    line = CommandLine(ast.parse("one.add_argument('--lr', type=int)\ntwo.add_argument('--lr', type=float)"))
    assert {ast.unparse(option.given["type"]) for option in line.options["lr"]} == {"int", "float"}
