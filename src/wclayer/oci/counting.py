"""The compressed side of a blob: counted, hashed, and never longer than promised."""

from __future__ import annotations

import os
from contextlib import suppress

from wclayer.errors import DigestMismatchError
from wclayer.oci.digests import Hash
from wclayer.oci.sources import BinarySource, file_part, store_error

__all__ = ["CountingSource"]


class CountingSource:
    """Wraps a source; counts its bytes, and feeds ``hash`` with them when that is set.

    ``expected_size`` is the size in bytes that a descriptor promised; ``part`` is where they lie in a file, if they do.
    DigestMismatchError as soon as the source turns out to be longer, or ends too early; StoreError when the operating
    system cannot read it.
    """

    def __init__(self, source: BinarySource, *, expected_size: int | None = None) -> None:
        self.count = 0
        self.hash: Hash | None = None
        self.expected_size = expected_size
        self.part = file_part(source)
        self._source = source
        self._head = b""
        self._closed = False
        self._ahead = 0

    def peek(self, size: int) -> bytes:
        """The first bytes, up to ``size``; to be called before anything is read."""
        view = memoryview(bytearray(size))
        filled = 0
        while filled < size and (count := self._read(view[filled:])):
            filled += count
        self._head = bytes(view[:filled])
        return self._head

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a part of ``buffer``; returns how much, 0 at the end."""
        if self._head:
            count = min(len(self._head), len(buffer))
            buffer[:count] = self._head[:count]
            self._head = self._head[count:]
        else:
            count = self._read(buffer)
        self.count += count
        if count:
            if self.hash is not None:
                self.hash.update(buffer[:count])
            if self.expected_size is not None and self.count > self.expected_size:
                raise DigestMismatchError(f"the blob is longer than the {self.expected_size} bytes that were promised")
        elif self.expected_size is not None and self.count < self.expected_size and len(buffer):
            raise DigestMismatchError(f"the blob ends after {self.count} of the {self.expected_size} bytes promised")
        return count

    def read_ahead(self, distance: int) -> None:
        """Let the system read up to ``distance`` bytes more than what is asked for, where the source is in a file."""
        if self.part is not None and hasattr(os, "posix_fadvise"):
            self._ahead = distance
            self._will_need(self.count, distance)

    def _will_need(self, start: int, size: int) -> None:
        if self.part is not None:
            with suppress(OSError):  # it is advice: a file that takes none is read all the same
                os.posix_fadvise(self.part.descriptor, self.part.offset + start, size, os.POSIX_FADV_WILLNEED)

    def _read(self, buffer: memoryview) -> int:
        try:
            count = self._source.readinto(buffer) or 0
        except OSError as error:
            raise store_error(error, "cannot read the blob") from error
        if self._ahead and count:
            self._will_need(self.count + self._ahead, count)
        return count

    def interrupt(self) -> None:
        """End a read that waits for more, if the source can do that: nobody wants the rest."""
        interrupt = getattr(self._source, "interrupt", None)
        if interrupt is not None:
            interrupt()

    def close(self) -> None:
        """Close the source; harmless when called twice."""
        if not self._closed:
            self._closed = True
            self._source.close()
