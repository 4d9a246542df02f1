r"""``LegacyLayerReader``: a transport folder, as ExportLayer leaves it, read entry by entry.

Folders come before their contents, each folder's names in byte order; sidecars and ``tombstones.txt`` are not entries;
the deletions in a folder follow it at once. What an entry says of itself depends on the class of its path: below
``Files`` a blob speaks, elsewhere the file itself, and ``Files`` and ``Hives`` borrow their times from the system hive.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from typing import NamedTuple

from wclayer.errors import FormatError, IntegrityError, UnsafeEntryError, UsageError, WclayerError
from wclayer.formats.folder.door import store_error
from wclayer.formats.transport.names import (
    ATTRIBUTES_SIZE,
    FILES,
    HIVES,
    RECYCLE_BIN,
    SIDECAR,
    SYSTEM_DELTA,
    TOMBSTONES,
    is_blob,
    is_sidecar,
)
from wclayer.formats.transport.plain_blobs import PlainBlob, blob_stream, plain_blob
from wclayer.formats.transport.tombstones import parse_tombstones
from wclayer.formats.volume import BasicInfo, Status, Volume, VolumeError, backup_pieces, read_function
from wclayer.formats.volume.entries import described_entry
from wclayer.formats.volume.errors import ERROR_FILE_NOT_FOUND
from wclayer.model import Entry, Stream
from wclayer.ntfs.backup import BACKUP_DATA, STREAM_SPARSE_ATTRIBUTE, BackupStreamReader
from wclayer.ntfs.backup_sparse import stream_layout
from wclayer.ntfs.names import fold

__all__ = ["RECYCLE_BIN_FOLD", "EntryHead", "LegacyLayerReader", "LinkInfo", "blob_size", "link_info_of", "open_blob"]

RECYCLE_BIN_FOLD = fold(RECYCLE_BIN)
_MAX_TOMBSTONES = 1 << 22


class EntryHead(NamedTuple):
    r"""What a reader says of an entry: its path with ``\``, its size in bytes, its times and attributes.

    ``basic`` is None for a deletion.
    """

    path: str
    size: int
    basic: BasicInfo | None


class LinkInfo(NamedTuple):
    """How many names the file of an entry has, and what tells it from others: a volume number and 16 bytes."""

    links: int
    volume: int
    file_id: bytes


def link_info_of(status: Status) -> LinkInfo:
    """What :meth:`LegacyLayerReader.link_info` says of a file."""
    volume, file_id = status.file_id[:8], status.file_id[8:]
    return LinkInfo(status.links, int.from_bytes(volume, "little"), file_id.ljust(16, b"\0"))


class LegacyLayerReader:
    """Reads the ``transport`` folder, which stays the caller's.

    A ``tombstones.txt`` that is missing or malformed is an error of the first :meth:`next`; with ``lenient`` a missing
    one counts as empty, and malformed lines, deletions in folders that are not there and sidecars without a folder are
    notices only. Notices go to the volume's. With ``own_times`` what is not a blob keeps the times of its file.
    """

    def __init__(self, transport: Volume, *, lenient: bool = False, own_times: bool = False) -> None:
        self.transport = transport
        self.lenient = lenient
        self._own_times = own_times
        self.status: Status | None = None
        self._tombstones: dict[str, list[str]] = {}
        self._walk = self._entries()
        self._ended: WclayerError | bool = False
        self._closed = False
        self._blob: int | None = None
        self._number = 0
        self._is_before_stream = False
        self._blob_status: Status | None = None
        self.plain_blob: PlainBlob | None = None
        self._read = read_function(iter(()))
        self._plain: Generator[bytes, None, None] | None = None

    # ------------------------------------------------------------------ hcsshim's calls

    def next(self) -> EntryHead | None:
        """The next entry, None after the last one and ever after. An error comes again with every further call.

        Raises FormatError, VolumeError, StoreError; UsageError ``LegacyLayerReader closed``.
        """
        if self._closed:
            raise UsageError("LegacyLayerReader closed")
        self._end_entry()
        if isinstance(self._ended, WclayerError):
            raise self._ended
        if self._ended:
            return None
        try:
            found = next(self._walk, None)
            if found is None:
                self._ended = True
                return None
            if isinstance(found, str):
                return EntryHead(found, 0, None)
            return self._open(found)
        except WclayerError as error:
            self._ended = error
            raise

    def link_info(self) -> LinkInfo:
        """The names of the current entry's file. Raises UsageError when there is none."""
        if self.status is None:
            raise UsageError("no current file")
        identity = self.status.file_id
        return LinkInfo(
            self.blob_status().links,
            int.from_bytes(identity[:8], "little"),
            identity[8:].ljust(16, b"\0"),
        )

    def blob_status(self) -> Status:
        """The file that describes the current entry. Raises UsageError when there is none."""
        if self.status is None:
            raise UsageError("no current file")
        return self._blob_status or self._opened_status(self.status)

    def plain_entry(self, head: EntryHead, path: str, file_id: bytes | None) -> Entry | None:
        """The current entry under the name ``path``, where its blob is a plain one; None when it must be read."""
        found = self.plain_blob
        if found is None or head.basic is None:
            return None
        data = self.plain_stream(found, path)
        entry = described_entry(path, head.basic, found.security_descriptor, found.reparse, data, file_id)
        entry.metadata.extended_attributes = found.extended_attributes
        return entry

    def plain_stream(self, found: PlainBlob, path: str) -> Stream | None:
        """The main stream of the current entry, of which ``found`` is the blob; it can be read later on, too."""
        number = self._number
        return blob_stream(
            self.transport, self.blob_status(), found, path, lambda: self._blob if self._number == number else None
        )

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes of the backup stream of the current entry; ``b""`` at its end and without an entry."""
        if self._blob is None:
            return self._read(count)
        self._enter_stream(self._blob)
        return os.read(self._blob, count)

    @property
    def is_seekable(self) -> bool:
        """Whether the current entry is served from a blob, which can be read twice."""
        return self._blob is not None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move in the blob of the current entry, attributes included: 4 is where its stream begins.

        Raises UsageError: ``no current file``, ``seek not supported on this stream``.
        """
        if self.status is None:
            raise UsageError("no current file")
        if self._blob is None:
            raise UsageError("seek not supported on this stream")
        self._enter_stream(self._blob)
        return os.lseek(self._blob, offset, whence)

    def close(self) -> None:
        """Stop reading; further calls of :meth:`next` are errors. Harmless when called twice."""
        self._closed = True
        self._end_entry()
        self._walk.close()

    def __enter__(self) -> LegacyLayerReader:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # ------------------------------------------------------------------ the walk

    def _entries(self) -> Generator[Status | str, None, None]:
        self._read_tombstones()
        for status in self.transport.walk("", self._is_skipped):
            yield status
            if status.is_directory:
                yield from self._tombstones.pop(status.path, ())
                yield from self._contents(status)
        for paths in self._tombstones.values():
            for path in paths:
                self._odd("tombstone-unplaced", path, "the folder of a deletion is not in the layer")

    def _contents(self, _status: Status) -> Iterable[Status | str]:
        """What is in a folder besides what the walk finds there."""
        return ()

    def _is_skipped(self, status: Status) -> bool:
        path = status.path
        if status.is_directory:
            if fold(path) == RECYCLE_BIN_FOLD:
                self._tombstones.pop(path, None)
                return True
            if is_sidecar(path):
                raise FormatError(f"a folder whose name ends in {SIDECAR}", kind="sidecar", path=path)
            return False
        if is_sidecar(path):
            if not self.transport.exists(path.removesuffix(SIDECAR)):
                self._odd("sidecar-orphan", path, "it describes a folder that is not there")
            return True
        return path == TOMBSTONES

    def _odd(self, code: str, path: str, detail: str) -> None:
        self.transport.notices.add(code, path, detail)

    def _read_tombstones(self) -> None:
        """Group the deletions under their folders, which may be spelt otherwise than the folders are."""
        transport = self.transport
        try:
            place = transport.lstat(TOMBSTONES, "open")
            if place.is_directory:
                raise FormatError("invalid tombstones file: it is a folder", kind="tombstones", path=TOMBSTONES)
            descriptor = transport.open_data(place)
        except VolumeError as error:
            if self.lenient and error.is_missing:
                return
            raise
        with open(descriptor, "rb", buffering=0) as file:
            paths = parse_tombstones(
                file.read,
                lenient=self.lenient,
                notice=lambda line: self._odd("tombstone-line", TOMBSTONES, line),
            )
            for count, path in enumerate(paths):
                if count > _MAX_TOMBSTONES:
                    raise FormatError(f"more than {_MAX_TOMBSTONES} deletions", kind="tombstones", path=TOMBSTONES)
                parent = f"{FILES}\\{path}".rpartition("\\")[0]
                self._tombstones.setdefault(self._spelling(parent), []).append(f"{FILES}\\{path}")

    def _spelling(self, parent: str) -> str:
        if parent == FILES:
            return parent
        try:
            return self.transport.lstat(parent).path
        except VolumeError:
            return parent

    # ------------------------------------------------------------------ one entry

    def _open(self, status: Status) -> EntryHead:
        if status.is_foreign_link:
            raise UnsafeEntryError("a symbolic link of this machine", layer=self.transport.label, path=status.path)
        if is_blob(status.path):
            return self._open_blob(status)
        basic = status.basic
        if not self._own_times:
            if status.path in (FILES, HIVES):
                basic = self._times_of_system_hive(status)
            basic = basic._replace(creation_time=basic.last_write_time, last_access_time=basic.last_write_time)
        self._plain = backup_pieces(self.transport, status, security=False)
        self._read = read_function(self._plain)
        self.status = status
        return EntryHead(status.path, status.size, basic)

    def _open_blob(self, status: Status) -> EntryHead:
        transport = self.transport
        blob = self._opened_status(status)
        if not blob.described and transport.manifest is None:
            self._odd("times-from-mtime", status.path, "no manifest has its times; the time of change stands for all")
        descriptor, length = transport.open_sized(blob)
        try:
            found = _plain_blob(transport, blob, descriptor, length)
            if found is not None and not (status.is_directory and found.size):
                attributes, size = found.attributes, found.size or 0
                self.plain_blob = found
                self._is_before_stream = True
            else:
                attributes = _attributes(transport, blob, descriptor)
                size = 0 if status.is_directory else blob_size(descriptor, status.path)
        except BaseException:
            os.close(descriptor)
            raise
        self._blob = descriptor
        self._blob_status = blob
        self.status = status
        return EntryHead(status.path, size, BasicInfo(attributes, *blob.basic[1:]))

    def _opened_status(self, status: Status) -> Status:
        """The file that speaks for an entry: a folder below ``Files`` has its sidecar for that."""
        if not (status.is_directory and is_blob(status.path)):
            return status
        try:
            return self.transport.lstat(status.path + SIDECAR, "open")
        except VolumeError as error:
            if error.winerror != ERROR_FILE_NOT_FOUND:
                raise
            raise VolumeError(
                "open",
                status.path + SIDECAR,
                error.winerror,
                where=self.transport.label,
                reason="the folder has no file that describes it",
            ) from error

    def _times_of_system_hive(self, status: Status) -> BasicInfo:
        """The attributes of ``status``, with the times of the system hive, as Windows' own exports have them.

        A layer made elsewhere may have no hive. ``lenient`` takes the times of what describes the folder then.
        """
        transport, sidecar = self.transport, status.path + SIDECAR
        try:
            speaker = transport.lstat(SYSTEM_DELTA, "open")
        except VolumeError as error:
            if not (self.lenient and error.is_missing):
                raise
            speaker = transport.lstat(sidecar) if transport.exists(sidecar) else status
            if not speaker.described and transport.manifest is None:
                detail = "no manifest has its times; the time of change stands for all"
                self._odd("times-from-mtime", status.path, detail)
        return speaker.basic._replace(attributes=status.basic.attributes)

    def _enter_stream(self, blob: int) -> None:
        """Go behind the attributes, where a blob that was taken apart in memory may still have to be brought."""
        if self._is_before_stream:
            self._is_before_stream = False
            os.lseek(blob, ATTRIBUTES_SIZE, os.SEEK_SET)

    def _end_entry(self) -> None:
        blob, self._blob = self._blob, None
        self._number += 1
        self._is_before_stream = False
        self._blob_status = self.plain_blob = None
        if blob is not None:
            os.close(blob)
        plain, self._plain = self._plain, None
        if plain is not None:
            plain.close()
        self._read = read_function(iter(()))
        self.status = None


def open_blob(transport: Volume, blob: Status) -> tuple[int, int]:
    """A descriptor of a blob, behind its attributes, and those. Raises FormatError for one that is too short."""
    descriptor = transport.open_data(blob)
    try:
        return descriptor, _attributes(transport, blob, descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _attributes(transport: Volume, blob: Status, descriptor: int) -> int:
    try:
        prefix = os.read(descriptor, ATTRIBUTES_SIZE)
    except OSError as error:
        raise store_error(error, "cannot read", blob.host, transport.label) from error
    if len(prefix) < ATTRIBUTES_SIZE:
        raise FormatError("truncated blob: it ends within its attributes", kind="unexpected-eof", path=blob.path)
    return int.from_bytes(prefix, "little")


def _plain_blob(transport: Volume, blob: Status, descriptor: int, length: int) -> PlainBlob | None:
    try:
        return plain_blob(descriptor, length)
    except OSError as error:
        raise store_error(error, "cannot read", blob.host, transport.label) from error


def blob_size(descriptor: int, path: str) -> int:
    """The logical size of the main stream in the blob, which is left where its stream begins.

    For a sparse stream that is what its blocks say, where hcsshim says 0. Raises FormatError naming ``path``.
    """
    end = os.fstat(descriptor).st_size

    def skip(count: int) -> int:
        here = os.lseek(descriptor, 0, os.SEEK_CUR)
        return os.lseek(descriptor, min(here + count, end), os.SEEK_SET) - here

    reader = BackupStreamReader(lambda count: os.read(descriptor, count), skip=skip)
    try:
        while (header := reader.next()) is not None:
            if header.id == BACKUP_DATA:
                if header.size or not header.attributes & STREAM_SPARSE_ATTRIBUTE:
                    return header.size
                return stream_layout(reader, header).size
    except (FormatError, IntegrityError) as error:
        error.message = f"findBackupStreamSize {path}: {error.message}"
        error.args = (error.message,)
        raise error.locate(path=path) from None
    finally:
        os.lseek(descriptor, ATTRIBUTES_SIZE, os.SEEK_SET)
    return 0
