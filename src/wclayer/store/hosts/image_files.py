"""The volumes of a disk image as the files of a host: a VHDX, also over its parents, or the bytes of a disk.

NTFS is read with libfsntfs, which is optional. Nothing is mounted, and nothing is written.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from wclayer.errors import NotFoundError, StoreError, UsageError
from wclayer.formats.disk.ntfs import NtfsFile, NtfsVolume
from wclayer.formats.disk.partitions import find_partitions, is_ntfs
from wclayer.formats.disk.window import Window
from wclayer.formats.vhdx import VhdxDisk
from wclayer.store.hosts.files import EntryKind, HostEntry

__all__ = ["VolumeFiles", "open_volumes"]

_VHDX = b"vhdxfile"
_UNIX_EPOCH = 116444736000000000  # as a FILETIME
_BUFFER = 1 << 20


class VolumeFiles:
    """The files of an NTFS volume; ``name`` is the image, and its partition where it has several."""

    def __init__(self, volume: NtfsVolume, name: str) -> None:
        self._volume = volume
        self._name = name

    @property
    def name(self) -> str:
        """The image."""
        return self._name

    def entries(self, path: str) -> list[HostEntry]:
        """What the folder at ``path`` holds. Raises NotFoundError, FormatError, StoreError."""
        try:
            return [_entry(one) for one in self._volume.list(path)]
        except UsageError:
            raise NotFoundError(f"{path}: there is no such folder in {self._name}") from None
        except OSError as error:
            raise StoreError(f"{self._name}: cannot be read: {error.strerror or error}") from error

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """The file at ``path``, or its stream. Raises NotFoundError, FormatError, StoreError."""
        owner, _, stream = path.partition(":")
        try:
            raw = self._volume.open(owner, stream)
        except UsageError:
            raise NotFoundError(f"{path}: there is no such file in {self._name}") from None
        with io.BufferedReader(raw, _BUFFER) as buffered:
            yield cast(BinaryIO, buffered)


@contextmanager
def open_volumes(image: Path) -> Iterator[tuple[VolumeFiles, ...]]:
    """The NTFS volumes in the file ``image``, open within the block; none when it is no image of a disk.

    Raises StoreError, FormatError, UnsupportedError where there are volumes and no libfsntfs, NotFoundError for a VHDX
    whose parent is not there.
    """
    with ExitStack() as opened:
        try:
            file = opened.enter_context(image.open("rb"))
            if file.read(len(_VHDX)) == _VHDX:
                disk = opened.enter_context(VhdxDisk.open(image))
                raw: io.RawIOBase | BinaryIO = opened.enter_context(disk.open_stream())
                size = disk.size
            else:
                raw, size = file, file.seek(0, os.SEEK_END)
            places = [one for one in find_partitions(raw, size) if is_ntfs(raw, one.offset)]
        except OSError as error:
            raise StoreError(f"{image}: cannot be read: {error.strerror or error}") from error
        found = []
        for place in places:
            volume = opened.enter_context(NtfsVolume(Window(raw, place.offset, place.length)))
            name = str(image) if len(places) == 1 else f"{image} (partition {place.number})"
            found.append(VolumeFiles(volume, name))
        yield tuple(found)


def _entry(file: NtfsFile) -> HostEntry:
    kind: EntryKind = "folder" if file.is_directory else "file"
    # A compressed file is a reparse point too, and has data. Which of the others are links the volume does not tell.
    if file.is_reparse_point and (file.is_directory or not file.size):
        kind = "link"
    return HostEntry(
        file.name,
        kind,
        file.size if kind == "file" else 0,
        (file.last_write_time - _UNIX_EPOCH) * 100,
        identity=(0, file.file_reference) if kind == "file" else None,
    )
