"""A blob on its way from one place to another: passed on as it comes, and refused at its end when it is another.

Whoever writes it gives it a name only after the end, so nothing wrong is ever kept.
"""

from __future__ import annotations

from collections.abc import Callable
from io import FileIO
from typing import Protocol

from wclayer.errors import DigestMismatchError
from wclayer.oci.counting import CountingSource
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.digests import Digest, new_hash
from wclayer.oci.sources import BinarySource, store_error
from wclayer.writing import write_whole

__all__ = ["Sink", "VerifiedSource", "WatchedSource", "copy_verified"]

_PIECE = 1 << 20


class Sink(Protocol):
    """Takes bytes; returns how many it took."""

    def write(self, data: memoryview, /) -> int:
        """Write a part of ``data``."""


class WatchedSource:
    """Wraps a source for somebody who verifies by himself; ``advance`` is called with the size of every piece."""

    def __init__(self, source: BinarySource, advance: Callable[[int], None]) -> None:
        self._source = source
        self._advance = advance

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None:
        """Fill a part of ``buffer``; returns how much, 0 at the end."""
        count = self._source.readinto(buffer)
        if count:
            self._advance(count)
        return count

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class VerifiedSource:
    """Wraps the source of the blob that ``descriptor`` names, and takes it over.

    ``advance`` is called with the size of every piece. The read that finds the end, or one byte more than there may be,
    raises DigestMismatchError when size or digest are not what was promised; StoreError when reading fails.
    """

    def __init__(
        self, source: BinarySource, descriptor: Descriptor, advance: Callable[[int], None] = lambda _: None
    ) -> None:
        self._blob = CountingSource(source, expected_size=descriptor.size)
        self._state = self._blob.hash = new_hash(descriptor.digest.algorithm)
        self._digest = descriptor.digest
        self._advance = advance

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill a part of ``buffer``; returns how much, 0 at the end, and then everything is verified."""
        count = self._blob.readinto(memoryview(buffer))
        if count:
            self._advance(count)
        elif len(buffer):
            actual = Digest(self._digest.algorithm, self._state.hexdigest())
            if actual != self._digest:
                raise DigestMismatchError(
                    f"the blob has the digest {actual} where {self._digest} was promised",
                    hint="the content is not what the image names; fetch it again, or do not trust where it is from",
                )
        return count

    def close(self) -> None:
        """Close the source; harmless when called twice."""
        self._blob.close()


def copy_verified(
    source: BinarySource, descriptor: Descriptor, sink: FileIO | Sink, advance: Callable[[int], None]
) -> None:
    """Write the blob that ``descriptor`` names to ``sink``, and close ``source``.

    Raises DigestMismatchError, when all was written, if it is not what it must be; StoreError.
    """
    blob = VerifiedSource(source, descriptor, advance)
    buffer = memoryview(bytearray(_PIECE))
    try:
        while count := blob.readinto(buffer):
            try:
                write_whole(sink.write, buffer[:count])
            except OSError as error:
                raise store_error(error, f"cannot write {getattr(sink, 'name', 'the blob')}") from error
    finally:
        blob.close()
