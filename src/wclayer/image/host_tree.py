"""A folder of ordinary files as the items of a layer: names, data and times of the last write are all that is known.

A folder that holds ``Files``, ``Hives`` or ``UtilityVM`` is a layer; any other one may be drive C. A symbolic link
stays one, and is not followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from wclayer.errors import NotFoundError, StoreError, UnsafeEntryError
from wclayer.formats.folder.content import file_stream
from wclayer.model import Entry, LayerItem, Metadata, Notices
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT
from wclayer.ntfs.filetime import UNIX_EPOCH_TICKS
from wclayer.ntfs.names import checked_path, decode_wtf8, fold
from wclayer.ntfs.reparse import build_link

__all__ = ["is_layer_tree", "read_host_tree"]

_TOPS = {"FILES", "HIVES", "UTILITYVM"}


def is_layer_tree(folder: Path) -> bool:
    """Whether ``folder`` is a layer, and not drive C of one. Raises NotFoundError, StoreError."""
    try:
        with os.scandir(os.fsencode(folder)) as found:
            tops = [entry.name for entry in found]
    except FileNotFoundError:
        raise NotFoundError(f"there is no folder {folder}") from None
    except OSError as error:
        raise StoreError(f"cannot read {folder}: {error.strerror}") from error
    return any(fold(decode_wtf8(name)) in _TOPS for name in tops)


def read_host_tree(folder: Path, notices: Notices, *, top: str = "") -> Iterator[LayerItem]:
    """The items of ``folder`` as what lies in the folder ``top`` of a layer, folders first.

    What no layer can hold is left out with a notice. Raises StoreError for what cannot be read.
    """
    if top:
        yield Entry(top, Metadata(FILE_ATTRIBUTE_DIRECTORY), is_directory=True)
    pending = [(os.fsencode(folder), top)]
    while pending:
        place, path = pending.pop()
        try:
            with os.scandir(place) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise StoreError(f"cannot read {os.fsdecode(place)}: {error.strerror}") from error
        for entry in entries:
            name = decode_wtf8(entry.name)
            item = _item(entry, f"{path}/{name}" if path else name, str(folder), notices)
            if item is None:
                continue
            yield item
            if item.is_directory and item.metadata.reparse is None:
                pending.append((entry.path, item.path))


def _item(entry: os.DirEntry[bytes], path: str, where: str, notices: Notices) -> Entry | None:
    try:
        checked_path(path)
    except UnsafeEntryError as error:
        notices.add("name-refused", path, f"no layer can hold such a name: {error.message}")
        return None
    try:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            target = decode_wtf8(os.readlink(entry.path)).replace("/", "\\")  # noqa: PTH115 - bytes
            link = build_link(target, mount_point=False)
            return Entry(path, Metadata(FILE_ATTRIBUTE_REPARSE_POINT, last_write_time=_ticks(status), reparse=link))
    except OSError as error:
        raise StoreError(f"cannot read the file: {error.strerror}", path=path) from error
    if stat.S_ISDIR(status.st_mode):
        return Entry(path, Metadata(FILE_ATTRIBUTE_DIRECTORY, last_write_time=_ticks(status)), is_directory=True)
    if not stat.S_ISREG(status.st_mode):
        notices.add("special-file", path, "neither a file nor a folder nor a link: left out")
        return None
    place = entry.path

    def opened() -> int:
        return os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))

    metadata = Metadata(FILE_ATTRIBUTE_ARCHIVE, last_write_time=_ticks(status))
    return Entry(path, metadata, data=file_stream(opened, status.st_size, None, place, None, where))


def _ticks(status: os.stat_result) -> int:
    """The time of the last write as a FILETIME."""
    return UNIX_EPOCH_TICKS + status.st_mtime_ns // 100
