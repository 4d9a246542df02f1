"""One writer for a directory of CIM images, as Windows has it: who comes second is told so, and never waits for ever.

The lock is one file beside the images, held as ``flock`` on POSIX systems and as a locked byte on Windows, so it goes
with the process that holds it, however that ends. Holding it is what makes leftovers recognisable: whatever unfinished
thing lies in a directory that could be locked was left by a process that died.

Source: Windows CimFS API reference, ``CimCreateImage`` (an image is created with exclusive access).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from wclayer.errors import NotFoundError, StoreError
from wclayer.formats.folder.door import store_error

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["LOCK_NAME", "DirectoryLock"]

LOCK_NAME: Final = ".wclayer-cim.lock"
"""The name of the lock file. It is gone while nobody writes; one that a dead process left misleads nobody."""

_PATIENCE = 0.05  # seconds between two tries


class DirectoryLock:
    """The exclusive right to write images in ``directory``, held from the making of this object until :meth:`release`.

    ``wait`` is how many seconds another writer is waited for, 0 for not at all. Raises StoreError when somebody else
    still writes then, or when the file system has no locks, and NotFoundError when there is no such directory.
    """

    def __init__(self, directory: Path, *, wait: float = 0.0) -> None:
        self._path = directory / LOCK_NAME
        self._descriptor = -1
        deadline = time.monotonic() + wait
        while not self._acquire():
            if time.monotonic() >= deadline:
                raise StoreError(
                    f"another process is writing CIM images in {directory}",
                    hint="one writer for a directory: wait until it is done, or write to another directory",
                )
            time.sleep(_PATIENCE)

    def release(self) -> None:
        """Give the directory back. Harmless when called twice."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            if sys.platform != "win32":
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise store_error(error, "cannot remove the lock", os.fsencode(self._path), "") from error
        finally:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _acquire(self) -> bool:
        """One try. The file may go away with whoever had it, and then another one has to be locked."""
        while True:
            descriptor = self._open()
            try:
                if not _try_lock(descriptor):
                    os.close(descriptor)
                    return False
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    self._descriptor = descriptor
                    return True
            except FileNotFoundError:
                os.close(descriptor)  # whoever had it was done, and removed it, while this one opened it
                continue
            except OSError as error:
                os.close(descriptor)
                raise store_error(error, "cannot lock", os.fsencode(self._path), "") from error
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            return os.open(self._path, flags, 0o644)
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no directory {self._path.parent}") from error
        except OSError as error:
            raise store_error(error, "cannot open the lock", os.fsencode(self._path), "") from error


def _try_lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
