"""A folder of this machine as the files of a host: a copy of a store, or a volume that is mounted.

The copy may come from anybody, so a symbolic link in it leads nowhere: each folder is opened from the one above it, and
never through a link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from wclayer.errors import NotFoundError, StoreError
from wclayer.store.hosts.files import EntryKind, HostEntry

__all__ = ["FolderFiles"]

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
# Without O_NONBLOCK a pipe that somebody put there would be waited for.
_FILE = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class FolderFiles:
    """The files below ``root``. Raises NotFoundError when it is no folder."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise NotFoundError(f"{root} is no folder")
        self._root = root

    @property
    def name(self) -> str:
        """The folder."""
        return str(self._root)

    def entries(self, path: str) -> list[HostEntry]:
        """What the folder at ``path`` holds. Raises NotFoundError, StoreError."""
        try:
            with self._folder(path) as descriptor, os.scandir(descriptor) as found:
                return [_entry(one.name, one.stat(follow_symlinks=False)) for one in found]
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"{path}: there is no such folder in {self._root}") from None
        except OSError as error:
            raise self._error(path, error) from error

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """The file at ``path``. Raises NotFoundError, StoreError."""
        folder, _, name = path.rpartition("/")
        try:
            with self._folder(folder) as descriptor:
                opened = os.open(name, _FILE, dir_fd=descriptor)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"{path}: there is no such file in {self._root}") from None
        except OSError as error:
            raise self._error(path, error) from error
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            raise StoreError(f"{path}: no file")
        with os.fdopen(opened, "rb") as stream:
            yield stream

    @contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        descriptor = os.open(self._root, _FOLDER & ~getattr(os, "O_NOFOLLOW", 0))
        try:
            for component in path.split("/") if path else []:
                below = os.open(component, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def _error(self, path: str, error: OSError) -> StoreError:
        return StoreError(f"{path or self._root}: cannot be read: {error.strerror or error}")


def _entry(name: str, found: os.stat_result) -> HostEntry:
    mode = found.st_mode
    kind: EntryKind = "other"
    if stat.S_ISDIR(mode):
        kind = "folder"
    elif stat.S_ISREG(mode):
        kind = "file"
    elif stat.S_ISLNK(mode):
        kind = "link"
    is_file = kind == "file"
    return HostEntry(
        name,
        kind,
        found.st_size if is_file else 0,
        found.st_mtime_ns,
        allocated=getattr(found, "st_blocks", 0) * 512 if is_file and hasattr(found, "st_blocks") else None,
        identity=(found.st_dev, found.st_ino) if is_file and found.st_nlink > 1 else None,
    )
