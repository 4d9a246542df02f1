"""Locks between processes: they go with the process that holds them, however that ends.

On POSIX systems ``flock``, which also tells shared from exclusive; on Windows a locked byte, which is always exclusive.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wclayer.oci.sources import store_error

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["FileLock", "SharedLock"]

_PATIENCE = 0.05  # seconds between two tries, where waiting itself is not to be had


class FileLock:
    """The exclusive lock that the file ``path`` stands for. The file may be removed with it: nobody else is misled.

    Used by one thread. Every method raises StoreError when the file system refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        """Take the lock if nobody has it; returns whether it is held now."""
        while True:
            descriptor = _open(self._path)
            try:
                if not _try_lock(descriptor, exclusive=True):
                    os.close(descriptor)
                    return False
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    self._descriptor = descriptor
                    return True
            except FileNotFoundError:
                pass  # whoever had it was done, and removed it, while this one opened it
            except OSError as error:
                os.close(descriptor)
                raise store_error(error, f"cannot lock {self._path}") from error
            os.close(descriptor)

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back, and with ``remove`` leave no file; harmless when it is not held."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            if remove and sys.platform != "win32":
                self._path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


class SharedLock:
    """The lock of ``path``, held by many at once or by one alone. Threads take turns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()

    @contextmanager
    def held(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the lock; waits for it. Raises StoreError."""
        with self._turn:
            descriptor = _open(self._path)
            try:
                try:
                    while not _try_lock(descriptor, exclusive=exclusive):
                        time.sleep(_PATIENCE)
                except OSError as error:
                    raise store_error(error, f"cannot lock {self._path}") from error
                yield
            finally:
                os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    except OSError as error:
        raise store_error(error, f"cannot open the lock {path}") from error


def _try_lock(descriptor: int, *, exclusive: bool) -> bool:
    if sys.platform == "win32":
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
