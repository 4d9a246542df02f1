"""Where the blocks of a disk are: the arithmetic of the block allocation table, and a reader that holds little of it.

The entries of a chunk's blocks (as many blocks as one block of sector bitmap speaks of) are followed by the entry of
that sector bitmap, also where there is none.

Source: MS-VHDX 2.5.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from wclayer.formats.vhdx.file import DiskFile
from wclayer.formats.vhdx.regions import Region
from wclayer.formats.vhdx.structures import ALIGNMENT, BAT_ENTRY, FULL, PARTIAL, SECTOR_BITMAP_BITS

__all__ = ["BlockTable", "Geometry"]

_PAGE = 4096
_PAGES_HELD = 256
_AT_ONCE = 1 << 17
_STATE = 7
_SPARE = 0xFFFF8


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes in bytes. ``has_parent`` makes a difference: then the last chunk, too, has its sector bitmap."""

    size: int
    block_size: int
    sector_size: int
    has_parent: bool

    @property
    def chunk_ratio(self) -> int:
        """How many blocks make a chunk."""
        return SECTOR_BITMAP_BITS * self.sector_size // self.block_size

    @property
    def blocks(self) -> int:
        """How many blocks the disk has."""
        return -(-self.size // self.block_size)

    @property
    def entries(self) -> int:
        """How many entries the BAT has."""
        ratio = self.chunk_ratio
        if self.has_parent:
            return -(-self.blocks // ratio) * (ratio + 1)
        return self.blocks + (self.blocks - 1) // ratio

    @property
    def table_length(self) -> int:
        """The length of the region that holds the BAT, in bytes."""
        return -(-self.entries * BAT_ENTRY.size // ALIGNMENT) * ALIGNMENT

    def entry(self, block: int) -> int:
        """The number of a block's entry."""
        return block + block // self.chunk_ratio

    def bitmap_entry(self, block: int) -> int:
        """The number of the entry of the sector bitmap that speaks of a block."""
        ratio = self.chunk_ratio
        return block // ratio * (ratio + 1) + ratio


class BlockTable:
    """The entries of a BAT; pages of it are read when they are asked for, and only so many are held."""

    def __init__(self, file: DiskFile, region: Region, geometry: Geometry) -> None:
        if geometry.entries * BAT_ENTRY.size > region.length:
            raise file.error(f"a disk of {geometry.size} bytes, and room for fewer blocks in the table of them")
        self._file = file
        self._region = region
        self._geometry = geometry
        self._pages: OrderedDict[int, bytes] = OrderedDict()

    def get(self, entry: int) -> tuple[int, int]:
        """State and offset in the file. FormatError for an entry with bits that must be zero."""
        page, index = divmod(entry * BAT_ENTRY.size, _PAGE)
        data = self._pages.get(page)
        if data is None:
            data = self._pages[page] = self._file.read(self._region.offset + page * _PAGE, _PAGE)
            if len(self._pages) > _PAGES_HELD:
                self._pages.popitem(last=False)
        value: int = BAT_ENTRY.unpack_from(data, index)[0]
        if value & _SPARE:
            raise self._file.error(f"entry {entry} of the table of blocks is {value:#x}")
        return value & _STATE, value & -ALIGNMENT

    def stored(self) -> int:
        """How many blocks the file holds, in whole or in part, going by their states alone."""
        count, every = 0, self._geometry.chunk_ratio + 1
        entries = self._geometry.entries
        for first in range(0, entries, _AT_ONCE):
            number = min(_AT_ONCE, entries - first)
            data = self._file.read(self._region.offset + first * BAT_ENTRY.size, number * BAT_ENTRY.size)
            if data.count(0) == len(data):
                continue
            for entry, (value,) in enumerate(BAT_ENTRY.iter_unpack(data), first):
                count += value & _STATE in (FULL, PARTIAL) and entry % every != every - 1
        return count

    def set(self, entry: int, state: int, offset: int = 0) -> None:
        """Change an entry in the file at once; what a crash leaves then is not defined."""
        place = entry * BAT_ENTRY.size
        self._file.write(self._region.offset + place, BAT_ENTRY.pack(offset | state))
        self._pages.pop(place // _PAGE, None)

    def forget(self) -> None:
        """Read everything anew, since the file was changed."""
        self._pages.clear()
