"""A byte stream seen through large slabs: headers are copied out, file data is only looked at.

The source yields memoryviews (slabs) that stay valid until the next one is asked for. A header is 512 bytes and gets
copied; the data of a file is handed on as slices of the slab, so the bytes of a layer are never copied in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from wclayer.errors import FormatError

__all__ = ["SlabStream", "slabs_of"]

_SLAB = 1 << 20


class SlabStream:
    """Reads bytes off an iterable of slabs (memoryviews, or anything ``memoryview`` takes).

    ``place`` tells where the slab that came last lies in memory that others see, too; see :meth:`span`.
    """

    __slots__ = ("_end", "_offset", "_place", "_pos", "_slabs", "_start", "_view", "is_shared")

    def __init__(self, slabs: Iterable[bytes | bytearray | memoryview], place: Callable[[], int] | None = None) -> None:
        self._slabs = iter(slabs)
        self._place = place
        self.is_shared = place is not None
        self._offset = 0
        self._view = memoryview(b"")
        self._pos = self._end = 0
        self._start = 0

    @property
    def position(self) -> int:
        """Bytes handed out so far, from the start of the stream."""
        return self._start + self._pos

    def _next(self) -> bool:
        for slab in self._slabs:
            self._start += self._end
            self._view = memoryview(slab)
            self._pos, self._end = 0, len(self._view)
            if self._end:
                if self._place is not None:
                    self._offset = self._place()
                return True
        return False

    def upto(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only at the end of the stream."""
        pos = self._pos
        end = pos + count
        if end <= self._end:
            self._pos = end
            return self._view[pos:end].tobytes()
        parts = []
        while count:
            if self._pos == self._end and not self._next():
                break
            part = self._view[self._pos : min(self._pos + count, self._end)]
            parts.append(part.tobytes())
            self._pos += len(part)
            count -= len(part)
        return b"".join(parts)

    def peek(self, count: int) -> bytes:
        """Up to ``count`` bytes, as many as can be seen without reading on; :meth:`advance` passes over them."""
        return self._view[self._pos : min(self._pos + count, self._end)].tobytes()

    def advance(self, count: int) -> None:
        """Pass over ``count`` bytes that :meth:`peek` gave."""
        self._pos += count

    def take(self, count: int) -> bytes:
        """Exactly the next ``count`` bytes. Raises FormatError (``unexpected-eof``)."""
        data = self.upto(count)
        if len(data) != count:
            raise _truncated(count - len(data))
        return data

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next ``count`` bytes as slices of the slabs, each valid until the next one is asked for."""
        while count:
            if self._pos == self._end and not self._next():
                raise _truncated(count)
            pos = self._pos
            piece = self._view[pos : min(pos + count, self._end)]
            self._pos = pos + len(piece)
            count -= len(piece)
            yield piece

    def span(self, count: int) -> int:
        """Pass over ``count`` bytes that lie in one slab; returns where in shared memory, -1 if they do not."""
        if self._pos == self._end and not self._next():
            raise _truncated(count)
        pos = self._pos
        if pos + count > self._end:
            return -1
        self._pos = pos + count
        return self._offset + pos

    def places(self, count: int) -> Iterator[tuple[int, int]]:
        """What :meth:`pieces` gives, as offset in shared memory and length."""
        for piece in self.pieces(count):
            yield self._offset + self._pos - len(piece), len(piece)

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes. Raises FormatError (``unexpected-eof``)."""
        end = self._pos + count
        if end <= self._end:
            self._pos = end
            return
        for _ in self.pieces(count):
            pass

    def rest(self) -> Iterator[memoryview]:
        """Everything up to the end of the stream."""
        while self._pos < self._end or self._next():
            piece = self._view[self._pos : self._end]
            self._pos = self._end
            yield piece


def slabs_of(read: Callable[[int], bytes], size: int = _SLAB) -> Iterator[bytes]:
    """Slabs of a file-like object's ``read``, for sources that are not a pipeline."""
    while data := read(size):
        yield data


def _truncated(missing: int) -> FormatError:
    return FormatError(
        f"the archive ends {missing} bytes too early",
        kind="unexpected-eof",
        hint="fetch the layer again: it is not complete",
    )
