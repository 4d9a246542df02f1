"""The GUID partition table, and the protective MBR before it: reading it, and making those that Windows makes.

At the start of a disk are the MBR (sector 0), the header (1) and the entries (from 2 on), at its end the entries and
a header again. Both parts of each are guarded by CRC-32, so the one at the end serves where the one in front is lost.

Source: UEFI specification 2.10, chapter 5.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4
from zlib import crc32

from wclayer.errors import FormatError, UsageError
from wclayer.formats.disk.window import Readable, read_at

__all__ = [
    "BASIC_DATA",
    "FIRST_DATA_OFFSET",
    "MICROSOFT_RESERVED",
    "Gpt",
    "GptPartition",
    "pack_gpt",
    "read_gpt",
    "windows_gpt",
]

MICROSOFT_RESERVED: Final = UUID("e3c9e316-0b5c-4db8-817d-f92df00215ae")
BASIC_DATA: Final = UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
FIRST_DATA_OFFSET: Final = 16 << 20
"""Where Windows puts the volume, behind the partition that it reserves: 16 MiB."""

_SIGNATURE: Final = b"EFI PART"
_REVISION: Final = 0x10000
#: signature, revision, header size, checksum, own sector, that of the other, first and last usable, disk, sector of the
#: entries, number and size of them, checksum of them
_HEADER: Final = struct.Struct("<8sIII4xQQQQ16sQIII")
#: type, partition, first and last sector, attributes, name
_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
_ENTRIES: Final = 128
_MOST_ENTRIES: Final = 1024
_LARGEST_ENTRY: Final = 4096
#: boot code, status, first CHS, type, last CHS, first sector, number of sectors; three more; mark
_MBR: Final = struct.Struct("<446sB3sB3sII48s2s")
_PROTECTIVE: Final = 0xEE
_ALIGNMENT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class GptPartition:
    """A partition; ``first`` and ``last`` are the numbers of its sectors, both of which belong to it.

    ``number`` is that of its entry in the table, from 1 on.
    """

    number: int
    type: UUID
    id: UUID
    first: int
    last: int
    name: str = ""
    attributes: int = 0


@dataclass(frozen=True, slots=True)
class Gpt:
    """A table. ``sector_size`` in bytes, ``sectors`` how many there are.

    ``backup`` tells that only the table at the end is good, ``entries`` how many it has room for.
    """

    disk_id: UUID
    sector_size: int
    sectors: int
    partitions: tuple[GptPartition, ...]
    backup: bool = False
    entries: int = _ENTRIES


def windows_gpt(size: int, sector_size: int = 512) -> Gpt:
    """The table that Windows gives an empty disk of ``size`` bytes: a reserved partition, and one for all the rest.

    UsageError for a disk that is too small for it.
    """
    sectors = size // sector_size
    first = FIRST_DATA_OFFSET // sector_size
    step = _ALIGNMENT // sector_size
    last = (_last_usable(sectors, sector_size) + 1) // step * step - 1
    if last < first + step - 1:
        raise UsageError(f"a disk of {size} bytes has no room for the partitions of Windows", hint="make it larger")
    reserved = GptPartition(
        1, MICROSOFT_RESERVED, uuid4(), _first_usable(sector_size), first - 1, "Microsoft reserved partition"
    )
    data = GptPartition(2, BASIC_DATA, uuid4(), first, last, "Basic data partition")
    return Gpt(uuid4(), sector_size, sectors, (reserved, data))


def _table_sectors(sector_size: int) -> int:
    return _ENTRIES * _ENTRY.size // sector_size


def _first_usable(sector_size: int) -> int:
    return 2 + _table_sectors(sector_size)


def _last_usable(sectors: int, sector_size: int) -> int:
    return sectors - 2 - _table_sectors(sector_size)


def pack_gpt(gpt: Gpt) -> tuple[bytes, bytes]:
    """What the table is at the start of the disk, with the protective MBR, and at its very end.

    UsageError for a table that is not one of 128 entries.
    """
    if gpt.entries != _ENTRIES:
        raise UsageError(f"a partition table with room for {gpt.entries} partitions instead of {_ENTRIES}")
    size, last = gpt.sector_size, gpt.sectors - 1
    table = bytearray(_ENTRIES * _ENTRY.size)
    for one in gpt.partitions:
        name = one.name.encode("utf-16-le", "surrogatepass")[:72]
        fields = (one.type.bytes_le, one.id.bytes_le, one.first, one.last, one.attributes, name)
        _ENTRY.pack_into(table, (one.number - 1) * _ENTRY.size, *fields)
    front = _packed_header(gpt, 1, last, 2, table)
    back = _packed_header(gpt, last, 1, last - _table_sectors(size), table)
    mbr = _MBR.pack(b"", 0, b"\0\x02\0", _PROTECTIVE, b"\xff\xff\xff", 1, min(last, 0xFFFFFFFF), b"", b"\x55\xaa")
    return mbr.ljust(size, b"\0") + front + bytes(table), bytes(table) + back


def _packed_header(gpt: Gpt, own: int, other: int, entries: int, table: bytearray) -> bytes:
    def packed(checksum: int) -> bytes:
        return _HEADER.pack(
            _SIGNATURE,
            _REVISION,
            _HEADER.size,
            checksum,
            own,
            other,
            _first_usable(gpt.sector_size),
            _last_usable(gpt.sectors, gpt.sector_size),
            gpt.disk_id.bytes_le,
            entries,
            _ENTRIES,
            _ENTRY.size,
            crc32(table),
        )

    return packed(crc32(packed(0))).ljust(gpt.sector_size, b"\0")


def read_gpt(raw: Readable, size: int, sector_size: int = 512) -> Gpt | None:
    """The table of a disk of ``size`` bytes, None when it has none. FormatError when it is damaged in both places."""
    sectors = size // sector_size
    if sectors < 2 * _first_usable(sector_size):
        return None
    mbr = read_at(raw, 0, 512)
    front = read_at(raw, sector_size, sector_size)
    if front[: len(_SIGNATURE)] != _SIGNATURE and not _is_protective(mbr):
        return None
    problems = []
    for own in (1, sectors - 1):
        try:
            return _read(raw, own, sectors, sector_size)
        except FormatError as error:
            problems.append(error.message)
    raise FormatError(
        f"the partition table is damaged: {problems[0]}; at the end of the disk, {problems[1]}", kind="gpt"
    )


def _is_protective(mbr: bytes) -> bool:
    return len(mbr) == _MBR.size and mbr[-2:] == b"\x55\xaa" and _PROTECTIVE in mbr[450:510:16]


def _read(raw: Readable, own: int, sectors: int, sector_size: int) -> Gpt:
    block = read_at(raw, own * sector_size, sector_size)
    if len(block) < _HEADER.size or block[: len(_SIGNATURE)] != _SIGNATURE:
        raise FormatError("there is no header", kind="gpt")
    fields = _HEADER.unpack_from(block)
    length, checksum, place, _, first, last, disk, entries, count, entry_size, table_checksum = fields[2:]
    if not _HEADER.size <= length <= sector_size:
        raise FormatError(f"a header of {length} bytes", kind="gpt")
    if checksum != crc32(block[:16] + bytes(4) + block[20:length]) or place != own:
        raise FormatError("the checksum of the header is wrong", kind="gpt")
    if not 0 < count <= _MOST_ENTRIES or not _ENTRY.size <= entry_size <= _LARGEST_ENTRY or entry_size % 8:
        raise FormatError(f"{count} entries of {entry_size} bytes", kind="gpt")
    table = read_at(raw, entries * sector_size, count * entry_size) if entries < sectors else b""
    if len(table) != count * entry_size or crc32(table) != table_checksum:
        raise FormatError("the checksum of the entries is wrong", kind="gpt")
    partitions = []
    for index in range(count):
        kind, identifier, start, end, attributes, name = _ENTRY.unpack_from(table, index * entry_size)
        if not any(kind):
            continue
        if not first <= start <= end <= last or last >= sectors:
            raise FormatError(f"partition {index + 1} lies from sector {start} to {end}, where it cannot", kind="gpt")
        text = name.decode("utf-16-le", "replace").partition("\0")[0]
        partitions.append(
            GptPartition(index + 1, UUID(bytes_le=kind), UUID(bytes_le=identifier), start, end, text, attributes)
        )
    return Gpt(UUID(bytes_le=disk), sector_size, sectors, tuple(partitions), own != 1, count)
