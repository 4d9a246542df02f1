"""A blob on its way to this machine: a file with holes, and a journal of what is in it that outlives the program.

Bytes may come in any order and from several threads. What was written is known again after the program was killed at
any moment, because a range is journalled only after its bytes are in the file. The part without holes at the front can
be read while the rest arrives, and is hashed meanwhile; nobody has to believe the blob before
:meth:`PartialBlob.finish` says so.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from wclayer.errors import DigestMismatchError
from wclayer.oci.content.extents import Extents
from wclayer.oci.content.fronthash import FrontHash
from wclayer.oci.content.journal import Journal, read_journal
from wclayer.oci.content.writeback import Writeback
from wclayer.oci.digests import Digest
from wclayer.oci.sources import store_error
from wclayer.writing import write_whole, write_whole_at

__all__ = ["PartialBlob", "read_front"]

_JOURNAL_BYTES = 1 << 20
_JOURNAL_SECONDS = 1.0
"""A line is written for so many bytes, or after so much time: what a kill can cost."""


def read_front(path: Path) -> int:
    """How many bytes of the partial file ``path`` can be read from its start without a gap, seen from any process.

    Never more than there are, and a little less while they are being written; 0 when nothing is known. StoreError.
    """
    extents = read_journal(path)
    return extents.front if extents else 0


class PartialBlob:
    """The blob with ``digest`` and ``size`` (bytes) in the file ``path``, as far as it is there.

    Opens what an earlier process left, or starts anew. Only one may have it open; whoever opens it sees to that.
    ``on_front`` is called with the new :attr:`front` whenever that has changed, by the thread that wrote; what it
    raises goes to the caller of :meth:`write`. Raises StoreError when the file system refuses.
    """

    def __init__(self, path: Path, digest: Digest, size: int) -> None:
        self.path = path
        self.digest = digest
        self.size = size
        self.front = 0
        """How many bytes can be read from the start without a gap; 0 again after :meth:`reset`."""
        self.on_front: Callable[[int], None] | None = None
        self._lock = threading.Condition(threading.Lock())
        self._positioned = threading.Lock()  # where a file has one position for all
        self._writing = 0
        self._finished = False
        self._closed = False
        self._noted = time.monotonic()
        self._pending = Extents()  # in the file, not in the journal yet
        try:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
            self._descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            raise store_error(error, f"cannot open {path}") from error
        try:
            self._extents = self._recall()
            self._journal = Journal(path, digest, size, self._extents)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._hash = FrontHash(path, digest.algorithm)
        self._writeback = Writeback(self._descriptor, str(path))
        self.front = self._extents.front
        self._hash.grow(self.front)

    def _recall(self) -> Extents:
        known = read_journal(self.path, self.digest, self.size)
        length = os.fstat(self._descriptor).st_size
        if known is None and length == self.size:
            return Extents([(0, length)])  # whole, journal gone: killed after finish(). The digest will tell
        if length > self.size or (known is None and length):
            self._truncate()
            return Extents()
        return known or Extents()

    @property
    def present(self) -> int:
        """How many bytes are there, holes or not."""
        return self._extents.total

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are there; not yet whether they are the right ones."""
        return self.present == self.size

    def extents(self) -> list[tuple[int, int]]:
        """The ranges that are there, in order, each as start and end in bytes."""
        with self._lock:
            return list(self._extents)

    def missing(self) -> list[tuple[int, int]]:
        """The ranges that are not there, in order."""
        with self._lock:
            return list(self._extents.missing(self.size))

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> int:
        """Put ``data`` at ``offset``; from any thread. Returns how many of these bytes were not there before.

        Bytes of the front are not written over: what was read or hashed there does not change any more.

        Raises DigestMismatchError for bytes beyond the end, StoreError when they cannot be written, and ValueError when
        the blob was closed meanwhile.
        """
        view = memoryview(data)
        end = offset + len(view)
        if end > self.size:
            raise DigestMismatchError(f"the blob {self.digest} is longer than the {self.size} bytes promised")
        with self._lock:
            if self._closed:
                raise ValueError("the partial blob is closed")
            if offset < self.front:  # that may be hashed already, and stays what it was then
                view = view[self.front - offset :]
                offset = end - len(view)
            self._writing += 1
        try:
            self._write_at(offset, view)
            self._hash.written(offset, view)
            self._writeback.written(len(view))
        finally:
            with self._lock:
                self._writing -= 1
                self._lock.notify_all()
        with self._lock:
            return self._written(offset, end)

    def _written(self, start: int, end: int) -> int:
        before = self._extents.total
        self._extents.add(start, end)
        new = self._extents.total - before
        if self._closed:
            return new
        self._pending.add(start, end)
        now = time.monotonic()
        if self._pending.total >= _JOURNAL_BYTES or now - self._noted >= _JOURNAL_SECONDS:
            self._note(now)
        front = self._extents.front
        if front != self.front:
            self.front = front
            self._hash.grow(front)
            if self.on_front is not None:
                self.on_front(front)
        return new

    def checkpoint(self) -> None:
        """Journal everything that was written so far."""
        with self._lock:
            self._note(time.monotonic())

    def reset(self) -> None:
        """Forget everything: what is there is not what it should be. Nobody may be writing meanwhile."""
        with self._lock:
            self._journal.restart()  # first, so that it never speaks of bytes that are gone
            self._hash.restart()
            self._truncate()
            self._extents = Extents()
            self._pending = Extents()
            self.front = 0
            if self.on_front is not None:
                self.on_front(0)

    def finish(self) -> None:
        """Verify the blob, make it durable and close it; the file then holds it, and there is no journal any more.

        Harmless when called again.

        Raises DigestMismatchError when bytes are missing (and keeps the rest), or when they are not the right ones
        (and forgets them: what is wrong is worth nothing).
        """
        if self._finished:
            return
        if not self.is_complete:
            raise DigestMismatchError(f"the blob {self.digest} has {self.present} of the {self.size} bytes promised")
        actual = Digest(self.digest.algorithm, self._hash.finish())
        if actual != self.digest:
            self.reset()
            raise DigestMismatchError(f"the blob has the digest {actual} where {self.digest} was promised")
        self._writeback.finish()
        self._release()
        self._journal.remove()
        self._finished = True

    def close(self) -> None:
        """Keep what is there for the next time; harmless when called twice, or after :meth:`finish`."""
        if not self._closed:
            try:
                self.checkpoint()
            finally:
                self._release()

    def discard(self) -> None:
        """Close, and remove everything."""
        self._release()
        self._journal.remove()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise store_error(error, f"cannot remove {self.path}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _note(self, now: float) -> None:
        if self._pending.total:
            self._journal.add(self._pending)
            self._pending = Extents()
        self._noted = now

    def _release(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            while self._writing:  # by a thread that nobody waited for: the file is its own until it is done
                self._lock.wait()
        self._hash.close()
        self._writeback.close()
        self._journal.close()
        os.close(self._descriptor)

    def _truncate(self) -> None:
        try:
            os.ftruncate(self._descriptor, 0)
        except OSError as error:
            raise store_error(error, f"cannot write {self.path}") from error

    def _write_at(self, offset: int, view: memoryview) -> None:
        try:
            if sys.platform == "win32":
                with self._positioned:
                    os.lseek(self._descriptor, offset, os.SEEK_SET)
                    write_whole(partial(os.write, self._descriptor), view)
            else:
                write_whole_at(partial(os.pwrite, self._descriptor), view, offset)
        except OSError as error:
            raise store_error(error, f"cannot write {self.path}") from error
