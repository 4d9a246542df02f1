"""A file that comes into being whole, or not at all.

It grows under a hidden name beside its own, locked, and is renamed when it is complete. What has such a name and no
lock was left by a process that died; the next one to write the same file removes it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from wclayer.errors import StoreError

if sys.platform != "win32":
    import fcntl

__all__ = ["new_file", "sweep_files"]


@contextmanager
def new_file(path: Path, *, sync: bool = True) -> Iterator[FileIO]:
    """A file that takes the name ``path`` when the block ends without an error, in place of what was there.

    With ``sync`` it is durable before it takes the name; so it is in any case where something would be lost otherwise,
    which is what was there. Raises StoreError; then ``path`` is as it was.
    """
    try:
        sweep_files(path)
        while True:
            temporary = path.with_name(f"{_stem(path.name)}{os.urandom(8).hex()}")
            try:
                with temporary.open("xb", buffering=0) as file:
                    if not _is_ours(file.fileno()):
                        continue
                    yield file
                    if sync or path.exists():
                        os.fsync(file.fileno())
                    temporary.replace(path)
                    return
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def sweep_files(path: Path) -> None:
    """Remove what processes that died left of ``path``; raises OSError."""
    is_leftover = re.compile(re.escape(_stem(path.name)) + "[0-9a-f]{16}").fullmatch
    for other in path.parent.iterdir():
        if is_leftover(other.name) and other.is_file() and not other.is_symlink():
            try:
                with other.open("rb") as file:
                    if _lock(file.fileno()) is True:
                        other.unlink()
            except FileNotFoundError:
                continue  # complete meanwhile


def _is_ours(descriptor: int) -> bool:
    """Lock a new file, unless another process that writes the same took it for a leftover before it was locked."""
    return _lock(descriptor) is not False and os.fstat(descriptor).st_nlink > 0


def _stem(name: str) -> str:
    return f".{os.fsencode(name)[:128].decode('utf-8', 'ignore')}."


def _lock(descriptor: int) -> bool | None:
    """Lock a file: True when this worked, False when another process holds it, None when it cannot be known."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
