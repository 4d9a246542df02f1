"""The metadata: how large the disk is, in blocks and sectors of which size, and whether it stands on a parent.

Source: MS-VHDX 2.2.4 and 2.6.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from uuid import UUID

from wclayer.errors import UnsupportedError, UsageError
from wclayer.formats.vhdx.file import DiskFile
from wclayer.formats.vhdx.locator import ParentLocator, read_locator
from wclayer.formats.vhdx.regions import Region
from wclayer.formats.vhdx.structures import (
    BLOCK_SIZES,
    FILE_PARAMETERS,
    FLAG_REQUIRED,
    FLAG_USER,
    FLAG_VIRTUAL_DISK,
    HAS_PARENT,
    LEAVE_ALLOCATED,
    LOGICAL_SECTOR_SIZE,
    MAXIMAL_SIZE,
    METADATA_ENTRY,
    METADATA_HEADER,
    METADATA_TABLE_SIZE,
    PARENT_LOCATOR,
    PHYSICAL_SECTOR_SIZE,
    SECTOR_SIZES,
    TABLE_ENTRIES,
    VIRTUAL_DISK_ID,
    VIRTUAL_DISK_SIZE,
)

__all__ = ["DiskParameters", "checked_size", "pack_metadata", "read_metadata"]

_SIGNATURE = b"metadata"
_LENGTHS = {
    FILE_PARAMETERS: 8,
    VIRTUAL_DISK_SIZE: 8,
    VIRTUAL_DISK_ID: 16,
    LOGICAL_SECTOR_SIZE: 4,
    PHYSICAL_SECTOR_SIZE: 4,
}
_NAMES = {
    FILE_PARAMETERS: "file parameters",
    VIRTUAL_DISK_SIZE: "size",
    VIRTUAL_DISK_ID: "identifier",
    LOGICAL_SECTOR_SIZE: "logical sector size",
    PHYSICAL_SECTOR_SIZE: "physical sector size",
}


@dataclass(frozen=True, slots=True)
class DiskParameters:
    """What the metadata says. Sizes in bytes; ``places`` is where each item lies in the file, and how long it is."""

    size: int
    block_size: int
    disk_id: UUID
    leave_allocated: bool = False
    locator: ParentLocator | None = None
    logical_sector_size: int = 512
    physical_sector_size: int = 4096
    places: dict[UUID, tuple[int, int]] = field(default_factory=dict, compare=False)


def checked_size(size: int, sector_size: int) -> int:
    """``size`` if a disk can have it; UsageError otherwise."""
    if not 0 < size <= MAXIMAL_SIZE or size % sector_size:
        raise UsageError(f"a disk of {size} bytes: it has to be a multiple of {sector_size}, of at most 64 TiB")
    return size


def read_metadata(file: DiskFile, region: Region) -> DiskParameters:
    """Raises FormatError; UnsupportedError for an item that must be understood and is unknown."""
    places = _places(file, region)
    for item, length in _LENGTHS.items():
        if item not in places:
            raise file.error(f"the metadata has no {_NAMES[item]}")
        if places[item][1] != length:
            raise file.error(f"the {_NAMES[item]} in the metadata has {places[item][1]} bytes instead of {length}")
    block_size, bits = struct.unpack("<II", file.read(*places[FILE_PARAMETERS]))
    size = struct.unpack("<Q", file.read(*places[VIRTUAL_DISK_SIZE]))[0]
    disk_id = UUID(bytes_le=file.read(*places[VIRTUAL_DISK_ID]))
    logical = struct.unpack("<I", file.read(*places[LOGICAL_SECTOR_SIZE]))[0]
    physical = struct.unpack("<I", file.read(*places[PHYSICAL_SECTOR_SIZE]))[0]
    if block_size not in BLOCK_SIZES:
        raise file.error(f"blocks of {block_size} bytes")
    if logical not in SECTOR_SIZES or physical not in SECTOR_SIZES:
        raise file.error(f"sectors of {logical} and {physical} bytes")
    if not 0 < size <= MAXIMAL_SIZE or size % logical:
        raise file.error(f"the disk has a size of {size} bytes")
    locator = None
    if bits & HAS_PARENT:
        if PARENT_LOCATOR not in places:
            raise file.error("the disk has a parent, and the metadata does not say which")
        locator = read_locator(file, *places[PARENT_LOCATOR])
    return DiskParameters(size, block_size, disk_id, bool(bits & LEAVE_ALLOCATED), locator, logical, physical, places)


def _places(file: DiskFile, region: Region) -> dict[UUID, tuple[int, int]]:
    if region.length < METADATA_TABLE_SIZE:
        raise file.error(f"the metadata has only {region.length} bytes")
    table = file.read(region.offset, METADATA_TABLE_SIZE)
    signature, count = METADATA_HEADER.unpack_from(table)
    if signature != _SIGNATURE or count > TABLE_ENTRIES:
        raise file.error("the metadata has no valid table")
    places: dict[UUID, tuple[int, int]] = {}
    for index in range(count):
        guid, offset, length, flags = METADATA_ENTRY.unpack_from(
            table, METADATA_HEADER.size + index * METADATA_ENTRY.size
        )
        item = UUID(bytes_le=guid)
        if flags & FLAG_USER:
            continue
        if item not in _LENGTHS and item != PARENT_LOCATOR and flags & FLAG_REQUIRED:
            raise UnsupportedError(
                f"the metadata has an item {item}, which is unknown here and must be understood", image=file.name
            )
        if length and (offset < METADATA_TABLE_SIZE or offset + length > region.length):
            raise file.error(f"the item {item} lies outside the metadata")
        if item in places:
            raise file.error(f"the metadata has the item {item} twice")
        places[item] = (region.offset + offset, length)
    return places


def pack_metadata(parameters: DiskParameters) -> bytes:
    """The region, as far as it is not zeros."""
    bits = (LEAVE_ALLOCATED if parameters.leave_allocated else 0) | (HAS_PARENT if parameters.locator else 0)
    disk = FLAG_VIRTUAL_DISK | FLAG_REQUIRED
    items = [
        (FILE_PARAMETERS, FLAG_REQUIRED, struct.pack("<II", parameters.block_size, bits)),
        (VIRTUAL_DISK_SIZE, disk, struct.pack("<Q", parameters.size)),
        (VIRTUAL_DISK_ID, disk, parameters.disk_id.bytes_le),
        (LOGICAL_SECTOR_SIZE, disk, struct.pack("<I", parameters.logical_sector_size)),
        (PHYSICAL_SECTOR_SIZE, disk, struct.pack("<I", parameters.physical_sector_size)),
    ]
    if parameters.locator:
        items.append((PARENT_LOCATOR, FLAG_REQUIRED, parameters.locator.pack()))
    table, data = [METADATA_HEADER.pack(_SIGNATURE, len(items))], b""
    for item, flags, value in items:
        table.append(METADATA_ENTRY.pack(item.bytes_le, METADATA_TABLE_SIZE + len(data), len(value), flags))
        data += value
    return b"".join(table).ljust(METADATA_TABLE_SIZE, b"\0") + data
