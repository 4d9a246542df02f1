"""A blob that is still on its way into the store, and a source that reads what of it has come.

What is read is not verified before the blob is whole: so the end of the source comes only after the digest was found
right, and a source whose blob had to be fetched anew from the start fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from threading import Condition

from wclayer.errors import DigestMismatchError, StoreError
from wclayer.oci.digests import Digest
from wclayer.oci.sources import open_file, store_error

__all__ = ["Arrival", "Cancelled", "FollowingSource"]

_CHECK = 0.2  # seconds between two questions whether anybody still waits


class Cancelled(Exception):
    """Raised in the middle of fetching a blob that nobody waits for."""


class Arrival:
    """One blob on its way: ``size`` bytes to ``partial``, which becomes ``target``.

    Whoever fetches calls :meth:`advance` and then :meth:`succeed` or :meth:`fail`; any number of threads wait.
    """

    def __init__(self, digest: Digest, size: int, partial: Path, target: Path) -> None:
        self.digest = digest
        self.size = size
        self.partial = partial
        self.target = target
        self.round = 0
        self._front = 0
        self._whole = False
        self._cancelled = False
        self._error: BaseException | None = None
        self._changed = Condition()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come, one way or the other."""
        return self._whole or self._error is not None

    @property
    def has_failed(self) -> bool:
        """Whether it will not come."""
        return self._error is not None

    def check(self) -> None:
        """Raises Cancelled when nobody wants it any more."""
        if self._cancelled:
            raise Cancelled

    def advance(self, front: int) -> None:
        """``front`` bytes from the start on can be read; fewer than before when it is fetched anew.

        Raises Cancelled when nobody wants it any more.
        """
        with self._changed:
            if self._cancelled:
                raise Cancelled
            if front < self._front:
                self.round += 1
            if front != self._front:
                self._front = front
                self._changed.notify_all()

    def succeed(self) -> None:
        """It is whole, verified, and at ``target``."""
        with self._changed:
            self._whole = True
            self._front = self.size
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """It will not come: whoever waits gets ``error``."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def cancel(self) -> None:
        """Nobody wants it any more: whoever waits gets StoreError, whoever fetches gets Cancelled."""
        with self._changed:
            self._cancelled = True
            if not self._whole and self._error is None:
                self._error = StoreError(f"the blob {self.digest} was not fetched to its end: interrupted")
            self._changed.notify_all()

    def wait(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait until it is whole. Raises what went wrong, and what ``check`` raises, which is called now and then."""
        with self._changed:
            while not self._whole:
                self._raise()
                self._changed.wait(_CHECK)
                check()

    def wait_for(self, position: int, round_: int, stopped: Callable[[], bool]) -> int:
        """Wait for the byte at ``position``, and for the digest when that is the end; returns how many can be read.

        Whoever has read something in ``round_`` waits no longer when there is another.
        """
        with self._changed:
            while self._front <= position and not self._whole and not stopped():
                if position and self.round != round_:
                    break
                self._raise()
                self._changed.wait(_CHECK)
            return self._front

    def wait_for_another(self, front: int, round_: int, stopped: Callable[[], bool]) -> None:
        """Wait until it is anew on its way, or further than ``front`` in this ``round_``: the file does not reach it.

        Raises what the fetching raises, and StoreError when it is whole and still shorter.
        """
        with self._changed:
            while self._front == front and self.round == round_ and not stopped():
                self._raise()
                if self._whole:
                    raise StoreError(f"the blob {self.digest} is shorter in {self.target} than it was when it came")
                self._changed.wait(_CHECK)

    def wake(self) -> None:
        """Let those who wait look whether they still want to."""
        with self._changed:
            self._changed.notify_all()

    def open(self) -> FileIO:
        """The file, wherever it is by now."""
        if not self._whole:
            with suppress(FileNotFoundError):
                return self.partial.open("rb", buffering=0)
        return open_file(self.target)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


class FollowingSource:
    """Reads the blob that ``arrival`` is about while it comes; 0 only once it is whole and verified.

    Raises what the fetching raises, and DigestMismatchError when what was read turned out wrong and is fetched anew.
    """

    def __init__(self, arrival: Arrival) -> None:
        self._arrival = arrival
        self._round = arrival.round
        self._position = 0
        self._file: FileIO | None = None
        self._stopped = False

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill a part of ``buffer``; waits for at least a byte."""
        arrival = self._arrival
        while True:
            front = arrival.wait_for(self._position, self._round, self._is_stopped)
            if not self._position:
                self._round = arrival.round  # nothing was read yet, so nothing was read wrong
            elif arrival.round != self._round:
                raise DigestMismatchError(f"the blob {arrival.digest} arrived damaged and is fetched once more")
            if self._stopped or front <= self._position:
                return 0
            view = memoryview(buffer)[: front - self._position]
            piece = self._read(view)
            if piece or not view:
                self._position += piece
                return piece
            # found wrong and cut off at this moment, which is told a moment later: not the end
            arrival.wait_for_another(front, self._round, self._is_stopped)

    def _read(self, view: memoryview) -> int:
        try:
            if self._file is None:
                self._file = self._arrival.open()
            if _PREADV:
                return os.preadv(self._file.fileno(), [view], self._position)
            self._file.seek(self._position)
            return self._file.readinto(view) or 0
        except OSError as error:
            raise store_error(error, f"cannot read the blob {self._arrival.digest}") from error

    def _is_stopped(self) -> bool:
        return self._stopped

    def interrupt(self) -> None:
        """End a read that waits: nobody wants the rest."""
        self._stopped = True
        self._arrival.wake()

    def close(self) -> None:
        """Close the file; the blob goes on coming."""
        self._stopped = True
        if self._file is not None:
            self._file.close()
            self._file = None


_PREADV = hasattr(os, "preadv")
