"""From a run to text: one file a format, each a pure function over a `Report`.

`render(format, report)` imports only the module of that format. Nothing here writes, and nothing
reads a file by itself: source lines come through `Report.get_source`.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..report_data import Report

FORMATS = (
    "full",
    "concise",
    "grouped",
    "json",
    "json-lines",
    "github",
    "gitlab",
    "junit",
    "sarif",
    "rdjson",
    "pylint",
)


def render(format: str, report: Report) -> str:
    """The whole output of a run in one of `FORMATS`; it ends with a line end unless it is empty."""
    module = import_module("." + format.replace("-", "_"), __name__)
    text: str = module.render(report)
    return text
