"""A VHDX disk, read over all disks that it stands on. Nothing is ever written, not even a log written back.

What a block of a differencing disk does not hold is that of its parent; in a block that is there in part, one bit for
each sector says which of them holds it. Behind the end of a smaller parent there are zeros.

Source: MS-VHDX 2.4 and 2.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from wclayer.errors import FormatError, LimitError, NotFoundError, UnsafeEntryError, UsageError
from wclayer.formats.raw_stream import RawStream
from wclayer.formats.vhdx.blocks import BlockTable, Geometry
from wclayer.formats.vhdx.file import DiskFile
from wclayer.formats.vhdx.headers import Header, read_creator, read_header
from wclayer.formats.vhdx.log import read_log
from wclayer.formats.vhdx.metadata import DiskParameters, read_metadata
from wclayer.formats.vhdx.parents import Parents, find_parent
from wclayer.formats.vhdx.regions import read_regions
from wclayer.formats.vhdx.structures import (
    ALIGNMENT,
    BAT_REGION,
    BITMAP_PRESENT,
    FULL,
    METADATA_REGION,
    NO_GUID,
    NOT_PRESENT,
    PARTIAL,
    UNDEFINED,
    UNMAPPED,
    ZERO,
)

__all__ = ["DEEPEST_CHAIN", "DiskStream", "Kind", "VhdxDisk"]

Kind = Literal["fixed", "dynamic", "differencing"]
DEEPEST_CHAIN = 64
"""More disks than this on each other are not opened."""


class VhdxDisk:
    """An open disk. ``parent`` is that of a differencing disk, or None when it was not to be opened.

    ``header`` and ``parameters`` are what the file says of itself; ``has_log`` tells that a log was not written back,
    which every read takes into account.
    """

    def __init__(self, file: DiskFile, path: Path) -> None:
        self.path = path
        self.file = file
        self.parent: VhdxDisk | None = None
        self.header: Header = read_header(file)
        self.has_log = self.header.log_id != NO_GUID
        file.overlay = read_log(file, self.header)
        self.regions = read_regions(file, self.header)
        self.parameters: DiskParameters = read_metadata(file, self.regions[METADATA_REGION])
        self.geometry = Geometry(
            self.parameters.size,
            self.parameters.block_size,
            self.parameters.logical_sector_size,
            self.parameters.locator is not None,
        )
        self.table = BlockTable(file, self.regions[BAT_REGION], self.geometry)

    @classmethod
    def open(cls, path: Path, parents: Parents = "follow", *, within: Sequence[Path] = ()) -> Self:
        """Open the disk ``path`` and the disks it stands on.

        ``parents`` says which (see :data:`~wclayer.formats.vhdx.parents.Parents`); ``within`` names folders, besides
        that of each child, in which those that the files name may be. Raises NotFoundError for a disk or a parent that
        is not there, UnsafeEntryError for a parent elsewhere, FormatError for a damaged disk or one whose parent was
        changed, UnsupportedError, LimitError for a chain too long, StoreError.
        """
        disk = cls._open_one(path)
        try:
            if parents != "none":
                disk._open_parents(parents, within)
        except BaseException:
            disk.close()
            raise
        return disk

    def _open_parents(self, parents: Parents, within: Sequence[Path]) -> None:
        given = list(parents) if not isinstance(parents, str) else None
        seen = {self.file.identity}
        child: VhdxDisk = self
        while (locator := child.parameters.locator) is not None:
            if given is None:
                place = find_parent(child.path, locator, within=within, anywhere=parents == "anywhere")
            elif given:
                place = given.pop(0)
            else:
                raise NotFoundError("the disk stands on another that was not named", image=str(child.path))
            child.parent = self._open_one(place)
            if child.parent.file.identity in seen:
                raise UnsafeEntryError("the disk stands on itself", image=str(self.path))
            seen.add(child.parent.file.identity)
            if len(seen) > DEEPEST_CHAIN:
                raise LimitError(f"more than {DEEPEST_CHAIN} disks on each other", image=str(self.path))
            child.check_parent(child.parent)
            child = child.parent
        if given:
            raise UsageError(f"{child.path} is the last disk of the chain, and {given[0]} is no parent of it")

    @classmethod
    def _open_one(cls, path: Path) -> Self:
        file = DiskFile(path)
        try:
            return cls(file, path)
        except BaseException:
            file.close()
            raise

    def check_parent(self, parent: VhdxDisk) -> None:
        """FormatError when ``parent`` is not the disk that this one was made on, as it was then."""
        locator = self.parameters.locator
        if locator is None:
            raise UsageError(f"{self.path} has no parent: it is a {self.kind} disk")
        if parent.header.data_write_id not in locator.linkages:
            raise FormatError(
                f"the parent {parent.path} is not what it was when the disk was made on it: its content is that of"
                f" {parent.header.data_write_id}, and {locator.linkage} is wanted",
                kind="parent-changed",
                image=str(self.path),
            )
        if parent.parameters.logical_sector_size != self.parameters.logical_sector_size:
            raise self.file.error("its parent has sectors of another size")

    @property
    def size(self) -> int:
        """The size of the disk in bytes."""
        return self.parameters.size

    @property
    def kind(self) -> Kind:
        """``fixed``: all blocks are in the file; ``dynamic``: those written to; ``differencing``: what differs."""
        if self.parameters.locator is not None:
            return "differencing"
        return "fixed" if self.parameters.leave_allocated else "dynamic"

    @property
    def chain(self) -> list[VhdxDisk]:
        """This disk and those it stands on, nearest first."""
        disks: list[VhdxDisk] = [self]
        while (parent := disks[-1].parent) is not None:
            disks.append(parent)
        return disks

    def creator(self) -> str:
        """What the program that made the file says of itself."""
        return read_creator(self.file)

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset`` on; fewer at the end of the disk. FormatError for damage."""
        end = min(offset + length, self.size)
        pieces = []
        while offset < end:
            block, within = divmod(offset, self.geometry.block_size)
            count = min(end - offset, self.geometry.block_size - within)
            pieces.append(self._read_block(block, within, count))
            offset += count
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_block(self, block: int, within: int, count: int) -> bytes:
        state, place = self.block(block)
        if state == FULL:
            return self.file.read(place + within, count)
        if state == PARTIAL:
            pieces = []
            for start, length, here in self._runs(block, within, count):
                pieces.append(self.file.read(place + start, length) if here else self._below(block, start, length))
            return b"".join(pieces)
        if state == NOT_PRESENT:
            return self._below(block, within, count)
        return bytes(count)

    def block(self, block: int) -> tuple[int, int]:
        """State and offset in the file of a block. FormatError for what no block can have."""
        state, place = self.table.get(self.geometry.entry(block))
        if state in (FULL, PARTIAL):
            if state == PARTIAL and not self.geometry.has_parent:
                raise self.file.error(f"block {block} is there in part, in a disk without a parent")
            if place < ALIGNMENT or place + self.geometry.block_size > self.file.size:
                raise self.file.error(f"block {block} is said to be at {place}, where it cannot be")
        elif state not in (NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED):
            raise self.file.error(f"block {block} has the state {state}, which there is not")
        return state, place

    def _below(self, block: int, within: int, count: int) -> bytes:
        if self.parent is None:
            if self.geometry.has_parent:
                raise NotFoundError(
                    "this part of the disk is in its parent, which was not opened", image=str(self.path)
                )
            return bytes(count)
        return self.parent.read(block * self.geometry.block_size + within, count).ljust(count, b"\0")

    def _runs(self, block: int, within: int, count: int) -> Iterator[tuple[int, int, bool]]:
        """Offset in the block, length and whether it is here, of each run of sectors of a block here in part."""
        state, place = self.table.get(self.geometry.bitmap_entry(block))
        if state != BITMAP_PRESENT or place < ALIGNMENT or place + ALIGNMENT > self.file.size:
            raise self.file.error(f"block {block} is there in part, and nothing says in which")
        sector = self.geometry.sector_size
        origin = block % self.geometry.chunk_ratio * (self.geometry.block_size // sector)
        first, last = within // sector, (within + count - 1) // sector
        low = (origin + first) // 8
        bits = self.file.read(place + low, (origin + last) // 8 - low + 1)
        start, here = within, None
        for number in range(first, last + 1):
            index = origin + number - low * 8
            bit = bool(bits[index >> 3] >> (index & 7) & 1)
            if here is not None and bit != here:
                yield start, number * sector - start, here
                start = number * sector
            here = bit
        yield start, within + count - start, bool(here)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Offset and length of what may hold other than zeros, a block at a time, neighbours joined."""
        start = end = 0
        for block in range(self.geometry.blocks):
            offset = block * self.geometry.block_size
            length = min(self.geometry.block_size, self.size - offset)
            if not self._may_hold_data(offset, length):
                continue
            if offset != end:
                if end > start:
                    yield start, end - start
                start = offset
            end = offset + length
        if end > start:
            yield start, end - start

    def _may_hold_data(self, offset: int, length: int) -> bool:
        length = min(length, self.size - offset)
        if length <= 0:
            return False
        size = self.geometry.block_size
        for block in range(offset // size, (offset + length - 1) // size + 1):
            state, _ = self.block(block)
            if state in (FULL, PARTIAL):
                return True
            if state == NOT_PRESENT and self.parent is not None:
                start = max(offset, block * size)
                if self.parent._may_hold_data(start, min(offset + length, (block + 1) * size) - start):
                    return True
        return False

    def own_blocks(self) -> int:
        """How many blocks the file itself holds, in whole or in part."""
        return self.table.stored()

    def open_stream(self) -> DiskStream:
        """The disk as a file that can be read; closing that leaves the disk open."""
        return DiskStream(self)

    def close(self) -> None:
        """Close the file and those of the parents."""
        for disk in self.chain:
            disk.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DiskStream(RawStream):
    """A disk, read as a file is. Each read gives at most 1 MiB."""

    def __init__(self, disk: VhdxDisk) -> None:
        super().__init__(disk.size)
        self._disk = disk

    def _read_at(self, position: int, length: int) -> bytes:
        return self._disk.read(position, min(length, ALIGNMENT))
