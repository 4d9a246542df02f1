"""The volumes of a disk: the partitions of a GPT, those of an MBR, or the one that fills a disk without either.

Source: UEFI specification 2.10, chapter 5; the boot sector of NTFS as in the [MS-FSCC] and ntfs-3g documentation.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from wclayer.errors import NotFoundError
from wclayer.formats.disk.gpt import BASIC_DATA, MICROSOFT_RESERVED, read_gpt
from wclayer.formats.disk.window import Readable, read_at

__all__ = ["Partition", "find_partitions", "is_ntfs", "ntfs_partition"]

_NAMES: Final = {BASIC_DATA: "basic data", MICROSOFT_RESERVED: "Microsoft reserved"}
#: status, type, first sector, number of sectors
_MBR_ENTRY: Final = struct.Struct("<B3xB3xII")
_MBR_TABLE: Final = 446
_MBR_MARK: Final = b"\x55\xaa"
_NTFS: Final = b"NTFS    "
_NTFS_OFFSET: Final = 3


@dataclass(frozen=True, slots=True)
class Partition:
    """Where a volume is, in bytes. ``scheme`` is ``none`` when it is the whole disk; ``type`` what the table says."""

    number: int
    offset: int
    length: int
    scheme: Literal["gpt", "mbr", "none"]
    type: str
    name: str = ""
    id: str = ""


def find_partitions(raw: Readable, size: int, sector_size: int = 512) -> tuple[Partition, ...]:
    """The partitions of a disk of ``size`` bytes, in the order of its table; none for an empty disk.

    FormatError for a damaged table. Extended partitions of an MBR are not looked into.
    """
    if is_ntfs(raw, 0):
        return (Partition(1, 0, size, "none", "NTFS"),)
    gpt = read_gpt(raw, size, sector_size)
    if gpt is None:
        return tuple(_of_mbr(raw, size, sector_size))
    return tuple(
        Partition(
            one.number,
            one.first * sector_size,
            (one.last - one.first + 1) * sector_size,
            "gpt",
            _NAMES.get(one.type, str(one.type)),
            one.name,
            str(one.id),
        )
        for one in gpt.partitions
    )


def _of_mbr(raw: Readable, size: int, sector_size: int) -> Iterator[Partition]:
    sector = read_at(raw, 0, 512)
    if sector[510:] != _MBR_MARK:
        return
    for number in range(4):
        _, kind, first, count = _MBR_ENTRY.unpack_from(sector, _MBR_TABLE + number * _MBR_ENTRY.size)
        offset, length = first * sector_size, count * sector_size
        if kind and first and count and offset + length <= size:
            yield Partition(number + 1, offset, length, "mbr", f"{kind:#04x}")


def is_ntfs(raw: Readable, offset: int) -> bool:
    """Whether a boot sector of NTFS is at ``offset``."""
    return read_at(raw, offset, 512)[_NTFS_OFFSET : _NTFS_OFFSET + len(_NTFS)] == _NTFS


def ntfs_partition(raw: Readable, size: int, sector_size: int = 512, *, number: int | None = None) -> Partition:
    """The partition with NTFS on it: that of ``number``, else the largest. NotFoundError when there is none."""
    found = find_partitions(raw, size, sector_size)
    volumes = [one for one in found if is_ntfs(raw, one.offset) and number in (None, one.number)]
    if not volumes:
        raise NotFoundError(
            f"no NTFS volume on the disk, which has {len(found)} partitions"
            if number is None
            else f"partition {number} is no NTFS volume",
            hint="encrypted volumes, and other file systems, are not read" if found else None,
        )
    return max(volumes, key=lambda one: one.length)
