"""The concrete story of a program is told in order, with the lines of its own code."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from qalint.harness.trace import trace

from .programs import program


def line_of(text, part):
    return next(row for row, line in enumerate(text.splitlines(), 1) if part in line)


def test_one_step_in_order(tmp_path):
    text = program({"range(4)": "range(1)"})
    path = tmp_path / "train.py"
    path.write_text(text)
    events = trace(path)
    assert [event.kind for event in events] == [
        "optimizer-created",
        "scaler-created",
        "zero-grad",
        "autocast-enter",
        "forward",
        "scale",
        "backward",
        "unscale",
        "clip",
        "scaler-step",
        "update",
    ]
    lines = {event.kind: event.line for event in events}
    assert lines["unscale"] == line_of(text, "unscale_")
    assert lines["scaler-step"] == line_of(text, "scaler.step")
    assert lines["forward"] == line_of(text, "model(x)")
    assert {event.file for event in events} == {"train.py"}


def test_two_steps_tell_the_cycle_twice(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(program({"range(4)": "range(2)"}))
    kinds = [event.kind for event in trace(path)]
    assert kinds.count("update") == kinds.count("scaler-step") == kinds.count("backward") == 2


def test_what_happened_before_an_exception_is_told(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(program({"    scaler.update()\n": "    raise RuntimeError\n"}))
    assert [event.kind for event in trace(path)][-1] == "scaler-step"
