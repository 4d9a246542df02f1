"""The data of files of a volume, a piece at a time, as the streams of items give it.

A reader may be given up in the middle of a file; the descriptor is closed then, too. What mypyc makes of a generator
would not do that, so this module stays as it is when others are compiled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from wclayer.errors import IntegrityError

__all__ = ["PIECE", "extent_pieces", "file_pieces"]

PIECE = 1 << 18
"""The most bytes that are read at a time."""


def extent_pieces(open_data: Callable[[], int], extents: Iterable[tuple[int, int]], path: str) -> Iterator[bytes]:
    """The bytes at ``extents`` (offset, length) of the file that ``open_data`` opens; it is closed after them.

    Raises IntegrityError naming ``path`` when they are not there.
    """
    descriptor = open_data()
    try:
        for offset, length in extents:
            yield from file_pieces(descriptor, offset, length, path)
    finally:
        os.close(descriptor)


def file_pieces(descriptor: int, offset: int, length: int, path: str) -> Iterator[bytes]:
    """``length`` bytes of a file from ``offset`` on. Raises IntegrityError naming ``path`` when they are not there."""
    end = offset + length
    while offset < end:
        piece = os.pread(descriptor, min(PIECE, end - offset), offset)
        if not piece:
            raise IntegrityError("the file is shorter than it says", path=path)
        yield piece
        offset += len(piece)
