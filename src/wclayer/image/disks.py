"""VHDX disks for who works with files: making them, saying what they are, listing and reading the volume on them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from wclayer.errors import FormatError, NotFoundError, UnsafeEntryError, UsageError, WclayerError
from wclayer.formats.disk.ntfs import NtfsFile, NtfsVolume, open_ntfs
from wclayer.formats.disk.partitions import find_partitions, is_ntfs
from wclayer.formats.disk.scratch import create_blank_base, expand_sandbox
from wclayer.formats.vhdx import VhdxDisk, create_vhdx, rebase_vhdx, resize_vhdx
from wclayer.ntfs import attributes as file_attributes
from wclayer.ntfs import filetime

__all__ = [
    "DiskRow",
    "create_disk",
    "describe_disk",
    "disk_size",
    "list_disk",
    "read_disk_file",
    "rebase_disk",
    "resize_disk",
]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_PIECE = 1 << 20


class DiskRow(NamedTuple):
    """A file or folder of a volume. ``kind`` is ``file``, ``directory`` or ``reparse``; the time is ISO 8601."""

    path: str
    kind: str
    size: int | None
    attributes: int
    attribute_letters: str
    last_write_time: str
    streams: int


def disk_size(text: str) -> int:
    """The bytes of ``20G``, ``20GB``, ``20GiB``, all of which are 20 * 2**30, or of plain digits. UsageError."""
    match = re.fullmatch(r"([0-9]{1,18})\s*([kmgt]?)(?:i?b)?", text.strip(), re.ASCII | re.IGNORECASE)
    if match is None:
        raise UsageError(f"{text!r} is no size", hint="write 20G, 512M or a number of bytes")
    return int(match[1]) * _UNITS[match[2].lower()]


def create_disk(
    path: Path,
    size: int | None = None,
    *,
    kind: Literal["dynamic", "fixed"] = "dynamic",
    block_size: int = 1 << 20,
    parent: Path | None = None,
    within: Sequence[Path] = (),
    ntfs: bool = False,
) -> None:
    """Make a disk: empty, on a ``parent``, or with partitions and an empty volume as Windows makes them (``ntfs``).

    Raises UsageError for what cannot be had together; UnsupportedError when ``ntfs`` is wanted and ``mkntfs`` is not
    installed; else as :func:`wclayer.formats.vhdx.create.create_vhdx`.
    """
    if not ntfs:
        create_vhdx(path, size, kind=kind, block_size=block_size, parent=parent, within=within)
    elif parent is not None or kind == "fixed" or block_size != 1 << 20:
        raise UsageError("a disk with a volume is a dynamic one with blocks of 1 MiB, and has no parent")
    elif size is None:
        raise UsageError("a disk without a parent needs a size")
    else:
        create_blank_base(path, size)


def rebase_disk(path: Path, parent: Path, *, within: Sequence[Path] = ()) -> None:
    """Let ``path`` find its parent at ``parent``; see :func:`wclayer.formats.vhdx.change.rebase_vhdx`."""
    rebase_vhdx(path, parent, within=within)


def resize_disk(path: Path, size: int, *, within: Sequence[Path] = (), disk_only: bool = False) -> bool:
    """Let a disk grow, and its last partition and the NTFS volume on that with it unless ``disk_only``.

    Returns whether a volume that should have grown did; see :func:`wclayer.formats.disk.scratch.expand_sandbox`.
    """
    if disk_only:
        resize_vhdx(path, size)
        return True
    return expand_sandbox(path, size, within=within)


def describe_disk(path: Path, *, within: Sequence[Path] = ()) -> tuple[dict[str, Any], list[str]]:
    """What there is to know of a disk and those it stands on, and what is wrong with them in sentences.

    A parent that is not there, or not where it may be, or that was changed, is among the latter; a disk that itself is
    damaged raises FormatError, else as for opening.
    """
    problems: list[str] = []
    try:
        disk = VhdxDisk.open(path, within=within)
    except (NotFoundError, UnsafeEntryError, FormatError) as error:
        disk = VhdxDisk.open(path, "none")
        problems.append(str(error))
    with disk:
        document = _document(disk)
        document["chain"] = [str(one.path) for one in disk.chain]
        document["partitions"] = None
        if not problems:
            try:
                document["partitions"] = _partitions(disk)
            except WclayerError as error:
                problems.append(str(error.locate(image=str(path))))
    document["problems"] = problems
    return document, problems


def _document(disk: VhdxDisk) -> dict[str, Any]:
    locator = disk.parameters.locator
    return {
        "path": str(disk.path),
        "kind": disk.kind,
        "size": disk.size,
        "file_size": disk.file.size,
        "block_size": disk.parameters.block_size,
        "blocks": disk.geometry.blocks,
        "stored_blocks": disk.own_blocks(),
        "logical_sector_size": disk.parameters.logical_sector_size,
        "physical_sector_size": disk.parameters.physical_sector_size,
        "disk_id": str(disk.parameters.disk_id),
        "data_write_id": str(disk.header.data_write_id),
        "creator": disk.creator(),
        "log_pending": disk.has_log,
        "parent": None if locator is None else {"data_write_id": str(locator.linkage), "paths": locator.paths},
    }


def _partitions(disk: VhdxDisk) -> list[dict[str, Any]]:
    stream = disk.open_stream()
    return [
        {
            "number": one.number,
            "scheme": one.scheme,
            "type": one.type,
            "name": one.name,
            "id": one.id,
            "offset": one.offset,
            "size": one.length,
            "ntfs": is_ntfs(stream, one.offset),
        }
        for one in find_partitions(stream, disk.size, disk.parameters.logical_sector_size)
    ]


@contextmanager
def _opened(path: Path, within: Sequence[Path], partition: int | None) -> Iterator[NtfsVolume]:
    with VhdxDisk.open(path, within=within) as disk:
        try:
            with open_ntfs(
                disk.open_stream(), disk.size, disk.parameters.logical_sector_size, number=partition
            ) as volume:
                yield volume
        except WclayerError as error:
            raise error.locate(image=str(path)) from None


def list_disk(
    path: Path,
    inside: str = "",
    *,
    recursive: bool = False,
    within: Sequence[Path] = (),
    partition: int | None = None,
) -> Iterator[DiskRow]:
    r"""What the folder ``inside`` of the NTFS volume on a disk holds, or that file itself.

    ``inside`` may have a drive and backslashes. Raises NotFoundError, UnsupportedError without libfsntfs, and what
    opening the disk does.
    """
    with _opened(path, within, partition) as volume:
        where = _plain(inside)
        found = volume.stat(where)
        if not found.is_directory:
            yield _row(found)
            return
        for one in volume.walk(where) if recursive else volume.list(where):
            yield _row(one)


def read_disk_file(
    path: Path,
    inside: str,
    write: Callable[[bytes], object],
    *,
    stream: str = "",
    within: Sequence[Path] = (),
    partition: int | None = None,
) -> None:
    """Write the data of a file of the volume, or of its alternate stream; raises as :func:`list_disk`."""
    with _opened(path, within, partition) as volume, volume.open(_plain(inside), stream) as data:
        while piece := data.read(_PIECE):
            write(piece)


def _plain(inside: str) -> str:
    return re.sub(r"^[A-Za-z]:", "", inside).replace("\\", "/").strip("/")


def _row(one: NtfsFile) -> DiskRow:
    kind = "reparse" if one.is_reparse_point else "directory" if one.is_directory else "file"
    return DiskRow(
        one.path,
        kind,
        None if one.is_directory else one.size,
        one.attributes,
        file_attributes.letters(one.attributes),
        filetime.to_text(one.last_write_time),
        len(one.streams),
    )
