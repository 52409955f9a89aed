"""`qalint check`: lint files and folders."""

from __future__ import annotations

import os
import sys
import time

from .. import __version__, reader
from ..cache import Cache
from ..config import Config, Configs
from ..discovery import Discovery, Found
from ..errors import UsageError, did_you_mean
from ..registry import Catalog, catalog
from ..report_data import Report
from ..runner import Importers, Runner, merge
from ..settings import FORMATS
from ..source import Source
from .flags import build_parser, configurations, overrides, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from ..diagnostic import Diagnostic
    from ..fixing import Fixes
    from ..outcome import Outcome

__all__ = ["build_parser", "main"]

STDIN = "-"


def main(argv: list[str]) -> int:
    """Run the command; the exit status is that of `interface.md`."""
    arguments = parse(argv, os.environ)
    check = Check(arguments)
    if arguments.watch:
        from ..watch import watch

        return watch(arguments, Check)
    return check.run()


class Check:
    """One run."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.began = time.perf_counter()
        self.arguments = arguments
        self.catalog: Catalog = catalog(arguments.plugin or ())
        files, inline = configurations(arguments.config or ())
        self.configs = Configs(
            self.catalog,
            overrides=overrides(arguments),
            files=files,
            inline=inline,
            isolated=arguments.isolated,
        )
        self.paths = arguments.paths or ["."]
        self.stdin = arguments.stdin_filename is not None or self.paths == [STDIN]
        self.main_config: Config = self.configs.of_folder(self._main_folder())
        self.values = self.main_config.values
        self.outputs = [_output(text) for text in arguments.output or ()]
        self._sources: dict[str, Source | None] = {}
        self.warnings: list[str] = []
        self.notes: list[str] = []
        """What was done, or left undone by design: told like warnings, and none."""

    def run(self) -> int:
        """Find the files, lint, fix, report."""
        arguments = self.arguments
        discovery = self.discover()
        files = discovery.sorted()
        if arguments.show_files:
            print("".join(f"{found.path}\n" for found in files), end="")
            return 0
        if arguments.show_settings:
            from .settings_view import show

            show(self.configs, files[0].path if files else os.path.join(os.getcwd(), "example.py"))
            return 0
        if arguments.why is not None:
            from .why import why

            return why(self, arguments.why)
        runner = self.runner(files)
        if arguments.add_ignore is not None:
            from ..adoption import add_suppressions

            return add_suppressions(runner, files, arguments.add_ignore, self.values["min-confidence"])
        fixes = None
        if self.fixing or arguments.diff:
            from ..fixing import Fixer

            fixer = Fixer(runner, unsafe=self.values["unsafe-fixes"], write=not arguments.diff)
            fixes = fixer.run(files)
            self.warnings += fixes.messages
            outcomes = fixes.outcomes
        else:
            outcomes = runner.lint(files)
        linted = frozenset(found.path for found in files)
        found = merge(outcomes.values(), linted, Importers(self.configs, linted), self.catalog.precedence)
        self._warn(discovery, files)
        if runner.unparsed:
            some = f"{runner.unparsed} file{'s' * (runner.unparsed != 1)}"
            self.notes.append(
                f"The syntax of {some} was not checked, to save time: no rule has anything to look for in "
                "them. A file that you name is always checked."
            )
        self._tell_renamed(outcomes.values())
        status = self.report(found, linted, fixes)
        if any(outcome.failed for outcome in outcomes.values()):
            self._tell_failures(found)
            status = 2
        if arguments.verbose:
            from .timing import tell

            tell(runner, outcomes.values(), time.perf_counter() - self.began, found)
        return status

    @property
    def fixing(self) -> bool:
        """Whether fixes are written."""
        return bool(self.values["fix"] or self.values["fix-only"]) and not self.arguments.diff

    def discover(self) -> Discovery:
        """The files of the run; standard input counts as a file."""
        discovery = Discovery(self.configs)
        if self.stdin:
            name = self.arguments.stdin_filename
            path = os.path.abspath(name) if name else STDIN
            if name and self.values["force-exclude"] and self.main_config.excludes.match_with_parents(path):
                discovery.excluded.append(name)
                return discovery
            reader.overlay.clear()
            reader.overlay[path] = sys.stdin.buffer.read()
            discovery.files[path] = Found(path, None, True)
            return discovery
        discovery.add(self.paths)
        return discovery

    def runner(self, files: list[Found]) -> Runner:
        """The runner with the cache and the progress bar that the flags allow."""
        cache = None
        if not self.arguments.no_cache and not self.stdin:
            key = repr((self.catalog.stamp, sys.version, sorted(self._cache_key(files))))
            folder = self._cache_folder()
            cache = Cache(folder, key) if folder is not None else None
        progress = None
        if sys.stderr.isatty() and not self.arguments.quiet:
            from .progress import Progress

            progress = Progress()
        return Runner(self.catalog, self.configs, cache=cache, jobs=self.values["jobs"], progress=progress)

    def report(self, found: list[Diagnostic], linted: frozenset[str], fixes: Fixes | None) -> int:
        """Write every output and return the status that the findings give."""
        arguments = self.arguments
        found, hidden = self._by_confidence(found)
        found = self._baseline(found, linted)
        from ..output import render

        fixed = fixes.fixed if fixes is not None else ()
        only_fix = bool(self.values["fix-only"]) or arguments.diff
        report = Report(
            () if only_fix else tuple(found),
            files=len(linted),
            fixed=tuple(fixed),
            base=os.getcwd(),
            top_level=_top_level(os.getcwd()),
            color=self.color,
            width=_width(),
            unsafe_fixes=self.values["unsafe-fixes"],
            show_fixes=self.values["show-fixes"],
            show_marked=arguments.ignore_suppressions,
            fail_on=self.values["fail-on"],
            fixing=self.fixing,
            hidden=hidden,
            quiet=arguments.quiet,
            get_source=self.source,
            get_rule=self.catalog.rules.get,
            get_rules=lambda: list(self.catalog.rules.values()),
        )
        text: str | None
        if arguments.diff:
            assert fixes is not None
            _write_bytes(fixes.diff(os.getcwd()), self.values["output-file"])
            number = sum(fixed.number for fixed in fixes.fixed)
            self.notes += [f"Would fix {number} finding{'s' * (number != 1)}."] if number else []
            text = None
        elif self.stdin and self.fixing:
            assert fixes is not None
            sys.stdout.flush()
            sys.stdout.buffer.write(next(iter(reader.overlay.values()), b""))
            sys.stdout.buffer.flush()
            print(render(self.values["output-format"], report), end="", file=sys.stderr)
            text = None
        elif arguments.statistics:
            from ..output import statistics

            json = self.values["output-format"] in ("json", "json-lines")
            text = statistics.render_json(report) if json else statistics.render(report)
        elif only_fix and not fixed:
            text = ""
        else:
            text = render(self.values["output-format"], report)
        if text is not None:
            _write(text, self.values["output-file"])
        self._further_outputs(report)
        if not arguments.quiet:
            for message in (*self.catalog.warnings, *self.warnings):
                print(f"warning: {message}", file=sys.stderr)
            for message in self.notes:
                print(message, file=sys.stderr)
        return self._status(report, fixes)

    def _tell_renamed(self, outcomes: Iterable[Outcome]) -> None:
        """Which suppressions use a code or name of before; they keep working."""
        seen: dict[str, list[str]] = {}
        for outcome in sorted(outcomes, key=lambda outcome: outcome.path):
            for row, text in outcome.renamed:
                seen.setdefault(text, []).append(f"{os.path.relpath(outcome.path)}:{row}")
        for text, places in sorted(seen.items()):
            more = f" and {len(places) - 1} more" if len(places) > 1 else ""
            now = self.catalog.today(text)
            where = f"The suppression of `{text}` at {places[0]}{more}"
            self.warnings.append(f"{where} still works; write `{now}`, its name today.")

    def source(self, path: str) -> Source | None:
        """The source that the positions of a file count in."""
        if path not in self._sources:
            try:
                self._sources[path] = reader.read(path)
            except reader.Unreadable:
                self._sources[path] = None
        return self._sources[path]

    @property
    def color(self) -> bool:
        """Whether standard output takes colours."""
        wanted: str = self.arguments.color or "auto"
        if wanted != "auto" or self.values["output-file"]:
            return wanted == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"

    def _main_folder(self) -> str:
        first: str = os.path.abspath(self.arguments.stdin_filename or self.paths[0])
        if self.stdin and not self.arguments.stdin_filename:
            return os.getcwd()
        return first if os.path.isdir(first) else os.path.dirname(first)

    def _cache_folder(self) -> str | None:
        """Where findings are cached; None where a link of the tree would lead the writing elsewhere."""
        given = self.values["cache-dir"]
        folder = os.path.abspath(given) if given else os.path.join(self.main_config.root, ".qalint_cache")
        links = [os.path.join(folder, __version__)] if given else [folder, os.path.join(folder, __version__)]
        if any(map(os.path.islink, links)):
            self.warnings.append(f"The cache folder {os.path.relpath(folder)} is a link and is not used.")
            return None
        return folder

    def _cache_key(self, files: list[Found]) -> set[str]:
        folders = {found.path.rpartition(os.sep)[0] for found in files}
        configs = {id(config): config for config in map(self.configs.of_folder, folders)}
        return {
            repr((config.root, sorted(config.enabled), config.values["rules"])) for config in configs.values()
        }

    def _by_confidence(self, found: list[Diagnostic]) -> tuple[list[Diagnostic], int]:
        """The findings at or above `--min-confidence` of their file, and how many new ones are not."""
        order = ("high", "medium", "low")
        kept: list[Diagnostic] = []
        hidden = 0
        for item in found:
            wanted = self.configs.of_file(item.filename).values["min-confidence"]
            if order.index(item.confidence) <= order.index(wanted):
                kept.append(item)
            elif item.status == "new":
                hidden += 1
        return kept, hidden

    def _baseline(self, found: list[Diagnostic], linted: frozenset[str]) -> list[Diagnostic]:
        arguments = self.arguments
        if arguments.write_baseline is None and not self.values["baseline"]:
            return found
        from ..baseline import Baseline

        if arguments.write_baseline is not None:
            counted = Baseline.write(arguments.write_baseline, found)
            self.notes.append(f"{counted} findings were written to {arguments.write_baseline} as known.")
            return Baseline.read(arguments.write_baseline).mark(found)
        baseline = Baseline.read(self.values["baseline"], self.catalog.former)
        marked = baseline.mark(found)
        if gone := baseline.gone(marked, linted):
            known = f"{gone} known finding{'s are' if gone != 1 else ' is'} gone"
            self.warnings.append(
                f"{known}: write the baseline again with --write-baseline {self.values['baseline']}."
            )
        return marked

    def _further_outputs(self, report: Report) -> None:
        from ..output import render

        for format, path in self.outputs:
            color, report.color = report.color, False
            _write(render(format, report), path)
            report.color = color

    def _status(self, report: Report, fixes: Fixes | None) -> int:
        if self.arguments.write_baseline is not None:
            return 0
        changed = bool(fixes and fixes.fixed)
        if self.arguments.diff:
            return int(changed) if not self.arguments.exit_zero else 0
        if changed and self.arguments.exit_non_zero_on_fix:
            return 1
        if self.arguments.exit_zero:
            return 0
        order = ("critical", "high", "medium", "low")
        worst = order.index(self.values["fail-on"])
        counted = [item for item in report.shown if item.status != "baseline"]
        return int(any(order.index(item.severity) <= worst for item in counted))

    def _warn(self, discovery: Discovery, files: list[Found]) -> None:
        if not files:
            named = ", ".join(discovery.excluded)
            reason = f"{named} is excluded" if named else "no Python file or notebook was found"
            self.warnings.append(f"Nothing was checked: {reason}.")
        elif all(reader.kind_of(found.path) == "markdown" for found in files):
            sources = [self.source(found.path) for found in files]
            if not any(source is not None and source.blocks for source in sources):
                self.warnings.append("Nothing was checked: the Markdown files have no marimo cells.")
        elif discovery.excluded:
            self.warnings.append(f"Left out, since it is excluded: {', '.join(discovery.excluded)}.")

    def _tell_failures(self, found: list[Diagnostic]) -> None:
        failures = [item for item in found if item.code == "QA0003"]
        files = sorted({item.filename for item in failures})
        shown = ", ".join(os.path.relpath(path) for path in files[:3]) + (", ..." if len(files) > 3 else "")
        print(f"error: qalint failed on {shown}; the QA0003 findings say where.", file=sys.stderr)


def _output(text: str) -> tuple[str, str]:
    """Format and file of `--output FORMAT=FILE`."""
    format, separator, path = text.partition("=")
    if not separator or not path:
        raise UsageError(f"`--output {text}` is not of the form FORMAT=FILE, such as sarif=qalint.sarif.")
    if format not in FORMATS:
        raise UsageError(f"`--output {text}` names an unknown format{did_you_mean(format, FORMATS)}.")
    return format, path


def _write(text: str, path: str | None) -> None:
    if path is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"The output file {path} cannot be written: {error.strerror}.") from error


def _write_bytes(data: bytes, path: str | None) -> None:
    if path is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        _write(data.decode("utf-8", "replace"), path)


def _top_level(folder: str) -> str:
    """The top of the git working tree that holds the folder, else the folder."""
    above = folder
    while True:
        if os.path.exists(os.path.join(above, ".git")):
            return above
        parent = os.path.dirname(above)
        if parent == above:
            return folder
        above = parent


def _width() -> int:
    try:
        return int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 80
