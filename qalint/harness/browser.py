"""What only a browser shows: the notebook is served by marimo and looked at in headless Chromium.

Checks the items of the checklist that speak of what a person sees: the preview table complete, paged and
readable; every numbered step visible; equal elements in equal colours; nothing that vanishes when some
other control moves; figures that are not cut off. Needs `playwright` and an installed Chromium
(`CHROMIUM` may name it); nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .browser_script import SCRIPT
from .verify import Entry

ITEMS = ("09.07", "09.10", "09.11", "09.12", "09.13", "09.14")
WIDTH, HEIGHT = 1280, 7000
"""A window so tall that nothing waits to be scrolled to."""
QUIET = 1.5
"""Seconds without change after which a page counts as finished."""
PATIENCE = 240.0
"""Seconds after which it is looked at anyhow."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")


class Refuted(Exception):
    """A check failed; its text says what was seen."""


class NotThere(Exception):
    """The notebook has nothing that the check could look at."""


def not_run() -> Iterator[Entry]:
    """The items that were not tried, so that nobody takes silence for a pass."""
    for item in ITEMS:
        yield Entry(None, item, "dashboard", "", "", "", "no-oracle", 0.0, "run `qalint verify --browser`")


def on_dashboard(root: Path) -> Iterator[Entry]:
    """The reference dashboard."""
    yield from own_notebook(root / "dashboard" / "dashboard.py", "dashboard")


def own_notebook(path: Path, fixture: str | None = None) -> Iterator[Entry]:
    """Any notebook: one entry an item. Raises UsageError where no browser or marimo is to be had."""
    if not path.exists():
        raise UsageError(f"There is no notebook `{path}`.")
    browser = find_browser()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UsageError("`--browser` needs the package playwright: pip install playwright.") from error
    with served(path) as url, sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        look = Look(page)
        page.goto(url)
        page.evaluate(SCRIPT)
        look.settle()
        for item, check in CHECKS.items():
            started = time.perf_counter()
            verdict, detail = "confirmed", ""
            try:
                refute_by_reading(path, item)
                seen = check(look)
            except Refuted as error:
                verdict, seen = "refuted", str(error)
            except NotThere as error:
                verdict, seen, detail = "no-oracle", "", str(error)
            seconds = round(time.perf_counter() - started, 1)
            yield Entry(None, item, fixture or str(path), "browser", "", seen, verdict, seconds, detail)
        chromium.close()


def find_browser() -> str:
    """The path of an installed Chromium, Chrome or Edge."""
    named = os.environ.get("CHROMIUM")
    for name in (named, *BROWSERS) if named else BROWSERS:
        found = shutil.which(name or "")
        if found:
            return found
    raise UsageError("`--browser` needs an installed Chromium or Chrome; the variable CHROMIUM may name it.")


@contextmanager
def served(path: Path) -> Iterator[str]:
    """The address under which `marimo run` serves the notebook, on this machine only."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--headless", "--no-token", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MARIMO_SKIP_UPDATE_CHECK": "1"}
    server = subprocess.Popen(
        [sys.executable, "-m", "marimo", "run", str(path.resolve()), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    try:
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.5).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > end:
                    raise UsageError(f"marimo does not serve `{path}`.") from None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


class Look:
    """A page of a running notebook, seen through the script in `browser_script`."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.status: dict[str, str] = {}
        """What the kernel last said of each cell: it tells the page over a socket."""
        page.on("websocket", lambda socket: socket.on("framereceived", self.hear))

    def hear(self, frame: Any) -> None:
        """One message of the kernel."""
        try:
            message = json.loads(frame)
        except (TypeError, ValueError):
            return
        data = message.get("data") if isinstance(message, dict) else None
        if isinstance(data, dict) and message.get("op") == "cell-op" and data.get("status"):
            self.status[str(data.get("cell_id"))] = data["status"]

    def ask(self, question: str, *arguments: Any) -> Any:
        """The answer of one function of the script."""
        return self.page.evaluate(f"arguments => window.qalint.{question}(...arguments)", list(arguments))

    def settle(self) -> None:
        """Wait until no cell runs and the page has stopped changing."""
        last, since = None, time.monotonic()
        end = since + PATIENCE
        while time.monotonic() < end:
            text = self.ask("text")
            busy = any(status in ("running", "queued") for status in self.status.values())
            if text != last or busy:
                last, since = text, time.monotonic()
            elif time.monotonic() - since > QUIET:
                return
            # Not time.sleep: the messages of the socket arrive in here.
            self.page.wait_for_timeout(200)

    def cells(self) -> dict[str, str]:
        """What each cell shows, by its id; cells that show nothing are left out."""
        shown: dict[str, str] = self.ask("cells")
        return shown

    def tables(self) -> list[dict[str, Any]]:
        """The tables, in order."""
        found: list[dict[str, Any]] = self.ask("tables")
        return found


def preview_is_complete(look: Look) -> str:
    """Every row of the first table can be reached, page by page."""
    table = first_table(look)
    seen = table["shown"]
    pages = 1
    while look.ask("next_page", 0):
        look.page.wait_for_timeout(600)
        seen += look.tables()[0]["shown"]
        pages += 1
        if pages > 500:
            raise Refuted("more than 500 pages")
    if seen != table["rows"]:
        raise Refuted(f"{seen} of {table['rows']} rows can be seen")
    if table["rows"] > 20 and pages == 1:
        raise Refuted(f"{table['rows']} rows on one page")
    claim = look.ask("claims_a_part")
    if claim:
        raise Refuted(f"the page says {claim!r}")
    return f"{seen} rows on {pages} pages"


READ = {"09.07": ("QA1607",), "09.11": ("QA1305", "QA1306"), "09.12": ("QA1601",), "09.13": ("QA1308",)}
"""What the page alone cannot tell: rows or steps that never reached it."""


def refute_by_reading(path: Path, item: str) -> None:
    """Refute an item whose rule finds its fault in the notebook's code."""
    from .fixer import Fixer

    fixer = Fixer()
    for code in READ.get(item, ()):
        if fixer.catalog.section_of(code) is None:
            continue
        found = fixer.lint(path.resolve().parent, [path.name], code)
        if found:
            raise Refuted(f"{code} at line {found[0].region.row}: {found[0].message}")


def first_table(look: Look) -> dict[str, Any]:
    """The first table; a notebook's preview comes first."""
    tables = look.tables()
    if not tables:
        raise NotThere("the notebook shows no table")
    return tables[0]


def tables_are_readable(look: Look) -> str:
    """No cell of a table is cut off, no text is tiny, and a wide table scrolls inside itself."""
    if not look.tables():
        raise NotThere("the notebook shows no table")
    trouble = look.ask("unreadable")
    if trouble:
        raise Refuted(trouble)
    return f"{len(look.tables())} tables, no cell is cut off"


def steps_are_visible(look: Look) -> str:
    """Numbered steps are all there, from 1 to the last."""
    steps = look.ask("steps")
    total = steps["total"]
    if not total:
        raise NotThere("the notebook numbers no steps")
    missing = sorted(set(range(1, total + 1)) - set(steps["shown"]))
    if missing:
        raise Refuted(f"of {total} steps these are not visible: {', '.join(map(str, missing))}")
    return f"steps 1 to {total} are visible"


def colours_agree(look: Look) -> str:
    """Callouts that say the same kind of thing have one colour."""
    groups: dict[str, list[str]] = look.ask("callouts")
    if not groups:
        raise NotThere("the notebook shows no callouts")
    for text, kinds in groups.items():
        if len(set(kinds)) > 1:
            raise Refuted(f"{text!r} comes in {', '.join(sorted(set(kinds)))}")
    count = sum(map(len, groups.values()))
    return f"{count} callouts in {len(groups)} groups, one colour each"


def nothing_vanishes(look: Look) -> str:
    """Pressing the buttons once and then moving each other control leaves every output standing."""
    look.ask("press_buttons")
    look.settle()
    before = look.cells()
    moved = 0
    for index in range(look.ask("controls")):
        if not look.ask("focus", index):
            continue
        look.page.keyboard.press("ArrowRight")
        moved += 1
        look.settle()
        gone = sorted(set(before) - set(look.cells()))
        if gone:
            text = " ".join(before[gone[0]].split())[:60]
            raise Refuted(f"moving control {index + 1} makes {text!r} vanish")
    if not moved:
        raise NotThere("the notebook has no control to move")
    return f"{moved} controls moved, {len(before)} outputs stay"


def figures_fit(look: Look) -> str:
    """No figure is cut off, and charts use the width they have."""
    figures: list[dict[str, Any]] = look.ask("figures")
    if not figures:
        raise NotThere("the notebook shows no figure")
    for figure in figures:
        if figure["cut"]:
            raise Refuted(
                f"a {figure['kind']} of {figure['width']:.0f} px is cut off at {figure['room']:.0f} px"
            )
    narrow = [figure for figure in figures if figure["width"] < 0.4 * figure["room"]]
    if narrow and len(narrow) == len(figures):
        raise Refuted(f"a figure uses {narrow[0]['width']:.0f} of {narrow[0]['room']:.0f} px")
    return ", ".join(
        f"{figure['kind']} {figure['width']:.0f} of {figure['room']:.0f} px" for figure in figures[:4]
    )


CHECKS: dict[str, Callable[[Look], str]] = {
    "09.07": preview_is_complete,
    "09.10": tables_are_readable,
    "09.11": steps_are_visible,
    "09.12": colours_agree,
    "09.14": figures_fit,
    # Last: it presses and moves things.
    "09.13": nothing_vanishes,
}
