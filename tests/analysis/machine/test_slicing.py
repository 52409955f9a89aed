"""What the scan of a file notes, and that programs share it."""

from __future__ import annotations

import ast

from qalint.analysis.machine.facts import scan_of
from qalint.analysis.machine.slicing import Module, Program
from qalint.linter import parse
from qalint.source import Source

TEXT = """
from torch.nn.utils import clip_grad_norm_ as clip

def train(model, loader, step):
    for x in loader:
        loss = model(x)
        loss.backward()
        clip(model.parameters(), 1.0)
        step(callback=report)
    return loss

def report(value):
    print(value)

class Loop:
    def run(self):
        train(self.model, self.loader, self.go)

    def go(self):
        self.optimizer.step()
"""


def module(text: str = TEXT, path: str = "one.py") -> Module:
    return Module(parse(Source(path, text)))


def test_a_tree_is_scanned_once_for_all_programs() -> None:
    file = parse(Source("one.py", TEXT))
    first, second = Module(file), Module(file)
    assert scan_of(file.tree) is first.facts.scan is second.facts.scan
    program = Program()
    program.add(first)
    program.settle()
    train = first.functions["train"][0]
    # What one program makes of the facts is not seen by the other.
    assert "report" in first.facts[train].calls
    assert "report" not in second.facts[train].calls


def test_facts_of_statements_are_those_of_their_text_alone() -> None:
    made = module()
    train = made.functions["train"][0]
    assert isinstance(train, ast.FunctionDef)
    loop, leave = train.body
    assert made.facts[loop].loops and not made.facts[leave].loops
    assert made.facts[leave].jumps and not made.facts[loop].jumps
    assert made.facts[loop].stores == {"x", "loss"}
    assert made.facts[loop].paths == {"loss": {"backward"}, "model": {"parameters"}}
    assert made.facts[loop].graph and made.facts[loop].size == 5
    assert made.facts[train].calls >= made.facts[loop].calls


def test_an_alias_counts_as_the_word_that_it_stands_for() -> None:
    for text, strong in (
        (TEXT, True),
        (TEXT.replace("clip_grad_norm_ as", "parameters_to_vector as"), False),
    ):
        made = module(text)
        loop = made.functions["train"][0].body[0]  # type: ignore[attr-defined]
        assert made.facts[loop.body[2]].strong is strong


def test_a_class_holds_what_its_methods_hold() -> None:
    made = module()
    program = Program()
    program.add(made)
    program.settle()
    owner = made.functions["Loop"][0]
    assert made.facts[owner].core and "train" in made.facts[owner].calls
    assert program.hot(made, owner) and program.hot(made, made.functions["run"][0])
    assert not program.hot(made, made.functions["report"][0])


def test_a_statement_of_another_file_is_none_of_this_one() -> None:
    made, other = module(), module("x = 1\n", "two.py")
    (statement,) = other.body
    assert other.holds(statement) and not made.holds(statement)
    assert made.facts.get(statement) is None
