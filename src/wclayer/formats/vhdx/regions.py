"""The region table says where the metadata and the BAT are. There are two of it, so that one may be damaged.

Source: MS-VHDX 2.2.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from wclayer.errors import UnsupportedError
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.file import DiskFile
from wclayer.formats.vhdx.headers import Header, checksummed
from wclayer.formats.vhdx.structures import (
    ALIGNMENT,
    BAT_REGION,
    METADATA_REGION,
    REGION_ENTRY,
    REGION_HEADER,
    REGION_TABLE_SIZE,
    REGION_TABLES,
    TABLE_ENTRIES,
)

__all__ = ["Region", "pack_regions", "read_regions"]

_SIGNATURE = b"regi"
_REQUIRED = 1


@dataclass(frozen=True, slots=True)
class Region:
    """Where a region is in the file, in bytes."""

    offset: int
    length: int


def read_regions(file: DiskFile, header: Header) -> dict[UUID, Region]:
    """The regions by their identifiers; the metadata and the BAT are among them.

    FormatError when neither table is valid or regions lie where they cannot; UnsupportedError for a region that must
    be understood and is unknown.
    """
    problems = []
    for offset in REGION_TABLES:
        block = file.read(offset, REGION_TABLE_SIZE)
        signature, checksum, count = REGION_HEADER.unpack_from(block)
        if signature != _SIGNATURE or checksum != crc32c(block[:4] + bytes(4) + block[8:]):
            problems.append("its checksum is wrong")
        elif count > TABLE_ENTRIES:
            problems.append(f"it has {count} entries")
        else:
            return _checked(file, header, block, count)
    raise file.error(f"neither region table is valid: {problems[0]}, {problems[1]}")


def _checked(file: DiskFile, header: Header, block: bytes, count: int) -> dict[UUID, Region]:
    regions: dict[UUID, Region] = {}
    taken = [(0, ALIGNMENT), (header.log_offset, header.log_offset + header.log_length)]
    for index in range(count):
        guid, offset, length, flags = REGION_ENTRY.unpack_from(block, REGION_HEADER.size + index * REGION_ENTRY.size)
        identifier = UUID(bytes_le=guid)
        if identifier in regions:
            raise file.error(f"two regions {identifier}")
        if identifier not in (BAT_REGION, METADATA_REGION) and flags & _REQUIRED:
            raise UnsupportedError(
                f"the file has a region {identifier}, which is unknown here and must be understood", image=file.name
            )
        if offset % ALIGNMENT or length % ALIGNMENT or not length:
            raise file.error(f"the region {identifier} is not at a multiple of 1 MiB")
        if any(offset < end and start < offset + length for start, end in taken):
            raise file.error(f"the region {identifier} lies over another structure")
        if offset + length > file.size:
            raise file.error(f"the region {identifier} lies behind the end of the file", kind="unexpected-eof")
        taken.append((offset, offset + length))
        regions[identifier] = Region(offset, length)
    for identifier, what in ((BAT_REGION, "block allocation table"), (METADATA_REGION, "metadata")):
        if identifier not in regions:
            raise file.error(f"the file has no {what}")
    return regions


def pack_regions(regions: Mapping[UUID, Region]) -> bytes:
    """A whole region table. The metadata and the BAT are marked as required."""
    entries = b"".join(
        REGION_ENTRY.pack(
            identifier.bytes_le,
            region.offset,
            region.length,
            _REQUIRED if identifier in (BAT_REGION, METADATA_REGION) else 0,
        )
        for identifier, region in regions.items()
    )
    head = REGION_HEADER.pack(_SIGNATURE, 0, len(regions))
    return checksummed((head + entries).ljust(REGION_TABLE_SIZE, b"\0"))
