"""The content of a blob that is sent: from any byte on, as often as it takes, and counted as it goes."""

from __future__ import annotations

from collections.abc import Callable
from io import FileIO
from typing import NoReturn

from wclayer.errors import DigestMismatchError
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.digests import Digest, new_hash
from wclayer.oci.sources import BinarySource

__all__ = ["Content", "SourceFactory"]

SourceFactory = Callable[[], BinarySource]
"""Gives a blob from its start, each time anew."""

_PIECE = 1 << 20


class Content:
    """What ``source_factory`` gives, which should be the blob ``descriptor``.

    ``advance`` is told how many bytes more were read to be sent, and of a negative number when they are read again.
    """

    def __init__(self, source_factory: SourceFactory, descriptor: Descriptor, advance: Callable[[int], None]) -> None:
        self._source_factory = source_factory
        self._descriptor = descriptor
        self._advance = advance
        self._told = 0

    def tell(self, position: int) -> None:
        """So many bytes from the start are sent now."""
        if position != self._told:
            change, self._told = position - self._told, position
            self._advance(change)

    def rest(self, start: int) -> BinarySource:
        """The content from the byte ``start`` on. Raises what the source raises, DigestMismatchError if it is short."""
        source = self._source_factory()
        try:
            if isinstance(source, FileIO) and source.seekable():
                source.seek(start)
            else:
                self._skip(source, start)
        except BaseException:
            source.close()
            raise
        self.tell(start)
        return _Counted(source, self)

    def require_right(self) -> None:
        """See whether it is the blob at all; DigestMismatchError."""
        promised = self._descriptor.digest
        state = new_hash(promised.algorithm)
        buffer = memoryview(bytearray(_PIECE))
        source = self._source_factory()
        try:
            while count := source.readinto(buffer):
                state.update(buffer[:count])
        finally:
            source.close()
        actual = Digest(promised.algorithm, state.hexdigest())
        if actual != promised:
            raise DigestMismatchError(f"the blob to send has the digest {actual}, not {promised}")

    def count(self, more: int) -> None:
        """So many bytes more were read."""
        self.tell(self._told + more)

    def ends_early(self) -> NoReturn:
        """There is less than the descriptor promises."""
        size, digest = self._descriptor.size, self._descriptor.digest
        raise DigestMismatchError(f"the blob to send is shorter than its {size} bytes: {digest}")

    def _skip(self, source: BinarySource, count: int) -> None:
        buffer = memoryview(bytearray(min(_PIECE, count)))
        while count:
            got = source.readinto(buffer[:count])
            if not got:
                self.ends_early()
            count -= got


class _Counted:
    """A source that says how much was read from it."""

    def __init__(self, source: BinarySource, content: Content) -> None:
        self._source = source
        self._content = content

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        count = self._source.readinto(buffer) or 0
        if not count:
            self._content.ends_early()
        self._content.count(count)
        return count

    def close(self) -> None:
        self._source.close()
