"""Making disks: fixed and dynamic ones, and differencing ones that stand on a parent.

A new file is made whole under another name. All that is in it lies in the order in which Windows puts it: log at
1 MiB, metadata at 2 MiB, BAT at 3 MiB, then blocks.
"""

from __future__ import annotations

import array
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypedDict, Unpack
from uuid import uuid4

from wclayer.errors import UsageError
from wclayer.formats.vhdx.blocks import Geometry
from wclayer.formats.vhdx.disk import VhdxDisk
from wclayer.formats.vhdx.file import DiskFile
from wclayer.formats.vhdx.headers import Header, write_header, write_identifier
from wclayer.formats.vhdx.locator import ParentLocator
from wclayer.formats.vhdx.metadata import DiskParameters, checked_size, pack_metadata
from wclayer.formats.vhdx.newdisk import new_disk_file
from wclayer.formats.vhdx.parents import Parents
from wclayer.formats.vhdx.regions import Region, pack_regions
from wclayer.formats.vhdx.structures import (
    ALIGNMENT,
    BAT_ENTRY,
    BAT_REGION,
    BLOCK_SIZES,
    FULL,
    METADATA_REGION,
    NO_GUID,
    REGION_TABLES,
    SECTOR_SIZES,
)
from wclayer.formats.vhdx.writer import VhdxWriter

__all__ = ["create_vhdx", "locator_for", "new_vhdx"]

_LOG, _METADATA, _TABLE = ALIGNMENT, 2 * ALIGNMENT, 3 * ALIGNMENT
_AT_ONCE = 1 << 17


class _Shape(TypedDict, total=False):
    kind: Literal["dynamic", "fixed"]
    block_size: int
    parent: Path | None
    parents: Parents
    within: Sequence[Path]
    logical_sector_size: int
    physical_sector_size: int


def create_vhdx(path: Path, size: int | None = None, **shape: Unpack[_Shape]) -> None:
    """Make an empty disk of ``size`` bytes; with ``parent`` one that shows what that one shows.

    The parameters are those of :func:`new_vhdx`, but for ``replace``.
    """
    with new_vhdx(path, size, **shape):
        pass


@contextmanager
def new_vhdx(
    path: Path,
    size: int | None = None,
    *,
    kind: Literal["dynamic", "fixed"] = "dynamic",
    block_size: int = 1 << 20,
    parent: Path | None = None,
    parents: Parents = "follow",
    within: Sequence[Path] = (),
    logical_sector_size: int = 512,
    physical_sector_size: int = 4096,
    replace: bool = False,
) -> Iterator[VhdxWriter]:
    """A new disk to write to; it is at ``path`` when the block ends without an error, and otherwise nowhere.

    ``size`` in bytes is needed but for a disk with a parent, which has the parent's size without it. The blocks of a
    ``fixed`` disk all have their place in the file from the start; they take no room on a file system that keeps
    sparse files. A disk with ``parent`` is a differencing one; how the parent's own parents are found is said by
    ``parents`` and ``within`` as for :meth:`~wclayer.formats.vhdx.disk.VhdxDisk.open`. Sector sizes are 512 or 4096
    bytes, those of a parent are kept.

    Raises UsageError for sizes that no disk can have, what opening the parent raises, and StoreError, also when
    ``path`` exists and is not to be replaced.
    """
    if block_size not in BLOCK_SIZES:
        raise UsageError(f"blocks of {block_size} bytes: it has to be a power of 2 from 1 MiB to 256 MiB")
    below = VhdxDisk.open(parent, parents, within=within) if parent is not None else None
    try:
        if below is not None:
            if kind == "fixed":
                raise UsageError("a disk on a parent cannot be fixed")
            parameters = DiskParameters(
                below.size if size is None else size,
                block_size,
                below.parameters.disk_id,
                locator=locator_for(path, below),
                logical_sector_size=below.parameters.logical_sector_size,
                physical_sector_size=below.parameters.physical_sector_size,
            )
        elif size is None:
            raise UsageError("a disk without a parent needs a size")
        else:
            parameters = DiskParameters(
                size,
                block_size,
                uuid4(),
                leave_allocated=kind == "fixed",
                logical_sector_size=logical_sector_size,
                physical_sector_size=physical_sector_size,
            )
        if not {parameters.logical_sector_size, parameters.physical_sector_size} <= set(SECTOR_SIZES):
            raise UsageError("sectors have 512 or 4096 bytes")
        checked_size(parameters.size, parameters.logical_sector_size)
        with new_disk_file(path, replace=replace) as file:
            _lay_out(file, parameters)
            disk = VhdxDisk(file, path)
            disk.parent = below
            writer = VhdxWriter(disk)
            yield writer
            writer.finish()
    finally:
        if below is not None:
            below.close()


def _lay_out(file: DiskFile, parameters: DiskParameters) -> None:
    geometry = Geometry(
        parameters.size, parameters.block_size, parameters.logical_sector_size, parameters.locator is not None
    )
    regions = {
        METADATA_REGION: Region(_METADATA, ALIGNMENT),
        BAT_REGION: Region(_TABLE, geometry.table_length),
    }
    first = _TABLE + geometry.table_length
    file.set_size(first)
    write_identifier(file)
    for place in REGION_TABLES:
        file.write(place, pack_regions(regions))
    file.write(_METADATA, pack_metadata(parameters))
    if parameters.leave_allocated:
        write_fixed_entries(file, _TABLE, geometry, 0, first)
        file.set_size(first + geometry.blocks * geometry.block_size)
    header = Header(1, uuid4(), uuid4(), NO_GUID, _LOG, ALIGNMENT, 0)
    write_header(file, header, wait=False)
    write_header(file, header.next(), wait=False)


def write_fixed_entries(file: DiskFile, table: int, geometry: Geometry, first_block: int, place: int) -> None:
    """Say in the BAT at ``table`` that all blocks from ``first_block`` on lie one behind the other from ``place``."""
    for start in range(first_block, geometry.blocks, _AT_ONCE):
        stop = min(start + _AT_ONCE, geometry.blocks)
        origin = geometry.entry(start)
        entries = array.array("Q", bytes(BAT_ENTRY.size * (geometry.entry(stop - 1) - origin + 1)))
        for block in range(start, stop):
            entries[geometry.entry(block) - origin] = place + (block - first_block) * geometry.block_size | FULL
        if sys.byteorder == "big":
            entries.byteswap()
        file.write(table + origin * BAT_ENTRY.size, entries.tobytes())


def locator_for(child: Path, parent: VhdxDisk) -> ParentLocator:
    r"""What the disk ``child`` says of ``parent``: its state, the way to it, and a path that begins with a drive.

    Readers of VHDX want an absolute path, too. Where there are no drives, it is the parent's name on ``C:\``, so that
    no file tells how folders of this machine are called.
    """
    real = os.path.realpath(parent.path)
    folder = os.path.realpath(os.path.dirname(os.path.abspath(child)))
    if os.name == "nt":
        absolute = f"\\\\?\\{real}"
        same = os.path.splitdrive(real)[0].lower() == os.path.splitdrive(folder)[0].lower()
        relative = os.path.relpath(real, folder) if same else os.path.basename(real)
    else:
        absolute = f"\\\\?\\C:\\{os.path.basename(real)}"
        relative = os.path.relpath(real, folder).replace("/", "\\")
    if not relative.startswith("."):
        relative = f".\\{relative}"
    return ParentLocator.of(parent.header.data_write_id, relative, absolute)
