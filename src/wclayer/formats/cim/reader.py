"""A CIM image is read where it lies: opening one reads two headers, and every step reads what it needs.

::

    with CimImage.open("layers/base.cim") as image:
        for file in image.walk():
            print(file.path, file.size, file.file_id)
        hive = image.lookup("Files/Windows/System32/config/SOFTWARE").open()

Names are looked up through the image's own upper-case table and a dictionary for each folder, so the order in which
they are stored, on which no two sources agree for characters beyond U+FFFF, does not matter.

An image may be hostile. Every pointer and length is checked before it is used; no function calls itself; a walk enters
each folder once and reads no more link tables than there are bytes in the regions. What is checked beyond reading is
in :mod:`wclayer.formats.cim.verify`.

Only images of files are read. The containers in which Windows puts an image on a block device or into a single file,
and the images it calls merged or verified, have no public description.

Source: hcsshim ``pkg/cimfs``, ``pkg/cimfs/format`` and the fuller ``format.go`` of its history.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from wclayer.errors import FormatError, LimitError, UnsupportedError, WclayerError
from wclayer.formats.cim.file import CimFile
from wclayer.formats.cim.file_tables import FileTables
from wclayer.formats.cim.links import MAX_TABLE, check_names, file_links, stream_links
from wclayer.formats.cim.profiles import (
    FILESYSTEM_HEADER_LENGTH,
    MAX_MAJOR,
    MIN_MAJOR,
    VERSION_1,
)
from wclayer.formats.cim.regions import Region, RegionFiles, check_common, open_regular
from wclayer.formats.cim.streams import CimStream
from wclayer.formats.cim.structures import (
    FILE_RECORD,
    FILESYSTEM,
    REGION_SET,
    STREAM_LINK_TABLE,
    TYPE_IMAGE,
    UPCASE_SIZE,
    FileRecord,
    Filesystem,
    FilesystemHeader,
    FileTable,
    StreamRecord,
)
from wclayer.formats.cim.upcase import UpcaseTable
from wclayer.ntfs.names import MAX_PATH

__all__ = ["CimImage", "read_header"]

_CACHED_COUNTED: Final = 16 << 20
_CACHED_NAMES: Final = 1 << 18
_COUNT: Final = 2


def read_header(path: str | os.PathLike[str], *, version_1: bool = False) -> FilesystemHeader:
    """The header of the image at ``path``; no region is looked at.

    Raises NotFoundError when there is none, StoreError, FormatError when it is no image or cut off, UnsupportedError
    for a version that is not known; version 1 only when not asked for.
    """
    path = Path(path)
    image = str(path)
    descriptor, size = open_regular(path, image)
    with os.fdopen(descriptor, "rb") as file:
        head = file.read(FILESYSTEM_HEADER_LENGTH)
        if len(head) < FILESYSTEM_HEADER_LENGTH:
            raise FormatError(f"{path.name} has {size} bytes, too few for a CIM image", kind="cim-header", image=image)
        parents = FilesystemHeader.parent_count(head) * REGION_SET.size
        rest = file.read(parents)
    if len(rest) < parents:
        raise FormatError(f"{path.name} is cut off in the list of its parents", kind="cim-header", image=image)
    header = FilesystemHeader.unpack(head + rest)
    check_common(header.common, TYPE_IMAGE, _majors(version_1=version_1), path.name, image)
    return header


def _majors(*, version_1: bool) -> range:
    return range(VERSION_1 if version_1 else MIN_MAJOR, MAX_MAJOR + 1)


class CimImage:
    """An image, opened with :meth:`open`; close it, or use it in a ``with`` statement.

    Everything that reads raises FormatError for bytes that do not follow the format, UnsupportedError for what is well
    formed and not known, LimitError for a bomb, StoreError when a file cannot be read; all of them name the image.
    """

    def __init__(self, path: Path, header: FilesystemHeader, regions: RegionFiles) -> None:
        self.path = path
        #: The header, with the region sets.
        self.header = header
        #: The region files; every pointer is followed through them.
        self.regions = regions
        #: What names the image in errors.
        self.what = str(path)
        self._version_1 = header.common.major == VERSION_1
        self._upcase: UpcaseTable | None = None
        self._counted: dict[int, bytes] = {}
        self._counted_size = 0
        self._folders: dict[int, dict[bytes, tuple[int, str]]] = {}
        self._folder_names = 0
        #: The Filesystem structure: where the tables lie and which file is the root.
        self.filesystem = Filesystem.unpack(regions.read(header.filesystem, FILESYSTEM.size, "the file system"))
        #: The file tables, which hold the records.
        self.tables = FileTables(regions, self.filesystem)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, version_1: bool = False) -> Self:
        """Open the image at ``path``; with ``version_1`` also one of Windows 10, which is otherwise refused.

        Raises NotFoundError, StoreError, FormatError (also when a region file is missing), UnsupportedError.
        """
        path = Path(path)
        header = read_header(path, version_1=version_1)
        regions = RegionFiles(
            path.parent, header.own, header.parents, majors=_majors(version_1=version_1), image=str(path)
        )
        try:
            return cls(path, header, regions)
        except WclayerError as error:
            regions.close()
            raise error.locate(image=str(path)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give all files back. The files of the image cannot fetch anything any more."""
        self.regions.close()

    @property
    def guid(self) -> uuid.UUID:
        """What names the image's own region files."""
        return self.header.own.guid

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version of the format: (2, 0), (3, 0), or (1, 0) on request."""
        return self.header.common.major, self.header.common.minor

    @property
    def region_names(self) -> tuple[str, ...]:
        """The names of all region files in the order in which they count: those of parents first."""
        return tuple(region.name for region in self.regions.regions)

    @property
    def upcase(self) -> UpcaseTable:
        """The image's own upper-case table."""
        if self._upcase is None:
            self._upcase = UpcaseTable(self.regions.read(self.filesystem.upcase, UPCASE_SIZE, "the upper-case table"))
        return self._upcase

    @property
    def root(self) -> CimFile:
        """The root folder."""
        root = self.filesystem.root
        record = self.record(root)
        found = CimFile(self, "", root, record)
        if not found.is_directory:
            raise FormatError("the root is no folder", kind="cim-record", image=self.what)
        return found

    def record(self, file_id: int, path: str | None = None) -> FileRecord:
        """The record of file ``file_id``; ``path`` names the file in errors.

        A record shorter than 96 bytes is filled up with zeros. Raises FormatError when there is no such record and
        UnsupportedError for one of a merged image, whose pointers mean something else.
        """
        data, start, size = self.tables.place(file_id, path)
        if size < FILE_RECORD.size:
            record = FileRecord.unpack(data[start : start + size].ljust(FILE_RECORD.size, b"\0"))
        else:
            record = FileRecord._make(FILE_RECORD.unpack_from(data, start))
        if record.base_region_index:
            raise UnsupportedError(
                f"file {file_id} has base region {record.base_region_index}: it is part of a merged image",
                image=self.what,
                path=path,
            )
        return record

    def raw_record(self, file_id: int) -> bytes:
        """The record of file ``file_id`` as it lies in the image. Raises FormatError when there is none."""
        data, start, size = self.tables.place(file_id, None)
        return data[start : start + size]

    def file_table(self, number: int) -> FileTable:
        """Entry ``number`` of the file table directory, from 0. Raises FormatError for one that cannot be."""
        return self.tables.entry(number)

    def counted_bytes(self, offset: int, what: str, path: str) -> bytes:
        """The bytes at region offset ``offset``, which lie behind their number in two bytes.

        Security descriptors, shared by many files, and reparse data are such. The same bytes are given again.
        """
        found = self._counted.get(offset)
        if found is None:
            region, position = self.regions.locate(offset, what, path)
            length = int.from_bytes(region.read(position, _COUNT, what, path), "little")
            found = region.read(position + _COUNT, length, what, path)
            if self._counted_size > _CACHED_COUNTED:
                self._counted.clear()
                self._counted_size = 0
            self._counted[offset] = found
            self._counted_size += length + 100
        return found

    def stream(self, record: StreamRecord, path: str, name: str = "") -> CimStream:
        """The stream that ``record`` describes, alternate if it has a name; ``path`` names it in errors."""
        return CimStream(self.regions, name, record, path, version_1=self._version_1)

    def stream_table(self, offset: int, path: str) -> tuple[list[StreamRecord], list[str], bool]:
        """The table of alternate streams at region offset ``offset``: records, names, and whether it was counted.

        hcsshim's ``format.go`` says that it is a link table, its former reader expects four more bytes in front. It is
        read the first way, and the second way if it makes no sense so; no table is sound both ways.
        """
        region, position = self.regions.locate(offset, "alternate streams", path)
        try:
            return *self._stream_table(region, position, path), False
        except FormatError as error:
            try:
                return *self._stream_table(region, position + 4, path), True
            except FormatError:
                raise error from None

    def table_bytes(self, record: FileRecord, path: str) -> bytes:
        """The link table of the folder of ``record``; empty for an empty folder and for a file."""
        stream = record.stream
        if stream.kind != STREAM_LINK_TABLE or not stream.length:
            return b""
        if stream.length > MAX_TABLE:
            raise LimitError(f"a link table of {stream.length} bytes", image=self.what, path=path)
        return self.regions.read(stream.data_offset, stream.length, "link table", path)

    def links(self, record: FileRecord, path: str) -> tuple[tuple[int, ...], list[str]]:
        """The file ids and the names in the folder of ``record``, in its order; none for a file.

        Raises FormatError (``cim-name``) for names that no file can have: empty, ``.``, ``..``, with a separator, a
        colon or a NUL.
        """
        table = self.table_bytes(record, path)
        if not table:
            return (), []
        try:
            ids, names = file_links(table)
            check_names(names)
        except WclayerError as error:
            raise error.locate(image=self.what, path=path) from None
        return ids, names

    def lookup(self, path: str) -> CimFile | None:
        """The file at ``path``, whatever its case; None when there is none. ``""`` is the root."""
        found = self.root
        if not path:
            return found
        key = self.upcase.key
        for name in path.split("/"):
            entry = self._folder(found).get(key(name)) if found.is_directory else None
            if entry is None:
                return None
            file_id, spelt = entry
            spelt = f"{found.path}/{spelt}" if found.path else spelt
            found = CimFile(self, spelt, file_id, self.record(file_id, spelt))
        return found

    def walk(self) -> Iterator[CimFile]:
        """The root and everything below it, each folder before what it holds, names in the order of the image.

        Raises FormatError when a folder has two names or lies in itself, and for a path longer than Windows allows.
        """
        root = self.root
        yield root
        seen = {root.file_id}
        left = self.regions.size - root.record.stream.length
        # What is left of each folder on the way, and how much of the prefix leads to the folder that holds it. Only one
        # prefix is kept: those of ten thousand folders in each other would fill the memory.
        waiting = [(zip(*self.links(root.record, ""), strict=True), 0)]
        prefix = ""
        while waiting:
            links, shorter = waiting[-1]
            for file_id, name in links:
                path = prefix + name
                record = self.record(file_id, path)
                file = CimFile(self, path, file_id, record)
                yield file
                if file.is_directory:
                    if file_id in seen:
                        raise self._bad_path("cim-loop", f"folder {file_id} has two names or lies in itself", path)
                    seen.add(file_id)
                    left -= record.stream.length
                    if left < 0:
                        raise LimitError("the link tables take more bytes than the regions have", image=self.what)
                    if len(path) >= MAX_PATH:
                        raise self._bad_path("cim-name", f"a path of more than {MAX_PATH} characters", path)
                    waiting.append((zip(*self.links(record, path), strict=True), len(prefix)))
                    prefix = f"{path}/"
                    break
            else:
                waiting.pop()
                prefix = prefix[:shorter]

    def link_counts(self) -> dict[int, int]:
        """How many names each file has, by file id. Raises what :meth:`walk` raises."""
        return Counter(file.file_id for file in self.walk())

    def _bad_path(self, kind: str, reason: str, path: str) -> FormatError:
        return FormatError(reason, kind=kind, image=self.what, path=path)

    def _stream_table(self, region: Region, position: int, path: str) -> tuple[list[StreamRecord], list[str]]:
        length = int.from_bytes(region.read(position, 4, "alternate streams", path), "little")
        if length > MAX_TABLE:
            raise LimitError(f"a table of alternate streams of {length} bytes", image=self.what, path=path)
        try:
            records, names = stream_links(region.read(position, length, "alternate streams", path))
            check_names(names)
        except WclayerError as error:
            raise error.locate(image=self.what, path=path) from None
        return records, names

    def _folder(self, folder: CimFile) -> dict[bytes, tuple[int, str]]:
        """What is in ``folder`` by key; the first of several names with one key."""
        found = self._folders.get(folder.file_id)
        if found is None:
            key = self.upcase.key
            found = {}
            for file_id, name in zip(*self.links(folder.record, folder.path), strict=True):
                found.setdefault(key(name), (file_id, name))
            if self._folder_names > _CACHED_NAMES:
                self._folders.clear()
                self._folder_names = 0
            self._folders[folder.file_id] = found
            self._folder_names += len(found) + 1
        return found
