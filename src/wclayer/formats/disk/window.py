"""A part of a file as a file of its own: a partition of a disk."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Readable", "Window", "read_at"]


class Readable(Protocol):
    """What a disk is here: a file that can be read anywhere."""

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Go to a place."""

    def read(self, size: int = ..., /) -> bytes | None:
        """Up to ``size`` bytes."""


def read_at(raw: Readable, offset: int, length: int) -> bytes:
    """``length`` bytes at ``offset``; fewer only where ``raw`` ends."""
    raw.seek(offset)
    pieces = []
    while length and (piece := raw.read(length)):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


class Window(io.RawIOBase):
    """The ``length`` bytes of ``raw`` from ``offset`` on. Closing it leaves ``raw`` open."""

    def __init__(self, raw: Readable, offset: int, length: int) -> None:
        super().__init__()
        self._raw = raw
        self._offset = offset
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position in the window."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, also behind the end, where there is nothing to read."""
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        if position < 0:
            raise ValueError(f"seek to {position}")
        self._position = position
        return position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer`` as far as one read of the whole goes."""
        view = memoryview(buffer).cast("B")
        count = min(len(view), max(0, self._length - self._position))
        if not count:
            return 0
        self._raw.seek(self._offset + self._position)
        piece = self._raw.read(count) or b""
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)
