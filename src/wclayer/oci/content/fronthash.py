"""The digest of a file that is still being written: a thread of its own hashes the front, close behind the writer.

It reads the file, not what the writer has in hand: so it is all the same to it whether the bytes came in order, in
several parts, or from a process that was killed yesterday, and what is verified is what is in the file. The bytes were
written a moment ago and come out of memory; a small buffer keeps them close to the processor.
"""

from __future__ import annotations

import threading
from io import FileIO
from pathlib import Path

from wclayer.errors import StoreError
from wclayer.oci.digests import Hash, new_hash
from wclayer.oci.sources import open_file, store_error

__all__ = ["FrontHash"]

_PIECE = 1 << 18
_WORTH_A_THREAD = 1 << 20


class FrontHash:
    """Hashes the first bytes of the file ``path``, as many as :meth:`grow` says are there."""

    def __init__(self, path: Path, algorithm: str) -> None:
        self._path = path
        self._algorithm = algorithm
        self._changed = threading.Condition()
        self._state: Hash = new_hash(algorithm)
        self._hashed = 0
        self._front = 0
        self._finishing = False
        self._stopping = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def grow(self, front: int) -> None:
        """The first ``front`` bytes are in the file now."""
        with self._changed:
            self._front = front
            if front - self._hashed >= _PIECE:
                self._changed.notify_all()
        if self._thread is None and front >= _WORTH_A_THREAD:
            self._start()

    def restart(self) -> None:
        """Nothing is in the file any more."""
        with self._changed:
            self._state = new_hash(self._algorithm)  # the thread may still add to the old one
            self._hashed = self._front = 0

    def finish(self) -> str:
        """The hash of the whole front in hexadecimal; waits for it. Raises StoreError."""
        self._start()
        with self._changed:
            self._finishing = True
            self._changed.notify_all()
            while self._hashed < self._front and self._error is None:
                self._changed.wait()
            self._finishing = False
            if self._error is not None:
                raise self._error
            return self._state.hexdigest()

    def close(self) -> None:
        """Stop the thread and wait for it; harmless when called twice."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        with self._changed:
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="wclayer-hash", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        try:
            with open_file(self._path) as file:
                self._follow(file)
        except BaseException as error:  # raised again by finish()
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _follow(self, file: FileIO) -> None:
        buffer = memoryview(bytearray(_PIECE))
        while True:
            with self._changed:
                while not self._stopping and self._front - self._hashed < (1 if self._finishing else _PIECE):
                    self._changed.wait()
                if self._stopping:
                    return
                state, start = self._state, self._hashed
                wanted = min(_PIECE, self._front - start)
            try:
                file.seek(start)
                count = file.readinto(buffer[:wanted]) or 0
            except OSError as error:
                raise store_error(error, f"cannot read {self._path}") from error
            if not count:
                with self._changed:
                    if state is not self._state:
                        continue
                raise StoreError(f"{self._path} became shorter while it was written", hint="two programs write to it?")
            state.update(buffer[:count])
            with self._changed:
                if state is self._state:
                    self._hashed = start + count
                    if self._hashed == self._front:
                        self._changed.notify_all()
