"""Changing a disk where it lies: letting it grow, and naming another place of its parent.

What must hold together is changed at once, through the log of the file: a crash leaves the disk as it was, or with a
log that makes it as it is to be. A log that somebody else left is written back first.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from wclayer.errors import UnsupportedError, UsageError
from wclayer.formats.vhdx.blocks import Geometry
from wclayer.formats.vhdx.create import locator_for, write_fixed_entries
from wclayer.formats.vhdx.disk import VhdxDisk
from wclayer.formats.vhdx.file import DiskFile, Overlay
from wclayer.formats.vhdx.headers import Header
from wclayer.formats.vhdx.locator import ParentLocator
from wclayer.formats.vhdx.log import change_at_once, finish_log, log_capacity
from wclayer.formats.vhdx.metadata import checked_size
from wclayer.formats.vhdx.parents import Parents
from wclayer.formats.vhdx.regions import Region, pack_regions
from wclayer.formats.vhdx.structures import (
    ALIGNMENT,
    BAT_ENTRY,
    BAT_REGION,
    FULL,
    LOG_SECTOR,
    METADATA_ENTRY,
    METADATA_HEADER,
    METADATA_REGION,
    METADATA_TABLE_SIZE,
    PARENT_LOCATOR,
    PARTIAL,
    REGION_TABLES,
    VIRTUAL_DISK_SIZE,
)

__all__ = ["rebase_file", "rebase_vhdx", "resize_file", "resize_vhdx"]

_COPIED = 1 << 20


def _prepare(file: DiskFile, path: Path) -> tuple[VhdxDisk, Header]:
    """The disk in ``file`` without its parents, and the header that counts, once its log is written back."""
    disk = VhdxDisk(file, path)
    if not disk.header.log_length:
        raise UnsupportedError("the disk has no log, so it cannot be changed safely", image=str(path))
    overlay, file.overlay = file.overlay, Overlay()
    return disk, finish_log(file, disk.header, overlay)


def resize_vhdx(path: Path, size: int) -> None:
    """Let the disk have ``size`` bytes; what is new reads as zeros. What lies on it, partitions too, stays as it is.

    Its content counts as changed: children of it no longer fit. Nothing happens when it has that size. UsageError for a
    smaller size, or one that no disk can have; FormatError and StoreError as for opening; StoreError when another
    process is changing it.
    """
    with DiskFile(path, writable=True) as file:
        resize_file(file, path, size)


def resize_file(file: DiskFile, path: Path, size: int) -> None:
    """The same with the open, writable file of the disk."""
    disk, header = _prepare(file, path)
    old = disk.geometry
    checked_size(size, old.sector_size)
    if size < old.size:
        raise UsageError(f"the disk has {old.size} bytes already, and disks only grow", hint=f"not to {size}")
    if size == old.size:
        return
    new = Geometry(size, old.block_size, old.sector_size, old.has_parent)
    _clear_tail(disk)
    region = disk.regions[BAT_REGION]
    sectors = _changed(file, disk.parameters.places[VIRTUAL_DISK_SIZE][0], struct.pack("<Q", size))
    end = -(-file.size // ALIGNMENT) * ALIGNMENT
    used = old.entries * BAT_ENTRY.size
    if new.entries * BAT_ENTRY.size > region.length:
        moved = Region(end, new.table_length)
        file.set_size(moved.offset + moved.length)
        _copy(file, region.offset, moved.offset, used)
        disk.regions[BAT_REGION] = region = moved
        for place in REGION_TABLES:
            sectors = _changed(file, place, pack_regions(disk.regions), sectors)
        end = moved.offset + moved.length
    else:
        _clear(file, region.offset + used, (new.entries - old.entries) * BAT_ENTRY.size)
    if disk.parameters.leave_allocated:
        write_fixed_entries(file, region.offset, new, old.blocks, end)
        file.set_size(end + (new.blocks - old.blocks) * new.block_size)
    change_at_once(file, header, sectors, data_changes=True)


def _clear_tail(disk: VhdxDisk) -> None:
    """What lies behind the end of the disk in its last block is nobody's, and will be read."""
    rest = -disk.size % disk.geometry.block_size
    state, place = disk.block(disk.geometry.blocks - 1)
    if rest and state in (FULL, PARTIAL):
        _clear(disk.file, place + disk.geometry.block_size - rest, rest)


def rebase_vhdx(
    path: Path,
    parent: Path,
    *,
    parents: Parents = "follow",
    within: Sequence[Path] = (),
    keep_absolute: bool = False,
) -> None:
    """Let the differencing disk ``path`` find its parent at ``parent``, which must be the very same disk.

    ``keep_absolute`` keeps the volume and the absolute path that the file names, for a disk that goes back to the
    machine where these hold. Raises UsageError when it has no parent, FormatError (kind ``parent-changed``) when
    ``parent`` is another disk or was written to since; else as for opening and resizing.
    """
    with DiskFile(path, writable=True) as file, VhdxDisk.open(parent, parents, within=within) as below:
        rebase_file(file, path, below, keep_absolute=keep_absolute)


def rebase_file(file: DiskFile, path: Path, below: VhdxDisk, *, keep_absolute: bool = False) -> None:
    """The same with the open, writable file of the disk, and the open parent."""
    disk, header = _prepare(file, path)
    if any(one.file.identity == file.identity for one in below.chain):
        raise UsageError(f"{path} cannot stand on itself")
    disk.check_parent(below)
    new = locator_for(path, below)
    if keep_absolute and (old := disk.parameters.locator) is not None:
        new = ParentLocator(new.linkage, {**new.entries, **old.entries, **_relative(new)})
    item = new.pack()
    region = disk.regions[METADATA_REGION]
    place = _free_place(disk, region, len(item))
    index = _item_index(disk, region)
    sectors = _changed(file, region.offset + index + 16, struct.pack("<II", place, len(item)))
    sectors = _changed(file, region.offset + place, item, sectors)
    if len(sectors) > log_capacity(header):
        raise UnsupportedError("the paths of the parent are longer than can be changed at once", image=str(path))
    change_at_once(file, header, sectors)


def _relative(locator: ParentLocator) -> dict[str, str]:
    return {key: value for key, value in locator.entries.items() if key in ("relative_path", "parent_linkage")}


def _item_index(disk: VhdxDisk, region: Region) -> int:
    """Where the table of metadata has the entry of the parent locator, counted from the region."""
    table = disk.file.read(region.offset, METADATA_TABLE_SIZE)
    count = METADATA_HEADER.unpack_from(table)[1]
    places = range(METADATA_HEADER.size, METADATA_HEADER.size + count * METADATA_ENTRY.size, METADATA_ENTRY.size)
    return next(place for place in places if table[place : place + 16] == PARENT_LOCATOR.bytes_le)


def _free_place(disk: VhdxDisk, region: Region, length: int) -> int:
    """Where in the region an item of ``length`` bytes has room besides all others; the old locator gives way."""
    taken = sorted(
        (offset - region.offset, size)
        for item, (offset, size) in disk.parameters.places.items()
        if item != PARENT_LOCATOR and size
    )
    place = METADATA_TABLE_SIZE
    for offset, size in taken:
        if offset - place >= length:
            return place
        place = max(place, offset + size)
    if place + length > region.length:
        raise UnsupportedError("the metadata has no room for the paths of the parent", image=str(disk.path))
    return place


def _changed(file: DiskFile, place: int, data: bytes, sectors: dict[int, bytes] | None = None) -> dict[int, bytes]:
    """``sectors``, and those that hold ``data`` when it is put at ``place``, by their offset."""
    found = dict(sectors or {})
    first, end = place // LOG_SECTOR * LOG_SECTOR, place + len(data)
    for offset in range(first, end, LOG_SECTOR):
        old = bytearray(found.get(offset) or file.read(offset, LOG_SECTOR))
        low, high = max(place, offset), min(end, offset + LOG_SECTOR)
        old[low - offset : high - offset] = data[low - place : high - place]
        found[offset] = bytes(old)
    return found


def _clear(file: DiskFile, place: int, length: int) -> None:
    for start in range(0, length, _COPIED):
        file.write(place + start, bytes(min(_COPIED, length - start)))


def _copy(file: DiskFile, source: int, target: int, length: int) -> None:
    for start in range(0, length, _COPIED):
        file.write(target + start, file.read(source + start, min(_COPIED, length - start)))
