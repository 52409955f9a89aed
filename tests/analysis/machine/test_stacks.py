"""Contexts that no `with` of their own enters: `ExitStack`, `__enter__` by hand, and where they are left."""

from __future__ import annotations

import textwrap

import pytest
from machine_programs import HEAD, faults_of

LIBRARY = HEAD + "from contextlib import AsyncExitStack, ExitStack, contextmanager, nullcontext\n"
TRAINING = """
scaler = GradScaler("cuda", enabled=amp)
for x, y in loader:
    optimizer.zero_grad()
{forward}
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
"""
LOSS = "loss = F.mse_loss(model(x), y)"
OUTSIDE = ["forward-outside-autocast @ scaler.scale(loss).backward()"]
NEEDLESS = ['scaler-with-bfloat16 @ scaler = GradScaler("cuda", enabled=amp)']


def told(forward: str, head: str = "", amp: str = "True") -> list[str]:
    """The faults of a loop with this forward, after some definitions."""
    body = textwrap.indent(textwrap.dedent(forward).strip().replace("LOSS", LOSS), "    ")
    head = LIBRARY + f"amp = {amp}\n" + textwrap.dedent(head)
    return faults_of(TRAINING.format(forward=body), head)


ENTERED = {
    "in a with": """
        with ExitStack() as stack:
            stack.enter_context(autocast("cuda"))
            LOSS
    """,
    "closed by hand": """
        stack = ExitStack()
        stack.enter_context(autocast("cuda"))
        LOSS
        stack.close()
    """,
    "beside another block": """
        with ExitStack() as stack:
            with torch.enable_grad():
                stack.enter_context(autocast("cuda"))
            LOSS
    """,
    "in a function": """
        with ExitStack() as stack:
            enter(stack)
            LOSS
    """,
    "as a class": """
        with Half():
            LOSS
    """,
    "handed out by a manager": """
        with half():
            LOSS
    """,
    "kept open": """
        with kept():
            LOSS
    """,
}
DEFINED = """
def enter(stack):
    stack.enter_context(autocast("cuda"))


class Half:
    def __enter__(self):
        self.stack = ExitStack()
        self.stack.enter_context(autocast("cuda"))

    def __exit__(self, *failure):
        self.stack.close()


@contextmanager
def half():
    with ExitStack() as stack:
        stack.enter_context(autocast("cuda"))
        yield stack


def kept():
    with ExitStack() as stack:
        stack.enter_context(autocast("cuda"))
        return stack.pop_all()
"""


@pytest.mark.parametrize("forward", ENTERED.values(), ids=ENTERED)
def test_what_is_entered_into_a_stack_is_in_force(forward: str) -> None:
    assert told(forward, DEFINED) == []
    brain = 'autocast("cuda", dtype=torch.bfloat16)'
    there = 'autocast("cuda")'
    assert told(forward.replace(there, brain), DEFINED.replace(there, brain)) == NEEDLESS


@pytest.mark.parametrize(
    "forward",
    [
        'with ExitStack() as stack:\n    stack.enter_context(autocast("cuda"))\nLOSS',
        'stack = ExitStack()\nstack.enter_context(autocast("cuda"))\nstack.close()\nLOSS',
        'stack = ExitStack()\nstack.enter_context(autocast("cuda"))\nwith stack:\n    pass\nLOSS',
        "with Half():\n    pass\nLOSS",
        "with half():\n    pass\nLOSS",
        "with ExitStack() as stack:\n    LOSS",
    ],
)
def test_and_not_once_the_stack_is_left(forward: str) -> None:
    assert told(forward, DEFINED) == OUTSIDE


def test_what_is_entered_into_a_stack_under_a_test() -> None:
    """The test is the scaler's own: no path has one without the other."""
    guarded = """
        with ExitStack() as stack:
            if amp:
                stack.enter_context(autocast("cuda"))
            LOSS
    """
    assert told(guarded, amp="flags.amp") == []
    chosen = """
        with ExitStack() as stack:
            stack.enter_context(autocast("cuda") if amp else nullcontext())
            LOSS
    """
    assert told(chosen, amp="flags.amp") == []
    assert told(guarded.replace("if amp", "if False")) == OUTSIDE


def test_no_graph_is_built_while_a_stack_holds_no_grad() -> None:
    """What is measured there feeds nothing; afterwards a graph is built again."""
    forward = """
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            old = model(x)
        with autocast("cuda"):
            LOSS + 0 * old.mean()
    """
    assert told(forward) == []
    loss = forward.replace('with autocast("cuda"):', "with nullcontext():")
    assert told(loss) == OUTSIDE


def test_a_suspended_manager_may_have_entered_anything() -> None:
    """A generator that is entered into a stack stays at its `yield`: nothing is said of the precision."""
    manager = """
    @contextmanager
    def half():
        with autocast("cuda", dtype=choose()):
            yield
    """
    forward = "with ExitStack() as stack:\n    stack.enter_context(half())\n    LOSS"
    assert told(forward, manager) == []


BY_HAND = """
class Precision:
    def __init__(self):
        self.context = autocast("cuda")

    def __enter__(self):
        self.context.__enter__()

    def __exit__(self, *failure):
        self.context.__exit__(*failure)
"""


def test_a_context_that_a_method_enters_by_hand_outlives_it() -> None:
    assert told("with Precision():\n    LOSS", BY_HAND) == []
    assert told("with Precision():\n    pass\nLOSS", BY_HAND) == OUTSIDE


def test_closing_gives_the_object_that_it_closes() -> None:
    """`with closing(x) as x` binds x, not None: the path goes on."""
    forward = "with contextlib.closing(source) as source:\n    text = source.read()\nLOSS"
    assert told(forward, "import contextlib\nsource = connect()\n") == OUTSIDE


def test_one_with_may_enter_two_managers_of_one_function() -> None:
    """Both are suspended at once, each with names of its own."""
    manager = """
    @contextmanager
    def held(*parts):
        with ExitStack() as stack:
            for part in parts:
                stack.enter_context(part)
            yield
    """
    assert told("with held(first), held(second):\n    LOSS", manager) == OUTSIDE
    inner = "with held(first), held(second), autocast('cuda'):\n    LOSS"
    assert told(inner, manager) == []
