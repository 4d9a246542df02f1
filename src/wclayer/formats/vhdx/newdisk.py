"""A disk file that comes into being whole, or not at all.

It grows under a hidden name beside its own, and takes that when it is complete and on the disk of this machine.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wclayer.errors import StoreError
from wclayer.formats.vhdx.file import DiskFile

__all__ = ["new_disk_file", "sync_folder"]


@contextmanager
def new_disk_file(path: Path, *, replace: bool = False) -> Iterator[DiskFile]:
    """A new, empty file that has the name ``path`` when the block ends without an error.

    Raises StoreError, also when there is something of that name and it is not to be replaced. What a process that died
    left of the same file is removed.
    """
    _sweep(path)
    if not replace and os.path.lexists(path):
        raise StoreError(f"{path} is there already")
    hidden = path.with_name(f"{_stem(path)}{secrets.token_hex(8)}")
    try:
        with DiskFile(hidden, create=True) as file:
            yield file
            file.sync()
            try:
                if replace:
                    os.replace(hidden, path)
                else:
                    _take(hidden, path)
            except FileExistsError:
                raise StoreError(f"{path} is there already") from None
            except OSError as error:
                raise StoreError(f"cannot make {path}: {error.strerror}") from error
            sync_folder(path.parent)
    finally:
        hidden.unlink(missing_ok=True)


def _take(hidden: Path, path: Path) -> None:
    try:
        os.link(hidden, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.rename(hidden, path)


def _sweep(path: Path) -> None:
    is_leftover = re.compile(re.escape(_stem(path)) + "[0-9a-f]{16}").fullmatch
    try:
        others = [name for name in os.listdir(path.parent) if is_leftover(name)]
    except OSError as error:
        raise StoreError(f"cannot make {path}: {error.strerror}") from error
    for name in others:
        other = path.with_name(name)
        try:
            with DiskFile(other, writable=True):
                other.unlink(missing_ok=True)
        except StoreError:
            continue  # somebody is making it right now


def _stem(path: Path) -> str:
    return f".{os.fsencode(path.name)[:128].decode('utf-8', 'ignore')}."


def sync_folder(folder: Path) -> None:
    """Return when the names in ``folder`` are on the disk of this machine."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
