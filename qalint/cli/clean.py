"""`qalint clean`: remove the caches below the working folder, and this user's own."""

from __future__ import annotations

import argparse
import os
import sys

from .. import store
from .parser import Parser


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    return Parser(prog="qalint clean", description="Remove qalint's caches below this folder.")


def main(argv: list[str]) -> int:
    """Run the command."""
    import shutil

    build_parser().parse_args(argv)
    for folder, names, _ in os.walk(os.getcwd()):
        for name in list(names):
            path = os.path.join(folder, name)
            if name == ".qalint_cache" and not os.path.islink(path):
                names.remove(name)
                print(f"Removing cache at {os.path.relpath(path)}", file=sys.stderr)
                shutil.rmtree(path, ignore_errors=True)
            elif name in (".git", "node_modules"):
                names.remove(name)
    own = store.user_folder()
    for name in os.listdir(own) if os.path.isdir(own) else []:
        if name.startswith("registry-"):
            os.unlink(os.path.join(own, name))
    return 0
