"""What must end: restarts of statements that split, and worlds that do not join."""

from __future__ import annotations

from machine_programs import HEAD, story_of

from qalint.analysis.machine.story import OptimizerStep


def test_a_split_inside_a_comprehension_is_decided_once() -> None:
    """The test of an element holds when the statement starts again: it is the same evaluation."""
    story = story_of(
        """
        while running():
            data = next(batches)
            batch = {k: v.to("cuda") if type(v) == torch.Tensor else v for k, v in data.items()}
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()
        """,
        HEAD,
    )
    assert story.find(OptimizerStep)
    assert not story.bounds
