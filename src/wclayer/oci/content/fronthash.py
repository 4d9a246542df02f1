"""The digest of a file that is still being written: hashed at the front, as that grows.

Bytes that come in order are hashed by whoever writes them, while they are at hand. What comes otherwise (in several
parts, or from a process that was killed yesterday) is read from the file by a thread of its own, close behind the
writers. Both take turns at one hash; reading costs a copy and a second thread, so it is only done where it has to be.
"""

from __future__ import annotations

import threading
from io import FileIO
from pathlib import Path

from wclayer.errors import StoreError
from wclayer.oci.digests import Hash, new_hash
from wclayer.oci.sources import open_file, store_error
from wclayer.threads import Helper

__all__ = ["FrontHash"]

_PIECE = 1 << 20
_WORTH_A_THREAD = 1 << 20


class FrontHash:
    """Hashes the first bytes of the file ``path``, as many as :meth:`grow` says are there."""

    def __init__(self, path: Path, algorithm: str) -> None:
        self._path = path
        self._algorithm = algorithm
        self._changed = threading.Condition()  # its lock may be taken again by its holder
        self._state: Hash = new_hash(algorithm)
        self._hashed = 0
        self._front = 0
        self._busy = False  # somebody is hashing, with the lock released
        self._finishing = False
        self._stopping = False
        self._error: BaseException | None = None
        self._thread: Helper | None = None

    def written(self, offset: int, data: memoryview) -> None:
        """``data`` is in the file at ``offset`` now; it is hashed if it is what comes next."""
        with self._changed:
            if offset != self._hashed or offset != self._front or self._busy:
                return
            self._busy = True
            state = self._state
        state.update(data)
        with self._changed:
            self._done(state, offset + len(data))

    def grow(self, front: int) -> None:
        """The first ``front`` bytes are in the file now."""
        with self._changed:
            self._front = front
            behind = front - self._hashed
            if behind >= _PIECE:
                self._changed.notify_all()
        if self._thread is None and behind >= _WORTH_A_THREAD:
            self._start()

    def restart(self) -> None:
        """Nothing is in the file any more."""
        with self._changed:
            self._state = new_hash(self._algorithm)  # the thread may still add to the old one
            self._hashed = self._front = 0

    def finish(self) -> str:
        """The hash of the whole front in hexadecimal; waits for it. Raises StoreError."""
        with self._changed:
            self._finishing = True
            self._changed.notify_all()
            if self._hashed < self._front:
                self._start()
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
                self._thread = Helper(self._run, "wclayer-hash")
                self._thread.start()

    def _done(self, state: Hash, position: int) -> None:
        """Everything up to ``position`` is in ``state``; called with the lock."""
        self._busy = False
        if state is self._state:  # else there was a new start meanwhile
            self._hashed = position
        self._changed.notify_all()

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
                while not self._stopping and (
                    self._busy or self._front - self._hashed < (1 if self._finishing else _PIECE)
                ):
                    self._changed.wait()
                if self._stopping:
                    return
                self._busy = True
                state, start = self._state, self._hashed
                wanted = min(_PIECE, self._front - start)
            try:
                file.seek(start)
                count = file.readinto(buffer[:wanted]) or 0
            except OSError as error:
                raise store_error(error, f"cannot read {self._path}") from error
            state.update(buffer[:count])
            with self._changed:
                if not count and state is self._state:
                    raise StoreError(
                        f"{self._path} became shorter while it was written", hint="do two programs write to it?"
                    )
                self._done(state, start + count)
