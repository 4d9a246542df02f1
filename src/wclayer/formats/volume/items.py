"""Files of a volume as layer items, with everything that is known of them; and items as backup streams.

Unlike BackupRead, of which a tar exporter uses what comes in time, this loses nothing: streams of folders and of empty
files, attributes behind the data, ranges of sparse files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wclayer.errors import FormatError, UnsafeEntryError
from wclayer.formats.folder.door import readable
from wclayer.formats.volume.file_data import extent_pieces
from wclayer.formats.volume.manifest import Manifest
from wclayer.formats.volume.record import BasicInfo, Ranges
from wclayer.formats.volume.tree import Status
from wclayer.formats.volume.volume import Volume
from wclayer.model import AlternateStream, Buffer, Entry, Metadata, SharedSource, Stream
from wclayer.ntfs.backup import (
    BACKUP_ALTERNATE_DATA,
    BACKUP_DATA,
    BACKUP_EA_DATA,
    BACKUP_REPARSE_DATA,
    BACKUP_SECURITY_DATA,
    BackupStreamWriter,
)
from wclayer.ntfs.backup_sparse import write_sparse
from wclayer.ntfs.ea import decode_eas, encode_eas
from wclayer.ntfs.filetime import ABSENT_IN_REFERENCE

__all__ = ["basic_of", "metadata_of", "volume_items", "write_alternate", "write_streams"]


def metadata_of(basic: BasicInfo) -> Metadata:
    """Attributes and times as the metadata of an item."""
    return Metadata(
        basic.attributes, basic.creation_time, basic.last_access_time, basic.last_write_time, basic.change_time
    )


def basic_of(metadata: Metadata) -> BasicInfo:
    """The basic information that an item's metadata sets.

    A time that the source did not say is the time of the last write; if that is unknown too, it is the day in 1754 that
    hcsshim makes of it, for 0 would set nothing and leave the time of this moment.
    """
    write = ABSENT_IN_REFERENCE if metadata.last_write_time is None else metadata.last_write_time
    created, accessed, changed = metadata.creation_time, metadata.last_access_time, metadata.change_time
    return BasicInfo(
        metadata.attributes,
        write if created is None else created,
        write if accessed is None else accessed,
        write,
        write if changed is None else changed,
    )


def volume_items(volume: Volume, status: Status, path: str) -> Iterator[Entry | AlternateStream]:
    """The entry ``path`` of the file or folder ``status`` and its alternate streams."""
    if status.is_foreign_link:
        raise UnsafeEntryError("a symbolic link of this machine", layer=volume.label, path=readable(status.host))
    record = status.record
    metadata = metadata_of(status.basic)
    metadata.security_descriptor = record.security_descriptor
    metadata.reparse = record.reparse
    if record.extended_attributes:
        metadata.extended_attributes = decode_eas(record.extended_attributes)
    data = None
    if status.size or record.ranges is not None:
        data = Stream(status.size, _reading(volume, status, record.ranges), record.ranges)
    file_id = status.file_id if status.links > 1 else None
    yield Entry(path, metadata, is_directory=status.is_directory, data=data, file_id=file_id)
    manifest = volume.manifest
    if manifest is None:
        return
    for row in manifest.streams_of(record):
        yield AlternateStream(path, row.name, Stream(row.size, _stored_in(manifest, row.stream), row.ranges))


def _stored_in(manifest: Manifest, stream: int) -> Callable[[int], Iterator[Buffer]]:
    return lambda _stored: manifest.stream_pieces(stream)


def _reading(volume: Volume, status: Status, ranges: Ranges | None) -> Callable[[int], Iterator[Buffer]]:
    extents = ((0, status.size),) if ranges is None else ranges
    return lambda _stored: extent_pieces(lambda: volume.open_data(status), extents, readable(status.host))


def write_streams(
    entry: Entry, write: Callable[[Buffer], object], write_apart: Callable[[SharedSource, int], bool] | None = None
) -> None:
    """The backup stream of ``entry`` without its alternate streams: in the order in which BackupWrite is fed.

    Data that lies in shared memory is offered to ``write_apart`` first, which says whether it took it.
    """
    metadata = entry.metadata
    out = BackupStreamWriter(write)
    if metadata.security_descriptor is not None:
        out.stream(BACKUP_SECURITY_DATA, metadata.security_descriptor)
    if metadata.extended_attributes:
        out.stream(BACKUP_EA_DATA, encode_eas(metadata.extended_attributes))
    if metadata.reparse is not None:
        out.stream(BACKUP_REPARSE_DATA, metadata.reparse)
    data = entry.data
    if data is not None and data.shared is not None and write_apart is not None and data.ranges is None and data.size:
        out.header(BACKUP_DATA, data.size)
        if write_apart(data.shared, data.size):
            out.written_elsewhere()
        else:
            _write_pieces(out, data, entry.path)
    elif data is not None:
        _write_data(out, data, BACKUP_DATA, "", entry.path)
    out.close()


def write_alternate(item: AlternateStream, write: Callable[[Buffer], object]) -> None:
    """The part of a backup stream that holds an alternate stream."""
    out = BackupStreamWriter(write)
    _write_data(out, item.data, BACKUP_ALTERNATE_DATA, item.name, item.path)
    out.close()


def _write_data(out: BackupStreamWriter, data: Stream, stream_id: int, name: str, path: str) -> None:
    try:
        if data.ranges is not None:
            write_sparse(out, data.size, data.ranges, data.extents(), stream_id=stream_id, name=name)
            return
        out.header(stream_id, data.size, name=name)
    except FormatError as error:
        raise error.locate(path=path) from None
    _write_pieces(out, data, path)


def _write_pieces(out: BackupStreamWriter, data: Stream, path: str) -> None:
    try:
        for piece in data.stored_pieces():
            out.write(piece)
    except FormatError as error:
        raise error.locate(path=path) from None
