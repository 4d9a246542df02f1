"""Locks of a store: one for its names, one for each layer, and one that says that a program lives.

All are ``flock`` on files in ``HOME/.wclayer``, so they go with the process that holds them, however it ends. The lock
of the store is held for moments, while names appear and vanish; that of a layer for as long as somebody reads it
(shared) or changes it (exclusive). Who needs both takes that of the layer first.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wclayer.errors import StoreError, UnsupportedError
from wclayer.oci.content.locks import FileLock

if sys.platform != "win32":
    import fcntl

__all__ = ["PATIENCE", "PRIVATE", "LayerInUseError", "Lease", "StoreLocks", "is_alive"]

PRIVATE = ".wclayer"
"""The folder in a home that holds what is no layer: locks, leases, counts."""

PATIENCE = 60.0
"""Seconds that an operation waits for a layer that somebody else uses."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02


class LayerInUseError(StoreError):
    """A layer that somebody reads, changes, has mounted or stands on, so that this cannot be done with it now."""


class StoreLocks:
    """The locks of the home ``home``. Safe for threads: each acquisition has a descriptor of its own."""

    def __init__(self, home: Path, *, patience: float = PATIENCE) -> None:
        if sys.platform == "win32":
            raise UnsupportedError("a store of layer folders needs a POSIX system: on Windows it is Windows' own")
        self.folder = home / PRIVATE
        self.patience = patience
        for folder in (self.folder, self.folder / "locks", self.folder / "leases", self.folder / "mounts"):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _refused(error, f"cannot make {folder}") from error

    @contextmanager
    def names(self) -> Iterator[None]:
        """Hold the names of the store: nobody else makes or removes a layer meanwhile. For moments only."""
        descriptor = self._acquire(self.folder / "names", exclusive=True, what="the store")
        try:
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def layer(self, name: str, *, exclusive: bool) -> Iterator[None]:
        """Hold the layer ``name``; waits, but no longer than the patience of this store. Raises StoreError."""
        descriptor = self._acquire(self._path(name), exclusive=exclusive, what=f"the layer {name}")
        try:
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def layer_if_free(self, name: str) -> Iterator[bool]:
        """Hold the layer ``name`` alone if nobody else holds it; the value says whether that was so."""
        try:
            descriptor = self._acquire(self._path(name), exclusive=True, what=name, patience=0)
        except LayerInUseError:
            yield False
            return
        try:
            yield True
        finally:
            os.close(descriptor)

    def forget(self, name: str) -> None:
        """Remove the file of the lock of ``name``, which the caller holds alone and whose layer is gone."""
        with suppress(OSError):
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / "locks" / name

    def _acquire(self, path: Path, *, exclusive: bool, what: str, patience: float | None = None) -> int:
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        pause = _FIRST_PAUSE
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise _refused(error, f"cannot open the lock {path}") from error
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
            except (BlockingIOError, FileNotFoundError):
                pass  # held by another one, or removed with its layer while this one opened it
            except OSError as error:
                os.close(descriptor)
                raise _refused(error, f"cannot lock {path}") from error
            os.close(descriptor)
            if time.monotonic() >= deadline:
                raise LayerInUseError(f"{what} is in use by another program or thread", hint="try again later")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


class Lease:
    """Says that a program lives: a file in the folder ``leases``, locked until :meth:`close` or the end of the process.

    What a program counts it counts under the name of its lease, so what a dead one counted does not count.
    """

    def __init__(self, locks: StoreLocks) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._lock = FileLock(locks.folder / "leases" / self.name)
        with locks.names():  # nobody sweeps it between its making and its locking
            self._lock.acquire()

    def close(self) -> None:
        """Let it go. Harmless when called twice."""
        self._lock.release(remove=True)


def is_alive(locks: StoreLocks, name: str) -> bool:
    """Whether the program of the lease ``name`` lives. The file of a dead one is removed."""
    path = locks.folder / "leases" / name
    if not path.exists():
        return False
    lock = FileLock(path)
    if not lock.acquire():
        return True
    lock.release(remove=True)
    return False


def _refused(error: OSError, what: str) -> StoreError:
    return StoreError(f"{what}: {error.strerror or error}")
