"""Writing the content of a disk that nobody else sees yet: a new one, or a copy that will take the place of another.

Blocks are put at the end of the file when they are first written to. A differencing disk takes single sectors, which
then hide those of the parent; a block of which every sector was written at once is simply there.
"""

from __future__ import annotations

from wclayer.errors import UsageError
from wclayer.formats.vhdx.disk import VhdxDisk
from wclayer.formats.vhdx.structures import (
    ALIGNMENT,
    BITMAP_PRESENT,
    FULL,
    NOT_PRESENT,
    PARTIAL,
)

__all__ = ["VhdxWriter"]


class VhdxWriter:
    """Writes to ``disk``, whose file has to be writable and new. It is done when :meth:`finish` was called."""

    def __init__(self, disk: VhdxDisk) -> None:
        self.disk = disk
        self._end = -(-disk.file.size // ALIGNMENT) * ALIGNMENT

    @property
    def size(self) -> int:
        """The size of the disk in bytes."""
        return self.disk.size

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write ``data`` at ``offset``. UsageError outside the disk, or for parts of sectors of a differencing one."""
        view = memoryview(data).cast("B")
        if offset < 0 or offset + len(view) > self.disk.size:
            raise UsageError(f"{len(view)} bytes at {offset} do not fit a disk of {self.disk.size} bytes")
        geometry = self.disk.geometry
        if geometry.has_parent and (offset % geometry.sector_size or len(view) % geometry.sector_size):
            raise UsageError(f"a differencing disk is written in sectors of {geometry.sector_size} bytes")
        while view:
            block, within = divmod(offset, geometry.block_size)
            count = min(len(view), geometry.block_size - within)
            self._write_block(block, within, view[:count])
            offset, view = offset + count, view[count:]

    def write_sparse(self, offset: int, data: bytes, *, piece: int = 64 << 10) -> None:
        """Write ``data`` without what is zeros, to a disk that has no parent and nothing there yet."""
        for start in range(0, len(data), piece):
            part = data[start : start + piece]
            if part.count(0) != len(part):
                self.write(offset + start, part)

    def finish(self) -> None:
        """Let the file end where its last block does."""
        self.disk.file.set_size(max(self._end, self.disk.file.size))

    def _write_block(self, block: int, within: int, data: memoryview) -> None:
        disk, geometry = self.disk, self.disk.geometry
        entry = geometry.entry(block)
        state, place = disk.block(block)
        length = min(geometry.block_size, geometry.size - block * geometry.block_size)
        if state not in (FULL, PARTIAL):
            place = self._new(geometry.block_size)
            partial = state == NOT_PRESENT and geometry.has_parent and len(data) < length
            state = PARTIAL if partial else FULL
        disk.file.write(place + within, data)
        if state == PARTIAL:
            self._mark(block, within, len(data))
        disk.table.set(entry, state, place)

    def _mark(self, block: int, within: int, count: int) -> None:
        """Say that these sectors of a block are here."""
        disk, geometry = self.disk, self.disk.geometry
        entry = geometry.bitmap_entry(block)
        state, place = disk.table.get(entry)
        if state != BITMAP_PRESENT:
            place = self._new(ALIGNMENT)
            disk.table.set(entry, BITMAP_PRESENT, place)
        sector = geometry.sector_size
        first = block % geometry.chunk_ratio * (geometry.block_size // sector) + within // sector
        low, bits = first // 8, first % 8
        length = (bits + count // sector + 7) // 8
        value = int.from_bytes(disk.file.read(place + low, length), "little")
        value |= ((1 << count // sector) - 1) << bits
        disk.file.write(place + low, value.to_bytes(length, "little"))

    def _new(self, length: int) -> int:
        place = self._end
        self._end += length
        self.disk.file.set_size(self._end)
        return place
