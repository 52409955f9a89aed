"""Small files of qalint's own that may vanish, be foreign or be torn at any time.

A `Shelf` keeps one plain value (numbers, strings, bytes, None, tuples, lists, dicts) in one file.
Content is marshalled and signed with a key that only this user has: a file that somebody else put
into a repository, another version's, or half a file, reads as None. Writing never fails: a full
disk or a read-only folder only means that the next run is slower.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import sys
from typing import Any

try:
    from _blake2 import (
        blake2b as blake2b,
    )  # hashlib would load OpenSSL, which costs more than the rest of a run
except ImportError:  # pragma: no cover - an interpreter built without it
    from hashlib import blake2b as blake2b

_DIGEST = 16


def user_folder() -> str:
    """The folder of this user's caches, which no repository can write to."""
    home = os.path.expanduser("~")
    if sys.platform == "win32":  # pragma: no cover - not at hand
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":  # pragma: no cover - not at hand
        base = os.path.join(home, "Library", "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return os.path.join(base, "qalint")


def key() -> bytes:
    """This user's signing key, made on first use; empty where it cannot be kept."""
    path = os.path.join(user_folder(), "key")
    try:
        with open(path, "rb") as file:
            found = file.read(32)
        if len(found) == 32:
            return found
    except OSError:
        pass
    made = os.urandom(32)
    return made if write_atomically(path, made, mode=0o600) else b""


class Shelf:
    """One value in one file; `name` is relative to the user's folder unless it is absolute."""

    def __init__(self, name: str) -> None:
        self.path = os.path.join(user_folder(), name)

    def read(self) -> Any:
        """The value, or None where there is none to trust."""
        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except OSError:
            return None
        secret = key()
        if not secret or data[:_DIGEST] != _sign(data[_DIGEST:], secret):
            return None
        try:
            return marshal.loads(data[_DIGEST:])
        except (ValueError, EOFError, TypeError):
            return None

    def write(self, value: Any) -> bool:
        """Keep the value; says whether that was possible."""
        secret = key()
        if not secret:
            return False
        data = marshal.dumps(value)
        return write_atomically(self.path, _sign(data, secret) + data)


def _sign(data: bytes, secret: bytes) -> bytes:
    version = bytes(sys.version_info[:3])
    return blake2b(data, key=secret, digest_size=_DIGEST, person=version).digest()


def write_atomically(path: str, data: bytes, mode: int | None = None) -> bool:
    """Replace the file as a whole, or leave everything as it was; says which."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(temporary, "xb") as file:  # never through a link that lies there
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), mode)
            file.write(data)
        os.replace(temporary, path)
    except BaseException as error:  # an interruption too leaves nothing behind
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if not isinstance(error, OSError):
            raise
        return False
    return True


def stamp(paths: list[str]) -> list[int]:
    """When each folder last changed; 0 for one that is not there."""
    found = []
    for path in paths:
        try:
            found.append(os.stat(path).st_mtime_ns)
        except OSError:
            found.append(0)
    return found


def tree_stamp(roots: list[str]) -> str:
    """A digest of name, time and size of every Python and data file below the roots."""
    digest = blake2b(digest_size=_DIGEST)
    pending = list(roots)
    while pending:
        path = pending.pop()
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except NotADirectoryError:
            status = os.stat(path)
            digest.update(f"{path}\0{status.st_mtime_ns}\0{status.st_size}\n".encode())
            continue
        except OSError:
            digest.update(f"{path}\0gone\n".encode())
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    pending.append(entry.path)
            elif entry.name.endswith((".py", ".json")):
                status = entry.stat()
                digest.update(f"{entry.path}\0{status.st_mtime_ns}\0{status.st_size}\n".encode())
    return digest.hexdigest()


def digest_of(data: bytes) -> bytes:
    """A fingerprint of content."""
    return blake2b(data, digest_size=_DIGEST).digest()
