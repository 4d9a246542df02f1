"""A region file that grows at its end: objects in, positions out, and a way back for an object that is not wanted.

Small objects are gathered and written a mebibyte at a time; an object that comes in pieces is written as it comes. What
was begun can be undone by cutting the file, which also makes sure that all bytes between objects are zeros.
"""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path
from typing import Final

from wclayer.errors import LimitError
from wclayer.formats.cim.profiles import (
    DATA_ALIGNMENT,
    DATA_REGION,
    END_PADDING,
    METADATA_ALIGNMENT,
    METADATA_REGION,
    REGION_HEADER_LENGTH,
    SMALL_DATA_ALIGNMENT,
    SMALL_DATA_REGION,
)
from wclayer.formats.cim.structures import POSITION_MASK, ObjectIdHeader, RegionHeader
from wclayer.model import Buffer
from wclayer.writing import write_whole

__all__ = ["RegionWriter"]

_BATCH: Final = 1 << 20
_ALIGNMENTS: Final = {
    METADATA_REGION: METADATA_ALIGNMENT,
    DATA_REGION: DATA_ALIGNMENT,
    SMALL_DATA_REGION: SMALL_DATA_ALIGNMENT,
}
_PADDING: Final = tuple(bytes(count) for count in range(max(DATA_ALIGNMENT, END_PADDING)))


class RegionWriter:
    """The new file ``path``: region ``number`` of its set, of ``kind``, in an image of version ``major``.

    Every method raises OSError when the file system refuses; LimitError when 48 bits do not hold a position.
    """

    __slots__ = ("_alignment", "_chunks", "_file", "_gathered", "end", "kind", "major", "number", "path")

    def __init__(self, path: Path, number: int, kind: int, major: int) -> None:
        self.path = path
        self.number = number
        self.kind = kind
        self.major = major
        self._alignment = _ALIGNMENTS[kind]
        self._file = FileIO(path, "xb")
        self._chunks: list[Buffer] = [bytes(REGION_HEADER_LENGTH)]
        self._gathered = REGION_HEADER_LENGTH
        #: Where the last object ends.
        self.end = REGION_HEADER_LENGTH

    def append(self, data: Buffer) -> int:
        """Add the object ``data``, which must not change any more; returns its position."""
        padding = -self.end % self._alignment
        position = self.end + padding
        size = len(data)
        self._chunks += (_PADDING[padding], data)
        self._gathered += padding + size
        self.end = position + size
        if self._gathered >= _BATCH:
            self._flush()
        return position

    def begin(self) -> tuple[int, int]:
        """Begin an object that comes in pieces; returns its position, and what :meth:`undo` takes."""
        before = self.end
        self._flush()
        return self.append(b""), before

    def write(self, data: Buffer) -> None:
        """Add a piece to the object at the end."""
        self._flush()
        self.end += len(data)
        self._write_out(data)

    def hole(self, length: int) -> None:
        """Add ``length`` zeros to the object at the end without writing them."""
        self._flush()
        self.end += length
        if self.end > POSITION_MASK:
            raise LimitError("a region of more than 2^48 bytes", path=self.path.name)
        self._file.seek(self.end)

    def undo(self, before: int) -> None:
        """Forget the object that was begun when the region ended at ``before``."""
        self._chunks.clear()
        self._gathered = 0
        self._file.truncate(before)
        self._file.seek(before)
        self.end = before

    def finish(self) -> None:
        """Complete the file with its header and padding, durably, and close it."""
        self._flush()
        self._file.truncate(self.end + -self.end % END_PADDING)
        self._file.seek(0)
        self._file.write(RegionHeader.of(self.major, self.number, self.kind).pack())
        os.fsync(self._file.fileno())
        self._file.close()

    def write_object_ids(self, path: Path) -> None:
        """Write the new object id file ``path`` of this region, durably. It names no objects."""
        with FileIO(path, "xb") as file:
            file.write(ObjectIdHeader.of(self.major, self.number, self.kind).pack())
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the file as it is. Harmless when called twice."""
        self._file.close()

    def _flush(self) -> None:
        if self.end > POSITION_MASK:
            raise LimitError("a region of more than 2^48 bytes", path=self.path.name)
        chunks, self._chunks, self._gathered = self._chunks, [], 0
        self._write_out(b"".join(chunks))

    def _write_out(self, data: Buffer) -> None:
        write_whole(self._file.write, data)
