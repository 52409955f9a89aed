"""Writing a report out: to the terminal or a file, with colour only where somebody can see it."""

from __future__ import annotations

import os
import sys


def wants_colour(choice: str, output_file: str | None) -> bool:
    """Whether to paint: `--color`, then FORCE_COLOR and NO_COLOR, then whether this is a terminal."""
    if choice != "auto":
        return choice == "always"
    if output_file or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty()


def deliver(command: str, text: str, output_file: str | None) -> int:
    """Write `text` to the file or to standard output; 0, or 2 with one sentence when that fails."""
    try:
        if output_file:
            with open(output_file, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
        else:
            # A terminal or pipe in a narrow encoding must not stop a report that quotes any source text.
            if hasattr(sys.stdout, "reconfigure"):
                sys.stdout.reconfigure(errors="replace")
            sys.stdout.write(text)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough; point stdout elsewhere so that the interpreter's last flush stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        print(f"qalint {command}: cannot write {output_file}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def terminal_width() -> int:
    """Columns of the terminal; 80 where there is none."""
    import shutil

    return shutil.get_terminal_size((80, 24)).columns
