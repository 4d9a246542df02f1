"""Leases: what a running program uses is not collected.

A program writes the digest of a blob into its lease *before* it looks whether the blob is there. The collector holds
the lock of the store alone while it reads all leases and removes what none of them names; a lease grows only while that
lock is held by many. So a blob that was seen after its digest was written down stays.

The file of a lease is locked for as long as its program lives. One that nobody locks is swept.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Self

from wclayer.errors import WclayerError
from wclayer.oci.content.locks import FileLock, SharedLock
from wclayer.oci.digests import Digest
from wclayer.oci.sources import store_error

__all__ = ["Lease", "leased_digests"]

_LINE = 256  # bytes; more than any digest has
_LIMIT = 64 << 20


class Lease:
    """The lease of a program on blobs in ``folder``, as long as it is open. A context manager; safe for threads.

    ``lock`` is the one of the store. Raises StoreError.
    """

    def __init__(self, folder: Path, lock: SharedLock) -> None:
        self._lock = lock
        self._path = folder / f"{os.getpid()}-{secrets.token_hex(8)}"
        self._held = FileLock(self._path)
        self._digests: set[Digest] = set()
        with lock.held(exclusive=False):  # nobody sweeps it between its making and its locking
            self._held.acquire()

    def add(self, *digests: Digest) -> None:
        """Keep the blobs ``digests``, if they are there, or once they are."""
        new = [digest for digest in digests if digest not in self._digests]
        if not new:
            return
        with self._lock.held(exclusive=False):
            try:
                with self._path.open("ab", buffering=0) as file:
                    file.write("".join(f"{digest}\n" for digest in new).encode())
            except OSError as error:
                raise store_error(error, f"cannot write {self._path}") from error
        self._digests.update(new)

    def close(self) -> None:
        """Let go of the blobs; harmless when called twice."""
        self._held.release(remove=True)
        self._digests.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def leased_digests(folder: Path) -> set[Digest]:
    """What all leases in ``folder`` name; those of dead programs are removed. To be called by who holds the lock alone.

    Raises StoreError.
    """
    digests: set[Digest] = set()
    for path in sorted(folder.iterdir()):
        lock = FileLock(path)
        if lock.acquire():
            lock.release(remove=True)
            continue
        try:
            with path.open("rb") as file:
                lines = file.read(_LIMIT).splitlines()
        except FileNotFoundError:
            continue  # it ended just now
        except OSError as error:
            raise store_error(error, f"cannot read {path}") from error
        for line in lines:
            try:
                digests.add(Digest.parse(line[:_LINE].decode("ascii")))
            except (WclayerError, UnicodeDecodeError):
                continue  # the last line of a program that dies just now: what it did not write down it does not use
    return digests
