"""Sparse data in backup streams: ranges on one side, a row of streams on the other.

A sparse file takes one of four shapes (go-winio's ``backuptar`` describes them):

* size 0: a DATA stream of size 0, marked sparse (older Windows: no stream at all);
* one range that is the whole file: a DATA stream with all of the content, marked sparse;
* no range: a DATA stream of size 0, marked sparse, and a closing block;
* anything else: the same with one SPARSE_BLOCK for each range before the closing block.

The closing block has no content, and its offset is the size of the file. So a block without content ends the file, and
the size is known last: whoever must know ranges first scans with :func:`stream_layout` and reads again; whoever can
write anywhere takes :class:`SparseAssembler`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from wclayer.errors import FormatError, LimitError
from wclayer.ntfs.backup import (
    BACKUP_DATA,
    BACKUP_SPARSE_BLOCK,
    STREAM_SPARSE_ATTRIBUTE,
    BackupStreamReader,
    BackupStreamWriter,
    Buffer,
    StreamHeader,
    stream_id_name,
)

__all__ = ["SparseAssembler", "StreamLayout", "stream_layout", "write_sparse"]

Ranges: TypeAlias = tuple[tuple[int, int], ...]

_MAX_RANGES = 1 << 20


class StreamLayout(NamedTuple):
    """Where the bytes of a data stream are.

    ``size`` is its logical size. ``ranges`` is None for a dense stream; for a sparse one its ``(offset, length)``
    ranges, ordered, disjoint and none of them empty. ``positions`` says where in the source each range begins; for a
    dense stream it has one number, where the content begins.
    """

    size: int
    ranges: Ranges | None
    positions: tuple[int, ...]


def stream_layout(reader: BackupStreamReader, header: StreamHeader) -> StreamLayout:
    """The layout of the data stream whose ``header`` was just read from ``reader``, without reading its content.

    ``header`` is that of a DATA or ALTERNATE_DATA stream. Blocks that belong to it are passed over; ``reader.next()``
    then gives the stream behind. Raises FormatError: ``unexpected-eof`` when the closing block is missing,
    ``stream-unknown`` when another stream stands in its place, ``sparse-order`` when a block lies before the end of the
    one before; and LimitError for more than 2**20 ranges.
    """
    position = reader.position
    if not header.attributes & STREAM_SPARSE_ATTRIBUTE:
        return StreamLayout(header.size, None, (position,))
    if header.size:
        return StreamLayout(header.size, ((0, header.size),), (position,))
    blocks = _Blocks()
    positions: list[int] = []
    while blocks.take(reader):
        positions.append(reader.position)
    return StreamLayout(blocks.size, tuple(blocks.ranges), tuple(positions))


class SparseAssembler:
    """The content of a data stream, whatever its shape, as ``(offset, piece)`` pairs in ascending order.

    Iterate it once, right after ``header`` (DATA or ALTERNATE_DATA) was read from ``reader``; it takes the blocks that
    belong to the stream, so that ``reader.next()`` then gives the stream behind. ``size`` and ``ranges`` (None for a
    dense stream) are whole when the iteration has ended. A piece is valid until the next one. Raises as
    :func:`stream_layout` does, and ``unexpected-eof`` for a content cut short.
    """

    def __init__(self, reader: BackupStreamReader, header: StreamHeader) -> None:
        self._reader = reader
        self._header = header
        self._blocks = _Blocks()
        self.is_sparse = bool(header.attributes & STREAM_SPARSE_ATTRIBUTE)
        if header.size:
            self._blocks.size = header.size
            self._blocks.ranges.append((0, header.size))

    @property
    def size(self) -> int:
        """The logical size in bytes, as far as it is known."""
        return self._blocks.size

    @property
    def ranges(self) -> Ranges | None:
        """The ranges met so far; None when the stream is dense."""
        return tuple(self._blocks.ranges) if self.is_sparse else None

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        reader = self._reader
        if self._header.size:
            yield from _placed(reader, 0)
        elif self.is_sparse:
            while block := self._blocks.take(reader):
                yield from _placed(reader, block.offset)


def write_sparse(
    writer: BackupStreamWriter,
    size: int,
    ranges: Ranges,
    extents: Iterable[tuple[int, Buffer]],
    *,
    stream_id: int = BACKUP_DATA,
    name: str = "",
) -> None:
    """Write a sparse data stream of ``size`` bytes in the shape its ``ranges`` call for.

    ``ranges`` are ``(offset, length)``, ordered, disjoint and inside ``size``; empty ones are left out. ``extents``
    yields their bytes as ``(offset, piece)`` front to back, a piece never crossing the end of its range. Raises
    FormatError: ``sparse-order`` for ranges that are not as said, ``data-too-long`` or ``data-too-short`` for extents
    that do not fill the ranges exactly.
    """
    position = 0
    for offset, length in ranges:
        if offset < position or length < 0:
            raise FormatError(f"a range of {length} bytes at offset {offset} overlaps", kind="sparse-order")
        position = offset + length
    if position > size:
        raise FormatError(f"a range ends at {position} in a file of {size} bytes", kind="sparse-order")
    kept = [(offset, length) for offset, length in ranges if length]
    pieces = ((offset, piece) for offset, piece in extents if len(piece))
    if kept == [(0, size)]:
        writer.header(stream_id, size, attributes=STREAM_SPARSE_ATTRIBUTE, name=name)
        _fill(writer, 0, size, pieces)
    else:
        writer.header(stream_id, 0, attributes=STREAM_SPARSE_ATTRIBUTE, name=name)
        for offset, length in kept:
            writer.header(BACKUP_SPARSE_BLOCK, length, offset=offset, attributes=STREAM_SPARSE_ATTRIBUTE)
            _fill(writer, offset, length, pieces)
        if size:
            writer.header(BACKUP_SPARSE_BLOCK, 0, offset=size, attributes=STREAM_SPARSE_ATTRIBUTE)
    for offset, piece in pieces:
        raise FormatError(f"{len(piece)} bytes at offset {offset} lie in no range", kind="data-too-long")


class _Blocks:
    """The sparse blocks of one stream, checked one by one."""

    def __init__(self) -> None:
        self.size = 0
        self.ranges: list[tuple[int, int]] = []

    def take(self, reader: BackupStreamReader) -> StreamHeader | None:
        """Take the next block; None after the closing one, and when an empty sparse file has no blocks at all."""
        block = reader.peek()
        if block is None or block.id != BACKUP_SPARSE_BLOCK:
            if not self.ranges:
                return None
            if block is None:
                raise FormatError("unexpected end: a sparse file without its closing block", kind="unexpected-eof")
            raise FormatError(
                f"unexpected stream {stream_id_name(block.id)} among the blocks of a sparse file",
                kind="stream-unknown",
            )
        reader.next()
        if block.offset < self.size:
            raise FormatError(
                f"cannot seek back: a sparse block at offset {block.offset} after one that ends at {self.size}",
                kind="sparse-order",
            )
        self.size = block.offset + block.size
        if not block.size:
            return None
        if len(self.ranges) == _MAX_RANGES:
            raise LimitError(f"a sparse file of more than {_MAX_RANGES} ranges")
        self.ranges.append((block.offset, block.size))
        return block


def _placed(reader: BackupStreamReader, offset: int) -> Iterator[tuple[int, bytes]]:
    for piece in reader.pieces():
        yield offset, piece
        offset += len(piece)


def _fill(writer: BackupStreamWriter, offset: int, length: int, pieces: Iterator[tuple[int, Buffer]]) -> None:
    end = offset + length
    while offset < end:
        placed = next(pieces, None)
        if placed is None:
            raise FormatError(f"the last {end - offset} bytes of a range are missing", kind="data-too-short")
        if placed[0] != offset:
            raise FormatError(f"bytes at offset {placed[0]} where {offset} was next", kind="sparse-order")
        writer.write(placed[1])
        offset += len(placed[1])
