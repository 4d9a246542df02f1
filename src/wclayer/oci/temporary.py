"""Files that grow under a hidden name, locked by the process that writes them; what nobody locks is swept."""

from __future__ import annotations

import os
import re
import sys
from io import FileIO
from pathlib import Path

from wclayer.oci.sources import store_error

if sys.platform != "win32":
    import fcntl

__all__ = ["open_temporary", "sweep_temporaries"]

_NAME = re.compile(r"\.wclayer-[0-9a-f]{16}", re.ASCII)


def open_temporary(folder: Path) -> tuple[Path, FileIO]:
    """A new file in ``folder``, to be renamed or removed; StoreError when there cannot be one."""
    try:
        while True:
            path = folder / f".wclayer-{os.urandom(8).hex()}"
            file = path.open("xb", buffering=0)
            if _is_ours(file, path):
                return path, file
            file.close()  # swept between its making and its locking
    except OSError as error:
        raise store_error(error, f"cannot write to {folder}") from error


def sweep_temporaries(folder: Path) -> None:
    """Remove what processes that died left in ``folder``. StoreError."""
    if sys.platform == "win32":
        return
    try:
        for path in folder.iterdir():
            if _NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                _remove(path)
    except OSError as error:
        raise store_error(error, f"cannot clean up {folder}") from error


def _remove(path: Path) -> None:
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return  # somebody writes it, or it cannot be known
            path.unlink()
    except FileNotFoundError:
        return  # complete meanwhile


def _is_ours(file: FileIO, path: Path) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks, where nobody sweeps either
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
