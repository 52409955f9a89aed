"""Uses a notebook as its reader does: clicks its buttons and moves its elements in a kernel of marimo's own.

`app.run()` and an exported session show a notebook as it is opened. What happens afterwards, a result
that vanishes when a slider is moved, a click that arrives nowhere, only a kernel shows. This one runs in
the child process itself, without a server: it takes the messages that a browser would send.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import html
import io
import json
import queue
import re
from collections.abc import Iterator
from typing import Any

BUTTONS = ("button", "run_button")
MOST = 8
"""Elements of each sort that are used, at most."""


def use(path: str) -> dict[str, Any]:
    """Open the notebook, click each button, and move every other element after each click.

    `steps`: what was done, and after it what each cell shows; `elements`: what the page shows, whether it
    has a handler, and whether a message still reaches it.
    """
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        _noted() as made,
    ):
        return asyncio.run(_use(path, made))


async def _use(path: str, made: dict[str, tuple[str, bool]]) -> dict[str, Any]:
    with _session(path) as session:
        await session.open()
        steps: list[dict[str, Any]] = [{"act": "open", "name": "", "cells": session.cells()}]
        gc.collect()
        page = session.page()
        elements = [
            {
                "name": session.name(key),
                "kind": kind,
                "handled": handled,
                "reached": session.element(key) is not None,
            }
            for key, (kind, handled) in made.items()
            if re.search(rf"object-id=\W*{re.escape(key)}\b", page)
        ]
        for button in session.alive(lambda kind: kind in BUTTONS):
            await session.send(button, 1)
            name = session.name(button)
            dumb = made.get(button) == ("button", False)
            steps.append({"act": "click", "name": name, "dumb": dumb, "cells": session.cells()})
            for key in session.alive(lambda kind: kind not in BUTTONS):
                value = _another_value(session.element(key))
                if value is not None:
                    await session.send(key, value)
                    steps.append({"act": "move", "name": session.name(key), "cells": session.cells()})
        return {"steps": steps, "elements": elements}


class _Session:
    """A kernel with one notebook, and what its page shows."""

    def __init__(self, kernel: Any, registry: Any, cells: list[Any], shown: dict[Any, str]) -> None:
        self.kernel = kernel
        self.registry = registry
        self.given = cells
        self.shown = shown

    async def open(self) -> None:
        """Run all cells, as when the page opens."""
        from marimo._runtime import commands

        await self.kernel.handle_message(
            commands.CreateNotebookCommand(
                execution_requests=tuple(
                    commands.ExecuteCellCommand(cell_id=each.cell_id, code=each.code) for each in self.given
                ),
                cell_ids=tuple(each.cell_id for each in self.given),
                set_ui_element_value_request=commands.UpdateUIElementCommand(object_ids=[], values=[]),
                auto_run=True,
            )
        )

    async def send(self, key: str, value: Any) -> None:
        """What the browser sends when its reader uses an element."""
        from marimo._runtime.commands import UpdateUIElementCommand

        await self.kernel.handle_message(UpdateUIElementCommand(object_ids=[key], values=[value]))

    def cells(self) -> list[dict[str, Any]]:
        """What each cell shows now, without the ids that differ from run to run."""
        found = []
        for each in self.given:
            text = re.sub(
                r"(random-id|object-id|data-initial-value)=\W*[\w-]+", "", self.shown.get(each.cell_id, "")
            )
            found.append({"text": text[:20000]})
        return found

    def page(self) -> str:
        """All that is shown, with what is nested in layouts unescaped."""
        return html.unescape(html.unescape(" ".join(self.shown.values())))

    def element(self, key: str) -> Any:
        """The element that a message with this key reaches; None where it is gone."""
        reference = self.registry._objects.get(key)
        return None if reference is None else reference()

    def alive(self, wanted: Any) -> list[str]:
        """The keys of the elements of some kinds that can be reached, a few of them."""
        kinds = {
            key: type(found).__name__ for key in list(self.registry._objects) if (found := self.element(key))
        }
        return [key for key, kind in kinds.items() if wanted(kind)][:MOST]

    def name(self, key: str) -> str:
        """The name that an element is bound to, or its kind."""
        found = self.element(key)
        if found is None:
            return ""
        names = [name for name, value in self.kernel.globals.items() if value is found]
        return names[0] if names else type(found).__name__


@contextlib.contextmanager
def _session(path: str) -> Iterator[_Session]:
    from marimo._ast.app import InternalApp
    from marimo._ast.load import load_app
    from marimo._config.config import DEFAULT_CONFIG
    from marimo._messaging.types import KernelStreams, Stream
    from marimo._output.formatters.formatters import register_formatters
    from marimo._runtime.commands import AppMetadata
    from marimo._runtime.kernel_lifecycle import KernelArgs, kernel_session
    from marimo._session.model import SessionMode

    shown: dict[Any, str] = {}

    class Page(Stream):  # type: ignore[misc]
        """Keeps the last output of each cell."""

        def write(self, data: Any) -> None:
            message = json.loads(data) if isinstance(data, bytes | str) else data
            if message.get("op") == "cell-op" and message.get("output") is not None:
                shown[message["cell_id"]] = str(message["output"]["data"])

    register_formatters()
    loaded = load_app(path)
    if loaded is None:
        raise ValueError("marimo finds no notebook")
    app = InternalApp(loaded)
    cells = list(app.cell_manager.cell_data())
    arguments = KernelArgs(
        streams=KernelStreams(stream=Page(), stdout=None, stderr=None, stdin=None),
        debugger=None,
        configs={each.cell_id: each.config for each in cells},
        app_metadata=AppMetadata(query_params={}, cli_args={}, filename=path, app_config=app.config),
        user_config=DEFAULT_CONFIG,
        mode=SessionMode.RUN,
        control_queue=queue.Queue(),
        set_ui_element_queue=queue.Queue(),
        virtual_file_storage="in_memory",
    )
    with kernel_session(arguments) as (kernel, context):
        yield _Session(kernel, context.ui_element_registry, cells, shown)


@contextlib.contextmanager
def _noted() -> Iterator[dict[str, tuple[str, bool]]]:
    """Of each element that is made meanwhile: its kind, and whether it was given a handler."""
    from marimo._plugins.ui._core.ui_element import UIElement

    made: dict[str, tuple[str, bool]] = {}
    begin = UIElement.__init__

    def noting(self: Any, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        handler = options.get("on_change") or getattr(self, "_on_click", None)
        kind = type(self).__name__
        inner = getattr(handler, "__module__", "").startswith("marimo._plugins")  # of an array's items
        made[self._id] = (kind, handler is not None and not inner)

    UIElement.__init__ = noting
    try:
        yield made
    finally:
        UIElement.__init__ = begin


def _another_value(element: Any) -> Any:
    """What the browser would send if its reader changed the element; None where that is not known."""
    arguments, value = element._component_args, element._value_frontend
    match type(element).__name__:
        case "slider" | "number":
            start, stop = arguments.get("start"), arguments.get("stop")
            return (stop if value != stop else start) if stop is not None else (value or 0) + 1
        case "checkbox" | "switch":
            return not value
        case "text" | "text_area" | "code_editor":
            return f"{value or ''}x"
        case "dropdown" | "multiselect" | "radio" as kind:
            options = arguments.get("options", [])
            chosen = value if isinstance(value, list) else [value]
            other = next((each for each in options if each not in chosen), None)
            return None if other is None else other if kind == "radio" else [other]
    return None
