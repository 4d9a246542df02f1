"""A plain folder compared with an image: the layer that makes of the image what the folder is.

A plain folder knows names, data and times of the last write. So a file with the same data as below is the same file,
whenever it was written; one with other data keeps the metadata, the alternate streams and the creation time it has
below; a new one gets what it inherits from its folder. What the folder has not, the layer deletes. A symbolic link, or
the empty file or folder that stands for one in an unpacked tree, is the link below when it leads to the same place.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from wclayer.errors import StoreError, UnsafeEntryError, WclayerError
from wclayer.formats.folder.content import PIECE, file_stream
from wclayer.image.mounting.changes import ALWAYS, check_depth, clamped, root_entry
from wclayer.image.mounting.editing import ticks_of
from wclayer.image.mounting.inheritance import inherited_descriptor
from wclayer.image.mounting.links import relative_target, reparse_for
from wclayer.image.mounting.lower import Lower, LowerItem, is_link
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Notices, Stream, Tombstone
from wclayer.ntfs.attributes import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_REPARSE_POINT,
)
from wclayer.ntfs.names import checked_path, decode_wtf8, fold

__all__ = ["plain_changes"]

_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_TOPS = {"FILES", "HIVES", "UTILITYVM"}


def plain_changes(folder: Path, lower: Lower, notices: Notices, *, latest: int | None = None) -> Iterator[LayerItem]:
    """The items of the layer that makes ``folder`` of the layers ``lower``; no new time is after ``latest``.

    A folder that holds ``Files``, ``Hives`` or ``UtilityVM`` is compared with the image from the top, and of these only
    those that are there; any other one is drive C. Raises StoreError for what cannot be read. Notices: ``name-refused``
    and ``special-file`` for what is left out.
    """
    changes = _PlainChanges(lower, notices, latest, str(folder))
    found = {fold(entry.name): entry for entry in changes.entries(os.fsencode(folder))}
    tops = {key: entry for key, entry in found.items() if key in _TOPS}
    bodies: list[Iterator[LayerItem]] = []
    for name in (*ALWAYS, "UtilityVM"):
        below = lower.item(name)
        below = below if below is not None and below.found.is_folder else None
        if name in ALWAYS:
            yield root_entry(lower, name)
        if not tops and name == "Files":
            place = os.fsencode(folder)
        elif fold(name) in tops:
            place = tops[fold(name)].place
        else:
            continue
        path = below.found.path if below is not None else name
        entry = root_entry(lower, name)
        items = changes.inside(place, path, below, entry.metadata)
        bodies.append(items if name in ALWAYS else changes.after(iter((entry,)), items))
    for body in bodies:
        yield from body


class _HostEntry:
    __slots__ = ("name", "place", "status")

    def __init__(self, name: str, place: bytes, status: os.stat_result) -> None:
        self.name = name
        self.place = place
        self.status = status


class _PlainChanges:
    def __init__(self, lower: Lower, notices: Notices, latest: int | None, where: str) -> None:
        self.lower = lower
        self.notices = notices
        self.latest = latest
        self.where = where
        self.names: dict[tuple[int, int], str] = {}

    def entries(self, place: bytes) -> list[_HostEntry]:
        """What lies in a folder of this machine, in folded order."""
        try:
            with os.scandir(place) as found:
                entries = [
                    _HostEntry(decode_wtf8(one.name), one.path, one.stat(follow_symlinks=False)) for one in found
                ]
        except OSError as error:
            raise StoreError(f"cannot read {os.fsdecode(place)}: {error.strerror}") from error
        return sorted(entries, key=lambda one: (fold(one.name), one.name))

    def after(self, first: Iterator[LayerItem], items: Iterator[LayerItem]) -> Iterator[LayerItem]:
        """``items``, with ``first`` before them if there are any."""
        for item in items:
            yield from first
            yield item

    def inside(self, place: bytes, path: str, below: LowerItem | None, metadata: Metadata) -> Iterator[LayerItem]:
        """The changes of what lies in the folder ``place``, which in the layer is ``path`` and has ``metadata``."""
        check_depth(path)
        listing = {} if below is None else self.lower.listing(below.found.path)
        now: dict[str, list[_HostEntry]] = {}
        for entry in self.entries(place):
            if self._is_possible(entry, f"{path}/{entry.name}"):
                now.setdefault(fold(entry.name), []).append(entry)
        for key in sorted(listing.keys() - now.keys()):
            for one in listing[key]:
                yield Tombstone(f"{path}/{one.name}")
        for key in sorted(now):
            alike = listing.get(key, ())
            alone = alike[0] if alike and len(now[key]) == 1 else None  # of several only the one that is spelt so
            for entry in now[key]:
                same = next((one for one in alike if one.name == entry.name), alone)
                yield from self._entry(entry, path, same, metadata)

    def _is_possible(self, entry: _HostEntry, path: str) -> bool:
        mode = entry.status.st_mode
        try:
            reason = None if checked_path(path) == path else "it would be another name"
        except UnsafeEntryError as error:
            reason = error.message
        if reason is not None:
            self.notices.add("name-refused", path, f"no layer can hold such a name: {reason}")
            return False
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            return True
        self.notices.add("special-file", path, "neither a file nor a folder nor a link: left out")
        return False

    def _entry(self, entry: _HostEntry, folder: str, below: LowerItem | None, above: Metadata) -> Iterator[LayerItem]:
        path = f"{folder}/{below.name if below is not None else entry.name}"
        known = None if below is None else self.lower.metadata(below)
        mode = entry.status.st_mode
        if below is not None and known is not None and known.reparse is not None:
            if self._stands_for(entry, path, known.reparse):
                return
            known, below = None, None
        if stat.S_ISLNK(mode):
            yield self._link(entry, path, above)
        elif stat.S_ISDIR(mode):
            yield from self._folder(entry, path, below, known, above)
        else:
            yield from self._file(entry, path, below, known, above)

    def _stands_for(self, entry: _HostEntry, path: str, reparse: bytes) -> bool:
        """Whether ``entry`` is the reparse point below."""
        mode = entry.status.st_mode
        if stat.S_ISLNK(mode):
            if not is_link(Metadata(reparse=reparse)):
                return False
            target = decode_wtf8(os.readlink(entry.place))  # noqa: PTH115 - bytes
            return os.path.normpath(target) == os.path.normpath(relative_target(path, reparse))
        if stat.S_ISDIR(mode):
            return not self.entries(entry.place)
        return entry.status.st_size == 0

    def _link(self, entry: _HostEntry, path: str, above: Metadata) -> Entry:
        target = decode_wtf8(os.readlink(entry.place))  # noqa: PTH115 - bytes
        is_directory = os.path.isdir(entry.place)  # noqa: PTH112 - bytes
        try:
            reparse = reparse_for(path, target, self.where)
        except WclayerError as error:
            raise error.locate(path=path) from None
        metadata = self._new(entry, above, is_folder=is_directory)
        attributes = FILE_ATTRIBUTE_REPARSE_POINT | metadata.attributes
        return Entry(path, replace(metadata, attributes=attributes, reparse=reparse), is_directory=is_directory)

    def _folder(
        self, entry: _HostEntry, path: str, below: LowerItem | None, known: Metadata | None, above: Metadata
    ) -> Iterator[LayerItem]:
        if below is None or known is None or not below.found.is_folder:
            metadata = self._new(entry, above, is_folder=True)
            yield Entry(path, metadata, is_directory=True)
            yield from self.inside(entry.place, path, None, metadata)
            return
        first: Iterator[LayerItem] = iter((Entry(path, known, is_directory=True),))
        yield from self.after(first, self.inside(entry.place, path, below, known))

    def _file(
        self, entry: _HostEntry, path: str, below: LowerItem | None, known: Metadata | None, above: Metadata
    ) -> Iterator[LayerItem]:
        is_file = below is not None and known is not None and not below.found.is_folder
        if below is not None and is_file and self._same_data(entry, below):
            return
        status = entry.status
        if status.st_nlink > 1:
            first = self.names.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                yield HardLink(path, first, known if is_file and known else self._new(entry, above, is_folder=False))
                return
        if below is not None and known is not None and is_file:
            written = ticks_of(status.st_mtime_ns)
            known = replace(known, last_write_time=written, change_time=written)
            known.attributes |= FILE_ATTRIBUTE_ARCHIVE
            metadata = clamped(known, self.latest)
        else:
            metadata = self._new(entry, above, is_folder=False)
        yield Entry(path, metadata, data=self._data(entry))
        if below is not None and is_file:
            for name, (layer, stream) in self.lower.streams(below).items():
                yield AlternateStream(path, name, self.lower.stream(layer, stream))

    def _same_data(self, entry: _HostEntry, below: LowerItem) -> bool:
        if (self.lower.size(below) or 0) != entry.status.st_size:
            return False
        data = self.lower.data(below)
        if data is None:
            return True
        with os.fdopen(os.open(entry.place, _READ), "rb", buffering=PIECE) as file:
            return all(file.read(len(piece)) == bytes(piece) for piece in data.pieces()) and not file.read(1)

    def _data(self, entry: _HostEntry) -> Stream:
        return file_stream(
            lambda: os.open(entry.place, _READ), entry.status.st_size, None, entry.place, entry.place, self.where
        )

    def _new(self, entry: _HostEntry, above: Metadata, *, is_folder: bool) -> Metadata:
        written = ticks_of(entry.status.st_mtime_ns)
        attributes = FILE_ATTRIBUTE_DIRECTORY if is_folder else FILE_ATTRIBUTE_ARCHIVE
        descriptor = inherited_descriptor(above.security_descriptor, is_folder=is_folder)
        return clamped(Metadata(attributes, written, written, written, written, descriptor), self.latest)
