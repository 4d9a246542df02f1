"""The disks that Windows keeps beside layers: ``blank-base.vhdx``, ``blank.vhdx`` on it, and ``sandbox.vhdx``.

The base has two partitions, the second of them an empty NTFS volume; the template on it holds nothing of its own, and
the disk of a writable layer is a copy of the template. ``SystemTemplateBase.vhdx`` and ``SystemTemplate.vhdx`` of a
utility VM are made the same way. Blocks have 1 MiB, clusters 4096 bytes.

That is what can be said without Windows: what the filter driver of Windows Server 2016 to 2022 puts into the base of
an image, so that its files show through, is Windows' own and not made here.

Source: hcsshim computestorage/helpers.go and internal/vhdx; containerd's snapshotter plugins/snapshots/windows.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from wclayer.errors import StoreError, UnsupportedError
from wclayer.formats.disk.gpt import FIRST_DATA_OFFSET, GptPartition, pack_gpt, read_gpt, windows_gpt
from wclayer.formats.disk.mkntfs import find_program, format_ntfs, run_program
from wclayer.formats.disk.partitions import find_partitions, is_ntfs
from wclayer.formats.vhdx.change import rebase_file, resize_file
from wclayer.formats.vhdx.create import create_vhdx, new_vhdx
from wclayer.formats.vhdx.disk import VhdxDisk
from wclayer.formats.vhdx.file import DiskFile
from wclayer.formats.vhdx.newdisk import new_disk_file
from wclayer.formats.vhdx.parents import Parents
from wclayer.formats.vhdx.writer import VhdxWriter

__all__ = [
    "DEFAULT_SIZE",
    "UTILITY_VM_SIZE",
    "create_blank",
    "create_blank_base",
    "create_sandbox",
    "expand_sandbox",
    "stored_pieces",
]

DEFAULT_SIZE: Final = 20 << 30
"""How large a container's disk is when nobody says: 20 GiB."""
UTILITY_VM_SIZE: Final = 10 << 30
"""The same of a utility VM's: 10 GiB."""

_BLOCK = 1 << 20
_PAGE = 4096
_PIECE = 1 << 20
#: What comes before the partitions in an MBR.
_BOOT_CODE = 446


def create_blank_base(path: Path, size: int = DEFAULT_SIZE, *, label: str = "") -> None:
    """Make a disk of ``size`` bytes with the two partitions of Windows and an empty NTFS volume on the second.

    Raises UnsupportedError without ``mkntfs``, UsageError for a size too small, StoreError, also when ``path`` exists.
    """
    find_program("mkntfs")
    gpt = windows_gpt(size)
    front, back = pack_gpt(gpt)
    volume = gpt.partitions[-1]
    with (
        _raw_volume(path.parent, (volume.last - volume.first + 1) * gpt.sector_size) as raw,
        new_vhdx(path, size, block_size=_BLOCK) as disk,
    ):
        format_ntfs(raw, volume.first, label=label)
        disk.write(0, front)
        for offset, piece in _stored_pieces(raw):
            disk.write_sparse(FIRST_DATA_OFFSET + offset, piece)
        disk.write(size - len(back), back)


def create_blank(path: Path, base: Path) -> None:
    """Make the empty differencing disk ``path`` on ``base``; raises what opening that does, and StoreError."""
    create_vhdx(path, block_size=_BLOCK, parent=base)


def create_sandbox(
    path: Path, blank: Path, size: int | None = None, *, parents: Parents = "follow", within: Sequence[Path] = ()
) -> bool:
    """Make the disk of a writable layer: a copy of the template ``blank`` that finds its parent from where it is.

    The volume and absolute paths that the template names stay. With ``size`` in bytes, larger than the template's, the
    copy is enlarged as :func:`expand_sandbox` does. Returns whether the volume fills the disk. Raises what opening
    ``blank`` and its parents does, UsageError for a smaller size, and StoreError, also when ``path`` exists.
    """
    with VhdxDisk.open(blank, parents, within=within) as template, new_disk_file(path) as file:
        _copy_stored(template.file.descriptor, file)
        if template.parent is not None:
            rebase_file(file, path, template.parent, keep_absolute=True)
        return size is None or _expand(file, path, template, size)


def expand_sandbox(path: Path, size: int, *, parents: Parents = "follow", within: Sequence[Path] = ()) -> bool:
    """Let a disk with its last partition and the NTFS volume on that grow to ``size`` bytes, all of it or nothing.

    The disk is copied, with what its own file holds, and the copy takes its place. Returns whether the volume fills
    the partition now; it does not without ``ntfsresize``, or where that refuses the volume, and Windows then lets it
    grow when the layer is prepared. Nothing happens when the disk has that size; UsageError for a smaller one; else as
    :func:`create_sandbox`.
    """
    with VhdxDisk.open(path, parents, within=within) as old:
        if size == old.size:
            return True
        with new_disk_file(path, replace=True) as file:
            _copy_stored(old.file.descriptor, file)
            return _expand(file, path, old, size)


def _expand(file: DiskFile, path: Path, old: VhdxDisk, size: int) -> bool:
    """Enlarge the copy in ``file`` of ``old``, which says what is on the disk."""
    resize_file(file, path, size)
    disk = VhdxDisk(file, path)
    disk.parent = old.parent
    writer = VhdxWriter(disk)
    grown = _grow_partitions(writer, old, size)
    writer.finish()
    return grown


def _grow_partitions(writer: VhdxWriter, old: VhdxDisk, size: int) -> bool:
    """Write the partition table for ``size`` bytes, and let the last volume grow; False when that cannot be done."""
    sector, stream = old.parameters.logical_sector_size, old.open_stream()
    gpt = read_gpt(stream, old.size, sector)
    if gpt is None or not gpt.partitions:
        return not find_partitions(stream, old.size, sector)
    before = max(gpt.partitions, key=lambda one: one.first)
    end = windows_gpt(size, sector).partitions[-1].last
    after = replace(before, last=max(before.last, end))
    partitions = tuple(after if one is before else one for one in gpt.partitions)
    front, back = pack_gpt(replace(gpt, sectors=size // sector, partitions=partitions))
    boot_code = old.read(0, _BOOT_CODE)
    writer.write(0, boot_code + front[_BOOT_CODE:])
    writer.write(size - len(back), back)
    if after.last == before.last:
        return True
    return is_ntfs(stream, before.first * sector) and _grow_volume(writer, old, before, after, sector)


def _grow_volume(writer: VhdxWriter, old: VhdxDisk, before: GptPartition, after: GptPartition, sector: int) -> bool:
    try:
        resize, fix = find_program("ntfsresize"), find_program("ntfsfix")
    except UnsupportedError:
        return False
    start, length = before.first * sector, (before.last - before.first + 1) * sector
    with _raw_volume(old.path.parent, (after.last - after.first + 1) * sector) as raw:
        with raw.open("r+b", buffering=0) as file:
            for offset, count in old.ranges():
                _copy_range(old, file.fileno(), max(offset, start), min(offset + count, start + length), start)
        try:
            run_program([resize, "--force", "--no-progress-bar", str(raw)], "enlarge the NTFS volume")
            run_program([fix, "--clear-dirty", str(raw)], "mark the NTFS volume as clean")
        except StoreError:
            return False
        for offset, piece in _stored_pieces(raw):
            _write_changes(writer, old, start + offset, piece)
    return True


def _copy_range(old: VhdxDisk, descriptor: int, offset: int, end: int, start: int) -> None:
    while offset < end:
        piece = old.read(offset, min(_PIECE, end - offset))
        if piece.count(0) != len(piece):
            os.pwrite(descriptor, piece, offset - start)
        offset += len(piece)


def _write_changes(writer: VhdxWriter, old: VhdxDisk, offset: int, piece: bytes) -> None:
    """Write the pages of ``piece`` that the disk does not hold already, neighbours together."""
    there = old.read(offset, len(piece)).ljust(len(piece), b"\0")
    if there == piece:
        return
    start = None
    for position in range(0, len(piece) + _PAGE, _PAGE):
        same = position >= len(piece) or there[position : position + _PAGE] == piece[position : position + _PAGE]
        if same and start is not None:
            writer.write(offset + start, piece[start:position])
            start = None
        elif not same and start is None:
            start = position


@contextmanager
def _raw_volume(folder: Path, size: int) -> Iterator[Path]:
    """A file of zeros for a program to work on, in the folder of the disk, where there is room."""
    try:
        with tempfile.TemporaryDirectory(prefix=".volume-", dir=folder) as home:
            raw = Path(home, "volume")
            with raw.open("xb") as file:
                file.truncate(size)
            yield raw
    except OSError as error:
        raise StoreError(f"cannot make a volume in {folder}: {error.strerror}") from error


def _stored_pieces(raw: Path) -> Iterator[tuple[int, bytes]]:
    """What a sparse file holds besides zeros, as offset and piece; pieces begin at multiples of a page."""
    with raw.open("rb", buffering=0) as file:
        yield from stored_pieces(file.fileno())


def stored_pieces(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """What an open file holds besides holes, as offset and piece, from whole pages on.

    It is all of the file where the file system does not say where the holes are.
    """
    size = os.fstat(descriptor).st_size
    position = 0
    while position < size:
        try:
            start, end = os.lseek(descriptor, position, os.SEEK_DATA), size
            end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            start, end = position, size
        position = start // _PAGE * _PAGE
        while position < end:
            piece = os.pread(descriptor, min(_PIECE, size - position), position)
            if not piece:
                return
            yield position, piece
            position += len(piece)


def _copy_stored(descriptor: int, file: DiskFile) -> None:
    file.set_size(os.fstat(descriptor).st_size)
    for offset, piece in stored_pieces(descriptor):
        file.write(offset, piece)
