"""What a program does to its modules, parameters and tensors.

`Modules` is the analysis that rules ask for: the events of the programs that a file begins, in the
order in which they happen, with the tests and calls that lead to each. See `events.KINDS`.
"""

from __future__ import annotations

from .adapters import Adapters, Injection
from .analysis import Modules
from .events import Event, Guard, compatible, extra, named

__all__ = ["Adapters", "Event", "Guard", "Injection", "Modules", "compatible", "extra", "named"]
