"""A part of a file as a file of its own: a partition of a disk."""

from __future__ import annotations

from typing import Protocol

from wclayer.formats.raw_stream import RawStream

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


class Window(RawStream):
    """The ``length`` bytes of ``raw`` from ``offset`` on. Closing it leaves ``raw`` open."""

    def __init__(self, raw: Readable, offset: int, length: int) -> None:
        super().__init__(length)
        self._raw = raw
        self._offset = offset

    def _read_at(self, position: int, length: int) -> bytes:
        self._raw.seek(self._offset + position)
        return self._raw.read(length) or b""
